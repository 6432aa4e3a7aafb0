//! The table of calls: bounded by the permits the tasks hold, never locked on the media path.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::CallHandle;
use super::handle::Facts;

/// Calls by id.
#[derive(Default)]
pub(super) struct Table {
    calls: Mutex<HashMap<Uuid, Entry>>,
    emptied: Notify,
}

struct Entry {
    handle: CallHandle,
    answered: bool,
}

impl Table {
    pub(super) fn insert(&self, handle: CallHandle) {
        self.lock().insert(handle.guid(), Entry { handle, answered: false });
    }

    pub(super) fn answered(&self, guid: Uuid) {
        if let Some(entry) = self.lock().get_mut(&guid) {
            entry.answered = true;
        }
    }

    /// The call belongs to another agent from now on; handles given before keep working.
    pub(super) fn transferred(&self, facts: &Arc<Facts>) {
        if let Some(entry) = self.lock().get_mut(&facts.guid) {
            entry.handle.facts = Arc::clone(facts);
        }
    }

    pub(super) fn remove(&self, guid: Uuid) {
        let mut calls = self.lock();
        calls.remove(&guid);
        if calls.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    pub(super) fn find(&self, guid: Uuid) -> Option<CallHandle> {
        self.lock().get(&guid).map(|entry| entry.handle.clone())
    }

    /// Looked up a few times per payment among at most some thousands: a walk is fast enough.
    pub(super) fn live(&self, account: &str, agent: &str) -> Vec<CallHandle> {
        let calls = self.lock();
        let live = calls.values().filter(|entry| entry.answered).map(|entry| &entry.handle);
        live.filter(|call| call.account() == account && call.agent() == agent).cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<CallHandle> {
        self.lock().values().map(|entry| entry.handle.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Waits until there is no call.
    pub(super) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.len() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// A panic elsewhere cannot leave the map half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
