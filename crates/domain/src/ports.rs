//! Every door to the outside, in our own words. `store` and `server` stand behind them.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures_core::Stream;
use thiserror::Error;
use uuid::Uuid;

use crate::account::AccountConfiguration;
use crate::attempt::{Initiator, StoredCard};
use crate::change::Change;
use crate::client::ApiClient;
use crate::credentials::{AgentLogin, ClientProof, SigningKeyNumber, Spent};
use crate::event::Event;
use crate::ids::{
    AccountId, AgentId, AttemptId, AttemptNo, CallGuid, ClientId, DeliveryId, GatewayName,
    ProviderSessionGuid, SessionGuid,
};
use crate::kept_card::{KeptCard, TokenHash};
use crate::link::PaymentLinkUrl;
use crate::listing::SessionQuery;
use crate::message::{Contact, Message, SendRefused};
use crate::notification::{Notification, Waiting};
use crate::operation::{OperationNo, OperationRefused, Settlement};
use crate::page::{AgentAction, PageState};
use crate::replay::{Begun, FirstRequest, ReplayKey, StoredAnswer};
use crate::session::{OperationRequest, Session};
use crate::time::Timestamp;
use crate::webhook::{Backlog, Delivery, DeliveryList, Receiver, Tried};

/// Where sessions are kept.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Writes row, attempts, events and webhook delivery in one transaction, durably: once this returns, a crash cannot
    /// undo it.
    async fn commit(&self, change: Change) -> Result<(), CommitError>;

    /// The session with this guid, if it is this account's (G8).
    async fn session(
        &self,
        account: &AccountId,
        guid: SessionGuid,
    ) -> Result<Option<Session>, StoreUnavailable>;

    /// The session with this guid on the secure side.
    async fn provider_session(&self, guid: ProviderSessionGuid) -> Result<Option<Session>, StoreUnavailable>;

    /// Every session that has not ended. Asked once, at start.
    async fn unfinished(&self) -> Result<Vec<Session>, StoreUnavailable>;

    /// Every session that has ended and still has something to see to: an operation that may have been done, a
    /// reversal that was refused or has failed, or an attempt that was found not charged after `not_charged_after`. Asked once,
    /// at start.
    async fn unsettled(&self, not_charged_after: Timestamp) -> Result<Vec<Session>, StoreUnavailable>;

    /// The session's events after number `after`, in order, if it is this account's.
    async fn events(
        &self,
        account: &AccountId,
        guid: SessionGuid,
        after: u32,
    ) -> Result<Vec<Event>, StoreUnavailable>;

    /// The account's sessions that the query asks for, newest first.
    async fn list(&self, account: &AccountId, query: &SessionQuery)
    -> Result<Vec<Session>, StoreUnavailable>;

    /// Wipes what is past its retention at `now`; says how many sessions lost data.
    async fn purge(&self, now: Timestamp) -> Result<u64, StoreUnavailable>;
}

/// Hears of commits to sessions, wherever in this process they are made.
pub trait Changes: Send + Sync {
    /// A sign each time that the session may have changed. Several may come as one; a commit by another process
    /// gives none.
    fn signs(&self, session: SessionGuid) -> ChangeSigns;
}

/// Signs that something has changed. What, tells the store.
pub type ChangeSigns = Pin<Box<dyn Stream<Item = ()> + Send>>;

/// Where API clients are kept.
#[async_trait]
pub trait Clients: Send + Sync {
    /// Adds a client.
    async fn add(&self, client: ApiClient) -> Result<(), StoreUnavailable>;
    /// All clients, oldest first.
    async fn list(&self) -> Result<Vec<ApiClient>, StoreUnavailable>;
    /// Revokes a client; false when there is none with this id that is not revoked.
    async fn revoke(&self, id: &ClientId, at: Timestamp) -> Result<bool, StoreUnavailable>;
    /// The client with this id, also when revoked.
    async fn client(&self, id: &ClientId) -> Result<Option<ApiClient>, StoreUnavailable>;
}

