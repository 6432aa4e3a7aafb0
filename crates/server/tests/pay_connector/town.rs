//! A pay connector with all that is behind it: the real store, the real connectors, the simulator.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hushpad::announcer::Announcer;
use hushpad::http;
use hushpad::metrics::Metrics;
use hushpad::pay_connector::{TransactionDesk, TransactionParts};
use hushpad::payments::{
    Books, CameBy, CardHashes, Merchants, Payments, PaymentsParts, Progress, StillThere, Vault,
};
use hushpad::webhooks::Dispatcher;
use hushpad::world::RealWorld;
use hushpad_card::read_form;
use hushpad_domain::acceptance::Acceptance;
use hushpad_domain::account::{Account, AccountConfiguration, Directory, Kind, PaymentFlow};
use hushpad_domain::attempt::Purpose;
use hushpad_domain::field::Field;
use hushpad_domain::field_map::FieldMap;
use hushpad_domain::ids::{
    AccountId, AgentId, ConfigurationId, GatewayName, ProviderSessionGuid, SessionGuid,
};
use hushpad_domain::link::LINK_LIFE_MAX;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::{Sessions, World};
use hushpad_domain::session::{NewSession, Session};
use hushpad_gateways::sandbox::{self, Charge, Ledger};
use hushpad_gateways::{CyberSourceAuth, GatewayConfig, GatewayKind, Gateways};
use hushpad_payer::{ConnectorParts, ConnectorUser, ConnectorUsers, connector_router};
use hushpad_store::{Ownership, Store};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) const PASSWORD: &str = "correct horse battery staple";
/// Only a broken product takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the connector lets callers wait.
const CALLERS_WAIT: Duration = Duration::from_secs(2);

/// The users of account `shop`: each by the configuration of its number, with these gateways.
const USERS: [(&str, &[&str]); 8] = [
    ("generic", &["generic"]),
    ("cybersource", &["cybersource"]),
    ("stripe", &["stripe"]),
    ("mpgs", &["mpgs"]),
    ("fail-over", &["dead", "generic"]),
    ("dead", &["dead"]),
    ("split", &["generic"]),
    ("worldpay", &["worldpay"]),
];
/// Where configurations begin whose gateway is another Hushpad, in the order of the users.
const CHAINED: u32 = 100;

/// A running Hushpad, as far as the pay connector needs it.
pub(crate) struct Town {
    pub(crate) ledger: Ledger,
    pub(crate) store: Arc<Store>,
    payments: Payments,
    connector: SocketAddr,
    stop: CancellationToken,
    _directory: tempfile::TempDir,
}

impl Town {
    /// With the simulator behind it.
    pub(crate) async fn open() -> Self {
        Self::open_with(None).await
    }

    /// With another town's pay connector as its gateways `chained-…`.
    pub(crate) async fn before(inner: &Self) -> Self {
        Self::open_with(Some(inner.connector)).await
    }

