//! The same kind of schedules with nothing modelled but the store: the real connectors of six gateways, over sockets, at
//! the simulator, whose ledger is the oracle; its notifications come by the real endpoint. In virtual time: a socket of
//! this machine that has something is served before time moves on.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use hushpad::http;
use hushpad::payments::{Acquirer, CameBy, Payments, Progress, StillThere};
use hushpad_card::Card;
use hushpad_domain::account::Directory;
use hushpad_domain::attempt::{Attempt, NotSent, Purpose, Unknown};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::event::EventKind;
use hushpad_domain::ids::GatewayName;
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::notification::Notification;
use hushpad_domain::operation::{OperationKind, OperationState, Settlement, settled_as};
use hushpad_domain::ports::{Settlements, World};
use hushpad_domain::session::{Outcome, Session, SessionState};
use hushpad_gateways::sandbox::{self, Chaos, Charge, Fault, Ledger};
use hushpad_gateways::{
    Asked, AskedFollowUp, Caps, FollowUp, FollowUpSubmission, Gateways, NotificationError, Order, Return,
    Reversal, Source, Submission,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::gateways::all_at;
use super::memory::{Disk, Late, MemoryStore, Rows};
use super::schedule::Build;
use super::shop::{self, Way, card_of};
use super::world::VirtualWorld;

#[path = "lost_part.rs"]
pub(crate) mod lost_part;

/// Where each configuration pays, what for, and whether a part is taken and the rest asked of another card. Two have
/// somewhere else to go.
const WAYS: [Way; 18] = [
    (&["generic"], Purpose::Sale, false),
    (&["cybersource"], Purpose::Sale, false),
    (&["stripe"], Purpose::Sale, false),
    (&["adyen"], Purpose::Sale, false),
    (&["worldpay"], Purpose::Sale, false),
    (&["mpgs"], Purpose::Sale, false),
    (&["generic"], Purpose::Authorise, false),
    (&["cybersource"], Purpose::Authorise, false),
    (&["stripe"], Purpose::Authorise, false),
    (&["adyen"], Purpose::Authorise, false),
    (&["worldpay"], Purpose::Authorise, false),
    (&["mpgs"], Purpose::Authorise, false),
    (&["stripe", "generic", "mpgs"], Purpose::Sale, false),
    (&["adyen", "cybersource"], Purpose::Sale, false),
    (&["cybersource"], Purpose::Sale, true),
    (&["cybersource"], Purpose::Authorise, true),
    (&["generic"], Purpose::Sale, true),
    (&["mpgs"], Purpose::Authorise, true),
];
/// Amounts at which the simulator declines, fails, dawdles, approves less, is refused what follows, or tells late, twice
/// or never. Not the 100 MB, which only take time, and not a reversal that is refused for ever.
const AMOUNTS: [&str; 30] = [
    "66.01", "66.03", "66.04", "66.07", "67.01", "67.02", "67.03", "67.04", "67.05", "67.06", "67.07",
    "67.08", "67.09", "67.10", "67.11", "67.12", "67.14", "67.15", "67.16", "68.01", "68.02", "68.03",
    "68.04", "68.05", "68.06", "69.01", "69.02", "69.04", "69.05", "69.06",
];
/// What is approved with it is given back.
const WRONG_CODE: &[u8] = b"4000000000000101#1230123";
const CARDS: [&[u8]; 6] = [
    b"4111111111111111#1230123",
    b"4111111111111111#1230123",
    b"5555555555554444#1230123",
    b"4000000000000002#1230123",
    WRONG_CODE,
    b"4000000000000010#1230123",
];
const FAULTS: [Fault; 9] = [
    Fault::ResetBeforeCommit,
    Fault::NeverProcessed,
    Fault::Throttled,
    Fault::Unavailable,
    Fault::NeverAnswered,
    Fault::ResetAfterCommit,
    Fault::ErrorAfterCommit,
    Fault::Garbage,
    Fault::Truncated,
];

/// What a schedule came to.
#[derive(Default)]
pub(crate) struct Seen {
    /// Everything that is wrong.
    pub(crate) wrong: Vec<String>,
    /// How often each gateway granted money, by the word that the simulator has for it.
    pub(crate) charged: BTreeMap<String, u32>,
    /// Operations that ended as done.
    pub(crate) operations: u32,
}

/// Runs the schedule of a seed.
pub(crate) fn run(seed: u64, build: Build) -> Seen {
    let dice = Dice::new(seed);
    let world = VirtualWorld::new(dice.clone());
    let disk = Disk::default();
    let clock = world.clone();
    let ledger = Ledger::in_memory_at(move || clock.now());
    let lives = 1 + dice.below(2);
    for life in 0..lives {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (disk, world, dice, ledger) = (disk.clone(), world.clone(), dice.clone(), ledger.clone());
        runtime.block_on(async {
            world.resume();
            let town = Town::open(disk, world.clone(), dice, ledger, build).await;
            town.live(life + 1 == lives).await;
            world.stop();
        });
        // Dropping the runtime is the crash, of the connections too.
        drop(runtime);
    }
    let rows = disk.lock().unwrap();
    let mut seen = Seen { wrong: check(&rows, &ledger), ..Seen::default() };
    for charge in ledger.charges() {
        *seen.charged.entry(format!("{:?}", charge.gateway)).or_default() += charge.charged;
    }
    let operations = rows.sessions.values().flat_map(|session| &session.attempts);
    let operations = operations.flat_map(|attempt| &attempt.operations);
    let done = operations.filter(|operation| matches!(operation.state, OperationState::Done { .. }));
    seen.operations = u32::try_from(done.count()).unwrap();
    seen
}

/// One process, and the simulator.
#[derive(Clone)]
struct Town {
    disk: Disk,
    world: VirtualWorld,
    dice: Dice,
    ledger: Ledger,
    base: String,
    build: Build,
}

impl Town {
    async fn open(disk: Disk, world: VirtualWorld, dice: Dice, ledger: Ledger, build: Build) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(sandbox::serve(listener, ledger.clone(), std::future::pending::<()>()));
        let percent = u8::try_from(dice.below(25)).unwrap();
        let writes_only = dice.percent(30);
        ledger.set_chaos(Some(Chaos { seed: dice.next(), percent, faults: FAULTS.to_vec(), writes_only }));
        Self { disk, world, dice, ledger, base, build }
    }

    async fn live(&self, last: bool) {
        let mut payments = self.start().await;
        for _ in 0..=self.dice.below(2) {
            let (town, payments) = (self.clone(), payments.clone());
            tokio::spawn(async move { town.session(payments).await });
        }
        shop::operate_on_old_sessions(&self.disk, &self.dice, &payments);
        if self.dice.percent(15) {
            self.ledger.reset_next(1);
        }
        tokio::time::sleep(self.dice.millis(40_000)).await;
        if self.dice.percent(20) {
            // Another process takes over while this one still runs.
            payments = self.start().await;
            tokio::time::sleep(self.dice.millis(10_000)).await;
        }
        if last {
            self.ledger.clear_faults();
            self.settle(&payments).await;
        }
    }

    async fn start(&self) -> Payments {
        let gateways = all_at(&self.base, &self.world);
        let store = MemoryStore::open(&self.disk, self.dice.clone(), Late::Nothing);
        let acquirer = Arc::new(Line { gateways, build: self.build });
        let payments = shop::starts(store, acquirer, &DIRECTORY, &self.world).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/notifications/adyen", listener.local_addr().unwrap());
        let router = hushpad_web::notification_router(Arc::new(payments.clone()));
        tokio::spawn(http::serve(listener, router, CancellationToken::new()));
        assert!(self.ledger.notify(Some(&url)));
        payments
    }

    /// One agent and one customer.
    async fn session(&self, payments: Payments) {
        let Some(mut session) = self.open_session(&payments).await else { return };
        if self.dice.percent(25) {
            return self.comes_whole(payments, session).await;
        }
        let still_there = shop::customer(&self.dice);
        for _ in 0..=self.dice.below(3) {
            session = self.pay(&payments, session, &still_there).await;
            if session.has_ended() {
                break;
            }
            tokio::time::sleep(self.dice.millis(3_000)).await;
        }
        shop::gives_up(&payments, session, &self.dice).await;
        shop::operate_on_old_sessions(&self.disk, &self.dice, &payments);
    }

    /// A card from others' telephony: nobody is there to key again, and it may be sent twice.
    async fn comes_whole(&self, payments: Payments, session: Session) {
        if self.dice.percent(30) {
            let (again, session, card) = (payments.clone(), session.clone(), self.card(&session));
            tokio::spawn(async move { again.charge_keyed(session, card, false).await });
        }
        let card = self.card(&session);
        let _ = payments.charge_keyed(session, card, false).await;
        shop::operate_on_old_sessions(&self.disk, &self.dice, &payments);
    }

    async fn open_session(&self, payments: &Payments) -> Option<Session> {
        let magic = AMOUNTS[usize::try_from(self.dice.below(AMOUNTS.len() as u64)).unwrap()];
        let amount = if self.dice.percent(50) {
            format!("{}.{:02}", 1 + self.dice.below(50), self.dice.below(100))
        } else {
            magic.to_owned()
        };
        let configuration = self.dice.below(WAYS.len() as u64);
        self.open_at(payments, configuration, amount).await
    }

    async fn open_at(&self, payments: &Payments, configuration: u64, amount: String) -> Option<Session> {
        shop::opens(payments, &self.world, self.dice.guid(), configuration, amount).await
    }

    async fn pay(&self, payments: &Payments, session: Session, still_there: &StillThere) -> Session {
        let (sender, mut progress) = mpsc::channel(8);
        payments.pay(session.clone(), self.card(&session), CameBy::Phone, still_there.clone(), sender);
        if self.dice.percent(15) {
            let (second, _unheard) = mpsc::channel(8);
            payments.pay(session.clone(), self.card(&session), CameBy::Phone, still_there.clone(), second);
        }
        let mut known = session;
        while let Some(told) = progress.recv().await {
            match told {
                Progress::Waiting(session) | Progress::Challenged(session) => known = *session,
                Progress::NotBegun(session, _)
                | Progress::NotPaid(session)
                | Progress::NotSent(session, _)
                | Progress::Answered(session, _) => {
                    known = *session;
                    break;
                }
            }
        }
        payments.books.read_again(known).await
    }

    fn card(&self, session: &Session) -> Card {
        let card = CARDS[usize::try_from(self.dice.below(CARDS.len() as u64)).unwrap()];
        let (gateways, ..) = WAYS[usize::try_from(session.configuration.0).unwrap()];
        // Stripe gives a sale back by a refund, and at this amount refuses it for ever.
        let is_hopeless =
            card == WRONG_CODE && gateways.contains(&"stripe") && session.amount().minor() == 6902;
        card_of(if is_hopeless { CARDS[0] } else { card })
    }

    /// Waits until everything is settled; what nobody has told for an hour and a half, the operator looks up.
    async fn settle(&self, payments: &Payments) {
        let operator = MemoryStore::guest(&self.disk, self.dice.clone());
        for round in 0..40 {
            tokio::time::sleep(Duration::from_secs(600)).await;
            let sessions: Vec<Session> = self.disk.lock().unwrap().sessions.values().cloned().collect();
            let waiting = self.disk.lock().unwrap().notifications.iter().any(|kept| kept.told.is_some());
            if round > 2 && !waiting && sessions.iter().all(|session| !is_open(session)) {
                return;
            }
            for session in sessions {
                if matches!(session.state, SessionState::Created | SessionState::InProgress) {
                    shop::times_out(payments, session).await;
                    continue;
                }
                for attempt in session.attempts.iter().filter(|_| round > 8) {
                    if let Some(settlement) = self.look_up(attempt) {
                        operator.settle(settlement).await.unwrap();
                    }
                }
            }
        }
    }

    /// What the operator sees in the ledger of what is still open.
    fn look_up(&self, attempt: &Attempt) -> Option<Settlement> {
        let settled_on = self.world.now();
        let reference = "the ledger".to_owned();
        let charge = charge_of(&self.ledger.charges(), attempt);
        if attempt.is_open() {
            let charged = charge.is_some_and(|charge| minor(&charge.stands) == attempt.amount.minor());
            return Some(Settlement { attempt: attempt.id, charged, reference, settled_on });
        }
        let operation = attempt.open_operation()?;
        let charge = charge?;
        let known: i64 = attempt
            .operations
            .iter()
            .filter(|made| made.kind == operation.kind && matches!(made.state, OperationState::Done { .. }))
            .map(|made| made.amount.minor())
            .sum();
        let charged = match operation.kind {
            OperationKind::Capture => minor(&charge.captured) > known,
            OperationKind::Refund => minor(&charge.refunded) > known,
            OperationKind::Void | OperationKind::Reverse { .. } => minor(&charge.stands) == 0,
        };
        Some(Settlement { attempt: settled_as(operation.id), charged, reference, settled_on })
    }
}

