//! An agent's browser: the sign-in page, codes with PKCE, refresh tokens.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request};
use hushpad_domain::credentials::AgentLogin;
use hushpad_domain::ids::{AccountId, AgentId, ClientId};
use hushpad_domain::ports::{Clients, Credentials, World};
use hushpad_web::{Source, TokenKeys, hash_password};
use ring::digest;
use serde_json::{Value, json};

use crate::fakes::{Answer, CRM_BACK, Desk, PAGE_HOST, good_body, send};

const PASSWORD: &str = "correct horse battery staple";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// RFC 7636, appendix B: of the verifier above.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

async fn desk() -> Desk {
    let desk = Desk::start();
    set_password(&desk, "agent1234", PASSWORD).await;
    desk
}

async fn set_password(desk: &Desk, agent: &str, password: &str) {
    let keys = TokenKeys::from_master(&[42; 32]);
    let login = AgentLogin {
        account: AccountId("acme".to_owned()),
        agent: AgentId(agent.to_owned()),
        password_hash: hash_password(&keys, password, [3; 32]).unwrap(),
        since: desk.world.now(),
        revoked_on: None,
    };
    desk.clients.put_login(login).await.unwrap();
}

/// The request of the CRM's page, with these parameters in place of the usual ones.
fn wish(changed: &[(&str, &str)]) -> Vec<(String, String)> {
    let usual = [
        ("response_type", "code"),
        ("client_id", "crm"),
        ("redirect_uri", CRM_BACK),
        ("scope", "globalpci"),
        ("state", "a&b \"c\""),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let mut wish: Vec<(String, String)> =
        usual.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for (name, value) in changed {
        wish.retain(|(known, _)| known != name);
        if !value.is_empty() {
            wish.push(((*name).to_owned(), (*value).to_owned()));
        }
    }
    wish
}

async fn show(desk: &Desk, wish: &[(String, String)]) -> Answer {
    let query = serde_urlencoded::to_string(wish).unwrap();
    send(&desk.pages, Request::get(format!("/sign-in?{query}")).body(Body::empty()).unwrap()).await
}

async fn enter(desk: &Desk, agent: &str, password: &str) -> Answer {
    enter_from(desk, agent, password, [192, 0, 2, 1].into()).await
}

async fn enter_from(desk: &Desk, agent: &str, password: &str, source: IpAddr) -> Answer {
    let form = wish(&[("scope", ""), ("agent", agent), ("password", password), ("do", "sign-in")]);
    let mut request = Request::post("/sign-in")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", "null")
        .header("sec-fetch-site", "same-origin")
        .body(Body::from(serde_urlencoded::to_string(form).unwrap()))
        .unwrap();
    request.extensions_mut().insert(Source(source));
    send(&desk.pages, request).await
}

/// The parameters that the browser is sent back with.
fn sent_back(answer: &Answer) -> Vec<(String, String)> {
    assert_eq!(answer.status, 303, "{}", answer.body);
    let query =
        answer.header("location").strip_prefix(&format!("{CRM_BACK}&")).expect("the registered address");
    serde_urlencoded::from_str(query).unwrap()
}

fn value(pairs: &[(String, String)], name: &str) -> String {
    pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

async fn code(desk: &Desk) -> String {
    value(&sent_back(&enter(desk, "agent1234", PASSWORD).await), "code")
}

async fn redeem(desk: &Desk, code: &str) -> Answer {
    redeem_as(desk, &[("code", code)]).await
}

async fn redeem_as(desk: &Desk, changed: &[(&str, &str)]) -> Answer {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("client_id", "crm"),
        ("redirect_uri", CRM_BACK),
        ("code_verifier", VERIFIER),
    ];
    for pair in changed {
        form.retain(|(known, _)| known != &pair.0);
        form.push(*pair);
    }
    desk.ask_token("/oauth/token", &serde_urlencoded::to_string(form).unwrap(), None).await
}

async fn refresh(desk: &Desk, token: &str) -> Answer {
    let form = format!("grant_type=refresh_token&client_id=crm&refresh_token={token}");
    desk.ask_token("/oauth/token", &form, None).await
}

fn token(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()[name].as_str().unwrap().to_owned()
}

async fn list(desk: &Desk, token: &str) -> u16 {
    desk.call_api(Method::GET, "/v1/session", token, None).await.status.as_u16()
}

/// After a revocation is noticed at the latest.
async fn soon(desk: &Desk, token: &str) -> u16 {
    desk.world.pass(Duration::from_secs(5));
    list(desk, token).await
}

#[tokio::test]
async fn an_agent_signs_in_and_the_agent_id_fills_itself() {
    assert_eq!(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, VERIFIER.as_bytes())), CHALLENGE);
    let desk = desk().await;
    let page = show(&desk, &wish(&[])).await;
    assert_eq!(page.status, 200);
    let back = sent_back(&enter(&desk, "agent1234", PASSWORD).await);
    assert_eq!(value(&back, "state"), "a&b \"c\"");
    assert_eq!(value(&back, "iss"), "https://api.example");
    let answer = redeem(&desk, &value(&back, "code")).await;
    assert_eq!((&answer.json()["expires_in"], &answer.json()["scope"]), (&json!(900), &json!("globalpci")));
    assert_eq!(answer.header("cache-control"), "no-store");
    let access = token(&answer, "access_token");
    let claims = URL_SAFE_NO_PAD.decode(access.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["sub"], &claims["agent"]), (&json!("agent1234"), &json!("agent1234")));
    assert_eq!((&claims["client_id"], &claims["account"]), (&json!("crm"), &json!("acme")));

    let mut body = good_body();
    body["agentId"] = json!("idle");
    let other = desk.call_api(Method::POST, "/v1/session", &access, Some(&body.to_string())).await;
    assert_eq!(other.status, 403, "{}", other.body);
    body.as_object_mut().unwrap().remove("agentId");
    let opened = desk.call_api(Method::POST, "/v1/session", &access, Some(&body.to_string())).await;
    assert_eq!(opened.status, 200, "{}", opened.body);
    let guid = opened.json()["sessionGuid"].as_str().unwrap().to_owned();
    assert_eq!(desk.stored(&guid).await.agent.as_str(), "agent1234");
}

