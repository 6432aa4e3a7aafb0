//! What the Payment API orders: operations on recorded attempts.

use async_trait::async_trait;
use hushpad_domain::attempt::NotSent;
use hushpad_domain::ids::{AccountId, AttemptNo, OperationId, SessionGuid};
use hushpad_domain::operation::{OperationNo, OperationState};
use hushpad_domain::ports::{CommitError, OperateError, Operations, StoreUnavailable};
use hushpad_domain::session::{OperationEnd, OperationRequest, Retry, Session, WrongState};
use tokio::sync::OwnedSemaphorePermit;

use super::books::Fenced;
use super::{Payments, StillThere};

#[async_trait]
impl Operations for Payments {
    async fn operate(
        &self,
        account: &AccountId,
        guid: SessionGuid,
        request: OperationRequest,
    ) -> Result<(Session, AttemptNo, OperationNo), OperateError> {
        let permit = self.operations.clone().try_acquire_owned().map_err(|_| OperateError::Busy)?;
        let session = self.books.store().session(account, guid).await?.ok_or(OperateError::NoSuchSession)?;
        let change = session.operate(request, self.world.now())?;
        let begun = change.events.iter().find_map(|event| event.kind.changed_operation());
        let (attempt, no) = begun.ok_or(OperateError::Conflict)?;
        let session = change.after.clone();
        if let Err(error) = self.books.commit(change).await {
            return Err(match error {
                CommitError::Conflict | CommitError::CallTaken => OperateError::Conflict,
                CommitError::Fenced => OperateError::Store(StoreUnavailable(error.to_string())),
                CommitError::Unavailable(unavailable) => {
                    let payments = self.clone();
                    tokio::spawn(async move {
                        payments.take_operation_back(session, attempt, no, request.id).await
                    });
                    OperateError::Store(unavailable)
                }
            });
        }
        // On a task of its own, so that it goes on when the caller hangs up.
        let payments = self.clone();
        let sent = tokio::spawn(async move { payments.send(session, attempt, no, permit).await });
        let session = match sent.await {
            Ok(Some(session)) => session,
            // It is in the store, and the owner of the store sees to it.
            Ok(None) | Err(_) => {
                self.books.store().session(account, guid).await?.ok_or(OperateError::NoSuchSession)?
            }
        };
        Ok((session, attempt, no))
    }
}

impl Payments {
    /// A commit may fail to say so and be there all the same. Nothing is sent without that word, so an intent of ours
    /// that is found after a failed one was surely not sent.
    async fn take_operation_back(
        &self,
        session: Session,
        attempt: AttemptNo,
        no: OperationNo,
        id: OperationId,
    ) -> Result<(), Fenced> {
        let session = self.books.read_for_sure(session).await;
        let not_sent = |session: Session, now| {
            let ours = session.attempt(attempt).and_then(|attempt| attempt.operation(no));
            if ours.is_none_or(|operation| operation.id != id) {
                return Err(WrongState::NoAttempt);
            }
            session.operation_ended(attempt, no, OperationEnd::NotSent(NotSent::Refused), Retry::Over, now)
        };
        self.books.write(session, not_sent).await.map(|_| ())
    }

    /// One exchange; what is unknown after it, or only accepted, is seen to in the background.
    async fn send(
        &self,
        session: Session,
        attempt: AttemptNo,
        no: OperationNo,
        permit: OwnedSemaphorePermit,
    ) -> Option<Session> {
        let nobody = StillThere::default();
        let session = self.send_operation(session, attempt, no, &nobody).await.ok()?;
        drop(permit);
        let state = session.attempt(attempt)?.operation(no).map(|operation| operation.state.clone());
        if let Some(OperationState::Unknown { .. } | OperationState::Accepted { .. }) = state {
            let (payments, session) = (self.clone(), session.clone());
            tokio::spawn(async move {
                payments.settle_operation(session, attempt, no, &StillThere::default()).await
            });
        }
        Some(session)
    }
}
