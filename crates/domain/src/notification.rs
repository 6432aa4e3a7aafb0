//! What gateways tell without being asked.
//!
//! It is written down before the gateway gets its receipt, and taken up from there: [`Session::told`] says what it
//! means. The same thing may be told twice, late, and in any order.
//!
//! [`Session::told`]: crate::session::Session::told

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::attempt::{Checks, DeclineClass, StoredCard};
use crate::ids::{AttemptId, GatewayName, OperationId};
use crate::money::Money;

/// For how long a repetition is known as one. Adyen tells again for a week (docs.adyen.com, "Webhook retries").
pub const NOTIFICATION_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// A key to tell repetitions by that is longer than this is no gateway's.
pub const DEDUPE_KEY_CHARS_MAX: usize = 200;

/// One thing that a gateway told. Its signature has been verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "told", rename_all = "snake_case")]
pub enum Told {
    /// The attempt was approved, or declined.
    Attempt {
        /// `None`: approved.
        declined: Option<DeclineClass>,
        /// What the issuer said of what was keyed.
        #[serde(default)]
        checks: Checks,
        /// The answer in the gateway's own published names.
        #[serde(default)]
        result: BTreeMap<String, String>,
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
    /// The undoing of an attempt without an answer ended. Its reference is the attempt's.
    Reversal {
        /// How.
        end: UndoingEnd,
        /// The gateway's own word for why it was not done.
        reason: String,
    },
    /// A follow-up that had been done has failed after all.
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

/// How an undoing by our reference ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoingEnd {
    /// What was held is given back.
    Done,
    /// The gateway has nothing of this reference.
    NothingThere,
    /// The gateway has something, and could not give it back.
    Failed,
}

/// A notification that was written down and not yet taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the order in which they came.
    pub number: i64,
    /// Who told it.
    pub gateway: GatewayName,
    /// What.
    pub notification: Notification,
}
