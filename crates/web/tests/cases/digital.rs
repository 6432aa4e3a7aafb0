//! `POST /v1/digitalsession`, and moving a session between keypad and payment link.

use http::Method;
use hushpad_domain::field::Field;
use hushpad_domain::link::LinkState;
use hushpad_domain::page::{AgentAction, FieldStatus, LinkView, Phase};
use hushpad_domain::ports::{ActError, NoLiveCall};
use serde_json::{Value, json};

use crate::fakes::{DIGITAL, Desk, PANS, digital_body, good_body};

async fn post_digital(desk: &Desk, client: &str, body: &Value) -> crate::fakes::Answer {
    let token = desk.token_of(client).await;
    desk.call_api(Method::POST, "/v1/digitalsession", &token, Some(&body.to_string())).await
}

async fn post(desk: &Desk, client: &str, guid: &str, what: &str, body: Option<&str>) -> crate::fakes::Answer {
    let token = desk.token_of(client).await;
    desk.call_api(Method::POST, &format!("/v1/session/{guid}/{what}"), &token, body).await
}

#[tokio::test]
async fn a_digital_session_is_opened_and_its_reply_is_the_published_one_with_the_link() {
    for prefix in ["", "/globalpci", "/api"] {
        let desk = Desk::start();
        let token = desk.token_of("backend").await;
        let path = format!("{prefix}/v1/digitalsession");
        let answer = desk.call_api(Method::POST, &path, &token, Some(&digital_body().to_string())).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let body = answer.json();
        let mut names: Vec<&String> = body.as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(
            names,
            [
                "agentAccessToken",
                "agentRefreshToken",
                "iframeUrl",
                "paymentFormUrl",
                "paymentLinkUrl",
                "providerSessionGuid",
                "sessionGuid"
            ]
        );
        let guid = body["sessionGuid"].as_str().unwrap();
        let status = desk.status(guid).await.json();
        assert_eq!(status["callGuid"], Value::Null);
        assert_eq!((&status["channel"], &status["link"]["state"]), (&json!("link"), &json!("issued")));
        assert_eq!(status["paymentResultData"]["CustomerPhoneNumber"], "+442079460958");
        // Who asks for the status may not be who may pay.
        assert!(!status.to_string().contains("payer.example"), "{status}");
    }
}

