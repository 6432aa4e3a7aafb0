//! OAuth beside the token endpoint: assertions, two secrets, revocation, metadata, keys.

use std::time::Duration;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, Request};
use hushpad_domain::credentials::{ClientProof, SigningKeyNumber};
use hushpad_domain::ids::ClientId;
use hushpad_domain::ports::{Clients, Credentials, World};
use hushpad_web::{TokenKeys, hash_client_secret};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::fakes::{Answer, Desk, send};

const ENDPOINT: &str = "https://api.example/oauth/token";

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap()
}

fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(key().sign(text.as_bytes()).as_ref()))
}

async fn by_assertion(desk: &Desk, assertion: &str) -> Answer {
    let form = format!(
        "grant_type=client_credentials&scope=globalpci&client_assertion={assertion}\
         &client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
    );
    desk.ask_token("/oauth/token", &form, None).await
}

#[tokio::test]
async fn a_client_proves_itself_by_an_assertion_that_is_good_once() {
    let desk = Desk::start();
    let public: [u8; 32] = key().public_key().as_ref().try_into().unwrap();
    let now = desk.world.now().as_seconds();
    let good = json!({
        "iss": "backend", "sub": "backend", "aud": ENDPOINT, "exp": now + 60, "jti": "one",
    });
    let header = json!({"alg": "EdDSA"});
    // Without a key of the client nothing is proved.
    assert_eq!(by_assertion(&desk, &signed(&header, &good)).await.status, 401);
    let backend = ClientId("backend".to_owned());
    desk.clients.prove(ClientProof::PublicKey(backend, Some(public))).await.unwrap();
    assert_eq!(by_assertion(&desk, &signed(&header, &good)).await.status, 200);
    assert_eq!(by_assertion(&desk, &signed(&header, &good)).await.status, 401, "a second time");
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims["jti"] = json!(format!("{name}{value}"));
        claims[name] = value;
        claims
    };
    desk.world.pass(Duration::from_secs(20));
    for claims in [
        with("aud", json!(["https://other.example", "https://api.example"])),
        with("aud", json!("https://api.example/auth/connect/token")),
    ] {
        assert_eq!(by_assertion(&desk, &signed(&header, &claims)).await.status, 200, "{claims}");
    }
    for (header, claims) in [
        (json!({"alg": "none"}), with("x", json!(1))),
        (json!({"alg": "HS256"}), with("x", json!(2))),
        (header.clone(), with("aud", json!("https://other.example"))),
        (header.clone(), with("iss", json!("other"))),
        (header.clone(), with("exp", json!(now))),
        (header.clone(), with("exp", json!(now + 3600))),
    ] {
        desk.world.pass(Duration::from_secs(11));
        let mut claims = claims;
        if claims["exp"] == good["exp"] {
            claims["exp"] = json!(desk.world.now().as_seconds() + 60);
        }
        assert_eq!(by_assertion(&desk, &signed(&header, &claims)).await.status, 401, "{header} {claims}");
    }
}

#[tokio::test]
async fn while_a_secret_is_changed_both_are_good() {
    let desk = Desk::start();
    let hash = hash_client_secret(&TokenKeys::from_master(&[42; 32]), "the new one");
    let id = ClientId("backend".to_owned());
    desk.clients.prove(ClientProof::NewSecret(id.clone(), hash)).await.unwrap();
    let ask = async |secret: &str| {
        let form =
            format!("grant_type=client_credentials&scope=globalpci&client_id=backend&client_secret={secret}");
        desk.ask_token("/oauth/token", &form, None).await.status.as_u16()
    };
    assert_eq!((ask("the+new+one").await, ask("secret-of-backend").await), (200, 200));
    desk.clients.prove(ClientProof::DropOldSecret(id)).await.unwrap();
    assert_eq!((ask("the+new+one").await, ask("secret-of-backend").await), (200, 401));
}

#[tokio::test]
async fn a_revoked_token_opens_nothing_at_once_and_a_revoked_clients_soon() {
    let desk = Desk::start();
    let token = desk.token_of("backend").await;
    let list = async |token: &str| desk.call_api(Method::GET, "/v1/session", token, None).await;
    assert_eq!(list(&token).await.status, 200);
    let revoke = async |client: &str, token: &str| {
        let form = format!("token={token}&client_id={client}&client_secret=secret-of-{client}");
        desk.ask_token("/oauth/revoke", &form, None).await
    };
    // Another client's, and nonsense, change nothing and tell nothing.
    assert_eq!(revoke("other", &token).await.json(), json!({}));
    assert_eq!(revoke("other", "nonsense").await.json(), json!({}));
    assert_eq!(list(&token).await.status, 200);
    assert_eq!(revoke("backend", &token).await.json(), json!({}));
    assert_eq!(list(&token).await.problem(), "401 token_invalid");
    assert_eq!(desk.ask_token("/oauth/revoke", "token=x", None).await.status, 401);

    let token = desk.token_of("backend").await;
    assert_eq!(list(&token).await.status, 200);
    desk.clients.revoke(&ClientId("backend".to_owned()), desk.world.now()).await.unwrap();
    desk.world.pass(Duration::from_secs(5));
    assert_eq!(list(&token).await.problem(), "401 token_invalid");
}

#[tokio::test]
async fn keys_are_changed_with_no_token_refused() {
    let desk = Desk::start();
    let list =
        async |token: &str| desk.call_api(Method::GET, "/v1/session", token, None).await.status.as_u16();
    let keys = async || {
        let request = Request::get("/.well-known/jwks.json").body(Body::empty()).unwrap();
        let keys = send(&desk.api, request).await.json()["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let kid = |token: &str| {
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
    };
    let mut tokens = vec![desk.token_of("backend").await];
    let first = kid(&tokens[0]);
    assert_eq!(keys().await, std::slice::from_ref(&first));
    let minute = Duration::from_secs(60);
    let key = SigningKeyNumber { number: 1, active_from: desk.world.now().plus(minute) };
    desk.clients.add_signing_key(key).await.unwrap();
    // Traffic all the while: each token is used as long as it lives.
    for second in 0..7_200 / 30 {
        desk.world.pass(Duration::from_secs(30));
        let token = desk.token_of("backend").await;
        let shown = keys().await;
        assert!(shown.contains(&kid(&token)), "{second}");
        assert_eq!(kid(&token) == first, second < 1, "{second}");
        tokens.push(token);
        for token in [&tokens[0], &tokens[tokens.len() / 2], &tokens[tokens.len() - 1]] {
            let lives = token != &tokens[0] || second < 7_200 / 30 - 1;
            assert_eq!(list(token).await, if lives { 200 } else { 401 }, "{second}");
        }
    }
    // Its last token is over: the old key is shown no more, and what it signs opens nothing.
    desk.world.pass(Duration::from_secs(600));
    assert_eq!(keys().await, [kid(tokens.last().unwrap())]);
}

#[tokio::test]
async fn the_metadata_names_what_is_there() {
    let desk = Desk::start();
    let request = Request::get("/.well-known/oauth-authorization-server").body(Body::empty()).unwrap();
    let metadata = send(&desk.api, request).await.json();
    assert_eq!(metadata["issuer"], "https://api.example");
    for name in ["token_endpoint", "jwks_uri", "revocation_endpoint", "service_documentation"] {
        let path = metadata[name].as_str().unwrap().strip_prefix("https://api.example").unwrap();
        assert!(hushpad_web::endpoint_list().iter().any(|endpoint| endpoint.path == path), "{name}");
    }
}
