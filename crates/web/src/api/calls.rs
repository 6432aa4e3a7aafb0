//! `/v1/calls`: the live calls, and how one is tied to its agent when it came by a trunk.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use hushpad_domain::client::Principal;
use hushpad_domain::ids::{AgentId, CallGuid};
use hushpad_domain::open_session::OpenError;
use hushpad_domain::ports::{BindError, LiveCall};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Api;
use super::create::check_agent;
use super::json::{Object, read_json};
use crate::error::ApiError;

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
    reply(&json!({ "calls": calls }))
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
    Ok(reply(&json!({ "callGuid": call, "agentId": agent })))
}

/// A code that the agent keys during the call.
pub(super) async fn issue_link_code(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, ApiError> {
    let agent = agent_of(&api, &principal, request).await?;
    let code = api.parts.calls.link_code(&principal.account, &agent).ok_or(ApiError::NoLinkCode)?;
    Ok(reply(&json!({ "code": code.code, "expiresOn": code.expires_on.to_string() })))
}

/// The agent that the body names, or the token.
async fn agent_of(api: &Api, principal: &Principal, request: Request) -> Result<AgentId, ApiError> {
    let (head, body) = request.into_parts();
    let body = read_json(&head.headers, body).await?;
    let named = Object::parse(&body)?.text("agentId")?.filter(|agent| !agent.is_empty());
    if let Some(agent) = &named {
        check_agent(agent)?;
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

fn reply(body: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
