//! A fake of the port for webhooks: deliveries in a list.

use std::sync::Mutex;

use async_trait::async_trait;
use hushpad_domain::ids::{AccountId, ConfigurationId, DeliveryId, SessionGuid};
use hushpad_domain::ports::{StoreUnavailable, Webhooks};
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{
    Backlog, Delivery, DeliveryList, DeliveryState, DeliveryStateName, Listed, Receiver, Tried, TryAnswer,
};
use uuid::Uuid;

#[derive(Default)]
pub(crate) struct FakeWebhooks(Mutex<Vec<Delivery>>);

impl FakeWebhooks {
    /// A dead letter of this account, with this number as its id and time.
    pub(crate) fn dead_letter(&self, account: &str, number: u32) -> DeliveryId {
        let at = Timestamp::from_micros(i64::from(number));
        let delivery = Delivery {
            id: DeliveryId(Uuid::from_u128(u128::from(number))),
            session: SessionGuid(Uuid::from_u128(7)),
            receiver: Receiver { account: AccountId(account.to_owned()), configuration: ConfigurationId(0) },
            event: 4,
            created_on: at,
            since: at,
            tries: 11,
            last: Some(TryAnswer::Status(503)),
            state: DeliveryState::Dead { at },
        };
        self.0.lock().unwrap().push(delivery.clone());
        delivery.id
    }
}

#[async_trait]
impl Webhooks for FakeWebhooks {
    async fn due(
        &self,
        _: &Receiver,
        _: Timestamp,
        _: &[SessionGuid],
        _: u32,
    ) -> Result<Vec<(Delivery, Session)>, StoreUnavailable> {
        Ok(Vec::new())
    }

    async fn next_due(&self, _: &Receiver, _: &[SessionGuid]) -> Result<Option<Timestamp>, StoreUnavailable> {
        Ok(None)
    }

    async fn receivers(&self) -> Result<Vec<Receiver>, StoreUnavailable> {
        Ok(Vec::new())
    }

    async fn settle(&self, _: Vec<Tried>) -> Result<(), StoreUnavailable> {
        Ok(())
    }

    async fn backlog(&self) -> Result<Backlog, StoreUnavailable> {
        Ok(Backlog::default())
    }

    async fn deliveries(&self, list: DeliveryList) -> Result<Vec<Delivery>, StoreUnavailable> {
        let state = match list.state {
            Listed::Due => DeliveryStateName::Due,
            Listed::Dead => DeliveryStateName::Dead,
        };
        let all = self.0.lock().unwrap();
        let meant = |one: &&Delivery| one.receiver.account == list.account && one.state.name() == state;
        let after = |one: &&Delivery| list.after.is_none_or(|after| one.id > after);
        Ok(all.iter().filter(meant).filter(after).take(list.limit as usize).cloned().collect())
    }

    async fn replay(
        &self,
        account: &AccountId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<Delivery>, StoreUnavailable> {
        let mut all = self.0.lock().unwrap();
        let found = all.iter_mut().find(|one| one.id == id && one.receiver.account == *account);
        Ok(found.map(|delivery| {
            if matches!(delivery.state, DeliveryState::Dead { .. }) {
                delivery.state = DeliveryState::Due { at: now };
            }
            delivery.clone()
        }))
    }
}
