//! What operators have found out, in PostgreSQL.

use hushpad_domain::ids::AttemptId;
use hushpad_domain::operation::Settlement;
use hushpad_domain::ports::StoreUnavailable;
use sqlx::{PgConnection, PgPool};

use crate::rows::SettlementRow;
use crate::unavailable;

/// Writes down what became of an attempt. Inside the writer's transaction.
pub(super) async fn settle(
    connection: &mut PgConnection,
    settlement: &Settlement,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO settlement (attempt, charged, reference, settled_on)
         VALUES ($1, $2, $3, $4)
             ON CONFLICT (attempt)
             DO UPDATE SET charged = excluded.charged, reference = excluded.reference,
                           settled_on = excluded.settled_on",
    )
    .bind(settlement.attempt.0)
    .bind(settlement.charged)
    .bind(settlement.reference.as_str())
    .bind(settlement.settled_on.as_micros())
    .execute(connection)
    .await
    .map(|_| ())
}

/// What is known of an attempt.
pub(super) async fn find(
    readers: &PgPool,
    attempt: AttemptId,
) -> Result<Option<Settlement>, StoreUnavailable> {
    let row: Option<SettlementRow> = sqlx::query_as(
        "SELECT attempt, charged, reference, settled_on
           FROM settlement
          WHERE attempt = $1",
    )
    .bind(attempt.0)
    .fetch_optional(readers)
    .await
    .map_err(unavailable)?;
    Ok(row.map(SettlementRow::read))
}

/// Removes those made at or before `settled_on`. An operator makes few.
pub(super) async fn forget(connection: &mut PgConnection, settled_on: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM settlement WHERE settled_on <= $1")
        .bind(settled_on)
        .execute(connection)
        .await
        .map(|_| ())
}
