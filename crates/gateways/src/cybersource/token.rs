//! How a request is signed: a JWT, HS256 with the shared secret, valid for two minutes
//! (developer.cybersource.com, "JSON Web Token with a shared secret"; the names as in their Python SDK 0.0.80).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderValue;
use hushpad_domain::ids::AttemptId;
use hushpad_domain::time::Timestamp;
use ring::{digest, hmac};
use serde::Serialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::endpoint::Endpoint;
use crate::wire_text::{derived, secret_header};

/// As long as CyberSource's own libraries make it.
const VALID_S: i64 = 120;

pub(super) struct Signer {
    merchant_id: String,
    key_id: String,
    key: hmac::Key,
}

impl Signer {
    pub(super) fn new(merchant_id: &str, key_id: &str, secret: &str) -> Option<Self> {
        let secret = Zeroizing::new(STANDARD.decode(secret.trim()).ok().filter(|secret| !secret.is_empty())?);
        Some(Self {
            merchant_id: merchant_id.to_owned(),
            key_id: key_id.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        })
    }

    /// The `Authorization` of a POST. The token's id is new for every microsecond of an attempt.
    pub(super) fn authorization(
        &self,
        endpoint: &Endpoint,
        body: &[u8],
        attempt: AttemptId,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let head = Head { kid: &self.key_id, alg: "HS256", typ: "JWT" };
        let claims = Claims {
            digest: STANDARD.encode(digest::digest(&digest::SHA256, body)),
            digest_algorithm: "SHA-256",
            iat: now.as_seconds(),
            exp: now.as_seconds().saturating_add(VALID_S),
            request_method: "POST",
            request_host: &endpoint.authority,
            request_resource_path: &endpoint.target,
            iss: &self.merchant_id,
            jti: derived(attempt, &format!("{} {}", endpoint.target, now.as_micros())),
            version: "2",
            merchant_id: &self.merchant_id,
        };
        let head = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&head).ok()?);
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).ok()?);
        let signed = format!("{head}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        secret_header(&format!("Bearer {signed}.{signature}"))
    }
}

#[derive(Serialize)]
struct Head<'a> {
    kid: &'a str,
    alg: &'static str,
    typ: &'static str,
}

#[derive(Serialize)]
struct Claims<'a> {
    digest: String,
    #[serde(rename = "digestAlgorithm")]
    digest_algorithm: &'static str,
    iat: i64,
    exp: i64,
    #[serde(rename = "request-method")]
    request_method: &'static str,
    #[serde(rename = "request-host")]
    request_host: &'a str,
    #[serde(rename = "request-resource-path")]
    request_resource_path: &'a str,
    iss: &'a str,
    jti: Uuid,
    #[serde(rename = "v-c-jwt-version")]
    version: &'static str,
    #[serde(rename = "v-c-merchant-id")]
    merchant_id: &'a str,
}
