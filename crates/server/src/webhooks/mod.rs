//! Webhooks: results pushed to back ends, at least once, for twelve hours.
//!
//! The commit that makes a result makes its delivery too ([`hushpad_domain::change::Change::delivery`]). Here it is
//! sent: one lane per receiver takes what is due, renders the session as `GET /v1/session/{guid}` would, signs it
//! ([`signature`]), posts it ([`client`], to addresses that [`guard`] allows, with a [`token`] where the receiver wants
//! one), and writes down what came of it. A crash between the sending and the writing sends it again.
//!
//! What bounds it: tries at one time per receiver (`lane`) and in all ([`PLACES_MAX`]), tries in a second (`pace`), the time and reply of a try
//! (`client`). What waits is in the store, never in memory. [`crate::announcer`] wakes the lane when a
//! change is committed, [`Told`] when a dead letter is replayed.

pub mod cli;
pub mod client;
pub mod guard;
mod lane;
pub mod listen;
mod pace;
mod sender;
pub mod signature;
#[cfg(test)]
mod tests;
pub mod token;
mod told;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hushpad_domain::ports::{Webhooks, World};
use hushpad_domain::webhook::Receiver;
use hushpad_gateways::Endpoint;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::metrics::Metrics;
use guard::Reach;
use lane::Lane;
use pace::Pace;
use sender::Sender;
use signature::SigningSecret;
use token::ClientCredentials;

pub use told::Told;

/// Tries at one time over all receivers: a socket and a few KB each. A hundred receivers that hang leave places for
/// the others, as a failing one takes four.
pub const PLACES_MAX: usize = 512;
/// How often receivers that have no lane are looked for: of configurations without a webhook, after a replay.
const LOOK_ROUND: Duration = Duration::from_secs(60);

/// One configuration's webhook.
pub struct WebhookConfig {
    /// Whose it is.
    pub receiver: Receiver,
    /// Where results go.
    pub url: Endpoint,
    /// One, or two while it is changed.
    pub secrets: Vec<SigningSecret>,
    /// The receiver's token endpoint, and who we are there.
    pub token: Option<(Endpoint, ClientCredentials)>,
    /// Where the receiver may be.
    pub reach: Reach,
    /// Whose certificates are taken.
    pub tls: TlsConnector,
}

/// Sends what is due. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    senders: BTreeMap<Receiver, Arc<Sender>>,
    /// A lane's bell. Held only to look one up.
    lanes: Mutex<BTreeMap<Receiver, Arc<Notify>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// What the lanes share.
struct Shared {
    store: Arc<dyn Webhooks>,
    world: Arc<dyn World>,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    pace: Pace,
    started: tokio::time::Instant,
}

impl Shared {
    /// Up to `wanted` places: as many as are free and as may begin now.
    fn places(&self, wanted: usize) -> Vec<OwnedSemaphorePermit> {
        let allowed = self.pace.take(wanted, self.elapsed_us());
        let places: Vec<_> =
            (0..allowed).map_while(|_| Arc::clone(&self.places).try_acquire_owned().ok()).collect();
        self.pace.give_back(allowed - places.len());
        places
    }

    fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// For jitter: the random bits at a guid's end.
    fn chance(&self) -> u64 {
        let [.., a, b, c, d, e, f] = self.world.guid().into_bytes();
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }
}

impl Dispatcher {
    /// Starts a lane for each configured receiver, and for each one for which something waits.
    ///
    /// # Errors
    /// A configuration that cannot be used.
    pub fn start(
        configs: Vec<WebhookConfig>,
        store: Arc<dyn Webhooks>,
        world: Arc<dyn World>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let mut senders = BTreeMap::new();
        for config in configs {
            let receiver = config.receiver.clone();
            let sender = Sender::new(config, Arc::clone(&world)).map_err(anyhow::Error::msg)?;
            senders.insert(receiver, Arc::new(sender));
        }
        let places = Arc::new(Semaphore::new(PLACES_MAX));
        let started = tokio::time::Instant::now();
        let shared = Shared { store, world, metrics, places, pace: Pace::new(), started };
        let dispatcher = Self(Arc::new(Inner {
            shared: Arc::new(shared),
            senders,
            lanes: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }));
        for receiver in dispatcher.0.senders.keys() {
            dispatcher.nudge(receiver);
        }
        dispatcher.0.tasks.spawn(dispatcher.clone().look_round());
        Ok(dispatcher)
    }

    /// Something is due for this receiver.
    pub fn nudge(&self, receiver: &Receiver) {
        let Inner { shared, senders, lanes, tasks, stop } = &*self.0;
        let mut lanes = lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = lanes.get(receiver) {
            return bell.notify_one();
        }
        if stop.is_cancelled() {
            return;
        }
        let bell = Arc::new(Notify::new());
        let sender = senders.get(receiver).cloned();
        if sender.is_none() {
            let Receiver { account, configuration } = receiver;
            error!(%account, %configuration, "webhooks wait, and the configuration has no webhook any more");
        }
        let lane = Lane::new(receiver.clone(), sender, Arc::clone(shared), Arc::clone(&bell));
        tasks.spawn(lane.run(stop.clone()));
        lanes.insert(receiver.clone(), bell);
    }

    /// Sends nothing new, waits for what is under way, and writes that down.
    pub async fn shut_down(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    async fn look_round(self) {
        loop {
            match self.0.shared.store.receivers().await {
                Ok(receivers) => receivers.iter().for_each(|receiver| self.nudge(receiver)),
                Err(error) => warn!(%error, "webhooks that wait cannot be read"),
            }
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_ROUND) => {}
            }
        }
    }
}
