//! Every member of every payment, replaced by something odd: there is always an answer, and never a double charge.

use serde_json::{Value, json};

use crate::doors::{Answer, BASIC, Simulator};
use crate::{adyen, cybersource, generic, mpgs, worldpay};

/// What a client may write by mistake or by malice.
fn oddities() -> Vec<Value> {
    vec![
        json!(null),
        json!([]),
        json!({}),
        json!(""),
        json!("\u{0}é\u{1F600}"),
        json!("9".repeat(400)),
        json!(-1),
        json!(i64::MAX),
        json!(1e300),
        json!(true),
    ]
}

/// The place of every member, as JSON pointers (RFC 6901).
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    if let Value::Object(members) = value {
        for (name, member) in members {
            let place = format!("{at}/{name}");
            found.push(place.clone());
            places(member, &place, found);
        }
    }
}

fn spoiled(payment: &Value) -> Vec<String> {
    let mut found = Vec::new();
    places(payment, "", &mut found);
    let odd = |place: &String, oddity: Value| {
        let mut spoiled = payment.clone();
        *spoiled.pointer_mut(place).unwrap() = oddity;
        spoiled.to_string()
    };
    found.iter().flat_map(|place| oddities().into_iter().map(|oddity| odd(place, oddity))).collect()
}

fn assert_answered(answer: &Answer, body: &str) {
    assert!((200..500).contains(&answer.status), "{} {} for {body}", answer.status, answer.text);
}

#[tokio::test]
async fn whatever_stands_in_a_payment_there_is_an_answer() {
    let simulator = Simulator::open().await;
    for body in spoiled(&generic::card("charge", "a", "12.40")) {
        assert_answered(&simulator.send("POST /charges", &[BASIC], &body).await, &body);
    }
    let key = ("x-api-key", "sandbox-api-key");
    for body in spoiled(&adyen::payment("b", 1240)) {
        assert_answered(&simulator.send("POST /v72/payments", &[key], &body).await, &body);
    }
    let kind = ("content-type", "application/vnd.worldpay.payments-v7+json");
    for body in spoiled(&worldpay::payment("c", 1240, true)) {
        let line = "POST /cardPayments/customerInitiatedTransactions";
        assert_answered(&simulator.send(line, &[BASIC, kind], &body).await, &body);
    }
    for (no, body) in spoiled(&mpgs::payment("PAY", "12.40")).iter().enumerate() {
        let body: Value = serde_json::from_str(body).unwrap();
        let path = format!("order/{no}/transaction/1");
        assert_answered(&mpgs::send(&simulator, "PUT", &path, &body).await, &body.to_string());
    }
    for body in spoiled(&cybersource::payment("e", "12.40", true)) {
        assert_answered(&cybersource::send(&simulator, "POST", "/pts/v2/payments", &body).await, &body);
    }
    let twice = |reference: &str| simulator.ledger.find(reference).is_some_and(|charge| charge.charged > 1);
    assert!(!twice("a") && !twice("e"), "one reference, one charge, where the gateway minds it");
}

#[tokio::test]
async fn bytes_that_are_no_json_and_paths_that_are_none_get_an_answer() {
    let simulator = Simulator::open().await;
    let key = ("x-api-key", "sandbox-api-key");
    let stripe = ("authorization", "Bearer sk_test_sandbox");
    for body in ["", "{", "[]", "null", "\u{0}", "a=b&c[=d]&%", "{\"merchantAccount\":1}"] {
        for (line, header) in [
            ("POST /charges", BASIC),
            ("GET /charges", BASIC),
            ("POST /v72/payments", key),
            ("POST /v72/payments/x/captures", key),
            ("POST /v72", key),
            ("POST /payments/settlements/x", BASIC),
            ("POST /payments", BASIC),
            ("POST /tokens", BASIC),
            ("POST /v1/payment_intents", stripe),
            ("POST /v1/payment_methods", stripe),
            ("POST /v1/refunds", stripe),
            ("POST /v1", stripe),
            ("GET /v1/payment_intents/search?query=%27", stripe),
            ("POST /admin/faults", BASIC),
            ("POST /admin/chaos", BASIC),
            ("PUT /", BASIC),
            ("GET //", BASIC),
        ] {
            let answer = simulator.send(line, &[header], body).await;
            assert!((200..500).contains(&answer.status), "{line} {body}: {} {}", answer.status, answer.text);
        }
    }
    assert!(simulator.ledger.charges().is_empty());
}
