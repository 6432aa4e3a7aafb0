//! How one change is written: the row, its attempt, its events and its webhook delivery, all in one statement.
//!
//! Each part of the statement takes its rows from the part before: without the epoch there is no session row,
//! without the session row no attempt and no event. So a change that is refused writes nothing and raises no
//! error, which would end the transaction for all that are written with it.

use hushpad_domain::attempt::Attempt;
use hushpad_domain::change::Change;
use hushpad_domain::event::Event;
use hushpad_domain::ports::{CommitError, StoreUnavailable};
use hushpad_domain::session::Session;
use sqlx::PgConnection;
use sqlx::postgres::PgArguments;

use super::writer::GroupError;
use crate::keys::Keys;
use crate::rows::{
    OperationColumns, Rewrite, StateColumns, StoredAnswer, WayColumns, attempt_state_text, changed_attempt,
    changed_operations, changes_way, event_kind_text, purpose_word, reference_tag, sealed_payment_data,
};

/// Locked against a new owner until the transaction ends; empty when there is one already.
macro_rules! with_ours {
    ($($rest:expr),+) => {
        concat!(
            "WITH ours AS (
                 SELECT epoch FROM owner WHERE id = 1 AND epoch = $11 FOR SHARE
             ), ",
            $($rest),+,
            ", told AS (
                 INSERT INTO event (session, seq, at, kind)
                 SELECT changed.guid, new.seq, new.at, new.kind
                   FROM changed, unnest($12::BIGINT[], $13::BIGINT[], $14::TEXT[]) AS new (seq, at, kind)
             )
             SELECT (SELECT count(*) FROM ours), (SELECT count(*) FROM changed)"
        )
    };
}

macro_rules! alter_session {
    () => {
        alter_session!("", "")
    };
    ($more:literal, $condition:literal) => {
        concat!("changed AS (
             UPDATE session
                SET state = $5, attempt = $6, ended_on = $7, ending = $8, updated_on = $9, events = $10,
                    version = $4,
                    -- Set by the end; from then on only its delivery changes it.
                    kept_until = coalesce(kept_until, $15)",
            $more,
            " FROM ours
              WHERE guid = $1 AND account = $2 AND version = $3",
            $condition,
            " RETURNING guid, account, configuration, events
         ), due AS (
             INSERT INTO delivery (session, event, id, account, configuration, created_on, since, state, at)
             SELECT guid, events, $16::UUID, account, configuration, told.at, told.at, 'due', told.at
               FROM changed, (SELECT ($13::BIGINT[])[cardinality($13::BIGINT[])] AS at) AS told
              WHERE $16::UUID IS NOT NULL
         )")
    };
}

macro_rules! put_attempt {
    () => {
        ", tried AS (
             INSERT INTO attempt (session, no, id, amount_minor, currency, purpose, gateway, intended_on,
                                  updated_on, state)
             SELECT guid, $17, $18, $19, $20, $21, $22, $23, $24, $25
               FROM changed
                 ON CONFLICT (session, no)
                 DO UPDATE SET updated_on = excluded.updated_on, state = excluded.state
         )"
    };
}

/// Keeps what must be forgotten of an answer.
macro_rules! hold_answer {
    () => {
        ", kept AS (
             INSERT INTO held (session, attempt, data)
             SELECT guid, $17, $26
               FROM changed
                 ON CONFLICT (session, attempt)
                 DO UPDATE SET data = excluded.data
         )"
    };
}

/// Forgets an earlier answer to the attempt.
macro_rules! forget_answer {
    () => {
        ", forgotten AS (
             DELETE FROM held USING changed WHERE held.session = changed.guid AND held.attempt = $17
         )"
    };
}

/// Whose the stored card of the answer is.
macro_rules! keep_card {
    () => {
        ", owned AS (
             INSERT INTO kept_card (account, gateway, token, network_transaction_id, got_on)
             SELECT account, $22, $27, $28, $9
               FROM changed
                 ON CONFLICT (account, token, gateway)
                 DO UPDATE SET network_transaction_id = coalesce(excluded.network_transaction_id,
                                                                 kept_card.network_transaction_id),
                               got_on = greatest(kept_card.got_on, excluded.got_on)
         )"
    };
}

