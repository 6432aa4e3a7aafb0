//! Calls that come by a trunk, for nobody yet, and are tied to an agent while both speak.

use std::sync::Arc;

use hushpad::calls::{BindRefused, CallHandle, Standing};
use hushpad_telephony::key_queue::KeyQueue;

use crate::desk::{Desk, Sipp, until};
use crate::phone::{Message, Phone};
use crate::rtp::Audio;

/// A call by a trunk that was answered, with sound on both ends.
struct Trunk {
    desk: Desk,
    caller: Phone,
    callee: Phone,
    invite: Message,
    caller_audio: Audio,
    callee_audio: Audio,
    call: CallHandle,
}

impl Trunk {
    async fn talking(dialled: &str) -> Self {
        let desk = Desk::start().await;
        let mut caller = Phone::at("127.0.0.1:0", desk.sip()).await;
        let mut callee = Phone::at(&desk.agent.to_string(), desk.sip()).await;
        let (mut caller_audio, mut callee_audio) = (Audio::open().await, Audio::open().await);
        caller.speaks_at(caller_audio.address());
        callee.speaks_at(callee_audio.address());
        caller.invite(dialled, None).await;
        let invite = callee.hears("INVITE").await;
        callee_audio.reaches(&invite);
        callee.answers(&invite, "200 OK").await;
        let answer = caller.hears("SIP/2.0 200").await;
        caller.joins(&answer);
        caller.request("ACK", "", "").await;
        caller_audio.reaches(&answer);
        callee.hears("ACK").await;
        let mut found = None;
        until("the call is answered", || {
            let calls = desk.calls.of_account("shop");
            found = calls.into_iter().find(|(_, standing)| matches!(standing, Standing::Answered { .. }));
            found.is_some()
        })
        .await;
        let call = found.unwrap().0;
        Self { desk, caller, callee, invite, caller_audio, callee_audio, call }
    }

    /// Waits until the call is this agent's.
    async fn is_of(&self, agent: &str) -> CallHandle {
        self.desk.live_call(agent).await
    }

    fn is_nobodys(&self) -> bool {
        self.desk.calls.find(self.call.guid()).unwrap().agent().is_none()
    }

    async fn ends(&mut self) {
        self.caller.request("BYE", "", "").await;
        self.caller.hears("SIP/2.0 200").await;
        let bye = self.callee.hears("BYE").await;
        self.callee.answers(&bye, "200 OK").await;
        self.desk.is_quiet().await;
    }
}

/// Keys one digit after the other as telephone-events.
async fn types(audio: &mut Audio, code: &str) {
    for key in code.bytes() {
        audio.keys(if key == b'*' { 10 } else { key - b'0' }).await;
    }
}

