//! The error table of the Payment API, row by row.

use axum::body::Body;
use http::{Method, Request};
use hushpad_domain::ports::LaunchError;
use serde_json::{Value, json};

use crate::fakes::{Desk, PANS, good_body, send};

/// The good body with one change.
fn with(change: impl FnOnce(&mut Value)) -> String {
    let mut body = good_body();
    change(&mut body);
    body.to_string()
}

fn without(name: &str) -> String {
    with(|body| {
        body.as_object_mut().unwrap().remove(name);
    })
}

fn with_data(name: &str, value: Value) -> String {
    with(|body| body["paymentData"][name] = value)
}

#[tokio::test]
async fn a_body_of_the_wrong_form_is_a_400_that_tells_why() {
    refuses(vec![
        (String::new(), "malformed_request the body is not a JSON object"),
        ("{".to_owned(), "malformed_request the body is not a JSON object"),
        ("[]".to_owned(), "malformed_request the body is not a JSON object"),
        ("null".to_owned(), "malformed_request the body is not a JSON object"),
        (format!("{} x", good_body()), "malformed_request the body is not a JSON object"),
        (
            format!("{}1{}", "[".repeat(50_000 / 2), "]".repeat(50_000 / 2)),
            "malformed_request the JSON is nested too deeply",
        ),
        (without("paymentData"), "malformed_request paymentData is missing"),
        (with(|body| body["paymentData"] = json!(null)), "malformed_request paymentData is missing"),
        (
            with(|body| body["paymentData"] = json!("x")),
            "malformed_request paymentData must be an object of strings",
        ),
        (with_data("Deep", json!({"a": 1})), "malformed_request paymentData must be an object of strings"),
        (with_data("List", json!(["a"])), "malformed_request paymentData must be an object of strings"),
    ])
    .await;
}

