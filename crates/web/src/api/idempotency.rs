//! `Idempotency-Key`: a request that comes again gets the first answer again, and is not done twice
//! (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! The key is taken, durably, before anything is done, together with the guid that a session opened by this
//! request will have. The answer is kept when it is final: done, or refused for what the request asked at
//! that moment. Any other refusal frees the key. A crash in between leaves a key without an answer; the
//! promised guid then tells whether the request did something (see [`Replays::begin`]).
//!
//! Requests without the header pass untouched.
//!
//! [`Replays::begin`]: hushpad_domain::ports::Replays::begin

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hushpad_domain::client::Principal;
use hushpad_domain::ids::SessionGuid;
use hushpad_domain::replay::{Begun, FirstRequest, ReplayKey, StoredAnswer};
use hushpad_domain::text::holds_card_number;
use uuid::Uuid;

use super::json::BODY_BYTES_MAX;
use super::{Api, RequestId, read_body};
use crate::error::ApiError;
use crate::keys::TokenKeys;

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Room for any guid, hash or reference with a prefix.
const KEY_CHARS_MAX: usize = 255;
/// The longest answer is a status that echoes a whole body with every character escaped.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The guid that the session of this request must have. Among the extensions of a request with a key.
#[derive(Clone, Copy)]
pub(super) struct Promised(pub(super) SessionGuid);

/// The body to keep in place of the one that is sent, which holds something that must be forgotten sooner.
/// Among the extensions of a response.
#[derive(Clone)]
pub(super) struct KeptBody(pub(super) String);

/// Around every route that changes something: does the request once per key.
pub(super) async fn once(
    State(api): State<Arc<Api>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let Some(key) = key_of(request.headers())?.map(str::to_owned) else {
        return Ok(next.run(request).await);
    };
    let (mut head, body) = request.into_parts();
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let parts = &api.parts;
    let first = first_request(&parts.keys, &head, &key, &body, SessionGuid(parts.world.guid()))?;
    let (key, session) = (first.key.clone(), first.session);
    match parts.replays.begin(first, parts.world.now()).await? {
        Begun::First => {}
        Begun::InFlight => return Err(ApiError::KeyInUse),
        Begun::Interrupted(session) => return Err(ApiError::KeyInterrupted(session)),
        Begun::Mismatch => return Err(ApiError::KeyReused),
        Begun::Answered(answer) => return replay(&parts.keys, &key, answer),
    }
    head.extensions.insert(Promised(session));
    let id = head.extensions.get::<RequestId>().map(|RequestId(id)| id.clone()).unwrap_or_default();
    // A panic is answered here, so that it frees the key as any other bug of ours does.
    let done = AssertUnwindSafe(next.run(Request::from_parts(head, Body::from(body)))).catch_unwind().await;
    let response = done.unwrap_or_else(|_| ApiError::Internal.into_response());
    Ok(settle(&api, key, response, &id).await)
}

/// The key that came, if it is one.
fn key_of(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    const WRONG: ApiError = ApiError::Malformed(std::borrow::Cow::Borrowed(
        "Idempotency-Key must be 1 to 255 visible ASCII characters",
    ));
    let mut all = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value,
        (Some(_), Some(_)) => return Err(WRONG),
    };
    let key = value.to_str().map_err(|_| WRONG)?;
    if !(1..=KEY_CHARS_MAX).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(WRONG);
    }
    // Of random guids, the commonest keys, one in some three hundred reads as a card number in groups.
    if holds_card_number(key) && !is_guid(key) {
        return Err(ApiError::CardNumber("Idempotency-Key"));
    }
    Ok(Some(key))
}

/// Whether this is a guid as commonly written, in five groups.
fn is_guid(key: &str) -> bool {
    key.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::try_parse(key).is_ok()
}

fn first_request(
    keys: &TokenKeys,
    head: &Parts,
    key: &str,
    body: &[u8],
    session: SessionGuid,
) -> Result<FirstRequest, ApiError> {
    // Only a mistake in the order of layers would leave it out.
    let principal = head.extensions.get::<Principal>().ok_or(ApiError::Internal)?;
    let Principal { account, client, agent: _ } = principal.clone();
    let (of_account, of_client) = (account.as_str().as_bytes(), client.as_str().as_bytes());
    let key_hash = keys.hash_request(&[b"key", of_account, of_client, key.as_bytes()]);
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let method = head.method.as_str().as_bytes();
    let fingerprint =
        keys.hash_request(&[b"request", method, target.as_bytes(), &without_card_numbers(body)]);
    Ok(FirstRequest { key: ReplayKey { account, client, key_hash }, fingerprint, session })
}

