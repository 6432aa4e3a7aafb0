//! Virtual time that goes on over restarts, and chance from the seed.

use std::sync::{Arc, Mutex};

use hushpad_domain::ports::World;
use hushpad_domain::time::Timestamp;
use tokio::time::Instant;
use uuid::Uuid;

use super::dice::Dice;

#[derive(Clone)]
pub(crate) struct VirtualWorld {
    clock: Arc<Mutex<Clock>>,
    dice: Dice,
}

struct Clock {
    base_us: i64,
    since: Option<Instant>,
}

impl VirtualWorld {
    pub(crate) fn new(dice: Dice) -> Self {
        let clock = Clock { base_us: 1_800_000_000_000_000, since: None };
        Self { clock: Arc::new(Mutex::new(clock)), dice }
    }

    /// A new runtime begins: its clock counts from here.
    pub(crate) fn resume(&self) {
        self.clock.lock().unwrap().since = Some(Instant::now());
    }

    /// The runtime ends.
    pub(crate) fn stop(&self) {
        let now = self.micros();
        *self.clock.lock().unwrap() = Clock { base_us: now, since: None };
    }

    pub(crate) fn micros(&self) -> i64 {
        let clock = self.clock.lock().unwrap();
        let passed = clock.since.map(|since| since.elapsed().as_micros()).unwrap_or(0);
        clock.base_us + i64::try_from(passed).unwrap()
    }
}

impl World for VirtualWorld {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros())
    }

    fn guid(&self) -> Uuid {
        self.dice.guid()
    }

    fn secret(&self) -> [u8; 32] {
        [7; 32]
    }
}