/// What is done with recorded attempts: captures, voids, refunds.
#[async_trait]
pub trait Operations: Send + Sync {
    /// Begins an operation and waits for the first exchange with the gateway. When this returns, its intent is
    /// committed, and it goes on by itself if it is still open. Gives the session with the operation in it.
    async fn operate(
        &self,
        account: &AccountId,
        guid: SessionGuid,
        request: OperationRequest,
    ) -> Result<(Session, AttemptNo, OperationNo), OperateError>;
}

/// Payments with cards that a gateway keeps: nothing is keyed.
#[async_trait]
pub trait StoredCards: Send + Sync {
    /// The card as this account may charge it at this gateway, with the network transaction id added where it is known.
    /// At a gateway of this account alone any token is its own, also one that it got elsewhere; at one that several accounts
    /// share, only one that it got through us (G8).
    async fn own(
        &self,
        account: &AccountId,
        gateway: &GatewayName,
        card: StoredCard,
    ) -> Result<StoredCard, NotItsCard>;

    /// Pays a session that was opened for that ([`open_charge`](crate::open_session::open_charge)), and waits for the
    /// first exchange with the gateway. The payment goes on by itself if its end is not known then. Gives the session
    /// as it is.
    async fn charge(
        &self,
        session: Session,
        card: StoredCard,
        initiator: Initiator,
    ) -> Result<Session, ChargeError>;
}

/// Why a stored card is not an account's to charge.
#[derive(Debug, Error)]
pub enum NotItsCard {
    /// It is not known as this account's; whether it is another's is not said.
    #[error("the account has no such stored card")]
    NotThere,
    /// It cannot be looked up now.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

/// Where it is known whose stored cards are. [`Sessions::commit`] writes it, with the answer that brought the token; it is
/// forgotten by [`Sessions::purge`] after [`KEPT_CARD_RETENTION`](crate::kept_card::KEPT_CARD_RETENTION).
#[async_trait]
pub trait KeptCards: Send + Sync {
    /// The card under this token, if this account got it at one of these gateways.
    async fn kept_card(
        &self,
        account: &AccountId,
        gateways: &[GatewayName],
        token: TokenHash,
    ) -> Result<Option<KeptCard>, StoreUnavailable>;
}

/// What operators have found out at the gateways. The command line writes it beside the owner of the store, and
/// the owner takes it up.
#[async_trait]
pub trait Settlements: Send + Sync {
    /// Writes down what became of an attempt; a newer word replaces an older one.
    async fn settle(&self, settlement: Settlement) -> Result<(), StoreUnavailable>;

    /// What is known of this attempt, if anything.
    async fn settlement(&self, attempt: AttemptId) -> Result<Option<Settlement>, StoreUnavailable>;
}

/// Where it waits what gateways have told unasked, until it is taken up. Wiped then; that it was told is known for
/// [`NOTIFICATION_RETENTION`](crate::notification::NOTIFICATION_RETENTION).
#[async_trait]
pub trait Notifications: Send + Sync {
    /// Writes down what a gateway has told, all of it in one transaction; what it has told before, by
    /// [`Notification::dedupe_key`], stays as it is. Once this returns, a crash cannot undo it. Says how many are new.
    async fn keep(
        &self,
        gateway: &GatewayName,
        told: Vec<Notification>,
        now: Timestamp,
    ) -> Result<usize, StoreUnavailable>;

    /// What was not taken up yet, after this number, in the order in which it came; at most `limit`.
    async fn waiting(&self, after: i64, limit: u32) -> Result<Vec<Waiting>, StoreUnavailable>;

    /// It is taken up: only that it was told is remembered.
    async fn taken_up(&self, number: i64) -> Result<(), StoreUnavailable>;

