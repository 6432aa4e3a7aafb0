//! Digital sessions: a payer opens a link on the phone and pays, in a real browser.

use std::process::Command;

use serde_json::{Value, json};

use crate::browser::PayersPhone;
use crate::cards::{AMEX, CHALLENGED, MASTERCARD, TestCard, VISA, WRONG_CODE};
use crate::desk::{AGENT, DIGITAL_CONFIGURATION, Desk, HUSHPAD, Session, payment};
use crate::http::FORM;
use crate::page::{Page, field};
use crate::process::output;
use crate::stories::keying::assert_charge;
use crate::stories::test_keypad::presses_card;
use crate::until;

/// The sandbox gateway takes the money and never answers.
const CHARGED_NEVER_ANSWERED: &str = "67.02";

fn shows_link(page: &Page, state: &str) -> Value {
    page.shows(&format!("a link that was {state}"), |shown| shown["link"] == state)
}

fn assert_paid_once(desk: &mut Desk, session: &Session, amount: &str) {
    let status = desk.waits_for_outcome(session, "approved");
    assert_eq!(status["sessionState"], "Finished", "{status}");
    let ledger = desk.ledger();
    let charged: u64 = ledger.iter().filter_map(|charge| charge["charged"].as_u64()).sum();
    assert_eq!(charged, 1, "{ledger:?}");
    let paid = ledger.iter().find(|charge| charge["charged"] == 1).unwrap();
    assert_charge(paid, amount, 1);
}

#[test]
fn a_payer_pays_by_a_link_and_the_agent_sees_it_live() {
    let mut desk = Desk::start();
    let (session, link) = desk.open_digital_session("12.40");
    let agent = desk.open_page(&session);
    shows_link(&agent, "issued");
    let mut phone = PayersPhone::at(&desk);
    phone.opens(&link).sees("to The Lovelace Shop").sees("Reference order-17").keeps("1-form");
    shows_link(&agent, "opened");
    assert_eq!(desk.status(&session)["sessionState"], "InProgress");

    phone.types(&mut desk, TestCard { expiry: "12/30", ..VISA });
    agent.shows("how far the payer is", |shown| {
        field(shown, "card_number")["typed"] == 16 && field(shown, "security_code")["typed"] == 3
    });
    phone.sees("Visa").keeps("2-typed");
    phone.presses("Pay 12.40 GBP").sees("Paid. Thank you.").sees("ending in 1111").keeps("3-paid");
    agent.shows_phase("ended");
    // The link pays once, and says so ever after.
    phone.opens(&link).sees("Paid. Thank you.");
    phone.puts_it_away();

    assert_paid_once(&mut desk, &session, "12.40");
    assert_eq!(desk.status(&session)["attempts"][0]["card"]["last4"], "1111");
    let code = link.rsplit('/').next().unwrap().to_owned();
    assert!(!desk.server_log().contains(&code), "the link is logged");
}

#[test]
fn a_mistake_and_a_decline_give_the_form_again() {
    let mut desk = Desk::start();
    let (session, link) = desk.open_digital_session("12.40");
    let agent = desk.open_page(&session);
    let mut phone = PayersPhone::at(&desk);
    let mistaken = TestCard { number: "4000000000000126", ..WRONG_CODE };
    phone.opens(&link).types(&mut desk, mistaken).presses("Pay 12.40 GBP");
    phone.sees("a digit is missing, doubled or mistaken").is_focused_on("card_number").keeps("4-mistake");
    assert!(desk.ledger().is_empty());

    phone.types(&mut desk, WRONG_CODE).presses("Pay 12.40 GBP").sees("The bank declined the payment");
    phone.sees("Nothing was charged.").is_focused_on("security_code").keeps("5-declined");
    agent.shows_phase("declined");
    phone.types(&mut desk, TestCard { security_code: "321", ..WRONG_CODE }).presses("Pay 12.40 GBP");
    phone.sees("Paid. Thank you.");
    phone.puts_it_away();
    agent.shows_phase("ended");
    assert_paid_once(&mut desk, &session, "12.40");
    let attempts = desk.status(&session)["attempts"].clone();
    assert_eq!((&attempts[0]["state"], &attempts[1]["state"]), (&json!("declined"), &json!("approved")));
}

