//! `POST /Auth/connect/token`: client credentials (RFC 6749, 4.4).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use hushpad_domain::client::SCOPE_GLOBALPCI;
use hushpad_domain::ids::ClientId;
use hushpad_domain::time::Timestamp;
use serde_json::{Value, json};

use super::client_proof::authenticate;
use super::endpoint::{Access, Endpoint, Operation};
use super::{Api, TOKEN_PATH, read_body};
use crate::Source;
use crate::error::ApiError;
use crate::rate::{Allowances, Exhausted};
use crate::tokens::{ACCESS_TOKEN_LIFE, issue_access, know_keys};

/// Four parameters and a Basic pair fit many times.
const FORM_BYTES_MAX: usize = 8 * 1024;

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

    pub(super) fn check(
        &self,
        client: &ClientId,
        source: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<(), Exhausted> {
        self.per_source.check(&source, now)?;
        self.per_client.check(&(client.clone(), source), now)
    }

    pub(super) fn count(&self, client: &ClientId, source: Option<IpAddr>, now: Timestamp) {
        // A refused taking is the state that `check` sees next time.
        let _ = self.per_source.take(&source, now);
        let _ = self.per_client.take(&(client.clone(), source), now);
    }
}

/// Why no token is given (RFC 6749, 5.2).
pub(super) enum TokenError {
    InvalidRequest(&'static str),
    InvalidClient { basic: bool },
    UnsupportedGrantType,
    InvalidScope,
    TooManyFailures(Exhausted),
    Unavailable,
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
                    "client_assertion": text,
                    "client_assertion_type": text,
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
    not_stored(exchange(&api, request).await.map(|token| {
        json!({
            "access_token": token,
            "expires_in": ACCESS_TOKEN_LIFE.as_secs(),
            "token_type": "Bearer",
        })
    }))
}

/// An answer that nobody may keep.
pub(super) fn not_stored(outcome: Result<Value, TokenError>) -> Response {
    let mut response = match outcome {
        Ok(body) => reply(StatusCode::OK, &body),
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

async fn exchange(api: &Api, request: Request) -> Result<String, TokenError> {
    let source = source_of(&request);
    let (head, form) = read_form(request).await?;
    let client = authenticate(api, &head.headers, &form, source).await?;
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return Err(TokenError::UnsupportedGrantType),
        None => return Err(TokenError::InvalidRequest("grant_type is missing")),
    }
    if form.get("scope") != Some(SCOPE_GLOBALPCI) {
        return Err(TokenError::InvalidScope);
    }
    know_keys(&api.parts).await.map_err(|error| {
        tracing::error!(%error, "the signing keys cannot be read");
        TokenError::Unavailable
    })?;
    Ok(issue_access(&api.parts, &client))
}

/// Where the request comes from.
pub(super) fn source_of(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<Source>().map(|source| source.0)
}

/// The request's form.
pub(super) async fn read_form(request: Request) -> Result<(Parts, Form), TokenError> {
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
    Ok((head, Form::parse(&body)?))
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = content_type.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The form's parameters, each at most once (RFC 6749, 3.2).
pub(super) struct Form(Vec<(String, String)>);

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
    pub(super) fn get(&self, name: &str) -> Option<&str> {
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
