//! `POST /v1/session/{guid}/link`, `/link/revoke`, `/keypad`: a session moves between keypad and payment link.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::Response;
use hushpad_domain::client::Principal;
use hushpad_domain::ids::AgentId;
use hushpad_domain::link::PaymentLinkUrl;
use hushpad_domain::open_session::OpenError;
use hushpad_domain::page::AgentAction;
use hushpad_domain::ports::{ActError, StoreUnavailable};
use hushpad_domain::session::Session;
use hushpad_domain::text::holds_card_number;
use serde_json::{Value, json};

use super::Api;
use super::create::is_no_agent;
use super::endpoint::{Endpoint, Operation};
use super::idempotency::KeptBody;
use super::json::{BODY_BYTES_MAX, Object, json_reply, json_text, read_json};
use super::read_body;
use super::status::{SessionPath, find, status, status_body};
use crate::error::ApiError;
use crate::mistakes::Mistake;

/// This file's endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let issue = Operation::new(
        "issueLink",
        "Make a payment link the way to pay, in place of the keypad, or renew it: links before it are worthless then. \
         The session and its amount stay. Its call goes on, and is not secured any more.",
    )
    .ok("The new link", "PaymentLink")
    .refusals(&[400, 404, 408, 409, 413, 422]);
    let revoke = Operation::new(
        "revokeLink",
        "Make the payment link worthless. The session stays open: a new link can be issued, or the keypad be taken.",
    )
    .ok("The status", "SessionStatus")
    .refusals(&[400, 404, 408, 409, 413, 422]);
    let keypad = Operation::new(
        "takeByKeypad",
        "Take the payment by keypad, on the live call of an agent, in place of the link. When this is answered, the \
         call is ready for capture.",
    )
    .body("TakeByKeypad", &json!({"agentId": "agent1234"}))
    .ok("The status", "SessionStatus")
    .refusals(&[400, 404, 408, 409, 413, 415, 422]);
    vec![
        Endpoint::post("/v1/session/{guid}/link", issue_link, issue),
        Endpoint::post("/v1/session/{guid}/link/revoke", revoke_link, revoke),
        Endpoint::post("/v1/session/{guid}/keypad", take_by_keypad, keypad),
    ]
}

/// The schemas that its operations name.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let guid = json!({"type": "string", "format": "uuid"});
    let moment = json!({"type": "string", "format": "date-time"});
    vec![
        (
            "PaymentLink",
            json!({
                "type": "object",
                "required": ["sessionGuid", "paymentLinkUrl", "expiresOn"],
                "properties": {
                    "sessionGuid": guid,
                    "paymentLinkUrl": {
                        "type": "string",
                        "format": "uri",
                        "description": "Who has it may pay: pass it on to the payer only, and log it nowhere.",
                    },
                    "expiresOn": moment,
                },
            }),
        ),
        (
            "TakeByKeypad",
            json!({
                "type": "object",
                "properties": {
                    "agentId": {
                        "type": ["string", "number", "null"],
                        "maxLength": 128,
                        "description": "Whose live call; without it, of the session's own agent.",
                    },
                },
            }),
        ),
        (
            "LinkStatus",
            json!({
                "type": "object",
                "required": ["number", "state", "expiresOn"],
                "properties": {
                    "number": {"type": "integer", "minimum": 1},
                    "state": {"enum": ["issued", "opened", "revoked"]},
                    "expiresOn": moment,
                },
            }),
        ),
    ]
}

async fn issue_link(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    SessionPath(guid): SessionPath,
) -> Result<Response, ApiError> {
    let session = find(&api, &principal, guid).await?;
    act(&api, &session, AgentAction::IssueLink).await?;
    let session = find(&api, &principal, guid).await?;
    let url = api.parts.secure_side.payment_link(&session);
    let (Some(url), Some(link)) = (url, session.link()) else { return Err(ApiError::Conflict) };
    Ok(json_reply(&json!({
        "sessionGuid": guid,
        "paymentLinkUrl": PaymentLinkUrl::reveal(&url),
        "expiresOn": link.expires_on.to_string(),
    })))
}

async fn revoke_link(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    SessionPath(guid): SessionPath,
) -> Result<Response, ApiError> {
    let session = find(&api, &principal, guid).await?;
    act(&api, &session, AgentAction::RevokeLink).await?;
    reply(&api, &find(&api, &principal, guid).await?)
}

async fn take_by_keypad(State(api): State<Arc<Api>>, request: Request) -> Result<Response, ApiError> {
    let (mut head, body) = request.into_parts();
    let SessionPath(guid) = SessionPath::from_request_parts(&mut head, &()).await?;
    let Extension(principal) =
        Extension::<Principal>::from_request_parts(&mut head, &()).await.map_err(|_| ApiError::Internal)?;
    let body = if head.headers.contains_key(http::header::CONTENT_TYPE) {
        read_json(&head.headers, body).await?
    } else {
        read_body(body, BODY_BYTES_MAX).await?
    };
    let session = find(&api, &principal, guid).await?;
    let agent = whose_call(&principal, &body)?;
    act(&api, &session, AgentAction::TakeByKeypad(agent)).await?;
    reply(&api, &find(&api, &principal, guid).await?)
}

/// The agent whose call is meant: the token's own, or the one that is named.
fn whose_call(principal: &Principal, body: &[u8]) -> Result<Option<AgentId>, ApiError> {
    let named = if body.is_empty() { None } else { Object::parse(body)?.text("agentId")? };
    if named.as_deref().is_some_and(holds_card_number) {
        return Err(Mistake::card(&["agentId"], "agentId holds a card number").into());
    }
    if named.as_deref().is_some_and(is_no_agent) {
        let wrong = "agentId is too long or holds a control character";
        return Err(Mistake::shape(&["agentId"], wrong).into());
    }
    match (&principal.agent, named.filter(|named| !named.is_empty()).map(AgentId)) {
        (Some(own), Some(other)) if *own != other => Err(OpenError::OtherAgent.into()),
        (Some(own), _) => Ok(Some(own.clone())),
        (None, named) => Ok(named),
    }
}

async fn act(api: &Api, session: &Session, action: AgentAction) -> Result<(), ApiError> {
    if session.has_ended() {
        return Err(ApiError::Ended);
    }
    api.parts.secure_side.act(session.provider, action).await.map_err(|error| match error {
        ActError::Gone => ApiError::Ended,
        ActError::NotNow => ApiError::NotNow,
        ActError::NoLiveCall(none) => OpenError::NoLiveCall(none).into(),
        ActError::CallTaken => OpenError::CallTaken.into(),
        ActError::NoLink => ApiError::NoFurtherLink,
        ActError::Unavailable => ApiError::Store(StoreUnavailable(error.to_string())),
    })
}

fn reply(api: &Api, session: &Session) -> Result<Response, ApiError> {
    let mut response = json_text(status_body(session, api.parts.world.now()));
    // A kept answer outlives paymentResultData, and so must not hold it.
    response.extensions_mut().insert(KeptBody(status(session, false).to_string()));
    Ok(response)
}
