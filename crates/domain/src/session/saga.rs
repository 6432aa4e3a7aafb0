//! The transitions of an attempt: from its intent to what became of it.

use std::collections::BTreeMap;

use super::{ATTEMPTS_MAX, Ending, Finding, Outcome, Retry, Session, SessionState, Terms, WrongState};
use crate::acceptance::Judgement;
use crate::attempt::{
    Attempt, AttemptState, GatewayAnswer, NotCharged, NotSent, Purpose, Undoing, Unknown, Verdict,
};
use crate::change::Change;
use crate::event::EventKind;
use crate::ids::{AttemptId, AttemptNo, GatewayName};
use crate::link::LinkState;
use crate::operation::ReverseCause;
use crate::time::Timestamp;

impl Session {
    /// Writes down that an attempt is about to be sent, for all that is still to be paid. The attempt may be sent
    /// only once this is committed.
    ///
    /// # Errors
    /// [`WrongState`] when an attempt is open, the session is over or its attempts are used up.
    pub fn intend(
        mut self,
        id: AttemptId,
        gateway: GatewayName,
        purpose: Purpose,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        self.still_open()?;
        if self.link().is_some_and(|link| link.state == LinkState::Revoked) {
            return Err(WrongState::NoLink);
        }
        let no = u16::try_from(self.attempts.len()).unwrap_or(u16::MAX).saturating_add(1);
        if no > ATTEMPTS_MAX {
            return Err(WrongState::AttemptsUsedUp);
        }
        let amount = self.remaining().ok_or(WrongState::NoAttempt)?;
        let attempt = AttemptNo(no);
        self.attempts.push(Attempt {
            id,
            no: attempt,
            amount,
            purpose,
            gateway,
            intended_on: at,
            updated_on: at,
            state: AttemptState::Intent,
            operations: Vec::new(),
        });
        self.state = SessionState::Processing { attempt };
        Ok(Change::of(self, at, vec![EventKind::Intent { attempt }]))
    }

    /// The gateway has answered the open attempt.
    ///
    /// # Errors
    /// [`WrongState`] when no attempt is open, or when it is being undone.
    pub fn answered(
        self,
        answer: GatewayAnswer,
        terms: impl Into<Terms>,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        if self.open_attempt().is_some_and(|open| open.undoing().may_be_done()) {
            return Err(WrongState::NoAttempt);
        }
        self.settle(answer, false, terms.into(), at)
    }

    /// Surely nothing of the open attempt was sent: the agent may try again.
    ///
    /// # Errors
    /// [`WrongState`] when no attempt is open.
    pub fn not_sent(mut self, reason: NotSent, retry: Retry, at: Timestamp) -> Result<Change, WrongState> {
        let attempt = self.set_open_attempt(AttemptState::NotSent { reason }, at)?;
        let mut events = vec![EventKind::NotSent { attempt }];
        self.back_to_entry(retry, Ending::Error, at, &mut events);
        Ok(Change::of(self, at, events))
    }

    /// The open attempt may or may not have been charged. The session stays in processing (G3).
    ///
    /// # Errors
    /// [`WrongState`] when no attempt is open.
    pub fn unknown(mut self, reason: Unknown, at: Timestamp) -> Result<Change, WrongState> {
        let attempt =
            self.set_open_attempt(AttemptState::Unknown { reason, undoing: Undoing::NotBegun }, at)?;
        Ok(Change::of(self, at, vec![EventKind::Unknown { attempt }]))
    }

    /// How far the undoing of the unknown attempt is. It may be asked for only once that is committed: from then on
    /// no approval of it is taken.
    ///
    /// # Errors
    /// [`WrongState`] when no attempt is unknown, or this says nothing new of it.
    pub fn undoing(mut self, undoing: Undoing, at: Timestamp) -> Result<Change, WrongState> {
        let open = self.open_attempt().ok_or_else(|| self.no_attempt())?;
        let AttemptState::Unknown { reason, undoing: before } = open.state else {
            return Err(WrongState::NoAttempt);
        };
        let follows = match (before, undoing) {
            (Undoing::NotBegun, Undoing::Asked)
            | (Undoing::Asked, Undoing::Accepted)
            | (Undoing::Asked | Undoing::Accepted, Undoing::Failed) => true,
            (
                Undoing::NotBegun | Undoing::Asked | Undoing::Accepted | Undoing::Failed,
                Undoing::NotBegun | Undoing::Asked | Undoing::Accepted | Undoing::Failed,
            ) => false,
        };
        if !follows {
            return Err(WrongState::NoAttempt);
        }
        let attempt = self.set_open_attempt(AttemptState::Unknown { reason, undoing }, at)?;
        Ok(Change::of(self, at, vec![EventKind::Undoing { attempt, undoing }]))
    }

