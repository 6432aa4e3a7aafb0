//! What became of an attempt without an answer: asked by our reference, undone by our reference, told by the gateway
//! or by the operator. With back-off, until it is known.

use std::time::Duration;

use hushpad_domain::attempt::{Attempt, AttemptState, GatewayAnswer, Undoing, Unknown, Verdict};
use hushpad_domain::ids::AttemptNo;
use hushpad_domain::operation::{Operation, Settlement, settled_as};
use hushpad_domain::session::{Finding, Session};
use hushpad_gateways::{Asked, Challenges, NotKnown, Reversal};
use tracing::{info, warn};

use super::books::Fenced;
use super::plan::Plan;
use super::{Payments, StillThere};

/// The first question follows at once: a reset often leaves an answer behind.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// While the agent and the customer wait for the answer.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Where nobody can be asked, only the operator's or the gateway's own word is looked for.
pub(super) const PAUSE_FOR_WORD: Duration = Duration::from_secs(15);
/// Questions after an attempt was found not charged: at one, two, four and eight settle times.
const LATE_LOOKS: u32 = 4;
/// Tries of one such look. Ten minutes without the gateway, four times over, are for the operator.
const LATE_TRIES: u32 = 20;

/// What one look at an open attempt showed.
enum Look {
    /// It is known.
    Found(Finding),
    /// The gateway has it and will say later.
    Pending(GatewayAnswer),
    /// Ask again.
    NotYet,
    /// There is nobody to ask.
    NobodyToAsk,
    /// The gateway may hold something that must be undone.
    ToUndo,
}

impl Payments {
    /// Sees to the open attempt until it is known what became of it, and writes that down. Gives the session as it is
    /// when the attempt is no longer open.
    pub(super) async fn resolve(
        &self,
        mut session: Session,
        no: AttemptNo,
        still_there: &StillThere,
    ) -> Result<Session, Fenced> {
        let plan = Plan::of(&self.directory, &session);
        let mut pause = PAUSE_FIRST;
        let mut wait = None;
        loop {
            // A notification may have been first, or the operator.
            let Some(attempt) = session.attempt(no).filter(|attempt| attempt.is_open()).cloned() else {
                return Ok(session);
            };
            if let Some(settled) = self.settlement(&attempt).await {
                let terms = plan.terms(still_there.retry());
                let finding = finding_of(&attempt, &settled);
                let change = |session: Session, now| {
                    session.settled(no, finding.clone(), &settled.reference, terms, now)
                };
                return self.books.write(session, change).await;
            }
            let wait = wait.get_or_insert_with(|| self.waiters.enter(attempt.id, still_there));
            let mut look = self.look(&attempt).await;
            if let Look::ToUndo = look {
                (session, look) = self.undo(session, no).await?;
            }
            let length = match look {
                Look::Found(finding) => {
                    if finding == Finding::NotCharged {
                        warn!(session.id = %session.guid, attempt = %no, "the gateway has no trace of the attempt");
                    }
                    let change = |session: Session, now| {
                        session.resolved(finding.clone(), plan.terms(still_there.retry()), now)
                    };
                    return self.books.write(session, change).await;
                }
                Look::Pending(answer) => {
                    let change = |session: Session, now| {
                        let terms = plan.terms(still_there.retry());
                        session.resolved(Finding::Answer(answer.clone()), terms, now)
                    };
                    session = self.books.write(session, change).await?;
                    pause
                }
                Look::NotYet | Look::ToUndo => pause,
                Look::NobodyToAsk => PAUSE_FOR_WORD,
            };
            wait.pause(length).await;
            pause = (pause * 2).min(PAUSE_MAX);
            session = self.books.read_again(session).await;
        }
    }

