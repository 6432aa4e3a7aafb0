//! Which errors mean "do the whole transaction again", and how often, and how long between.

use std::time::Duration;

/// Pauses before each further try, in milliseconds: seven tries within a second and a half, far inside the time that
/// a caller waits.
const PAUSES_MS: [u64; 6] = [2, 10, 50, 150, 400, 800];

/// Counts the tries of one transaction.
#[derive(Default)]
pub(super) struct Retries {
    made: usize,
}

impl Retries {
    /// Whether to try again after this error; returns when it is time to.
    pub(super) async fn again(&mut self, error: &sqlx::Error) -> bool {
        if !is_transient(error) {
            return false;
        }
        let Some(pause_ms) = PAUSES_MS.get(self.made) else { return false };
        self.made += 1;
        tokio::time::sleep(Duration::from_millis(*pause_ms)).await;
        true
    }
}

/// Whether the database took the transaction back for the sake of another: `serialization_failure` and
/// `deadlock_detected`. CockroachDB and YugabyteDB use the same codes, and may give them at any commit.
fn is_transient(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == "40001" || code == "40P01")
}

/// Whether the error concerns the values of one statement: a data exception or a broken constraint.
pub(super) fn is_own_fault(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
}

/// The five letters of the SQL standard and of PostgreSQL's appendix A.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}
