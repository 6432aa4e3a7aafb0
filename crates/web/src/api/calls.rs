//! `/v1/calls`: the live calls, and how one is tied to its agent when it came by a trunk.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use hushpad_domain::client::Principal;
use hushpad_domain::ids::{AgentId, CallGuid};
use hushpad_domain::open_session::OpenError;
use hushpad_domain::ports::{BindError, LiveCall};
use hushpad_domain::text::holds_card_number;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Api;
use super::create::is_no_agent;
use super::endpoint::{Endpoint, Operation};
use super::json::{Object, json_reply, read_json};
use crate::error::ApiError;
use crate::mistakes::Mistake;

/// This file's endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let example = json!({"agentId": "agent1234"});
    let list = Operation::new(
        "calls",
        "The account's live calls, ringing ones included. An agent's own token sees that agent's and those that are \
         nobody's yet.",
    )
    .ok("The calls, the oldest first", "Calls");
    let link_code = Operation::new(
        "linkCode",
        "Get a code that ties a call to the agent: keyed on the agent's phone during the call, or dialled as \
         sip:<code>@. It works once; one asked for before ends.",
    )
    .body("AgentOnly", &example)
    .ok("The code", "LinkCode")
    .refusals(&[400, 404, 408, 409, 413, 415, 422]);
    let bind = Operation::new(
        "bindAgent",
        "Tie an answered call to an agent. An open session on it goes on as it is.",
    )
    .body("AgentOnly", &example)
    .ok("Tied", "BoundCall")
    .refusals(&[400, 404, 408, 409, 413, 415]);
    vec![
        Endpoint::get("/v1/calls", list_calls, list),
        Endpoint::post("/v1/calls/link-code", issue_link_code, link_code),
        Endpoint::put("/v1/calls/{guid}/agent", bind_agent, bind),
    ]
}

/// The schemas that its operations name.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let text = json!({"type": "string"});
    let guid = json!({"type": "string", "format": "uuid"});
    let moment = json!({"type": "string", "format": "date-time"});
    let call = json!({
        "type": "object",
        "required": ["callGuid", "agentId", "state", "since"],
        "properties": {
            "callGuid": guid,
            "agentId": {
                "type": ["string", "null"],
                "description": "Null when the call came by a trunk and is nobody's yet.",
            },
            "state": {"enum": ["ringing", "answered"]},
            "since": moment,
            "caller": {
                "type": "string",
                "description": "Who calls; only where the account is configured to see it.",
            },
        },
    });
    vec![
        (
            "AgentOnly",
            json!({
                "type": "object",
                "properties": {
                    "agentId": {
                        "type": ["string", "number", "null"],
                        "description": "Needed unless the token is an agent's own.",
                    },
                },
            }),
        ),
        (
            "Calls",
            json!({
                "type": "object",
                "required": ["calls"],
                "properties": {"calls": {"type": "array", "items": call}},
            }),
        ),
        (
            "LinkCode",
            json!({
                "type": "object",
                "required": ["code", "expiresOn"],
                "properties": {"code": {"type": "string", "pattern": "^[*][0-9]{6}$"}, "expiresOn": moment},
            }),
        ),
        (
            "BoundCall",
            json!({
                "type": "object",
                "required": ["callGuid", "agentId"],
                "properties": {"callGuid": guid, "agentId": text},
            }),
        ),
    ]
}

/// The account's live calls. An agent's own token sees that agent's, and those that are nobody's yet.
pub(super) async fn list_calls(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
) -> Response {
    let mut calls = api.parts.calls.calls(&principal.account);
    if let Some(own) = &principal.agent {
        calls.retain(|call| call.agent.as_ref().is_none_or(|agent| agent == own));
    }
    let calls: Vec<_> = calls.iter().map(told).collect();
    json_reply(&json!({ "calls": calls }))
}

/// Ties a call to an agent.
pub(super) async fn bind_agent(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    Path(guid): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let agent = agent_of(&api, &principal, request).await?;
    let call = Uuid::try_parse(&guid).map(CallGuid).map_err(|_| ApiError::Bind(BindError::NoSuchCall))?;
    // An agent's own token takes no call from another agent.
    let only_if_free = principal.agent.is_some();
    api.parts.calls.bind(&principal.account, call, &agent, only_if_free).await?;
    Ok(json_reply(&json!({ "callGuid": call, "agentId": agent })))
}

/// A code that the agent keys during the call.
pub(super) async fn issue_link_code(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, ApiError> {
    let agent = agent_of(&api, &principal, request).await?;
    let code = api.parts.calls.link_code(&principal.account, &agent).ok_or(ApiError::NoLinkCode)?;
    Ok(json_reply(&json!({ "code": code.code, "expiresOn": code.expires_on.to_string() })))
}

/// The agent that the body names, or the token.
async fn agent_of(api: &Api, principal: &Principal, request: Request) -> Result<AgentId, ApiError> {
    let (head, body) = request.into_parts();
    let body = read_json(&head.headers, body).await?;
    let named = Object::parse(&body)?.text("agentId")?.filter(|agent| !agent.is_empty());
    if let Some(agent) = &named {
        if holds_card_number(agent) {
            return Err(Mistake::card(&["agentId"], "agentId holds a card number").into());
        }
        if is_no_agent(agent) {
            return Err(
                Mistake::shape(&["agentId"], "agentId is too long or holds a control character").into()
            );
        }
    }
    let agent = match (&principal.agent, named.map(AgentId)) {
        (None, None) => return Err(OpenError::AgentMissing.into()),
        (Some(own), Some(agent)) if *own != agent => return Err(OpenError::OtherAgent.into()),
        (Some(own), _) => own.clone(),
        (None, Some(agent)) => agent,
    };
    let account = api.parts.directory.account(&principal.account);
    if !account.is_some_and(|account| account.knows(&agent)) {
        return Err(OpenError::AgentUnknown.into());
    }
    Ok(agent)
}

fn told(call: &LiveCall) -> Value {
    let mut body = json!({
        "callGuid": call.guid,
        "agentId": call.agent,
        "state": if call.answered { "answered" } else { "ringing" },
        "since": call.since.to_string(),
    });
    if let (Some(caller), Some(members)) = (&call.caller, body.as_object_mut()) {
        members.insert("caller".to_owned(), json!(caller));
    }
    body
}
