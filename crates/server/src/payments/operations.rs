//! Operations on recorded attempts: sent once their intent is committed, and seen to until it is known what became of
//! them.

use std::time::Duration;

use hushpad_domain::attempt::{Attempt, NotSent};
use hushpad_domain::ids::AttemptNo;
use hushpad_domain::operation::{OPERATIONS_MAX, Operation, OperationKind, OperationNo, OperationState};
use hushpad_domain::ports::CommitError;
use hushpad_domain::session::{Finding, OperationEnd, Session};
use hushpad_gateways::{AskedFollowUp, FollowUp, FollowUpKind, FollowUpSubmission, NotKnown};
use tracing::{info, warn};

use super::books::Fenced;
use super::resolver::PAUSE_FOR_WORD;
use super::{Payments, StillThere};

/// Between two questions; doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Nobody waits at the screen for a refund; a reversal is told on the page when it is done.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// What one look at an open operation showed.
enum Seen {
    Ended(OperationEnd),
    /// The gateway surely has not done it: it may be sent.
    NotThere,
    NotYet,
}

impl Payments {
    /// Sends an operation whose intent was just committed, and writes down what came of it. An operation that is
    /// unknown or only accepted stays open: [`Self::settle_operation`] sees to it.
    pub(super) async fn send_operation(
        &self,
        session: Session,
        attempt: AttemptNo,
        no: OperationNo,
        still_there: &StillThere,
    ) -> Result<Session, Fenced> {
        let Some((of, operation)) = open(&session, attempt, no) else { return Ok(session) };
        let submission = self.acquirer.follow_up(&follow_up(&of, &operation)).await;
        self.write_end(session, attempt, no, end_of(submission), still_there).await
    }

    /// Sees to an open operation until it is known what became of it.
    pub(super) async fn settle_operation(
        &self,
        mut session: Session,
        attempt: AttemptNo,
        no: OperationNo,
        still_there: &StillThere,
    ) -> Result<Session, Fenced> {
        let (mut pause, mut wait) = (PAUSE_FIRST, None);
        loop {
            let Some((of, operation)) = open(&session, attempt, no) else { return Ok(session) };
            let wait = wait.get_or_insert_with(|| self.waiters.enter(of.id, still_there));
            if let Some(end) = self.operators_word(&of, &operation).await {
                return self.write_end(session, attempt, no, end, still_there).await;
            }
            match self.look_at(&of, &operation).await {
                Seen::Ended(end) => session = self.write_end(session, attempt, no, end, still_there).await?,
                // A reversal is begun anew, under a new intent; whoever asked for another may ask again.
                Seen::NotThere => {
                    let end = OperationEnd::NotSent(NotSent::Refused);
                    session = self.write_end(session, attempt, no, end, still_there).await?;
                }
                Seen::NotYet => {}
            }
            let Some((of, operation)) = open(&session, attempt, no) else { return Ok(session) };
            wait.pause(if self.waits_for_word(&of, &operation) { PAUSE_FOR_WORD } else { pause }).await;
            pause = (pause * 2).min(PAUSE_MAX);
            session = self.books.read_again(session).await;
        }
    }

    /// Whether only the gateway's or the operator's own word can tell more: it was accepted, and nobody can be asked.
    fn waits_for_word(&self, attempt: &Attempt, operation: &Operation) -> bool {
        matches!(operation.state, OperationState::Accepted { .. })
            && self.acquirer.caps(&attempt.gateway).is_none_or(|caps| !caps.query_follow_up)
    }

