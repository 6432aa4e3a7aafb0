//! What must hold at the end of every schedule.

use hushpad_domain::event::EventKind;
use hushpad_domain::operation::{OperationKind, OperationState};
use hushpad_domain::session::{Outcome, Session};

use super::gateway::Ledger;
use super::memory::Rows;

/// Everything that is wrong.
pub(crate) fn check(rows: &Rows, ledger: &Ledger, now: i64) -> Vec<String> {
    let mut wrong = ledger.violations.clone();
    for (id, entry) in &ledger.entries {
        if entry.requests > 1 {
            wrong.push(format!("{id} was sent {} times", entry.requests));
        }
        let known =
            rows.sessions.values().flat_map(|session| &session.attempts).any(|attempt| attempt.id == *id);
        if entry.net(now) > 0 && !known {
            wrong.push(format!("{id} was charged, and no session knows of it"));
        }
    }
    for session in rows.sessions.values() {
        check_session(session, rows, ledger, now, &mut wrong);
    }
    wrong
}

fn check_session(session: &Session, rows: &Rows, ledger: &Ledger, now: i64, wrong: &mut Vec<String>) {
    let mut say = |what: String| wrong.push(format!("session {}: {what}", session.guid));
    if !session.has_ended() {
        say(format!("it never ended: {}", session.state_name()));
    }
    let events = &rows.events[&session.guid];
    let ends = events.iter().filter(|event| matches!(event.kind, EventKind::Ended { .. })).count();
    if ends != usize::from(session.has_ended()) {
        say(format!("it ended {ends} times"));
    }
    if !events.iter().zip(1..).all(|(event, seq)| event.seq == seq) || events.len() != session.events as usize
    {
        say("its events have gaps".to_owned());
    }
    let net: i64 = session
        .attempts
        .iter()
        .filter_map(|attempt| ledger.entries.get(&attempt.id))
        .map(|entry| entry.net(now))
        .sum();
    let reported = matches!(session.outcome(), Outcome::Approved | Outcome::Review);
    let refunded: i64 = session.attempts.iter().map(|attempt| attempt.refunded_minor()).sum();
    let voided = session.attempts.iter().filter(|attempt| {
        attempt.operations.iter().any(|operation| {
            operation.kind == OperationKind::Void && matches!(operation.state, OperationState::Done { .. })
        })
    });
    let voided: i64 = voided.map(|attempt| attempt.authorised().map_or(0, |money| money.minor())).sum();
    let expected = if reported { session.amount().minor() - refunded - voided } else { 0 };
    if net != expected {
        say(format!(
            "{} is reported, {expected} expected, {net} in the ledger: {session:?}",
            session.outcome().word()
        ));
    }
    for attempt in &session.attempts {
        if attempt.is_open() || attempt.is_reversing() || attempt.open_operation().is_some() {
            say(format!("attempt {} is left open: {attempt:?}", attempt.no));
        }
        if let Some(entry) = ledger.entries.get(&attempt.id)
            && attempt.standing().is_some()
            && entry.captured
                != attempt
                    .operations
                    .iter()
                    .filter(|operation| {
                        operation.kind == OperationKind::Capture
                            && matches!(operation.state, OperationState::Done { .. })
                    })
                    .map(|operation| operation.amount.minor())
                    .sum::<i64>()
        {
            say(format!("attempt {}: captures differ from the ledger", attempt.no));
        }
    }
}
