//! The store with an ear at its door: who commits or replays wakes the lane that sends.

use std::sync::Arc;

use async_trait::async_trait;
use hushpad_domain::change::Change;
use hushpad_domain::event::Event;
use hushpad_domain::ids::{AccountId, DeliveryId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::listing::SessionQuery;
use hushpad_domain::ports::{CommitError, Sessions, StoreUnavailable, Webhooks};
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{Backlog, Delivery, DeliveryList, DeliveryState, Receiver, Tried};

use super::Dispatcher;

/// The store's ports, and the dispatcher is told of what they make due.
pub struct Told<S> {
    store: Arc<S>,
    dispatcher: Dispatcher,
}

impl<S> Told<S> {
    /// Puts the two together.
    #[must_use]
    pub fn new(store: Arc<S>, dispatcher: Dispatcher) -> Self {
        Self { store, dispatcher }
    }
}

#[async_trait]
impl<S: Sessions> Sessions for Told<S> {
    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let Session { account, configuration, .. } = &change.after;
        let receiver = change
            .delivery
            .is_some()
            .then(|| Receiver { account: account.clone(), configuration: *configuration });
        self.store.commit(change).await?;
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

    async fn unsettled(&self, now: Timestamp) -> Result<Vec<Session>, StoreUnavailable> {
        self.store.unsettled(now).await
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

#[async_trait]
impl<S: Webhooks> Webhooks for Told<S> {
    async fn due(
        &self,
        receiver: &Receiver,
        now: Timestamp,
        except: &[SessionGuid],
        limit: u32,
    ) -> Result<Vec<(Delivery, Session)>, StoreUnavailable> {
        self.store.due(receiver, now, except, limit).await
    }

    async fn next_due(
        &self,
        receiver: &Receiver,
        except: &[SessionGuid],
    ) -> Result<Option<Timestamp>, StoreUnavailable> {
        self.store.next_due(receiver, except).await
    }

    async fn receivers(&self) -> Result<Vec<Receiver>, StoreUnavailable> {
        self.store.receivers().await
    }

    async fn settle(&self, tried: Vec<Tried>) -> Result<(), StoreUnavailable> {
        self.store.settle(tried).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreUnavailable> {
        self.store.backlog().await
    }

    async fn deliveries(&self, list: DeliveryList) -> Result<Vec<Delivery>, StoreUnavailable> {
        self.store.deliveries(list).await
    }

    async fn replay(
        &self,
        account: &AccountId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<Delivery>, StoreUnavailable> {
        let replayed = self.store.replay(account, id, now).await?;
        if let Some(delivery) = &replayed
            && matches!(delivery.state, DeliveryState::Due { .. })
        {
            self.dispatcher.nudge(&delivery.receiver);
        }
        Ok(replayed)
    }
}
