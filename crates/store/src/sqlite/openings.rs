//! The new sessions of a group, all in one round trip to SQLite. Under load most of a group is new sessions, and each
//! round trip costs two changes of thread.

use hushpad_domain::change::Change;
use hushpad_domain::event::{Event, EventKind};
use hushpad_domain::ports::StoreUnavailable;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::changes::refusal;
use crate::keys::{Keys, hex};
use crate::queue::Job;
use crate::rows::{StateColumns, changes_way, reference_tag, sealed_payment_data};

/// What [`changes`](super::changes) does for one new session, for each row of `$1`, of which there are `$2`.
const OPEN_ALL: &str = "
    SAVEPOINT openings;
    INSERT INTO held (id, data)
    SELECT (SELECT coalesce(max(id), 0) FROM held) + 1 + new.key, unhex(new.value ->> 'held')
      FROM json_each($1) AS new;
    INSERT INTO session (guid, provider, account, configuration, agent, call, amount_minor, currency,
                         state, created_on, updated_on, version, events, webhook, held, reference_tag)
    SELECT unhex(new.value ->> 'guid'), unhex(new.value ->> 'provider'), new.value ->> 'account',
           new.value ->> 'configuration', new.value ->> 'agent', unhex(new.value ->> 'call'),
           new.value ->> 'amount_minor', new.value ->> 'currency', new.value ->> 'state',
           new.value ->> 'created_on', new.value ->> 'updated_on', new.value ->> 'version',
           new.value ->> 'event_count', new.value ->> 'webhook',
           (SELECT max(id) FROM held) - $2 + 1 + new.key, unhex(new.value ->> 'reference_tag')
      FROM json_each($1) AS new;
    INSERT INTO event (session, seq, at, kind)
    SELECT session.id, told.value ->> 'seq', told.value ->> 'at', told.value -> 'kind'
      FROM json_each($1) AS new
      JOIN session ON session.guid = unhex(new.value ->> 'guid')
      JOIN json_each(new.value, '$.events') AS told;
    RELEASE openings";

/// One row of `$1`. What is bytes is in hexadecimal digits.
#[derive(Serialize)]
struct NewSession<'a> {
    guid: String,
    provider: String,
    account: &'a str,
    configuration: u32,
    agent: &'a str,
    call: Option<String>,
    amount_minor: i64,
    currency: &'a str,
    state: &'static str,
    created_on: i64,
    updated_on: i64,
    version: u64,
    webhook: bool,
    held: String,
    reference_tag: Option<String>,
    event_count: u32,
    events: Vec<NewEvent<'a>>,
}

#[derive(Serialize)]
struct NewEvent<'a> {
    seq: u32,
    at: i64,
    kind: &'a EventKind,
}

/// Writes the new sessions of a group that [`is_plain`] says, inside the writer's transaction. False when they were not
/// written: one of them is refused, or there is only one. Each is then tried by itself, in its place.
///
/// # Errors
/// What ends the whole group.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    group: &[Job],
    keys: &Keys,
) -> Result<bool, sqlx::Error> {
    let rows: Result<Vec<_>, _> = opened(group).map(|change| NewSession::of(change, keys)).collect();
    // What cannot be put into a row is refused in its own place too.
    let Ok(rows) = rows else { return Ok(false) };
    if rows.len() < 2 {
        return Ok(false);
    }
    let Ok(text) = serde_json::to_string(&rows) else { return Ok(false) };
    let count = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    match sqlx::query(OPEN_ALL).bind(text).bind(count).execute(&mut *connection).await {
        Ok(_) => Ok(true),
        Err(error) if refusal(&error).is_some() => {
            sqlx::query("ROLLBACK TO openings; RELEASE openings").execute(connection).await.map(|_| false)
        }
        Err(error) => Err(error),
    }
}

fn opened(group: &[Job]) -> impl Iterator<Item = &Change> {
    group.iter().filter_map(|job| match job {
        Job::Commit(ask) if is_plain(&ask.question) => Some(&*ask.question),
        _ => None,
    })
}

/// A new session that has no payment link, no attempt and no webhook to send yet.
pub(super) fn is_plain(change: &Change) -> bool {
    change.before.is_none()
        && change.delivery.is_none()
        && change.after.attempts.is_empty()
        && !changes_way(change)
}

impl<'a> NewSession<'a> {
    fn of(change: &'a Change, keys: &Keys) -> Result<Self, StoreUnavailable> {
        let session = &change.after;
        let event =
            |event: &'a Event| NewEvent { seq: event.seq, at: event.at.as_micros(), kind: &event.kind };
        Ok(Self {
            guid: session.guid.0.simple().to_string(),
            provider: session.provider.0.simple().to_string(),
            account: session.account.as_str(),
            configuration: session.configuration.0,
            agent: session.agent.as_str(),
            call: session.call.map(|call| call.0.simple().to_string()),
            amount_minor: session.amount().minor(),
            currency: session.amount().currency().code(),
            state: StateColumns::of(&session.state).state,
            created_on: session.created_on.as_micros(),
            updated_on: session.updated_on.as_micros(),
            version: session.version,
            webhook: session.webhook,
            held: hex(&sealed_payment_data(&session.payment_data, keys)?),
            reference_tag: reference_tag(session, keys)?.as_deref().map(hex),
            event_count: session.events,
            events: change.events.iter().map(event).collect(),
        })
    }
}
