//! Every refusal of the Payment API, decided in one match, told as problem details (RFC 9457).
//!
//! No detail ever holds a value that came in: only names we know, and texts of our own.

use std::borrow::Cow;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use hushpad_domain::ids::SessionGuid;
use hushpad_domain::open_session::OpenError;
use hushpad_domain::operation::OperationRefused;
use hushpad_domain::ports::{BindError, LaunchError, NoLiveCall, OperateError, StoreUnavailable};
use serde_json::json;
use thiserror::Error;

use crate::mistakes::{Mistake, Mistakes};
use crate::rate::Exhausted;
use crate::tokens::AccessFault;

/// Challenges of RFC 6750, section 3.1.
const INVALID_TOKEN: &str = r#"Bearer error="invalid_token""#;
const SCOPE_MISSING: &str = r#"Bearer error="insufficient_scope", scope="globalpci""#;

/// Why a request of the Payment API is refused, sorted by who must act.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// The caller's mistake in the request's form; the text tells which, without any value.
    #[error("{0}")]
    Malformed(Cow<'static, str>),
    /// The caller's mistakes in the body.
    #[error("{0}")]
    Mistakes(Mistakes),
    /// A header holds a card number.
    #[error("{0} holds a card number: card data must never be sent here")]
    CardNumber(&'static str),
    /// No `Authorization: Bearer`.
    #[error("an access token is needed: Authorization: Bearer …")]
    TokenMissing,
    /// A token that is not good enough.
    #[error(transparent)]
    Token(AccessFault),
    /// No such path.
    #[error("there is nothing at this path")]
    NoSuchPath,
    /// Another method would do.
    #[error("the method is not allowed on this path")]
    MethodNotAllowed,
    /// No such session, or another account's.
    #[error("there is no session with this guid")]
    NoSuchSession,
    /// No such webhook, or another account's.
    #[error("there is no webhook with this id")]
    NoSuchWebhook,
    /// Not for an agent's own client.
    #[error("this is for the account's back end, not for an agent's own client")]
    BackEndOnly,
    /// The body is too large.
    #[error("the body is larger than 64 KiB")]
    BodyTooLarge,
    /// The body did not come in time.
    #[error("the body did not arrive in time")]
    BodyTooSlow,
    /// Not JSON by its content type.
    #[error("the body must be JSON, with Content-Type: application/json")]
    NotJson,
    /// Too many requests.
    #[error("too many requests: try again later")]
    RateLimited(Exhausted),
    /// The session could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The call could not be tied to an agent.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Too many link codes are open.
    #[error("too many link codes are open: try again later")]
    NoLinkCode,
    /// Too late to cancel: an attempt went out.
    #[error("a payment attempt was sent to the gateway: the session can no longer be cancelled")]
    AttemptSent,
    /// Too late to cancel: it is over.
    #[error("the session has ended")]
    Ended,
    /// It cannot move, or its link cannot change.
    #[error("not possible now: a payment is under way, or the session has no payment link that is open")]
    NotNow,
    /// There can be no payment link.
    #[error(
        "there can be no payment link: no payer page is configured, or the session has had all its links"
    )]
    NoFurtherLink,
    /// The session changed at the same moment.
    #[error("the session changed at the same moment: ask for its status")]
    Conflict,
    /// The first request with this key is under way.
    #[error("the first request with this Idempotency-Key is still under way: try again later")]
    KeyInUse,
    /// The key came with another request before.
    #[error("this Idempotency-Key was used for another request: each request needs a key of its own")]
    KeyReused,
    /// A restart ended the first request, after it had stored this session, or an operation of this id.
    #[error(
        "the first request with this Idempotency-Key was interrupted after it had opened session {0}, or had begun \
         the operation: ask for the status, and use a new key"
    )]
    KeyInterrupted(SessionGuid),
    /// It cannot be done with this payment.
    #[error(transparent)]
    Operation(OperationRefused),
    /// It could not be done.
    #[error(transparent)]
    OperationFailed(OperationFailed),
    /// Nothing can be read or written now.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
    /// Every place of a live event log is taken.
    #[error("too many event logs are followed live: ask for JSON, or again later")]
    TooManyFollowers,
    /// Our bug.
    #[error("an internal error")]
    Internal,
}

