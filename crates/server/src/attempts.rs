//! `hushpad attempts`: what the operator is asked about, and what the operator says.

use std::io::Write;

use anyhow::bail;
use hushpad_domain::attempt::{Attempt, AttemptState, Undoing};
use hushpad_domain::ids::{AttemptId, OperationId};
use hushpad_domain::operation::{Operation, Settlement, settled_as};
use hushpad_domain::ports::{Sessions, Settlements, World};
use hushpad_domain::session::Session;
use hushpad_domain::text::holds_card_number;
use hushpad_domain::time::Timestamp;
use hushpad_store::{Ownership, Store};

use crate::cli::AttemptsCommand;
use crate::config::Config;
use crate::world::RealWorld;

/// A reference longer than this is none.
const REFERENCE_CHARS_MAX: usize = 128;

/// Does what the command line asks.
///
/// # Errors
/// What was wrong, for the person at the terminal.
pub async fn run(command: AttemptsCommand, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        AttemptsCommand::List { config, unknown } => {
            let store = open_store(&Config::load(&config.config)?).await?;
            for session in &open_sessions(&store).await? {
                for attempt in session.attempts.iter().filter(|attempt| is_listed(attempt, unknown)) {
                    writeln!(out, "{}", line(session, attempt))?;
                }
                for (attempt, operation) in session.open_operations().filter(|_| !unknown) {
                    writeln!(out, "{}", operation_line(session, attempt, operation))?;
                }
            }
        }
        AttemptsCommand::Settle { config, id, charged, not_charged, done, failed: _, reference } => {
            if reference.is_empty() || reference.chars().count() > REFERENCE_CHARS_MAX {
                bail!("--reference must have 1 to {REFERENCE_CHARS_MAX} characters");
            }
            if holds_card_number(&reference) {
                bail!("--reference holds a card number: it must never be written down");
            }
            let store = open_store(&Config::load(&config.config)?).await?;
            if charged || not_charged {
                settle(&store, AttemptId(id), charged, reference).await?;
            } else {
                settle_operation(&store, OperationId(id), done, reference).await?;
            }
            writeln!(out, "written down. The server takes it up within a minute, or at its next start.")?;
        }
    }
    Ok(())
}

async fn open_sessions(store: &Store) -> anyhow::Result<Vec<Session>> {
    let mut sessions = store.unfinished().await?;
    sessions.extend(store.unsettled(Timestamp::from_micros(i64::MAX)).await?);
    Ok(sessions)
}

async fn settle(store: &Store, attempt: AttemptId, charged: bool, reference: String) -> anyhow::Result<()> {
    let sessions = open_sessions(store).await?;
    let asked = sessions.iter().flat_map(|session| &session.attempts).find(|one| one.id == attempt);
    let Some(asked) = asked.filter(|asked| is_listed(asked, false)) else {
        bail!("there is no open attempt with this id: see hushpad attempts list");
    };
    if charged && asked.is_reversing() {
        bail!("this attempt is being given back: only --not-charged can settle it");
    }
    let settled_on = RealWorld::new().now();
    store.settle(Settlement { attempt, charged, reference, settled_on }).await?;
    Ok(())
}

async fn settle_operation(
    store: &Store,
    operation: OperationId,
    done: bool,
    reference: String,
) -> anyhow::Result<()> {
    let sessions = open_sessions(store).await?;
    let mut open = sessions.iter().flat_map(Session::open_operations);
    if !open.any(|(_, one)| one.id == operation) {
        bail!("there is no open operation with this id: see hushpad attempts list");
    }
    let settled_on = RealWorld::new().now();
    let settlement = Settlement { attempt: settled_as(operation), charged: done, reference, settled_on };
    store.settle(settlement).await?;
    Ok(())
}

fn is_listed(attempt: &Attempt, unknown_only: bool) -> bool {
    let unknown = matches!(attempt.state, AttemptState::Unknown { .. });
    unknown || (!unknown_only && (attempt.is_open() || attempt.is_reversing()))
}

fn line(session: &Session, attempt: &Attempt) -> String {
    let state = match (&attempt.state, attempt.undoing()) {
        (AttemptState::Unknown { .. }, Undoing::NotBegun) => "unknown",
        (AttemptState::Unknown { .. }, Undoing::Asked | Undoing::Accepted) => "unknown, undoing",
        (AttemptState::Unknown { .. }, Undoing::Failed) => "unknown, undoing failed",
        (AttemptState::Answered { .. }, _) if attempt.is_reversing() => "reversing",
        (AttemptState::Answered { .. }, _) => "pending",
        (AttemptState::Challenged { .. }, _) => "challenged",
        (
            AttemptState::Intent
            | AttemptState::Confirming { .. }
            | AttemptState::NotSent { .. }
            | AttemptState::NotCharged { .. },
            _,
        ) => "open",
    };
    format!(
        "{}  {state}  {}  gateway {}  account {}  session {}  since {}",
        attempt.id, attempt.amount, attempt.gateway, session.account, session.guid, attempt.intended_on
    )
}

fn operation_line(session: &Session, attempt: &Attempt, operation: &Operation) -> String {
    format!(
        "{}  {} {}  {}  gateway {}  account {}  session {}  since {}",
        operation.id,
        operation.kind.word(),
        operation.state.word(),
        operation.amount,
        attempt.gateway,
        session.account,
        session.guid,
        operation.intended_on
    )
}

/// Beside the server, which may be running.
async fn open_store(config: &Config) -> anyhow::Result<Store> {
    Ok(hushpad_store::open(&config.store_url, Ownership::Guest).await?)
}
