//! What a restart finds: sessions that were not over. It never needs the card.

use hushpad_domain::attempt::{AttemptState, Unknown};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::session::{Session, SessionState};
use tracing::info;

use super::{Payments, StillThere};

/// Ends sessions whose entry was lost, and asks for every attempt that has no answer.
///
/// # Errors
/// When the store cannot be read; the program must not start then.
pub async fn recover(payments: &Payments) -> Result<(), StoreUnavailable> {
    let unfinished = payments.books.store().unfinished().await?;
    if !unfinished.is_empty() {
        info!(sessions = unfinished.len(), "sessions from before the restart");
    }
    for session in unfinished {
        match session.state {
            SessionState::Created | SessionState::InProgress => {
                payments.books.write(session, Session::fail).await;
            }
            SessionState::Processing { .. } => recover_attempt(payments, session).await,
            SessionState::Ended { .. } => {}
        }
    }
    Ok(())
}

async fn recover_attempt(payments: &Payments, session: Session) {
    let Some(attempt) = session.open_attempt().cloned() else { return };
    let session = match attempt.state {
        AttemptState::Intent => payments.write_unknown(session, Unknown::Restarted).await,
        AttemptState::Unknown { .. }
        | AttemptState::NotSent { .. }
        | AttemptState::Answered { .. }
        | AttemptState::NotCharged => session,
    };
    let payments = payments.clone();
    tokio::spawn(async move { payments.resolve(session, &attempt, StillThere::default()).await });
}
