//! What gateways tell without being asked.

use hushpad_domain::attempt::{DeclineClass, StoredCard};
use hushpad_domain::ids::{AttemptId, OperationId};
use hushpad_domain::money::Money;
use thiserror::Error;
use uuid::Uuid;

/// More than any gateway puts into one notification.
pub const NOTIFICATIONS_MAX: usize = 100;

/// One thing that a gateway told. Its signature has been verified.
///
/// The same one may come again, and in any order: [`Self::dedupe_key`] is the same then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The same for the same thing, however often it is told.
    pub dedupe_key: String,
    /// Our reference: the id of an attempt or of an operation, whichever it was given for.
    pub reference: Uuid,
    /// The gateway's own reference of what this tells about.
    pub gateway_reference: String,
    /// The gateway's reference of the payment, where this is about something that followed it.
    pub original_reference: Option<String>,
    /// The amount, where it was told and can be read.
    pub amount: Option<Money>,
    /// What happened.
    pub what: Told,
}

impl Notification {
    /// The reference as an attempt's.
    #[must_use]
    pub fn attempt(&self) -> AttemptId {
        AttemptId(self.reference)
    }

    /// The reference as an operation's.
    #[must_use]
    pub fn operation(&self) -> OperationId {
        OperationId(self.reference)
    }
}

/// What a gateway told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The attempt was approved, or declined.
    Attempt {
        /// `None`: approved.
        declined: Option<DeclineClass>,
        /// The card as it is kept, where it was asked to be.
        stored: Option<StoredCard>,
    },
    /// A follow-up ended. Its reference is the operation's.
    FollowUp {
        /// Whether it was done.
        done: bool,
        /// The gateway's own word for why not.
        reason: String,
    },
    /// An attempt without an answer was undone by our reference, or could not be. Its reference is the attempt's.
    Reversal {
        /// Whether it was undone.
        done: bool,
        /// The gateway's own word for why not.
        reason: String,
    },
    /// A follow-up that had been done has failed after all: the operator must look.
    FailedLater {
        /// The gateway's own word for it.
        event: String,
    },
    /// Nothing that changes what we know. It must be acknowledged all the same.
    Other {
        /// The gateway's own word for it.
        event: String,
    },
}

/// Why a notification is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotificationError {
    /// This gateway tells nothing, or its key is not configured.
    #[error("no notifications are expected of this gateway")]
    NotExpected,
    /// No gateway has this name.
    #[error("no gateway has this name")]
    NoGateway,
    /// It cannot be read.
    #[error("the notification cannot be read")]
    Malformed,
    /// Its signature is missing or wrong, or it is for another merchant account.
    #[error("the notification is not signed by the gateway for us")]
    NotSigned,
}
