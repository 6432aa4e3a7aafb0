//! `POST /v1/session`, its status, events and cancelling: what works.

use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use hushpad_domain::attempt::Verdict;
use hushpad_domain::page::AgentAction;
use hushpad_domain::ports::ActError;
use hushpad_web::WebLimits;
use serde_json::json;

use crate::fakes::{Desk, PAGE_HOST, declined, good_body, send};

#[tokio::test]
async fn a_session_is_opened_and_its_reply_is_the_published_one() {
    let desk = Desk::start();
    let answer = desk.post_session("backend", &good_body().to_string()).await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    let mut names: Vec<&String> = body.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "agentAccessToken",
            "agentRefreshToken",
            "callGuid",
            "iframeUrl",
            "paymentFormUrl",
            "providerSessionGuid",
            "sessionGuid"
        ]
    );
    let provider = body["providerSessionGuid"].as_str().unwrap();
    assert_eq!(body["iframeUrl"], format!("{PAGE_HOST}/view/{provider}/framed"));
    assert_eq!(body["paymentFormUrl"], format!("{PAGE_HOST}/view/{provider}"));
    assert_ne!(body["sessionGuid"], body["providerSessionGuid"]);
}

#[tokio::test]
async fn every_prefix_and_every_spelling_of_names_works() {
    for prefix in ["", "/globalpci", "/api"] {
        for (agent, data, configuration, skip) in [
            ("agentId", "paymentData", "accountConfigurationId", "skipCallTransfer"),
            ("agentID", "PAYMENTDATA", "AccountConfigurationID", "SkipCallTransfer"),
            ("AGENTID", "paymentdata", "accountconfigurationid", "SKIPCALLTRANSFER"),
        ] {
            let desk = Desk::start();
            let body = json!({
                agent: "agent1234",
                data: {"AMOUNT": 12.5, "currency": "GBP", "Urgent": true, "Email": null},
                configuration: 7,
                skip: true,
                "somethingElse": {"deep": [1, 2]},
            });
            let token = desk.token_of("backend").await;
            let path = format!("{prefix}/v1/session");
            let opened = desk.call_api(Method::POST, &path, &token, Some(&body.to_string())).await;
            assert_eq!(opened.status, 200, "{}", opened.body);
            assert_eq!(opened.json().get("callGuid"), None);
            let path = format!("{path}/{}", opened.json()["sessionGuid"].as_str().unwrap());
            let status = desk.call_api(Method::GET, &path, &token, None).await.json();
            let echoed = json!({"AMOUNT": "12.5", "currency": "GBP", "Urgent": "true"});
            assert_eq!(status["paymentResultData"], echoed);
        }
    }
}

#[tokio::test]
async fn numbers_keep_their_own_text() {
    let desk = Desk::start();
    let body =
        r#"{"agentId":"agent1234","paymentData":{"Amount":12.40,"Currency":"GBP","Flag":false,"N":1.10}}"#;
    let opened = desk.post_session("backend", body).await;
    let status = desk.status(opened.json()["sessionGuid"].as_str().unwrap()).await.json();
    assert_eq!(status["paymentResultData"]["Amount"], "12.40");
    assert_eq!(status["paymentResultData"]["N"], "1.10");
}

#[tokio::test]
async fn an_agent_may_be_a_number_and_an_agents_own_token_needs_none() {
    let desk = Desk::start();
    desk.calls.call_of("acme", "1234");
    let mut body = good_body();
    body["agentId"] = json!(1234);
    assert_eq!(desk.post_session("backend", &body.to_string()).await.status, 200);
    let own = json!({"paymentData": good_body()["paymentData"]});
    assert_eq!(desk.post_session("browser", &own.to_string()).await.status, 200);
}

