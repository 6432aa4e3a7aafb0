//! How long what is kept.

use std::time::Duration;

use hushpad_domain::time::Timestamp;

/// How long a session's ids, times and outcome are kept after its end.
pub(super) const SESSION_RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Kept answers, notifications that were taken up, and whose stored cards were, removed in one transaction of a purge, at most: a few KB each.
pub(super) const BATCH_REPLAYS: u32 = 200;

/// `now` less `retention`, in microseconds.
pub(super) fn before(now: Timestamp, retention: Duration) -> i64 {
    now.as_micros().saturating_sub(i64::try_from(retention.as_micros()).unwrap_or(i64::MAX))
}
