//! Writing down what has happened, for as long as it takes.

use std::sync::Arc;
use std::time::Duration;

use hushpad_domain::change::Change;
use hushpad_domain::ports::{CommitError, Sessions, World};
use hushpad_domain::session::{Session, WrongState};
use hushpad_domain::time::Timestamp;
use thiserror::Error;
use tracing::{error, warn};

use super::vault::CardHashes;

/// Between two tries; doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);
/// Long enough to spare a store that comes back, short enough for an agent who waits.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Writes changes that must not be lost. Cheap to clone.
#[derive(Clone)]
pub struct Books {
    store: Arc<dyn Sessions>,
    world: Arc<dyn World>,
    cards: CardHashes,
}

/// Another process owns the store now, and with it everything that is open: nothing more is done here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("another process owns the store")]
pub struct Fenced;

impl Books {
    /// Books in this store. `cards` notes whose the cards are that gateways begin to keep.
    #[must_use]
    pub fn new(store: Arc<dyn Sessions>, world: Arc<dyn World>, cards: CardHashes) -> Self {
        Self { store, world, cards }
    }

    /// The store, to read.
    #[must_use]
    pub fn store(&self) -> &dyn Sessions {
        &*self.store
    }

    /// Writes a change that may be refused.
    ///
    /// # Errors
    /// As [`Sessions::commit`].
    pub async fn commit(&self, mut change: Change) -> Result<(), CommitError> {
        change.keep_card(|account, token| self.cards.of(account, token));
        self.store.commit(change).await
    }

    /// Writes what `change` makes of the session, trying until the store takes it. Gives the session as it is
    /// then; unchanged when `change` no longer applies to it, because someone else was first.
    ///
    /// # Errors
    /// [`Fenced`]: the new owner of the store sees to it.
    pub async fn write(
        &self,
        mut session: Session,
        change: impl Fn(Session, Timestamp) -> Result<Change, WrongState>,
    ) -> Result<Session, Fenced> {
        let mut pause = PAUSE_FIRST;
        loop {
            let next = match change(session.clone(), self.world.now()) {
                Ok(next) => next,
                Err(_) => return Ok(session),
            };
            let after = next.after.clone();
            match self.commit(next).await {
                Ok(()) => return Ok(after),
                Err(CommitError::Conflict) => session = self.read_again(session).await,
                Err(error @ CommitError::Fenced) => {
                    error!(session.id = %session.guid, %error, "a change was left to the new owner of the store");
                    return Err(Fenced);
                }
                Err(error @ (CommitError::Unavailable(_) | CommitError::CallTaken)) => {
                    warn!(session.id = %session.guid, %error, "a change could not be written; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    // It may be there all the same, as when the connection broke after it was written.
                    session = self.read_again(session).await;
                }
            }
        }
    }

    /// The session as it is now; as it was known when it cannot be read.
    pub async fn read_again(&self, session: Session) -> Session {
        match self.store.provider_session(session.provider).await {
            Ok(Some(stored)) => stored,
            Ok(None) | Err(_) => {
                tokio::time::sleep(PAUSE_FIRST).await;
                session
            }
        }
    }

    /// The session as it is now, however long the store takes to say so.
    pub async fn read_for_sure(&self, session: Session) -> Session {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.store.provider_session(session.provider).await {
                Ok(Some(stored)) => return stored,
                Ok(None) => return session,
                Err(error) => {
                    warn!(session.id = %session.guid, %error, "a session could not be read; trying again")
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}
