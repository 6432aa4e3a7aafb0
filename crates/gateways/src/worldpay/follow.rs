//! What Access Worldpay says of a payment when asked, and what its links do.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, DeclineClass, GatewayAnswer, Purpose, Unknown, Verdict};
use hushpad_domain::operation::{OperationKind, OperationState};
use serde::Deserialize;
use serde_json::json;

use super::UNITS;
use crate::amounts;
use crate::connector::{BuildError, ParsedFollowUp, ParsedQuery, ParsedReversal, Step};
use crate::order::{FollowUp, FollowUpKind};
use crate::wire::{Reply, WireBody};
use crate::wire_text::safe_id;

/// The steps of a follow-up. The links of the payment as it is now.
pub(super) const LOOK: u8 = 0;
/// The link.
const ACT: u8 = 1;
/// The link; the amount goes along.
const ACT_IN_PART: u8 = 2;

/// Longer links are not Worldpay's.
const PATH_CHARS_MAX: usize = 1_000;

/// What a body says of the amount: partial ones have one.
pub(super) fn body(step: &Step, follow_up: &FollowUp<'_>) -> Result<WireBody, BuildError> {
    if step.no != ACT_IN_PART {
        return Ok(WireBody::empty());
    }
    let amount = amounts::minor(follow_up.amount, UNITS)?;
    WireBody::json(&json!({
        "value": { "amount": amount, "currency": follow_up.amount.currency().code() },
        "reference": follow_up.id,
    }))
}

pub(super) fn read(step: &Step, follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    if reply.status >= 500 {
        return ParsedFollowUp::Indeterminate(Unknown::GatewayError);
    }
    match (step.no, reply.status) {
        (LOOK, 200) => match reply.json::<State>() {
            Some(state) => state.next(follow_up),
            None => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
        },
        (LOOK, _) => ParsedFollowUp::NotProcessed,
        (_, 200 | 202) => done(follow_up, "accepted"),
        (_, 401 | 403 | 429) => ParsedFollowUp::NotProcessed,
        (_, 400 | 404 | 409) => match reply.json::<Problem>() {
            Some(problem) => {
                let reason = safe_id(&problem.error_name);
                let result = BTreeMap::from([("errorName".to_owned(), reason.clone())]);
                ParsedFollowUp::Refused { reason, result }
            }
            None => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
        },
        _ => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
    }
}

/// The last event only says what came last: enough for what is done once, not for one of several captures or refunds.
pub(super) fn read_follow_up_query(follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    let unreadable = ParsedFollowUp::Indeterminate(Unknown::Unreadable);
    let Some(state) = reply.json::<State>().filter(|_| reply.status == 200) else { return unreadable };
    let event = state.event();
    match (follow_up.kind, &event) {
        // An earlier capture or refund has the same event: nobody but the operator can tell them apart.
        (FollowUpKind::Capture, Event::Settling | Event::Refunding)
            if another_is_done(follow_up, OperationKind::Capture) =>
        {
            unreadable
        }
        (FollowUpKind::Reverse, Event::Refunding) if another_is_done(follow_up, OperationKind::Refund) => {
            unreadable
        }
        (FollowUpKind::Capture, Event::Settling | Event::Refunding)
        | (FollowUpKind::Void | FollowUpKind::Reverse, Event::Cancelling)
        | (FollowUpKind::Reverse, Event::Refunding) => done(follow_up, "accepted"),
        (FollowUpKind::Capture | FollowUpKind::Void, Event::Authorized)
        | (FollowUpKind::Refund, Event::Authorized | Event::Settling)
        | (FollowUpKind::Reverse, Event::Authorized | Event::Settling) => ParsedFollowUp::NotProcessed,
        _ => unreadable,
    }
}

/// Whether the attempt has another operation of this kind that may have left the event.
fn another_is_done(follow_up: &FollowUp<'_>, kind: OperationKind) -> bool {
    follow_up.attempt.operations.iter().any(|other| {
        let never_was =
            matches!(other.state, OperationState::NotSent { .. } | OperationState::Refused { .. });
        other.id != follow_up.id && other.kind == kind && !never_was
    })
}

pub(super) fn read_query(attempt: &Attempt, reply: &Reply) -> ParsedQuery {
    let unreadable = ParsedQuery::Indeterminate(Unknown::Unreadable);
    let verdict = match (reply.status, reply.json::<State>()) {
        (500.., _) => return ParsedQuery::Indeterminate(Unknown::GatewayError),
        (404, _) if is_missing(reply) => return ParsedQuery::NotFound,
        (200, Some(state)) => match state.event() {
            Event::Authorized | Event::Settling => Verdict::Approved,
            Event::Refused => Verdict::Declined { class: DeclineClass::OtherCard },
            Event::Cancelling | Event::Refunding | Event::Other => return unreadable,
        },
        _ => return unreadable,
    };
    if attempt.purpose == Purpose::Tokenise {
        return unreadable;
    }
    let reference = attempt.id.to_string();
    let result = BTreeMap::from([("transactionReference".to_owned(), reference.clone())]);
    ParsedQuery::Found(GatewayAnswer::new(verdict, reference, result, None))
}

