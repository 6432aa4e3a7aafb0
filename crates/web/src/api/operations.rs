//! `POST /v1/session/{guid}/refund`, `/void`, `/capture`: what is done with a recorded attempt.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use hushpad_domain::attempt::{Attempt, NotSent};
use hushpad_domain::client::Principal;
use hushpad_domain::ids::{AttemptNo, OperationId};
use hushpad_domain::money::Money;
use hushpad_domain::operation::{Asked, Operation as Made, OperationState};
use hushpad_domain::session::{OperationRequest, Session};
use serde_json::{Value, json};

use super::Api;
use super::endpoint::{Endpoint, Operation};
use super::idempotency::{KeptBody, Promised};
use super::json::{BODY_BYTES_MAX, Object, read_json};
use super::read_body;
use super::status::{SessionPath, find, status};
use crate::error::{ApiError, OperationFailed};

/// This file's endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let operation = |id, summary, example| {
        Operation::new(id, summary)
            .body("OperationRequest", &example)
            .ok("The status, with the operation done", "SessionStatus")
            .reply(
                202,
                "The status, with the operation under way: ask for the status until it is done",
                "application/json",
                &json!({"$ref": "#/components/schemas/SessionStatus"}),
            )
            .refusals(&[400, 404, 408, 409, 413, 415, 422])
    };
    let refund = operation(
        "refundSession",
        "Give money of a finished payment back, whole or in part.",
        json!({"amount": "2.40"}),
    );
    let void = operation(
        "voidSession",
        "Give a finished payment back before it is settled: always whole.",
        json!({}),
    );
    let capture = operation(
        "captureSession",
        "Take the money of an authorisation, whole or in part.",
        json!({"amount": "12.40"}),
    );
    vec![
        Endpoint::post("/v1/session/{guid}/refund", refund_session, refund),
        Endpoint::post("/v1/session/{guid}/void", void_session, void),
        Endpoint::post("/v1/session/{guid}/capture", capture_session, capture),
    ]
}

async fn refund_session(api: State<Arc<Api>>, request: Request) -> Result<Response, ApiError> {
    operate(api, request, Asked::Refund).await
}

async fn void_session(api: State<Arc<Api>>, request: Request) -> Result<Response, ApiError> {
    operate(api, request, Asked::Void).await
}

async fn capture_session(api: State<Arc<Api>>, request: Request) -> Result<Response, ApiError> {
    operate(api, request, Asked::Capture).await
}

async fn operate(State(api): State<Arc<Api>>, request: Request, asked: Asked) -> Result<Response, ApiError> {
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
    // With a key the id is promised: a crash in between is then told apart from a request that did nothing.
    let id =
        head.extensions.get::<Promised>().map_or_else(|| api.parts.world.guid(), |promised| promised.0.0);
    let wanted = read(&body, &session, OperationId(id), asked)?;
    let (session, attempt, no) = api.parts.operations.operate(&principal.account, guid, wanted).await?;
    let made = session.attempt(attempt).and_then(|attempt| attempt.operation(no));
    let code = match made.map(|operation| &operation.state) {
        Some(OperationState::Done { .. }) => StatusCode::OK,
        Some(OperationState::Intent | OperationState::Unknown { .. } | OperationState::Accepted { .. })
        | None => StatusCode::ACCEPTED,
        Some(OperationState::Refused { reason } | OperationState::Failed { reason }) => {
            return Err(ApiError::OperationFailed(OperationFailed::Refused(reason.clone())));
        }
        Some(OperationState::NotSent { reason: NotSent::Unsupported }) => {
            return Err(ApiError::OperationFailed(OperationFailed::Unsupported));
        }
        Some(OperationState::NotSent { .. }) => {
            return Err(ApiError::OperationFailed(OperationFailed::Unreachable));
        }
    };
    let body = |kept| status(&session, kept).to_string();
    let kept = session.result_is_kept(api.parts.world.now());
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    let mut response = (code, json, body(kept)).into_response();
    // A kept answer outlives paymentResultData, and so must not hold it.
    response.extensions_mut().insert(KeptBody(body(false)));
    Ok(response)
}

/// An empty body asks for all that is left.
fn read(body: &[u8], session: &Session, id: OperationId, asked: Asked) -> Result<OperationRequest, ApiError> {
    if body.is_empty() {
        return Ok(OperationRequest { id, asked, amount: None, attempt: None });
    }
    let object = Object::parse(body)?;
    let currency = session.amount().currency();
    if object.text("currency")?.is_some_and(|code| code != currency.code()) {
        return Err(ApiError::Malformed("currency is not the payment's".into()));
    }
    let amount = object
        .text("amount")?
        .map(|text| Money::parse(&text, currency))
        .transpose()
        .map_err(|error| ApiError::Malformed(format!("amount {error}").into()))?;
    let attempt = object.number("attempt")?.map(|no| u16::try_from(no).unwrap_or(u16::MAX)).map(AttemptNo);
    Ok(OperationRequest { id, asked, amount, attempt })
}

/// The operations of an attempt, as its status lists them.
pub(super) fn operations(attempt: &Attempt) -> Vec<Value> {
    attempt.operations.iter().map(operation).collect()
}

fn operation(made: &Made) -> Value {
    let mut body = json!({
        "operation": made.no,
        "kind": made.kind.word(),
        "state": made.state.word(),
        "amount": made.amount.decimal(),
        "currency": made.amount.currency().code(),
        "createdOn": made.intended_on.to_string(),
        "lastUpdatedOn": made.updated_on.to_string(),
    });
    let more = match &made.state {
        OperationState::Accepted { gateway_reference } | OperationState::Done { gateway_reference } => {
            Some(("gatewayReference", gateway_reference))
        }
        OperationState::Refused { reason } | OperationState::Failed { reason } => Some(("reason", reason)),
        OperationState::Intent | OperationState::NotSent { .. } | OperationState::Unknown { .. } => None,
    };
    if let (Some((name, value)), Some(members)) = (more, body.as_object_mut()) {
        members.insert(name.to_owned(), json!(value));
    }
    body
}
