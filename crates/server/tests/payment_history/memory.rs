//! A store in memory, with owners, conflicts, and commits that fail before or after they are written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hushpad_domain::attempt::AttemptState;
use hushpad_domain::change::Change;
use hushpad_domain::event::Event;
use hushpad_domain::ids::{AccountId, AttemptId, GatewayName, ProviderSessionGuid, SessionGuid};
use hushpad_domain::kept_card::{KeptCard, TokenHash};
use hushpad_domain::listing::SessionQuery;
use hushpad_domain::notification::{Notification, Waiting};
use hushpad_domain::operation::Settlement;
use hushpad_domain::ports::{CommitError, KeptCards, Notifications, Sessions, Settlements, StoreUnavailable};
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use uuid::Uuid;

use super::dice::Dice;

#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) sessions: BTreeMap<SessionGuid, Session>,
    pub(crate) events: BTreeMap<SessionGuid, Vec<Event>>,
    settlements: BTreeMap<AttemptId, Settlement>,
    pub(crate) notifications: Vec<Kept>,
    epoch: u64,
}

/// What a broken build writes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    Nothing,
    Intents,
    /// That a payer is back from the bank.
    Returns,
}

/// A notification that was kept; without its content once it was taken up.
pub(crate) struct Kept {
    gateway: GatewayName,
    key: String,
    pub(crate) told: Option<Notification>,
}

/// What survives every crash.
pub(crate) type Disk = Arc<Mutex<Rows>>;

/// The store as one owner has it.
#[derive(Clone)]
pub(crate) struct MemoryStore {
    pub(crate) disk: Disk,
    epoch: u64,
    dice: Dice,
    /// A broken build: what it must write before it sends is acknowledged at once and written later.
    late: Late,
    on_their_way: Arc<Mutex<BTreeMap<SessionGuid, u32>>>,
}

impl MemoryStore {
    /// Takes the store over.
    pub(crate) fn open(disk: &Disk, dice: Dice, late: Late) -> Self {
        let mut rows = disk.lock().unwrap();
        rows.epoch += 1;
        let epoch = rows.epoch;
        drop(rows);
        Self { disk: disk.clone(), epoch, dice, late, on_their_way: Arc::default() }
    }

    /// Beside the owner, as the command line is.
    pub(crate) fn guest(disk: &Disk, dice: Dice) -> Self {
        Self { disk: disk.clone(), epoch: 0, dice, late: Late::Nothing, on_their_way: Arc::default() }
    }

    async fn pause(&self) {
        tokio::time::sleep(self.dice.millis(20)).await;
    }

    /// What was acknowledged is read back, also from a broken build.
    async fn wait_for(&self, session: SessionGuid) {
        while self.on_their_way.lock().unwrap().contains_key(&session) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    fn write(&self, change: Change) -> Result<(), CommitError> {
        let mut rows = self.disk.lock().unwrap();
        if rows.epoch != self.epoch {
            return Err(CommitError::Fenced);
        }
        let stored = rows.sessions.get(&change.after.guid).map(|session| session.version);
        if stored != change.before {
            return Err(CommitError::Conflict);
        }
        let guid = change.after.guid;
        rows.sessions.insert(guid, change.after);
        rows.events.entry(guid).or_default().extend(change.events);
        Ok(())
    }
}

#[async_trait]
impl Sessions for MemoryStore {
    async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let guid = change.after.guid;
        let is_late = change.events.iter().any(|event| event.kind.changed_attempt().is_some())
            && change.after.open_attempt().is_some_and(|attempt| match attempt.state {
                AttemptState::Intent => self.late == Late::Intents,
                AttemptState::Confirming { .. } => self.late == Late::Returns,
                _ => false,
            });
        self.wait_for(guid).await;
        if is_late {
            let store = self.clone();
            store.on_their_way.lock().unwrap().insert(guid, 1);
            tokio::spawn(async move {
                tokio::time::sleep(store.dice.millis(1_500)).await;
                let _ = store.write(change);
                store.on_their_way.lock().unwrap().remove(&guid);
            });
            return Ok(());
        }
        self.pause().await;
        let fate = self.dice.below(100);
        if fate < 3 {
            return Err(StoreUnavailable("full".to_owned()).into());
        }
        self.write(change)?;
        self.pause().await;
        // The connection broke before it could say so.
        if fate < 5 { Err(StoreUnavailable("gone".to_owned()).into()) } else { Ok(()) }
    }

    async fn session(
        &self,
        account: &AccountId,
        guid: SessionGuid,
    ) -> Result<Option<Session>, StoreUnavailable> {
        self.wait_for(guid).await;
        let rows = self.disk.lock().unwrap();
        Ok(rows.sessions.get(&guid).filter(|session| session.account == *account).cloned())
    }

