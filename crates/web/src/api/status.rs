//! `GET /v1/session/{guid}`, and its cancelling.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Path, State};
use axum::response::Response;
use http::request::Parts;
use hushpad_domain::attempt::{Attempt, AttemptState, Check, Checks, Verdict};
use hushpad_domain::client::Principal;
use hushpad_domain::ids::SessionGuid;
use hushpad_domain::page::AgentAction;
use hushpad_domain::ports::{ActError, CommitError, StoreUnavailable};
use hushpad_domain::session::{Session, WrongState};
use hushpad_domain::time::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Api;
use super::endpoint::{Endpoint, Operation};
use super::idempotency::KeptBody;
use super::json::json_text;
use super::operations::operations;
use crate::error::ApiError;

/// This file's endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let status = Operation::new(
        "sessionStatus",
        "The session's status. paymentResultData is given out until 15 minutes after its end.",
    )
    .ok("The status", "SessionStatus")
    .refusals(&[404]);
    let cancel = Operation::new("cancelSession", "End a session that has sent nothing to a gateway.")
        .ok("The status", "SessionStatus")
        .refusals(&[400, 404, 408, 409, 413, 422]);
    vec![
        Endpoint::get("/v1/session/{guid}", session_status, status),
        Endpoint::post("/v1/session/{guid}/cancel", cancel_session, cancel),
    ]
}

/// The session as it stands.
pub(super) async fn session_status(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    SessionPath(guid): SessionPath,
) -> Result<Response, ApiError> {
    let session = find(&api, &principal, guid).await?;
    Ok(json_text(status_body(&session, api.parts.world.now())))
}

/// Ends a session that has sent nothing to a gateway.
pub(super) async fn cancel_session(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    SessionPath(guid): SessionPath,
) -> Result<Response, ApiError> {
    let session = find(&api, &principal, guid).await?;
    if session.has_ended() {
        return Err(ApiError::Ended);
    }
    if session.attempts.iter().any(|attempt| !matches!(attempt.state, AttemptState::NotSent { .. })) {
        return Err(ApiError::AttemptSent);
    }
    match api.parts.secure_side.act(session.provider, AgentAction::Cancel).await {
        Ok(()) => {}
        Err(ActError::Unavailable) => {
            return Err(ApiError::Store(StoreUnavailable(ActError::Unavailable.to_string())));
        }
        Err(ActError::NotNow | ActError::NoLiveCall(_) | ActError::CallTaken | ActError::NoLink) => {
            return Err(ApiError::AttemptSent);
        }
        // No task runs it any more, as after a restart: nobody else would end it.
        Err(ActError::Gone) => cancel_here(&api, session).await?,
    }
    let session = find(&api, &principal, guid).await?;
    let mut response = json_text(status_body(&session, api.parts.world.now()));
    // A kept answer outlives paymentResultData, and so must not hold it.
    response.extensions_mut().insert(KeptBody(status(&session, false).to_string()));
    Ok(response)
}

async fn cancel_here(api: &Api, session: Session) -> Result<(), ApiError> {
    let change = session.cancel(api.parts.world.now()).map_err(|wrong| match wrong {
        WrongState::Ended => ApiError::Ended,
        WrongState::Processing
        | WrongState::NoAttempt
        | WrongState::AttemptsUsedUp
        | WrongState::NoLink
        | WrongState::LinksUsedUp => ApiError::AttemptSent,
    })?;
    api.parts.sessions.commit(change).await.map_err(|error| match error {
        CommitError::Conflict | CommitError::CallTaken => ApiError::Conflict,
        CommitError::Fenced => ApiError::Store(StoreUnavailable(error.to_string())),
        CommitError::Unavailable(unavailable) => ApiError::Store(unavailable),
    })
}

/// The guid in a path. What is no guid is not there, like what is another account's.
pub(super) struct SessionPath(pub(super) SessionGuid);

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let guid = text.ok().and_then(|Path(text)| Uuid::try_parse(&text).ok());
        guid.map(|guid| Self(SessionGuid(guid))).ok_or(ApiError::NoSuchSession)
    }
}

/// The account's session with this guid.
pub(super) async fn find(api: &Api, principal: &Principal, guid: SessionGuid) -> Result<Session, ApiError> {
    let found = api.parts.sessions.session(&principal.account, guid).await?;
    found.ok_or(ApiError::NoSuchSession)
}

