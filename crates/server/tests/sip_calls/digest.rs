//! Who calls us, and who we are: digest authentication both ways.

use std::sync::Arc;

use hushpad::sip::{Credential, Hashes, Login};
use hushpad_telephony::key_queue::KeyQueue;

use crate::desk::{Desk, Sipp, until};
use crate::phone::Phone;
use crate::rtp::Audio;

const PROXY_CHALLENGE: &str =
    "Proxy-Authenticate: Digest realm=\"proxy.example\", nonce=\"m\", algorithm=MD5, qop=\"auth\"\r\n";
const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"phones.example\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n";

async fn strict_desk(hashes: Hashes) -> Desk {
    let credential = Credential::new("pbx-user", "pbx-password");
    let login = Login { peer: "loopback".to_owned(), credential, hashes };
    Desk::start_with(|config| config.logins = vec![login]).await
}

#[tokio::test]
async fn a_peer_that_has_to_say_who_it_is_does() {
    // SIPp knows no SHA-256.
    let desk = strict_desk(Hashes::Md5).await;
    desk.play("customer_known", "agent").await;
    assert_eq!(desk.calls.counters().wrong_login(), 0);
}

#[tokio::test]
async fn a_peer_that_does_not_know_the_password_reaches_nobody() {
    let desk = strict_desk(Hashes::Md5).await;
    Sipp::new("customer_unknown").start(desk.sip()).succeeds().await;
    assert_eq!(desk.calls.counters().wrong_login(), 1);
    assert_eq!((desk.calls.count(), desk.calls.dialogs()), (0, 0));
}

#[tokio::test]
async fn both_algorithms_are_offered_and_a_stranger_hears_of_neither() {
    let desk = strict_desk(Hashes::Both).await;
    let mut stranger = Phone::at("127.0.0.2:0", desk.sip()).await;
    stranger.invite("agent1", None).await;
    until("the stranger is counted", || desk.calls.counters().unknown_source() == 1).await;
    let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
    customer.invite("agent1", None).await;
    let question = customer.hears("SIP/2.0 401").await;
    let asked: Vec<_> = question.0.lines().filter(|line| line.starts_with("WWW-Authenticate:")).collect();
    assert!(matches!(asked.as_slice(), [a, b] if a.contains("SHA-256") && b.contains("=MD5")), "{asked:?}");
    assert!(stranger.heard_nothing());
    assert_eq!(desk.calls.dialogs(), 0);
}

#[tokio::test]
async fn a_phone_that_challenges_us_is_answered() {
    Desk::start_known("phone-user", "phone-password").await.play("customer", "agent_challenges").await;
}

#[tokio::test]
async fn a_challenge_we_cannot_answer_ends_the_call() {
    for desk in [Desk::start().await, Desk::start_known("phone-user", "phone-password").await] {
        let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
        let agent = Phone::at(&desk.agent.to_string(), desk.sip()).await;
        customer.invite("agent1", None).await;
        let mut invite = agent.hears("INVITE").await;
        agent.answers_with(&invite, "401 Unauthorized", CHALLENGE, "").await;
        if desk.knows_phones() {
            invite = agent.hears("INVITE").await;
            assert!(invite.header("Authorization").contains("algorithm=SHA-256"), "{}", invite.0);
            agent.answers_with(&invite, "401 Unauthorized", CHALLENGE, "").await;
        }
        customer.hears("SIP/2.0 480").await;
        desk.is_quiet().await;
    }
}

