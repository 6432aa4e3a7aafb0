//! Where sessions, API clients, and first answers to be told again are kept.
//!
//! Webhook deliveries wait here too, as references to their sessions.
//!
//! [`open`] gives a [`Store`] by its URL: `sqlite:PATH` or `postgres://…`. Both engines implement the ports
//! `Sessions`, `Clients`, `Replays` and `Webhooks` of `domain`, [`SqliteStore`] over one file and [`PostgresStore`] over a database;
//! one contract suite holds them to the same behaviour. SQL and row structs stop at this crate's edge; so does
//! everything that a database says in an error.
//!
//! How it writes: every [`Change`](hushpad_domain::change::Change) goes through one bounded queue to one
//! writer. The writer takes all that wait, applies each inside one transaction (a change that conflicts
//! fails alone), commits once, and only then answers. So an answer means that the change is on the disk,
//! and many callers share one `fsync`.
//!
//! Who writes: opening takes the next number of the owner epoch, and each transaction checks that it is
//! still the newest. A process that slept through a take-over is refused, never merged.
//!
//! What is forgotten: `purge` wipes payment data and gateway results when their time is over (15 minutes after the end,
//! or after a webhook's delivery), and whole sessions
//! after 90 days; of a gateway's notification the result goes when it is taken up. From SQLite's file and write-ahead log they are gone for good. PostgreSQL keeps the bytes of
//! deleted rows until their place is written over. In both they are sealed under keys that are gone by then, so that no
//! backup tells them either; see `keys`.
//! Whose a stored card is, is known for five years, by a hash whose key is not here.
//! Answers kept under an `Idempotency-Key` go after 24 hours; they are sealed before they come here, and hold
//! nothing that must go earlier.
//!
//! Where what is: `queue`, `writer`, `rows`, `notification_rows`, `deliveries` and `retention` are shared; `sqlite/` and `postgres/` hold the SQL, in
//! files of the same names. A new port is a `Job` in `queue`, a file in each engine, an arm in each engine's
//! writer, and a migration of the same number in each dialect.
//!
//! Card data never comes here: this crate does not know the `card` room.

mod chance;
mod client_rows;
mod deliveries;
mod error;
mod keys;
mod notification_rows;
mod postgres;
mod queue;
mod retention;
mod rows;
mod schema;
mod sqlite;
mod store;
mod writer;

use hushpad_domain::ports::StoreUnavailable;

pub use chance::Chance;
pub use error::OpenError;
pub use postgres::PostgresStore;
pub use schema::{SchemaVersions, migrate, schema_versions};
pub use sqlite::{FileSizes, SqliteOptions, SqliteStore};
pub use store::{Store, open, open_with_keys};

/// As what a store is opened.
#[derive(Clone, Debug)]
pub enum Ownership {
    /// As its one owner; refused while another process is. Over PostgreSQL the same as `TakeOver`.
    Exclusive(Chance),
    /// As its one owner, from now on: an owner that still runs is fenced and can write no more. That owner
    /// keeps the lock of SQLite's file until its process ends; until then only this epoch keeps others apart.
    TakeOver(Chance),
    /// Beside the owner, for the command line: reads, and writes of API clients, settlements and replays of dead
    /// letters only.
    Guest,
}

fn unavailable(error: sqlx::Error) -> StoreUnavailable {
    StoreUnavailable(error.to_string())
}