#[test]
fn without_scripts_a_payer_pays_all_the_same() {
    let mut desk = Desk::start();
    let (session, link) = desk.open_digital_session("12.40");
    let mut phone = PayersPhone::without_scripts(&desk);
    phone.opens(&link).types(&mut desk, AMEX).keeps("6-without-scripts").presses("Pay 12.40 GBP");
    phone.sees("Paid. Thank you.").sees("ending in 0005");
    phone.puts_it_away();
    assert_paid_once(&mut desk, &session, "12.40");
}

#[test]
fn a_payer_confirms_at_the_bank_and_has_paid() {
    let mut desk = Desk::start();
    let (session, link) = desk.open_digital_session("12.40");
    let agent = desk.open_page(&session);
    let mut phone = PayersPhone::at(&desk);
    phone.opens(&link).types(&mut desk, CHALLENGED).presses("Pay 12.40 GBP");
    phone.sees("Your bank wants to check that it is you").keeps("7-challenge");
    agent.shows_phase("at_the_bank");
    phone.presses("Go on to your bank").sees("Your bank: is this you?").presses("Confirm");
    phone.sees("Paid. Thank you.");
    phone.puts_it_away();
    agent.shows_phase("ended");
    assert_paid_once(&mut desk, &session, "12.40");
}

#[test]
fn a_payer_refuses_at_the_bank_and_pays_with_another_card() {
    let mut desk = Desk::start();
    let (session, link) = desk.open_digital_session("12.40");
    let mut phone = PayersPhone::without_scripts(&desk);
    phone.opens(&link).types(&mut desk, CHALLENGED).presses("Pay 12.40 GBP");
    phone.presses("Go on to your bank").presses("Refuse").sees("Nothing was charged.");
    phone.types(&mut desk, MASTERCARD).presses("Pay 12.40 GBP").sees("Paid. Thank you.");
    phone.puts_it_away();
    assert_paid_once(&mut desk, &session, "12.40");
}

#[test]
fn links_that_pay_nothing_say_so_and_a_payer_who_has_paid_reads_that() {
    let mut desk = Desk::start();
    let mut phone = PayersPhone::at(&desk);
    let (revoked, link) = desk.open_digital_session("12.40");
    desk.post(&format!("/v1/session/{}/link/revoke", revoked.guid), "").expect(200);
    phone.opens(&link).sees("This payment was withdrawn").keeps("8-revoked");
    let renewed = desk.post(&format!("/v1/session/{}/link", revoked.guid), "").expect(200).json();
    phone.opens(&link).sees("This payment was withdrawn");
    phone.opens(renewed["paymentLinkUrl"].as_str().unwrap()).sees("Card number");
    desk.cancels(&revoked);

    let mut wrong = link.clone();
    let last = if wrong.ends_with('A') { "B" } else { "A" };
    wrong.replace_range(wrong.len() - 3..wrong.len() - 2, last);
    phone.opens(&wrong).sees("There is no payment at this link").keeps("9-wrong-link");

    let (late, link) = desk.open_digital_session("12.40");
    desk.kill_9();
    let database = desk.workplace().join("data").join("hushpad.db");
    let code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
                c.execute('UPDATE session SET link_expires_on = 1 WHERE ended_on IS NULL'); c.commit()";
    output(Command::new("python3").args(["-c", code]).arg(database));
    desk.restart();
    phone.opens(&link).sees("This link has expired").keeps("10-expired");
    phone.puts_it_away();
    // Nobody had opened it.
    until("the session has expired", || {
        (desk.status(&late)["sessionState"] == "ExpiredOnProviderSide").then_some(())
    });
    assert!(desk.ledger().is_empty());
}

