//! What we add to a payment: from Pay to the request that goes out, and from the answer to the outcome that is committed
//! and told. Beside it the gateway's own time, which is the simulator's on this machine.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use async_trait::async_trait;
use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::acceptance::Acceptance;
use hushpad_domain::account::{Account, AccountConfiguration, Directory, Kind, PaymentFlow};
use hushpad_domain::attempt::{Attempt, Purpose};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::field::Field;
use hushpad_domain::field_map::FieldMap;
use hushpad_domain::ids::{
    AccountId, AgentId, AttemptId, ConfigurationId, GatewayName, ProviderSessionGuid, SessionGuid,
};
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::notification::Notification;
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::{Sessions, World};
use hushpad_domain::session::{NewSession, Session};
use hushpad_domain::time::Tick;
use hushpad_gateways::sandbox::{self, Ledger};
use hushpad_gateways::{
    Asked, AskedFollowUp, Caps, FollowUp, FollowUpSubmission, GatewayConfig, GatewayKind, Gateways,
    NotificationError, Order, Return, Reversal, Source, Submission,
};
use hushpad_store::{Ownership, Store};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Durations, postgres_url};
use crate::metrics::Metrics;
use crate::payments::{
    Acquirer, Books, CameBy, CardHashes, Payments, PaymentsParts, Progress, StillThere, Vault,
};
use crate::world::RealWorld;

/// Payments per second.
const RATES: [u64; 3] = [1, 50, 200];
/// How long each is kept up; at one a second that is ten payments.
const ROW: Duration = Duration::from_secs(10);
pub(super) async fn run(out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(
        out,
        "Pay pressed to request out, and answer to outcome committed and told; ours beside the gateway's"
    )?;
    writeln!(
        out,
        "store       payments/s  payments  before p50/p99 ms  after p50/p99 ms  ours p50/p99 ms  gateway p50/p99 ms"
    )?;
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("bench.db").display());
    store(&url, "sqlite", out).await?;
    if let Some(url) = postgres_url() {
        store(&url, "postgres", out).await?;
    }
    Ok(())
}

async fn store(url: &str, name: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let gateway = format!("http://{}/charges", listener.local_addr()?);
    let clock = RealWorld::new();
    let ledger = Ledger::in_memory_at(move || clock.now());
    let serving = tokio::spawn(sandbox::serve(listener, ledger, std::future::pending::<()>()));
    let store = Arc::new(
        hushpad_store::open(url, Ownership::Exclusive(RealWorld::new().chance()))
            .await
            .context(name.to_owned())?,
    );
    for rate in RATES {
        row(&store, &gateway, name, rate, out).await?;
    }
    store.close().await;
    serving.abort();
    Ok(())
}