    /// The session with an attempt or an operation of this id, of any account: gateways know our references only.
    async fn session_of(&self, reference: Uuid) -> Result<Option<Session>, StoreUnavailable>;
}

/// Where gateways tell unasked what became of something.
#[async_trait]
pub trait NotificationInbox: Send + Sync {
    /// Takes the body of a gateway's request, once it is verified that the gateway made it. When this returns, it is
    /// written down.
    async fn notified(&self, gateway: &GatewayName, body: &[u8]) -> Result<(), NotificationRefused>;
}

/// Where it is kept what tokens are signed with and what must not be used again. Wiped by [`Sessions::purge`] when it
/// has expired.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// Changes what a client proves itself with; false when there is no such client that is not revoked.
    async fn prove(&self, proof: ClientProof) -> Result<bool, StoreUnavailable>;
    /// Marks something as used; false when it was marked already.
    async fn spend(&self, spent: Spent) -> Result<bool, StoreUnavailable>;
    /// Whether it was marked.
    async fn is_spent(&self, hash: [u8; 32]) -> Result<bool, StoreUnavailable>;
    /// Every key that signs access tokens, in order, without number 0.
    async fn signing_keys(&self) -> Result<Vec<SigningKeyNumber>, StoreUnavailable>;
    /// Adds one; false when there is one with this number.
    async fn add_signing_key(&self, key: SigningKeyNumber) -> Result<bool, StoreUnavailable>;
    /// Sets how an agent signs in, in the place of what was there.
    async fn put_login(&self, login: AgentLogin) -> Result<(), StoreUnavailable>;
    /// How this agent signs in, also when revoked.
    async fn login(
        &self,
        account: &AccountId,
        agent: &AgentId,
    ) -> Result<Option<AgentLogin>, StoreUnavailable>;
    /// How all agents sign in, by account and agent.
    async fn logins(&self) -> Result<Vec<AgentLogin>, StoreUnavailable>;
}

/// Where the first answers to requests with an `Idempotency-Key` are kept. What is written is durable once a
/// call returns; `Sessions::purge` forgets it after [`crate::replay::REPLAY_RETENTION`].
#[async_trait]
pub trait Replays: Send + Sync {
    /// Takes the key for this request, or says why not. The key is free when it was never taken, when its
    /// time has passed at `now`, and when an earlier owner of the store took it, kept no answer, and stored no
    /// session with the guid that it had promised: that request surely did nothing, and as its owner is
    /// fenced, never will.
    async fn begin(&self, request: FirstRequest, now: Timestamp) -> Result<Begun, StoreUnavailable>;

    /// Keeps the answer of the request that took the key.
    async fn finish(&self, key: ReplayKey, answer: StoredAnswer) -> Result<(), StoreUnavailable>;

    /// Frees the key of a request that was not answered for good.
    async fn abandon(&self, key: ReplayKey) -> Result<(), StoreUnavailable>;
}

/// Where webhook deliveries wait. [`Sessions::commit`] puts them there; they go with their session's rows. The port has
/// one user at a time, the owner of the store: what is under way is known there, not here, so that after a crash it
/// is simply due again.
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// What is due for this receiver at `now`, oldest first, each with its session as it is now; at most `limit`, none
    /// of a session in `except`, and only the oldest of each session.
    async fn due(
        &self,
        receiver: &Receiver,
        now: Timestamp,
        except: &[SessionGuid],
        limit: u32,
    ) -> Result<Vec<(Delivery, Session)>, StoreUnavailable>;

    /// When the next is due for this receiver, sessions in `except` aside.
    async fn next_due(
        &self,
        receiver: &Receiver,
        except: &[SessionGuid],
    ) -> Result<Option<Timestamp>, StoreUnavailable>;

    /// Every receiver for which something waits. Asked once, at start.
    async fn receivers(&self) -> Result<Vec<Receiver>, StoreUnavailable>;

    /// Writes down what became of tries, in one transaction. A delivered one lets go of its session's result after
    /// [`RESULT_RETENTION`](crate::session::RESULT_RETENTION), unless another of the session waits still. What is
    /// no longer due stays as it is.
    async fn settle(&self, tried: Vec<Tried>) -> Result<(), StoreUnavailable>;

    /// How much waits.
    async fn backlog(&self) -> Result<Backlog, StoreUnavailable>;

    /// Deliveries of an account (G8).
    async fn deliveries(&self, list: DeliveryList) -> Result<Vec<Delivery>, StoreUnavailable>;

    /// Makes a dead letter of this account due again, at `now`; any other stays as it is. Gives the delivery, `None`
    /// when the account has none with this id.
    async fn replay(
        &self,
        account: &AccountId,
        id: DeliveryId,
        now: Timestamp,
    ) -> Result<Option<Delivery>, StoreUnavailable>;
}

