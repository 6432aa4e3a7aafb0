//! The main job, once for each way in which a phone signals its keys: the customer types a card during the call, the
//! agent presses Pay, the money is taken, and the agent's phone got nothing but speech.

use serde_json::Value;

use crate::cards::{AMEX, MASTERCARD, TestCard, VISA};
use crate::desk::Desk;
use crate::page::customer_types_card;
use crate::phones::Keying;

#[test]
fn a_card_typed_as_rfc_4733_events_pays() {
    a_typed_card_pays(Keying::Events, VISA);
}

#[test]
fn a_card_typed_as_info_pays() {
    a_typed_card_pays(Keying::Info, MASTERCARD);
}

#[test]
fn a_card_typed_as_tones_in_mu_law_pays() {
    a_typed_card_pays(Keying::TonesMuLaw, VISA);
}

#[test]
fn a_card_typed_as_tones_in_a_law_pays() {
    a_typed_card_pays(Keying::TonesALaw, AMEX);
}

fn a_typed_card_pays(keying: Keying, card: TestCard) {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(keying);
    let session = desk.open_session();
    let page = desk.open_page(&session);

    customer_types_card(&mut desk, &mut call, &page, card);
    page.shows_phase("ready_to_pay");
    page.pay();
    page.shows_phase("ended");
    // The session is over, the call is not.
    desk.both_hear_speech(&call);
    call.customer.hangs_up();

    desk.agent_heard_no_key();
    desk.customer_heard_all_speech(&call);
    says_approved(&desk.status(&session), &session.guid, card);
    let ledger = desk.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_charge(&ledger[0], "12.40", 1);
}

/// The reply of `GET /v1/session/{guid}` after an approved payment of 12.40 GBP.
fn says_approved(status: &Value, guid: &str, card: TestCard) {
    let is = |name: &str, expected: &str| assert_eq!(status[name], expected, "{name} in {status}");
    is("sessionGuid", guid);
    is("sessionState", "Finished");
    is("outcome", "approved");
    assert!(status["callGuid"].is_string() && status["providerSessionGuid"].is_string(), "{status}");
    let time = |name: &str| status[name].as_str().unwrap().to_owned();
    let (created, updated) = (time("createdOn"), time("lastUpdatedOn"));
    // Six decimals and a Z: such texts sort as the times do.
    assert!(created.len() == 27 && created.ends_with('Z') && created < updated, "{status}");
    let data = &status["paymentResultData"];
    let has = |name: &str, expected: &str| assert_eq!(data[name], expected, "{name} in {status}");
    has("MerchantReferenceCode", "order-17");
    has("Amount", "12.40");
    has("Currency", "GBP");
    assert!(data.as_object().unwrap().values().all(Value::is_string), "{status}");
    assert!(data["charge_id"].is_string(), "{status}");
    let attempts = status["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1, "{status}");
    assert_eq!(attempts[0]["state"], "approved", "{status}");
    assert_eq!(attempts[0]["card"]["first6"], card.number[..6], "{status}");
    assert_eq!(attempts[0]["card"]["last4"], card.number[card.number.len() - 4..], "{status}");
}

/// One line of the gateway's ledger: what was asked for once, and how often money was taken.
pub(super) fn assert_charge(charge: &Value, amount: &str, charged: u64) {
    assert_eq!(charge["amount"], amount, "{charge}");
    assert_eq!(charge["currency_code"], "GBP", "{charge}");
    assert_eq!(charge["requests"], 1, "{charge}");
    assert_eq!(charge["charged"], charged, "{charge}");
}
