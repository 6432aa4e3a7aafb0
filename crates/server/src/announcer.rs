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

/// Sessions listened to before the first sweep. Listeners are bounded by those who open them: live sessions, and live
/// event logs.
const SWEPT_AT_LEAST: usize = 2_048;

/// The store, with a sign after each commit.
pub struct Announcer {
    store: Arc<dyn Sessions>,
    dispatcher: Dispatcher,
    listeners: Mutex<Listeners>,
    /// How many there are: most commits are of sessions that nobody follows, and need not wait for a lock.
    count: AtomicUsize,
}

/// Who is told of which session.
struct Listeners {
    by_session: HashMap<SessionGuid, watch::Sender<()>>,
    /// When there are so many, those that nobody listens to any more are taken out.
    swept_at: usize,
}

impl Default for Listeners {
    fn default() -> Self {
        Self { by_session: HashMap::new(), swept_at: SWEPT_AT_LEAST }
    }
}

impl Listeners {
    /// Listens to a session. A sweep walks over all, so the next comes only when they have doubled: however many
    /// live ones there are, each has paid for two steps of it.
    fn listen(&mut self, session: SessionGuid) -> watch::Receiver<()> {
        if self.by_session.len() >= self.swept_at {
            self.by_session.retain(|_, listener| listener.receiver_count() > 0);
            self.swept_at = SWEPT_AT_LEAST.max(2 * self.by_session.len());
        }
        self.by_session.entry(session).or_insert_with(|| watch::Sender::new(())).subscribe()
    }
}

impl Announcer {
    /// In front of this store. The dispatcher hears of each delivery that a commit makes due.
    #[must_use]
    pub fn new(store: Arc<dyn Sessions>, dispatcher: Dispatcher) -> Self {
        Self { store, dispatcher, listeners: Mutex::default(), count: AtomicUsize::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        // No code under this lock can leave the map half changed.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, session: SessionGuid) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let listeners = &mut self.lock().by_session;
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
        let listening = listeners.listen(session);
        self.count.store(listeners.by_session.len(), Ordering::Release);
        drop(listeners);
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn listen_to(listeners: &mut Listeners, sessions: std::ops::Range<u128>) -> Vec<watch::Receiver<()>> {
        sessions.map(|number| listeners.listen(SessionGuid(Uuid::from_u128(number)))).collect()
    }

    #[test]
    fn sessions_that_nobody_listens_to_any_more_do_not_pile_up() {
        let mut listeners = Listeners::default();
        for number in 0..10 * SWEPT_AT_LEAST as u128 {
            drop(listen_to(&mut listeners, number..number + 1));
            assert!(listeners.by_session.len() <= SWEPT_AT_LEAST);
        }
    }

    #[test]
    fn many_live_sessions_are_walked_over_only_when_they_have_doubled() {
        let mut listeners = Listeners::default();
        let (mut sweeps, mut before) = (0, listeners.swept_at);
        let mut live = Vec::new();
        for number in 0..16 * SWEPT_AT_LEAST as u128 {
            live.extend(listen_to(&mut listeners, number..number + 1));
            sweeps += usize::from(listeners.swept_at != before);
            before = listeners.swept_at;
        }
        assert_eq!(sweeps, 4, "at 1, 2, 4 and 8 times the least");
        assert_eq!(listeners.by_session.len(), live.len(), "no live one is taken out");
    }
}
