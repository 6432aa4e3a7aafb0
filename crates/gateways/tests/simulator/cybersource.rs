//! CyberSource: signed requests, declines with 201, duplicates, reversal by the merchant's own id, search.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{digest, hmac};
use serde_json::{Value, json};

use crate::doors::{Answer, Simulator};

/// Signs with the published merchant, key and secret of the simulator.
pub(crate) async fn send(simulator: &Simulator, method: &str, path: &str, body: &str) -> Answer {
    let now = simulator.now_s();
    let mut claims = json!({
        "iat": now, "exp": now + 120, "request-method": method, "request-host": simulator.address.to_string(),
        "request-resource-path": path, "iss": "sandbox_merchant", "jti": "1", "v-c-jwt-version": "2",
        "v-c-merchant-id": "sandbox_merchant",
    });
    if method != "GET" {
        claims["digestAlgorithm"] = json!("SHA-256");
        claims["digest"] = json!(STANDARD.encode(digest::digest(&digest::SHA256, body.as_bytes())));
    }
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","kid":"sandbox-key","typ":"JWT"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let secret = STANDARD.decode("aHVzaHBhZC1zYW5kYm94LXNoYXJlZC1zZWNyZXQtMzI=").unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    let authorization = format!("Bearer {signed}.{signature}");
    simulator.send(&format!("{method} {path}"), &[("authorization", &authorization)], body).await
}

async fn post(simulator: &Simulator, path: &str, body: Value) -> Answer {
    send(simulator, "POST", path, &body.to_string()).await
}

pub(crate) fn payment(code: &str, amount: &str, is_sale: bool) -> Value {
    json!({
        "clientReferenceInformation": { "code": code, "transactionId": format!("t-{code}") },
        "processingInformation": { "capture": is_sale, "commerceIndicator": "moto" },
        "orderInformation": {
            "amountDetails": { "totalAmount": amount, "currency": "GBP" }, "billTo": { "postalCode": "SW1A 1AA" },
        },
        "paymentInformation": { "card": {
            "number": "4111111111111111", "expirationMonth": "12", "expirationYear": "2030", "securityCode": "123",
        } },
    })
}

fn details(amount: &str) -> Value {
    json!({
        "clientReferenceInformation": { "code": "step" },
        "orderInformation": { "amountDetails": { "totalAmount": amount, "currency": "GBP" } },
    })
}

#[tokio::test]
async fn an_unsigned_or_changed_request_is_nobodys() {
    let simulator = Simulator::open().await;
    let body = payment("a", "12.40", true).to_string();
    assert_eq!(simulator.send("POST /pts/v2/payments", &[], &body).await.status, 401);
    assert!(simulator.ledger.charges().is_empty());
}

#[tokio::test]
async fn an_authorisation_is_captured_and_given_back_in_parts_and_found() {
    let simulator = Simulator::open().await;
    let authorised = post(&simulator, "/pts/v2/payments", payment("a", "12.40", false)).await.expect(201);
    assert_eq!(authorised["status"], "AUTHORIZED");
    assert_eq!(authorised["orderInformation"]["amountDetails"]["authorizedAmount"], "12.40");
    let id = authorised["id"].as_str().unwrap();
    let captured = post(&simulator, &format!("/pts/v2/payments/{id}/captures"), details("10.00")).await;
    let capture = captured.expect(201)["id"].as_str().unwrap().to_owned();
    let refund = post(&simulator, &format!("/pts/v2/captures/{capture}/refunds"), details("4.00")).await;
    assert_eq!(refund.expect(201)["refundAmountDetails"]["refundAmount"], "4.00");
    let too_much = post(&simulator, &format!("/pts/v2/captures/{capture}/refunds"), details("6.01")).await;
    assert_eq!(too_much.expect(400)["reason"], "EXCEEDS_AUTH_AMOUNT");
    assert_eq!(simulator.sums("a"), ["12.40", "10.00", "4.00", "0.00", "8.40"]);
    let search = json!({ "query": "clientReferenceInformation.code:a", "offset": 0, "limit": 20 });
    let found = post(&simulator, "/tss/v2/searches", search).await.expect(201);
    assert_eq!(found["totalCount"], 1);
    let summary = &found["_embedded"]["transactionSummaries"][0];
    assert_eq!(summary["orderInformation"]["amountDetails"]["totalAmount"], "12.4");
    assert_eq!(summary["applicationInformation"]["applications"][0]["reasonCode"], "100");
    let one = send(&simulator, "GET", &format!("/tss/v2/transactions/{capture}"), "").await.expect(200);
    assert_eq!(one["applicationInformation"]["applications"][0]["name"], "ics_bill");
}

