//! Walks between keypad and payment link.

use super::*;

#[test]
fn a_link_that_nobody_opened_expires_and_one_that_was_opened_times_out() {
    let expired = take(open_by_link().after, Step::TimeOut, Timestamp::from_micros(1)).unwrap().after;
    assert_eq!(expired.state_name(), "ExpiredOnProviderSide");
    let opened = walk(open_by_link().after, [Step::OpenLink, Step::TimeOut]);
    assert_eq!(opened.state_name(), "TimeOut");
}

#[test]
fn a_revoked_link_pays_nothing_and_a_new_one_does() {
    let revoked = walk(open_by_link().after, [Step::OpenLink, Step::RevokeLink]);
    for step in [Step::Intend, Step::OpenLink, Step::RevokeLink] {
        assert_eq!(take(revoked.clone(), step, Timestamp::from_micros(20)), None);
    }
    let renewed = walk(revoked, [Step::IssueLink]);
    assert_eq!((renewed.links, renewed.state_name()), (2, "InProgress"));
    assert!(take(renewed, Step::Intend, Timestamp::from_micros(20)).is_some());
}

#[test]
fn a_session_moves_to_a_link_and_back_and_is_the_same() {
    let call = CallGuid(Uuid::from_u128(3));
    let begun = walk(
        Session::open(NewSession { call: Some(call), ..new() }, Timestamp::from_micros(0)).after,
        [Step::Begin],
    );
    let by_link = walk(begun.clone(), [Step::IssueLink, Step::OpenLink]);
    assert_eq!((by_link.call, by_link.link().map(|link| link.state)), (None, Some(LinkState::Opened)));
    let back = walk(by_link, [Step::TakeByKeypad(Some(call))]);
    assert_eq!((back.guid, back.amount(), back.call), (begun.guid, begun.amount(), Some(call)));
    assert_eq!((back.link(), back.links), (None, 1));
}

#[test]
fn while_an_attempt_is_open_nothing_moves() {
    let paying = walk(open_by_link().after, [Step::OpenLink, Step::Intend]);
    for step in [Step::IssueLink, Step::RevokeLink, Step::TakeByKeypad(None)] {
        assert_eq!(take(paying.clone(), step, Timestamp::from_micros(20)), None);
    }
}
