//! CyberSource REST (developer.cybersource.com/api-reference-assets); the host is configured, since others
//! speak it too: Barclaycard Fuse, Worldpay Business, Bank of America.
//!
//! # Request
//! `POST /pts/v2/payments` with `capture` and `commerceIndicator` `moto`, the amount as `12.40`, signed as
//! `token.rs` says. Our reference, as `clientReferenceInformation.code` and `transactionId`, is the attempt's
//! id in 26 characters (30 are allowed); the merchant's own reference is `merchantDefinedInformation` 1.
//!
//! # Answer
//! Told by `status`, not by the HTTP status: a decline comes with 201. Every 5xx, and the reasons
//! `SERVER_TIMEOUT` and `SERVICE_TIMEOUT`, are unknown. The result is in the names of the published
//! `paymentResultData`.
//!
//! # Unknowns
//! `POST /tss/v2/searches` by our reference. Its index lags, so "not found" is final only after
//! [`SETTLE_MIN`]. There is no replay protection: nothing is ever sent again.

mod question;
mod reply;
mod token;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use hushpad_card::Card;
use hushpad_domain::attempt::{Attempt, Purpose};
use hushpad_domain::ids::AttemptId;
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::time::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use self::token::Signer;
use crate::amounts::{self, Currencies, Unit};
use crate::caps::{Caps, Replay};
use crate::connector::{BuildError, Connector, Parsed, ParsedQuery, Step};
use crate::endpoint::Endpoint;
use crate::order::{Order, Source};
use crate::wire::{Reply, WireBody, WireRequest};
use crate::wire_text::digits_as_text;

/// The window in which CyberSource itself tells duplicates of a reference; its search has caught up by then.
pub const SETTLE_MIN: Duration = Duration::from_secs(15 * 60);

/// Currencies whose decimals are ISO 4217's at CyberSource whatever the processor. Others, such as CLP, HUF,
/// IDR, ISK, MGA and UGX, differ from processor to processor and are not taken.
const UNITS: &[Unit] = &[
    Unit::new("BHD", 3),
    Unit::new("JOD", 3),
    Unit::new("JPY", 0),
    Unit::new("KRW", 0),
    Unit::new("KWD", 3),
    Unit::new("OMR", 3),
    Unit::new("TND", 3),
];

const PAYMENTS: &str = "/pts/v2/payments";
const SEARCHES: &str = "/tss/v2/searches";

/// The connector of CyberSource.
pub struct CyberSource {
    base: Endpoint,
    merchant: HeaderValue,
    signer: Signer,
    caps: Caps,
}

impl CyberSource {
    /// The connector; `secret` is the shared secret in base64. `None` when it is not, or a name is empty or
    /// cannot be a header.
    #[must_use]
    pub fn new(
        base: Endpoint,
        merchant_id: &str,
        key_id: &str,
        secret: &str,
        settle_time: Duration,
    ) -> Option<Self> {
        if merchant_id.is_empty() || key_id.is_empty() {
            return None;
        }
        let caps = Caps {
            replay: Replay::None,
            query_by_ref: true,
            reverse_by_ref: false,
            settle_time: settle_time.max(SETTLE_MIN),
            currencies: Currencies::in_decimals(UNITS),
            brands: &Brand::ALL,
            partial: false,
            moto: true,
            purposes: &[Purpose::Sale],
            follow_ups: &[],
            query_follow_up: false,
            notifies: false,
        };
        let merchant = HeaderValue::try_from(merchant_id).ok()?;
        Some(Self { base, merchant, signer: Signer::new(merchant_id, key_id, secret)?, caps })
    }

    fn post(&self, path: &str, body: WireBody, id: AttemptId, now: Timestamp) -> Option<WireRequest> {
        let endpoint = self.base.below(path);
        let headers = vec![
            (header::AUTHORIZATION, self.signer.authorization(&endpoint, body.as_ref(), id, now)?),
            (HeaderName::from_static("v-c-merchant-id"), self.merchant.clone()),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, HeaderValue::from_static("application/hal+json;charset=utf-8")),
        ];
        Some(WireRequest { endpoint, method: Method::POST, headers, body })
    }
}

impl Connector for CyberSource {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn build(
        &self,
        _: &Step,
        order: &Order<'_>,
        source: &Source<'_>,
        now: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        let (Purpose::Sale, Source::Keyed(card)) = (order.attempt.purpose, source) else {
            return Err(BuildError::Unsupported);
        };
        let mut body = WireBody::room();
        write_payment(&mut body, order, card)?;
        self.post(PAYMENTS, body, order.attempt.id, now).ok_or(BuildError::Header)
    }

    fn parse(&self, _: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        reply::read(order, card, reply)
    }

