//! What follows a payment at MPGS, and undoing one whose answer was lost.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, Purpose, Unknown};
use hushpad_domain::money::Money;
use serde_json::{Value, json};

use super::FIRST;
use super::reply::Answer;
use super::request::UNITS;
use crate::amounts;
use crate::connector::{BuildError, ParsedFollowUp, ParsedReversal, Step};
use crate::order::{FollowUp, FollowUpKind};
use crate::wire::Reply;
use crate::wire_text::{derived, safe_id};

/// The steps of a reverse (of the others there is one). Void what was taken or held.
const UNDO: u8 = 0;
/// It is too late to void: refund.
const GIVE_BACK: u8 = 1;

/// The name of a step's transaction.
pub(super) fn transaction(step: &Step, follow_up: &FollowUp<'_>) -> String {
    match step.no {
        UNDO => follow_up.id.to_string(),
        _ => derived(follow_up.id.0, "refund").to_string(),
    }
}

/// The transaction's name and the body of a step.
pub(super) fn request(step: &Step, follow_up: &FollowUp<'_>) -> Result<(String, Value), BuildError> {
    // The name of a capture is ours: its operation's id.
    let target = follow_up.capture_reference.unwrap_or(FIRST);
    let body = match (follow_up.kind, step.no) {
        (FollowUpKind::Capture, _) => with_amount("CAPTURE", follow_up.amount)?,
        (FollowUpKind::Refund, _) | (FollowUpKind::Reverse, GIVE_BACK) => {
            with_amount("REFUND", follow_up.amount)?
        }
        (FollowUpKind::Void | FollowUpKind::Reverse, _) => void(target),
    };
    Ok((transaction(step, follow_up), body))
}

pub(super) fn read(step: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    let said = outcome(follow_up.attempt, &transaction(step, follow_up), reply);
    let took_money = follow_up.attempt.purpose == Purpose::Sale || follow_up.capture_reference.is_some();
    match said {
        ParsedFollowUp::Refused { .. }
            if follow_up.kind == FollowUpKind::Reverse && step.no == UNDO && took_money =>
        {
            ParsedFollowUp::Next(Step { no: GIVE_BACK, ids: Vec::new() })
        }
        said => said,
    }
}

/// A reverse is asked for by both its names.
pub(super) fn read_query(step: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    let missing = reply.json::<Answer>().is_some_and(|answer| answer.is_missing(reply.status));
    let failed = || {
        matches!(
            outcome(follow_up.attempt, &transaction(step, follow_up), reply),
            ParsedFollowUp::Refused { .. }
        )
    };
    if follow_up.kind == FollowUpKind::Reverse && step.no == UNDO && (missing || failed()) {
        return ParsedFollowUp::Next(Step { no: GIVE_BACK, ids: Vec::new() });
    }
    if missing {
        return ParsedFollowUp::NotProcessed;
    }
    outcome(follow_up.attempt, &transaction(step, follow_up), reply)
}

/// The transaction's name and the body of a step that undoes an attempt by our names.
pub(super) fn reversal_of_unknown(step: &Step, attempt: &Attempt) -> Option<(String, Value)> {
    let name = |purpose: &str| derived(attempt.id.0, purpose).to_string();
    match step.no {
        UNDO => Some((name("void"), void(FIRST))),
        _ => Some((name("refund"), with_amount("REFUND", attempt.amount).ok()?)),
    }
}

pub(super) fn read_reversal_of_unknown(step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedReversal {
    let Some((name, _)) = reversal_of_unknown(step, attempt) else {
        return ParsedReversal::Indeterminate(Unknown::Unreadable);
    };
    if reply.json::<Answer>().is_some_and(|answer| answer.is_missing(reply.status)) {
        return ParsedReversal::NothingThere;
    }
    match (outcome(attempt, &name, reply), step.no) {
        (ParsedFollowUp::Done { .. }, _) => ParsedReversal::Reversed,
        (ParsedFollowUp::Refused { .. }, UNDO) if attempt.purpose == Purpose::Sale => {
            ParsedReversal::Next(Step { no: GIVE_BACK, ids: Vec::new() })
        }
        (ParsedFollowUp::Indeterminate(reason), _) => ParsedReversal::Indeterminate(reason),
        _ => ParsedReversal::Indeterminate(Unknown::Unreadable),
    }
}

fn void(target: &str) -> Value {
    json!({ "apiOperation": "VOID", "transaction": { "targetTransactionId": target } })
}

fn with_amount(operation: &str, amount: Money) -> Result<Value, BuildError> {
    let text = amounts::decimal(amount, UNITS)?;
    let currency = amount.currency().code();
    Ok(json!({ "apiOperation": operation, "transaction": { "amount": text, "currency": currency } }))
}

fn outcome(attempt: &Attempt, name: &str, reply: &Reply) -> ParsedFollowUp {
    let unreadable = ParsedFollowUp::Indeterminate(Unknown::Unreadable);
    if reply.status >= 500 {
        return ParsedFollowUp::Indeterminate(Unknown::GatewayError);
    }
    let Some(answer) = reply.json::<Answer>() else {
        let refused = matches!(reply.status, 401 | 403 | 429);
        return if refused { ParsedFollowUp::NotProcessed } else { unreadable };
    };
    let code = safe_id(answer.gateway_code());
    let named = |code: &str| BTreeMap::from([("response.gatewayCode".to_owned(), code.to_owned())]);
    let cause = answer.error.as_ref().and_then(|error| error.cause.as_deref());
    match (reply.status, answer.result.as_deref(), cause) {
        (200 | 201, Some("SUCCESS"), None) if answer.is_of(attempt, name) && code.starts_with("APPROVED") => {
            ParsedFollowUp::Done { reference: name.to_owned(), result: named(&code) }
        }
        (200 | 201, Some("FAILURE"), None)
            if answer.is_of(attempt, name) && !matches!(code.as_str(), "" | "TIMED_OUT" | "UNKNOWN") =>
        {
            ParsedFollowUp::Refused { result: named(&code), reason: code }
        }
        (400..=499, _, Some("SERVER_BUSY")) => ParsedFollowUp::NotProcessed,
        (400..=499, _, Some(cause @ ("INVALID_REQUEST" | "REQUEST_REJECTED"))) => {
            let result = BTreeMap::from([("error.cause".to_owned(), cause.to_owned())]);
            ParsedFollowUp::Refused { reason: cause.to_owned(), result }
        }
        _ => unreadable,
    }
}
