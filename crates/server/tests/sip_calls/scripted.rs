//! Calls with our own phone: secure mode, races, the RFC 4475 messages, going down.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hushpad::calls::CallGone;
use hushpad::sip::{LOG_TARGET, MAX_MESSAGE_BYTES};
use hushpad_telephony::key_queue::{Alarm, KeyQueue};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tracing_subscriber::EnvFilter;

use crate::desk::{Desk, until};
use crate::phone::Phone;

const CARD: &str = "4111111111111111";

async fn phones(desk: &Desk) -> (Phone, Phone) {
    (Phone::at("127.0.0.1:0", desk.sip()).await, Phone::at(&desk.agent.to_string(), desk.sip()).await)
}

#[tokio::test]
async fn in_secure_mode_keys_reach_the_session_and_nobody_else() {
    let log = capture_log();
    let desk = Desk::start().await;
    let (mut customer, agent) = phones(&desk).await;
    let agent = tokio::spawn(agent.serves());
    customer.calls("agent1").await;
    let call = desk.live_call("agent1").await;
    let keys = Arc::new(KeyQueue::new());
    call.secure(Arc::clone(&keys)).await.unwrap();
    // More keys in a second are none that a person types.
    let (first, rest) = CARD.split_at(12);
    for key in first.chars() {
        assert!(customer.key(key).await.is("SIP/2.0 200"));
    }
    let typed: String =
        std::iter::from_fn(|| keys.pop()).map(|report| char::from(report.key.ascii())).collect();
    assert!(typed == first);
    for key in rest.chars() {
        assert!(customer.key(key).await.is("SIP/2.0 200"));
    }
    assert_eq!(keys.take_alarm(), Some(Alarm::TooFast));
    call.release().await.unwrap();
    assert!(customer.key('#').await.is("SIP/2.0 200"));
    call.secure(Arc::clone(&keys)).await.unwrap();
    customer.request("BYE", "", "").await;
    customer.hears("SIP/2.0 200").await;
    let heard = agent.await.unwrap();
    let infos: Vec<_> = heard.iter().filter(|message| message.is("INFO")).collect();
    assert!(matches!(infos.as_slice(), [one] if one.0.contains("Signal=#")));
    desk.is_quiet().await;
    assert!(keys.is_closed());
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    assert!(log.contains("call started") && log.contains("caller_hung_up"), "{log}");
    assert!(!log.contains("Signal") && !log.contains("dtmf-relay") && !log.contains("v=0"));
}

#[tokio::test]
async fn a_call_that_ended_says_so() {
    let desk = Desk::start().await;
    let (mut customer, agent) = phones(&desk).await;
    let agent = tokio::spawn(agent.serves());
    customer.calls("agent1").await;
    let call = desk.live_call("agent1").await;
    assert!(desk.calls.find(call.guid()).is_some());
    assert!(desk.calls.live_calls("other shop", "agent1").is_empty());
    let mut ended = call.ended();
    call.hang_up().await;
    ended.wait_for(|ended| *ended).await.unwrap();
    let bye = customer.hears("BYE").await;
    customer.answers(&bye, "200 OK").await;
    let keys = Arc::new(KeyQueue::new());
    assert_eq!(call.secure(Arc::clone(&keys)).await, Err(CallGone));
    assert!(keys.is_closed());
    assert!(desk.calls.find(call.guid()).is_none());
    agent.await.unwrap();
    desk.is_quiet().await;
}

