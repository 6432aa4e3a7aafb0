//! What a back end is told by webhook, when, and for how long it is tried.
//!
//! A [`Change`](crate::change::Change) that a receiver must hear of names one delivery; the commit that writes the
//! change writes it too. A delivery holds no data: the body is the session's status as it is when it is sent, the
//! same bytes as `GET /v1/session/{guid}`. So nothing is kept twice, and what is forgotten is forgotten here too.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::ids::{AccountId, ConfigurationId, DeliveryId, SessionGuid};
use crate::time::Timestamp;

/// How long a delivery is tried, counted from the change that it tells of.
pub const TRIES_WINDOW: Duration = Duration::from_secs(12 * 60 * 60);
/// Waits before each try, in seconds. Their sum, 11 h 52 min 35 s, leaves room for jitter inside the window.
pub const DELAYS_S: [u64; 11] = [0, 5, 30, 120, 300, 900, 1_800, 3_600, 7_200, 10_800, 18_000];
/// A delay is stretched by at most a tenth of itself, so that what failed together is not tried together.
const JITTER_DIVISOR: u64 = 10;
/// The last try begins at least this long before the window's end: it takes time itself.
const LAST_TRY_ROOM_S: u64 = 60;

/// Where deliveries of one account configuration go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receiver {
    /// The account.
    pub account: AccountId,
    /// Its configuration.
    pub configuration: ConfigurationId,
}

/// One thing that a receiver is to be told: a reference, no data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The same over all its tries, and over replays: a receiver knows a repetition by it.
    pub id: DeliveryId,
    /// The session that it tells of.
    pub session: SessionGuid,
    /// Whom it goes to.
    pub receiver: Receiver,
    /// The number of the event that caused it.
    pub event: u32,
    /// When it was caused.
    pub created_on: Timestamp,
    /// Where its tries are counted from: `created_on`, or its last replay.
    pub since: Timestamp,
    /// Tries made, replays included.
    pub tries: u32,
    /// What became of the last try; `None` before the first.
    pub last: Option<TryAnswer>,
    /// Where it is.
    pub state: DeliveryState,
}

/// Where a delivery is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// To be tried.
    Due {
        /// When.
        at: Timestamp,
    },
    /// The receiver has it.
    Delivered {
        /// Since when.
        at: Timestamp,
    },
    /// Given up; a replay makes it due again.
    Dead {
        /// Since when.
        at: Timestamp,
    },
}

/// [`DeliveryState`] without its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in `DeliveryState`")]
pub enum DeliveryStateName {
    Due,
    Delivered,
    Dead,
}

/// What became of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TryAnswer {
    /// The receiver answered with this HTTP status.
    Status(u16),
    /// No answer in time.
    TimedOut,
    /// No connection: DNS, TCP or TLS failed.
    Unreachable,
    /// The receiver's name stands for an address that must not be called.
    AddressRefused,
    /// The connection broke, or what came back was no HTTP.
    Broken,
    /// The receiver's token endpoint gave no token.
    NoToken,
    /// The configuration has no webhook any more.
    NotConfigured,
}

/// A try that was made: what is to be written down of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Of which delivery.
    pub id: DeliveryId,
    /// What came of it.
    pub answer: TryAnswer,
    /// What the delivery is now.
    pub state: DeliveryState,
}

/// A question for deliveries of one account, in the order in which they were caused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryList {
    /// The account.
    pub account: AccountId,
    /// Which.
    pub state: Listed,
    /// Only after this one.
    pub after: Option<DeliveryId>,
    /// At most so many.
    pub limit: u32,
}

/// Which deliveries can be listed: those that somebody may have to see to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// To be tried.
    Due,
    /// Given up: the dead letters.
    Dead,
}

/// What waits, over all receivers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries that are neither delivered nor given up.
    pub due: u64,
    /// When the oldest of them was caused.
    pub oldest: Option<Timestamp>,
    /// Dead letters.
    pub dead: u64,
}

impl DeliveryId {
    /// The delivery that tells of this event of this session: one per event, ever.
    #[must_use]
    pub fn of(session: SessionGuid, event: u32) -> Self {
        Self(Uuid::new_v5(&session.0, format!("webhook {event}").as_bytes()))
    }
}

