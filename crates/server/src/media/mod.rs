//! The media plane: the sockets of calls, and the threads that move their packets.
//!
//! [`MediaPlane::open`] gives a call its ports and a [`MediaSession`]; the rules of the packets are in
//! [`hushpad_telephony::relay`]. A few pinned threads do the work with epoll, so that a packet costs no
//! task, lock, allocation or log line; a call task tells them what it wants through a bounded channel.
//!
//! Times of keys are of the clock [`now_us`]; signalling that reports keys uses it too.

mod call;
mod clock;
mod fork;
mod net;
mod ports;
#[cfg(test)]
mod tests;
mod worker;

pub use clock::{now_ms, now_us};
pub use fork::ForkPorts;

use call::Call;
use hushpad_telephony::guard::GuardConfig;
use hushpad_telephony::key_queue::KeyQueue;
use hushpad_telephony::relay::{
    Bridge, BridgeStats, ForkFlow, KeyListener, LegParams, SecureMode, Side, StreamSeed,
};
use net::Wake;
use ports::PortPool;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::sync::oneshot;
use worker::{Command, Worker};

/// Commands that wait for a worker. It looks at least every time a packet comes and takes all there are;
/// a sender that finds it full waits those microseconds.
const COMMANDS: usize = 1024;

/// More threads than this do not help on any machine a call server runs on.
const MAX_WORKERS: usize = 64;

/// How the media plane is set up.
#[derive(Clone, Copy, Debug)]
pub struct MediaConfig {
    /// Where the sockets listen. It also says whether media is IPv4 or IPv6.
    pub bind_address: IpAddr,
    /// What peers are told to send to: differs from `bind_address` behind a NAT.
    pub advertised_address: IpAddr,
    /// First UDP port that may be used.
    pub port_min: u16,
    /// Last UDP port that may be used. A call needs four: RTP and RTCP of two legs.
    pub port_max: u16,
    /// Threads, 1 to 64; values outside are brought inside.
    pub workers: usize,
    /// How tones are hidden.
    pub guard: GuardConfig,
}

/// The media plane. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone)]
pub struct MediaPlane(Arc<Plane>);

struct Plane {
    config: MediaConfig,
    ports: Arc<PortPool>,
    workers: Vec<WorkerHandle>,
}

struct WorkerHandle {
    commands: SyncSender<Command>,
    wake: Arc<Wake>,
    calls: AtomicUsize,
}

