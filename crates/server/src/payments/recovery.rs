//! What a restart finds: sessions that were not over, and payments that are not settled. It never needs the card.

use std::time::Duration;

use hushpad_domain::attempt::{Attempt, AttemptState, Unknown};
use hushpad_domain::ids::AttemptNo;
use hushpad_domain::operation::{OperationNo, OperationState};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::session::{OperationEnd, Retry, Session, SessionState};
use hushpad_domain::time::Timestamp;
use tracing::info;

use super::books::Fenced;
use super::{Payments, StillThere};

/// Attempts that were found not charged earlier than this are not looked for any more: longer than the late watch of
/// any gateway.
const LATE_WATCH_MAX: Duration = Duration::from_secs(24 * 3600);

/// Ends sessions whose entry was lost (those that are paid by a link have none to lose), and sees to every attempt and operation whose end is not known.
///
/// # Errors
/// When the store cannot be read; the program must not start then.
pub async fn recover(payments: &Payments) -> Result<(), StoreUnavailable> {
    let now = payments.world.now().as_micros();
    let since = now.saturating_sub(i64::try_from(LATE_WATCH_MAX.as_micros()).unwrap_or(i64::MAX));
    let mut found = payments.books.store().unfinished().await?;
    found.extend(payments.books.store().unsettled(Timestamp::from_micros(since)).await?);
    if !found.is_empty() {
        info!(sessions = found.len(), "sessions from before the restart");
    }
    for session in found {
        // A store that has a newer owner by now leaves the rest to it.
        if recover_session(payments, session).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn recover_session(payments: &Payments, session: Session) -> Result<(), Fenced> {
    let session = match session.state {
        SessionState::Created | SessionState::InProgress if session.link().is_some() => session,
        SessionState::Created | SessionState::InProgress => {
            payments.books.write(session, Session::fail).await?
        }
        SessionState::Processing { .. } => mark_unknown(payments, session).await?,
        SessionState::Ended { .. } => session,
    };
    let session = mark_operations_unknown(payments, session).await?;
    for attempt in &session.attempts {
        see_to_attempt(payments, &session, attempt);
    }
    Ok(())
}

/// An intent without an answer is unknown: nobody knows how far it came.
async fn mark_unknown(payments: &Payments, session: Session) -> Result<Session, Fenced> {
    match session.open_attempt().map(|attempt| &attempt.state) {
        // How far the return from the bank came, nobody knows either.
        Some(AttemptState::Intent | AttemptState::Confirming { .. }) => {
            payments.write_unknown(session, Unknown::Restarted).await
        }
        _ => Ok(session),
    }
}

async fn mark_operations_unknown(payments: &Payments, mut session: Session) -> Result<Session, Fenced> {
    let intents: Vec<(AttemptNo, OperationNo)> = session
        .open_operations()
        .filter(|(_, operation)| operation.state == OperationState::Intent)
        .map(|(attempt, operation)| (attempt.no, operation.no))
        .collect();
    for (attempt, no) in intents {
        let change = |session: Session, now| {
            let end = OperationEnd::Unknown(Unknown::Restarted);
            session.operation_ended(attempt, no, end, Retry::Over, now)
        };
        session = payments.books.write(session, change).await?;
    }
    Ok(session)
}

fn see_to_attempt(payments: &Payments, session: &Session, attempt: &Attempt) {
    let (payments, session, no) = (payments.clone(), session.clone(), attempt.no);
    let still_there = still_there(&session);
    if attempt.challenge().is_some() {
        // The payer may still come back, and the link may still be paid after that.
        tokio::spawn(async move { payments.watch_challenge(session, StillThere::yes(), None).await });
    } else if attempt.is_open() {
        tokio::spawn(async move { payments.see_to_open_attempt(session, no, &still_there).await });
    } else if attempt.is_reversing() {
        tokio::spawn(async move {
            let session = payments.give_back(session, no, &still_there).await?;
            payments.give_back_parts(&session);
            Ok::<(), Fenced>(())
        });
    } else if let Some(operation) = attempt.open_operation().map(|operation| operation.no) {
        tokio::spawn(async move {
            payments.settle_operation(session, no, operation, &StillThere::default()).await.map(|_| ())
        });
    } else if attempt.left_no_trace() {
        tokio::spawn(async move { payments.watch_for_late_success(session, no).await });
    }
}

/// By a link the payer can try again; a call and what was keyed on it are gone.
fn still_there(session: &Session) -> StillThere {
    if session.link().is_some() { StillThere::yes() } else { StillThere::default() }
}
