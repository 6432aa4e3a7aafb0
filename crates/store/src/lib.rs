//! Where sessions, API clients, and first answers to be told again are kept.
//!
//! [`SqliteStore`] implements the ports `Sessions`, `Clients` and `Replays` of `domain` over one SQLite file. SQL
//! and row structs stop at this crate's edge; so does everything that SQLite says in an error.
//!
//! How it writes: every [`Change`](hushpad_domain::change::Change) goes through one bounded queue to one
//! writer. The writer takes all that wait, applies each inside one transaction (a change that conflicts
//! fails alone), commits once, and only then answers. So an answer means that the change is on the disk,
//! and many callers share one `fsync`.
//!
//! Who writes: opening takes the next number of the owner epoch, and each transaction checks that it is
//! still the newest. A process that slept through a take-over is refused, never merged.
//!
//! What is forgotten: `purge` wipes payment data and gateway results after 15 minutes, and whole sessions
//! after 90 days, from the file and from the write-ahead log. Answers kept under an `Idempotency-Key` go after
//! 24 hours; they are sealed before they come here, and hold nothing that must go earlier.
//!
//! Card data never comes here: this crate does not know the `card` room.

mod error;
mod sqlite;

pub use error::OpenError;
pub use sqlite::{FileSizes, Ownership, SqliteOptions, SqliteStore};
