//! How fast links may be tried that are none, and passwords that are wrong: per key, in bounded memory.
//!
//! A link's secret has 96 bits, so nobody finds one by trying. This keeps those who try from costing much, and shows
//! them to the operator. A good link is never refused: many payers share an address, behind a provider's NAT or before
//! a reverse proxy, and one of them must not lock the others out. The pay connector's users are others: there the key
//! has the user's name too, and who has tried too often is not looked at for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hushpad_domain::time::Tick;

use crate::links::Source;

/// Wrong links at once. A person who copied a link wrongly tries a few times.
const BURST: u64 = 20;
/// One more is allowed each time this has passed.
const REFILL_MS: u64 = 10_000;
/// Sources at once: a few hundred KB. A full map forgets the one that has tried least.
const SOURCES_MAX: usize = 8_192;

/// Who has tried how often in vain.
pub(crate) struct Throttle<K = Option<IpAddr>> {
    /// When the allowance of each key will be full again, in milliseconds of the monotonic clock.
    full_at_ms: Mutex<HashMap<K, u64>>,
}

impl<K> Default for Throttle<K> {
    fn default() -> Self {
        Self { full_at_ms: Mutex::default() }
    }
}

impl Throttle {
    /// Counts a wrong link; after how many seconds the next may be tried, when there were too many.
    pub(crate) fn wrong(&self, source: Option<Source>, now: Tick) -> Option<u64> {
        self.count(network_of(source), now)
    }
}

impl<K: Copy + Eq + Hash> Throttle<K> {
    /// After how many seconds this key may try again; `None` when it may now.
    pub(crate) fn wait_s(&self, key: K, now: Tick) -> Option<u64> {
        let map = self.lock();
        wait_s(next(map.get(&key).copied(), now), now)
    }

    /// Counts a try in vain; after how many seconds the next may come, when there were too many.
    pub(crate) fn count(&self, key: K, now: Tick) -> Option<u64> {
        let mut map = self.lock();
        let after_ms = next(map.get(&key).copied(), now);
        if let Some(wait_s) = wait_s(after_ms, now) {
            return Some(wait_s);
        }
        if map.len() >= SOURCES_MAX && !map.contains_key(&key) {
            map.retain(|_, full_at_ms| *full_at_ms > now.0);
            let least = map.iter().min_by_key(|(_, full_at_ms)| **full_at_ms).map(|(key, _)| *key);
            if let (Some(least), true) = (least, map.len() >= SOURCES_MAX) {
                map.remove(&least);
            }
        }
        map.insert(key, after_ms);
        None
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, u64>> {
        // No code under this lock can leave the map half changed.
        self.full_at_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the allowance would be full again after one more try.
fn next(full_at_ms: Option<u64>, now: Tick) -> u64 {
    full_at_ms.unwrap_or(now.0).clamp(now.0, now.0 + BURST * REFILL_MS) + REFILL_MS
}

fn wait_s(after_ms: u64, now: Tick) -> Option<u64> {
    let wait_ms = (after_ms - now.0).checked_sub(BURST * REFILL_MS).filter(|wait_ms| *wait_ms > 0)?;
    Some(wait_ms.div_ceil(1_000))
}

/// The network that a request comes from.
pub(crate) fn network_of(source: Option<Source>) -> Option<IpAddr> {
    source.map(|Source(address)| network(address))
}

/// Of IPv6, one customer has a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Option<Source> {
        Some(Source(text.parse().unwrap()))
    }

    #[test]
    fn a_source_is_slowed_down_and_time_heals() {
        let throttle = <Throttle>::default();
        for _ in 0..BURST {
            assert_eq!(throttle.wrong(source("192.0.2.1"), Tick(5)), None);
        }
        assert_eq!(throttle.wrong(source("192.0.2.1"), Tick(5)), Some(10));
        assert_eq!(throttle.wrong(source("192.0.2.2"), Tick(5)), None);
        assert_eq!(throttle.wrong(source("192.0.2.1"), Tick(5 + REFILL_MS)), None);
        assert_eq!(throttle.wrong(source("192.0.2.1"), Tick(6 + REFILL_MS)), Some(10));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_the_map_is_bounded() {
        let throttle = <Throttle>::default();
        for n in 0..BURST {
            assert_eq!(throttle.wrong(source(&format!("2001:db8::{n:x}")), Tick(0)), None);
        }
        assert!(throttle.wrong(source("2001:db8::ffff"), Tick(0)).is_some());
        for n in 0..=u32::try_from(SOURCES_MAX).unwrap() {
            throttle.wrong(Some(Source(IpAddr::V4(n.into()))), Tick(0));
        }
        assert_eq!(throttle.full_at_ms.lock().unwrap().len(), SOURCES_MAX);
        assert!(
            throttle.wrong(source("2001:db8::1"), Tick(0)).is_some(),
            "who has tried most is not forgotten"
        );
    }
}