    /// After an attempt was found not charged: looks a few more times. What shows up then is given back.
    pub(super) async fn watch_for_late_success(
        &self,
        mut session: Session,
        no: AttemptNo,
    ) -> Result<(), Fenced> {
        let Some(attempt) = session.attempt(no).cloned() else { return Ok(()) };
        let Some(settle_time) = self.acquirer.caps(&attempt.gateway).map(|caps| caps.settle_time) else {
            return Ok(());
        };
        for look in 0..LATE_LOOKS {
            tokio::time::sleep(settle_time * 2_u32.pow(look)).await;
            session = self.books.read_again(session).await;
            if session.attempt(no).is_none_or(|attempt| !attempt.left_no_trace()) {
                return Ok(());
            }
            if let Some(answer) = self.late_answer(&attempt).await {
                return self.late_success(session, no, answer).await;
            }
        }
        Ok(())
    }

    /// One late look; a gateway that cannot be asked just now is asked again, a bounded number of times.
    async fn late_answer(&self, attempt: &Attempt) -> Option<GatewayAnswer> {
        let mut tries = 0;
        while tries < LATE_TRIES {
            match self.acquirer.ask(attempt).await {
                // It has it after all: now it is only a matter of time.
                Asked::Found(answer) if answer.verdict == Verdict::Pending => {
                    tokio::time::sleep(PAUSE_MAX).await;
                }
                Asked::Found(answer) => return Some(answer),
                Asked::NotFound | Asked::NotKnown(NotKnown::NoQuery | NotKnown::NoGateway) => return None,
                Asked::NotKnown(NotKnown::Unreachable | NotKnown::NoAnswer(_)) => {
                    tries += 1;
                    tokio::time::sleep(PAUSE_MAX).await;
                }
            }
        }
        None
    }

    /// Gives back what was approved after the agent was told that nothing was charged.
    pub(super) async fn late_success(
        &self,
        session: Session,
        no: AttemptNo,
        answer: GatewayAnswer,
    ) -> Result<(), Fenced> {
        let change = |session: Session, now| session.late_success(no, answer.clone(), now);
        let session = self.books.write(session, change).await?;
        if session.attempt(no).is_some_and(Attempt::is_reversing) {
            warn!(session.id = %session.guid, attempt = %no, "a late success is given back");
            self.give_back(session, no, &StillThere::default()).await?;
        }
        Ok(())
    }

    /// The operator's word, if there is one. A store that cannot be read has none.
    pub(super) async fn settlement(&self, attempt: &Attempt) -> Option<Settlement> {
        self.settlements.settlement(attempt.id).await.ok().flatten()
    }

    /// The operator's word that a reversal was made by hand. One from before the approval was known was about
    /// something else.
    pub(super) async fn reversed_by_hand(&self, attempt: &Attempt) -> Option<Settlement> {
        let settled = self.settlement(attempt).await?;
        (!settled.charged && settled.settled_on >= attempt.updated_on).then_some(settled)
    }

    /// The operator's word about an operation.
    pub(super) async fn operation_settlement(&self, operation: &Operation) -> Option<Settlement> {
        self.settlements.settlement(settled_as(operation.id)).await.ok().flatten()
    }

    async fn look(&self, attempt: &Attempt) -> Look {
        match attempt.undoing() {
            Undoing::NotBegun => {}
            Undoing::Asked => return Look::ToUndo,
            // Only the gateway's or the operator's own word tells how that ended.
            Undoing::Accepted | Undoing::Failed => return Look::NobodyToAsk,
        }
        if self.never_went_on(attempt) {
            return Look::Found(Finding::NotCharged);
        }
        match self.acquirer.ask(attempt).await {
            Asked::Found(answer) if answer.verdict == Verdict::Pending => Look::Pending(answer),
            Asked::Found(answer) => Look::Found(Finding::Answer(answer)),
            // It said that it has it.
            Asked::NotFound if attempt.answer().is_some() => Look::NotYet,
            Asked::NotFound if self.is_settled(attempt) => self.undo_or_believe(attempt),
            Asked::NotFound => {
                info!(attempt.id = %attempt.id, "the gateway does not know the attempt yet");
                Look::NotYet
            }
            Asked::NotKnown(NotKnown::NoQuery)
                if attempt.answer().is_none() && self.reverses_by_ref(attempt) =>
            {
                if self.is_settled(attempt) { Look::ToUndo } else { Look::NotYet }
            }
            Asked::NotKnown(reason @ (NotKnown::NoQuery | NotKnown::NoGateway)) => {
                warn!(attempt.id = %attempt.id, ?reason, "only the operator can say what became of the attempt");
                Look::NobodyToAsk
            }
            Asked::NotKnown(reason @ (NotKnown::Unreachable | NotKnown::NoAnswer(_))) => {
                warn!(attempt.id = %attempt.id, ?reason, "the gateway could not be asked");
                Look::NotYet
            }
        }
    }