#[tokio::test]
async fn a_reference_is_a_duplicate_for_a_quarter_of_an_hour_and_then_charged_again() {
    let simulator = Simulator::open().await;
    post(&simulator, "/pts/v2/payments", payment("a", "12.40", true)).await.expect(201);
    let mut again = payment("a", "12.40", true);
    again["clientReferenceInformation"]["transactionId"] = json!("another");
    let duplicate = post(&simulator, "/pts/v2/payments", again.clone()).await.expect(400);
    assert_eq!(duplicate["reason"], "DUPLICATE_REQUEST");
    assert_eq!(simulator.charge("a").charged, 1);
    simulator.later(15 * 60);
    post(&simulator, "/pts/v2/payments", again).await.expect(201);
    assert_eq!(simulator.charge("a").charged, 2, "the ledger tells what nobody may do");
}

#[tokio::test]
async fn what_nobody_heard_of_is_undone_by_the_merchants_own_id() {
    let simulator = Simulator::open().await;
    post(&simulator, "/pts/v2/payments", payment("a", "12.40", false)).await.expect(201);
    post(&simulator, "/pts/v2/payments", payment("b", "12.40", true)).await.expect(201);
    let by = |id: &str| json!({ "clientReferenceInformation": { "transactionId": id, "code": "r" } });
    let reversed = post(&simulator, "/pts/v2/reversals/", by("t-a")).await.expect(201);
    assert_eq!(reversed["status"], "REVERSED");
    let voided = post(&simulator, "/pts/v2/voids/", by("t-b")).await.expect(201);
    assert_eq!(voided["status"], "VOIDED");
    for reference in ["a", "b"] {
        assert_eq!(simulator.charge(reference).stands, "0.00");
    }
    assert_eq!(post(&simulator, "/pts/v2/voids/", by("t-c")).await.status, 404);
    assert_eq!(post(&simulator, "/pts/v2/voids/", by("t-b")).await.expect(400)["reason"], "NOT_VOIDABLE");
}

#[tokio::test]
async fn a_failed_check_declines_but_the_money_is_held() {
    let simulator = Simulator::open().await;
    let declined = post(&simulator, "/pts/v2/payments", payment("a", "68.06", true)).await.expect(201);
    assert_eq!(declined["status"], "DECLINED");
    assert_eq!(declined["errorInformation"]["reason"], "CV_FAILED");
    assert_eq!(simulator.sums("a"), ["68.06", "0.00", "0.00", "0.00", "68.06"]);
    let mut ignoring = payment("b", "68.06", true);
    ignoring["processingInformation"]["authorizationOptions"] = json!({ "ignoreCvResult": true });
    let approved = post(&simulator, "/pts/v2/payments", ignoring).await.expect(201);
    assert_eq!(approved["status"], "AUTHORIZED");
    assert_eq!(approved["processorInformation"]["cardVerification"]["resultCode"], "N");
}

#[tokio::test]
async fn declines_reviews_and_parts_come_with_201() {
    let simulator = Simulator::open().await;
    for (amount, status, reason) in [
        ("66.02", "DECLINED", "INSUFFICIENT_FUND"),
        ("66.03", "DECLINED", "EXPIRED_CARD"),
        ("68.01", "PARTIAL_AUTHORIZED", ""),
        ("68.02", "AUTHORIZED_PENDING_REVIEW", "DECISION_PROFILE_REVIEW"),
        ("68.04", "PENDING_AUTHENTICATION", "CONSUMER_AUTHENTICATION_REQUIRED"),
    ] {
        let answer = post(&simulator, "/pts/v2/payments", payment(amount, amount, true)).await.expect(201);
        assert_eq!(answer["status"], status);
        assert_eq!(answer["errorInformation"]["reason"].as_str().unwrap_or_default(), reason);
    }
}

#[tokio::test]
async fn a_keyed_card_is_moto_and_a_kept_one_is_charged_without_its_number() {
    let simulator = Simulator::open().await;
    let mut web = payment("a", "12.40", true);
    web["processingInformation"]["commerceIndicator"] = json!("internet");
    let refused = post(&simulator, "/pts/v2/payments", web).await.expect(400);
    assert_eq!(refused["details"][0]["field"], "processingInformation.commerceIndicator");
    let mut keeping = payment("b", "0.00", false);
    keeping["processingInformation"]["actionList"] = json!(["TOKEN_CREATE"]);
    let kept = post(&simulator, "/pts/v2/payments", keeping).await.expect(201);
    let mut charge = payment("c", "12.40", true);
    charge["paymentInformation"] = json!({ "customer": kept["tokenInformation"]["customer"] });
    post(&simulator, "/pts/v2/payments", charge).await.expect(201);
    assert_eq!((simulator.charge("c").card_last4.as_str(), simulator.ledger.find("b")), ("1111", None));
}
