//! The payment saga: the intent is committed before the first byte, and an outcome before it is told.
//!
//! [`Payments::pay`] runs one attempt to its end, whatever happens to the call or the page meanwhile.
//! `books` writes changes until they are written; `resolver` asks until it is known what became of an
//! attempt without an answer.

mod books;
pub mod recovery;
mod resolver;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hushpad_card::Card;
use hushpad_domain::attempt::{Attempt, NotSent, Purpose, Unknown};
use hushpad_domain::ids::{AttemptId, GatewayName};
use hushpad_domain::ports::{CommitError, World};
use hushpad_domain::session::{Finding, Retry, Session, WrongState};
use hushpad_gateways::{Gateways, Order, Source, Submission};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

pub use books::Books;

use crate::metrics::Metrics;
use crate::world::RealWorld;

/// Runs attempts. Cheap to clone.
#[derive(Clone)]
pub struct Payments {
    /// Where changes are written.
    pub books: Books,
    gateways: Arc<Gateways>,
    world: RealWorld,
    metrics: Arc<Metrics>,
}

/// Whether the fields could be keyed again if the attempt fails. Shared between the session, which knows the
/// call, and the attempt, which outlives it.
#[derive(Clone, Default)]
pub struct StillThere(Arc<AtomicBool>);

impl StillThere {
    /// The customer is on the line.
    #[must_use]
    pub fn yes() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    /// The customer is gone.
    pub fn gone(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// What a decline now means for the session.
    #[must_use]
    pub fn retry(&self) -> Retry {
        if self.0.load(Ordering::Acquire) { Retry::Possible } else { Retry::Over }
    }
}

/// What the session hears of its attempt, in this order: at most one `Unknown`, then one of the others.
pub enum Progress {
    /// Nothing was begun: the intent could not be written. The card comes back.
    NotBegun(Box<Session>, Card),
    /// Surely nothing was sent. The card comes back.
    NotSent(Box<Session>, Card),
    /// The gateway answered. The card comes back for the fields that need not be keyed again.
    Answered(Box<Session>, Card),
    /// It may have been charged; the card is wiped. `Resolved` follows, however late.
    Unknown(Box<Session>),
    /// It is known now what became of it.
    Resolved(Box<Session>),
}

impl Payments {
    /// Puts the parts together.
    #[must_use]
    pub fn new(books: Books, gateways: Arc<Gateways>, world: RealWorld, metrics: Arc<Metrics>) -> Self {
        Self { books, gateways, world, metrics }
    }

    /// Starts an attempt on its own task, which ends by itself when the outcome is committed.
    pub fn pay(
        &self,
        session: Session,
        gateway: GatewayName,
        card: Card,
        still_there: StillThere,
        progress: mpsc::Sender<Progress>,
    ) {
        let payments = self.clone();
        tokio::spawn(async move {
            payments.run(session, gateway, card, still_there, progress).await;
        });
    }

    async fn run(
        &self,
        session: Session,
        gateway: GatewayName,
        card: Card,
        still_there: StillThere,
        progress: mpsc::Sender<Progress>,
    ) {
        let session = match self.write_intent(&session, &gateway).await {
            Ok(session) => session,
            Err(refused) => {
                warn!(session.id = %session.guid, reason = %refused, "no attempt was begun");
                let _ = progress.send(Progress::NotBegun(Box::new(session), card)).await;
                return;
            }
        };
        let Some(attempt) = session.open_attempt().cloned() else {
            error!(session.id = %session.guid, "an intent was committed without an attempt");
            return;
        };
        let order = Order::by_phone(&attempt, &session.payment_data);
        info!(session.id = %session.guid, attempt = %attempt.no, gateway = %gateway, "attempt begins");
        let submission = self.gateways.submit(&gateway, &order, &Source::Keyed(&card)).await;
        self.metrics.attempt_ended(&submission);
        match submission {
            Submission::Answered(answer) => {
                let change =
                    |session: Session, now| session.answered(answer.clone(), still_there.retry(), now);
                let session = self.books.write(session, change).await;
                self.log_outcome(&session, &attempt);
                let _ = progress.send(Progress::Answered(Box::new(session), card)).await;
            }
            Submission::NotSent(reason) => {
                let session = self.write_not_sent(session, reason, &still_there).await;
                self.log_outcome(&session, &attempt);
                let _ = progress.send(Progress::NotSent(Box::new(session), card)).await;
            }
            Submission::Unknown(reason) => {
                drop(card);
                let session = self.write_unknown(session, reason).await;
                self.log_outcome(&session, &attempt);
                let _ = progress.send(Progress::Unknown(Box::new(session.clone()))).await;
                let session = self.resolve(session, &attempt, still_there).await;
                let _ = progress.send(Progress::Resolved(Box::new(session))).await;
            }
        }
    }

    /// Asks until it is known what became of `attempt`, and writes that down.
    pub(crate) async fn resolve(
        &self,
        session: Session,
        attempt: &Attempt,
        still_there: StillThere,
    ) -> Session {
        let finding = resolver::ask_until_known(&self.gateways, attempt, &self.world).await;
        if finding == Finding::NotCharged {
            warn!(session.id = %session.guid, attempt = %attempt.no, "the gateway has no trace of the attempt");
        }
        let change = |session: Session, now| session.resolved(finding.clone(), still_there.retry(), now);
        let session = self.books.write(session, change).await;
        self.log_outcome(&session, attempt);
        session
    }

    /// Marks the attempt unknown, for as long as it takes to write that down.
    pub(crate) async fn write_unknown(&self, session: Session, reason: Unknown) -> Session {
        self.books.write(session, |session: Session, now| session.unknown(reason, now)).await
    }

    async fn write_not_sent(&self, session: Session, reason: NotSent, still_there: &StillThere) -> Session {
        let change = |session: Session, now| session.not_sent(reason, still_there.retry(), now);
        self.books.write(session, change).await
    }

    /// The one write that is not tried again: without it nothing may be sent.
    async fn write_intent(&self, session: &Session, gateway: &GatewayName) -> Result<Session, IntentRefused> {
        let id = AttemptId(self.world.guid());
        let change = session.clone().intend(id, gateway.clone(), Purpose::Sale, self.world.now())?;
        let session = change.after.clone();
        self.books.store().commit(change).await?;
        Ok(session)
    }

    fn log_outcome(&self, session: &Session, attempt: &Attempt) {
        let taken_ms = (self.world.now().as_micros() - attempt.intended_on.as_micros()) / 1_000;
        info!(
            session.id = %session.guid,
            attempt = %attempt.no,
            state = session.state_name(),
            outcome = session.outcome().word(),
            duration_ms = taken_ms,
            "attempt ended"
        );
    }
}

#[derive(Debug, thiserror::Error)]
enum IntentRefused {
    #[error(transparent)]
    State(#[from] WrongState),
    #[error(transparent)]
    Commit(#[from] CommitError),
}
