//! One random schedule: lives of processes over one store, each with agents who pay, cancel, click twice and refund.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use hushpad::payments::{CameBy, Payments, Progress, StillThere};
use hushpad_card::Card;
use hushpad_domain::account::Directory;
use hushpad_domain::attempt::{Attempt, AttemptState, Purpose};
use hushpad_domain::challenge::Browser;
use hushpad_domain::ids::GatewayName;
use hushpad_domain::operation::{Settlement, settled_as};
use hushpad_domain::ports::{NotificationInbox, Settlements, World};
use hushpad_domain::session::{Session, SessionState};
use hushpad_gateways::{Caps, GatewayConfig, GatewayKind, Gateways};
use tokio::sync::mpsc;

use super::checker;
use super::dice::Dice;
use super::gateway::SimGateways;
use super::memory::{Disk, Late, MemoryStore};
use super::shop::{self, Way, card_of};
use super::world::VirtualWorld;

/// Which build is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    Sound,
    /// It sends first and writes its intent down later.
    IntentAfterSend,
    /// It goes on after the payer's return first and writes that down later.
    ReturnAfterGoingOn,
    /// It takes a reset after the request for a connection that never was, and goes on to the next gateway.
    FailOverAfterReset,
}

/// Runs the schedule of a seed and says everything that is wrong at its end.
pub(crate) fn run(seed: u64, build: Build) -> Vec<String> {
    let (disk, gateways, world) = play(seed, build);
    checker::check(&disk.lock().unwrap(), &gateways.ledger.lock().unwrap(), world.micros())
}

/// Runs the schedule of a seed and gives what is left at its end.
pub(crate) fn play(seed: u64, build: Build) -> (Disk, SimGateways, VirtualWorld) {
    let dice = Dice::new(seed);
    let world = VirtualWorld::new(dice.clone());
    let disk = Disk::default();
    let gateways = SimGateways::new(
        &CAPS,
        disk.clone(),
        world.clone(),
        dice.clone(),
        build == Build::FailOverAfterReset,
    );
    let lives = 1 + dice.below(3);
    for life in 0..lives {
        let node = Node {
            disk: disk.clone(),
            gateways: gateways.clone(),
            world: world.clone(),
            dice: dice.clone(),
            build,
            listens: Arc::default(),
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            world.resume();
            let last = life + 1 == lives;
            node.live(last).await;
            world.stop();
        });
        // Dropping the runtime is the crash: every task ends where it is.
        drop(runtime);
    }
    (disk, gateways, world)
}

/// What a gateway of the generic kind can do; the schedules vary it.
static CAPS: LazyLock<Caps> = LazyLock::new(|| {
    let url = "http://127.0.0.1:1/".to_owned();
    let kind = GatewayKind::Generic {
        url,
        operations_url: None,
        query_url: None,
        user: "u".to_owned(),
        password: "p".to_owned(),
    };
    let name = GatewayName("model".to_owned());
    let gateways = Gateways::new(vec![GatewayConfig::new(name.clone(), kind)]).unwrap();
    gateways.caps(&name).unwrap().clone()
});

/// The ways that the configurations go, and how.
const WAYS: [Way; 10] = [
    (&["asks", "both"], Purpose::Sale, false),
    (&["reverses", "asks"], Purpose::Sale, false),
    (&["operator"], Purpose::Sale, false),
    (&["both"], Purpose::Authorise, false),
    (&["asks"], Purpose::Sale, true),
    (&["both", "reverses", "asks"], Purpose::Authorise, true),
    (&["at-bank"], Purpose::Sale, false),
    (&["on-return", "at-bank"], Purpose::Authorise, false),
    (&["tells"], Purpose::Sale, false),
    (&["tells", "asks"], Purpose::Authorise, true),
];

static DIRECTORY: LazyLock<Arc<Directory>> = LazyLock::new(|| shop::directory(&WAYS));

