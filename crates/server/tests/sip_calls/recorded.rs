//! A recorder that is reached by SIP (SIPREC): it is told of the call, hears both, and never a key.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use hushpad::calls::{CallHandle, RecorderEar, SipRecorder};
use hushpad::sip::Credential;
use hushpad_telephony::g711::Law;
use hushpad_telephony::key_queue::KeyQueue;

use crate::desk::{Desk, free_address, until};
use crate::phone::{Message, Phone};
use crate::rtp::{Audio, tone};

type Told = Arc<Mutex<Vec<(&'static str, &'static str)>>>;

/// A call that is recorded, or is to be.
struct Scene {
    desk: Desk,
    told: Told,
    recorder: Phone,
    customer: Phone,
    agent: Phone,
    customer_audio: Audio,
    agent_audio: Audio,
    call: CallHandle,
}

/// The recorder's two ends, what the customer says first.
struct Tapes {
    invite: Message,
    customer: Audio,
    agent: Audio,
}

impl Scene {
    /// Both speak. The recorder has not answered anything.
    async fn talking() -> Self {
        Self::talking_as(None).await
    }

    /// The same, where we can say to the recorder who we are.
    async fn talking_as(credential: Option<Credential>) -> Self {
        let (told, recorder) = (Told::default(), free_address());
        let heard = Arc::clone(&told);
        let ear = RecorderEar::new(move |signal, answer| heard.lock().unwrap().push((signal, answer)));
        let desk = Desk::start_with(|config| {
            let uri = format!("sip:recorder@{recorder}");
            config.recorders.by_account.insert("shop".to_owned(), SipRecorder { uri, credential });
            config.recorders.ear = ear;
        })
        .await;
        let recorder = Phone::at(&recorder.to_string(), desk.sip()).await;
        let mut customer = Phone::at("127.0.0.1:0", desk.sip()).await;
        let mut agent = Phone::at(&desk.agent.to_string(), desk.sip()).await;
        let (mut customer_audio, mut agent_audio) = (Audio::open().await, Audio::open().await);
        customer.speaks_at(customer_audio.address());
        agent.speaks_at(agent_audio.address());
        customer.invite("agent1", None).await;
        let invite = agent.hears("INVITE").await;
        agent_audio.reaches(&invite);
        agent.answers(&invite, "200 OK").await;
        let answer = customer.hears("SIP/2.0 200").await;
        customer.joins(&answer);
        customer.request("ACK", "", "").await;
        customer_audio.reaches(&answer);
        agent.hears("ACK").await;
        let call = desk.live_call("agent1").await;
        Self { desk, told, recorder, customer, agent, customer_audio, agent_audio, call }
    }

    /// The recorder takes the call.
    async fn is_recorded(&self) -> Tapes {
        let invite = self.recorder.hears("INVITE").await;
        let tapes = Tapes { invite, customer: Audio::open().await, agent: Audio::open().await };
        self.recorder.answers_with(&tapes.invite, "200 OK", "", &tapes.answer("recvonly")).await;
        self.recorder.hears("ACK").await;
        self.is_told("record", "acknowledged").await;
        tapes
    }

    /// The next change of the recording is taken; what it was.
    async fn changes(&self, tapes: &Tapes, direction: &str) -> Message {
        let change = self.recorder.hears("INVITE").await;
        self.recorder.answers_with(&change, "200 OK", "", &tapes.answer(direction)).await;
        self.recorder.hears("ACK").await;
        change
    }

    async fn is_told(&self, signal: &'static str, answer: &'static str) {
        until("what came of the signal is known", || self.told.lock().unwrap().contains(&(signal, answer)))
            .await;
    }

    async fn ends(&mut self) {
        self.customer.request("BYE", "", "").await;
        self.customer.hears_of("SIP/2.0 200", "BYE").await;
        let bye = self.agent.hears("BYE").await;
        self.agent.answers(&bye, "200 OK").await;
    }
}

impl Tapes {
    fn answer(&self, direction: &str) -> String {
        let [customer, agent] = [&self.customer, &self.agent].map(|audio| audio.address().port());
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {customer} RTP/AVP 0\r\na={direction}\r\nm=audio {agent} RTP/AVP 0\r\na={direction}\r\n"
        )
    }
}

