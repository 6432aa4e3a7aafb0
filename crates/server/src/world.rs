//! Time and chance. The only place of the program that reads the wall clock and entropy.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hushpad_domain::ports::World;
use hushpad_domain::time::{Tick, Timestamp};
use hushpad_store::Chance;
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

/// The most lenient time zone is twelve hours behind UTC.
const LENIENT_ZONE: Duration = Duration::from_secs(12 * 3600);

/// The machine's clocks and entropy.
#[derive(Clone)]
pub struct RealWorld {
    started: Instant,
    random: SystemRandom,
}

impl RealWorld {
    /// Starts the monotonic clock at zero.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the door to the monotonic clock and to entropy")]
    pub fn new() -> Self {
        Self { started: Instant::now(), random: SystemRandom::new() }
    }

    /// The monotonic clock: for time-outs, which a clock jump must not touch.
    #[must_use]
    pub fn tick(&self) -> Tick {
        Tick(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The monotonic clock in microseconds: for measuring.
    #[must_use]
    pub fn elapsed_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The year and month in the most lenient time zone: a card is valid there longest.
    #[must_use]
    pub fn lenient_month(&self) -> (i32, u8) {
        let behind = i64::try_from(LENIENT_ZONE.as_micros()).unwrap_or(0);
        Timestamp::from_micros(self.now().as_micros() - behind).year_month()
    }

    /// The moment of the runtime's clock that a tick stands for.
    #[must_use]
    pub fn instant_of(&self, tick: Tick) -> tokio::time::Instant {
        let length = Duration::from_millis(tick.0);
        self.started.checked_add(length).unwrap_or(self.started).into()
    }
}

/// This month in UTC, as the sandbox gateway asks for it.
#[must_use]
pub fn this_month() -> (i32, u8) {
    RealWorld::new().now().year_month()
}

impl Default for RealWorld {
    fn default() -> Self {
        Self::new()
    }
}

impl RealWorld {
    /// Chance for the keys of a store.
    #[must_use]
    pub fn chance(&self) -> Chance {
        let world = self.clone();
        Chance::new(move || world.secret())
    }
}

impl World for RealWorld {
    #[expect(clippy::disallowed_methods, reason = "the door to the wall clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn guid(&self) -> Uuid {
        Uuid::new_v4()
    }

    fn secret(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        self.random.fill(&mut secret).expect("the kernel gives entropy once it has booted");
        secret
    }
}
