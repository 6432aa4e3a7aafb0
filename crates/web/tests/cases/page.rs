//! The agent page: its opening, its headers, its live updates and its actions.

use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AccountId, SessionGuid};
use hushpad_domain::page::{AgentAction, EndView, FieldStatus, Phase};
use hushpad_domain::ports::{ActError, Sessions, World};
use hushpad_web::WebLimits;
use serde_json::json;

use crate::fakes::{Answer, Desk, PAGE_HOST, SHOP, good_body, send};

/// An error page that may not be framed and says nothing of the session.
fn refused(answer: &Answer) -> u16 {
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
    assert!(!answer.body.contains("12.40") && !answer.body.contains("data-handle"));
    answer.status.as_u16()
}

#[tokio::test]
async fn the_page_shows_the_payment_and_how_far_it_is() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let page = desk.open_page(&opened).await;
    assert_eq!(page.status, 200);
    for text in [
        "12.40 <span class=\"currency\">GBP</span>",
        "Reference <b>A-1</b>",
        "The customer is keying the expiry date.",
        &format!("<p class=\"dots\" aria-hidden=\"true\">{}</p>", "●".repeat(16)),
        "16 of 16 keys",
        "Visa",
        "Redo card number",
        "Ask for security code",
        "aria-disabled=\"true\">Pay 12.40 GBP</button>",
        "aria-live=\"polite\"",
    ] {
        assert!(page.body.contains(text), "{text} is not in {}", page.body);
    }
    for text in ["keypad", opened.access.as_str(), opened.refresh.as_str(), "style=", "onclick"] {
        assert!(!page.body.contains(text), "{text}");
    }
}

#[tokio::test]
async fn the_headers_allow_our_two_files_and_the_allowed_origin_only() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let page = desk.open_page(&opened).await;
    let policy = page.header("content-security-policy").replace(PAGE_HOST, "HOST");
    let hashes = |text: &str| {
        let mut masked = String::new();
        for word in text.split(' ') {
            let word = match word {
                word if word.starts_with("'sha256-") => "'sha256-…'",
                word if word.starts_with("HOST/assets/") => {
                    word.trim_end_matches(';').rsplit('/').next().unwrap()
                }
                word => word,
            };
            masked = format!("{masked} {word}");
        }
        masked
    };
    insta::assert_snapshot!(hashes(&policy).trim(), @"default-src 'none'; script-src 'sha256-…' page.js style-src 'sha256-…' page.css connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors https://shop.example:8443; require-trusted-types-for 'script'; trusted-types hushpad");
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", ""),
    ] {
        assert_eq!(page.header(name), value);
    }
    assert!(page.header("permissions-policy").contains("camera=(), "));
    assert!(page.headers.get("set-cookie").is_none());
}

#[tokio::test]
async fn the_files_are_served_as_named_and_hashed() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let page = desk.open_page(&opened).await.body;
    for (before, content_type) in
        [("href=\"", "text/css; charset=utf-8"), ("src=\"", "text/javascript; charset=utf-8")]
    {
        let rest = page.split_once(before).unwrap().1;
        let url = rest.split_once('"').unwrap().0;
        let path = url.strip_prefix(PAGE_HOST).unwrap();
        let integrity = rest.split_once("integrity=\"").unwrap().1.split_once('"').unwrap().0;
        let file = send(&desk.pages, Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(file.header("content-type"), content_type);
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable");
        let digest = ring::digest::digest(&ring::digest::SHA256, file.body.as_bytes());
        let digest = STANDARD.encode(digest);
        assert_eq!(integrity, format!("sha256-{digest}"));
    }
    let wrong = send(&desk.pages, Request::get("/assets/x/page.js").body(Body::empty()).unwrap()).await;
    assert_eq!(refused(&wrong), 404);
}