/// The gateways as they are; or, in a broken build, with a reset taken for a connection that never was.
struct Line {
    gateways: Gateways,
    build: Build,
}

#[async_trait]
impl Acquirer for Line {
    fn caps(&self, gateway: &GatewayName) -> Option<&Caps> {
        self.gateways.caps(gateway)
    }

    async fn submit(&self, order: &Order<'_>, source: &Source<'_>) -> Submission {
        match Acquirer::submit(&self.gateways, order, source).await {
            Submission::Unknown(Unknown::ConnectionLost) if self.build == Build::FailOverAfterReset => {
                Submission::NotSent(NotSent::Unreachable)
            }
            submission => submission,
        }
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

fn is_open(session: &Session) -> bool {
    !session.has_ended()
        || session
            .attempts
            .iter()
            .any(|attempt| attempt.is_open() || attempt.is_reversing() || attempt.open_operation().is_some())
}

/// What must hold at the end of every schedule.
fn check(rows: &Rows, ledger: &Ledger) -> Vec<String> {
    let (charges, mut wrong) = (ledger.charges(), Vec::new());
    for charge in &charges {
        if charge.charged > 1 || charge.requests > 1 {
            wrong.push(format!("{} was charged again: {charge:?}", charge.transaction_id));
        }
    }
    let known = |charge: &&Charge| {
        rows.sessions
            .values()
            .flat_map(|session| &session.attempts)
            .any(|attempt| is_ours(&charge.transaction_id, attempt))
    };
    for charge in charges.iter().filter(|charge| minor(&charge.stands) > 0 && !known(charge)) {
        wrong.push(format!("no session knows of {charge:?}"));
    }
    for session in rows.sessions.values() {
        check_session(session, rows, &charges, &mut wrong);
    }
    wrong
}

fn check_session(session: &Session, rows: &Rows, charges: &[Charge], wrong: &mut Vec<String>) {
    let ends = rows.events[&session.guid]
        .iter()
        .filter(|event| matches!(event.kind, EventKind::Ended { .. }))
        .count();
    if ends != 1 || is_open(session) {
        wrong.push(format!("it ended {ends} times, or is open: {session:?}"));
    }
    let of = |attempt: &Attempt, kind: OperationKind| -> i64 {
        let done = attempt.operations.iter().filter(|operation| {
            operation.kind == kind && matches!(operation.state, OperationState::Done { .. })
        });
        done.map(|operation| operation.amount.minor()).sum()
    };
    let reported = matches!(session.outcome(), Outcome::Approved | Outcome::Review);
    for attempt in &session.attempts {
        let charge = charge_of(charges, attempt);
        let stands = charge.as_ref().map_or(0, |charge| minor(&charge.stands));
        let captured = of(attempt, OperationKind::Capture);
        let expected = match attempt.standing().filter(|_| reported) {
            // A gateway lets the rest go when a part of an authorisation is taken.
            Some(_) if captured > 0 => {
                let taken = charge.as_ref().map_or(0, |charge| minor(&charge.captured));
                if taken != captured {
                    wrong.push(format!("{captured} captured by us, {taken} by the ledger: {attempt:?}"));
                }
                stands.min(attempt.amount.minor() - of(attempt, OperationKind::Refund))
            }
            Some(money) => money.minor() - of(attempt, OperationKind::Refund),
            None => 0,
        };
        if stands != expected {
            let outcome = session.outcome().word();
            wrong.push(format!("{outcome}: {expected} expected, {stands} stand: {charge:?} {session:?}"));
        }
    }
}

fn charge_of(charges: &[Charge], attempt: &Attempt) -> Option<Charge> {
    charges.iter().find(|charge| is_ours(&charge.transaction_id, attempt)).cloned()
}

/// The attempt's id as the gateways are told it: as text, or in 26 letters.
fn is_ours(reference: &str, attempt: &Attempt) -> bool {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let id = attempt.id.0.as_u128();
    let short: String =
        (0..26_u32).rev().map(|place| char::from(LETTERS[((id >> (place * 5)) & 31) as usize])).collect();
    reference == attempt.id.to_string() || reference == short
}

fn minor(decimal: &str) -> i64 {
    decimal.replace('.', "").parse().unwrap()
}

static DIRECTORY: LazyLock<Arc<Directory>> = LazyLock::new(|| shop::directory(&WAYS));
