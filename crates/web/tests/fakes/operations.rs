//! A stand-in for the payments of `server`: operations that end as a test says.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hushpad_domain::ids::{AccountId, AttemptNo, SessionGuid};
use hushpad_domain::operation::OperationNo;
use hushpad_domain::ports::{OperateError, Operations, Sessions, World};
use hushpad_domain::session::{OperationEnd, OperationRequest, Retry, Session};

use super::ports::{FakeStore, FakeWorld};

pub(crate) struct FakeOperations {
    store: Arc<FakeStore>,
    end: Mutex<OperationEnd>,
}

impl FakeOperations {
    pub(crate) fn new(store: Arc<FakeStore>) -> Self {
        Self { store, end: Mutex::new(OperationEnd::Done("op-1".to_owned())) }
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
