//! MPGS's requests.

use hushpad_card::Card;
use hushpad_domain::attempt::Purpose;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::amounts::{self, Unit};
use crate::connector::BuildError;
use crate::order::{Channel, Credential, Order, Source};
use crate::wire::WireBody;
use crate::wire_text::digits_as_text;

/// Decimal text with ISO 4217's decimals; currencies that acquirers are known to treat in their own way are not
/// taken.
pub(super) const UNITS: &[Unit] = &[
    Unit::new("BHD", 3),
    Unit::new("JOD", 3),
    Unit::new("JPY", 0),
    Unit::new("KRW", 0),
    Unit::new("KWD", 3),
    Unit::new("OMR", 3),
    Unit::new("TND", 3),
    Unit::new("VND", 0),
];

pub(super) fn write_token(body: &mut WireBody, card: &Card) -> Result<(), BuildError> {
    with_card(card, None, |provided| {
        let request = TokenRequest { source_of_funds: Funds { kind: "CARD", token: None, provided } };
        serde_json::to_writer(body, &request).map_err(|_| BuildError::TooLong)
    })
}

/// The payment, with the token if one was just made.
pub(super) fn write_payment(
    body: &mut WireBody,
    order: &Order<'_>,
    source: &Source<'_>,
    token: Option<&str>,
) -> Result<(), BuildError> {
    let stored_on_file = match order.credential {
        Credential::Once => None,
        Credential::FirstOfStored => Some("TO_BE_STORED"),
        Credential::StoredByCustomer | Credential::StoredByMerchant => Some("STORED"),
    };
    match (source, token) {
        (Source::Stored(stored), _) => {
            let provided = stored_on_file.map(|stored_on_file| Provided {
                card: CardDetails { stored_on_file: Some(stored_on_file), ..CardDetails::default() },
            });
            write(body, order, Some(&stored.token), provided)
        }
        (Source::Keyed(card), Some(token)) => card.read_security_code(|code| {
            let card = CardDetails {
                security_code: code.map(digits_as_text),
                stored_on_file,
                ..CardDetails::default()
            };
            write(body, order, Some(token), Some(Provided { card }))
        }),
        (Source::Keyed(card), None) => {
            with_card(card, stored_on_file, |provided| write(body, order, None, provided))
        }
    }
}

fn with_card(
    card: &Card,
    stored_on_file: Option<&'static str>,
    write: impl FnOnce(Option<Provided<'_>>) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let (month, year) = card.expiry();
    let (month, year) =
        (Zeroizing::new(format!("{month:02}")), Zeroizing::new(format!("{:02}", year.rem_euclid(100))));
    card.read_number(|number| {
        card.read_security_code(|code| {
            let card = CardDetails {
                number: Some(digits_as_text(number)),
                expiry: Some(Expiry { month: &month, year: &year }),
                security_code: code.map(digits_as_text),
                stored_on_file,
            };
            write(Some(Provided { card }))
        })
    })
}

fn write(
    body: &mut WireBody,
    order: &Order<'_>,
    token: Option<&str>,
    provided: Option<Provided<'_>>,
) -> Result<(), BuildError> {
    let (attempt, data) = (order.attempt, order.payment_data);
    let any = |names: [&str; 2]| names.iter().find_map(|name| data.get(name));
    let amount = amounts::decimal(attempt.amount, UNITS)?;
    let payment = Payment {
        api_operation: match attempt.purpose {
            Purpose::Sale => "PAY",
            Purpose::Authorise => "AUTHORIZE",
            Purpose::Tokenise => return Err(BuildError::Unsupported),
        },
        order: OrderDetails {
            amount: &amount,
            currency: attempt.amount.currency().code(),
            reference: data.reference(),
        },
        transaction: Transaction {
            source: match (order.credential, order.channel) {
                (Credential::StoredByMerchant, _) => "MERCHANT",
                (_, Channel::Moto) => "TELEPHONE_ORDER",
                (_, Channel::Ecommerce(_)) => "INTERNET",
            },
        },
        source_of_funds: Funds { kind: "CARD", token, provided },
        agreement: match order.credential {
            Credential::StoredByMerchant => token.map(|id| Agreement { id, kind: "UNSCHEDULED" }),
            Credential::FirstOfStored => token.map(|id| Agreement { id, kind: "UNSCHEDULED" }),
            Credential::Once | Credential::StoredByCustomer => None,
        },
        billing: Some(Billing {
            address: Address {
                street: any(["Street1", "billTo_street1"]),
                city: any(["City", "billTo_city"]),
                postcode_zip: any(["Postcode", "billTo_postalCode"]),
            },
        })
        .filter(|billing| billing.address.street.is_some() || billing.address.postcode_zip.is_some()),
    };
    serde_json::to_writer(body, &payment).map_err(|_| BuildError::TooLong)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenRequest<'a> {
    source_of_funds: Funds<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payment<'a> {
    api_operation: &'static str,
    order: OrderDetails<'a>,
    transaction: Transaction,
    source_of_funds: Funds<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<Agreement<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing: Option<Billing<'a>>,
}

#[derive(Serialize)]
struct OrderDetails<'a> {
    amount: &'a str,
    currency: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
}

#[derive(Serialize)]
struct Transaction {
    source: &'static str,
}

/// By its first use, and at every later one without the customer.
#[derive(Serialize)]
struct Agreement<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Funds<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provided: Option<Provided<'a>>,
}

#[derive(Serialize)]
struct Provided<'a> {
    card: CardDetails<'a>,
}

#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
struct CardDetails<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry: Option<Expiry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    security_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_on_file: Option<&'static str>,
}

#[derive(Serialize)]
struct Expiry<'a> {
    month: &'a str,
    year: &'a str,
}

#[derive(Serialize)]
struct Billing<'a> {
    address: Address<'a>,
}

/// Without the country, which MPGS wants in three letters.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Address<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    street: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    city: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postcode_zip: Option<&'a str>,
}
