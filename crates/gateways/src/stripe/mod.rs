//! Stripe PaymentIntents with a raw card (docs.stripe.com/api, docs.stripe.com/payments/moto).
//!
//! # An order, in steps
//! 1. `POST /v1/payment_intents`: amount, `capture_method` and `metadata[ref]`, the attempt's id. Nothing of the
//!    card. To tokenise, `POST /v1/setup_intents` instead, with a customer made before it.
//! 2. `POST /v1/payment_methods`: the card. A stored card skips this.
//! 3. `POST /v1/payment_intents/{id}/confirm` with `payment_method_options[card][moto]=true`: the only step
//!    that takes money. A failure before it proves that nothing was charged.
//! 4. Only where the issuer wants authentication (`requires_action`): by telephone `…/cancel`, and the attempt is
//!    declined. On a page step 3 names a `return_url`, and the payer goes to `next_action.redirect_to_url.url`
//!    (docs.stripe.com/payments/3d-secure). Stripe goes on by itself once the payer has confirmed there; the payer comes
//!    back with `payment_intent`, and a GET of the intent tells what became of it. One that still waits when the payer
//!    is waited for no longer is cancelled by a question, see below.
//!
//! Each has an `Idempotency-Key` of its own, derived from the attempt's id. A token is `cus_…` and `pm_…`.
//!
//! # Follow-ups
//! `…/capture`, `…/cancel` and `POST /v1/refunds`, each with the key of its operation: the same one may be given
//! again within [`REPLAY_MAX`]. A reverse reads the intent first.
//!
//! # Unknowns
//! Step 1 is a function of the attempt alone. So a question is step 1 again with the same key, which gives the
//! same intent and makes no second one; then a GET of it, which has no search lag. An intent that was never
//! confirmed is cancelled, so that a late confirmation cannot take money any more: then "not found" is sure.
//! Stripe keeps keys for at least 24 hours. After [`REPLAY_MAX`] the question is
//! `GET /v1/payment_intents/search` by `metadata['ref']`, whose lag (an hour at worst) is over by then.

mod challenge;
mod follow;
mod question;
mod reply;
mod request;
mod tokenise;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use hushpad_domain::attempt::{Attempt, Purpose};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::time::Timestamp;

use crate::amounts::{Currencies, Unit};
use crate::caps::{Caps, Challenges, Replay};
use crate::connector::{
    BuildError, Connector, NoReturn, Parsed, ParsedFollowUp, ParsedQuery, ParsedReversal, Step,
};
use crate::endpoint::Endpoint;
use crate::order::{FollowUp, FollowUpKind, Order, Source};
use crate::wire::{Reply, WireBody, WireRequest};
use crate::wire_text::{idempotency_key, secret_header};

/// Stripe removes keys after 24 hours at the earliest. An hour is kept for clocks that differ.
pub const REPLAY_MAX: Duration = Duration::from_secs(23 * 60 * 60);

/// The version of the API whose words we know; without it the account's default would decide.
const API_VERSION: &str = "2024-06-20";

/// Where Stripe does not write two decimals, or not as ISO 4217 does (docs.stripe.com/currencies): ISK and UGX
/// are sent as if they had two, three-decimal amounts must end with 0.
const UNITS: &[Unit] = &[
    Unit::in_multiples_of("BHD", 3, 10),
    Unit::in_multiples_of("JOD", 3, 10),
    Unit::in_multiples_of("KWD", 3, 10),
    Unit::in_multiples_of("OMR", 3, 10),
    Unit::in_multiples_of("TND", 3, 10),
    Unit::in_multiples_of("ISK", 2, 100),
    Unit::in_multiples_of("UGX", 2, 100),
    Unit::new("HUF", 2),
    Unit::new("IDR", 2),
    Unit::new("BIF", 0),
    Unit::new("CLP", 0),
    Unit::new("DJF", 0),
    Unit::new("GNF", 0),
    Unit::new("JPY", 0),
    Unit::new("KMF", 0),
    Unit::new("KRW", 0),
    Unit::new("MGA", 0),
    Unit::new("PYG", 0),
    Unit::new("RWF", 0),
    Unit::new("VND", 0),
    Unit::new("VUV", 0),
    Unit::new("XAF", 0),
    Unit::new("XOF", 0),
    Unit::new("XPF", 0),
];