/// One process.
#[derive(Clone)]
struct Node {
    disk: Disk,
    gateways: SimGateways,
    world: VirtualWorld,
    dice: Dice,
    build: Build,
    /// The process that gateways reach.
    listens: Arc<Mutex<Option<Payments>>>,
}

impl Node {
    /// Lives for a while; the last one until everything is settled.
    async fn live(&self, last: bool) {
        let payments = self.start().await;
        let node = self.clone();
        tokio::spawn(async move { node.is_told().await });
        for _ in 0..=self.dice.below(2) {
            let (node, payments) = (self.clone(), payments.clone());
            tokio::spawn(async move { node.session(payments).await });
        }
        shop::operate_on_old_sessions(&self.disk, &self.dice, &payments);
        tokio::time::sleep(self.dice.millis(30_000)).await;
        let mut payments = payments;
        if self.dice.percent(25) {
            // Another process takes over while this one still runs.
            payments = self.start().await;
            tokio::time::sleep(self.dice.millis(10_000)).await;
        }
        if last {
            self.settle(&payments).await;
        }
    }

    async fn start(&self) -> Payments {
        let late = match self.build {
            Build::IntentAfterSend => Late::Intents,
            Build::ReturnAfterGoingOn => Late::Returns,
            Build::Sound | Build::FailOverAfterReset => Late::Nothing,
        };
        let store = MemoryStore::open(&self.disk, self.dice.clone(), late);
        let acquirer = Arc::new(self.gateways.clone());
        let payments = shop::starts(store, acquirer, &DIRECTORY, &self.world).await;
        *self.listens.lock().unwrap() = Some(payments.clone());
        payments
    }

    /// Hears what gateways tell, as long as this life lasts.
    async fn is_told(&self) {
        loop {
            let (due, next) = self.gateways.due();
            for (gateway, told) in due {
                let listens = self.listens.lock().unwrap().clone();
                let Some(payments) = listens else { continue };
                let body = serde_json::to_vec(&told).unwrap();
                if payments.notified(&gateway, &body).await.is_err() {
                    self.gateways.tell_again(gateway, told);
                }
            }
            let idle = Duration::from_secs(5);
            tokio::time::sleep(next.map_or(idle, |next| next.clamp(Duration::from_millis(1), idle))).await;
        }
    }

    /// One agent and one customer.
    async fn session(&self, payments: Payments) {
        let Some(mut session) = self.open(&payments).await else { return };
        let still_there = shop::customer(&self.dice);
        for _ in 0..=self.dice.below(4) {
            session = self.pay(&payments, session, &still_there).await;
            if session.has_ended() {
                break;
            }
            tokio::time::sleep(self.dice.millis(3_000)).await;
        }
        shop::gives_up(&payments, session, &self.dice).await;
        shop::operate_on_old_sessions(&self.disk, &self.dice, &payments);
    }

    async fn open(&self, payments: &Payments) -> Option<Session> {
        let guid = self.dice.guid();
        let amount = format!("{}.{:02}", 1 + self.dice.below(50), self.dice.below(100));
        let configuration = self.dice.below(WAYS.len() as u64);
        shop::opens(payments, &self.world, guid, configuration, amount).await
    }

    /// Presses Pay, sometimes twice, and waits for what comes of it.
    async fn pay(&self, payments: &Payments, session: Session, still_there: &StillThere) -> Session {
        let (sender, mut progress) = mpsc::channel(8);
        payments.pay(session.clone(), card(), came_by(&session), still_there.clone(), sender.clone());
        if self.dice.percent(15) {
            let (second, _unheard) = mpsc::channel(8);
            payments.pay(session.clone(), card(), came_by(&session), still_there.clone(), second);
        }
        let weak = sender.downgrade();
        drop(sender);
        let mut known = session;
        while let Some(told) = progress.recv().await {
            match told {
                Progress::Waiting(session) => known = *session,
                Progress::Challenged(session) => {
                    known = *session;
                    let Some(sender) = weak.upgrade() else { continue };
                    let (gateways, payments) = (self.gateways.clone(), payments.clone());
                    let (session, still_there) = (known.clone(), still_there.clone());
                    tokio::spawn(async move {
                        gateways.visit_the_bank(payments, session, still_there, sender).await;
                    });
                }
                Progress::NotPaid(session)
                | Progress::NotBegun(session, _)
                | Progress::NotSent(session, _)
                | Progress::Answered(session, _) => {
                    known = *session;
                    break;
                }
            }
        }
        payments.books.read_again(known).await
    }

