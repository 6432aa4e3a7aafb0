//! The media side of one leg: what we told it, what it told us.

use std::net::SocketAddr;

use crate::g711::Law;
use crate::sdp::{self, Described, Direction, Layout, Negotiated, Ours, SdpError, Srtp};

use super::timer::Watch;

/// What one leg has agreed so far.
#[derive(Clone, Debug)]
pub(super) struct Side {
    local: SocketAddr,
    session_id: u64,
    srtp: Srtp,
    version: u64,
    layout: Layout,
    /// The last description we sent; sent again unchanged as a refresh (RFC 4028 section 7.4).
    last: Option<Vec<u8>>,
    /// What we last said we do.
    told: Direction,
    /// What the far end last said it does.
    theirs: Direction,
    agreed: Option<Negotiated>,
    pub(super) watch: Watch,
    /// Whether the dialog is one that we opened: its Call-ID is ours.
    ours: bool,
}

impl Side {
    pub(super) fn new(local: SocketAddr, session_id: u64, srtp: Srtp) -> Self {
        Self {
            local,
            session_id,
            srtp,
            version: 1,
            layout: Layout::default(),
            last: None,
            told: Direction::SendRecv,
            theirs: Direction::SendRecv,
            agreed: None,
            watch: Watch::Off,
            ours: false,
        }
    }

    /// In a dialog that we open.
    pub(super) fn opened_by_us(self) -> Self {
        Self { ours: true, ..self }
    }

    /// Whether the Call-ID is ours.
    pub(super) fn is_ours(&self) -> bool {
        self.ours
    }

    /// The same place in the relay for another far end that we call, which must not know the key of this one.
    pub(super) fn anew(&self, srtp: Srtp) -> Self {
        self.anew_for_caller(srtp).opened_by_us()
    }

    /// The same for one that calls us.
    pub(super) fn anew_for_caller(&self, srtp: Srtp) -> Self {
        // A dialog of its own has an `o=` line of its own.
        Self::new(self.local, self.session_id.wrapping_add(1) >> 1, srtp)
    }

    /// Reads a description of the far end.
    pub(super) fn parse(&self, body: &[u8]) -> Result<Described, SdpError> {
        Described::parse(body, self.srtp)
    }

    pub(super) fn agreed(&self) -> Option<Negotiated> {
        self.agreed
    }

    pub(super) fn theirs(&self) -> Direction {
        self.theirs
    }

    pub(super) fn told(&self) -> Direction {
        self.told
    }

    pub(super) fn law(&self) -> Option<Law> {
        self.agreed.map(|agreed| agreed.law)
    }

    pub(super) fn ptime_ms(&self) -> Option<u8> {
        self.agreed.and_then(|agreed| agreed.ptime_ms)
    }

    /// Our answer to `offered`.
    pub(super) fn answer(
        &mut self,
        offered: &Described,
        direction: Direction,
        law: Option<Law>,
        ptime_ms: Option<u8>,
    ) -> Result<Vec<u8>, SdpError> {
        let law = law.or(self.law());
        let mut made = sdp::answer(offered, &self.ours(direction, ptime_ms), law)?;
        if self.last.as_ref().is_some_and(|last| *last != made.0) {
            self.version += 1;
            made = sdp::answer(offered, &self.ours(direction, ptime_ms), law)?;
        }
        let (text, agreed) = made;
        self.layout = offered.layout();
        self.theirs = offered.direction();
        self.told = agreed.direction;
        self.agreed = Some(agreed);
        self.last = Some(text.clone());
        Ok(text)
    }

    /// A new offer of ours.
    pub(super) fn offer(&mut self, direction: Direction, law: Option<Law>, ptime_ms: Option<u8>) -> Vec<u8> {
        let law = law.or(self.law()).unwrap_or(Law::A);
        let mut text = sdp::offer(&self.ours(direction, ptime_ms), &self.layout, law);
        if self.last.as_ref().is_some_and(|last| *last != text) {
            self.version += 1;
            text = sdp::offer(&self.ours(direction, ptime_ms), &self.layout, law);
        }
        self.last = Some(text.clone());
        text
    }

    /// Our last offer was refused: what was agreed before stays (RFC 3261 section 14.1).
    pub(super) fn withdraw(&mut self) {
        self.version += 1;
        self.last = None;
    }

    /// The last description once more: a refresh that changes nothing.
    pub(super) fn repeat(&mut self) -> Vec<u8> {
        match self.last.clone() {
            Some(text) => text,
            None => self.offer(self.told, None, None),
        }
    }

    /// Their answer to our offer made with `offered`.
    pub(super) fn accept(&mut self, body: &[u8], offered: Direction) -> Result<Negotiated, SdpError> {
        let described = self.parse(body)?;
        let agreed = described.accepted(&mut self.layout, offered, self.srtp)?;
        self.theirs = described.direction();
        self.told = offered;
        self.agreed = Some(agreed);
        Ok(agreed)
    }

    fn ours(&self, direction: Direction, ptime_ms: Option<u8>) -> Ours {
        Ours {
            address: self.local,
            session_id: self.session_id,
            version: self.version,
            direction,
            ptime_ms,
            srtp: self.srtp,
        }
    }
}
