//! Adyen: one answer a key, what follows is only "received", and signed notifications.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::doors::{Answer, Simulator};

async fn post(simulator: &Simulator, path: &str, key: &str, body: &Value) -> Answer {
    let headers = [("x-api-key", "sandbox-api-key"), ("idempotency-key", key)];
    simulator.send(&format!("POST /v72{path}"), &headers, &body.to_string()).await
}

pub(crate) fn payment(reference: &str, value: i64) -> Value {
    json!({
        "merchantAccount": "SandboxMerchant", "reference": reference, "returnUrl": "https://moto.invalid/",
        "amount": { "currency": "GBP", "value": value }, "shopperInteraction": "Moto",
        "paymentMethod": {
            "type": "scheme", "number": "4111111111111111", "expiryMonth": "12", "expiryYear": "2030", "cvc": "123",
        },
    })
}

fn later(amount: Option<i64>) -> Value {
    let mut body = json!({ "merchantAccount": "SandboxMerchant", "reference": "step" });
    if let Some(value) = amount {
        body["amount"] = json!({ "currency": "GBP", "value": value });
    }
    body
}

/// A merchant's door for notifications: it gives the items of so many posts, checked by their signature.
async fn hear(simulator: &Simulator, posts: usize) -> tokio::task::JoinHandle<Vec<Value>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert!(simulator.ledger.notify(Some(&format!("http://{}/adyen", listener.local_addr().unwrap()))));
    tokio::spawn(async move {
        let mut items = Vec::new();
        while items.len() < posts {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            let body = loop {
                let mut part = [0; 4096];
                let length = stream.read(&mut part).await.unwrap();
                text.extend_from_slice(&part[..length]);
                let text = String::from_utf8_lossy(&text);
                let body = text
                    .split_once("\r\n\r\n")
                    .and_then(|(_, body)| serde_json::from_str::<Value>(body).ok());
                if let Some(body) = body {
                    break body;
                }
            };
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n[accepted]").await.unwrap();
            let item = body["notificationItems"][0]["NotificationRequestItem"].clone();
            assert!(is_signed(&item), "{item}");
            items.push(item);
        }
        items
    })
}

fn is_signed(item: &Value) -> bool {
    let text = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let signed = [
        text("pspReference"),
        text("originalReference"),
        text("merchantAccountCode"),
        text("merchantReference"),
        item["amount"]["value"].to_string(),
        item["amount"]["currency"].as_str().unwrap().to_owned(),
        text("eventCode"),
        text("success"),
    ]
    .join(":");
    let key: Vec<u8> = (0..64).map(|at| u8::try_from(at % 16 * 17).unwrap()).take(32).collect();
    let signature = STANDARD.decode(item["additionalData"]["hmacSignature"].as_str().unwrap()).unwrap();
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes(), &signature).is_ok()
}

#[tokio::test]
async fn the_same_key_gets_the_first_answer_whatever_it_carries() {
    let simulator = Simulator::open().await;
    let first = post(&simulator, "/payments", "k1", &payment("a", 1240)).await.expect(200);
    assert_eq!((&first["resultCode"], &first["merchantReference"]), (&json!("Authorised"), &json!("a")));
    let again = post(&simulator, "/payments", "k1", &payment("b", 9999)).await.expect(200);
    assert_eq!(again, first);
    assert_eq!((simulator.charge("a").charged, simulator.ledger.find("b")), (1, None));
    assert_eq!(post(&simulator, "/payments", &"k".repeat(65), &payment("c", 1240)).await.status, 422);
    post(&simulator, "/payments", "k2", &payment("a", 1240)).await.expect(200);
    assert_eq!(simulator.charge("a").charged, 2, "another key is another payment");
}

#[tokio::test]
async fn refusals_come_with_200_and_bad_requests_are_validated() {
    let simulator = Simulator::open().await;
    let refused = post(&simulator, "/payments", "", &payment("a", 6602)).await.expect(200);
    assert_eq!((&refused["resultCode"], &refused["refusalReasonCode"]), (&json!("Refused"), &json!("12")));
    let mut wrong = payment("b", 1240);
    wrong["paymentMethod"]["number"] = json!("4111111111111112");
    assert_eq!(post(&simulator, "/payments", "", &wrong).await.expect(422)["errorCode"], "101");
    let mut small = payment("c", 1240);
    small["shopperInteraction"] = json!("moto");
    assert_eq!(post(&simulator, "/payments", "", &small).await.status, 422, "case matters");
    let anybody = simulator.send("POST /v72/payments", &[], &payment("d", 1240).to_string()).await;
    assert_eq!(anybody.status, 401);
    for (value, code) in [(6801, "PartiallyAuthorised"), (6803, "Pending"), (6804, "Refused")] {
        let answer = post(&simulator, "/payments", "", &payment(&value.to_string(), value)).await.expect(200);
        assert_eq!(answer["resultCode"], code);
    }
}

