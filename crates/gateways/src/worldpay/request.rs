//! Access Worldpay's requests.

use hushpad_card::Card;
use hushpad_domain::attempt::Purpose;
use hushpad_domain::ids::AttemptId;
use hushpad_domain::payment_data::PaymentData;
use serde::Serialize;

use super::UNITS;
use crate::amounts;
use crate::connector::BuildError;
use crate::order::{Channel, Credential, Order, Source};
use crate::wire::WireBody;
use crate::wire_text::digits_as_text;

/// `POST /tokens`. The token service has names of its own for the same things.
pub(super) fn write_token(body: &mut WireBody, order: &Order<'_>, card: &Card) -> Result<(), BuildError> {
    let (month, year) = card.expiry();
    let name = holder(order.payment_data).unwrap_or_else(|| "Cardholder".to_owned());
    card.read_number(|number| {
        let request = TokenRequest {
            description: "Card on file",
            payment_instrument: FrontCard {
                kind: "card/front",
                card_holder_name: &name,
                card_number: digits_as_text(number),
                card_expiry_date: ExpiryDate { month, year },
            },
        };
        serde_json::to_writer(body, &request).map_err(|_| BuildError::TooLong)
    })
}

/// The payment, with the token if one was just made.
pub(super) fn write_payment(
    body: &mut WireBody,
    entity: &str,
    narrative: &str,
    order: &Order<'_>,
    source: &Source<'_>,
    token: Option<&str>,
) -> Result<(), BuildError> {
    let amount = amounts::minor(order.attempt.amount, UNITS)?;
    let write = |instrument: Instrument<'_>, body: &mut WireBody| {
        let payment = Payment {
            transaction_reference: order.attempt.id,
            channel: match (order.credential, order.channel) {
                (Credential::StoredByMerchant, _) => None,
                (_, Channel::Moto) => Some("moto"),
                (_, Channel::Ecommerce(_)) => Some("ecom"),
            },
            merchant: Merchant { entity },
            instruction: Instruction {
                request_auto_settlement: AutoSettlement { enabled: order.attempt.purpose == Purpose::Sale },
                narrative: Narrative { line1: narrative },
                value: Value { currency: order.attempt.amount.currency().code(), amount },
                payment_instrument: instrument,
                customer_agreement: Agreement::of(order.credential, source),
            },
        };
        serde_json::to_writer(body, &payment).map_err(|_| BuildError::TooLong)
    };
    match (source, token) {
        (Source::Stored(stored), _) => {
            write(Instrument::Token { kind: "card/token", href: &stored.token, cvc: None }, body)
        }
        (Source::Keyed(card), Some(href)) => card.read_security_code(|code| {
            write(Instrument::Token { kind: "card/token", href, cvc: code.map(digits_as_text) }, body)
        }),
        (Source::Keyed(card), None) => {
            let (month, year) = card.expiry();
            let name = holder(order.payment_data);
            card.read_number(|number| {
                card.read_security_code(|code| {
                    let instrument = Instrument::Plain {
                        kind: "card/plain",
                        card_holder_name: name.as_deref(),
                        card_number: digits_as_text(number),
                        expiry_date: ExpiryDate { month, year },
                        cvc: code.map(digits_as_text),
                        billing_address: BillingAddress::of(order.payment_data),
                    };
                    write(instrument, body)
                })
            })
        }
    }
}

fn holder(data: &PaymentData) -> Option<String> {
    let any = |names: [&str; 2]| names.iter().find_map(|name| data.get(name));
    let parts = [any(["FirstName", "billTo_firstName"]), any(["Surname", "billTo_lastName"])];
    let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    Some(name).filter(|name| !name.is_empty())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenRequest<'a> {
    description: &'static str,
    payment_instrument: FrontCard<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FrontCard<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    card_holder_name: &'a str,
    card_number: &'a str,
    card_expiry_date: ExpiryDate,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payment<'a> {
    transaction_reference: AttemptId,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'static str>,
    merchant: Merchant<'a>,
    instruction: Instruction<'a>,
}

#[derive(Serialize)]
struct Merchant<'a> {
    entity: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Instruction<'a> {
    request_auto_settlement: AutoSettlement,
    narrative: Narrative<'a>,
    value: Value,
    payment_instrument: Instrument<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_agreement: Option<Agreement<'a>>,
}

#[derive(Serialize)]
struct AutoSettlement {
    enabled: bool,
}

#[derive(Serialize)]
struct Narrative<'a> {
    line1: &'a str,
}

#[derive(Serialize)]
struct Value {
    currency: &'static str,
    amount: i64,
}

#[derive(Serialize)]
struct ExpiryDate {
    month: u8,
    year: i32,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Instrument<'a> {
    Plain {
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        card_holder_name: Option<&'a str>,
        card_number: &'a str,
        expiry_date: ExpiryDate,
        #[serde(skip_serializing_if = "Option::is_none")]
        cvc: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        billing_address: Option<BillingAddress<'a>>,
    },
    Token {
        #[serde(rename = "type")]
        kind: &'static str,
        href: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cvc: Option<&'a str>,
    },
}

/// For the check of the address: all four, or none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BillingAddress<'a> {
    address1: &'a str,
    postal_code: &'a str,
    city: &'a str,
    country_code: &'a str,
}

impl<'a> BillingAddress<'a> {
    fn of(data: &'a PaymentData) -> Option<Self> {
        let any = |names: [&str; 2]| names.iter().find_map(|name| data.get(name));
        Some(Self {
            address1: any(["Street1", "billTo_street1"])?,
            postal_code: any(["Postcode", "billTo_postalCode"])?,
            city: any(["City", "billTo_city"])?,
            country_code: any(["Country", "billTo_country"]).filter(|country| country.len() == 2)?,
        })
    }
}

/// What the schemes want to know of a card that is kept.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Agreement<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    stored_card_usage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheme_reference: Option<&'a str>,
}

impl<'a> Agreement<'a> {
    fn of(credential: Credential, source: &Source<'a>) -> Option<Self> {
        let on_file =
            |stored_card_usage| Self { kind: "cardOnFile", stored_card_usage, scheme_reference: None };
        match credential {
            Credential::Once => None,
            Credential::FirstOfStored => Some(on_file("first")),
            Credential::StoredByCustomer => Some(on_file("subsequent")),
            Credential::StoredByMerchant => Some(Self {
                kind: "unscheduled",
                stored_card_usage: "subsequent",
                scheme_reference: match source {
                    Source::Stored(stored) => stored.network_transaction_id.as_deref(),
                    Source::Keyed(_) => None,
                },
            }),
        }
    }
}
