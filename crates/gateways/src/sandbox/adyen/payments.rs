//! `POST /payments` and `POST /storedPaymentMethods`.

use std::collections::BTreeMap;

use hushpad_domain::masked_card::Brand;
use serde_json::{Value, json};

use super::notices::Event;
use super::{DECIMALS, error};
use crate::sandbox::acs;
use crate::sandbox::format::Format;
use crate::sandbox::http::{Reply, at, text_at};
use crate::sandbox::ids;
use crate::sandbox::issuer::{CardAsked, CardFacts, Check, Reason, Standing};
use crate::sandbox::ledger::books::{Entry, Token};
use crate::sandbox::ledger::payment::{Payment, Said};
use crate::sandbox::magic::Ruling;
use crate::sandbox::turn::{NewPayment, Stop, Taking, Turn};

/// "Maximum length: 80 characters".
const REFERENCE_CHARS_MAX: usize = 80;
const RESULT_PREFIX: &str = "result.";

pub(super) fn pay(turn: &mut Turn<'_>, body: &Value) -> Result<Reply, Stop> {
    let reference = text_at(body, &["reference"]).unwrap_or_default().into_owned();
    if reference.is_empty() || reference.chars().count() > REFERENCE_CHARS_MAX {
        return Ok(error(422, "130", "validation", "Required field 'reference' is not provided."));
    }
    if body.get("returnUrl").is_none() {
        return Ok(error(422, "14_0408", "validation", "Required field 'returnUrl' is not provided."));
    }
    let (card, is_keyed) = match card_of(turn, body) {
        Ok(card) => card,
        Err(refused) => return Ok(refused),
    };
    let interaction = body["shopperInteraction"].as_str().unwrap_or_default();
    if !fits(interaction, is_keyed, turn.books.takes_ecommerce) {
        return Ok(error(422, "000", "validation", "shopperInteraction is not valid for this payment"));
    }
    let currency = text_at(body, &["amount", "currency"]).unwrap_or_default();
    let Some(value) = at(body, &["amount", "value"]).and_then(Value::as_i64) else {
        return Ok(error(422, "100", "validation", "No amount specified"));
    };
    let psp = ids::capitals(&turn.seed()?, 16);
    if value == 0 && body["storePaymentMethod"] == true {
        return keep_only(turn, body, &reference, &psp, card);
    }
    let Some(amount) = DECIMALS.money(value, &currency) else {
        return Ok(error(422, "137", "validation", "Invalid amount specified"));
    };
    let payment = turn.pay(NewPayment {
        format: Format::Adyen,
        reference: &reference,
        id: psp,
        amount,
        card: card.clone(),
        taking: if waits_for_capture(body) { Taking::Later } else { Taking::Now },
        takes_parts: true,
        kept: BTreeMap::from([("channel".to_owned(), interaction.to_owned())]),
        return_url: returns_to(body, interaction),
    })?;
    let mut reply = told(turn, &payment);
    if body["storePaymentMethod"] == true && payment.is_approved() {
        let id = keep(turn, body, card)?;
        reply["additionalData"]["recurring.recurringDetailReference"] = json!(id);
        reply["additionalData"]["tokenization.storedPaymentMethodId"] = json!(id);
        reply["additionalData"]["recurring.shopperReference"] = body["shopperReference"].clone();
    }
    if !payment.waits_for_payer() {
        turn.note(Event::authorisation(&payment));
    }
    Ok(Reply::json(200, &reply))
}

/// Adyen sends a payer to the bank only from a page that it was told of.
fn returns_to(body: &Value, interaction: &str) -> Option<String> {
    let browser =
        ["acceptHeader", "userAgent"].iter().all(|name| text_at(body, &["browserInfo", name]).is_some());
    let is_page = interaction == "Ecommerce" && body["channel"] == "Web" && body["origin"].is_string();
    (is_page && browser).then(|| body["returnUrl"].as_str().map(str::to_owned))?
}

/// `POST /payments/details`: the payer is back.
pub(super) fn details(turn: &mut Turn<'_>, body: &Value) -> Result<Reply, Stop> {
    let result = text_at(body, &["details", "redirectResult"]).unwrap_or_default();
    let psp = result.strip_prefix(RESULT_PREFIX).unwrap_or_default();
    let found = turn.books.payment(psp).filter(|payment| payment.format == Format::Adyen).cloned();
    let Some((mut payment, visit)) = found.and_then(|payment| Some((payment.clone(), payment.visit?))) else {
        return Ok(error(422, "14_030", "validation", "Return URL parameter redirectResult is invalid"));
    };
    if visit.said == Said::Confirmed && payment.waits_for_payer() {
        turn.confirmed(&mut payment, visit.taking)?;
        turn.note(Event::authorisation(&payment));
    }
    Ok(Reply::json(200, &told(turn, &payment)))
}

