//! What a connector is: one gateway's words, without sockets or clocks.

use std::io;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use hushpad_card::Card;
use hushpad_domain::attempt::{Attempt, GatewayAnswer, Unknown};
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::time::Timestamp;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::endpoint::Endpoint;

/// No request or reply of a gateway comes near this; more is a mistake or an attack.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// No gateway needs more requests for one order or one question; more is a connector that goes in circles.
pub const STEPS_MAX: u8 = 6;

/// One gateway's words. Pure: it does no IO and reads no clock.
///
/// An order is a sequence of steps, for most gateways of one. A step's reply is the end, or it names the next
/// step. The same holds for a question.
pub trait Connector: Send + Sync {
    /// What this gateway can do.
    fn caps(&self) -> &Caps;

    /// Whether this step of an order can take money, or comes after one that can. A failure of a step before
    /// these proves that nothing was charged, and such a step may be sent again.
    fn may_charge(&self, _step: &Step) -> bool {
        true
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
        card: &Card,
        now: Timestamp,
    ) -> Result<WireRequest, BuildError>;

    /// Reads the reply to a step. Total: a surprise is [`Parsed::Indeterminate`], never a decline.
    fn parse(&self, step: &Step, order: &Order<'_>, card: &MaskedCard, reply: &Reply) -> Parsed;

    /// The request that finds an attempt by our reference, where the gateway has one.
    fn query(&self, step: &Step, attempt: &Attempt, now: Timestamp) -> Option<WireRequest>;

    /// Reads the reply to [`Self::query`]. Total, and careful: only a clear "there is none" is
    /// [`ParsedQuery::NotFound`].
    fn parse_query(&self, step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery;
}

/// Where in its sequence an order or a question is. The first step is the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Its number, from 0; what a number means is the connector's own.
    pub no: u8,
    /// What the gateway called the things that earlier steps made. Ids, never card data.
    pub ids: Vec<String>,
}

/// What a gateway can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Whether an attempt can be found by our reference.
    pub query_by_ref: bool,
    /// How long after the intent "not found" may still change into a charge. After it, it is final.
    pub settle_time: Duration,
}

/// What is to be done, with all that is known of it but the card.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The attempt; its amount is what is authorised (G6), its id is our reference.
    pub attempt: &'a Attempt,
    /// What the back end gave with the session.
    pub payment_data: &'a PaymentData,
    /// What to do.
    pub operation: Operation,
}

/// What a gateway is asked to do with a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Authorise and take the money in one step.
    Sale,
}

/// A request on its way to the wire.
pub struct WireRequest {
    /// Where to.
    pub endpoint: Endpoint,
    /// The method.
    pub method: Method,
    /// Headers but `Host`, `Content-Length` and `Connection`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body; holds card data, is wiped.
    pub body: WireBody,
}

/// A body of at most [`BODY_BYTES_MAX`] that never moves while it grows, so that it leaves no copy, and is
/// wiped when dropped.
pub struct WireBody(Zeroizing<Vec<u8>>);

impl WireBody {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    /// Room for a whole body.
    #[must_use]
    pub fn room() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(BODY_BYTES_MAX)))
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl AsRef<[u8]> for WireBody {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl io::Write for WireBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.capacity() - self.0.len() < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why a request could not be written. Surely nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// It is longer than [`BODY_BYTES_MAX`].
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
}

/// A whole reply. Not printed anywhere: a gateway may echo what it was sent.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, wiped when dropped.
    pub body: Zeroizing<Vec<u8>>,
}

/// What a reply says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The gateway's decision.
    Answer(GatewayAnswer),
    /// This step is done; go on with another.
    Next(Step),
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
