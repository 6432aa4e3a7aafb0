//! `POST /v1/session/{guid}/refund`, `/void`, `/capture`.

use http::Method;
use hushpad_domain::attempt::{NotSent, Unknown, Verdict};
use hushpad_domain::session::OperationEnd;
use serde_json::{Value, json};

use crate::fakes::{Answer, Desk};

async fn paid() -> (Desk, String) {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    desk.attempt(&opened.guid, Verdict::Approved).await;
    (desk, opened.guid)
}

async fn post(desk: &Desk, guid: &str, what: &str, body: Option<Value>) -> Answer {
    let token = desk.token_of("backend").await;
    let body = body.map(|body| body.to_string());
    desk.call_api(Method::POST, &format!("/v1/session/{guid}/{what}"), &token, body.as_deref()).await
}

#[tokio::test]
async fn a_refund_of_a_part_and_then_of_the_rest_is_listed_with_its_attempt() {
    let (desk, guid) = paid().await;
    let first = post(&desk, &guid, "refund", Some(json!({"amount": "2.40"}))).await;
    assert_eq!(first.status, 200, "{}", first.body);
    let rest = post(&desk, &guid, "refund", None).await;
    let body = rest.json();
    let operations = &body["attempts"][0]["operations"];
    let told: Vec<_> = operations
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (one["kind"].as_str().unwrap(), one["amount"].as_str().unwrap(), one["state"].as_str().unwrap())
        })
        .collect();
    assert_eq!(told, [("refund", "2.40", "done"), ("refund", "10.00", "done")]);
    // How the payment ended does not change.
    assert_eq!(
        (body["outcome"].as_str(), body["sessionState"].as_str()),
        (Some("approved"), Some("Finished"))
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_nothing_is_begun() {
    let (desk, guid) = paid().await;
    for (what, body, problem) in [
        ("refund", Some(json!({"amount": "12.41"})), "422 amount_too_high"),
        ("refund", Some(json!({"amount": "12.405"})), "400 malformed_request"),
        ("refund", Some(json!({"amount": "0"})), "400 malformed_request"),
        ("refund", Some(json!({"amount": "1", "currency": "EUR"})), "400 malformed_request"),
        ("void", Some(json!({"amount": "1"})), "422 void_is_whole"),
        ("capture", None, "409 not_an_authorisation"),
    ] {
        assert_eq!(post(&desk, &guid, what, body).await.problem(), problem, "{what}");
    }
    assert!(desk.stored(&guid).await.attempts[0].operations.is_empty());
    let desk = Desk::start();
    let open = desk.open_session().await;
    assert_eq!(post(&desk, &open.guid, "refund", None).await.problem(), "409 not_finished");
}

#[tokio::test]
async fn how_the_gateway_ended_it_is_told_by_the_status() {
    for (end, told) in [
        (OperationEnd::Refused("settled already".to_owned()), "422 operation_refused"),
        (OperationEnd::NotSent(NotSent::Unreachable), "503 gateway_unreachable"),
        (OperationEnd::NotSent(NotSent::Unsupported), "422 operation_unsupported"),
    ] {
        let (desk, guid) = paid().await;
        desk.operations.end_as(end);
        assert_eq!(post(&desk, &guid, "refund", None).await.problem(), told);
    }
    let (desk, guid) = paid().await;
    desk.operations.end_as(OperationEnd::Unknown(Unknown::TimedOut));
    let unknown = post(&desk, &guid, "refund", None).await;
    assert_eq!(unknown.status, 202);
    assert_eq!(unknown.json()["attempts"][0]["operations"][0]["state"], "unknown");
    assert_eq!(post(&desk, &guid, "refund", None).await.problem(), "409 operation_under_way");
}
