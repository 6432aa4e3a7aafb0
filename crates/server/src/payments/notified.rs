//! What gateways tell unasked. It is written down before the gateway gets its receipt; one task takes up what is
//! written, in the order in which it came, and again after a restart: what a notification means depends only on the
//! session as it is then, so that one taken up twice changes nothing.

use std::time::Duration;

use async_trait::async_trait;
use hushpad_domain::ids::{AttemptNo, GatewayName};
use hushpad_domain::notification::Waiting;
use hushpad_domain::ports::{CommitError, NotificationInbox, NotificationRefused, StoreUnavailable};
use hushpad_domain::session::{Heard, Retry, Session};
use hushpad_gateways::NotificationError;
use tracing::{error, info, warn};

use super::books::Fenced;
use super::plan::Plan;
use super::{Payments, StillThere};

/// Between two looks at what could not be taken up yet; doubles up to [`PAUSE_MAX`]. The answer that a notification
/// has overtaken comes within seconds.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// An undoing whose end the gateway has not told yet takes minutes.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Read from the store at one time.
const PAGE: u32 = 100;

#[async_trait]
impl NotificationInbox for Payments {
    async fn notified(&self, gateway: &GatewayName, body: &[u8]) -> Result<(), NotificationRefused> {
        let told = match self.acquirer.notification(gateway, body) {
            Ok(told) => told,
            Err(refused) => {
                warn!(%gateway, %refused, "a notification was refused");
                return Err(match refused {
                    NotificationError::NoGateway | NotificationError::NotExpected => {
                        NotificationRefused::NoSuchGateway
                    }
                    NotificationError::Malformed => NotificationRefused::Malformed,
                    NotificationError::NotSigned => NotificationRefused::NotSigned,
                });
            }
        };
        let (came, new) = (told.len(), self.notifications.keep(gateway, told, self.world.now()).await?);
        info!(%gateway, came, new, "notifications");
        self.inbox.notify_one();
        Ok(())
    }
}

/// What is left after a look at all that waits.
enum Left {
    Nothing,
    Some,
}

impl Payments {
    /// Takes up what gateways have told, until the store has another owner. Run once.
    pub async fn take_up_notifications(&self) {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.take_up_all().await {
                Ok(Left::Nothing) => {
                    pause = PAUSE_FIRST;
                    self.inbox.notified().await;
                }
                Ok(Left::Some) => {
                    tokio::select! {
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
                        () = self.inbox.notified() => pause = PAUSE_FIRST,
                    }
                }
                Err(Fenced) => return,
            }
        }
    }

    async fn take_up_all(&self) -> Result<Left, Fenced> {
        let (mut left, mut after) = (Left::Nothing, 0);
        loop {
            let page = match self.notifications.waiting(after, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    warn!(%error, "notifications could not be read; trying again");
                    return Ok(Left::Some);
                }
            };
            let Some(last) = page.last().map(|last| last.number) else { return Ok(left) };
            after = last;
            for waiting in page {
                match self.take_up(&waiting).await {
                    Ok(true) => {}
                    Ok(false) => left = Left::Some,
                    Err(NotTaken::Fenced) => return Err(Fenced),
                    Err(NotTaken::Store(error)) => {
                        warn!(%error, "a notification could not be taken up; trying again");
                        left = Left::Some;
                    }
                }
            }
        }
    }

    /// False when its time has not come.
    async fn take_up(&self, waiting: &Waiting) -> Result<bool, NotTaken> {
        let Waiting { number, gateway, notification } = waiting;
        let found = self.notifications.session_of(notification.reference).await?;
        let Some(mut session) = found else {
            self.notifications.taken_up(*number).await?;
            return Ok(true);
        };
        let no = session.told_attempt(gateway, notification);
        loop {
            let retry = no.map_or(Retry::Over, |no| self.retry_of(&session, no));
            let terms = Plan::of(&self.directory, &session).terms(retry);
            match session.clone().told(gateway, notification, terms, self.world.now()) {
                Heard::Known => break,
                Heard::NotYet => return Ok(false),
                Heard::Odd(what) => {
                    let event = &notification.gateway_reference;
                    error!(session.id = %session.guid, %gateway, gateway.reference = %event, what, "the operator must look");
                    break;
                }
                Heard::Change(change) => {
                    let after = change.after.clone();
                    match self.books.commit(*change).await {
                        Ok(()) => {
                            session = after;
                            break;
                        }
                        Err(CommitError::Conflict | CommitError::CallTaken) => {
                            session = self.books.read_again(session).await;
                        }
                        Err(CommitError::Fenced) => return Err(NotTaken::Fenced),
                        Err(CommitError::Unavailable(error)) => return Err(error.into()),
                    }
                }
            }
        }
        self.notifications.taken_up(*number).await?;
        if let Some(no) = no {
            self.told(session, no);
        }
        Ok(true)
    }

    fn retry_of(&self, session: &Session, no: AttemptNo) -> Retry {
        session.attempt(no).map_or(Retry::Over, |attempt| self.waiters.retry(attempt.id))
    }

    /// Whoever waits for the attempt goes on; what must be given back now, is.
    fn told(&self, session: Session, no: AttemptNo) {
        let Some(attempt) = session.attempt(no) else { return };
        info!(session.id = %session.guid, attempt = %no, state = session.state_name(), "told by the gateway");
        self.waiters.ring(attempt.id);
        self.give_back_parts(&session);
        if attempt.is_reversing() {
            let payments = self.clone();
            // The task that waits for the attempt may be doing that already: then this one only waits for its end.
            tokio::spawn(async move {
                let session = payments.give_back(session, no, &StillThere::default()).await?;
                payments.give_back_parts(&session);
                Ok::<(), Fenced>(())
            });
        }
    }
}

/// Why a notification waits on.
enum NotTaken {
    Fenced,
    Store(StoreUnavailable),
}

impl From<StoreUnavailable> for NotTaken {
    fn from(error: StoreUnavailable) -> Self {
        Self::Store(error)
    }
}
