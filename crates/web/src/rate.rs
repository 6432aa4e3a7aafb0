//! Allowances per key, in bounded memory: the generic cell rate algorithm, one moment per key.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hushpad_domain::time::Timestamp;

/// Keys at once in each map. A full map forgets the key nearest to a full allowance: at worst somebody
/// gets a fresh allowance early, and memory stays below a megabyte.
const KEYS_MAX: usize = 8192;

/// `burst` takings at once, and one more each time `refill` has passed.
pub(crate) struct Allowances<K> {
    burst: u32,
    refill_us: i64,
    /// When each key's allowance will be full again. Keys with a full allowance need not be here.
    full_at_us: Mutex<HashMap<K, i64>>,
}

/// What is left after a taking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// Takings that would be granted at once.
    pub(crate) remaining: u32,
    /// When the allowance is full again.
    pub(crate) full_in_s: u64,
}

/// Nothing is left: try again after this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// At least 1.
    pub(crate) retry_after_s: u64,
}

impl<K: Eq + Hash + Clone> Allowances<K> {
    /// Allowances of this size. `burst` and `refill` of zero count as the smallest possible.
    pub(crate) fn new(burst: u32, refill: Duration) -> Self {
        let refill_us = i64::try_from(refill.as_micros()).unwrap_or(i64::MAX / 2).clamp(1, 1 << 40);
        Self { burst: burst.max(1), refill_us, full_at_us: Mutex::new(HashMap::new()) }
    }

    /// How many takings a full allowance has.
    pub(crate) fn burst(&self) -> u32 {
        self.burst
    }

    /// How long an empty allowance takes to be full, in seconds, at least 1.
    pub(crate) fn window_s(&self) -> u64 {
        whole_seconds(self.depth_us()).max(1)
    }

    /// Whether a taking would be granted.
    pub(crate) fn check(&self, key: &K, now: Timestamp) -> Result<(), Exhausted> {
        let full_at_us = self.lock().get(key).copied();
        self.after_taking(full_at_us, now).map(|_| ())
    }

    /// Takes one.
    pub(crate) fn take(&self, key: &K, now: Timestamp) -> Result<Left, Exhausted> {
        let mut map = self.lock();
        let full_at_us = self.after_taking(map.get(key).copied(), now)?;
        if map.len() >= KEYS_MAX && !map.contains_key(key) {
            make_room(&mut map, now);
        }
        map.insert(key.clone(), full_at_us);
        let used_us = full_at_us - now.as_micros();
        let remaining = (self.depth_us() - used_us) / self.refill_us;
        Ok(Left { remaining: u32::try_from(remaining).unwrap_or(0), full_in_s: whole_seconds(used_us) })
    }

    fn after_taking(&self, full_at_us: Option<i64>, now: Timestamp) -> Result<i64, Exhausted> {
        let now_us = now.as_micros();
        // The upper bound heals a clock that jumped back.
        let full_at_us = full_at_us.unwrap_or(now_us).clamp(now_us, now_us + self.depth_us());
        let after_us = full_at_us + self.refill_us;
        match after_us - now_us - self.depth_us() {
            ..=0 => Ok(after_us),
            wait_us => Err(Exhausted { retry_after_s: whole_seconds(wait_us).max(1) }),
        }
    }

    fn depth_us(&self) -> i64 {
        self.refill_us.saturating_mul(i64::from(self.burst)).min(1 << 50)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, i64>> {
        // No code under this lock can leave the map half changed.
        self.full_at_us.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room<K: Eq + Hash + Clone>(map: &mut HashMap<K, i64>, now: Timestamp) {
    map.retain(|_, full_at_us| *full_at_us > now.as_micros());
    if map.len() >= KEYS_MAX
        && let Some(key) = map.iter().min_by_key(|(_, full_at_us)| **full_at_us).map(|(key, _)| key.clone())
    {
        map.remove(&key);
    }
}

/// Rounded up.
fn whole_seconds(us: i64) -> u64 {
    u64::try_from(us).unwrap_or(0).div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + ms * 1000)
    }

    #[test]
    fn a_burst_then_one_per_refill() {
        let allowances = Allowances::new(2, Duration::from_secs(3));
        assert_eq!(allowances.take(&"a", at(0)), Ok(Left { remaining: 1, full_in_s: 3 }));
        assert_eq!(allowances.take(&"a", at(0)), Ok(Left { remaining: 0, full_in_s: 6 }));
        assert_eq!(allowances.take(&"a", at(0)), Err(Exhausted { retry_after_s: 3 }));
        assert_eq!(allowances.check(&"a", at(2999)), Err(Exhausted { retry_after_s: 1 }));
        assert_eq!(allowances.check(&"b", at(0)), Ok(()));
        assert_eq!(allowances.take(&"a", at(3000)), Ok(Left { remaining: 0, full_in_s: 6 }));
    }

    #[test]
    fn a_clock_that_jumps_back_locks_nobody_out_for_long() {
        let allowances = Allowances::new(1, Duration::from_secs(3));
        allowances.take(&"a", at(86_400_000)).unwrap();
        assert_eq!(allowances.take(&"a", at(0)), Err(Exhausted { retry_after_s: 3 }));
    }

    #[test]
    fn a_full_map_forgets_the_least_used_key() {
        let allowances = Allowances::new(2, Duration::from_secs(3600));
        for key in 0..KEYS_MAX + 10 {
            allowances.take(&key, at(0)).unwrap();
            allowances.take(&key, at(i64::try_from(key).unwrap())).unwrap();
        }
        assert_eq!(allowances.lock().len(), KEYS_MAX);
        assert!(allowances.check(&(KEYS_MAX + 9), at(10_000)).is_err());
    }
}