macro_rules! put_operations {
    ($operations:literal) => {
        concat!(
            ", operated AS (
                 INSERT INTO operation (session, attempt, no, id, kind, amount_minor, currency, intended_on,
                                        updated_on, state, awaited)
                 SELECT changed.guid, new.attempt, new.no, new.id, new.kind, new.amount_minor, new.currency,
                        new.intended_on, new.updated_on, new.state, new.awaited
                   FROM changed, json_to_recordset(",
            $operations,
            "::JSON) AS new (attempt BIGINT, no BIGINT, id UUID, kind TEXT, amount_minor BIGINT, currency TEXT,
                             intended_on BIGINT, updated_on BIGINT, state TEXT, awaited BOOLEAN)
                     ON CONFLICT (session, attempt, no)
                     DO UPDATE SET intended_on = excluded.intended_on, updated_on = excluded.updated_on,
                                   state = excluded.state, awaited = excluded.awaited
             )"
        )
    };
}

/// A new session.
const OPEN: &str = with_ours!(
    "changed AS (
         INSERT INTO session (guid, provider, account, configuration, agent, call, amount_minor, currency,
                              state, attempt, ended_on, ending, created_on, updated_on, version, events, webhook,
                              holds, reference_tag)
         SELECT $1, $15, $2, $16, $17, $18, $19, $20, $5, $6, $7, $8, $21, $9, $4, $10, $23, TRUE, $24
           FROM ours
             ON CONFLICT DO NOTHING
      RETURNING guid
     ), kept AS (
         INSERT INTO held (session, attempt, data) SELECT guid, 0, $22 FROM changed
     )"
);
/// A new session with a payment link.
const OPEN_BY_LINK: &str = with_ours!(
    "changed AS (
         INSERT INTO session (guid, provider, account, configuration, agent, call, amount_minor, currency,
                              state, attempt, ended_on, ending, created_on, updated_on, version, events, webhook,
                              holds, reference_tag, links, link, link_state, link_expires_on)
         SELECT $1, $15, $2, $16, $17, $18, $19, $20, $5, $6, $7, $8, $21, $9, $4, $10, $23, TRUE,
                $24, $25, $26, $27, $28
           FROM ours
             ON CONFLICT DO NOTHING
      RETURNING guid
     ), kept AS (
         INSERT INTO held (session, attempt, data) SELECT guid, 0, $22 FROM changed
     )"
);
/// A session that has changed, and how its payer gives the card. One writer at a time, so a call that is free when it
/// is looked at is free when it is taken.
const ALTER_WAY: &str = with_ours!(alter_session!(
    ", agent = $17, call = $18, links = $19, link = $20, link_state = $21, link_expires_on = $22",
    " AND NOT EXISTS (SELECT 1
                        FROM session AS other
                       WHERE other.call = $18 AND other.ended_on IS NULL AND other.guid <> $1)"
));
/// A session that has changed; its amount never does.
const ALTER: &str = with_ours!(alter_session!());
/// The same with operations.
const ALTER_OPERATIONS: &str = with_ours!(alter_session!(), put_operations!("$17"));
/// A session with an attempt of whose answer nothing is held.
const ALTER_ATTEMPT: &str = with_ours!(alter_session!(), put_attempt!());
/// The same where something may have been held before.
const ALTER_ATTEMPT_AGAIN: &str = with_ours!(alter_session!(), put_attempt!(), forget_answer!());
/// The same with operations.
const ALTER_ATTEMPT_OPERATIONS: &str =
    with_ours!(alter_session!(), put_attempt!(), forget_answer!(), put_operations!("$26"));
/// A session with an attempt that has been answered.
const ALTER_ANSWERED: &str = with_ours!(alter_session!(), put_attempt!(), hold_answer!());
/// The same with operations.
const ALTER_ANSWERED_OPERATIONS: &str =
    with_ours!(alter_session!(), put_attempt!(), hold_answer!(), put_operations!("$27"));

