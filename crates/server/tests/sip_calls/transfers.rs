//! The agent's phone passes its call on.

use std::sync::Arc;

use hushpad_telephony::key_queue::KeyQueue;

use crate::desk::{Desk, Sipp, until};
use crate::phone::{Message, Phone};
use crate::rtp::Audio;

/// A customer who speaks with an agent, and a phone beside.
struct Scene {
    desk: Desk,
    customer: Phone,
    agent: Phone,
    next: Phone,
    /// What the agent's phone was called with.
    invite: Message,
    spoken: Audio,
}

impl Scene {
    async fn talking() -> Self {
        let desk = Desk::start().await;
        let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
        let agent = Phone::at(&desk.agent.to_string(), desk.sip()).await;
        let next = Phone::at(&desk.next.to_string(), desk.sip()).await;
        let mut spoken = Audio::open().await;
        customer.speaks_at(spoken.address());
        customer.invite("agent1", None).await;
        let invite = agent.hears("INVITE").await;
        agent.answers(&invite, "200 OK").await;
        let answer = customer.hears("SIP/2.0 200").await;
        customer.joins(&answer);
        customer.request("ACK", "", "").await;
        spoken.reaches(&answer);
        agent.hears("ACK").await;
        desk.live_call("agent1").await;
        Self { desk, customer, agent, next, invite, spoken }
    }

    async fn refers(&mut self, target: &str) -> Message {
        self.agent.refers(&self.invite, target).await;
        self.agent.hears("SIP/2.0").await
    }

    /// The next NOTIFY says this, and is answered.
    async fn told(&self, body: &str, state: &str) {
        let notify = self.agent.hears("NOTIFY").await;
        self.agent.answers(&notify, "200 OK").await;
        assert!(notify.0.ends_with(&format!("{body}\r\n")), "{}", notify.0);
        assert!(notify.header("Subscription-State").starts_with(state), "{}", notify.0);
        assert_eq!(notify.header("Event"), "refer");
    }

    async fn customer_hangs_up(&mut self) {
        self.customer.request("BYE", "", "").await;
        self.customer.hears("SIP/2.0 200").await;
    }
}

