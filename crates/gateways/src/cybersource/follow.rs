//! What follows a payment at CyberSource, and undoing one whose answer was lost.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, Purpose, Unknown, Verdict};
use hushpad_domain::money::Money;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{PAYMENTS, UNITS, is_id, reference};
use crate::amounts;
use crate::connector::{BuildError, ParsedFollowUp, ParsedReversal, Step};
use crate::order::{FollowUp, FollowUpKind};
use crate::wire::Reply;
use crate::wire_text::{derived, safe_id};

/// The steps of a reverse (of the others there is one). Undo what was billed, or the authorisation.
const UNDO: u8 = 0;
/// What was billed is undone: let go of the authorisation too.
const RELEASE: u8 = 1;
/// It is too late to undo: give the money back.
const GIVE_BACK: u8 = 2;

/// Reasons that say that it is too late, or too early, for this way of giving money back.
const TOO_LATE: [&str; 3] =
    ["NOT_VOIDABLE", "TRANSACTION_ALREADY_SETTLED", "TRANSACTION_ALREADY_REVERSED_OR_SETTLED"];

/// Path and body of a step.
pub(super) fn request(step: &Step, follow_up: &FollowUp<'_>) -> Result<(String, Value), BuildError> {
    let payment = follow_up.answer_reference;
    // The capture is what took the money, where there was one.
    let taken = match follow_up.capture_reference {
        Some(capture) => format!("/pts/v2/captures/{capture}"),
        None => format!("{PAYMENTS}/{payment}"),
    };
    if !is_id(payment) || !follow_up.capture_reference.is_none_or(is_id) {
        return Err(BuildError::Unsupported);
    }
    // A sale that is held for review is not billed before the merchant has accepted it.
    let in_review = follow_up.attempt.answer().is_some_and(|answer| answer.verdict == Verdict::Review);
    let held_only = (follow_up.attempt.purpose == Purpose::Authorise || in_review)
        && follow_up.capture_reference.is_none();
    let reversal = || (format!("{PAYMENTS}/{payment}/reversals"), with_reversal(step, follow_up));
    Ok(match (follow_up.kind, step.no) {
        (FollowUpKind::Capture, _) => {
            (format!("{PAYMENTS}/{payment}/captures"), with_amount(step, follow_up)?)
        }
        (FollowUpKind::Refund, _) | (FollowUpKind::Reverse, GIVE_BACK) => {
            (format!("{taken}/refunds"), with_amount(step, follow_up)?)
        }
        (FollowUpKind::Void | FollowUpKind::Reverse, UNDO) if held_only => {
            let (path, body) = reversal();
            (path, body?)
        }
        (_, RELEASE) => {
            let (path, body) = reversal();
            (path, body?)
        }
        (FollowUpKind::Void | FollowUpKind::Reverse, _) => {
            (format!("{taken}/voids"), json!({ "clientReferenceInformation": names(step, follow_up) }))
        }
    })
}

pub(super) fn read(step: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    let answer = match Outcome::of(reply) {
        Ok(outcome) => outcome,
        Err(ended) => return ended,
    };
    let is_reverse = follow_up.kind == FollowUpKind::Reverse;
    let next = |no: u8, id: &str| ParsedFollowUp::Next(Step { no, ids: vec![id.to_owned()] });
    match answer {
        // The authorisation behind a sale stays until it is let go of.
        Outcome::Done { status: "VOIDED" | "CANCELLED", id }
            if step.no == UNDO && matches!(follow_up.kind, FollowUpKind::Void | FollowUpKind::Reverse) =>
        {
            next(RELEASE, &id)
        }
        Outcome::Done { status, id } => done(&id, status),
        // Whatever became of the authorisation: no money was taken, which is what counts.
        Outcome::Refused { .. } if step.no == RELEASE => match step.ids.first() {
            Some(id) => done(id, "VOIDED"),
            None => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
        },
        Outcome::Refused { reason } if is_reverse && reason == "AUTH_ALREADY_REVERSED" => {
            done(follow_up.answer_reference, "REVERSED")
        }
        Outcome::Refused { reason }
            if is_reverse && step.no == UNDO && TOO_LATE.contains(&reason.as_str()) =>
        {
            next(GIVE_BACK, "")
        }
        Outcome::Refused { reason } => {
            let result = BTreeMap::from([("reason".to_owned(), reason.clone())]);
            ParsedFollowUp::Refused { reason, result }
        }
    }
}

/// Path and body of a step that undoes an attempt by our reference: what was billed, then what was held.
pub(super) fn reversal_of_unknown(step: &Step, attempt: &Attempt) -> Option<(&'static str, Value)> {
    let code = reference(attempt.id.0);
    let names = json!({ "code": code, "transactionId": code });
    if step.no == UNDO && attempt.purpose == Purpose::Sale {
        return Some(("/pts/v2/voids/", json!({ "clientReferenceInformation": names })));
    }
    let total = amounts::decimal(attempt.amount, UNITS).ok()?;
    let details = json!({ "totalAmount": total, "currency": attempt.amount.currency().code() });
    let body = json!({
        "clientReferenceInformation": names,
        "reversalInformation": { "amountDetails": details, "reason": "no answer" },
        "orderInformation": { "amountDetails": details },
    });
    Some(("/pts/v2/reversals/", body))
}

