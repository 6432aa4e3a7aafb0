//! What of a walk a back end with a webhook is told.

use std::time::Duration;

use hushpad_domain::ids::DeliveryId;
use hushpad_domain::webhook::TRIES_WINDOW;

use super::*;

pub(super) fn open_with_webhook() -> Session {
    let mut session = open().after;
    session.webhook = true;
    session
}

#[test]
fn a_webhook_is_told_once_for_each_answer_and_for_an_end_without_one() {
    let declined = Verdict::Declined { class: DeclineClass::OtherCard };
    for (walk, told) in [
        (
            vec![
                Step::Begin,
                Step::Intend,
                Step::Answer(Verdict::Approved, Check::Match, Retry::Possible.into()),
            ],
            vec![5],
        ),
        (
            vec![
                Step::Intend,
                Step::Answer(declined.clone(), Check::Match, Retry::Possible.into()),
                Step::Intend,
                Step::Answer(declined, Check::Match, Retry::Over.into()),
            ],
            vec![3, 6],
        ),
        (
            vec![Step::Intend, Step::Unknown, Step::Resolve(Some(Verdict::Review), Retry::Over.into())],
            vec![5],
        ),
        (vec![Step::Intend, Step::Unknown, Step::Resolve(None, Retry::Possible.into())], vec![4]),
        (vec![Step::Intend, Step::NotSent(Retry::Possible), Step::Cancel], vec![4]),
        (vec![Step::TimeOut], vec![2]),
        // What comes after the end is told too, as something new.
        (
            vec![
                Step::Intend,
                Step::Answer(Verdict::Approved, Check::Match, Retry::Possible.into()),
                Step::Operate(Asked::Refund, None, None),
                done(),
            ],
            vec![4, 6],
        ),
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
