//! `kill -9` between the intent and the gateway's answer: nobody is told a lie, and nobody pays twice.

use crate::cards::VISA;
use crate::desk::Desk;
use crate::page::customer_types_card;
use crate::phones::Keying;
use crate::stories::keying::assert_charge;
use crate::stories::test_keypad::presses_card;
use crate::until;

/// The sandbox gateway takes the money and never answers.
const CHARGED_NEVER_ANSWERED: &str = "67.02";

#[test]
fn a_payment_cut_by_kill_9_is_unknown_and_then_what_the_gateway_says() {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(Keying::Info);
    let session = desk.open_session_of(CHARGED_NEVER_ANSWERED);
    let page = desk.open_page(&session);
    customer_types_card(&mut desk, &mut call, &page, VISA);
    page.pay();
    until("the gateway has charged", || (!desk.ledger().is_empty()).then_some(()));
    assert_eq!(desk.status(&session)["sessionState"], "Processing");

    desk.kill_9();
    // Asked at once, it would know at once; while nobody can be asked, nobody claims to know.
    desk.stop_gateway();
    desk.restart();
    let told = desk.status(&session);
    assert_eq!(told["outcome"], "unknown", "{told}");

    desk.start_gateway();
    let status = desk.waits_for_outcome(&session, "approved");
    assert_eq!(status["sessionState"], "Finished", "{status}");
    assert_eq!(status["attempts"].as_array().map(Vec::len), Some(1), "{status}");
    let ledger = desk.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_charge(&ledger[0], CHARGED_NEVER_ANSWERED, 1);
}

#[test]
fn a_session_cut_by_kill_9_while_typing_ends_without_a_charge() {
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    let mut call = desk.customer_calls(Keying::Info);
    let session = desk.open_session();
    let page = desk.open_page(&session);
    page.start("card_number");
    call.customer.keys(VISA.number);
    page.shows_field("card_number", "valid");

    desk.kill_9();
    desk.restart();
    let status = desk.status(&session);
    assert_eq!(status["sessionState"], "Error", "{status}");
    assert!(desk.ledger().is_empty());
}

#[test]
fn a_sealed_result_reads_back_after_kill_9_and_is_in_no_file_in_plain() {
    /// In `paymentResultData`, and nowhere else in what the product keeps.
    const IN_THE_RESULT: &str = "Lovelace";
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    let session = desk.open_test_session();
    let page = desk.open_page(&session);
    presses_card(&page, VISA);
    page.pay();
    page.shows_phase("ended");
    let told = desk.status_text(&session);
    assert!(told.contains(IN_THE_RESULT) && told.contains(r#""last4":"1111""#), "{told}");
    until("the result is pushed", || (!desk.receiver.came(&session.guid).is_empty()).then_some(()));
    until("that is written down", || (desk.metric("hushpad_webhooks_due") == "0").then_some(()));

    desk.kill_9();
    // The database, its log, and whatever else lies there.
    let mut files = 0;
    for entry in std::fs::read_dir(desk.workplace().join("data")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(IN_THE_RESULT.len()).any(|window| window == IN_THE_RESULT.as_bytes());
        assert!(!found, "{} holds the result in plain", path.display());
        files += 1;
    }
    assert!(files >= 3, "database, log and keys are there");
    desk.restart();
    assert_eq!(desk.status_text(&session), told);

    // Only by its keys: without them everything but the result is there.
    desk.kill_9();
    std::fs::remove_file(desk.workplace().join("data").join("hushpad.db-keys")).unwrap();
    desk.restart();
    let bare = desk.status(&session);
    assert_eq!((&bare["sessionState"], &bare["outcome"]), (&"Finished".into(), &"approved".into()), "{bare}");
    assert!(!bare.to_string().contains(IN_THE_RESULT), "{bare}");
}
