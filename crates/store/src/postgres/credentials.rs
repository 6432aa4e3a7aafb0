//! What clients prove themselves with, in PostgreSQL.

use hushpad_domain::credentials::{ClientProof, SigningKeyNumber};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;
use sqlx::{PgConnection, PgPool};

use crate::client_rows::certificate_text;
use crate::queue::Credential;
use crate::rows::number;
use crate::unavailable;

/// Makes the change; false when there was nothing to change. Inside the writer's transaction.
pub(super) async fn apply(
    connection: &mut PgConnection,
    credential: &Credential,
) -> Result<bool, sqlx::Error> {
    let query = match credential {
        Credential::Prove(ClientProof::NewSecret(id, hash)) => sqlx::query(
            "UPDATE api_client
                SET old_secret_hash = secret_hash, secret_hash = $2
              WHERE id = $1 AND revoked_on IS NULL",
        )
        .bind(id.as_str())
        .bind(hash.as_slice()),
        Credential::Prove(ClientProof::DropOldSecret(id)) => {
            sqlx::query("UPDATE api_client SET old_secret_hash = NULL WHERE id = $1 AND revoked_on IS NULL")
                .bind(id.as_str())
        }
        Credential::Prove(ClientProof::PublicKey(id, key)) => {
            sqlx::query("UPDATE api_client SET public_key = $2 WHERE id = $1 AND revoked_on IS NULL")
                .bind(id.as_str())
                .bind(key.as_ref().map(<[u8; 32]>::as_slice))
        }
        Credential::Prove(ClientProof::Certificate(id, certificate)) => {
            sqlx::query("UPDATE api_client SET certificate = $2 WHERE id = $1 AND revoked_on IS NULL")
                .bind(id.as_str())
                .bind(certificate.as_ref().map(certificate_text))
        }
        Credential::PutLogin(login) => sqlx::query(
            "INSERT INTO agent_login (account, agent, password_hash, since, revoked_on)
             VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (account, agent)
                 DO UPDATE SET password_hash = excluded.password_hash, since = excluded.since,
                               revoked_on = excluded.revoked_on",
        )
        .bind(login.account.as_str())
        .bind(login.agent.as_str())
        .bind(login.password_hash.as_str())
        .bind(login.since.as_micros())
        .bind(login.revoked_on.map(Timestamp::as_micros)),
        Credential::Spend(spent) => {
            sqlx::query("INSERT INTO spent (hash, expires_on) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(spent.hash.as_slice())
                .bind(spent.expires_on.as_micros())
        }
        Credential::AddSigningKey(key) => sqlx::query(
            "INSERT INTO signing_key (number, active_from) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(i64::from(key.number))
        .bind(key.active_from.as_micros()),
    };
    query.execute(connection).await.map(|done| done.rows_affected() > 0)
}

/// Whether this was used.
pub(super) async fn is_spent(readers: &PgPool, hash: [u8; 32]) -> Result<bool, StoreUnavailable> {
    let found: Option<(i64,)> = sqlx::query_as("SELECT expires_on FROM spent WHERE hash = $1")
        .bind(hash.as_slice())
        .fetch_optional(readers)
        .await
        .map_err(unavailable)?;
    Ok(found.is_some())
}

/// Every signing key, in order.
pub(super) async fn signing_keys(readers: &PgPool) -> Result<Vec<SigningKeyNumber>, StoreUnavailable> {
    let rows: Vec<(i64, i64)> = sqlx::query_as("SELECT number, active_from FROM signing_key ORDER BY number")
        .fetch_all(readers)
        .await
        .map_err(unavailable)?;
    let read = |(stored, from)| {
        Ok(SigningKeyNumber {
            number: number("a key's number", stored)?,
            active_from: Timestamp::from_micros(from),
        })
    };
    rows.into_iter().map(read).collect()
}

/// Forgets what would be refused for its age anyway. Inside the writer's transaction.
pub(super) async fn forget(connection: &mut PgConnection, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM spent WHERE expires_on <= $1")
        .bind(now.as_micros())
        .execute(connection)
        .await
        .map(|_| ())
}
