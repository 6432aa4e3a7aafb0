//! What else happens around a payment: nobody calls, the caller leaves, the page is opened again.

use serde_json::{Value, json};

use crate::cards::{MASTERCARD, VISA};
use crate::desk::{AGENT, Desk, IDLE_AGENT, payment};
use crate::http::Reply;
use crate::page::{Page, customer_types_card};
use crate::phones::Keying;
use crate::stories::keying::assert_charge;

/// The sandbox gateway takes the money at once and answers after three seconds.
const ANSWERED_LATE: &str = "67.01";

#[test]
fn a_session_needs_a_call_and_a_call_has_one_session() {
    let mut desk = Desk::start();
    refused(&desk.post_session(&ask(IDLE_AGENT)), 409, "no_live_call");
    refused(&desk.post_session(&ask(AGENT)), 409, "no_live_call");
    refused(&desk.post_session(&ask("nobody")), 404, "agent_unknown");

    let mut call = desk.customer_calls(Keying::Info);
    let session = desk.open_session();
    refused(&desk.post_session(&ask(AGENT)), 409, "call_has_session");
    refused(&desk.post_session(&ask(IDLE_AGENT)), 409, "no_live_call");

    // Cancelled, the call is free for the next one.
    let page = desk.open_page(&session);
    page.cancel();
    page.shows_phase("ended");
    assert_eq!(desk.waits_for_outcome(&session, "cancelled")["sessionState"], "Finished");
    let second = desk.open_session();
    assert_ne!(second.guid, session.guid);
    call.customer.hangs_up();
    desk.waits_for_outcome(&second, "cancelled");
    desk.agent_heard_no_key();
}

#[test]
fn a_card_number_in_a_text_is_refused_and_kept_nowhere() {
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    for text in [VISA.number, "card 4111 1111 1111 1111, thanks", "4111-1111-1111-1111"] {
        for name in ["MerchantReferenceCode", "FirstName"] {
            let mut body = ask(AGENT);
            body["paymentData"][name] = json!(text);
            let refusal = desk.post_session(&body).expect(400).json();
            assert!(refusal["detail"].to_string().contains(name), "{refusal}");
        }
    }
}

#[test]
fn a_customer_who_hangs_up_while_typing_has_paid_nothing() {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(Keying::Info);
    let session = desk.open_session();
    let page = desk.open_page(&session);
    page.start("card_number");
    call.customer.keys(&VISA.number[..7]);
    page.shows_typed("card_number", 7);
    call.customer.hangs_up();

    page.shows_phase("ended");
    let status = desk.waits_for_outcome(&session, "cancelled");
    assert_eq!(status["sessionState"], "Finished", "{status}");
    assert_eq!(status["attempts"], json!([]), "{status}");
    assert_eq!(desk.ledger(), Vec::<Value>::new());
    desk.agent_heard_no_key();
}

#[test]
fn a_customer_who_hangs_up_while_paying_has_paid() {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(Keying::Info);
    let session = desk.open_session_of(ANSWERED_LATE);
    let page = desk.open_page(&session);
    customer_types_card(&mut desk, &mut call, &page, MASTERCARD);
    page.pay();
    page.shows_phase("paying");
    call.customer.hangs_up();
    assert_eq!(desk.status(&session)["sessionState"], "Processing");

    page.shows_phase("ended");
    let status = desk.waits_for_outcome(&session, "approved");
    assert_eq!(status["sessionState"], "Finished", "{status}");
    let ledger = desk.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_charge(&ledger[0], ANSWERED_LATE, 1);
    desk.agent_heard_no_key();
}

#[test]
fn a_page_opened_again_takes_over_and_a_third_time_closes_all() {
    let mut desk = Desk::start();
    let session = desk.open_test_session();
    let first = desk.open_page(&session);
    let second = desk.open_page(&session);
    assert_eq!(first.act(&[("action", "start"), ("field", "card_number")]).status, 403);
    second.start("card_number");

    let third = desk.post_page(&session);
    assert_eq!(third.status, 403, "{third:?}");
    assert_eq!(third.header("x-frame-options"), Some("DENY"));
    assert_eq!(second.act(&[("action", "pay")]).status, 410);
    desk.cancels(&session);
}

#[test]
fn a_page_needs_its_own_tokens() {
    let mut desk = Desk::start();
    let (one, other) = (desk.open_test_session(), desk.open_test_session());
    let with_others_tokens = crate::desk::Session {
        guid: one.guid.clone(),
        reply: {
            let mut reply = one.reply.clone();
            reply["agentAccessToken"] = other.reply["agentAccessToken"].clone();
            reply["agentRefreshToken"] = other.reply["agentRefreshToken"].clone();
            reply
        },
    };
    assert_eq!(desk.post_page(&with_others_tokens).status, 403);
    // That has spent nothing: the page opens with its own.
    let page: Page = desk.open_page(&one);
    page.cancel();
    desk.waits_for_outcome(&one, "cancelled");
    desk.cancels(&other);
}

/// What is posted to open a session.
fn ask(agent: &str) -> Value {
    json!({ "agentId": agent, "paymentData": payment("12.40") })
}

fn refused(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply:?}");
    assert_eq!(reply.json()["code"], code, "{reply:?}");
}
