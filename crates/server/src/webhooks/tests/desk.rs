//! A desk to test at: a store, a clock that is moved, a dispatcher, and receivers on loopback.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hushpad_domain::ids::{AccountId, AgentId, ConfigurationId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::{Sessions, Webhooks, World};
use hushpad_domain::session::{NewSession, Session};
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{Backlog, Delivery, DeliveryList, Listed, Receiver};
use hushpad_gateways::Endpoint;
use hushpad_store::{Ownership, Store};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::announcer::Announcer;
use crate::metrics::Metrics;
use crate::webhooks::guard::Reach;
use crate::webhooks::signature::SigningSecret;
use crate::webhooks::{Dispatcher, Told, WebhookConfig, client};
use crate::world::RealWorld;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PATIENCE: Duration = Duration::from_secs(30);

/// A clock that tests move. What is random is random.
#[derive(Clone)]
pub(crate) struct MovedWorld(Arc<AtomicI64>);

impl World for MovedWorld {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn guid(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn secret(&self) -> [u8; 32] {
        [7; 32]
    }
}

/// The store, the clock, and who sends.
pub(crate) struct Desk {
    pub(crate) store: Arc<Store>,
    pub(crate) world: MovedWorld,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) told: Told<Store>,
    pub(crate) announcer: Announcer,
    _directory: tempfile::TempDir,
}

/// Whose webhook: of this configuration of the one account.
pub(crate) fn receiver(configuration: u32) -> Receiver {
    Receiver { account: AccountId("acme".into()), configuration: ConfigurationId(configuration) }
}

/// A webhook to this URL, on loopback and without TLS.
pub(crate) fn webhook(configuration: u32, url: &str) -> WebhookConfig {
    WebhookConfig {
        receiver: receiver(configuration),
        url: Endpoint::parse(url, true).unwrap(),
        secrets: vec![SigningSecret::parse(SECRET).unwrap()],
        token: None,
        reach: Reach::Private,
        tls: client::tls(None).unwrap(),
    }
}

impl Desk {
    pub(crate) async fn start(webhooks: Vec<WebhookConfig>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("hushpad.db").display());
        let store = Arc::new(
            hushpad_store::open(&url, Ownership::Exclusive(RealWorld::new().chance())).await.unwrap(),
        );
        let world = MovedWorld(Arc::new(AtomicI64::new(1_800_000_000_000_001)));
        let dispatcher = Self::dispatcher(webhooks, store.clone(), &world);
        let told = Told::new(Arc::clone(&store), dispatcher.clone());
        let announcer = Announcer::new(store.clone(), dispatcher.clone());
        Self { store, world, dispatcher, told, announcer, _directory: directory }
    }

    pub(crate) fn dispatcher(
        webhooks: Vec<WebhookConfig>,
        store: Arc<dyn Webhooks>,
        world: &MovedWorld,
    ) -> Dispatcher {
        Dispatcher::start(webhooks, store, Arc::new(world.clone()), Arc::new(Metrics::new())).unwrap()
    }

    /// A session that ends without the gateway, on this configuration.
    pub(crate) async fn session_ends(&self, configuration: u32) -> Session {
        self.session_ends_at(&self.announcer, configuration).await
    }

    /// The same, and whom this store tells is told.
    pub(crate) async fn session_ends_at(&self, store: &dyn Sessions, configuration: u32) -> Session {
        let data = [("Amount", "12.40"), ("Currency", "GBP"), ("MerchantReferenceCode", "ORDER-7")];
        let data: BTreeMap<_, _> = data.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let opened = Session::open(
            NewSession {
                guid: SessionGuid(Uuid::new_v4()),
                provider: ProviderSessionGuid(Uuid::new_v4()),
                account: AccountId("acme".into()),
                configuration: ConfigurationId(configuration),
                agent: AgentId("agent1234".into()),
                call: None,
                payment_data: PaymentData::new(data).unwrap(),
                webhook: true,
            },
            self.world.now(),
        );
        let session = opened.after.clone();
        store.commit(opened).await.unwrap();
        let ended = session.cancel(self.world.now()).unwrap();
        let session = ended.after.clone();
        store.commit(ended).await.unwrap();
        session
    }

    /// Moves the clock on, and lets everyone look at it.
    pub(crate) fn moves_to(&self, at: Timestamp) {
        self.world.0.store(at.as_micros(), Ordering::SeqCst);
        for configuration in 0..2 {
            self.dispatcher.nudge(&receiver(configuration));
        }
    }

    pub(crate) fn moves(&self, length: Duration) {
        self.moves_to(self.world.now().plus(length));
    }

    /// Waits until nothing is at a receiver or unwritten, and no try is due before this moment of the moved clock.
    pub(crate) async fn lets_pass(&self, length: Duration) {
        let end = self.world.now().plus(length);
        loop {
            let next = self.store.next_due(&receiver(0), &[]).await.unwrap();
            match next {
                Some(next) if next <= end => {
                    let tries = self.the_due().await.tries;
                    self.moves_to(next.max(self.world.now()));
                    self.until("the try is written down", async || {
                        let due = self.listed(Listed::Due).await;
                        due.first().is_none_or(|delivery| delivery.tries > tries)
                    })
                    .await;
                }
                Some(_) | None => return self.moves_to(end),
            }
        }
    }

    pub(crate) async fn backlog(&self) -> Backlog {
        self.store.backlog().await.unwrap()
    }

    pub(crate) async fn listed(&self, state: Listed) -> Vec<Delivery> {
        let account = AccountId("acme".into());
        self.store.deliveries(DeliveryList { account, state, after: None, limit: 100 }).await.unwrap()
    }

    pub(crate) async fn the_due(&self) -> Delivery {
        let mut due = self.listed(Listed::Due).await;
        assert_eq!(due.len(), 1);
        due.remove(0)
    }

    pub(crate) async fn all_delivered(&self) {
        self.until("all is delivered", async || self.backlog().await == Backlog::default()).await;
    }

    /// The one that waits has been tried so often.
    pub(crate) async fn tried(&self, times: u32) -> Delivery {
        self.until("tries", async || self.the_due().await.tries == times).await;
        self.the_due().await
    }

    pub(crate) async fn until(&self, what: &str, look: impl AsyncFn() -> bool) {
        let looking = async {
            while !look().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        assert!(found.is_ok(), "waited in vain: {what}");
    }

    /// What every story ends with: nobody was forgotten.
    pub(crate) async fn ends(self) {
        assert_eq!(self.backlog().await.due, 0, "a webhook is undelivered");
        self.dispatcher.shut_down().await;
        self.store.close().await;
    }
}

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    Answers(u16),
    /// With a body that never ends, after this status.
    AnswersAtLength(u16),
    RedirectsTo(&'static str),
    Hangs,
    /// As a token endpoint: a token with the number of the request, for an hour.
    GivesTokens,
}

