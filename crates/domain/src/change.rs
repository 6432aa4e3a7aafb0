//! A state change: what one commit writes.

use crate::event::{Event, EventKind};
use crate::ids::{AccountId, DeliveryId};
use crate::kept_card::{KeptCard, TokenHash};
use crate::session::Session;
use crate::time::Timestamp;

/// The session after a transition, with the events that tell it. The only way to write a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a change that is not committed never happened"]
pub struct Change {
    /// The version the session had before; `None` when it is new. The store refuses the change when the
    /// stored version differs.
    pub before: Option<u64>,
    /// The session as it is from now on.
    pub after: Session,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The webhook delivery that tells of the last event, due at once; `None` when nobody is to be told.
    pub delivery: Option<DeliveryId>,
    /// The card that a gateway keeps since this change: from now on it is known as the account's. See
    /// [`Change::keep_card`].
    pub kept_card: Option<KeptCard>,
}

impl Change {
    /// A change of `session` (already altered) at `at` with these events, in order.
    pub(crate) fn of(mut session: Session, at: Timestamp, kinds: Vec<EventKind>) -> Self {
        let before = (session.version > 0).then_some(session.version);
        session.version += 1;
        session.updated_on = session.updated_on.max(at);
        let events: Vec<Event> = kinds
            .into_iter()
            .map(|kind| {
                session.events += 1;
                Event { seq: session.events, at, kind }
            })
            .collect();
        let mut change = Self { before, after: session, events, delivery: None, kept_card: None };
        change.deliver();
        change
    }

    /// Tells one more event before those that are there.
    pub(crate) fn tell_first(&mut self, at: Timestamp, kind: EventKind) {
        let first = self.events.first().map_or(self.after.events + 1, |event| event.seq);
        for event in &mut self.events {
            event.seq += 1;
        }
        self.events.insert(0, Event { seq: first, at, kind });
        self.after.events += 1;
        self.deliver();
    }

    /// This change and, in the same commit, what `next` makes of its session.
    pub(crate) fn and_then<E>(self, next: impl FnOnce(Session) -> Result<Self, E>) -> Result<Self, E> {
        let mut second = next(self.after)?;
        // One commit is one version.
        second.after.version -= 1;
        second.before = self.before;
        second.events.splice(0..0, self.events);
        second.deliver();
        Ok(second)
    }

    /// Notes whose the card is, when this change brings an answer with a stored one. `hash` is keyed by a secret that
    /// the store does not have.
    pub fn keep_card(&mut self, hash: impl FnOnce(&AccountId, &str) -> TokenHash) {
        let no = self.events.iter().find_map(|event| event.kind.changed_attempt());
        let attempt = no.and_then(|no| self.after.attempt(no));
        self.kept_card = attempt.and_then(|attempt| {
            let stored = attempt.answer()?.stored.as_ref()?;
            Some(KeptCard {
                gateway: attempt.gateway.clone(),
                token: hash(&self.after.account, &stored.token),
                network_transaction_id: stored.network_transaction_id.clone(),
            })
        });
    }

    /// Names the delivery, which is of the last event.
    fn deliver(&mut self) {
        let told = self.after.webhook
            && self.events.iter().any(|event| {
                event.kind.is_told() || (self.after.has_ended() && event.kind.is_told_after_the_end())
            });
        self.delivery = told.then(|| DeliveryId::of(self.after.guid, self.after.events));
    }
}
