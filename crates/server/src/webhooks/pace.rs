//! How fast webhooks go out in all, so that a backlog that drains leaves the machine to payments.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Tries begun in a second, over all receivers: a backlog of 100,000 drains in little more than a minute, and two cores
/// have most of their time for other work meanwhile.
pub(super) const PER_SECOND: u64 = 1_500;
/// So many may begin at once after a quiet time: results that are due now do not wait.
const BURST: u64 = 128;
/// When there is more to send than may be sent, so many begin together: each batch costs two reads and a sync.
const BATCH: u64 = 24;

/// A token bucket that counts in time: the moment from which on the next one is free.
pub(super) struct Pace(Mutex<u64>);

impl Pace {
    pub(super) fn new() -> Self {
        Self(Mutex::new(0))
    }

    /// How many of `wanted` may begin at `now_us`; none, rather than fewer than a batch.
    pub(super) fn take(&self, wanted: usize, now_us: u64) -> usize {
        let mut free_from_us = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest_us = (*free_from_us).max(now_us.saturating_sub(BURST * EACH_US));
        let free = now_us.saturating_sub(earliest_us) / EACH_US;
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        if free < wanted.min(BATCH) {
            return 0;
        }
        let taken = free.min(wanted);
        *free_from_us = earliest_us + taken * EACH_US;
        usize::try_from(taken).unwrap_or(usize::MAX)
    }

    /// So many were not needed.
    pub(super) fn give_back(&self, count: usize) {
        let mut free_from_us = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        *free_from_us = free_from_us.saturating_sub(count.saturating_mul(EACH_US));
    }
}

const EACH_US: u64 = 1_000_000 / PER_SECOND;

/// How long until there is a batch again.
pub(super) const PAUSE: Duration = Duration::from_micros(BATCH * EACH_US);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn after_a_quiet_time_a_burst_goes_at_once_and_then_no_more_than_so_many_a_second() {
        let pace = Pace::new();
        let start = 100 * SECOND;
        assert_eq!(pace.take(1_000, start), 128);
        assert_eq!(pace.take(1, start), 0);
        let mut sent = 0;
        for now_us in (start..start + 10 * SECOND).step_by(1_000) {
            let taken = pace.take(32, now_us);
            assert!(taken == 0 || taken >= 24, "{taken}");
            sent += taken;
        }
        assert!((14_900..=15_100).contains(&sent), "{sent}");
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let pace = Pace::new();
        assert_eq!(pace.take(100, SECOND), 100);
        pace.give_back(99);
        assert_eq!(pace.take(127, SECOND), 127);
        assert_eq!(pace.take(1, SECOND), 0);
        pace.give_back(1_000_000);
        assert_eq!(pace.take(1_000, SECOND), 128);
    }
}