/// A receiver on loopback.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    manner: Mutex<Manner>,
    came: Mutex<Vec<Came>>,
    connections: AtomicI64,
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Came {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Door {
    pub(crate) async fn open(manner: Manner) -> Self {
        Self::open_with(manner, None).await
    }

    pub(crate) async fn open_with(manner: Manner, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner =
            Inner { manner: Mutex::new(manner), came: Mutex::default(), connections: AtomicI64::new(0) };
        let door = Self { port, inner: Arc::new(inner) };
        let own = door.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                own.inner.connections.fetch_add(1, Ordering::SeqCst);
                let (door, tls) = (own.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => door.serve(stream).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                door.serve(stream).await;
                            }
                        }
                    }
                });
            }
        });
        door
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub(crate) fn now(&self, manner: Manner) {
        *self.inner.manner.lock().unwrap() = manner;
    }

    pub(crate) fn came(&self) -> Vec<Came> {
        self.inner.came.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> i64 {
        self.inner.connections.load(Ordering::SeqCst)
    }

    async fn serve<T: AsyncRead + AsyncWrite + Unpin>(&self, stream: T) {
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.receive(request).await) });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn receive(
        &self,
        request: Request<Incoming>,
    ) -> Response<http_body_util::Either<Full<Bytes>, Endless>> {
        use http_body_util::Either::{Left, Right};
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let number = {
            let mut came = self.inner.came.lock().unwrap();
            came.push(Came { headers: head.headers, body });
            came.len()
        };
        let manner = *self.inner.manner.lock().unwrap();
        let plain = |status: u16, body: String| {
            Response::builder().status(status).body(Left(Full::new(Bytes::from(body)))).unwrap()
        };
        match manner {
            Manner::Answers(status) => plain(status, String::new()),
            Manner::AnswersAtLength(status) => {
                Response::builder().status(status).body(Right(Endless)).unwrap()
            }
            Manner::RedirectsTo(place) => {
                Response::builder().status(302).header("location", place).body(Left(Full::default())).unwrap()
            }
            Manner::Hangs => std::future::pending().await,
            Manner::GivesTokens => {
                plain(200, format!(r#"{{"access_token":"token-{number}","expires_in":3600}}"#))
            }
        }
    }
}

/// A body without an end.
pub(crate) struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(&[b'x'; 16_384])))))
    }
}
