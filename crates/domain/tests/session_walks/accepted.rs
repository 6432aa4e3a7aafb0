//! What a gateway has only accepted is not done: scripted lives of sessions at a gateway that tells later.

use super::*;

/// What a gateway tells of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum ToldAttempt {
    Approved(i64),
    Declined,
    Undoing(UndoingEnd),
}

pub(super) fn told_of(told: ToldAttempt) -> (Option<Money>, Told) {
    let attempt = |declined| Told::Attempt {
        declined,
        checks: Checks::default(),
        result: BTreeMap::new(),
        stored: None,
    };
    match told {
        ToldAttempt::Approved(minor) => (Some(pounds(minor)), attempt(None)),
        ToldAttempt::Declined => (Some(pounds(1_240)), attempt(Some(DeclineClass::OtherCard))),
        ToldAttempt::Undoing(end) => (None, Told::Reversal { end, reason: String::new() }),
    }
}

pub(super) fn notification(reference: Uuid, (amount, what): (Option<Money>, Told)) -> Notification {
    Notification {
        dedupe_key: "key".to_owned(),
        reference,
        gateway_reference: "psp-1".to_owned(),
        original_reference: None,
        amount,
        what,
    }
}

pub(super) fn hears(session: Session, told: &Notification, retry: Retry, at: Timestamp) -> Option<Change> {
    match session.told(&GatewayName("sandbox".into()), told, retry, at) {
        Heard::Change(change) => Some(*change),
        Heard::Known | Heard::NotYet | Heard::Odd(_) => None,
    }
}

/// What a gateway has only accepted is neither money given back nor a proof of anything.
pub(super) fn nothing_accepted_counts_as_done(before: &Session, after: &Session, events: &[Event]) -> bool {
    let settled = events.iter().any(|event| matches!(event.kind, EventKind::Settled { .. }));
    let accepted = |operation: &Operation| matches!(operation.state, OperationState::Accepted { .. });
    after.attempts.iter().all(|attempt| {
        let open = attempt.operations.iter().any(accepted);
        let reversing = attempt
            .operations
            .iter()
            .any(|operation| accepted(operation) && matches!(operation.kind, OperationKind::Reverse { .. }));
        let old = before.attempt(attempt.no);
        // No approval is taken while its undoing may be on its way; only the operator, who looked, may say so.
        let was_undone = old.is_some_and(|old| old.undoing().may_be_done());
        // What was undone stays undone.
        let gone = AttemptState::NotCharged { how: NotCharged::Undone };
        (!open || attempt.open_operation().is_some())
            && (!reversing || (attempt.is_reversing() && !attempt.is_given_back()))
            && (!was_undone || settled || attempt.standing().is_none())
            && old.is_none_or(|old| old.state != gone || attempt.state == gone)
    })
}

fn told(no: u16, what: ToldAttempt) -> Step {
    Step::Told(no, what, Retry::Possible)
}

fn accepted() -> Step {
    Step::OperationEnds(OperationEnd::Accepted("op-1".to_owned()), Retry::Possible)
}

fn unknown_and_being_undone() -> Session {
    let steps =
        [Step::Intend, Step::Unknown, Step::Undoing(Undoing::Asked), Step::Undoing(Undoing::Accepted)];
    walk(open().after, steps)
}

fn refuses(session: &Session, step: Step) {
    assert_eq!(take(session.clone(), step, Timestamp::from_micros(99)), None);
}

