//! One payment, from its first intent to its outcome.

use hushpad_card::Card;
use hushpad_domain::attempt::{Attempt, GatewayAnswer, NotSent, Unknown};
use hushpad_domain::ids::{AttemptId, AttemptNo, GatewayName};
use hushpad_domain::operation::ReverseCause;
use hushpad_domain::ports::CommitError;
use hushpad_domain::session::{Session, SessionState, WrongState};
use hushpad_gateways::{Channel, Credential, Order, Source, Submission};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::books::Fenced;
use super::plan::Plan;
use super::{CameBy, Payments, Progress, StillThere};

impl Payments {
    /// Pays at the first gateway that surely has or surely will not have it. A gateway is left for the next one only
    /// when surely nothing was sent to it, and each has an attempt of its own.
    pub(super) async fn run(
        &self,
        mut session: Session,
        card: Card,
        came_by: CameBy,
        still_there: StillThere,
        progress: mpsc::Sender<Progress>,
    ) -> Result<(), Fenced> {
        let plan = Plan::of(&self.directory, &session);
        let mut ways = plan.gateways.iter().peekable();
        let mut tried = false;
        while let Some(gateway) = ways.next() {
            let id = AttemptId(self.world.guid());
            session = match self.write_intent(&session, id, gateway, &plan).await {
                Ok(session) => session,
                Err(refused) => {
                    warn!(session.id = %session.guid, reason = %refused, "no attempt was begun");
                    let session = self.take_back(session, id, refused, &still_there).await?;
                    let told = if tried { Progress::NotSent } else { Progress::NotBegun };
                    let _ = progress.send(told(Box::new(session), card)).await;
                    return Ok(());
                }
            };
            tried = true;
            let Some(attempt) = session.open_attempt().cloned() else {
                error!(session.id = %session.guid, "an intent was committed without an attempt");
                return Ok(());
            };
            let _wait = self.waiters.enter(attempt.id, &still_there);
            info!(session.id = %session.guid, attempt = %attempt.no, gateway = %gateway, "attempt begins");
            let credential = if plan.keep_card { Credential::FirstOfStored } else { Credential::Once };
            let source = Source::Keyed(&card);
            let submission = self.submit(&session, &attempt, credential, &came_by, &source).await;
            match submission {
                Submission::NotSent(reason) => {
                    session = self.write_not_sent(session, reason, &still_there).await?;
                    self.log_outcome(&session, &attempt);
                    if ways.peek().is_none() || session.state != SessionState::InProgress {
                        break;
                    }
                    info!(session.id = %session.guid, gateway = %gateway, "over to the next gateway");
                }
                Submission::Answered(answer) => {
                    let session = self.write_answer(session, answer, &plan, &still_there).await?;
                    self.log_outcome(&session, &attempt);
                    return self.after_answer(session, attempt.no, card, still_there, progress).await;
                }
                Submission::Challenged(challenge) => {
                    // The gateway has it. Here it is wiped before the payer leaves.
                    let masked = card.masked();
                    drop(card);
                    let session = self.write_challenge(session, challenge, Some(masked)).await?;
                    return self.wait_for_return(session, attempt.no, still_there, progress).await;
                }
                Submission::Unknown(reason) => {
                    drop(card);
                    let session = self.write_unknown(session, reason).await?;
                    self.log_outcome(&session, &attempt);
                    return self.wait_for_outcome(session, attempt.no, &still_there, &progress).await;
                }
            }
        }
        self.give_back_parts(&session);
        let _ = progress.send(Progress::NotSent(Box::new(session), card)).await;
        Ok(())
    }

    /// Sees to an open attempt to its end, with nobody to tell.
    pub(super) async fn see_to_open_attempt(
        &self,
        session: Session,
        no: AttemptNo,
        still_there: &StillThere,
    ) -> Result<(), Fenced> {
        self.conclude(session, no, still_there, None).await.map(|_| ())
    }

    /// Marks the attempt unknown, for as long as it takes to write that down.
    pub(super) async fn write_unknown(&self, session: Session, reason: Unknown) -> Result<Session, Fenced> {
        self.books.write(session, |session: Session, now| session.unknown(reason, now)).await
    }

    /// The session is over, and what was approved of it goes back, if anything was. Each part has its own task.
    pub fn give_back_parts(&self, session: &Session) {
        if !session.has_ended() {
            return;
        }
        let unpaid = |attempt: &&Attempt| {
            attempt.is_reversing() && attempt.turned_back_for() == Some(ReverseCause::RestUnpaid)
        };
        for no in session.attempts.iter().filter(unpaid).map(|attempt| attempt.no) {
            let (payments, session) = (self.clone(), session.clone());
            tokio::spawn(async move { payments.give_back(session, no, &StillThere::default()).await });
        }
    }

    pub(super) async fn submit(
        &self,
        session: &Session,
        attempt: &Attempt,
        credential: Credential,
        came_by: &CameBy,
        source: &Source<'_>,
    ) -> Submission {
        let payment_data = session.order_data(attempt);
        let channel = match came_by {
            CameBy::Phone => Channel::Moto,
            CameBy::Page(browser) => Channel::Ecommerce(browser),
        };
        let order = Order { attempt, payment_data: &payment_data, channel, credential };
        let submission = self.acquirer.submit(&order, source).await;
        self.metrics.attempt_ended(&submission);
        submission
    }

    pub(super) async fn write_answer(
        &self,
        session: Session,
        answer: GatewayAnswer,
        plan: &Plan,
        still_there: &StillThere,
    ) -> Result<Session, Fenced> {
        let change =
            |session: Session, now| session.answered(answer.clone(), plan.terms(still_there.retry()), now);
        self.books.write(session, change).await
    }