    /// Gives an approval back whose reversal was begun, however often it must be asked for. Another task may be doing
    /// that already: then its end is waited for.
    pub(super) async fn give_back(
        &self,
        mut session: Session,
        no: AttemptNo,
        still_there: &StillThere,
    ) -> Result<Session, Fenced> {
        let mut errand = None;
        let mut pause = PAUSE_FIRST;
        loop {
            let Some(attempt) = session.attempt(no).filter(|attempt| attempt.is_reversing()).cloned() else {
                return Ok(session);
            };
            errand = errand.or_else(|| self.giving_back.take(attempt.id));
            if errand.is_some() {
                session = match attempt.open_operation() {
                    Some(operation) if operation.state != OperationState::Intent => {
                        self.settle_operation(session, no, operation.no, still_there).await?
                    }
                    Some(_) | None => self.reverse_now(session, &attempt, still_there).await?,
                };
            }
            if session.attempt(no).is_none_or(|attempt| !attempt.is_reversing()) {
                return Ok(session);
            }
            let wait = self.waiters.enter(attempt.id, still_there);
            wait.pause(if used_up(&attempt) { PAUSE_FOR_WORD } else { pause }).await;
            pause = (pause * 2).min(PAUSE_MAX);
            session = self.books.read_again(session).await;
        }
    }

    /// Commits the intent of a reversal and sends it at once, unless the operator has done it by hand.
    async fn reverse_now(
        &self,
        session: Session,
        attempt: &Attempt,
        still_there: &StillThere,
    ) -> Result<Session, Fenced> {
        if let Some(settled) = self.reversed_by_hand(attempt).await {
            let finding = Finding::NotCharged;
            let change = |session: Session, now| {
                session.settled(attempt.no, finding.clone(), &settled.reference, still_there.retry(), now)
            };
            return self.books.write(session, change).await;
        }
        if used_up(attempt) {
            warn!(session.id = %session.guid, attempt = %attempt.no, "every reversal was refused or has failed: only the operator can give this back");
            return Ok(session);
        }
        let Ok(again) = session.clone().reverse_again(attempt.no, self.world.now()) else {
            return Ok(session);
        };
        let after = again.after.clone();
        match self.books.commit(again).await {
            Ok(()) => {}
            Err(CommitError::Fenced) => return Err(Fenced),
            Err(error) => {
                warn!(session.id = %session.guid, attempt = %attempt.no, %error, "not given back yet; trying again");
                return Ok(session);
            }
        }
        match after.attempt(attempt.no).and_then(Attempt::open_operation).map(|operation| operation.no) {
            Some(operation) => self.send_operation(after, attempt.no, operation, still_there).await,
            None => Ok(after),
        }
    }

    /// What the operator has found out about an operation, or about the attempt that it reverses.
    async fn operators_word(&self, attempt: &Attempt, operation: &Operation) -> Option<OperationEnd> {
        if let Some(settled) = self.operation_settlement(operation).await {
            let end = if settled.charged { OperationEnd::Done } else { OperationEnd::Refused };
            return Some(end(settled.reference));
        }
        match operation.kind {
            OperationKind::Reverse { .. } => {
                Some(OperationEnd::Done(self.reversed_by_hand(attempt).await?.reference))
            }
            OperationKind::Capture | OperationKind::Void | OperationKind::Refund => None,
        }
    }

    /// A gateway that does a request once, however often it comes, can be told again: that is a question, too.
    async fn look_at(&self, attempt: &Attempt, operation: &Operation) -> Seen {
        let Some(caps) = self.acquirer.caps(&attempt.gateway) else { return Seen::NotYet };
        if self.waits_for_word(attempt, operation) {
            return Seen::NotYet;
        }
        let accepted = matches!(operation.state, OperationState::Accepted { .. });
        let age_us = self.world.now().as_micros() - operation.intended_on.as_micros();
        let age = Duration::from_micros(u64::try_from(age_us).unwrap_or(0));
        let follow_up = follow_up(attempt, operation);
        let asked = self.acquirer.ask_follow_up(&follow_up).await;
        let reason = match asked {
            AskedFollowUp::Done { reference, .. } => return Seen::Ended(OperationEnd::Done(reference)),
            AskedFollowUp::Refused { reason, .. } => return Seen::Ended(OperationEnd::Refused(reason)),
            // It said that it has it: telling it again says nothing more.
            AskedFollowUp::Accepted { .. } | AskedFollowUp::NotFound | AskedFollowUp::NotKnown(_)
                if accepted =>
            {
                return Seen::NotYet;
            }
            AskedFollowUp::Accepted { reference, .. } => {
                return Seen::Ended(OperationEnd::Accepted(reference));
            }
            AskedFollowUp::NotFound if age > caps.settle_time => return Seen::NotThere,
            AskedFollowUp::NotFound => None,
            AskedFollowUp::NotKnown(reason) => Some(reason),
        };
        if caps.replay.is_safe(age) && reason != Some(NotKnown::NoGateway) {
            return match end_of(self.acquirer.follow_up(&follow_up).await) {
                // It was not sent now, which says nothing of the first time.
                OperationEnd::NotSent(_) | OperationEnd::Unknown(_) => Seen::NotYet,
                end @ (OperationEnd::Done(_) | OperationEnd::Accepted(_) | OperationEnd::Refused(_)) => {
                    Seen::Ended(end)
                }
            };
        }
        if matches!(reason, Some(NotKnown::NoQuery | NotKnown::NoGateway)) {
            warn!(operation.id = %operation.id, ?reason, "only the operator can say what became of it");
        }
        Seen::NotYet
    }