    fn query(&self, _: &Step, attempt: &Attempt, now: Timestamp) -> Option<WireRequest> {
        let query = format!("clientReferenceInformation.code:{}", reference(attempt.id));
        let search = Search {
            save: false,
            timezone: "UTC",
            query: &query,
            offset: 0,
            limit: question::LIMIT,
            sort: "submitTimeUtc:desc",
        };
        let mut body = WireBody::room();
        serde_json::to_writer(&mut body, &search).ok()?;
        self.post(SEARCHES, body, attempt.id, now)
    }

    fn parse_query(&self, _: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery {
        question::read(attempt, reply)
    }
}

/// Our reference: the attempt's id in base 32 (Crockford's letters), 26 characters.
fn reference(attempt: AttemptId) -> String {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let id = attempt.0.as_u128();
    (0..26_u32).rev().map(|place| char::from(LETTERS[((id >> (place * 5)) & 31) as usize])).collect()
}

fn write_payment(body: &mut WireBody, order: &Order<'_>, card: &Card) -> Result<(), BuildError> {
    let (data, amount) = (order.payment_data, order.attempt.amount);
    if data.amount() != amount {
        return Err(BuildError::AmountDiffers);
    }
    let reference = reference(order.attempt.id);
    let total_amount = amounts::decimal(amount, UNITS)?;
    let (month, year) = card.expiry();
    let (month, year) = (Zeroizing::new(format!("{month:02}")), Zeroizing::new(year.to_string()));
    let details = AmountDetails { total_amount: &total_amount, currency: amount.currency().code() };
    let bill_to = BillTo::of(data);
    let own = data.reference().map(|value| [MerchantDefined { key: "1", value }]);
    card.read_number(|number| {
        card.read_security_code(|code| {
            let payment = Payment {
                client_reference_information: Reference { code: &reference, transaction_id: &reference },
                processing_information: Processing { capture: true, commerce_indicator: "moto" },
                order_information: OrderInformation { amount_details: details, bill_to },
                payment_information: PaymentInformation {
                    card: CardDetails {
                        number: digits_as_text(number),
                        expiration_month: &month,
                        expiration_year: &year,
                        security_code: code.map(digits_as_text),
                        kind: card.brand().map(card_type),
                    },
                },
                merchant_defined_information: own,
            };
            serde_json::to_writer(body, &payment).map_err(|_| BuildError::TooLong)
        })
    })
}

/// CyberSource's card types. Some processors do not tell them by the number.
fn card_type(brand: Brand) -> &'static str {
    match brand {
        Brand::Visa => "001",
        Brand::Mastercard => "002",
        Brand::Amex => "003",
        Brand::Discover => "004",
        Brand::Diners => "005",
        Brand::Jcb => "007",
        Brand::Maestro => "042",
        Brand::UnionPay => "062",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payment<'a> {
    client_reference_information: Reference<'a>,
    processing_information: Processing,
    order_information: OrderInformation<'a>,
    payment_information: PaymentInformation<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_defined_information: Option<[MerchantDefined<'a>; 1]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    code: &'a str,
    transaction_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Processing {
    capture: bool,
    commerce_indicator: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderInformation<'a> {
    amount_details: AmountDetails<'a>,
    bill_to: BillTo<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AmountDetails<'a> {
    total_amount: &'a str,
    currency: &'static str,
}

/// What the back end gave of the payer. Processors differ in what they insist on, so nothing is insisted on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BillTo<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    first_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address1: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locality: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    administrative_area: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postal_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<&'a str>,
}

impl<'a> BillTo<'a> {
    fn of(data: &'a PaymentData) -> Self {
        let any = |names: [&str; 2]| names.iter().find_map(|name| data.get(name));
        Self {
            first_name: any(["FirstName", "billTo_firstName"]),
            last_name: any(["Surname", "billTo_lastName"]),
            email: any(["Email", "billTo_email"]),
            address1: any(["Street1", "billTo_street1"]),
            locality: any(["City", "billTo_city"]),
            administrative_area: any(["State", "billTo_state"]),
            postal_code: any(["Postcode", "billTo_postalCode"]),
            country: any(["Country", "billTo_country"]),
        }
    }
}

#[derive(Serialize)]
struct PaymentInformation<'a> {
    card: CardDetails<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CardDetails<'a> {
    number: &'a str,
    expiration_month: &'a str,
    expiration_year: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_code: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

#[derive(Serialize)]
struct MerchantDefined<'a> {
    key: &'static str,
    value: &'a str,
}

#[derive(Serialize)]
struct Search<'a> {
    save: bool,
    timezone: &'static str,
    query: &'a str,
    offset: u8,
    limit: u8,
    sort: &'static str,
}

#[cfg(test)]
mod tests;
