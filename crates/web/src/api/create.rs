//! `POST /v1/session`: opens an agent assist session.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use hushpad_domain::client::Principal;
use hushpad_domain::ids::{AgentId, CallGuid, ConfigurationId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::open_session::{Doors, OpenRequest, Opened, open_session};
use hushpad_domain::text::holds_card_number;
use serde::Serialize;
use serde_json::json;

use super::Api;
use super::endpoint::{Endpoint, Operation};
use super::idempotency::Promised;
use super::json::{Object, json_reply, read_json};
use crate::WebParts;
use crate::error::ApiError;
use crate::tokens::issue_page_pair;

/// Longer than any login name.
const AGENT_CHARS_MAX: usize = 128;

/// This file's endpoint.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let operation = Operation::new(
        "createSession",
        "Create an agent assist session. The reply means that the call is ready for capture.",
    )
    .body(
        "CreateSession",
        &json!({
            "agentId": "agent1234",
            "accountConfigurationId": 0,
            "paymentData": {
                "FirstName": "Jo",
                "Surname": "Smith",
                "Amount": "12.40",
                "Currency": "GBP",
                "MerchantReferenceCode": "ORDER-7",
            },
        }),
    )
    .ok("The session", "CreatedSession")
    .refusals(&[400, 404, 408, 409, 413, 415, 422, 502, 503, 504]);
    vec![Endpoint::post("/v1/session", create_session, operation)]
}

/// Opens the session; the reply means that its call is ready for capture.
pub(super) async fn create_session(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let body = read_json(&head.headers, body).await?;
    let parts = &api.parts;
    let promised = head.extensions.get().map(|Promised(session)| *session);
    let session = promised.unwrap_or_else(|| SessionGuid(parts.world.guid()));
    let request = read_request(session, &body)?;
    let session_life = session_life(parts, &principal, request.configuration);
    let doors = Doors {
        directory: &parts.directory,
        sessions: &*parts.sessions,
        calls: &*parts.calls,
        secure_side: &*parts.secure_side,
        world: &*parts.world,
    };
    let opened = open_session(doors, &principal, request).await?;
    let (access, refresh) = issue_page_pair(parts, opened.provider, session_life);
    Ok(reply(parts, opened, &access, &refresh))
}

fn read_request(session: SessionGuid, body: &[u8]) -> Result<OpenRequest, ApiError> {
    let object = Object::parse(body)?;
    // Unknown fields are ignored, but a card number in one is a mistake that must come out at once.
    if object.strings().any(|text| holds_card_number(&text)) {
        return Err(ApiError::CardNumber("a text in the body"));
    }
    let agent = object.text("agentId")?.filter(|agent| !agent.is_empty());
    if let Some(agent) = &agent {
        check_agent(agent)?;
    }
    let payment_data = object
        .object("paymentData")?
        .ok_or(ApiError::Malformed("paymentData is missing".into()))?
        .texts("paymentData")?;
    Ok(OpenRequest {
        session,
        agent: agent.map(AgentId),
        configuration: object.number("accountConfigurationId")?.map(ConfigurationId),
        payment_data,
        skip_call_transfer: object.boolean("skipCallTransfer")?.unwrap_or(false),
    })
}

fn check_agent(agent: &str) -> Result<(), ApiError> {
    if holds_card_number(agent) {
        return Err(ApiError::CardNumber("agentId"));
    }
    if agent.chars().count() > AGENT_CHARS_MAX || agent.chars().any(char::is_control) {
        return Err(ApiError::Malformed("agentId is too long or holds a control character".into()));
    }
    Ok(())
}

/// How long the session may last by its configuration; no matter when there is none, as no session opens.
fn session_life(
    parts: &WebParts,
    principal: &Principal,
    asked: Option<ConfigurationId>,
) -> std::time::Duration {
    let account = parts.directory.account(&principal.account);
    let configuration =
        account.and_then(|account| account.configuration(asked.unwrap_or(account.default_configuration)));
    configuration.map(|configuration| configuration.flow.session_time_out).unwrap_or_default()
}

/// The published reply, with our additions at its end.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CreatedSession<'a> {
    session_guid: SessionGuid,
    agent_access_token: &'a str,
    agent_refresh_token: &'a str,
    iframe_url: String,
    provider_session_guid: ProviderSessionGuid,
    payment_form_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_guid: Option<CallGuid>,
}

fn reply(parts: &WebParts, opened: Opened, access: &str, refresh: &str) -> Response {
    let form_url = format!("{}/view/{}", parts.settings.page_base_url, opened.provider);
    json_reply(&CreatedSession {
        session_guid: opened.session,
        agent_access_token: access,
        agent_refresh_token: refresh,
        iframe_url: format!("{form_url}/framed"),
        provider_session_guid: opened.provider,
        payment_form_url: &form_url,
        call_guid: opened.call,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionGuid = SessionGuid(uuid::Uuid::nil());

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = read_request(SESSION, &bytes);
        }

        #[test]
        fn any_json_like_text_is_read_without_a_panic(
            text in r#"\{("(agentId|paymentData|skipCallTransfer|x)":(1e9|"\\u[0-9a-f]{4}"|\{"Amount":[0-9.]{1,5}\}|null|\[1\]),?){0,4}\}"#,
        ) {
            let _ = read_request(SESSION, text.as_bytes());
        }
    }
}