/// A session with an attempt that has been answered, with a stored card.
const ALTER_STORED: &str = with_ours!(alter_session!(), put_attempt!(), hold_answer!(), keep_card!());
/// The same with operations.
const ALTER_STORED_OPERATIONS: &str =
    with_ours!(alter_session!(), put_attempt!(), hold_answer!(), keep_card!(), put_operations!("$29"));

/// Applies one change if `epoch` is still the newest: in the writer's transaction, or as one of its own. A
/// refused change writes nothing and leaves the transaction usable.
///
/// # Errors
/// The outer error ends the whole group; the inner result is this change's own.
pub(super) async fn apply(
    connection: &mut PgConnection,
    change: &Change,
    epoch: i64,
    keys: &Keys,
) -> Result<Result<(), CommitError>, GroupError> {
    let (sql, arguments) = match statement(change, epoch, keys) {
        Ok(statement) => statement,
        Err(refused) => return Ok(Err(CommitError::Unavailable(refused))),
    };
    let (ours, changed): (i64, i64) = sqlx::query_as_with(sql, arguments).fetch_one(&mut *connection).await?;
    match (ours, changed, change.before) {
        (0, _, _) => Err(GroupError::Fenced),
        (_, 0, Some(_)) if changes_way(change) => Ok(Err(why_not_moved(connection, &change.after).await?)),
        (_, 0, Some(_)) => Ok(Err(CommitError::Conflict)),
        (_, 0, None) => Ok(Err(why_not_opened(connection, &change.after).await?)),
        (_, _, _) => Ok(Ok(())),
    }
}

/// Which of a new session's keys is taken: a guid of its own, or else the call.
async fn why_not_opened(
    connection: &mut PgConnection,
    session: &Session,
) -> Result<CommitError, sqlx::Error> {
    let (there,): (bool,) =
        sqlx::query_as("SELECT EXISTS (SELECT 1 FROM session WHERE guid = $1 OR provider = $2)")
            .bind(session.guid.0)
            .bind(session.provider.0)
            .fetch_one(connection)
            .await?;
    Ok(if there { CommitError::Conflict } else { CommitError::CallTaken })
}

/// Whether the call that the session would take has another open session.
async fn why_not_moved(connection: &mut PgConnection, session: &Session) -> Result<CommitError, sqlx::Error> {
    let (taken,): (bool,) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM session WHERE call = $1 AND ended_on IS NULL AND guid <> $2)",
    )
    .bind(session.call.map(|call| call.0))
    .bind(session.guid.0)
    .fetch_one(connection)
    .await?;
    Ok(if taken { CommitError::CallTaken } else { CommitError::Conflict })
}

fn statement(
    change: &Change,
    epoch: i64,
    keys: &Keys,
) -> Result<(&'static str, PgArguments), StoreUnavailable> {
    let attempt = changed_attempt(change)?;
    let operations = changed_operations(change)?;
    let mut query = Arguments::default();
    bind_session(&mut query, change)?;
    query.add(epoch)?;
    bind_events(&mut query, &change.events)?;
    if change.before.is_none() {
        if attempt.is_some() {
            return Err(StoreUnavailable("a new session cannot have an attempt".to_owned()));
        }
        bind_new_session(&mut query, &change.after, keys)?;
        if !changes_way(change) {
            return Ok((OPEN, query.0));
        }
        bind_way(&mut query, &change.after)?;
        return Ok((OPEN_BY_LINK, query.0));
    }
    bind_ending(&mut query, change)?;
    if changes_way(change) {
        if attempt.is_some() || !operations.is_empty() {
            return Err(StoreUnavailable("a change of the way to pay touches no attempt".to_owned()));
        }
        query.add(change.after.agent.as_str())?;
        query.add(change.after.call.as_ref().map(|call| call.0))?;
        bind_way(&mut query, &change.after)?;
        return Ok((ALTER_WAY, query.0));
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
        (Some(_), false, false) => ALTER_ATTEMPT_OPERATIONS,
        (Some(_), true, true) => ALTER_ANSWERED,
        (Some(_), true, false) => ALTER_ANSWERED_OPERATIONS,
    };
    Ok((sql, query.0))
}

