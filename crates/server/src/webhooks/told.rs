//! The deliveries in the store with an ear at their door: who replays one wakes the lane that sends. What a commit makes
//! due is told by [`crate::announcer::Announcer`].

use std::sync::Arc;

use async_trait::async_trait;
use hushpad_domain::ids::{AccountId, DeliveryId, SessionGuid};
use hushpad_domain::ports::{StoreUnavailable, Webhooks};
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{Backlog, Delivery, DeliveryList, DeliveryState, Receiver, Tried};

use super::Dispatcher;

/// The store's deliveries, and the dispatcher is told of what a replay makes due.
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