    /// It was found out what became of the open attempt.
    ///
    /// # Errors
    /// [`WrongState`] when no attempt is open, or when it is being undone and this is no proof of how that ends: an
    /// approval may be on its way back.
    pub fn resolved(
        self,
        finding: Finding,
        terms: impl Into<Terms>,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        let undoing = self.open_attempt().is_some_and(|open| open.undoing().may_be_done());
        match &finding {
            Finding::Answer(answer) if undoing && !matches!(answer.verdict, Verdict::Declined { .. }) => {
                Err(WrongState::NoAttempt)
            }
            Finding::Answer(_) | Finding::NotCharged | Finding::Undone => {
                self.found(finding, terms.into(), at)
            }
        }
    }

    fn found(mut self, finding: Finding, terms: Terms, at: Timestamp) -> Result<Change, WrongState> {
        let how = match finding {
            Finding::Answer(answer) => return self.settle(answer, true, terms, at),
            Finding::NotCharged => NotCharged::NoTrace,
            Finding::Undone => NotCharged::Undone,
        };
        let attempt = self.set_open_attempt(AttemptState::NotCharged { how }, at)?;
        let mut events = vec![EventKind::NotCharged { attempt }];
        self.back_to_entry(terms.retry, Ending::Error, at, &mut events);
        Ok(Change::of(self, at, events))
    }

