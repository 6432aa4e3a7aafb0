//! API clients in SQLite.

use hushpad_domain::client::ApiClient;
use hushpad_domain::ids::{AgentId, ClientId};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;
use sqlx::{SqliteConnection, SqlitePool};

use crate::client_rows::{ClientRow, certificate_text, redirect_uris_text};
use crate::unavailable;

/// Adds a client. Inside the writer's transaction.
pub(super) async fn add(connection: &mut SqliteConnection, client: &ApiClient) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO api_client (id, account, agent, secret_hash, label, created_on, revoked_on, old_secret_hash,
                                 public_key, certificate, redirect_uris)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(client.id.as_str())
    .bind(client.account.as_str())
    .bind(client.agent.as_ref().map(AgentId::as_str))
    .bind(client.secret_hash.as_slice())
    .bind(client.label.as_str())
    .bind(client.created_on.as_micros())
    .bind(client.revoked_on.map(Timestamp::as_micros))
    .bind(client.old_secret_hash.as_ref().map(<[u8; 32]>::as_slice))
    .bind(client.public_key.as_ref().map(<[u8; 32]>::as_slice))
    .bind(client.certificate.as_ref().map(certificate_text))
    .bind(redirect_uris_text(&client.redirect_uris))
    .execute(connection)
    .await
    .map(|_| ())
}

/// Revokes a client; false when there is nothing to revoke. Inside the writer's transaction.
pub(super) async fn revoke(
    connection: &mut SqliteConnection,
    id: &ClientId,
    at: Timestamp,
) -> Result<bool, sqlx::Error> {
    sqlx::query(
        "UPDATE api_client
            SET revoked_on = $2
          WHERE id = $1
            AND revoked_on IS NULL",
    )
    .bind(id.as_str())
    .bind(at.as_micros())
    .execute(connection)
    .await
    .map(|done| done.rows_affected() > 0)
}

/// All clients, oldest first.
pub(super) async fn list(readers: &SqlitePool) -> Result<Vec<ApiClient>, StoreUnavailable> {
    let rows: Vec<ClientRow> = sqlx::query_as(
        "SELECT id, account, agent, secret_hash, old_secret_hash, public_key, certificate, redirect_uris,
                label, created_on, revoked_on
           FROM api_client
          ORDER BY created_on, id",
    )
    .fetch_all(readers)
    .await
    .map_err(unavailable)?;
    rows.into_iter().map(ClientRow::read).collect()
}

/// The client with this id, also when revoked.
pub(super) async fn find(readers: &SqlitePool, id: &ClientId) -> Result<Option<ApiClient>, StoreUnavailable> {
    let row: Option<ClientRow> = sqlx::query_as(
        "SELECT id, account, agent, secret_hash, old_secret_hash, public_key, certificate, redirect_uris,
                label, created_on, revoked_on
           FROM api_client
          WHERE id = $1",
    )
    .bind(id.as_str())
    .fetch_optional(readers)
    .await
    .map_err(unavailable)?;
    row.map(ClientRow::read).transpose()
}
