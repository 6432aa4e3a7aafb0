//! CyberSource's payment request, in its published names.

use hushpad_card::Card;
use hushpad_domain::attempt::{Purpose, StoredCard};
use hushpad_domain::masked_card::Brand;
use hushpad_domain::payment_data::PaymentData;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{UNITS, reference};
use crate::amounts;
use crate::connector::BuildError;
use crate::order::{Channel, Credential, Order, Source};
use crate::wire::WireBody;
use crate::wire_text::digits_as_text;

pub(super) fn write_payment(
    body: &mut WireBody,
    order: &Order<'_>,
    source: &Source<'_>,
) -> Result<(), BuildError> {
    let amount = order.attempt.amount;
    if order.payment_data.amount() != amount {
        return Err(BuildError::AmountDiffers);
    }
    let decimal = amounts::decimal(amount, UNITS)?;
    let total_amount = match order.attempt.purpose {
        Purpose::Sale | Purpose::Authorise => decimal,
        // An authorisation of nothing checks the card and takes no money.
        Purpose::Tokenise => zero_like(&decimal),
    };
    match source {
        Source::Keyed(card) => write_keyed(body, order, &total_amount, card),
        Source::Stored(stored) => {
            let paid = PaymentInformation::Customer { customer: Id { id: &stored.token } };
            write(body, order, &total_amount, Some(stored), paid)
        }
    }
}

/// `0.00` for `12.40`, `0` for `12`.
fn zero_like(decimal: &str) -> String {
    match decimal.split_once('.') {
        Some((_, fraction)) => format!("0.{}", "0".repeat(fraction.len())),
        None => "0".to_owned(),
    }
}

fn write_keyed(
    body: &mut WireBody,
    order: &Order<'_>,
    total_amount: &str,
    card: &Card,
) -> Result<(), BuildError> {
    let (month, year) = card.expiry();
    let (month, year) = (Zeroizing::new(format!("{month:02}")), Zeroizing::new(year.to_string()));
    card.read_number(|number| {
        card.read_security_code(|code| {
            let details = CardDetails {
                number: digits_as_text(number),
                expiration_month: &month,
                expiration_year: &year,
                security_code: code.map(digits_as_text),
                kind: card.brand().map(card_type),
            };
            write(body, order, total_amount, None, PaymentInformation::Card { card: details })
        })
    })
}

fn write(
    body: &mut WireBody,
    order: &Order<'_>,
    total_amount: &str,
    stored: Option<&StoredCard>,
    payment_information: PaymentInformation<'_>,
) -> Result<(), BuildError> {
    let (data, attempt) = (order.payment_data, order.attempt);
    let reference = reference(attempt.id.0);
    let payment = Payment {
        client_reference_information: Reference { code: &reference, transaction_id: &reference },
        processing_information: Processing::of(order, stored),
        order_information: OrderInformation {
            amount_details: AmountDetails { total_amount, currency: attempt.amount.currency().code() },
            bill_to: BillTo::of(data),
        },
        payment_information,
        merchant_defined_information: data.reference().map(|value| [MerchantDefined { key: "1", value }]),
    };
    serde_json::to_writer(body, &payment).map_err(|_| BuildError::TooLong)
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
    processing_information: Processing<'a>,
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
struct Processing<'a> {
    capture: bool,
    commerce_indicator: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_list: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action_token_types: Option<[&'static str; 3]>,
    authorization_options: AuthorizationOptions<'a>,
}

impl<'a> Processing<'a> {
    fn of(order: &Order<'_>, stored: Option<&'a StoredCard>) -> Self {
        let keeps =
            order.attempt.purpose == Purpose::Tokenise || order.credential == Credential::FirstOfStored;
        Self {
            capture: order.attempt.purpose == Purpose::Sale,
            commerce_indicator: match order.channel {
                Channel::Moto => "moto",
                Channel::Ecommerce(_) => "internet",
            },
            action_list: keeps.then_some(["TOKEN_CREATE"]),
            action_token_types: keeps.then_some(["customer", "paymentInstrument", "instrumentIdentifier"]),
            authorization_options: AuthorizationOptions {
                ignore_avs_result: true,
                ignore_cv_result: true,
                initiator: Initiator::of(order.credential, keeps, stored),
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationOptions<'a> {
    ignore_avs_result: bool,
    ignore_cv_result: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    initiator: Option<Initiator<'a>>,
}

/// What the schemes want to know of a card that is kept.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Initiator<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_stored_on_file: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_credential_used: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_initiated_transaction: Option<MerchantInitiated<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MerchantInitiated<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_transaction_id: Option<&'a str>,
}

impl<'a> Initiator<'a> {
    fn of(credential: Credential, keeps: bool, stored: Option<&'a StoredCard>) -> Option<Self> {
        let previous = || MerchantInitiated {
            previous_transaction_id: stored.and_then(|stored| stored.network_transaction_id.as_deref()),
        };
        let used = |kind, merchant_initiated_transaction| Self {
            kind,
            credential_stored_on_file: None,
            stored_credential_used: Some(true),
            merchant_initiated_transaction,
        };
        match credential {
            Credential::Once | Credential::FirstOfStored if keeps => Some(Self {
                kind: "customer",
                credential_stored_on_file: Some(true),
                stored_credential_used: None,
                merchant_initiated_transaction: None,
            }),
            Credential::Once | Credential::FirstOfStored => None,
            Credential::StoredByCustomer => Some(used("customer", None)),
            Credential::StoredByMerchant => Some(used("merchant", Some(previous()))),
        }
    }
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

/// What pays.
#[derive(Serialize)]
#[serde(untagged)]
enum PaymentInformation<'a> {
    Card { card: CardDetails<'a> },
    Customer { customer: Id<'a> },
}

#[derive(Serialize)]
struct Id<'a> {
    id: &'a str,
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