#[tokio::test]
async fn a_proxy_and_the_phone_behind_it_may_both_ask() {
    let desk = Desk::start_known("phone-user", "phone-password").await;
    let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
    let agent = Phone::at(&desk.agent.to_string(), desk.sip()).await;
    customer.invite("agent1", None).await;
    let invite = agent.hears("INVITE").await;
    agent.answers_with(&invite, "407 Proxy Authentication Required", PROXY_CHALLENGE, "").await;
    let invite = agent.hears("INVITE").await;
    assert!(invite.header("Proxy-Authorization").contains("proxy.example"), "{}", invite.0);
    assert_eq!(invite.header("Authorization"), "");
    agent.answers_with(&invite, "401 Unauthorized", CHALLENGE, "").await;
    let invite = agent.hears("INVITE").await;
    assert!(invite.header("Proxy-Authorization").contains("nc=00000002"), "{}", invite.0);
    assert!(invite.header("Authorization").contains("phones.example"), "{}", invite.0);
    agent.answers(&invite, "200 OK").await;
    let answer = customer.hears("SIP/2.0 200").await;
    customer.joins(&answer);
    customer.request("ACK", "", "").await;
    let number = invite.header("CSeq").replace("INVITE", "ACK");
    let ack = agent.hears_of("ACK", &number).await;
    for header in ["Proxy-Authorization", "Authorization"] {
        assert_eq!(ack.header(header), invite.header(header));
    }
    customer.request("BYE", "", "").await;
    // Both ask again, now of the BYE.
    let bye = agent.hears("BYE").await;
    agent.answers_with(&bye, "407 Proxy Authentication Required", PROXY_CHALLENGE, "").await;
    let bye = agent.hears("BYE").await;
    assert!(bye.header("Authorization").contains("phones.example"), "{}", bye.0);
    agent.answers(&bye, "200 OK").await;
    desk.is_quiet().await;
}

/// A hold in secure mode takes two re-INVITEs toward a phone that challenges; whatever the customer keys
/// meanwhile, by whatever way, stays between us and the session.
#[tokio::test]
async fn keys_during_a_challenged_re_invite_in_secure_mode_reach_nobody() {
    let desk = Desk::start_known("phone-user", "phone-password").await;
    let (mut customer, mut agent) =
        (Phone::at("127.0.0.1:0", desk.sip()).await, Phone::at(&desk.agent.to_string(), desk.sip()).await);
    let (mut spoken, mut heard) = (Audio::open().await, Audio::open().await);
    customer.speaks_at(spoken.address());
    agent.speaks_at(heard.address());
    customer.invite("agent1", None).await;
    let invite = agent.hears("INVITE").await;
    agent.answers_with(&invite, "407 Proxy Authentication Required", PROXY_CHALLENGE, "").await;
    agent.hears("ACK").await;
    let invite = agent.hears("INVITE").await;
    agent.answers(&invite, "200 OK").await;
    let answer = customer.hears("SIP/2.0 200").await;
    customer.joins(&answer);
    customer.request("ACK", "", "").await;
    let (acked, given) = (agent.hears("ACK").await, invite.header("Proxy-Authorization"));
    assert!(given.contains("algorithm=MD5") && acked.header("Proxy-Authorization") == given, "{given}");
    spoken.reaches(&answer);
    let call = desk.live_call("agent1").await;

    // Outside secure mode an event passes: the ear works.
    spoken.keys(5).await;
    heard.hears_event().await;
    let keys = Arc::new(KeyQueue::new());
    call.secure(Arc::clone(&keys)).await.unwrap();
    heard.forget();

    customer.offers("sendonly").await;
    let change = agent.hears("INVITE").await;
    assert_eq!(change.header("Authorization"), "");
    spoken.keys(4).await;
    agent.answers_with(&change, "401 Unauthorized", CHALLENGE, "").await;
    spoken.keys(6).await;
    let change = agent.hears("INVITE").await;
    let given = change.header("Authorization");
    assert!(given.contains("nc=00000001") && given.contains("algorithm=SHA-256"), "{given}");
    customer.key('1').await;
    agent.answers_as(&change, "recvonly").await;
    let held = customer.hears_of("SIP/2.0 200", "INVITE").await;
    assert!(held.0.contains("a=recvonly"), "{}", held.0);
    customer.request("ACK", "", "").await;
    spoken.keys(9).await;
    spoken.says().await;
    heard.hears_audio().await;
    assert_eq!(heard.events(), 0);
    let mut typed = Vec::new();
    until("all keys are there", || {
        typed.extend(std::iter::from_fn(|| keys.pop()).map(|report| report.key.ascii()));
        typed.len() == 4
    })
    .await;
    typed.sort_unstable();
    assert!(typed == b"1469");

    // The BYE is challenged too.
    customer.request("BYE", "", "").await;
    let bye = agent.hears("BYE").await;
    agent.answers_with(&bye, "401 Unauthorized", CHALLENGE, "").await;
    let bye = agent.hears("BYE").await;
    assert!(bye.header("Authorization").contains("nc=00000002"), "{}", bye.0);
    agent.answers(&bye, "200 OK").await;
    assert!(agent.never_heard("INFO"));
    desk.is_quiet().await;
}
