//! The schema by itself: which one a store has, and bringing it up to date without opening the store.

use std::path::Path;

use crate::{OpenError, postgres, sqlite};

/// The schema that a store had, and the one of this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchemaVersions {
    /// The number that was found; 0 for a store that is empty or not there yet.
    pub found: i64,
    /// The newest number that this release knows.
    pub known: i64,
}

impl SchemaVersions {
    /// As found, unless a newer release has written it.
    pub(super) fn of(store: String, found: i64, known: i64) -> Result<Self, OpenError> {
        if found > known { Err(OpenError::Newer { store, found, known }) } else { Ok(Self { found, known }) }
    }
}

/// Looks which schema the store at `url` has. Changes nothing.
///
/// # Errors
/// [`OpenError`]: what the operator must mend.
pub async fn schema_versions(url: &str) -> Result<SchemaVersions, OpenError> {
    match place(url)? {
        Place::File(path) => sqlite::schema_versions(path).await,
        Place::Database => postgres::schema_versions(url).await,
    }
}

/// Brings the schema of the store at `url` up to date, and gives what it was. A file that a server has open is refused;
/// a database is not, so its server is to be stopped before.
///
/// # Errors
/// [`OpenError`]: what the operator must mend.
pub async fn migrate(url: &str) -> Result<SchemaVersions, OpenError> {
    match place(url)? {
        Place::File(path) => sqlite::migrate_alone(path).await,
        Place::Database => postgres::migrate_alone(url).await,
    }
}

enum Place<'a> {
    File(&'a Path),
    Database,
}

fn place(url: &str) -> Result<Place<'_>, OpenError> {
    match url.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
        Some(path) => Ok(Place::File(Path::new(path))),
        None if url.starts_with("postgres://") || url.starts_with("postgresql://") => Ok(Place::Database),
        None => Err(OpenError::NotAUrl),
    }
}