#[test]
fn a_link_goes_to_the_payers_phone_by_text_message() {
    let mut desk = Desk::start();
    let mut data = payment("12.40");
    data["CustomerPhoneNumber"] = json!("+442079460958");
    let body = json!({ "paymentData": data, "accountConfigurationId": DIGITAL_CONFIGURATION });
    let reply = desk.post("/v1/digitalsession", &body.to_string()).expect(200).json();
    let messages =
        until("a text message", || Some(desk.receiver.came("sms")).filter(|came| !came.is_empty()));
    let message = messages[0].json();
    assert_eq!(message["to"], "+442079460958");
    let text = message["text"].as_str().unwrap();
    for part in ["The Lovelace Shop", "12.40 GBP", reply["paymentLinkUrl"].as_str().unwrap()] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!desk.server_log().contains("2079460958"), "the number is logged");
    let guid = reply["sessionGuid"].as_str().unwrap();
    desk.post(&format!("/v1/session/{guid}/cancel"), "").expect(200);
}

#[test]
fn page_watch_knows_the_page_of_this_release_and_any_other() {
    let mut desk = Desk::start();
    let (session, link) = desk.open_digital_session("12.40");
    let watch = |url: String, link: &str| {
        let mut command = Command::new(HUSHPAD);
        command.args(["page-watch", "--url", &url, "--link", link]);
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let (code, said) = watch(format!("http://{}", desk.at.payer), &link);
    assert_eq!(code, Some(0), "{said}");
    // The agent page is another page.
    let (code, said) = watch(format!("http://{}", desk.at.page), &link);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("DIFFERS") && said.contains("content-security-policy"), "{said}");
    assert!(!said.contains(link.rsplit('/').next().unwrap()), "the link is printed");
    desk.cancels(&session);
    desk.kill_9();
    let (code, said) = watch(format!("http://{}", desk.at.payer), &link);
    assert_eq!(code, Some(2), "{said}");
    desk.restart();
}

#[test]
fn of_two_phones_at_one_link_one_pays() {
    let mut desk = Desk::start();
    let (session, link) = desk.open_digital_session("12.40");
    let (mut first, mut second) = (PayersPhone::at(&desk), PayersPhone::second(&desk));
    first.opens(&link).types(&mut desk, VISA);
    second.opens(&link).types(&mut desk, MASTERCARD);
    first.begins_to_press("Pay 12.40 GBP");
    second.begins_to_press("Pay 12.40 GBP");
    first.is_done().sees("Paid. Thank you.");
    second.is_done().sees("Paid. Thank you.");
    first.puts_it_away();
    second.puts_it_away();
    assert_paid_once(&mut desk, &session, "12.40");
    assert_eq!(desk.ledger().len(), 1);
}

#[test]
fn of_many_posts_of_one_form_one_pays() {
    let mut desk = Desk::start();
    let (session, link) = desk.open_digital_session("12.40");
    desk.expects_card(VISA);
    let path = link.split_once("://").and_then(|(_, rest)| rest.split_once('/')).unwrap().1.to_owned();
    let body = format!(
        "round=1&card_number={}&expiry={}&security_code={}",
        VISA.number, VISA.expiry, VISA.security_code
    );
    let (desk_ref, request) = (&desk, format!("POST /{path}"));
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                let reply = desk_ref.payer_page(&request, &[FORM], &body);
                assert_eq!(reply.status, 303, "{reply:?}");
            });
        }
    });
    assert_paid_once(&mut desk, &session, "12.40");
    assert_eq!(desk.ledger().len(), 1);
}

