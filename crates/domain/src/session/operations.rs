//! The transitions of operations: captures, voids, refunds, and the reversals that we begin ourselves.

use super::{Ending, Outcome, Retry, Session, SessionState, WrongState};
use crate::attempt::{Attempt, NotSent, Unknown};
use crate::change::Change;
use crate::event::EventKind;
use crate::ids::{AttemptNo, OperationId};
use crate::money::Money;
use crate::operation::{
    Asked, Operation, OperationKind, OperationNo, OperationRefused, OperationState, ReverseCause,
};
use crate::time::Timestamp;

/// What is to be done with a recorded attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationRequest {
    /// The id that the operation will have.
    pub id: OperationId,
    /// What to do.
    pub asked: Asked,
    /// With how much; without, with all that is left.
    pub amount: Option<Money>,
    /// With which attempt; without, with the only one that holds money.
    pub attempt: Option<AttemptNo>,
}

/// How an exchange about an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationEnd {
    /// The gateway has done it, under this reference of its own.
    Done(String),
    /// The gateway has taken it, under this reference of its own, and will say later how it ended.
    Accepted(String),
    /// The gateway has refused it, for this reason; one that it had accepted has failed.
    Refused(String),
    /// Surely nothing was sent.
    NotSent(NotSent),
    /// It may have been done.
    Unknown(Unknown),
}

