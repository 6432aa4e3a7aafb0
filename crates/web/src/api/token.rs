//! `POST /Auth/connect/token`: client credentials (RFC 6749, 4.4).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use hushpad_domain::client::{ApiClient, SCOPE_GLOBALPCI};
use hushpad_domain::ids::ClientId;
use hushpad_domain::time::Timestamp;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::endpoint::{Access, Endpoint, Operation};
use super::{Api, TOKEN_PATH, read_body};
use crate::error::ApiError;
use crate::keys::hash_client_secret;
use crate::rate::{Allowances, Exhausted};
use crate::tokens::{ACCESS_TOKEN_LIFE, issue_access};
use crate::{Source, WebParts};

/// Four parameters and a Basic pair fit many times.
const FORM_BYTES_MAX: usize = 8 * 1024;
/// Longer than any id and secret that we make.
const CREDENTIAL_CHARS_MAX: usize = 256;

/// Failed tries. Counted per source, and per client at a source: a stranger's tries from elsewhere must not
/// lock out an integrator (guessing 256 bits is hopeless; the point is to slow noise down).
pub(super) struct Failures {
    per_client: Allowances<(ClientId, Option<IpAddr>)>,
    per_source: Allowances<Option<IpAddr>>,
}

impl Failures {
    /// Five wrong secrets at once for one client, twenty from one source; then one each ten and three seconds.
    pub(super) fn new() -> Self {
        Self {
            per_client: Allowances::new(5, Duration::from_secs(10)),
            per_source: Allowances::new(20, Duration::from_secs(3)),
        }
    }

    fn check(&self, client: &ClientId, source: Option<IpAddr>, now: Timestamp) -> Result<(), Exhausted> {
        self.per_source.check(&source, now)?;
        self.per_client.check(&(client.clone(), source), now)
    }

    fn count(&self, client: &ClientId, source: Option<IpAddr>, now: Timestamp) {
        // A refused taking is the state that `check` sees next time.
        let _ = self.per_source.take(&source, now);
        let _ = self.per_client.take(&(client.clone(), source), now);
    }
}

/// Why no token is given (RFC 6749, 5.2).
enum TokenError {
    InvalidRequest(&'static str),
    InvalidClient { basic: bool },
    UnsupportedGrantType,
    InvalidScope,
    TooManyFailures(Exhausted),
    Unavailable,
}

/// How a client presented itself.
struct Credentials {
    id: ClientId,
    secret: String,
    basic: bool,
}

/// This file's endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let operation = |id| {
        let text = json!({"type": "string"});
        Operation::new(
            id,
            "Get an access token (RFC 6749, client credentials). The path of Auth/connect/token counts in any case.",
        )
        .form(
            &json!({
                "type": "object",
                "required": ["grant_type", "scope"],
                "properties": {
                    "grant_type": {"const": "client_credentials"},
                    "scope": {"const": SCOPE_GLOBALPCI},
                    "client_id": text,
                    "client_secret": text,
                },
            }),
            &json!({
                "grant_type": "client_credentials",
                "scope": SCOPE_GLOBALPCI,
                "client_id": "the client's id",
                "client_secret": "the client's secret",
            }),
        )
        .ok("The token", "Token")
        .oauth_errors(&[400, 401, 429, 503])
    };
    [(TOKEN_PATH, "token"), ("/oauth/token", "tokenAlias")]
        .map(|(path, id)| Endpoint::post(path, issue, operation(id)).open_to(Access::ClientSecret))
        .into()
}

