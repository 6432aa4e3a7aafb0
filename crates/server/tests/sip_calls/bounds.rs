//! When there is no room, and when the program goes down.

use std::sync::Arc;
use std::time::Duration;

use hushpad_telephony::key_queue::KeyQueue;

use crate::desk::{Desk, Sipp, until};
use crate::phone::Phone;
use crate::rtp::Audio;

#[tokio::test]
async fn without_a_free_rtp_port_a_call_hears_503_and_the_first_goes_on() {
    let desk = Desk::start_for_one_call().await;
    let agent = Sipp::new("agent").port(desk.agent.port()).start(desk.sip());
    let first = Sipp::new("customer_waits").start(desk.sip());
    let call = desk.live_call("agent1").await;
    let mut second = Phone::at("127.0.0.1:0", desk.sip()).await;
    second.invite("agent1", None).await;
    let refusal = second.hears("SIP/2.0 503").await;
    assert!(!refusal.header("Retry-After").is_empty(), "{}", refusal.0);
    assert!(!*call.ended().borrow());
    call.hang_up().await;
    first.succeeds().await;
    agent.succeeds().await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn going_down_refuses_what_is_new_and_lets_calls_finish() {
    let desk = Desk::start_with(|config| config.drain_time_out = Duration::from_secs(60)).await;
    let agent = Sipp::new("agent").port(desk.agent.port()).start(desk.sip());
    let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
    customer.calls("agent1").await;
    let call = desk.live_call("agent1").await;
    let calls = desk.calls.clone();
    let down = tokio::spawn(async move { calls.shut_down().await });
    let mut other = Phone::at("127.0.0.1:0", desk.sip()).await;
    // The first one may come before the flag is up.
    loop {
        other.options().await;
        let answer = other.hears("SIP/2.0").await;
        if answer.is("SIP/2.0 503") {
            assert!(!answer.header("Retry-After").is_empty(), "{}", answer.0);
            break;
        }
    }
    other.invite("agent1", None).await;
    other.hears_of("SIP/2.0 503", "INVITE").await;
    assert!(!*call.ended().borrow() && !down.is_finished());
    customer.request("BYE", "", "").await;
    customer.hears_of("SIP/2.0 200", "BYE").await;
    agent.succeeds().await;
    down.await.unwrap();
}

#[tokio::test]
async fn while_a_key_is_down_secure_mode_stays_and_the_call_goes_on() {
    let desk = Desk::start().await;
    let agent = Phone::at(&desk.agent.to_string(), desk.sip()).await;
    let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
    let mut spoken = Audio::open().await;
    customer.speaks_at(spoken.address());
    customer.invite("agent1", None).await;
    let invite = agent.hears("INVITE").await;
    agent.answers(&invite, "200 OK").await;
    let answer = customer.hears("SIP/2.0 200").await;
    customer.joins(&answer);
    customer.request("ACK", "", "").await;
    spoken.reaches(&answer);
    let call = desk.live_call("agent1").await;
    let keys = Arc::new(KeyQueue::new());
    call.secure(Arc::clone(&keys)).await.unwrap();
    spoken.keys(5).await;
    until("the key is there", || keys.pop().is_some()).await;
    let releasing = tokio::spawn({
        let call = call.clone();
        async move { call.release().await }
    });
    // Asked in between, the call answers at once.
    call.stats().await.unwrap();
    customer.request("OPTIONS", "", "").await;
    customer.hears_of("SIP/2.0 200", "OPTIONS").await;
    releasing.await.unwrap().unwrap();
    assert!(!call.stats().await.unwrap().secured);
    customer.request("BYE", "", "").await;
    let bye = agent.hears("BYE").await;
    agent.answers(&bye, "200 OK").await;
    desk.is_quiet().await;
}
