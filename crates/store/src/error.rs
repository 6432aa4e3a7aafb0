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
    #[error("{store} has schema {found}, this release knows up to {known}: run the newer release")]
    Newer {
        /// The database file, or the database's address without its password.
        store: String,
        /// The schema's number in the file.
        found: i64,
        /// The newest number that this release knows.
        known: i64,
    },
    /// The running owner is an older release, and only an owner may change the schema.
    #[error("{store} has schema {found}, this release needs {known}: restart the server with this release")]
    Older {
        /// The database file, or the database's address without its password.
        store: String,
        /// The schema's number in the file.
        found: i64,
        /// The number that this release needs.
        known: i64,
    },
    /// It is a database, but not ours.
    #[error("{store} is the database of another program")]
    Foreign {
        /// The database file, or the database's address without its password.
        store: String,
    },
    /// SQLite refused: the file is damaged, or no database.
    #[error("{path} cannot be opened: {source}")]
    Sqlite {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// PostgreSQL is not there, or refused.
    #[error("{store} cannot be opened: {source}")]
    Postgres {
        /// The database's address without its password.
        store: String,
        /// What PostgreSQL said.
        source: sqlx::Error,
    },
    /// PostgreSQL would answer a commit before it is on the disk.
    #[error("{store} has {setting} = off: what it says is written could be lost. Set it to on")]
    NotDurable {
        /// The database's address without its password.
        store: String,
        /// The setting.
        setting: &'static str,
    },
    /// The file with the keys of results.
    #[error(
        "{path} cannot be written: {source}. It holds the keys of results, so its directory must be writable"
    )]
    ResultKeys {
        /// The file that was tried.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The URL of the store names none. It is not quoted, as it may hold a password.
    #[error("the store's URL must be sqlite:PATH or postgres://user:password@host:port/database")]
    NotAUrl,
}
