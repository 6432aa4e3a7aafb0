//! How agents sign in, in SQLite.

use hushpad_domain::credentials::AgentLogin;
use hushpad_domain::ids::{AccountId, AgentId};
use hushpad_domain::ports::StoreUnavailable;
use sqlx::SqlitePool;

use crate::client_rows::LoginRow;
use crate::unavailable;

/// How this agent signs in, also when revoked.
pub(super) async fn find(
    readers: &SqlitePool,
    account: &AccountId,
    agent: &AgentId,
) -> Result<Option<AgentLogin>, StoreUnavailable> {
    let row: Option<LoginRow> = sqlx::query_as(
        "SELECT account, agent, password_hash, since, revoked_on
           FROM agent_login
          WHERE account = $1 AND agent = $2",
    )
    .bind(account.as_str())
    .bind(agent.as_str())
    .fetch_optional(readers)
    .await
    .map_err(unavailable)?;
    Ok(row.map(LoginRow::read))
}

/// How all agents sign in.
pub(super) async fn list(readers: &SqlitePool) -> Result<Vec<AgentLogin>, StoreUnavailable> {
    let rows: Vec<LoginRow> = sqlx::query_as(
        "SELECT account, agent, password_hash, since, revoked_on
           FROM agent_login
          ORDER BY account, agent",
    )
    .fetch_all(readers)
    .await
    .map_err(unavailable)?;
    Ok(rows.into_iter().map(LoginRow::read).collect())
}