#[test]
fn after_kill_9_a_link_still_opens_and_pays_once() {
    let mut desk = Desk::start();
    let (session, link) = desk.open_digital_session("12.40");
    let mut phone = PayersPhone::at(&desk);
    phone.opens(&link).types(&mut desk, VISA);
    desk.kill_9();
    desk.restart();
    assert_eq!(desk.status(&session)["sessionState"], "InProgress");
    phone.presses("Pay 12.40 GBP").sees("Paid. Thank you.");
    desk.kill_9();
    desk.restart();
    phone.opens(&link).sees("Paid. Thank you.");
    phone.puts_it_away();
    assert_paid_once(&mut desk, &session, "12.40");
}

#[test]
fn a_payment_without_an_answer_is_being_checked_and_then_known() {
    let mut desk = Desk::start();
    let (session, link) = desk.open_digital_session(CHARGED_NEVER_ANSWERED);
    let mut phone = PayersPhone::at(&desk);
    phone.opens(&link).types(&mut desk, VISA).presses("Pay 67.02 GBP");
    phone.sees("do not pay again").keeps("11-being-checked");
    // What the process knew is gone; what it had begun is not.
    desk.kill_9();
    desk.restart();
    phone.sees("Paid. Thank you.");
    phone.puts_it_away();
    assert_paid_once(&mut desk, &session, CHARGED_NEVER_ANSWERED);
}

#[test]
fn a_session_moves_from_keypad_to_link_and_back_and_is_the_same() {
    let mut desk = Desk::start();
    let session = desk.open_test_session();
    let mut screen = PayersPhone::of_the_agent(&desk);
    screen.opens_agent_page(&session).presses("Send a link instead");
    screen.sees("The payment link is ready").keeps("12-agent-link");
    let status = desk.status(&session);
    assert_eq!((&status["channel"], &status["link"]["number"]), (&json!("link"), &json!(1)));
    let renewed = desk.post(&format!("/v1/session/{}/link", session.guid), "").expect(200).json();
    let mut phone = PayersPhone::at(&desk);
    phone.opens(renewed["paymentLinkUrl"].as_str().unwrap()).types_into("number", "41111");
    screen.sees("The customer is typing the card number.").sees("5 keys").keeps("13-agent-typing");
    screen.presses("Revoke link").sees("The payment link was revoked").keeps("14-agent-revoked");
    screen.presses("Take by keypad").sees("Test keypad");
    phone.opens(renewed["paymentLinkUrl"].as_str().unwrap()).sees("This payment was withdrawn");
    phone.puts_it_away();
    screen.puts_it_away();
    let page = desk.open_page(&session);
    desk.expects_card(AMEX);
    presses_card(&page, AMEX);
    page.pay();
    page.shows_phase("ended");
    let status = desk.status(&session);
    assert_eq!((&status["sessionGuid"], &status["channel"]), (&json!(session.guid), &json!("keypad")));
    assert_eq!(status["paymentResultData"]["Amount"], "12.40");
    assert_paid_once(&mut desk, &session, "12.40");
}

#[test]
fn an_agent_with_a_call_sends_a_link_and_takes_the_payment_back() {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(crate::phones::Keying::Info);
    let session = desk.open_session();
    let page = desk.open_page(&session);
    page.acts(&[("action", "link")]);
    shows_link(&page, "issued");
    // The call goes on, and is free for another session.
    desk.both_hear_speech(&call);
    let other = desk.open_session();
    assert_eq!(page.act(&[("action", "keypad")]).status, 409);
    desk.cancels(&other);
    page.acts(&[("action", "keypad")]);
    page.shows_phase("entry");
    crate::page::customer_types_card(&mut desk, &mut call, &page, VISA);
    page.pay();
    page.shows_phase("ended");
    call.customer.hangs_up();
    desk.agent_heard_no_key();
    assert_eq!(desk.status(&session)["sessionGuid"], session.guid.as_str());
    assert_paid_once(&mut desk, &session, "12.40");
    let events = desk.status(&session)["attempts"].as_array().map(Vec::len);
    assert_eq!((events, AGENT), (Some(1), "agent1234"));
}
