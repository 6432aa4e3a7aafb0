//! The pay connector's payments: each `transaction_id` is one session with one payment, however often it comes.
//!
//! The session's guid is made of account, configuration and `transaction_id`, so that the store itself knows a
//! transaction that came before: on another connection, on another node, before a crash.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use hushpad_card::Card;
use hushpad_domain::account::Directory;
use hushpad_domain::attempt::AttemptState;
use hushpad_domain::ids::{AccountId, AgentId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::ports::{Changes, CommitError, Sessions, World};
use hushpad_domain::session::{NewSession, Session, SessionState};
use hushpad_domain::time::{Tick, Timestamp};
use hushpad_payer::{
    ConnectorDesk, ConnectorOrder, ConnectorRefused, Found, Method, Patience, TransactionKey,
};
use ring::digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{info, warn};
use uuid::Uuid;

use crate::payments::Payments;
use crate::world::RealWorld;

/// Payments whose first exchange with the gateway is under way. Each holds a card and a connection; more are refused.
const PAYMENTS_AT_ONCE_MAX: usize = 256;
/// How often a payment that is waited for is looked at without a sign, as when another process wrote it down.
const LOOK_PERIOD: Duration = Duration::from_millis(500);
/// Parts these guids from whatever else may be made of the same words.
const GUID_OF: &[u8] = b"hushpad pay connector transaction v1";

/// The payments behind the pay connector. Cheap to clone.
#[derive(Clone)]
pub struct TransactionDesk {
    parts: Arc<TransactionParts>,
    under_way: UnderWay,
    places: Arc<Semaphore>,
}

/// What a [`TransactionDesk`] is made of.
#[expect(missing_docs, reason = "the fields are the ports of `domain` and the parts of `server`")]
pub struct TransactionParts {
    pub payments: Payments,
    pub sessions: Arc<dyn Sessions>,
    pub changes: Arc<dyn Changes>,
    pub directory: Arc<Directory>,
    pub world: RealWorld,
    /// How long a caller waits for an answer.
    pub patience: Duration,
}

impl TransactionDesk {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: TransactionParts) -> Self {
        let places = Arc::new(Semaphore::new(PAYMENTS_AT_ONCE_MAX));
        Self { parts: Arc::new(parts), under_way: UnderWay::default(), places }
    }

    /// Opens the session and pays; nothing of it depends on whether the caller is still there. When this returns, the
    /// transaction is in the store, unless it was refused.
    async fn pay_first(
        &self,
        order: ConnectorOrder,
        card: Card,
        guid: SessionGuid,
        _place: Place,
        _permit: OwnedSemaphorePermit,
    ) -> Result<(), ConnectorRefused> {
        let TransactionParts { payments, sessions, directory, world, .. } = &*self.parts;
        if read(&**sessions, &order.key.account, guid).await?.is_some() {
            return Ok(());
        }
        let configuration = directory
            .account(&order.key.account)
            .and_then(|account| account.configuration(order.key.configuration))
            .ok_or(ConnectorRefused::Unavailable)?;
        let opening = Session::open(
            NewSession {
                guid,
                provider: ProviderSessionGuid(world.guid()),
                account: order.key.account,
                configuration: order.key.configuration,
                agent: AgentId(order.user),
                call: None,
                payment_data: order.payment_data,
                webhook: configuration.webhook,
            },
            world.now(),
        );
        let session = opening.after.clone();
        match sessions.commit(opening).await {
            Ok(()) => {}
            // Somebody was faster: theirs counts.
            Err(CommitError::Conflict) => return Ok(()),
            Err(error @ (CommitError::Unavailable(_) | CommitError::Fenced | CommitError::CallTaken)) => {
                // It may be there all the same. Nothing is sent then, and who looks next ends it.
                warn!(session.id = %guid, %error, "a transaction could not be written down");
                return Err(ConnectorRefused::Unavailable);
            }
        }
        info!(session.id = %guid, "a card came by the pay connector");
        let tokenises = order.method == Method::Tokenize;
        if let Err(error) = payments.charge_keyed(session, card, tokenises).await {
            // What became of it is in the store; who cannot read that is told to ask again.
            warn!(session.id = %guid, %error, "a transaction was not begun");
        }
        Ok(())
    }

    /// The transaction once it is over, or as it is at `deadline`.
    async fn settled(
        &self,
        account: &AccountId,
        guid: SessionGuid,
        deadline: Instant,
    ) -> Result<Option<Found>, ConnectorRefused> {
        let mut signs = self.parts.changes.signs(guid);
        loop {
            // Looked for before and after: who comes or goes meanwhile has not lost anything.
            let before = self.under_way.holds(guid);
            let session = read(&*self.parts.sessions, account, guid).await?;
            let under_way = before || self.under_way.holds(guid);
            let found = match session {
                Some(session) if is_lost(&session) && !under_way => {
                    // Of a process that ended, or of a commit that failed to say that it was done.
                    let ended = self.parts.payments.books.write(session, Session::fail).await;
                    Some(Found::Session(Box::new(ended.map_err(|_| ConnectorRefused::Unavailable)?)))
                }
                Some(session) => {
                    let now = self.parts.world.now();
                    Some(Found::Session(Box::new(without_what_is_past(session, now))))
                }
                None => under_way.then_some(Found::Begun),
            };
            let is_over = match &found {
                Some(Found::Session(session)) => session.has_ended(),
                Some(Found::Begun) => false,
                None => true,
            };
            let now = Instant::now();
            if is_over || now >= deadline {
                return Ok(found);
            }
            tokio::select! {
                _ = signs.next() => {}
                () = sleep_until(deadline.min(now + LOOK_PERIOD)) => {}
            }
        }
    }
}

