//! Adyen Checkout v72 (docs.adyen.com/api-explorer/Checkout/72/post/payments).
//!
//! # Request
//! `POST {url}/payments` with `X-API-Key` and `Idempotency-Key` (a UUIDv5 of the attempt's id, 36 of 64
//! characters). `reference` is the attempt's id, `shopperInteraction` `Moto`, the amount in Adyen's own minor
//! units; there is no 3-D Secure data. Capture is the merchant account's setting.
//!
//! # Answer
//! Told by `resultCode`, not by the HTTP status: a refusal comes with 200. `Pending` and `Received` are
//! unknown until Adyen's notification, `PartiallyAuthorised` is unknown until someone reverses it.
//!
//! # Unknowns
//! Adyen cannot be asked by our reference, and a replay would need the card. The notification or the operator
//! must say what became of it; [`Caps::query_by_ref`] is `false`.

mod reply;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use hushpad_card::Card;
use hushpad_domain::attempt::{Attempt, Purpose};
use hushpad_domain::ids::AttemptId;
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::time::Timestamp;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::amounts::{self, Currencies, Unit};
use crate::caps::{Caps, Replay};
use crate::connector::{BuildError, Connector, Parsed, ParsedQuery, Step};
use crate::endpoint::Endpoint;
use crate::order::{Order, Source};
use crate::wire::{Reply, WireBody, WireRequest};
use crate::wire_text::{digits_as_text, idempotency_key, secret_header};

/// Where Adyen does not write two decimals, or not as ISO 4217 does (CLP, CVE, IDR, ISK), from
/// docs.adyen.com/development-resources/currency-codes. MGA is not taken.
const UNITS: &[Unit] = &[
    Unit::new("BHD", 3),
    Unit::new("CLP", 2),
    Unit::new("CVE", 0),
    Unit::new("DJF", 0),
    Unit::new("GNF", 0),
    Unit::new("HUF", 2),
    Unit::new("IDR", 0),
    Unit::new("ISK", 2),
    Unit::new("JOD", 3),
    Unit::new("JPY", 0),
    Unit::new("KMF", 0),
    Unit::new("KRW", 0),
    Unit::new("KWD", 3),
    Unit::new("OMR", 3),
    Unit::new("PYG", 0),
    Unit::new("RWF", 0),
    Unit::new("TND", 3),
    Unit::new("UGX", 0),
    Unit::new("VND", 0),
    Unit::new("VUV", 0),
    Unit::new("XAF", 0),
    Unit::new("XOF", 0),
    Unit::new("XPF", 0),
];

/// The API wants a URL to come back to after a redirection. A telephone payment has none: nobody goes there.
const RETURN_URL: &str = "https://moto.invalid/";

/// The connector of Adyen.
pub struct Adyen {
    payments: Endpoint,
    merchant_account: String,
    api_key: HeaderValue,
    caps: Caps,
}

impl Adyen {
    /// The connector; `base` ends with the version, such as `/v72`. `None` when the key cannot be a header or
    /// the account has no name.
    #[must_use]
    pub fn new(base: Endpoint, merchant_account: &str, api_key: &str, settle_time: Duration) -> Option<Self> {
        if merchant_account.is_empty() || api_key.is_empty() {
            return None;
        }
        Some(Self {
            payments: base.below("/payments"),
            merchant_account: merchant_account.to_owned(),
            api_key: secret_header(api_key)?,
            caps: Caps {
                replay: Replay::None,
                query_by_ref: false,
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
            },
        })
    }
}

impl Connector for Adyen {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn build(
        &self,
        _: &Step,
        order: &Order<'_>,
        source: &Source<'_>,
        _: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        let (Purpose::Sale, Source::Keyed(card)) = (order.attempt.purpose, source) else {
            return Err(BuildError::Unsupported);
        };
        let mut body = WireBody::room();
        self.write_payment(&mut body, order, card)?;
        let headers = vec![
            (HeaderName::from_static("x-api-key"), self.api_key.clone()),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (HeaderName::from_static("idempotency-key"), idempotency_key(order.attempt.id, "payments")),
        ];
        Ok(WireRequest { endpoint: self.payments.clone(), method: Method::POST, headers, body })
    }

    fn parse(&self, _: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        reply::read(order.attempt, card, reply)
    }

    fn query(&self, _: &Step, _: &Attempt, _: Timestamp) -> Option<WireRequest> {
        None
    }

