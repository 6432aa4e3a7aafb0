//! `/v1/calls`.

use http::Method;
use serde_json::json;

use crate::fakes::{Answer, Desk};

const FREE: &str = "00000000-0000-0000-0000-000000000001";
const RINGS: &str = "00000000-0000-0000-0000-000000000002";

fn desk() -> Desk {
    let desk = Desk::start();
    desk.calls.trunk_call("acme", 1, true);
    desk.calls.trunk_call("acme", 2, false);
    desk.calls.trunk_call("globex", 3, true);
    desk
}

async fn call(desk: &Desk, client: &str, method: Method, path: &str, body: Option<&str>) -> Answer {
    let token = desk.token_of(client).await;
    desk.call_api(method, path, &token, body).await
}

async fn bind(desk: &Desk, client: &str, guid: &str, body: &str) -> Answer {
    call(desk, client, Method::PUT, &format!("/v1/calls/{guid}/agent"), Some(body)).await
}

#[tokio::test]
async fn a_call_by_a_trunk_is_listed_and_tied_to_its_agent() {
    let desk = desk();
    let listed = call(&desk, "backend", Method::GET, "/api/v1/calls", None).await.json();
    let told = |agent: Option<&str>| {
        json!({ "calls": [
            { "callGuid": FREE, "agentId": agent, "state": "answered", "since": "1970-01-01T00:00:00.000000Z",
              "caller": "+4930123" },
            { "callGuid": RINGS, "agentId": null, "state": "ringing", "since": "1970-01-01T00:00:00.000000Z" },
        ] })
    };
    assert_eq!(listed, told(None));
    let tied = bind(&desk, "backend", FREE, r#"{"AgentID": 1234}"#).await;
    assert_eq!((tied.status.as_u16(), tied.json()), (200, json!({ "callGuid": FREE, "agentId": "1234" })));
    assert_eq!(call(&desk, "backend", Method::GET, "/v1/calls", None).await.json(), told(Some("1234")));
    // Another agent's call is not shown to an agent, and not to be taken by one.
    let own = call(&desk, "browser", Method::GET, "/v1/calls", None).await.json();
    assert_eq!(own["calls"].as_array().unwrap().len(), 1);
    assert_eq!(bind(&desk, "browser", FREE, "{}").await.problem(), "409 call_has_agent");
    assert_eq!(bind(&desk, "backend", FREE, r#"{"agentId":"idle"}"#).await.status.as_u16(), 200);
}

#[tokio::test]
async fn what_cannot_be_tied_says_why() {
    let desk = desk();
    let idle = r#"{"agentId":"idle"}"#;
    let other = "00000000-0000-0000-0000-000000000003";
    assert_eq!(bind(&desk, "backend", other, idle).await.problem(), "404 no_such_call");
    assert_eq!(bind(&desk, "backend", "x", idle).await.problem(), "404 no_such_call");
    assert_eq!(bind(&desk, "backend", RINGS, idle).await.problem(), "409 call_not_answered");
    assert_eq!(bind(&desk, "backend", FREE, "{}").await.problem(), "400 agent_missing");
    assert_eq!(bind(&desk, "backend", FREE, r#"{"agentId":"x"}"#).await.problem(), "404 agent_unknown");
    assert_eq!(bind(&desk, "browser", FREE, idle).await.problem(), "403 other_agent");
    assert_eq!(bind(&desk, "browser", FREE, "{}").await.status.as_u16(), 200);
    let card = r#"{"agentId":"4111111111111111"}"#;
    assert_eq!(bind(&desk, "backend", FREE, card).await.problem(), "400 card_data");
}

#[tokio::test]
async fn an_agent_gets_a_code_to_key() {
    let desk = desk();
    let code =
        async |client, body| call(&desk, client, Method::POST, "/v1/calls/link-code", Some(body)).await;
    let told = async |client, body| {
        let answer = code(client, body).await.json();
        [answer["code"].as_str().unwrap().to_owned(), answer["expiresOn"].as_str().unwrap().to_owned()]
    };
    let idle = told("backend", r#"{"agentId":"idle"}"#).await;
    assert_eq!(idle, ["*000042", "2026-09-21T14:18:20.123456Z"]);
    assert_eq!(told("browser", "{}").await[0], "*000043");
    assert_eq!(code("backend", "{}").await.problem(), "400 agent_missing");
    assert_eq!(code("backend", r#"{"agentId":"busy"}"#).await.problem(), "503 no_link_code");
    let unknown = r#"{"agentId":"idle","accountConfigurationId":99}"#;
    assert_eq!(code("backend", unknown).await.status.as_u16(), 400);
}
