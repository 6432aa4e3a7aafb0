//! What follows an answer: operations, late successes, settlements.

use hushpad_domain::acceptance::Acceptance;
use hushpad_domain::attempt::{NotSent, Unknown, Verdict};
use hushpad_domain::change::Change;
use hushpad_domain::ids::{AttemptId, AttemptNo, OperationId};
use hushpad_domain::money::Money;
use hushpad_domain::operation::{Asked, OperationNo, Settlement};
use hushpad_domain::ports::CommitError;
use hushpad_domain::session::{Finding, OperationEnd, OperationRequest, Outcome, Retry, Session, Terms};
use hushpad_domain::time::Timestamp;
use uuid::Uuid;

use super::story::{account, answer, approved, intended, minute, opened};
use super::{DAY, Engine, MINUTE, Ports};

const FIRST: AttemptNo = AttemptNo(1);

async fn paid(ports: &Ports) -> Session {
    let session = ports.commit(opened("acme", "A1", minute(0))).await;
    let session = ports.commit(intended(session, minute(1))).await;
    ports.commit(approved(session, "A1", minute(2))).await
}

fn refund(session: &Session, minor: i64, at: Timestamp) -> Change {
    let amount = Some(pounds(session, minor));
    let id = OperationId(Uuid::new_v4());
    session.clone().operate(OperationRequest { id, asked: Asked::Refund, amount, attempt: None }, at).unwrap()
}

fn pounds(session: &Session, minor: i64) -> Money {
    Money::from_minor(minor, session.amount().currency()).unwrap()
}

fn ended(session: Session, no: u16, end: OperationEnd, at: Timestamp) -> Change {
    session.operation_ended(FIRST, OperationNo(no), end, Retry::Possible, at).unwrap()
}

fn done() -> OperationEnd {
    OperationEnd::Done("rf-1".to_owned())
}

pub(crate) async fn every_operation_reads_back<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let mut session = paid(&ports).await;
    let ends = [
        OperationEnd::NotSent(NotSent::Unreachable),
        OperationEnd::Refused("settled already".to_owned()),
        done(),
        OperationEnd::Unknown(Unknown::TimedOut),
    ];
    let accepted = OperationEnd::Accepted("rf-1".to_owned());
    for (no, end) in (1..).zip(ends) {
        session = ports.commit(refund(&session, 100, minute(3))).await;
        assert_eq!(ports.read(&session).await, session);
        session = ports.commit(ended(session, no, end, minute(4))).await;
        assert_eq!(ports.read(&session).await, session);
    }
    for end in [accepted, OperationEnd::Refused("later".to_owned())] {
        session = ports.commit(ended(session, 4, end, minute(5))).await;
        assert_eq!(ports.read(&session).await, session);
    }
    session = ports.commit(refund(&session, 100, minute(6))).await;
    session = ports.commit(ended(session, 5, done(), minute(6))).await;
    // Another connection, the same truth.
    assert_eq!(engine.open().await.read(&session).await, session);
    assert_eq!(session.attempts[0].refunded_minor(), 200);
    let events = ports.sessions.events(&session.account, session.guid, 0).await.unwrap();
    assert_eq!(events.len(), session.events as usize);
}

pub(crate) async fn of_two_refunds_at_once_one_is_begun<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = paid(&ports).await;
    let (one, two) = (refund(&session, 1240, minute(3)), refund(&session, 1240, minute(3)));
    let (first, second) = tokio::join!(ports.sessions.commit(one.clone()), ports.sessions.commit(two));
    first.unwrap();
    assert!(matches!(second, Err(CommitError::Conflict)));
    assert_eq!(ports.read(&session).await, one.after);
}

pub(crate) async fn ended_sessions_with_something_to_see_to_are_found<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let settled = paid(&ports).await;
    let session = ports.commit(refund(&settled, 1, minute(3))).await;
    ports.commit(ended(session, 1, done(), minute(4))).await;
    let open = paid(&ports).await;
    let open = ports.commit(refund(&open, 1, minute(3))).await;
    let lost = ports.commit(opened("acme", "A2", minute(0))).await;
    let lost = ports.commit(intended(lost, minute(1))).await;
    let lost = ports.commit(lost.unknown(Unknown::TimedOut, minute(2)).unwrap()).await;
    let lost = ports.commit(lost.resolved(Finding::NotCharged, Retry::Over, minute(5)).unwrap()).await;
    let running = ports.commit(opened("acme", "A3", minute(0))).await;
    let guids = async |after: Timestamp| -> Vec<Uuid> {
        let mut found: Vec<Uuid> =
            ports.sessions.unsettled(after).await.unwrap().iter().map(|session| session.guid.0).collect();
        found.sort();
        found
    };
    let sorted = |mut guids: Vec<Uuid>| {
        guids.sort();
        guids
    };
    assert_eq!(guids(minute(4)).await, sorted(vec![open.guid.0, lost.guid.0]));
    assert_eq!(guids(minute(5)).await, vec![open.guid.0]);
    // One that is only accepted is still to be seen to.
    let accepted = OperationEnd::Accepted("rf-2".to_owned());
    let open = ports.commit(ended(open, 1, accepted, minute(5))).await;
    assert_eq!(guids(minute(5)).await, vec![open.guid.0]);
    // A reversal that was refused is still to be seen to; one that is done is not.
    let late = lost.late_success(FIRST, answer(Verdict::Approved, "A2"), minute(6)).unwrap();
    let late = ports.commit(late).await;
    let refused = OperationEnd::Refused("not now".to_owned());
    let late = ports.commit(ended(late, 1, refused, minute(7))).await;
    assert_eq!(guids(minute(9)).await, sorted(vec![open.guid.0, late.guid.0]));
    let again = ports.commit(late.reverse_again(FIRST, minute(8)).unwrap()).await;
    let again = ports.commit(ended(again, 2, done(), minute(9))).await;
    assert_eq!(ports.read(&again).await, again);
    let unfinished = ports.sessions.unfinished().await.unwrap();
    assert_eq!(unfinished, vec![running]);
}