    /// The gateway had an attempt after all that was found not charged, and has undone it.
    ///
    /// # Errors
    /// [`WrongState`] when it is not so.
    pub(super) fn was_undone(mut self, no: AttemptNo, at: Timestamp) -> Result<Change, WrongState> {
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.no == no);
        let attempt = attempt.filter(|attempt| attempt.left_no_trace()).ok_or(WrongState::NoAttempt)?;
        attempt.state = AttemptState::NotCharged { how: NotCharged::Undone };
        attempt.updated_on = at;
        Ok(Change::of(self, at, vec![EventKind::NotCharged { attempt: no }]))
    }

    /// The gateway approved an attempt of which the agent was told that nothing was charged. It is given back; what
    /// clients see of the session stays as it is.
    ///
    /// # Errors
    /// [`WrongState`] when the attempt is open, was approved, or the answer is no approval.
    pub fn late_success(
        mut self,
        no: AttemptNo,
        answer: GatewayAnswer,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.no == no);
        let attempt = attempt.ok_or(WrongState::NoAttempt)?;
        let told_failed = match &attempt.state {
            AttemptState::NotSent { .. } | AttemptState::NotCharged { how: NotCharged::NoTrace } => true,
            AttemptState::Answered { answer, .. } => matches!(answer.verdict, Verdict::Declined { .. }),
            // What was undone has had its one authorisation: an approval that is told later is the one that is gone.
            AttemptState::NotCharged { how: NotCharged::Undone }
            | AttemptState::Intent
            | AttemptState::Challenged { .. }
            | AttemptState::Confirming { .. }
            | AttemptState::Unknown { .. } => false,
        };
        let approves = match answer.verdict {
            Verdict::Approved | Verdict::Review | Verdict::Partial { .. } => attempt.purpose.holds_money(),
            Verdict::Pending | Verdict::Declined { .. } => false,
        };
        if !told_failed || !approves {
            return Err(WrongState::NoAttempt);
        }
        // Nothing of it is ever shown, and the session's retention may be over: only what the reversal needs is kept.
        let (result, card, stored) = (BTreeMap::new(), None, None);
        let answer = GatewayAnswer { result, card, stored, ..answer };
        attempt.state = AttemptState::Answered { answer, resolved: true };
        attempt.updated_on = at;
        let mut events = vec![EventKind::LateSuccess { attempt: no }];
        events.extend(self.begin_reversal(no, ReverseCause::Late, at));
        Ok(Change::of(self, at, events))
    }

    /// The operator has looked the open attempt up, or its reversal: the finding, and where it stands written.
    ///
    /// # Errors
    /// [`WrongState`] when the attempt is not waiting for that, or its reversal is said not to be made.
    pub fn settled(
        self,
        no: AttemptNo,
        finding: Finding,
        reference: &str,
        terms: impl Into<Terms>,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        let terms = terms.into();
        let charged = matches!(finding, Finding::Answer(_));
        let attempt = self.attempt(no).ok_or(WrongState::NoAttempt)?;
        let mut change = if attempt.is_open() {
            // Whoever looks after an undoing was asked for, sees its end.
            let undone = attempt.undoing().may_be_done() && !charged;
            self.found(if undone { Finding::Undone } else { finding }, terms, at)?
        } else if attempt.is_reversing() && !charged {
            self.reversed_by_operator(no, reference, terms.retry, at)?
        } else {
            return Err(WrongState::NoAttempt);
        };
        change.tell_first(at, EventKind::Settled { attempt: no, charged, reference: reference.to_owned() });
        Ok(change)
    }

    fn settle(
        mut self,
        answer: GatewayAnswer,
        resolved: bool,
        terms: Terms,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        let open = self.open_attempt().ok_or_else(|| self.no_attempt())?;
        let judgement = terms.acceptance.judge(open, &answer, terms.retry == Retry::Possible);
        let verdict = answer.verdict.clone();
        let waited = open.answer().is_some();
        if waited && verdict == Verdict::Pending {
            // It was told once.
            return Err(WrongState::NoAttempt);
        }
        let attempt = self.set_open_attempt(AttemptState::Answered { answer, resolved }, at)?;
        let told = match (judgement, &verdict) {
            (Judgement::GiveBack(cause), _) => EventKind::TurnedBack { attempt, cause },
            (Judgement::TakePart, Verdict::Partial { approved }) => {
                EventKind::Partial { attempt, approved: *approved }
            }
            (_, Verdict::Approved | Verdict::Partial { .. }) => EventKind::Approved { attempt },
            (_, Verdict::Review) => EventKind::Review { attempt },
            (_, Verdict::Pending) => EventKind::Pending { attempt },
            (_, Verdict::Declined { .. }) => EventKind::Declined { attempt },
        };
        let outcome = if verdict == Verdict::Review { Outcome::Review } else { Outcome::Approved };
        let mut events = vec![told];
        match judgement {
            Judgement::Take => events.extend(self.end(Ending::Finished(outcome), at)),
            Judgement::TakePart => self.state = SessionState::InProgress,
            Judgement::GiveBack(cause) => events.extend(self.begin_reversal(attempt, cause, at)),
            Judgement::Declined => {
                self.back_to_entry(terms.retry, Ending::Finished(Outcome::Declined), at, &mut events);
            }
            Judgement::Pending => {}
        }
        Ok(Change::of(self, at, events))
    }

    pub(super) fn back_to_entry(
        &mut self,
        retry: Retry,
        over: Ending,
        at: Timestamp,
        events: &mut Vec<EventKind>,
    ) {
        match retry {
            Retry::Possible => self.state = SessionState::InProgress,
            Retry::Over => events.extend(self.end(over, at)),
        }
    }

    pub(super) fn set_open_attempt(
        &mut self,
        state: AttemptState,
        at: Timestamp,
    ) -> Result<AttemptNo, WrongState> {
        let SessionState::Processing { attempt: no } = self.state else { return Err(self.no_attempt()) };
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.no == no && attempt.is_open());
        let attempt = attempt.ok_or(WrongState::NoAttempt)?;
        attempt.state = state;
        attempt.updated_on = at;
        Ok(no)
    }

    fn no_attempt(&self) -> WrongState {
        if self.has_ended() { WrongState::Ended } else { WrongState::NoAttempt }
    }
}
