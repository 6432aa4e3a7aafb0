//! The secure side: one task per provider session, which alone holds the card.
//!
//! [`SecureDesk`] is the door: it starts tasks, finds them, passes on what the agent asks and shows what they
//! say. `task` is the life of one; `view` makes the page of it.
//!
//! A session that is paid by a link ([`codes`]) outlives its task: the task is there while somebody looks or pays, and is
//! begun anew from the store when somebody comes (`link`); `expiry` ends what nobody comes for. [`PayerDesk`] is the
//! door of the payer page, `sight` what it shows.

pub mod codes;
mod command;
mod expiry;
mod link;
mod payer;
mod sight;
mod task;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use hushpad_domain::account::Directory;
use hushpad_domain::ids::ProviderSessionGuid;
use hushpad_domain::link::{LinkState, PaymentLinkUrl};
use hushpad_domain::page::{AgentAction, PageState};
use hushpad_domain::ports::{ActError, Changes, Launch, LaunchError, LinkSender, PageStream, SecureSide};
use hushpad_domain::session::Session;
use hushpad_telephony::key_queue::KeyQueue;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::info;

use crate::calls::{CallHandle, Calls};
use crate::metrics::Metrics;
use crate::payments::Payments;
use crate::recorder::{About, Paused, Recorders};
use crate::world::RealWorld;
use codes::LinkCodes;
use command::Command;
use expiry::{Expiry, NewLinks};
use sight::Shown;
use task::ProviderSession;

pub use payer::PayerDesk;

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
    pub(crate) directory: Arc<Directory>,
    changes: Arc<dyn Changes>,
    /// `None` without a payer page.
    codes: Option<Arc<LinkCodes>>,
    sender: Arc<dyn LinkSender>,
    expiry: Expiry,
    new_links: Mutex<Option<NewLinks>>,
    max_sessions: usize,
    sessions: Mutex<HashMap<ProviderSessionGuid, Door>>,
}

/// What a secure side is made of.
#[expect(missing_docs, reason = "the fields are parts of `server` and ports of `domain`")]
pub struct SecureParts {
    pub calls: Calls,
    pub payments: Payments,
    pub world: RealWorld,
    pub metrics: Arc<Metrics>,
    pub recorders: Recorders,
    pub directory: Arc<Directory>,
    pub changes: Arc<dyn Changes>,
    /// Without a payer page there are no links.
    pub codes: Option<Arc<LinkCodes>>,
    pub sender: Arc<dyn LinkSender>,
    /// Provider sessions at one time.
    pub max_sessions: usize,
}

#[derive(Clone)]
struct Door {
    commands: mpsc::Sender<Command>,
    page: watch::Receiver<PageState>,
    shown: watch::Receiver<Shown>,
}

/// A session of which somebody wants something.
enum Found {
    /// Its task is there.
    Live(Door),
    /// It has none, and needs none: it is over, or nobody can pay it here.
    AtRest(Box<Session>),
}

/// Why a session was not found.
enum NotFound {
    NoSuchSession,
    /// The store cannot be read, or too many sessions are live.
    Unavailable,
}

impl SecureDesk {
    /// A secure side with no session yet.
    #[must_use]
    pub fn new(parts: SecureParts) -> Self {
        let (expiry, new_links) = Expiry::new();
        Self {
            shared: Arc::new(Shared {
                calls: parts.calls,
                payments: parts.payments,
                world: parts.world,
                metrics: parts.metrics,
                recorders: parts.recorders,
                directory: parts.directory,
                changes: parts.changes,
                codes: parts.codes,
                sender: parts.sender,
                expiry,
                new_links: Mutex::new(Some(new_links)),
                max_sessions: parts.max_sessions,
                sessions: Mutex::default(),
            }),
        }
    }

