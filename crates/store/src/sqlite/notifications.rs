//! What gateways have told, in SQLite.

use hushpad_domain::notification::Waiting;
use hushpad_domain::ports::StoreUnavailable;
use sqlx::{SqliteConnection, SqlitePool};

use crate::queue::{Failure, Job, ToldBy};
use crate::rows::{NotificationRow, notification_text};
use crate::unavailable;
use crate::writer::Role;

/// Does a job of this table and leaves its answer in it; any other is left alone. Inside the writer's transaction,
/// which has checked the epoch.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    job: &mut Job,
    role: Role,
) -> Result<(), sqlx::Error> {
    match (job, role) {
        (Job::KeepNotifications(ask), Role::Owner { .. }) => {
            ask.answer = Some(keep(connection, &ask.question).await?);
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
) -> Result<Result<usize, StoreUnavailable>, sqlx::Error> {
    let mut new = 0;
    for told in &told_by.told {
        let text = match notification_text(told) {
            Ok(text) => text,
            Err(error) => return Ok(Err(error)),
        };
        let done = sqlx::query(
            "INSERT INTO notification (gateway, key, received_on, told)
             VALUES ($1, $2, $3, $4)
                 ON CONFLICT (gateway, key) DO NOTHING",
        )
        .bind(told_by.gateway.as_str())
        .bind(told.dedupe_key.as_str())
        .bind(told_by.now.as_micros())
        .bind(text)
        .execute(&mut *connection)
        .await?;
        new += usize::try_from(done.rows_affected()).unwrap_or(0);
    }
    Ok(Ok(new))
}

/// Wipes it; that it was told stays.
async fn taken_up(connection: &mut SqliteConnection, number: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE notification SET told = NULL WHERE number = $1")
        .bind(number)
        .execute(connection)
        .await
        .map(|_| ())
}

/// What was not taken up yet, in the order in which it came.
pub(super) async fn waiting(
    readers: &SqlitePool,
    after: i64,
    limit: u32,
) -> Result<Vec<Waiting>, StoreUnavailable> {
    let rows: Vec<NotificationRow> = sqlx::query_as(
        "SELECT number, gateway, told
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
    rows.into_iter().map(NotificationRow::read).collect()
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