async fn row(
    store: &Arc<Store>,
    gateway: &str,
    name: &str,
    rate: u64,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let world = RealWorld::new();
    let timed =
        Arc::new(Timed { gateways: gateways(gateway)?, world: world.clone(), seen: Mutex::default() });
    let payments = payments(store, &timed, &world);
    let mut running = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
    for _ in 0..rate * ROW.as_secs() {
        ticks.tick().await;
        let (payments, world) = (payments.clone(), world.clone());
        running.spawn(async move { one(&payments, &world).await });
    }
    let (mut before, mut after, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    while let Some(paid) = running.join_next().await {
        let (attempt, pressed, told) = paid??;
        let (out, back) = timed.times(attempt).context("an attempt that never went out")?;
        before.push(out - pressed);
        after.push(told - back);
        ours.push((out - pressed) + (told - back));
        theirs.push(back - out);
    }
    let count = ours.len();
    let show = |times: Vec<u64>| {
        let times = Durations::new(times);
        format!("{:.2} / {:.2}", times.quantile_ms(0.5), times.quantile_ms(0.99))
    };
    let (before, after, ours, theirs) = (show(before), show(after), show(ours), show(theirs));
    writeln!(out, "{name:10}  {rate:>10}  {count:>8}  {before:>17}  {after:>16}  {ours:>15}  {theirs:>18}")?;
    Ok(())
}

/// One payment: the attempt, when Pay was pressed, and when its outcome was told.
async fn one(payments: &Payments, world: &RealWorld) -> anyhow::Result<(AttemptId, u64, u64)> {
    let opened = Session::open(new_session(world)?, world.now());
    let session = opened.after.clone();
    payments.books.commit(opened).await?;
    let card = card().context("a card")?;
    let (sender, mut progress) = mpsc::channel(8);
    let pressed = world.elapsed_us();
    payments.pay(session, card, CameBy::Phone, StillThere::yes(), sender);
    loop {
        match progress.recv().await.context("a payment ended without a word")? {
            Progress::Waiting(_) => {}
            Progress::Answered(session, _) => {
                let at = world.elapsed_us();
                let attempt = session.attempts.last().context("no attempt")?.id;
                return Ok((attempt, pressed, at));
            }
            Progress::Challenged(_)
            | Progress::NotPaid(_)
            | Progress::NotBegun(..)
            | Progress::NotSent(..) => anyhow::bail!("a payment was not sent"),
        }
    }
}

fn payments(store: &Arc<Store>, timed: &Arc<Timed>, world: &RealWorld) -> Payments {
    let sessions: Arc<dyn Sessions> = store.clone();
    let hashes = CardHashes::new(&[0; 32]);
    let vault = Vault { cards: store.clone(), hashes: hashes.clone(), merchants: Arc::default() };
    Payments::new(PaymentsParts {
        books: Books::new(sessions, Arc::new(world.clone()), hashes),
        settlements: store.clone(),
        notifications: store.clone(),
        vault,
        acquirer: timed.clone(),
        directory: Arc::new(directory()),
        world: Arc::new(world.clone()),
        metrics: Arc::new(Metrics::new()),
    })
}

fn gateways(url: &str) -> anyhow::Result<Gateways> {
    let kind = GatewayKind::Generic {
        url: url.to_owned(),
        operations_url: None,
        query_url: Some(url.to_owned()),
        user: sandbox::USER.to_owned(),
        password: sandbox::PASSWORD.to_owned(),
    };
    Ok(Gateways::new(vec![GatewayConfig::new(name(), kind)])?)
}

fn name() -> GatewayName {
    GatewayName("sandbox".to_owned())
}

fn account() -> AccountId {
    AccountId("bench".to_owned())
}

fn directory() -> Directory {
    let flow = PaymentFlow {
        fields: Field::ALL.to_vec(),
        brands: Brand::ALL.to_vec(),
        purpose: Purpose::Sale,
        acceptance: Acceptance::default(),
        keep_card: false,
        data: FieldMap::default(),
        first_key_time_out: Duration::from_secs(60),
        between_keys_time_out: Duration::from_secs(60),
        session_time_out: Duration::from_secs(900),
    };
    let configuration = AccountConfiguration {
        id: ConfigurationId(0),
        kind: Kind::AgentAssist,
        link_life: hushpad_domain::link::LINK_LIFE_MAX,
        test: true,
        flow,
        gateway: name(),
        fail_over: Vec::new(),
        allowed_origins: Vec::new(),
        webhook: false,
    };
    Directory::new(vec![Account {
        id: account(),
        payee: "A shop".to_owned(),
        default_configuration: ConfigurationId(0),
        configurations: vec![configuration.into()],
        agents: Vec::new(),
        any_agent: true,
    }])
}

fn new_session(world: &RealWorld) -> anyhow::Result<NewSession> {
    let values = [("Amount", "12.40"), ("Currency", "GBP"), ("MerchantReferenceCode", "ORDER-7")];
    let values: BTreeMap<_, _> = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Ok(NewSession {
        guid: SessionGuid(world.guid()),
        provider: ProviderSessionGuid(world.guid()),
        account: account(),
        configuration: ConfigurationId(0),
        agent: AgentId("agent1234".to_owned()),
        call: None,
        payment_data: PaymentData::new(values).map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?,
        webhook: false,
    })
}

fn card() -> Option<Card> {
    let rules = Rules {
        fields: Field::ALL.to_vec(),
        brands: Brand::ALL.to_vec(),
        first_key_time_out: Duration::from_secs(60),
        between_keys_time_out: Duration::from_secs(60),
    };
    let mut capture = Capture::new(rules);
    capture.start(Field::CardNumber, Tick(0)).ok()?;
    for key in b"4111111111111111#1239123" {
        capture.key(*key, Tick(0), (2026, 1));
    }
    capture.take()
}

/// The gateways, with the moments when each attempt went out and came back.
struct Timed {
    gateways: Gateways,
    world: RealWorld,
    seen: Mutex<BTreeMap<AttemptId, (u64, u64)>>,
}

impl Timed {
    fn times(&self, attempt: AttemptId) -> Option<(u64, u64)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&attempt).copied()
    }
}

#[async_trait]
impl Acquirer for Timed {
    fn caps(&self, gateway: &GatewayName) -> Option<&Caps> {
        Gateways::caps(&self.gateways, gateway)
    }

    async fn submit(&self, order: &Order<'_>, source: &Source<'_>) -> Submission {
        let out = self.world.elapsed_us();
        let submission = Acquirer::submit(&self.gateways, order, source).await;
        let back = self.world.elapsed_us();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(order.attempt.id, (out, back));
        submission
    }

    fn read_return(&self, attempt: &Attempt, challenge: &Challenge, came_along: &[u8]) -> Option<Return> {
        Acquirer::read_return(&self.gateways, attempt, challenge, came_along)
    }

    async fn go_on(&self, attempt: &Attempt, card: Option<&MaskedCard>, back: &Return) -> Submission {
        Acquirer::go_on(&self.gateways, attempt, card, back).await
    }

    async fn ask(&self, attempt: &Attempt) -> Asked {
        Acquirer::ask(&self.gateways, attempt).await
    }

    async fn reverse_unknown(&self, attempt: &Attempt) -> Reversal {
        Acquirer::reverse_unknown(&self.gateways, attempt).await
    }

    async fn follow_up(&self, follow_up: &FollowUp<'_>) -> FollowUpSubmission {
        Acquirer::follow_up(&self.gateways, follow_up).await
    }

    async fn ask_follow_up(&self, follow_up: &FollowUp<'_>) -> AskedFollowUp {
        Acquirer::ask_follow_up(&self.gateways, follow_up).await
    }

    fn notification(
        &self,
        gateway: &GatewayName,
        body: &[u8],
    ) -> Result<Vec<Notification>, NotificationError> {
        Acquirer::notification(&self.gateways, gateway, body)
    }
}