/// The steps of an order. What each has in [`Step::ids`]:
const CREATE: u8 = 0;
/// The intent.
const METHOD: u8 = 1;
/// The intent and the payment method.
const CONFIRM: u8 = 2;
/// The intent.
const CANCEL: u8 = 3;
/// The intent. Makes a customer for a card that is to be kept.
const CUSTOMER: u8 = 4;
/// The intent and, for a card that is to be kept, its customer.
const UPDATE: u8 = 5;
/// The customer and the payment method; only to tokenise.
const SETUP: u8 = 6;
/// The intent, the payment method and, for a card that is kept, its customer: a look after the payer's return.
const RETURNED: u8 = 10;

/// The connector of Stripe.
pub struct Stripe {
    base: Endpoint,
    authorization: HeaderValue,
    caps: Caps,
}

impl Stripe {
    /// The connector; `None` when the key is empty or cannot be a header.
    #[must_use]
    pub fn new(base: Endpoint, secret_key: &str, settle_time: Duration) -> Option<Self> {
        if secret_key.is_empty() {
            return None;
        }
        let authorization = secret_header(&format!("Bearer {secret_key}"))?;
        let caps = Caps {
            replay: Replay::StoresFirst { window: REPLAY_MAX },
            query_by_ref: true,
            reverse_by_ref: true,
            settle_time,
            currencies: Currencies::in_minor_units(UNITS),
            brands: &Brand::ALL,
            partial: false,
            moto: true,
            purposes: &Purpose::ALL,
            follow_ups: &FollowUpKind::ALL,
            query_follow_up: false,
            notifies: false,
            challenge: Challenges::ChargedAtBank,
        };
        Some(Self { base, authorization, caps })
    }

    fn post(&self, path: &str, key: HeaderValue, body: WireBody) -> WireRequest {
        let mut request = self.get(path);
        request.method = Method::POST;
        request.body = body;
        request.headers.extend([
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")),
            (HeaderName::from_static("idempotency-key"), key),
        ]);
        request
    }

    fn get(&self, path: &str) -> WireRequest {
        let headers = vec![
            (header::AUTHORIZATION, self.authorization.clone()),
            (HeaderName::from_static("stripe-version"), HeaderValue::from_static(API_VERSION)),
        ];
        WireRequest { endpoint: self.base.below(path), method: Method::GET, headers, body: WireBody::empty() }
    }

    fn look(&self, intent: &str) -> WireRequest {
        self.get(&format!("/v1/payment_intents/{intent}?expand[]=latest_charge"))
    }

    /// A function of the attempt alone: the same bytes when we ask later.
    fn create(&self, attempt: &Attempt) -> Result<WireRequest, BuildError> {
        let body = request::create(attempt)?;
        Ok(self.post("/v1/payment_intents", idempotency_key(attempt.id.0, "create"), body))
    }

    fn cancel(&self, attempt: &Attempt, intent: &str) -> Result<WireRequest, BuildError> {
        let body = request::form(&[("cancellation_reason", "abandoned")])?;
        let path = format!("/v1/payment_intents/{intent}/cancel");
        Ok(self.post(&path, idempotency_key(attempt.id.0, "cancel"), body))
    }

    fn pay(&self, step: &Step, order: &Order<'_>, source: &Source<'_>) -> Result<WireRequest, BuildError> {
        let attempt = order.attempt;
        let key = |name: &str| idempotency_key(attempt.id.0, name);
        match (step.no, step.ids.as_slice(), source) {
            (CREATE, ..) => self.create(attempt),
            (METHOD, _, Source::Keyed(card)) => {
                Ok(self.post("/v1/payment_methods", key("method"), request::method(order, card)?))
            }
            (CUSTOMER, ..) => Ok(self.post("/v1/customers", key("customer"), request::customer(order)?)),
            (UPDATE, [intent, rest @ ..], _) => {
                let customer = match (rest, source) {
                    ([customer], _) => customer,
                    (_, Source::Stored(stored)) => {
                        tokenise::of_token(stored).ok_or(BuildError::Unsupported)?.0
                    }
                    (_, Source::Keyed(_)) => return Err(BuildError::Unsupported),
                };
                let path = format!("/v1/payment_intents/{intent}");
                Ok(self.post(&path, key("update"), request::update(order, customer)?))
            }
            (CONFIRM, [intent, rest @ ..], _) => {
                let method = match (rest, source) {
                    ([method, ..], _) => method,
                    ([], Source::Stored(stored)) => {
                        tokenise::of_token(stored).ok_or(BuildError::Unsupported)?.1
                    }
                    ([], Source::Keyed(_)) => return Err(BuildError::Unsupported),
                };
                let path = format!("/v1/payment_intents/{intent}/confirm");
                Ok(self.post(&path, key("confirm"), request::confirm(order, method)?))
            }
            (_, [intent, ..], _) => self.cancel(attempt, intent),
            (_, [], _) => Err(BuildError::TooLong),
        }
    }
}

