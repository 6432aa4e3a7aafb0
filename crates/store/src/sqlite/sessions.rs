//! Sessions in SQLite: how one change is written, and how sessions are read back.

use hushpad_domain::attempt::Attempt;
use hushpad_domain::change::Change;
use hushpad_domain::event::{Event, EventKind};
use hushpad_domain::ids::{AccountId, AttemptNo, ProviderSessionGuid, SessionGuid};
use hushpad_domain::ports::{CommitError, StoreUnavailable};
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use sqlx::error::ErrorKind;
use sqlx::sqlite::SqliteArguments;
use sqlx::{SqliteConnection, SqlitePool};

use super::rows::{SessionRow, StateColumns, StoredAnswer, attempt_state_text, json, payment_data_text};
use super::unavailable;

macro_rules! alter_session {
    () => {
        "UPDATE session
            SET state = $5, attempt = $6, ended_on = $7, ending = $8, updated_on = $9, events = $10,
                version = $4
          WHERE guid = $1 AND account = $2 AND version = $3
         RETURNING 1;"
    };
}

macro_rules! put_attempt {
    ($held:literal) => {
        concat!(
            "INSERT INTO attempt (session, no, id, amount_minor, currency, gateway, intended_on, updated_on,
                                  state, held)
             SELECT id, $12, $13, $14, $15, $16, $17, $18, $19, ",
            $held,
            "  FROM session WHERE guid = $1 AND changes() > 0
             ON CONFLICT (session, no)
             DO UPDATE SET updated_on = excluded.updated_on, state = excluded.state, held = excluded.held;"
        )
    };
}

macro_rules! add_events {
    () => {
        "INSERT INTO event (session, seq, at, kind)
         SELECT session.id, new.value ->> 'seq', new.value ->> 'at', new.value -> 'kind'
           FROM session, json_each($11) AS new
          WHERE session.guid = $1 AND changes() > 0;"
    };
}

/// A new session. Parameters 1 to 11 are those of [`ALTER`]. Written `$1`, not `?1`: sqlx fills the gaps that
/// `?1` leaves in a statement's own numbering with wrong values.
const OPEN: &str = concat!(
    "SAVEPOINT change;
     INSERT INTO held (data) VALUES ($20);
     INSERT INTO session (guid, provider, account, configuration, agent, call, amount_minor, currency,
                          state, attempt, ended_on, ending, created_on, updated_on, version, events, held)
     VALUES ($1, $12, $2, $13, $14, $15, $16, $17,
             $5, $6, $7, $8, $18, $9, $4, $10, last_insert_rowid());",
    add_events!(),
    "RELEASE change"
);

/// A session that has changed; its amount, call and agent never do. Each statement after the first does
/// something only if the one before did, so a conflict writes nothing.
const ALTER: &str = concat!("SAVEPOINT change;", alter_session!(), add_events!(), "RELEASE change");

/// The same with an attempt that has no answer.
const ALTER_ATTEMPT: &str =
    concat!("SAVEPOINT change;", alter_session!(), put_attempt!("NULL"), add_events!(), "RELEASE change");

/// The same with an attempt that has been answered.
const ALTER_ANSWERED: &str = concat!(
    "SAVEPOINT change;",
    alter_session!(),
    "INSERT INTO held (data) SELECT $20 WHERE changes() > 0;",
    put_attempt!("last_insert_rowid()"),
    add_events!(),
    "RELEASE change"
);

/// Undoes what a refused change has written so far.
const UNDO: &str = "ROLLBACK TO change; RELEASE change";

/// A session with everything that is kept of it, in one statement: so it is one moment's truth.
macro_rules! read_session {
    ($condition:literal) => {
        concat!(
            "SELECT session.guid, provider, account, configuration, agent, call, amount_minor, currency,
                    state, attempt, ended_on, ending, created_on, updated_on, version, events,
                    held.data AS payment_data,
                    (SELECT json_group_array(json_object(
                                'id', lower(hex(attempt.id)), 'no', no, 'amount_minor', amount_minor,
                                'currency', currency, 'gateway', gateway, 'intended_on', intended_on,
                                'updated_on', updated_on, 'state', json(state),
                                'held', json(CAST(answer.data AS TEXT))))
                       FROM attempt
                       LEFT JOIN held AS answer ON answer.id = attempt.held
                      WHERE attempt.session = session.id) AS attempts
               FROM session
               LEFT JOIN held ON held.id = session.held
              WHERE ",
            $condition
        )
    };
}

