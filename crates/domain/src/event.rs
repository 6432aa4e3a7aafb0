//! The event log of a session: one event per transition (G4).

use serde::{Deserialize, Serialize};

use crate::attempt::Undoing;
use crate::ids::AttemptNo;
use crate::link::LinkNo;
use crate::money::Money;
use crate::operation::{OperationKind, OperationNo, ReverseCause};
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
    /// A payment link was issued; it is the way to pay from now on.
    #[serde(rename = "link.issued")]
    LinkIssued {
        /// Which link.
        link: LinkNo,
    },
    /// The payer has opened the payment link.
    #[serde(rename = "link.opened")]
    LinkOpened {
        /// Which link.
        link: LinkNo,
    },
    /// The payment link was revoked.
    #[serde(rename = "link.revoked")]
    LinkRevoked {
        /// Which link.
        link: LinkNo,
    },
    /// The card is keyed on the phone from now on, no longer by the link.
    #[serde(rename = "keypad.taken")]
    KeypadTaken,
    /// The intent of an attempt was written; bytes go out after this.
    #[serde(rename = "attempt.intent")]
    Intent {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// The payer is sent to the bank, to prove to be the cardholder.
    #[serde(rename = "attempt.challenge")]
    Challenge {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// The payer is back from the bank; bytes go out after this.
    #[serde(rename = "attempt.challenge_returned")]
    ChallengeReturned {
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
    /// The gateway approved only part.
    #[serde(rename = "attempt.partial")]
    Partial {
        /// Which attempt.
        attempt: AttemptNo,
        /// How much it approved.
        approved: Money,
    },
    /// The gateway has taken it, and will say later what became of it.
    #[serde(rename = "attempt.pending")]
    Pending {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// The gateway approved, wholly or in part, and the approval does not stand: it is given back.
    #[serde(rename = "attempt.turned_back")]
    TurnedBack {
        /// Which attempt.
        attempt: AttemptNo,
        /// Why it does not stand.
        cause: ReverseCause,
    },
    /// An approval came after the agent was told that nothing was charged. It is given back.
    #[serde(rename = "attempt.late_success")]
    LateSuccess {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// The gateway is asked to undo whatever it may hold of an attempt without an answer, or said how far that is.
    #[serde(rename = "attempt.undoing")]
    Undoing {
        /// Which attempt.
        attempt: AttemptNo,
        /// How far it is.
        undoing: Undoing,
    },
    /// The operator has looked it up at the gateway.
    #[serde(rename = "attempt.settled")]
    Settled {
        /// Which attempt.
        attempt: AttemptNo,
        /// Whether it was charged.
        charged: bool,
        /// Where the operator found that, such as the gateway's reference.
        reference: String,
    },
    /// The intent of an operation was written; bytes go out after this.
    #[serde(rename = "operation.intent")]
    OperationIntent {
        /// On which attempt.
        attempt: AttemptNo,
        /// Which operation.
        operation: OperationNo,
        /// What it does.
        #[serde(flatten)]
        kind: OperationKind,
        /// With how much.
        amount: Money,
    },
    /// Nothing of an operation was sent.
    #[serde(rename = "operation.not_sent")]
    OperationNotSent {
        /// On which attempt.
        attempt: AttemptNo,
        /// Which operation.
        operation: OperationNo,
    },
    /// It is not known whether an operation was done.
    #[serde(rename = "operation.unknown")]
    OperationUnknown {
        /// On which attempt.
        attempt: AttemptNo,
        /// Which operation.
        operation: OperationNo,
    },
    /// The gateway has taken an operation, and will say later how it ended.
    #[serde(rename = "operation.accepted")]
    OperationAccepted {
        /// On which attempt.
        attempt: AttemptNo,
        /// Which operation.
        operation: OperationNo,
    },
    /// An operation that the gateway had taken, or had even called done, has failed.
    #[serde(rename = "operation.failed")]
    OperationFailed {
        /// On which attempt.
        attempt: AttemptNo,
        /// Which operation.
        operation: OperationNo,
    },
    /// The gateway has done an operation.
    #[serde(rename = "operation.done")]
    OperationDone {
        /// On which attempt.
        attempt: AttemptNo,
        /// Which operation.
        operation: OperationNo,
    },
    /// The gateway has refused an operation.
    #[serde(rename = "operation.refused")]
    OperationRefused {
        /// On which attempt.
        attempt: AttemptNo,
        /// Which operation.
        operation: OperationNo,
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
            | Self::Partial { .. }
            | Self::Declined { .. }
            | Self::NotCharged { .. }
            | Self::Ended { .. } => true,
            // An approval that is given back is told when the session goes on to its end.
            Self::Created
            | Self::InProgress
            | Self::LinkIssued { .. }
            | Self::LinkOpened { .. }
            | Self::LinkRevoked { .. }
            | Self::KeypadTaken
            | Self::Intent { .. }
            | Self::Challenge { .. }
            | Self::ChallengeReturned { .. }
            | Self::NotSent { .. }
            | Self::Unknown { .. }
            | Self::Pending { .. }
            | Self::TurnedBack { .. }
            | Self::LateSuccess { .. }
            | Self::Undoing { .. }
            | Self::Settled { .. }
            | Self::OperationIntent { .. }
            | Self::OperationNotSent { .. }
            | Self::OperationUnknown { .. }
            | Self::OperationAccepted { .. }
            | Self::OperationFailed { .. }
            | Self::OperationDone { .. }
            | Self::OperationRefused { .. } => false,
        }
    }

    /// Whether it is told when the session has ended before: until then its end tells it.
    #[must_use]
    pub fn is_told_after_the_end(&self) -> bool {
        match self {
            Self::LateSuccess { .. }
            | Self::Settled { .. }
            | Self::OperationDone { .. }
            | Self::OperationFailed { .. }
            | Self::OperationRefused { .. } => true,
            Self::Created
            | Self::InProgress
            | Self::LinkIssued { .. }
            | Self::LinkOpened { .. }
            | Self::LinkRevoked { .. }
            | Self::KeypadTaken
            | Self::Intent { .. }
            | Self::Challenge { .. }
            | Self::ChallengeReturned { .. }
            | Self::NotSent { .. }
            | Self::Unknown { .. }
            | Self::Approved { .. }
            | Self::Review { .. }
            | Self::Partial { .. }
            | Self::Pending { .. }
            | Self::Declined { .. }
            | Self::NotCharged { .. }
            | Self::TurnedBack { .. }
            | Self::Undoing { .. }
            | Self::OperationIntent { .. }
            | Self::OperationNotSent { .. }
            | Self::OperationUnknown { .. }
            | Self::OperationAccepted { .. }
            | Self::Ended { .. } => false,
        }
    }

    /// Whether it tells how the payer gives the card, and nothing else.
    #[must_use]
    pub fn changed_way(&self) -> bool {
        matches!(
            self,
            Self::LinkIssued { .. } | Self::LinkOpened { .. } | Self::LinkRevoked { .. } | Self::KeypadTaken
        )
    }

    /// The attempt whose own state this event changed.
    #[must_use]
    pub fn changed_attempt(&self) -> Option<AttemptNo> {
        match self {
            Self::Intent { attempt }
            | Self::Challenge { attempt }
            | Self::ChallengeReturned { attempt }
            | Self::NotSent { attempt }
            | Self::Unknown { attempt }
            | Self::Approved { attempt }
            | Self::Review { attempt }
            | Self::Declined { attempt }
            | Self::NotCharged { attempt }
            | Self::Partial { attempt, .. }
            | Self::Pending { attempt }
            | Self::TurnedBack { attempt, .. }
            | Self::Undoing { attempt, .. }
            | Self::LateSuccess { attempt } => Some(*attempt),
            Self::Created
            | Self::InProgress
            | Self::LinkIssued { .. }
            | Self::LinkOpened { .. }
            | Self::LinkRevoked { .. }
            | Self::KeypadTaken
            | Self::Settled { .. }
            | Self::OperationIntent { .. }
            | Self::OperationNotSent { .. }
            | Self::OperationUnknown { .. }
            | Self::OperationAccepted { .. }
            | Self::OperationFailed { .. }
            | Self::OperationDone { .. }
            | Self::OperationRefused { .. }
            | Self::Ended { .. } => None,
        }
    }

    /// The operation whose state this event changed.
    #[must_use]
    pub fn changed_operation(&self) -> Option<(AttemptNo, OperationNo)> {
        match self {
            Self::OperationIntent { attempt, operation, .. }
            | Self::OperationNotSent { attempt, operation }
            | Self::OperationUnknown { attempt, operation }
            | Self::OperationAccepted { attempt, operation }
            | Self::OperationFailed { attempt, operation }
            | Self::OperationDone { attempt, operation }
            | Self::OperationRefused { attempt, operation } => Some((*attempt, *operation)),
            Self::Created
            | Self::InProgress
            | Self::LinkIssued { .. }
            | Self::LinkOpened { .. }
            | Self::LinkRevoked { .. }
            | Self::KeypadTaken
            | Self::Intent { .. }
            | Self::Challenge { .. }
            | Self::ChallengeReturned { .. }
            | Self::NotSent { .. }
            | Self::Unknown { .. }
            | Self::Approved { .. }
            | Self::Review { .. }
            | Self::Declined { .. }
            | Self::NotCharged { .. }
            | Self::Partial { .. }
            | Self::Pending { .. }
            | Self::TurnedBack { .. }
            | Self::LateSuccess { .. }
            | Self::Undoing { .. }
            | Self::Settled { .. }
            | Self::Ended { .. } => None,
        }
    }
}