#[tokio::test]
async fn who_created_a_digital_session_is_for_information_only() {
    for (client, agent, expected) in [
        ("backend", json!(null), "backend"),
        ("backend", json!("somebody"), "somebody"),
        ("backend", json!(17), "17"),
        ("browser", json!(null), "agent1234"),
    ] {
        let desk = Desk::start();
        let mut body = digital_body();
        body["agentId"] = agent;
        let answer = post_digital(&desk, client, &body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let guid = answer.json()["sessionGuid"].as_str().unwrap().to_owned();
        assert_eq!(desk.stored(&guid).await.agent.as_str(), expected);
    }
    let desk = Desk::start();
    let mut body = digital_body();
    body["agentId"] = json!("somebody");
    assert_eq!(post_digital(&desk, "browser", &body).await.problem(), "403 other_agent");
}

#[tokio::test]
async fn a_configuration_is_for_one_kind_of_session() {
    let desk = Desk::start();
    let mut body = digital_body();
    body["accountConfigurationId"] = json!(0);
    let answer = post_digital(&desk, "backend", &body).await;
    assert_eq!(answer.problem(), "400 wrong_kind_of_configuration");
    body.as_object_mut().unwrap().remove("accountConfigurationId");
    let by_default = post_digital(&desk, "backend", &body).await;
    assert_eq!(by_default.problem(), "400 wrong_kind_of_configuration");
    let mut assisted = good_body();
    assisted["accountConfigurationId"] = json!(DIGITAL);
    let answer = desk.post_session("backend", &assisted.to_string()).await;
    assert_eq!(answer.problem(), "400 wrong_kind_of_configuration");
    assert_eq!(desk.store.all().len(), 0);
}

#[tokio::test]
async fn a_link_goes_to_numbers_and_addresses_that_are_some() {
    let desk = Desk::start();
    let mut body = digital_body();
    body["paymentData"]["CustomerPhoneNumber"] = json!("02079460958");
    body["paymentData"]["email"] = json!("jo at shop");
    let answer = post_digital(&desk, "backend", &body).await;
    assert_eq!(answer.problem(), "400 invalid_payment_data");
    let pointers: Vec<Value> =
        answer.json()["errors"].as_array().unwrap().iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(pointers, [json!("/paymentData/CustomerPhoneNumber"), json!("/paymentData/email")]);
    assert!(!answer.body.contains("02079460958"));
    body["paymentData"]["CustomerPhoneNumber"] = json!(PANS[0]);
    assert_eq!(post_digital(&desk, "backend", &body).await.problem(), "400 card_data");
}

#[tokio::test]
async fn the_same_digital_session_again_is_opened_once() {
    let desk = Desk::start();
    let body = digital_body().to_string();
    let first = desk.post_once("backend", "key-1", "/v1/digitalsession", &body).await;
    let again = desk.post_once("backend", "key-1", "/v1/digitalsession", &body).await;
    assert_eq!((first.status.as_u16(), &first.body), (200, &again.body));
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(desk.store.all().len(), 1);
}

#[tokio::test]
async fn a_session_moves_to_a_link_and_back_with_the_same_guid() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let link = post(&desk, "backend", &opened.guid, "link", None).await;
    assert_eq!(link.status, 200, "{}", link.body);
    assert_eq!(link.json()["sessionGuid"], opened.guid.as_str());
    assert!(link.json()["paymentLinkUrl"].as_str().unwrap().starts_with("https://payer.example/pay/"));
    let status = desk.status(&opened.guid).await.json();
    assert_eq!((&status["channel"], &status["callGuid"]), (&json!("link"), &Value::Null));

    // The call is free for another session meanwhile, and back again.
    let other = desk.open_session().await;
    assert_eq!(post(&desk, "backend", &opened.guid, "keypad", None).await.problem(), "409 call_has_session");
    post(&desk, "backend", &other.guid, "cancel", None).await;
    let back = post(&desk, "backend", &opened.guid, "keypad", Some(r#"{"agentId":"1234"}"#)).await;
    assert_eq!(back.status, 200, "{}", back.body);
    let status = back.json();
    assert_eq!((&status["sessionGuid"], &status["channel"]), (&json!(opened.guid), &json!("keypad")));
    assert_eq!(status["paymentResultData"]["Amount"], "12.40");
    assert!(status["callGuid"].is_string() && status.get("link").is_none(), "{status}");
    assert_eq!(desk.stored(&opened.guid).await.agent.as_str(), "1234");
    let token = desk.token_of("backend").await;
    let events =
        desk.call_api(Method::GET, &format!("/v1/session/{}/events", opened.guid), &token, None).await;
    let types: Vec<Value> =
        events.json()["events"].as_array().unwrap().iter().map(|event| event["type"].clone()).collect();
    assert_eq!(types, ["session.created", "link.issued", "keypad.taken", "session.in_progress"]);
}

#[tokio::test]
async fn a_link_is_renewed_revoked_and_cancelled() {
    let desk = Desk::start();
    let guid = post_digital(&desk, "backend", &digital_body()).await.json();
    let first = guid["paymentLinkUrl"].clone();
    let guid = guid["sessionGuid"].as_str().unwrap();
    let renewed = post(&desk, "backend", guid, "link", None).await.json();
    assert_ne!(renewed["paymentLinkUrl"], first);
    let revoked = post(&desk, "backend", guid, "link/revoke", None).await;
    assert_eq!(
        revoked.json()["link"],
        json!({
            "number": 2, "state": "revoked", "expiresOn": revoked.json()["link"]["expiresOn"],
        })
    );
    assert_eq!(post(&desk, "backend", guid, "link/revoke", None).await.problem(), "409 not_now");
    let cancelled = post(&desk, "backend", guid, "cancel", None).await;
    assert_eq!(cancelled.json()["outcome"], "cancelled");
    for what in ["link", "link/revoke", "keypad"] {
        assert_eq!(post(&desk, "backend", guid, what, None).await.problem(), "409 session_ended", "{what}");
    }
}

#[tokio::test]
async fn why_a_session_cannot_move_is_told() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    for (error, problem) in [
        (ActError::NotNow, "409 not_now"),
        (ActError::Gone, "409 session_ended"),
        (ActError::NoLiveCall(NoLiveCall::None), "409 no_live_call"),
        (ActError::NoLiveCall(NoLiveCall::Several), "409 several_live_calls"),
        (ActError::CallTaken, "409 call_has_session"),
        (ActError::NoLink, "409 no_further_link"),
        (ActError::Unavailable, "503 store_unavailable"),
    ] {
        desk.secure_side.fail_acts(error);
        for what in ["link", "link/revoke", "keypad"] {
            let answer = post(&desk, "backend", &opened.guid, what, None).await;
            assert_eq!(answer.problem(), problem, "{what}");
        }
    }
    let other = post(&desk, "browser", &opened.guid, "keypad", Some(r#"{"agentId":"1234"}"#)).await;
    assert_eq!(other.problem(), "403 other_agent");
    let card =
        post(&desk, "backend", &opened.guid, "keypad", Some(&format!(r#"{{"agentId":"{}"}}"#, PANS[1])))
            .await;
    assert_eq!(card.problem(), "400 card_data");
}

#[tokio::test]
async fn the_agent_sees_the_link_and_how_far_the_payer_is_and_no_digit() {
    let desk = Desk::start();
    let reply = post_digital(&desk, "backend", &digital_body()).await.json();
    let text = |name: &str| reply[name].as_str().unwrap().to_owned();
    let provider = text("providerSessionGuid");
    desk.secure_side.change(&provider, |page| {
        page.phase = Phase::ByLink { typing: Some(Field::CardNumber) };
        page.fields[0].status = FieldStatus::Typing;
        page.fields[0].typed = 12;
    });
    let page = desk.post_tokens(&provider, &text("agentAccessToken"), &text("agentRefreshToken")).await;
    assert_eq!(page.status, 200, "{}", page.body);
    for words in [
        "The customer is typing the card number.",
        &format!("value=\"{}\"", text("paymentLinkUrl")),
        "Copy link",
        "Revoke link",
        "Make a new link",
        &"●".repeat(12),
        "data-action=\"cancel\"",
    ] {
        assert!(page.body.contains(words), "{words} is not in {}", page.body);
    }
    // The payer pays, and the agent has no call to take it on.
    for words in ["data-action=\"pay\"", "Ask for", "Redo", "Take by keypad"] {
        assert!(!page.body.contains(words), "{words}");
    }
    desk.secure_side.change(&provider, |page| {
        page.may_move = true;
        page.link = page.link.take().map(|link| LinkView { url: None, state: LinkState::Revoked, ..link });
    });
    let handle = page.handle();
    let (_, mut events) = desk.listen(&provider, &handle).await;
    let (_, state) = events.next().await.unwrap();
    let shown = state["html"]["link"].as_str().unwrap();
    assert!(
        shown.contains("Take by keypad") && !shown.contains("Revoke") && !shown.contains("payer.example")
    );
    assert_eq!((&state["link"], &state["phase"]), (&json!("revoked"), &json!("by_link")));

    for (form, action) in [
        ("action=link", AgentAction::IssueLink),
        ("action=revoke", AgentAction::RevokeLink),
        ("action=keypad", AgentAction::TakeByKeypad(None)),
    ] {
        assert_eq!(desk.act(&provider, &handle, form).await.status, 204, "{form}");
        assert!(desk.secure_side.done().last() == Some(&action), "{form}");
    }
}

#[tokio::test]
async fn a_session_by_link_goes_on_over_a_restart_and_its_spent_tokens_stay_spent() {
    let mut desk = Desk::start();
    let reply = post_digital(&desk, "backend", &digital_body()).await.json();
    let text = |name: &str| reply[name].as_str().unwrap().to_owned();
    let (provider, access, refresh) =
        (text("providerSessionGuid"), text("agentAccessToken"), text("agentRefreshToken"));
    assert_eq!(desk.post_tokens(&provider, &access, &refresh).await.status, 200);
    desk.restart_by_link();
    // The access token is spent, the refresh token opens once more.
    assert_eq!(desk.post_tokens(&provider, &access, &refresh).await.status, 200);
    desk.restart_by_link();
    assert_eq!(desk.post_tokens(&provider, &access, &refresh).await.status, 403);
}
