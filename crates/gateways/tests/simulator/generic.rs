//! The generic gateway beyond sales: what `tests/sandbox.rs` does not ask.

use serde_json::{Value, json};

use crate::doors::{BASIC, Simulator};

async fn order(simulator: &Simulator, body: Value) -> (u16, Value) {
    let answer = simulator.send("POST /charges", &[BASIC], &body.to_string()).await;
    (answer.status, answer.json())
}

pub(crate) fn card(method: &str, id: &str, amount: &str) -> Value {
    json!({
        "transaction_id": id, "method": method, "cardnumber": "4111111111111111", "cvv": "123",
        "expiry_month": "12", "expiry_year": "30", "amount": amount, "currency_code": "GBP",
    })
}

#[tokio::test]
async fn an_authorisation_is_captured_in_parts_and_given_back() {
    let simulator = Simulator::open().await;
    let (_, authorised) = order(&simulator, card("authorize", "a", "12.40")).await;
    let id = authorised["charge_id"].clone();
    let step = |no: &str, method: &str, amount: &str| json!({ "transaction_id": no, "method": method, "charge_id": id, "amount": amount, "currency_code": "GBP" });
    assert_eq!(order(&simulator, step("b", "capture", "10.00")).await.0, 200);
    assert_eq!(order(&simulator, step("b", "capture", "10.00")).await.0, 200);
    assert_eq!(order(&simulator, step("c", "capture", "10.00")).await.0, 402);
    assert_eq!(order(&simulator, step("d", "refund", "4.00")).await.0, 200);
    assert_eq!(simulator.sums("a"), ["12.40", "10.00", "4.00", "0.00", "8.40"]);
}

#[tokio::test]
async fn a_reversal_undoes_what_was_done_or_forbids_it_for_ever() {
    let simulator = Simulator::open().await;
    order(&simulator, card("charge", "a", "12.40")).await;
    let reverse = |no: &str, of: &str| json!({ "transaction_id": no, "method": "reverse", "original_transaction_id": of });
    assert_eq!(order(&simulator, reverse("r1", "a")).await.0, 200);
    assert_eq!(simulator.sums("a"), ["12.40", "12.40", "12.40", "0.00", "0.00"]);
    let (status, none) = order(&simulator, reverse("r2", "late")).await;
    assert_eq!((status, &none["error_code"]), (404, &json!("not_found")));
    let (status, late) = order(&simulator, card("charge", "late", "12.40")).await;
    assert_eq!((status, &late["error_code"]), (409, &json!("reversed")));
    assert!(simulator.ledger.find("late").is_none());
}

#[tokio::test]
async fn a_token_is_charged_without_a_number() {
    let simulator = Simulator::open().await;
    let (_, kept) = order(&simulator, card("tokenize", "t", "0.00")).await;
    let charge = json!({
        "transaction_id": "a", "method": "charge", "token_id": kept["token_id"], "amount": "5.00", "currency_code": "GBP",
    });
    assert_eq!(order(&simulator, charge).await.0, 200);
    assert_eq!(simulator.charge("a").card_last4, "1111");
}

#[tokio::test]
async fn checks_parts_and_reviews_are_told() {
    let simulator = Simulator::open().await;
    let (_, mismatch) = order(&simulator, card("charge", "a", "68.06")).await;
    assert_eq!(mismatch["cvv_result"], "mismatch");
    let (_, part) = order(&simulator, card("charge", "b", "68.01")).await;
    assert_eq!((&part["amount"], simulator.charge("b").stands.as_str()), (&json!("34.00"), "34.00"));
    let (_, review) = order(&simulator, card("charge", "c", "68.02")).await;
    assert_eq!((&review["review"], simulator.charge("c").captured.as_str()), (&json!(true), "0.00"));
    let (_, pending) = order(&simulator, card("charge", "d", "68.03")).await;
    assert_eq!(pending["error_code"], "pending");
    for expected in [json!(null), json!(null), json!("ch")] {
        let told = simulator.send("GET /charges?transaction_id=d", &[BASIC], "").await.json();
        assert_eq!(told["charge_id"].as_str().map(|id| &id[..2]), expected.as_str());
    }
}

#[tokio::test]
async fn a_payment_can_be_hidden_from_the_first_questions() {
    let simulator = Simulator::open().await;
    order(&simulator, card("charge", "a", "69.04")).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(simulator.send("GET /charges?transaction_id=a", &[BASIC], "").await.status);
    }
    assert_eq!(told, [404, 404, 200]);
}
