//! Random walks through the life of a session: whatever happens in whatever order, the rules hold.

use std::collections::BTreeMap;
use std::time::Duration;

use hushpad_domain::attempt::{DeclineClass, GatewayAnswer, NotSent, Unknown, Verdict};
use hushpad_domain::change::Change;
use hushpad_domain::event::EventKind;
use hushpad_domain::field::Field;
use hushpad_domain::ids::{
    AccountId, AgentId, AttemptId, ConfigurationId, DeliveryId, GatewayName, ProviderSessionGuid, SessionGuid,
};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::session::{Finding, NewSession, Outcome, Retry, Session, WrongState};
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::TRIES_WINDOW;
use proptest::prelude::*;
use uuid::Uuid;

#[derive(Clone, Debug)]
enum Step {
    Begin,
    Intend,
    Answer(Verdict, Retry),
    NotSent(Retry),
    Unknown,
    Resolve(Option<Verdict>, Retry),
    Cancel,
    TimeOut,
    Fail,
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Approved),
        Just(Verdict::Review),
        Just(Verdict::Declined { class: DeclineClass::OtherCard }),
        Just(Verdict::Declined { class: DeclineClass::Rekey(Field::Expiry) }),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    let retry = || prop_oneof![Just(Retry::Possible), Just(Retry::Over)];
    prop_oneof![
        1 => Just(Step::Begin),
        4 => Just(Step::Intend),
        3 => (verdicts(), retry()).prop_map(|(verdict, retry)| Step::Answer(verdict, retry)),
        1 => retry().prop_map(Step::NotSent),
        2 => Just(Step::Unknown),
        2 => (prop::option::of(verdicts()), retry()).prop_map(|(verdict, retry)| Step::Resolve(verdict, retry)),
        1 => Just(Step::Cancel),
        1 => Just(Step::TimeOut),
        1 => Just(Step::Fail),
    ]
}

fn answer(verdict: Verdict) -> GatewayAnswer {
    GatewayAnswer::new(verdict, "ch_1".into(), BTreeMap::new(), None)
}

fn open() -> Change {
    let values = [("Amount", "12.40"), ("Currency", "GBP")];
    let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let new = NewSession {
        guid: SessionGuid(Uuid::from_u128(1)),
        provider: ProviderSessionGuid(Uuid::from_u128(2)),
        account: AccountId("acme".into()),
        configuration: ConfigurationId(0),
        agent: AgentId("agent1234".into()),
        call: None,
        payment_data: PaymentData::new(BTreeMap::from(values)).expect("12.40 GBP is money"),
        webhook: false,
    };
    Session::open(new, Timestamp::from_micros(0))
}

fn take(session: Session, step: Step, at: Timestamp) -> Result<Change, WrongState> {
    match step {
        Step::Begin => session.begin(at),
        Step::Intend => session.intend(AttemptId(Uuid::from_u128(3)), GatewayName("sandbox".into()), at),
        Step::Answer(verdict, retry) => session.answered(answer(verdict), retry, at),
        Step::NotSent(retry) => session.not_sent(NotSent::Unreachable, retry, at),
        Step::Unknown => session.unknown(Unknown::TimedOut, at),
        Step::Resolve(Some(verdict), retry) => session.resolved(Finding::Answer(answer(verdict)), retry, at),
        Step::Resolve(None, retry) => session.resolved(Finding::NotCharged, retry, at),
        Step::Cancel => session.cancel(at),
        Step::TimeOut => session.time_out(at),
        Step::Fail => session.fail(at),
    }
}

