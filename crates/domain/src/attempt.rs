//! One authorisation sent to a gateway: at most one per attempt, ever (G1).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::challenge::{Challenge, Visit};
use crate::field::Field;
use crate::ids::{AttemptId, AttemptNo, GatewayName};
use crate::masked_card::MaskedCard;
use crate::money::Money;
use crate::operation::Operation;
use crate::time::Timestamp;

/// An attempt, from its intent on. Holds no card data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its id. Our reference at the gateway is this id as text; its idempotency key derives from it.
    pub id: AttemptId,
    /// Its number in the session, from 1.
    pub no: AttemptNo,
    /// What is to be authorised: the session's amount (G6).
    pub amount: Money,
    /// What the gateway is asked for.
    pub purpose: Purpose,
    /// Where it goes.
    pub gateway: GatewayName,
    /// When the intent was made.
    pub intended_on: Timestamp,
    /// When it last changed.
    pub updated_on: Timestamp,
    /// What is known of it.
    pub state: AttemptState,
    /// What was done with it after its answer, in order.
    pub operations: Vec<Operation>,
}

/// What an attempt asks the gateway for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Authorise and take the money in one step.
    Sale,
    /// Authorise; the money is taken later, by a capture.
    Authorise,
    /// Check the card and keep it at the gateway under a token. No money moves.
    Tokenise,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 3] = [Self::Sale, Self::Authorise, Self::Tokenise];

    /// Whether an approval holds or takes money.
    #[must_use]
    pub fn holds_money(self) -> bool {
        match self {
            Self::Sale | Self::Authorise => true,
            Self::Tokenise => false,
        }
    }
}

/// What is known of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum AttemptState {
    /// The intent is committed; bytes may be on their way.
    Intent,
    /// The gateway wants the payer to prove at the bank to be the cardholder. Only on a page. It may be charged without
    /// another word of ours: some gateways go on as soon as the payer has confirmed.
    Challenged {
        /// Where the payer is.
        visit: Visit,
    },
    /// The payer is back from the bank, and that we go on is committed; bytes may be on their way.
    Confirming {
        /// Where the payer was.
        visit: Visit,
    },
    /// Surely no byte of the request was written.
    NotSent {
        /// Why, for the operator.
        reason: NotSent,
    },
    /// A byte was written and no answer is known: it may have been charged.
    Unknown {
        /// Why, for the operator.
        reason: Unknown,
        /// Whether the gateway was asked to undo whatever it may hold.
        #[serde(default)]
        undoing: Undoing,
    },
    /// The gateway has answered.
    Answered {
        /// Its answer.
        answer: GatewayAnswer,
        /// Whether the answer came by asking again, not as the reply.
        resolved: bool,
    },
    /// Nothing is charged, and that is known.
    NotCharged {
        /// How it is known.
        #[serde(default)]
        how: NotCharged,
    },
}

/// How far the undoing of an attempt without an answer is. Once it was asked for, an approval that shows up may be on
/// its way back already: it is not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undoing {
    /// Nobody has asked for it.
    #[default]
    NotBegun,
    /// It is asked for; bytes may be on their way.
    Asked,
    /// The gateway has taken it and will say later how it ended.
    Accepted,
    /// The gateway could not do it: what it holds, it holds.
    Failed,
}

impl Undoing {
    /// Whether it may still turn out to be done.
    #[must_use]
    pub fn may_be_done(self) -> bool {
        matches!(self, Self::Asked | Self::Accepted)
    }
}

/// How it is known that nothing is charged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotCharged {
    /// Asked after its settle time, the gateway has no trace of it. What shows up later is given back.
    #[default]
    NoTrace,
    /// The gateway had it and has undone it: the attempt has had its one authorisation.
    Undone,
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotSent {
    /// No connection to the gateway: DNS, TCP or TLS failed.
    Unreachable,
    /// The gateway refused before processing, and said so: throttled or closed.
    Refused,
    /// The request could not be written for this gateway, such as an unsupported currency.
    Unsupported,
    /// The gateway's breaker is open.
    BreakerOpen,
}

/// Why it is not known whether the gateway acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unknown {
    /// No answer within the deadline.
    TimedOut,
    /// The connection ended after a byte was written.
    ConnectionLost,
    /// The gateway answered that it does not know (5xx).
    GatewayError,
    /// The answer could not be understood.
    Unreadable,
    /// We stopped between the intent and the answer.
    Restarted,
    /// The payer did not come back from the bank, or never confirmed there.
    Abandoned,
}

/// What a gateway answered, in our words. Only a connector makes one, from the gateway's reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayAnswer {
    /// Approved, in review, declined, or not yet final.
    pub verdict: Verdict,
    /// The gateway's own reference.
    pub gateway_reference: String,
    /// Its reply in its own published names, for `paymentResultData`.
    pub result: BTreeMap<String, String>,
    /// The card that was used, masked.
    pub card: Option<MaskedCard>,
    /// What the issuer said of address, postcode and security code.
    #[serde(default)]
    pub checks: Checks,
    /// The card as the gateway keeps it, where it was asked to.
    #[serde(default)]
    pub stored: Option<StoredCard>,
}

