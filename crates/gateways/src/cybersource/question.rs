//! What CyberSource's search says of an attempt or a follow-up.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, Purpose, Unknown};

use super::is_id;
use super::reply::Decision;
use super::search::{self, Summary};
use crate::connector::{ParsedFollowUp, ParsedQuery, Step};
use crate::order::{FollowUp, FollowUpKind};
use crate::wire::Reply;
use crate::wire_text::safe_id;

/// The step after the search: what the search only says is a part.
pub(super) const LOOK: u8 = 1;

/// A partial approval.
const PARTIAL: u16 = 110;

const UNREADABLE: ParsedQuery = ParsedQuery::Indeterminate(Unknown::Unreadable);

pub(super) fn read(attempt: &Attempt, reply: &Reply) -> ParsedQuery {
    if reply.status >= 500 {
        return ParsedQuery::Indeterminate(Unknown::GatewayError);
    }
    let Some((count, summaries)) = search::read(attempt.id.0, reply) else { return UNREADABLE };
    match (count, summaries.as_slice()) {
        (0, []) => ParsedQuery::NotFound,
        // A second one is a reversal, a refund or a mistake: the operator must look.
        (1, [summary]) => judge(summary, attempt).unwrap_or(UNREADABLE),
        _ => UNREADABLE,
    }
}

/// The part that was approved, of the transaction that the search has found.
pub(super) fn read_part(id: &str, attempt: &Attempt, reply: &Reply) -> ParsedQuery {
    if reply.status >= 500 {
        return ParsedQuery::Indeterminate(Unknown::GatewayError);
    }
    let Some(summary) = reply.json::<Summary>().filter(|_| reply.status == 200) else { return UNREADABLE };
    let is_same = summary.id == id && summary.is_of(attempt.id.0) && is_part(&summary, attempt);
    match summary.approved_part(attempt.amount).filter(|_| is_same) {
        Some(approved) => {
            ParsedQuery::Found(Decision::in_part(approved).answer(attempt, id.to_owned(), None))
        }
        None => UNREADABLE,
    }
}

pub(super) fn read_follow_up(follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    let unreadable = ParsedFollowUp::Indeterminate(Unknown::Unreadable);
    if reply.status >= 500 {
        return ParsedFollowUp::Indeterminate(Unknown::GatewayError);
    }
    let Some((count, summaries)) = search::read(follow_up.id.0, reply) else { return unreadable };
    if count == 0 && summaries.is_empty() {
        return ParsedFollowUp::NotProcessed;
    }
    let wanted: &[&str] = match follow_up.kind {
        FollowUpKind::Capture => &["ics_bill"],
        FollowUpKind::Refund => &["ics_credit"],
        FollowUpKind::Void | FollowUpKind::Reverse => &["ics_void", "ics_auth_reversal", "ics_credit"],
    };
    // The newest comes first; the first one done is what others refer to.
    let done = summaries.iter().rev().find(|summary| {
        summary.is_of(follow_up.id.0) && wanted.iter().any(|name| summary.reason(name) == Some(100))
    });
    match done.map(|summary| safe_id(&summary.id)).filter(|id| !id.is_empty()) {
        Some(reference) => ParsedFollowUp::Done {
            result: BTreeMap::from([("requestID".to_owned(), reference.clone())]),
            reference,
        },
        None => unreadable,
    }
}

/// A sale is an authorisation and a bill in one. `None` where it is not clear what happened.
fn judge(summary: &Summary, attempt: &Attempt) -> Option<ParsedQuery> {
    let id = Some(safe_id(&summary.id)).filter(|id| !id.is_empty())?;
    if summary.is_of(attempt.id.0) && is_part(summary, attempt) && is_id(&summary.id) {
        return Some(ParsedQuery::Next(Step { no: LOOK, ids: vec![id] }));
    }
    let named = attempt.purpose == Purpose::Tokenise || summary.has_amount(attempt.amount);
    if !summary.is_of(attempt.id.0) || !named || summary.has_application("reversal") {
        return None;
    }
    let decision = match (attempt.purpose, summary.reason("ics_auth")?, summary.reason("ics_bill")) {
        (Purpose::Sale, 100, Some(100)) | (Purpose::Authorise, 100, None) => Decision::of_code(100)?,
        // The card is kept, but its token is lost: nothing that we can use, and nothing was charged.
        (Purpose::Tokenise, 100, None) => return Some(ParsedQuery::NotFound),
        // Authorised, but not billed: an authorisation is held and no money was taken. Or billed, but only an
        // authorisation was asked for.
        (_, 100, _) => return None,
        (_, code, _) => Decision::of_code(code)?,
    };
    Some(ParsedQuery::Found(decision.answer(attempt, id, None)))
}

/// Whether less was approved than was asked for, and nothing of it was given back.
fn is_part(summary: &Summary, attempt: &Attempt) -> bool {
    attempt.purpose.holds_money()
        && summary.reason("ics_auth") == Some(PARTIAL)
        && !summary.has_application("reversal")
}