/// What the payer brings back from the bank's page.
pub(in crate::sandbox) fn redirect_result(payment: &Payment) -> String {
    format!("{RESULT_PREFIX}{}", payment.id)
}

/// Case matters. A kept card may also be used while the customer is away.
fn fits(interaction: &str, is_keyed: bool, takes_ecommerce: bool) -> bool {
    match interaction {
        "Moto" => true,
        "Ecommerce" => !is_keyed || takes_ecommerce,
        "ContAuth" => !is_keyed,
        _ => false,
    }
}

fn waits_for_capture(body: &Value) -> bool {
    let manual = text_at(body, &["additionalData", "manualCapture"]);
    let delay = body["captureDelayHours"].as_i64().unwrap_or(0);
    manual.is_some_and(|manual| manual == "true") || delay > 0
}

/// The card, and whether it was keyed; or why it is refused before the issuer is asked.
fn card_of(turn: &Turn<'_>, body: &Value) -> Result<(CardFacts, bool), Reply> {
    let method = &body["paymentMethod"];
    if let Some(id) = text_at(method, &["storedPaymentMethodId"]) {
        let token = turn.books.token(Format::Adyen, &id);
        let owner = text_at(body, &["shopperReference"]).unwrap_or_default();
        return match token.filter(|token| token.owner == owner) {
            Some(token) => Ok((token.card.clone(), false)),
            None => Err(error(422, "800", "validation", "Contract not found")),
        };
    }
    let text = |name: &str| text_at(method, &[name]).unwrap_or_default();
    let (number, month, year) = (text("number"), text("expiryMonth"), text("expiryYear"));
    let code = text_at(method, &["cvc"]);
    let has_address = body.get("billingAddress").is_some();
    let card = CardAsked { number: &number, month: &month, year: &year, code: code.as_deref(), has_address };
    let facts = turn.look(&card);
    let refused = |code, message| Err(error(422, code, "validation", message));
    match facts.standing {
        Standing::Declined(Reason::InvalidNumber | Reason::IncorrectNumber) => {
            refused("101", "Invalid card number")
        }
        Standing::Declined(Reason::InvalidCvc) => refused("103", "CVC is not the right length"),
        Standing::Declined(Reason::InvalidExpiryMonth | Reason::InvalidExpiryYear) => {
            refused("129", "Expiry Date Invalid")
        }
        _ => Ok((facts, true)),
    }
}

fn told(turn: &Turn<'_>, payment: &Payment) -> Value {
    let (minor, currency) = turn.told(payment);
    let (code, refusal) = result(payment);
    let minor = if code == "PartiallyAuthorised" { payment.granted() } else { minor };
    let mut reply = json!({
        "pspReference": payment.id,
        "resultCode": code,
        "merchantReference": payment.reference,
        "amount": { "currency": currency, "value": DECIMALS.minor(minor, &currency) },
        "paymentMethod": { "brand": brand(payment), "type": "scheme" },
        "additionalData": {
            "cardBin": payment.card.first6, "cardSummary": payment.card.last4,
            "cvcResult": code_result(payment.code), "avsResult": address_result(payment.address),
            "paymentMethod": brand(payment),
        },
    });
    if payment.is_approved() {
        reply["additionalData"]["authCode"] = json!(ids::capitals(&payment.id, 6));
        reply["additionalData"]["networkTxReference"] =
            json!(ids::capitals(&format!("network {}", payment.id), 15));
    }
    if payment.ruling == Ruling::Review {
        reply["additionalData"]["fraudManualReview"] = json!("true");
    }
    if let Some((code, reason)) = refusal {
        reply["refusalReason"] = json!(reason);
        reply["refusalReasonCode"] = json!(code);
    }
    if code == "RedirectShopper" {
        let url = match payment.visit {
            Some(_) => acs::url(turn, payment),
            None => "https://sandbox.invalid/".to_owned(),
        };
        reply["action"] =
            json!({ "type": "redirect", "method": "GET", "paymentMethodType": "scheme", "url": url });
    }
    reply
}

/// `resultCode`, and `refusalReasonCode` with `refusalReason`
/// (docs.adyen.com/development-resources/refusal-reasons).
fn result(payment: &Payment) -> (&'static str, Option<(&'static str, &'static str)>) {
    match payment.ruling {
        Ruling::Approved | Ruling::Review => ("Authorised", None),
        Ruling::Partial => ("PartiallyAuthorised", None),
        Ruling::Pending => ("Pending", None),
        Ruling::WantsAuthentication if payment.said() == Some(Said::Refused) => {
            ("Refused", Some(("11", "3D Not Authenticated")))
        }
        Ruling::WantsAuthentication if payment.card.standing == Standing::WantsAuthentication => {
            ("RedirectShopper", None)
        }
        Ruling::WantsAuthentication => ("Refused", Some(("38", "Authentication required"))),
        Ruling::Declined(reason) => ("Refused", Some(refusal(reason))),
    }
}

