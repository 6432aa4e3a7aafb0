//! What is forgotten, and how it leaves the file for good.
//!
//! A page that SQLite rebuilds can keep stale bytes of rows it moved away, `secure_delete` or not. So what
//! must vanish lies in the table `held`, whose rows are never moved while they hold anything: appended,
//! wiped in place at the same length, and removed only once no live row can share or neighbour their page.
//! Beside that, all of it is sealed under keys that are destroyed; see `keys`. What outlives its key is sealed anew
//! here, in place too.

use hushpad_domain::ids::AccountId;
use hushpad_domain::kept_card::KEPT_CARD_RETENTION;
use hushpad_domain::notification::NOTIFICATION_RETENTION;
use hushpad_domain::replay::REPLAY_RETENTION;
use hushpad_domain::time::Timestamp;
use sqlx::SqliteConnection;

use super::{credentials, kept_cards, notifications, replays, settlements};
use crate::keys::Keys;
use crate::retention::{BATCH_REPLAYS, SESSION_RETENTION, before};
use crate::rows::hex_list;
use crate::writer::Batch;

/// Sessions in one transaction of a purge: few milliseconds, so that waiting commits are not held up.
const BATCH_SESSIONS: i64 = 200;
/// Rows sealed anew in one transaction.
const BATCH_MOVED: usize = 200;
/// Wiped rows removed in one transaction, at most.
const BATCH_WIPED: i64 = 1_000;
/// How far a wiped row must be from every live one to be removed. A row takes at least 10 of the 4,096
/// bytes of a page and SQLite rebalances at most three neighbouring pages: 1,228 rows.
const LIVE_DISTANCE: i64 = 2_000;

/// Forgets one batch of what is past its retention at `now`. Inside the writer's transaction.
pub(super) async fn batch(
    connection: &mut SqliteConnection,
    now: Timestamp,
    keys: &Keys,
) -> Result<Batch, sqlx::Error> {
    let sessions = before(now, SESSION_RETENTION);
    let (wiped, staying) = wipe(connection, now.as_micros(), sessions).await?;
    let removed = remove(connection, sessions).await?;
    let swept = sweep(connection).await?;
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
            || swept == BATCH_WIPED.cast_unsigned()
            || cards == u64::from(BATCH_REPLAYS)
            || told == u64::from(BATCH_REPLAYS)
            || moved == BATCH_MOVED
            || moved_told == BATCH_MOVED
            || replays == u64::from(BATCH_REPLAYS),
    })
}

/// Moves the write-ahead log into the file and cuts it to nothing; false when a reader hindered it.
pub(super) async fn empty_log(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let (hindered, _, _): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await?;
    Ok(hindered == 0)
}

/// Overwrites payment data and gateway results of sessions whose result was kept until `now`. Says how many,
/// and how many of them ended after `removed` and so stay without their data.
async fn wipe(connection: &mut SqliteConnection, now: i64, removed: i64) -> Result<(i64, i64), sqlx::Error> {
    let (count, staying, sessions): (i64, i64, String) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE ended_on > $3), json_group_array(id)
           FROM (SELECT id, ended_on
                   FROM session
                  WHERE held IS NOT NULL
                    AND kept_until <= $1
                  ORDER BY kept_until
                  LIMIT $2)",
    )
    .bind(now)
    .bind(BATCH_SESSIONS)
    .bind(removed)
    .fetch_one(&mut *connection)
    .await?;
    if count > 0 {
        sqlx::query(
            "UPDATE held
                SET data = zeroblob(length(data))
              WHERE id IN (SELECT held FROM session WHERE id IN (SELECT value FROM json_each($1))
                           UNION ALL
                           SELECT held FROM attempt WHERE session IN (SELECT value FROM json_each($1)));
             UPDATE attempt
                SET held = NULL
              WHERE session IN (SELECT value FROM json_each($1));
             UPDATE session
                SET held = NULL, reference_tag = NULL
              WHERE id IN (SELECT value FROM json_each($1));",
        )
        .bind(sessions)
        .execute(connection)
        .await?;
    }
    Ok((count, staying))
}

/// Removes the rows of sessions that ended at or before `ended_on`.
async fn remove(connection: &mut SqliteConnection, ended_on: i64) -> Result<i64, sqlx::Error> {
    let (count, sessions): (i64, String) = sqlx::query_as(
        "SELECT count(*), json_group_array(id)
           FROM (SELECT id
                   FROM session
                  WHERE held IS NULL
                    AND ended_on <= $1
                  ORDER BY ended_on
                  LIMIT $2)",
    )
    .bind(ended_on)
    .bind(BATCH_SESSIONS)
    .fetch_one(&mut *connection)
    .await?;
    if count > 0 {
        sqlx::query(
            "DELETE FROM operation WHERE session IN (SELECT value FROM json_each($1));
             DELETE FROM delivery WHERE session IN (SELECT value FROM json_each($1));
             DELETE FROM event WHERE session IN (SELECT value FROM json_each($1));
             DELETE FROM attempt WHERE session IN (SELECT value FROM json_each($1));
             DELETE FROM session WHERE id IN (SELECT value FROM json_each($1));",
        )
        .bind(sessions)
        .execute(connection)
        .await?;
    }
    Ok(count)
}

/// Removes wiped rows that are far from every live one.
async fn sweep(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    // A session's own row is older than those of its attempts: the oldest live row is a session's.
    sqlx::query(
        "DELETE FROM held
          WHERE id IN (SELECT id
                         FROM held
                        WHERE id < (SELECT coalesce(min(held) - $1, 9223372036854775807)
                                      FROM session
                                     WHERE held IS NOT NULL)
                        ORDER BY id
                        LIMIT $2)",
    )
    .bind(LIVE_DISTANCE)
    .bind(BATCH_WIPED)
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}

/// Seals anew what is under keys that are to go. Says how many rows.
async fn move_on(
    connection: &mut SqliteConnection,
    keys: &Keys,
    now: Timestamp,
) -> Result<usize, sqlx::Error> {
    let old = keys.to_be_moved(now);
    if old.is_empty() {
        return Ok(0);
    }
    let rows: Vec<(i64, Vec<u8>, Option<String>)> = sqlx::query_as(
        "SELECT held.id, held.data, session.account
           FROM held
           LEFT JOIN session ON session.held = held.id
          WHERE substr(held.data, 1, 1) = x'01'
            AND substr(held.data, 1, 9) IN (SELECT unhex(value) FROM json_each($1))
          LIMIT $2",
    )
    .bind(hex_list(&old))
    .bind(i64::try_from(BATCH_MOVED).unwrap_or(i64::MAX))
    .fetch_all(&mut *connection)
    .await?;
    let mut count = 0;
    for (id, data, account) in rows {
        let account = account.map(AccountId);
        let Some(moved) = keys.moved(&data, account.as_ref()) else { continue };
        sqlx::query(
            "UPDATE held SET data = $2 WHERE id = $1;
             UPDATE session SET reference_tag = $3 WHERE held = $1 AND $3 IS NOT NULL;",
        )
        .bind(id)
        .bind(moved.data)
        .bind(moved.reference)
        .execute(&mut *connection)
        .await?;
        count += 1;
    }
    Ok(count)
}
