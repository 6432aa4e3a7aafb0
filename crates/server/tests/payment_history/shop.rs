//! What the schedules have in common, whatever is behind the payments: the shop, its agents and what they do.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hushpad::metrics::Metrics;
use hushpad::payments::{Acquirer, Books, CardHashes, Payments, PaymentsParts, StillThere, Vault, recovery};
use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::acceptance::Acceptance;
use hushpad_domain::account::{Account, AccountConfiguration, Directory, Kind, PaymentFlow};
use hushpad_domain::attempt::Purpose;
use hushpad_domain::field::Field;
use hushpad_domain::field_map::FieldMap;
use hushpad_domain::ids::{
    AccountId, AgentId, ConfigurationId, GatewayName, OperationId, ProviderSessionGuid, SessionGuid,
};
use hushpad_domain::link::LINK_LIFE_MAX;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::money::{Currency, Money};
use hushpad_domain::operation::Asked;
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::{Operations, Sessions, World};
use hushpad_domain::session::{NewSession, OperationRequest, Session};
use hushpad_domain::time::Tick;
use uuid::Uuid;

use super::dice::Dice;
use super::memory::{Disk, MemoryStore};
use super::world::VirtualWorld;

/// One for all: registering them takes longer than a schedule.
static METRICS: LazyLock<Arc<Metrics>> = LazyLock::new(|| Arc::new(Metrics::new()));

/// The gateways that a configuration pays at, what for, and whether a part is taken.
pub(crate) type Way = (&'static [&'static str], Purpose, bool);

pub(crate) fn account() -> AccountId {
    AccountId("acme".to_owned())
}

/// The shop, with a configuration for each way, by its number.
pub(crate) fn directory(ways: &[Way]) -> Arc<Directory> {
    Arc::new(Directory::new(vec![Account {
        id: account(),
        payee: "A shop".to_owned(),
        default_configuration: ConfigurationId(0),
        configurations: ways
            .iter()
            .zip(0..)
            .map(|(way, id)| Arc::new(configuration(ConfigurationId(id), way)))
            .collect(),
        agents: Vec::new(),
        any_agent: true,
    }]))
}

fn configuration(id: ConfigurationId, (gateways, purpose, split): &Way) -> AccountConfiguration {
    let mut gateways = gateways.iter().map(|name| GatewayName((*name).to_owned()));
    AccountConfiguration {
        id,
        kind: Kind::AgentAssist,
        link_life: LINK_LIFE_MAX,
        test: true,
        flow: PaymentFlow {
            fields: Field::ALL.to_vec(),
            brands: Brand::ALL.to_vec(),
            purpose: *purpose,
            acceptance: Acceptance { split: *split, ..Acceptance::default() },
            keep_card: false,
            data: FieldMap::default(),
            first_key_time_out: Duration::from_secs(60),
            between_keys_time_out: Duration::from_secs(60),
            session_time_out: Duration::from_secs(900),
        },
        gateway: gateways.next().unwrap(),
        fail_over: gateways.collect(),
        allowed_origins: Vec::new(),
        webhook: false,
    }
}

/// Starts a process over this store: what was left open is taken up, and notifications are.
pub(crate) async fn starts(
    store: MemoryStore,
    acquirer: Arc<dyn Acquirer>,
    directory: &Arc<Directory>,
    world: &VirtualWorld,
) -> Payments {
    let store = Arc::new(store);
    let sessions: Arc<dyn Sessions> = store.clone();
    let world: Arc<dyn World> = Arc::new(world.clone());
    let hashes = CardHashes::new(&[0; 32]);
    let vault = Vault { cards: store.clone(), hashes: hashes.clone(), merchants: Arc::default() };
    let payments = Payments::new(PaymentsParts {
        books: Books::new(sessions, world.clone(), hashes),
        settlements: store.clone(),
        notifications: store,
        vault,
        acquirer,
        directory: directory.clone(),
        world,
        metrics: METRICS.clone(),
    });
    recovery::recover(&payments).await.unwrap();
    let taking = payments.clone();
    tokio::spawn(async move { taking.take_up_notifications().await });
    payments
}

/// Opens a session of that many GBP; `None` where the store could not take it.
pub(crate) async fn opens(
    payments: &Payments,
    world: &VirtualWorld,
    guid: Uuid,
    configuration: u64,
    amount: String,
) -> Option<Session> {
    let data = [("Amount", amount), ("Currency", "GBP".to_owned())];
    let data: BTreeMap<_, _> = data.map(|(name, value)| (name.to_owned(), value)).into();
    let opened = Session::open(
        NewSession {
            guid: SessionGuid(guid),
            provider: ProviderSessionGuid(guid),
            account: account(),
            configuration: ConfigurationId(u32::try_from(configuration).unwrap()),
            agent: AgentId("agent1234".to_owned()),
            call: None,
            payment_data: PaymentData::new(data).unwrap(),
            webhook: false,
        },
        world.now(),
    );
    let session = opened.after.clone();
    payments.books.store().commit(opened).await.ok().map(|()| session)
}

/// A customer, who sometimes hangs up within a few seconds.
pub(crate) fn customer(dice: &Dice) -> StillThere {
    let still_there = StillThere::yes();
    if dice.percent(15) {
        let (gone, after) = (still_there.clone(), dice.millis(8_000));
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            gone.gone();
        });
    }
    still_there
}

/// The agent gives up, or the time does.
pub(crate) async fn gives_up(payments: &Payments, session: Session, dice: &Dice) {
    let end = if dice.percent(50) { Session::cancel } else { Session::time_out };
    if let Ok(session) = payments.books.write(session, end).await {
        payments.give_back_parts(&session);
    }
}

/// An agent whose process is gone is told nothing more; the session times out.
pub(crate) async fn times_out(payments: &Payments, session: Session) {
    if let Ok(session) = payments.books.write(session, Session::time_out).await {
        payments.give_back_parts(&session);
    }
}

/// Captures, voids and refunds of what was paid, several at once.
pub(crate) fn operate_on_old_sessions(disk: &Disk, dice: &Dice, payments: &Payments) {
    let guids: Vec<SessionGuid> = disk.lock().unwrap().sessions.keys().copied().collect();
    for guid in guids {
        for _ in 0..dice.below(3) {
            let (dice, payments) = (dice.clone(), payments.clone());
            tokio::spawn(async move {
                tokio::time::sleep(dice.millis(15_000)).await;
                let asked = [Asked::Capture, Asked::Void, Asked::Refund, Asked::Refund];
                let gbp = Currency::from_code("GBP").unwrap();
                let part = i64::try_from(1 + dice.below(3_000)).unwrap();
                let request = OperationRequest {
                    id: OperationId(dice.guid()),
                    asked: asked[usize::try_from(dice.below(4)).unwrap()],
                    amount: dice.percent(60).then(|| Money::from_minor(part, gbp).unwrap()),
                    attempt: None,
                };
                let _ = payments.operate(&account(), guid, request).await;
            });
        }
    }
}

/// The card of these keys.
pub(crate) fn card_of(keys: &[u8]) -> Card {
    let rules = Rules {
        fields: Field::ALL.to_vec(),
        brands: Brand::ALL.to_vec(),
        first_key_time_out: Duration::from_secs(30),
        between_keys_time_out: Duration::from_secs(30),
    };
    let mut capture = Capture::new(rules);
    capture.start(Field::CardNumber, Tick(0)).unwrap();
    for key in keys {
        capture.key(*key, Tick(0), (2026, 11));
    }
    capture.take().unwrap()
}