/// Gives a token to a client that proves itself.
pub(super) async fn issue(State(api): State<Arc<Api>>, request: Request) -> Response {
    let outcome = exchange(&api, request).await;
    let mut response = match outcome {
        Ok(token) => reply(
            StatusCode::OK,
            &json!({
                "access_token": token,
                "expires_in": ACCESS_TOKEN_LIFE.as_secs(),
                "token_type": "Bearer",
            }),
        ),
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

async fn exchange(api: &Api, request: Request) -> Result<String, TokenError> {
    let source = request.extensions().get::<Source>().map(|source| source.0);
    let (head, body) = request.into_parts();
    if !is_form(&head.headers) {
        return Err(TokenError::InvalidRequest("the body must be application/x-www-form-urlencoded"));
    }
    let body = read_body(body, FORM_BYTES_MAX).await.map_err(|error| {
        TokenError::InvalidRequest(match error {
            ApiError::BodyTooLarge => "the form is too large",
            _ => "the form could not be read",
        })
    })?;
    let form = Form::parse(&body)?;
    let credentials = credentials(&head.headers, &form)?;
    let client = authenticate(api, credentials, source).await?;
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return Err(TokenError::UnsupportedGrantType),
        None => return Err(TokenError::InvalidRequest("grant_type is missing")),
    }
    if form.get("scope") != Some(SCOPE_GLOBALPCI) {
        return Err(TokenError::InvalidScope);
    }
    Ok(issue_access(&api.parts, &client))
}

/// An unknown or revoked client costs what a known one costs: one look-up, one hash, one comparison.
async fn authenticate(
    api: &Api,
    credentials: Credentials,
    source: Option<IpAddr>,
) -> Result<ApiClient, TokenError> {
    let WebParts { clients, keys, world, .. } = &*api.parts;
    let Credentials { id, secret, basic } = credentials;
    api.token_failures.check(&id, source, world.now()).map_err(TokenError::TooManyFailures)?;
    let known = clients.client(&id).await.map_err(|error| {
        tracing::error!(%error, "the client store cannot be read");
        TokenError::Unavailable
    })?;
    let known = known.filter(|client| client.revoked_on.is_none());
    let presented = hash_client_secret(keys, &secret);
    let expected = known.as_ref().map_or([0; 32], |client| client.secret_hash);
    let same = bool::from(presented.ct_eq(&expected));
    match known {
        Some(client) if same => Ok(client),
        Some(_) | None => {
            api.token_failures.count(&id, source, world.now());
            tracing::warn!(source = ?source, "a client failed to authenticate");
            Err(TokenError::InvalidClient { basic })
        }
    }
}

/// By form fields or by HTTP Basic, not both (RFC 6749, 2.3).
fn credentials(headers: &HeaderMap, form: &Form) -> Result<Credentials, TokenError> {
    let in_form = (form.get("client_id"), form.get("client_secret"));
    let (id, secret, basic) = match (headers.get(AUTHORIZATION), in_form) {
        (Some(value), (id, None)) => {
            let (basic_id, secret) = basic_pair(value).ok_or(TokenError::InvalidClient { basic: true })?;
            if id.is_some_and(|id| id != basic_id) {
                return Err(TokenError::InvalidRequest("two different client ids"));
            }
            (basic_id, secret, true)
        }
        (Some(_), (_, Some(_))) => {
            return Err(TokenError::InvalidRequest("client credentials given twice"));
        }
        (None, (Some(id), Some(secret))) => (id.to_owned(), secret.to_owned(), false),
        (None, _) => return Err(TokenError::InvalidClient { basic: false }),
    };
    if id.len() > CREDENTIAL_CHARS_MAX || secret.len() > CREDENTIAL_CHARS_MAX {
        return Err(TokenError::InvalidClient { basic });
    }
    Ok(Credentials { id: ClientId(id), secret, basic })
}

/// RFC 7617; both parts are form-encoded first (RFC 6749, 2.3.1).
fn basic_pair(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decode(id)?, form_decode(secret)?))
}

fn form_decode(text: &str) -> Option<String> {
    if text.contains(['&', '=']) {
        return Some(text.to_owned()); // was never encoded
    }
    let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(&format!("v={text}")).ok()?;
    pairs.pop().map(|(_, value)| value)
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The form's parameters, each at most once (RFC 6749, 3.2).
struct Form(Vec<(String, String)>);

impl Form {
    fn parse(body: &[u8]) -> Result<Self, TokenError> {
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(body)
            .map_err(|_| TokenError::InvalidRequest("the form could not be read"))?;
        let twice = pairs
            .iter()
            .enumerate()
            .any(|(at, (name, _))| pairs[..at].iter().any(|(earlier, _)| earlier == name));
        if twice {
            return Err(TokenError::InvalidRequest("a parameter is there twice"));
        }
        Ok(Self(pairs))
    }

    /// An empty parameter counts as missing (RFC 6749, 3.2).
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

impl IntoResponse for TokenError {
    fn into_response(self) -> Response {
        match self {
            Self::InvalidRequest(why) => {
                reply(StatusCode::BAD_REQUEST, &json!({"error": "invalid_request", "error_description": why}))
            }
            Self::UnsupportedGrantType => {
                reply(StatusCode::BAD_REQUEST, &json!({"error": "unsupported_grant_type"}))
            }
            Self::InvalidScope => reply(StatusCode::BAD_REQUEST, &json!({"error": "invalid_scope"})),
            Self::InvalidClient { basic } => {
                let mut response = reply(StatusCode::UNAUTHORIZED, &json!({"error": "invalid_client"}));
                if basic {
                    let challenge = HeaderValue::from_static(r#"Basic realm="hushpad", charset="UTF-8""#);
                    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                }
                response
            }
            Self::TooManyFailures(exhausted) => {
                let body =
                    json!({"error": "temporarily_unavailable", "error_description": "too many failures"});
                let mut response = reply(StatusCode::TOO_MANY_REQUESTS, &body);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(exhausted.retry_after_s));
                response
            }
            Self::Unavailable => {
                reply(StatusCode::SERVICE_UNAVAILABLE, &json!({"error": "temporarily_unavailable"}))
            }
        }
    }
}

fn reply(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
