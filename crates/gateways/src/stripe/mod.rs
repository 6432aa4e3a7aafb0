//! Stripe PaymentIntents with a raw card (docs.stripe.com/api, docs.stripe.com/payments/moto).
//!
//! # An order, in steps
//! 1. `POST /v1/payment_intents`: amount and `metadata[ref]`, the attempt's id. Nothing of the card.
//! 2. `POST /v1/payment_methods`: the card.
//! 3. `POST /v1/payment_intents/{id}/confirm` with `payment_method_options[card][moto]=true`: the only step
//!    that takes money. A failure before it proves that nothing was charged.
//! 4. Only where the issuer wants authentication (`requires_action`): `…/cancel`, and the attempt is declined.
//!
//! Each has an `Idempotency-Key` of its own, derived from the attempt's id.
//!
//! # Unknowns
//! Step 1 is a function of the attempt alone. So a question is step 1 again with the same key, which gives the
//! same intent and makes no second one; then a GET of it, which has no search lag. An intent that was never
//! confirmed is cancelled, so that a late confirmation cannot take money any more: then "not found" is sure.
//! Stripe keeps keys for at least 24 hours. After [`REPLAY_MAX`] the question is
//! `GET /v1/payment_intents/search` by `metadata['ref']`, whose lag (an hour at worst) is over by then.

mod question;
mod reply;

use std::io::Write as _;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use hushpad_card::Card;
use hushpad_domain::attempt::{Attempt, Purpose};
use hushpad_domain::ids::AttemptId;
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::time::Timestamp;

use crate::amounts::{self, Currencies, Unit};
use crate::caps::{Caps, Replay};
use crate::connector::{BuildError, Connector, Parsed, ParsedQuery, Step};
use crate::endpoint::Endpoint;
use crate::order::{Order, Source};
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
            replay: Replay::None,
            query_by_ref: true,
            reverse_by_ref: false,
            settle_time,
            currencies: Currencies::in_minor_units(UNITS),
            brands: &Brand::ALL,
            partial: false,
            moto: true,
            purposes: &[Purpose::Sale],
            follow_ups: &[],
            query_follow_up: false,
            notifies: false,
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

    /// A function of the attempt alone: the same bytes when we ask later.
    fn create(&self, attempt: &Attempt) -> Result<WireRequest, BuildError> {
        let amount = amounts::minor(attempt.amount, UNITS)?.to_string();
        let currency = attempt.amount.currency().code().to_ascii_lowercase();
        let mut body = WireBody::room();
        let reference = attempt.id.to_string();
        write_pairs(
            &mut body,
            &[
                ("amount", &amount),
                ("currency", &currency),
                ("payment_method_types[]", "card"),
                ("metadata[ref]", &reference),
            ],
        )?;
        Ok(self.post("/v1/payment_intents", idempotency_key(attempt.id, "create"), body))
    }

    fn cancel(&self, attempt: AttemptId, intent: &str) -> Result<WireRequest, BuildError> {
        let mut body = WireBody::room();
        write_pairs(&mut body, &[("cancellation_reason", "abandoned")])?;
        let path = format!("/v1/payment_intents/{intent}/cancel");
        Ok(self.post(&path, idempotency_key(attempt, "cancel"), body))
    }
}

impl Connector for Stripe {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn may_charge(&self, step: &Step) -> bool {
        step.no >= CONFIRM
    }

    fn build(
        &self,
        step: &Step,
        order: &Order<'_>,
        source: &Source<'_>,
        _: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        let (Purpose::Sale, Source::Keyed(card)) = (order.attempt.purpose, source) else {
            return Err(BuildError::Unsupported);
        };
        if order.payment_data.amount() != order.attempt.amount {
            return Err(BuildError::AmountDiffers);
        }
        let id = order.attempt.id;
        match (step.no, step.ids.as_slice()) {
            (CREATE, _) => self.create(order.attempt),
            (METHOD, _) => {
                let mut body = WireBody::room();
                write_method(&mut body, order, card)?;
                Ok(self.post("/v1/payment_methods", idempotency_key(id, "method"), body))
            }
            (CONFIRM, [intent, method]) => {
                let mut body = WireBody::room();
                let pairs =
                    [("payment_method", method.as_str()), ("payment_method_options[card][moto]", "true")];
                write_pairs(&mut body, &pairs)?;
                let path = format!("/v1/payment_intents/{intent}/confirm");
                Ok(self.post(&path, idempotency_key(id, "confirm"), body))
            }
            (_, [intent, ..]) => self.cancel(id, intent),
            (_, []) => Err(BuildError::TooLong),
        }
    }

