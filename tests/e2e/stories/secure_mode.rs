//! Secure mode lasts as long as the session: before and after it the agent hears every key, so that menus work; in it
//! none, also when the call is held or re-negotiated while the customer types.

use std::time::Instant;

use crate::cards::{MASTERCARD, VISA};
use crate::desk::{Call, Desk};
use crate::page::{Page, customer_types, customer_types_card};
use crate::phones::Keying;
use crate::until;

#[test]
fn events_pass_before_and_after_a_session_and_not_in_it() {
    keys_pass_only_outside_a_session(Keying::Events, |desk| desk.agent.log().matches("(end=1)").count());
}

#[test]
fn tones_pass_before_and_after_a_session_and_not_in_it() {
    keys_pass_only_outside_a_session(Keying::TonesMuLaw, |desk| {
        desk.wire.sound_to(&desk.agent.rtp()).keys(&desk.workplace()).len()
    });
}

#[test]
fn infos_pass_before_and_after_a_session_and_not_in_it() {
    keys_pass_only_outside_a_session(Keying::Info, |desk| desk.agent.log().matches("received DTMF").count());
}

#[test]
fn a_customer_types_on_through_a_renegotiation_of_the_call() {
    typing_survives(|desk, call| {
        call.customer.renegotiates();
        desk.both_hear_speech(call);
    });
}

#[test]
fn a_customer_types_on_after_being_held() {
    typing_survives(|desk, call| {
        let before = Instant::now();
        desk.agent.holds();
        until("the customer is held", || desk.sdp_to_customer_since(call, before, "a=sendonly"));
        let before = Instant::now();
        desk.agent.resumes();
        until("the customer is back", || desk.sdp_to_customer_since(call, before, "a=sendrecv"));
        desk.both_hear_speech(call);
    });
}

fn keys_pass_only_outside_a_session(keying: Keying, heard: impl Fn(&Desk) -> usize) {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(keying);
    call.customer.keys("123#");
    until("the agent's phone hears the keys", || (heard(&desk) == 4).then_some(()));

    let session = desk.open_session();
    let page = desk.open_page(&session);
    customer_types_card(&mut desk, &mut call, &page, VISA);
    page.cancel();
    desk.waits_for_outcome(&session, "cancelled");
    assert_eq!(heard(&desk), 4, "keys of the card reached the agent");

    desk.both_hear_speech(&call);
    call.customer.keys("789#");
    until("the agent's phone hears the keys again", || (heard(&desk) == 8).then_some(()));
    call.customer.hangs_up();
}

/// Half a card number, then something, then the rest.
fn typing_survives(something: impl Fn(&mut Desk, &mut Call)) {
    let mut desk = Desk::start();
    desk.expects_card(MASTERCARD);
    let mut call = desk.customer_calls(Keying::Events);
    let session = desk.open_session();
    let page: Page = desk.open_page(&session);
    let (first, second) = MASTERCARD.number.split_at(8);
    page.start("card_number");
    call.customer.keys(first);
    page.shows_typed("card_number", 8);
    something(&mut desk, &mut call);
    call.customer.keys(second);
    page.shows_field("card_number", "valid");
    customer_types(&desk, &mut call, &page, "expiry", MASTERCARD.expiry);
    customer_types(&desk, &mut call, &page, "security_code", MASTERCARD.security_code);
    page.pay();
    page.shows_phase("ended");
    call.customer.hangs_up();
    desk.agent_heard_no_key();
    assert_eq!(desk.status(&session)["outcome"], "approved");
}
