//! `POST /Auth/connect/token`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use hushpad_domain::ids::ClientId;
use hushpad_domain::ports::{Clients, World};
use hushpad_web::WebLimits;
use serde_json::{Value, json};

use crate::fakes::{Desk, good_body, secret_of};

const GOOD: &str =
    "grant_type=client_credentials&scope=globalpci&client_id=backend&client_secret=secret-of-backend";

#[tokio::test]
async fn a_client_gets_a_token_by_form_fields_or_by_basic() {
    let desk = Desk::start();
    let basic = STANDARD.encode("backend:secret-of-backend");
    let by_form = desk.ask_token("/Auth/connect/token", GOOD, None).await;
    let form = "grant_type=client_credentials&scope=globalpci";
    let by_basic = desk.ask_token("/Auth/connect/token", form, Some(&basic)).await;
    for answer in [by_form, by_basic] {
        assert_eq!(answer.status, 200);
        let body = answer.json();
        assert_eq!(body.as_object().unwrap().len(), 3);
        assert_eq!((&body["expires_in"], &body["token_type"]), (&json!(7200), &json!("Bearer")));
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn the_path_counts_in_any_case_and_has_an_alias() {
    let desk = Desk::start();
    for path in ["/Auth/connect/token", "/auth/Connect/TOKEN", "/AUTH/CONNECT/TOKEN", "/oauth/token"] {
        assert_eq!(desk.ask_token(path, GOOD, None).await.status, 200, "{path}");
    }
    assert_eq!(desk.ask_token("/Auth/connect/tokens", GOOD, None).await.problem(), "404 no_such_path");
    let wrong_method = desk.call_api(Method::GET, "/auth/connect/token", "x", None).await;
    assert_eq!(wrong_method.problem(), "405 method_not_allowed");
}

#[tokio::test]
async fn the_token_says_who_it_is_for() {
    let desk = Desk::start();
    let token = desk.token_of("browser").await;
    let part = |at: usize| -> Value {
        let part = token.split('.').nth(at).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!((&part(0)["alg"], &part(0)["typ"]), (&json!("EdDSA"), &json!("at+jwt")));
    let claims = part(1);
    assert_eq!(claims["iss"], "https://api.example");
    assert_eq!(claims["aud"], "https://api.example");
    assert_eq!((&claims["client_id"], &claims["account"]), (&json!("browser"), &json!("acme")));
    assert_eq!((&claims["agent"], &claims["scope"]), (&json!("agent1234"), &json!("globalpci")));
    assert_eq!(claims["iat"], desk.world.now().as_seconds());
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 7200);
    assert!(claims["jti"].is_string());
}

#[tokio::test]
async fn errors_are_those_of_rfc_6749() {
    let desk = Desk::start();
    let cut = |from: &str, to: &str| GOOD.replace(from, to);
    let cases = [
        (cut("secret-of-backend", "wrong"), 401, "invalid_client"),
        (cut("client_id=backend", "client_id=nobody"), 401, "invalid_client"),
        (cut("&client_secret=secret-of-backend", ""), 401, "invalid_client"),
        (String::new(), 401, "invalid_client"),
        (cut("client_credentials", "password"), 400, "unsupported_grant_type"),
        (cut("grant_type=client_credentials&", ""), 400, "invalid_request"),
        (cut("scope=globalpci", "scope=admin"), 400, "invalid_scope"),
        (cut("scope=globalpci&", ""), 400, "invalid_scope"),
        (format!("{GOOD}&scope=globalpci"), 400, "invalid_request"),
        (format!("{GOOD}&x={}", "y".repeat(9000)), 400, "invalid_request"),
    ];
    for (form, status, error) in cases {
        let answer = desk.ask_token("/Auth/connect/token", &form, None).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (status, &json!(error)), "{form}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("www-authenticate"), "");
    }
}

#[tokio::test]
async fn a_bad_basic_client_is_challenged_and_two_ways_at_once_are_refused() {
    let desk = Desk::start();
    let form = "grant_type=client_credentials&scope=globalpci";
    for pair in ["backend:wrong", "nobody:secret-of-backend", "nonsense"] {
        let answer = desk.ask_token("/oauth/token", form, Some(&STANDARD.encode(pair))).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &json!("invalid_client")));
        assert!(answer.header("www-authenticate").starts_with("Basic "), "{pair}");
    }
    let good = STANDARD.encode("backend:secret-of-backend");
    let answer = desk.ask_token("/oauth/token", GOOD, Some(&good)).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (400, &json!("invalid_request")));
}

#[tokio::test]
async fn a_revoked_client_gets_no_token() {
    let desk = Desk::start();
    assert!(desk.clients.revoke(&ClientId("backend".to_owned()), desk.world.now()).await.unwrap());
    let answer = desk.ask_token("/oauth/token", GOOD, None).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (401, &json!("invalid_client")));
}

#[tokio::test]
async fn repeated_failures_are_slowed_down_and_time_heals() {
    let desk = Desk::start();
    let wrong = GOOD.replace("secret-of-backend", "wrong");
    for _ in 0..5 {
        assert_eq!(desk.ask_token("/oauth/token", &wrong, None).await.status, 401);
    }
    let answer = desk.ask_token("/oauth/token", GOOD, None).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "10"));
    // Another client at the same source is not held up yet.
    let other = GOOD.replace("backend", "other");
    assert_eq!(desk.ask_token("/oauth/token", &other, None).await.status, 200);
    desk.world.pass(Duration::from_secs(10));
    assert_eq!(desk.ask_token("/oauth/token", GOOD, None).await.status, 200);
}

#[tokio::test]
async fn tokens_that_are_not_ours_open_nothing() {
    let desk = Desk::start();
    let good = desk.token_of("backend").await;
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let claims = signed.split_once('.').unwrap().1;
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    let foreign = |api: &str, master| Desk::on(api, master, WebLimits::default());
    let opened = desk.open_session().await;
    let cases = [
        ("tampered", format!("{signed}x.{signature}")),
        ("none", format!("{none}.{claims}.")),
        ("none, signed", format!("{none}.{claims}.{signature}")),
        ("other audience", foreign("https://other.example", [42; 32]).token_of("backend").await),
        ("other key", foreign("https://api.example", [43; 32]).token_of("backend").await),
        ("page token", opened.access),
        ("refresh token", opened.refresh),
        ("nonsense", "abc".to_owned()),
    ];
    for (what, token) in cases {
        let answer = desk.call_api(Method::GET, &format!("/v1/session/{}", opened.guid), &token, None).await;
        assert_eq!(answer.problem(), "401 token_invalid", "{what}");
        assert_eq!(answer.header("www-authenticate"), r#"Bearer error="invalid_token""#);
    }
    let path = format!("/v1/session/{}?access_token={good}", opened.guid);
    assert_eq!(desk.call_api(Method::GET, &path, "", None).await.problem(), "401 token_invalid");
    desk.world.pass(Duration::from_secs(7200));
    let answer = desk.call_api(Method::POST, "/v1/session", &good, Some(&good_body().to_string())).await;
    assert_eq!(answer.problem(), "401 token_expired");
}

#[tokio::test]
async fn secrets_are_never_answered() {
    let desk = Desk::start();
    let answer = desk.ask_token("/oauth/token", &GOOD.replace("scope=globalpci", "scope=x"), None).await;
    assert!(!answer.body.contains(&secret_of("backend")));
}
