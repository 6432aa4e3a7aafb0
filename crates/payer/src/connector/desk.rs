//! What the pay connector needs from the secure side.

use async_trait::async_trait;
use hushpad_card::Card;
use hushpad_domain::ids::{AccountId, ConfigurationId};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::session::Session;
use hushpad_domain::time::Tick;

/// The payments behind the pay connector. `server` stands behind it.
#[async_trait]
pub trait ConnectorDesk: Send + Sync {
    /// What became of a transaction; `None` when none of this id ever came.
    ///
    /// # Errors
    /// [`ConnectorRefused`].
    async fn look(&self, key: &TransactionKey, patience: Patience)
    -> Result<Option<Found>, ConnectorRefused>;

    /// Pays, and waits for what becomes of it as long as a caller waits. Of a transaction that came before nothing is
    /// paid, whatever the order says: the card is wiped, and what became of the first is told.
    ///
    /// # Errors
    /// [`ConnectorRefused`]; surely nothing was sent for this request.
    async fn pay(&self, order: ConnectorOrder, card: Card) -> Result<Found, ConnectorRefused>;

    /// The year and month in the most lenient time zone, for expiries.
    fn today(&self) -> (i32, u8);

    /// The monotonic clock.
    fn tick(&self) -> Tick;
}

/// What names a transaction: its id counts within the account configuration that its user is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TransactionKey {
    /// Whose it is.
    pub account: AccountId,
    /// By which configuration it is paid.
    pub configuration: ConfigurationId,
    /// `transaction_id`, as it came.
    pub id: String,
}

/// What is asked of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `charge`: to take the money, or to authorise it where the configuration says so.
    Charge,
    /// `tokenize`: to keep the card under a token. No money moves.
    Tokenize,
}

/// A transaction that was read whole.
#[derive(Clone, Debug)]
pub struct ConnectorOrder {
    /// Its name.
    pub key: TransactionKey,
    /// What is asked.
    pub method: Method,
    /// The amount, and what else came with it.
    pub payment_data: PaymentData,
    /// Who sent it: stands in the place of the agent.
    pub user: String,
}

/// Whether a look waits for a payment that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as a caller waits for an answer.
    Whole,
    /// Not at all.
    None,
}

/// What there is of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It has come, and nothing is written down yet.
    Begun,
    /// Its session, as it is now.
    Session(Box<Session>),
}

/// Why nothing can be told or paid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectorRefused {
    /// Too many payments are under way.
    Busy,
    /// Nothing can be read or written just now.
    Unavailable,
}
