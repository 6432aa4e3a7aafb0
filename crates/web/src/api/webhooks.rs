//! `GET /v1/webhooks` and `POST /v1/webhooks/{id}/replay`: dead letters, seen and sent again by the back end itself.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use hushpad_domain::client::Principal;
use hushpad_domain::ids::DeliveryId;
use hushpad_domain::webhook::{Delivery, DeliveryList, DeliveryState, Listed};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Api;
use super::endpoint::{Endpoint, Operation};
use crate::error::ApiError;

/// In one page, at most and unless another number is asked for: some 20 KB.
const LIMIT_MAX: u32 = 100;

/// This file's endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let list = Operation::new(
        "webhooks",
        "The account's webhooks that are given up, or still tried; the oldest first. Not for an agent's own token.",
    )
    .query("state", "Given up, or still tried.", &json!({"enum": ["dead", "due"], "default": "dead"}))
    .query(
        "limit",
        "How many in one page.",
        &json!({"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_MAX}),
    )
    .query("cursor", "What nextCursor of the page before said.", &json!({"type": "string", "format": "uuid"}))
    .ok("The webhooks", "Webhooks")
    .refusals(&[400]);
    let replay = Operation::new(
        "replayWebhook",
        "Send a webhook again that was given up; any other is answered as it stands. Not for an agent's own token.",
    )
    .ok("The webhook", "Webhook")
    .refusals(&[404, 408, 409, 413, 415, 422]);
    vec![
        Endpoint::get("/v1/webhooks", list_webhooks, list),
        Endpoint::post("/v1/webhooks/{id}/replay", replay_webhook, replay),
    ]
}

/// The schemas that its operations name.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let guid = || json!({"type": "string", "format": "uuid"});
    let moment = || json!({"type": ["string", "null"], "format": "date-time"});
    let webhook = json!({
        "type": "object",
        "required": ["id", "sessionGuid", "accountConfigurationId", "state", "createdOn", "tries"],
        "properties": {
            "id": guid(),
            "sessionGuid": guid(),
            "accountConfigurationId": {"type": "integer", "minimum": 0},
            "state": {"enum": ["due", "delivered", "dead"]},
            "createdOn": {"type": "string", "format": "date-time"},
            "dueOn": moment(),
            "endedOn": moment(),
            "tries": {"type": "integer", "minimum": 0},
            "lastAnswer": {"type": ["string", "null"], "description": "What became of the last try."},
        },
    });
    let webhooks = json!({
        "type": "object",
        "required": ["webhooks", "nextCursor"],
        "properties": {
            "webhooks": {"type": "array", "items": {"$ref": "#/components/schemas/Webhook"}},
            "nextCursor": {"type": ["string", "null"], "format": "uuid"},
        },
    });
    vec![("Webhook", webhook), ("Webhooks", webhooks)]
}

/// Which, and where to go on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    #[serde(default)]
    state: StateWord,
    #[serde(default = "limit_max")]
    limit: u32,
    cursor: Option<Uuid>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateWord {
    Due,
    #[default]
    Dead,
}

/// The account's webhooks that are given up, or still tried; oldest first.
pub(super) async fn list_webhooks(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    back_end_only(&principal)?;
    let Query(ListQuery { state, limit, cursor }) = query.map_err(|_| {
        ApiError::Malformed("state must be due or dead, limit a number, cursor what nextCursor said".into())
    })?;
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::Malformed("limit must be from 1 to 100".into()));
    }
    let state = match state {
        StateWord::Due => Listed::Due,
        StateWord::Dead => Listed::Dead,
    };
    let list = DeliveryList { account: principal.account, state, after: cursor.map(DeliveryId), limit };
    let found = api.parts.webhooks.deliveries(list).await?;
    let full = u32::try_from(found.len()).is_ok_and(|count| count == limit);
    let next = found.last().filter(|_| full).map(|last| last.id.0);
    let webhooks: Vec<Value> = found.iter().map(webhook).collect();
    Ok(reply(&json!({ "webhooks": webhooks, "nextCursor": next })))
}

/// Makes a dead letter due again; any other is answered as it stands.
pub(super) async fn replay_webhook(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    id: Result<Path<Uuid>, axum::extract::rejection::PathRejection>,
) -> Result<Response, ApiError> {
    back_end_only(&principal)?;
    let Path(id) = id.map_err(|_| ApiError::NoSuchWebhook)?;
    let now = api.parts.world.now();
    let found = api.parts.webhooks.replay(&principal.account, DeliveryId(id), now).await?;
    Ok(reply(&webhook(&found.ok_or(ApiError::NoSuchWebhook)?)))
}

/// An agent's browser has no business with the account's other sessions.
fn back_end_only(principal: &Principal) -> Result<(), ApiError> {
    if principal.agent.is_some() { Err(ApiError::BackEndOnly) } else { Ok(()) }
}

fn webhook(delivery: &Delivery) -> Value {
    let (due_on, ended_on) = match delivery.state {
        DeliveryState::Due { at } => (Some(at.to_string()), None),
        DeliveryState::Delivered { at } | DeliveryState::Dead { at } => (None, Some(at.to_string())),
    };
    json!({
        "id": delivery.id,
        "sessionGuid": delivery.session,
        "accountConfigurationId": delivery.receiver.configuration,
        "state": delivery.state.name().word(),
        "createdOn": delivery.created_on.to_string(),
        "dueOn": due_on,
        "endedOn": ended_on,
        "tries": delivery.tries,
        "lastAnswer": delivery.last.map(|answer| answer.word()),
    })
}

fn reply(body: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn limit_max() -> u32 {
    LIMIT_MAX
}
