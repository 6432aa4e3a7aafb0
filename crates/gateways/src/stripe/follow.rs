//! What follows a payment at Stripe, and undoing one whose answer was lost.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, Purpose, Unknown};
use hushpad_domain::money::Money;
use hushpad_domain::time::Timestamp;
use serde::Deserialize;

use super::question::{self, FIND, LOOK};
use super::reply::{Intent, Problem, is_id};
use super::{Stripe, UNITS, request};
use crate::amounts;
use crate::connector::{BuildError, Connector, ParsedFollowUp, ParsedQuery, ParsedReversal, Step};
use crate::order::{FollowUp, FollowUpKind};
use crate::wire::{Reply, WireBody, WireRequest};
use crate::wire_text::idempotency_key;

/// The steps of a follow-up. The one that does it; for a reverse, a look at the intent.
const FIRST: u8 = 0;
/// No money was taken: let go of it.
const CANCEL: u8 = 1;
/// Money was taken: give it back.
const GIVE_BACK: u8 = 2;
/// The same, of an attempt without an answer.
const CANCEL_UNKNOWN: u8 = 10;
const GIVE_BACK_UNKNOWN: u8 = 11;
/// Nothing was taken or held: it is cancelled so that it stays so.
const CANCEL_UNUSED: u8 = 12;

pub(super) fn build(
    stripe: &Stripe,
    step: &Step,
    follow_up: &FollowUp<'_>,
) -> Result<WireRequest, BuildError> {
    let intent = follow_up.answer_reference;
    if !is_id(intent) {
        return Err(BuildError::Unsupported);
    }
    let key = |name: &str| idempotency_key(follow_up.id.0, name);
    let path = |what: &str| format!("/v1/payment_intents/{intent}/{what}");
    match (follow_up.kind, step.no) {
        (FollowUpKind::Capture, _) => {
            let amount = amounts::minor(follow_up.amount, UNITS)?.to_string();
            let body = request::form(&[("amount_to_capture", &amount)])?;
            Ok(stripe.post(&path("capture"), key("capture"), body))
        }
        (FollowUpKind::Refund, _) => {
            let body = refund(intent, Some(follow_up.amount), &follow_up.id.to_string())?;
            Ok(stripe.post("/v1/refunds", key("refund"), body))
        }
        // Stripe takes the money of a sale at once: it can only be given back.
        (FollowUpKind::Void, FIRST) if follow_up.attempt.purpose == Purpose::Sale => {
            Err(BuildError::Unsupported)
        }
        (FollowUpKind::Void, _) | (FollowUpKind::Reverse, CANCEL) => Ok(stripe.post(
            &path("cancel"),
            key("cancel"),
            request::form(&[("cancellation_reason", "abandoned")])?,
        )),
        (FollowUpKind::Reverse, GIVE_BACK) => {
            let body = refund(intent, None, &follow_up.id.to_string())?;
            Ok(stripe.post("/v1/refunds", key("refund"), body))
        }
        (FollowUpKind::Reverse, _) => Ok(stripe.look(intent)),
    }
}

pub(super) fn read(step: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    if reply.status >= 500 {
        return ParsedFollowUp::Indeterminate(Unknown::GatewayError);
    }
    let intent = || {
        let intent = reply.json::<Intent>().filter(|_| reply.status == 200)?;
        (intent.is_of(follow_up.attempt) && intent.id == follow_up.answer_reference).then_some(intent)
    };
    match (follow_up.kind, step.no) {
        (FollowUpKind::Refund, _) | (FollowUpKind::Reverse, GIVE_BACK) => read_refund(follow_up, reply),
        (FollowUpKind::Reverse, FIRST) => match intent() {
            Some(intent) => match intent.status.as_str() {
                "canceled" => done(&intent),
                "succeeded" => ParsedFollowUp::Next(Step { no: GIVE_BACK, ids: Vec::new() }),
                "processing" => ParsedFollowUp::NotProcessed,
                _ => ParsedFollowUp::Next(Step { no: CANCEL, ids: Vec::new() }),
            },
            None => refused(reply),
        },
        (FollowUpKind::Capture, _) => match intent() {
            Some(intent) if intent.status == "succeeded" => done(&intent),
            Some(_) => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
            None => refused(reply),
        },
        (FollowUpKind::Void | FollowUpKind::Reverse, _) => match intent() {
            Some(intent) if intent.status == "canceled" => done(&intent),
            Some(_) => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
            None => refused(reply),
        },
    }
}

pub(super) fn build_reversal(
    stripe: &Stripe,
    step: &Step,
    attempt: &Attempt,
    now: Timestamp,
) -> Option<WireRequest> {
    match (step.no, step.ids.as_slice()) {
        (GIVE_BACK_UNKNOWN, [intent]) => {
            let body = refund(intent, None, &attempt.id.to_string()).ok()?;
            Some(stripe.post("/v1/refunds", idempotency_key(attempt.id.0, "reverse"), body))
        }
        (CANCEL_UNKNOWN | CANCEL_UNUSED, [intent]) => stripe.cancel(attempt, intent).ok(),
        _ => stripe.query(step, attempt, now),
    }
}