#[tokio::test]
async fn a_trunk_call_is_relayed_with_no_agent_and_tied_to_one_by_the_api() {
    let desk = Desk::start().await;
    let next_hop = Sipp::new("agent").port(desk.agent.port()).start(desk.sip());
    let customer = Sipp::new("customer_waits").dials("+4930555").start(desk.sip());
    until("the call is there", || desk.calls.of_account("shop").iter().any(|(_, s)| s.is_answered())).await;
    let (call, _) = desk.calls.of_account("shop").pop().unwrap();
    assert_eq!((call.agent(), call.caller()), (None, Some("+4930123456")));
    assert!(desk.calls.of_account("other shop").is_empty());
    call.bind("anna", true).await.unwrap().unwrap();
    assert_eq!(desk.live_call("anna").await.guid(), call.guid());
    assert_eq!(call.bind("ben", true).await.unwrap(), Err(BindRefused::Taken));
    call.bind("ben", false).await.unwrap().unwrap();
    assert!(desk.calls.live_calls("shop", "anna").is_empty());
    desk.live_call("ben").await.hang_up().await;
    customer.succeeds().await;
    next_hop.succeeds().await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn a_call_that_rings_is_not_tied() {
    let desk = Desk::start().await;
    let callee = Phone::at(&desk.agent.to_string(), desk.sip()).await;
    let mut caller = Phone::at("127.0.0.1:0", desk.sip()).await;
    caller.invite("+4930555", None).await;
    let invite = callee.hears("INVITE").await;
    callee.answers(&invite, "180 Ringing").await;
    caller.hears("SIP/2.0 180").await;
    let (call, standing) = desk.calls.of_account("shop").pop().unwrap();
    assert!(!standing.is_answered());
    assert_eq!(call.bind("anna", false).await.unwrap(), Err(BindRefused::NotAnswered));
    caller.cancel().await;
    let cancel = callee.hears("CANCEL").await;
    callee.answers(&cancel, "200 OK").await;
    callee.answers(&invite, "487 Request Terminated").await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn a_code_keyed_on_the_agents_phone_ties_the_call_and_the_customers_keys_do_not() {
    let mut trunk = Trunk::talking("+4930555").await;
    let issued = trunk.desk.calls.link_code("shop", "anna").unwrap();
    let code = issued.code.clone();
    types(&mut trunk.caller_audio, &code).await;
    // Whatever came before this has been heard.
    types(&mut trunk.callee_audio, "*999").await;
    trunk.caller_audio.hears_event().await;
    assert!(trunk.is_nobodys());
    types(&mut trunk.callee_audio, &code).await;
    let call = trunk.is_of("anna").await;
    assert_eq!(call.guid(), trunk.call.guid());
    assert_eq!(issued.linked().await, Some(call.guid()));
    // And it is guarded like any.
    let keys = Arc::new(KeyQueue::new());
    call.secure(Arc::clone(&keys)).await.unwrap();
    trunk.callee_audio.forget();
    trunk.caller_audio.keys(6).await;
    until("the key is there", || keys.pop().is_some()).await;
    trunk.caller_audio.says().await;
    trunk.callee_audio.hears_audio().await;
    assert_eq!(trunk.callee_audio.events(), 0);
    trunk.ends().await;
}

#[tokio::test]
async fn a_code_keyed_by_info_ties_the_call_and_after_three_wrong_ones_nothing_does() {
    let mut trunk = Trunk::talking("+4930555").await;
    let code = trunk.desk.calls.link_code("shop", "anna").unwrap().code;
    let invite = trunk.invite.clone();
    trunk.callee.keys_in(&invite, &code, &mut trunk.caller).await;
    trunk.is_of("anna").await;
    trunk.ends().await;

    let mut trunk = Trunk::talking("+4930555").await;
    let code = trunk.desk.calls.link_code("shop", "anna").unwrap().code;
    let invite = trunk.invite.clone();
    let wrong = if code == "*000000" { "*000001" } else { "*000000" };
    for code in [wrong, wrong, wrong, &code] {
        trunk.callee.keys_in(&invite, code, &mut trunk.caller).await;
    }
    assert!(trunk.is_nobodys());
    trunk.ends().await;
}

#[tokio::test]
async fn on_a_call_that_goes_out_the_callee_is_the_customer() {
    let mut trunk = Trunk::talking("030555").await;
    trunk.call.bind("anna", true).await.unwrap().unwrap();
    let keys = Arc::new(KeyQueue::new());
    trunk.call.secure(Arc::clone(&keys)).await.unwrap();
    trunk.callee_audio.keys(6).await;
    until("the key is there", || keys.pop().is_some()).await;
    trunk.callee_audio.says().await;
    trunk.caller_audio.hears_audio().await;
    assert_eq!(trunk.caller_audio.events(), 0);
    let invite = trunk.invite.clone();
    trunk.callee.key_in(&invite, '7').await;
    until("the key by INFO is there", || keys.pop().is_some()).await;
    assert!(trunk.caller.never_heard("INFO"));
    // The agent's own keys go on to the customer.
    trunk.caller_audio.keys(1).await;
    trunk.callee_audio.hears_event().await;
    assert!(keys.pop().is_none());
    trunk.ends().await;
}

#[tokio::test]
async fn a_call_to_a_code_reaches_the_agent_once() {
    let desk = Desk::start().await;
    let issued = desk.calls.link_code("shop", "agent9").unwrap();
    let code = issued.code.clone();
    let next = Sipp::new("agent").port(desk.next.port()).start(desk.sip());
    let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
    customer.calls(&code.replace('*', "%2A")).await;
    let call = desk.live_call("agent9").await;
    assert_eq!(issued.linked().await, Some(call.guid()));
    customer.request("BYE", "", "").await;
    customer.hears_of("SIP/2.0 200", "BYE").await;
    next.succeeds().await;
    desk.is_quiet().await;
    let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
    customer.invite(&code, None).await;
    customer.hears("SIP/2.0 404").await;
}

#[tokio::test]
async fn a_transfer_to_a_code_rings_that_agent() {
    let mut trunk = Trunk::talking("+4930555").await;
    let next = Phone::at(&trunk.desk.next.to_string(), trunk.desk.sip()).await;
    let issued = trunk.desk.calls.link_code("shop", "agent9").unwrap();
    let code = issued.code.clone();
    trunk.callee.refers(&trunk.invite, &format!("<sip:{code}@hushpad.example>")).await;
    trunk.callee.hears("SIP/2.0 202").await;
    let invite = next.hears("INVITE").await;
    next.answers(&invite, "200 OK").await;
    next.hears("ACK").await;
    let bye = trunk.callee.hears("BYE").await;
    trunk.callee.answers(&bye, "200 OK").await;
    assert_eq!(trunk.is_of("agent9").await.guid(), trunk.call.guid());
    assert_eq!(issued.linked().await, Some(trunk.call.guid()));
    trunk.caller.request("BYE", "", "").await;
    let bye = next.hears("BYE").await;
    next.answers(&bye, "200 OK").await;
    trunk.desk.is_quiet().await;
}