/// The live calls.
#[async_trait]
pub trait Calls: Send + Sync {
    /// The one answered call of this agent.
    ///
    /// # Errors
    /// [`NoLiveCall`] when there is none, or more than one.
    fn live_call(&self, account: &AccountId, agent: &AgentId) -> Result<CallGuid, NoLiveCall>;

    /// The account's calls, ringing ones included, the oldest first.
    fn calls(&self, account: &AccountId) -> Vec<LiveCall>;

    /// Ties an answered call of the account to an agent; with `only_if_free` not one of another agent. An open
    /// session on it goes on as it is.
    ///
    /// # Errors
    /// [`BindError`]; the call stays as it was.
    async fn bind(
        &self,
        account: &AccountId,
        call: CallGuid,
        agent: &AgentId,
        only_if_free: bool,
    ) -> Result<(), BindError>;

    /// A new code that ties a call to this agent when it is keyed on the agent's phone; one asked for before ends.
    /// `None` when too many are open.
    fn link_code(&self, account: &AccountId, agent: &AgentId) -> Option<LinkCode>;
}

/// A call, as an integrator may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveCall {
    /// `callGuid`.
    pub guid: CallGuid,
    /// Whose it is; nobody's yet, when it came by a trunk.
    pub agent: Option<AgentId>,
    /// Whether both can speak; else it rings.
    pub answered: bool,
    /// Since when it rings, or both can speak.
    pub since: Timestamp,
    /// Who calls, where the account is configured to see it.
    pub caller: Option<String>,
}

/// What an agent keys to tie a call to itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkCode {
    /// `*` and digits.
    pub code: String,
    /// When it ends.
    pub expires_on: Timestamp,
}

/// Why a call was not tied to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BindError {
    /// The account has no such call.
    #[error("there is no live call with this guid")]
    NoSuchCall,
    /// It rings.
    #[error("the call is not answered yet")]
    NotAnswered,
    /// Another agent has it.
    #[error("the call is another agent's")]
    OtherAgents,
}

/// The secure side: where card data is keyed or typed. The API side knows it by `providerSessionGuid` only.
#[async_trait]
pub trait SecureSide: Send + Sync {
    /// Starts the provider session and puts its call under the guard. When this returns, the call IS ready
    /// for capture; one that is paid by a link can be opened by it.
    async fn launch(&self, launch: Launch) -> Result<(), LaunchError>;

    /// Does what the agent asks.
    async fn act(&self, session: ProviderSessionGuid, action: AgentAction) -> Result<(), ActError>;

    /// The page now and at every change. Slow readers skip to the newest. `None` when there is no such
    /// session here.
    async fn watch(&self, session: ProviderSessionGuid) -> Option<PageStream>;

    /// The address of the session's payment link, while it is good. A secret: for the one who passes it on.
    fn payment_link(&self, session: &Session) -> Option<PaymentLinkUrl>;
}

/// Pages, newest wins.
pub type PageStream = Pin<Box<dyn Stream<Item = PageState> + Send>>;

/// How payment links reach payers: the account's own text message provider and mail server.
#[async_trait]
pub trait LinkSender: Send + Sync {
    /// Sends a link. It is tried a few times within a minute or so; when a provider does not answer, the payer may get
    /// the message twice. Once this returns `Ok`, the provider has taken it, which is not to say that it arrived.
    ///
    /// # Errors
    /// [`SendRefused`].
    async fn send(&self, to: Contact, message: Message) -> Result<(), SendRefused>;
}

