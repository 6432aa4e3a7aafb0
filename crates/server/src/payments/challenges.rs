//! A payer at the bank (3-D Secure): waited for, taken up when back, given up when not.

use std::time::Duration;

use hushpad_domain::attempt::Attempt;
use hushpad_domain::challenge::Challenge;
use hushpad_domain::ids::AttemptNo;
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::ports::CommitError;
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use hushpad_gateways::{Return, Submission};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::books::Fenced;
use super::plan::Plan;
use super::{Payments, Progress, StillThere};

/// How long the payer may be at the bank: longer than the ten minutes after which banks and gateways give up
/// (EMV 3-D Secure, "challenge completion"), so that it is they who end it.
const VISIT_TIME: Duration = Duration::from_secs(15 * 60);
/// Between two looks at an attempt that goes on while its time is over.
const PAUSE: Duration = Duration::from_secs(2);

/// What became of a payer's return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// The attempt goes on, on its own task.
    GoesOn,
    /// What came along is not from the bank. The payer is still waited for.
    NoReturn,
    /// There is nothing to go on with: it goes on already, as when a page is loaded again, or it is over.
    NothingToDo,
    /// The store cannot be written just now. Nothing was sent; the payer may come back again.
    Unavailable,
}

impl Payments {
    /// The payer is back from the bank, with what the browser brought: a query or a form. That the attempt goes on is
    /// committed before a byte goes out, so a second return does nothing. `progress` hears what
    /// [`Payments::pay`] would say from there on: `Waiting`, `Challenged`, `NotPaid` or `Answered`.
    pub async fn returned(
        &self,
        session: &Session,
        came_along: &[u8],
        still_there: StillThere,
        progress: mpsc::Sender<Progress>,
    ) -> Returned {
        let session = match self.books.store().provider_session(session.provider).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Returned::NothingToDo,
            Err(_) => return Returned::Unavailable,
        };
        let Some((attempt, challenge)) = at_the_bank(&session) else { return Returned::NothingToDo };
        let Some(back) = self.acquirer.read_return(attempt, challenge, came_along) else {
            info!(session.id = %session.guid, attempt = %attempt.no, "no return from the bank");
            return Returned::NoReturn;
        };
        let no = attempt.no;
        let Ok(change) = session.challenge_returned(no, self.world.now()) else {
            return Returned::NothingToDo;
        };
        let after = change.after.clone();
        match self.books.commit(change).await {
            Ok(()) => {}
            // Another return, or the end of the visit, was first.
            Err(CommitError::Conflict | CommitError::Fenced) => return Returned::NothingToDo,
            Err(CommitError::Unavailable(_) | CommitError::CallTaken) => {
                // It may be there all the same. Nothing is sent without that word.
                let payments = self.clone();
                tokio::spawn(async move { payments.take_return_back(after, no).await });
                return Returned::Unavailable;
            }
        }
        let payments = self.clone();
        tokio::spawn(async move { payments.go_on(after, no, back, still_there, progress).await });
        Returned::GoesOn
    }

    /// Waits for the payer of a challenged attempt until the time of the visit is over; then finds out what became of
    /// it. Ends by itself when the payer has come back before. One task does that for an attempt, whatever the number
    /// of its visits: the one that pays or, after a restart, the one that recovers.
    pub async fn watch_challenge(
        &self,
        session: Session,
        still_there: StillThere,
        progress: Option<mpsc::Sender<Progress>>,
    ) {
        let Some(attempt) = session.challenged_attempt() else { return };
        let (no, until) = (attempt.no, attempt.visit().map(|visit| visit.until));
        // Counted once, and then by the monotonic clock.
        let left_us = until.map_or(0, |until| until.as_micros() - self.world.now().as_micros());
        tokio::time::sleep(Duration::from_micros(u64::try_from(left_us).unwrap_or(0))).await;
        let mut session = self.books.read_for_sure(session).await;
        // A payer who came back at the last moment may be sent to the bank once more.
        while session.attempt(no).and_then(Attempt::visit).is_some() {
            if session.challenged_attempt().is_some() {
                let _ = self.give_visit_up(session, no, &still_there, progress.as_ref()).await;
                return;
            }
            tokio::time::sleep(PAUSE).await;
            session = self.books.read_for_sure(session).await;
        }
    }

    /// Waits for the payer no longer: the link was withdrawn, or its time is over. What became of the attempt is found
    /// out, and told to `progress`.
    ///
    /// # Errors
    /// [`Fenced`]: another process sees to it.
    pub async fn abandon_challenge(
        &self,
        session: Session,
        still_there: StillThere,
        progress: Option<mpsc::Sender<Progress>>,
    ) -> Result<(), Fenced> {
        let Some(no) = session.challenged_attempt().map(|attempt| attempt.no) else { return Ok(()) };
        self.give_visit_up(session, no, &still_there, progress.as_ref()).await
    }

    pub(super) async fn write_challenge(
        &self,
        session: Session,
        challenge: Challenge,
        card: Option<MaskedCard>,
    ) -> Result<Session, Fenced> {
        let until = |now: Timestamp| now.plus(VISIT_TIME);
        let change =
            |session: Session, now| session.challenged(challenge.clone(), card.clone(), until(now), now);
        self.books.write(session, change).await
    }

    /// Tells that the payer is to go to the bank, and waits for the end of that visit.
    pub(super) async fn wait_for_return(
        &self,
        session: Session,
        no: AttemptNo,
        still_there: StillThere,
        progress: mpsc::Sender<Progress>,
    ) -> Result<(), Fenced> {
        if session.challenged_attempt().is_none() {
            return self.wait_for_outcome(session, no, &still_there, &progress).await;
        }
        let _ = progress.send(Progress::Challenged(Box::new(session.clone()))).await;
        // Later visits are watched by the task of the first one.
        if session.attempt(no).and_then(Attempt::visit).is_some_and(|visit| visit.no == 1) {
            self.watch_challenge(session, still_there, Some(progress)).await;
        }
        Ok(())
    }

    async fn give_visit_up(
        &self,
        session: Session,
        no: AttemptNo,
        still_there: &StillThere,
        progress: Option<&mpsc::Sender<Progress>>,
    ) -> Result<(), Fenced> {
        let mut session = self.books.read_for_sure(session).await;
        if session.challenged_attempt().is_none_or(|attempt| attempt.no != no) {
            return Ok(());
        }
        session = self.books.write(session, |session, now| session.challenge_abandoned(no, now)).await?;
        if session.attempt(no).is_none_or(|attempt| attempt.visit().is_some() || !attempt.is_open()) {
            // The payer came back at the last moment.
            return Ok(());
        }
        warn!(session.id = %session.guid, attempt = %no, "the payer did not come back from the bank");
        match progress {
            Some(progress) => self.wait_for_outcome(session, no, still_there, progress).await,
            None => self.conclude(session, no, still_there, None).await.map(|_| ()),
        }
    }

    async fn go_on(
        &self,
        session: Session,
        no: AttemptNo,
        back: Return,
        still_there: StillThere,
        progress: mpsc::Sender<Progress>,
    ) -> Result<(), Fenced> {
        let Some((attempt, card)) = session.attempt(no).cloned().and_then(|attempt| {
            let card = attempt.visit()?.card.clone();
            Some((attempt, card))
        }) else {
            return Ok(());
        };
        let plan = Plan::of(&self.directory, &session);
        let submission = self.acquirer.go_on(&attempt, card.as_ref(), &back).await;
        self.metrics.attempt_ended(&submission);
        match submission {
            Submission::Answered(answer) => {
                let session = self.write_answer(session, answer, &plan, &still_there).await?;
                self.log_outcome(&session, &attempt);
                if session.attempt(no).is_some_and(|attempt| attempt.is_open() || attempt.is_reversing()) {
                    return self.wait_for_outcome(session, no, &still_there, &progress).await;
                }
                self.give_back_parts(&session);
                let _ = progress.send(Progress::Answered(Box::new(session), None)).await;
                Ok(())
            }
            Submission::Challenged(challenge) => {
                let session = self.write_challenge(session, challenge, card).await?;
                self.wait_for_return(session, no, still_there, progress).await
            }
            Submission::NotSent(reason) => {
                let session = self.write_not_sent(session, reason, &still_there).await?;
                self.log_outcome(&session, &attempt);
                self.give_back_parts(&session);
                let _ = progress.send(Progress::NotPaid(Box::new(session))).await;
                Ok(())
            }
            Submission::Unknown(reason) => {
                let session = self.write_unknown(session, reason).await?;
                self.log_outcome(&session, &attempt);
                self.wait_for_outcome(session, no, &still_there, &progress).await
            }
        }
    }

    /// Nothing was sent: the payer is at the bank again.
    async fn take_return_back(&self, session: Session, no: AttemptNo) -> Result<(), Fenced> {
        let session = self.books.read_for_sure(session).await;
        self.books.write(session, |session, now| session.challenge_return_undone(no, now)).await.map(|_| ())
    }
}

fn at_the_bank(session: &Session) -> Option<(&Attempt, &Challenge)> {
    let attempt = session.challenged_attempt()?;
    Some((attempt, attempt.challenge()?))
}
