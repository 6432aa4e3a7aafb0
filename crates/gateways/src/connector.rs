//! What a connector is: one gateway's words, without sockets or clocks.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, GatewayAnswer, Unknown};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::notification::Notification;
use hushpad_domain::time::Timestamp;
use thiserror::Error;

use crate::caps::Caps;
use crate::endpoint::Endpoint;
use crate::notification::NotificationError;
use crate::order::{FollowUp, Order, Source};

use crate::wire::{Reply, WireRequest};

/// No gateway needs more requests for one order or one question; more is a connector that goes in circles.
pub const STEPS_MAX: u8 = 6;

/// One gateway's words. Pure: it does no IO and reads no clock.
///
/// An order is a sequence of steps, for most gateways of one. A step's reply is the end, or it names the next
/// step. The same holds for a question.
pub trait Connector: Send + Sync {
    /// What this gateway can do.
    fn caps(&self) -> &Caps;

    /// Where the gateway listens: connections are opened there before they are needed.
    fn home(&self) -> &Endpoint;

    /// Whether this step of an order can take money, or comes after one that can. A failure of a step before
    /// these proves that nothing was charged, and such a step may be sent again.
    fn may_charge(&self, _step: &Step) -> bool {
        true
    }

    /// Where an order begins.
    fn first_step(&self, _: &Order<'_>, _: &Source<'_>) -> Step {
        Step::default()
    }

    /// The request of one step of an order. Called again for every try, so that no body is kept. `now` is for
    /// requests that are signed with a time.
    ///
    /// # Errors
    /// [`BuildError`]: surely nothing was sent in this step.
    fn build(
        &self,
        step: &Step,
        order: &Order<'_>,
        source: &Source<'_>,
        now: Timestamp,
    ) -> Result<WireRequest, BuildError>;

    /// Reads the reply to a step; `card` is the keyed card's mask. Total: a surprise is
    /// [`Parsed::Indeterminate`], never a decline.
    fn parse(&self, step: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed;

    /// Where an order goes on once the payer is back from the bank. `came_along` is what the browser brought, a query
    /// or a form as it came: the payer could have written it. That the steps after this can charge is said by
    /// [`Caps::challenge`].
    ///
    /// # Errors
    /// [`NoReturn`]: this is no return from that challenge. Nothing is sent, and the payer is still waited for.
    fn after_challenge(&self, _: &Challenge, _came_along: &[u8]) -> Result<Step, NoReturn> {
        Err(NoReturn)
    }

    /// The request of one step after a challenge. Called again for every try. The card is gone by then.
    ///
    /// # Errors
    /// [`BuildError`]: surely nothing was sent in this step.
    fn go_on(&self, _: &Step, _: &Attempt, _: Timestamp) -> Result<WireRequest, BuildError> {
        Err(BuildError::Unsupported)
    }

    /// Reads the reply to a step after a challenge. Total. [`Parsed::Challenge`] is a payer who has not confirmed yet.
    fn parse_go_on(&self, _: &Step, _: &Attempt, _: Option<&MaskedCard>, _: &Reply) -> Parsed {
        Parsed::Indeterminate(Unknown::Unreadable)
    }

    /// The request that finds an attempt by our reference, where the gateway has one.
    fn query(&self, step: &Step, attempt: &Attempt, now: Timestamp) -> Option<WireRequest>;

    /// Reads the reply to [`Self::query`]. Total, and careful: only a clear "there is none" is
    /// [`ParsedQuery::NotFound`].
    fn parse_query(&self, step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery;

    /// The request of one step of a follow-up. Called again for every try.
    ///
    /// # Errors
    /// [`BuildError`]: surely nothing was sent in this step; [`BuildError::Unsupported`] where
    /// [`Caps::follow_ups`] does not name the kind.
    fn follow_up(&self, _: &Step, _: &FollowUp<'_>, _: Timestamp) -> Result<WireRequest, BuildError> {
        Err(BuildError::Unsupported)
    }

    /// Reads the reply to a step of a follow-up. Total.
    fn parse_follow_up(&self, _: &Step, _: &FollowUp<'_>, _: &Reply) -> ParsedFollowUp {
        ParsedFollowUp::Indeterminate(Unknown::Unreadable)
    }

    /// The request that finds a follow-up by its id, where the gateway has one.
    fn query_follow_up(&self, _: &Step, _: &FollowUp<'_>, _: Timestamp) -> Option<WireRequest> {
        None
    }

    /// Reads the reply to [`Self::query_follow_up`]. [`ParsedFollowUp::NotProcessed`] is a clear "there is none".
    fn parse_query_follow_up(&self, _: &Step, _: &FollowUp<'_>, _: &Reply) -> ParsedFollowUp {
        ParsedFollowUp::Indeterminate(Unknown::Unreadable)
    }

    /// The request that undoes an attempt by our reference, where its answer was lost and the gateway can.
    fn reverse_unknown(&self, _: &Step, _: &Attempt, _: Timestamp) -> Option<WireRequest> {
        None
    }

    /// Reads the reply to [`Self::reverse_unknown`]. Total.
    fn parse_reverse_unknown(&self, _: &Step, _: &Attempt, _: &Reply) -> ParsedReversal {
        ParsedReversal::Indeterminate(Unknown::Unreadable)
    }

    /// Reads the body of a request that the gateway made to us, and verifies that the gateway made it.
    ///
    /// # Errors
    /// [`NotificationError`]: nothing of it is to be believed.
    fn notification(&self, _: &[u8]) -> Result<Vec<Notification>, NotificationError> {
        Err(NotificationError::NotExpected)
    }
}

/// Where in its sequence an order or a question is. The first step is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Its number, from 0; what a number means is the connector's own.
    pub no: u8,
    /// What the gateway called the things that earlier steps made. Ids, never card data.
    pub ids: Vec<String>,
}

/// Why a request could not be written. Surely nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// It is longer than [`BODY_BYTES_MAX`](crate::BODY_BYTES_MAX).
    #[error("the request is too long")]
    TooLong,
    /// Attempt and payment data name different amounts: nothing is sent then (G6).
    #[error("the attempt and its payment data name different amounts")]
    AmountDiffers,
    /// The connector does not know for sure how this gateway writes the currency, or the amount cannot be
    /// written in the gateway's units.
    #[error("the gateway does not take this amount in this currency")]
    Currency,
    /// A header cannot be written: a setting holds control characters.
    #[error("a header cannot be written")]
    Header,
    /// The connector cannot ask this gateway for this.
    #[error("the gateway cannot be asked for this")]
    Unsupported,
}