#[tokio::test]
async fn a_200_that_crosses_our_cancel_is_acknowledged_and_hung_up() {
    let desk = Desk::start().await;
    let (mut customer, agent) = phones(&desk).await;
    customer.invite("agent1", None).await;
    let invite = agent.hears("INVITE").await;
    agent.answers(&invite, "180 Ringing").await;
    customer.hears("SIP/2.0 180").await;
    customer.cancel().await;
    customer.hears("SIP/2.0 487").await;
    agent.hears("CANCEL").await;
    agent.answers(&invite, "200 OK").await;
    agent.hears("ACK").await;
    let bye = agent.hears("BYE").await;
    agent.answers(&bye, "200 OK").await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn a_bye_before_the_answer_ends_the_ringing() {
    let desk = Desk::start().await;
    let (mut customer, agent) = phones(&desk).await;
    customer.invite("agent1", None).await;
    let invite = agent.hears("INVITE").await;
    agent.answers(&invite, "180 Ringing").await;
    let ringing = customer.hears("SIP/2.0 180").await;
    customer.joins(&ringing);
    customer.request("UPDATE", "", "").await;
    customer.hears("SIP/2.0 500").await;
    customer.request("BYE", "", "").await;
    let (first, second) = (customer.hears("SIP/2.0").await, customer.hears("SIP/2.0").await);
    let mut codes = [first.0[8..11].to_owned(), second.0[8..11].to_owned()];
    codes.sort();
    assert_eq!(codes, ["200", "487"]);
    let cancel = agent.hears("CANCEL").await;
    agent.answers(&cancel, "200 OK").await;
    agent.answers(&invite, "487 Request Terminated").await;
    desk.is_quiet().await;
}

/// What the RFC says of each message is the stack's matter; that none of them hurts a call is ours.
#[tokio::test]
async fn the_rfc_4475_messages_leave_a_live_call_alone() {
    let desk = Desk::start().await;
    let (mut customer, agent) = phones(&desk).await;
    let agent = tokio::spawn(agent.serves());
    customer.calls("agent1").await;
    let call = desk.live_call("agent1").await;
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/sip-torture");
    let attacker = Phone::at("127.0.0.1:0", desk.sip()).await;
    let mut sent = 0;
    for file in std::fs::read_dir(folder).expect("the RFC 4475 messages are in ../shared") {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        attacker.raw(&bytes).await;
        sent += 1;
    }
    assert!(sent >= 49, "{sent} messages");
    attacker.raw(&vec![b'x'; MAX_MESSAGE_BYTES + 1]).await;
    until("the giant is dropped", || desk.calls.counters().oversize() == 1).await;
    // Datagrams are read in order, so all have been taken by now.
    assert!(customer.key('1').await.is("SIP/2.0 200"));
    assert!(!*call.ended().borrow());
    customer.request("BYE", "", "").await;
    customer.hears("SIP/2.0 200").await;
    assert!(agent.await.unwrap().iter().any(|message| message.0.contains("Signal=1")));
    desk.is_quiet().await;
}

#[tokio::test]
async fn mutated_invites_leave_a_live_call_alone() {
    let desk = Desk::start().await;
    let (mut customer, agent) = phones(&desk).await;
    let agent = tokio::spawn(agent.serves());
    customer.calls("agent1").await;
    let call = desk.live_call("agent1").await;
    let attacker = Phone::at("127.0.0.1:0", desk.sip()).await;
    let mut rng = StdRng::seed_from_u64(1);
    for round in 0..2000 {
        let mut bytes = attacker.invitation("nobody", round).into_bytes();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..4) {
                0 => bytes[at] = rng.random(),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\r\n:;,<>\"%@\0"[rng.random_range(0..11)]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        attacker.raw(&bytes).await;
        if round % 100 == 0 {
            // Keeps in step, so that no datagram is lost in the kernel.
            assert!(customer.key('1').await.is("SIP/2.0 200"), "round {round}");
        }
    }
    assert!(!*call.ended().borrow());
    customer.request("BYE", "", "").await;
    customer.hears("SIP/2.0 200").await;
    agent.await.unwrap();
    desk.is_quiet().await;
}

#[tokio::test]
async fn a_call_that_went_in_circles_is_ended() {
    let desk = Desk::start().await;
    let (customer, agent) = phones(&desk).await;
    let text = customer.invitation("agent1", 1);
    customer.raw(text.replace("Max-Forwards: 70", "Max-Forwards: 5").as_bytes()).await;
    let invite = agent.hears("INVITE").await;
    assert_eq!(invite.header("Max-Forwards"), "4");
    agent.answers(&invite, "486 Busy Here").await;
    customer.hears("SIP/2.0 486").await;
    let text = customer.invitation("agent1", 2);
    customer.raw(text.replace("Max-Forwards: 70", "Max-Forwards: 0").as_bytes()).await;
    customer.hears("SIP/2.0 483").await;
}

#[tokio::test]
async fn going_down_refuses_new_calls_and_lets_the_live_one_end() {
    let desk = Desk::start_with(|config| config.drain_time_out = Duration::from_secs(20)).await;
    let (mut customer, agent) = phones(&desk).await;
    let agent = tokio::spawn(agent.serves());
    customer.calls("agent1").await;
    desk.live_call("agent1").await;
    let calls = desk.calls.clone();
    let down = tokio::spawn(async move { calls.shut_down().await });
    // The first of these may come before the program knows; one of them is refused.
    let mut refused = false;
    for _ in 0..3 {
        let mut late = Phone::at("127.0.0.1:0", desk.sip()).await;
        late.invite("nobody", None).await;
        let answer = late.hears("SIP/2.0").await;
        refused |= answer.is("SIP/2.0 503") && answer.header("Retry-After") == "10";
    }
    assert!(refused);
    assert!(!down.is_finished());
    customer.request("BYE", "", "").await;
    customer.hears("SIP/2.0 200").await;
    agent.await.unwrap();
    down.await.unwrap();
    assert_eq!((desk.calls.count(), desk.calls.dialogs()), (0, 0));
}

#[tokio::test]
async fn going_down_hangs_up_what_is_left() {
    let desk = Desk::start().await;
    let (mut customer, agent) = phones(&desk).await;
    let agent = tokio::spawn(agent.serves());
    customer.calls("agent1").await;
    desk.live_call("agent1").await;
    let calls = desk.calls.clone();
    let down = tokio::spawn(async move { calls.shut_down().await });
    let bye = customer.hears("BYE").await;
    customer.answers(&bye, "200 OK").await;
    agent.await.unwrap();
    down.await.unwrap();
    desk.is_quiet().await;
}

/// Everything that is logged, with the stack held at WARN as the server's log set-up does.
fn capture_log() -> Arc<Mutex<Vec<u8>>> {
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&log);
    let filter = EnvFilter::new(format!("trace,{LOG_TARGET}=warn"));
    let writer = move || Sink(Arc::clone(&sink));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false).init();
    log
}