#[tokio::test]
async fn sipp_passes_a_call_on() {
    let desk = Desk::start().await;
    let agent = Sipp::new("agent_transfers").port(desk.agent.port()).start(desk.sip());
    let next = Sipp::new("agent_hangs_up").port(desk.next.port()).start(desk.sip());
    Sipp::new("customer_waits").start(desk.sip()).succeeds().await;
    agent.succeeds().await;
    next.succeeds().await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn the_next_agent_has_the_call_and_the_customer_notices_nothing() {
    let mut scene = Scene::talking().await;
    let mut heard = Audio::open().await;
    scene.next.speaks_at(heard.address());
    assert!(scene.refers("<sip:agent-next@pbx.example>").await.is("SIP/2.0 202"));
    scene.told("SIP/2.0 100 Trying", "active").await;
    let invite = scene.next.hears("INVITE").await;
    assert_ne!(invite.header("Call-ID"), scene.invite.header("Call-ID"));
    scene.next.answers(&invite, "180 Ringing").await;
    scene.next.answers(&invite, "200 OK").await;
    scene.next.hears("ACK").await;
    scene.told("SIP/2.0 200 OK", "terminated").await;
    let bye = scene.agent.hears("BYE").await;
    scene.agent.answers(&bye, "200 OK").await;
    let call = scene.desk.live_call("agent-next").await;
    assert!(scene.desk.calls.live_calls("shop", "agent1").is_empty());
    assert!(scene.customer.heard_nothing());
    scene.spoken.keys(5).await;
    heard.hears_event().await;
    // And the new leg is guarded like any.
    let keys = Arc::new(KeyQueue::new());
    call.secure(Arc::clone(&keys)).await.unwrap();
    heard.forget();
    scene.spoken.keys(6).await;
    until("the key is there", || keys.pop().is_some()).await;
    scene.spoken.says().await;
    heard.hears_audio().await;
    assert_eq!(heard.events(), 0);
    scene.customer_hangs_up().await;
    let bye = scene.next.hears("BYE").await;
    scene.next.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

#[tokio::test]
async fn who_is_not_ours_to_call_is_refused_and_so_is_everybody_in_secure_mode() {
    let mut scene = Scene::talking().await;
    for target in ["<sip:somebody@pbx>", "<sip:agent-abroad@pbx>", "<sip:agent-next@pbx;method=BYE>", "<x>"] {
        assert!(scene.refers(target).await.is("SIP/2.0 403"), "{target}");
    }
    let call = scene.desk.live_call("agent1").await;
    call.secure(Arc::new(KeyQueue::new())).await.unwrap();
    assert!(scene.refers("<sip:agent-next@pbx>").await.is("SIP/2.0 403"));
    assert!(scene.next.heard_nothing());
    call.release().await.unwrap();

    // A session that begins while the next phone rings stops it.
    assert!(scene.refers("<sip:agent-next@pbx>").await.is("SIP/2.0 202"));
    scene.told("SIP/2.0 100 Trying", "active").await;
    let invite = scene.next.hears("INVITE").await;
    scene.next.answers(&invite, "180 Ringing").await;
    call.secure(Arc::new(KeyQueue::new())).await.unwrap();
    let cancel = scene.next.hears("CANCEL").await;
    scene.next.answers(&cancel, "200 OK").await;
    scene.next.answers(&invite, "487 Request Terminated").await;
    scene.told("SIP/2.0 403 Forbidden", "terminated").await;
    assert!(!*call.ended().borrow());
    scene.customer_hangs_up().await;
    let bye = scene.agent.hears("BYE").await;
    scene.agent.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

#[tokio::test]
async fn an_agent_who_leaves_at_once_ends_the_call_only_if_nobody_takes_it() {
    for code in ["200 OK", "486 Busy Here"] {
        let mut scene = Scene::talking().await;
        scene.refers("<sip:agent-next@pbx?Replaces=7%40pbx%3Bto-tag%3Da%3Bfrom-tag%3Db>").await;
        scene.told("SIP/2.0 100 Trying", "active").await;
        let invite = scene.next.hears("INVITE").await;
        assert_eq!(invite.header("Replaces"), "7@pbx;to-tag=a;from-tag=b");
        scene.agent.asks(&scene.invite, "BYE", "").await;
        scene.agent.hears("SIP/2.0 200").await;
        scene.next.answers(&invite, code).await;
        scene.next.hears("ACK").await;
        if code.starts_with("200") {
            scene.desk.live_call("agent-next").await;
            scene.customer_hangs_up().await;
            let bye = scene.next.hears("BYE").await;
            scene.next.answers(&bye, "200 OK").await;
        } else {
            let bye = scene.customer.hears("BYE").await;
            scene.customer.answers(&bye, "200 OK").await;
        }
        scene.desk.is_quiet().await;
    }
}

#[tokio::test]
async fn of_two_calls_through_us_the_second_is_taken_over_by_whom_it_reached() {
    let mut scene = Scene::talking().await;
    // The agent asks a colleague first, in a call of its own.
    let mut consult = Phone::at("127.0.0.1:0", scene.desk.sip()).await;
    consult.invite("agent-next", None).await;
    let first = scene.next.hears("INVITE").await;
    scene.next.answers(&first, "200 OK").await;
    let answer = consult.hears("SIP/2.0 200").await;
    consult.joins(&answer);
    consult.request("ACK", "", "").await;
    scene.next.hears("ACK").await;
    scene.desk.live_call("agent-next").await;
    let tag = |header: &str| header.split(";tag=").nth(1).unwrap().to_owned();
    let call = format!(
        "{}%3Bto-tag%3D{}%3Bfrom-tag%3D{}",
        answer.header("Call-ID"),
        tag(answer.header("To")),
        tag(answer.header("From"))
    );
    assert!(scene.refers(&format!("<sip:agent-next@pbx?Replaces={call}>")).await.is("SIP/2.0 202"));
    let invite = scene.next.hears("INVITE").await;
    let named = format!("{};to-tag=phone;from-tag={}", first.header("Call-ID"), tag(first.header("From")));
    assert_eq!(invite.header("Replaces"), named);
    scene.next.answers(&invite, "200 OK").await;
    scene.next.hears("ACK").await;
    // It hangs up what it took over, and so the agent's own call ends.
    scene.next.asks(&first, "BYE", "").await;
    scene.next.hears_of("SIP/2.0 200", "BYE").await;
    let bye = consult.hears("BYE").await;
    consult.answers(&bye, "200 OK").await;
    let bye = scene.agent.hears("BYE").await;
    scene.agent.answers(&bye, "200 OK").await;
    until("one call is left", || scene.desk.calls.live_calls("shop", "agent-next").len() == 1).await;
    scene.customer_hangs_up().await;
    let bye = scene.next.hears("BYE").await;
    scene.next.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}