pub(super) fn refusal(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::CardDeclined => ("2", "Refused"),
        Reason::InsufficientFunds => ("12", "Not enough balance"),
        Reason::CardVelocityExceeded => ("29", "Withdrawal count exceeded"),
        Reason::ExpiredCard => ("6", "Expired Card"),
        Reason::IncorrectCvc | Reason::InvalidCvc => ("24", "CVC Declined"),
        Reason::IncorrectNumber
        | Reason::InvalidNumber
        | Reason::InvalidExpiryMonth
        | Reason::InvalidExpiryYear => ("8", "Invalid Card Number"),
        Reason::LostCard | Reason::StolenCard => ("5", "Blocked Card"),
        Reason::CallIssuer => ("3", "Referral"),
        Reason::DoNotHonor => ("27", "Declined Non Generic"),
        Reason::ProcessingError => ("9", "Issuer Unavailable"),
        Reason::Fraudulent => ("20", "FRAUD"),
    }
}

fn code_result(check: Check) -> &'static str {
    match check {
        Check::Match => "1 Matches",
        Check::Mismatch => "2 Doesn't Match",
        Check::NotChecked => "0 Unknown",
    }
}

fn address_result(check: Check) -> &'static str {
    match check {
        Check::Match => "7 Both postal code and address match",
        Check::Mismatch => "2 Neither postal code nor address match",
        Check::NotChecked => "5 No AVS data provided",
    }
}

pub(super) fn brand(payment: &Payment) -> &'static str {
    match payment.card.brand {
        Some(Brand::Visa) => "visa",
        Some(Brand::Mastercard) => "mc",
        Some(Brand::Amex) => "amex",
        Some(Brand::Diners) => "diners",
        Some(Brand::Discover) => "discover",
        Some(Brand::Jcb) => "jcb",
        Some(Brand::UnionPay) => "cup",
        Some(Brand::Maestro) => "maestro",
        None => "unknowncard",
    }
}

/// A verification of zero, to keep the card.
fn keep_only(
    turn: &mut Turn<'_>,
    body: &Value,
    reference: &str,
    psp: &str,
    card: CardFacts,
) -> Result<Reply, Stop> {
    let mut reply = json!({
        "pspReference": psp, "merchantReference": reference, "resultCode": "Authorised",
        "amount": body["amount"],
    });
    if let Standing::Declined(reason) = card.standing {
        let (code, word) = refusal(reason);
        reply["resultCode"] = json!("Refused");
        reply["refusalReason"] = json!(word);
        reply["refusalReasonCode"] = json!(code);
        return Ok(Reply::json(200, &reply));
    }
    let id = keep(turn, body, card)?;
    reply["additionalData"] = json!({
        "recurring.recurringDetailReference": id, "tokenization.storedPaymentMethodId": id,
        "recurring.shopperReference": body["shopperReference"],
    });
    Ok(Reply::json(200, &reply))
}

fn keep(turn: &mut Turn<'_>, body: &Value, card: CardFacts) -> Result<String, Stop> {
    let id = ids::capitals(&turn.seed()?, 16);
    let owner = text_at(body, &["shopperReference"]).unwrap_or_default().into_owned();
    let token = Token { format: Format::Adyen, card, owner, is_keyed: false };
    turn.books.put(Entry::Token(id.clone(), token))?;
    Ok(id)
}

/// `POST /storedPaymentMethods`.
pub(super) fn store(turn: &mut Turn<'_>, body: &Value) -> Result<Reply, Stop> {
    for field in ["paymentMethod", "recurringProcessingModel", "shopperReference"] {
        if body.get(field).is_none() {
            return Ok(error(422, "000", "validation", "A required field is not provided."));
        }
    }
    let card = match card_of(turn, body) {
        Ok((card, _)) => card,
        Err(refused) => return Ok(refused),
    };
    if let Standing::Declined(reason) = card.standing {
        let (code, word) = refusal(reason);
        return Ok(error(422, code, "validation", word));
    }
    let shown = json!({
        "brand": card.brand.map(Brand::title), "cardBin": card.first6, "lastFour": card.last4,
        "expiryMonth": card.month.to_string(), "expiryYear": card.year.to_string(), "type": "scheme",
        "shopperReference": body["shopperReference"],
        "supportedRecurringProcessingModels": [body["recurringProcessingModel"]],
    });
    let mut shown = shown;
    shown["id"] = json!(keep(turn, body, card)?);
    Ok(Reply::json(201, &shown))
}
