//! `POST /v1/charge`: a stored card, without keying.

use hushpad_domain::attempt::{Initiator, NotSent, Unknown};
use hushpad_domain::ids::AccountId;
use hushpad_domain::session::OperationEnd;
use serde_json::{Value, json};

use crate::fakes::{Answer, Desk, PANS};

fn body() -> Value {
    json!({
        "initiator": "merchant",
        "storedCard": {"token": "tok-1", "networkTransactionId": "016150703802094"},
        "paymentData": {"Amount": "12.40", "Currency": "GBP"},
    })
}

async fn charge(desk: &Desk, client: &str, key: &str, body: &Value) -> Answer {
    desk.post_once(client, key, "/v1/charge", &body.to_string()).await
}

#[tokio::test]
async fn a_stored_card_is_charged_once_for_each_key_and_is_a_session_like_any_other() {
    let desk = Desk::start();
    let first = charge(&desk, "backend", "order-1", &body()).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let told = first.json();
    assert_eq!(
        (told["sessionState"].as_str(), told["outcome"].as_str()),
        (Some("Finished"), Some("approved"))
    );
    let again = charge(&desk, "backend", "order-1", &body()).await;
    assert_eq!(again.json()["sessionGuid"], told["sessionGuid"]);
    assert_eq!(*desk.operations.charged.lock().unwrap(), [("tok-1".to_owned(), Initiator::Merchant)]);
    let status = desk.status(told["sessionGuid"].as_str().unwrap()).await;
    assert_eq!(status.json()["attempts"][0]["state"], "approved");
}

#[tokio::test]
async fn a_charge_needs_a_key_and_says_every_mistake() {
    let desk = Desk::start();
    let token = desk.token_of("backend").await;
    let text = body().to_string();
    let without = desk.call_api(http::Method::POST, "/v1/charge", &token, Some(&text)).await;
    assert_eq!(without.status, 400, "{}", without.body);
    for (name, value) in [
        ("initiator", json!("nobody")),
        ("storedCard", json!({})),
        ("storedCard", json!({"token": PANS[0]})),
        ("storedCard", json!({"token": "a b"})),
        ("paymentData", Value::Null),
        ("paymentData", json!({"Amount": "0", "Currency": "GBP"})),
    ] {
        let mut wrong = body();
        wrong[name] = value;
        let answer =
            charge(&desk, "backend", &format!("key-{name}-{wrong}").replace([' ', '"'], ""), &wrong).await;
        assert!([400, 422].contains(&answer.status.as_u16()), "{wrong}: {} {}", answer.status, answer.body);
        assert!(!answer.body.contains(PANS[0]));
    }
    assert!(desk.operations.charged.lock().unwrap().is_empty());
    assert!(desk.store.all().is_empty());
}

#[tokio::test]
async fn what_is_not_known_is_told_as_under_way_and_what_was_not_sent_may_be_sent_again() {
    let desk = Desk::start();
    desk.operations.end_as(OperationEnd::Unknown(Unknown::TimedOut));
    let unknown = charge(&desk, "backend", "order-1", &body()).await;
    assert_eq!((unknown.status.as_u16(), unknown.json()["outcome"].as_str()), (202, Some("unknown")));
    desk.operations.end_as(OperationEnd::NotSent(NotSent::Unreachable));
    let not_sent = charge(&desk, "backend", "order-2", &body()).await;
    assert_eq!(not_sent.problem(), "503 gateway_unreachable");
    desk.operations.end_as(OperationEnd::Done("ch-1".to_owned()));
    let sent = charge(&desk, "backend", "order-2", &body()).await;
    assert_eq!(sent.status, 200, "{}", sent.body);
}

#[tokio::test]
async fn an_agents_own_client_charges_as_that_agent_only() {
    let desk = Desk::start();
    let mut other = body();
    other["agentId"] = json!("agent5678");
    assert_eq!(charge(&desk, "browser", "order-1", &other).await.status, 403);
    assert_eq!(charge(&desk, "browser", "order-2", &body()).await.status, 200);
}

#[tokio::test]
async fn a_card_that_another_account_got_is_not_there_and_nothing_is_begun() {
    let desk = Desk::start();
    *desk.operations.only_of.lock().unwrap() = Some(AccountId("acme".to_owned()));
    assert_eq!(charge(&desk, "backend", "order-1", &body()).await.status, 200);
    let sessions = desk.store.all().len();
    let others = charge(&desk, "other", "order-1", &body()).await;
    assert_eq!(others.problem(), "404 no_such_stored_card");
    // The same as of a token that nobody has.
    *desk.operations.only_of.lock().unwrap() = Some(AccountId("nobody".to_owned()));
    let nobodys = charge(&desk, "other", "order-2", &body()).await;
    assert_eq!(nobodys.json()["detail"], others.json()["detail"]);
    assert!(!others.body.contains("tok-1") && !others.body.contains("acme"));
    assert_eq!(desk.operations.charged.lock().unwrap().len(), 1);
    assert_eq!(desk.store.all().len(), sessions);
}
