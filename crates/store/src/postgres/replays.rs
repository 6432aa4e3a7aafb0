//! First answers in PostgreSQL. Each statement checks the epoch: an owner that was replaced writes none of this,
//! nor the session that it may have promised.

use hushpad_domain::replay::{Begun, FirstRequest, REPLAY_RETENTION, ReplayKey, StoredAnswer};
use hushpad_domain::time::Timestamp;
use sqlx::PgConnection;

use super::writer::GroupError;
use crate::retention::before;
use crate::rows::ReplayRow;

/// Takes the key for `request` if it is to be had, or says who has it.
///
/// # Errors
/// The store has a newer owner, or PostgreSQL refused.
pub(super) async fn begin(
    connection: &mut PgConnection,
    request: &FirstRequest,
    now: Timestamp,
    epoch: i64,
) -> Result<Begun, GroupError> {
    let (ours, taken): (i64, i64) = sqlx::query_as(
        "WITH ours AS (
             SELECT epoch FROM owner WHERE id = 1 AND epoch = $5 FOR SHARE
         ), taken AS (
             INSERT INTO replay (account, client, key_hash, fingerprint, session, epoch, begun_on)
             SELECT $1, $2, $3, $6, $7, $5, $8
               FROM ours
                 ON CONFLICT (account, client, key_hash)
                 DO UPDATE SET fingerprint = excluded.fingerprint, session = excluded.session,
                               epoch = excluded.epoch, begun_on = excluded.begun_on,
                               status = NULL, sealed_body = NULL
                         WHERE replay.begun_on <= $4
                            OR (replay.status IS NULL
                                AND replay.epoch <> $5
                                AND NOT EXISTS (SELECT 1 FROM session WHERE guid = replay.session)
                                AND NOT EXISTS (SELECT 1 FROM operation WHERE operation.id = replay.session))
          RETURNING 1
         )
         SELECT (SELECT count(*) FROM ours), (SELECT count(*) FROM taken)",
    )
    .bind(request.key.account.as_str())
    .bind(request.key.client.as_str())
    .bind(request.key.key_hash.as_slice())
    .bind(before(now, REPLAY_RETENTION))
    .bind(epoch)
    .bind(request.fingerprint.as_slice())
    .bind(request.session.0)
    .bind(now.as_micros())
    .fetch_one(&mut *connection)
    .await?;
    match (ours, taken) {
        (0, _) => Err(GroupError::Fenced),
        (_, 0) => Ok(whose(connection, request).await?.read(request, epoch)?),
        (_, _) => Ok(Begun::First),
    }
}

async fn whose(connection: &mut PgConnection, request: &FirstRequest) -> Result<ReplayRow, sqlx::Error> {
    sqlx::query_as(
        "SELECT fingerprint, session, epoch, status, sealed_body
           FROM replay
          WHERE account = $1 AND client = $2 AND key_hash = $3",
    )
    .bind(request.key.account.as_str())
    .bind(request.key.client.as_str())
    .bind(request.key.key_hash.as_slice())
    .fetch_one(connection)
    .await
}

/// Keeps the answer under a key that is in flight; without one, frees the key.
///
/// # Errors
/// The store has a newer owner, or PostgreSQL refused.
pub(super) async fn end(
    connection: &mut PgConnection,
    key: &ReplayKey,
    answer: Option<&StoredAnswer>,
    epoch: i64,
) -> Result<(), GroupError> {
    let query = match answer {
        Some(_) => sqlx::query_as(
            "WITH ours AS (
                 SELECT epoch FROM owner WHERE id = 1 AND epoch = $4 FOR SHARE
             ), kept AS (
                 UPDATE replay
                    SET status = $5, sealed_body = $6
                   FROM ours
                  WHERE account = $1 AND client = $2 AND key_hash = $3
                    AND status IS NULL
             )
             SELECT count(*) FROM ours",
        ),
        None => sqlx::query_as(
            "WITH ours AS (
                 SELECT epoch FROM owner WHERE id = 1 AND epoch = $4 FOR SHARE
             ), freed AS (
                 DELETE FROM replay
                  USING ours
                  WHERE account = $1 AND client = $2 AND key_hash = $3
                    AND status IS NULL
             )
             SELECT count(*) FROM ours",
        ),
    };
    let query =
        query.bind(key.account.as_str()).bind(key.client.as_str()).bind(key.key_hash.as_slice()).bind(epoch);
    let query = match answer {
        Some(answer) => query.bind(i64::from(answer.status)).bind(answer.sealed_body.as_slice()),
        None => query,
    };
    let (ours,): (i64,) = query.fetch_one(connection).await?;
    if ours == 0 { Err(GroupError::Fenced) } else { Ok(()) }
}

/// Removes what began at or before `begun_on`, at most `limit` rows; says how many.
pub(super) async fn forget(
    connection: &mut PgConnection,
    begun_on: i64,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "DELETE FROM replay
          WHERE (account, client, key_hash) IN (SELECT account, client, key_hash
                                                  FROM replay
                                                 WHERE begun_on <= $1
                                                 ORDER BY begun_on
                                                 LIMIT $2)",
    )
    .bind(begun_on)
    .bind(i64::from(limit))
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
