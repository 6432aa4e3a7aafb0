//! CyberSource REST. No replay protection: a reference that comes again within 15 minutes is a duplicate, after
//! that it is charged again.

mod auth;
mod follow;
mod payments;
mod search;
mod tokens;

use hushpad_domain::time::Timestamp;
use serde_json::{Value, json};

use super::http::Reply;
use super::issuer::Reason;
use super::ledger::payment::Payment;
use super::magic::Ruling;
use super::turn::{Stop, Turn};

/// The merchant.
pub const CYBERSOURCE_MERCHANT: &str = "sandbox_merchant";
/// The id of the shared secret.
pub const CYBERSOURCE_KEY_ID: &str = "sandbox-key";
/// The shared secret, in base64.
pub const CYBERSOURCE_SECRET: &str = "aHVzaHBhZC1zYW5kYm94LXNoYXJlZC1zZWNyZXQtMzI=";

pub(super) fn answer(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    if auth::verify(turn.ask, turn.now).is_none() {
        return Ok(Reply::json(401, &json!({ "response": { "rmsg": "Authentication Failed" } })));
    }
    let ask = turn.ask;
    let parts = ask.parts();
    match (ask.is_post(), parts.as_slice()) {
        (true, ["pts", "v2", "payments"]) => payments::pay(turn),
        (true, ["pts", "v2", "payments", id, "captures"]) => follow::capture(turn, id),
        (true, ["pts", "v2", "payments", id, "reversals"]) => follow::reverse(turn, id),
        (true, ["pts", "v2", "payments" | "captures", id, "refunds"]) => follow::refund(turn, id),
        (true, ["pts", "v2", "payments" | "captures" | "refunds", id, "voids"]) => follow::void(turn, id),
        (true, ["pts", "v2", what @ ("reversals" | "voids")]) => follow::by_transaction_id(turn, what),
        (true, ["tss", "v2", "searches"]) => search::search(turn),
        (false, ["tss", "v2", "transactions", id]) => search::transaction(turn, id),
        (true, ["tms", "v1", "instrumentidentifiers"]) => tokens::instrument_identifier(turn),
        _ => Ok(not_found(turn.now)),
    }
}

pub(super) fn trouble(status: u16) -> Reply {
    let (status, word, reason) = match status {
        429 => (429, "INVALID_REQUEST", "TOO_MANY_REQUESTS"),
        503 => (503, "SERVER_ERROR", "SERVICE_UNAVAILABLE"),
        // Its own word for "something broke" comes with 502.
        _ => (502, "SERVER_ERROR", "SYSTEM_ERROR"),
    };
    Reply::json(
        status,
        &json!({ "status": word, "reason": reason, "message": "Error - General system failure." }),
    )
}

/// A request that was refused before the issuer was asked.
fn invalid(now: Timestamp, reason: &str, field: Option<&str>) -> Reply {
    let details: Vec<Value> = field
        .map(|field| json!({ "field": field, "reason": if reason == "MISSING_FIELD" { reason } else { "INVALID_DATA" } }))
        .into_iter()
        .collect();
    let message = "Declined - One or more fields in the request contains invalid data.";
    let body = json!({
        "submitTimeUtc": seconds(now), "status": "INVALID_REQUEST", "reason": reason, "message": message,
        "details": details,
    });
    Reply::json(400, &body)
}

fn not_found(now: Timestamp) -> Reply {
    let body = json!({
        "submitTimeUtc": seconds(now), "status": "NOT_FOUND", "reason": "NOT_FOUND",
        "message": "The requested resource does not exist.",
    });
    Reply::json(404, &body)
}

/// A moment as CyberSource writes it: whole seconds.
fn seconds(moment: Timestamp) -> String {
    let text = moment.to_string();
    format!("{}Z", text.get(..19).unwrap_or_default())
}

/// What a payment came to, in CyberSource's words.
struct Outcome {
    status: &'static str,
    reason: Option<&'static str>,
    /// The reason code of the search.
    code: u16,
}

/// Only what was not to be ignored makes a mismatch a decline; the authorisation is held all the same.
fn outcome(payment: &Payment) -> Outcome {
    let says = |status, reason, code| Outcome { status, reason, code };
    let fails = |name: &str| payment.kept.get("failed").is_some_and(|failed| failed == name);
    match payment.ruling {
        _ if fails("CV_FAILED") => says("DECLINED", Some("CV_FAILED"), 230),
        _ if fails("AVS_FAILED") => says("DECLINED", Some("AVS_FAILED"), 200),
        Ruling::Approved => says("AUTHORIZED", None, 100),
        Ruling::Partial => says("PARTIAL_AUTHORIZED", None, 110),
        Ruling::Review => says("AUTHORIZED_PENDING_REVIEW", Some("DECISION_PROFILE_REVIEW"), 480),
        Ruling::Pending if payment.is_told() => says("AUTHORIZED", None, 100),
        Ruling::Pending => says("PENDING", None, 150),
        Ruling::WantsAuthentication => {
            says("PENDING_AUTHENTICATION", Some("CONSUMER_AUTHENTICATION_REQUIRED"), 475)
        }
        Ruling::Declined(reason) => {
            let (word, code) = decline(reason);
            says("DECLINED", Some(word), code)
        }
    }
}

fn decline(reason: Reason) -> (&'static str, u16) {
    match reason {
        Reason::CardDeclined => ("PROCESSOR_DECLINED", 203),
        Reason::InsufficientFunds => ("INSUFFICIENT_FUND", 204),
        Reason::CardVelocityExceeded => ("EXCEEDS_CREDIT_LIMIT", 210),
        Reason::ExpiredCard => ("EXPIRED_CARD", 202),
        Reason::IncorrectCvc => ("CVN_NOT_MATCH", 209),
        Reason::InvalidCvc => ("INVALID_CVN", 211),
        Reason::IncorrectNumber | Reason::InvalidNumber => ("INVALID_ACCOUNT", 231),
        Reason::InvalidExpiryMonth | Reason::InvalidExpiryYear => ("INVALID_DATA", 102),
        Reason::LostCard | Reason::StolenCard => ("STOLEN_LOST_CARD", 205),
        Reason::CallIssuer => ("CONTACT_PROCESSOR", 201),
        Reason::DoNotHonor => ("GENERAL_DECLINE", 233),
        Reason::ProcessingError => ("ISSUER_UNAVAILABLE", 207),
        Reason::Fraudulent => ("DECISION_PROFILE_REJECT", 481),
    }
}