/// The body of `GET /v1/session/{guid}` at `now`. A webhook carries the same.
#[must_use]
pub fn status_body(session: &Session, now: Timestamp) -> String {
    status(session, session.result_is_kept(now)).to_string()
}

/// The published reply; without what is past its retention unless that is still `kept`.
pub(super) fn status(session: &Session, kept: bool) -> Value {
    let mut body = json!({
        "sessionGuid": session.guid,
        "providerSessionGuid": session.provider,
        "callGuid": session.call,
        "sessionState": session.state_name(),
        "createdOn": session.created_on.to_string(),
        "lastUpdatedOn": session.updated_on.to_string(),
        "outcome": session.outcome().word(),
        "attempts": session.attempts.iter().map(|made| attempt(made, kept)).collect::<Vec<_>>(),
    });
    if let (true, Some(members)) = (kept, body.as_object_mut()) {
        members.insert("paymentResultData".to_owned(), json!(payment_result_data(session)));
    }
    // Who never asks for links never sees these.
    if let (true, Some(members)) = (session.links > 0, body.as_object_mut()) {
        members.insert("channel".to_owned(), json!(session.link().map_or("keypad", |_| "link")));
        if let Some(link) = session.link() {
            let expires_on = link.expires_on.to_string();
            let link = json!({"number": link.no, "state": link.state.word(), "expiresOn": expires_on});
            members.insert("link".to_owned(), link);
        }
    }
    body
}

/// What came in `paymentData`, under what the gateway said last. The gateway's spelling of a name wins.
fn payment_result_data(session: &Session) -> BTreeMap<&str, &str> {
    let mut data: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in session.payment_data.values() {
        data.insert(name, value);
    }
    // What was given back is never shown as the payment's result.
    let stands = |attempt: &&Attempt| !attempt.was_turned_back();
    let answer = session.attempts.iter().rev().filter(stands).find_map(Attempt::answer);
    for (name, value) in answer.into_iter().flat_map(|answer| &answer.result) {
        data.retain(|echoed, _| !echoed.eq_ignore_ascii_case(name));
        data.insert(name, value);
    }
    data
}

/// One attempt (ours): enough to know what became of it without reading a gateway's own fields.
fn attempt(attempt: &Attempt, kept: bool) -> Value {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("attempt", json!(attempt.no));
    put("state", json!(attempt_word(attempt)));
    put("amount", json!(attempt.amount.decimal()));
    put("currency", json!(attempt.amount.currency().code()));
    put("gateway", json!(attempt.gateway));
    put("createdOn", json!(attempt.intended_on.to_string()));
    put("lastUpdatedOn", json!(attempt.updated_on.to_string()));
    if let (Some(answer), true) = (attempt.answer(), kept) {
        put("gatewayReference", json!(answer.gateway_reference));
        if let Some(card) = &answer.card {
            let brand = card.brand().map(|brand| brand.title());
            put("card", json!({"brand": brand, "first6": card.first6(), "last4": card.last4()}));
        }
        put("checks", json!(checks(answer.checks)));
        if let Some(stored) = &answer.stored {
            let id = stored.network_transaction_id.as_deref();
            put("storedCard", json!({"token": stored.token, "networkTransactionId": id}));
        }
    }
    if !attempt.operations.is_empty() {
        put("operations", json!(operations(attempt)));
    }
    Value::Object(body)
}

/// What the issuer said of what was keyed and given.
fn checks(checks: Checks) -> Value {
    let word = |check| match check {
        Check::Match => "match",
        Check::NoMatch => "noMatch",
        Check::NotChecked => "notChecked",
    };
    json!({
        "address": word(checks.address),
        "postcode": word(checks.postcode),
        "securityCode": word(checks.security_code),
    })
}

fn attempt_word(attempt: &Attempt) -> &'static str {
    match &attempt.state {
        AttemptState::Answered { .. } if attempt.is_reversing() => "reversing",
        AttemptState::Answered { .. } if attempt.was_turned_back() => "reversed",
        AttemptState::Intent | AttemptState::Confirming { .. } => "processing",
        AttemptState::Challenged { .. } => "challenged",
        AttemptState::NotSent { .. } => "notSent",
        AttemptState::Unknown { .. } => "unknown",
        AttemptState::NotCharged { .. } => "notCharged",
        AttemptState::Answered { answer, .. } => match answer.verdict {
            Verdict::Approved => "approved",
            Verdict::Partial { .. } => "partial",
            Verdict::Review => "review",
            Verdict::Pending => "pending",
            Verdict::Declined { .. } => "declined",
        },
    }
}