    /// Sessions whose task is there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.doors().len()
    }

    /// The session's door. The task of one that is paid by a link is begun anew where there is none.
    async fn find(&self, provider: ProviderSessionGuid) -> Result<Found, NotFound> {
        if let Some(door) = self.door(provider) {
            return Ok(Found::Live(door));
        }
        let stored = self.shared.payments.books.store().provider_session(provider).await;
        let session = stored.map_err(|_| NotFound::Unavailable)?.ok_or(NotFound::NoSuchSession)?;
        if session.has_ended() || session.link().is_none() {
            return Ok(Found::AtRest(Box::new(session)));
        }
        let account = self.shared.directory.account(&session.account);
        let configuration = account.and_then(|account| account.configuration(session.configuration));
        let Some(configuration) = configuration.cloned() else { return Ok(Found::AtRest(Box::new(session))) };
        match self.begin(Launch { session, configuration }, None) {
            Ok(door) => Ok(Found::Live(door)),
            Err(_) => Err(NotFound::Unavailable),
        }
    }

    /// Starts the session's task, unless it is there already. Gives the line back when too many are.
    fn begin(&self, launch: Launch, line: Option<Line>) -> Result<Door, Option<Line>> {
        let provider = launch.session.provider;
        let mut doors = self.shared.doors();
        if let Some(door) = doors.get(&provider) {
            return Ok(door.clone());
        }
        if doors.len() >= self.shared.max_sessions {
            return Err(line);
        }
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (task, page, shown) = ProviderSession::new(Arc::clone(&self.shared), launch, line);
        let door = Door { commands, page, shown };
        doors.insert(provider, door.clone());
        tokio::spawn(task.run(inbox));
        Ok(door)
    }

    /// Tells the session's task, if there is one, that its link has expired.
    async fn tell_expired(&self, provider: ProviderSessionGuid) -> bool {
        let Some(door) = self.door(provider) else { return false };
        door.commands.send(Command::LinkExpired).await.is_ok()
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

impl Line {
    /// Lets the call go back to plain mode. That waits until no key is down, so it is not waited for here.
    fn release(self) {
        tokio::spawn(async move {
            if self.call.release().await.is_err() {
                info!("a call ended before it was released");
            }
            self.keys.close();
        });
    }
}

impl Shared {
    /// Puts the session's call under the guard; nothing without a call.
    async fn secure_call(&self, session: &Session) -> Result<Option<Line>, LaunchError> {
        let Some(guid) = session.call else { return Ok(None) };
        let call = self.calls.find(guid.0).ok_or(LaunchError::CallGone)?;
        let keys = Arc::new(KeyQueue::new());
        match tokio::time::timeout(SECURE_TIME_OUT, call.secure(Arc::clone(&keys))).await {
            Ok(Ok(())) => {
                let recording = self.recorders.paused(About {
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

    /// The address of the session's link, while it is good.
    fn link_url(&self, session: &Session) -> Option<PaymentLinkUrl> {
        let link = session.link().filter(|link| link.state != LinkState::Revoked && !session.has_ended())?;
        Some(self.codes.as_ref()?.url(session.provider, link.no))
    }

    /// Takes the door of a task away that nobody is at: without it, nobody comes any more. False when somebody is.
    fn leave(&self, session: ProviderSessionGuid) -> bool {
        let mut doors = self.doors();
        // The door itself hears both. Who has a copy of it counts as well.
        let alone = |door: &Door| door.commands.strong_count() == 1;
        let nobody = doors.get(&session).is_none_or(alone);
        if nobody {
            doors.remove(&session);
        }
        nobody
    }

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
        let session = &launch.session;
        if session.link().is_some() {
            self.shared.codes.as_ref().ok_or(LaunchError::Unavailable)?;
            self.shared.expiry.note(session);
            self.shared.send_link(session);
            info!(session.id = %session.guid, agent = %session.agent, "digital session opened");
            return Ok(());
        }
        let line = self.shared.secure_call(session).await?;
        info!(
            session.id = %session.guid,
            call.id = session.call.map(tracing::field::display),
            agent = %session.agent,
            "session opened"
        );
        self.begin(launch, line).map(drop).map_err(|line| {
            if let Some(line) = line {
                line.release();
            }
            LaunchError::Unavailable
        })
    }

    async fn act(&self, session: ProviderSessionGuid, action: AgentAction) -> Result<(), ActError> {
        let door = match self.find(session).await {
            Ok(Found::Live(door)) => door,
            Ok(Found::AtRest(_)) | Err(NotFound::NoSuchSession) => return Err(ActError::Gone),
            Err(NotFound::Unavailable) => return Err(ActError::Unavailable),
        };
        let (done, answer) = oneshot::channel();
        door.commands.send(Command::Act(action, done)).await.map_err(|_| ActError::Gone)?;
        answer.await.unwrap_or(Err(ActError::Gone))
    }

    async fn watch(&self, session: ProviderSessionGuid) -> Option<PageStream> {
        let Ok(Found::Live(door)) = self.find(session).await else { return None };
        // A full inbox means that the agent is at work, so the session has begun already.
        let _ = door.commands.try_send(Command::PageOpened);
        let mut door = door;
        door.page.mark_changed();
        // The door goes along: as long as somebody looks, the task stays.
        Some(Box::pin(stream::unfold(door, |mut door| async move {
            door.page.changed().await.ok()?;
            let state = door.page.borrow_and_update().clone();
            Some((state, door))
        })))
    }

    fn payment_link(&self, session: &Session) -> Option<PaymentLinkUrl> {
        self.shared.link_url(session)
    }
}