    fn parse(&self, step: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        match step.no {
            CREATE => reply::created(order.attempt, reply),
            METHOD => reply::method_made(step, card, reply),
            CONFIRM => reply::confirmed(step, order.attempt, card, reply),
            _ => reply::cancelled(order.attempt, card, reply),
        }
    }

    fn query(&self, step: &Step, attempt: &Attempt, now: Timestamp) -> Option<WireRequest> {
        match (step.no, step.ids.as_slice()) {
            (question::FIND, _) if now > attempt.intended_on.plus(REPLAY_MAX) => {
                let query = format!("metadata['ref']:'{}'", attempt.id);
                let query = serde_urlencoded::to_string([("query", query.as_str())]).ok()?;
                Some(self.get(&format!("/v1/payment_intents/search?{query}")))
            }
            (question::FIND, _) => self.create(attempt).ok(),
            (question::LOOK, [intent, ..]) => Some(self.get(&format!("/v1/payment_intents/{intent}"))),
            (_, [intent, ..]) => self.cancel(attempt.id, intent).ok(),
            (_, []) => None,
        }
    }

    fn parse_query(&self, step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery {
        question::read(step, attempt, reply)
    }
}

/// The names of `paymentData` that Stripe has a place for.
const BILLING: [(&str, &[&str]); 6] = [
    ("billing_details[email]", &["Email", "billTo_email"]),
    ("billing_details[address][line1]", &["Street1", "billTo_street1"]),
    ("billing_details[address][city]", &["City", "billTo_city"]),
    ("billing_details[address][postal_code]", &["Postcode", "PostalCode", "billTo_postalCode"]),
    ("billing_details[address][country]", &["Country", "billTo_country"]),
    ("metadata[MerchantReferenceCode]", &["MerchantReferenceCode"]),
];

/// The card's digits go straight into the body: a form needs no escapes for them.
fn write_method(body: &mut WireBody, order: &Order<'_>, card: &Card) -> Result<(), BuildError> {
    let data = order.payment_data;
    let (month, year) = card.expiry();
    let mut write = |parts: [&[u8]; 2]| {
        parts.iter().try_for_each(|part| body.write_all(part)).map_err(|_| BuildError::TooLong)
    };
    write([b"type=card", b""])?;
    card.read_number(|number| write([b"&card[number]=", number]))?;
    card.read_security_code(|code| code.map_or(Ok(()), |code| write([b"&card[cvc]=", code])))?;
    write!(body, "&card[exp_month]={month}&card[exp_year]={year}").map_err(|_| BuildError::TooLong)?;
    let name =
        [data.get("FirstName"), data.get("Surname")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    if !name.is_empty() {
        pairs.push(("billing_details[name]", &name));
    }
    for (place, names) in BILLING {
        pairs.extend(names.iter().find_map(|name| data.get(name)).map(|value| (place, value)));
    }
    if pairs.is_empty() {
        return Ok(());
    }
    body.write_all(b"&").map_err(|_| BuildError::TooLong)?;
    write_pairs(body, &pairs)
}

/// Pairs without card data.
fn write_pairs(body: &mut WireBody, pairs: &[(&str, &str)]) -> Result<(), BuildError> {
    let text = serde_urlencoded::to_string(pairs).map_err(|_| BuildError::TooLong)?;
    body.write_all(text.as_bytes()).map_err(|_| BuildError::TooLong)
}

#[cfg(test)]
mod tests;
