//! What gateways have told, in PostgreSQL.

use hushpad_domain::notification::Waiting;
use hushpad_domain::ports::StoreUnavailable;
use sqlx::{PgConnection, PgPool};

use crate::queue::{Failure, ToldBy};
use crate::rows::{NotificationRow, notification_text};
use crate::unavailable;

/// Writes down what is new of it, if `epoch` is still the newest; says how many are. One statement.
pub(super) async fn keep(
    connection: &mut PgConnection,
    told_by: &ToldBy,
    epoch: i64,
) -> Result<Result<usize, StoreUnavailable>, sqlx::Error> {
    let keys: Vec<&str> = told_by.told.iter().map(|told| told.dedupe_key.as_str()).collect();
    let texts = match told_by.told.iter().map(notification_text).collect::<Result<Vec<String>, _>>() {
        Ok(texts) => texts,
        Err(error) => return Ok(Err(error)),
    };
    let (ours, new): (bool, i64) = sqlx::query_as(
        "WITH ours AS (
             SELECT epoch FROM owner WHERE id = 1 AND epoch = $1 FOR SHARE
         ), kept AS (
             INSERT INTO notification (gateway, key, received_on, told)
             SELECT $2, new.key, $3, new.told
               FROM ours, unnest($4::TEXT[], $5::TEXT[]) WITH ORDINALITY AS new (key, told, place)
              ORDER BY new.place
                 ON CONFLICT (gateway, key) DO NOTHING
             RETURNING 1
         )
         SELECT EXISTS (SELECT 1 FROM ours), (SELECT count(*) FROM kept)",
    )
    .bind(epoch)
    .bind(told_by.gateway.as_str())
    .bind(told_by.now.as_micros())
    .bind(keys)
    .bind(texts)
    .fetch_one(connection)
    .await?;
    Ok(if ours { Ok(usize::try_from(new).unwrap_or(0)) } else { Err(Failure::Fenced.into()) })
}

/// Wipes it, if `epoch` is still the newest; that it was told stays.
pub(super) async fn taken_up(
    connection: &mut PgConnection,
    number: i64,
    epoch: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH ours AS (
             SELECT epoch FROM owner WHERE id = 1 AND epoch = $2 FOR SHARE
         )
         UPDATE notification SET told = NULL FROM ours WHERE number = $1",
    )
    .bind(number)
    .bind(epoch)
    .execute(connection)
    .await
    .map(|_| ())
}

/// What was not taken up yet, in the order in which it came.
pub(super) async fn waiting(
    readers: &PgPool,
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
    connection: &mut PgConnection,
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
    .bind(i64::from(limit))
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
