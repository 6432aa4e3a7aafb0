//! How the rest of the program speaks with one call.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use hushpad_telephony::key_queue::KeyQueue;
use hushpad_telephony::relay::BridgeStats;

/// The call has ended, or its media has failed: do not ask for a card.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the call has ended")]
pub struct CallGone;

/// Counters of one call.
pub type CallStats = BridgeStats;

/// What a call's task is told.
pub(super) enum Command {
    Secure(Arc<KeyQueue>, oneshot::Sender<Result<(), CallGone>>),
    Release(oneshot::Sender<Result<(), CallGone>>),
    Stats(oneshot::Sender<Result<CallStats, CallGone>>),
    HangUp,
}

/// A call. Clones are handles to the same; a handle keeps nothing alive.
#[derive(Clone)]
pub struct CallHandle {
    pub(super) facts: Arc<Facts>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) ended: watch::Receiver<bool>,
}

/// What is known of a call from its beginning.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) guid: Uuid,
    pub(super) account: String,
    pub(super) agent: String,
    pub(super) peer: String,
}

impl CallHandle {
    /// The call's id, `callGuid`.
    #[must_use]
    pub fn guid(&self) -> Uuid {
        self.facts.guid
    }

    /// The account the call belongs to.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.facts.account
    }

    /// The agent the call is for.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.facts.agent
    }

    /// Turns secure mode on; keys go to `keys`. When this returns, no key and no tone goes to the agent any
    /// more, by whatever way it comes. The queue is closed when the call ends.
    ///
    /// # Errors
    /// The call has ended or its media has failed; `keys` is closed.
    pub async fn secure(&self, keys: Arc<KeyQueue>) -> Result<(), CallGone> {
        let (done, wait) = oneshot::channel();
        let told = self.tell(Command::Secure(Arc::clone(&keys), done), wait).await;
        if told.is_err() {
            keys.close();
        }
        told
    }

    /// Turns secure mode off.
    ///
    /// # Errors
    /// The call has ended.
    pub async fn release(&self) -> Result<(), CallGone> {
        let (done, wait) = oneshot::channel();
        self.tell(Command::Release(done), wait).await
    }

    /// Turns true when the call has ended.
    #[must_use]
    pub fn ended(&self) -> watch::Receiver<bool> {
        self.ended.clone()
    }

    /// The counters of its media.
    ///
    /// # Errors
    /// The call has ended.
    pub async fn stats(&self) -> Result<CallStats, CallGone> {
        let (done, wait) = oneshot::channel();
        self.tell(Command::Stats(done), wait).await
    }

    /// Ends the call. A call that has ended stays so.
    pub async fn hang_up(&self) {
        drop(self.commands.send(Command::HangUp).await);
    }

    async fn tell<T>(
        &self,
        command: Command,
        wait: oneshot::Receiver<Result<T, CallGone>>,
    ) -> Result<T, CallGone> {
        self.commands.send(command).await.map_err(|_| CallGone)?;
        wait.await.map_err(|_| CallGone)?
    }
}
