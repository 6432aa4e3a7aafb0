//! `Idempotency-Key`: what comes again is answered again, and done once.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt;
use http::Request;
use hushpad_domain::page::AgentAction;
use hushpad_domain::ports::LaunchError;
use hushpad_web::WebLimits;
use serde_json::json;

use crate::fakes::{Answer, Desk, PANS, good_body, send};

const PATH: &str = "/v1/session";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn good() -> String {
    good_body().to_string()
}

fn body_for(agent: &str) -> String {
    let mut body = good_body();
    body["agentId"] = json!(agent);
    body.to_string()
}

/// Opens a session for agent1234's call under this key.
async fn open(desk: &Desk, key: &str) -> Answer {
    desk.post_once("backend", key, PATH, &good()).await
}

/// Whether the answer is an earlier one, told again.
fn replayed(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == "true"
}

#[tokio::test]
async fn the_same_request_again_gets_the_first_answer_and_opens_nothing() {
    let desk = Desk::start();
    let first = open(&desk, "order-1").await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert!(!replayed(&first));
    let again = open(&desk, "order-1").await;
    assert!(replayed(&again));
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    assert!(!again.header("ratelimit").is_empty(), "a replay counts as a request");
    assert_eq!(desk.store.all().len(), 1);

    // Almost a day later still; a day later it is a new request, for a call that is taken.
    desk.world.pass(DAY - Duration::from_secs(1));
    assert!(replayed(&open(&desk, "order-1").await));
    desk.world.pass(Duration::from_secs(1));
    assert_eq!(open(&desk, "order-1").await.problem(), "409 call_has_session");
}

#[tokio::test]
async fn without_a_key_nothing_is_kept() {
    let desk = Desk::start();
    desk.open_session().await;
    assert_eq!(desk.post_session("backend", &good()).await.problem(), "409 call_has_session");
    assert!(desk.replays.rows().is_empty());
}

#[tokio::test]
async fn cancelling_again_gets_the_first_answer_without_what_must_be_forgotten() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let path = format!("{PATH}/{}/cancel", opened.guid);
    let first = desk.post_once("backend", "k", &path, "").await;
    assert_eq!(first.json()["outcome"], "cancelled");
    assert_eq!(first.json()["paymentResultData"], good_body()["paymentData"]);
    let again = desk.post_once("backend", "k", &path, "").await;
    assert!(replayed(&again));
    let mut kept = first.json();
    kept.as_object_mut().unwrap().remove("paymentResultData");
    assert_eq!((again.status, again.json()), (first.status, kept));
    assert!(desk.secure_side.done() == [AgentAction::Cancel]);
}

#[tokio::test]
async fn refusals_that_were_final_are_told_again() {
    let desk = Desk::start();
    let nobody = "00000000-0000-4000-8000-000000000000";
    let cancel = format!("{PATH}/{nobody}/cancel");
    for (key, path, body, problem) in [
        ("b", PATH, body_for("idle"), "409 no_live_call"),
        ("a", PATH, body_for("nobody"), "404 agent_unknown"),
        ("c", PATH, "{".to_owned(), "400 malformed_request"),
        ("d", PATH, good().replace("A-1", PANS[0]), "400 card_data"),
        ("e", &cancel, String::new(), "404 no_such_session"),
    ] {
        let first = desk.post_once("backend", key, path, &body).await;
        assert_eq!(first.problem(), problem);
        // What has changed since does not matter.
        desk.calls.call_of("acme", "idle");
        let again = desk.post_once("backend", key, path, &body).await;
        assert!(replayed(&again), "{problem}");
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("content-type"), "application/problem+json");
    }
    assert!(desk.store.all().is_empty());
}

