//! Forward-only, numbered migrations, embedded in the program.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::retry::{Retries, code};
use crate::error::OpenError;
use crate::schema::SchemaVersions;

/// Every migration, in order. The number is that of the file, and the same in every dialect.
pub(crate) const MIGRATIONS: [(i64, &str); 11] = [
    (1, include_str!("../../migrations/postgres/0001_sessions_and_clients.sql")),
    (2, include_str!("../../migrations/postgres/0002_replays.sql")),
    (3, include_str!("../../migrations/postgres/0003_webhooks.sql")),
    (4, include_str!("../../migrations/postgres/0004_operations.sql")),
    (5, include_str!("../../migrations/postgres/0005_lists_and_credentials.sql")),
    (6, include_str!("../../migrations/postgres/0006_notifications.sql")),
    (7, include_str!("../../migrations/postgres/0007_payment_links.sql")),
    (8, include_str!("../../migrations/postgres/0008_sealed_results.sql")),
    (9, include_str!("../../migrations/postgres/0009_sign_in_and_certificates.sql")),
    (10, include_str!("../../migrations/postgres/0010_kept_cards.sql")),
    (11, include_str!("../../migrations/postgres/0011_sealed_notifications.sql")),
];

/// Whether this process may change the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// Bring it up to date.
    Upgrade,
    /// Set an empty database up, take any other as it is, if it is the one we know.
    Check,
}

/// The schema in the database beside the newest; 0 when it is empty.
///
/// # Errors
/// [`OpenError`]: written by a newer release, foreign, or refused by PostgreSQL.
pub(super) async fn versions(
    connection: &mut PgConnection,
    store: &str,
) -> Result<SchemaVersions, OpenError> {
    let known = MIGRATIONS.iter().map(|(number, _)| *number).max().unwrap_or(0);
    let found = version(connection)
        .await
        .map_err(|source| OpenError::Postgres { store: store.to_owned(), source })?;
    match found {
        Found::Ours(found) => SchemaVersions::of(store.to_owned(), found, known),
        Found::Nothing => SchemaVersions::of(store.to_owned(), 0, known),
        Found::Foreign => Err(OpenError::Foreign { store: store.to_owned() }),
    }
}

/// Brings the schema up to date. Several processes may do so at once: the row of the version is locked, and the
/// second finds the work done.
///
/// # Errors
/// [`OpenError`]: written by a newer release, foreign, or refused by PostgreSQL.
pub(super) async fn migrate(
    connection: &mut PgConnection,
    store: &str,
    schema: Schema,
) -> Result<(), OpenError> {
    let broken = |source| OpenError::Postgres { store: store.to_owned(), source };
    let known = MIGRATIONS.iter().map(|(number, _)| *number).max().unwrap_or(0);
    let found = match version(connection).await.map_err(broken)? {
        Found::Ours(version) => version,
        Found::Nothing => {
            mark(connection).await.map_err(broken)?;
            0
        }
        Found::Foreign => return Err(OpenError::Foreign { store: store.to_owned() }),
    };
    if found > known {
        return Err(OpenError::Newer { store: store.to_owned(), found, known });
    }
    if found < known && found > 0 && schema == Schema::Check {
        return Err(OpenError::Older { store: store.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    let mut retries = Retries::default();
    loop {
        match upgrade(connection).await {
            Ok(()) => return Ok(()),
            Err(error) if retries.again(&error).await => {}
            Err(error) => return Err(broken(error)),
        }
    }
}

enum Found {
    /// Our tables, with this version.
    Ours(i64),
    /// No table at all, or none but the first.
    Nothing,
    /// Tables of another program.
    Foreign,
}

async fn version(connection: &mut PgConnection) -> Result<Found, sqlx::Error> {
    let (tables, ours): (i64, i64) = sqlx::query_as(
        "SELECT count(*), count(*) FILTER (WHERE table_name = 'hushpad_schema')
           FROM information_schema.tables
          WHERE table_schema = current_schema()",
    )
    .fetch_one(&mut *connection)
    .await?;
    match (tables, ours) {
        (0, _) => Ok(Found::Nothing),
        (_, 0) => Ok(Found::Foreign),
        (_, _) => {
            let version: Option<(i64,)> = sqlx::query_as("SELECT version FROM hushpad_schema WHERE id = 1")
                .fetch_optional(connection)
                .await?;
            // Without its row, another process has just begun.
            Ok(version.map_or(Found::Nothing, |(version,)| Found::Ours(version)))
        }
    }
}

/// Makes the database ours, at version 0.
async fn mark(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let created = sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS hushpad_schema (
             id      BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
             version BIGINT NOT NULL
         )",
    )
    .execute(&mut *connection)
    .await;
    match created {
        Ok(_) => {}
        // Another process was quicker between the look and the making. Which of its marks is met first is chance:
        // "unique_violation" in the catalogue, "duplicate_table", or "duplicate_object" for the type of its rows.
        Err(error) if matches!(code(&error).as_deref(), Some("23505" | "42P07" | "42710")) => {}
        Err(error) => return Err(error),
    }
    sqlx::query("INSERT INTO hushpad_schema (id, version) VALUES (1, 0) ON CONFLICT DO NOTHING")
        .execute(connection)
        .await
        .map(|_| ())
}

/// Every migration that is missing, unless another process has made it meanwhile. In one transaction, so that
/// nobody finds the schema half way.
async fn upgrade(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    let (version,): (i64,) = sqlx::query_as("SELECT version FROM hushpad_schema WHERE id = 1 FOR UPDATE")
        .fetch_one(&mut *transaction)
        .await?;
    for (number, sql) in MIGRATIONS.iter().filter(|(number, _)| *number > version) {
        sqlx::raw_sql(AssertSqlSafe(*sql)).execute(&mut *transaction).await?;
        sqlx::query("UPDATE hushpad_schema SET version = $1 WHERE id = 1")
            .bind(number)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await
}
