//! Random walks through the life of a session: whatever happens in whatever order, the rules hold.

use std::collections::BTreeMap;

use hushpad_domain::acceptance::Acceptance;
use hushpad_domain::attempt::{
    Attempt, AttemptState, Check, Checks, DeclineClass, GatewayAnswer, NotCharged, NotSent, Purpose, Undoing,
    Unknown, Verdict,
};
use hushpad_domain::challenge::{Challenge, VISITS_MAX};
use hushpad_domain::change::Change;
use hushpad_domain::event::{Event, EventKind};
use hushpad_domain::field::Field;
use hushpad_domain::ids::{
    AccountId, AgentId, AttemptId, AttemptNo, CallGuid, ConfigurationId, GatewayName, OperationId,
    ProviderSessionGuid, SessionGuid,
};
use hushpad_domain::link::{LINKS_MAX, LinkState};
use hushpad_domain::money::{Currency, Money};
use hushpad_domain::notification::{Notification, Told, UndoingEnd};
use hushpad_domain::operation::{
    Asked, Operation, OperationKind, OperationNo, OperationRefused, OperationState,
};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::session::{
    Finding, Heard, NewSession, OperationEnd, OperationRequest, Outcome, Retry, Session, Terms,
};
use hushpad_domain::time::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

#[path = "session_walks/accepted.rs"]
mod accepted;
#[path = "session_walks/links.rs"]
mod links;
#[path = "session_walks/webhooks.rs"]
mod webhooks;

use accepted::{ToldAttempt, hears, nothing_accepted_counts_as_done, notification, told_of};