#[tokio::test]
async fn texts_from_outside_are_escaped() {
    let desk = Desk::start();
    let mut body = good_body();
    body["paymentData"]["MerchantReferenceCode"] = json!("<script>alert('x')</script>\"&");
    let answer = desk.post_session("backend", &body.to_string()).await.json();
    let text = |name: &str| answer[name].as_str().unwrap();
    let page = desk
        .post_tokens(text("providerSessionGuid"), text("agentAccessToken"), text("agentRefreshToken"))
        .await;
    assert_eq!(page.status, 200);
    assert!(!page.body.contains("<script>alert"));
    assert!(
        page.body.contains("&#60;script&#62;alert(&#39;x&#39;)&#60;/script&#62;&#34;&#38;"),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn twice_moves_the_page_and_thrice_ends_it() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let provider = opened.provider.as_str();
    let first = desk.open_page(&opened).await.handle();
    let (_, mut first_live) = desk.listen(provider, &first).await;
    assert_eq!(first_live.next().await.unwrap().0, "state");

    let second = desk.open_page(&opened).await.handle();
    assert_ne!(first, second);
    assert_eq!(first_live.next().await.unwrap().0, "closed");
    assert_eq!(first_live.next().await, None);
    assert_eq!(desk.act(provider, &first, "action=pay").await.status, 403);
    assert_eq!(desk.listen(provider, &first).await.0, 403);
    assert_eq!(desk.act(provider, &second, "action=pay").await.status, 204);

    let (_, mut second_live) = desk.listen(provider, &second).await;
    assert_eq!(second_live.next().await.unwrap().0, "state");
    assert_eq!(refused(&desk.open_page(&opened).await), 403);
    assert_eq!(second_live.next().await.unwrap().0, "closed");
    assert_eq!(desk.act(provider, &second, "action=pay").await.status, 410);
    assert_eq!(refused(&desk.open_page(&opened).await), 403);
}

#[tokio::test]
async fn wrong_foreign_and_missing_tokens_open_nothing_and_spend_nothing() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    desk.calls.call_of("acme", "1234");
    let mut body = good_body();
    body["agentId"] = json!("1234");
    let other = desk.post_session("backend", &body.to_string()).await.json();
    let (other_access, other_refresh) =
        (other["agentAccessToken"].as_str().unwrap(), other["agentRefreshToken"].as_str().unwrap());
    let api_token = desk.token_of("backend").await;
    let (provider, access, refresh) =
        (opened.provider.as_str(), opened.access.as_str(), opened.refresh.as_str());
    for (access, refresh, status) in [
        ("", "", 403),
        ("x.y.z", "x.y.z", 403),
        (other_access, other_refresh, 403),
        (access, other_refresh, 403),
        (other_access, refresh, 403),
        (refresh, access, 403),
        (refresh, refresh, 403),
        (api_token.as_str(), refresh, 403),
        (&access[..access.len() - 2], refresh, 403),
    ] {
        assert_eq!(refused(&desk.post_tokens(provider, access, refresh).await), status);
    }
    let bare = Request::post(format!("/view/{provider}/framed")).body(Body::empty()).unwrap();
    assert_eq!(refused(&send(&desk.pages, bare).await), 401);
    let in_query = format!("/view/{provider}/framed?X-BEARER-TOKEN={access}&X-REFRESH-TOKEN={refresh}");
    let in_query = Request::get(in_query).body(Body::empty()).unwrap();
    assert_eq!(refused(&send(&desk.pages, in_query).await), 401);
    desk.open_page(&opened).await.handle();
    desk.open_page(&opened).await.handle();
}

#[tokio::test]
async fn both_tokens_may_come_as_headers_and_head_spends_nothing() {
    for method in [Method::GET, Method::POST] {
        for rest in ["/framed", ""] {
            let desk = Desk::start();
            let opened = desk.open_session().await;
            let request = |method: Method| {
                Request::builder()
                    .method(method)
                    .uri(format!("/view/{}{rest}", opened.provider))
                    .header("X-BEARER-TOKEN", &opened.access)
                    .header("X-REFRESH-TOKEN", &opened.refresh)
                    .body(Body::empty())
                    .unwrap()
            };
            assert_eq!(send(&desk.pages, request(Method::HEAD)).await.status, 405);
            send(&desk.pages, request(method.clone())).await.handle();
            let again = send(&desk.pages, request(method.clone())).await;
            again.handle();
            let framed_by = if rest.is_empty() { "'none'" } else { SHOP };
            let policy = again.header("content-security-policy");
            assert!(policy.contains(&format!("frame-ancestors {framed_by};")), "{policy}");
        }
    }
}

