//! Adyen's notifications, from the simulator that signs and posts them to the endpoint that verifies, keeps and receipts
//! them, to the session that they end: accepted is not done, until it is told.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "real sockets run by the real clock")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hushpad::http;
use hushpad::metrics::Metrics;
use hushpad::payments::{Books, CameBy, CardHashes, Payments, PaymentsParts, Progress, StillThere, Vault};
use hushpad::world::RealWorld;
use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::acceptance::Acceptance;
use hushpad_domain::account::{Account, AccountConfiguration, Directory, Kind, PaymentFlow};
use hushpad_domain::attempt::{AttemptState, NotCharged, Purpose, Undoing};
use hushpad_domain::event::EventKind;
use hushpad_domain::field::Field;
use hushpad_domain::field_map::FieldMap;
use hushpad_domain::ids::{
    AccountId, AgentId, AttemptNo, ConfigurationId, GatewayName, OperationId, ProviderSessionGuid,
    SessionGuid,
};
use hushpad_domain::link::LINK_LIFE_MAX;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::operation::{Asked, OperationNo, OperationState};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::{Notifications, Operations, Sessions, World};
use hushpad_domain::session::{NewSession, OperationRequest, Outcome, Session};
use hushpad_domain::time::Tick;
use hushpad_gateways::sandbox::{self, ADYEN_API_KEY, ADYEN_HMAC_KEY, ADYEN_MERCHANT, Ledger};
use hushpad_gateways::{GatewayConfig, GatewayKind, Gateways};
use hushpad_store::{Ownership, Store};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const VISA: &str = "4111111111111111#1230123";
/// The simulator says of it that the security code does not match.
const WRONG_CODE: &str = "4000000000000101#1230123";
const SALE: ConfigurationId = ConfigurationId(0);
/// Adyen undoes by our reference what is authorised, not what was taken.
const AUTHORISE: ConfigurationId = ConfigurationId(1);
/// Only a broken product takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A simulator of Adyen, our endpoint, and what stands behind it.
struct Town {
    ledger: Ledger,
    store: Arc<Store>,
    payments: Payments,
    endpoint: std::net::SocketAddr,
    stop: CancellationToken,
    _directory: tempfile::TempDir,
}

