//! How one change is written: the row, its attempt, its operations, its events and its webhook delivery, all in one
//! round trip to SQLite.
//!
//! Parameters are written `$1`, not `?1`: sqlx fills the gaps that `?1` leaves in a statement's own numbering
//! with wrong values. Each statement after the first does something only if the one before did, so a conflict
//! writes nothing.

use hushpad_domain::attempt::Attempt;
use hushpad_domain::change::Change;
use hushpad_domain::event::{Event, EventKind};
use hushpad_domain::ports::{CommitError, StoreUnavailable};
use hushpad_domain::session::Session;
use sqlx::SqliteConnection;
use sqlx::error::ErrorKind;
use sqlx::sqlite::SqliteArguments;

use crate::keys::Keys;
use crate::rows::{
    OperationColumns, Rewrite, StateColumns, StoredAnswer, WayColumns, attempt_state_text, changed_attempt,
    changed_operations, changes_way, purpose_word, reference_tag, sealed_payment_data,
};

/// One kind of change in its two settings.
struct Sql {
    /// As one of several in the writer's transaction.
    grouped: &'static str,
    /// As a transaction of its own, refused by the row `one_owner` when the epoch is not the newest.
    alone: &'static str,
}

macro_rules! sql {
    ($($statement:expr),+) => {
        Sql {
            grouped: concat!("SAVEPOINT change;", $($statement),+, "RELEASE change"),
            alone: concat!(
                "BEGIN IMMEDIATE;
                 INSERT INTO owner (id, epoch) SELECT 2, epoch FROM owner WHERE epoch <> $12;",
                $($statement),+,
                "COMMIT"
            ),
        }
    };
}

macro_rules! open_session {
    () => {
        "INSERT INTO held (data) VALUES ($20);
         INSERT INTO session (guid, provider, account, configuration, agent, call, amount_minor, currency,
                              state, attempt, ended_on, ending, created_on, updated_on, version, events, webhook,
                              held, reference_tag)
         VALUES ($1, $13, $2, $14, $15, $16, $17, $18,
                 $5, $6, $7, $8, $19, $9, $4, $10, $21, last_insert_rowid(), $22);"
    };
}

macro_rules! alter_session {
    () => {
        "UPDATE session
            SET state = $5, attempt = $6, ended_on = $7, ending = $8, updated_on = $9, events = $10,
                version = $4,
                -- Set by the end; from then on only its delivery changes it.
                kept_until = coalesce(kept_until, $13)
          WHERE guid = $1 AND account = $2 AND version = $3
         RETURNING 1;"
    };
}

/// How the payer gives the card from now on.
macro_rules! set_way {
    ($agent:literal, $call:literal, $links:literal, $link:literal, $state:literal, $expires_on:literal) => {
        concat!(
            "UPDATE session SET agent = ",
            $agent,
            ", call = ",
            $call,
            ", links = ",
            $links,
            ", link = ",
            $link,
            ", link_state = ",
            $state,
            ", link_expires_on = ",
            $expires_on,
            " WHERE guid = $1 AND version = $4 AND changes() > 0;"
        )
    };
}

macro_rules! put_attempt {
    ($held:literal) => {
        concat!(
            "INSERT INTO attempt (session, no, id, amount_minor, currency, purpose, gateway, intended_on,
                                  updated_on, state, held)
             SELECT id, $14, $15, $16, $17, $18, $19, $20, $21, $22, ",
            $held,
            "  FROM session WHERE guid = $1 AND changes() > 0
             ON CONFLICT (session, no)
             DO UPDATE SET updated_on = excluded.updated_on, state = excluded.state, held = excluded.held;"
        )
    };
}

/// Keeps what must be forgotten of an answer.
macro_rules! hold_answer {
    () => {
        "INSERT INTO held (data) SELECT $23 WHERE changes() > 0;"
    };
}

/// Wipes what is held of an earlier answer to the attempt: nobody would find it when its time comes.
macro_rules! forget_answer {
    () => {
        "UPDATE held
            SET data = zeroblob(length(data))
          WHERE id = (SELECT attempt.held
                        FROM attempt
                        JOIN session ON session.id = attempt.session
                       WHERE session.guid = $1 AND session.version = $3 AND attempt.no = $14);"
    };
}