/// Why an operation was not done.
#[derive(Debug, Error)]
pub(crate) enum OperationFailed {
    /// The gateway will not do it.
    #[error("the gateway refused: {0}")]
    Refused(String),
    /// The gateway cannot be asked for it.
    #[error("this gateway cannot be asked for this")]
    Unsupported,
    /// The gateway could not be reached: surely nothing was done.
    #[error("the gateway could not be reached: nothing was done")]
    Unreachable,
    /// Too many operations at once.
    #[error("too many operations are under way: try again later")]
    Busy,
}

/// What a refusal looks like.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    /// `WWW-Authenticate` (RFC 6750, section 3).
    challenge: Option<&'static str>,
}

impl Refusal {
    fn challenge(self, challenge: &'static str) -> Self {
        Self { challenge: Some(challenge), ..self }
    }
}

impl ApiError {
    /// The one place where HTTP statuses of the Payment API are decided.
    fn refusal(&self) -> Refusal {
        let own = || Cow::Owned(self.to_string());
        match self {
            Self::Malformed(_) => refusal(400, "malformed_request", "Malformed request", own()),
            Self::CardNumber(_) => refusal(400, "card_data", "Card data refused", own()),
            Self::Mistakes(mistakes) => {
                let (code, title) = mistakes.code();
                refusal(400, code, title, own())
            }
            Self::Open(OpenError::PaymentData(errors)) => Self::Mistakes(Mistakes::of(errors)).refusal(),
            Self::Open(OpenError::AgentMissing) => refusal(400, "agent_missing", "Missing agentId", own()),
            Self::Open(OpenError::NoConfiguration { .. }) => {
                refusal(400, "unknown_configuration", "Unknown account configuration", own())
            }
            Self::Open(OpenError::WrongKind { .. }) => {
                refusal(400, "wrong_kind_of_configuration", "Wrong kind of configuration", own())
            }
            Self::Open(OpenError::NotATestConfiguration) => {
                refusal(400, "not_a_test_configuration", "Not a test configuration", own())
            }
            Self::TokenMissing => refusal(401, "token_missing", "Unauthorized", own()).challenge("Bearer"),
            Self::Token(fault) => token_refusal(*fault),
            Self::Open(OpenError::OtherAgent) => refusal(403, "other_agent", "Forbidden", own()),
            Self::BackEndOnly => refusal(403, "back_end_only", "Forbidden", own()),
            Self::NoSuchWebhook => refusal(404, "no_such_webhook", "Not found", own()),
            Self::NoSuchPath => refusal(404, "no_such_path", "Not found", own()),
            Self::NoSuchSession => refusal(404, "no_such_session", "Not found", own()),
            Self::Open(OpenError::AgentUnknown) => refusal(404, "agent_unknown", "Agent unknown", own()),
            Self::Open(OpenError::NoSuchCard) => refusal(404, "no_such_stored_card", "Not found", own()),
            Self::MethodNotAllowed => refusal(405, "method_not_allowed", "Method not allowed", own()),
            Self::BodyTooSlow => refusal(408, "body_too_slow", "Request time-out", own()),
            Self::Open(OpenError::NoLiveCall(NoLiveCall::None)) => {
                refusal(409, "no_live_call", "No live call", own())
            }
            Self::Open(OpenError::NoLiveCall(NoLiveCall::Several)) => {
                refusal(409, "several_live_calls", "Several live calls", own())
            }
            Self::Open(OpenError::CallTaken) => {
                refusal(409, "call_has_session", "The call has an open session", own())
            }
            Self::Bind(error) => bind_refusal(*error),
            Self::NoLinkCode => refusal(503, "no_link_code", "Too many link codes", own()),
            Self::AttemptSent => refusal(409, "attempt_sent", "An attempt was sent", own()),
            Self::Ended => refusal(409, "session_ended", "The session has ended", own()),
            Self::NotNow => refusal(409, "not_now", "Not possible now", own()),
            Self::NoFurtherLink => refusal(409, "no_further_link", "No payment link", own()),
            Self::Conflict => refusal(409, "conflict", "Conflict", own()),
            Self::KeyInUse => refusal(409, "idempotency_key_in_use", "Request under way", own()),
            Self::KeyInterrupted(_) => {
                refusal(409, "idempotency_key_interrupted", "Request interrupted", own())
            }
            Self::Operation(refused) => operation_refusal(*refused),
            Self::OperationFailed(failed) => failed_operation(failed, own()),
            Self::BodyTooLarge => refusal(413, "body_too_large", "Body too large", own()),
            Self::NotJson => refusal(415, "not_json", "Not JSON", own()),
            Self::KeyReused => refusal(422, "idempotency_key_reused", "Idempotency-Key reused", own()),
            Self::RateLimited(_) => refusal(429, "rate_limited", "Too many requests", own()),
            Self::TooManyFollowers => refusal(503, "too_many_followers", "Too many live logs", own()),
            Self::Internal => refusal(500, "internal", "Internal error", own()),
            Self::Open(OpenError::Launch(error)) => launch_refusal(error),
            // The store's own text is for the operator's log.
            Self::Open(OpenError::Store(_)) | Self::Store(_) => {
                let detail = "the service cannot store anything just now";
                refusal(503, "store_unavailable", "Service unavailable", detail.into())
            }
        }
    }

