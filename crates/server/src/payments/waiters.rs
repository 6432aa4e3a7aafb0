//! Who waits for what becomes of an attempt: so that a notification ends the wait at once, and so that whoever takes it
//! up knows whether the fields can still be keyed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hushpad_domain::ids::AttemptId;
use hushpad_domain::session::Retry;
use tokio::sync::Notify;

use super::StillThere;

/// The tasks that wait, by attempt. One or two entries for each attempt that a task of this process sees to.
#[derive(Clone, Default)]
pub(super) struct Waiters(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    next: u64,
    by_attempt: BTreeMap<(AttemptId, u64), Entry>,
}

struct Entry {
    still_there: StillThere,
    bell: Arc<Notify>,
}

/// A place among them, until it is dropped.
pub(super) struct Wait {
    waiters: Waiters,
    place: (AttemptId, u64),
    bell: Arc<Notify>,
}

impl Waiters {
    pub(super) fn enter(&self, attempt: AttemptId, still_there: &StillThere) -> Wait {
        let bell = Arc::new(Notify::new());
        let mut entries = self.lock();
        let place = (attempt, entries.next);
        entries.next += 1;
        let entry = Entry { still_there: still_there.clone(), bell: bell.clone() };
        entries.by_attempt.insert(place, entry);
        Wait { waiters: self.clone(), place, bell }
    }

    /// Something was written down about the attempt.
    pub(super) fn ring(&self, attempt: AttemptId) {
        for (_, entry) in self.lock().by_attempt.range((attempt, 0)..=(attempt, u64::MAX)) {
            entry.bell.notify_one();
        }
    }

    /// Whether somebody is there who could key the fields again.
    pub(super) fn retry(&self, attempt: AttemptId) -> Retry {
        let entries = self.lock();
        let mut here = entries.by_attempt.range((attempt, 0)..=(attempt, u64::MAX));
        let possible = here.any(|(_, entry)| entry.still_there.retry() == Retry::Possible);
        if possible { Retry::Possible } else { Retry::Over }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // No code under this lock can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    /// Waits for so long, or until the bell rings. One that rang before counts.
    pub(super) async fn pause(&self, length: Duration) {
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            () = self.bell.notified() => {}
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waiters.lock().by_attempt.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_bell_ends_a_wait_and_only_of_its_own_attempt() {
        let (waiters, attempt) = (Waiters::default(), AttemptId(Uuid::from_u128(1)));
        let begun = tokio::time::Instant::now();
        let wait = waiters.enter(attempt, &StillThere::yes());
        waiters.ring(attempt);
        wait.pause(Duration::from_secs(60)).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        waiters.ring(AttemptId(Uuid::from_u128(2)));
        wait.pause(Duration::from_secs(60)).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(60));
    }

    #[test]
    fn fields_can_be_keyed_while_one_of_those_who_wait_is_still_there() {
        let (waiters, attempt) = (Waiters::default(), AttemptId(Uuid::from_u128(1)));
        assert_eq!(waiters.retry(attempt), Retry::Over);
        let (here, gone) = (StillThere::yes(), StillThere::default());
        let first = waiters.enter(attempt, &here);
        let _second = waiters.enter(attempt, &gone);
        assert_eq!(waiters.retry(attempt), Retry::Possible);
        drop(first);
        assert_eq!(waiters.retry(attempt), Retry::Over);
    }
}
