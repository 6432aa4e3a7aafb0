//! A stand-in for the payments of `server`: operations that end as a test says.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hushpad_domain::attempt::{GatewayAnswer, Initiator, NotSent, Purpose, StoredCard, Unknown, Verdict};
use hushpad_domain::ids::{AccountId, AttemptId, AttemptNo, GatewayName, SessionGuid};
use hushpad_domain::operation::OperationNo;
use hushpad_domain::ports::{
    ChargeError, NotItsCard, OperateError, Operations, Sessions, StoredCards, World,
};
use hushpad_domain::session::{OperationEnd, OperationRequest, Retry, Session};

use super::ports::{FakeStore, FakeWorld};

pub(crate) struct FakeOperations {
    store: Arc<FakeStore>,
    end: Mutex<OperationEnd>,
    /// What was charged: the token, and who started it.
    pub(crate) charged: Mutex<Vec<(String, Initiator)>>,
    /// The one account whose tokens are known, where the gateway is one for several.
    pub(crate) only_of: Mutex<Option<AccountId>>,
}

impl FakeOperations {
    pub(crate) fn new(store: Arc<FakeStore>) -> Self {
        Self {
            store,
            end: Mutex::new(OperationEnd::Done("op-1".to_owned())),
            charged: Mutex::default(),
            only_of: Mutex::default(),
        }
    }

    /// How the operations from now on end.
    pub(crate) fn end_as(&self, end: OperationEnd) {
        *self.end.lock().unwrap() = end;
    }
}

#[async_trait]
impl Operations for FakeOperations {
    async fn operate(
        &self,
        account: &AccountId,
        guid: SessionGuid,
        request: OperationRequest,
    ) -> Result<(Session, AttemptNo, OperationNo), OperateError> {
        let now = FakeWorld::default().now();
        let session = self.store.session(account, guid).await?.ok_or(OperateError::NoSuchSession)?;
        let begun = session.operate(request, now)?;
        let (attempt, no) = begun.events[0].kind.changed_operation().unwrap();
        let session = begun.after.clone();
        self.store.commit(begun).await.map_err(|_| OperateError::Conflict)?;
        let end = self.end.lock().unwrap().clone();
        let ended = session.operation_ended(attempt, no, end, Retry::Over, now).unwrap();
        let session = ended.after.clone();
        self.store.commit(ended).await.map_err(|_| OperateError::Conflict)?;
        Ok((session, attempt, no))
    }
}

#[async_trait]
impl StoredCards for FakeOperations {
    async fn own(
        &self,
        account: &AccountId,
        _: &GatewayName,
        card: StoredCard,
    ) -> Result<StoredCard, NotItsCard> {
        match &*self.only_of.lock().unwrap() {
            Some(owner) if owner != account => Err(NotItsCard::NotThere),
            Some(_) | None => Ok(card),
        }
    }

    async fn charge(
        &self,
        session: Session,
        card: StoredCard,
        initiator: Initiator,
    ) -> Result<Session, ChargeError> {
        let now = FakeWorld::default().now();
        self.charged.lock().unwrap().push((card.token, initiator));
        let id = AttemptId(FakeWorld::default().guid());
        let change = session.intend(id, GatewayName("sandbox".to_owned()), Purpose::Sale, now).unwrap();
        let session = change.after.clone();
        self.store.commit(change).await.unwrap();
        let answer = || {
            GatewayAnswer::new(Verdict::Approved, "ch-1".to_owned(), std::collections::BTreeMap::new(), None)
        };
        let change = match self.end.lock().unwrap().clone() {
            OperationEnd::Unknown(_) => session.unknown(Unknown::TimedOut, now),
            OperationEnd::NotSent(reason) => session.not_sent(reason, Retry::Over, now),
            OperationEnd::Refused(_) => session.not_sent(NotSent::Refused, Retry::Over, now),
            OperationEnd::Done(_) | OperationEnd::Accepted(_) => session.answered(answer(), Retry::Over, now),
        };
        let change = change.unwrap();
        let session = change.after.clone();
        self.store.commit(change).await.unwrap();
        Ok(session)
    }
}
