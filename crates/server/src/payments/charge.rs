//! Payments with a card that the gateway keeps: an attempt like any other, without a call and without keys.

use async_trait::async_trait;
use hushpad_domain::attempt::{Initiator, Purpose, StoredCard, Unknown};
use hushpad_domain::ids::{AccountId, AttemptId, GatewayName};
use hushpad_domain::ports::{ChargeError, CommitError, NotItsCard, StoreUnavailable, StoredCards};
use hushpad_domain::session::Session;
use hushpad_gateways::{Credential, Source, Submission};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{info, warn};

use super::books::Fenced;
use super::plan::Plan;
use super::saga::IntentRefused;
use super::{CameBy, Payments, StillThere};

#[async_trait]
impl StoredCards for Payments {
    async fn own(
        &self,
        account: &AccountId,
        gateway: &GatewayName,
        card: StoredCard,
    ) -> Result<StoredCard, NotItsCard> {
        self.vault.own(account, gateway, card).await
    }

    async fn charge(
        &self,
        session: Session,
        card: StoredCard,
        initiator: Initiator,
    ) -> Result<Session, ChargeError> {
        let Ok(permit) = self.operations.clone().try_acquire_owned() else {
            self.books.write(session, Session::fail).await.map_err(fenced)?;
            return Err(ChargeError::Busy);
        };
        // On a task of its own, so that it goes on when the caller hangs up.
        let (payments, opened) = (self.clone(), session.clone());
        let paid = tokio::spawn(async move { payments.charge_once(session, card, initiator, permit).await });
        match paid.await {
            Ok(Ok(session)) => Ok(session),
            Ok(Err(error)) => Err(error),
            // It is in the store, and the owner of the store sees to it.
            Err(_) => Ok(self.books.read_for_sure(opened).await),
        }
    }
}

impl Payments {
    /// One exchange, at the one gateway that keeps the card; what is open after it is seen to in the background.
    async fn charge_once(
        &self,
        session: Session,
        card: StoredCard,
        initiator: Initiator,
        permit: OwnedSemaphorePermit,
    ) -> Result<Session, ChargeError> {
        let nobody = StillThere::default();
        let mut plan = Plan::of(&self.directory, &session);
        // A card that is kept already need not be checked for keeping.
        if plan.purpose == Purpose::Tokenise {
            plan.purpose = Purpose::Sale;
        }
        let Some(gateway) = plan.gateways.first().cloned() else {
            return self.books.write(session, Session::fail).await.map_err(fenced);
        };
        let id = AttemptId(self.world.guid());
        let session = match self.write_intent(&session, id, &gateway, &plan).await {
            Ok(session) => session,
            Err(refused) => {
                warn!(session.id = %session.guid, reason = %refused, "no attempt was begun");
                let error = unavailable(&refused);
                let session = self.take_back(session, id, refused, &nobody).await.map_err(fenced)?;
                self.books.write(session, Session::fail).await.map_err(fenced)?;
                return Err(error);
            }
        };
        let Some(attempt) = session.open_attempt().cloned() else { return Ok(session) };
        info!(session.id = %session.guid, attempt = %attempt.no, %gateway, "a stored card is charged");
        let credential = match initiator {
            Initiator::Customer => Credential::StoredByCustomer,
            Initiator::Merchant => Credential::StoredByMerchant,
        };
        let submission =
            self.submit(&session, &attempt, credential, &CameBy::Phone, &Source::Stored(&card)).await;
        drop(permit);
        let written = match submission {
            Submission::NotSent(reason) => self.write_not_sent(session, reason, &nobody).await,
            Submission::Answered(answer) => self.write_answer(session, answer, &plan, &nobody).await,
            Submission::Unknown(reason) => self.write_unknown(session, reason).await,
            // No payer is there to be sent to the bank, and the order says so.
            Submission::Challenged(_) => self.write_unknown(session, Unknown::Unreadable).await,
        };
        let session = written.map_err(fenced)?;
        let reversing = session.reversing_attempt().is_some();
        if session.open_attempt().is_some() || reversing {
            let (payments, session) = (self.clone(), session.clone());
            tokio::spawn(async move { payments.see_to_open_attempt(session, attempt.no, &nobody).await });
        }
        Ok(session)
    }
}

fn unavailable(refused: &IntentRefused) -> ChargeError {
    match refused {
        IntentRefused::Commit(CommitError::Unavailable(error)) => {
            ChargeError::Store(StoreUnavailable(error.0.clone()))
        }
        IntentRefused::Commit(_) | IntentRefused::State(_) => {
            ChargeError::Store(StoreUnavailable(refused.to_string()))
        }
    }
}

fn fenced(fenced: Fenced) -> ChargeError {
    ChargeError::Store(StoreUnavailable(fenced.to_string()))
}