/// The body to take a hash of: nothing is ever derived from a card number, so a body with one goes without any
/// digit. Such a request is refused, or the number is where nobody reads it.
fn without_card_numbers(body: &[u8]) -> Vec<u8> {
    let raw = String::from_utf8_lossy(body);
    let holds = holds_card_number(&raw)
        // Written anew, no escape of JSON hides a digit, a space or a dash.
        || serde_json::from_slice::<serde_json::Value>(body)
            .is_ok_and(|json| holds_card_number(&json.to_string()));
    let hide = |byte: &u8| if holds && byte.is_ascii_digit() { b'*' } else { *byte };
    body.iter().map(hide).collect()
}

/// Keeps a final answer; frees the key for any other.
async fn settle(api: &Api, key: ReplayKey, mut response: Response, request_id: &str) -> Response {
    let replays = &api.parts.replays;
    if !is_final(response.status()) {
        if let Err(error) = replays.abandon(key).await {
            tracing::error!(request.id = request_id, %error, "an Idempotency-Key stays taken until the next start");
        }
        return response;
    }
    if let Some(error) = response.extensions_mut().remove::<Arc<ApiError>>() {
        response = error.problem(request_id);
    }
    let (mut head, body) = response.into_parts();
    let Ok(body) = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await else {
        return ApiError::Internal.into_response();
    };
    let kept =
        head.extensions.remove::<KeptBody>().map_or_else(|| body.clone(), |KeptBody(kept)| kept.into());
    let answer = seal(api, &key, head.status, kept);
    if let Err(error) = replays.finish(key, answer).await {
        // What was done is done: the caller must hear of it all the same.
        tracing::error!(request.id = request_id, %error, "an answer was not kept under its Idempotency-Key");
    }
    Response::from_parts(head, Body::from(body))
}

/// Whether the same request would be answered like that again: it was done, or what it asks was refused. Not who
/// asked, how fast, in what form, nor what we could not do.
fn is_final(status: StatusCode) -> bool {
    status.is_success() || [400, 404, 409, 422].contains(&status.as_u16())
}

fn seal(api: &Api, key: &ReplayKey, status: StatusCode, body: Bytes) -> StoredAnswer {
    let status = status.as_u16();
    let sealed_body = api.parts.keys.seal_answer(api.parts.world.secret(), &about(key, status), body.into());
    StoredAnswer { status, sealed_body }
}

/// The first answer again. A problem names the first request, which it tells of.
fn replay(keys: &TokenKeys, key: &ReplayKey, answer: StoredAnswer) -> Result<Response, ApiError> {
    let body = keys.open_answer(&about(key, answer.status), &answer.sealed_body).map_err(|error| {
        tracing::error!(%error, "the store's file was changed, or restored under another master key");
        ApiError::Internal
    })?;
    let status = StatusCode::from_u16(answer.status).map_err(|_| ApiError::Internal)?;
    let content_type = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response = (status, body).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// What a sealed answer belongs to: moved to another key or status, it does not open.
fn about(key: &ReplayKey, status: u16) -> Vec<u8> {
    [key.key_hash.as_slice(), &status.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_digit_of_a_card_number_is_in_what_is_hashed() {
        for body in [
            r#"{"note":"4111111111111111"}"#,
            r#"{"note":4111111111111111}"#,
            r#"{"note":"4111 1111-1111.1111"}"#,
            r#"{"note":"4111\u00201111\u002d1111\/1111"}"#,
            r#"{"note":"\u0034111111111111111"}"#,
            "4111111111111111, and no JSON at all",
        ] {
            let hashed = without_card_numbers(body.as_bytes());
            assert!(!hashed.iter().any(u8::is_ascii_digit), "{body}");
            assert_eq!(hashed.len(), body.len());
        }
        let ordinary = br#"{"Amount":"12.40","Order":"2026-000123","Note":"caf\u00e9"}"#;
        assert_eq!(without_card_numbers(ordinary), ordinary);
    }
}
