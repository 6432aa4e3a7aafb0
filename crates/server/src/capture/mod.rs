//! The secure side: one task per provider session, which alone holds the card.
//!
//! [`SecureDesk`] is the door: it starts tasks, finds them, passes on what the agent asks and shows what they
//! say. `task` is the life of one; `view` makes the page of it.

mod task;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use hushpad_domain::ids::ProviderSessionGuid;
use hushpad_domain::page::{AgentAction, PageState};
use hushpad_domain::ports::{ActError, Launch, LaunchError, PageStream, SecureSide};
use hushpad_telephony::key_queue::KeyQueue;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

use crate::calls::{CallHandle, Calls};
use crate::metrics::Metrics;
use crate::payments::Payments;
use crate::recorder::{About, Paused, Recorders};
use crate::world::RealWorld;
use task::{Command, ProviderSession};

/// What an agent can ask before the task has done it. A person does not click faster.
const COMMANDS_MAX: usize = 32;
/// The media thread answers within a packet; after this something is broken.
const SECURE_TIME_OUT: Duration = Duration::from_secs(2);

/// The secure side of this process.
#[derive(Clone)]
pub struct SecureDesk {
    shared: Arc<Shared>,
}

/// What every session task needs.
pub(crate) struct Shared {
    pub(crate) calls: Calls,
    pub(crate) payments: Payments,
    pub(crate) world: RealWorld,
    pub(crate) metrics: Arc<Metrics>,
    recorders: Recorders,
    max_sessions: usize,
    sessions: Mutex<HashMap<ProviderSessionGuid, Door>>,
}

#[derive(Clone)]
struct Door {
    commands: mpsc::Sender<Command>,
    page: watch::Receiver<PageState>,
}

impl SecureDesk {
    /// A secure side with no session yet; at most `max_sessions` at one time.
    #[must_use]
    pub fn new(
        calls: Calls,
        payments: Payments,
        world: RealWorld,
        metrics: Arc<Metrics>,
        recorders: Recorders,
        max_sessions: usize,
    ) -> Self {
        let sessions = Mutex::new(HashMap::new());
        Self {
            shared: Arc::new(Shared { calls, payments, world, metrics, recorders, max_sessions, sessions }),
        }
    }

    /// Sessions whose task is there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.doors().len()
    }

    async fn secure_call(&self, launch: &Launch) -> Result<Option<Line>, LaunchError> {
        let Some(guid) = launch.session.call else { return Ok(None) };
        let call = self.shared.calls.find(guid.0).ok_or(LaunchError::CallGone)?;
        let keys = Arc::new(KeyQueue::new());
        match tokio::time::timeout(SECURE_TIME_OUT, call.secure(Arc::clone(&keys))).await {
            Ok(Ok(())) => {
                let session = &launch.session;
                let recording = self.shared.recorders.paused(About {
                    account: session.account.clone(),
                    call: guid,
                    session: session.guid,
                    agent: session.agent.clone(),
                });
                Ok(Some(Line { call, keys, _recording: recording }))
            }
            Ok(Err(_)) => Err(LaunchError::CallGone),
            Err(_) => {
                keys.close();
                Err(LaunchError::TimedOut)
            }
        }
    }

    fn door(&self, session: ProviderSessionGuid) -> Option<Door> {
        self.shared.doors().get(&session).cloned()
    }
}

/// The call under the guard, and the keys that come from it.
pub(crate) struct Line {
    pub(crate) call: CallHandle,
    pub(crate) keys: Arc<KeyQueue>,
    /// The recorder resumes when the line is let go.
    _recording: Option<Paused>,
}

impl Shared {
    fn doors(&self) -> MutexGuard<'_, HashMap<ProviderSessionGuid, Door>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task is over: nobody finds it any more.
    pub(crate) fn forget(&self, session: ProviderSessionGuid) {
        self.doors().remove(&session);
    }
}

#[async_trait]
impl SecureSide for SecureDesk {
    async fn launch(&self, launch: Launch) -> Result<(), LaunchError> {
        if self.count() >= self.shared.max_sessions {
            return Err(LaunchError::Unavailable);
        }
        let line = self.secure_call(&launch).await?;
        let provider = launch.session.provider;
        info!(
            session.id = %launch.session.guid,
            call.id = launch.session.call.map(tracing::field::display),
            agent = %launch.session.agent,
            "session opened"
        );
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (task, page) = ProviderSession::new(Arc::clone(&self.shared), launch, line);
        self.shared.doors().insert(provider, Door { commands, page });
        tokio::spawn(task.run(inbox));
        Ok(())
    }

    async fn act(&self, session: ProviderSessionGuid, action: AgentAction) -> Result<(), ActError> {
        let door = self.door(session).ok_or(ActError::Gone)?;
        let (done, answer) = oneshot::channel();
        door.commands.send(Command::Act(action, done)).await.map_err(|_| ActError::Gone)?;
        answer.await.unwrap_or(Err(ActError::Gone))
    }

    fn watch(&self, session: ProviderSessionGuid) -> Option<PageStream> {
        let door = self.door(session)?;
        // A full inbox means that the agent is at work, so the session has begun already.
        let _ = door.commands.try_send(Command::PageOpened);
        let mut page = door.page;
        page.mark_changed();
        Some(Box::pin(stream::unfold(page, |mut page| async move {
            page.changed().await.ok()?;
            let state = page.borrow_and_update().clone();
            Some((state, page))
        })))
    }
}