/// Applies one change inside the writer's transaction. A refused change writes nothing and leaves the
/// transaction usable.
///
/// # Errors
/// The outer error ends the whole group; the inner result is this change's own.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    change: &Change,
) -> Result<Result<(), CommitError>, sqlx::Error> {
    let statement = match statement(change) {
        Ok(statement) => statement,
        Err(refused) => return Ok(Err(CommitError::Unavailable(refused))),
    };
    let wrote = sqlx::query_with(statement.sql, statement.arguments).fetch_all(&mut *connection).await;
    match wrote {
        // A new session answers no row; a changed one answers one, or none when it was not there as expected.
        Ok(rows) if change.before.is_none() || !rows.is_empty() => Ok(Ok(())),
        Ok(_) => Ok(Err(CommitError::Conflict)),
        Err(error) => match refusal(&error) {
            Some(refused) => {
                sqlx::query(UNDO).execute(connection).await?;
                Ok(Err(refused))
            }
            None => Err(error),
        },
    }
}

/// The account's session with this guid.
pub(super) async fn by_guid(
    readers: &SqlitePool,
    account: &AccountId,
    guid: SessionGuid,
) -> Result<Option<Session>, StoreUnavailable> {
    let row: Option<SessionRow> = sqlx::query_as(read_session!("session.guid = $1 AND session.account = $2"))
        .bind(guid.0.as_bytes().as_slice())
        .bind(account.as_str())
        .fetch_optional(readers)
        .await
        .map_err(unavailable)?;
    row.map(SessionRow::read).transpose()
}

/// The session with this guid on the secure side.
pub(super) async fn by_provider(
    readers: &SqlitePool,
    guid: ProviderSessionGuid,
) -> Result<Option<Session>, StoreUnavailable> {
    let row: Option<SessionRow> = sqlx::query_as(read_session!("session.provider = $1"))
        .bind(guid.0.as_bytes().as_slice())
        .fetch_optional(readers)
        .await
        .map_err(unavailable)?;
    row.map(SessionRow::read).transpose()
}

/// Every session that has not ended, oldest first.
pub(super) async fn unfinished(readers: &SqlitePool) -> Result<Vec<Session>, StoreUnavailable> {
    let rows: Vec<SessionRow> = sqlx::query_as(read_session!("session.ended_on IS NULL ORDER BY session.id"))
        .fetch_all(readers)
        .await
        .map_err(unavailable)?;
    rows.into_iter().map(SessionRow::read).collect()
}

/// The events of the account's session after number `after`.
pub(super) async fn events(
    readers: &SqlitePool,
    account: &AccountId,
    guid: SessionGuid,
    after: u32,
) -> Result<Vec<Event>, StoreUnavailable> {
    let rows: Vec<(u32, i64, String)> = sqlx::query_as(
        "SELECT event.seq, event.at, event.kind
           FROM event
           JOIN session ON session.id = event.session
          WHERE session.guid = $1
            AND session.account = $2
            AND event.seq > $3
          ORDER BY event.seq",
    )
    .bind(guid.0.as_bytes().as_slice())
    .bind(account.as_str())
    .bind(after)
    .fetch_all(readers)
    .await
    .map_err(unavailable)?;
    rows.into_iter()
        .map(|(seq, at, kind)| {
            Ok(Event { seq, at: Timestamp::from_micros(at), kind: json("an event", kind.as_bytes())? })
        })
        .collect()
}

struct Statement {
    sql: &'static str,
    arguments: SqliteArguments,
}

fn statement(change: &Change) -> Result<Statement, StoreUnavailable> {
    let attempt = changed_attempt(change)?;
    let mut query = Arguments::default();
    bind_session(&mut query, change)?;
    let sql = match (change.before, attempt) {
        (None, None) => {
            bind_new_session(&mut query, &change.after)?;
            OPEN
        }
        (None, Some(_)) => return Err(StoreUnavailable("a new session cannot have an attempt".to_owned())),
        (Some(_), None) => ALTER,
        (Some(_), Some(attempt)) => {
            bind_attempt(&mut query, attempt)?;
            if let Some(answer) = attempt.answer() {
                query.add(StoredAnswer::of(answer).text()?.into_bytes())?;
                ALTER_ANSWERED
            } else {
                ALTER_ATTEMPT
            }
        }
    };
    Ok(Statement { sql, arguments: query.0 })
}

