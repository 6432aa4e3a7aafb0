//! The transitions between the keypad of a phone and a payment link.

use super::{Session, SessionState, WrongState};
use crate::change::Change;
use crate::event::EventKind;
use crate::ids::{AgentId, CallGuid};
use crate::link::{LINKS_MAX, Link, LinkNo, LinkState, Way};
use crate::time::Timestamp;

impl Session {
    /// The link by which the session is paid now, revoked or not.
    #[must_use]
    pub fn link(&self) -> Option<Link> {
        match self.way {
            Way::Keypad => None,
            Way::Link(link) => Some(link),
        }
    }

    /// A new link is the way to pay from now on: in place of the keypad, whose call it leaves, or of the link before.
    ///
    /// # Errors
    /// [`WrongState`] while an attempt is open, after the end, and after [`LINKS_MAX`] links.
    pub fn issue_link(mut self, expires_on: Timestamp, at: Timestamp) -> Result<Change, WrongState> {
        self.still_open()?;
        if self.links >= LINKS_MAX {
            return Err(WrongState::LinksUsedUp);
        }
        self.links += 1;
        let no = LinkNo(self.links);
        self.way = Way::Link(Link { no, state: LinkState::Issued, expires_on });
        self.call = None;
        Ok(Change::of(self, at, vec![EventKind::LinkIssued { link: no }]))
    }

    /// The payer has opened the link.
    ///
    /// # Errors
    /// [`WrongState`] when it was opened or revoked before, or the session is over.
    pub fn open_link(mut self, at: Timestamp) -> Result<Change, WrongState> {
        self.still_open()?;
        let link = self.issued_link()?;
        self.way = Way::Link(Link { state: LinkState::Opened, ..link });
        let mut events = vec![EventKind::LinkOpened { link: link.no }];
        if self.state == SessionState::Created {
            self.state = SessionState::InProgress;
            events.push(EventKind::InProgress);
        }
        Ok(Change::of(self, at, events))
    }

    /// The link opens nothing any more. The session stays: a new link can be issued, or the keypad be taken.
    ///
    /// # Errors
    /// [`WrongState`] without a link that is open, while an attempt is open, and after the end.
    pub fn revoke_link(mut self, at: Timestamp) -> Result<Change, WrongState> {
        self.still_open()?;
        let link = self.link().filter(|link| link.state != LinkState::Revoked).ok_or(WrongState::NoLink)?;
        self.way = Way::Link(Link { state: LinkState::Revoked, ..link });
        Ok(Change::of(self, at, vec![EventKind::LinkRevoked { link: link.no }]))
    }

    /// The card is keyed from now on: on the phone of `call`, the call of `agent`, or on the test keypad. The link
    /// opens nothing any more.
    ///
    /// # Errors
    /// [`WrongState`] without a link, while an attempt is open, and after the end.
    pub fn take_by_keypad(
        mut self,
        agent: AgentId,
        call: Option<CallGuid>,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        self.still_open()?;
        self.link().ok_or(WrongState::NoLink)?;
        self.way = Way::Keypad;
        (self.agent, self.call) = (agent, call);
        let mut events = vec![EventKind::KeypadTaken];
        if self.state == SessionState::Created {
            self.state = SessionState::InProgress;
            events.push(EventKind::InProgress);
        }
        Ok(Change::of(self, at, events))
    }

    fn issued_link(&self) -> Result<Link, WrongState> {
        self.link().filter(|link| link.state == LinkState::Issued).ok_or(WrongState::NoLink)
    }
}
