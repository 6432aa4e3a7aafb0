//! The payment saga: the intent is committed before the first byte, and an outcome before it is told.
//!
//! [`Payments::pay`] runs a payment to its end, whatever happens to the call or the page meanwhile: over to the next
//! gateway when surely nothing was sent, through a reversal when the approval must not stand. Its [`Operations`](hushpad_domain::ports::Operations) port
//! captures, voids and refunds. `books` writes changes until they are written; `resolver` and `operations` ask until
//! it is known what became of something without an answer; `recovery` takes up what a restart left open.
//!
//! `challenges` waits for payers at their bank; `notified` takes up what gateways tell unasked, `waiters` knows who
//! waits for it.
//!
//! [`Acquirer`] is the door to the gateways, `plan` what the account's configuration says, `vault` knows whose stored cards
//! are.

mod acquirer;
mod books;
mod challenges;
mod charge;
mod errands;
mod notified;
mod operations;
mod orders;
mod plan;
pub mod recovery;
mod resolver;
mod saga;
mod vault;
mod waiters;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hushpad_card::Card;
use hushpad_domain::account::Directory;
use hushpad_domain::challenge::Browser;
use hushpad_domain::ports::{Notifications, Settlements, World};
use hushpad_domain::session::{Retry, Session};
use tokio::sync::{Notify, Semaphore, mpsc};

pub use acquirer::Acquirer;
pub use books::{Books, Fenced};
pub use challenges::Returned;
pub use vault::{CardHashes, Merchants, Vault};

use errands::Errands;
use waiters::Waiters;

use crate::metrics::Metrics;

/// Operations whose first exchange is under way, over the API. Each holds a connection to a gateway; more than this
/// at once are refused with 503.
const OPERATIONS_AT_ONCE_MAX: usize = 256;

/// Runs payments. Cheap to clone.
#[derive(Clone)]
pub struct Payments {
    /// Where changes are written.
    pub books: Books,
    settlements: Arc<dyn Settlements>,
    acquirer: Arc<dyn Acquirer>,
    directory: Arc<Directory>,
    world: Arc<dyn World>,
    metrics: Arc<Metrics>,
    operations: Arc<Semaphore>,
    giving_back: Errands,
    waiters: Waiters,
    notifications: Arc<dyn Notifications>,
    vault: Vault,
    /// Rings when something was told.
    inbox: Arc<Notify>,
}

/// What [`Payments`] is made of.
#[expect(missing_docs, reason = "the fields are the ports of `domain` and the parts of `server`")]
pub struct PaymentsParts {
    pub books: Books,
    pub settlements: Arc<dyn Settlements>,
    pub notifications: Arc<dyn Notifications>,
    pub vault: Vault,
    pub acquirer: Arc<dyn Acquirer>,
    pub directory: Arc<Directory>,
    pub world: Arc<dyn World>,
    pub metrics: Arc<Metrics>,
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

/// How the card came to us.
#[derive(Clone, Debug)]
pub enum CameBy {
    /// Keyed on the telephone. Never with 3-D Secure: a gateway that wants it declines.
    Phone,
    /// Typed into the payer page, in this browser, which the gateway may send to the bank.
    Page(Browser),
}

/// What the session hears of its payment: any number of `Waiting`, then one of the others. After `Challenged` comes
/// more, once the payer is back or is waited for no longer.
pub enum Progress {
    /// Nothing was begun: the intent could not be written. The card comes back.
    NotBegun(Box<Session>, Card),
    /// Surely nothing was sent. The card comes back.
    NotSent(Box<Session>, Card),
    /// The payer must go to the bank: [`Attempt::challenge`](hushpad_domain::attempt::Attempt::challenge) of the
    /// session's open attempt says where. [`Payments::returned`] goes on.
    Challenged(Box<Session>),
    /// The payer was at the bank, and surely nothing was charged. The card is gone: it is typed again.
    NotPaid(Box<Session>),
    /// Not over yet: it may have been charged, the gateway will say later, or the approval is being given back. The
    /// session says which.
    Waiting(Box<Session>),
    /// It is known what became of it. The card comes back for the fields that need not be keyed again, if the answer
    /// came at once.
    Answered(Box<Session>, Option<Card>),
}

impl Payments {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: PaymentsParts) -> Self {
        let PaymentsParts { books, settlements, notifications, vault, acquirer, directory, world, metrics } =
            parts;
        Self {
            books,
            settlements,
            acquirer,
            directory,
            world,
            metrics,
            operations: Arc::new(Semaphore::new(OPERATIONS_AT_ONCE_MAX)),
            giving_back: Errands::default(),
            waiters: Waiters::default(),
            notifications,
            vault,
            inbox: Arc::default(),
        }
    }

    /// Starts a payment on its own task, which ends by itself when the outcome is committed; a payer at the bank is
    /// watched by it too. Give [`Payments::returned`] a clone of the same `progress`.
    pub fn pay(
        &self,
        session: Session,
        card: Card,
        came_by: CameBy,
        still_there: StillThere,
        progress: mpsc::Sender<Progress>,
    ) {
        let payments = self.clone();
        tokio::spawn(async move {
            // A fenced owner has nothing more to say: the new one sees to it.
            let _ = payments.run(session, card, came_by, still_there, progress).await;
        });
    }
}
