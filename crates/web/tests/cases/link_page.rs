//! The page that shows a link code: its opening, what it shows and tells, and what ends it.

use std::time::Duration;

use http::Method;
use serde_json::json;
use uuid::Uuid;

use crate::fakes::{Answer, Desk, Events, PAGE_HOST, SHOP};

const LIFE: Duration = Duration::from_secs(300);

/// What `POST /v1/calls/link-code` gave.
struct Asked {
    /// The page's path, un-framed.
    path: String,
    access: String,
    refresh: String,
}

impl Asked {
    async fn by(desk: &Desk) -> Self {
        let token = desk.token_of("backend").await;
        let body = Some(r#"{"agentId":"idle"}"#);
        let answer = desk.call_api(Method::POST, "/v1/calls/link-code", &token, body).await.json();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        assert_eq!(text("iframeUrl"), format!("{}/framed", text("pageUrl")));
        let path = text("pageUrl").strip_prefix(PAGE_HOST).unwrap().to_owned();
        Self { path, access: text("agentAccessToken"), refresh: text("agentRefreshToken") }
    }

    async fn open(&self, desk: &Desk) -> Answer {
        desk.post_tokens_to(&format!("{}/framed", self.path), &self.access, &self.refresh).await
    }

    /// Opens the page and listens: its handle and its events.
    async fn watch(&self, desk: &Desk) -> (String, Events) {
        let handle = self.open(desk).await.handle();
        let (status, events) = desk.listen_to(&self.path, &handle).await;
        assert_eq!(status, 200);
        (handle, events)
    }
}

/// What the next event says of the code.
async fn phase(events: &mut Events) -> String {
    let (name, page) = events.next().await.unwrap();
    assert_eq!(name, "state");
    page["phase"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_shows_the_code_to_eye_and_ear_under_the_agent_pages_headers() {
    let desk = Desk::start();
    let asked = Asked::by(&desk).await;
    let page = asked.open(&desk).await;
    assert_eq!(page.status, 200, "{}", page.body);
    for text in [
        "<p class=\"code\" aria-hidden=\"true\"><span>*</span><span>0</span><span>0</span><span>0</span>",
        "The code: star, 0, 0, 0, 0, 4, 2.",
        "Key this code on your phone.",
        "Agent <b>idle</b>",
        "aria-live=\"polite\"",
        "role=\"timer\"",
    ] {
        assert!(page.body.contains(text), "{text} is not in {}", page.body);
    }
    for text in [asked.access.as_str(), asked.refresh.as_str(), "style=", "onclick"] {
        assert!(!page.body.contains(text), "{text}");
    }
    let policy = page.header("content-security-policy");
    assert!(policy.contains(&format!("frame-ancestors {SHOP};")), "{policy}");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    // The window that embeds it is told only where it is of an allowed origin.
    assert!(page.body.contains(&format!("data-tells=\"[&#34;{SHOP}&#34;]\"")), "{}", page.body);
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(page.headers.get("set-cookie").is_none());
    let pop_up = desk.post_tokens_to(&asked.path, &asked.access, &asked.refresh).await;
    assert!(pop_up.header("content-security-policy").contains("frame-ancestors 'none'"));
}

#[tokio::test]
async fn the_page_turns_when_the_code_is_keyed_and_says_in_which_call() {
    let desk = Desk::start();
    let asked = Asked::by(&desk).await;
    let (handle, mut events) = asked.watch(&desk).await;
    let (_, waiting) = events.next().await.unwrap();
    assert_eq!(waiting["phase"], "waiting");
    assert_eq!(waiting["leftMs"], 300_000);
    assert_eq!(waiting["announce"], "Key this code on your phone. star, 0, 0, 0, 0, 4, 2");
    desk.calls.code_is_keyed_in(7);
    let (_, linked) = events.next().await.unwrap();
    assert_eq!(linked["phase"], "linked");
    assert_eq!(linked["callGuid"], Uuid::from_u128(7).to_string());
    assert_eq!((&linked["leftMs"], &linked["html"]["code"]), (&json!(null), &json!("")));
    assert!(linked["html"]["status"].as_str().unwrap().contains("Linked: this is your call."));
    assert_eq!(events.next().await.unwrap().0, "end");
    assert!(events.next().await.is_none());
    // A line that was lost just then is told the same; and the code is not to be had anew.
    let (_, mut again) = desk.listen_to(&asked.path, &handle).await;
    assert_eq!(phase(&mut again).await, "linked");
    assert_eq!(desk.act_on(&asked.path, &handle, "action=code").await.status, 409);
}

#[tokio::test(start_paused = true)]
async fn a_code_whose_time_is_over_is_told_and_a_new_one_comes_on_the_same_line() {
    let desk = Desk::start();
    let asked = Asked::by(&desk).await;
    let (handle, mut events) = asked.watch(&desk).await;
    assert_eq!(phase(&mut events).await, "waiting");
    desk.world.pass(LIFE);
    tokio::time::advance(LIFE).await;
    let (_, expired) = events.next().await.unwrap();
    assert_eq!((&expired["phase"], &expired["html"]["code"]), (&json!("expired"), &json!("")));
    assert_eq!(desk.act_on(&asked.path, &handle, "action=code").await.status, 204);
    let (_, renewed) = events.next().await.unwrap();
    assert_eq!(renewed["phase"], "waiting");
    assert!(renewed["announce"].as_str().unwrap().ends_with("star, 0, 0, 0, 0, 4, 3"), "{renewed}");
    desk.calls.code_is_keyed_in(7);
    assert_eq!(phase(&mut events).await, "linked");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_left_open_ends_after_an_hour() {
    let desk = Desk::start();
    let asked = Asked::by(&desk).await;
    let (handle, mut events) = asked.watch(&desk).await;
    assert_eq!(phase(&mut events).await, "waiting");
    desk.world.pass(Duration::from_secs(3600));
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(events.next().await.is_none());
    assert_eq!(desk.listen_to(&asked.path, &handle).await.0, 410);
}

#[tokio::test]
async fn another_request_of_the_agent_ends_the_page() {
    let desk = Desk::start();
    let asked = Asked::by(&desk).await;
    let (handle, mut events) = asked.watch(&desk).await;
    assert_eq!(phase(&mut events).await, "waiting");
    let next = Asked::by(&desk).await;
    assert!(events.next().await.is_none_or(|(_, page)| page["phase"] == "replaced"));
    assert!(events.next().await.is_none());
    assert_eq!(desk.listen_to(&asked.path, &handle).await.0, 410);
    assert_eq!(desk.act_on(&asked.path, &handle, "action=code").await.status, 410);
    let gone = asked.open(&desk).await;
    assert_eq!((gone.status.as_u16(), gone.header("x-frame-options")), (410, "DENY"));
    assert_eq!(next.open(&desk).await.status, 200);
}

#[tokio::test]
async fn its_tokens_are_spent_as_a_sessions_are_and_open_nothing_else() {
    let desk = Desk::start();
    let asked = Asked::by(&desk).await;
    let opened = desk.open_session().await;
    let framed = format!("{}/framed", asked.path);
    assert_eq!(desk.post_tokens_to(&framed, &opened.access, &opened.refresh).await.status, 403);
    assert_eq!(desk.post_tokens(&opened.provider, &asked.access, &asked.refresh).await.status, 403);
    // The guid of one in the path of the other.
    let guid = asked.path.rsplit('/').next().unwrap();
    assert_eq!(desk.post_tokens(guid, &asked.access, &asked.refresh).await.status, 404);
    let (first, mut live) = asked.watch(&desk).await;
    assert_eq!(phase(&mut live).await, "waiting");
    let second = asked.open(&desk).await.handle();
    assert_eq!(live.next().await.unwrap().0, "closed");
    assert_eq!(desk.act_on(&asked.path, &first, "action=code").await.status, 403);
    assert_eq!(desk.act_on(&asked.path, &second, "action=pay").await.status, 400);
    assert_eq!(desk.act_on(&asked.path, &second, "action=code").await.status, 204);
    assert_eq!(asked.open(&desk).await.status, 403);
    assert_eq!(desk.act_on(&asked.path, &second, "action=code").await.status, 410);

    // A page lasts an hour, whatever codes it has shown; the tokens less.
    let asked = Asked::by(&desk).await;
    desk.world.pass(Duration::from_secs(3600));
    assert_eq!(asked.open(&desk).await.status, 410);
}