impl Session {
    /// Writes down that an operation is about to be sent. It may be sent only once this is committed.
    ///
    /// # Errors
    /// [`OperationRefused`]: nothing is done.
    pub fn operate(mut self, request: OperationRequest, at: Timestamp) -> Result<Change, OperationRefused> {
        let no = self.attempt_for(request.attempt)?;
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.no == no);
        let attempt = attempt.ok_or(OperationRefused::NothingApproved)?;
        let amount = attempt.allows(request.asked, request.amount)?;
        let kind = OperationKind::from(request.asked);
        let operation = attempt.push_operation(request.id, kind, amount, at);
        Ok(Change::of(self, at, vec![EventKind::OperationIntent { attempt: no, operation, kind, amount }]))
    }

    /// What became of an open operation. `retry` matters when the session waits for it.
    ///
    /// # Errors
    /// [`WrongState`] when the operation is not open, or this says nothing new of it.
    pub fn operation_ended(
        mut self,
        attempt: AttemptNo,
        no: OperationNo,
        end: OperationEnd,
        retry: Retry,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        let awaited = self.awaits(attempt);
        let operation = self.open_operation_mut(attempt, no)?;
        let reverses = matches!(operation.kind, OperationKind::Reverse { .. });
        let accepted = matches!(operation.state, OperationState::Accepted { .. });
        let (state, told) = match end {
            OperationEnd::Done(reference) => {
                (OperationState::done(&reference), EventKind::OperationDone { attempt, operation: no })
            }
            OperationEnd::Refused(reason) if accepted => {
                (OperationState::failed(&reason), EventKind::OperationFailed { attempt, operation: no })
            }
            // It was said already, or says less than is known.
            OperationEnd::Accepted(_) | OperationEnd::NotSent(_) if accepted => {
                return Err(WrongState::NoAttempt);
            }
            OperationEnd::Accepted(reference) => (
                OperationState::accepted(&reference),
                EventKind::OperationAccepted { attempt, operation: no },
            ),
            OperationEnd::Refused(reason) => {
                (OperationState::refused(&reason), EventKind::OperationRefused { attempt, operation: no })
            }
            OperationEnd::NotSent(reason) => {
                (OperationState::NotSent { reason }, EventKind::OperationNotSent { attempt, operation: no })
            }
            OperationEnd::Unknown(_) if operation.state != OperationState::Intent => {
                return Err(WrongState::NoAttempt);
            }
            OperationEnd::Unknown(reason) => {
                (OperationState::Unknown { reason }, EventKind::OperationUnknown { attempt, operation: no })
            }
        };
        let reversed = reverses && matches!(state, OperationState::Done { .. });
        operation.state = state;
        operation.updated_on = at;
        let mut events = vec![told];
        if reversed && awaited {
            self.back_to_entry(retry, Ending::Finished(Outcome::Declined), at, &mut events);
        }
        Ok(Change::of(self, at, events))
    }

    /// An operation that the gateway had accepted, or had even called done, has failed. A reversal must be begun anew
    /// ([`Self::reverse_again`]); how the session ended stays as it is.
    ///
    /// # Errors
    /// [`WrongState`] when there is no such operation.
    pub fn operation_failed(
        mut self,
        attempt: AttemptNo,
        no: OperationNo,
        reason: &str,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        let made = self.attempts.iter_mut().find(|made| made.no == attempt);
        let operation = made.and_then(|made| made.operations.iter_mut().find(|operation| operation.no == no));
        let operation = operation
            .filter(|operation| {
                matches!(operation.state, OperationState::Accepted { .. } | OperationState::Done { .. })
            })
            .ok_or(WrongState::NoAttempt)?;
        operation.state = OperationState::failed(reason);
        operation.updated_on = at;
        Ok(Change::of(self, at, vec![EventKind::OperationFailed { attempt, operation: no }]))
    }

    /// Begins the reversal of an attempt anew: after the gateway has refused it or it has failed, after nothing was sent, or because an
    /// intent is to be sent that was not committed just now. Each time it is sent, its intent is committed right
    /// before: so that a process whose store has a newer owner sends nothing.
    ///
    /// # Errors
    /// [`WrongState`] when there is none, or one may have been done.
    pub fn reverse_again(mut self, no: AttemptNo, at: Timestamp) -> Result<Change, WrongState> {
        let attempt = self.attempt(no).ok_or(WrongState::NoAttempt)?;
        let may_be_done = attempt.open_operation().is_some_and(|open| open.state != OperationState::Intent);
        let cause = attempt.turned_back_for().filter(|_| attempt.is_reversing() && !may_be_done);
        let cause = cause.ok_or(WrongState::NoAttempt)?;
        let events = match self.intend_again(no, at) {
            Some(event) => vec![event],
            None => self.begin_reversal(no, cause, at),
        };
        Ok(Change::of(self, at, events))
    }

    /// The last operation, if surely nothing of it was sent, is about to be sent: it is still the same one.
    fn intend_again(&mut self, no: AttemptNo, at: Timestamp) -> Option<EventKind> {
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.no == no)?;
        let last = attempt.operations.last_mut()?;
        let (OperationState::NotSent { .. } | OperationState::Intent) = last.state else { return None };
        last.state = OperationState::Intent;
        (last.intended_on, last.updated_on) = (at, at);
        let (operation, kind, amount) = (last.no, last.kind, last.amount);
        Some(EventKind::OperationIntent { attempt: no, operation, kind, amount })
    }

    pub(super) fn begin_reversal(
        &mut self,
        no: AttemptNo,
        cause: ReverseCause,
        at: Timestamp,
    ) -> Vec<EventKind> {
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.no == no);
        let begun = attempt.and_then(|attempt| {
            let amount = attempt.authorised()?;
            let operation = attempt.push_reversal(cause, at)?;
            let kind = OperationKind::Reverse { cause };
            Some(EventKind::OperationIntent { attempt: no, operation, kind, amount })
        });
        begun.into_iter().collect()
    }

    pub(super) fn reversed_by_operator(
        self,
        no: AttemptNo,
        reference: &str,
        retry: Retry,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        let open = self.attempt(no).and_then(Attempt::open_operation).map(|operation| operation.no);
        match open {
            Some(operation) => {
                self.operation_ended(no, operation, OperationEnd::Done(reference.to_owned()), retry, at)
            }
            // Every try was refused: the operator has given it back by hand.
            None => {
                let again = self.reverse_again(no, at)?;
                let operation = again.after.attempt(no).and_then(Attempt::open_operation);
                let operation = operation.map(|operation| operation.no).ok_or(WrongState::NoAttempt)?;
                let end = OperationEnd::Done(reference.to_owned());
                again.and_then(|session| session.operation_ended(no, operation, end, retry, at))
            }
        }
    }

    /// The attempt that is named, or the only one whose money can be moved.
    fn attempt_for(&self, named: Option<AttemptNo>) -> Result<AttemptNo, OperationRefused> {
        let SessionState::Ended { ending, .. } = self.state else {
            return Err(OperationRefused::NotFinished);
        };
        if !matches!(ending, Ending::Finished(Outcome::Approved | Outcome::Review)) {
            return Err(OperationRefused::NothingApproved);
        }
        if let Some(no) = named {
            return Ok(no);
        }
        let mut held = self
            .attempts
            .iter()
            .filter(|attempt| attempt.authorised().is_some() && !attempt.was_turned_back());
        match (held.next(), held.next()) {
            (None, _) => Err(OperationRefused::NothingApproved),
            (Some(only), None) => Ok(only.no),
            (Some(_), Some(_)) => Err(OperationRefused::NameTheAttempt),
        }
    }

    /// Whether the session stays in processing until this attempt is given back.
    fn awaits(&self, attempt: AttemptNo) -> bool {
        self.reversing_attempt().is_some_and(|awaited| awaited.no == attempt)
    }

    fn open_operation_mut(
        &mut self,
        attempt: AttemptNo,
        no: OperationNo,
    ) -> Result<&mut Operation, WrongState> {
        let attempt = self.attempts.iter_mut().find(|made| made.no == attempt);
        let operation = attempt
            .and_then(|attempt| attempt.operations.iter_mut().find(|operation| operation.no == no))
            .filter(|operation| operation.state.is_open());
        operation.ok_or(WrongState::NoAttempt)
    }
}
