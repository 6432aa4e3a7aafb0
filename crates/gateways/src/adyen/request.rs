//! Adyen's payment request.

use std::net::IpAddr;

use hushpad_card::Card;
use hushpad_domain::attempt::{Purpose, StoredCard};
use hushpad_domain::challenge::Browser;
use hushpad_domain::ids::AttemptId;
use serde::Serialize;
use zeroize::Zeroizing;

use super::UNITS;
use crate::amounts;
use crate::connector::BuildError;
use crate::order::{Channel, Credential, Order, Source};
use crate::wire::WireBody;
use crate::wire_text::digits_as_text;

/// The API wants a URL to come back to after a redirection. A telephone payment has none: nobody goes there.
const RETURN_URL: &str = "https://moto.invalid/";

pub(super) fn write(
    body: &mut WireBody,
    merchant_account: &str,
    order: &Order<'_>,
    source: &Source<'_>,
) -> Result<(), BuildError> {
    if order.payment_data.amount() != order.attempt.amount {
        return Err(BuildError::AmountDiffers);
    }
    let method = |payment_method: PaymentMethod<'_>, body: &mut WireBody| {
        let payment = Payment::of(merchant_account, order, source, payment_method)?;
        serde_json::to_writer(body, &payment).map_err(|_| BuildError::TooLong)
    };
    match source {
        Source::Keyed(card) => with_card(card, |payment_method| method(payment_method, body)),
        Source::Stored(stored) => {
            let (_, id) = of_token(stored).ok_or(BuildError::Unsupported)?;
            method(PaymentMethod::Stored { kind: "scheme", stored_payment_method_id: id }, body)
        }
    }
}

fn with_card(
    card: &Card,
    write: impl FnOnce(PaymentMethod<'_>) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let (month, year) = card.expiry();
    let (month, year) = (Zeroizing::new(format!("{month:02}")), Zeroizing::new(year.to_string()));
    card.read_number(|number| {
        card.read_security_code(|code| {
            write(PaymentMethod::Keyed {
                kind: "scheme",
                number: digits_as_text(number),
                expiry_month: &month,
                expiry_year: &year,
                cvc: code.map(digits_as_text),
            })
        })
    })
}

/// A card that Adyen keeps belongs to a shopper; both are needed to use it.
pub(super) fn token(shopper: &str, id: &str) -> String {
    format!("{shopper}:{id}")
}

fn of_token(stored: &StoredCard) -> Option<(&str, &str)> {
    stored.token.split_once(':')
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
    shopper_reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_payment_method: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recurring_processing_model: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_data: Option<AdditionalData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_address: Option<BillingAddress<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merchant_order_reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shopper_email: Option<&'a str>,
    return_url: &'a str,
    #[serde(flatten)]
    page: Option<Page<'a>>,
}

impl<'a> Payment<'a> {
    fn of(
        merchant_account: &'a str,
        order: &Order<'a>,
        source: &Source<'_>,
        payment_method: PaymentMethod<'a>,
    ) -> Result<Self, BuildError> {
        let (attempt, data) = (order.attempt, order.payment_data);
        let minor = amounts::minor(attempt.amount, UNITS)?;
        let keeps = attempt.purpose == Purpose::Tokenise || order.credential == Credential::FirstOfStored;
        let shopper_reference = match source {
            Source::Keyed(_) => keeps.then(|| attempt.id.to_string()),
            Source::Stored(stored) => of_token(stored).map(|(shopper, _)| shopper.to_owned()),
        };
        let is_stored = matches!(source, Source::Stored(_));
        Ok(Self {
            merchant_account,
            reference: attempt.id,
            amount: Amount {
                currency: attempt.amount.currency().code(),
                value: if attempt.purpose.holds_money() { minor } else { 0 },
            },
            payment_method,
            shopper_interaction: match (order.credential, order.channel) {
                (Credential::StoredByMerchant, _) => "ContAuth",
                (_, Channel::Moto) => "Moto",
                (Credential::StoredByCustomer, Channel::Ecommerce(_)) => "ContAuth",
                (_, Channel::Ecommerce(_)) => "Ecommerce",
            },
            shopper_reference,
            store_payment_method: keeps.then_some(true),
            recurring_processing_model: match order.credential {
                Credential::StoredByMerchant => Some("UnscheduledCardOnFile"),
                _ if keeps || is_stored => Some("CardOnFile"),
                _ => None,
            },
            additional_data: (attempt.purpose == Purpose::Authorise)
                .then_some(AdditionalData { manual_capture: "true" }),
            billing_address: BillingAddress::of(order),
            merchant_order_reference: data.reference(),
            shopper_email: data.get("Email"),
            return_url: match order.channel {
                Channel::Moto => RETURN_URL,
                Channel::Ecommerce(browser) => &browser.return_url,
            },
            page: match order.channel {
                Channel::Moto => None,
                Channel::Ecommerce(browser) => Some(Page::of(browser)),
            },
        })
    }
}

/// What a payment on a page has, so that the payer can be sent to the bank.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    channel: &'static str,
    origin: &'a str,
    browser_info: BrowserInfo<'a>,
    #[serde(rename = "shopperIP", skip_serializing_if = "Option::is_none")]
    shopper_ip: Option<IpAddr>,
    authentication_data: AuthenticationData,
}