#[tokio::test]
async fn a_code_is_good_once_and_its_second_use_ends_what_it_gave() {
    let desk = desk().await;
    let code = code(&desk).await;
    let given = redeem(&desk, &code).await;
    let access = token(&given, "access_token");
    assert_eq!(list(&desk, &access).await, 200);
    let again = redeem(&desk, &code).await;
    assert_eq!((again.status.as_u16(), again.json()), (400, json!({"error": "invalid_grant"})));
    assert_eq!(soon(&desk, &access).await, 401);
    assert_eq!(refresh(&desk, &token(&given, "refresh_token")).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn a_code_is_bound_to_client_address_challenge_and_a_minute() {
    let desk = desk().await;
    let fresh = code(&desk).await;
    for (name, wrong) in [
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX"),
        ("code_verifier", CHALLENGE),
        ("code_verifier", "short"),
        ("redirect_uri", "https://crm.example/back"),
        ("code", "nonsense"),
    ] {
        let answer = redeem_as(&desk, &[("code", &fresh), (name, wrong)]).await;
        assert_eq!(answer.json()["error"], "invalid_grant", "{name} {wrong}");
    }
    for missing in ["code_verifier", "redirect_uri", "code"] {
        let answer = redeem_as(&desk, &[("code", &fresh), (missing, "")]).await;
        assert_eq!(answer.json()["error"], "invalid_request", "{missing}");
    }
    // A client with a secret has no use for codes, and a public one no other way.
    let form = format!(
        "grant_type=authorization_code&client_id=backend&client_secret=secret-of-backend&code={fresh}\
         &redirect_uri=x&code_verifier={VERIFIER}"
    );
    assert_eq!(desk.ask_token("/oauth/token", &form, None).await.json()["error"], "unauthorized_client");
    let form = "grant_type=client_credentials&scope=globalpci&client_id=crm";
    assert_eq!(desk.ask_token("/oauth/token", form, None).await.json()["error"], "unauthorized_client");
    let form = "grant_type=client_credentials&scope=globalpci&client_id=crm&client_secret=x";
    assert_eq!(desk.ask_token("/oauth/token", form, None).await.json()["error"], "invalid_client");
    // None of that has used it up.
    desk.world.pass(Duration::from_secs(59));
    assert_eq!(redeem(&desk, &fresh).await.status, 200);
    let late = code(&desk).await;
    desk.world.pass(Duration::from_secs(60));
    assert_eq!(redeem(&desk, &late).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn refresh_tokens_rotate_and_an_old_one_ends_the_family() {
    let desk = desk().await;
    let first = redeem(&desk, &code(&desk).await).await;
    let second = refresh(&desk, &token(&first, "refresh_token")).await;
    let third = refresh(&desk, &token(&second, "refresh_token")).await;
    let (access, newest) = (token(&third, "access_token"), token(&third, "refresh_token"));
    assert_eq!(list(&desk, &access).await, 200);
    // Another's sign-in is not touched by what follows.
    let other = redeem(&desk, &code(&desk).await).await;
    let stolen = refresh(&desk, &token(&first, "refresh_token")).await;
    assert_eq!(stolen.json()["error"], "invalid_grant");
    assert_eq!(refresh(&desk, &newest).await.json()["error"], "invalid_grant");
    assert_eq!(soon(&desk, &access).await, 401);
    assert_eq!(list(&desk, &token(&other, "access_token")).await, 200);
    // A shift ends too.
    let mut tokens = other;
    for _ in 0..11 {
        desk.world.pass(Duration::from_secs(3600));
        tokens = refresh(&desk, &token(&tokens, "refresh_token")).await;
    }
    desk.world.pass(Duration::from_secs(3600));
    assert_eq!(refresh(&desk, &token(&tokens, "refresh_token")).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn signing_out_a_new_password_and_a_revoked_agent_end_what_was_given() {
    let desk = desk().await;
    let given = redeem(&desk, &code(&desk).await).await;
    let form = format!("client_id=crm&token={}", token(&given, "refresh_token"));
    assert_eq!(desk.ask_token("/oauth/revoke", &form, None).await.status, 200);
    assert_eq!(soon(&desk, &token(&given, "access_token")).await, 401);

    let given = redeem(&desk, &code(&desk).await).await;
    desk.world.pass(Duration::from_secs(1));
    set_password(&desk, "agent1234", "another long password").await;
    assert_eq!(soon(&desk, &token(&given, "access_token")).await, 401);
    assert_eq!(refresh(&desk, &token(&given, "refresh_token")).await.json()["error"], "invalid_grant");
    assert_eq!(enter(&desk, "agent1234", PASSWORD).await.status, 401);

    set_password(&desk, "agent1234", PASSWORD).await;
    let given = redeem(&desk, &code(&desk).await).await;
    let waiting = code(&desk).await;
    let (account, agent) = (AccountId("acme".to_owned()), AgentId("agent1234".to_owned()));
    let login = desk.clients.login(&account, &agent).await.unwrap().unwrap();
    desk.clients.put_login(AgentLogin { revoked_on: Some(desk.world.now()), ..login }).await.unwrap();
    assert_eq!(soon(&desk, &token(&given, "access_token")).await, 401);
    assert_eq!(redeem(&desk, &waiting).await.json()["error"], "invalid_grant");
    assert_eq!(enter(&desk, "agent1234", PASSWORD).await.status, 401);
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_was_not_registered() {
    let desk = desk().await;
    for changed in [
        ("client_id", "nobody"),
        ("client_id", "backend"),
        ("client_id", ""),
        ("redirect_uri", ""),
        ("redirect_uri", "https://evil.example/back"),
        ("redirect_uri", "https://crm.example/back"),
        ("redirect_uri", "https://crm.example/back?tab=1&x=1"),
        ("redirect_uri", "https://CRM.example/back?tab=1"),
    ] {
        let answer = show(&desk, &wish(&[changed])).await;
        assert_eq!(answer.status, 400, "{changed:?}");
        assert!(answer.headers.get("location").is_none() && !answer.body.contains("evil"), "{changed:?}");
    }
    let mut twice = wish(&[]);
    twice.push(("redirect_uri".to_owned(), "https://evil.example".to_owned()));
    assert_eq!(show(&desk, &twice).await.status, 400);
    desk.clients.revoke(&ClientId("crm".to_owned()), desk.world.now()).await.unwrap();
    assert_eq!(show(&desk, &wish(&[])).await.status, 400);
}

#[tokio::test]
async fn other_mistakes_go_back_to_the_client_with_state_and_issuer() {
    let desk = desk().await;
    for (changed, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("response_type", ""), "invalid_request"),
        (("code_challenge", ""), "invalid_request"),
        (("code_challenge", "short"), "invalid_request"),
        (("code_challenge_method", "plain"), "invalid_request"),
        (("code_challenge_method", ""), "invalid_request"),
        (("scope", "admin"), "invalid_scope"),
    ] {
        let back = sent_back(&show(&desk, &wish(&[changed])).await);
        assert_eq!(value(&back, "error"), error, "{changed:?}");
        assert_eq!(value(&back, "state"), "a&b \"c\"");
        assert_eq!(value(&back, "iss"), "https://api.example");
    }
    let long = "s".repeat(513);
    let back = sent_back(&show(&desk, &wish(&[("state", &long)])).await);
    assert_eq!((value(&back, "error"), value(&back, "state")), ("invalid_request".into(), String::new()));
}

#[tokio::test]
async fn the_page_is_plain_may_not_be_framed_and_loads_one_file() {
    let desk = desk().await;
    let page = show(&desk, &wish(&[("state", "\"><script>alert(1)</script>")])).await;
    assert!(!page.body.contains("<script"), "{}", page.body);
    assert!(page.body.contains("to go on to <strong>https://crm.example</strong>"), "{}", page.body);
    assert_eq!(page.header("x-frame-options"), "DENY");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("form-action 'self' https://crm.example; frame-ancestors 'none'"), "{policy}");
    for label in ["<label for=\"agent\">", "<label for=\"password\">", "autocomplete=\"current-password\""] {
        assert!(page.body.contains(label), "{label}");
    }
    // Cancelled: the client is told so.
    let form = wish(&[("do", "cancel")]);
    let request = Request::post("/sign-in")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", PAGE_HOST)
        .body(Body::from(serde_urlencoded::to_string(form).unwrap()));
    assert_eq!(value(&sent_back(&send(&desk.pages, request.unwrap()).await), "error"), "access_denied");
}

#[tokio::test]
async fn another_sites_form_signs_nobody_in() {
    let desk = desk().await;
    for (name, from) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let form = wish(&[("agent", "agent1234"), ("password", PASSWORD)]);
        let request = Request::post("/sign-in")
            .header("content-type", "application/x-www-form-urlencoded")
            .header(name, from)
            .body(Body::from(serde_urlencoded::to_string(form).unwrap()));
        assert_eq!(send(&desk.pages, request.unwrap()).await.status, 403, "{name}: {from}");
    }
}

#[tokio::test]
async fn unknown_agents_and_wrong_passwords_get_one_answer_and_tries_are_slowed_down() {
    let desk = desk().await;
    set_password(&desk, "gone", PASSWORD).await;
    let wrong = enter(&desk, "agent1234", "wrong").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.body.contains("The agent id or the password is not right."));
    assert!(!wrong.body.contains("wrong"), "the password does not come back");
    // Nobody, and one who is no agent of the account any more.
    for agent in ["nobody", "gone"] {
        let answer = enter(&desk, agent, PASSWORD).await;
        assert_eq!((answer.status, &answer.body), (wrong.status, &wrong.body.replace("agent1234", agent)));
    }
    for _ in 0..4 {
        assert_eq!(enter(&desk, "agent1234", "wrong").await.status, 401);
    }
    let slowed = enter(&desk, "agent1234", PASSWORD).await;
    assert_eq!(slowed.status, 429);
    assert_eq!(slowed.header("retry-after"), "30");
    // From elsewhere the agent still gets in, and time heals.
    assert_eq!(enter_from(&desk, "agent1234", PASSWORD, [192, 0, 2, 2].into()).await.status, 303);
    desk.world.pass(Duration::from_secs(30));
    assert_eq!(enter(&desk, "agent1234", PASSWORD).await.status, 303);
}
