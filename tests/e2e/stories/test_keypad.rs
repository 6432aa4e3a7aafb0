//! The test keypad: a payment without a phone, on configurations marked as test and nowhere else.

use serde_json::json;

use crate::cards::{AMEX, TestCard};
use crate::desk::{AGENT, CONFIGURATION, Desk, payment};
use crate::page::Page;
use crate::phones::Keying;
use crate::stories::keying::assert_charge;

#[test]
fn a_test_session_pays_by_the_pages_keypad() {
    let mut desk = Desk::start();
    let session = desk.open_test_session();
    let page = desk.open_page(&session);
    desk.expects_card(AMEX);
    presses_card(&page, AMEX);
    page.shows_phase("ready_to_pay");
    page.pay();
    page.shows_phase("ended");
    let status = desk.status(&session);
    assert_eq!(status["outcome"], "approved", "{status}");
    let ledger = desk.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_charge(&ledger[0], "12.40", 1);
}

#[test]
fn elsewhere_there_is_no_keypad() {
    let mut desk = Desk::start();
    let body = json!({
        "agentId": AGENT, "paymentData": payment("12.40"),
        "accountConfigurationId": CONFIGURATION, "skipCallTransfer": true,
    });
    let reply = desk.post_session(&body).expect(400);
    assert_eq!(reply.json()["code"], "not_a_test_configuration");

    let mut call = desk.customer_calls(Keying::Info);
    let session = desk.open_session();
    let page = desk.open_page(&session);
    page.start("card_number");
    assert_eq!(page.act(&[("action", "key"), ("key", "4")]).status, 409);
    page.shows_typed("card_number", 0);
    call.customer.hangs_up();
    desk.waits_for_outcome(&session, "cancelled");
}

/// The agent types the card on the page's test keypad.
pub(super) fn presses_card(page: &Page, card: TestCard) {
    let fields =
        [("card_number", card.number), ("expiry", card.expiry), ("security_code", card.security_code)];
    for (field, keys) in fields {
        page.start(field);
        for key in keys.chars() {
            page.acts(&[("action", "key"), ("key", &key.to_string())]);
        }
        page.shows_field(field, "valid");
    }
}