pub(crate) async fn a_wiped_session_keeps_nothing_of_a_late_success<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.commit(opened("acme", "A1", minute(0))).await;
    let session = ports.commit(intended(session, minute(1))).await;
    let session = ports.commit(session.unknown(Unknown::TimedOut, minute(2)).unwrap()).await;
    let session = ports.commit(session.resolved(Finding::NotCharged, Retry::Over, minute(2)).unwrap()).await;
    let at = |micros: i64| Timestamp::from_micros(minute(2).as_micros() + micros);
    ports.sessions.purge(at(15 * MINUTE)).await.unwrap();
    let wiped = ports.read(&session).await;
    let late = wiped.late_success(FIRST, answer(Verdict::Approved, "A1"), at(20 * MINUTE)).unwrap();
    let late = ports.commit(late).await;
    let late = ports.commit(ended(late, 1, done(), at(21 * MINUTE))).await;
    let read = ports.read(&late).await;
    assert_eq!(read, late);
    assert_eq!(read.attempts[0].answer().map(|answer| answer.result.len()), Some(0));
    assert_eq!(read.outcome(), Outcome::None);
    assert_eq!(ports.sessions.purge(at(90 * DAY)).await.unwrap(), 1);
    assert_eq!(ports.sessions.session(&account("acme"), late.guid).await.unwrap(), None);
}

pub(crate) async fn an_answer_after_a_pending_one_leaves_nothing_behind<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.commit(opened("acme", "A1", minute(0))).await;
    let session = ports.commit(intended(session, minute(1))).await;
    let pending = session.answered(answer(Verdict::Pending, "A1"), Retry::Over, minute(2)).unwrap();
    let pending = ports.commit(pending).await;
    assert_eq!(ports.read(&pending).await, pending);
    let found = Finding::Answer(answer(Verdict::Approved, "A1"));
    let paid = ports.commit(pending.clone().resolved(found, Retry::Over, minute(3)).unwrap()).await;
    assert_eq!(ports.read(&paid).await, paid);
    let at = Timestamp::from_micros(minute(3).as_micros() + 15 * MINUTE);
    assert_eq!(ports.sessions.purge(at).await.unwrap(), 1);
    assert_eq!(ports.read(&paid).await.attempts[0].answer().map(|answer| answer.result.len()), Some(0));
}

pub(crate) async fn a_split_payment_given_up_gives_all_parts_back<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let split = Acceptance { split: true, ..Acceptance::default() };
    let terms = Terms { retry: Retry::Possible, acceptance: split };
    let mut session = ports.commit(opened("acme", "A1", minute(0))).await;
    for minor in [300, 200] {
        session = ports.commit(intended(session, minute(1))).await;
        let part = Verdict::Partial { approved: pounds(&session, minor) };
        session = ports.commit(session.answered(answer(part, "A1"), terms, minute(2)).unwrap()).await;
    }
    let given_up = ports.commit(session.cancel(minute(3)).unwrap()).await;
    assert_eq!(ports.read(&given_up).await, given_up);
    assert_eq!(given_up.open_operations().count(), 2);
    let found = ports.sessions.unsettled(minute(9)).await.unwrap();
    assert_eq!(found, vec![given_up]);
}

pub(crate) async fn a_settlement_is_found_by_its_attempt_and_the_last_word_counts<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let attempt = AttemptId(Uuid::new_v4());
    assert_eq!(ports.settlements.settlement(attempt).await.unwrap(), None);
    let first =
        Settlement { attempt, charged: true, reference: "ticket 7".to_owned(), settled_on: minute(1) };
    let last = Settlement { charged: false, settled_on: minute(2), ..first.clone() };
    for settlement in [first, last.clone()] {
        ports.settlements.settle(settlement).await.unwrap();
    }
    assert_eq!(ports.settlements.settlement(attempt).await.unwrap(), Some(last));
    ports.sessions.purge(Timestamp::from_micros(minute(2).as_micros() + 90 * DAY)).await.unwrap();
    assert_eq!(ports.settlements.settlement(attempt).await.unwrap(), None);
}