#[tokio::test]
async fn what_follows_is_received_and_told_by_signed_notifications() {
    let simulator = Simulator::open().await;
    let heard = hear(&simulator, 5).await;
    let mut held = payment("a", 1240);
    held["additionalData"] = json!({ "manualCapture": "true" });
    let psp = post(&simulator, "/payments", "", &held).await.expect(200)["pspReference"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = |what: &str| format!("/payments/{psp}/{what}");
    let captured = post(&simulator, &path("captures"), "", &later(Some(1000))).await.expect(201);
    assert_eq!((&captured["status"], &captured["paymentPspReference"]), (&json!("received"), &json!(psp)));
    assert_eq!(post(&simulator, &path("cancels"), "", &later(Some(1))).await.status, 422);
    post(&simulator, &path("refunds"), "", &later(Some(1001))).await.expect(201);
    post(&simulator, &path("refunds"), "", &later(Some(400))).await.expect(201);
    post(&simulator, &path("reversals"), "", &later(None)).await.expect(201);
    let mut told: Vec<_> = heard
        .await
        .unwrap()
        .iter()
        .map(|item| format!("{} {} {}", item["eventCode"], item["success"], item["amount"]["value"]))
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            r#""AUTHORISATION" "true" 1240"#,
            r#""CANCEL_OR_REFUND" "true" 600"#,
            r#""CAPTURE" "true" 1000"#,
            r#""REFUND" "false" 1001"#,
            r#""REFUND" "true" 400"#,
        ]
    );
    assert_eq!(simulator.sums("a"), ["12.40", "10.00", "10.00", "0.00", "0.00"]);
}

#[tokio::test]
async fn a_payment_without_an_answer_is_cancelled_by_its_reference() {
    let simulator = Simulator::open().await;
    let heard = hear(&simulator, 2).await;
    let body = json!({ "merchantAccount": "SandboxMerchant", "paymentReference": "a" });
    post(&simulator, "/cancels", "", &body).await.expect(201);
    let mut held = payment("a", 1240);
    held["captureDelayHours"] = json!(24);
    assert!(simulator.ledger.notify(None), "its authorisation is told to nobody");
    post(&simulator, "/payments", "", &held).await.expect(200);
    drop(heard);
    post(&simulator, "/cancels", "", &body).await.expect(201);
    assert_eq!(simulator.sums("a"), ["12.40", "0.00", "0.00", "12.40", "0.00"]);
}

#[tokio::test]
async fn notifications_come_twice_or_never_where_the_amount_says_so() {
    let simulator = Simulator::open().await;
    let heard = hear(&simulator, 3).await;
    for value in [6907, 6906, 1240] {
        post(&simulator, "/payments", "", &payment(&value.to_string(), value)).await.expect(200);
    }
    let mut told: Vec<_> =
        heard.await.unwrap().iter().map(|item| item["amount"]["value"].as_i64().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, [1240, 6906, 6906]);
}

#[tokio::test]
async fn a_kept_card_is_charged_for_its_shopper_only() {
    let simulator = Simulator::open().await;
    let mut keeping = payment("a", 0);
    keeping["storePaymentMethod"] = json!(true);
    keeping["shopperReference"] = json!("ann");
    let kept = post(&simulator, "/payments", "", &keeping).await.expect(200);
    let id = &kept["additionalData"]["tokenization.storedPaymentMethodId"];
    let mut charge = payment("b", 1240);
    charge["paymentMethod"] = json!({ "type": "scheme", "storedPaymentMethodId": id });
    charge["shopperInteraction"] = json!("ContAuth");
    assert_eq!(post(&simulator, "/payments", "", &charge).await.status, 422);
    charge["shopperReference"] = json!("ann");
    assert_eq!(post(&simulator, "/payments", "", &charge).await.expect(200)["resultCode"], "Authorised");
}
