//! The one clock of calls.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: OnceLock<Instant> = OnceLock::new();

/// Microseconds of the process's monotonic clock. Key reports of every carrier use it.
#[must_use]
pub fn now_us() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the media plane's one look at the clock")]
    let now = Instant::now();
    let since = now.duration_since(*START.get_or_init(|| now));
    // Half a million years fit.
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds since 1970 by the wall clock, which reports to other ends carry.
#[must_use]
pub(super) fn unix_us() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the media plane's one look at the wall clock")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// [`now_us`] in milliseconds, as key reports want it.
#[must_use]
pub fn now_ms() -> u64 {
    now_us() / 1000
}