    /// The places of the mistakes, when there are any.
    fn mistakes(&self) -> Option<Cow<'_, Mistakes>> {
        match self {
            Self::Mistakes(mistakes) => Some(Cow::Borrowed(mistakes)),
            Self::Open(OpenError::PaymentData(errors)) => Some(Cow::Owned(Mistakes::of(errors))),
            _ => None,
        }
    }

    /// The problem document for the request with this id.
    pub(crate) fn problem(&self, request_id: &str) -> Response {
        let Refusal { status, code, title, detail, challenge } = self.refusal();
        if status.is_server_error() {
            tracing::error!(request.id = request_id, code, error = %self, "request failed");
        }
        let mut body = json!({
            "type": format!("urn:hushpad:problem:{code}"),
            "title": title,
            "status": status.as_u16(),
            "detail": detail,
            "code": code,
            "requestId": request_id,
        });
        if let Some(mistakes) = self.mistakes() {
            body["errors"] = json!(mistakes.list());
        }
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Self::RateLimited(exhausted) = self {
            headers.insert(RETRY_AFTER, HeaderValue::from(exhausted.retry_after_s));
        }
        response
    }
}

/// The part of the decision that is about operations: 409 for what may change, 422 for what the request asks.
fn operation_refusal(refused: OperationRefused) -> Refusal {
    let (status, code) = match refused {
        OperationRefused::NotFinished => (409, "not_finished"),
        OperationRefused::NothingApproved => (409, "nothing_approved"),
        OperationRefused::OneIsOpen => (409, "operation_under_way"),
        OperationRefused::GivenBack => (409, "given_back"),
        OperationRefused::NotAnAuthorisation => (409, "not_an_authorisation"),
        OperationRefused::NotCaptured => (409, "not_captured"),
        OperationRefused::TooLateToVoid => (409, "too_late_to_void"),
        OperationRefused::UsedUp => (409, "operations_used_up"),
        OperationRefused::NameTheAttempt => (422, "name_the_attempt"),
        OperationRefused::VoidIsWhole => (422, "void_is_whole"),
        OperationRefused::TooMuch => (422, "amount_too_high"),
        OperationRefused::OtherCurrency => (422, "other_currency"),
    };
    refusal(status, code, "Not with this payment", refused.to_string().into())
}

