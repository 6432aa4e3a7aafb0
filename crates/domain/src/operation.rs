//! What is done with an attempt after its answer: captured, voided, refunded, reversed.
//!
//! An operation is written down before its first byte goes out, as an attempt is. At most one of an attempt is
//! open at a time, and the amounts of those that are done or may be done never pass what was authorised or taken
//! (G6).

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::attempt::{Attempt, AttemptState, NotSent, Purpose, Unknown, Verdict};
use crate::ids::{AttemptId, OperationId};
use crate::money::Money;
use crate::text::holds_card_number;
use crate::time::Timestamp;

/// Operations on one attempt. Nobody refunds one payment in more pieces.
pub const OPERATIONS_MAX: u16 = 50;
/// A gateway's reference or reason longer than this is cut.
pub const TEXT_CHARS_MAX: usize = 256;

/// The number of an operation within its attempt, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationNo(pub u16);

impl std::fmt::Display for OperationNo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One operation, from its intent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its id. Our reference at the gateway and its idempotency key derive from it.
    pub id: OperationId,
    /// Its number within the attempt.
    pub no: OperationNo,
    /// What is done.
    pub kind: OperationKind,
    /// With how much.
    pub amount: Money,
    /// What is known of it.
    pub state: OperationState,
    /// When the intent was made.
    pub intended_on: Timestamp,
    /// When it last changed.
    pub updated_on: Timestamp,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OperationKind {
    /// Takes money that was authorised.
    Capture,
    /// Gives back all of an authorisation or of a sale before it is settled.
    Void,
    /// Gives back money that was taken, whole or in part.
    Refund,
    /// Gives back all of an approval that must not stand. We ask for it, nobody else.
    Reverse {
        /// Why it must not stand.
        cause: ReverseCause,
    },
}

/// Why an approval is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReverseCause {
    /// The security code did not match.
    SecurityCode,
    /// Address or postcode did not match.
    Address,
    /// Only part was approved, or another amount than was asked for.
    Partial,
    /// It came after the agent was told that nothing was charged.
    Late,
    /// It was a part of a split payment whose rest was never paid.
    RestUnpaid,
}

/// What a caller can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// See [`OperationKind::Capture`].
    Capture,
    /// See [`OperationKind::Void`].
    Void,
    /// See [`OperationKind::Refund`].
    Refund,
}

impl From<Asked> for OperationKind {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Capture => Self::Capture,
            Asked::Void => Self::Void,
            Asked::Refund => Self::Refund,
        }
    }
}

/// What is known of an operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum OperationState {
    /// The intent is committed; bytes may be on their way.
    Intent,
    /// Surely nothing was sent.
    NotSent {
        /// Why, for the operator.
        reason: NotSent,
    },
    /// It may have been done.
    Unknown {
        /// Why, for the operator.
        reason: Unknown,
    },
    /// The gateway has taken it and will say later how it ended.
    Accepted {
        /// The gateway's own reference of it.
        gateway_reference: String,
    },
    /// The gateway has done it.
    Done {
        /// The gateway's own reference of it.
        gateway_reference: String,
    },
    /// The gateway has refused it.
    Refused {
        /// Why, in the gateway's words.
        reason: String,
    },
    /// The gateway had taken it, or had even called it done, and it has failed.
    Failed {
        /// Why, in the gateway's words.
        reason: String,
    },
}

impl OperationState {
    /// Whether it may still turn out to be done.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Intent | Self::Unknown { .. } | Self::Accepted { .. })
    }

    /// Accepted, with a reference of bounded length.
    #[must_use]
    pub fn accepted(gateway_reference: &str) -> Self {
        Self::Accepted { gateway_reference: cut(gateway_reference) }
    }

    /// Failed, with a reason of bounded length.
    #[must_use]
    pub fn failed(reason: &str) -> Self {
        Self::Failed { reason: cut(reason) }
    }

    /// Done, with a reference of bounded length.
    #[must_use]
    pub fn done(gateway_reference: &str) -> Self {
        Self::Done { gateway_reference: cut(gateway_reference) }
    }

    /// Refused, with a reason of bounded length.
    #[must_use]
    pub fn refused(reason: &str) -> Self {
        Self::Refused { reason: cut(reason) }
    }

    /// The word on the wire.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Intent => "processing",
            Self::NotSent { .. } => "notSent",
            Self::Unknown { .. } => "unknown",
            Self::Accepted { .. } => "accepted",
            Self::Done { .. } => "done",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
        }
    }
}

impl OperationKind {
    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::Reverse { .. } => "reverse",
        }
    }

    fn is_reverse(self) -> bool {
        matches!(self, Self::Reverse { .. })
    }
}