pub(super) fn read_reversal(step: &Step, reply: &Reply) -> ParsedReversal {
    let unreadable = ParsedReversal::Indeterminate(Unknown::Unreadable);
    match (step.no, reply.status) {
        (_, 500..) => ParsedReversal::Indeterminate(Unknown::GatewayError),
        (LOOK, 404) if is_missing(reply) => ParsedReversal::NothingThere,
        (LOOK, 200) => {
            let Some(state) = reply.json::<State>() else { return unreadable };
            match (state.event(), state.undo()) {
                (Event::Refused, _) => ParsedReversal::NothingThere,
                (Event::Cancelling | Event::Refunding, _) => ParsedReversal::Reversed,
                (_, Some(path)) => ParsedReversal::Next(Step { no: ACT, ids: vec![path] }),
                _ => unreadable,
            }
        }
        (ACT, 200 | 202) => ParsedReversal::Reversed,
        _ => unreadable,
    }
}

/// The payment as it is now. A newer version may say `cardPayments:` where this one says `payments:`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    last_event: String,
    #[serde(rename = "_links", default)]
    links: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    #[serde(default)]
    error_name: String,
}

enum Event {
    Authorized,
    Settling,
    Cancelling,
    Refunding,
    Refused,
    Other,
}

impl State {
    fn event(&self) -> Event {
        let name: String = self.last_event.chars().filter(char::is_ascii_alphabetic).collect();
        match name.to_ascii_lowercase().as_str() {
            "authorized" => Event::Authorized,
            "sentforsettlement" | "settled" | "settlementfailed" => Event::Settling,
            "sentforcancellation" | "cancelled" | "reversed" => Event::Cancelling,
            "sentforrefund" | "refunded" => Event::Refunding,
            "refused" | "error" | "expired" => Event::Refused,
            _ => Event::Other,
        }
    }

    /// The path of a link, on whatever host it is said to be.
    fn path(&self, name: &str) -> Option<String> {
        let ends = |rel: &str| rel.split_once(':').is_some_and(|(_, last)| last == name);
        let (_, link) = self.links.iter().find(|(rel, _)| ends(rel))?;
        let href = link.get("href")?.as_str()?;
        let path = match href.split_once("://") {
            Some((_, rest)) => &rest[rest.find('/')?..],
            None => href,
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~=%+".contains(&byte);
        let is_ours = path.starts_with("/payments/") && path.len() <= PATH_CHARS_MAX && !path.contains("..");
        (is_ours && path.bytes().all(is_plain)).then(|| path.to_owned())
    }

    fn undo(&self) -> Option<String> {
        ["reverse", "reversal", "cancel", "refund"].iter().find_map(|name| self.path(name))
    }

    fn next(&self, follow_up: &FollowUp<'_>) -> ParsedFollowUp {
        let whole = follow_up.amount == follow_up.attempt.amount;
        let act = |names: &[&str], no: u8| {
            let path = names.iter().find_map(|name| self.path(name));
            path.map(|path| ParsedFollowUp::Next(Step { no, ids: vec![path] }))
        };
        let next = match (follow_up.kind, whole) {
            (FollowUpKind::Capture, true) => act(&["settle"], ACT),
            (FollowUpKind::Capture, false) => act(&["partialSettle"], ACT_IN_PART),
            (FollowUpKind::Refund, true) => act(&["refund"], ACT),
            (FollowUpKind::Refund, false) => act(&["partialRefund"], ACT_IN_PART),
            (FollowUpKind::Void, _) => act(&["cancel", "reverse", "reversal"], ACT),
            (FollowUpKind::Reverse, _) => act(&["reverse", "reversal", "cancel", "refund"], ACT),
        };
        match (next, self.event()) {
            (Some(next), _) => next,
            (None, Event::Cancelling | Event::Refunding) if follow_up.kind == FollowUpKind::Reverse => {
                done(follow_up, "reversed")
            }
            // The events lag: the link may come.
            (None, _) => ParsedFollowUp::NotProcessed,
        }
    }
}

fn is_missing(reply: &Reply) -> bool {
    reply.json::<Problem>().is_some_and(|problem| !problem.error_name.is_empty())
}

fn done(follow_up: &FollowUp<'_>, status: &str) -> ParsedFollowUp {
    let result = BTreeMap::from([("status".to_owned(), status.to_owned())]);
    ParsedFollowUp::Done { reference: follow_up.id.to_string(), result }
}
