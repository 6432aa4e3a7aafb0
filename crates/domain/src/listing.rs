//! Which sessions a list asks for.

use uuid::Uuid;

use crate::ids::{AgentId, CallGuid, SessionGuid};
use crate::session::{Outcome, Session};
use crate::time::Timestamp;

/// Sessions on one page, at most.
pub const PAGE_MAX: u32 = 100;

/// A question for sessions of one account, newest first. What is `None` is not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionQuery {
    /// Whose.
    pub agent: Option<AgentId>,
    /// Of which call.
    pub call: Option<CallGuid>,
    /// In which state.
    pub state: Option<StateName>,
    /// With which outcome.
    pub outcome: Option<Outcome>,
    /// With this `MerchantReferenceCode`. It is payment data: found as long as that is kept, and no longer.
    pub reference: Option<String>,
    /// Opened at or after this.
    pub from: Option<Timestamp>,
    /// Opened before this.
    pub until: Option<Timestamp>,
    /// Only what comes after this place in the list.
    pub after: Option<Place>,
    /// As many at most; 1 to [`PAGE_MAX`].
    pub limit: u32,
    /// Now: what is kept is asked of this moment.
    pub now: Timestamp,
}

/// A session's place in a list: newest first, and among those of one moment by guid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it was opened.
    pub created_on: Timestamp,
    /// Its guid.
    pub guid: Uuid,
}

/// A `sessionState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the Payment API")]
pub enum StateName {
    Created,
    InProgress,
    Processing,
    Finished,
    Error,
    TimeOut,
    ExpiredOnProviderSide,
}

impl StateName {
    /// Every state with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("Created", Self::Created),
        ("InProgress", Self::InProgress),
        ("Processing", Self::Processing),
        ("Finished", Self::Finished),
        ("Error", Self::Error),
        ("TimeOut", Self::TimeOut),
        ("ExpiredOnProviderSide", Self::ExpiredOnProviderSide),
    ];

    /// As it is written on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, state)| *state == self).map_or("", |(name, _)| name)
    }
}

impl Place {
    /// Where this session stands.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        let SessionGuid(guid) = session.guid;
        Self { created_on: session.created_on, guid }
    }
}