    async fn after_answer(
        &self,
        session: Session,
        no: AttemptNo,
        card: Card,
        still_there: StillThere,
        progress: mpsc::Sender<Progress>,
    ) -> Result<(), Fenced> {
        if session.open_attempt().is_some() {
            drop(card);
            return self.wait_for_outcome(session, no, &still_there, &progress).await;
        }
        let reversing = session.attempt(no).is_some_and(Attempt::is_reversing);
        if !reversing {
            self.give_back_parts(&session);
            let _ = progress.send(Progress::Answered(Box::new(session), Some(card))).await;
            return Ok(());
        }
        let _ = progress.send(Progress::Waiting(Box::new(session.clone()))).await;
        // The card waits for one exchange, not for a reversal that is unknown.
        let session = self.give_back_first(session, no, &still_there).await?;
        if session.attempt(no).is_some_and(Attempt::is_reversing) {
            drop(card);
            return self.wait_for_outcome(session, no, &still_there, &progress).await;
        }
        self.give_back_parts(&session);
        let _ = progress.send(Progress::Answered(Box::new(session), Some(card))).await;
        Ok(())
    }

    /// One try to give the approval back.
    async fn give_back_first(
        &self,
        session: Session,
        no: AttemptNo,
        still_there: &StillThere,
    ) -> Result<Session, Fenced> {
        let Some(attempt) = session.attempt(no) else { return Ok(session) };
        let operation = attempt.open_operation().map(|operation| operation.no);
        let errand = self.giving_back.take(attempt.id);
        match (operation, &errand) {
            (Some(operation), Some(_)) => self.send_operation(session, no, operation, still_there).await,
            (None, _) | (_, None) => Ok(session),
        }
    }

    pub(super) async fn wait_for_outcome(
        &self,
        session: Session,
        no: AttemptNo,
        still_there: &StillThere,
        progress: &mpsc::Sender<Progress>,
    ) -> Result<(), Fenced> {
        let _ = progress.send(Progress::Waiting(Box::new(session.clone()))).await;
        let session = self.conclude(session, no, still_there, Some(progress)).await?;
        let _ = progress.send(Progress::Answered(Box::new(session), None)).await;
        Ok(())
    }

    /// Sees to an attempt until it is known what became of it and, where its approval must not stand, until that is
    /// given back.
    pub(super) async fn conclude(
        &self,
        session: Session,
        no: AttemptNo,
        still_there: &StillThere,
        progress: Option<&mpsc::Sender<Progress>>,
    ) -> Result<Session, Fenced> {
        let mut session = self.resolve(session, no, still_there).await?;
        if session.attempt(no).is_some_and(Attempt::is_reversing) {
            if let Some(progress) = progress {
                let _ = progress.send(Progress::Waiting(Box::new(session.clone()))).await;
            }
            session = self.give_back(session, no, still_there).await?;
        }
        if let Some(attempt) = session.attempt(no) {
            self.log_outcome(&session, attempt);
            if attempt.left_no_trace() {
                let (payments, session) = (self.clone(), session.clone());
                tokio::spawn(async move { payments.watch_for_late_success(session, no).await });
            }
        }
        self.give_back_parts(&session);
        Ok(session)
    }

    pub(super) async fn write_not_sent(
        &self,
        session: Session,
        reason: NotSent,
        still_there: &StillThere,
    ) -> Result<Session, Fenced> {
        let change = |session: Session, now| session.not_sent(reason, still_there.retry(), now);
        self.books.write(session, change).await
    }

    /// The one write that is not tried again: without it nothing may be sent.
    pub(super) async fn write_intent(
        &self,
        session: &Session,
        id: AttemptId,
        gateway: &GatewayName,
        plan: &Plan,
    ) -> Result<Session, IntentRefused> {
        let change = session.clone().intend(id, gateway.clone(), plan.purpose, self.world.now())?;
        let session = change.after.clone();
        self.books.commit(change).await?;
        Ok(session)
    }

    /// A commit may fail to say so and be there all the same, as when its connection breaks. Nothing is sent without
    /// that word, so an intent of ours that is found after a failed one was surely not sent.
    pub(super) async fn take_back(
        &self,
        session: Session,
        id: AttemptId,
        refused: IntentRefused,
        still_there: &StillThere,
    ) -> Result<Session, Fenced> {
        match refused {
            IntentRefused::Commit(CommitError::Fenced) => return Err(Fenced),
            IntentRefused::State(_) => return Ok(self.books.read_for_sure(session).await),
            IntentRefused::Commit(_) => {}
        }
        let session = self.books.read_for_sure(session).await;
        let not_sent = |session: Session, now| {
            if session.open_attempt().is_none_or(|attempt| attempt.id != id) {
                return Err(WrongState::NoAttempt);
            }
            session.not_sent(NotSent::Refused, still_there.retry(), now)
        };
        let session = self.books.write(session, not_sent).await?;
        self.give_back_parts(&session);
        Ok(session)
    }

    pub(super) fn log_outcome(&self, session: &Session, attempt: &Attempt) {
        let taken_ms = (self.world.now().as_micros() - attempt.intended_on.as_micros()) / 1_000;
        info!(
            session.id = %session.guid,
            attempt = %attempt.no,
            state = session.state_name(),
            outcome = session.outcome().word(),
            duration_ms = taken_ms,
            "attempt ended"
        );
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum IntentRefused {
    #[error(transparent)]
    State(#[from] WrongState),
    #[error(transparent)]
    Commit(#[from] CommitError),
}