    async fn write_end(
        &self,
        session: Session,
        attempt: AttemptNo,
        no: OperationNo,
        end: OperationEnd,
        still_there: &StillThere,
    ) -> Result<Session, Fenced> {
        let change = |session: Session, now| {
            session.operation_ended(attempt, no, end.clone(), still_there.retry(), now)
        };
        let session = self.books.write(session, change).await?;
        if let Some(operation) = session.attempt(attempt).and_then(|attempt| attempt.operation(no)) {
            info!(
                session.id = %session.guid,
                attempt = %attempt,
                operation = operation.kind.word(),
                state = operation.state.word(),
                "operation"
            );
        }
        Ok(session)
    }
}

/// The operation and its attempt, while it is open.
fn open(session: &Session, attempt: AttemptNo, no: OperationNo) -> Option<(Attempt, Operation)> {
    let attempt = session.attempt(attempt)?;
    let operation = attempt.operation(no).filter(|operation| operation.state.is_open())?;
    Some((attempt.clone(), operation.clone()))
}

/// Whether no further reversal is begun: each try is a row.
fn used_up(attempt: &Attempt) -> bool {
    let unsent = matches!(
        attempt.operations.last().map(|last| &last.state),
        Some(OperationState::NotSent { .. } | OperationState::Intent)
    );
    attempt.operations.len() >= usize::from(OPERATIONS_MAX) && !unsent
}

fn follow_up<'a>(attempt: &'a Attempt, operation: &Operation) -> FollowUp<'a> {
    let captured = attempt.operations.iter().find_map(|done| match (&done.kind, &done.state) {
        (OperationKind::Capture, OperationState::Done { gateway_reference }) => {
            Some(gateway_reference.as_str())
        }
        _ => None,
    });
    FollowUp {
        attempt,
        answer_reference: attempt.answer().map_or("", |answer| answer.gateway_reference.as_str()),
        capture_reference: captured,
        id: operation.id,
        kind: match operation.kind {
            OperationKind::Capture => FollowUpKind::Capture,
            OperationKind::Void => FollowUpKind::Void,
            OperationKind::Refund => FollowUpKind::Refund,
            OperationKind::Reverse { .. } => FollowUpKind::Reverse,
        },
        amount: operation.amount,
    }
}

/// How an exchange ends an operation.
fn end_of(submission: FollowUpSubmission) -> OperationEnd {
    match submission {
        FollowUpSubmission::Done { reference, .. } => OperationEnd::Done(reference),
        FollowUpSubmission::Accepted { reference, .. } => OperationEnd::Accepted(reference),
        FollowUpSubmission::Refused { reason, .. } => OperationEnd::Refused(reason),
        FollowUpSubmission::NotSent(reason) => OperationEnd::NotSent(reason),
        FollowUpSubmission::Unknown(reason) => OperationEnd::Unknown(reason),
    }
}
