//! Signals to an account's call recorder: pause when secure mode begins, resume when it has ended.
//!
//! A courtesy, never the protection: the recorder behind the agent's leg hears nothing of the keys anyway. A call and
//! its session never wait for it, and what it answers changes nothing for them.
//!
//! [`Recorders::paused`] gives a [`Paused`]; dropping that resumes, however the session ended. Each session's two
//! signals go one after the other: a resume never overtakes its pause.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use hushpad_domain::ids::{AccountId, AgentId, CallGuid, SessionGuid};
use hushpad_domain::ports::World;
use hushpad_gateways::Endpoint;
use serde_json::json;
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsConnector;

use crate::metrics::Metrics;
use crate::webhooks::client::Client;
use crate::webhooks::guard::Reach;
use crate::webhooks::signature::{self, SigningSecret};
use crate::world::RealWorld;

/// Before each try of a signal. Later than half a minute a pause is of no use to anybody.
const TRIES: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];
/// Sessions of one account whose recorder is being told; more than that many are not told, and counted. A recorder
/// that hangs holds a place for 66 s: its tries and what lies between them.
const AT_ONCE_MAX: usize = 1_000;

/// One account's recorder.
pub struct RecorderConfig {
    /// Whose.
    pub account: AccountId,
    /// Where signals go.
    pub url: Endpoint,
    /// What they are signed with.
    pub secrets: Vec<SigningSecret>,
    /// Where the recorder may be.
    pub reach: Reach,
    /// Whose certificates are taken.
    pub tls: TlsConnector,
}

/// The recorders of all accounts. Clones are handles to the same.
#[derive(Clone)]
pub struct Recorders {
    by_account: Arc<HashMap<AccountId, Arc<Recorder>>>,
    world: RealWorld,
    metrics: Arc<Metrics>,
}

struct Recorder {
    client: Client,
    secrets: Vec<SigningSecret>,
    room: Arc<Semaphore>,
}

/// The recorder was told to pause; dropping this tells it to resume.
pub struct Paused {
    _resume: oneshot::Sender<()>,
}

/// What a signal is about. No name of a person, no number, nothing of a card.
#[derive(Clone, Debug)]
pub struct About {
    /// Whose call.
    pub account: AccountId,
    /// The call.
    pub call: CallGuid,
    /// The session.
    pub session: SessionGuid,
    /// The agent.
    pub agent: AgentId,
}

#[derive(Clone, Copy)]
enum Signal {
    Pause,
    Resume,
}

impl Recorders {
    /// The recorders that are configured.
    #[must_use]
    pub fn new(configs: Vec<RecorderConfig>, world: RealWorld, metrics: Arc<Metrics>) -> Self {
        let by_account = configs.into_iter().map(|config| {
            let RecorderConfig { account, url, secrets, reach, tls } = config;
            let room = Arc::new(Semaphore::new(AT_ONCE_MAX));
            (account, Arc::new(Recorder { client: Client::new(url, reach, tls), secrets, room }))
        });
        Self { by_account: Arc::new(by_account.collect()), world, metrics }
    }

    /// Tells the account's recorder to pause, if there is one. Does not wait.
    #[must_use]
    pub fn paused(&self, about: About) -> Option<Paused> {
        let recorder = Arc::clone(self.by_account.get(&about.account)?);
        let Ok(place) = Arc::clone(&recorder.room).try_acquire_owned() else {
            self.metrics.recorder_told("pause", "no_room");
            return None;
        };
        let (resume, resumed) = oneshot::channel();
        let this = self.clone();
        tokio::spawn(async move {
            this.tell(&recorder, Signal::Pause, &about).await;
            drop(place);
            // It is never sent anything: its end is the message.
            let _ended = resumed.await;
            this.tell(&recorder, Signal::Resume, &about).await;
        });
        Some(Paused { _resume: resume })
    }

    /// Until it is acknowledged with a 2xx, or the tries are used up.
    async fn tell(&self, recorder: &Recorder, signal: Signal, about: &About) {
        let id = self.world.guid().to_string();
        let body = json!({
            "event": signal.word(),
            "callGuid": about.call,
            "sessionGuid": about.session,
            "agentId": about.agent,
            "at": self.world.now().to_string(),
        });
        let body = Bytes::from(body.to_string());
        for wait in TRIES {
            tokio::time::sleep(wait).await;
            if self.post(recorder, &id, body.clone()).await {
                self.metrics.recorder_told(signal.word(), "acknowledged");
                return;
            }
        }
        self.metrics.recorder_told(signal.word(), "unanswered");
        tracing::warn!(
            call.id = %about.call,
            session.id = %about.session,
            signal = signal.word(),
            recorder = recorder.client.authority(),
            "the recorder did not acknowledge"
        );
    }

    async fn post(&self, recorder: &Recorder, id: &str, body: Bytes) -> bool {
        let seconds = self.world.now().as_seconds().to_string();
        let signatures = signature::sign(&recorder.secrets, id, &seconds, &body);
        let texts =
            [(signature::ID, id), (signature::TIMESTAMP, &seconds), (signature::SIGNATURE, &signatures)];
        let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        for (name, text) in texts {
            let Ok(value) = HeaderValue::try_from(text) else { return false };
            headers.push((HeaderName::from_static(name), value));
        }
        let reply = recorder.client.post(&headers, body).await;
        reply.is_ok_and(|reply| (200..300).contains(&reply.status))
    }
}

