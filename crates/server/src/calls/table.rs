//! The table of calls: bounded by the permits the tasks hold, never locked on the media path.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use uuid::Uuid;

use super::CallHandle;
use super::handle::Facts;

/// Where a call stands, and since when by the clock of [`crate::media::now_ms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has answered yet.
    Ringing {
        /// Since when.
        since_ms: u64,
    },
    /// Both can speak.
    Answered {
        /// Since when.
        since_ms: u64,
    },
}

impl Standing {
    /// Whether both can speak.
    #[must_use]
    pub fn is_answered(self) -> bool {
        matches!(self, Self::Answered { .. })
    }

    /// Since when.
    #[must_use]
    pub fn since_ms(self) -> u64 {
        match self {
            Self::Ringing { since_ms } | Self::Answered { since_ms } => since_ms,
        }
    }
}

/// Calls by id.
#[derive(Default)]
pub(super) struct Table {
    calls: Mutex<HashMap<Uuid, Entry>>,
    emptied: Notify,
}

struct Entry {
    handle: CallHandle,
    standing: Standing,
}

impl Table {
    pub(super) fn insert(&self, now_ms: u64, handle: CallHandle) {
        let standing = Standing::Ringing { since_ms: now_ms };
        self.lock().insert(handle.guid(), Entry { handle, standing });
    }

    pub(super) fn answered(&self, now_ms: u64, guid: Uuid) {
        if let Some(entry) = self.lock().get_mut(&guid) {
            entry.standing = Standing::Answered { since_ms: now_ms };
        }
    }

    /// The call belongs to another agent from now on; handles given before keep working.
    pub(super) fn changed(&self, facts: &Arc<Facts>) {
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
        let live = calls.values().filter(|entry| entry.standing.is_answered()).map(|entry| &entry.handle);
        live.filter(|call| call.account() == account && call.agent() == Some(agent)).cloned().collect()
    }

    /// The account's calls, the oldest first.
    pub(super) fn of_account(&self, account: &str) -> Vec<(CallHandle, Standing)> {
        let calls = self.lock();
        let own = calls.values().filter(|entry| entry.handle.account() == account);
        let mut own: Vec<_> = own.map(|entry| (entry.handle.clone(), entry.standing)).collect();
        own.sort_by_key(|(call, standing)| (standing.since_ms(), call.guid()));
        own
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