    async fn open_with(inner: Option<SocketAddr>) -> Self {
        let (world, stop) = (RealWorld::new(), CancellationToken::new());
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("hushpad.db").display());
        let store = Arc::new(hushpad_store::open(&url, Ownership::Exclusive(world.chance())).await.unwrap());
        let gateway = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", gateway.local_addr().unwrap());
        let (clock, gateways_clock) = (world.clone(), world.clone());
        let ledger = Ledger::in_memory_at(move || clock.now());
        tokio::spawn(sandbox::serve(gateway, ledger.clone(), stop.clone().cancelled_owned()));
        let metrics = Arc::new(Metrics::new());
        let dispatcher =
            Dispatcher::start(Vec::new(), store.clone(), Arc::new(world.clone()), metrics.clone()).unwrap();
        let announcer = Arc::new(Announcer::new(store.clone(), dispatcher));
        let accounts = Arc::new(directory_of_accounts());
        let (gateways, hashes) = (gateways(&base, inner), CardHashes::new(&[0; 32]));
        let merchants = Arc::new(Merchants::new(&accounts, &gateways));
        let payments = Payments::new(PaymentsParts {
            books: Books::new(announcer.clone(), Arc::new(world.clone()), hashes.clone()),
            settlements: store.clone(),
            notifications: store.clone(),
            vault: Vault { cards: store.clone(), hashes, merchants },
            acquirer: Arc::new(
                Gateways::with_clock(gateways, Box::new(move || gateways_clock.now())).unwrap(),
            ),
            directory: accounts.clone(),
            world: Arc::new(world.clone()),
            metrics,
        });
        let desk = TransactionDesk::new(TransactionParts {
            payments: payments.clone(),
            sessions: announcer.clone(),
            changes: announcer,
            directory: accounts.clone(),
            world,
            patience: CALLERS_WAIT,
        });
        let router = connector_router(ConnectorParts {
            desk: Arc::new(desk),
            users: ConnectorUsers::new(&[7; 32], users()),
            directory: accounts,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connector = listener.local_addr().unwrap();
        tokio::spawn(http::serve(listener, router, stop.clone()));
        Self { ledger, store, payments, connector, stop, _directory: directory }
    }

    /// Posts a transaction.
    pub(crate) async fn posts(&self, user: &str, body: &Value) -> (u16, Value) {
        self.asks("POST /charges", user, PASSWORD, &body.to_string()).await
    }

    /// Asks what became of one.
    pub(crate) async fn gets(&self, user: &str, id: &str) -> (u16, Value) {
        self.asks(&format!("GET /charges?transaction_id={id}"), user, PASSWORD, "").await
    }

    /// One request on its own connection. No answer may be kept, and none holds a card.
    pub(crate) async fn asks(&self, request: &str, user: &str, password: &str, body: &str) -> (u16, Value) {
        let login = STANDARD.encode(format!("{user}:{password}"));
        let request = format!(
            "{request} HTTP/1.1\r\nHost: pay\r\nConnection: close\r\nAuthorization: Basic {login}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.connector).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut raw = String::new();
        stream.read_to_string(&mut raw).await.unwrap();
        let (head, answer) = raw.split_once("\r\n\r\n").unwrap();
        assert!(head.to_ascii_lowercase().contains("cache-control: no-store"), "{head}");
        assert!(!hushpad_domain::text::holds_card_number(answer), "{answer}");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(answer).unwrap())
    }

    /// The one charge of this amount.
    pub(crate) fn charge_of(&self, amount: &str) -> Charge {
        let mut found = self.ledger.charges().into_iter().filter(|charge| charge.amount == amount);
        let charge = found.next().unwrap_or_else(|| panic!("no charge of {amount}"));
        assert!(found.next().is_none(), "two references of {amount}");
        charge
    }

    /// The session that an answer tells of.
    pub(crate) async fn session_of(&self, answer: &Value) -> Session {
        let guid = answer["parameters"]["session_guid"].as_str().unwrap_or_else(|| panic!("{answer}"));
        let guid = SessionGuid(guid.parse().unwrap());
        self.store.session(&shop(), guid).await.unwrap().unwrap()
    }

    /// Stores a session of a user's, and does nothing with it.
    pub(crate) async fn stores_only(&self, user: &str, guid: SessionGuid, amount: &str) -> Session {
        let configuration = USERS.iter().position(|(name, _)| *name == user).unwrap();
        self.opens(ConfigurationId(u32::try_from(configuration).unwrap()), guid, amount).await
    }

    /// Pays on this town's own phone, and waits for the end.
    pub(crate) async fn pays(&self, configuration: ConfigurationId, number: &str, amount: &str) -> Session {
        let session = self.opens(configuration, SessionGuid(RealWorld::new().guid()), amount).await;
        let card = read_form(&Field::ALL, &Brand::ALL, (2026, 11), |field| match field {
            Field::CardNumber => number.as_bytes(),
            Field::Expiry => b"1230",
            Field::SecurityCode => b"123",
        });
        let (sender, mut progress) = mpsc::channel(8);
        self.payments.pay(session, card.unwrap(), CameBy::Phone, StillThere::default(), sender);
        while let Some(told) = progress.recv().await {
            match told {
                Progress::Answered(session, _) => return *session,
                Progress::Waiting(_) => {}
                Progress::NotSent(session, _) => panic!("not sent: {session:?}"),
                Progress::NotBegun(..) | Progress::Challenged(_) | Progress::NotPaid(_) => panic!("odd"),
            }
        }
        panic!("the payment never ended")
    }

    async fn opens(&self, configuration: ConfigurationId, guid: SessionGuid, amount: &str) -> Session {
        let data = [("Amount", amount), ("Currency", "GBP")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let world = RealWorld::new();
        let opened = Session::open(
            NewSession {
                guid,
                provider: ProviderSessionGuid(world.guid()),
                account: shop(),
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
}

impl Drop for Town {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Looks again and again until there is something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A charge as the published JSON has it.
pub(crate) fn charge(id: &str, amount: &str) -> Value {
    json!({
        "transaction_id": id, "method": "charge", "cardnumber": "4111111111111111", "cvv": "123",
        "expiry_month": "12", "expiry_year": "30", "amount": amount, "currency_code": "gbp",
        "postal_code": "SW1A 1AA", "description": "Order 7", "parameters": {"CustomerId": "C-7"},
    })
}

/// A tokenization as the published JSON has it: no amount.
pub(crate) fn tokenize(id: &str) -> Value {
    json!({
        "transaction_id": id, "method": "tokenize", "cardnumber": "4111111111111111", "cvv": "123",
        "expiry_month": "12", "expiry_year": "2030", "currency_code": "GBP", "postal_code": null,
        "description": "", "parameters": {},
    })
}

/// The configuration that pays over the inner town's user of this name.
pub(crate) fn chained(user: &str) -> ConfigurationId {
    let at = USERS.iter().position(|(name, _)| *name == user).unwrap();
    ConfigurationId(CHAINED + u32::try_from(at).unwrap())
}

pub(crate) fn other() -> AccountId {
    AccountId("other".to_owned())
}

fn shop() -> AccountId {
    AccountId("shop".to_owned())
}

fn users() -> Vec<ConnectorUser> {
    let user = |name: &str, account, configuration| ConnectorUser {
        name: name.to_owned(),
        password: PASSWORD.to_owned().into(),
        account,
        configuration: ConfigurationId(configuration),
    };
    let of_shop = USERS.iter().zip(0..).map(|((name, _), id)| user(name, shop(), id));
    of_shop.chain([user("other", other(), 0)]).collect()
}

fn directory_of_accounts() -> Directory {
    let of_users = USERS.iter().zip(0..).map(|((name, ways), id)| {
        configuration(id, ways.iter().map(|way| (*way).to_owned()), *name == "split")
    });
    let chained = USERS
        .iter()
        .zip(CHAINED..)
        .map(|((name, _), id)| configuration(id, std::iter::once(format!("chained-{name}")), false));
    let account = |id: AccountId, configurations| Account {
        payee: id.to_string(),
        id,
        default_configuration: ConfigurationId(0),
        configurations,
        agents: Vec::new(),
        any_agent: false,
    };
    Directory::new(vec![
        account(shop(), of_users.chain(chained).map(Arc::new).collect()),
        account(other(), vec![configuration(0, std::iter::once("generic".to_owned()), false).into()]),
    ])
}

fn configuration(id: u32, ways: impl Iterator<Item = String>, split: bool) -> AccountConfiguration {
    let mut ways = ways.map(GatewayName);
    AccountConfiguration {
        id: ConfigurationId(id),
        kind: Kind::AgentAssist,
        link_life: LINK_LIFE_MAX,
        test: false,
        flow: PaymentFlow {
            fields: Field::ALL.to_vec(),
            brands: Brand::ALL.to_vec(),
            purpose: Purpose::Sale,
            acceptance: Acceptance { split, ..Acceptance::default() },
            keep_card: false,
            data: FieldMap::default(),
            first_key_time_out: Duration::from_secs(30),
            between_keys_time_out: Duration::from_secs(30),
            session_time_out: Duration::from_secs(900),
        },
        gateway: ways.next().unwrap(),
        fail_over: ways.collect(),
        allowed_origins: Vec::new(),
        webhook: false,
    }
}

fn gateways(base: &str, inner: Option<SocketAddr>) -> Vec<GatewayConfig> {
    let text = str::to_owned;
    let generic = |base: &str, operations: bool, user: &str, password: &str| GatewayKind::Generic {
        url: format!("{base}/charges"),
        operations_url: operations.then(|| format!("{base}/charges")),
        query_url: Some(format!("{base}/charges")),
        user: text(user),
        password: text(password),
    };
    let mut kinds = vec![
        ("generic".to_owned(), generic(base, true, sandbox::USER, sandbox::PASSWORD)),
        // Nobody listens on port 9.
        ("dead".to_owned(), generic("http://127.0.0.1:9", false, sandbox::USER, sandbox::PASSWORD)),
        (
            "cybersource".to_owned(),
            GatewayKind::CyberSource {
                url: text(base),
                merchant_id: text(sandbox::CYBERSOURCE_MERCHANT),
                key_id: text(sandbox::CYBERSOURCE_KEY_ID),
                secret: text(sandbox::CYBERSOURCE_SECRET),
                auth: CyberSourceAuth::Jwt,
            },
        ),
        ("stripe".to_owned(), GatewayKind::Stripe { url: text(base), secret_key: text(sandbox::STRIPE_KEY) }),
        (
            "mpgs".to_owned(),
            GatewayKind::Mpgs {
                url: text(base),
                merchant_id: text(sandbox::MPGS_MERCHANT),
                password: text(sandbox::PASSWORD),
            },
        ),
    ];
    let worldpay = GatewayKind::Worldpay {
        url: text(base),
        entity: text(sandbox::WORLDPAY_ENTITY),
        narrative: text("Shop"),
        user: text(sandbox::USER),
        password: text(sandbox::PASSWORD),
    };
    kinds.push(("worldpay".to_owned(), worldpay));
    if let Some(inner) = inner {
        let chained = |(user, _): &(&str, _)| {
            (format!("chained-{user}"), generic(&format!("http://{inner}"), false, user, PASSWORD))
        };
        kinds.extend(USERS.iter().map(chained));
    }
    let config = |(name, kind)| {
        let mut config = GatewayConfig::new(GatewayName(name), kind);
        config.settle_time = Duration::from_secs(30);
        // Longer than the inner one lets its callers wait; of the dead one it is over sooner.
        config.patience.whole =
            if config.name.0 == "dead" { Duration::from_secs(1) } else { 2 * CALLERS_WAIT };
        config
    };
    kinds.into_iter().map(config).collect()
}
