//! MPGS: the merchant names orders and transactions, so the same request can be sent again.

use serde_json::{Value, json};

use crate::doors::{Answer, Simulator};

/// `merchant.SANDBOX:sandbox` in base64.
const BASIC: (&str, &str) = ("authorization", "Basic bWVyY2hhbnQuU0FOREJPWDpzYW5kYm94");

pub(crate) async fn send(simulator: &Simulator, method: &str, path: &str, body: &Value) -> Answer {
    let line = format!("{method} /api/rest/version/100/merchant/SANDBOX/{path}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    simulator.send(&line, &[BASIC], &body).await
}

pub(crate) fn payment(operation: &str, amount: &str) -> Value {
    json!({
        "apiOperation": operation, "order": { "amount": amount, "currency": "GBP" },
        "transaction": { "source": "TELEPHONE_ORDER" },
        "sourceOfFunds": { "type": "CARD", "provided": { "card": {
            "number": "4111111111111111", "securityCode": "123", "expiry": { "month": "12", "year": "30" },
        } } },
    })
}

fn follow(operation: &str, amount: &str) -> Value {
    json!({ "apiOperation": operation, "transaction": { "amount": amount, "currency": "GBP" } })
}

#[tokio::test]
async fn the_same_request_again_is_the_same_payment() {
    let simulator = Simulator::open().await;
    let pay = payment("PAY", "12.40");
    let first = send(&simulator, "PUT", "order/a/transaction/1", &pay).await.expect(201);
    assert_eq!(
        (&first["result"], &first["response"]["gatewayCode"]),
        (&json!("SUCCESS"), &json!("APPROVED"))
    );
    let again = send(&simulator, "PUT", "order/a/transaction/1", &pay).await.expect(200);
    assert_eq!(again, first);
    let other = send(&simulator, "PUT", "order/a/transaction/1", &payment("PAY", "12.41")).await.expect(400);
    assert_eq!(other["error"]["cause"], "INVALID_REQUEST");
    assert_eq!(send(&simulator, "PUT", "order/a/transaction/2", &pay).await.status, 400, "it is paid");
    assert_eq!((simulator.charge("a").requests, simulator.charge("a").charged), (1, 1));
    let seen = send(&simulator, "GET", "order/a/transaction/1", &Value::Null).await.expect(200);
    assert_eq!(seen["order"]["totalCapturedAmount"], 12.4);
    assert_eq!(send(&simulator, "GET", "order/b", &Value::Null).await.status, 400);
}

#[tokio::test]
async fn an_authorisation_is_captured_refunded_and_voided() {
    let simulator = Simulator::open().await;
    send(&simulator, "PUT", "order/a/transaction/1", &payment("AUTHORIZE", "12.40")).await.expect(201);
    send(&simulator, "PUT", "order/a/transaction/2", &follow("CAPTURE", "10.00")).await.expect(201);
    send(&simulator, "PUT", "order/a/transaction/3", &follow("REFUND", "4.00")).await.expect(201);
    assert_eq!(send(&simulator, "PUT", "order/a/transaction/4", &follow("REFUND", "6.01")).await.status, 400);
    assert_eq!(simulator.sums("a"), ["12.40", "10.00", "4.00", "0.00", "8.40"]);
    let void = json!({ "apiOperation": "VOID", "transaction": { "targetTransactionId": "3" } });
    send(&simulator, "PUT", "order/a/transaction/5", &void).await.expect(201);
    assert_eq!(simulator.charge("a").refunded, "0.00");
    let void = json!({ "apiOperation": "VOID", "transaction": { "targetTransactionId": "1" } });
    let voided = send(&simulator, "PUT", "order/a/transaction/6", &void).await.expect(201);
    assert_eq!(voided["order"]["status"], "CANCELLED");
    assert_eq!(simulator.charge("a").stands, "0.00");
}

#[tokio::test]
async fn declines_come_with_201_and_another_transaction_may_follow() {
    let simulator = Simulator::open().await;
    let declined =
        send(&simulator, "PUT", "order/a/transaction/1", &payment("PAY", "66.02")).await.expect(201);
    assert_eq!(
        (&declined["result"], &declined["response"]["gatewayCode"]),
        (&json!("FAILURE"), &json!("INSUFFICIENT_FUNDS"))
    );
    send(&simulator, "PUT", "order/a/transaction/2", &payment("PAY", "12.40")).await.expect(201);
    assert_eq!(simulator.charge("a").charged, 1);
}

#[tokio::test]
async fn a_keyed_card_is_marked_as_such_and_a_token_pays_without_a_number() {
    let simulator = Simulator::open().await;
    let mut web = payment("PAY", "12.40");
    web["transaction"]["source"] = json!("INTERNET");
    let refused = send(&simulator, "PUT", "order/a/transaction/1", &web).await.expect(400);
    assert_eq!(refused["error"]["field"], "transaction.source");
    let nobody = simulator.send("GET /api/rest/version/100/merchant/SANDBOX/order/a", &[], "").await;
    assert_eq!(nobody.status, 401);
    let kept = send(&simulator, "POST", "token", &json!({ "sourceOfFunds": web["sourceOfFunds"] }))
        .await
        .expect(201);
    let mut pay = payment("PAY", "12.40");
    pay["sourceOfFunds"] = json!({ "token": kept["token"] });
    send(&simulator, "PUT", "order/b/transaction/1", &pay).await.expect(201);
    assert_eq!(simulator.charge("b").card_last4, "1111");
}