/// The page works without scripts, so nothing is known of the screen; EMV 3-D Secure does not ask for it then.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BrowserInfo<'a> {
    accept_header: &'a str,
    user_agent: &'a str,
    language: &'a str,
    java_enabled: bool,
    java_script_enabled: bool,
    color_depth: u8,
    screen_height: u16,
    screen_width: u16,
    time_zone_offset: i16,
}

#[derive(Serialize)]
struct AuthenticationData {
    #[serde(rename = "threeDSRequestData")]
    three_ds_request_data: ThreeDsRequestData,
}

#[derive(Serialize)]
struct ThreeDsRequestData {
    /// Without Adyen's script, only a redirect can be done.
    #[serde(rename = "nativeThreeDS")]
    native: &'static str,
}

impl<'a> Page<'a> {
    fn of(browser: &'a Browser) -> Self {
        Self {
            channel: "Web",
            origin: browser.origin(),
            browser_info: BrowserInfo {
                accept_header: &browser.accept,
                user_agent: &browser.user_agent,
                language: &browser.language,
                java_enabled: false,
                java_script_enabled: false,
                color_depth: 24,
                screen_height: 0,
                screen_width: 0,
                time_zone_offset: 0,
            },
            shopper_ip: browser.address,
            authentication_data: AuthenticationData {
                three_ds_request_data: ThreeDsRequestData { native: "disabled" },
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdditionalData {
    manual_capture: &'static str,
}

#[derive(Serialize)]
struct Amount {
    currency: &'static str,
    value: i64,
}

/// For the check of the address. Adyen wants all five or none.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BillingAddress<'a> {
    house_number_or_name: &'a str,
    street: &'a str,
    city: &'a str,
    postal_code: &'a str,
    country: &'a str,
}

impl<'a> BillingAddress<'a> {
    fn of(order: &Order<'a>) -> Option<Self> {
        let any = |names: [&str; 2]| names.iter().find_map(|name| order.payment_data.get(name));
        let line = any(["Street1", "billTo_street1"])?;
        // "1 High Street": the issuer looks at the house number.
        let (house, street) = match line.split_once(' ') {
            Some((house, street)) if house.starts_with(|first: char| first.is_ascii_digit()) => {
                (house, street)
            }
            _ => ("-", line),
        };
        Some(Self {
            house_number_or_name: house,
            street,
            city: any(["City", "billTo_city"])?,
            postal_code: any(["Postcode", "billTo_postalCode"])?,
            country: any(["Country", "billTo_country"]).filter(|country| country.len() == 2)?,
        })
    }
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum PaymentMethod<'a> {
    Keyed {
        #[serde(rename = "type")]
        kind: &'static str,
        number: &'a str,
        expiry_month: &'a str,
        expiry_year: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cvc: Option<&'a str>,
    },
    Stored {
        #[serde(rename = "type")]
        kind: &'static str,
        stored_payment_method_id: &'a str,
    },
}