#[test]
fn an_unknown_whose_undoing_was_accepted_stays_unknown_until_that_is_known() {
    let session = unknown_and_being_undone();
    assert_eq!((session.state_name(), session.outcome()), ("Processing", Outcome::Unknown));
    // Neither a look that finds it, nor a notification that it was approved, nor another attempt.
    refuses(&session, Step::Resolve(Some(Verdict::Approved), Retry::Possible.into()));
    refuses(&session, told(1, ToldAttempt::Approved(1_240)));
    refuses(&session, Step::Intend);
    refuses(&session, Step::Cancel);

    let undone = walk(session.clone(), [told(1, ToldAttempt::Undoing(UndoingEnd::Done))]);
    assert_eq!((undone.state_name(), undone.outcome()), ("InProgress", Outcome::None));
    // The approval that was undone, told in the wrong order, is not given back a second time.
    refuses(&undone, told(1, ToldAttempt::Approved(1_240)));
    let paid = [Step::Intend, Step::Answer(Verdict::Approved, Check::Match, Retry::Possible.into())];
    assert_eq!(walk(undone, paid).outcome(), Outcome::Approved);

    let kept = [told(1, ToldAttempt::Undoing(UndoingEnd::Failed)), told(1, ToldAttempt::Approved(1_240))];
    assert_eq!(walk(session.clone(), kept).outcome(), Outcome::Approved);

    // It never arrived. What arrives after all is given back.
    let nothing = walk(session, [told(1, ToldAttempt::Undoing(UndoingEnd::NothingThere))]);
    assert_eq!(nothing.state_name(), "InProgress");
    // Undone all the same, and told last: nothing is given back a second time.
    let undone = walk(nothing.clone(), [told(1, ToldAttempt::Undoing(UndoingEnd::Done))]);
    refuses(&undone, told(1, ToldAttempt::Approved(1_240)));
    let late = walk(nothing, [told(1, ToldAttempt::Approved(1_240))]);
    let gone = walk(late.clone(), [told(1, ToldAttempt::Undoing(UndoingEnd::Done))]);
    assert!(gone.attempts[0].is_given_back());
    assert!(late.attempts[0].is_reversing());
    assert_eq!(late.outcome(), Outcome::None);
}

#[test]
fn an_operator_who_finds_the_undone_payment_gone_is_the_last_word() {
    let session = walk(unknown_and_being_undone(), [Step::Settle(1, false, Retry::Over)]);
    assert_eq!(session.outcome(), Outcome::None);
    refuses(&session, told(1, ToldAttempt::Approved(1_240)));
}

#[test]
fn a_reversal_that_was_accepted_is_not_done_and_may_fail() {
    let mismatch = Step::Answer(Verdict::Approved, Check::NoMatch, Retry::Possible.into());
    let session = walk(open().after, [Step::Intend, mismatch, accepted()]);
    assert_eq!((session.state_name(), session.outcome()), ("Processing", Outcome::None));
    assert!(session.attempts[0].is_reversing());
    refuses(&session, Step::Intend);
    refuses(&session, Step::ReverseAgain(1));

    let failed = walk(session.clone(), [Step::ToldOperation(1, 1, Some(false), Retry::Possible)]);
    assert_eq!(failed.state_name(), "Processing");
    assert_eq!(failed.attempts[0].operations[0].state, OperationState::failed("no"));
    // Taken up again, under a name of its own.
    let again = walk(failed, [Step::ReverseAgain(1), accepted()]);
    assert_ne!(again.attempts[0].operations[0].id, again.attempts[0].operations[1].id);
    let done = walk(again, [Step::ToldOperation(1, 2, Some(true), Retry::Possible)]);
    assert_eq!(done.state_name(), "InProgress");
    assert!(done.attempts[0].is_given_back());

    // Called done, and failed after all: it is given back again, and the session goes on as it went.
    let done = walk(session, [Step::ToldOperation(1, 1, Some(true), Retry::Over)]);
    let seen = (done.state_name(), done.outcome());
    assert_eq!(seen, ("Finished", Outcome::Declined));
    let failed = walk(done, [Step::ToldOperation(1, 1, None, Retry::Over)]);
    assert!(failed.attempts[0].is_reversing());
    assert_eq!((failed.state_name(), failed.outcome()), seen);
    let again =
        walk(failed, [Step::ReverseAgain(1), accepted(), Step::ToldOperation(1, 2, Some(true), Retry::Over)]);
    assert!(again.attempts[0].is_given_back());
}