impl GatewayAnswer {
    /// An answer without checks and without a stored card.
    #[must_use]
    pub fn new(
        verdict: Verdict,
        gateway_reference: String,
        result: BTreeMap<String, String>,
        card: Option<MaskedCard>,
    ) -> Self {
        Self { verdict, gateway_reference, result, card, checks: Checks::default(), stored: None }
    }
}

/// What the issuer said of what was keyed or given along with the number (AVS and card verification).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Checks {
    /// The first line of the address.
    pub address: Check,
    /// The postcode.
    pub postcode: Check,
    /// The security code.
    pub security_code: Check,
}

/// One answer of the issuer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// It is right.
    Match,
    /// It is wrong.
    NoMatch,
    /// Not given, not supported, not answered, or in words that we do not know.
    #[default]
    NotChecked,
}

/// A card as a gateway keeps it: no card data, but money can be taken with it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCard {
    /// The gateway's own name for the card.
    pub token: String,
    /// The scheme's id of the first payment, which later ones must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_transaction_id: Option<String>,
}

impl fmt::Debug for StoredCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCard").finish_non_exhaustive()
    }
}

/// Who starts a payment with a stored card: the schemes want it told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// The customer, who is there.
    Customer,
    /// The merchant alone, as agreed with the customer before.
    Merchant,
}

/// What a gateway decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Approved: the money is authorised or taken.
    Approved,
    /// Less was authorised than was asked for. Not a success: it is given back, unless the flow splits payments.
    Partial {
        /// What was authorised.
        approved: Money,
    },
    /// Authorised, and held for the merchant's review.
    Review,
    /// The gateway has taken it and will say later what became of it. It may be charged.
    Pending,
    /// Declined.
    Declined {
        /// What can be done about it.
        class: DeclineClass,
    },
}

/// Declines by what can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "class", content = "field", rename_all = "snake_case")]
pub enum DeclineClass {
    /// This field was wrong: key it again (and the security code, always).
    Rekey(Field),
    /// Another card is needed.
    OtherCard,
    /// The same card may work later.
    TryLater,
    /// Never with this card: lost, stolen, closed.
    Never,
    /// The issuer wants the cardholder to authenticate, and cannot be given that here: by phone never, on a page where
    /// the gateway has no challenge of ours. By phone: a payment link can.
    Authenticate,
}

impl Attempt {
    /// Whether it may still turn out to be charged.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.state {
            AttemptState::Intent
            | AttemptState::Challenged { .. }
            | AttemptState::Confirming { .. }
            | AttemptState::Unknown { .. } => true,
            AttemptState::Answered { answer, .. } => answer.verdict == Verdict::Pending,
            AttemptState::NotSent { .. } | AttemptState::NotCharged { .. } => false,
        }
    }

    /// How far its undoing is; only an attempt without an answer is undone.
    #[must_use]
    pub fn undoing(&self) -> Undoing {
        match self.state {
            AttemptState::Unknown { undoing, .. } => undoing,
            AttemptState::Intent
            | AttemptState::Challenged { .. }
            | AttemptState::Confirming { .. }
            | AttemptState::NotSent { .. }
            | AttemptState::Answered { .. }
            | AttemptState::NotCharged { .. } => Undoing::NotBegun,
        }
    }

    /// Whether nothing is charged because the gateway had no trace of it.
    #[must_use]
    pub fn left_no_trace(&self) -> bool {
        matches!(self.state, AttemptState::NotCharged { how: NotCharged::NoTrace })
    }

    /// The gateway's answer, if there is one.
    #[must_use]
    pub fn answer(&self) -> Option<&GatewayAnswer> {
        match &self.state {
            AttemptState::Answered { answer, .. } => Some(answer),
            AttemptState::Intent
            | AttemptState::Challenged { .. }
            | AttemptState::Confirming { .. }
            | AttemptState::NotSent { .. }
            | AttemptState::Unknown { .. }
            | AttemptState::NotCharged { .. } => None,
        }
    }

    /// The challenge that the payer is at, while it can still be answered.
    #[must_use]
    pub fn challenge(&self) -> Option<&Challenge> {
        match &self.state {
            AttemptState::Challenged { visit } => Some(&visit.challenge),
            AttemptState::Intent
            | AttemptState::Confirming { .. }
            | AttemptState::NotSent { .. }
            | AttemptState::Unknown { .. }
            | AttemptState::Answered { .. }
            | AttemptState::NotCharged { .. } => None,
        }
    }

    /// The payer's visit to the bank, while it lasts and while we go on after it.
    #[must_use]
    pub fn visit(&self) -> Option<&Visit> {
        match &self.state {
            AttemptState::Challenged { visit } | AttemptState::Confirming { visit } => Some(visit),
            AttemptState::Intent
            | AttemptState::NotSent { .. }
            | AttemptState::Unknown { .. }
            | AttemptState::Answered { .. }
            | AttemptState::NotCharged { .. } => None,
        }
    }
}
