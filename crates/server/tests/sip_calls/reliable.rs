//! A customer whose phone acknowledges provisional answers (RFC 3262), at its own pace.

use crate::desk::Desk;
use crate::phone::{Message, Phone};

/// The agent has answered, the customer's phone has yet to acknowledge that it rings.
async fn unacknowledged() -> (Desk, Phone, Phone) {
    let desk = Desk::start().await;
    let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
    let agent = Phone::at(&desk.agent.to_string(), desk.sip()).await;
    customer.requires("100rel", "agent1").await;
    let invite = agent.hears("INVITE").await;
    agent.answers(&invite, "180 Ringing").await;
    let first = customer.hears("SIP/2.0 180").await;
    let again = customer.hears("SIP/2.0 180").await;
    assert_eq!((first.header("RSeq"), again.header("RSeq")), ("1", "1"));
    customer.joins(&again);
    agent.answers(&invite, "200 OK").await;
    agent.hears("ACK").await;
    (desk, customer, agent)
}

async fn acknowledges(customer: &mut Phone, what: &str) -> Message {
    customer.request("PRACK", &format!("RAck: {what}\r\n"), "").await;
    loop {
        let answer = customer.hears("SIP/2.0").await;
        if !answer.is("SIP/2.0 180") {
            return answer;
        }
    }
}

#[tokio::test]
async fn the_answer_waits_until_the_ringing_is_acknowledged() {
    let (desk, mut customer, agent) = unacknowledged().await;
    for wrong in ["2 1 INVITE", "1 7 INVITE", "1 1 BYE", "0 1 INVITE", ""] {
        let answer = acknowledges(&mut customer, wrong).await;
        assert!(answer.is("SIP/2.0 4") && answer.header("CSeq").ends_with("PRACK"), "{}", answer.0);
    }
    let answer = acknowledges(&mut customer, "1 1 INVITE").await;
    assert!(answer.is("SIP/2.0 200") && answer.header("CSeq").ends_with("PRACK"), "{}", answer.0);
    customer.hears_of("SIP/2.0 200", "1 INVITE").await;
    customer.acknowledges(1).await;
    desk.live_call("agent1").await;
    customer.request("BYE", "", "").await;
    customer.hears_of("SIP/2.0 200", "BYE").await;
    let bye = agent.hears("BYE").await;
    agent.answers(&bye, "200 OK").await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn a_customer_may_still_give_up_before_it_acknowledges() {
    let (desk, mut customer, agent) = unacknowledged().await;
    customer.cancel().await;
    customer.hears("SIP/2.0 487").await;
    let bye = agent.hears("BYE").await;
    agent.answers(&bye, "200 OK").await;
    desk.is_quiet().await;
}
