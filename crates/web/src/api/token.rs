//! `POST /Auth/connect/token`: client credentials (RFC 6749, 4.4), and what comes of an agent's sign-in: authorization
//! codes with PKCE (RFC 7636) and refresh tokens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use hushpad_domain::client::{ApiClient, SCOPE_GLOBALPCI};
use hushpad_domain::ids::ClientId;
use hushpad_domain::time::Timestamp;
use serde_json::{Value, json};

use super::client_proof::{authenticate, public_client};
use super::endpoint::{Access, Endpoint, Operation};
use super::{Api, TOKEN_PATH, read_body};
use crate::error::ApiError;
use crate::rate::{Allowances, Exhausted};
use crate::sign_in::{BROWSER_TOKEN_LIFE, GrantFault, SignIn, issue_refresh, redeem_code, redeem_refresh};
use crate::tokens::{ACCESS_TOKEN_LIFE, Grant, issue_access, know_keys};
use crate::{PeerCertificate, Source, WebParts};

/// What `grant_type` may be.
pub(super) const GRANT_TYPES: [&str; 3] = ["client_credentials", "authorization_code", "refresh_token"];
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
    InvalidGrant,
    UnauthorizedClient,
    TooManyFailures(Exhausted),
    Unavailable,
}

/// This file's endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let operation = |id| {
        let text = json!({"type": "string"});
        Operation::new(
            id,
            "Get an access token (RFC 6749): a back end by its credentials, a browser by the code of an agent's sign-in \
             or by its refresh token. The path of Auth/connect/token counts in any case.",
        )
        .form(
            &json!({
                "type": "object",
                "required": ["grant_type"],
                "properties": {
                    "grant_type": {"enum": GRANT_TYPES},
                    "scope": {"const": SCOPE_GLOBALPCI, "description": "Must be there with client_credentials."},
                    "code": text,
                    "redirect_uri": text,
                    "code_verifier": text,
                    "refresh_token": text,
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
    not_stored(exchange(&api, request).await)
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

async fn exchange(api: &Api, request: Request) -> Result<Value, TokenError> {
    let source = source_of(&request);
    let (head, form) = read_form(request).await?;
    let parts = &*api.parts;
    let client = match public_client(api, &head, &form, source).await? {
        Some(client) => client,
        None => authenticate(api, &head, &form, source).await?,
    };
    let sign_in = match form.get("grant_type") {
        Some("client_credentials") if client.is_public() => return Err(TokenError::UnauthorizedClient),
        Some("client_credentials") => None,
        Some("authorization_code" | "refresh_token") if !client.is_public() => {
            return Err(TokenError::UnauthorizedClient);
        }
        Some("authorization_code") => Some(by_code(parts, &client, &form).await?),
        Some("refresh_token") => Some(by_refresh(parts, &client, &form).await?),
        Some(_) => return Err(TokenError::UnsupportedGrantType),
        None => return Err(TokenError::InvalidRequest("grant_type is missing")),
    };
    match form.get("scope") {
        Some(SCOPE_GLOBALPCI) => {}
        None if sign_in.is_some() => {}
        Some(_) | None => return Err(TokenError::InvalidScope),
    }
    know_keys(parts).await.map_err(|error| {
        tracing::error!(%error, "the signing keys cannot be read");
        TokenError::Unavailable
    })?;
    Ok(token_reply(parts, &client, sign_in.as_ref(), certificate_of(&client, &head)))
}

fn token_reply(
    parts: &WebParts,
    client: &ApiClient,
    sign_in: Option<&SignIn>,
    certificate: Option<[u8; 32]>,
) -> Value {
    let life = if sign_in.is_some() { BROWSER_TOKEN_LIFE } else { ACCESS_TOKEN_LIFE };
    let mut reply = json!({
        "access_token": issue_access(parts, &Grant { client, sign_in, certificate, life }),
        "expires_in": life.as_secs(),
        "token_type": "Bearer",
    });
    if let Some(sign_in) = sign_in {
        reply["refresh_token"] = json!(issue_refresh(parts, &client.id, sign_in));
        reply["scope"] = json!(SCOPE_GLOBALPCI);
    }
    reply
}

async fn by_code(parts: &WebParts, client: &ApiClient, form: &Form) -> Result<SignIn, TokenError> {
    let missing = TokenError::InvalidRequest;
    let code = form.get("code").ok_or(missing("code is missing"))?;
    let redirect_uri = form.get("redirect_uri").ok_or(missing("redirect_uri is missing"))?;
    let verifier = form.get("code_verifier").ok_or(missing("code_verifier is missing"))?;
    let sign_in = redeem_code(parts, &client.id, code, redirect_uri, verifier).await?;
    // The agent may have been revoked within the code's minute.
    let good = sign_in.is_good(parts, &client.account).await.map_err(GrantFault::from)?;
    if good { Ok(sign_in) } else { Err(TokenError::InvalidGrant) }
}

async fn by_refresh(parts: &WebParts, client: &ApiClient, form: &Form) -> Result<SignIn, TokenError> {
    let token = form.get("refresh_token").ok_or(TokenError::InvalidRequest("refresh_token is missing"))?;
    Ok(redeem_refresh(parts, &client.id, &client.account, token).await?)
}

/// A client with a certificate gets tokens that are bound to it (RFC 8705, 3), however it proved itself beside.
fn certificate_of(client: &ApiClient, head: &Parts) -> Option<[u8; 32]> {
    let shown = head.extensions.get::<PeerCertificate>();
    shown.filter(|_| client.certificate.is_some()).map(|shown| shown.thumbprint)
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

impl From<GrantFault> for TokenError {
    fn from(fault: GrantFault) -> Self {
        match fault {
            GrantFault::Invalid => Self::InvalidGrant,
            GrantFault::Unavailable => Self::Unavailable,
        }
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
            Self::InvalidGrant => reply(StatusCode::BAD_REQUEST, &json!({"error": "invalid_grant"})),
            Self::UnauthorizedClient => {
                reply(StatusCode::BAD_REQUEST, &json!({"error": "unauthorized_client"}))
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