/// What the payer's browser brought is not from that challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is no return from the bank")]
pub struct NoReturn;

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The gateway's decision.
    Answer(GatewayAnswer),
    /// This step is done; go on with another.
    Next(Step),
    /// The payer must go to the bank first. Only where the order came by a page.
    Challenge(Challenge),
    /// It refused before it processed anything, and said so.
    Refused,
    /// It cannot be known from this reply whether the gateway acted.
    Indeterminate(Unknown),
}

/// What a reply to a query says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedQuery {
    /// What the gateway had decided.
    Found(GatewayAnswer),
    /// This step is done; go on with another.
    Next(Step),
    /// The gateway knows no such reference, for now.
    NotFound,
    /// It cannot be known from this reply.
    Indeterminate(Unknown),
}

/// What a reply to a follow-up, or to a question about one, says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedFollowUp {
    /// It is done.
    Done {
        /// The gateway's own reference of it.
        reference: String,
        /// The reply in the gateway's own published names.
        result: BTreeMap<String, String>,
    },
    /// The gateway has taken it, and will say by notification if it fails.
    Accepted {
        /// The gateway's own reference of it.
        reference: String,
        /// The reply in the gateway's own published names.
        result: BTreeMap<String, String>,
    },
    /// The gateway will not do it: nothing has changed.
    Refused {
        /// Its own word for why.
        reason: String,
        /// The reply in the gateway's own published names.
        result: BTreeMap<String, String>,
    },
    /// It refused before it processed anything; to a question: there is no such follow-up, for now.
    NotProcessed,
    /// This step is done; go on with another.
    Next(Step),
    /// It cannot be known from this reply whether the gateway acted.
    Indeterminate(Unknown),
}

/// What a reply to the reversal of an unknown attempt says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParsedReversal {
    /// All that the attempt held or took is given back.
    Reversed,
    /// The gateway has taken it, and will say by notification how it ended.
    Accepted,
    /// The gateway has nothing of this reference that could be given back, for now.
    NothingThere,
    /// This step is done; go on with another.
    Next(Step),
    /// It cannot be known from this reply.
    Indeterminate(Unknown),
}
