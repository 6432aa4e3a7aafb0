//! Clients that prove themselves by a certificate, and tokens that are bound to one. TLS itself is tested in `server`.

use std::sync::Arc;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Request;
use hushpad_domain::client::ClientCertificate;
use hushpad_domain::credentials::ClientProof;
use hushpad_domain::ids::ClientId;
use hushpad_domain::ports::Credentials;
use hushpad_web::PeerCertificate;
use serde_json::Value;

use crate::fakes::{Answer, Desk, send};

/// A certificate with this thumbprint, for this name if an authority of ours has signed it.
fn certificate(byte: u8, name: &'static str) -> PeerCertificate {
    PeerCertificate { thumbprint: [byte; 32], is_named: Arc::new(move |asked| asked == name) }
}

async fn ask(desk: &Desk, form: &str, shown: Option<PeerCertificate>) -> Answer {
    let mut request = Request::post("/oauth/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(format!("grant_type=client_credentials&scope=globalpci&{form}")))
        .unwrap();
    request.extensions_mut().extend(
        shown
            .map(|shown| {
                let mut extensions = http::Extensions::new();
                extensions.insert(shown);
                extensions
            })
            .unwrap_or_default(),
    );
    send(&desk.api, request).await
}

async fn list(desk: &Desk, token: &str, shown: Option<PeerCertificate>) -> u16 {
    let request = Request::get("/v1/session").header("authorization", format!("Bearer {token}"));
    let mut request = request.body(Body::empty()).unwrap();
    if let Some(shown) = shown {
        request.extensions_mut().insert(shown);
    }
    send(&desk.api, request).await.status.as_u16()
}

async fn register(desk: &Desk, certificate: ClientCertificate) {
    let id = ClientId("backend".to_owned());
    assert!(desk.clients.prove(ClientProof::Certificate(id, Some(certificate))).await.unwrap());
}

#[tokio::test]
async fn a_client_proves_itself_by_its_certificate_and_its_token_is_bound_to_it() {
    let desk = Desk::start();
    let own = || certificate(7, "");
    // Not registered yet; and then only this very one.
    assert_eq!(ask(&desk, "client_id=backend", Some(own())).await.status, 401);
    register(&desk, ClientCertificate::Thumbprint([7; 32])).await;
    assert_eq!(ask(&desk, "client_id=backend", Some(certificate(8, ""))).await.status, 401);
    assert_eq!(ask(&desk, "client_id=other", Some(own())).await.status, 401);
    assert_eq!(ask(&desk, "client_id=backend", None).await.status, 401);
    let answer = ask(&desk, "client_id=backend", Some(own())).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["cnf"]["x5t#S256"], URL_SAFE_NO_PAD.encode([7; 32]));
    assert_eq!(list(&desk, &token, Some(own())).await, 200);
    // Stolen, it opens nothing: without a certificate, or with another; also once it is known.
    assert_eq!(list(&desk, &token, None).await, 401);
    assert_eq!(list(&desk, &token, Some(certificate(8, ""))).await, 401);
    // A certificate is no obstacle to a token that is bound to none.
    assert_eq!(list(&desk, &desk.token_of("other").await, Some(own())).await, 200);
}

#[tokio::test]
async fn a_certificate_by_name_must_be_of_an_authority_of_ours() {
    let desk = Desk::start();
    register(&desk, ClientCertificate::Name("api.shop.example".to_owned())).await;
    let shown = |name| Some(certificate(1, name));
    assert_eq!(ask(&desk, "client_id=backend", shown("api.shop.example")).await.status, 200);
    assert_eq!(ask(&desk, "client_id=backend", shown("api.other.example")).await.status, 401);
    assert_eq!(ask(&desk, "client_id=backend", shown("")).await.status, 401);
    // A wrong secret is not made good by a certificate.
    let wrong = ask(&desk, "client_id=backend&client_secret=wrong", shown("api.shop.example")).await;
    assert_eq!(wrong.status, 401);
}

#[tokio::test]
async fn headers_are_no_certificate() {
    let desk = Desk::start();
    register(&desk, ClientCertificate::Thumbprint([7; 32])).await;
    for name in ["x-client-cert", "x-forwarded-client-cert", "client-cert", "x-ssl-client-cert"] {
        let request = Request::post("/oauth/token")
            .header("content-type", "application/x-www-form-urlencoded")
            .header(name, URL_SAFE_NO_PAD.encode([7; 32]))
            .body(Body::from("grant_type=client_credentials&scope=globalpci&client_id=backend"));
        assert_eq!(send(&desk.api, request.unwrap()).await.status, 401, "{name}");
    }
}
