//! A decline is not the end: the blamed field and the security code are keyed again, on the same session.

use crate::cards::{TestCard, VISA, WRONG_CODE, WRONG_EXPIRY};
use crate::desk::Desk;
use crate::page::{customer_types_again, customer_types_card, field};
use crate::phones::Keying;
use crate::stories::keying::assert_charge;

#[test]
fn a_blamed_security_code_is_keyed_again_and_it_is_approved() {
    let right = TestCard { security_code: "321", ..WRONG_CODE };
    declined_then_approved(WRONG_CODE, "security_code", right, &["security_code"]);
}

#[test]
fn a_blamed_expiry_and_the_code_are_keyed_again_and_it_is_approved() {
    let right = TestCard { expiry: "1231", ..WRONG_EXPIRY };
    declined_then_approved(WRONG_EXPIRY, "expiry", right, &["expiry", "security_code"]);
}

#[test]
fn another_card_is_keyed_after_a_decline_and_it_is_approved() {
    let other = TestCard { expiry: WRONG_CODE.expiry, ..VISA };
    declined_then_approved(WRONG_CODE, "security_code", other, &["card_number", "security_code"]);
}

/// Pays with `first`, which is declined with `blamed` to blame; keys `again` as they are on `second`, and pays.
fn declined_then_approved(first: TestCard, blamed: &str, second: TestCard, again: &[&str]) {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(Keying::Info);
    let session = desk.open_session();
    let page = desk.open_page(&session);

    customer_types_card(&mut desk, &mut call, &page, first);
    page.pay();
    let declined = page.shows_phase("declined");
    assert_eq!(field(&declined, blamed)["status"], "invalid", "{declined}");
    assert_eq!(field(&declined, "card_number")["status"], "valid", "{declined}");
    // The security code is gone with the answer, blamed or not.
    assert_ne!(field(&declined, "security_code")["status"], "valid", "{declined}");

    desk.expects_card(second);
    for name in again {
        let keys = match *name {
            "card_number" => second.number,
            "expiry" => second.expiry,
            _ => second.security_code,
        };
        customer_types_again(&desk, &mut call, &page, name, keys);
    }
    page.shows_phase("ready_to_pay");
    page.pay();
    page.shows_phase("ended");
    call.customer.hangs_up();

    desk.agent_heard_no_key();
    let status = desk.status(&session);
    assert_eq!(status["outcome"], "approved", "{status}");
    let attempts = status["attempts"].as_array().unwrap();
    let states: Vec<_> = attempts.iter().map(|attempt| attempt["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["declined", "approved"]);
    let mut ledger = desk.ledger();
    assert_eq!(ledger.len(), 2, "{ledger:?}");
    ledger.sort_by_key(|charge| charge["charged"].as_u64());
    for (charge, (card, charged)) in ledger.iter().zip([(first, 0), (second, 1)]) {
        assert_eq!(charge["card_last4"], card.number[12..], "{charge}");
        assert_charge(charge, "12.40", charged);
    }
}