#[tokio::test]
async fn tokens_last_minutes_and_the_session_and_no_longer() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    desk.world.pass(Duration::from_secs(300));
    // The access token is over; the refresh token opens the page once.
    desk.open_page(&opened).await.handle();
    assert_eq!(refused(&desk.open_page(&opened).await), 403);

    let desk = Desk::start();
    let opened = desk.open_session().await;
    desk.world.pass(Duration::from_secs(900));
    assert_eq!(refused(&desk.open_page(&opened).await), 401);
}

#[tokio::test]
async fn unknown_ended_and_forgotten_sessions_have_no_page() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let stranger = Desk::start().open_session().await;
    let never = "00000000-0000-4000-8000-000000000000";
    assert_eq!(refused(&desk.post_tokens(never, &stranger.access, &stranger.refresh).await), 404);
    assert_eq!(refused(&desk.post_tokens("4111111111111111", &opened.access, &opened.refresh).await), 404);

    for path in ["/view/%ff/framed", "/view/x", "/view/%ff/live", "/assets/%ff/page.js", "/"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(refused(&send(&desk.pages, request).await), 404, "{path}");
    }

    let account = AccountId("acme".to_owned());
    let guid = SessionGuid(opened.guid.parse().unwrap());
    let session = desk.store.session(&account, guid).await.unwrap().unwrap();
    desk.store.commit(session.cancel(desk.world.now()).unwrap()).await.unwrap();
    assert_eq!(refused(&desk.open_page(&opened).await), 410);

    let opened = desk.open_session().await;
    desk.secure_side.forget(&opened.provider);
    assert_eq!(refused(&desk.open_page(&opened).await), 410);
}

#[tokio::test]
async fn a_restart_forgets_no_spent_token() {
    // Which tokens were spent is memory of the process. So are the sessions whose pages they open: a token that was
    // forgotten opens nothing, and neither does one that was never used.
    let mut desk = Desk::start();
    let spent = desk.open_session().await;
    desk.open_page(&spent).await.handle();
    let unspent = desk.post_session("backend", &test_body()).await.json();
    desk.restart();
    assert_eq!(refused(&desk.open_page(&spent).await), 410);
    let text = |name: &str| unspent[name].as_str().unwrap().to_owned();
    let answer = desk
        .post_tokens(&text("providerSessionGuid"), &text("agentAccessToken"), &text("agentRefreshToken"))
        .await;
    assert_eq!(refused(&answer), 410);
    // The API's own tokens hold.
    assert_eq!(desk.status(&spent.guid).await.status, 200);
}

fn test_body() -> String {
    let mut body = good_body();
    body["accountConfigurationId"] = 7.into();
    body["skipCallTransfer"] = true.into();
    body.to_string()
}

#[tokio::test]
async fn a_frame_on_a_foreign_site_is_refused() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    for (origin, status) in [
        ("https://evil.example", 403),
        ("https://shop.example", 403),
        ("http://shop.example:8443", 403),
        ("null", 200),
    ] {
        let request = Request::post(format!("/view/{}/framed", opened.provider))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("origin", origin)
            .body(Body::from(format!("X-BEARER-TOKEN={}&X-REFRESH-TOKEN={}", opened.access, opened.refresh)));
        assert_eq!(send(&desk.pages, request.unwrap()).await.status, status, "{origin}");
    }
}

