//! Forward-only, numbered migrations, embedded in the program.

use std::path::Path;

use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::error::OpenError;
use crate::schema::SchemaVersions;

/// Every migration, in order. The number is that of the file, and the same in every dialect.
const MIGRATIONS: [(i64, &str); 11] = [
    (1, include_str!("../../migrations/sqlite/0001_sessions_and_clients.sql")),
    (2, include_str!("../../migrations/sqlite/0002_replays.sql")),
    (3, include_str!("../../migrations/sqlite/0003_webhooks.sql")),
    (4, include_str!("../../migrations/sqlite/0004_operations.sql")),
    (5, include_str!("../../migrations/sqlite/0005_lists_and_credentials.sql")),
    (6, include_str!("../../migrations/sqlite/0006_notifications.sql")),
    (7, include_str!("../../migrations/sqlite/0007_payment_links.sql")),
    (8, include_str!("../../migrations/sqlite/0008_sealed_results.sql")),
    (9, include_str!("../../migrations/sqlite/0009_sign_in_and_certificates.sql")),
    (10, include_str!("../../migrations/sqlite/0010_kept_cards.sql")),
    (11, include_str!("../../migrations/sqlite/0011_sealed_notifications.sql")),
];

/// `Hush`: marks the file as ours (`PRAGMA application_id`).
const APPLICATION_ID: i64 = 0x4875_7368;

/// Whether this process may change the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// Bring it up to date.
    Upgrade,
    /// Take it as it is, if it is the one we know.
    Check,
}

/// Brings the schema up to date, each migration in a transaction of its own.
///
/// # Errors
/// [`OpenError`]: written by a newer release, foreign, or refused by SQLite.
pub(super) async fn migrate(
    connection: &mut SqliteConnection,
    path: &Path,
    schema: Schema,
) -> Result<(), OpenError> {
    let broken = |source| OpenError::Sqlite { path: path.to_owned(), source };
    let SchemaVersions { found, known } = versions(connection, path).await?;
    if found < known && schema == Schema::Check {
        return Err(OpenError::Older { store: path.display().to_string(), found, known });
    }
    for (number, sql) in MIGRATIONS.iter().filter(|(number, _)| *number > found) {
        let script = format!(
            "BEGIN IMMEDIATE;
             {sql}
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {number};
             COMMIT;"
        );
        sqlx::raw_sql(AssertSqlSafe(script)).execute(&mut *connection).await.map_err(broken)?;
    }
    Ok(())
}

/// The newest number.
pub(super) fn known() -> i64 {
    MIGRATIONS.iter().map(|(number, _)| *number).max().unwrap_or(0)
}

/// The schema in the file beside the newest.
///
/// # Errors
/// [`OpenError`]: written by a newer release, foreign, or refused by SQLite.
pub(super) async fn versions(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<SchemaVersions, OpenError> {
    let found = version(connection, path).await?;
    SchemaVersions::of(path.display().to_string(), found, known())
}

/// The schema's number in the file; 0 when it is empty.
async fn version(connection: &mut SqliteConnection, path: &Path) -> Result<i64, OpenError> {
    let (application, version, tables): (i64, i64, i64) = sqlx::query_as(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
           FROM pragma_application_id, pragma_user_version",
    )
    .fetch_one(connection)
    .await
    .map_err(|source| OpenError::Sqlite { path: path.to_owned(), source })?;
    match (application, tables) {
        (APPLICATION_ID, _) | (0, 0) => Ok(version),
        (_, _) => Err(OpenError::Foreign { store: path.display().to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::PathBuf;

    use super::MIGRATIONS;
    use crate::postgres::migrate as postgres;

    /// The migrations of every dialect: directory name → file names in order.
    fn files() -> BTreeMap<String, Vec<String>> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let names = |path: PathBuf| {
            let mut names: Vec<String> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        };
        names(root.clone()).into_iter().map(|dialect| (dialect.clone(), names(root.join(dialect)))).collect()
    }

    #[test]
    fn migrations_are_numbered_without_gaps_and_all_embedded() {
        let files = files();
        for (dialect, embedded) in [("sqlite", MIGRATIONS), ("postgres", postgres::MIGRATIONS)] {
            let names = &files[dialect];
            assert_eq!(names.len(), embedded.len());
            for (index, (name, (number, sql))) in names.iter().zip(embedded).enumerate() {
                assert_eq!(number, i64::try_from(index).unwrap() + 1);
                assert!(name.starts_with(&format!("{number:04}_")) && name.ends_with(".sql"), "{name}");
                let path =
                    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect).join(name);
                assert_eq!(fs::read_to_string(path).unwrap(), sql, "{name}");
            }
        }
    }

    #[test]
    fn every_dialect_has_the_same_migrations() {
        let files = files();
        for (dialect, names) in &files {
            assert_eq!(names, &files["sqlite"], "{dialect}");
        }
    }
}