#[tokio::test]
async fn refusals_that_were_not_final_leave_the_key_free() {
    let limits = WebLimits { client_burst: 9, ..WebLimits::default() };
    let desk = Desk::with_limits(limits);
    for error in [LaunchError::Unavailable, LaunchError::TimedOut, LaunchError::Refused("no".to_owned())] {
        desk.secure_side.fail_launches(error);
        assert!(open(&desk, "k").await.status.is_server_error());
    }
    desk.secure_side.launch_again();
    let large = format!("\"{}\"", "x".repeat(64 * 1024));
    assert_eq!(desk.post_once("backend", "k", PATH, &large).await.problem(), "413 body_too_large");
    let token = desk.token_of("backend").await;
    let request = Request::post(PATH)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "text/plain")
        .header("idempotency-key", "k");
    let answer = send(&desk.api, request.body(Body::from(good())).unwrap()).await;
    assert_eq!(answer.problem(), "415 not_json");
    let request = Request::post(PATH).header("idempotency-key", "k").body(Body::from(good()));
    assert_eq!(send(&desk.api, request.unwrap()).await.problem(), "401 token_missing");
    let other = desk.post_once("browser", "k", PATH, &body_for("1234")).await;
    assert_eq!(other.problem(), "403 other_agent");
    assert!(desk.replays.rows().is_empty());
    // The three launches that failed have each left an ended session.
    assert_eq!(open(&desk, "k").await.status, 200);
    assert_eq!(open(&desk, "k").await.status, 200);
    for _ in 0..2 {
        open(&desk, "m").await;
    }
    assert_eq!(open(&desk, "k").await.problem(), "429 rate_limited");
    desk.world.pass(Duration::from_secs(60));
    assert!(replayed(&open(&desk, "k").await));
}

#[tokio::test]
async fn a_panic_leaves_the_key_free() {
    let desk = Desk::start();
    desk.secure_side.launch_panics.store(true, Ordering::Relaxed);
    assert_eq!(open(&desk, "k").await.problem(), "500 internal");
    assert!(desk.replays.rows().is_empty());
}

#[tokio::test]
async fn a_key_is_for_one_request_only() {
    let desk = Desk::start();
    let first = open(&desk, "k").await;
    let cancel = format!("{PATH}/{}/cancel", first.json()["sessionGuid"].as_str().unwrap());
    for (path, body) in [
        (PATH, good().replace("12.40", "12.41")),
        (PATH, format!("{} ", good())),
        ("/api/v1/session", good()),
        ("/v1/session?x", good()),
        (&cancel, good()),
        (&cancel, String::new()),
    ] {
        let answer = desk.post_once("backend", "k", path, &body).await;
        assert_eq!(answer.problem(), "422 idempotency_key_reused", "{path} {body}");
    }
    assert!(replayed(&open(&desk, "k").await));
    assert_eq!(desk.store.all().len(), 1);
}

#[tokio::test]
async fn while_the_first_is_under_way_the_others_are_told_so() {
    let desk = Desk::start();
    let held = desk.secure_side.gate.write().await;
    let mut first = pin!(open(&desk, "k"));
    assert!(first.as_mut().now_or_never().is_none());
    assert_eq!(open(&desk, "k").await.problem(), "409 idempotency_key_in_use");
    let other = desk.post_once("backend", "k", PATH, &body_for("1234")).await;
    assert_eq!(other.problem(), "422 idempotency_key_reused");
    drop(held);
    let first = first.await;
    assert_eq!(first.status, 200);
    assert_eq!(open(&desk, "k").await.body, first.body);
}

#[tokio::test]
async fn neither_accounts_nor_clients_share_keys() {
    let desk = Desk::start();
    desk.calls.call_of("globex", "agent1234");
    let first = open(&desk, "k").await;
    let other = desk.post_once("other", "k", PATH, &good()).await;
    assert_eq!(other.status, 200);
    assert!(!replayed(&other));
    assert_ne!(other.json()["sessionGuid"], first.json()["sessionGuid"]);
    assert_eq!(desk.post_once("browser", "k", PATH, &good()).await.problem(), "409 call_has_session");
}