#[async_trait]
impl ConnectorDesk for TransactionDesk {
    async fn look(
        &self,
        key: &TransactionKey,
        patience: Patience,
    ) -> Result<Option<Found>, ConnectorRefused> {
        let wait = match patience {
            Patience::Whole => self.parts.patience,
            Patience::None => Duration::ZERO,
        };
        self.settled(&key.account, guid_of(key), Instant::now() + wait).await
    }

    async fn pay(&self, order: ConnectorOrder, card: Card) -> Result<Found, ConnectorRefused> {
        let (account, guid) = (order.key.account.clone(), guid_of(&order.key));
        let deadline = Instant::now() + self.parts.patience;
        match self.under_way.enter(guid) {
            Some(place) => {
                let permit = Arc::clone(&self.places).try_acquire_owned();
                let permit = permit.map_err(|_| ConnectorRefused::Busy)?;
                let desk = self.clone();
                // On a task of its own, so that it goes on when the caller hangs up.
                let paying =
                    tokio::spawn(async move { desk.pay_first(order, card, guid, place, permit).await });
                if let Ok(Ok(Err(refused))) = timeout_at(deadline, paying).await {
                    return Err(refused);
                }
            }
            None => drop(card),
        }
        self.settled(&account, guid, deadline).await?.ok_or(ConnectorRefused::Unavailable)
    }

    fn today(&self) -> (i32, u8) {
        self.parts.world.lenient_month()
    }

    fn tick(&self) -> Tick {
        self.parts.world.tick()
    }
}

async fn read(
    sessions: &dyn Sessions,
    account: &AccountId,
    guid: SessionGuid,
) -> Result<Option<Session>, ConnectorRefused> {
    sessions.session(account, guid).await.map_err(|error| {
        warn!(session.id = %guid, %error, "a transaction could not be looked up");
        ConnectorRefused::Unavailable
    })
}

/// Whether the session waits for a card, which only the process that has it can send.
fn is_lost(session: &Session) -> bool {
    matches!(session.state, SessionState::Created | SessionState::InProgress)
}

/// The session without what is past its retention, whether or not it is wiped yet. The gateway's reference stays: it
/// says that this transaction was paid.
fn without_what_is_past(mut session: Session, now: Timestamp) -> Session {
    if !session.result_is_kept(now) {
        for attempt in &mut session.attempts {
            if let AttemptState::Answered { answer, .. } = &mut attempt.state {
                answer.result.clear();
                (answer.card, answer.stored) = (None, None);
            }
        }
    }
    session
}