/// No media ports are left, or none could be opened.
#[derive(Debug, thiserror::Error)]
#[error("no media ports: {0}")]
pub struct NoPorts(#[from] io::Error);

/// The call's media is no longer there: its worker has stopped, or failed at what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the media of this call is gone")]
pub struct MediaGone;

impl MediaPlane {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread or a kernel object for it cannot be made.
    pub fn start(config: MediaConfig) -> io::Result<Self> {
        let ports = Arc::new(PortPool::new(config.port_min, config.port_max));
        let workers = (0..config.workers.clamp(1, MAX_WORKERS))
            .map(|number| start_worker(number, ports.pairs()))
            .collect::<io::Result<_>>()?;
        Ok(Self(Arc::new(Plane { config, ports, workers })))
    }

    /// Opens the ports of a call. Nothing flows before both legs are set.
    ///
    /// # Errors
    /// When no ports are left; the call must be refused.
    pub fn open(&self) -> Result<MediaSession, NoPorts> {
        let Plane { config, ports, workers } = self.0.as_ref();
        let customer = ports.open(config.bind_address)?;
        let agent = ports.open(config.bind_address)?;
        let local = |port| SocketAddr::new(config.advertised_address, port);
        let (to_customer, to_agent) = (local(customer.lease.port()), local(agent.lease.port()));
        let number = customer.lease.index();
        let least = workers.iter().enumerate().min_by_key(|(_, worker)| worker.calls.load(Ordering::Relaxed));
        let worker = least.map_or(0, |(worker, _)| worker);
        let session = MediaSession { plane: self.0.clone(), worker, number, to_customer, to_agent };
        session.handle().calls.fetch_add(1, Ordering::Relaxed);
        let call = Call::new(customer, agent, Bridge::new(seed(), seed()));
        session.send(Command::Open(number, Box::new(call))).map_err(io::Error::other)?;
        Ok(session)
    }

    /// Legs that could still be opened; a call needs two.
    #[must_use]
    pub fn free_legs(&self) -> usize {
        self.0.ports.left()
    }

    /// Legs there are ports for.
    #[must_use]
    pub fn max_legs(&self) -> usize {
        self.0.ports.pairs()
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        for worker in &self.workers {
            let _stopped = worker.commands.send(Command::Stop);
            worker.wake.wake();
        }
    }
}

/// The media of one call. Dropping it closes the ports; they are free again when the worker let go of them.
pub struct MediaSession {
    plane: Arc<Plane>,
    worker: usize,
    number: usize,
    to_customer: SocketAddr,
    to_agent: SocketAddr,
}

impl MediaSession {
    /// The address to write in the SDP toward that side. RTCP is on the next port.
    #[must_use]
    pub fn local(&self, side: Side) -> SocketAddr {
        match side {
            Side::Customer => self.to_customer,
            Side::Agent => self.to_agent,
        }
    }

    /// Takes what signalling agreed for a leg. Commands are obeyed in the order they are given.
    pub fn set_leg(&self, side: Side, params: LegParams) {
        // A worker that is gone sends nothing any more: `stats` tells.
        let _gone = self.send(Command::SetLeg(self.number, side, params));
    }

    /// Hears the agent's keys into `keys` from now on, or no more.
    ///
    /// # Errors
    /// [`MediaGone`].
    pub async fn listen(&self, keys: Option<Arc<KeyQueue>>) -> Result<(), MediaGone> {
        let listener = keys.map(|keys| Box::new(KeyListener::new(keys)));
        self.ask(|done| Command::Listen(self.number, listener, done)).await.map(drop)
    }

    /// Opens the ports that copies for a recorder come from.
    ///
    /// # Errors
    /// When no ports are left; the call goes on without a recorder.
    pub fn open_fork(&self) -> Result<ForkPorts, NoPorts> {
        let Plane { config, ports, .. } = self.plane.as_ref();
        Ok(ForkPorts::open(ports, config.bind_address, config.advertised_address)?)
    }

    /// Copies both directions from these ports, until the call ends.
    pub fn fork(&self, ports: ForkPorts, to: ForkFlow) {
        let mut fork = Box::new(ports.into_fork([seed(), seed()]));
        fork.flow(to);
        // A worker that is gone copies nothing.
        let _gone = self.send(Command::Fork(self.number, fork));
    }

    /// Copies go here from now on; nowhere while the recorder pauses.
    pub fn flow(&self, to: ForkFlow) {
        let _gone = self.send(Command::Flow(self.number, Box::new(to)));
    }

    /// Enters secure mode. When this returns, no key of the customer can reach the agent any more; keys go
    /// to `keys`. `keys` must be held, and not closed, by whoever reads it: otherwise the agent hears
    /// nothing.
    ///
    /// # Errors
    /// [`MediaGone`]: do not ask for a card.
    pub async fn secure(&self, keys: Arc<KeyQueue>) -> Result<(), MediaGone> {
        let secure = Box::new(SecureMode::new(self.plane.config.guard, keys));
        self.ask(|done| Command::Secure(self.number, secure, done)).await.map(drop)
    }

    /// Begins to leave secure mode; the receiver hears when it is left, or an error when that does not come.
    ///
    /// # Errors
    /// [`MediaGone`]: secure mode may still be on.
    pub fn begin_release(&self) -> Result<Leaving, MediaGone> {
        let (done, left) = oneshot::channel();
        self.send(Command::Release(self.number, done))?;
        Ok(Leaving(left))
    }

    /// Leaves secure mode. While a key is down, its rest is still hidden: this returns when it is up and
    /// secure mode has really ended, some 200 ms after the last key.
    ///
    /// # Errors
    /// [`MediaGone`]: secure mode may still be on. Also when secure mode was entered anew meanwhile.
    pub async fn release(&self) -> Result<(), MediaGone> {
        self.begin_release()?.left().await
    }

    /// What was counted.
    ///
    /// # Errors
    /// [`MediaGone`].
    pub async fn stats(&self) -> Result<BridgeStats, MediaGone> {
        self.ask(|done| Command::Stats(self.number, done)).await
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, MediaGone> {
        let (done, answer) = oneshot::channel();
        self.send(command(done))?;
        answer.await.map_err(|_| MediaGone)
    }

    fn send(&self, command: Command) -> Result<(), MediaGone> {
        let worker = self.handle();
        worker.commands.send(command).map_err(|_| MediaGone)?;
        worker.wake.wake();
        Ok(())
    }

    fn handle(&self) -> &WorkerHandle {
        &self.plane.workers[self.worker]
    }
}

impl Drop for MediaSession {
    fn drop(&mut self) {
        // A worker that is gone has closed the ports already.
        let _gone = self.send(Command::Close(self.number));
        self.handle().calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Secure mode is being left: no key is down any more when that is done.
pub struct Leaving(oneshot::Receiver<worker::Leftover>);

impl Leaving {
    /// Waits until it is left. May be dropped and called again.
    ///
    /// # Errors
    /// [`MediaGone`], also when secure mode was entered anew meanwhile.
    pub async fn left(&mut self) -> Result<(), MediaGone> {
        (&mut self.0).await.map(drop).map_err(|_| MediaGone)
    }
}

fn start_worker(number: usize, max_calls: usize) -> io::Result<WorkerHandle> {
    let (commands, receiver) = sync_channel(COMMANDS);
    let wake = Arc::new(Wake::new()?);
    let worker = Worker::new(receiver, wake.clone(), max_calls)?;
    std::thread::Builder::new().name(format!("media-{number}")).spawn(move || {
        net::pin_to_processor(number);
        net::go_first();
        if let Err(error) = worker.run() {
            tracing::error!(worker = number, %error, "a media worker stopped; its calls are silent");
        }
    })?;
    Ok(WorkerHandle { commands, wake, calls: AtomicUsize::new(0) })
}

fn seed() -> StreamSeed {
    StreamSeed {
        ssrc: rand::random(),
        sequence: rand::random(),
        timestamp: rand::random(),
        name: rand::random(),
    }
}
