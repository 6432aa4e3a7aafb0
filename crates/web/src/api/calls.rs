//! `/v1/calls`: the live calls, and how one is tied to its agent when it came by a trunk.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use hushpad_domain::client::Principal;
use hushpad_domain::ids::{AgentId, CallGuid, ConfigurationId, LinkPageGuid};
use hushpad_domain::open_session::{OpenError, configuration_of};
use hushpad_domain::ports::{BindError, LiveCall};
use hushpad_domain::text::holds_card_number;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Api;
use super::create::is_no_agent;
use super::endpoint::{Endpoint, Operation};
use super::json::{Object, json_reply, read_json};
use crate::error::ApiError;
use crate::link_pages::{LINK_PAGE_LIFE, Owner};
use crate::mistakes::Mistake;
use crate::tokens::{PageId, issue_page_pair};

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
         sip:<code>@. It works once; one asked for before ends. Its page shows it to the agent and says when it has \
         tied a call; it is opened as a session's page is.",
    )
    .body("LinkCodeRequest", &example)
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
    let mut all = vec![
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
            "BoundCall",
            json!({
                "type": "object",
                "required": ["callGuid", "agentId"],
                "properties": {"callGuid": guid, "agentId": text},
            }),
        ),
    ];
    all.extend(link_code_schemas());
    all
}

fn link_code_schemas() -> [(&'static str, Value); 2] {
    [
        (
            "LinkCodeRequest",
            json!({
                "type": "object",
                "properties": {
                    "agentId": {
                        "type": ["string", "number", "null"],
                        "description": "Needed unless the token is an agent's own.",
                    },
                    "accountConfigurationId": {
                        "type": ["integer", "null"],
                        "minimum": 0,
                        "description": "Whose allowed origins may frame the page; the account's default without it.",
                    },
                },
            }),
        ),
        (
            "LinkCode",
            json!({
                "type": "object",
                "required": [
                    "code", "expiresOn", "iframeUrl", "pageUrl", "agentAccessToken", "agentRefreshToken",
                ],
                "properties": {
                    "code": {"type": "string", "pattern": "^[*][0-9]{6}$"},
                    "expiresOn": {"type": "string", "format": "date-time"},
                    "iframeUrl": {"type": "string", "description": "The code's page, for a frame."},
                    "pageUrl": {"type": "string", "description": "The same page, for a window of its own."},
                    "agentAccessToken": {"type": "string", "description": "Opens the page once, within 5 minutes."},
                    "agentRefreshToken": {"type": "string", "description": "Opens it once more, within an hour."},
                },
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
    let body = body_of(request).await?;
    let agent = agent_of(&api, &principal, &Object::parse(&body)?)?;
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
    let body = body_of(request).await?;
    let object = Object::parse(&body)?;
    let agent = agent_of(&api, &principal, &object)?;
    let asked = object.number("accountConfigurationId")?.map(ConfigurationId);
    let parts = &api.parts;
    let account = parts.directory.account(&principal.account);
    let configuration = configuration_of(account, &principal, asked)?.id;
    let code = parts.calls.link_code(&principal.account, &agent).ok_or(ApiError::NoLinkCode)?;
    let (shown, expires_on) = (code.code.clone(), code.expires_on.to_string());
    let guid = LinkPageGuid(parts.world.guid());
    let owner = Owner { account: principal.account.clone(), agent, configuration };
    if !parts.link_pages.open(guid, owner, code, parts.world.now()) {
        return Err(ApiError::NoLinkCode);
    }
    let page = PageId::Link(guid);
    let (access, refresh) = issue_page_pair(parts, page, LINK_PAGE_LIFE);
    let page_url = page.url(&parts.settings);
    Ok(json_reply(&json!({
        "code": shown,
        "expiresOn": expires_on,
        "iframeUrl": format!("{page_url}/framed"),
        "pageUrl": page_url,
        "agentAccessToken": access,
        "agentRefreshToken": refresh,
    })))
}

async fn body_of(request: Request) -> Result<Bytes, ApiError> {
    let (head, body) = request.into_parts();
    read_json(&head.headers, body).await
}

/// The agent that the body names, or the token.
fn agent_of(api: &Api, principal: &Principal, body: &Object<'_>) -> Result<AgentId, ApiError> {
    let named = body.text("agentId")?.filter(|agent| !agent.is_empty());
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
