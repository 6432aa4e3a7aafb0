//! What is forgotten.
//!
//! Deleted rows are vacuumed at once, so that their place is free for the next ones. PostgreSQL keeps their
//! bytes until that place is written over: in the table's file, and in the write-ahead log until its segments
//! are used again. They are sealed under keys that are destroyed; see `keys`. What outlives its key is sealed
//! anew here.

use hushpad_domain::ids::AccountId;
use hushpad_domain::kept_card::KEPT_CARD_RETENTION;
use hushpad_domain::notification::NOTIFICATION_RETENTION;
use hushpad_domain::replay::REPLAY_RETENTION;
use hushpad_domain::time::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::writer::GroupError;
use super::{credentials, kept_cards, notifications, replays, settlements};
use crate::keys::Keys;
use crate::retention::{BATCH_REPLAYS, SESSION_RETENTION, before};
use crate::writer::Batch;

/// Sessions in one transaction of a purge: few milliseconds, so that waiting commits are not held up.
const BATCH_SESSIONS: i64 = 200;

/// Rows sealed anew in one transaction.
const BATCH_MOVED: usize = 200;

/// Forgets one batch of what is past its retention at `now`, if `epoch` is still the newest. Inside the
/// writer's transaction.
///
/// # Errors
/// The store has a newer owner, or PostgreSQL refused.
pub(super) async fn batch(
    connection: &mut PgConnection,
    now: Timestamp,
    epoch: i64,
    keys: &Keys,
) -> Result<Batch, GroupError> {
    let ours: Option<(i64,)> =
        sqlx::query_as("SELECT epoch FROM owner WHERE id = 1 AND epoch = $1 FOR SHARE")
            .bind(epoch)
            .fetch_optional(&mut *connection)
            .await?;
    if ours.is_none() {
        return Err(GroupError::Fenced);
    }
    let sessions = before(now, SESSION_RETENTION);
    let (wiped, staying) = wipe(connection, now.as_micros(), sessions).await?;
    let removed = remove(connection, sessions).await?;
    let moved = move_on(connection, keys, now).await?;
    let moved_told = notifications::move_on(connection, keys, now, BATCH_MOVED).await?;
    settlements::forget(connection, before(now, SESSION_RETENTION)).await?;
    credentials::forget(connection, now).await?;
    let cards = before(now, KEPT_CARD_RETENTION);
    let cards = kept_cards::forget(connection, cards, BATCH_REPLAYS).await?;
    let told = before(now, NOTIFICATION_RETENTION);
    let told = notifications::forget(connection, told, BATCH_REPLAYS).await?;
    let replays = replays::forget(connection, before(now, REPLAY_RETENTION), BATCH_REPLAYS).await?;
    Ok(Batch {
        // One that is wiped and removed at once counts when it is removed.
        sessions: staying.cast_unsigned() + removed.cast_unsigned(),
        more: wiped == BATCH_SESSIONS
            || removed == BATCH_SESSIONS
            || cards == u64::from(BATCH_REPLAYS)
            || told == u64::from(BATCH_REPLAYS)
            || moved == BATCH_MOVED
            || moved_told == BATCH_MOVED
            || replays == u64::from(BATCH_REPLAYS),
    })
}

/// Frees the place of deleted rows. Not inside a transaction.
pub(super) async fn vacuum(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("VACUUM held").execute(connection).await.map(|_| ())
}

/// Deletes payment data and gateway results of sessions whose result was kept until `now`. Says how many,
/// and how many of them ended after `removed` and so stay without their data.
async fn wipe(connection: &mut PgConnection, now: i64, removed: i64) -> Result<(i64, i64), sqlx::Error> {
    sqlx::query_as(
        "WITH due AS (
             SELECT guid, ended_on
               FROM session
              WHERE holds
                AND kept_until <= $1
              ORDER BY kept_until
              LIMIT $2
         ), wiped AS (
             DELETE FROM held WHERE session IN (SELECT guid FROM due)
         ), marked AS (
             UPDATE session SET holds = FALSE, reference_tag = NULL WHERE guid IN (SELECT guid FROM due)
         )
         SELECT count(*), count(*) FILTER (WHERE ended_on > $3) FROM due",
    )
    .bind(now)
    .bind(BATCH_SESSIONS)
    .bind(removed)
    .fetch_one(connection)
    .await
}

/// Removes the rows of sessions that ended at or before `ended_on`.
async fn remove(connection: &mut PgConnection, ended_on: i64) -> Result<i64, sqlx::Error> {
    let (count,): (i64,) = sqlx::query_as(
        "WITH due AS (
             SELECT guid
               FROM session
              WHERE NOT holds
                AND ended_on <= $1
              ORDER BY ended_on
              LIMIT $2
         ), operations AS (
             DELETE FROM operation WHERE session IN (SELECT guid FROM due)
         ), deliveries AS (
             DELETE FROM delivery WHERE session IN (SELECT guid FROM due)
         ), events AS (
             DELETE FROM event WHERE session IN (SELECT guid FROM due)
         ), attempts AS (
             DELETE FROM attempt WHERE session IN (SELECT guid FROM due)
         ), sessions AS (
             DELETE FROM session WHERE guid IN (SELECT guid FROM due)
         )
         SELECT count(*) FROM due",
    )
    .bind(ended_on)
    .bind(BATCH_SESSIONS)
    .fetch_one(connection)
    .await?;
    Ok(count)
}

/// Seals anew what is under keys that are to go. Says how many rows.
async fn move_on(connection: &mut PgConnection, keys: &Keys, now: Timestamp) -> Result<usize, sqlx::Error> {
    let old = keys.to_be_moved(now);
    if old.is_empty() {
        return Ok(0);
    }
    let rows: Vec<(Uuid, i64, Vec<u8>, String)> = sqlx::query_as(
        "SELECT held.session, held.attempt, held.data, session.account
           FROM held
           JOIN session ON session.guid = held.session
          WHERE substr(held.data, 1, 9) = ANY ($1)
          LIMIT $2",
    )
    .bind(old)
    .bind(i64::try_from(BATCH_MOVED).unwrap_or(i64::MAX))
    .fetch_all(&mut *connection)
    .await?;
    let (mut sessions, mut attempts, mut data, mut tags) = (vec![], vec![], vec![], vec![]);
    for (session, attempt, sealed, account) in rows {
        let account = (attempt == 0).then_some(AccountId(account));
        let Some(moved) = keys.moved(&sealed, account.as_ref()) else { continue };
        sessions.push(session);
        attempts.push(attempt);
        data.push(moved.data);
        tags.push(moved.reference);
    }
    let count = sessions.len();
    sqlx::query(
        "WITH new AS (
             SELECT * FROM unnest($1::UUID[], $2::BIGINT[], $3::BYTEA[], $4::BYTEA[])
                        AS new (session, attempt, data, tag)
         ), tagged AS (
             UPDATE session
                SET reference_tag = new.tag
               FROM new
              WHERE session.guid = new.session AND new.tag IS NOT NULL
         )
         UPDATE held
            SET data = new.data
           FROM new
          WHERE held.session = new.session AND held.attempt = new.attempt",
    )
    .bind(sessions)
    .bind(attempts)
    .bind(data)
    .bind(tags)
    .execute(connection)
    .await?;
    Ok(count)
}