/// Parameters 1 to 10.
fn bind_session(query: &mut Arguments, change: &Change) -> Result<(), StoreUnavailable> {
    let session = &change.after;
    let state = StateColumns::of(&session.state);
    query.add(session.guid.0)?;
    query.add(session.account.as_str())?;
    query.add(change.before.map(|version| version.cast_signed()))?;
    query.add(session.version.cast_signed())?;
    query.add(state.state)?;
    query.add(state.attempt.map(i64::from))?;
    query.add(state.ended_on)?;
    query.add(state.ending)?;
    query.add(session.updated_on.as_micros())?;
    query.add(i64::from(session.events))
}

/// Parameters 12 to 14.
fn bind_events(query: &mut Arguments, events: &[Event]) -> Result<(), StoreUnavailable> {
    let kinds = events.iter().map(|event| event_kind_text(&event.kind)).collect::<Result<Vec<_>, _>>()?;
    query.add(events.iter().map(|event| i64::from(event.seq)).collect::<Vec<_>>())?;
    query.add(events.iter().map(|event| event.at.as_micros()).collect::<Vec<_>>())?;
    query.add(kinds)
}

/// Parameters 15 to 24 of [`OPEN`].
fn bind_new_session(query: &mut Arguments, session: &Session, keys: &Keys) -> Result<(), StoreUnavailable> {
    let amount = session.amount();
    query.add(session.provider.0)?;
    query.add(i64::from(session.configuration.0))?;
    query.add(session.agent.as_str())?;
    query.add(session.call.as_ref().map(|call| call.0))?;
    query.add(amount.minor())?;
    query.add(amount.currency().code())?;
    query.add(session.created_on.as_micros())?;
    query.add(sealed_payment_data(&session.payment_data, keys)?)?;
    query.add(session.webhook)?;
    query.add(reference_tag(session, keys)?)
}

/// Parameters 25 to 28 of [`OPEN_BY_LINK`], 19 to 22 of [`ALTER_WAY`].
fn bind_way(query: &mut Arguments, session: &Session) -> Result<(), StoreUnavailable> {
    let way = WayColumns::of(session);
    query.add(i64::from(session.links))?;
    query.add(way.link.map(i64::from))?;
    query.add(way.state)?;
    query.add(way.expires_on)
}

/// Parameters 17 to 25 of the statements with an attempt.
fn bind_attempt(query: &mut Arguments, attempt: &Attempt) -> Result<(), StoreUnavailable> {
    query.add(i64::from(attempt.no.0))?;
    query.add(attempt.id.0)?;
    query.add(attempt.amount.minor())?;
    query.add(attempt.amount.currency().code())?;
    query.add(purpose_word(attempt.purpose))?;
    query.add(attempt.gateway.as_str())?;
    query.add(attempt.intended_on.as_micros())?;
    query.add(attempt.updated_on.as_micros())?;
    query.add(attempt_state_text(&attempt.state)?)
}

/// Parameters 15 and 16 of a session that has changed.
fn bind_ending(query: &mut Arguments, change: &Change) -> Result<(), StoreUnavailable> {
    query.add(StateColumns::of(&change.after.state).kept_until)?;
    query.add(change.delivery.map(|id| id.0))
}

fn operations_text(operations: &[OperationColumns]) -> Result<String, StoreUnavailable> {
    let operations: Vec<_> = operations
        .iter()
        .map(|operation| {
            serde_json::json!({
                "attempt": operation.attempt,
                "no": operation.no,
                "id": operation.id,
                "kind": operation.kind,
                "amount_minor": operation.amount_minor,
                "currency": operation.currency,
                "intended_on": operation.intended_on,
                "updated_on": operation.updated_on,
                "state": operation.state,
                "awaited": operation.awaited,
            })
        })
        .collect();
    serde_json::to_string(&operations).map_err(|error| StoreUnavailable(format!("an operation: {error}")))
}

/// Numbered parameters, in order.
#[derive(Default)]
struct Arguments(PgArguments);

impl Arguments {
    fn add<'q, T>(&mut self, value: T) -> Result<(), StoreUnavailable>
    where
        T: sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + 'q,
    {
        sqlx::Arguments::add(&mut self.0, value)
            .map_err(|error| StoreUnavailable(format!("a value cannot be stored: {error}")))
    }
}