pub(super) fn read_reversal_of_unknown(step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedReversal {
    let first_of_two = step.no == UNDO && attempt.purpose == Purpose::Sale;
    let release = |was_billed: bool| {
        let ids = if was_billed { vec!["voided".to_owned()] } else { Vec::new() };
        ParsedReversal::Next(Step { no: RELEASE, ids })
    };
    // Nothing of ours that could be undone; after a void it is enough that the void was done.
    let nothing = || match (first_of_two, step.ids.is_empty()) {
        (true, _) => release(false),
        (false, true) => ParsedReversal::NothingThere,
        (false, false) => ParsedReversal::Reversed,
    };
    // A bare 404 may be a wrong URL, and proves nothing.
    if reply.status == 404 && reply.json::<Answer>().is_some_and(|answer| answer.status.is_some()) {
        return nothing();
    }
    match Outcome::of(reply) {
        Ok(Outcome::Done { status: "VOIDED" | "CANCELLED", .. }) if first_of_two => release(true),
        Ok(Outcome::Done { status: "REVERSED", .. }) => ParsedReversal::Reversed,
        Ok(Outcome::Refused { reason }) if matches!(reason.as_str(), "MISSING_AUTH" | "NOT_FOUND") => {
            nothing()
        }
        Ok(Outcome::Refused { reason }) if reason == "AUTH_ALREADY_REVERSED" => ParsedReversal::Reversed,
        Err(ParsedFollowUp::Indeterminate(reason)) => ParsedReversal::Indeterminate(reason),
        _ => ParsedReversal::Indeterminate(Unknown::Unreadable),
    }
}

fn done(id: &str, status: &str) -> ParsedFollowUp {
    let named = [("requestID", id), ("status", status)];
    let result = named.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    ParsedFollowUp::Done { reference: id.to_owned(), result }
}

/// The same for every step, so that a search finds them all; the second must differ from step to step.
fn names(step: &Step, follow_up: &FollowUp<'_>) -> Value {
    let own = match step.no {
        UNDO => follow_up.id.0,
        later => derived(follow_up.id.0, &later.to_string()),
    };
    json!({ "code": reference(follow_up.id.0), "transactionId": reference(own) })
}

fn with_amount(step: &Step, follow_up: &FollowUp<'_>) -> Result<Value, BuildError> {
    Ok(json!({
        "clientReferenceInformation": names(step, follow_up),
        "orderInformation": { "amountDetails": details(follow_up.amount)? },
    }))
}

/// All that was authorised is let go of: of a partial approval that is the part.
fn with_reversal(step: &Step, follow_up: &FollowUp<'_>) -> Result<Value, BuildError> {
    let held = follow_up.attempt.authorised().unwrap_or(follow_up.attempt.amount);
    Ok(json!({
        "clientReferenceInformation": names(step, follow_up),
        "reversalInformation": { "amountDetails": details(held)?, "reason": "given back" },
    }))
}

fn details(amount: Money) -> Result<Value, BuildError> {
    let total = amounts::decimal(amount, UNITS)?;
    Ok(json!({ "totalAmount": total, "currency": amount.currency().code() }))
}

/// What a reply to any of these says.
enum Outcome {
    Done { status: &'static str, id: String },
    Refused { reason: String },
}

impl Outcome {
    fn of(reply: &Reply) -> Result<Self, ParsedFollowUp> {
        if reply.status >= 500 {
            return Err(ParsedFollowUp::Indeterminate(Unknown::GatewayError));
        }
        let answer = reply.json::<Answer>();
        let status = answer.as_ref().and_then(|answer| answer.status.as_deref());
        let unreadable = ParsedFollowUp::Indeterminate(Unknown::Unreadable);
        match (reply.status, status) {
            (401 | 403 | 429, None) => Err(ParsedFollowUp::NotProcessed),
            (201, Some(status)) => {
                let done = ["PENDING", "TRANSMITTED", "VOIDED", "CANCELLED", "REVERSED"];
                let id =
                    answer.as_ref().and_then(|answer| answer.id.as_deref()).map(safe_id).unwrap_or_default();
                match done.into_iter().find(|word| *word == status) {
                    Some(status) if !id.is_empty() => Ok(Self::Done { status, id }),
                    None if matches!(status, "DECLINED" | "FAILED" | "INVALID_REQUEST") => {
                        Ok(Self::Refused { reason: answer.map(|answer| answer.why()).unwrap_or_default() })
                    }
                    _ => Err(unreadable),
                }
            }
            (400 | 404, Some("INVALID_REQUEST" | "NOT_FOUND")) => {
                let reason = answer.map(|answer| answer.why()).unwrap_or_default();
                // The first one of the same name may have been done.
                if reason == "DUPLICATE_REQUEST" { Err(unreadable) } else { Ok(Self::Refused { reason }) }
            }
            _ => Err(unreadable),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    id: Option<String>,
    status: Option<String>,
    reason: Option<String>,
    error_information: Option<ErrorInformation>,
}

#[derive(Deserialize)]
struct ErrorInformation {
    reason: Option<String>,
}

impl Answer {
    fn why(self) -> String {
        let inner = self.error_information.and_then(|information| information.reason);
        safe_id(&inner.or(self.reason).or(self.status).unwrap_or_default())
    }
}
