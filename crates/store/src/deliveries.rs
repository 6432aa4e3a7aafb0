//! How webhook deliveries look in their rows, the same in every engine.

use hushpad_domain::ids::{AccountId, ConfigurationId, DeliveryId, SessionGuid};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::session::Session;
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{Backlog, Delivery, DeliveryState, DeliveryStateName, Receiver, TryAnswer};
use sqlx::FromRow;
use uuid::Uuid;

use crate::rows::{json, number};

/// A delivery as it is read.
#[derive(FromRow)]
pub(super) struct DeliveryRow {
    id: Uuid,
    guid: Uuid,
    account: String,
    configuration: i64,
    event: i64,
    created_on: i64,
    since: i64,
    tries: i64,
    last: Option<String>,
    state: String,
    at: i64,
}

impl DeliveryRow {
    /// The delivery that the row means.
    ///
    /// # Errors
    /// The row was not written by us.
    pub(super) fn read(self) -> Result<Delivery, StoreUnavailable> {
        let at = Timestamp::from_micros(self.at);
        let state = match DeliveryStateName::from_word(&self.state) {
            Some(DeliveryStateName::Due) => DeliveryState::Due { at },
            Some(DeliveryStateName::Delivered) => DeliveryState::Delivered { at },
            Some(DeliveryStateName::Dead) => DeliveryState::Dead { at },
            None => return Err(StoreUnavailable("a delivery's state cannot be read".to_owned())),
        };
        Ok(Delivery {
            id: DeliveryId(self.id),
            session: SessionGuid(self.guid),
            receiver: receiver(self.account, self.configuration)?,
            event: number("a delivery's event", self.event)?,
            created_on: Timestamp::from_micros(self.created_on),
            since: Timestamp::from_micros(self.since),
            tries: number("a delivery's tries", self.tries)?,
            last: self.last.map(|last| json("a try's answer", last.as_bytes())).transpose()?,
            state,
        })
    }
}

/// Whom a delivery goes to.
pub(super) fn receiver(account: String, configuration: i64) -> Result<Receiver, StoreUnavailable> {
    let configuration = ConfigurationId(number("a configuration", configuration)?);
    Ok(Receiver { account: AccountId(account), configuration })
}

/// The columns of a state.
pub(super) fn state_columns(state: DeliveryState) -> (&'static str, i64) {
    let (DeliveryState::Due { at } | DeliveryState::Delivered { at } | DeliveryState::Dead { at }) = state;
    (state.name().word(), at.as_micros())
}

/// What became of a try, as it is stored.
pub(super) fn answer_text(answer: TryAnswer) -> Result<String, StoreUnavailable> {
    serde_json::to_string(&answer).map_err(|error| StoreUnavailable(format!("a try's answer: {error}")))
}

/// What waits, from its three numbers.
pub(super) fn backlog((due, oldest, dead): (i64, Option<i64>, i64)) -> Backlog {
    Backlog {
        due: due.cast_unsigned(),
        oldest: oldest.map(Timestamp::from_micros),
        dead: dead.cast_unsigned(),
    }
}

/// The rows that only wait for their turn behind an older one of the same session are left out.
pub(super) fn oldest_of_each(rows: Vec<DeliveryRow>) -> Result<Vec<Delivery>, StoreUnavailable> {
    let mut oldest: Vec<Delivery> = Vec::with_capacity(rows.len());
    let mut seen = std::collections::HashSet::with_capacity(rows.len());
    for row in rows {
        if seen.insert(row.guid) {
            oldest.push(row.read()?);
        }
    }
    Ok(oldest)
}

/// Each delivery with its session; without those whose session went meanwhile.
pub(super) fn with_sessions(deliveries: Vec<Delivery>, sessions: Vec<Session>) -> Vec<(Delivery, Session)> {
    let mut sessions: std::collections::HashMap<SessionGuid, Session> =
        sessions.into_iter().map(|session| (session.guid, session)).collect();
    let found = |delivery: Delivery| sessions.remove(&delivery.session).map(|session| (delivery, session));
    deliveries.into_iter().filter_map(found).collect()
}
