//! Access Worldpay, Card Payments v7 (docs.worldpay.com/access/products/card-payments).
//!
//! # Orders
//! `POST /cardPayments/customerInitiatedTransactions`, HTTP Basic, `application/vnd.worldpay.payments-v7+json`:
//! `transactionReference` is the attempt's id, `channel` `moto` for a telephone order, the amount in minor
//! units; `requestAutoSettlement` is on for a sale. A charge by the merchant alone goes to
//! `merchantInitiatedTransactions`, which knows no channel. A card that is to be kept is first made a token
//! (`POST /tokens`, which takes no money), and the token is charged.
//!
//! # Answer
//! Told by `outcome`, not by the HTTP status: a refusal comes with 201. There is no partial approval.
//! `riskFactors` lists only what is wrong with code and address.
//!
//! # Follow-ups
//! By the links that `GET /payments/events?transactionRef=…&entity=…` gives for our reference; only their paths
//! are used, and only on the configured host. Status 202 says that the request was taken.
//!
//! # Unknowns
//! The same question tells what became of an attempt. Worldpay says that it may lag by 15 minutes
//! ([`SETTLE_MIN`]). There is no replay protection: the same reference is charged again.

mod follow;
mod reply;
mod request;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use hushpad_domain::attempt::{Attempt, Purpose};
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::time::Timestamp;
use uuid::Uuid;

use crate::amounts::{Currencies, Unit};
use crate::caps::{Caps, Challenges, Replay};
use crate::connector::{BuildError, Connector, Parsed, ParsedFollowUp, ParsedQuery, ParsedReversal, Step};
use crate::endpoint::Endpoint;
use crate::generic::basic;
use crate::order::{Credential, FollowUp, FollowUpKind, Order, Source};
use crate::wire::{Reply, WireBody, WireRequest};

/// "It can take up to 15 minutes for a payment event to update."
pub const SETTLE_MIN: Duration = Duration::from_secs(15 * 60);

/// Worldpay announces that the exponents of CLP, CVE, ISK and UGX may change; those are not taken.
const UNITS: &[Unit] = &[
    Unit::new("BHD", 3),
    Unit::new("HUF", 2),
    Unit::new("JOD", 3),
    Unit::new("JPY", 0),
    Unit::new("KRW", 0),
    Unit::new("KWD", 3),
    Unit::new("OMR", 3),
    Unit::new("TND", 3),
];

/// The steps of an order. Keeping the card comes first, where it is to be kept.
const KEEP: u8 = 0;
/// The token, where there is one.
const PAY: u8 = 1;

const PAYMENTS_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.worldpay.payments-v7+json");
const TOKENS_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.worldpay.tokens-v3.hal+json");

/// How to reach Access Worldpay as a merchant.
pub struct Settings<'a> {
    /// The host.
    pub base: Endpoint,
    /// The entity that payments are billed to.
    pub entity: &'a str,
    /// What the customer reads on the statement, up to 24 characters.
    pub narrative: &'a str,
    /// The user of HTTP Basic.
    pub user: &'a str,
    /// The password of HTTP Basic.
    pub password: &'a str,
    /// How long "not found" may still change; at least [`SETTLE_MIN`] counts.
    pub settle_time: Duration,
}

/// The connector of Access Worldpay.
pub struct Worldpay {
    base: Endpoint,
    entity: String,
    narrative: String,
    authorization: HeaderValue,
    caps: Caps,
}

impl Worldpay {
    /// The connector; `None` when a name is empty, the entity cannot stand in a query, or user and password
    /// cannot be sent.
    #[must_use]
    pub fn new(settings: Settings<'_>) -> Option<Self> {
        let Settings { base, entity, narrative, user, password, settle_time } = settings;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if entity.is_empty() || !entity.bytes().all(is_plain) || narrative.is_empty() {
            return None;
        }
        let caps = Caps {
            replay: Replay::None,
            query_by_ref: true,
            reverse_by_ref: true,
            settle_time: settle_time.max(SETTLE_MIN),
            currencies: Currencies::in_minor_units(UNITS),
            brands: &Brand::ALL,
            partial: false,
            moto: true,
            purposes: &Purpose::ALL,
            follow_ups: &FollowUpKind::ALL,
            query_follow_up: true,
            notifies: false,
            challenge: Challenges::None,
        };
        Some(Self {
            base,
            entity: entity.to_owned(),
            narrative: narrative.to_owned(),
            authorization: basic(user, password)?,
            caps,
        })
    }

