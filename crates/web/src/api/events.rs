//! `GET /v1/session/{guid}/events`: the session's event log, as JSON, or live as server-sent events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use hushpad_domain::event::{Event, EventKind};
use hushpad_domain::ids::SessionGuid;
use hushpad_domain::ports::ChangeSigns;
use hushpad_domain::time::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior};

use super::Api;
use super::endpoint::{Endpoint, Operation};
use super::json::json_reply;
use super::status::{SessionPath, find};
use crate::error::ApiError;
use crate::tokens::Access;

/// Live logs at once. Each costs its connection and a few hundred bytes; a contact centre that wants more follows its
/// sessions by webhook.
const FOLLOWERS_MAX: usize = 1_024;
/// A reader that takes nothing for so long is cut: what it missed, it gets when it asks again.
const READER_PATIENCE: Duration = Duration::from_secs(60);
/// A faster heartbeat would only cost.
const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const EVENT_STREAM: &str = "text/event-stream";

/// This file's endpoint.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let number = json!({"type": "integer", "minimum": 0, "maximum": u32::MAX});
    let events = Operation::new(
        "sessionEvents",
        "The session's event log; with Accept: text/event-stream live, until the session ends.",
    )
    .query("after", "The number of the last event that is known.", &number)
    .header("Last-Event-ID", "The same, as browsers send it when they ask again.", &number)
    .ok("The events, in order", "Events")
    .reply(200, "The events, in order", EVENT_STREAM, &json!({"type": "string"}))
    .refusals(&[400, 404]);
    vec![Endpoint::get("/v1/session/{guid}/events", session_events, events)]
}

/// Where to go on reading events.
#[derive(Deserialize)]
struct EventsQuery {
    /// The number of the last event that is known.
    #[serde(default)]
    after: u32,
}

/// Who follows how many logs.
#[derive(Default)]
pub(super) struct Followers(AtomicUsize);

async fn session_events(
    State(api): State<Arc<Api>>,
    Extension(access): Extension<Arc<Access>>,
    SessionPath(guid): SessionPath,
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Query(query) =
        query.map_err(|_| ApiError::Malformed("after must be a whole number of at least 0".into()))?;
    let after = last_event_id(&headers)?.unwrap_or(query.after);
    find(&api, &access.principal, guid).await?;
    if !wants_stream(&headers) {
        let events = api.parts.sessions.events(&access.principal.account, guid, after).await?;
        let events: Vec<Value> = events.iter().map(event).collect();
        return Ok(json_reply(&json!({ "sessionGuid": guid, "events": events })));
    }
    let follower = Follower::new(api, access, guid, after)?;
    let chunks = stream::unfold(follower, async |mut follower| {
        let chunk = follower.next_chunk().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), follower))
    });
    let headers = [(CONTENT_TYPE.as_str(), EVENT_STREAM), ("x-accel-buffering", "no")];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// One live log.
struct Follower {
    stage: Stage,
    api: Arc<Api>,
    access: Arc<Access>,
    session: SessionGuid,
    after: u32,
    signs: ChangeSigns,
    beat: Interval,
    /// When the last chunk was handed out.
    handed: Timestamp,
    _place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There may be new events.
    Look,
    /// All that is there was sent.
    Wait,
    /// The session's end was sent.
    Ending,
    Over,
}

impl Follower {
    fn new(api: Arc<Api>, access: Arc<Access>, session: SessionGuid, after: u32) -> Result<Self, ApiError> {
        let place = Place::take(&api)?;
        // Listening comes before the first look, so that nothing falls between.
        let signs = api.parts.changes.signs(session);
        let mut beat = tokio::time::interval(api.parts.settings.limits.heartbeat.max(HEARTBEAT_MIN));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let handed = api.parts.world.now();
        Ok(Self { stage: Stage::Look, api, access, session, after, signs, beat, handed, _place: place })
    }

    /// The next piece of the stream, or `None` after the last. Nothing is read before the reader has taken what came
    /// before, so a slow one costs no memory.
    async fn next_chunk(&mut self) -> Option<Bytes> {
        if self.token_is_old() {
            return self.close("token expired");
        }
        if self.api.parts.world.now() > self.handed.plus(READER_PATIENCE) {
            return self.close("too slow");
        }
        let chunk = self.chunk().await;
        self.handed = self.api.parts.world.now();
        chunk
    }

    async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            match self.stage {
                Stage::Look => {
                    self.stage = Stage::Wait;
                    match self.news().await {
                        Ok(None) => {}
                        Ok(Some(chunk)) => return Some(chunk),
                        Err(_) => return self.close("unavailable"),
                    }
                }
                Stage::Wait => {
                    let beat = tokio::select! {
                        biased;
                        _ = self.signs.next() => None,
                        _ = self.beat.tick() => Some(Bytes::from_static(b": beat\n\n")),
                    };
                    if self.token_is_old() {
                        return self.close("token expired");
                    }
                    // Another process gives no sign: each beat looks as well.
                    self.stage = Stage::Look;
                    if beat.is_some() {
                        return beat;
                    }
                }
                Stage::Ending => {
                    self.stage = Stage::Over;
                    return Some(Bytes::from_static(b"event: end\ndata: {}\n\n"));
                }
                Stage::Over => return None,
            }
        }
    }

    fn token_is_old(&self) -> bool {
        self.api.parts.world.now().as_seconds() >= self.access.expires_s
    }

    /// The events since the last look, as one piece.
    async fn news(&mut self) -> Result<Option<Bytes>, ApiError> {
        let account = &self.access.principal.account;
        let events = self.api.parts.sessions.events(account, self.session, self.after).await?;
        let Some(last) = events.last() else { return Ok(None) };
        self.after = last.seq;
        if events.iter().any(|event| matches!(event.kind, EventKind::Ended { .. })) {
            self.stage = Stage::Ending;
        }
        let text: String = events
            .iter()
            .map(|event| (event.seq, self::event(event)))
            .map(|(seq, data)| {
                let name = data["type"].as_str().unwrap_or("event");
                format!("id: {seq}\nevent: {name}\ndata: {data}\n\n")
            })
            .collect();
        Ok(Some(text.into()))
    }

    /// Says why nothing follows. The reader asks again with `Last-Event-ID` and misses nothing.
    fn close(&mut self, reason: &str) -> Option<Bytes> {
        let over = std::mem::replace(&mut self.stage, Stage::Over) == Stage::Over;
        (!over).then(|| format!("event: closed\ndata: {}\n\n", json!({"reason": reason})).into())
    }
}

/// One of the [`FOLLOWERS_MAX`] places.
struct Place(Arc<Api>);

impl Place {
    fn take(api: &Arc<Api>) -> Result<Self, ApiError> {
        let place = Self(Arc::clone(api));
        if api.followers.0.fetch_add(1, Ordering::Relaxed) < FOLLOWERS_MAX {
            Ok(place)
        } else {
            Err(ApiError::TooManyFollowers)
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.followers.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the stream is asked for by name: JSON is what everybody else gets.
fn wants_stream(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accept.flat_map(|value| value.split(','));
    kinds
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(EVENT_STREAM)))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u32>, ApiError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or(ApiError::Malformed("Last-Event-ID must be a whole number of at least 0".into()))
}

fn event(event: &Event) -> Value {
    let mut body = json!(event.kind);
    if let Some(members) = body.as_object_mut() {
        members.insert("seq".to_owned(), json!(event.seq));
        members.insert("at".to_owned(), json!(event.at.to_string()));
    }
    body
}
