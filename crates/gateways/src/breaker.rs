//! A breaker per gateway: after several failures in a row nobody has to wait for the next one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// This many submissions in a row that could not be sent open the breaker. Each had its whole patience, so
/// the gateway has been away for a while.
const FAILURES_TO_OPEN: u32 = 3;

/// How long it stays open. Then one failure opens it again, one success closes it.
const OPEN: Duration = Duration::from_secs(15);

#[derive(Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    failures: u32,
    last_failure: Option<Instant>,
}

impl Breaker {
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures >= FAILURES_TO_OPEN && state.last_failure.is_some_and(|failed| now < failed + OPEN)
    }

    /// The gateway could not be reached.
    pub(crate) fn failed(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failures = state.failures.saturating_add(1);
        state.last_failure = Some(now);
    }

    /// The gateway was reached, whatever it said.
    pub(crate) fn reached(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try_when_the_time_is_over() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 1..FAILURES_TO_OPEN {
            breaker.failed(now);
        }
        breaker.reached();
        for _ in 1..FAILURES_TO_OPEN {
            breaker.failed(now);
            assert!(!breaker.is_open(now));
        }
        breaker.failed(now);
        assert!(breaker.is_open(now));
        assert!(!breaker.is_open(now + OPEN));
        breaker.failed(now + OPEN);
        assert!(breaker.is_open(now + OPEN));
    }
}
