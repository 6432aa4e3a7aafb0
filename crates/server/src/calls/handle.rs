//! How the rest of the program speaks with one call.

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use hushpad_telephony::key_queue::KeyQueue;
use hushpad_telephony::relay::BridgeStats;

use crate::sip::{IncomingCall, Named};

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
    Bind(Binding, oneshot::Sender<Result<Result<(), BindRefused>, CallGone>>),
    /// Somebody calls to take the place of whoever is on this dialog.
    Replace(Box<IncomingCall>, Named),
    HangUp,
}

/// The call cannot be tied to this agent now.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BindRefused {
    /// Nobody has answered it yet.
    #[error("the call is not answered yet")]
    NotAnswered,
    /// It is another agent's, and only a free one was wanted.
    #[error("the call is another agent's")]
    Taken,
}

/// Whom a call is to be tied to.
pub(super) struct Binding {
    pub(super) agent: String,
    /// Not if another agent has it.
    pub(super) only_if_free: bool,
}

/// A call. Clones are handles to the same; a handle keeps nothing alive.
#[derive(Clone)]
pub struct CallHandle {
    pub(super) facts: Arc<Facts>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) ended: watch::Receiver<bool>,
}

/// What is known of a call. A copy with another agent takes its place when it is tied to one.
///
/// No `Debug`: numbers of people are not for logs.
#[derive(Clone)]
pub(super) struct Facts {
    pub(super) guid: Uuid,
    pub(super) account: String,
    /// Nobody's yet, when it came by a trunk.
    pub(super) agent: Option<String>,
    pub(super) peer: String,
    /// Who calls, where the account may see it.
    pub(super) caller: Option<String>,
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

    /// The agent the call is for, once that is known.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        self.facts.agent.as_deref()
    }

    /// Who calls, where the account may see it.
    #[must_use]
    pub fn caller(&self) -> Option<&str> {
        self.facts.caller.as_deref()
    }

    /// Ties the call to an agent; `only_if_free` leaves alone what is another agent's. An open session goes on
    /// as it is.
    ///
    /// # Errors
    /// The call has ended, or cannot be tied now.
    pub async fn bind(&self, agent: &str, only_if_free: bool) -> Result<Result<(), BindRefused>, CallGone> {
        let (done, wait) = oneshot::channel();
        let binding = Binding { agent: agent.to_owned(), only_if_free };
        self.tell(Command::Bind(binding, done), wait).await
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

    /// Hands on the INVITE of somebody who is to take a place in the call; gives it back where there is no room.
    pub(super) fn replace(&self, incoming: IncomingCall, named: Named) -> Option<IncomingCall> {
        let Ok(room) = self.commands.try_reserve() else { return Some(incoming) };
        room.send(Command::Replace(Box::new(incoming), named));
        None
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
