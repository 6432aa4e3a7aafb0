//! A gateway that misbehaves: what it took is told as taken, and it is never asked for the same money twice.

use crate::cards::VISA;
use crate::desk::Desk;
use crate::stories::keying::assert_charge;
use crate::stories::test_keypad::presses_card;

#[test]
fn whatever_comes_after_the_charge_it_is_approved_once() {
    /// Amounts at which the sandbox gateway charges and then resets the connection, answers 500, talks nonsense, half an
    /// answer, or a web page.
    const CHARGED_THEN: [&str; 5] = ["67.03", "67.05", "67.06", "67.07", "67.12"];
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    for amount in CHARGED_THEN {
        let session = desk.open_test_session_of(amount);
        let page = desk.open_page(&session);
        presses_card(&page, VISA);
        page.pay();
        let status = desk.waits_for_outcome(&session, "approved");
        assert_eq!(status["attempts"].as_array().map(Vec::len), Some(1), "{status}");
        page.shows_phase("ended");
    }
    let ledger = desk.ledger();
    assert_eq!(ledger.len(), CHARGED_THEN.len(), "{ledger:?}");
    for amount in CHARGED_THEN {
        assert_charge(ledger.iter().find(|charge| charge["amount"] == amount).unwrap(), amount, 1);
    }
}

#[test]
fn a_gateway_that_was_away_is_asked_once_when_it_is_back() {
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    let session = desk.open_test_session();
    let page = desk.open_page(&session);
    presses_card(&page, VISA);
    desk.stop_gateway();
    page.pay();
    page.shows_phase("paying");
    desk.start_gateway();
    page.shows_phase("ended");
    assert_eq!(desk.status(&session)["outcome"], "approved");
    let ledger = desk.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_charge(&ledger[0], "12.40", 1);
}