    async fn provider_session(&self, guid: ProviderSessionGuid) -> Result<Option<Session>, StoreUnavailable> {
        self.wait_for(SessionGuid(guid.0)).await;
        if self.dice.percent(2) {
            return Err(StoreUnavailable("busy".to_owned()));
        }
        // In these schedules both guids are the same.
        Ok(self.disk.lock().unwrap().sessions.get(&SessionGuid(guid.0)).cloned())
    }

    async fn unfinished(&self) -> Result<Vec<Session>, StoreUnavailable> {
        let rows = self.disk.lock().unwrap();
        Ok(rows.sessions.values().filter(|session| !session.has_ended()).cloned().collect())
    }

    async fn unsettled(&self, not_charged_after: Timestamp) -> Result<Vec<Session>, StoreUnavailable> {
        let rows = self.disk.lock().unwrap();
        let unsettled = |session: &&Session| {
            session.has_ended()
                && session.attempts.iter().any(|attempt| {
                    attempt.operations.iter().any(|operation| attempt.awaits(operation))
                        || (attempt.left_no_trace() && attempt.updated_on > not_charged_after)
                })
        };
        Ok(rows.sessions.values().filter(unsettled).cloned().collect())
    }

    async fn list(&self, _: &AccountId, _: &SessionQuery) -> Result<Vec<Session>, StoreUnavailable> {
        // These schedules ask for no list.
        Ok(Vec::new())
    }

    async fn events(
        &self,
        _: &AccountId,
        guid: SessionGuid,
        after: u32,
    ) -> Result<Vec<Event>, StoreUnavailable> {
        let rows = self.disk.lock().unwrap();
        let events = rows.events.get(&guid).into_iter().flatten();
        Ok(events.filter(|event| event.seq > after).cloned().collect())
    }

    async fn purge(&self, _: Timestamp) -> Result<u64, StoreUnavailable> {
        Ok(0)
    }
}

#[async_trait]
impl Settlements for MemoryStore {
    async fn settle(&self, settlement: Settlement) -> Result<(), StoreUnavailable> {
        self.disk.lock().unwrap().settlements.insert(settlement.attempt, settlement);
        Ok(())
    }

    async fn settlement(&self, attempt: AttemptId) -> Result<Option<Settlement>, StoreUnavailable> {
        Ok(self.disk.lock().unwrap().settlements.get(&attempt).cloned())
    }
}

/// No stored card is charged here.
#[async_trait]
impl KeptCards for MemoryStore {
    async fn kept_card(
        &self,
        _: &AccountId,
        _: &[GatewayName],
        _: TokenHash,
    ) -> Result<Option<KeptCard>, StoreUnavailable> {
        Ok(None)
    }
}

#[async_trait]
impl Notifications for MemoryStore {
    async fn keep(
        &self,
        gateway: &GatewayName,
        told: Vec<Notification>,
        _: Timestamp,
    ) -> Result<usize, StoreUnavailable> {
        self.pause().await;
        let fate = self.dice.below(100);
        let mut rows = self.disk.lock().unwrap();
        if rows.epoch != self.epoch || fate < 3 {
            return Err(StoreUnavailable("not now".to_owned()));
        }
        let mut new = 0;
        for told in told {
            let known =
                rows.notifications.iter().any(|kept| kept.gateway == *gateway && kept.key == told.dedupe_key);
            if !known {
                let key = told.dedupe_key.clone();
                rows.notifications.push(Kept { gateway: gateway.clone(), key, told: Some(told) });
                new += 1;
            }
        }
        // It is kept, and the receipt is lost.
        if fate < 6 { Err(StoreUnavailable("gone".to_owned())) } else { Ok(new) }
    }

    async fn waiting(&self, after: i64, limit: u32) -> Result<Vec<Waiting>, StoreUnavailable> {
        let rows = self.disk.lock().unwrap();
        let waiting = (1..).zip(&rows.notifications).filter_map(|(number, kept)| {
            let (gateway, told) = (kept.gateway.clone(), kept.told.clone()?);
            (number > after).then_some(Waiting { number, gateway, notification: told })
        });
        Ok(waiting.take(limit as usize).collect())
    }

    async fn taken_up(&self, number: i64) -> Result<(), StoreUnavailable> {
        self.pause().await;
        if self.dice.percent(3) {
            return Err(StoreUnavailable("not now".to_owned()));
        }
        let mut rows = self.disk.lock().unwrap();
        if rows.epoch == self.epoch {
            rows.notifications[usize::try_from(number - 1).unwrap()].told = None;
        }
        Ok(())
    }

    async fn session_of(&self, reference: Uuid) -> Result<Option<Session>, StoreUnavailable> {
        let rows = self.disk.lock().unwrap();
        let has = |session: &&Session| {
            session.attempts.iter().any(|attempt| {
                attempt.id.0 == reference
                    || attempt.operations.iter().any(|operation| operation.id.0 == reference)
            })
        };
        Ok(rows.sessions.values().find(has).cloned())
    }
}