#[test]
fn an_accepted_refund_counts_until_it_fails() {
    let session = walk(paid(Purpose::Sale), [Step::Operate(Asked::Refund, Some(1_000), None), accepted()]);
    assert_eq!(session.attempts[0].refunded_minor(), 1_000);
    assert_eq!(refused(&session, Asked::Refund, Some(100)), OperationRefused::OneIsOpen);
    let failed = walk(session.clone(), [Step::ToldOperation(1, 1, Some(false), Retry::Over)]);
    assert_eq!(failed.attempts[0].refunded_minor(), 0);
    // Told in the wrong order: it has failed all the same.
    let failed = walk(session, [Step::ToldOperation(1, 1, None, Retry::Over)]);
    refuses(&failed, Step::ToldOperation(1, 1, Some(true), Retry::Over));
    assert_eq!(failed.attempts[0].refunded_minor(), 0);
}

#[test]
fn a_late_failure_is_told_to_the_back_end() {
    let mut session = webhooks::open_with_webhook();
    for step in [
        Step::Intend,
        Step::Answer(Verdict::Approved, Check::Match, Retry::Possible.into()),
        Step::Operate(Asked::Refund, None, None),
    ] {
        session = take(session, step, Timestamp::from_micros(1)).unwrap().after;
    }
    let change = take(session, accepted(), Timestamp::from_micros(2)).unwrap();
    assert_eq!(change.delivery, None, "nothing is done yet");
    let told = Step::ToldOperation(1, 1, Some(true), Retry::Over);
    let change = take(change.after, told, Timestamp::from_micros(3)).unwrap();
    assert!(change.delivery.is_some());
    let change = take(change.after, Step::ToldOperation(1, 1, None, Retry::Over), Timestamp::from_micros(4));
    assert!(change.unwrap().delivery.is_some());
}

#[test]
fn a_pending_payment_ends_by_what_is_told_and_only_for_the_amount_that_was_asked_for() {
    let pending = Step::Answer(Verdict::Pending, Check::NotChecked, Retry::Possible.into());
    let session = walk(open().after, [Step::Intend, pending]);
    assert_eq!(session.outcome(), Outcome::Unknown);
    // More than was asked for is believed to be no approval of ours (G6).
    refuses(&session, told(1, ToldAttempt::Approved(1_241)));
    let part = walk(session.clone(), [told(1, ToldAttempt::Approved(1_000))]);
    assert!(part.attempts[0].is_reversing());
    let declined = walk(session.clone(), [told(1, ToldAttempt::Declined)]);
    assert_eq!(declined.state_name(), "InProgress");
    let approved = walk(session, [told(1, ToldAttempt::Approved(1_240))]);
    assert_eq!(approved.outcome(), Outcome::Approved);
    refuses(&approved, told(1, ToldAttempt::Approved(1_240)));
}

#[test]
fn what_is_told_before_its_own_answer_waits() {
    let session = walk(open().after, [Step::Intend]);
    let id = session.attempts[0].id.0;
    let approval = notification(id, told_of(ToldAttempt::Approved(1_240)));
    let heard = |session: Session| {
        session.told(&GatewayName("sandbox".into()), &approval, Retry::Over, Timestamp::from_micros(9))
    };
    assert_eq!(heard(session.clone()), Heard::NotYet);
    let answered = walk(session, [Step::Answer(Verdict::Approved, Check::Match, Retry::Over.into())]);
    assert_eq!(heard(answered.clone()), Heard::Known);
    // Another gateway's word of the same reference is none.
    let other = GatewayName("other".into());
    let odd = answered.told(&other, &approval, Retry::Over, Timestamp::from_micros(9));
    assert!(matches!(odd, Heard::Odd(_)));
}
