//! SIP on the wire: an adapter over the `rsipstack` crate, whose types end here.
//!
//! [`Stack`] owns listeners and transactions. It hands out [`IncomingCall`]s; accepting one gives
//! [`CallLegs`], the two dialogs of a call, which speak the words of `telephony::call`: what happens comes
//! as a [`LegEvent`], what to do is told by the methods.
//!
//! Who is not in the list of peers gets no answer of any kind; the datagram is counted and forgotten.
//!
//! Digest authentication both ways is ours as well: the stack only carries it (see `identity`).
//!
//! What the stack lacks is done here: Call-IDs of our own (it appends its vendor's domain), removal of
//! finished dialogs, requests in an early dialog (it leaves them unanswered), `Require` (it ignores it),
//! session timers (decided in the call core).
//!
//! **Logs**: below WARN the stack writes whole messages, bodies included: digits. The log set-up must hold
//! its target [`LOG_TARGET`] at WARN whatever the operator asks for.

mod digest;
mod dispatch;
mod event;
mod headers;
mod identity;
mod incoming;
mod legs;
mod limits;
mod lines;
mod network;
pub mod probe;
mod recording;
mod refer;
mod reliable;
mod replaces;
mod socket;
mod stack;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

use hushpad_telephony::call::Wish;

pub use digest::{Credential, Hashes};
pub use event::{LegEvent, Target};
pub use incoming::IncomingCall;
pub use legs::{CallLegs, Callee, Named};
pub use network::{Network, NetworkError};
pub use recording::{NotRecorded, RecordingLine};
pub use stack::Stack;

/// The log target of the SIP stack and everything under it.
pub const LOG_TARGET: &str = "rsipstack";

/// What we call ourselves; no version, which would only help an attacker.
pub(crate) const USER_AGENT: &str = "Hushpad";

/// Messages above this are not read. The largest real INVITE (video, ICE, History-Info) is about 8 KiB. A
/// datagram has to be smaller than 8 KiB, which is the stack's buffer.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// How a listener is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
    /// Encrypted streams; needs [`SipConfig::tls`].
    Tls,
}

/// One socket we listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// How.
    pub transport: Transport,
    /// Where. Port 0 takes a free one, with datagrams only.
    pub bind: SocketAddr,
}

/// What encrypted streams need, each in PEM form.
#[derive(Clone)]
pub struct Tls {
    /// Our certificate and those above it.
    pub certificate: Vec<u8>,
    /// The key of it.
    pub key: Vec<u8>,
    /// Whom we believe when we call over TLS; nobody if empty.
    pub authorities: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(•)")
    }
}

/// What a peer is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// A carrier.
    Trunk,
    /// A telephone system, or the agents' phones.
    Pbx,
}

/// Somebody we talk SIP with. Answers are heard from peers only, so agents' phones must be in one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The name in logs and for routes.
    pub name: String,
    /// The addresses its messages come from.
    pub networks: Vec<Network>,
    /// What it is.
    pub kind: PeerKind,
    /// Its media may come from another address than it says, because it sits behind a NAT.
    pub nat: bool,
    /// Whether its media is sealed.
    pub srtp: Wish,
}

impl Peer {
    /// Whether this address is one of its own.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip))
    }
}

/// What a peer must know before it may call.
#[derive(Clone, Debug)]
pub struct Login {
    /// The name of the peer.
    pub peer: String,
    /// What it has to know.
    pub credential: Credential,
    /// How it may prove it.
    pub hashes: Hashes,
}

/// What the stack needs to know.
#[derive(Clone, Debug)]
pub struct SipConfig {
    /// Where we listen; at least one.
    pub listeners: Vec<Listener>,
    /// The address others reach us at, when it is not the one we bind.
    pub advertised: Option<IpAddr>,
    /// Whom we talk with.
    pub peers: Vec<Peer>,
    /// Peers whose INVITEs are challenged (RFC 3261 section 22); others are known by their address.
    pub logins: Vec<Login>,
    /// For listeners with TLS, and for calls to agents with `transport=tls`.
    pub tls: Option<Tls>,
    /// Most calls at once; sizes the queues.
    pub max_calls: usize,
}

impl SipConfig {
    /// The peer that owns this address.
    #[must_use]
    pub fn peer_of(&self, ip: IpAddr) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.has(ip))
    }
}

/// The SIP stack refused: an address that cannot be used, or a message that makes no dialog.
#[derive(Debug, thiserror::Error)]
#[error("SIP: {0}")]
pub struct SipError(Box<rsipstack::Error>);

impl From<rsipstack::Error> for SipError {
    fn from(error: rsipstack::Error) -> Self {
        Self(Box::new(error))
    }
}

/// What was dropped, for metrics.
#[derive(Debug, Default)]
pub struct Counters {
    unknown_source: AtomicU64,
    oversize: AtomicU64,
    overload: AtomicU64,
    wrong_login: AtomicU64,
}

impl Counters {
    /// Datagrams and connections from addresses of no peer.
    #[must_use]
    pub fn unknown_source(&self) -> u64 {
        self.unknown_source.load(Ordering::Relaxed)
    }

    /// Messages longer than [`MAX_MESSAGE_BYTES`].
    #[must_use]
    pub fn oversize(&self) -> u64 {
        self.oversize.load(Ordering::Relaxed)
    }

    /// Requests refused because too many were in hand.
    #[must_use]
    pub fn overload(&self) -> u64 {
        self.overload.load(Ordering::Relaxed)
    }

    /// Wrong answers to our challenges.
    #[must_use]
    pub fn wrong_login(&self) -> u64 {
        self.wrong_login.load(Ordering::Relaxed)
    }

    fn count_wrong_login(&self) {
        self.wrong_login.fetch_add(1, Ordering::Relaxed);
    }

    fn count_unknown_source(&self) {
        self.unknown_source.fetch_add(1, Ordering::Relaxed);
    }

    fn count_oversize(&self) {
        self.oversize.fetch_add(1, Ordering::Relaxed);
    }

    fn count_overload(&self) {
        self.overload.fetch_add(1, Ordering::Relaxed);
    }
}
