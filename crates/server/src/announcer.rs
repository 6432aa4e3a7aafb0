//! Tells of commits to sessions, wherever in this process they are made: those who follow one, and the lane that sends
//! its webhook.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures_util::stream;
use hushpad_domain::change::Change;
use hushpad_domain::event::Event;
use hushpad_domain::ids::{AccountId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::listing::SessionQuery;
use hushpad_domain::ports::{ChangeSigns, Changes, CommitError, Sessions, StoreUnavailable};
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::Receiver;
use tokio::sync::watch;

use crate::webhooks::Dispatcher;

/// Sessions listened to. Listeners are bounded by those who open them; past this, those that nobody listens to any
/// more are taken out.
const SESSIONS_SWEPT_AT: usize = 2_048;

/// The store, with a sign after each commit.
pub struct Announcer {
    store: Arc<dyn Sessions>,
    dispatcher: Dispatcher,
    listeners: Mutex<HashMap<SessionGuid, watch::Sender<()>>>,
    /// How many there are: most commits are of sessions that nobody follows, and need not wait for a lock.
    count: AtomicUsize,
}

impl Announcer {
    /// In front of this store. The dispatcher hears of each delivery that a commit makes due.
    #[must_use]
    pub fn new(store: Arc<dyn Sessions>, dispatcher: Dispatcher) -> Self {
        Self { store, dispatcher, listeners: Mutex::default(), count: AtomicUsize::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionGuid, watch::Sender<()>>> {
        // No code under this lock can leave the map half changed.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, session: SessionGuid) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut listeners = self.lock();
        if let Some(listener) = listeners.get(&session)
            && listener.send(()).is_err()
        {
            listeners.remove(&session);
            self.count.store(listeners.len(), Ordering::Release);
        }
    }
}

impl Changes for Announcer {
    fn signs(&self, session: SessionGuid) -> ChangeSigns {
        let mut listeners = self.lock();
        if listeners.len() >= SESSIONS_SWEPT_AT {
            listeners.retain(|_, listener| listener.receiver_count() > 0);
        }
        let listener = listeners.entry(session).or_insert_with(|| watch::Sender::new(()));
        let listening = listener.subscribe();
        self.count.store(listeners.len(), Ordering::Release);
        Box::pin(stream::unfold(listening, async |mut listening| {
            listening.changed().await.ok()?;
            Some(((), listening))
        }))
    }
}

#[async_trait]
impl Sessions for Announcer {
    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let Session { guid, account, configuration, .. } = &change.after;
        let (guid, configuration) = (*guid, *configuration);
        let receiver =
            change.delivery.is_some().then(|| Receiver { account: account.clone(), configuration });
        self.store.commit(change).await?;
        self.tell(guid);
        if let Some(receiver) = receiver {
            self.dispatcher.nudge(&receiver);
        }
        Ok(())
    }

    async fn session(
        &self,
        account: &AccountId,
        guid: SessionGuid,
    ) -> Result<Option<Session>, StoreUnavailable> {
        self.store.session(account, guid).await
    }

    async fn provider_session(&self, guid: ProviderSessionGuid) -> Result<Option<Session>, StoreUnavailable> {
        self.store.provider_session(guid).await
    }

    async fn unfinished(&self) -> Result<Vec<Session>, StoreUnavailable> {
        self.store.unfinished().await
    }

    async fn unsettled(&self, before: Timestamp) -> Result<Vec<Session>, StoreUnavailable> {
        self.store.unsettled(before).await
    }

    async fn events(
        &self,
        account: &AccountId,
        guid: SessionGuid,
        after: u32,
    ) -> Result<Vec<Event>, StoreUnavailable> {
        self.store.events(account, guid, after).await
    }

    async fn list(
        &self,
        account: &AccountId,
        query: &SessionQuery,
    ) -> Result<Vec<Session>, StoreUnavailable> {
        self.store.list(account, query).await
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreUnavailable> {
        self.store.purge(now).await
    }
}