/// The guid of a transaction's session, always the same. By no key of ours: under a new master key, what was paid
/// before must still be known.
fn guid_of(key: &TransactionKey) -> SessionGuid {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(GUID_OF);
    for part in [key.account.as_str(), &key.configuration.to_string(), &key.id] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&context.finish().as_ref()[..16]);
    SessionGuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

/// Transactions whose first exchange is under way in this process. Bounded by the places.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<BTreeSet<Uuid>>>);

/// A transaction is this task's, until it is dropped.
struct Place {
    under_way: UnderWay,
    guid: SessionGuid,
}

impl UnderWay {
    /// Takes the transaction on; `None` when another task has it.
    fn enter(&self, guid: SessionGuid) -> Option<Place> {
        self.lock().insert(guid.0).then(|| Place { under_way: self.clone(), guid })
    }

    fn holds(&self, guid: SessionGuid) -> bool {
        self.lock().contains(&guid.0)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        // No code under this lock can leave the set half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.guid.0);
    }
}

#[cfg(test)]
mod tests {
    use hushpad_domain::attempt::{GatewayAnswer, Purpose, Verdict};
    use hushpad_domain::ids::{AttemptId, ConfigurationId, GatewayName};
    use hushpad_domain::payment_data::PaymentData;
    use hushpad_domain::session::{RESULT_RETENTION, Retry};

    use super::*;

    fn key(account: &str, configuration: u32, id: &str) -> TransactionKey {
        TransactionKey {
            account: AccountId(account.to_owned()),
            configuration: ConfigurationId(configuration),
            id: id.to_owned(),
        }
    }

    #[test]
    fn a_transaction_has_one_guid_and_no_other_has_it() {
        let guids = [
            key("shop", 0, "PK1"),
            key("shop", 1, "PK1"),
            key("shop", 0, "PK2"),
            key("shop0", 0, "PK1"),
            key("shop", 0, "pk1"),
            key("shop", 10, "PK1"),
        ];
        let guids: BTreeSet<_> = guids.iter().map(|key| guid_of(key).0).collect();
        assert_eq!(guids.len(), 6);
        // Of every release: another guid would be another payment.
        assert_eq!(guid_of(&key("shop", 0, "PK1")).0.to_string(), "5172e0c7-b171-8728-91dd-33582b7f372c");
    }

    #[test]
    fn what_is_past_its_retention_is_not_told_before_it_is_wiped_either() {
        let at = Timestamp::from_micros(1_800_000_000_000_000);
        let data = [("Amount", "1.00"), ("Currency", "GBP")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let opened = Session::open(
            NewSession {
                guid: SessionGuid(Uuid::from_u128(1)),
                provider: ProviderSessionGuid(Uuid::from_u128(1)),
                account: AccountId("shop".to_owned()),
                configuration: ConfigurationId(0),
                agent: AgentId("twilio".to_owned()),
                call: None,
                payment_data: PaymentData::new(data.into()).unwrap(),
                webhook: false,
            },
            at,
        );
        let (id, gateway) = (AttemptId(Uuid::from_u128(2)), GatewayName("sandbox".to_owned()));
        let intended = opened.after.intend(id, gateway, Purpose::Sale, at).unwrap();
        let result = [("charge_id".to_owned(), "ch_1".to_owned())].into();
        let answer = GatewayAnswer::new(Verdict::Approved, "ch_1".to_owned(), result, None);
        let ended = intended.after.answered(answer, Retry::Over, at).unwrap().after;
        let told = |now| without_what_is_past(ended.clone(), now).attempts[0].answer().unwrap().clone();
        assert_eq!(told(at).result.len(), 1);
        let late = told(at.plus(RESULT_RETENTION));
        assert_eq!((late.result.len(), late.gateway_reference.as_str()), (0, "ch_1"));
    }

    #[test]
    fn a_transaction_is_taken_on_once_at_a_time() {
        let (under_way, guid) = (UnderWay::default(), guid_of(&key("shop", 0, "PK1")));
        let first = under_way.enter(guid);
        assert!(under_way.holds(guid) && under_way.enter(guid).is_none());
        drop(first);
        assert!(!under_way.holds(guid) && under_way.enter(guid).is_some());
    }
}