#[tokio::test]
async fn a_recorder_is_told_of_the_call_and_pauses_while_keys_are_pressed() {
    let mut scene = Scene::talking().await;
    let mut tapes = scene.is_recorded().await;
    let invite = &tapes.invite;
    assert_eq!(invite.header("Require"), "siprec");
    assert!(invite.header("Contact").ends_with(">;+sip.src"), "{}", invite.0);
    assert!(invite.header("Content-Type").starts_with("multipart/mixed;boundary="), "{}", invite.0);
    for text in ["a=label:1", "a=label:2", "a=sendonly", "<label>1</label>", "aor=\"sip:agent1@127.0.0.1\""] {
        assert!(invite.0.contains(text), "{text} is not in {}", invite.0);
    }
    // It is not told who calls: the account may not see that either.
    assert!(!invite.0.contains("sip:customer"), "{}", invite.0);

    let (said, answered) = ([0x55; 160], [0x66; 160]);
    scene.customer_audio.sounds(&said).await;
    assert_eq!(tapes.customer.hears_sound().await, said);
    scene.agent_audio.sounds(&answered).await;
    assert_eq!(tapes.agent.hears_sound().await, answered);

    let keys = Arc::new(KeyQueue::new());
    scene.call.secure(Arc::clone(&keys)).await.unwrap();
    let pause = scene.changes(&tapes, "inactive").await;
    assert_eq!((pause.0.matches("a=inactive").count(), pause.0.matches("a=sendonly").count()), (2, 0));
    assert!(pause.0.contains("<disassociate-time>"), "{}", pause.0);
    scene.is_told("pause", "acknowledged").await;
    tapes.customer.forget();
    scene.customer_audio.keys(4).await;
    for sound in tone(5) {
        scene.customer_audio.sounds(&sound).await;
    }
    for _ in 0..8 {
        scene.customer_audio.sounds(&said).await;
    }
    // The event and the tone; 0x55 alone is no key.
    let mut typed = 0;
    until("both keys are there", || {
        typed += std::iter::from_fn(|| keys.pop()).count();
        typed == 2
    })
    .await;

    scene.call.release().await.unwrap();
    let resume = scene.changes(&tapes, "recvonly").await;
    assert!(resume.0.matches("a=sendonly").count() == 2 && !resume.0.contains("<disassociate-time>"));
    scene.is_told("resume", "acknowledged").await;
    scene.customer_audio.sounds(&[0x77; 160]).await;
    // Nothing came in between.
    assert_eq!(tapes.customer.hears_sound().await, [0x77; 160]);
    assert_eq!(tapes.customer.events(), 0);

    scene.ends().await;
    let bye = scene.recorder.hears("BYE").await;
    scene.recorder.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

/// Its refusal of the pause changes nothing: it is given no copy, and the guard stands before it anyway.
#[tokio::test]
async fn a_recorder_that_will_not_pause_hears_no_key_either() {
    let mut scene = Scene::talking().await;
    let mut tapes = scene.is_recorded().await;
    scene.call.secure(Arc::new(KeyQueue::new())).await.unwrap();
    let pause = scene.recorder.hears("INVITE").await;
    scene.recorder.answers(&pause, "488 Not Acceptable Here").await;
    scene.is_told("pause", "refused").await;
    tapes.customer.forget();
    for sound in tone(10) {
        scene.customer_audio.sounds(&sound).await;
    }
    scene.customer_audio.keys(4).await;
    for _ in 0..12 {
        scene.customer_audio.says().await;
    }
    scene.call.release().await.unwrap();
    scene.changes(&tapes, "recvonly").await;
    scene.is_told("resume", "acknowledged").await;
    scene.customer_audio.says().await;
    let first = tapes.customer.hears_sound().await;
    let loudest = first.iter().map(|byte| Law::Mu.decode(*byte).unsigned_abs()).max();
    assert_eq!((loudest, tapes.customer.events()), (Some(0), 0));
    scene.ends().await;
    let bye = scene.recorder.hears("BYE").await;
    scene.recorder.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

/// Nobody answers at its address: the call and its session do not notice.
#[tokio::test]
async fn a_dead_recorder_changes_nothing() {
    let mut scene = Scene::talking().await;
    let keys = Arc::new(KeyQueue::new());
    scene.call.secure(Arc::clone(&keys)).await.unwrap();
    scene.agent_audio.forget();
    scene.customer_audio.keys(4).await;
    until("the key is there", || keys.pop().is_some()).await;
    scene.customer_audio.says().await;
    scene.agent_audio.hears_audio().await;
    assert_eq!(scene.agent_audio.events(), 0);
    scene.call.release().await.unwrap();
    scene.customer_audio.keys(5).await;
    scene.agent_audio.hears_event().await;
    scene.ends().await;
    // Its INVITE is given up with the call; nothing is left of it.
    scene.recorder.hears("INVITE").await;
    scene.desk.is_quiet().await;
}

#[tokio::test]
async fn a_recorder_that_refuses_or_leaves_or_never_answers_is_counted_and_the_call_goes_on() {
    let mut scene = Scene::talking().await;
    let invite = scene.recorder.hears("INVITE").await;
    scene.recorder.answers(&invite, "486 Busy Here").await;
    scene.is_told("record", "refused").await;
    scene.call.secure(Arc::new(KeyQueue::new())).await.unwrap();
    scene.ends().await;
    scene.desk.is_quiet().await;

    let mut scene = Scene::talking().await;
    let mut tapes = scene.is_recorded().await;
    scene.customer_audio.says().await;
    tapes.customer.hears_audio().await;
    let invite = tapes.invite.clone();
    scene.recorder.asks(&invite, "BYE", "").await;
    scene.recorder.hears_of("SIP/2.0 200", "BYE").await;
    scene.is_told("record", "ended").await;
    scene.call.secure(Arc::new(KeyQueue::new())).await.unwrap();
    scene.ends().await;
    scene.desk.is_quiet().await;
}

const CHALLENGE: &str =
    "WWW-Authenticate: Digest realm=\"tapes\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n";

/// It asks at the INVITE, at the pause and at the BYE.
#[tokio::test]
async fn a_recorder_that_asks_who_we_are_is_told() {
    let credential = Credential::new("hushpad", "tape-password").for_realm("tapes");
    let mut scene = Scene::talking_as(Some(credential)).await;
    let invite = scene.recorder.hears("INVITE").await;
    assert_eq!(invite.header("Authorization"), "");
    scene.recorder.answers_with(&invite, "401 Unauthorized", CHALLENGE, "").await;
    scene.recorder.hears("ACK").await;
    let tapes = scene.is_recorded().await;
    let told = tapes.invite.header("Authorization").to_owned();
    for text in ["username=\"hushpad\"", "realm=\"tapes\"", "nonce=\"n\"", "nc=00000001", "algorithm=SHA-256"]
    {
        assert!(told.contains(text), "{text} is not in {told}");
    }
    assert!(tapes.invite.0.contains("+sip.src") && tapes.invite.0.contains("a=label:2"));
    scene.call.secure(Arc::new(KeyQueue::new())).await.unwrap();
    let pause = scene.recorder.hears("INVITE").await;
    let anew = CHALLENGE.replace("\"n\"", "\"m\"");
    scene.recorder.answers_with(&pause, "401 Unauthorized", &anew, "").await;
    scene.recorder.hears("ACK").await;
    let pause = scene.changes(&tapes, "inactive").await;
    assert!(pause.header("Authorization").contains("nonce=\"m\""), "{}", pause.0);
    scene.is_told("pause", "acknowledged").await;
    scene.ends().await;
    let bye = scene.recorder.hears("BYE").await;
    scene.recorder.answers_with(&bye, "401 Unauthorized", &anew, "").await;
    let bye = scene.recorder.hears("BYE").await;
    assert!(bye.header("Authorization").contains("nonce=\"m\""), "{}", bye.0);
    scene.recorder.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

/// Another realm gets no hash of the password, and a recorder that asks one without a credential no recording.
#[tokio::test]
async fn a_recorder_that_asks_what_we_cannot_say_refuses() {
    let credential = Credential::new("hushpad", "tape-password").for_realm("other");
    for credential in [Some(credential), None] {
        let mut scene = Scene::talking_as(credential).await;
        let invite = scene.recorder.hears("INVITE").await;
        scene.recorder.answers_with(&invite, "401 Unauthorized", CHALLENGE, "").await;
        scene.recorder.hears("ACK").await;
        scene.is_told("record", "refused").await;
        scene.ends().await;
        scene.desk.is_quiet().await;
        assert!(scene.recorder.heard_nothing());
    }
}

/// How long a recorder may take to answer, by the documentation.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Time passes for all timers; what is on the wire waits meanwhile.
async fn pass(length: Duration) {
    tokio::time::pause();
    tokio::time::advance(length).await;
    tokio::time::resume();
}

impl Scene {
    /// A key counts, the agent does not hear it, and speech comes through.
    async fn takes_a_key(&mut self, keys: &KeyQueue) {
        self.agent_audio.forget();
        self.customer_audio.keys(4).await;
        until("the key is there", || keys.pop().is_some()).await;
        self.customer_audio.says().await;
        self.agent_audio.hears_audio().await;
        assert_eq!(self.agent_audio.events(), 0);
    }
}

/// It takes the call and says nothing more: neither the session nor the call waits for that, before its time is over
/// or after.
#[tokio::test]
async fn a_recorder_that_falls_silent_delays_no_key_and_ends_no_call() {
    let mut scene = Scene::talking().await;
    let mut tapes = scene.is_recorded().await;
    let keys = Arc::new(KeyQueue::new());
    scene.call.secure(Arc::clone(&keys)).await.unwrap();
    let pause = scene.recorder.hears("INVITE").await;
    tapes.customer.forget();
    // It has not answered, and its time is not over.
    scene.takes_a_key(&keys).await;
    pass(ANSWER_WAIT - Duration::from_secs(1)).await;
    scene.takes_a_key(&keys).await;
    assert_eq!(*scene.told.lock().unwrap(), [("record", "acknowledged")]);
    pass(Duration::from_secs(1)).await;
    scene.is_told("pause", "unanswered").await;
    scene.takes_a_key(&keys).await;
    // Secure mode ends as promptly. It is told, and as long as it says nothing it gets no copies.
    scene.call.release().await.unwrap();
    scene.customer_audio.keys(5).await;
    scene.agent_audio.hears_event().await;
    let resume = loop {
        let change = scene.recorder.hears("INVITE").await;
        if change.header("CSeq") != pause.header("CSeq") {
            break change;
        }
    };
    assert_eq!(resume.0.matches("a=sendonly").count(), 2);
    pass(ANSWER_WAIT).await;
    scene.is_told("resume", "unanswered").await;
    scene.customer_audio.says().await;
    scene.agent_audio.hears_audio().await;
    assert!(tapes.customer.heard_nothing());
    scene.ends().await;
    until("the call is gone", || scene.desk.calls.count() == 0).await;
}

/// It never says a word: the call is not recorded, and all else is as ever.
#[tokio::test]
async fn a_recorder_that_never_answers_is_given_up_in_its_time() {
    let mut scene = Scene::talking().await;
    scene.recorder.hears("INVITE").await;
    let keys = Arc::new(KeyQueue::new());
    scene.call.secure(Arc::clone(&keys)).await.unwrap();
    scene.takes_a_key(&keys).await;
    assert!(scene.told.lock().unwrap().is_empty());
    pass(ANSWER_WAIT).await;
    scene.is_told("record", "unanswered").await;
    scene.takes_a_key(&keys).await;
    scene.call.release().await.unwrap();
    scene.ends().await;
    scene.desk.is_quiet().await;
}

/// While it thinks about one pause there is another, and both are over: it is told how it is now.
#[tokio::test]
async fn a_slow_recorder_catches_up() {
    let mut scene = Scene::talking().await;
    let mut tapes = scene.is_recorded().await;
    let keys = Arc::new(KeyQueue::new());
    scene.call.secure(Arc::clone(&keys)).await.unwrap();
    let pause = scene.recorder.hears("INVITE").await;
    for _ in 0..2 {
        scene.call.release().await.unwrap();
        scene.call.secure(Arc::clone(&keys)).await.unwrap();
    }
    scene.call.release().await.unwrap();
    scene.recorder.answers_with(&pause, "200 OK", "", &tapes.answer("inactive")).await;
    // What it was sent again meanwhile is the same request.
    let resume = loop {
        let change = scene.recorder.hears("INVITE").await;
        if change.header("CSeq") != pause.header("CSeq") {
            break change;
        }
    };
    assert_eq!(resume.0.matches("a=sendonly").count(), 2);
    scene.recorder.answers_with(&resume, "200 OK", "", &tapes.answer("recvonly")).await;
    scene.is_told("resume", "acknowledged").await;
    scene.customer_audio.sounds(&[0x77; 160]).await;
    assert_eq!(tapes.customer.hears_sound().await, [0x77; 160]);
    scene.ends().await;
    let bye = scene.recorder.hears("BYE").await;
    scene.recorder.answers(&bye, "200 OK").await;
    scene.desk.is_quiet().await;
}

#[tokio::test]
async fn a_recorder_hears_of_the_next_agent() {
    let mut scene = Scene::talking().await;
    let tapes = scene.is_recorded().await;
    scene.call.bind("agent2", false).await.unwrap().unwrap();
    let change = scene.changes(&tapes, "recvonly").await;
    assert!(
        change.0.contains("aor=\"sip:agent2@127.0.0.1\"") && !change.0.contains("agent1"),
        "{}",
        change.0
    );
    assert!(change.0.contains("a=sendonly"));
    scene.is_told("update", "acknowledged").await;
    scene.ends().await;
    let bye = scene.recorder.hears("BYE").await;
    // A recorder that never answers the BYE holds up nobody.
    drop(bye);
    until("the call is gone", || scene.desk.calls.count() == 0).await;
}

/// A call for which no ports are left beside its own is not recorded.
#[tokio::test]
async fn without_ports_for_the_copies_a_call_goes_on_unrecorded() {
    let told = Told::default();
    let heard = Arc::clone(&told);
    let desk = Desk::start_for_one_call_with(|config| {
        let recorder = SipRecorder { uri: "sip:recorder@127.0.0.1:9".to_owned(), credential: None };
        config.recorders.by_account.insert("shop".to_owned(), recorder);
        config.recorders.ear =
            RecorderEar::new(move |signal, answer| heard.lock().unwrap().push((signal, answer)));
    })
    .await;
    desk.play("customer", "agent").await;
    assert_eq!(*told.lock().unwrap(), [("record", "no_room")]);
    tokio::time::timeout(Duration::from_secs(1), desk.is_quiet()).await.unwrap();
}
