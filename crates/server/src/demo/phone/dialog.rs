//! What a phone remembers of a call, and of a message it may have to send again.

use std::net::SocketAddr;

use super::message::{Message, address, uri};

/// First pause before a message is sent again: T1 of RFC 3261, section 17.1.1.1.
pub(super) const T1_MS: u64 = 500;
/// Longest pause: T2.
pub(super) const T2_MS: u64 = 4_000;
/// When to give up: 64 × T1.
pub(super) const GIVE_UP_MS: u64 = 64 * T1_MS;

/// The call as both sides know it (RFC 3261, section 12).
#[derive(Clone, Debug)]
pub(super) struct Dialog {
    /// Where the call's first message went or came from.
    pub(super) peer: SocketAddr,
    pub(super) call_id: String,
    /// Our From value, with tag.
    pub(super) local: String,
    /// Their To value, with tag once known.
    pub(super) remote: String,
    /// Where requests are for: their Contact.
    pub(super) target: String,
    pub(super) routes: Vec<String>,
    /// Of our latest request.
    pub(super) cseq: u32,
    pub(super) sdp_version: u32,
}

impl Dialog {
    /// A request inside the dialog, or the one that opens it, with the latest sequence number.
    pub(super) fn request(&self, method: &str, sip: SocketAddr, branch: &str) -> Message {
        let mut request = Message::request(method, &self.target)
            .with("Via", &format!("SIP/2.0/UDP {sip};rport;branch={branch}"))
            .with("Max-Forwards", "70")
            .with("From", &self.local)
            .with("To", &self.remote)
            .with("Call-ID", &self.call_id)
            .with("CSeq", &format!("{} {method}", self.cseq));
        for route in &self.routes {
            request.push("Route", route);
        }
        request
    }

    /// Where a request inside the dialog goes first.
    pub(super) fn next_hop(&self) -> SocketAddr {
        let first = self.routes.first().map_or(self.target.as_str(), |route| uri(route));
        address(first).unwrap_or(self.peer)
    }
}

/// Something sent that waits for its answer.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub(super) branch: String,
    pub(super) method: String,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
    /// When to send again; `None` once a provisional answer came.
    pub(super) again_at_ms: Option<u64>,
    pub(super) pause_ms: u64,
    pub(super) give_up_at_ms: u64,
}

impl Pending {
    pub(super) fn new(branch: String, method: &str, to: SocketAddr, bytes: Vec<u8>, now_ms: u64) -> Self {
        Self {
            branch,
            method: method.to_owned(),
            to,
            bytes,
            again_at_ms: Some(now_ms + T1_MS),
            pause_ms: T1_MS,
            give_up_at_ms: now_ms + GIVE_UP_MS,
        }
    }

    /// The bytes, when it is time to send them again.
    pub(super) fn repeat(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if self.is_over(now_ms) || self.again_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
            return None;
        }
        self.pause_ms = (self.pause_ms * 2).min(T2_MS);
        self.again_at_ms = Some(now_ms + self.pause_ms);
        Some(self.bytes.clone())
    }

    pub(super) fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.give_up_at_ms
    }
}
