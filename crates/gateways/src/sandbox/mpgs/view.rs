//! How orders and transactions are shown.

use serde_json::{Number, Value, json};

use super::{DECIMALS, MPGS_MERCHANT};
use crate::sandbox::ids;
use crate::sandbox::issuer::{CardFacts, Check, Reason};
use crate::sandbox::ledger::payment::{Movement, Payment};
use crate::sandbox::ledger::summary::decimal;
use crate::sandbox::magic::Ruling;

/// A transaction's id is only unique in its order.
pub(super) fn movement_id(order: &str, id: &str) -> String {
    format!("{order}/{id}")
}

pub(super) fn has_transaction(payment: &Payment, id: &str) -> bool {
    let wanted = movement_id(&payment.reference, id);
    payment.id == wanted
        || payment.movements.iter().any(|movement| movement.id == wanted)
        || payment.kept.contains_key(&format!("type {id}"))
}

/// One transaction with its order. `told` is amount and currency where the answer shall lie.
pub(super) fn transaction(payment: &Payment, id: &str, told: Option<(i64, String)>) -> Value {
    let (minor, currency) = told.unwrap_or_else(|| (payment.amount_minor, payment.currency.clone()));
    let wanted = movement_id(&payment.reference, id);
    let first = payment.id == wanted;
    let movement = payment.movements.iter().find(|movement| movement.id == wanted && !first);
    let (result, code) = if first { decision(payment) } else { ("SUCCESS", "APPROVED") };
    let kind = payment.kept.get(&format!("type {id}")).or_else(|| payment.kept.get("operation"));
    let amount = movement.map_or(minor, |movement| movement.amount_minor);
    let mut shown = json!({
        "merchant": MPGS_MERCHANT,
        "result": result,
        "version": "100",
        "gatewayEntryPoint": "WEB_SERVICES_API",
        "timeOfRecord": payment.on.to_string(),
        "order": order_members(payment, minor, &currency),
        "response": { "gatewayCode": code, "acquirerCode": if result == "SUCCESS" { "00" } else { "05" } },
        "sourceOfFunds": { "type": "CARD", "provided": { "card": card(&payment.card) } },
        "transaction": {
            "id": id, "type": kind.map(|kind| match kind.as_str() { "VOID" => "VOID_PAYMENT", other => other }),
            "amount": number(amount, &currency), "currency": currency,
            "source": payment.kept.get("source"),
            "authorizationCode": ids::capitals(&payment.id, 6),
        },
    });
    if first {
        shown["response"]["cardSecurityCode"] = json!({ "gatewayCode": security_code(payment.code) });
        shown["response"]["cardholderVerification"] =
            json!({ "avs": { "gatewayCode": address(payment.address) } });
    }
    if payment.ruling == Ruling::Review {
        shown["risk"] =
            json!({ "response": { "gatewayCode": "REVIEW_REQUIRED", "review": { "decision": "PENDING" } } });
    }
    shown
}

pub(super) fn order(payment: &Payment) -> Value {
    let mut shown = order_members(payment, payment.amount_minor, &payment.currency);
    let id_of = |movement: &Movement| movement.id.rsplit('/').next().unwrap_or_default().to_owned();
    let mut transactions = vec![transaction(payment, &id_of_first(payment), None)];
    let later = payment.movements.iter().filter(|movement| movement.id != payment.id);
    transactions.extend(later.map(|movement| transaction(payment, &id_of(movement), None)));
    shown["merchant"] = json!(MPGS_MERCHANT);
    shown["result"] = json!("SUCCESS");
    shown["transaction"] = Value::Array(transactions);
    shown
}

fn id_of_first(payment: &Payment) -> String {
    payment.id.rsplit('/').next().unwrap_or_default().to_owned()
}

fn order_members(payment: &Payment, minor: i64, currency: &str) -> Value {
    json!({
        "id": payment.reference, "amount": number(minor, currency), "currency": currency,
        "status": status(payment), "creationTime": payment.on.to_string(),
        "totalAuthorizedAmount": number(payment.authorised(), currency),
        "totalCapturedAmount": number(payment.captured(), currency),
        "totalRefundedAmount": number(payment.refunded(), currency),
    })
}

fn status(payment: &Payment) -> &'static str {
    match (payment.is_approved(), payment.captured(), payment.refunded()) {
        (false, ..) => "FAILED",
        _ if payment.is_voided() => "CANCELLED",
        (true, 0, _) => "AUTHORIZED",
        (true, captured, refunded) if refunded >= captured => "REFUNDED",
        (true, _, 1..) => "PARTIALLY_REFUNDED",
        (true, captured, _) if captured < payment.authorised() => "PARTIALLY_CAPTURED",
        _ => "CAPTURED",
    }
}

/// Amounts are JSON numbers with the currency's decimals.
fn number(minor: i64, currency: &str) -> Value {
    let text = decimal(DECIMALS.minor(minor, currency), currency);
    text.parse().ok().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

pub(super) fn card(card: &CardFacts) -> Value {
    json!({
        "number": format!("{}xxxxxx{}", card.first6, card.last4),
        "expiry": { "month": format!("{:02}", card.month), "year": format!("{:02}", card.year % 100) },
        "brand": card.brand.map(|brand| brand.title().to_ascii_uppercase()), "scheme": "OTHER",
    })
}

/// `result` and `response.gatewayCode`.
fn decision(payment: &Payment) -> (&'static str, &'static str) {
    match payment.ruling {
        Ruling::Approved | Ruling::Review => ("SUCCESS", "APPROVED"),
        Ruling::Partial => ("SUCCESS", "PARTIALLY_APPROVED"),
        Ruling::Pending if payment.is_told() => ("SUCCESS", "APPROVED"),
        Ruling::Pending => ("PENDING", "PENDING"),
        Ruling::WantsAuthentication => ("FAILURE", "AUTHENTICATION_REQUIRED"),
        Ruling::Declined(reason) => ("FAILURE", decline(reason)),
    }
}

fn decline(reason: Reason) -> &'static str {
    match reason {
        Reason::CardDeclined
        | Reason::DoNotHonor
        | Reason::IncorrectNumber
        | Reason::InvalidNumber
        | Reason::InvalidExpiryMonth
        | Reason::InvalidExpiryYear => "DECLINED",
        Reason::InsufficientFunds => "INSUFFICIENT_FUNDS",
        Reason::CardVelocityExceeded => "EXCEEDED_RETRY_LIMIT",
        Reason::ExpiredCard => "EXPIRED_CARD",
        Reason::IncorrectCvc | Reason::InvalidCvc => "DECLINED_CSC",
        Reason::LostCard | Reason::StolenCard => "DECLINED_DO_NOT_CONTACT",
        Reason::CallIssuer => "REFERRED",
        Reason::ProcessingError => "ACQUIRER_SYSTEM_ERROR",
        Reason::Fraudulent => "BLOCKED",
    }
}

fn security_code(check: Check) -> &'static str {
    match check {
        Check::Match => "MATCH",
        Check::Mismatch => "NO_MATCH",
        Check::NotChecked => "NOT_PRESENT",
    }
}

fn address(check: Check) -> &'static str {
    match check {
        Check::Match => "ADDRESS_ZIP_MATCH",
        Check::Mismatch => "NO_MATCH",
        Check::NotChecked => "NOT_REQUESTED",
    }
}
