//! Why a store does not open. Every text is for the operator and says what to do.

use std::path::PathBuf;

use thiserror::Error;

/// A store that did not open. All are the operator's to mend.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file or its directory cannot be written.
    #[error("{path} cannot be written: {source}. The directory must exist and be writable by this user")]
    NotWritable {
        /// The file that was tried.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has the store open as its owner.
    #[error("{path} is in use by another process: stop it first, or take the store over")]
    Owned {
        /// The database file.
        path: PathBuf,
    },
    /// A newer release has written this store.
    #[error("{path} has schema {found}, this release knows up to {known}: run the newer release")]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The schema's number in the file.
        found: i64,
        /// The newest number that this release knows.
        known: i64,
    },
    /// The running owner is an older release, and only an owner may change the schema.
    #[error("{path} has schema {found}, this release needs {known}: restart the server with this release")]
    Older {
        /// The database file.
        path: PathBuf,
        /// The schema's number in the file.
        found: i64,
        /// The number that this release needs.
        known: i64,
    },
    /// It is a database, but not ours.
    #[error("{path} is the database of another program")]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// SQLite refused: the file is damaged, or no database.
    #[error("{path} cannot be opened: {source}")]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
}