impl Delivery {
    /// What a try that ended at `now` makes of it. `chance` is any number, for the jitter.
    #[must_use]
    pub fn tried(&self, answer: TryAnswer, now: Timestamp, chance: u64) -> Tried {
        let state = match next_try(self.since, now, chance) {
            _ if answer.is_success() => DeliveryState::Delivered { at: now },
            Some(at) => DeliveryState::Due { at },
            None => DeliveryState::Dead { at: now },
        };
        Tried { id: self.id, answer, state }
    }
}

impl DeliveryState {
    /// Without its times.
    #[must_use]
    pub fn name(self) -> DeliveryStateName {
        match self {
            Self::Due { .. } => DeliveryStateName::Due,
            Self::Delivered { .. } => DeliveryStateName::Delivered,
            Self::Dead { .. } => DeliveryStateName::Dead,
        }
    }
}

impl DeliveryStateName {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Due, Self::Delivered, Self::Dead];

    /// Its word, on the wire and in the store.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The state with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.word() == word)
    }
}

impl TryAnswer {
    /// Whether the receiver has it: any 2xx. A 410 is a failure as any other: a receiver that is taken down by mistake
    /// would lose the results of payments.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Status(200..=299))
    }

    /// For lists and logs: the status, or a word.
    #[must_use]
    pub fn word(self) -> String {
        match self {
            Self::Status(status) => return status.to_string(),
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::AddressRefused => "address_refused",
            Self::Broken => "broken",
            Self::NoToken => "no_token",
            Self::NotConfigured => "not_configured",
        }
        .to_owned()
    }
}

/// When to try again after a try that ended at `now`, for tries counted from `since`; `None` when the window is
/// over. Points of the schedule that have passed meanwhile, as while we were stopped, are skipped.
#[must_use]
pub fn next_try(since: Timestamp, now: Timestamp, chance: u64) -> Option<Timestamp> {
    let mut point_s = 0;
    for delay_s in DELAYS_S {
        point_s += delay_s;
        let point = since.plus(Duration::from_secs(point_s));
        if point > now {
            let room_s = TRIES_WINDOW.as_secs().saturating_sub(point_s + LAST_TRY_ROOM_S);
            let jitter_us = (delay_s * 1_000_000 / JITTER_DIVISOR).min(room_s * 1_000_000);
            return Some(point.plus(Duration::from_micros(chance % (jitter_us + 1))));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SINCE: Timestamp = Timestamp::from_micros(1_800_000_000_000_001);

    fn seconds_since(at: Timestamp) -> f64 {
        (at.as_micros() - SINCE.as_micros()) as f64 / 1e6
    }

    /// Every try fails at once, at the moment when it is due.
    fn tries(chance: u64) -> Vec<f64> {
        let mut at = SINCE;
        let mut all = vec![0.0];
        while let Some(next) = next_try(SINCE, at, chance) {
            assert!(next > at);
            at = next;
            all.push(seconds_since(at));
        }
        all
    }

    #[test]
    fn a_receiver_that_is_down_is_tried_by_the_published_schedule() {
        insta::assert_debug_snapshot!(tries(0), @r"
        [
            0.0,
            5.0,
            35.0,
            155.0,
            455.0,
            1355.0,
            3155.0,
            6755.0,
            13955.0,
            24755.0,
            42755.0,
        ]
        ");
    }

    #[test]
    fn with_any_jitter_there_are_as_many_tries_the_last_after_11_and_within_12_hours() {
        for chance in (0..5_000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)).chain([u64::MAX]) {
            let tries = tries(chance);
            assert_eq!(tries.len(), DELAYS_S.len(), "{chance}");
            let last = tries[tries.len() - 1];
            assert!((11.0 * 3600.0..12.0 * 3600.0).contains(&last), "{chance}: {last}");
        }
    }

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let four_hours = SINCE.plus(Duration::from_secs(4 * 3600));
        assert_eq!(next_try(SINCE, four_hours, 0).map(seconds_since), Some(24_755.0));
        assert_eq!(next_try(SINCE, SINCE.plus(TRIES_WINDOW), 0), None);
    }

    #[test]
    fn each_event_has_one_delivery_and_no_other_has_its_id() {
        let session = SessionGuid(Uuid::from_u128(1));
        assert_eq!(DeliveryId::of(session, 1), DeliveryId::of(session, 1));
        assert_ne!(DeliveryId::of(session, 1), DeliveryId::of(session, 2));
        assert_ne!(DeliveryId::of(session, 1), DeliveryId::of(SessionGuid(Uuid::from_u128(2)), 1));
    }
}