/// Time and chance, which only `server` has.
pub trait World: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// A new random guid.
    fn guid(&self) -> Uuid;
    /// 256 random bits, for secrets.
    fn secret(&self) -> [u8; 32];
}

/// What the secure side needs to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The session, as committed.
    pub session: Session,
    /// Its configuration.
    pub configuration: Arc<AccountConfiguration>,
}

/// A commit that did not happen.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Someone else changed the session first: read it again.
    #[error("the session was changed by someone else")]
    Conflict,
    /// The call has an open session already.
    #[error("the call already has an open session")]
    CallTaken,
    /// Another process owns this store now; this one must not write any more.
    #[error("another process owns the store")]
    Fenced,
    /// The store cannot write.
    #[error(transparent)]
    Unavailable(#[from] StoreUnavailable),
}

/// Why an operation was not begun. Nothing was sent.
#[derive(Debug, Error)]
pub enum OperateError {
    /// The account has no such session.
    #[error("there is no such session")]
    NoSuchSession,
    /// It cannot be done with this payment.
    #[error(transparent)]
    Refused(#[from] OperationRefused),
    /// Someone else changed the session at the same moment.
    #[error("the session was changed at the same moment")]
    Conflict,
    /// Too many operations are under way.
    #[error("too many operations are under way")]
    Busy,
    /// Nothing can be read or written now.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

/// Why a gateway's notification was not taken.
#[derive(Debug, Error)]
pub enum NotificationRefused {
    /// No gateway has this name, or it is not expected to tell anything.
    #[error("no notifications are expected here")]
    NoSuchGateway,
    /// It cannot be read.
    #[error("the notification cannot be read")]
    Malformed,
    /// The gateway has not signed it, or not for us.
    #[error("the notification is not signed by the gateway for us")]
    NotSigned,
    /// It cannot be written down now: the gateway tells it again.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

/// Why a stored card was not charged. Nothing was sent, and the session has ended.
#[derive(Debug, Error)]
pub enum ChargeError {
    /// Too many are under way.
    #[error("too many operations are under way")]
    Busy,
    /// Nothing can be written now.
    #[error(transparent)]
    Store(#[from] StoreUnavailable),
}

/// The store cannot be used just now. The text is for the operator.
#[derive(Debug, Error)]
#[error("the store is unavailable: {0}")]
pub struct StoreUnavailable(pub String);

/// Why an agent has no call to secure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoLiveCall {
    /// No answered call.
    #[error("the agent has no live call")]
    None,
    /// More than one, and nothing says which.
    #[error("the agent has more than one live call, and nothing says which is meant")]
    Several,
}

/// Why the secure side did not start.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LaunchError {
    /// It did not accept our credentials, or refused otherwise; the word is its OAuth error code.
    #[error("refused: {0}")]
    Refused(String),
    /// It cannot take another session now.
    #[error("unavailable")]
    Unavailable,
    /// It did not answer in time.
    #[error("timed out")]
    TimedOut,
    /// The call ended meanwhile.
    #[error("the call has ended")]
    CallGone,
}

/// Why the agent's action was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ActError {
    /// There is no such session here any more.
    #[error("the session is not here")]
    Gone,
    /// Not now: the page shows what is possible.
    #[error("this is not possible now")]
    NotNow,
    /// To take it by keypad, the agent needs a call.
    #[error(transparent)]
    NoLiveCall(#[from] NoLiveCall),
    /// The agent's call has another open session.
    #[error("the call already has an open session")]
    CallTaken,
    /// No payer page is configured, or the session has had all its links.
    #[error("there can be no payment link, or no further one")]
    NoLink,
    /// Nothing can be written just now, or too many sessions are live.
    #[error("unavailable just now")]
    Unavailable,
}