    /// Waits until everything is settled; where nobody else can say it, the operator does.
    async fn settle(&self, payments: &Payments) {
        let operator = MemoryStore::guest(&self.disk, self.dice.clone());
        for round in 0..72 {
            tokio::time::sleep(Duration::from_secs(600)).await;
            let sessions: Vec<Session> = self.disk.lock().unwrap().sessions.values().cloned().collect();
            let is_open = |attempt: &Attempt| {
                attempt.is_open() || attempt.is_reversing() || attempt.open_operation().is_some()
            };
            let all_told = self.gateways.with(|ledger, _| ledger.outbox.is_empty())
                && self.disk.lock().unwrap().notifications.iter().all(|kept| kept.told.is_none());
            if round > 2
                && all_told
                && sessions.iter().all(|session| session.has_ended() && !session.attempts.iter().any(is_open))
            {
                return;
            }
            for session in sessions {
                if matches!(session.state, SessionState::Created | SessionState::InProgress) {
                    shop::times_out(payments, session).await;
                    continue;
                }
                // Where a gateway tells, it has told by then.
                let looks = |attempt: &&Attempt| match attempt.gateway.as_str() {
                    "operator" => true,
                    "tells" => round > 8,
                    _ => false,
                };
                for attempt in session.attempts.iter().filter(looks) {
                    if matches!(attempt.state, AttemptState::Unknown { .. }) || pending(attempt) {
                        operator.settle(self.look_up(attempt)).await.unwrap();
                    }
                    if let Some(settlement) = self.look_up_operation(attempt) {
                        operator.settle(settlement).await.unwrap();
                    }
                }
            }
        }
    }

    /// How an operation ended that nobody has told of.
    fn look_up_operation(&self, attempt: &Attempt) -> Option<Settlement> {
        let open = attempt.open_operation().filter(|_| attempt.gateway.as_str() == "tells")?;
        let ledger = self.gateways.ledger.lock().unwrap();
        let done = *ledger.entries.get(&attempt.id)?.ends.get(&open.id)?;
        Some(Settlement {
            attempt: settled_as(open.id),
            charged: done,
            reference: "gw-2".to_owned(),
            settled_on: self.world.now(),
        })
    }

    /// What the operator sees at the gateway, and does there.
    fn look_up(&self, attempt: &Attempt) -> Settlement {
        let now = self.world.micros();
        let mut ledger = self.gateways.ledger.lock().unwrap();
        let entry = ledger.entries.get_mut(&attempt.id);
        let charged = entry.is_some_and(|entry| {
            let whole = entry.net(now) == attempt.amount.minor();
            // A part is given back by hand.
            entry.reversed |= !whole;
            whole
        });
        Settlement {
            attempt: attempt.id,
            charged,
            reference: "gw-1".to_owned(),
            settled_on: self.world.now(),
        }
    }
}

/// Whether only the gateway or the operator can say what became of it.
fn pending(attempt: &Attempt) -> bool {
    attempt.gateway.as_str() == "tells" && attempt.is_open()
}

/// Two of the configurations are of digital sessions.
fn came_by(session: &Session) -> CameBy {
    if !(6..8).contains(&session.configuration.0) {
        return CameBy::Phone;
    }
    CameBy::Page(Browser::returning_to("https://pay.example/pay/x/back".to_owned()))
}

fn card() -> Card {
    card_of(b"4111111111111111#1230123")
}
