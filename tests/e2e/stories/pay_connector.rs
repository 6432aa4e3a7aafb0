//! Others' telephony hands over a card by the pay connector: it is charged once, whatever happens meanwhile, and no digit
//! of it stays.

use serde_json::{Value, json};

use crate::cards::{UNIQUE, VISA};
use crate::desk::{Desk, charge};
use crate::until;

#[test]
fn others_telephony_pays_and_no_digit_stays() {
    let mut desk = Desk::start();
    desk.expects_card(UNIQUE);
    let body = charge("PKa1b2c3d4", UNIQUE, "12.40").to_string();
    let answer = desk.telephony_posts("generic", &body).expect(200).json();
    assert!(answer["charge_id"].is_string() && answer["error_code"].is_null(), "{answer}");
    assert_eq!(answer["card_last4"], UNIQUE.number[12..], "{answer}");
    let session = desk.session_told(&answer);
    let status = desk.status(&session);
    assert_eq!((&status["outcome"], &status["callGuid"]), (&json!("approved"), &Value::Null), "{status}");
    assert_eq!(status["paymentResultData"]["MerchantReferenceCode"], "PKa1b2c3d4", "{status}");
    assert_eq!(desk.telephony_posts("generic", &body).expect(200).json(), answer);
    assert_eq!(desk.ledger().len(), 1);

    // What is refused is not written back, logged or kept either.
    for (member, value) in [
        ("description", json!(format!("card {}", UNIQUE.number))),
        ("parameters", json!({"Note": UNIQUE.number})),
        ("parameters", json!({UNIQUE.number: "x"})),
        ("transaction_id", json!(UNIQUE.number)),
        ("amount", json!(UNIQUE.number)),
        ("currency_code", json!(UNIQUE.number)),
        ("method", json!(UNIQUE.number)),
    ] {
        let mut wrong = charge("PKwrong", UNIQUE, "13.00");
        wrong[member] = value;
        let refused = desk.telephony_posts("generic", &wrong.to_string()).expect(400).json();
        assert!(refused["error_code"].is_string() && refused.get("charge_id").is_none(), "{refused}");
    }
    let half = &body[..body.len() / 2];
    desk.telephony_posts("generic", half).expect(400);
    assert_eq!(desk.telephony_asks("generic", UNIQUE.number, "PKa1b2c3d4").status, 401);
    assert_eq!(desk.telephony_asks("stripe", "sandbox", "PKa1b2c3d4").status, 404);
    assert_eq!(desk.ledger().len(), 1);
    assert_eq!(desk.memory_image().forms_of(&UNIQUE), Vec::<String>::new());
}

#[test]
fn killed_in_mid_payment_the_same_transaction_is_never_charged_again() {
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    for (user, path, tens) in
        [("generic", "/charges", 1), ("cybersource", "/payments", 2), ("stripe", "/confirm", 3)]
    {
        charged_and_never_told(&mut desk, user, path, &format!("1{tens}.01"));
        never_processed(&mut desk, user, path, &format!("1{tens}.02"));
    }
    before_a_connection(&mut desk);
    for charge in desk.ledger() {
        assert!(charge["charged"].as_u64() <= Some(1), "charged twice: {charge}");
        assert!(charge["requests"].as_u64() <= Some(1), "asked for twice: {charge}");
    }
}

/// The gateway has charged and does not say so; then the program is killed.
fn charged_and_never_told(desk: &mut Desk, user: &str, path: &str, amount: &str) {
    let (id, body) = transaction(user, amount);
    desk.gateway_fails(&json!({"fault": "never_answered", "gateway": user, "path": path, "method": "POST"}));
    let sent = desk.telephony_sends(user, body.clone());
    until("the gateway has charged", || charge_of(desk, amount));
    desk.kill_9();
    assert!(sent.join().unwrap().is_none(), "nobody was told anything");
    desk.restart();
    let told = until("it is known", || {
        let reply = desk.telephony_posts(user, &body);
        (reply.status == 200).then(|| reply.json())
    });
    assert!(told["charge_id"].is_string(), "{user}: {told}");
    let session = desk.session_told(&told);
    assert_eq!(desk.status(&session)["outcome"], "approved");
    assert_eq!(desk.telephony_asks(user, "sandbox", &id).expect(200).json(), told);
    let charged = charge_of(desk, amount).unwrap();
    assert_eq!((&charged["charged"], &charged["stands"]), (&json!(1), &json!(amount)), "{charged}");
}

/// The request was on its way, and the gateway never took it up.
fn never_processed(desk: &mut Desk, user: &str, path: &str, amount: &str) {
    let (_, body) = transaction(user, amount);
    desk.gateway_fails(&json!({"fault": "never_processed", "gateway": user, "path": path, "method": "POST"}));
    let sent = desk.telephony_sends(user, body.clone());
    desk.fault_has_struck();
    desk.kill_9();
    let _ = sent.join();
    desk.restart();
    let unknown = desk.telephony_posts(user, &body).expect(202).json();
    assert_eq!(unknown["error_code"], "unknown", "{unknown}");
    is_told_as_not_charged(desk, user, &body, &unknown);
    let charged = charge_of(desk, amount);
    assert!(charged.as_ref().is_none_or(|charge| charge["charged"] == 0), "{charged:?}");
}

/// The intent is written down, and no byte has left.
fn before_a_connection(desk: &mut Desk) {
    let (id, body) = transaction("generic", "19.03");
    desk.stop_gateway();
    let sent = desk.telephony_sends("generic", body.clone());
    until("the intent is written down", || {
        let answer = desk.telephony_asks("generic", "sandbox", &id);
        (answer.status == 202 && answer.json()["parameters"]["session_guid"].is_string()).then_some(())
    });
    desk.kill_9();
    let _ = sent.join();
    desk.start_gateway();
    desk.restart();
    let unknown = desk.telephony_posts("generic", &body).json();
    is_told_as_not_charged(desk, "generic", &body, &unknown);
    assert_eq!(charge_of(desk, "19.03").map(|charge| charge["charged"].clone()).unwrap_or(json!(0)), 0);
}

/// Nobody claims to know at once; then it is known, or the operator says it.
fn is_told_as_not_charged(desk: &mut Desk, user: &str, body: &str, unknown: &Value) {
    let session = desk.session_told(unknown);
    if user == "cybersource" {
        let open = desk.hushpad(&["attempts", "list", "--unknown"]);
        let line = open.lines().find(|line| line.contains(&session.guid)).unwrap_or_else(|| panic!("{open}"));
        let id = line.split_whitespace().next().unwrap().to_owned();
        desk.hushpad(&["attempts", "settle", &id, "--not-charged", "--reference", "looked at the ledger"]);
    }
    let told = until("it is known", || {
        let reply = desk.telephony_posts(user, body);
        (reply.status == 200).then(|| reply.json())
    });
    assert_eq!(told["error_code"], "try_again_later", "{user}: {told}");
    assert!(told["error_message"].as_str().unwrap().contains("Nothing was charged"), "{told}");
}

fn transaction(user: &str, amount: &str) -> (String, String) {
    let id = format!("PK-{user}-{amount}");
    let body = charge(&id, VISA, amount).to_string();
    (id, body)
}

/// What the gateway's ledger has of this amount, which is used once.
fn charge_of(desk: &Desk, amount: &str) -> Option<Value> {
    let mut found = desk.ledger().into_iter().filter(|charge| charge["amount"] == amount);
    let charge = found.next();
    assert!(found.next().is_none(), "two references of {amount}");
    charge
}