impl Connector for Stripe {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn home(&self) -> &Endpoint {
        &self.base
    }

    fn may_charge(&self, step: &Step) -> bool {
        step.no == CONFIRM || step.no == CANCEL
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
        match order.attempt.purpose {
            Purpose::Sale | Purpose::Authorise => self.pay(step, order, source),
            Purpose::Tokenise => tokenise::build(self, step, order, source),
        }
    }

    fn parse(&self, step: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        let attempt = order.attempt;
        match (attempt.purpose, step.no) {
            (Purpose::Tokenise, _) => tokenise::read(step, card, reply),
            (_, CREATE) => reply::created(order, card.is_some(), reply),
            (_, CUSTOMER) => reply::customer_made(step, reply),
            (_, UPDATE) => reply::updated(step, order, card.is_some(), reply),
            (_, METHOD) => reply::method_made(step, card, reply),
            (_, CONFIRM) => reply::confirmed(step, order, card, reply),
            _ => reply::cancelled(attempt, card, reply),
        }
    }

    fn after_challenge(&self, challenge: &Challenge, came_along: &[u8]) -> Result<Step, NoReturn> {
        challenge::returned(challenge, came_along)
    }

    fn go_on(&self, step: &Step, _: &Attempt, _: Timestamp) -> Result<WireRequest, BuildError> {
        step.ids.first().map(|intent| self.look(intent)).ok_or(BuildError::Unsupported)
    }

    fn parse_go_on(
        &self,
        step: &Step,
        attempt: &Attempt,
        card: Option<&MaskedCard>,
        reply: &Reply,
    ) -> Parsed {
        challenge::read(step, attempt, card, reply)
    }

    fn query(&self, step: &Step, attempt: &Attempt, now: Timestamp) -> Option<WireRequest> {
        if attempt.purpose == Purpose::Tokenise {
            return tokenise::query(self, attempt);
        }
        match (step.no, step.ids.as_slice()) {
            (question::FIND, _) if now > attempt.intended_on.plus(REPLAY_MAX) => {
                let query = format!("metadata['ref']:'{}'", attempt.id);
                let query = serde_urlencoded::to_string([("query", query.as_str())]).ok()?;
                Some(self.get(&format!("/v1/payment_intents/search?{query}")))
            }
            (question::FIND, _) => self.create(attempt).ok(),
            (question::LOOK, [intent, ..]) => Some(self.look(intent)),
            (_, [intent, ..]) => self.cancel(attempt, intent).ok(),
            (_, []) => None,
        }
    }

    fn parse_query(&self, step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery {
        match attempt.purpose {
            Purpose::Tokenise => tokenise::read_query(reply),
            Purpose::Sale | Purpose::Authorise => question::read(step, attempt, reply),
        }
    }

    fn follow_up(
        &self,
        step: &Step,
        follow_up: &FollowUp<'_>,
        _: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        follow::build(self, step, follow_up)
    }

    fn parse_follow_up(&self, step: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
        follow::read(step, follow_up, reply)
    }

    fn reverse_unknown(&self, step: &Step, attempt: &Attempt, now: Timestamp) -> Option<WireRequest> {
        // A card that is kept holds no money.
        attempt.purpose.holds_money().then(|| follow::build_reversal(self, step, attempt, now))?
    }

    fn parse_reverse_unknown(&self, step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedReversal {
        follow::read_reversal(step, attempt, reply)
    }
}

#[cfg(test)]
pub(crate) mod tests;
