//! Whose stored cards are, in SQLite. They are written with the change that brings them: see `changes`.

use hushpad_domain::ids::{AccountId, GatewayName};
use hushpad_domain::kept_card::{KeptCard, TokenHash};
use hushpad_domain::ports::StoreUnavailable;
use sqlx::{SqliteConnection, SqlitePool};

use crate::rows::KeptCardRow;
use crate::unavailable;

/// The card under this token, if the account got it at one of these gateways; the newest, where it did at several.
pub(super) async fn find(
    readers: &SqlitePool,
    account: &AccountId,
    gateways: &[GatewayName],
    token: TokenHash,
) -> Result<Option<KeptCard>, StoreUnavailable> {
    let rows: Vec<KeptCardRow> = sqlx::query_as(
        "SELECT gateway, network_transaction_id
           FROM kept_card
          WHERE account = $1
            AND token = $2
          ORDER BY got_on DESC",
    )
    .bind(account.as_str())
    .bind(token.0.as_slice())
    .fetch_all(readers)
    .await
    .map_err(unavailable)?;
    Ok(KeptCardRow::among(rows, gateways, token))
}

/// Forgets those that were got at or before `got_on`, at most `limit`; says how many.
pub(super) async fn forget(
    connection: &mut SqliteConnection,
    got_on: i64,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    sqlx::query(
        "DELETE FROM kept_card
          WHERE (account, token, gateway) IN (SELECT account, token, gateway
                                                FROM kept_card
                                               WHERE got_on <= $1
                                               ORDER BY got_on
                                               LIMIT $2)",
    )
    .bind(got_on)
    .bind(limit)
    .execute(connection)
    .await
    .map(|done| done.rows_affected())
}