#[derive(Clone, Debug)]
enum Step {
    Begin,
    /// With the purpose of the walk.
    Intend,
    Answer(Verdict, Check, Terms),
    NotSent(Retry),
    Unknown,
    Challenge,
    Return(u16),
    UndoReturn(u16),
    Abandon(u16),
    Resolve(Option<Verdict>, Terms),
    Late(u16, Verdict),
    Settle(u16, bool, Retry),
    Operate(Asked, Option<i64>, Option<u16>),
    OperationEnds(OperationEnd, Retry),
    ReverseAgain(u16),
    Undoing(Undoing),
    /// About an attempt.
    Told(u16, ToldAttempt, Retry),
    /// About an operation: whether it was done, failed at once, or failed later.
    ToldOperation(u16, u16, Option<bool>, Retry),
    Cancel,
    TimeOut,
    Fail,
    IssueLink,
    OpenLink,
    RevokeLink,
    TakeByKeypad(Option<CallGuid>),
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        3 => Just(Verdict::Approved),
        1 => Just(Verdict::Review),
        1 => Just(Verdict::Pending),
        2 => (1_i64..1_500).prop_map(|minor| Verdict::Partial { approved: pounds(minor) }),
        1 => Just(Verdict::Declined { class: DeclineClass::OtherCard }),
        1 => Just(Verdict::Declined { class: DeclineClass::Rekey(Field::Expiry) }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let retry = || prop_oneof![3 => Just(Retry::Possible), 1 => Just(Retry::Over)];
    let terms = || {
        (retry(), prop::bool::ANY).prop_map(|(retry, split)| Terms {
            retry,
            acceptance: Acceptance { split, ..Acceptance::default() },
        })
    };
    let check = prop_oneof![3 => Just(Check::Match), 1 => Just(Check::NoMatch)];
    let asked = prop_oneof![Just(Asked::Capture), Just(Asked::Void), Just(Asked::Refund)];
    let ends = prop_oneof![
        4 => Just(OperationEnd::Done("op-1".to_owned())),
        1 => Just(OperationEnd::Refused("no".to_owned())),
        1 => Just(OperationEnd::NotSent(NotSent::Unreachable)),
        1 => Just(OperationEnd::Unknown(Unknown::TimedOut)),
        2 => Just(OperationEnd::Accepted("op-1".to_owned())),
    ];
    let no = || 1_u16..4;
    let undoing = prop_oneof![Just(Undoing::Asked), Just(Undoing::Accepted), Just(Undoing::Failed)];
    let told = prop_oneof![
        Just(ToldAttempt::Approved(1_240)),
        (1_i64..1_500).prop_map(ToldAttempt::Approved),
        Just(ToldAttempt::Declined),
        Just(ToldAttempt::Undoing(UndoingEnd::Done)),
        Just(ToldAttempt::Undoing(UndoingEnd::NothingThere)),
        Just(ToldAttempt::Undoing(UndoingEnd::Failed)),
    ];
    let of_operation = prop::option::of(prop::bool::ANY);
    prop_oneof![
        1 => Just(Step::Begin),
        6 => Just(Step::Intend),
        4 => (verdicts(), check, terms()).prop_map(|(verdict, code, terms)| Step::Answer(verdict, code, terms)),
        1 => retry().prop_map(Step::NotSent),
        2 => Just(Step::Unknown),
        4 => Just(Step::Challenge),
        3 => no().prop_map(Step::Return),
        1 => no().prop_map(Step::UndoReturn),
        1 => no().prop_map(Step::Abandon),
        2 => (prop::option::of(verdicts()), terms()).prop_map(|(verdict, terms)| Step::Resolve(verdict, terms)),
        2 => (no(), verdicts()).prop_map(|(no, verdict)| Step::Late(no, verdict)),
        1 => (no(), prop::bool::ANY, retry()).prop_map(|(no, charged, retry)| Step::Settle(no, charged, retry)),
        8 => (asked, prop::option::of(1_i64..1_400), prop::option::of(no()))
            .prop_map(|(asked, amount, attempt)| Step::Operate(asked, amount, attempt)),
        8 => (ends, retry()).prop_map(|(end, retry)| Step::OperationEnds(end, retry)),
        1 => no().prop_map(Step::ReverseAgain),
        3 => undoing.prop_map(Step::Undoing),
        4 => (no(), told, retry()).prop_map(|(no, told, retry)| Step::Told(no, told, retry)),
        4 => (no(), no(), of_operation, retry())
            .prop_map(|(attempt, no, done, retry)| Step::ToldOperation(attempt, no, done, retry)),
        1 => Just(Step::Cancel),
        1 => Just(Step::TimeOut),
        1 => Just(Step::Fail),
        2 => Just(Step::IssueLink),
        2 => Just(Step::OpenLink),
        1 => Just(Step::RevokeLink),
        2 => prop::option::of(Just(CallGuid(Uuid::from_u128(3)))).prop_map(Step::TakeByKeypad),
    ]
}

fn pounds(minor: i64) -> Money {
    Money::from_minor(minor, Currency::from_code("GBP").expect("GBP is a currency"))
        .expect("more than nothing")
}

fn answer(verdict: Verdict, security_code: Check) -> GatewayAnswer {
    let mut answer = GatewayAnswer::new(verdict, "ch_1".into(), BTreeMap::new(), None);
    answer.checks.security_code = security_code;
    answer
}

fn new() -> NewSession {
    let values = [("Amount", "12.40"), ("Currency", "GBP")];
    let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
    NewSession {
        guid: SessionGuid(Uuid::from_u128(1)),
        provider: ProviderSessionGuid(Uuid::from_u128(2)),
        account: AccountId("acme".into()),
        configuration: ConfigurationId(0),
        agent: AgentId("agent1234".into()),
        call: None,
        payment_data: PaymentData::new(BTreeMap::from(values)).expect("12.40 GBP is money"),
        webhook: false,
    }
}

fn open() -> Change {
    Session::open(new(), Timestamp::from_micros(0))
}

fn open_by_link() -> Change {
    Session::open_by_link(new(), Timestamp::from_micros(i64::MAX), Timestamp::from_micros(0))
}

fn take(session: Session, step: Step, at: Timestamp) -> Option<Change> {
    take_for(Purpose::Sale, session, step, at)
}

fn take_for(purpose: Purpose, session: Session, step: Step, at: Timestamp) -> Option<Change> {
    let gateway = || GatewayName("sandbox".into());
    // Ids of these walks: one per attempt, one per operation.
    let next = u128::from(session.events) + 10;
    match step {
        Step::Begin => session.begin(at).ok(),
        Step::Intend => session.intend(AttemptId(Uuid::from_u128(next)), gateway(), purpose, at).ok(),
        Step::Answer(verdict, code, terms) => session.answered(answer(verdict, code), terms, at).ok(),
        Step::NotSent(retry) => session.not_sent(NotSent::Unreachable, retry, at).ok(),
        Step::Unknown => session.unknown(Unknown::TimedOut, at).ok(),
        Step::Challenge => session.challenged(challenge(), None, Timestamp::from_micros(1_000), at).ok(),
        Step::Return(no) => session.challenge_returned(AttemptNo(no), at).ok(),
        Step::UndoReturn(no) => session.challenge_return_undone(AttemptNo(no), at).ok(),
        Step::Abandon(no) => session.challenge_abandoned(AttemptNo(no), at).ok(),
        Step::Resolve(verdict, terms) => session.resolved(finding(verdict), terms, at).ok(),
        Step::Late(no, verdict) => {
            session.late_success(AttemptNo(no), answer(verdict, Check::NotChecked), at).ok()
        }
        Step::Settle(no, charged, retry) => {
            let found = finding(charged.then_some(Verdict::Approved));
            session.settled(AttemptNo(no), found, "ticket 7", retry, at).ok()
        }
        Step::Operate(asked, amount, attempt) => {
            let (id, amount) = (OperationId(Uuid::from_u128(next)), amount.map(pounds));
            let request = OperationRequest { id, asked, amount, attempt: attempt.map(AttemptNo) };
            session.operate(request, at).ok()
        }
        Step::OperationEnds(end, retry) => {
            let (attempt, no) =
                session.open_operations().next().map(|(attempt, operation)| (attempt.no, operation.no))?;
            session.operation_ended(attempt, no, end, retry, at).ok()
        }
        Step::ReverseAgain(no) => session.reverse_again(AttemptNo(no), at).ok(),
        Step::Undoing(undoing) => session.undoing(undoing, at).ok(),
        Step::Told(no, told, retry) => {
            let id = session.attempt(AttemptNo(no))?.id.0;
            hears(session, &notification(id, told_of(told)), retry, at)
        }
        Step::ToldOperation(no, operation, done, retry) => {
            let attempt = session.attempt(AttemptNo(no))?;
            let id = attempt.operation(OperationNo(operation))?.id.0;
            let what = match done {
                Some(done) => Told::FollowUp { done, reason: "no".to_owned() },
                None => Told::FailedLater { event: "REFUND_FAILED".to_owned() },
            };
            hears(session, &notification(id, (None, what)), retry, at)
        }
        Step::Cancel => session.cancel(at).ok(),
        Step::TimeOut => session.time_out(at).ok(),
        Step::Fail => session.fail(at).ok(),
        Step::IssueLink => session.issue_link(Timestamp::from_micros(i64::MAX), at).ok(),
        Step::OpenLink => session.open_link(at).ok(),
        Step::RevokeLink => session.revoke_link(at).ok(),
        Step::TakeByKeypad(call) => session.take_by_keypad(AgentId("other".into()), call, at).ok(),
    }
}

fn challenge() -> Challenge {
    let fields = vec![("creq".to_owned(), "abc".to_owned())];
    Challenge::new("https://acs.example/".to_owned(), fields, vec!["pi_1".to_owned()]).expect("a challenge")
}

fn finding(verdict: Option<Verdict>) -> Finding {
    verdict.map_or(Finding::NotCharged, |verdict| Finding::Answer(answer(verdict, Check::NotChecked)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_on_every_walk(
        purpose in prop::sample::select(Purpose::ALL.to_vec()),
        by_link in prop::bool::ANY,
        walk in prop::collection::vec(steps(), 0..60),
    ) {
        let opened = if by_link { open_by_link() } else { open() };
        let mut session = opened.after;
        let mut events = opened.events;
        for (moment, step) in walk.into_iter().enumerate() {
            let at = Timestamp::from_micros(moment as i64 + 1);
            let before = session.clone();
            let Some(change) = take_for(purpose, session.clone(), step, at) else { continue };
            prop_assert_eq!(change.before, Some(before.version));
            prop_assert_eq!(change.after.version, before.version + 1);
            if before.has_ended() {
                prop_assert_eq!(&change.after.state, &before.state, "its end changed");
                prop_assert_eq!(change.after.attempts.len(), before.attempts.len());
            }
            prop_assert!(moves_lose_nothing(&before, &change), "{:?}", change.events);
            // What the store writes is what the events name.
            for (old, new) in before.attempts.iter().zip(&change.after.attempts) {
                let told = change.events.iter().any(|event| event.kind.changed_attempt() == Some(new.no));
                prop_assert!(told || (old.state == new.state && old.updated_on == new.updated_on));
                for operation in &new.operations {
                    let name = Some((new.no, operation.no));
                    let told = change.events.iter().any(|event| event.kind.changed_operation() == name);
                    prop_assert!(told || old.operation(operation.no) == Some(operation));
                }
            }
            let told_before = events.len();
            events.extend(change.events);
            session = change.after;
            let open = session.attempts.iter().filter(|attempt| attempt.is_open()).count();
            prop_assert!(open <= 1, "two attempts are open");
            if let Some(attempt) = session.challenged_attempt() {
                // A payer who comes back finds one attempt, which nobody has decided.
                let visits = attempt.visit().map_or(0, |visit| visit.no);
                prop_assert!((1..=VISITS_MAX).contains(&visits) && attempt.answer().is_none());
                prop_assert_eq!(session.outcome(), Outcome::None);
            }
            let waits = open == 1 || session.reversing_attempt().is_some();
            prop_assert_eq!(waits, session.state_name() == "Processing");
            prop_assert!(amounts_are_kept(&session));
            prop_assert!(nothing_accepted_counts_as_done(&before, &session, &events[told_before..]));
        }
        for (index, event) in events.iter().enumerate() {
            prop_assert_eq!(event.seq as usize, index + 1);
        }
        let ends = events.iter().filter(|event| matches!(event.kind, EventKind::Ended { .. })).count();
        prop_assert_eq!(ends, usize::from(session.has_ended()));
        // What stands when a session is over is reported, and nothing else is (G2).
        let reported = matches!(session.outcome(), Outcome::Approved | Outcome::Review);
        if session.has_ended() {
            let stands = |attempt: &Attempt| {
                attempt.authorised().is_some() && !attempt.was_turned_back()
            };
            let paid = session.attempts.iter().any(stands);
            prop_assert!(paid == reported || (reported && purpose == Purpose::Tokenise));
        } else {
            prop_assert!(!reported);
        }
    }
}

/// A move between keypad and link keeps what the session is, and is told; what a link is worth only goes down.
fn moves_lose_nothing(before: &Session, change: &Change) -> bool {
    let after = &change.after;
    let told = change.events.iter().any(|event| event.kind.changed_way());
    let moved = (before.way, before.links, before.call, &before.agent)
        != (after.way, after.links, after.call, &after.agent);
    let same = (before.guid, before.provider, before.amount(), &before.payment_data)
        == (after.guid, after.provider, after.amount(), &after.payment_data);
    let renewed = after.links > before.links;
    let newest = after.link().is_none_or(|link| link.no.0 == after.links && after.call.is_none());
    let one_way = match (before.link(), after.link()) {
        (Some(old), Some(new)) if !renewed => old.state.word() <= new.state.word() && old.no == new.no,
        (None, Some(_)) => renewed,
        _ => true,
    };
    let begun = change.events.iter().any(|event| matches!(event.kind, EventKind::Intent { .. }));
    let payable = before.link().is_none_or(|link| link.state != LinkState::Revoked);
    same && moved == told && newest && one_way && (!begun || payable) && after.links <= LINKS_MAX
}

/// G6, and that nothing is given back twice.
fn amounts_are_kept(session: &Session) -> bool {
    let standing: i64 = session.attempts.iter().filter_map(Attempt::standing).map(Money::minor).sum();
    let every = session.attempts.iter().all(|attempt| {
        let taken = attempt.captured_minor();
        let whole = attempt.operations.iter().filter(|operation| {
            matches!(operation.kind, OperationKind::Void | OperationKind::Reverse { .. })
                && matches!(operation.state, OperationState::Done { .. })
        });
        // A capture that was called done, and fails when its money was given back already, is the gateway's own.
        let capture_failed = attempt.operations.iter().any(|operation| {
            operation.kind == OperationKind::Capture
                && matches!(operation.state, OperationState::Failed { .. })
        });
        (attempt.refunded_minor() <= taken || capture_failed)
            && taken <= attempt.authorised().map_or(0, Money::minor)
            && attempt.operations.iter().filter(|operation| operation.state.is_open()).count() <= 1
            && (whole.count() == 0 || attempt.refunded_minor() == 0)
            && attempt.amount.minor() <= session.amount().minor()
    });
    every && standing <= session.amount().minor()
}

#[test]
fn a_decline_then_an_approval_is_one_session_with_two_attempts() {
    let mut session = open().after;
    let declined = Verdict::Declined { class: DeclineClass::Rekey(Field::Expiry) };
    for step in [
        Step::Begin,
        Step::Intend,
        Step::Answer(declined, Check::Match, Retry::Possible.into()),
        Step::Intend,
        Step::Answer(Verdict::Approved, Check::Match, Retry::Possible.into()),
    ] {
        session = take(session, step, Timestamp::from_micros(1)).unwrap().after;
    }
    assert_eq!(session.attempts.len(), 2);
    assert_eq!(session.state_name(), "Finished");
    assert_eq!(session.outcome(), Outcome::Approved);
}

#[test]
fn an_unknown_attempt_is_neither_cancelled_nor_timed_out() {
    let mut session = open().after;
    for step in [Step::Intend, Step::Unknown] {
        session = take(session, step, Timestamp::from_micros(1)).unwrap().after;
    }
    assert_eq!(session.outcome(), Outcome::Unknown);
    for step in [Step::Cancel, Step::TimeOut, Step::Fail, Step::Intend] {
        assert_eq!(take(session.clone(), step, Timestamp::from_micros(2)), None);
    }
}

#[test]
fn of_two_returns_from_the_bank_one_goes_on() {
    let challenged = walk(open().after, [Step::Intend, Step::Challenge]);
    assert!(challenged.challenged_attempt().is_some());
    for step in [Step::Cancel, Step::TimeOut, Step::Fail, Step::Intend, Step::Challenge, Step::Return(2)] {
        assert_eq!(take(challenged.clone(), step, Timestamp::from_micros(2)), None);
    }
    let back = walk(challenged, [Step::Return(1)]);
    assert!(back.challenged_attempt().is_none() && back.open_attempt().is_some());
    for step in [Step::Return(1), Step::Abandon(1)] {
        assert_eq!(take(back.clone(), step, Timestamp::from_micros(3)), None);
    }
    let paid = walk(back, [Step::Answer(Verdict::Approved, Check::Match, Retry::Possible.into())]);
    assert_eq!(paid.outcome(), Outcome::Approved);
    assert_eq!(take(paid, Step::Return(1), Timestamp::from_micros(4)), None);
}

#[test]
fn a_payer_who_never_confirms_is_sent_to_the_bank_a_few_times_only() {
    let mut session = walk(open().after, [Step::Intend]);
    for _ in 0..VISITS_MAX {
        session = walk(session, [Step::Challenge, Step::Return(1)]);
    }
    let given_up = walk(session, [Step::Challenge]);
    assert!(given_up.challenged_attempt().is_none());
    assert_eq!(given_up.outcome(), Outcome::Unknown);
}

#[test]
fn an_abandoned_challenge_is_unknown_until_the_gateway_says_what_it_is() {
    let abandoned = walk(open().after, [Step::Intend, Step::Challenge, Step::Abandon(1)]);
    assert_eq!(abandoned.outcome(), Outcome::Unknown);
    assert_eq!(take(abandoned.clone(), Step::Return(1), Timestamp::from_micros(9)), None);
    let unpaid = walk(abandoned.clone(), [Step::Resolve(None, Retry::Possible.into())]);
    assert_eq!((unpaid.state_name(), unpaid.outcome()), ("InProgress", Outcome::None));
    let paid = walk(abandoned, [Step::Resolve(Some(Verdict::Approved), Retry::Possible.into())]);
    assert_eq!(paid.outcome(), Outcome::Approved);
}

#[test]
fn what_the_payer_posts_at_the_bank_is_kept_only_while_it_is_there() {
    let challenged = walk(open().after, [Step::Intend, Step::Challenge]);
    let written = serde_json::to_string(&challenged.attempts[0].state).expect("a state is JSON");
    assert!(written.contains("\"challenged\"") && written.contains("creq"), "{written}");
    let read: AttemptState = serde_json::from_str(&written).expect("what was written can be read");
    assert_eq!(read, challenged.attempts[0].state);
    let over = walk(challenged, [Step::Return(1), Step::Unknown]);
    let written = serde_json::to_string(&over.attempts[0].state).expect("a state is JSON");
    assert!(!written.contains("creq") && !written.contains("acs.example"), "{written}");
}

#[test]
fn a_session_that_never_began_expires_on_the_provider_side() {
    let expired = take(open().after, Step::TimeOut, Timestamp::from_micros(1)).unwrap().after;
    assert_eq!(expired.state_name(), "ExpiredOnProviderSide");
    let begun = take(open().after, Step::Begin, Timestamp::from_micros(1)).unwrap().after;
    assert_eq!(take(begun, Step::TimeOut, Timestamp::from_micros(2)).unwrap().after.state_name(), "TimeOut");
}

#[test]
fn the_result_is_kept_for_fifteen_minutes_after_the_end() {
    let ended = take(open().after, Step::Cancel, Timestamp::from_micros(0)).unwrap().after;
    let minute = |n: i64| Timestamp::from_micros(n * 60_000_000);
    assert!(ended.result_is_kept(minute(14)));
    assert!(!ended.result_is_kept(minute(15)));
    assert!(open().after.result_is_kept(minute(1_000)));
}

fn walk(mut session: Session, steps: impl IntoIterator<Item = Step>) -> Session {
    for (moment, step) in (10..).zip(steps) {
        let told = format!("{step:?}");
        let change = take(session, step, Timestamp::from_micros(moment));
        session = change.unwrap_or_else(|| panic!("{told} was refused")).after;
    }
    session
}

fn paid(purpose: Purpose) -> Session {
    let at = Timestamp::from_micros(5);
    let intended =
        take_for(purpose, open().after, Step::Intend, at).expect("a new session may be paid").after;
    walk(intended, [Step::Answer(Verdict::Approved, Check::Match, Retry::Possible.into())])
}

fn refused(session: &Session, asked: Asked, amount: Option<i64>) -> OperationRefused {
    let id = OperationId(Uuid::from_u128(99));
    let request = OperationRequest { id, asked, amount: amount.map(pounds), attempt: None };
    session.clone().operate(request, Timestamp::from_micros(99)).expect_err("this must be refused")
}

fn done() -> Step {
    Step::OperationEnds(OperationEnd::Done("r-1".to_owned()), Retry::Possible)
}

#[test]
fn refunds_never_pass_what_was_taken() {
    let sale = paid(Purpose::Sale);
    assert_eq!(refused(&sale, Asked::Capture, None), OperationRefused::NotAnAuthorisation);
    assert_eq!(refused(&sale, Asked::Refund, Some(1241)), OperationRefused::TooMuch);
    let part = walk(sale, [Step::Operate(Asked::Refund, Some(1000), None)]);
    assert_eq!(refused(&part, Asked::Refund, Some(1)), OperationRefused::OneIsOpen);
    let part = walk(part, [done()]);
    assert_eq!(refused(&part, Asked::Refund, Some(241)), OperationRefused::TooMuch);
    assert_eq!(refused(&part, Asked::Void, None), OperationRefused::TooLateToVoid);
    let whole = walk(part, [Step::Operate(Asked::Refund, None, None), done()]);
    assert_eq!(whole.attempts[0].refunded_minor(), 1240);
    assert_eq!(refused(&whole, Asked::Refund, None), OperationRefused::TooMuch);
    assert_eq!(whole.outcome(), Outcome::Approved);
}

#[test]
fn an_authorisation_is_captured_or_voided() {
    let held = paid(Purpose::Authorise);
    assert_eq!(refused(&held, Asked::Refund, None), OperationRefused::NotCaptured);
    assert_eq!(refused(&held, Asked::Void, Some(1)), OperationRefused::VoidIsWhole);
    let voided = walk(held.clone(), [Step::Operate(Asked::Void, None, None), done()]);
    assert_eq!(refused(&voided, Asked::Capture, None), OperationRefused::GivenBack);
    let captured = walk(held, [Step::Operate(Asked::Capture, Some(1000), None), done()]);
    assert_eq!(refused(&captured, Asked::Void, None), OperationRefused::TooLateToVoid);
    assert_eq!(refused(&captured, Asked::Capture, Some(241)), OperationRefused::TooMuch);
    assert_eq!(refused(&captured, Asked::Refund, Some(1001)), OperationRefused::TooMuch);
}

#[test]
fn a_refused_or_unsent_operation_leaves_its_amount_free() {
    for end in [OperationEnd::Refused("settled".to_owned()), OperationEnd::NotSent(NotSent::Unreachable)] {
        let steps = [Step::Operate(Asked::Refund, None, None), Step::OperationEnds(end, Retry::Possible)];
        let session = walk(paid(Purpose::Sale), steps);
        walk(session, [Step::Operate(Asked::Refund, None, None), done()]);
    }
}

#[test]
fn a_wrong_security_code_is_given_back_and_asked_for_again() {
    let approved = Step::Answer(Verdict::Approved, Check::NoMatch, Retry::Possible.into());
    let session = walk(open().after, [Step::Intend, approved]);
    assert_eq!((session.state_name(), session.outcome()), ("Processing", Outcome::None));
    assert_eq!(take(session.clone(), Step::Cancel, Timestamp::from_micros(20)), None);
    let refused_once = Step::OperationEnds(OperationEnd::Refused("later".to_owned()), Retry::Possible);
    let session = walk(session, [refused_once, Step::ReverseAgain(1)]);
    assert_eq!(session.state_name(), "Processing");
    let session = walk(session, [done()]);
    assert_eq!(session.state_name(), "InProgress");
    assert_eq!(session.last_decline(), Some(DeclineClass::Rekey(Field::SecurityCode)));
}

#[test]
fn the_rest_of_a_split_payment_is_asked_of_another_card() {
    let split = Acceptance { split: true, ..Acceptance::default() };
    let terms = Terms { retry: Retry::Possible, acceptance: split };
    let part = Verdict::Partial { approved: pounds(1000) };
    let session = walk(open().after, [Step::Intend, Step::Answer(part, Check::Match, terms)]);
    assert_eq!((session.state_name(), session.remaining()), ("InProgress", Some(pounds(240))));
    let both = [Step::Intend, Step::Answer(Verdict::Approved, Check::Match, terms)];
    let session_paid = walk(session.clone(), both);
    assert_eq!(session_paid.attempts[1].amount, pounds(240));
    assert_eq!(session_paid.outcome(), Outcome::Approved);
    assert_eq!(refused(&session_paid, Asked::Refund, None), OperationRefused::NameTheAttempt);
    // Given up: the part goes back.
    let given_up = walk(session, [Step::Cancel]);
    assert_eq!(given_up.outcome(), Outcome::Declined);
    assert!(given_up.attempts[0].is_reversing());
    assert!(walk(given_up, [done()]).attempts[0].is_given_back());
}

#[test]
fn a_late_success_is_given_back_and_never_becomes_paid() {
    let lost = [Step::Intend, Step::Unknown, Step::Resolve(None, Retry::Over.into())];
    let session = walk(open().after, lost);
    let seen = (session.state_name(), session.outcome());
    let session = walk(session, [Step::Late(1, Verdict::Approved)]);
    assert_eq!((session.state_name(), session.outcome()), seen);
    let session = walk(session, [done()]);
    assert!(session.attempts[0].is_given_back());
    assert_eq!((session.state_name(), session.outcome()), seen);
}
