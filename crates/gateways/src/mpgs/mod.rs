//! Mastercard Payment Gateway Services, REST ("MPGS"; developer.mastercard.com/mastercard-gateway, version 100).
//!
//! # Orders
//! `PUT …/order/{order}/transaction/{transaction}`, HTTP Basic `merchant.{id}`: we name the order (the attempt's
//! id) and the transaction, and the same `PUT` is done once. `apiOperation` `PAY` or `AUTHORIZE`,
//! `transaction.source` `TELEPHONE_ORDER` for a telephone order, amounts as `12.40`. A card that is to be kept
//! is first made a token (`POST …/token`, which takes no money), and the token is charged.
//!
//! # Answer
//! Told by `result` and `response.gatewayCode`, not by the HTTP status: a refusal comes with 200 or 201.
//!
//! # Follow-ups
//! `CAPTURE`, `REFUND` and `VOID` as further transactions of the order, each named by its operation's id. A
//! reverse voids, and refunds where it is too late for that.
//!
//! # Unknowns
//! `GET` of the same path. Since we chose the names this is the surest of all: the gateway has the order, or it
//! never had it. What stays unknown is voided by our names.

mod follow;
mod reply;
mod request;

use std::fmt::Display;
use std::time::Duration;

use http::{HeaderValue, Method, header};
use hushpad_domain::attempt::{Attempt, Purpose};
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::time::Timestamp;

use crate::amounts::Currencies;
use crate::caps::{Caps, Challenges, Replay};
use crate::connector::{BuildError, Connector, Parsed, ParsedFollowUp, ParsedQuery, ParsedReversal, Step};
use crate::endpoint::Endpoint;
use crate::generic::basic;
use crate::order::{Credential, FollowUp, FollowUpKind, Order, Source};
use crate::wire::{Reply, WireBody, WireRequest};

/// The version whose words we know.
const VERSION: u16 = 100;

/// The name of the transaction that pays.
const FIRST: &str = "1";

/// The steps of an order. Keeping the card comes first, where it is to be kept.
const KEEP: u8 = 0;
/// The token, where there is one.
const PAY: u8 = 1;

/// The connector of MPGS.
pub struct Mpgs {
    merchant: Endpoint,
    authorization: HeaderValue,
    caps: Caps,
}

impl Mpgs {
    /// The connector; `None` when the merchant's id cannot stand in a path, or the password cannot be sent.
    #[must_use]
    pub fn new(base: &Endpoint, merchant_id: &str, password: &str, settle_time: Duration) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if merchant_id.is_empty() || password.is_empty() || !merchant_id.bytes().all(is_plain) {
            return None;
        }
        let caps = Caps {
            replay: Replay::NaturalKey,
            query_by_ref: true,
            reverse_by_ref: true,
            settle_time,
            currencies: Currencies::in_decimals(request::UNITS),
            brands: &Brand::ALL,
            partial: true,
            moto: true,
            purposes: &Purpose::ALL,
            follow_ups: &FollowUpKind::ALL,
            query_follow_up: true,
            notifies: false,
            challenge: Challenges::None,
        };
        Some(Self {
            merchant: base.below(&format!("/api/rest/version/{VERSION}/merchant/{merchant_id}")),
            authorization: basic(&format!("merchant.{merchant_id}"), password)?,
            caps,
        })
    }

    fn send(&self, method: Method, path: &str, body: WireBody) -> WireRequest {
        let headers = vec![
            (header::AUTHORIZATION, self.authorization.clone()),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
        ];
        WireRequest { endpoint: self.merchant.below(path), method, headers, body }
    }

    fn look(&self, attempt: &Attempt, transaction: impl Display) -> WireRequest {
        self.send(Method::GET, &path(attempt, transaction), WireBody::empty())
    }
}

fn path(attempt: &Attempt, transaction: impl Display) -> String {
    format!("/order/{}/transaction/{transaction}", attempt.id)
}

impl Connector for Mpgs {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn home(&self) -> &Endpoint {
        &self.merchant
    }

    fn may_charge(&self, step: &Step) -> bool {
        step.no == PAY
    }

    fn first_step(&self, order: &Order<'_>, source: &Source<'_>) -> Step {
        let keeps =
            order.attempt.purpose == Purpose::Tokenise || order.credential == Credential::FirstOfStored;
        let no = if keeps && matches!(source, Source::Keyed(_)) { KEEP } else { PAY };
        Step { no, ids: Vec::new() }
    }

    fn build(
        &self,
        step: &Step,
        order: &Order<'_>,
        source: &Source<'_>,
        _: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        if order.payment_data.amount() != order.attempt.amount {
            return Err(BuildError::AmountDiffers);
        }
        let mut body = WireBody::room();
        match (step.no, source) {
            (KEEP, Source::Keyed(card)) => {
                request::write_token(&mut body, card)?;
                Ok(self.send(Method::POST, "/token", body))
            }
            (PAY, _) if order.attempt.purpose.holds_money() => {
                request::write_payment(&mut body, order, source, step.ids.first().map(String::as_str))?;
                Ok(self.send(Method::PUT, &path(order.attempt, FIRST), body))
            }
            _ => Err(BuildError::Unsupported),
        }
    }

    fn parse(&self, step: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        match step.no {
            KEEP => reply::token_made(order.attempt, card, reply),
            _ => reply::read(step, order.attempt, card, reply),
        }
    }

    fn query(&self, _: &Step, attempt: &Attempt, _: Timestamp) -> Option<WireRequest> {
        Some(self.look(attempt, FIRST))
    }

    fn parse_query(&self, _: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery {
        reply::read_query(attempt, reply)
    }

    fn follow_up(
        &self,
        step: &Step,
        follow_up: &FollowUp<'_>,
        _: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        let (transaction, body) = follow::request(step, follow_up)?;
        Ok(self.send(Method::PUT, &path(follow_up.attempt, transaction), WireBody::json(&body)?))
    }

    fn parse_follow_up(&self, step: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
        follow::read(step, follow_up, reply)
    }

    fn query_follow_up(&self, step: &Step, follow_up: &FollowUp<'_>, _: Timestamp) -> Option<WireRequest> {
        Some(self.look(follow_up.attempt, follow::transaction(step, follow_up)))
    }

    fn parse_query_follow_up(&self, step: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
        follow::read_query(step, follow_up, reply)
    }

    fn reverse_unknown(&self, step: &Step, attempt: &Attempt, _: Timestamp) -> Option<WireRequest> {
        let (transaction, body) = follow::reversal_of_unknown(step, attempt)?;
        Some(self.send(Method::PUT, &path(attempt, transaction), WireBody::json(&body).ok()?))
    }

    fn parse_reverse_unknown(&self, step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedReversal {
        follow::read_reversal_of_unknown(step, attempt, reply)
    }
}

#[cfg(test)]
pub(crate) mod tests;
