//! SDP offers and answers (RFC 3264, RFC 8866) of one leg.
//!
//! Each leg negotiates with its own side only; nothing of the other leg's description is copied. We read
//! what the far end says ([`Described::parse`]), keep its first RTP or SRTP audio stream with G.711,
//! telephone-event at 8 kHz and comfort noise, and write our own text ([`offer`], [`answer`]) with our
//! address, so that no inner address or foreign attribute can pass through.
//!
//! Only the direction (hold) and the packet time carry over from leg to leg, and the call core does that.

mod crypto;
mod parse;
pub mod recording;
mod write;

use std::net::SocketAddr;

use thiserror::Error;

use crate::g711::Law;
use crate::srtp::Crypto;

pub use crypto::Srtp;
pub use parse::Described;
pub use write::{Layout, Ours, answer, offer};

/// Bodies above this are refused unread. A description with video and ICE is about 4 KiB.
pub const MAX_SDP_BYTES: usize = 16 * 1024;
/// Most media lines read; an answer must repeat every line of the offer (RFC 3264 section 6).
pub const MAX_MEDIA: usize = 8;
/// Most payload types read of one media line; RTP has 128.
pub const MAX_FORMATS: usize = 64;
/// Most attribute lines read of one media line.
pub const MAX_ATTRIBUTES: usize = 256;

/// Who may send audio, from the point of view of whoever wrote the description (RFC 8866 section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// The writer sends only: it holds the other side.
    SendOnly,
    /// The writer listens only.
    RecvOnly,
    /// Neither way.
    Inactive,
}

impl Direction {
    /// The direction of a writer that sends and receives as told.
    #[must_use]
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether the writer sends.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer wants to receive.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same stream seen from the other side.
    #[must_use]
    pub fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::new(self.sends() && other.sends(), self.receives() && other.receives())
    }

    fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// What offer and answer agreed for one leg: all the media plane has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Where the far end wants its audio; nothing while it holds with the address `0.0.0.0` (RFC 2543).
    pub remote: Option<SocketAddr>,
    /// Where the far end wants RTCP (RFC 3605; the next port by default; the same when multiplexed).
    pub remote_rtcp: Option<SocketAddr>,
    /// The law in use.
    pub law: Law,
    /// The payload type of audio to the far end and from it.
    pub payload_type: u8,
    /// The telephone-event payload type to send to the far end, when it takes events.
    pub event_send: Option<u8>,
    /// The telephone-event payload type that the far end was told to use.
    pub event_receive: Option<u8>,
    /// Comfort noise (payload type 13, RFC 3389) is understood by the far end.
    pub comfort_noise: bool,
    /// What *we* do on this leg: `SendOnly` means we send and expect nothing.
    pub direction: Direction,
    /// Packet time the far end asked for, in milliseconds.
    pub ptime_ms: Option<u8>,
    /// Whether RTP and RTCP share a port on this leg (RFC 5761).
    pub rtcp_mux: bool,
    /// How packets are sealed; nothing when they are not.
    pub srtp: Option<Crypto>,
}

/// Why a description cannot be used. Answer 488 Not Acceptable Here, except where said.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SdpError {
    /// Longer than [`MAX_SDP_BYTES`], or more lines than we read.
    #[error("the session description is too large")]
    TooLarge,
    /// Not SDP. The reason is not repeated: it could hold what was sent.
    #[error("the session description cannot be read")]
    Malformed,
    /// No audio stream over RTP, or over SRTP where that is wanted, or it was refused with port 0.
    #[error("no usable RTP audio stream")]
    NoAudio,
    /// Neither PCMU nor PCMA.
    #[error("no G.711 codec in common")]
    NoCodec,
    /// The address is a name, a multicast group, or missing.
    #[error("no usable media address")]
    Address,
}

#[cfg(test)]
mod tests;
