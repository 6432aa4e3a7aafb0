//! Access Worldpay: versioned media types, links, and no protection against a second charge.

use serde_json::{Value, json};

use crate::doors::{Answer, BASIC, Simulator};

const TYPE: (&str, &str) = ("content-type", "application/vnd.worldpay.payments-v7+json");
const PAY: &str = "POST /cardPayments/customerInitiatedTransactions";

pub(crate) fn payment(reference: &str, amount: i64, settles: bool) -> Value {
    json!({
        "transactionReference": reference, "merchant": { "entity": "default" }, "channel": "moto",
        "instruction": {
            "requestAutoSettlement": { "enabled": settles }, "narrative": { "line1": "Shop" },
            "value": { "currency": "GBP", "amount": amount },
            "paymentInstrument": {
                "type": "card/plain", "cardNumber": "4111111111111111", "cvc": "123",
                "expiryDate": { "month": 12, "year": 2030 },
            },
        },
    })
}

async fn pay(simulator: &Simulator, body: &Value) -> Answer {
    simulator.send(PAY, &[BASIC, TYPE], &body.to_string()).await
}

/// Follows a link of an answer.
async fn follow(simulator: &Simulator, answer: &Value, link: &str, body: &str) -> Answer {
    let href = answer["_links"][link]["href"].as_str().unwrap_or_else(|| panic!("no {link} in {answer}"));
    let path = href.strip_prefix(&format!("http://{}", simulator.address)).unwrap();
    let method = if link.ends_with("events") { "GET" } else { "POST" };
    simulator.send(&format!("{method} {path}"), &[BASIC, TYPE], body).await
}

#[tokio::test]
async fn an_authorisation_is_settled_and_refunded_by_its_links() {
    let simulator = Simulator::open().await;
    let authorised = pay(&simulator, &payment("a", 1240, false)).await.expect(201);
    assert_eq!(authorised["outcome"], "authorized");
    let part = r#"{"value":{"currency":"GBP","amount":1000},"reference":"part-1"}"#;
    let settled = follow(&simulator, &authorised, "cardPayments:partialSettle", part).await.expect(202);
    let part = r#"{"value":{"currency":"GBP","amount":400},"reference":"back-1"}"#;
    follow(&simulator, &settled, "cardPayments:partialRefund", part).await.expect(202);
    let seen = follow(&simulator, &settled, "cardPayments:events", "").await.expect(200);
    assert_eq!(seen["lastEvent"], "Sent for Refund");
    assert_eq!(simulator.sums("a"), ["12.40", "10.00", "4.00", "0.00", "8.40"]);
}

#[tokio::test]
async fn a_reversal_cancels_or_refunds_and_questions_go_by_reference() {
    let simulator = Simulator::open().await;
    for (reference, settles, event) in [("a", false, "Sent for Cancellation"), ("b", true, "Sent for Refund")]
    {
        let paid = pay(&simulator, &payment(reference, 1240, settles)).await.expect(201);
        follow(&simulator, &paid, "cardPayments:reverse", "").await.expect(202);
        let line = format!("GET /payments/events?transactionRef={reference}&entity=default");
        assert_eq!(simulator.send(&line, &[BASIC], "").await.expect(200)["lastEvent"], event);
        assert_eq!(simulator.charge(reference).stands, "0.00");
    }
    let nobody = "GET /payments/events?transactionRef=c&entity=default";
    assert_eq!(simulator.send(nobody, &[BASIC], "").await.status, 404);
}

#[tokio::test]
async fn the_version_the_channel_and_the_fields_are_demanded() {
    let simulator = Simulator::open().await;
    let body = payment("a", 1240, true);
    let plain = [BASIC, ("content-type", "application/json")];
    assert_eq!(simulator.send(PAY, &plain, &body.to_string()).await.status, 415);
    assert_eq!(simulator.send(PAY, &[TYPE], &body.to_string()).await.status, 401);
    let other = [BASIC, TYPE, ("accept", "application/vnd.worldpay.payments-v5+json")];
    assert_eq!(simulator.send(PAY, &other, &body.to_string()).await.status, 406);
    for (path, value, blamed) in [
        ("/channel", json!("ecom"), "$.channel"),
        ("/instruction/value/currency", json!("ISK"), "$.instruction.value"),
        (
            "/instruction/paymentInstrument/cardNumber",
            json!("4111111111111112"),
            "$.instruction.paymentInstrument.cardNumber",
        ),
    ] {
        let mut body = body.clone();
        *body.pointer_mut(path).unwrap() = value;
        let refused = pay(&simulator, &body).await.expect(400);
        assert_eq!(refused["validationErrors"][0]["jsonPath"], blamed);
    }
    assert!(simulator.ledger.charges().is_empty());
}

#[tokio::test]
async fn refusals_come_with_201_and_the_same_reference_is_charged_again() {
    let simulator = Simulator::open().await;
    let refused = pay(&simulator, &payment("a", 6602, true)).await.expect(201);
    assert_eq!((&refused["outcome"], &refused["refusalCode"]), (&json!("refused"), &json!("51")));
    for _ in 0..2 {
        pay(&simulator, &payment("b", 1240, true)).await.expect(201);
    }
    assert_eq!(simulator.charge("b").charged, 2);
}

#[tokio::test]
async fn a_token_pays_without_a_number() {
    let simulator = Simulator::open().await;
    let keep = json!({
        "description": "x", "merchant": { "entity": "default" },
        "paymentInstrument": {
            "type": "card/front", "cardHolderName": "Ann", "cardNumber": "4111111111111111",
            "cardExpiryDate": { "month": 12, "year": 2030 },
        },
    });
    let kind = ("content-type", "application/vnd.worldpay.tokens-v3.hal+json");
    let kept = simulator.send("POST /tokens", &[BASIC, kind], &keep.to_string()).await.expect(201);
    let mut body = payment("a", 1240, true);
    body["instruction"]["paymentInstrument"] = kept["tokenPaymentInstrument"].clone();
    assert_eq!(pay(&simulator, &body).await.expect(201)["outcome"], "sentForSettlement");
    assert_eq!(simulator.charge("a").card_last4, "1111");
}
