//! `POST /v1/session` opens an agent assist session, `POST /v1/digitalsession` one that is paid by a link.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use hushpad_domain::account::Kind;
use hushpad_domain::client::Principal;
use hushpad_domain::ids::{AgentId, CallGuid, ConfigurationId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::link::PaymentLinkUrl;
use hushpad_domain::open_session::{Doors, OpenRequest, Opened, open_digital_session, open_session};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::text::holds_card_number;
use serde::Serialize;
use serde_json::json;

use super::Api;
use super::endpoint::{Endpoint, Operation};
use super::idempotency::Promised;
use super::json::{Object, json_reply, read_json};
use crate::WebParts;
use crate::error::ApiError;
use crate::mistakes::{Mistake, Mistakes};
use crate::tokens::{PageId, issue_page_pair};

/// Longer than any login name.
pub(super) const AGENT_CHARS_MAX: usize = 128;

/// This file's endpoints.
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
    let digital = Operation::new(
        "createDigitalSession",
        "Create a digital session: the payer gets a link. It goes to CustomerPhoneNumber or Email in paymentData where \
         the account has a sender for that; else the caller passes paymentLinkUrl on.",
    )
    .body(
        "CreateDigitalSession",
        &json!({
            "accountConfigurationId": 1,
            "paymentData": {
                "Amount": "12.40",
                "Currency": "GBP",
                "MerchantReferenceCode": "ORDER-7",
                "CustomerPhoneNumber": "+442079460958",
            },
        }),
    )
    .ok("The session, with its link", "CreatedSession")
    .refusals(&[400, 408, 409, 413, 415, 422]);
    vec![
        Endpoint::post("/v1/session", create_session, operation),
        Endpoint::post("/v1/digitalsession", create_digital_session, digital),
    ]
}

/// Opens the session; the reply means that its call is ready for capture.
pub(super) async fn create_session(
    api: State<Arc<Api>>,
    principal: Extension<Principal>,
    request: Request,
) -> Result<Response, ApiError> {
    create(api, principal, request, Kind::AgentAssist).await
}

/// Opens the session; the reply means that its link can be opened.
async fn create_digital_session(
    api: State<Arc<Api>>,
    principal: Extension<Principal>,
    request: Request,
) -> Result<Response, ApiError> {
    create(api, principal, request, Kind::Digital).await
}

async fn create(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    request: Request,
    kind: Kind,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let body = read_json(&head.headers, body).await?;
    let parts = &api.parts;
    let promised = head.extensions.get().map(|Promised(session)| *session);
    let session = promised.unwrap_or_else(|| SessionGuid(parts.world.guid()));
    let request = read_request(session, &body)?;
    let page_life = page_life(parts, &principal, request.configuration);
    let doors = Doors {
        directory: &parts.directory,
        sessions: &*parts.sessions,
        calls: &*parts.calls,
        secure_side: &*parts.secure_side,
        world: &*parts.world,
    };
    let opened = match kind {
        Kind::AgentAssist => open_session(doors, &principal, request).await?,
        Kind::Digital => open_digital_session(doors, &principal, request).await?,
    };
    let (access, refresh) = issue_page_pair(parts, PageId::Payment(opened.provider), page_life);
    Ok(reply(parts, &opened, &access, &refresh))
}

/// Every mistake in the body is told at once.
fn read_request(session: SessionGuid, body: &[u8]) -> Result<OpenRequest, ApiError> {
    let object = Object::parse(body)?;
    let mut mistakes = Mistakes::default();
    // Unknown fields are ignored, but a card number in one is a mistake that must come out at once.
    for name in object.card_numbers() {
        mistakes.add(Mistake::card(name.as_slice(), "a text in the body holds a card number"));
    }
    let agent = mistakes.take(object.text("agentId")).flatten().filter(|agent| !agent.is_empty());
    if agent.as_deref().is_some_and(|agent| object.is_number("agentId") && holds_card_number(agent)) {
        mistakes.add(Mistake::card(&["agentId"], "agentId holds a card number"));
    }
    if agent.as_deref().is_some_and(is_no_agent) {
        mistakes.add(Mistake::shape(&["agentId"], "agentId is too long or holds a control character"));
    }
    let configuration = mistakes.take(object.number("accountConfigurationId")).flatten();
    let skip_call_transfer = mistakes.take(object.boolean("skipCallTransfer")).flatten();
    let payment_data = match mistakes.take(object.object("paymentData")) {
        Some(Some(data)) => data.texts("paymentData", &mut mistakes),
        Some(None) => {
            mistakes.add(Mistake::shape(&["paymentData"], "paymentData is missing"));
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    };
    if !mistakes.is_empty() {
        if !payment_data.is_empty()
            && let Err(more) = PaymentData::new(payment_data)
        {
            mistakes.extend(&more);
        }
        return Err(mistakes.into());
    }
    Ok(OpenRequest {
        session,
        agent: agent.map(AgentId),
        configuration: configuration.map(ConfigurationId),
        payment_data,
        skip_call_transfer: skip_call_transfer.unwrap_or(false),
    })
}

/// Whether this is no agent's id by its form.
pub(super) fn is_no_agent(agent: &str) -> bool {
    agent.chars().count() > AGENT_CHARS_MAX || agent.chars().any(char::is_control)
}

/// How long the session may last by its configuration; no matter when there is none, as no session opens.
fn page_life(parts: &WebParts, principal: &Principal, asked: Option<ConfigurationId>) -> std::time::Duration {
    let account = parts.directory.account(&principal.account);
    let configuration =
        account.and_then(|account| account.configuration(asked.unwrap_or(account.default_configuration)));
    configuration.map_or_else(Default::default, |configuration| match configuration.kind {
        Kind::AgentAssist => configuration.flow.session_time_out,
        Kind::Digital => configuration.link_life,
    })
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
    #[serde(skip_serializing_if = "Option::is_none")]
    payment_link_url: Option<&'a str>,
}

fn reply(parts: &WebParts, opened: &Opened, access: &str, refresh: &str) -> Response {
    let form_url = PageId::Payment(opened.provider).url(&parts.settings);
    json_reply(&CreatedSession {
        session_guid: opened.session,
        agent_access_token: access,
        agent_refresh_token: refresh,
        iframe_url: format!("{form_url}/framed"),
        provider_session_guid: opened.provider,
        payment_form_url: &form_url,
        call_guid: opened.call,
        payment_link_url: opened.link.as_ref().map(PaymentLinkUrl::reveal),
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