#[tokio::test]
async fn a_key_has_1_to_255_visible_characters_and_no_card_number() {
    let desk = Desk::start();
    let nobody = body_for("nobody");
    let long = "x".repeat(255);
    for key in ["!", "\"quoted\"", &long, "12345678-1234-4123-8123-123456789012"] {
        assert_eq!(
            desk.post_once("backend", key, PATH, &nobody).await.problem(),
            "404 agent_unknown",
            "{key}"
        );
    }
    let kept = desk.replays.rows().len();
    for key in ["", "a b", "caf\u{e9}", &format!("{long}x"), "a\tb"] {
        let answer = desk.post_once("backend", key, PATH, &nobody).await;
        assert_eq!(answer.problem(), "400 malformed_request", "{key:?}");
    }
    for pan in PANS {
        let answer = desk.post_once("backend", &format!("order-{pan}"), PATH, &nobody).await;
        assert_eq!(answer.problem(), "400 card_data");
    }
    let token = desk.token_of("backend").await;
    let twice = Request::post(PATH)
        .header("authorization", format!("Bearer {token}"))
        .header("idempotency-key", "a")
        .header("idempotency-key", "a");
    assert_eq!(send(&desk.api, twice.body(Body::empty()).unwrap()).await.problem(), "400 malformed_request");
    assert_eq!(desk.replays.rows().len(), kept);
}

#[tokio::test]
async fn what_is_kept_tells_nothing_and_cannot_be_changed() {
    let desk = Desk::start();
    let first = open(&desk, "order-1").await;
    let rows = desk.replays.rows();
    let [row] = rows.as_slice() else { panic!("one row") };
    let sealed = &row.answer.as_ref().unwrap().sealed_body;
    for name in ["agentAccessToken", "agentRefreshToken", "sessionGuid"] {
        let secret = first.json()[name].as_str().unwrap().to_owned();
        for told in [name, &secret] {
            assert!(!sealed.windows(told.len()).any(|window| window == told.as_bytes()), "{name}");
        }
    }
    desk.replays.tamper();
    assert_eq!(open(&desk, "order-1").await.problem(), "500 internal");
}

#[tokio::test]
async fn bodies_that_differ_by_a_card_number_leave_the_same_trace() {
    let trace = async |pan: &str| {
        let desk = Desk::start();
        desk.post_once("backend", "k", PATH, &good().replace("A-1", pan)).await;
        desk.replays.rows()[0].first.clone()
    };
    assert_eq!(trace(PANS[0]).await, trace(PANS[1]).await);
    assert_ne!(trace("A-1").await, trace("A-2").await);
}

#[tokio::test]
async fn a_store_that_cannot_take_the_key_stops_the_request_and_one_that_cannot_keep_the_answer_does_not() {
    let desk = Desk::start();
    desk.replays.break_down(true);
    assert_eq!(open(&desk, "k").await.problem(), "503 store_unavailable");
    assert!(desk.store.all().is_empty());

    desk.replays.break_down(false);
    let held = desk.secure_side.gate.write().await;
    let mut first = pin!(open(&desk, "k"));
    assert!(first.as_mut().now_or_never().is_none());
    desk.replays.break_down(true);
    drop(held);
    assert_eq!(first.await.status, 200);
    desk.replays.break_down(false);
    assert_eq!(open(&desk, "k").await.problem(), "409 idempotency_key_in_use");
}

#[tokio::test]
async fn after_a_restart_a_key_names_the_session_that_was_opened() {
    let desk = Desk::start();
    let held = desk.secure_side.gate.write().await;
    {
        // Stored, and never launched: the process ends here.
        let mut first = pin!(open(&desk, "k"));
        assert!(first.as_mut().now_or_never().is_none());
    }
    drop(held);
    desk.replays.restart();
    let answer = open(&desk, "k").await;
    assert_eq!(answer.problem(), "409 idempotency_key_interrupted");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    let stored = desk.store.all()[0].guid.to_string();
    assert!(detail.contains(&stored), "{detail}");
}