pub(super) fn read_reversal(step: &Step, attempt: &Attempt, reply: &Reply) -> ParsedReversal {
    let unreadable = ParsedReversal::Indeterminate(Unknown::Unreadable);
    match step.no {
        FIND => match question::read(step, attempt, reply) {
            ParsedQuery::Next(next) => ParsedReversal::Next(next),
            ParsedQuery::NotFound => ParsedReversal::NothingThere,
            ParsedQuery::Indeterminate(reason) => ParsedReversal::Indeterminate(reason),
            ParsedQuery::Found(_) => unreadable,
        },
        LOOK => match reply.json::<Intent>().filter(|intent| reply.status == 200 && intent.is_of(attempt)) {
            Some(intent) => match intent.status.as_str() {
                "canceled" => ParsedReversal::NothingThere,
                "succeeded" => ParsedReversal::Next(Step { no: GIVE_BACK_UNKNOWN, ids: vec![intent.id] }),
                "processing" => unreadable,
                "requires_payment_method" | "requires_confirmation" => {
                    ParsedReversal::Next(Step { no: CANCEL_UNUSED, ids: vec![intent.id] })
                }
                _ => ParsedReversal::Next(Step { no: CANCEL_UNKNOWN, ids: vec![intent.id] }),
            },
            None => unreadable,
        },
        CANCEL_UNKNOWN | CANCEL_UNUSED => match reply.json::<Intent>() {
            Some(intent) if reply.status == 200 && intent.is_of(attempt) && intent.status == "canceled" => {
                if step.no == CANCEL_UNUSED {
                    ParsedReversal::NothingThere
                } else {
                    ParsedReversal::Reversed
                }
            }
            _ => unreadable,
        },
        _ => match refund_state(reply) {
            Ok(refund) if refund.has_gone_through() => ParsedReversal::Reversed,
            Err(code) if code == "charge_already_refunded" => ParsedReversal::Reversed,
            _ => unreadable,
        },
    }
}

/// All that is left where no amount is given.
fn refund(intent: &str, amount: Option<Money>, reference: &str) -> Result<WireBody, BuildError> {
    let amount =
        amount.map(|amount| amounts::minor(amount, UNITS)).transpose()?.map(|minor| minor.to_string());
    let mut pairs = vec![("payment_intent", intent), ("metadata[ref]", reference)];
    pairs.extend(amount.as_deref().map(|amount| ("amount", amount)));
    request::form(&pairs)
}

fn read_refund(follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    match refund_state(reply) {
        Ok(refund) if refund.payment_intent.as_deref() != Some(follow_up.answer_reference) => {
            ParsedFollowUp::Indeterminate(Unknown::Unreadable)
        }
        Ok(refund) => {
            let named = [("refund", refund.id.as_str()), ("status", refund.status.as_str())];
            let result = named.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            match refund.status.as_str() {
                "succeeded" => ParsedFollowUp::Done { reference: refund.id, result },
                "pending" => ParsedFollowUp::Accepted { reference: refund.id, result },
                "failed" | "canceled" => ParsedFollowUp::Refused { reason: refund.status, result },
                _ => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
            }
        }
        Err(code) if code == "charge_already_refunded" && follow_up.kind == FollowUpKind::Reverse => {
            let result = BTreeMap::from([("code".to_owned(), code)]);
            ParsedFollowUp::Done { reference: follow_up.answer_reference.to_owned(), result }
        }
        Err(_) => refused(reply),
    }
}

fn refund_state(reply: &Reply) -> Result<Refund, String> {
    match reply.json::<Refund>() {
        Some(refund) if reply.status == 200 && refund.object == "refund" && is_id(&refund.id) => Ok(refund),
        _ => Err(reply.json::<Failure>().and_then(|failure| failure.error.code).unwrap_or_default()),
    }
}

fn done(intent: &Intent) -> ParsedFollowUp {
    let named = [("payment_intent", intent.id.as_str()), ("status", intent.status.as_str())];
    let result = named.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    ParsedFollowUp::Done { reference: intent.id.clone(), result }
}

/// Stripe said no, or that it did not even look.
fn refused(reply: &Reply) -> ParsedFollowUp {
    let code = reply.json::<Failure>().map(|failure| failure.error);
    match (reply.status, code) {
        (401 | 403, _) => ParsedFollowUp::NotProcessed,
        (429, Some(error)) if error.code.as_deref() == Some("rate_limit") => ParsedFollowUp::NotProcessed,
        (400 | 402 | 404, Some(error)) => {
            let reason = error.word();
            if reason.is_empty() {
                return ParsedFollowUp::Indeterminate(Unknown::Unreadable);
            }
            let result = BTreeMap::from([("code".to_owned(), reason.clone())]);
            ParsedFollowUp::Refused { reason, result }
        }
        _ => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
    }
}

#[derive(Deserialize)]
struct Failure {
    error: Problem,
}

#[derive(Deserialize)]
struct Refund {
    id: String,
    object: String,
    status: String,
    payment_intent: Option<String>,
}

impl Refund {
    fn has_gone_through(&self) -> bool {
        matches!(self.status.as_str(), "succeeded" | "pending")
    }
}
