//! A decline is not the end: the blamed field and the security code are keyed again, on the same session.

use crate::cards::{TestCard, VISA, WRONG_CODE};
use crate::desk::Desk;
use crate::page::{customer_types_again, customer_types_card, field};
use crate::phones::Keying;
use crate::stories::keying::assert_charge;

#[test]
fn after_a_decline_the_blamed_fields_are_keyed_again_and_it_is_approved() {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(Keying::Info);
    let session = desk.open_session();
    let page = desk.open_page(&session);

    // The gateway blames this card's security code, whatever it is.
    customer_types_card(&mut desk, &mut call, &page, WRONG_CODE);
    page.pay();
    let declined = page.shows_phase("declined");
    assert_eq!(field(&declined, "security_code")["status"], "invalid", "{declined}");
    assert_eq!(field(&declined, "card_number")["status"], "valid", "{declined}");

    // So the customer takes another card: number and code again, the rest stays.
    let other = TestCard { expiry: WRONG_CODE.expiry, ..VISA };
    desk.expects_card(other);
    customer_types_again(&desk, &mut call, &page, "card_number", other.number);
    customer_types_again(&desk, &mut call, &page, "security_code", other.security_code);
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
    let ledger = desk.ledger();
    assert_eq!(ledger.len(), 2, "{ledger:?}");
    let with =
        |card: TestCard| ledger.iter().find(|charge| charge["card_last4"] == card.number[12..]).unwrap();
    assert_charge(with(WRONG_CODE), "12.40", 0);
    assert_charge(with(other), "12.40", 1);
}
