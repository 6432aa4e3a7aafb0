//! The generic gateway's requests, in their published names.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hushpad_card::Card;
use hushpad_domain::attempt::Attempt;
use hushpad_domain::challenge::Browser;
use hushpad_domain::ids::AttemptId;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::connector::BuildError;
use crate::order::{Channel, FollowUp, FollowUpKind, Order, Source};
use crate::wire::WireBody;
use crate::wire_text::digits_as_text as as_text;

/// The names of `paymentData` that have a place of their own in the request.
const POSTAL_CODE_NAMES: [&str; 4] = ["Postcode", "PostalCode", "postal_code", "billTo_postalCode"];
const DESCRIPTION_NAMES: [&str; 2] = ["Description", "MerchantReferenceCode"];

#[derive(Serialize)]
struct Charge<'a> {
    transaction_id: AttemptId,
    method: &'a str,
    #[serde(flatten)]
    source: Pays<'a>,
    amount: String,
    currency_code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    postal_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: BTreeMap<&'a str, Cow<'a, str>>,
}

/// What pays.
#[derive(Serialize)]
#[serde(untagged)]
enum Pays<'a> {
    Card {
        cardnumber: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cvv: Option<&'a str>,
        expiry_month: &'a str,
        expiry_year: &'a str,
    },
    Token {
        token_id: &'a str,
    },
}

pub(super) fn write_order(
    body: &mut WireBody,
    method: &str,
    order: &Order<'_>,
    source: &Source<'_>,
) -> Result<(), BuildError> {
    if order.payment_data.amount() != order.attempt.amount {
        return Err(BuildError::AmountDiffers);
    }
    match source {
        Source::Keyed(card) => write_keyed(body, method, order, card),
        Source::Stored(stored) => {
            write(body, &charge(method, order, Pays::Token { token_id: &stored.token }))
        }
    }
}

fn write_keyed(body: &mut WireBody, method: &str, order: &Order<'_>, card: &Card) -> Result<(), BuildError> {
    let (month, year) = card.expiry();
    let (month, year) =
        (Zeroizing::new(format!("{month:02}")), Zeroizing::new(format!("{:02}", year.rem_euclid(100))));
    card.read_number(|number| {
        card.read_security_code(|code| {
            let source = Pays::Card {
                cardnumber: as_text(number),
                cvv: code.map(as_text),
                expiry_month: &month,
                expiry_year: &year,
            };
            write(body, &charge(method, order, source))
        })
    })
}

fn charge<'a>(method: &'a str, order: &Order<'a>, source: Pays<'a>) -> Charge<'a> {
    let (data, amount) = (order.payment_data, order.attempt.amount);
    let own_places = || ["Amount", "Currency"].iter().chain(&POSTAL_CODE_NAMES);
    let has_own_place = |name: &str| own_places().any(|own| own.eq_ignore_ascii_case(name));
    let given = data.values().iter().filter(|(name, _)| !has_own_place(name));
    let mut parameters: BTreeMap<&str, Cow<'a, str>> =
        given.map(|(name, value)| (name.as_str(), Cow::Borrowed(value.as_str()))).collect();
    if let Channel::Ecommerce(browser) = order.channel {
        // Ours come last: nothing that was given with the session may stand in for them.
        parameters.extend(of_page(browser));
    }
    Charge {
        transaction_id: order.attempt.id,
        method,
        source,
        amount: amount.decimal(),
        currency_code: amount.currency().code(),
        postal_code: POSTAL_CODE_NAMES.iter().find_map(|name| data.get(name)),
        description: DESCRIPTION_NAMES.iter().find_map(|name| data.get(name)),
        parameters,
    }
}

/// What a gateway needs to send the payer of a page to the bank.
fn of_page<'a>(browser: &'a Browser) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
    let address = browser.address.map(|address| ("browser_ip", address.to_string().into()));
    let said = [
        ("channel", "ecommerce".into()),
        ("return_url", browser.return_url.as_str().into()),
        ("browser_user_agent", browser.user_agent.as_str().into()),
        ("browser_accept", browser.accept.as_str().into()),
        ("browser_language", browser.language.as_str().into()),
    ];
    said.into_iter().chain(address)
}

/// A void and a reverse name no amount: they undo all that is there.
pub(super) fn write_follow_up(body: &mut WireBody, follow_up: &FollowUp<'_>) -> Result<(), BuildError> {
    let (id, original) = (follow_up.id, follow_up.attempt.id);
    let (amount, currency_code) = (follow_up.amount.decimal(), follow_up.amount.currency().code());
    let charge_id = follow_up.answer_reference;
    let with_amount = |method: &str| {
        json!({
            "transaction_id": id, "method": method, "charge_id": charge_id,
            "original_transaction_id": original, "amount": amount, "currency_code": currency_code,
        })
    };
    let request = match follow_up.kind {
        FollowUpKind::Capture => with_amount("capture"),
        FollowUpKind::Refund => with_amount("refund"),
        FollowUpKind::Void => json!({
            "transaction_id": id, "method": "void", "charge_id": charge_id,
            "original_transaction_id": original,
        }),
        FollowUpKind::Reverse => {
            json!({ "transaction_id": id, "method": "reverse", "original_transaction_id": original })
        }
    };
    write(body, &request)
}

pub(super) fn write_reversal(body: &mut WireBody, id: Uuid, attempt: &Attempt) -> Result<(), BuildError> {
    write(body, &json!({ "transaction_id": id, "method": "reverse", "original_transaction_id": attempt.id }))
}

fn write(body: &mut WireBody, request: &impl Serialize) -> Result<(), BuildError> {
    serde_json::to_writer(body, request).map_err(|_| BuildError::TooLong)
}
