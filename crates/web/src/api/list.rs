//! `GET /v1/session?…`: the account's sessions, newest first, page by page.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hushpad_domain::client::Principal;
use hushpad_domain::ids::{AgentId, CallGuid};
use hushpad_domain::listing::{PAGE_MAX, Place, SessionQuery, StateName};
use hushpad_domain::payment_data::VALUE_CHARS_MAX;
use hushpad_domain::session::Outcome;
use hushpad_domain::text::holds_card_number;
use hushpad_domain::time::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Api;
use super::create::AGENT_CHARS_MAX;
use super::endpoint::{Endpoint, Operation};
use super::json::json_reply;
use super::schemas::{OUTCOMES, SESSION_STATES};
use super::status::status;
use crate::error::ApiError;

/// Sessions on a page when nobody says.
const PAGE_USUAL: u32 = 50;
/// A cursor's bytes: a moment and a guid.
const CURSOR_BYTES: usize = 24;
const OUTCOME_WORDS: [Outcome; 6] = [
    Outcome::Approved,
    Outcome::Declined,
    Outcome::Review,
    Outcome::Cancelled,
    Outcome::Unknown,
    Outcome::None,
];

/// This file's endpoint.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let (text, moment) = (json!({"type": "string"}), json!({"type": "string", "format": "date-time"}));
    let list = Operation::new(
        "sessions",
        "The account's sessions, newest first, without paymentResultData. An agent's own token sees that agent's.",
    )
    .query("agentId", "Of this agent.", &json!({"type": "string", "maxLength": AGENT_CHARS_MAX}))
    .query("callGuid", "Of this call.", &json!({"type": "string", "format": "uuid"}))
    .query("state", "In this state.", &json!({"enum": SESSION_STATES}))
    .query("outcome", "With this outcome.", &json!({"enum": OUTCOMES}))
    .query(
        "reference",
        "With this MerchantReferenceCode. It is payment data: found until 15 minutes after the end.",
        &json!({"type": "string", "maxLength": VALUE_CHARS_MAX}),
    )
    .query("from", "Opened at or after this.", &moment)
    .query("until", "Opened before this.", &moment)
    .query("limit", "Sessions on a page.", &json!({"type": "integer", "minimum": 1, "maximum": PAGE_MAX}))
    .query("cursor", "nextCursor of the page before.", &text)
    .ok("A page", "SessionList")
    .refusals(&[400]);
    vec![Endpoint::get("/v1/session", list_sessions, list)]
}

async fn list_sessions(
    State(api): State<Arc<Api>>,
    Extension(principal): Extension<Principal>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut query = read_query(query.as_deref().unwrap_or(""), api.parts.world.now())?;
    match (&principal.agent, &query.agent) {
        (Some(own), Some(asked)) if own != asked => {
            return Err(hushpad_domain::open_session::OpenError::OtherAgent.into());
        }
        (Some(own), _) => query.agent = Some(own.clone()),
        (None, _) => {}
    }
    let sessions = api.parts.sessions.list(&principal.account, &query).await?;
    let full = sessions.len() == usize::try_from(query.limit).unwrap_or(usize::MAX);
    let next = sessions.last().filter(|_| full).map(|last| cursor(Place::of(last)));
    let sessions: Vec<Value> = sessions.iter().map(|session| status(session, false)).collect();
    Ok(json_reply(&json!({ "sessions": sessions, "nextCursor": next })))
}

/// A name that is not known is a mistake: a filter that is silently left out would show too much.
fn read_query(query: &str, now: Timestamp) -> Result<SessionQuery, ApiError> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).map_err(|_| wrong("the query"))?;
    let mut asked = SessionQuery {
        agent: None,
        call: None,
        state: None,
        outcome: None,
        reference: None,
        from: None,
        until: None,
        after: None,
        limit: PAGE_USUAL,
        now,
    };
    for (index, (name, value)) in pairs.iter().enumerate() {
        if pairs[..index].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            return Err(ApiError::Malformed("a name is there twice in the query".into()));
        }
        if holds_card_number(value) {
            return Err(ApiError::CardNumber("the query"));
        }
        // Nothing that is stored is longer or holds NUL, which a database refuses to be asked for.
        let chars_max = if name.eq_ignore_ascii_case("agentId") { AGENT_CHARS_MAX } else { VALUE_CHARS_MAX };
        if value.contains('\0') || value.chars().count() > chars_max {
            return Err(wrong("the query"));
        }
        match name.to_ascii_lowercase().as_str() {
            "agentid" => asked.agent = Some(AgentId(value.clone())),
            "callguid" => {
                asked.call = Some(CallGuid(Uuid::try_parse(value).map_err(|_| wrong("callGuid"))?));
            }
            "state" => asked.state = Some(state(value).ok_or(wrong("state"))?),
            "outcome" => asked.outcome = Some(outcome(value).ok_or(wrong("outcome"))?),
            "reference" => asked.reference = Some(value.clone()),
            "from" => asked.from = Some(Timestamp::parse(value).ok_or(wrong("from"))?),
            "until" => asked.until = Some(Timestamp::parse(value).ok_or(wrong("until"))?),
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=PAGE_MAX).contains(limit));
                asked.limit = limit.ok_or(wrong("limit"))?;
            }
            "cursor" => asked.after = Some(place(value).ok_or(wrong("cursor"))?),
            _ => return Err(ApiError::Malformed("the query has a name that is not known".into())),
        }
    }
    Ok(asked)
}

fn wrong(name: &'static str) -> ApiError {
    ApiError::Malformed(format!("{name} cannot be read").into())
}

fn state(name: &str) -> Option<StateName> {
    StateName::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, state)| state)
}

fn outcome(word: &str) -> Option<Outcome> {
    OUTCOME_WORDS.into_iter().find(|outcome| outcome.word() == word)
}

/// Opaque to callers. Nothing is won by making one up: it is a place in the account's own list.
fn cursor(place: Place) -> String {
    let mut bytes = [0; CURSOR_BYTES];
    bytes[..8].copy_from_slice(&place.created_on.as_micros().to_be_bytes());
    bytes[8..].copy_from_slice(place.guid.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn place(cursor: &str) -> Option<Place> {
    let bytes: [u8; CURSOR_BYTES] = URL_SAFE_NO_PAD.decode(cursor).ok()?.try_into().ok()?;
    let (moment, guid) = bytes.split_first_chunk::<8>()?;
    Some(Place {
        created_on: Timestamp::from_micros(i64::from_be_bytes(*moment)),
        guid: Uuid::from_slice(guid).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_others_are_refused() {
        let here = Place { created_on: Timestamp::from_micros(-7), guid: Uuid::from_u128(9) };
        assert_eq!(place(&cursor(here)), Some(here));
        for wrong in ["", "x", "AAAA", &"A".repeat(33), &format!("{}=", cursor(here))] {
            assert_eq!(place(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_state_and_outcome_of_the_document_is_known() {
        assert!(SESSION_STATES.iter().all(|name| state(name).is_some()));
        assert!(OUTCOMES.iter().all(|word| outcome(word).is_some()));
    }

    proptest::proptest! {
        #[test]
        fn any_query_is_read_without_a_panic(query in "[a-z&=%0-9T:.-]{0,60}") {
            let _ = read_query(&query, Timestamp::from_micros(0));
        }
    }
}