impl Signal {
    fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::client;
    use axum::Router;
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;
    use serde_json::Value;
    use tokio::io::AsyncReadExt;
    use tokio::sync::mpsc;
    use tokio::time::Instant;
    use uuid::Uuid;

    const STEP: Duration = Duration::from_millis(100);
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    struct Receiver {
        told: mpsc::UnboundedSender<Value>,
        refusals: std::sync::Mutex<u32>,
    }

    async fn hear(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
        let secret = SigningSecret::parse(SECRET).unwrap();
        signature::verify(&secret, &headers, &body, RealWorld::new().now()).expect("it is signed");
        let mut refusals = receiver.refusals.lock().unwrap();
        if *refusals > 0 {
            *refusals -= 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        receiver.told.send(serde_json::from_slice(&body).unwrap()).unwrap();
        StatusCode::NO_CONTENT
    }

    /// A recorder that first refuses so often, and what it hears.
    async fn recorder(refusals: u32) -> (Recorders, mpsc::UnboundedReceiver<Value>) {
        let (told, heard) = mpsc::unbounded_channel();
        let receiver = Arc::new(Receiver { told, refusals: std::sync::Mutex::new(refusals) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/signals", listener.local_addr().unwrap());
        let app = Router::new().route("/signals", post(hear)).with_state(receiver);
        tokio::spawn(async move { axum::serve(listener, app).await });
        (recorders_at(&url, &Arc::default()), heard)
    }

    fn recorders_at(url: &str, metrics: &Arc<Metrics>) -> Recorders {
        let config = RecorderConfig {
            account: AccountId("shop".into()),
            url: Endpoint::parse(url, true).unwrap(),
            secrets: vec![SigningSecret::parse(SECRET).unwrap()],
            reach: Reach::Private,
            tls: client::tls(None).unwrap(),
        };
        Recorders::new(vec![config], RealWorld::new(), Arc::clone(metrics))
    }

    /// A recorder that takes connections, reads, and never answers, nor hangs up; and what it reads.
    async fn silent_recorder() -> (String, mpsc::UnboundedReceiver<String>) {
        let (told, heard) = mpsc::unbounded_channel();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/signals", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut text = Vec::new();
                while !text.ends_with(b"}") {
                    assert_ne!(connection.read_buf(&mut text).await.unwrap(), 0);
                }
                told.send(String::from_utf8(text).unwrap()).unwrap();
                kept.push(connection);
            }
        });
        (url, heard)
    }

    /// Moves time by small steps, with room for the sockets between them, until this is so.
    async fn time_passes_until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        for _ in 0..1_000 {
            for _ in 0..500 {
                if let Some(found) = condition() {
                    return found;
                }
                tokio::task::yield_now().await;
            }
            tokio::time::advance(STEP).await;
        }
        panic!("waited in vain: {what}");
    }

    fn about(account: &str) -> About {
        About {
            account: AccountId(account.into()),
            call: CallGuid(Uuid::from_u128(1)),
            session: SessionGuid(Uuid::from_u128(2)),
            agent: AgentId("anna".into()),
        }
    }

    #[tokio::test]
    async fn pause_and_resume_are_told_in_order_and_tried_again() {
        let (recorders, mut heard) = recorder(1).await;
        assert!(recorders.paused(about("other")).is_none());
        let paused = recorders.paused(about("shop"));
        // At once, while the pause is still being tried.
        drop(paused);
        let (first, second) = (heard.recv().await.unwrap(), heard.recv().await.unwrap());
        assert_eq!((&first["event"], &second["event"]), (&json!("pause"), &json!("resume")));
        assert_eq!(first["callGuid"], "00000000-0000-0000-0000-000000000001");
        assert_eq!((&first["sessionGuid"], &first["agentId"]), (&second["sessionGuid"], &json!("anna")));
        assert_eq!(first.as_object().unwrap().len(), 5, "nothing else is told");
    }

    #[tokio::test]
    async fn a_silent_recorder_is_given_up_after_its_tries_and_nobody_waits_for_it() {
        let (url, mut heard) = silent_recorder().await;
        let metrics = Arc::new(Metrics::new());
        let recorders = recorders_at(&url, &metrics);
        tokio::time::pause();
        let mut begun = Instant::now();
        // The session goes on, and is over, while not a moment has passed and nothing is acknowledged.
        drop(recorders.paused(about("shop")).unwrap());
        assert_eq!(Instant::now(), begun);
        // Some steps go by while the sockets of four tries are opened.
        let is_about = |since: Instant, due: Duration| {
            let (early, late) = (since.elapsed() < due, since.elapsed() > due + 20 * STEP);
            assert!(!early && !late, "{:?} in place of {due:?}", since.elapsed());
        };
        for signal in [Signal::Pause, Signal::Resume] {
            let mut due = Duration::ZERO;
            for wait in TRIES {
                due += wait;
                let request = time_passes_until("a try", || heard.try_recv().ok()).await;
                assert!(request.contains(&format!("\"event\":\"{}\"", signal.word())), "{request}");
                is_about(begun, due);
                due += client::TRY_TIME_OUT;
            }
            let given_up = format!("signal=\"{}\",answer=\"unanswered\"}} 1", signal.word());
            time_passes_until("it is given up", || metrics.text().contains(&given_up).then_some(())).await;
            is_about(begun, due);
            begun = Instant::now();
        }
        assert!(heard.try_recv().is_err(), "it is told no more");
        assert_eq!(recorders.by_account[&AccountId("shop".into())].room.available_permits(), AT_ONCE_MAX);
    }
}
