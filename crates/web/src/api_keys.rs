//! The keys that sign access tokens: one signs, those before it verify for as long as their tokens live.
//!
//! Every key is derived from the master key by its number, so no key is ever stored or sent. The store says which
//! numbers there are and from when each signs. That moment lies ahead when a number is added, so that every process
//! and everybody who reads `jwks.json` has the public half before the first token comes.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hushpad_domain::credentials::SigningKeyNumber;
use hushpad_domain::time::Timestamp;
use ring::hkdf;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::jwt::{NotOurs, SigningKey};
use crate::keys::derive_numbered;
use crate::tokens::ACCESS_TOKEN_LIFE;

/// For clocks that differ between processes.
const CLOCK_SLACK: Duration = Duration::from_secs(300);
/// Keys at once. One a day for three months; older ones verify nothing any more.
const KEYS_MAX: usize = 100;

/// The keys by number.
pub(crate) struct ApiKeys {
    root: hkdf::Prk,
    ring: RwLock<Arc<Vec<Numbered>>>,
    /// When the store was last asked, in microseconds.
    asked_us: AtomicI64,
}

struct Numbered {
    number: SigningKeyNumber,
    key: SigningKey,
}

impl ApiKeys {
    /// Number 0 alone, which is there from the beginning.
    pub(crate) fn new(root: hkdf::Prk) -> Self {
        let keys = Self { root, ring: RwLock::default(), asked_us: AtomicI64::new(i64::MIN) };
        keys.take_over(&[]);
        keys
    }

    /// Whether the store was not asked within this time. A clock that jumped back asks again.
    pub(crate) fn is_to_ask(&self, now: Timestamp, within: Duration) -> bool {
        let asked = Timestamp::from_micros(self.asked_us.load(Ordering::Relaxed));
        !(asked <= now && now < asked.plus(within))
    }

    /// Takes over what the store says at `now`.
    pub(crate) fn know(&self, stored: &[SigningKeyNumber], now: Timestamp) {
        self.take_over(stored);
        self.asked_us.store(now.as_micros(), Ordering::Relaxed);
    }

    fn take_over(&self, stored: &[SigningKeyNumber]) {
        let first = SigningKeyNumber { number: 0, active_from: Timestamp::from_micros(i64::MIN) };
        let newest = stored.len().saturating_sub(KEYS_MAX);
        let numbers: Vec<_> = std::iter::once(first).chain(stored[newest..].iter().copied()).collect();
        if self.ring().iter().map(|known| known.number).eq(numbers.iter().copied()) {
            return;
        }
        let key = |number: SigningKeyNumber| Numbered {
            number,
            key: SigningKey::from_seed(&derive_numbered(&self.root, b"api access token", number.number)),
        };
        let ring = Arc::new(numbers.into_iter().map(key).collect());
        // No code under this lock can leave the ring half changed.
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
    }

    /// A token signed by the newest key that signs already.
    pub(crate) fn sign<C: Serialize>(&self, claims: &C, now: Timestamp) -> String {
        let ring = self.ring();
        let signing = ring.iter().rev().find(|known| known.number.active_from <= now);
        // Number 0 signs from the beginning of time.
        signing.or(ring.first()).map_or_else(String::new, |known| known.key.sign(claims))
    }

    /// The claims of a token that one of the keys has signed which still verify.
    pub(crate) fn verify<C: DeserializeOwned>(&self, token: &str, now: Timestamp) -> Result<C, NotOurs> {
        let ring = self.ring();
        let found = Self::good(&ring, now).find(|known| known.key.is_of(token)).ok_or(NotOurs)?;
        found.key.verify(token)
    }

    /// The public halves (RFC 7517).
    pub(crate) fn public(&self, now: Timestamp) -> Vec<Value> {
        Self::good(&self.ring(), now).map(|known| known.key.public_jwk()).collect()
    }

    /// Those that sign, will sign, or have signed tokens that may still live.
    fn good(ring: &[Numbered], now: Timestamp) -> impl Iterator<Item = &Numbered> {
        let next = ring.iter().skip(1).map(|known| Some(known.number.active_from)).chain([None]);
        ring.iter().zip(next).filter_map(move |(known, replaced)| {
            let ends = |replaced: Timestamp| replaced.plus(ACCESS_TOKEN_LIFE).plus(CLOCK_SLACK);
            replaced.is_none_or(|replaced| now < ends(replaced)).then_some(known)
        })
    }

    fn ring(&self) -> Arc<Vec<Numbered>> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }
}