    fn post(&self, path: &str, kind: HeaderValue, body: WireBody) -> WireRequest {
        let headers = vec![
            (header::AUTHORIZATION, self.authorization.clone()),
            (header::CONTENT_TYPE, kind.clone()),
            (header::ACCEPT, kind),
        ];
        WireRequest { endpoint: self.base.below(path), method: Method::POST, headers, body }
    }

    fn ask(&self, reference: Uuid) -> WireRequest {
        let headers: Vec<(HeaderName, HeaderValue)> =
            vec![(header::AUTHORIZATION, self.authorization.clone()), (header::ACCEPT, PAYMENTS_TYPE)];
        let path = format!("/payments/events?transactionRef={reference}&entity={}", self.entity);
        WireRequest {
            endpoint: self.base.below(&path),
            method: Method::GET,
            headers,
            body: WireBody::empty(),
        }
    }

    /// One of the links that Worldpay gave.
    fn by_link(&self, step: &Step, body: WireBody) -> Result<WireRequest, BuildError> {
        let path = step.ids.first().ok_or(BuildError::Unsupported)?;
        Ok(self.post(path, PAYMENTS_TYPE, body))
    }
}

/// Whether an order begins by making a token.
fn keeps(order: &Order<'_>) -> bool {
    order.attempt.purpose == Purpose::Tokenise || order.credential == Credential::FirstOfStored
}

impl Connector for Worldpay {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn home(&self) -> &Endpoint {
        &self.base
    }

    fn may_charge(&self, step: &Step) -> bool {
        step.no == PAY
    }

    fn first_step(&self, order: &Order<'_>, source: &Source<'_>) -> Step {
        let no = if keeps(order) && matches!(source, Source::Keyed(_)) { KEEP } else { PAY };
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
                request::write_token(&mut body, order, card)?;
                Ok(self.post("/tokens", TOKENS_TYPE, body))
            }
            (PAY, _) if order.attempt.purpose.holds_money() => {
                let token = step.ids.first().map(String::as_str);
                request::write_payment(&mut body, &self.entity, &self.narrative, order, source, token)?;
                let path = match order.credential {
                    Credential::StoredByMerchant => "/cardPayments/merchantInitiatedTransactions",
                    Credential::Once | Credential::FirstOfStored | Credential::StoredByCustomer => {
                        "/cardPayments/customerInitiatedTransactions"
                    }
                };
                Ok(self.post(path, PAYMENTS_TYPE, body))
            }
            _ => Err(BuildError::Unsupported),
        }
    }

    fn parse(&self, step: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        match step.no {
            KEEP => reply::token_made(order, card, reply),
            _ => reply::read(step, order.attempt, card, reply),
        }
    }

    fn query(&self, _: &Step, attempt: &Attempt, _: Timestamp) -> Option<WireRequest> {
        // A token that is lost took no money, and there is nothing to ask for.
        Some(self.ask(attempt.id.0))
    }

    fn parse_query(&self, _: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery {
        follow::read_query(attempt, reply)
    }

    fn follow_up(
        &self,
        step: &Step,
        follow_up: &FollowUp<'_>,
        _: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        match step.no {
            follow::LOOK => Ok(self.ask(follow_up.attempt.id.0)),
            _ => self.by_link(step, follow::body(step, follow_up)?),
        }
    }

    fn parse_follow_up(&self, step: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
        follow::read(step, follow_up, reply)
    }

    fn query_follow_up(&self, _: &Step, follow_up: &FollowUp<'_>, _: Timestamp) -> Option<WireRequest> {
        Some(self.ask(follow_up.attempt.id.0))
    }

    fn parse_query_follow_up(&self, _: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
        follow::read_follow_up_query(follow_up, reply)
    }

    fn reverse_unknown(&self, step: &Step, attempt: &Attempt, _: Timestamp) -> Option<WireRequest> {
        match step.no {
            follow::LOOK => Some(self.ask(attempt.id.0)),
            _ => self.by_link(step, WireBody::empty()).ok(),
        }
    }

    fn parse_reverse_unknown(&self, step: &Step, _: &Attempt, reply: &Reply) -> ParsedReversal {
        follow::read_reversal(step, reply)
    }
}

#[cfg(test)]
pub(crate) mod tests;