    /// "Not found" is not proof: where the gateway can, all that our reference may hold is undone.
    fn undo_or_believe(&self, attempt: &Attempt) -> Look {
        if self.reverses_by_ref(attempt) { Look::ToUndo } else { Look::Found(Finding::NotCharged) }
    }

    /// Asks for the undoing, once it is written down that it is asked for: an approval that shows up from then on may
    /// be on its way back.
    async fn undo(&self, session: Session, no: AttemptNo) -> Result<(Session, Look), Fenced> {
        let asked = |session: Session, now| session.undoing(Undoing::Asked, now);
        let session = self.books.write(session, asked).await?;
        let attempt = session.attempt(no).filter(|attempt| attempt.undoing() == Undoing::Asked).cloned();
        let Some(attempt) = attempt else { return Ok((session, Look::NotYet)) };
        let look = match self.acquirer.reverse_unknown(&attempt).await {
            Reversal::Reversed => Look::Found(Finding::Undone),
            Reversal::NothingThere | Reversal::NotKnown(NotKnown::NoQuery) => {
                Look::Found(Finding::NotCharged)
            }
            Reversal::Accepted => {
                warn!(session.id = %session.guid, attempt = %no, "an undoing was accepted: the gateway or the operator must say how it ended");
                let accepted = |session: Session, now| session.undoing(Undoing::Accepted, now);
                return Ok((self.books.write(session, accepted).await?, Look::NobodyToAsk));
            }
            Reversal::NotKnown(reason) => {
                warn!(attempt.id = %attempt.id, ?reason, "the attempt could not be undone yet");
                Look::NotYet
            }
        };
        Ok((session, look))
    }

    /// Whether the payer left at the bank, and this gateway charges nothing before we go on after that.
    fn never_went_on(&self, attempt: &Attempt) -> bool {
        let abandoned = matches!(attempt.state, AttemptState::Unknown { reason: Unknown::Abandoned, .. });
        let caps = self.acquirer.caps(&attempt.gateway);
        abandoned && caps.is_some_and(|caps| caps.challenge == Challenges::ChargedOnReturn)
    }

    fn reverses_by_ref(&self, attempt: &Attempt) -> bool {
        self.acquirer.caps(&attempt.gateway).is_some_and(|caps| caps.reverse_by_ref)
    }

    /// Whether what was still on its way has arrived or is lost. Counted from the intent.
    fn is_settled(&self, attempt: &Attempt) -> bool {
        let caps = self.acquirer.caps(&attempt.gateway);
        caps.is_some_and(|caps| self.world.now() > attempt.intended_on.plus(caps.settle_time))
    }
}

/// What the operator's word means for an open attempt.
fn finding_of(attempt: &Attempt, settlement: &Settlement) -> Finding {
    if !settlement.charged {
        return Finding::NotCharged;
    }
    let (result, card) =
        attempt.answer().map(|answer| (answer.result.clone(), answer.card.clone())).unwrap_or_default();
    Finding::Answer(GatewayAnswer::new(Verdict::Approved, settlement.reference.clone(), result, card))
}
