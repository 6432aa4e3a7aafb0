//! What gateways have told, in SQLite.

use hushpad_domain::notification::Waiting;
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};

use crate::keys::Keys;
use crate::notification_rows::{NotificationColumns, NotificationRow};
use crate::queue::{Failure, Job, ToldBy};
use crate::rows::hex_list;
use crate::unavailable;
use crate::writer::Role;

/// Does a job of this table and leaves its answer in it; any other is left alone. Inside the writer's transaction,
/// which has checked the epoch.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    job: &mut Job,
    role: Role,
    keys: &Keys,
) -> Result<(), sqlx::Error> {
    match (job, role) {
        (Job::KeepNotifications(ask), Role::Owner { .. }) => {
            ask.answer = Some(keep(connection, &ask.question, keys).await?);
        }
        (Job::KeepNotifications(ask), Role::Guest) => ask.answer = Some(Err(Failure::Fenced.into())),
        (Job::NotificationTakenUp(ask), Role::Owner { .. }) => {
            ask.answer = Some(Ok(taken_up(connection, ask.question).await?));
        }
        (Job::NotificationTakenUp(ask), Role::Guest) => ask.answer = Some(Err(Failure::Fenced.into())),
        (_, Role::Owner { .. } | Role::Guest) => {}
    }
    Ok(())
}

/// Writes down what is new of it; says how many are.
async fn keep(
    connection: &mut SqliteConnection,
    told_by: &ToldBy,
    keys: &Keys,
) -> Result<Result<usize, StoreUnavailable>, sqlx::Error> {
    let mut new = 0;
    for told in &told_by.told {
        let NotificationColumns { told: text, sealed } = match NotificationColumns::of(told, keys) {
            Ok(columns) => columns,
            Err(error) => return Ok(Err(error)),
        };
        let done = sqlx::query(
            "INSERT INTO notification (gateway, key, received_on, told, sealed)
             VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (gateway, key) DO NOTHING",
        )
        .bind(told_by.gateway.as_str())
        .bind(told.dedupe_key.as_str())
        .bind(told_by.now.as_micros())
        .bind(text)
        .bind(sealed)
        .execute(&mut *connection)
        .await?;
        new += usize::try_from(done.rows_affected()).unwrap_or(0);
    }
    Ok(Ok(new))
}

/// Wipes it; that it was told stays.
async fn taken_up(connection: &mut SqliteConnection, number: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE notification SET told = NULL, sealed = NULL WHERE number = $1")
        .bind(number)
        .execute(connection)
        .await
        .map(|_| ())
}

/// What was not taken up yet, in the order in which it came.
pub(super) async fn waiting(
    readers: &SqlitePool,
    keys: &Keys,
    after: i64,
    limit: u32,
) -> Result<Vec<Waiting>, StoreUnavailable> {
    let rows: Vec<NotificationRow> = sqlx::query_as(
        "SELECT number, gateway, told, sealed
           FROM notification
          WHERE told IS NOT NULL
            AND number > $1
          ORDER BY number
          LIMIT $2",
    )
    .bind(after)
    .bind(i64::from(limit))
    .fetch_all(readers)
    .await
    .map_err(unavailable)?;
    rows.into_iter().map(|row| row.read(keys)).collect()
}

/// Seals anew what waits under keys that are to go, at most `limit`; says how many.
pub(super) async fn move_on(
    connection: &mut SqliteConnection,
    keys: &Keys,
    now: Timestamp,
    limit: usize,
) -> Result<usize, sqlx::Error> {
    let old = keys.to_be_moved(now);
    if old.is_empty() {
        return Ok(0);
    }
    let rows: Vec<(i64, Vec<u8>)> = sqlx::query_as(
        "SELECT number, sealed
           FROM notification
          WHERE told IS NOT NULL
            AND substr(sealed, 1, 9) IN (SELECT unhex(value) FROM json_each($1))
          LIMIT $2",
    )
    .bind(hex_list(&old))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(&mut *connection)
    .await?;
    let mut count = 0;
    for (number, sealed) in rows {
        let Some(moved) = keys.moved(&sealed, None) else { continue };
        sqlx::query("UPDATE notification SET sealed = $2 WHERE number = $1")
            .bind(number)
            .bind(moved.data)
            .execute(&mut *connection)
            .await?;
        count += 1;
    }
    Ok(count)
}

/// Forgets those that were taken up and came at or before `received_on`, at most `limit`; says how many.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    received_on: i64,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "DELETE FROM notification
          WHERE number IN (SELECT number
                             FROM notification
                            WHERE told IS NULL
                              AND received_on <= $1
                            ORDER BY received_on
                            LIMIT $2)",
    )
    .bind(received_on)
    .bind(limit)
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
