//! The event log of a session: one event per transition (G4).

use serde::{Deserialize, Serialize};

use crate::ids::AttemptNo;
use crate::time::Timestamp;

/// Something that happened to a session. Holds no card data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number within the session, from 1 without gaps.
    pub seq: u32,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum EventKind {
    /// The session was opened.
    #[serde(rename = "session.created")]
    Created,
    /// The agent began.
    #[serde(rename = "session.in_progress")]
    InProgress,
    /// The intent of an attempt was written; bytes go out after this.
    #[serde(rename = "attempt.intent")]
    Intent {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// Nothing was sent.
    #[serde(rename = "attempt.not_sent")]
    NotSent {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// It is not known whether it was charged.
    #[serde(rename = "attempt.unknown")]
    Unknown {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// The gateway approved.
    #[serde(rename = "attempt.approved")]
    Approved {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// The gateway approved and holds it for review.
    #[serde(rename = "attempt.review")]
    Review {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// The gateway declined.
    #[serde(rename = "attempt.declined")]
    Declined {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// The gateway has no trace of it: nothing was charged.
    #[serde(rename = "attempt.not_charged")]
    NotCharged {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// The session ended.
    #[serde(rename = "session.ended")]
    Ended {
        /// `Finished`, `Error`, `TimeOut` or `ExpiredOnProviderSide`.
        state: String,
        /// The outcome's word.
        outcome: String,
    },
}

impl EventKind {
    /// Whether a back end with a webhook is told: the gateway has answered, or the session has ended. One change is
    /// told once, however many of its events are.
    #[must_use]
    pub fn is_told(&self) -> bool {
        match self {
            Self::Approved { .. }
            | Self::Review { .. }
            | Self::Declined { .. }
            | Self::NotCharged { .. }
            | Self::Ended { .. } => true,
            Self::Created
            | Self::InProgress
            | Self::Intent { .. }
            | Self::NotSent { .. }
            | Self::Unknown { .. } => false,
        }
    }
}
