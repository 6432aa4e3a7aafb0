//! Who is out on what: no attempt is given back by two tasks at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use hushpad_domain::ids::AttemptId;

/// The attempts that a task of this process is giving back. At most one entry for each attempt that is open in the
/// store.
#[derive(Clone, Default)]
pub(super) struct Errands(Arc<Mutex<BTreeSet<AttemptId>>>);

/// An attempt is this task's, until it is dropped.
pub(super) struct Errand {
    errands: Errands,
    attempt: AttemptId,
}

impl Errands {
    /// Takes the attempt on; `None` when another task has it.
    pub(super) fn take(&self, attempt: AttemptId) -> Option<Errand> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(attempt);
        taken.then(|| Errand { errands: self.clone(), attempt })
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.errands.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.attempt);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_attempt_is_taken_on_once_at_a_time() {
        let (errands, attempt) = (Errands::default(), AttemptId(Uuid::from_u128(1)));
        let first = errands.take(attempt);
        assert!(first.is_some());
        assert!(errands.take(attempt).is_none());
        assert!(errands.take(AttemptId(Uuid::from_u128(2))).is_some());
        drop(first);
        assert!(errands.take(attempt).is_some());
    }
}