/// What an operator has found out at the gateway about an attempt that is unknown, or whose reversal is; or about an
/// operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Which attempt; for an operation, its id ([`settled_as`]).
    pub attempt: AttemptId,
    /// Whether its money is held or was taken; whether the operation was done.
    pub charged: bool,
    /// Where that stands written, such as the gateway's reference.
    pub reference: String,
    /// When it was found.
    pub settled_on: Timestamp,
}

/// Why an operation is not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OperationRefused {
    /// The session is not over yet.
    #[error("the session is not finished: there is no payment yet to do this with")]
    NotFinished,
    /// No attempt holds money.
    #[error("no attempt of this session was approved")]
    NothingApproved,
    /// Several attempts hold money, and none was named.
    #[error("the payment was split over several attempts: name one in \"attempt\"")]
    NameTheAttempt,
    /// Another operation on the attempt is under way, or its result is not known.
    #[error("another operation on this attempt is under way")]
    OneIsOpen,
    /// The attempt was voided or reversed.
    #[error("the payment was given back already")]
    GivenBack,
    /// A sale is taken at once; only an authorisation is captured.
    #[error("the payment was taken at once: there is nothing to capture")]
    NotAnAuthorisation,
    /// Nothing was captured, so nothing can be refunded.
    #[error("nothing was captured yet: void it instead")]
    NotCaptured,
    /// Money was captured or refunded: it can no longer be voided.
    #[error("money was captured or refunded already: refund it instead")]
    TooLateToVoid,
    /// A void is always of the whole.
    #[error("a void takes no amount: it is always of the whole payment")]
    VoidIsWhole,
    /// The amount passes what is left, or there is nothing left.
    #[error("the amount is more than what is left of the payment")]
    TooMuch,
    /// The amount is in another currency than the payment.
    #[error("the amount is not in the currency of the payment")]
    OtherCurrency,
    /// [`OPERATIONS_MAX`] reached.
    #[error("the attempt has had all its {OPERATIONS_MAX} operations")]
    UsedUp,
}

/// Under which name the operator's word about an operation is kept: its own id.
#[must_use]
pub fn settled_as(operation: OperationId) -> AttemptId {
    AttemptId(operation.0)
}

/// The id of the reversal that we begin as operation `no` of an attempt. The same after a restart.
#[must_use]
pub fn reversal_id(attempt: AttemptId, no: OperationNo) -> OperationId {
    OperationId(Uuid::new_v5(&attempt.0, format!("reverse {no}").as_bytes()))
}

impl Attempt {
    /// What the gateway approved that holds or has taken money, whether or not it was given back since.
    #[must_use]
    pub fn authorised(&self) -> Option<Money> {
        let AttemptState::Answered { answer, .. } = &self.state else { return None };
        match answer.verdict {
            Verdict::Approved | Verdict::Review if self.purpose.holds_money() => Some(self.amount),
            Verdict::Partial { approved } if self.purpose.holds_money() => Some(approved),
            Verdict::Approved
            | Verdict::Review
            | Verdict::Partial { .. }
            | Verdict::Pending
            | Verdict::Declined { .. } => None,
        }
    }

    /// Whether a reversal of this approval was begun: from then on it no longer counts as approved.
    #[must_use]
    pub fn was_turned_back(&self) -> bool {
        self.operations.iter().any(|operation| operation.kind.is_reverse())
    }

    /// Whether somebody must still see to this operation of the attempt: it may have been done, or it is a
    /// reversal that was refused, has failed or was not sent.
    #[must_use]
    pub fn awaits(&self, operation: &Operation) -> bool {
        let again = match operation.state {
            OperationState::Refused { .. }
            | OperationState::Failed { .. }
            | OperationState::NotSent { .. } => true,
            OperationState::Intent
            | OperationState::Unknown { .. }
            | OperationState::Accepted { .. }
            | OperationState::Done { .. } => false,
        };
        operation.state.is_open() || (again && operation.kind.is_reverse() && !self.is_given_back())
    }

    /// Whether a reversal was begun and is not confirmed.
    #[must_use]
    pub fn is_reversing(&self) -> bool {
        self.was_turned_back() && !self.is_given_back()
    }

    /// Whether the gateway has given all of it back.
    #[must_use]
    pub fn is_given_back(&self) -> bool {
        self.operations.iter().any(|operation| {
            let whole = match operation.kind {
                OperationKind::Void | OperationKind::Reverse { .. } => true,
                OperationKind::Capture | OperationKind::Refund => false,
            };
            whole && matches!(operation.state, OperationState::Done { .. })
        })
    }