#[tokio::test]
async fn the_status_is_the_published_one() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let status = desk.status(&opened.guid).await.json();
    assert_eq!(status["sessionGuid"], opened.guid);
    assert_eq!(status["providerSessionGuid"], opened.provider);
    assert_eq!((&status["sessionState"], &status["outcome"]), (&json!("Created"), &json!("none")));
    assert_eq!(status["createdOn"], "2026-09-21T14:13:20.123456Z");
    assert_eq!(status["lastUpdatedOn"], status["createdOn"]);
    assert_eq!(status["attempts"], json!([]));
    assert_eq!(status["paymentResultData"], good_body()["paymentData"]);

    desk.attempt(&opened.guid, declined()).await;
    let status = desk.status(&opened.guid).await.json();
    assert_eq!(status["sessionState"], "InProgress");
    desk.attempt(&opened.guid, Verdict::Approved).await;
    let status = desk.status(&opened.guid).await.json();
    assert_eq!((&status["sessionState"], &status["outcome"]), (&json!("Finished"), &json!("approved")));
    let result = &status["paymentResultData"];
    assert_eq!((&result["decision"], &result["Amount"]), (&json!("ACCEPT"), &json!("1240")));
    assert_eq!(result["MerchantReferenceCode"], "A-1");
    let states: Vec<_> = status["attempts"].as_array().unwrap().iter().map(|made| &made["state"]).collect();
    assert_eq!(states, ["declined", "approved"]);
    assert_eq!(status["attempts"][1]["card"], json!({"brand": "Visa", "first6": "411111", "last4": "1111"}));
}

#[tokio::test]
async fn the_result_is_given_out_for_fifteen_minutes() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    desk.attempt(&opened.guid, Verdict::Approved).await;
    desk.world.pass(Duration::from_micros(15 * 60 * 1_000_000 - 1));
    assert!(desk.status(&opened.guid).await.json().get("paymentResultData").is_some());
    desk.world.pass(Duration::from_micros(1));
    let purged = desk.status(&opened.guid).await;
    assert_eq!(purged.json().get("paymentResultData"), None);
    assert_eq!(purged.json()["outcome"], "approved");
    assert!(!purged.body.contains("411111"));
}

#[tokio::test]
async fn another_account_sees_and_touches_nothing() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let stranger = desk.token_of("other").await;
    for (method, rest) in [(Method::GET, ""), (Method::GET, "/events"), (Method::POST, "/cancel")] {
        let path = format!("/v1/session/{}{rest}", opened.guid);
        let answer = desk.call_api(method, &path, &stranger, None).await;
        assert_eq!(answer.problem(), "404 no_such_session", "{path}");
    }
    // Globex has an agent of the same name, and no call.
    let answer = desk.post_session("other", &good_body().to_string()).await;
    assert_eq!(answer.problem(), "409 no_live_call");
    assert_eq!(desk.status(&opened.guid).await.json()["sessionState"], "Created");
}

#[tokio::test]
async fn events_are_told_in_order_from_where_one_left_off() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    desk.attempt(&opened.guid, Verdict::Approved).await;
    let token = desk.token_of("backend").await;
    let path = format!("/v1/session/{}/events", opened.guid);
    let events = desk.call_api(Method::GET, &path, &token, None).await.json();
    let types: Vec<_> = events["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["session.created", "attempt.intent", "attempt.approved", "session.ended"]);
    let later = desk.call_api(Method::GET, &format!("{path}?after=3"), &token, None).await.json();
    assert_eq!(
        later["events"],
        json!([{
            "seq": 4, "at": "2026-09-21T14:13:20.123456Z", "type": "session.ended",
            "state": "Finished", "outcome": "approved",
        }])
    );
    let answer = desk.call_api(Method::GET, &format!("{path}?after=x"), &token, None).await;
    assert_eq!(answer.problem(), "400 malformed_request");
}

#[tokio::test]
async fn a_session_is_cancelled_until_something_was_sent() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let token = desk.token_of("backend").await;
    let path = format!("/v1/session/{}/cancel", opened.guid);
    let answer = desk.call_api(Method::POST, &path, &token, None).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["outcome"], "cancelled");
    assert!(desk.secure_side.done() == [AgentAction::Cancel]);
    let again = desk.call_api(Method::POST, &path, &token, None).await;
    assert_eq!(again.problem(), "409 session_ended");

    let opened = desk.open_session().await;
    desk.attempt(&opened.guid, declined()).await;
    let path = format!("/v1/session/{}/cancel", opened.guid);
    assert_eq!(desk.call_api(Method::POST, &path, &token, None).await.problem(), "409 attempt_sent");
}

#[tokio::test]
async fn a_session_that_the_secure_side_forgot_can_still_be_cancelled() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    desk.secure_side.fail_acts(ActError::Gone);
    let token = desk.token_of("backend").await;
    let path = format!("/v1/session/{}/cancel", opened.guid);
    let answer = desk.call_api(Method::POST, &path, &token, None).await;
    assert_eq!(answer.json()["sessionState"], "Finished");
}

