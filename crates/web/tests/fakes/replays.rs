//! First answers in a map, by the rules of the port.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hushpad_domain::ids::SessionGuid;
use hushpad_domain::ports::{Replays, StoreUnavailable};
use hushpad_domain::replay::{Begun, FirstRequest, REPLAY_RETENTION, ReplayKey, StoredAnswer};
use hushpad_domain::time::Timestamp;

use super::FakeStore;

pub(crate) struct FakeReplays {
    store: Arc<FakeStore>,
    rows: Mutex<HashMap<ReplayKey, Row>>,
    broken: Mutex<bool>,
}

#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) first: FirstRequest,
    pub(crate) answer: Option<StoredAnswer>,
    begun_on: Timestamp,
    owner_is_gone: bool,
}

impl FakeReplays {
    pub(crate) fn new(store: Arc<FakeStore>) -> Self {
        Self { store, rows: Mutex::default(), broken: Mutex::default() }
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.rows.lock().unwrap().values().cloned().collect()
    }

    pub(crate) fn break_down(&self, broken: bool) {
        *self.broken.lock().unwrap() = broken;
    }

    /// Whatever is in flight has lost its owner.
    pub(crate) fn restart(&self) {
        self.rows.lock().unwrap().values_mut().for_each(|row| row.owner_is_gone = true);
    }

    pub(crate) fn tamper(&self) {
        for row in self.rows.lock().unwrap().values_mut() {
            row.answer.as_mut().unwrap().status += 1;
        }
    }

    fn works(&self) -> Result<(), StoreUnavailable> {
        let broken = *self.broken.lock().unwrap();
        if broken { Err(StoreUnavailable("disk full at /var/lib/secret-path".to_owned())) } else { Ok(()) }
    }

    fn is_stored(&self, session: SessionGuid) -> bool {
        self.store.all().iter().any(|stored| stored.guid == session)
    }
}

#[async_trait]
impl Replays for FakeReplays {
    async fn begin(&self, first: FirstRequest, now: Timestamp) -> Result<Begun, StoreUnavailable> {
        self.works()?;
        let mut rows = self.rows.lock().unwrap();
        if let Some(row) = rows.get(&first.key) {
            let over = row.begun_on.plus(REPLAY_RETENTION) <= now;
            let undone = row.owner_is_gone && row.answer.is_none() && !self.is_stored(row.first.session);
            if !over && !undone {
                return Ok(match &row.answer {
                    _ if row.first.fingerprint != first.fingerprint => Begun::Mismatch,
                    Some(answer) => Begun::Answered(answer.clone()),
                    None if row.owner_is_gone => Begun::Interrupted(row.first.session),
                    None => Begun::InFlight,
                });
            }
        }
        let row = Row { first: first.clone(), answer: None, begun_on: now, owner_is_gone: false };
        rows.insert(first.key, row);
        Ok(Begun::First)
    }

    async fn finish(&self, key: ReplayKey, answer: StoredAnswer) -> Result<(), StoreUnavailable> {
        self.works()?;
        self.rows.lock().unwrap().get_mut(&key).unwrap().answer = Some(answer);
        Ok(())
    }

    async fn abandon(&self, key: ReplayKey) -> Result<(), StoreUnavailable> {
        self.works()?;
        self.rows.lock().unwrap().remove(&key);
        Ok(())
    }
}