impl Town {
    async fn open() -> Self {
        let (world, stop) = (RealWorld::new(), CancellationToken::new());
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("hushpad.db").display());
        let store = Arc::new(
            hushpad_store::open(&url, Ownership::Exclusive(RealWorld::new().chance())).await.unwrap(),
        );
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let kind = GatewayKind::Adyen {
            url: format!("http://{}/v72", gateway.local_addr().unwrap()),
            merchant_account: ADYEN_MERCHANT.to_owned(),
            api_key: ADYEN_API_KEY.to_owned(),
            hmac_key: Some(ADYEN_HMAC_KEY.to_owned()),
        };
        let settle_time = Duration::from_secs(2);
        let config = GatewayConfig { settle_time, ..GatewayConfig::new(adyen(), kind) };
        let clock = world.clone();
        let ledger = Ledger::in_memory_at(move || clock.now());
        tokio::spawn(sandbox::serve(gateway, ledger.clone(), stop.clone().cancelled_owned()));
        let hashes = CardHashes::new(&[0; 32]);
        let vault = Vault { cards: store.clone(), hashes: hashes.clone(), merchants: Arc::default() };
        let payments = Payments::new(PaymentsParts {
            books: Books::new(store.clone(), Arc::new(world.clone()), hashes),
            settlements: store.clone(),
            notifications: store.clone(),
            vault,
            acquirer: Arc::new(Gateways::new(vec![config]).unwrap()),
            directory: Arc::new(directory_of_accounts()),
            world: Arc::new(world),
            metrics: Arc::new(Metrics::new()),
        });
        let taking = payments.clone();
        tokio::spawn(async move { taking.take_up_notifications().await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap();
        let router = hushpad_web::notification_router(Arc::new(payments.clone()));
        tokio::spawn(http::serve(listener, router, stop.clone()));
        assert!(ledger.notify(Some(&format!("http://{endpoint}/notifications/adyen"))));
        Self { ledger, store, payments, endpoint, stop, _directory: directory }
    }

    async fn opens(&self, configuration: ConfigurationId, amount: &str) -> Session {
        let data = [("Amount", amount), ("Currency", "GBP")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let world = RealWorld::new();
        let opened = Session::open(
            NewSession {
                guid: SessionGuid(world.guid()),
                provider: ProviderSessionGuid(world.guid()),
                account: account(),
                configuration,
                agent: AgentId("agent1234".to_owned()),
                call: None,
                payment_data: PaymentData::new(BTreeMap::from(data)).unwrap(),
                webhook: false,
            },
            world.now(),
        );
        let session = opened.after.clone();
        self.store.commit(opened).await.unwrap();
        session
    }

    /// Presses Pay; what the agent would hear is read beside.
    async fn pays(&self, keys: &str, amount: &str) -> Session {
        self.pays_by(SALE, keys, amount).await
    }

    async fn pays_by(&self, configuration: ConfigurationId, keys: &str, amount: &str) -> Session {
        let session = self.opens(configuration, amount).await;
        let (sender, mut progress) = mpsc::channel(8);
        self.payments.pay(session.clone(), card(keys), CameBy::Phone, StillThere::yes(), sender);
        // The first word: it is answered, or waited for.
        let told = progress.recv().await.unwrap();
        tokio::spawn(async move { while progress.recv().await.is_some() {} });
        match told {
            Progress::Waiting(session) | Progress::Challenged(session) | Progress::Answered(session, _) => {
                *session
            }
            Progress::NotBegun(..) | Progress::NotSent(..) | Progress::NotPaid(_) => {
                panic!("nothing was sent")
            }
        }
    }

    async fn session(&self, session: &Session) -> Session {
        self.store.session(&account(), session.guid).await.unwrap().unwrap()
    }

    /// Waits until the session is so.
    async fn waits(&self, what: &str, session: &Session, is_so: impl Fn(&Session) -> bool) -> Session {
        until(what, async || Some(self.session(session).await).filter(&is_so)).await
    }

    async fn has_event(&self, session: &Session, is_it: impl Fn(&EventKind) -> bool) -> bool {
        let events = self.store.events(&account(), session.guid, 0).await.unwrap();
        events.iter().any(|event| is_it(&event.kind))
    }

    /// What the customer is out of, by the simulator's ledger.
    fn stands(&self, session: &Session) -> String {
        let charge = self.ledger.find(&session.attempts[0].id.to_string()).unwrap();
        assert_eq!((charge.charged, charge.requests), (1, 1), "{charge:?}");
        charge.stands
    }

    /// Posts a body to the endpoint; gives the status and the body of the answer.
    async fn posts(&self, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.endpoint).await.unwrap();
        let request = format!(
            "POST /notifications/adyen HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let status = reply.split(' ').nth(1).unwrap().parse().unwrap();
        (status, reply.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn adyen() -> GatewayName {
    GatewayName("adyen".to_owned())
}

fn account() -> AccountId {
    AccountId("acme".to_owned())
}

fn directory_of_accounts() -> Directory {
    Directory::new(vec![Account {
        id: account(),
        payee: "A shop".to_owned(),
        default_configuration: SALE,
        configurations: [(SALE, Purpose::Sale), (AUTHORISE, Purpose::Authorise)]
            .map(|(id, purpose)| AccountConfiguration {
                id,
                kind: Kind::AgentAssist,
                link_life: LINK_LIFE_MAX,
                test: true,
                flow: PaymentFlow {
                    fields: Field::ALL.to_vec(),
                    brands: Brand::ALL.to_vec(),
                    purpose,
                    acceptance: Acceptance::default(),
                    keep_card: false,
                    data: FieldMap::default(),
                    first_key_time_out: Duration::from_secs(60),
                    between_keys_time_out: Duration::from_secs(60),
                    session_time_out: Duration::from_secs(900),
                },
                gateway: adyen(),
                fail_over: Vec::new(),
                allowed_origins: Vec::new(),
                webhook: false,
            })
            .map(Arc::new)
            .into(),
        agents: Vec::new(),
        any_agent: true,
    }])
}

fn card(keys: &str) -> Card {
    let rules = Rules {
        fields: Field::ALL.to_vec(),
        brands: Brand::ALL.to_vec(),
        first_key_time_out: Duration::from_secs(30),
        between_keys_time_out: Duration::from_secs(30),
    };
    let mut capture = Capture::new(rules);
    capture.start(Field::CardNumber, Tick(0)).unwrap();
    for key in keys.bytes() {
        capture.key(key, Tick(0), (2026, 11));
    }
    capture.take().unwrap()
}

fn operation(session: &Session, no: u16) -> OperationState {
    session.attempts[0].operation(OperationNo(no)).unwrap().state.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pending_or_lost_is_approved_when_it_is_told_late_or_twice_too() {
    let town = Town::open().await;
    // Pending; charged and then reset; charged and never understood; told three seconds late; told twice.
    for amount in ["68.03", "67.03", "67.06", "69.06"] {
        let session = town.pays(VISA, amount).await;
        let session = town
            .waits(&format!("{amount} approved"), &session, |session| session.outcome() == Outcome::Approved)
            .await;
        assert_eq!(session.attempts.len(), 1);
        assert_eq!(town.stands(&session), amount);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_refund_is_done_when_that_is_told() {
    let town = Town::open().await;
    // Notifications three seconds late: accepted is seen before done.
    let session = town.pays(VISA, "69.05").await;
    let id = OperationId(RealWorld::new().guid());
    let request = OperationRequest { id, asked: Asked::Refund, amount: None, attempt: None };
    let (session, attempt, no) = town.payments.operate(&account(), session.guid, request).await.unwrap();
    assert_eq!((attempt, no), (AttemptNo(1), OperationNo(1)));
    assert!(matches!(operation(&session, 1), OperationState::Accepted { .. }), "{session:?}");
    let done = town
        .waits("done", &session, |session| matches!(operation(session, 1), OperationState::Done { .. }))
        .await;
    assert_eq!(done.outcome(), Outcome::Approved);
    assert_eq!(town.stands(&done), "0.00");
    assert!(town.has_event(&done, |event| matches!(event, EventKind::OperationAccepted { .. })).await);

    // Refused later: its amount is free again, and that is an event.
    let session = town.pays(VISA, "69.02").await;
    let request = OperationRequest { id: OperationId(RealWorld::new().guid()), ..request };
    let (session, _, _) = town.payments.operate(&account(), session.guid, request).await.unwrap();
    let failed = town
        .waits("failed", &session, |session| matches!(operation(session, 1), OperationState::Failed { .. }))
        .await;
    assert_eq!(failed.attempts[0].refunded_minor(), 0);
    assert_eq!(town.stands(&failed), "69.02");
    assert!(town.has_event(&failed, |event| matches!(event, EventKind::OperationFailed { .. })).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_reversal_holds_the_session_until_it_is_done_and_is_taken_up_again_when_it_fails() {
    let town = Town::open().await;
    let session = town.pays(WRONG_CODE, "12.40").await;
    let given_back = town.waits("given back", &session, |session| session.state_name() == "InProgress").await;
    assert!(given_back.attempts[0].is_given_back());
    assert_eq!(town.stands(&given_back), "0.00");

    // The simulator fails every reversal of this amount: never paid, never "not charged".
    let session = town.pays(WRONG_CODE, "69.03").await;
    let again = town
        .waits("taken up again", &session, |session| {
            session.attempts[0].operations.len() >= 2
                && matches!(operation(session, 1), OperationState::Failed { .. })
        })
        .await;
    assert_eq!((again.state_name(), again.outcome()), ("Processing", Outcome::None));
    assert_eq!(town.stands(&again), "69.03");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_undoing_leaves_it_unknown_until_its_end_is_told() {
    let town = Town::open().await;
    // Not charged, the connection is reset: nothing is told of it.
    let session = town.pays(VISA, "67.04").await;
    assert_eq!(session.outcome(), Outcome::Unknown);
    let known = town.waits("not charged", &session, |session| session.state_name() == "InProgress").await;
    let no_trace = AttemptState::NotCharged { how: NotCharged::NoTrace };
    assert_eq!(known.attempts[0].state, no_trace);
    assert!(town.has_event(&known, |event| matches!(event, EventKind::Undoing { .. })).await);

    // Charged, and nothing of it is ever told, nor of its undoing: it stays unknown.
    town.ledger.notify(None);
    let session = town.pays_by(AUTHORISE, VISA, "67.03").await;
    let undone = until("the simulator has undone it", async || {
        let charge = town.ledger.find(&session.attempts[0].id.to_string())?;
        (charge.stands == "0.00").then_some(charge)
    });
    undone.await;
    let seen = town
        .waits("the undoing is accepted", &session, |session| {
            session.attempts[0].undoing() == Undoing::Accepted
        })
        .await;
    assert_eq!((seen.state_name(), seen.outcome()), ("Processing", Outcome::Unknown));
}

/// Takes what the simulator posts, and passes nothing on.
async fn intercepted(town: &Town) -> mpsc::UnboundedReceiver<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert!(town.ledger.notify(Some(&format!("http://{}/", listener.local_addr().unwrap()))));
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut text = Vec::new();
                while let Ok(true) = stream.read_buf(&mut text).await.map(|read| read > 0) {
                    let whole = String::from_utf8_lossy(&text).into_owned();
                    let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| {
                        line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
                    });
                    if length == Some(body.len()) {
                        let _ = sender.send(body.to_owned());
                        let receipt = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                        let _ = stream.write_all(receipt).await;
                        return;
                    }
                }
            });
        }
    });
    receiver
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_in_which_it_is_told_and_how_often_does_not_matter() {
    let town = Town::open().await;
    let mut told = intercepted(&town).await;
    // Held, then reset; nothing of it is told, so it is undone.
    let session = town.pays_by(AUTHORISE, VISA, "67.03").await;
    let (approved, undone) = (told.recv().await.unwrap(), told.recv().await.unwrap());
    assert!(approved.contains("AUTHORISATION") && undone.contains("TECHNICAL_CANCEL"), "{approved} {undone}");
    let is_undone =
        |session: &Session| session.attempts[0].state == AttemptState::NotCharged { how: NotCharged::Undone };
    assert_eq!(town.posts(&undone).await, (200, "[accepted]".to_owned()));
    let first = town.waits("undone", &session, is_undone).await;
    assert_eq!((first.state_name(), first.outcome()), ("InProgress", Outcome::None));
    for body in [&approved, &undone, &approved] {
        assert_eq!(town.posts(body).await, (200, "[accepted]".to_owned()));
    }
    until("all is taken up", async || town.store.waiting(0, 10).await.unwrap().is_empty().then_some(()))
        .await;
    // Nothing is given back a second time, and nothing was told anew.
    assert_eq!(town.session(&session).await, first);
    assert_eq!(town.stands(&session), "0.00");
    assert!(told.try_recv().is_err());

    // Taken at once: what Adyen cannot undo stays, and is approved once that is told too.
    let session = town.pays(VISA, "67.03").await;
    let (approved, kept) = (told.recv().await.unwrap(), told.recv().await.unwrap());
    assert_eq!(town.posts(&kept).await.0, 200);
    let failed = town
        .waits("the undoing has failed", &session, |session| session.attempts[0].undoing() == Undoing::Failed)
        .await;
    assert_eq!(failed.outcome(), Outcome::Unknown);
    assert_eq!(town.posts(&approved).await.0, 200);
    town.waits("approved", &session, |session| session.outcome() == Outcome::Approved).await;
    assert_eq!(town.stands(&session), "67.03");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_signed_is_refused_and_changes_nothing() {
    let town = Town::open().await;
    town.ledger.notify(None);
    let session = town.pays(VISA, "68.03").await;
    let id = session.attempts[0].id;
    let forged = format!(
        r#"{{"live":"false","notificationItems":[{{"NotificationRequestItem":{{"pspReference":"NCDHRTMBPQKLGFST","merchantAccountCode":"{ADYEN_MERCHANT}","merchantReference":"{id}","amount":{{"value":6803,"currency":"GBP"}},"eventCode":"AUTHORISATION","success":"true","additionalData":{{"hmacSignature":"coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="}}}}}}]}}"#
    );
    assert_eq!(town.posts(&forged).await, (401, String::new()));
    assert_eq!(town.posts("{}").await.0, 400);
    assert_eq!(town.store.waiting(0, 10).await.unwrap(), []);
    assert_eq!(town.session(&session).await.outcome(), Outcome::Unknown);
}
