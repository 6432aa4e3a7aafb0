//! How a request is signed, with the shared secret. Two ways:
//! - a JWT, HS256, valid for two minutes (developer.cybersource.com, "JSON Web Token with a shared secret"; the
//!   names as in their Python SDK 0.0.80);
//! - an HTTP signature, which CyberSource calls deprecated and some hosts still want (the same SDK,
//!   `authenticationsdk/http`).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, header};
use hushpad_domain::time::Timestamp;
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::endpoint::Endpoint;
use crate::wire_text::{derived, secret_header};

/// As long as CyberSource's own libraries make it.
const VALID_S: i64 = 120;

/// How requests are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// A JSON Web Token with the shared secret.
    #[default]
    Jwt,
    /// HTTP Signature; deprecated by CyberSource.
    HttpSignature,
}

pub(super) struct Signer {
    auth: Auth,
    merchant_id: String,
    key_id: String,
    key: hmac::Key,
}

impl Signer {
    pub(super) fn new(auth: Auth, merchant_id: &str, key_id: &str, secret: &str) -> Option<Self> {
        let secret = Zeroizing::new(STANDARD.decode(secret.trim()).ok().filter(|secret| !secret.is_empty())?);
        Some(Self {
            auth,
            merchant_id: merchant_id.to_owned(),
            key_id: key_id.to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        })
    }

    /// The headers that sign a request about `id`: a POST of a body, or a GET.
    pub(super) fn sign(
        &self,
        endpoint: &Endpoint,
        body: Option<&[u8]>,
        id: Uuid,
        now: Timestamp,
    ) -> Option<Vec<(HeaderName, HeaderValue)>> {
        match self.auth {
            Auth::Jwt => Some(vec![(header::AUTHORIZATION, self.token(endpoint, body, id, now)?)]),
            Auth::HttpSignature => self.signature(endpoint, body, now),
        }
    }

    /// The token's id is new for every microsecond of an id.
    fn token(
        &self,
        endpoint: &Endpoint,
        body: Option<&[u8]>,
        id: Uuid,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let head = Head { kid: &self.key_id, alg: "HS256", typ: "JWT" };
        let claims = Claims {
            digest: body.map(digest_of),
            digest_algorithm: body.map(|_| "SHA-256"),
            iat: now.as_seconds(),
            exp: now.as_seconds().saturating_add(VALID_S),
            request_method: if body.is_some() { "POST" } else { "GET" },
            request_host: &endpoint.authority,
            request_resource_path: &endpoint.target,
            iss: &self.merchant_id,
            jti: derived(id, &format!("{} {}", endpoint.target, now.as_micros())),
            version: "2",
            merchant_id: &self.merchant_id,
        };
        let head = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&head).ok()?);
        let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims).ok()?);
        let signed = format!("{head}.{claims}");
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        secret_header(&format!("Bearer {signed}.{signature}"))
    }

    fn signature(
        &self,
        endpoint: &Endpoint,
        body: Option<&[u8]>,
        now: Timestamp,
    ) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let (date, digest) = (http_date(now), body.map(|body| format!("SHA-256={}", digest_of(body))));
        let (method, names, line) = match &digest {
            Some(digest) => {
                ("post", "host date request-target digest v-c-merchant-id", format!("digest: {digest}\n"))
            }
            None => ("get", "host date request-target v-c-merchant-id", String::new()),
        };
        let signed = format!(
            "host: {}\ndate: {date}\nrequest-target: {method} {}\n{line}v-c-merchant-id: {}",
            endpoint.authority, endpoint.target, self.merchant_id
        );
        let signature = STANDARD.encode(hmac::sign(&self.key, signed.as_bytes()));
        let value = format!(
            "keyid=\"{}\", algorithm=\"HmacSHA256\", headers=\"{names}\", signature=\"{signature}\"",
            self.key_id
        );
        let mut headers = vec![(header::DATE, HeaderValue::try_from(date).ok()?)];
        if let Some(digest) = digest {
            headers.push((HeaderName::from_static("digest"), HeaderValue::try_from(digest).ok()?));
        }
        headers.push((HeaderName::from_static("signature"), secret_header(&value)?));
        Some(headers)
    }
}

fn digest_of(body: &[u8]) -> String {
    STANDARD.encode(digest::digest(&digest::SHA256, body))
}

/// A time as headers write it (RFC 9110, section 5.6.7), such as `Fri, 21 Aug 2026 00:00:00 GMT`.
fn http_date(now: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (now.as_seconds().div_euclid(86_400), now.as_seconds().rem_euclid(86_400));
    // The date as the timestamp itself writes it: 2026-08-21T…
    let text = now.to_string();
    let (year, month, day) = (text.get(..4), text.get(5..7), text.get(8..10));
    let month = month.and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    format!(
        "{}, {} {} {} {:02}:{:02}:{:02} GMT",
        DAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)],
        day.unwrap_or("01"),
        MONTHS[month.saturating_sub(1).min(11)],
        year.unwrap_or("1970"),
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[derive(Serialize)]
struct Head<'a> {
    kid: &'a str,
    alg: &'static str,
    typ: &'static str,
}

#[derive(Serialize)]
struct Claims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(rename = "digestAlgorithm", skip_serializing_if = "Option::is_none")]
    digest_algorithm: Option<&'static str>,
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