    /// Why the approval was given back, or is being given back.
    #[must_use]
    pub fn turned_back_for(&self) -> Option<ReverseCause> {
        self.operations.iter().rev().find_map(|operation| match operation.kind {
            OperationKind::Reverse { cause } => Some(cause),
            OperationKind::Capture | OperationKind::Void | OperationKind::Refund => None,
        })
    }

    /// What the gateway approved and what stands: not turned back and not voided.
    #[must_use]
    pub fn standing(&self) -> Option<Money> {
        self.authorised().filter(|_| !self.was_turned_back() && !self.is_given_back())
    }

    /// The operation with this number.
    #[must_use]
    pub fn operation(&self, no: OperationNo) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.no == no)
    }

    /// The operation that may still turn out to be done.
    #[must_use]
    pub fn open_operation(&self) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.state.is_open())
    }

    /// What was taken or may have been, in minor units.
    #[must_use]
    pub fn captured_minor(&self) -> i64 {
        match (self.purpose, self.authorised()) {
            (Purpose::Sale, Some(taken)) => taken.minor(),
            (Purpose::Authorise, Some(_)) => self.sum(OperationKind::Capture),
            (Purpose::Tokenise, _) | (_, None) => 0,
        }
    }

    /// What was refunded or may have been, in minor units.
    #[must_use]
    pub fn refunded_minor(&self) -> i64 {
        self.sum(OperationKind::Refund)
    }

    /// The amount that `asked` would be of, or why it cannot be done.
    ///
    /// # Errors
    /// [`OperationRefused`], whichever comes first.
    pub fn allows(&self, asked: Asked, amount: Option<Money>) -> Result<Money, OperationRefused> {
        let authorised = self.authorised().ok_or(OperationRefused::NothingApproved)?;
        if self.was_turned_back() || self.is_given_back() {
            return Err(OperationRefused::GivenBack);
        }
        if self.open_operation().is_some() {
            return Err(OperationRefused::OneIsOpen);
        }
        if self.operations.len() >= usize::from(OPERATIONS_MAX) {
            return Err(OperationRefused::UsedUp);
        }
        if amount.is_some_and(|amount| amount.currency() != authorised.currency()) {
            return Err(OperationRefused::OtherCurrency);
        }
        let (captured, refunded) = (self.captured_minor(), self.refunded_minor());
        let left = match asked {
            Asked::Capture if self.purpose != Purpose::Authorise => {
                return Err(OperationRefused::NotAnAuthorisation);
            }
            Asked::Capture => authorised.minor() - captured,
            Asked::Refund if captured == 0 => return Err(OperationRefused::NotCaptured),
            Asked::Refund => captured - refunded,
            Asked::Void if amount.is_some() => return Err(OperationRefused::VoidIsWhole),
            Asked::Void if refunded > 0 || (self.purpose == Purpose::Authorise && captured > 0) => {
                return Err(OperationRefused::TooLateToVoid);
            }
            Asked::Void => authorised.minor(),
        };
        let whole = Money::from_minor(left, authorised.currency()).map_err(|_| OperationRefused::TooMuch)?;
        match amount {
            Some(amount) if amount.minor() > left => Err(OperationRefused::TooMuch),
            Some(amount) => Ok(amount),
            None => Ok(whole),
        }
    }

    /// Adds an operation in the state of intent.
    pub(crate) fn push_operation(
        &mut self,
        id: OperationId,
        kind: OperationKind,
        amount: Money,
        at: Timestamp,
    ) -> OperationNo {
        let no = self.next_operation();
        let state = OperationState::Intent;
        self.operations.push(Operation { id, no, kind, amount, state, intended_on: at, updated_on: at });
        no
    }

    /// Adds the reversal of all that was approved.
    pub(crate) fn push_reversal(&mut self, cause: ReverseCause, at: Timestamp) -> Option<OperationNo> {
        let amount = self.authorised()?;
        let id = reversal_id(self.id, self.next_operation());
        Some(self.push_operation(id, OperationKind::Reverse { cause }, amount, at))
    }

    fn next_operation(&self) -> OperationNo {
        OperationNo(u16::try_from(self.operations.len()).unwrap_or(u16::MAX).saturating_add(1))
    }

    /// What the operations of this kind that are done or may be done come to.
    fn sum(&self, kind: OperationKind) -> i64 {
        let counts = |operation: &&Operation| {
            operation.kind == kind
                && (operation.state.is_open() || matches!(operation.state, OperationState::Done { .. }))
        };
        self.operations.iter().filter(counts).map(|operation| operation.amount.minor()).sum()
    }
}

/// A gateway's text of bounded length, without anything that reads as a card number.
fn cut(text: &str) -> String {
    let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
    if holds_card_number(&text) { String::new() } else { text }
}