#[tokio::test]
async fn sessions_are_listed_newest_first_in_pages() {
    let desk = Desk::start();
    let token = desk.token_of("backend").await;
    let list =
        async |query: &str| desk.call_api(Method::GET, &format!("/v1/session{query}"), &token, None).await;
    let mut body = good_body();
    body["accountConfigurationId"] = json!(7);
    body["skipCallTransfer"] = json!(true);
    let mut guids = Vec::new();
    for number in 0..5 {
        body["paymentData"]["MerchantReferenceCode"] = json!(format!("ORDER-{}", number % 2));
        let answer = desk.post_session("backend", &body.to_string()).await;
        guids.insert(0, answer.json()["sessionGuid"].clone());
        desk.world.pass(Duration::from_secs(1));
    }
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let page = list(&query).await.json();
        let sessions = page["sessions"].as_array().unwrap();
        assert!(
            sessions.len() <= 2 && sessions.iter().all(|session| session.get("paymentResultData").is_none())
        );
        seen.extend(sessions.iter().map(|session| session["sessionGuid"].clone()));
        let Some(next) = page["nextCursor"].as_str() else { break };
        query = format!("?limit=2&cursor={next}");
    }
    assert_eq!(seen, guids);
    let count = async |query: &str| list(query).await.json()["sessions"].as_array().unwrap().len();
    assert_eq!(count("?reference=ORDER-0").await, 3);
    assert_eq!(count("?state=Created&outcome=none&agentId=agent1234").await, 5);
    assert_eq!(count("?state=Finished").await, 0);
    assert_eq!(count("?from=2026-09-21T14:13:22.123456Z&until=2026-09-21T14:13:24.123456%2B00:00").await, 2);
    for wrong in
        ["limit=0", "limit=101", "cursor=x", "state=created", "from=yesterday", "sort=asc", "state=a&state=b"]
    {
        assert_eq!(list(&format!("?{wrong}")).await.problem(), "400 malformed_request", "{wrong}");
    }
    assert_eq!(list("?reference=4111-1111-1111-1111").await.problem(), "400 card_data");
    // An agent's own token sees that agent's, a stranger nothing.
    let own = desk.token_of("browser").await;
    let of_another = desk.call_api(Method::GET, "/v1/session?agentId=idle", &own, None).await;
    assert_eq!(of_another.problem(), "403 other_agent");
    let other = desk.token_of("other").await;
    let answer = desk.call_api(Method::GET, "/v1/session", &other, None).await;
    assert_eq!(answer.json(), json!({"sessions": [], "nextCursor": null}));
}

#[tokio::test]
async fn each_client_has_an_allowance_of_requests() {
    let limits = WebLimits { client_burst: 2, client_refill: Duration::from_secs(5), ..WebLimits::default() };
    let desk = Desk::with_limits(limits);
    let opened = desk.open_session().await;
    let second = desk.status(&opened.guid).await;
    assert_eq!(second.header("ratelimit-policy"), r#""client";q=2;w=10"#);
    assert_eq!(second.header("ratelimit"), r#""client";r=0;t=10"#);
    let third = desk.status(&opened.guid).await;
    assert_eq!(third.problem(), "429 rate_limited");
    assert_eq!(third.header("retry-after"), "5");
    assert_eq!(third.header("ratelimit"), r#""client";r=0;t=10"#);
    assert_ne!(desk.post_session("other", "{}").await.status, 429);
    desk.world.pass(Duration::from_secs(5));
    assert_eq!(desk.status(&opened.guid).await.status, 200);
}

#[tokio::test]
async fn request_ids_are_echoed_when_harmless() {
    let desk = Desk::start();
    for (given, echoed) in [
        ("abc-123_x.y", true),
        ("4111-1111-1111-1111", false),
        ("4111111111111111", false),
        ("a b", false),
        ("<script>", false),
        (&"a".repeat(73), false),
        ("", false),
    ] {
        let request = Request::get("/nowhere/4111111111111111").header("x-request-id", given);
        let answer = send(&desk.api, request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.problem(), "404 no_such_path");
        assert_eq!(answer.header("x-request-id") == given, echoed, "{given}");
    }
    let routes = desk.observer.requests.lock().unwrap().clone();
    assert!(routes.iter().all(|(route, status)| route == "other" && *status == 404));
}
