//! A leg leads to somebody else: its phone passes the call on (REFER), or somebody takes its place (`Replaces`).

use std::sync::Arc;

use hushpad::calls::CallHandle;
use hushpad::sip::{Credential, Hashes, Login, Peer};
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
    /// What the customer was answered with.
    answer: Message,
}

/// The value of `Replaces` for the dialog of a phone with us: tags as we see them.
fn naming(call_id: &str, ours: &str, theirs: &str) -> String {
    let tag = |header: &str| header.split(";tag=").nth(1).unwrap_or("phone").to_owned();
    format!("{call_id};to-tag={};from-tag={}", tag(ours), tag(theirs))
}

impl Scene {
    async fn talking() -> Self {
        Self::talking_at(Desk::start().await).await
    }

    async fn talking_at(desk: Desk) -> Self {
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
        Self { desk, customer, agent, next, invite, spoken, answer }
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

    /// How the agent's dialog with us is called.
    fn agents_dialog(&self) -> String {
        naming(self.invite.header("Call-ID"), self.invite.header("From"), "<x>;tag=phone")
    }

    /// How the customer's dialog with us is called.
    fn customers_dialog(&self) -> String {
        naming(self.answer.header("Call-ID"), self.answer.header("To"), self.answer.header("From"))
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

#[tokio::test]
async fn the_customers_side_passes_itself_on_to_whom_it_may_call() {
    let mut scene = Scene::talking().await;
    let mut spoken = Audio::open().await;
    scene.next.speaks_at(spoken.address());
    for target in ["<sip:somebody@pbx>", "<sip:agent-abroad@pbx>", "<sip:*482913@pbx>"] {
        scene.customer.request("REFER", &format!("Refer-To: {target}\r\n"), "").await;
        scene.customer.hears_of("SIP/2.0 403", "REFER").await;
    }
    scene.customer.request("REFER", "Refer-To: <sip:agent-next@pbx>\r\n", "").await;
    scene.customer.hears_of("SIP/2.0 202", "REFER").await;
    let trying = scene.customer.hears("NOTIFY").await;
    scene.customer.answers(&trying, "200 OK").await;
    // It leaves at once, as phones do, and the agent waits.
    scene.customer.request("BYE", "", "").await;
    scene.customer.hears_of("SIP/2.0 200", "BYE").await;
    let invite = scene.next.hears("INVITE").await;
    spoken.reaches(&invite);
    scene.next.answers(&invite, "200 OK").await;
    scene.next.hears("ACK").await;
    // It is the same call, still this agent's, and whoever is there now is the customer.
    let call = scene.desk.live_call("agent1").await;
    assert!(scene.agent.heard_nothing());
    let keys = Arc::new(KeyQueue::new());
    until_secured(&call, &keys).await;
    spoken.keys(6).await;
    until("the key of the one who is there now", || keys.pop().is_some()).await;
    scene.next.key_in(&invite, '7').await;
    until("and by INFO", || keys.pop().is_some()).await;
    assert!(scene.agent.never_heard("INFO"));
    scene.agent.asks(&scene.invite, "BYE", "").await;
    scene.agent.hears_of("SIP/2.0 200", "BYE").await;
    let bye = scene.next.hears("BYE").await;
    scene.next.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

/// A call that has nobody on one leg cannot be secured yet.
async fn until_secured(call: &CallHandle, keys: &Arc<KeyQueue>) {
    while call.secure(Arc::clone(keys)).await.is_err() {
        assert!(!*call.ended().borrow());
        tokio::task::yield_now().await;
    }
}

/// The sides stay what they are: whoever the agent sends the call to is not the customer, though calls to
/// there usually go out to customers.
#[tokio::test]
async fn an_agent_who_sends_the_call_outside_leaves_the_customer_the_customer() {
    let mut scene = Scene::talking().await;
    assert!(scene.refers("<sip:030555@pbx>").await.is("SIP/2.0 202"));
    scene.told("SIP/2.0 100 Trying", "active").await;
    // The number is reached at the same address as the agent.
    let invite = scene.agent.hears("INVITE").await;
    let mut heard = Audio::open().await;
    scene.agent.speaks_at(heard.address());
    scene.agent.answers(&invite, "200 OK").await;
    scene.told("SIP/2.0 200 OK", "terminated").await;
    let bye = scene.agent.hears("BYE").await;
    scene.agent.answers(&bye, "200 OK").await;
    let mut found = None;
    until("the call is nobody's yet", || {
        found = scene.desk.calls.of_account("shop").pop().map(|(call, _)| call);
        found.as_ref().is_some_and(|call| call.agent().is_none())
    })
    .await;
    let keys = Arc::new(KeyQueue::new());
    until_secured(&found.unwrap(), &keys).await;
    heard.forget();
    scene.spoken.keys(6).await;
    until("the customer's key", || keys.pop().is_some()).await;
    scene.spoken.says().await;
    heard.hears_audio().await;
    assert_eq!(heard.events(), 0);
    scene.customer_hangs_up().await;
    let bye = scene.agent.hears("BYE").await;
    scene.agent.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

#[tokio::test]
async fn somebody_from_outside_takes_the_agents_place() {
    let mut scene = Scene::talking().await;
    let mut heard = Audio::open().await;
    let mut colleague = Phone::at("127.0.0.1:0", scene.desk.sip()).await;
    colleague.speaks_at(heard.address());
    let headers = format!("Replaces: {}\r\nX-Agent-Id: agent2\r\n", scene.agents_dialog());
    colleague.invites_with("hushpad", &headers).await;
    let answer = colleague.hears("SIP/2.0 200").await;
    colleague.joins(&answer);
    colleague.request("ACK", "", "").await;
    let bye = scene.agent.hears("BYE").await;
    scene.agent.answers(&bye, "200 OK").await;
    let call = scene.desk.live_call("agent2").await;
    assert!(scene.desk.calls.live_calls("shop", "agent1").is_empty());
    // The customer notices nothing, and is guarded toward the new one.
    assert!(scene.customer.heard_nothing());
    scene.spoken.keys(5).await;
    heard.hears_event().await;
    let keys = Arc::new(KeyQueue::new());
    call.secure(Arc::clone(&keys)).await.unwrap();
    heard.forget();
    scene.spoken.keys(6).await;
    until("the key is there", || keys.pop().is_some()).await;
    scene.spoken.says().await;
    heard.hears_audio().await;
    assert_eq!(heard.events(), 0);
    scene.customer_hangs_up().await;
    let bye = colleague.hears("BYE").await;
    colleague.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

#[tokio::test]
async fn somebody_from_outside_takes_the_customers_place_and_is_the_customer() {
    let mut scene = Scene::talking().await;
    let (mut spoken, mut heard) = (Audio::open().await, Audio::open().await);
    let mut other = Phone::at("127.0.0.1:0", scene.desk.sip()).await;
    other.speaks_at(spoken.address());
    other.invites_with("hushpad", &format!("Replaces: {}\r\n", scene.customers_dialog())).await;
    let answer = other.hears("SIP/2.0 200").await;
    other.joins(&answer);
    spoken.reaches(&answer);
    other.request("ACK", "", "").await;
    let bye = scene.customer.hears("BYE").await;
    scene.customer.answers(&bye, "200 OK").await;
    let call = scene.desk.live_call("agent1").await;
    // The agent's phone names a place for sound only now.
    scene.agent.speaks_at(heard.address());
    scene.agent.offers_in(&scene.invite).await;
    scene.agent.hears_of("SIP/2.0 200", "INVITE").await;
    let keys = Arc::new(KeyQueue::new());
    call.secure(Arc::clone(&keys)).await.unwrap();
    spoken.keys(6).await;
    until("the key is there", || keys.pop().is_some()).await;
    spoken.says().await;
    heard.hears_audio().await;
    assert_eq!(heard.events(), 0);
    // The one who was the customer before is nobody.
    scene.customer.request("INFO", "", "").await;
    scene.customer.hears_of("SIP/2.0 481", "INFO").await;
    other.request("BYE", "", "").await;
    other.hears_of("SIP/2.0 200", "BYE").await;
    let bye = scene.agent.hears("BYE").await;
    scene.agent.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

#[tokio::test]
async fn a_place_is_taken_neither_in_secure_mode_nor_from_another_peer_nor_by_a_wrong_name() {
    let desk = Desk::start_with(|config| {
        config.peers.push(Peer {
            name: "elsewhere".to_owned(),
            networks: vec!["127.0.0.3".parse().unwrap()],
            ..config.peers[0].clone()
        });
    })
    .await;
    let mut scene = Scene::talking_at(desk).await;
    let own = scene.agents_dialog();
    let call = scene.desk.live_call("agent1").await;
    let sip = scene.desk.sip();
    let asks = async |from: &str, replaces: String| {
        let mut phone = Phone::at(from, sip).await;
        phone.invites_with("hushpad", &format!("Replaces: {replaces}\r\n")).await;
        let answer = phone.hears("SIP/2.0 4").await;
        phone.joins(&answer);
        phone.acknowledges(1).await;
        answer.0[8..11].to_owned()
    };
    let here = "127.0.0.1:0";
    assert_eq!(asks("127.0.0.3:0", own.clone()).await, "403", "another peer");
    for wrong in ["x;to-tag=1;from-tag=2".to_owned(), own.replace("from-tag=", "from-tag=x"), "".to_owned()] {
        assert_eq!(asks(here, wrong).await, "481");
    }
    assert_eq!(asks(here, format!("{own};early-only")).await, "486");
    assert_eq!(asks(here, format!("{own}\r\nReplaces: {own}")).await, "400");
    call.secure(Arc::new(KeyQueue::new())).await.unwrap();
    for dialog in [own, scene.customers_dialog()] {
        assert_eq!(asks(here, dialog).await, "403", "in secure mode");
    }
    assert_eq!(scene.desk.calls.dialogs(), 2);
    assert!(!*call.ended().borrow());
    scene.customer_hangs_up().await;
    let bye = scene.agent.hears("BYE").await;
    scene.agent.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

/// Its dialog is one that we began, so nobody has proved anything on it.
#[tokio::test]
async fn a_peer_that_must_say_who_it_is_must_say_it_for_a_refer_too() {
    let login = Login {
        peer: "elsewhere".to_owned(),
        credential: Credential::new("pbx-user", "pbx-password"),
        hashes: Hashes::Both,
    };
    let desk = Desk::start_with(|config| {
        config.peers.insert(
            0,
            Peer {
                name: "elsewhere".to_owned(),
                networks: vec!["127.0.0.4".parse().unwrap()],
                ..config.peers[0].clone()
            },
        );
        config.logins = vec![login];
    })
    .await;
    let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
    let mut agent = Phone::at("127.0.0.4:0", desk.sip()).await;
    let at = agent.socket_address().to_string().replace(':', "_");
    customer.invite(&format!("agent-at-{at}"), None).await;
    let invite = agent.hears("INVITE").await;
    agent.answers(&invite, "200 OK").await;
    let answer = customer.hears("SIP/2.0 200").await;
    customer.joins(&answer);
    customer.request("ACK", "", "").await;
    agent.hears("ACK").await;
    agent.refers(&invite, "<sip:agent-next@pbx>").await;
    assert!(agent.hears("SIP/2.0").await.0.contains("WWW-Authenticate: Digest"));
    customer.request("BYE", "", "").await;
    let bye = agent.hears("BYE").await;
    agent.answers(&bye, "200 OK").await;
    desk.is_quiet().await;
}