    fn parse_query(&self, _: &Step, _: &Attempt, _: &Reply) -> ParsedQuery {
        ParsedQuery::Indeterminate(hushpad_domain::attempt::Unknown::Unreadable)
    }
}

impl Adyen {
    fn write_payment(&self, body: &mut WireBody, order: &Order<'_>, card: &Card) -> Result<(), BuildError> {
        let amount = order.attempt.amount;
        if order.payment_data.amount() != amount {
            return Err(BuildError::AmountDiffers);
        }
        let value = amounts::minor(amount, UNITS)?;
        let (month, year) = card.expiry();
        let (month, year) = (Zeroizing::new(format!("{month:02}")), Zeroizing::new(year.to_string()));
        card.read_number(|number| {
            card.read_security_code(|code| {
                let payment = Payment {
                    merchant_account: &self.merchant_account,
                    reference: order.attempt.id,
                    amount: Amount { currency: amount.currency().code(), value },
                    payment_method: PaymentMethod {
                        kind: "scheme",
                        number: digits_as_text(number),
                        expiry_month: &month,
                        expiry_year: &year,
                        cvc: code.map(digits_as_text),
                    },
                    shopper_interaction: "Moto",
                    merchant_order_reference: order.payment_data.reference(),
                    shopper_email: order.payment_data.get("Email"),
                    return_url: RETURN_URL,
                };
                serde_json::to_writer(body, &payment).map_err(|_| BuildError::TooLong)
            })
        })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payment<'a> {
    merchant_account: &'a str,
    reference: AttemptId,
    amount: Amount,
    payment_method: PaymentMethod<'a>,
    shopper_interaction: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_order_reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shopper_email: Option<&'a str>,
    return_url: &'static str,
}

#[derive(Serialize)]
struct Amount {
    currency: &'static str,
    value: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PaymentMethod<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    number: &'a str,
    expiry_month: &'a str,
    expiry_year: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cvc: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{self, header_lines};

    fn adyen() -> Adyen {
        let base = Endpoint::parse("https://checkout-test.adyen.com/v72", false).unwrap();
        Adyen::new(base, "ShopPOS", "key-1", Duration::from_secs(60)).unwrap()
    }

    #[test]
    fn the_request_is_a_moto_payment_in_minor_units() {
        let wire = fixtures::build(&adyen(), &Step::default(), "12.40", "GBP").unwrap();
        insta::assert_snapshot!(header_lines(&wire), @r#"
        POST /v72/payments
        x-api-key: key-1
        content-type: application/json
        accept: application/json
        idempotency-key: 17797f33-b81d-5ffa-948c-62d831d7d91d
        "#);
        let mut body: serde_json::Value = serde_json::from_slice(wire.body.as_ref()).unwrap();
        fixtures::take_card(&mut body["paymentMethod"], "number", "cvc");
        insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap(), @r#"
        {
          "amount": {
            "currency": "GBP",
            "value": 1240
          },
          "merchantAccount": "ShopPOS",
          "merchantOrderReference": "order-9",
          "paymentMethod": {
            "expiryMonth": "12",
            "expiryYear": "2030",
            "type": "scheme"
          },
          "reference": "00000000-0000-0000-0000-000000000007",
          "returnUrl": "https://moto.invalid/",
          "shopperEmail": "ann@example.com",
          "shopperInteraction": "Moto"
        }
        "#);
    }

    #[test]
    fn amounts_are_in_adyens_units_or_not_sent_at_all() {
        let value = |amount, currency| {
            let wire = fixtures::build(&adyen(), &Step::default(), amount, currency)?;
            let body: serde_json::Value = serde_json::from_slice(wire.body.as_ref()).unwrap();
            Ok(body["amount"]["value"].as_i64().unwrap())
        };
        assert_eq!(value("1500", "CLP"), Ok(150_000));
        assert_eq!(value("1500", "ISK"), Ok(150_000));
        assert_eq!(value("1500.00", "IDR"), Ok(1500));
        assert_eq!(value("1500.50", "IDR"), Err(BuildError::Currency));
        assert_eq!(value("1500", "JPY"), Ok(1500));
        assert_eq!(value("1.234", "KWD"), Ok(1234));
        assert_eq!(value("12.40", "MGA"), Err(BuildError::Currency));
    }

    #[test]
    fn an_amount_that_is_not_the_sessions_is_not_sent() {
        assert_eq!(fixtures::build_with_other_amount(&adyen()).err(), Some(BuildError::AmountDiffers));
    }
}