#[tokio::test]
async fn the_live_page_tells_every_change_until_the_end() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let handle = desk.open_page(&opened).await.handle();
    let (status, mut live) = desk.listen(&opened.provider, &handle).await;
    assert_eq!(status, 200);
    let (name, data) = live.next().await.unwrap();
    assert_eq!((name.as_str(), &data["revision"], &data["phase"]), ("state", &json!(1), &json!("entry")));
    assert_eq!(data["outcome"], json!(null));
    assert_eq!(
        data["fields"][1],
        json!({"field": "expiry", "status": "typing", "typed": 2, "length": 4, "words": "Expiry date: Being typed."})
    );
    desk.secure_side.change(&opened.provider, |page| {
        page.fields[1].status = FieldStatus::Valid;
        page.fields[1].typed = 4;
        page.phase = Phase::ReadyToPay;
    });
    let (_, data) = live.next().await.unwrap();
    assert_eq!((&data["revision"], &data["phase"]), (&json!(2), &json!("ready_to_pay")));
    assert!(data["html"]["actions"].as_str().unwrap().contains("data-action=\"pay\">Pay 12.40 GBP"));
    assert_eq!(*desk.observer.live.lock().unwrap(), [1]);

    desk.secure_side.end(&opened.provider, EndView::Approved);
    let (_, data) = live.next().await.unwrap();
    assert_eq!((&data["phase"], &data["outcome"]), (&json!("ended"), &json!("approved")));
    assert!(data["html"]["status"].as_str().unwrap().contains("The payment of 12.40 GBP was approved."));
    assert_eq!(data["html"]["actions"].as_str().unwrap().trim(), "");
    assert_eq!(live.next().await.unwrap().0, "end");
    assert_eq!(live.next().await, None);
    drop(live);
    assert_eq!(*desk.observer.live.lock().unwrap(), [1, 0]);
}

#[tokio::test]
async fn the_window_that_embeds_it_is_told_the_state_and_the_outcome_in_the_words_of_the_api() {
    for (end, outcome) in [
        (EndView::Review, "review"),
        (EndView::Declined, "declined"),
        (EndView::Cancelled, "cancelled"),
        (EndView::CallEnded, "cancelled"),
        (EndView::TimedOut, "none"),
        (EndView::Failed, "none"),
    ] {
        let desk = Desk::start();
        let opened = desk.open_session().await;
        let page = desk.open_page(&opened).await;
        // Only an allowed origin is told, and by the guid that it knows.
        let told = format!("data-tells=\"[&#34;{SHOP}&#34;]\" data-session=\"{}\"", opened.guid);
        assert!(page.body.contains(&told), "{told} is not in {}", page.body);
        let (_, mut live) = desk.listen(&opened.provider, &page.handle()).await;
        live.next().await.unwrap();
        desk.secure_side.end(&opened.provider, end);
        let (_, data) = live.next().await.unwrap();
        assert_eq!((&data["phase"], &data["outcome"]), (&json!("ended"), &json!(outcome)));
    }
}

#[tokio::test]
async fn an_idle_live_page_gives_signs_of_life() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let handle = desk.open_page(&opened).await.handle();
    let (_, mut live) = desk.listen(&opened.provider, &handle).await;
    assert!(live.raw().await.starts_with("event: state\n"));
    assert_eq!(live.raw().await, ": beat\n\n");
}

#[tokio::test]
async fn a_new_connection_of_the_same_page_replaces_the_old_one() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let handle = desk.open_page(&opened).await.handle();
    let (_, mut old) = desk.listen(&opened.provider, &handle).await;
    assert_eq!(old.next().await.unwrap().0, "state");
    let (_, mut new) = desk.listen(&opened.provider, &handle).await;
    assert_eq!(old.next().await.unwrap().0, "closed");
    assert_eq!(new.next().await.unwrap().0, "state");
}

