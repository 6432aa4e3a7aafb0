//! A state change: what one commit writes.

use crate::event::{Event, EventKind};
use crate::ids::DeliveryId;
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
        let told = session.webhook && events.iter().any(|event| event.kind.is_told());
        let delivery = told.then(|| DeliveryId::of(session.guid, session.events));
        Self { before, after: session, events, delivery }
    }
}
