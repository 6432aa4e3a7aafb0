//! What gateways have told, in PostgreSQL.

use hushpad_domain::notification::Waiting;
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;
use sqlx::{PgConnection, PgPool};

use crate::keys::Keys;
use crate::notification_rows::{NotificationColumns, NotificationRow};
use crate::queue::{Failure, ToldBy};
use crate::unavailable;

/// Writes down what is new of it, if `epoch` is still the newest; says how many are. One statement.
pub(super) async fn keep(
    connection: &mut PgConnection,
    told_by: &ToldBy,
    epoch: i64,
    keys: &Keys,
) -> Result<Result<usize, StoreUnavailable>, sqlx::Error> {
    let known_by: Vec<&str> = told_by.told.iter().map(|told| told.dedupe_key.as_str()).collect();
    let columns = told_by.told.iter().map(|told| NotificationColumns::of(told, keys));
    let columns = match columns.collect::<Result<Vec<_>, _>>() {
        Ok(columns) => columns,
        Err(error) => return Ok(Err(error)),
    };
    let (texts, sealed): (Vec<_>, Vec<_>) = columns.into_iter().map(|one| (one.told, one.sealed)).unzip();
    let (ours, new): (bool, i64) = sqlx::query_as(
        "WITH ours AS (
             SELECT epoch FROM owner WHERE id = 1 AND epoch = $1 FOR SHARE
         ), kept AS (
             INSERT INTO notification (gateway, key, received_on, told, sealed)
             SELECT $2, new.key, $3, new.told, new.sealed
               FROM ours, unnest($4::TEXT[], $5::TEXT[], $6::BYTEA[]) WITH ORDINALITY
                            AS new (key, told, sealed, place)
              ORDER BY new.place
                 ON CONFLICT (gateway, key) DO NOTHING
             RETURNING 1
         )
         SELECT EXISTS (SELECT 1 FROM ours), (SELECT count(*) FROM kept)",
    )
    .bind(epoch)
    .bind(told_by.gateway.as_str())
    .bind(told_by.now.as_micros())
    .bind(known_by)
    .bind(texts)
    .bind(sealed)
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
         UPDATE notification SET told = NULL, sealed = NULL FROM ours WHERE number = $1",
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
    connection: &mut PgConnection,
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
            AND substr(sealed, 1, 9) = ANY ($1)
          LIMIT $2",
    )
    .bind(old)
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