#[tokio::test]
async fn the_agents_actions_go_to_the_secure_side() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let handle = desk.open_page(&opened).await.handle();
    for form in [
        "action=start&field=card_number",
        "action=redo&field=security_code",
        "action=pay",
        "action=key&key=5",
        "action=key&key=%23",
        "action=cancel",
    ] {
        assert_eq!(desk.act(&opened.provider, &handle, form).await.status, 204, "{form}");
    }
    let done = [
        AgentAction::Start(Field::CardNumber),
        AgentAction::Redo(Field::SecurityCode),
        AgentAction::Pay,
        AgentAction::TestKey(b'5'),
        AgentAction::TestKey(b'#'),
        AgentAction::Cancel,
    ];
    assert!(desk.secure_side.done() == done);
    for form in [
        "",
        "action=",
        "action=dance",
        "action=start",
        "action=start&field=pin",
        "action=key&key=12",
        "action=key&key=A",
    ] {
        assert_eq!(desk.act(&opened.provider, &handle, form).await.status, 400, "{form}");
    }
    for (error, status) in [(ActError::NotNow, 409), (ActError::Gone, 410)] {
        desk.secure_side.fail_acts(error);
        assert_eq!(desk.act(&opened.provider, &handle, "action=pay").await.status, status);
    }
}

#[tokio::test]
async fn nobody_acts_without_the_handle_or_from_another_site() {
    let desk = Desk::start();
    let opened = desk.open_session().await;
    let handle = desk.open_page(&opened).await.handle();
    let act = |handle: &str, site: &str, origin: &str| {
        Request::post(format!("/view/{}/act", opened.provider))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-page-handle", handle)
            .header("sec-fetch-site", site)
            .header("origin", origin)
            .body(Body::from("action=pay"))
            .unwrap()
    };
    for (handle, site, origin, status) in [
        ("", "same-origin", PAGE_HOST, 403),
        ("AAAA", "same-origin", PAGE_HOST, 403),
        (&"A".repeat(43), "same-origin", PAGE_HOST, 403),
        (&handle, "cross-site", PAGE_HOST, 403),
        (&handle, "same-site", PAGE_HOST, 403),
        (&handle, "same-origin", SHOP, 403),
        (&handle, "same-origin", PAGE_HOST, 204),
    ] {
        assert_eq!(send(&desk.pages, act(handle, site, origin)).await.status, status, "{site} {origin}");
    }
    assert!(desk.secure_side.done() == [AgentAction::Pay]);
    // A handle opens its own session's page only, and only in its time.
    let never = "00000000-0000-4000-8000-000000000000";
    assert_eq!(desk.act(never, &handle, "action=pay").await.status, 410);
    desk.world.pass(Duration::from_secs(900 + 3600));
    assert_eq!(desk.act(&opened.provider, &handle, "action=pay").await.status, 410);
}

#[tokio::test]
async fn the_test_keypad_is_there_for_sessions_without_a_call_only() {
    let desk = Desk::start();
    let mut body = good_body();
    body["accountConfigurationId"] = json!(7);
    body["skipCallTransfer"] = json!(true);
    let answer = desk.post_session("backend", &body.to_string()).await.json();
    let text = |name: &str| answer[name].as_str().unwrap();
    let page = desk
        .post_tokens(text("providerSessionGuid"), text("agentAccessToken"), text("agentRefreshToken"))
        .await;
    assert!(page.body.contains("<strong>TEST</strong>"));
    assert_eq!(page.body.matches("data-action=\"key\"").count(), 12);
}

#[tokio::test]
async fn pages_are_bounded_and_room_comes_back() {
    let desk = Desk::with_limits(WebLimits { pages_max: 1, ..WebLimits::default() });
    let first = desk.open_session().await;
    desk.open_page(&first).await.handle();
    desk.calls.call_of("acme", "1234");
    let mut body = good_body();
    body["agentId"] = json!("1234");
    let open = async || {
        let answer = desk.post_session("backend", &body.to_string()).await.json();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        (
            text("sessionGuid"),
            desk.post_tokens(
                &text("providerSessionGuid"),
                &text("agentAccessToken"),
                &text("agentRefreshToken"),
            )
            .await,
        )
    };
    let (guid, page) = open().await;
    assert_eq!(refused(&page), 503);
    let token = desk.token_of("backend").await;
    desk.call_api(Method::POST, &format!("/v1/session/{guid}/cancel"), &token, None).await;
    desk.world.pass(Duration::from_secs(900 + 3600));
    assert_eq!(open().await.1.status, 200);
}