fn failed_operation(failed: &OperationFailed, detail: Cow<'static, str>) -> Refusal {
    let (status, code, title) = match failed {
        OperationFailed::Refused(_) => (422, "operation_refused", "The gateway refused"),
        OperationFailed::Unsupported => (422, "operation_unsupported", "The gateway cannot do this"),
        OperationFailed::Unreachable => (503, "gateway_unreachable", "Gateway unreachable"),
        OperationFailed::Busy => (503, "operations_busy", "Too many operations"),
    };
    refusal(status, code, title, detail)
}

impl From<OperateError> for ApiError {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::NoSuchSession => Self::NoSuchSession,
            OperateError::Refused(refused) => Self::Operation(refused),
            OperateError::Conflict => Self::Conflict,
            OperateError::Busy => Self::OperationFailed(OperationFailed::Busy),
            OperateError::Store(unavailable) => Self::Store(unavailable),
        }
    }
}

impl From<Mistakes> for ApiError {
    fn from(mistakes: Mistakes) -> Self {
        Self::Mistakes(mistakes)
    }
}

impl From<Mistake> for ApiError {
    fn from(mistake: Mistake) -> Self {
        let mut mistakes = Mistakes::default();
        mistakes.add(mistake);
        Self::Mistakes(mistakes)
    }
}

/// Carries the error out to the frame around every request, which knows the request's id.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.refusal().status.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// The part of the decision that is about the access token.
fn token_refusal(fault: AccessFault) -> Refusal {
    let own = Cow::Owned(fault.to_string());
    match fault {
        AccessFault::Invalid => refusal(401, "token_invalid", "Unauthorized", own).challenge(INVALID_TOKEN),
        AccessFault::Expired => refusal(401, "token_expired", "Unauthorized", own).challenge(INVALID_TOKEN),
        AccessFault::ScopeMissing => refusal(403, "scope_missing", "Forbidden", own).challenge(SCOPE_MISSING),
        AccessFault::Unavailable => refusal(503, "store_unavailable", "Service unavailable", own),
    }
}

/// The part of the decision that is about tying a call to its agent.
fn bind_refusal(error: BindError) -> Refusal {
    let own = error.to_string().into();
    match error {
        BindError::NoSuchCall => refusal(404, "no_such_call", "Not found", own),
        BindError::NotAnswered => refusal(409, "call_not_answered", "The call rings", own),
        BindError::OtherAgents => refusal(409, "call_has_agent", "The call has an agent", own),
    }
}

/// The part of the decision that is about the provider side.
fn launch_refusal(error: &LaunchError) -> Refusal {
    match error {
        LaunchError::Refused(word) => {
            // The published text, with its dots.
            let text =
                format!("Provider's authorization endpoint returned error message '{}'...", error_word(word));
            refusal(502, "provider_refused", "Provider refused", text.into())
        }
        // The call went while its session was opened; `open_session` tells it as `NoLiveCall`.
        LaunchError::CallGone => {
            refusal(409, "no_live_call", "No live call", "the agent's call has ended".into())
        }
        LaunchError::Unavailable => {
            let detail = "the provider side is not available";
            refusal(503, "provider_unavailable", "Provider unavailable", detail.into())
        }
        LaunchError::TimedOut => {
            let detail = "the provider side did not answer in time";
            refusal(504, "provider_timed_out", "Provider timed out", detail.into())
        }
    }
}

fn refusal(status: u16, code: &'static str, title: &'static str, detail: Cow<'static, str>) -> Refusal {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Refusal { status, code, title, detail, challenge: None }
}

/// An OAuth error code (RFC 6749, 5.2) and nothing else: the word comes from another system.
fn error_word(word: &str) -> &str {
    let sane = !word.is_empty()
        && word.len() <= 64
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if sane { word } else { "server_error" }
}
