//! Stripe's forms.

use std::io::Write as _;

use hushpad_card::Card;
use hushpad_domain::attempt::{Attempt, Purpose};
use hushpad_domain::payment_data::PaymentData;

use super::UNITS;
use crate::amounts;
use crate::connector::BuildError;
use crate::order::{Channel, Credential, Order};
use crate::wire::WireBody;

/// Pairs without card data.
pub(super) fn form(pairs: &[(&str, &str)]) -> Result<WireBody, BuildError> {
    let mut body = WireBody::room();
    write_pairs(&mut body, pairs)?;
    Ok(body)
}

/// A function of the attempt alone.
pub(super) fn create(attempt: &Attempt) -> Result<WireBody, BuildError> {
    let amount = amounts::minor(attempt.amount, UNITS)?.to_string();
    let currency = attempt.amount.currency().code().to_ascii_lowercase();
    let reference = attempt.id.to_string();
    let mut pairs = vec![
        ("amount", amount.as_str()),
        ("currency", &currency),
        ("payment_method_types[]", "card"),
        ("metadata[ref]", &reference),
    ];
    if attempt.purpose == Purpose::Authorise {
        pairs.push(("capture_method", "manual"));
    }
    form(&pairs)
}

pub(super) fn customer(order: &Order<'_>) -> Result<WireBody, BuildError> {
    customer_of(order.attempt, order.payment_data.get("Email"))
}

pub(super) fn customer_of(attempt: &Attempt, email: Option<&str>) -> Result<WireBody, BuildError> {
    let reference = attempt.id.to_string();
    let mut pairs = vec![("metadata[ref]", reference.as_str())];
    pairs.extend(email.map(|email| ("email", email)));
    form(&pairs)
}

/// Says whose card it is, and that it is kept.
pub(super) fn update(order: &Order<'_>, customer: &str) -> Result<WireBody, BuildError> {
    let mut pairs = vec![("customer", customer)];
    if order.credential == Credential::FirstOfStored {
        pairs.push(("setup_future_usage", "off_session"));
    }
    form(&pairs)
}

pub(super) fn confirm(order: &Order<'_>, method: &str) -> Result<WireBody, BuildError> {
    let mut pairs = vec![("payment_method", method), ("expand[]", "latest_charge")];
    match (order.credential, order.channel) {
        // Nobody is there to authenticate, and Stripe tells the schemes so.
        (Credential::StoredByMerchant, _) => pairs.push(("off_session", "true")),
        (_, Channel::Moto) => pairs.push(("payment_method_options[card][moto]", "true")),
        // Where the issuer wants to see the payer, and where the payer comes back to.
        (_, Channel::Ecommerce(browser)) => pairs.push(("return_url", &browser.return_url)),
    }
    form(&pairs)
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
pub(super) fn method(order: &Order<'_>, card: &Card) -> Result<WireBody, BuildError> {
    let mut body = WireBody::room();
    let (month, year) = card.expiry();
    let mut write = |parts: [&[u8]; 2]| {
        parts.iter().try_for_each(|part| body.write_all(part)).map_err(|_| BuildError::TooLong)
    };
    write([b"type=card", b""])?;
    card.read_number(|number| write([b"&card[number]=", number]))?;
    card.read_security_code(|code| code.map_or(Ok(()), |code| write([b"&card[cvc]=", code])))?;
    write!(body, "&card[exp_month]={month}&card[exp_year]={year}").map_err(|_| BuildError::TooLong)?;
    write_billing(&mut body, order.payment_data)?;
    Ok(body)
}

fn write_billing(body: &mut WireBody, data: &PaymentData) -> Result<(), BuildError> {
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

fn write_pairs(body: &mut WireBody, pairs: &[(&str, &str)]) -> Result<(), BuildError> {
    let text = serde_urlencoded::to_string(pairs).map_err(|_| BuildError::TooLong)?;
    body.write_all(text.as_bytes()).map_err(|_| BuildError::TooLong)
}
