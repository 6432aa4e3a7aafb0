//! Dead letters by the API.

use http::{Method, StatusCode};
use serde_json::json;

use crate::fakes::{Answer, Desk};

async fn ask(desk: &Desk, client: &str, method: Method, path: &str) -> Answer {
    let token = desk.token_of(client).await;
    desk.call_api(method, path, &token, None).await
}

#[tokio::test]
async fn dead_letters_are_listed_page_by_page() {
    let desk = Desk::start();
    for number in 1..=3 {
        desk.webhooks.dead_letter("acme", number);
    }
    desk.webhooks.dead_letter("globex", 4);
    let first = ask(&desk, "backend", Method::GET, "/v1/webhooks?state=dead&limit=2").await.json();
    let expected = json!({
      "accountConfigurationId": 0,
      "createdOn": "1970-01-01T00:00:00.000001Z",
      "dueOn": null,
      "endedOn": "1970-01-01T00:00:00.000001Z",
      "id": "00000000-0000-0000-0000-000000000001",
      "lastAnswer": "503",
      "sessionGuid": "00000000-0000-0000-0000-000000000007",
      "state": "dead",
      "tries": 11
    });
    assert_eq!(first["webhooks"][0], expected);
    let cursor = first["nextCursor"].as_str().unwrap();
    let path = format!("/v1/webhooks?limit=2&cursor={cursor}");
    let rest = ask(&desk, "backend", Method::GET, &path).await.json();
    assert_eq!(rest["webhooks"].as_array().unwrap().len(), 1);
    assert!(rest["nextCursor"].is_null());
    let due = ask(&desk, "backend", Method::GET, "/v1/webhooks?state=due").await.json();
    assert_eq!(due["webhooks"].as_array().unwrap().len(), 0);
    for query in ["state=delivered", "limit=0", "limit=101", "cursor=x", "sort=up"] {
        let answer = ask(&desk, "backend", Method::GET, &format!("/v1/webhooks?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn a_replay_is_for_the_back_end_of_the_account_and_twice_is_once() {
    let desk = Desk::start();
    let id = desk.webhooks.dead_letter("acme", 1);
    let path = format!("/v1/webhooks/{id}/replay");
    assert_eq!(ask(&desk, "other", Method::POST, &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(&desk, "browser", Method::POST, &path).await.status, StatusCode::FORBIDDEN);
    assert_eq!(ask(&desk, "browser", Method::GET, "/v1/webhooks").await.status, StatusCode::FORBIDDEN);
    let first = ask(&desk, "backend", Method::POST, &path).await.json();
    assert_eq!(first["state"], "due");
    assert_eq!(ask(&desk, "backend", Method::POST, &path).await.json(), first);
    for nobody in ["00000000-0000-0000-0000-000000000009", "x"] {
        let answer = ask(&desk, "backend", Method::POST, &format!("/v1/webhooks/{nobody}/replay")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
    }
}
