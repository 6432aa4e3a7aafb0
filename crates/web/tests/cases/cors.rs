//! An application in the agent's browser, from an origin that is listed and from one that is not.

use axum::body::Body;
use http::{Method, Request};

use crate::fakes::{Answer, CRM, Desk, send};

async fn asked_before(desk: &Desk, path: &str, origin: &str) -> Answer {
    let request = Request::builder()
        .method(Method::OPTIONS)
        .uri(path)
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,idempotency-key");
    send(&desk.api, request.body(Body::empty()).unwrap()).await
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_ask_and_read() {
    let desk = Desk::start();
    for path in ["/oauth/token", "/v1/session"] {
        let answer = asked_before(&desk, path, CRM).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(allowed(&answer), Some(CRM));
        assert!(answer.headers["access-control-allow-headers"].to_str().unwrap().contains("authorization"));
        // No cookie counts, so none is asked for.
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
    }
    let request = Request::get("/v1/session").header("origin", CRM).body(Body::empty()).unwrap();
    let refused = send(&desk.api, request).await;
    assert_eq!((refused.status.as_u16(), allowed(&refused)), (401, Some(CRM)));
    assert!(refused.headers["access-control-expose-headers"].to_str().unwrap().contains("x-request-id"));
}

#[tokio::test]
async fn a_page_of_another_origin_reads_nothing() {
    let desk = Desk::start();
    for origin in ["https://evil.example", "https://crm.example.evil.example", "http://crm.example", "null"] {
        assert_eq!(allowed(&asked_before(&desk, "/oauth/token", origin).await), None, "{origin}");
        let request = Request::get("/v1/session").header("origin", origin).body(Body::empty()).unwrap();
        assert_eq!(allowed(&send(&desk.api, request).await), None, "{origin}");
    }
}
