//! The media plane: sockets and worker threads.
//!
//! A stand-in with the agreed signatures: it reserves ports and forwards nothing.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use hushpad_telephony::call::Leg;
use hushpad_telephony::key_queue::KeyQueue;
use hushpad_telephony::sdp::Negotiated;

/// Opens media sessions.
#[derive(Clone, Default)]
pub struct MediaPlane;

/// The media of one call; closed on drop.
pub struct MediaSession {
    customer: UdpSocket,
    agent: UdpSocket,
}

impl MediaPlane {
    /// Opens the media of one call.
    ///
    /// # Errors
    /// No port is free.
    pub fn open(&self) -> io::Result<MediaSession> {
        Ok(MediaSession { customer: UdpSocket::bind("127.0.0.1:0")?, agent: UdpSocket::bind("127.0.0.1:0")? })
    }
}

impl MediaSession {
    /// Where this side sends its audio.
    #[must_use]
    pub fn local(&self, leg: Leg) -> SocketAddr {
        let socket = match leg {
            Leg::Customer => &self.customer,
            Leg::Agent => &self.agent,
        };
        socket.local_addr().expect("a bound socket has an address")
    }

    /// Tells what a leg agreed.
    pub fn set_leg(&self, _leg: Leg, _agreed: &Negotiated) {}

    /// Puts the guard between the customer and everything else.
    pub async fn secure(&self, _keys: Arc<KeyQueue>) {}

    /// Takes the guard away.
    pub async fn release(&self) {}

    /// Packets seen.
    pub async fn stats(&self) -> MediaStats {
        MediaStats::default()
    }
}

/// Counters of one call's media.
#[derive(Clone, Copy, Debug, Default)]
pub struct MediaStats {
    /// Packets received.
    pub packets: u64,
}