/// Whose the stored card of the answer is. One row, whether it is new or not.
macro_rules! keep_card {
    () => {
        "INSERT INTO kept_card (account, gateway, token, network_transaction_id, got_on)
         SELECT $2, $19, $24, $25, $9 WHERE changes() > 0
             ON CONFLICT (account, token, gateway)
             DO UPDATE SET network_transaction_id = coalesce(excluded.network_transaction_id,
                                                             network_transaction_id),
                           got_on = max(got_on, excluded.got_on);"
    };
}

/// At least one operation.
macro_rules! put_operations {
    ($operations:literal) => {
        concat!(
            "INSERT INTO operation (session, attempt, no, id, kind, amount_minor, currency, intended_on,
                                    updated_on, state, awaited)
             SELECT session.id, new.value ->> 'attempt', new.value ->> 'no', unhex(new.value ->> 'id'),
                    new.value ->> 'kind', new.value ->> 'amount_minor', new.value ->> 'currency',
                    new.value ->> 'intended_on', new.value ->> 'updated_on', new.value ->> 'state',
                    new.value ->> 'awaited'
               FROM session, json_each(",
            $operations,
            ") AS new
              WHERE session.guid = $1 AND changes() > 0
             ON CONFLICT (session, attempt, no)
             DO UPDATE SET intended_on = excluded.intended_on, updated_on = excluded.updated_on,
                           state = excluded.state, awaited = excluded.awaited;"
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

/// The delivery that an event names. Only events that were just written can be without one.
macro_rules! add_delivery {
    () => {
        "INSERT INTO delivery (session, event, id, account, configuration, created_on, since, state, at)
         SELECT session.id, new.value ->> 'seq', unhex(new.value ->> 'delivery'), account, configuration,
                new.value ->> 'at', new.value ->> 'at', 'due', new.value ->> 'at'
           FROM session, json_each($11) AS new
          WHERE session.guid = $1 AND changes() > 0 AND new.value ->> 'delivery' IS NOT NULL;"
    };
}

/// A new session.
const OPEN: Sql = sql!(open_session!(), add_events!());
/// A new session with a payment link.
const OPEN_BY_LINK: Sql =
    sql!(open_session!(), set_way!("$23", "$24", "$25", "$26", "$27", "$28"), add_events!());
/// A session that has changed, and how its payer gives the card.
const ALTER_WAY: Sql = sql!(
    alter_session!(),
    set_way!("$14", "$15", "$16", "$17", "$18", "$19"),
    add_events!(),
    add_delivery!()
);
/// A session that has changed; its amount never does.
const ALTER: Sql = sql!(alter_session!(), add_events!(), add_delivery!());
/// The same with operations.
const ALTER_OPERATIONS: Sql = sql!(alter_session!(), put_operations!("$14"), add_events!(), add_delivery!());
/// A session with an attempt of whose answer nothing is held.
const ALTER_ATTEMPT: Sql = sql!(alter_session!(), put_attempt!("NULL"), add_events!(), add_delivery!());
/// The same where something may have been held before.
const ALTER_ATTEMPT_AGAIN: Sql =
    sql!(forget_answer!(), alter_session!(), put_attempt!("NULL"), add_events!(), add_delivery!());
/// The same with operations.
const ALTER_ATTEMPT_OPERATIONS: Sql = sql!(
    forget_answer!(),
    alter_session!(),
    put_attempt!("NULL"),
    put_operations!("$23"),
    add_events!(),
    add_delivery!()
);
/// A session with an attempt that has been answered.
const ALTER_ANSWERED: Sql = sql!(
    alter_session!(),
    hold_answer!(),
    put_attempt!("last_insert_rowid()"),
    add_events!(),
    add_delivery!()
);
/// The same where something may have been held before.
const ALTER_ANSWERED_AGAIN: Sql = sql!(
    forget_answer!(),
    alter_session!(),
    hold_answer!(),
    put_attempt!("last_insert_rowid()"),
    add_events!(),
    add_delivery!()
);
/// The same with operations.
const ALTER_ANSWERED_OPERATIONS: Sql = sql!(
    forget_answer!(),
    alter_session!(),
    hold_answer!(),
    put_attempt!("last_insert_rowid()"),
    put_operations!("$24"),
    add_events!(),
    add_delivery!()
);

/// A session with an attempt that has been answered, with a stored card.
const ALTER_STORED: Sql = sql!(
    forget_answer!(),
    alter_session!(),
    hold_answer!(),
    put_attempt!("last_insert_rowid()"),
    keep_card!(),
    add_events!(),
    add_delivery!()
);
/// The same with operations.
const ALTER_STORED_OPERATIONS: Sql = sql!(
    forget_answer!(),
    alter_session!(),
    hold_answer!(),
    put_attempt!("last_insert_rowid()"),
    keep_card!(),
    put_operations!("$26"),
    add_events!(),
    add_delivery!()
);

/// Applies one change inside the writer's transaction. A refused change writes nothing and leaves the
/// transaction usable.
///
/// # Errors
/// The outer error ends the whole group; the inner result is this change's own.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    change: &Change,
    keys: &Keys,
) -> Result<Result<(), CommitError>, sqlx::Error> {
    // Who owns the store was asked when the transaction began.
    match statement(change, None, keys) {
        Ok(Statement { sql, arguments }) => {
            run(connection, change, sql.grouped, arguments, "ROLLBACK TO change; RELEASE change").await
        }
        Err(refused) => Ok(Err(CommitError::Unavailable(refused))),
    }
}

/// Applies one change in a transaction of its own, if `epoch` is still the newest: one round trip in all.
///
/// # Errors
/// As [`apply`].
pub(super) async fn apply_alone(
    connection: &mut SqliteConnection,
    change: &Change,
    epoch: i64,
    keys: &Keys,
) -> Result<Result<(), CommitError>, sqlx::Error> {
    match statement(change, Some(epoch), keys) {
        Ok(Statement { sql, arguments }) => run(connection, change, sql.alone, arguments, "ROLLBACK").await,
        Err(refused) => Ok(Err(CommitError::Unavailable(refused))),
    }
}

async fn run(
    connection: &mut SqliteConnection,
    change: &Change,
    sql: &'static str,
    arguments: SqliteArguments,
    undo: &'static str,
) -> Result<Result<(), CommitError>, sqlx::Error> {
    match sqlx::query_with(sql, arguments).fetch_all(&mut *connection).await {
        // A new session answers no row; a changed one answers one, or none when it was not as expected.
        Ok(rows) if change.before.is_none() || !rows.is_empty() => Ok(Ok(())),
        Ok(_) => Ok(Err(CommitError::Conflict)),
        Err(error) => match refusal(&error) {
            Some(refused) => {
                sqlx::query(undo).execute(connection).await?;
                Ok(Err(refused))
            }
            None => Err(error),
        },
    }
}

struct Statement {
    sql: Sql,
    arguments: SqliteArguments,
}

fn statement(change: &Change, epoch: Option<i64>, keys: &Keys) -> Result<Statement, StoreUnavailable> {
    let attempt = changed_attempt(change)?;
    let operations = changed_operations(change)?;
    let mut query = Arguments::default();
    bind_session(&mut query, change, epoch)?;
    if change.before.is_none() {
        if attempt.is_some() {
            return Err(StoreUnavailable("a new session cannot have an attempt".to_owned()));
        }
        bind_new_session(&mut query, &change.after, keys)?;
        if !changes_way(change) {
            return Ok(Statement { sql: OPEN, arguments: query.0 });
        }
        bind_way(&mut query, &change.after)?;
        return Ok(Statement { sql: OPEN_BY_LINK, arguments: query.0 });
    }
    query.add(StateColumns::of(&change.after.state).kept_until)?;
    if changes_way(change) {
        if attempt.is_some() || !operations.is_empty() {
            return Err(StoreUnavailable("a change of the way to pay touches no attempt".to_owned()));
        }
        bind_way(&mut query, &change.after)?;
        return Ok(Statement { sql: ALTER_WAY, arguments: query.0 });
    }
    let held = match attempt {
        Some(attempt) => {
            bind_attempt(&mut query, attempt)?;
            attempt.answer().and_then(StoredAnswer::of)
        }
        None => None,
    };
    if let Some(held) = &held {
        query.add(held.sealed(keys)?)?;
    }
    let kept = held.as_ref().and(change.kept_card.as_ref());
    if let Some(card) = kept {
        query.add(card.token.0.as_slice())?;
        query.add(card.network_transaction_id.as_deref())?;
    }
    if !operations.is_empty() {
        query.add(operations_text(&operations)?)?;
    }
    let sql = match (attempt.map(Rewrite::of), held.is_some(), operations.is_empty()) {
        (Some(_), true, true) if kept.is_some() => ALTER_STORED,
        (Some(_), true, false) if kept.is_some() => ALTER_STORED_OPERATIONS,
        (None, _, true) => ALTER,
        (None, _, false) => ALTER_OPERATIONS,
        (Some(Rewrite::First), false, true) => ALTER_ATTEMPT,
        (Some(Rewrite::Again), false, true) => ALTER_ATTEMPT_AGAIN,
        (Some(Rewrite::First | Rewrite::Again), false, false) => ALTER_ATTEMPT_OPERATIONS,
        (Some(Rewrite::First), true, true) => ALTER_ANSWERED,
        (Some(Rewrite::Again), true, true) => ALTER_ANSWERED_AGAIN,
        (Some(Rewrite::First | Rewrite::Again), true, false) => ALTER_ANSWERED_OPERATIONS,
    };
    Ok(Statement { sql, arguments: query.0 })
}

/// Parameters 1 to 12.
fn bind_session(query: &mut Arguments, change: &Change, epoch: Option<i64>) -> Result<(), StoreUnavailable> {
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
    query.add(events_text(change)?)?;
    query.add(epoch)
}

/// Parameters 13 to 22 of [`OPEN`].
fn bind_new_session(query: &mut Arguments, session: &Session, keys: &Keys) -> Result<(), StoreUnavailable> {
    let amount = session.amount();
    query.add(session.provider.0.as_bytes().as_slice())?;
    query.add(session.configuration.0)?;
    query.add(session.agent.as_str())?;
    query.add(session.call.as_ref().map(|call| call.0.as_bytes().as_slice()))?;
    query.add(amount.minor())?;
    query.add(amount.currency().code())?;
    query.add(session.created_on.as_micros())?;
    query.add(sealed_payment_data(&session.payment_data, keys)?)?;
    query.add(session.webhook)?;
    query.add(reference_tag(session, keys)?)
}

/// Parameters 23 to 28 of [`OPEN_BY_LINK`], 14 to 19 of [`ALTER_WAY`].
fn bind_way(query: &mut Arguments, session: &Session) -> Result<(), StoreUnavailable> {
    let way = WayColumns::of(session);
    query.add(session.agent.as_str())?;
    query.add(session.call.as_ref().map(|call| call.0.as_bytes().as_slice()))?;
    query.add(session.links)?;
    query.add(way.link)?;
    query.add(way.state)?;
    query.add(way.expires_on)
}

/// Parameters 14 to 22 of the statements with an attempt.
fn bind_attempt(query: &mut Arguments, attempt: &Attempt) -> Result<(), StoreUnavailable> {
    query.add(attempt.no.0)?;
    query.add(attempt.id.0.as_bytes().as_slice())?;
    query.add(attempt.amount.minor())?;
    query.add(attempt.amount.currency().code())?;
    query.add(purpose_word(attempt.purpose))?;
    query.add(attempt.gateway.as_str())?;
    query.add(attempt.intended_on.as_micros())?;
    query.add(attempt.updated_on.as_micros())?;
    query.add(attempt_state_text(&attempt.state)?)
}

fn events_text(change: &Change) -> Result<String, StoreUnavailable> {
    #[derive(serde::Serialize)]
    struct NewEvent<'a> {
        seq: u32,
        at: i64,
        kind: &'a EventKind,
        #[serde(skip_serializing_if = "Option::is_none")]
        delivery: Option<String>,
    }
    let mut events: Vec<NewEvent<'_>> = change
        .events
        .iter()
        .map(|Event { seq, at, kind }| NewEvent { seq: *seq, at: at.as_micros(), kind, delivery: None })
        .collect();
    if let Some(last) = events.last_mut() {
        last.delivery = change.delivery.map(|id| id.0.simple().to_string());
    }
    serde_json::to_string(&events).map_err(|error| StoreUnavailable(format!("an event: {error}")))
}

fn operations_text(operations: &[OperationColumns]) -> Result<String, StoreUnavailable> {
    let operations: Vec<_> = operations
        .iter()
        .map(|operation| {
            serde_json::json!({
                "attempt": operation.attempt,
                "no": operation.no,
                "id": operation.id.simple().to_string(),
                "kind": operation.kind,
                "amount_minor": operation.amount_minor,
                "currency": operation.currency,
                "intended_on": operation.intended_on,
                "updated_on": operation.updated_on,
                "state": operation.state,
                "awaited": u8::from(operation.awaited),
            })
        })
        .collect();
    serde_json::to_string(&operations).map_err(|error| StoreUnavailable(format!("an operation: {error}")))
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
pub(super) fn refusal(error: &sqlx::Error) -> Option<CommitError> {
    let error = error.as_database_error()?;
    match error.kind() {
        ErrorKind::CheckViolation if error.message().ends_with("one_owner") => Some(CommitError::Fenced),
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
