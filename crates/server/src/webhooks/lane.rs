//! The deliveries of one receiver, on a task of its own: a slow receiver holds up nobody but itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hushpad_domain::ids::SessionGuid;
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{Delivery, DeliveryState, Receiver, Tried, TryAnswer};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Shared;
use super::client::TRY_TIME_OUT;
use super::pace;
use super::sender::Sender;

/// Tries at one time while the receiver takes what it gets: a thousand a second at 30 ms each.
const TRIES_AT_ONCE: usize = 32;
/// While it does not: enough to find out that it is back.
const TRIES_AT_ONCE_FAILING: usize = 4;
/// How long a lane sleeps at most. Deliveries replayed by the command line are found by then, and a wall clock that
/// jumped is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(15);
/// When the store cannot be used.
const PAUSE: Duration = Duration::from_millis(250);
/// What ends within this after a first one is written down with it: one sync for all.
const GATHER: Duration = Duration::from_millis(5);

/// The task of one receiver.
pub(super) struct Lane {
    receiver: Receiver,
    /// `None` when the configuration has no webhook any more: its deliveries fail until it has, or they are dead.
    sender: Option<Arc<Sender>>,
    shared: Arc<Shared>,
    nudge: Arc<Notify>,
    tries: JoinSet<Ended>,
    /// Sessions of which a delivery is at the receiver, or back and not yet written down.
    under_way: HashSet<SessionGuid>,
    /// Back and not yet written down.
    ended: Vec<Ended>,
    at_once: usize,
}

/// A try that has ended.
struct Ended {
    session: SessionGuid,
    tried: Tried,
}

impl Lane {
    pub(super) fn new(
        receiver: Receiver,
        sender: Option<Arc<Sender>>,
        shared: Arc<Shared>,
        nudge: Arc<Notify>,
    ) -> Self {
        Self {
            receiver,
            sender,
            shared,
            nudge,
            tries: JoinSet::new(),
            under_way: HashSet::new(),
            ended: Vec::new(),
            at_once: TRIES_AT_ONCE,
        }
    }

    /// Delivers until `stop`; then waits for what is under way.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            // Until what has ended is written down nothing new is sent: a receiver must not get the same again and
            // again because our disk is full.
            let sleep_at_most = if self.ended.is_empty() { self.begin_what_is_due().await } else { PAUSE };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.nudge.notified() => {}
                () = sleep(sleep_at_most) => {}
                Some(ended) = self.tries.join_next() => self.gather(ended).await,
            }
            self.settle().await;
        }
        let rest = async {
            while let Some(ended) = self.tries.join_next().await {
                self.take(ended);
            }
        };
        // What is cut off here is sent again after the next start.
        let _ = timeout(TRY_TIME_OUT, rest).await;
        self.settle().await;
    }

    /// Begins as many tries as there are places; says when there may be more to do.
    async fn begin_what_is_due(&mut self) -> Duration {
        let free = self.at_once.saturating_sub(self.tries.len());
        let places = self.shared.places(free);
        if places.is_empty() {
            // Without a free place of its own, the end of a try wakes it.
            return if free == 0 { SLEEP_MAX } else { pace::PAUSE };
        }
        let except: Vec<SessionGuid> = self.under_way.iter().copied().collect();
        let now = self.shared.world.now();
        let limit = u32::try_from(places.len()).unwrap_or(u32::MAX);
        let due = match self.shared.store.due(&self.receiver, now, &except, limit).await {
            Ok(due) => due,
            Err(error) => {
                self.shared.pace.give_back(places.len());
                warn!(%error, "webhooks that are due cannot be read");
                return PAUSE;
            }
        };
        let full = due.len() == places.len();
        self.shared.pace.give_back(places.len() - due.len());
        for ((delivery, session), place) in due.into_iter().zip(places) {
            self.begin(delivery, &session, now, place);
        }
        if full { pace::PAUSE } else { self.until_next(now).await }
    }

    fn begin(&mut self, delivery: Delivery, session: &Session, now: Timestamp, place: OwnedSemaphorePermit) {
        self.under_way.insert(session.guid);
        let body = Bytes::from(hushpad_web::status_body(session, now));
        let (sender, shared) = (self.sender.clone(), Arc::clone(&self.shared));
        self.tries.spawn(async move {
            let begun_us = shared.elapsed_us();
            let answer = match sender {
                Some(sender) => sender.send(&delivery, body).await,
                None => TryAnswer::NotConfigured,
            };
            drop(place);
            let tried = delivery.tried(answer, shared.world.now(), shared.chance());
            shared.metrics.webhook_tried(answer, tried.state);
            log(&delivery, &tried, shared.elapsed_us().saturating_sub(begun_us) / 1_000);
            Ended { session: delivery.session, tried }
        });
    }

    /// Takes this one, and those that end about now.
    async fn gather(&mut self, first: Result<Ended, tokio::task::JoinError>) {
        self.take(first);
        let others = async {
            while let Some(ended) = self.tries.join_next().await {
                self.take(ended);
            }
        };
        // Those that take longer are for the next time.
        let _ = timeout(GATHER, others).await;
    }

    fn take(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(ended) => {
                let success = ended.tried.answer.is_success();
                self.at_once = if success { TRIES_AT_ONCE } else { TRIES_AT_ONCE_FAILING };
                self.ended.push(ended);
            }
            // Its session stays under way: what brings a try down once may do so each time.
            Err(error) => error!(panicked = error.is_panic(), "a webhook's try did not end"),
        }
    }

    /// Writes down what has ended, all in one transaction.
    async fn settle(&mut self) {
        if self.ended.is_empty() {
            return;
        }
        let tried = self.ended.iter().map(|ended| ended.tried.clone()).collect();
        match self.shared.store.settle(tried).await {
            Ok(()) => {
                for ended in self.ended.drain(..) {
                    self.under_way.remove(&ended.session);
                }
            }
            Err(error) => {
                let tries = self.ended.len();
                warn!(%error, tries, "what became of webhooks cannot be written down; trying again");
            }
        }
    }

    /// How long until the next is due.
    async fn until_next(&self, now: Timestamp) -> Duration {
        let except: Vec<SessionGuid> = self.under_way.iter().copied().collect();
        match self.shared.store.next_due(&self.receiver, &except).await {
            Ok(Some(at)) => {
                let wait_us = u64::try_from(at.as_micros().saturating_sub(now.as_micros())).unwrap_or(0);
                Duration::from_micros(wait_us).min(SLEEP_MAX)
            }
            Ok(None) => SLEEP_MAX,
            Err(_) => PAUSE,
        }
    }
}

fn log(delivery: &Delivery, tried: &Tried, duration_ms: u64) {
    let Receiver { account, configuration } = &delivery.receiver;
    let (answer, no) = (tried.answer.word(), delivery.tries + 1);
    let (id, session) = (delivery.id, delivery.session);
    match tried.state {
        DeliveryState::Delivered { .. } => info!(
            webhook.id = %id, session.id = %session, %account, %configuration, try_no = no, answer, duration_ms,
            "webhook delivered"
        ),
        DeliveryState::Due { at } => warn!(
            webhook.id = %id, session.id = %session, %account, %configuration, try_no = no, answer, duration_ms,
            next = %at, "webhook not delivered, will be tried again"
        ),
        DeliveryState::Dead { .. } => error!(
            webhook.id = %id, session.id = %session, %account, %configuration, try_no = no, answer, duration_ms,
            "webhook given up: hushpad webhooks replay sends it again"
        ),
    }
}
