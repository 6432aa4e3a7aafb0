//! The event log as a live stream.

use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use http::{Method, Request};
use hushpad_domain::attempt::Verdict;
use hushpad_web::WebLimits;
use tower::ServiceExt;

use crate::fakes::{Desk, declined};

/// A live log, piece by piece.
struct Log(axum::body::BodyDataStream);

impl Log {
    async fn next(&mut self) -> Option<String> {
        Some(String::from_utf8(self.0.next().await?.unwrap().to_vec()).unwrap())
    }
}

async fn follow(desk: &Desk, guid: &str, last: Option<&str>) -> Log {
    let token = desk.token_of("backend").await;
    let mut request = Request::get(format!("/v1/session/{guid}/events"))
        .header("authorization", format!("Bearer {token}"))
        .header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let response = desk.api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Log(response.into_body().into_data_stream())
}

#[tokio::test]
async fn a_live_log_tells_each_event_and_ends_with_the_session() {
    let heartbeat = Duration::from_millis(100);
    let desk = Desk::with_limits(WebLimits { heartbeat, ..WebLimits::default() });
    let opened = desk.open_session().await;
    let mut log = follow(&desk, &opened.guid, None).await;
    let first = log.next().await.unwrap();
    assert!(first.starts_with("id: 1\nevent: session.created\ndata: {"), "{first}");
    assert_eq!(log.next().await.unwrap(), ": beat\n\n");
    desk.attempt(&opened.guid, declined()).await;
    let mut told = String::new();
    while !told.contains("attempt.declined") {
        told += &log.next().await.unwrap();
    }
    assert!(told.contains("id: 2\nevent: attempt.intent\n") && told.contains("id: 3\n"), "{told}");
    // Who comes back with the last number misses nothing and gets nothing twice.
    let mut again = follow(&desk, &opened.guid, Some("2")).await;
    assert!(again.next().await.unwrap().starts_with("id: 3\nevent: attempt.declined\n"));
    let session = desk.stored(&opened.guid).await;
    let change = session.cancel(hushpad_domain::ports::World::now(&*desk.world)).unwrap();
    hushpad_domain::ports::Sessions::commit(&*desk.store, change).await.unwrap();
    for log in [&mut log, &mut again] {
        let mut last = log.next().await.unwrap();
        while last.starts_with(':') {
            last = log.next().await.unwrap();
        }
        assert!(last.starts_with("id: 4\nevent: session.ended\n"), "{last}");
        assert_eq!(log.next().await.unwrap(), "event: end\ndata: {}\n\n");
        assert_eq!(log.next().await, None);
    }
}

#[tokio::test]
async fn a_slow_reader_and_an_old_token_are_cut_with_a_word() {
    let heartbeat = Duration::from_millis(100);
    let desk = Desk::with_limits(WebLimits { heartbeat, ..WebLimits::default() });
    let opened = desk.open_session().await;
    let mut slow = follow(&desk, &opened.guid, None).await;
    slow.next().await.unwrap();
    desk.world.pass(Duration::from_secs(61));
    assert_eq!(slow.next().await.unwrap(), "event: closed\ndata: {\"reason\":\"too slow\"}\n\n");
    assert_eq!(slow.next().await, None);
    let mut old = follow(&desk, &opened.guid, Some("1")).await;
    desk.world.pass(Duration::from_secs(7200));
    assert_eq!(old.next().await.unwrap(), "event: closed\ndata: {\"reason\":\"token expired\"}\n\n");
    assert_eq!(old.next().await, None);
}

#[tokio::test]
async fn live_logs_are_bounded_and_others_sessions_are_not_followed() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let mut logs = Vec::new();
    let token = desk.token_of("backend").await;
    let ask = async || {
        let request = Request::get(format!("/v1/session/{}/events", opened.guid))
            .header("authorization", format!("Bearer {token}"))
            .header("accept", "text/html, text/event-stream;q=0.9");
        desk.api.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let status = loop {
        desk.world.pass(Duration::from_secs(1));
        let response = ask().await;
        if response.status() != 200 {
            break response.status();
        }
        logs.push(response);
    };
    assert_eq!((status.as_u16(), logs.len()), (503, 1_024));
    logs.clear();
    assert_eq!(ask().await.status(), 200);
    let other = desk.token_of("other").await;
    let path = format!("/v1/session/{}/events", opened.guid);
    assert_eq!(desk.call_api(Method::GET, &path, &other, None).await.problem(), "404 no_such_session");
    desk.attempt(&opened.guid, Verdict::Approved).await;
}
