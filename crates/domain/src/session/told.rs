//! What a gateway tells unasked, and what it means for a session: the same transitions as an answer's.

use super::{Finding, OperationEnd, Retry, Session, Terms};
use crate::attempt::{Attempt, AttemptState, GatewayAnswer, NotCharged, Undoing, Verdict};
use crate::change::Change;
use crate::ids::{AttemptNo, GatewayName};
use crate::money::Money;
use crate::notification::{Notification, Told, UndoingEnd};
use crate::operation::{Operation, OperationState};
use crate::time::Timestamp;

/// What a notification means for a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// This.
    Change(Box<Change>),
    /// Nothing that was not known.
    Known,
    /// Its time has not come: the answer to what it tells of is on its way, or an undoing that it came across.
    NotYet,
    /// Something that does not fit what is known. The operator must look; the text says at what.
    Odd(&'static str),
}

impl Session {
    /// What this notification of `gateway` means. `retry` matters where the session waits for it.
    #[must_use]
    pub fn told(
        self,
        gateway: &GatewayName,
        told: &Notification,
        terms: impl Into<Terms>,
        at: Timestamp,
    ) -> Heard {
        let terms = terms.into();
        match &told.what {
            Told::Attempt { .. } => self.told_of_attempt(gateway, told, terms, at),
            Told::Reversal { end, .. } => self.told_of_undoing(gateway, told, *end, terms, at),
            Told::FollowUp { done, reason } => {
                let end = if *done {
                    OperationEnd::Done(told.gateway_reference.clone())
                } else {
                    OperationEnd::Refused(reason.clone())
                };
                self.told_of_operation(gateway, told, end, terms.retry, at)
            }
            Told::FailedLater { event } => self.told_of_failure(gateway, told, event, at),
            Told::Other { .. } => Heard::Known,
        }
    }

    fn told_of_attempt(
        self,
        gateway: &GatewayName,
        told: &Notification,
        terms: Terms,
        at: Timestamp,
    ) -> Heard {
        let Some(attempt) = self.attempt_told_of(gateway, told) else { return Heard::Odd(NO_ATTEMPT) };
        let no = attempt.no;
        let Some(answer) = answer_of(attempt, told) else {
            return Heard::Odd("a payment of another amount or currency than was asked for");
        };
        let declined = matches!(answer.verdict, Verdict::Declined { .. });
        match &attempt.state {
            // Its own answer says more, and is on its way, or its payer is at the bank; after a restart, or when nobody
            // comes back, the attempt is unknown.
            AttemptState::Intent | AttemptState::Challenged { .. } | AttemptState::Confirming { .. } => {
                Heard::NotYet
            }
            AttemptState::Unknown { undoing, .. } if undoing.may_be_done() && !declined => Heard::NotYet,
            AttemptState::Unknown { .. } => heard(self.resolved(Finding::Answer(answer), terms, at)),
            AttemptState::Answered { answer: before, .. } if before.verdict == Verdict::Pending => {
                heard(self.resolved(Finding::Answer(answer), terms, at))
            }
            AttemptState::NotSent { .. } | AttemptState::NotCharged { how: NotCharged::NoTrace }
                if !declined =>
            {
                heard(self.late_success(no, answer, at))
            }
            AttemptState::Answered { answer: before, .. }
                if matches!(before.verdict, Verdict::Declined { .. }) && !declined =>
            {
                heard(self.late_success(no, answer, at))
            }
            AttemptState::Answered { answer: before, .. }
                if declined && !matches!(before.verdict, Verdict::Declined { .. }) =>
            {
                Heard::Odd("a payment is declined that was approved before")
            }
            AttemptState::Answered { .. }
            | AttemptState::NotSent { .. }
            | AttemptState::NotCharged { .. } => Heard::Known,
        }
    }

    fn told_of_undoing(
        self,
        gateway: &GatewayName,
        told: &Notification,
        end: UndoingEnd,
        terms: Terms,
        at: Timestamp,
    ) -> Heard {
        let Some(attempt) = self.attempt_told_of(gateway, told) else { return Heard::Odd(NO_ATTEMPT) };
        match (&attempt.state, end) {
            (AttemptState::Unknown { .. }, UndoingEnd::Done) => {
                heard(self.resolved(Finding::Undone, terms, at))
            }
            (AttemptState::Unknown { undoing, .. }, UndoingEnd::NothingThere) if undoing.may_be_done() => {
                heard(self.resolved(Finding::NotCharged, terms, at))
            }
            (AttemptState::Unknown { undoing, .. }, UndoingEnd::Failed) if undoing.may_be_done() => {
                heard(self.undoing(Undoing::Failed, at))
            }
            // Told after another word: of an undoing that was asked for twice, say. What is gone needs no reversal.
            (AttemptState::NotCharged { how: NotCharged::NoTrace }, UndoingEnd::Done) => {
                let no = attempt.no;
                heard(self.was_undone(no, at))
            }
            (AttemptState::Answered { .. }, UndoingEnd::Done) if attempt.is_reversing() => {
                let no = attempt.no;
                heard(self.reversed_by_operator(no, &told.gateway_reference, terms.retry, at))
            }
            (AttemptState::Answered { .. }, UndoingEnd::Done) => {
                Heard::Odd("a payment was undone at the gateway that has an answer")
            }
            (
                AttemptState::Intent
                | AttemptState::Challenged { .. }
                | AttemptState::Confirming { .. }
                | AttemptState::NotSent { .. }
                | AttemptState::Unknown { .. }
                | AttemptState::Answered { .. }
                | AttemptState::NotCharged { .. },
                UndoingEnd::Done | UndoingEnd::NothingThere | UndoingEnd::Failed,
            ) => Heard::Known,
        }
    }

