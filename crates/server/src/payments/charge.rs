//! Payments without a call and a page of ours, an attempt like any other: with a card that the gateway keeps, and with
//! one that was keyed elsewhere and came whole.

use async_trait::async_trait;
use hushpad_card::Card;
use hushpad_domain::attempt::{Initiator, Purpose, StoredCard, Unknown};
use hushpad_domain::ids::{AccountId, AttemptId, GatewayName};
use hushpad_domain::ports::{ChargeError, CommitError, NotItsCard, StoreUnavailable, StoredCards};
use hushpad_domain::session::{Session, SessionState};
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
    /// Pays with a card that came whole; where it is charged, what for is as the configuration says. Surely not sent to
    /// one gateway, it goes to the next. The card is wiped when this returns, and before anything is waited for that
    /// needs it no more. Gives the session as it is; what is open goes on in the background.
    ///
    /// # Errors
    /// Nothing was sent, and the session has ended or will at the next look.
    pub async fn charge_keyed(
        &self,
        session: Session,
        card: Card,
        tokenises: bool,
    ) -> Result<Session, ChargeError> {
        let mut plan = Plan::of(&self.directory, &session);
        plan.purpose = match plan.purpose {
            _ if tokenises => Purpose::Tokenise,
            // Who asks for a charge wants the money.
            Purpose::Tokenise => Purpose::Sale,
            purpose => purpose,
        };
        let credential = if plan.keep_card { Credential::FirstOfStored } else { Credential::Once };
        self.pay_alone(session, &plan, credential, &Source::Keyed(&card)).await
    }

    /// One exchange, at the one gateway that keeps the card; what is open after it is seen to in the background.
    async fn charge_once(
        &self,
        session: Session,
        card: StoredCard,
        initiator: Initiator,
        permit: OwnedSemaphorePermit,
    ) -> Result<Session, ChargeError> {
        let mut plan = Plan::of(&self.directory, &session);
        // A card that is kept already need not be checked for keeping.
        if plan.purpose == Purpose::Tokenise {
            plan.purpose = Purpose::Sale;
        }
        plan.gateways.truncate(1);
        let credential = match initiator {
            Initiator::Customer => Credential::StoredByCustomer,
            Initiator::Merchant => Credential::StoredByMerchant,
        };
        let paid = self.pay_alone(session, &plan, credential, &Source::Stored(&card)).await;
        drop(permit);
        paid
    }

    /// One exchange with nobody there who could key anything again, at the first of the plan's gateways that is not
    /// surely without it.
    async fn pay_alone(
        &self,
        mut session: Session,
        plan: &Plan,
        credential: Credential,
        source: &Source<'_>,
    ) -> Result<Session, ChargeError> {
        let mut ways = plan.gateways.iter().peekable();
        while let Some(gateway) = ways.next() {
            let id = AttemptId(self.world.guid());
            session = match self.write_intent(&session, id, gateway, plan).await {
                Ok(session) => session,
                Err(refused) => return Err(self.not_begun(session, id, refused).await?),
            };
            let Some(attempt) = session.open_attempt().cloned() else { return Ok(session) };
            info!(session.id = %session.guid, attempt = %attempt.no, %gateway, "a card is charged without a call");
            let submission = self.submit(&session, &attempt, credential, &CameBy::Phone, source).await;
            // As long as there is another gateway, the card is there to be sent again.
            let here = if ways.peek().is_some() { StillThere::yes() } else { StillThere::default() };
            let nobody = StillThere::default();
            let written = match submission {
                Submission::NotSent(reason) => {
                    session = self.write_not_sent(session, reason, &here).await.map_err(fenced)?;
                    self.log_outcome(&session, &attempt);
                    if session.state == SessionState::InProgress {
                        continue;
                    }
                    return Ok(session);
                }
                Submission::Answered(answer) => self.write_answer(session, answer, plan, &nobody).await,
                Submission::Unknown(reason) => self.write_unknown(session, reason).await,
                // No payer is there to be sent to the bank, and the order says so.
                Submission::Challenged(_) => self.write_unknown(session, Unknown::Unreadable).await,
            };
            let session = written.map_err(fenced)?;
            self.log_outcome(&session, &attempt);
            self.give_back_parts(&session);
            if session.open_attempt().is_some() || session.reversing_attempt().is_some() {
                let (payments, session) = (self.clone(), session.clone());
                tokio::spawn(async move { payments.see_to_open_attempt(session, attempt.no, &nobody).await });
            }
            return Ok(session);
        }
        self.books.write(session, Session::fail).await.map_err(fenced)
    }

    /// The intent could not be written: nothing is sent, and the session ends.
    async fn not_begun(
        &self,
        session: Session,
        id: AttemptId,
        refused: IntentRefused,
    ) -> Result<ChargeError, ChargeError> {
        warn!(session.id = %session.guid, reason = %refused, "no attempt was begun");
        let error = unavailable(&refused);
        let session = self.take_back(session, id, refused, &StillThere::default()).await.map_err(fenced)?;
        self.books.write(session, Session::fail).await.map_err(fenced)?;
        Ok(error)
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
