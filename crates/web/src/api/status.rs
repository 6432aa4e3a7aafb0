//! `GET /v1/session/{guid}`, its events, and its cancelling.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use hushpad_domain::attempt::{Attempt, AttemptState, Verdict};
use hushpad_domain::client::Principal;
use hushpad_domain::event::Event;
use hushpad_domain::ids::SessionGuid;
use hushpad_domain::page::AgentAction;
use hushpad_domain::ports::{ActError, CommitError, StoreUnavailable};
use hushpad_domain::session::{Session, WrongState};
use hushpad_domain::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Api;
use super::idempotency::KeptBody;
use crate::error::ApiError;

/// The session as it stands.
pub(super) async fn session_status(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    SessionPath(guid): SessionPath,
) -> Result<Response, ApiError> {
    let session = find(&api, &principal, guid).await?;
    Ok(reply(status_body(&session, api.parts.world.now())))
}

/// Where to go on reading events.
#[derive(Deserialize)]
pub(super) struct EventsQuery {
    /// The number of the last event that is known.
    #[serde(default)]
    after: u32,
}

/// The session's event log.
pub(super) async fn session_events(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    SessionPath(guid): SessionPath,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) =
        query.map_err(|_| ApiError::Malformed("after must be a whole number of at least 0".into()))?;
    let session = find(&api, &principal, guid).await?;
    let events = api.parts.sessions.events(&principal.account, session.guid, query.after).await?;
    let events: Vec<Value> = events.iter().map(event).collect();
    Ok(reply(json!({ "sessionGuid": session.guid, "events": events }).to_string()))
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
        Err(ActError::NotNow) => return Err(ApiError::AttemptSent),
        // No task runs it any more, as after a restart: nobody else would end it.
        Err(ActError::Gone) => cancel_here(&api, session).await?,
    }
    let session = find(&api, &principal, guid).await?;
    let mut response = reply(status_body(&session, api.parts.world.now()));
    // A kept answer outlives paymentResultData, and so must not hold it.
    response.extensions_mut().insert(KeptBody(status(&session, false).to_string()));
    Ok(response)
}

async fn cancel_here(api: &Api, session: Session) -> Result<(), ApiError> {
    let change = session.cancel(api.parts.world.now()).map_err(|wrong| match wrong {
        WrongState::Ended => ApiError::Ended,
        WrongState::Processing | WrongState::NoAttempt | WrongState::AttemptsUsedUp => ApiError::AttemptSent,
    })?;
    api.parts.sessions.commit(change).await.map_err(|error| match error {
        CommitError::Conflict | CommitError::CallTaken => ApiError::Conflict,
        CommitError::Fenced => ApiError::Store(StoreUnavailable(error.to_string())),
        CommitError::Unavailable(unavailable) => ApiError::Store(unavailable),
    })
}

/// The guid in a path. What is no guid is not there, like what is another account's.
pub(super) struct SessionPath(SessionGuid);

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let guid = text.ok().and_then(|Path(text)| Uuid::try_parse(&text).ok());
        guid.map(|guid| Self(SessionGuid(guid))).ok_or(ApiError::NoSuchSession)
    }
}

/// The account's session with this guid.
async fn find(api: &Api, principal: &Principal, guid: SessionGuid) -> Result<Session, ApiError> {
    let found = api.parts.sessions.session(&principal.account, guid).await?;
    found.ok_or(ApiError::NoSuchSession)
}

/// The body of `GET /v1/session/{guid}` at `now`. A webhook carries the same.
#[must_use]
pub fn status_body(session: &Session, now: Timestamp) -> String {
    status(session, session.result_is_kept(now)).to_string()
}

/// The published reply; without what is past its retention unless that is still `kept`.
fn status(session: &Session, kept: bool) -> Value {
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
    body
}

/// What came in `paymentData`, under what the gateway said last. The gateway's spelling of a name wins.
fn payment_result_data(session: &Session) -> BTreeMap<&str, &str> {
    let mut data: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in session.payment_data.values() {
        data.insert(name, value);
    }
    let answer = session.attempts.iter().rev().find_map(Attempt::answer);
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
    put("state", json!(attempt_word(&attempt.state)));
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
    }
    Value::Object(body)
}

fn attempt_word(state: &AttemptState) -> &'static str {
    match state {
        AttemptState::Intent => "processing",
        AttemptState::NotSent { .. } => "notSent",
        AttemptState::Unknown { .. } => "unknown",
        AttemptState::NotCharged => "notCharged",
        AttemptState::Answered { answer, .. } => match answer.verdict {
            Verdict::Approved => "approved",
            Verdict::Partial { .. } => "partial",
            Verdict::Review => "review",
            Verdict::Pending => "pending",
            Verdict::Declined { .. } => "declined",
        },
    }
}

fn event(event: &Event) -> Value {
    let mut body = json!(event.kind);
    if let Some(members) = body.as_object_mut() {
        members.insert("seq".to_owned(), json!(event.seq));
        members.insert("at".to_owned(), json!(event.at.to_string()));
    }
    body
}

fn reply(body: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
