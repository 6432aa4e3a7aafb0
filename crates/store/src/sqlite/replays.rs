//! First answers in SQLite. Everything here is inside the writer's transaction, which has checked the epoch:
//! an owner that was replaced writes none of this, nor the session that it may have promised.

use hushpad_domain::replay::{Begun, FirstRequest, REPLAY_RETENTION, ReplayKey, StoredAnswer};
use hushpad_domain::time::Timestamp;
use sqlx::SqliteConnection;

use crate::retention::before;
use crate::rows::ReplayRow;

/// Takes the key for `request`, or says who has it. One round trip: frees the key if it is to be had, takes it
/// if it is free, reads whose it is now.
pub(super) async fn begin(
    connection: &mut SqliteConnection,
    request: &FirstRequest,
    now: Timestamp,
    epoch: i64,
) -> Result<Begun, sqlx::Error> {
    let row: ReplayRow = sqlx::query_as(
        "DELETE FROM replay
          WHERE account = $1 AND client = $2 AND key_hash = $3
            AND (begun_on <= $4
                 OR (status IS NULL
                     AND epoch <> $5
                     AND NOT EXISTS (SELECT 1 FROM session WHERE guid = replay.session)
                     AND NOT EXISTS (SELECT 1 FROM operation WHERE operation.id = replay.session)));
         INSERT INTO replay (account, client, key_hash, fingerprint, session, epoch, begun_on)
         VALUES ($1, $2, $3, $6, $7, $5, $8)
             ON CONFLICT (account, client, key_hash) DO NOTHING;
         SELECT fingerprint, session, epoch, status, sealed_body
           FROM replay
          WHERE account = $1 AND client = $2 AND key_hash = $3",
    )
    .bind(request.key.account.as_str())
    .bind(request.key.client.as_str())
    .bind(request.key.key_hash.as_slice())
    .bind(before(now, REPLAY_RETENTION))
    .bind(epoch)
    .bind(request.fingerprint.as_slice())
    .bind(request.session.0.as_bytes().as_slice())
    .bind(now.as_micros())
    .fetch_one(connection)
    .await?;
    row.read(request, epoch)
}

/// Keeps the answer under a key that is in flight; without one, frees the key.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    key: &ReplayKey,
    answer: Option<&StoredAnswer>,
) -> Result<(), sqlx::Error> {
    let query = match answer {
        Some(answer) => sqlx::query(
            "UPDATE replay
                SET status = $4, sealed_body = $5
              WHERE account = $1 AND client = $2 AND key_hash = $3
                AND status IS NULL",
        )
        .bind(key.account.as_str())
        .bind(key.client.as_str())
        .bind(key.key_hash.as_slice())
        .bind(answer.status)
        .bind(answer.sealed_body.as_slice()),
        None => sqlx::query(
            "DELETE FROM replay
              WHERE account = $1 AND client = $2 AND key_hash = $3
                AND status IS NULL",
        )
        .bind(key.account.as_str())
        .bind(key.client.as_str())
        .bind(key.key_hash.as_slice()),
    };
    query.execute(connection).await.map(|_| ())
}

/// Removes what began at or before `begun_on`, at most `limit` rows; says how many.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    begun_on: i64,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "DELETE FROM replay
          WHERE id IN (SELECT id
                         FROM replay
                        WHERE begun_on <= $1
                        ORDER BY begun_on
                        LIMIT $2)",
    )
    .bind(begun_on)
    .bind(limit)
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
