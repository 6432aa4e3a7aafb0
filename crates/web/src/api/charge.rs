//! `POST /v1/charge` (ours): pays with a card that the gateway keeps. Nothing is keyed, so there is no call and no page;
//! the rest is a session like any other: an intent before the first byte, events, webhook, operations, retention.
//!
//! The token comes from the caller, who got it in the `storedCard` of an earlier attempt: here it is forgotten with that
//! session's result. That the account got it is kept, as a hash, so that no other account charges it where a gateway is one
//! for several.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use hushpad_domain::attempt::{AttemptState, Initiator, NotSent, StoredCard};
use hushpad_domain::client::Principal;
use hushpad_domain::ids::{AgentId, ConfigurationId, SessionGuid};
use hushpad_domain::open_session::{ChargeDoors, ChargeRequest, open_charge};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::ChargeError;
use hushpad_domain::text::holds_card_number;
use serde_json::json;

use super::Api;
use super::create::is_no_agent;
use super::endpoint::{Endpoint, Operation};
use super::idempotency::{KeptBody, Promised};
use super::json::{Object, read_json};
use super::status::status;
use crate::error::{ApiError, OperationFailed};
use crate::mistakes::{Mistake, Mistakes};

/// Longer than any gateway's token; two of Adyen's names with a colon are the longest.
const TOKEN_CHARS_MAX: usize = 512;

/// This file's endpoint.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let operation = Operation::new(
        "chargeStoredCard",
        "Pay with a card that the gateway keeps, without keying. Needs an Idempotency-Key.",
    )
    .body(
        "ChargeRequest",
        &json!({
            "accountConfigurationId": 0,
            "initiator": "merchant",
            "storedCard": {"token": "tok_1Q2w3E", "networkTransactionId": "016150703802094"},
            "paymentData": {"Amount": "12.40", "Currency": "GBP", "MerchantReferenceCode": "ORDER-7"},
        }),
    )
    .ok("The session that was opened and paid, or declined", "SessionStatus")
    .reply(
        202,
        "The session, with the payment under way: ask for its status until it has ended",
        "application/json",
        &json!({"$ref": "#/components/schemas/SessionStatus"}),
    )
    .refusals(&[400, 404, 408, 409, 413, 415, 422]);
    vec![Endpoint::post("/v1/charge", charge, operation)]
}

async fn charge(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let body = read_json(&head.headers, body).await?;
    // A charge that is sent again by a client that heard no answer must not be another one.
    let Some(Promised(session)) = head.extensions.get().copied() else {
        return Err(ApiError::Malformed("Idempotency-Key is missing: a charge needs one".into()));
    };
    let Wanted { request, initiator } = read(session, &body)?;
    let parts = &api.parts;
    let doors = ChargeDoors {
        directory: &parts.directory,
        sessions: &*parts.sessions,
        stored_cards: &*parts.stored_cards,
        world: &*parts.world,
    };
    let (opened, card) = open_charge(doors, &principal, request).await?;
    let paid = parts.stored_cards.charge(opened, card, initiator).await.map_err(|error| match error {
        ChargeError::Busy => ApiError::OperationFailed(OperationFailed::Busy),
        ChargeError::Store(unavailable) => ApiError::Store(unavailable),
    })?;
    let code = match paid.attempts.last().map(|attempt| &attempt.state) {
        Some(AttemptState::NotSent { reason: NotSent::Unsupported }) | None => {
            return Err(ApiError::OperationFailed(OperationFailed::Unsupported));
        }
        Some(AttemptState::NotSent { .. }) => {
            return Err(ApiError::OperationFailed(OperationFailed::Unreachable));
        }
        Some(_) if paid.has_ended() => StatusCode::OK,
        Some(_) => StatusCode::ACCEPTED,
    };
    let kept = paid.result_is_kept(parts.world.now());
    let json = [(http::header::CONTENT_TYPE, "application/json")];
    let mut response = (code, json, status(&paid, kept).to_string()).into_response();
    // A kept answer outlives paymentResultData, and so must not hold it.
    response.extensions_mut().insert(KeptBody(status(&paid, false).to_string()));
    Ok(response)
}

struct Wanted {
    request: ChargeRequest,
    initiator: Initiator,
}

/// Every mistake in the body is told at once.
fn read(session: SessionGuid, body: &[u8]) -> Result<Wanted, ApiError> {
    let object = Object::parse(body)?;
    let mut mistakes = Mistakes::default();
    for name in object.card_numbers() {
        mistakes.add(Mistake::card(name.as_slice(), "a text in the body holds a card number"));
    }
    let agent = mistakes.take(object.text("agentId")).flatten().filter(|agent| !agent.is_empty());
    if agent.as_deref().is_some_and(|agent| is_no_agent(agent) || holds_card_number(agent)) {
        mistakes.add(Mistake::shape(&["agentId"], "agentId is no agent's id"));
    }
    let configuration = mistakes.take(object.number("accountConfigurationId")).flatten();
    let initiator = match mistakes.take(object.text("initiator")).flatten().as_deref() {
        Some("customer") => Some(Initiator::Customer),
        Some("merchant") => Some(Initiator::Merchant),
        Some(_) | None => {
            mistakes.add(Mistake::shape(&["initiator"], "initiator must be customer or merchant"));
            None
        }
    };
    let card = stored_card(&object, &mut mistakes);
    let payment_data = match mistakes.take(object.object("paymentData")) {
        Some(Some(data)) => data.texts("paymentData", &mut mistakes),
        Some(None) => {
            mistakes.add(Mistake::shape(&["paymentData"], "paymentData is missing"));
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    };
    let (Some(card), Some(initiator), true) = (card, initiator, mistakes.is_empty()) else {
        if !payment_data.is_empty()
            && let Err(more) = PaymentData::new(payment_data)
        {
            mistakes.extend(&more);
        }
        return Err(mistakes.into());
    };
    let request = ChargeRequest {
        session,
        agent: agent.map(AgentId),
        configuration: configuration.map(ConfigurationId),
        card,
        payment_data,
    };
    Ok(Wanted { request, initiator })
}

fn stored_card(object: &Object<'_>, mistakes: &mut Mistakes) -> Option<StoredCard> {
    let Some(stored) = mistakes.take(object.object("storedCard"))? else {
        mistakes.add(Mistake::shape(&["storedCard"], "storedCard is missing"));
        return None;
    };
    let mut text = |name: &'static str| {
        let text = mistakes.take(stored.text(name)).flatten().filter(|text| !text.is_empty())?;
        let place = ["storedCard", name];
        if holds_card_number(&text) {
            mistakes.add(Mistake::card(&place, "a text in storedCard holds a card number"));
            return None;
        }
        if text.chars().count() > TOKEN_CHARS_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            mistakes.add(Mistake::shape(&place, "must be at most 512 visible ASCII characters"));
            return None;
        }
        Some(text)
    };
    let (token, network_transaction_id) = (text("token"), text("networkTransactionId"));
    if token.is_none() {
        mistakes.add(Mistake::shape(&["storedCard", "token"], "storedCard.token must name the card"));
    }
    Some(StoredCard { token: token?, network_transaction_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_json_like_text_is_read_without_a_panic(
            text in r#"\{("(agentId|paymentData|storedCard|initiator|x)":(1e9|"customer"|\{"(token|Amount)":[0-9.]{1,5}\}|null|\[1\]),?){0,5}\}"#,
        ) {
            let _ = read(SessionGuid(uuid::Uuid::nil()), text.as_bytes());
        }
    }
}