#[tokio::test]
async fn a_field_of_the_wrong_type_is_a_400_that_tells_which() {
    refuses(vec![
        (
            with(|body| body["agentId"] = json!(true)),
            "malformed_request agentId must be a string or a number",
        ),
        (
            with(|body| body["agentId"] = json!("a\nb")),
            "malformed_request agentId is too long or holds a control character",
        ),
        (
            with(|body| body["accountConfigurationId"] = json!("0")),
            "malformed_request accountConfigurationId must be a whole number of at least 0",
        ),
        (
            with(|body| body["accountConfigurationId"] = json!(-1)),
            "malformed_request accountConfigurationId must be a whole number of at least 0",
        ),
        (
            with(|body| body["skipCallTransfer"] = json!("true")),
            "malformed_request skipCallTransfer must be true or false",
        ),
        (
            r#"{"agentId":"a","AGENTID":"b","paymentData":{}}"#.to_owned(),
            "malformed_request a name is there twice (names are the same in any case)",
        ),
        (
            r#"{"agentId":"a","paymentData":{"Amount":"1","amount":"2"}}"#.to_owned(),
            "malformed_request a name is there twice (names are the same in any case)",
        ),
        (
            r#"{"agentId":"a","paymentData":{"Amount":"1","Amount":"1"}}"#.to_owned(),
            "malformed_request a name is there twice (names are the same in any case)",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_value_that_makes_no_payment_is_a_400_that_tells_which() {
    refuses(vec![
        (without("agentId"), "agent_missing agentId is missing: a back-end token must name the agent"),
        (
            with(|body| body["agentId"] = json!("")),
            "agent_missing agentId is missing: a back-end token must name the agent",
        ),
        (
            with_data("Amount", json!("12.405")),
            "invalid_payment_data paymentData.Amount has too many decimals: GBP has 2",
        ),
        (
            with_data("Amount", json!("abc")),
            "invalid_payment_data paymentData.Amount must be digits with an optional decimal point, such as \"12.40\"",
        ),
        (
            with_data("Amount", json!(-1)),
            "invalid_payment_data paymentData.Amount must be digits with an optional decimal point, such as \"12.40\"",
        ),
        (with_data("Amount", json!(0)), "invalid_payment_data paymentData.Amount must be greater than zero"),
        (
            with_data("Currency", json!("JPY")),
            "invalid_payment_data paymentData.Amount has too many decimals: JPY has 0",
        ),
        (
            with_data("Currency", json!("XXQ")),
            "invalid_payment_data paymentData.Currency is not an ISO 4217 currency code such as \"GBP\"",
        ),
        (with(|body| body["paymentData"] = json!({})), "invalid_payment_data paymentData.Amount is missing"),
        (
            with(|body| body["skipCallTransfer"] = json!(true)),
            "not_a_test_configuration skipCallTransfer is allowed only on configurations marked as test",
        ),
        (
            with(|body| body["accountConfigurationId"] = json!(5)),
            "unknown_configuration Account configuration does not exists for account: acme, configuration Id: 5",
        ),
    ])
    .await;
}

/// Each body is refused with 400, this code, and this detail; nothing is left behind.
async fn refuses(cases: Vec<(String, &str)>) {
    let desk = Desk::start();
    for (body, told) in cases {
        let answer = desk.post_session("backend", &body).await;
        let (code, detail) = told.split_once(' ').unwrap();
        let shown = &body[..body.len().min(200)];
        assert_eq!(answer.problem(), format!("400 {code}"), "{shown}");
        assert_eq!(answer.json()["detail"], detail, "{shown}");
    }
    assert!(desk.store.all().is_empty());
}

#[tokio::test]
async fn a_card_number_in_any_text_is_refused_and_never_answered() {
    let desk = Desk::start();
    for pan in PANS {
        let spaced = format!("{} {}", &pan[..4], &pan[4..]);
        let escaped = format!("\\u00{:x}{}", pan.as_bytes()[0], &pan[1..]);
        for body in [
            with_data("Note", json!(pan)),
            with_data("Note", json!(format!("card {spaced} please"))),
            with_data("Note", json!(pan.parse::<u64>().unwrap())),
            with_data(pan, json!("x")),
            with(|body| body["agentId"] = json!(pan)),
            with(|body| body["agentId"] = json!(pan.parse::<u64>().unwrap())),
            with(|body| body["comment"] = json!(pan)),
            good_body().to_string().replace("\"A-1\"", &format!("\"{escaped}\"")),
        ] {
            // `send` has checked that no answer holds the number.
            let answer = desk.post_session("backend", &body).await;
            assert_eq!(answer.status, 400, "{body}");
            assert_eq!(answer.problem(), "400 card_data", "{body}");
            assert!(answer.json()["detail"].as_str().unwrap().contains("card number"), "{body}");
            assert!(!answer.body.contains(&spaced));
        }
        for (method, path) in [
            (Method::GET, format!("/v1/session/{pan}")),
            (Method::GET, format!("/v1/session/{pan}/events")),
            (Method::POST, format!("/{pan}")),
        ] {
            let token = desk.token_of("backend").await;
            assert_eq!(desk.call_api(method, &path, &token, None).await.status, 404);
        }
    }
    assert!(desk.store.all().is_empty());
}

#[tokio::test]
async fn every_mistake_is_told_at_once_with_its_place() {
    let desk = Desk::start();
    let body = json!({
        "agentId": true,
        "accountConfigurationId": "x",
        "skipCallTransfer": 1,
        "comment": "4111 1111 1111 1111",
        "paymentData": {"Amount": "x", "Currency": "GBP", "a/b~c": ["deep"], "Note": "4111111111111111"},
    });
    let answer = desk.post_session("backend", &body.to_string()).await;
    assert_eq!(answer.problem(), "400 card_data");
    let places = |answer: &crate::fakes::Answer| -> Vec<String> {
        let errors = answer.json()["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        places(&answer),
        [
            "/comment",
            "/agentId",
            "/accountConfigurationId",
            "/skipCallTransfer",
            "/paymentData/a~1b~0c",
            "/paymentData/Note",
            "/paymentData/Amount"
        ]
    );
    // What the flow says comes with what every flow says.
    let body = with(|body| {
        body["accountConfigurationId"] = json!(8);
        body["paymentData"]["Amount"] = json!("1.234");
        body["paymentData"]["country"] = json!("England");
    });
    let answer = desk.post_session("backend", &body).await;
    assert_eq!(answer.problem(), "400 invalid_payment_data");
    assert_eq!(
        places(&answer),
        ["/paymentData/Amount", "/paymentData/Email", "/paymentData/country", "/paymentData/amountNote"]
    );
    let body = with(|body| {
        body["accountConfigurationId"] = json!(8);
        body["paymentData"] = json!({"Amount": "1", "Currency": "GBP", "EMAIL": "jo@shop.example"});
    });
    assert_eq!(desk.post_session("backend", &body).await.status, 200);
}

#[tokio::test]
async fn who_may_not_is_told_so() {
    let desk = Desk::start();
    let no_token = Request::post("/v1/session").header("content-type", "application/json");
    let answer = send(&desk.api, no_token.body(Body::from(good_body().to_string())).unwrap()).await;
    assert_eq!(answer.problem(), "401 token_missing");
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    let other_agent = with(|body| body["agentId"] = json!("idle"));
    assert_eq!(desk.post_session("browser", &other_agent).await.problem(), "403 other_agent");
}

#[tokio::test]
async fn what_is_not_there_or_not_ready_is_told_so() {
    let desk = Desk::start();
    let of = |agent: &str| with(|body| body["agentId"] = json!(agent));
    assert_eq!(desk.post_session("backend", &of("stranger")).await.problem(), "404 agent_unknown");
    assert_eq!(desk.post_session("backend", &of("idle")).await.problem(), "409 no_live_call");
    assert_eq!(desk.post_session("backend", &of("busy")).await.problem(), "409 several_live_calls");
    desk.open_session().await;
    assert_eq!(desk.post_session("backend", &of("agent1234")).await.problem(), "409 call_has_session");
    let token = desk.token_of("backend").await;
    let unknown = "/v1/session/00000000-0000-4000-8000-000000000000";
    assert_eq!(desk.call_api(Method::GET, unknown, &token, None).await.problem(), "404 no_such_session");
    for no_guid in ["x", "%ff", "4111-1111", "%00"] {
        let path = format!("/v1/session/{no_guid}");
        let answer = desk.call_api(Method::GET, &path, &token, None).await;
        assert_eq!(answer.problem(), "404 no_such_session", "{no_guid}");
    }
    assert_eq!(
        desk.call_api(Method::DELETE, unknown, &token, None).await.problem(),
        "405 method_not_allowed"
    );
    assert_eq!(
        desk.call_api(Method::PUT, "/v1/session", &token, None).await.problem(),
        "405 method_not_allowed"
    );
}

#[tokio::test]
async fn bodies_that_are_too_large_or_not_json_are_refused() {
    let desk = Desk::start();
    let most = with(|body| {
        let rest = 64 * 1024 - good_body().to_string().len() - r#","pad":"""#.len();
        body["pad"] = json!(" ".repeat(rest));
    });
    assert_eq!(most.len(), 64 * 1024);
    assert_eq!(desk.post_session("backend", &format!("{most} ")).await.problem(), "413 body_too_large");
    assert_eq!(desk.post_session("backend", &most).await.status, 200);

    let token = desk.token_of("backend").await;
    for (content_type, allowed) in [
        (None, false),
        (Some("text/plain"), false),
        (Some("application/x-www-form-urlencoded"), false),
        (Some("application/json; charset=utf-8"), true),
        (Some("application/json; charset=\"UTF-8\"; v=1"), true),
        (Some("application/json; charset=iso-8859-1"), false),
        (Some("application/json; charset=utf-16"), false),
        (Some("Application/JSON"), true),
        (Some("application/vnd.shop+json"), true),
    ] {
        let mut request = Request::post("/v1/session").header("authorization", format!("Bearer {token}"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let answer = send(&desk.api, request.body(Body::from("{}")).unwrap()).await;
        let told = if allowed { "400 malformed_request" } else { "415 not_json" };
        assert_eq!(answer.problem(), told, "{content_type:?}");
    }
}

#[tokio::test]
async fn a_provider_side_that_does_not_start_is_told_and_undone() {
    for (error, told, detail) in [
        (
            LaunchError::Refused("invalid_client".to_owned()),
            "502 provider_refused",
            "Provider's authorization endpoint returned error message 'invalid_client'...",
        ),
        (
            LaunchError::Refused("<4111111111111111>".to_owned()),
            "502 provider_refused",
            "Provider's authorization endpoint returned error message 'server_error'...",
        ),
        (LaunchError::Unavailable, "503 provider_unavailable", "the provider side is not available"),
        (LaunchError::TimedOut, "504 provider_timed_out", "the provider side did not answer in time"),
        (LaunchError::CallGone, "409 no_live_call", "the agent has no live call"),
    ] {
        let desk = Desk::start();
        desk.secure_side.fail_launches(error);
        let answer = desk.post_session("backend", &good_body().to_string()).await;
        assert_eq!(answer.problem(), told);
        assert_eq!(answer.json()["detail"], detail);
        assert!(desk.store.all().iter().all(|session| session.state_name() == "Error"));
    }
}

#[tokio::test]
async fn a_store_that_fails_is_a_503_without_its_secrets() {
    let desk = Desk::start();
    desk.store.break_down();
    let answer = desk.post_session("backend", &good_body().to_string()).await;
    assert_eq!(answer.problem(), "503 store_unavailable");
    assert!(!answer.body.contains("secret-path"));
}