    fn told_of_operation(
        self,
        gateway: &GatewayName,
        told: &Notification,
        end: OperationEnd,
        retry: Retry,
        at: Timestamp,
    ) -> Heard {
        let Some((attempt, operation)) = self.operation_told_of(gateway, told) else {
            return Heard::Odd(NOT_OURS);
        };
        let (attempt, no) = (attempt.no, operation.no);
        let done = matches!(end, OperationEnd::Done(_));
        match &operation.state {
            // Its own answer is on its way; after a restart the operation is unknown.
            OperationState::Intent => Heard::NotYet,
            OperationState::Unknown { .. } | OperationState::Accepted { .. } => {
                heard(self.operation_ended(attempt, no, end, retry, at))
            }
            OperationState::NotSent { .. } | OperationState::Refused { .. } if done => {
                Heard::Odd("an operation is done that was not sent or was refused")
            }
            OperationState::Done { .. } if !done => {
                Heard::Odd("an operation is refused that was done before")
            }
            // One that has failed may have been called done before, and be told of in the wrong order.
            OperationState::NotSent { .. }
            | OperationState::Refused { .. }
            | OperationState::Done { .. }
            | OperationState::Failed { .. } => Heard::Known,
        }
    }

    fn told_of_failure(
        self,
        gateway: &GatewayName,
        told: &Notification,
        event: &str,
        at: Timestamp,
    ) -> Heard {
        let Some((attempt, operation)) = self.operation_told_of(gateway, told) else {
            return Heard::Odd(NOT_OURS);
        };
        let (attempt, no) = (attempt.no, operation.no);
        match &operation.state {
            OperationState::Intent => Heard::NotYet,
            OperationState::Unknown { .. } => {
                let end = OperationEnd::Refused(event.to_owned());
                heard(self.operation_ended(attempt, no, end, Retry::Over, at))
            }
            OperationState::Accepted { .. } | OperationState::Done { .. } => {
                heard(self.operation_failed(attempt, no, event, at))
            }
            OperationState::NotSent { .. }
            | OperationState::Refused { .. }
            | OperationState::Failed { .. } => Heard::Known,
        }
    }

    fn attempt_told_of(&self, gateway: &GatewayName, told: &Notification) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.id == told.attempt() && attempt.gateway == *gateway)
    }

    /// By its own id, or as what this gateway called it.
    fn operation_told_of(
        &self,
        gateway: &GatewayName,
        told: &Notification,
    ) -> Option<(&Attempt, &Operation)> {
        let here = || self.attempts.iter().filter(|attempt| attempt.gateway == *gateway);
        let every = || here().flat_map(|attempt| attempt.operations.iter().map(move |made| (attempt, made)));
        every().find(|(_, operation)| operation.id == told.operation()).or_else(|| {
            every().find(|(_, operation)| match &operation.state {
                OperationState::Accepted { gateway_reference }
                | OperationState::Done { gateway_reference } => {
                    !gateway_reference.is_empty() && *gateway_reference == told.gateway_reference
                }
                OperationState::Intent
                | OperationState::NotSent { .. }
                | OperationState::Unknown { .. }
                | OperationState::Refused { .. }
                | OperationState::Failed { .. } => false,
            })
        })
    }

    /// The attempt that a notification of this gateway is about, by whichever id it names.
    #[must_use]
    pub fn told_attempt(&self, gateway: &GatewayName, told: &Notification) -> Option<AttemptNo> {
        let attempt = self.attempt_told_of(gateway, told);
        attempt
            .or_else(|| self.operation_told_of(gateway, told).map(|(attempt, _)| attempt))
            .map(|one| one.no)
    }
}

const NO_ATTEMPT: &str = "no attempt at this gateway has this id";
const NOT_OURS: &str = "something was done with a payment that we have not asked for";

fn heard(change: Result<Change, super::WrongState>) -> Heard {
    change.map_or(Heard::Known, |change| Heard::Change(Box::new(change)))
}

/// What was told of an attempt, as its answer; `None` for an approval of more or other money than was asked for, or of
/// none that can be read (G6).
fn answer_of(attempt: &Attempt, told: &Notification) -> Option<GatewayAnswer> {
    let Told::Attempt { declined, checks, result, stored } = &told.what else { return None };
    let verdict = match declined {
        Some(class) => Verdict::Declined { class: *class },
        None if !attempt.purpose.holds_money() => Verdict::Approved,
        None => approval(attempt.amount, told.amount?)?,
    };
    let before = attempt.answer();
    let mut all = before.map(|answer| answer.result.clone()).unwrap_or_default();
    all.extend(result.clone());
    Some(GatewayAnswer {
        verdict,
        gateway_reference: told.gateway_reference.clone(),
        result: all,
        card: before.and_then(|answer| answer.card.clone()),
        checks: *checks,
        stored: stored.clone(),
    })
}

fn approval(asked: Money, approved: Money) -> Option<Verdict> {
    if approved.currency() != asked.currency() || approved.minor() > asked.minor() {
        return None;
    }
    Some(if approved == asked { Verdict::Approved } else { Verdict::Partial { approved } })
}