proptest! {
    #[test]
    fn the_rules_hold_on_every_walk(walk in prop::collection::vec(steps(), 0..40)) {
        let opened = open();
        let mut session = opened.after;
        let mut events = opened.events;
        let amount = session.amount();
        for (moment, step) in walk.into_iter().enumerate() {
            let at = Timestamp::from_micros(moment as i64 + 1);
            let before = session.clone();
            match take(session.clone(), step, at) {
                Err(_) => {}
                Ok(change) => {
                    prop_assert!(!before.has_ended(), "something happened after the end");
                    prop_assert_eq!(change.before, Some(before.version));
                    prop_assert_eq!(change.after.version, before.version + 1);
                    events.extend(change.events);
                    session = change.after;
                }
            }
            let open = session.attempts.iter().filter(|attempt| attempt.is_open()).count();
            prop_assert!(open <= 1, "two attempts are open");
            prop_assert_eq!(open == 1, session.state_name() == "Processing");
            prop_assert!(session.attempts.iter().all(|attempt| attempt.amount == amount));
        }
        for (index, event) in events.iter().enumerate() {
            prop_assert_eq!(event.seq as usize, index + 1);
        }
        let ends = events.iter().filter(|event| matches!(event.kind, EventKind::Ended { .. })).count();
        prop_assert_eq!(ends, usize::from(session.has_ended()));
        let approved = session.attempts.iter().filter_map(|attempt| attempt.answer())
            .any(|answer| answer.verdict == Verdict::Approved);
        // What a gateway approved is reported approved (G2), and nothing else is.
        prop_assert_eq!(approved, session.outcome() == Outcome::Approved);
    }
}

#[test]
fn a_decline_then_an_approval_is_one_session_with_two_attempts() {
    let mut session = open().after;
    let declined = Verdict::Declined { class: DeclineClass::Rekey(Field::Expiry) };
    for step in [
        Step::Begin,
        Step::Intend,
        Step::Answer(declined, Retry::Possible),
        Step::Intend,
        Step::Answer(Verdict::Approved, Retry::Possible),
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
        let refused = take(session.clone(), step, Timestamp::from_micros(2));
        assert_eq!(refused.err(), Some(WrongState::Processing));
    }
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

fn open_with_webhook() -> Session {
    let mut session = open().after;
    session.webhook = true;
    session
}

#[test]
fn a_webhook_is_told_once_for_each_answer_and_for_an_end_without_one() {
    let declined = Verdict::Declined { class: DeclineClass::OtherCard };
    for (walk, told) in [
        (vec![Step::Begin, Step::Intend, Step::Answer(Verdict::Approved, Retry::Possible)], vec![5]),
        (
            vec![
                Step::Intend,
                Step::Answer(declined.clone(), Retry::Possible),
                Step::Intend,
                Step::Answer(declined, Retry::Over),
            ],
            vec![3, 6],
        ),
        (vec![Step::Intend, Step::Unknown, Step::Resolve(Some(Verdict::Review), Retry::Over)], vec![5]),
        (vec![Step::Intend, Step::Unknown, Step::Resolve(None, Retry::Possible)], vec![4]),
        (vec![Step::Intend, Step::NotSent(Retry::Possible), Step::Cancel], vec![4]),
        (vec![Step::TimeOut], vec![2]),
    ] {
        let mut session = open_with_webhook();
        let mut deliveries = Vec::new();
        for (moment, step) in walk.into_iter().enumerate() {
            let change = take(session, step, Timestamp::from_micros(moment as i64)).unwrap();
            session = change.after;
            deliveries.extend(change.delivery.map(|id| (id, session.events)));
        }
        let events: Vec<u32> = deliveries.iter().map(|(_, event)| *event).collect();
        assert_eq!(events, told, "it tells of the last event of its change");
        for (id, event) in deliveries {
            assert_eq!(id, DeliveryId::of(session.guid, event));
        }
    }
}

#[test]
fn without_a_webhook_nobody_is_told() {
    let change = take(open().after, Step::Cancel, Timestamp::from_micros(0)).unwrap();
    assert_eq!(change.delivery, None);
}

#[test]
fn with_a_webhook_the_result_is_kept_as_long_as_it_is_tried() {
    let ended = take(open_with_webhook(), Step::Cancel, Timestamp::from_micros(0)).unwrap().after;
    assert!(ended.result_is_kept(Timestamp::from_micros(0).plus(TRIES_WINDOW - Duration::from_micros(1))));
    assert!(!ended.result_is_kept(Timestamp::from_micros(0).plus(TRIES_WINDOW)));
}