/// The attempt that a change touches: the one that its events name. A transition touches at most one.
fn changed_attempt(change: &Change) -> Result<Option<&Attempt>, StoreUnavailable> {
    let mut named: Option<AttemptNo> = None;
    for event in &change.events {
        let no = match &event.kind {
            EventKind::Intent { attempt }
            | EventKind::NotSent { attempt }
            | EventKind::Unknown { attempt }
            | EventKind::Approved { attempt }
            | EventKind::Review { attempt }
            | EventKind::Declined { attempt }
            | EventKind::NotCharged { attempt } => *attempt,
            EventKind::Created | EventKind::InProgress | EventKind::Ended { .. } => continue,
        };
        if named.is_some_and(|named| named != no) {
            return Err(StoreUnavailable("a change names two attempts".to_owned()));
        }
        named = Some(no);
    }
    let Some(no) = named else { return Ok(None) };
    let attempt = change.after.attempts.iter().find(|attempt| attempt.no == no);
    attempt
        .map(Some)
        .ok_or_else(|| StoreUnavailable("a change names an attempt that is not there".to_owned()))
}

/// Parameters 1 to 11.
fn bind_session(query: &mut Arguments, change: &Change) -> Result<(), StoreUnavailable> {
    let session = &change.after;
    let state = StateColumns::of(&session.state);
    query.add(session.guid.0.as_bytes().as_slice())?;
    query.add(session.account.as_str())?;
    query.add(change.before.map(|version| version.cast_signed()))?;
    query.add(session.version.cast_signed())?;
    query.add(state.state)?;
    query.add(state.attempt)?;
    query.add(state.ended_on)?;
    query.add(state.ending)?;
    query.add(session.updated_on.as_micros())?;
    query.add(session.events)?;
    query.add(events_text(&change.events)?)
}

/// Parameters 12 to 20 of [`OPEN`].
fn bind_new_session(query: &mut Arguments, session: &Session) -> Result<(), StoreUnavailable> {
    let amount = session.amount();
    query.add(session.provider.0.as_bytes().as_slice())?;
    query.add(session.configuration.0)?;
    query.add(session.agent.as_str())?;
    query.add(session.call.as_ref().map(|call| call.0.as_bytes().as_slice()))?;
    query.add(amount.minor())?;
    query.add(amount.currency().code())?;
    query.add(session.created_on.as_micros())?;
    query.add(None::<i64>)?;
    query.add(payment_data_text(&session.payment_data)?.into_bytes())
}

/// Parameters 12 to 19 of [`ALTER_ATTEMPT`] and [`ALTER_ANSWERED`].
fn bind_attempt(query: &mut Arguments, attempt: &Attempt) -> Result<(), StoreUnavailable> {
    query.add(attempt.no.0)?;
    query.add(attempt.id.0.as_bytes().as_slice())?;
    query.add(attempt.amount.minor())?;
    query.add(attempt.amount.currency().code())?;
    query.add(attempt.gateway.as_str())?;
    query.add(attempt.intended_on.as_micros())?;
    query.add(attempt.updated_on.as_micros())?;
    query.add(attempt_state_text(&attempt.state)?)
}

fn events_text(events: &[Event]) -> Result<String, StoreUnavailable> {
    #[derive(serde::Serialize)]
    struct NewEvent<'a> {
        seq: u32,
        at: i64,
        kind: &'a EventKind,
    }
    let events: Vec<NewEvent<'_>> = events
        .iter()
        .map(|event| NewEvent { seq: event.seq, at: event.at.as_micros(), kind: &event.kind })
        .collect();
    serde_json::to_string(&events).map_err(|error| StoreUnavailable(format!("an event: {error}")))
}

/// Numbered parameters, in order.
#[derive(Default)]
struct Arguments(SqliteArguments);

impl Arguments {
    fn add<'q, T>(&mut self, value: T) -> Result<(), StoreUnavailable>
    where
        T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + 'q,
    {
        sqlx::Arguments::add(&mut self.0, value)
            .map_err(|error| StoreUnavailable(format!("a value cannot be stored: {error}")))
    }
}

/// What a failed statement says about this change alone; `None` when the whole group is concerned.
fn refusal(error: &sqlx::Error) -> Option<CommitError> {
    let error = error.as_database_error()?;
    match error.kind() {
        // SQLite names the columns: "UNIQUE constraint failed: session.call".
        ErrorKind::UniqueViolation if error.message().ends_with("session.call") => {
            Some(CommitError::CallTaken)
        }
        ErrorKind::UniqueViolation if error.message().contains(": session.") => Some(CommitError::Conflict),
        ErrorKind::UniqueViolation
        | ErrorKind::ForeignKeyViolation
        | ErrorKind::NotNullViolation
        | ErrorKind::CheckViolation => {
            Some(CommitError::Unavailable(StoreUnavailable(format!("the change is not valid: {error}"))))
        }
        _ => None,
    }
}
