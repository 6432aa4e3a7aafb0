//! What must be gone after its retention is stored sealed, under keys that soon are gone themselves.
//!
//! Wiping a row says nothing about copies of it: a backup, an archived log, a snapshot of the disk. So payment data and
//! gateway results are encrypted (AES-256-GCM) under data keys that live in a file of their own, which no backup
//! takes. A key seals for a few minutes. It is destroyed once no row is under it; rows that stay for longer
//! (a slow webhook, a session of days) are sealed anew, so that every key goes soon. A copy of the
//! database then holds what nobody can read any more.
//!
//! A key is durable before it seals. Nothing waits for that: the next key is made beside the purge, not with a
//! commit. Without the file everything works but the reading of results: sessions, states and outcomes are not sealed.

mod file;
mod moved;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use hushpad_domain::ids::AccountId;
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use tracing::{info, warn};

use crate::chance::Chance;
use file::{KEYS_MAX, KeyFile, StoredKey};

/// How long a key seals. Results of so long share their end.
const SEALING_PERIOD: Duration = Duration::from_secs(5 * 60);
/// How long a key stays after it has sealed its last, so that even a commit whose answer was lost has come to rest.
const REST: Duration = Duration::from_secs(60);
/// When what is still under a key is sealed anew, counted from its last sealing: past the usual retention.
const MOVE_AFTER: Duration = Duration::from_secs(20 * 60);
/// The first byte of everything sealed. What was stored before there were keys is JSON and begins with `{`.
const SEALED: u8 = 1;
const ID_BYTES: usize = 8;
const COUNTER_BYTES: usize = 8;
/// How many bytes at the beginning name the key.
pub(super) const PREFIX_BYTES: usize = 1 + ID_BYTES;
const HEAD_BYTES: usize = PREFIX_BYTES + COUNTER_BYTES;
/// Keys that are missed and were told of, at most; then no more are told of.
const LOST_MAX: usize = 256;

type KeyId = [u8; ID_BYTES];

/// The data keys of one store.
pub(super) struct Keys {
    ring: RwLock<Ring>,
    /// `None`: the keys live as long as this process.
    file: Option<Mutex<KeyFile>>,
    /// Where new keys come from; `None` for a guest, who makes none.
    chance: Option<Chance>,
    /// Keys that are gone, to tell of each once.
    lost: Mutex<BTreeSet<KeyId>>,
}

#[derive(Default)]
struct Ring {
    /// `None` for a guest, who neither seals nor reads.
    current: Option<Sealing>,
    retired: BTreeMap<KeyId, Retired>,
}

struct Sealing {
    key: Arc<DataKey>,
    /// Set by the first purge that sees it.
    since: Option<Timestamp>,
}

struct Retired {
    key: Arc<DataKey>,
    since: Option<Timestamp>,
}

struct DataKey {
    id: KeyId,
    bytes: [u8; 32],
    aead: LessSafeKey,
    references: hmac::Key,
    /// Sealed so far: the nonce. Only the process that made a key seals under it, so none comes twice.
    sealed: AtomicU64,
}

impl Keys {
    /// Those of a guest: none.
    pub(super) fn none() -> Self {
        Self { ring: RwLock::default(), file: None, chance: None, lost: Mutex::default() }
    }

    /// Keys that end with this process.
    pub(super) fn of_this_process(chance: Chance) -> Self {
        let current = Some(Sealing { key: Arc::new(DataKey::new(&chance)), since: None });
        let ring = RwLock::new(Ring { current, ..Ring::default() });
        Self { ring, file: None, chance: Some(chance), lost: Mutex::default() }
    }

    /// Reads the keys in the file at `path`, creates it if need be, and makes a key for this process.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(super) fn open(path: &Path, chance: Chance) -> io::Result<Self> {
        let mut file = KeyFile::open(path)?;
        let mut ring = Ring::default();
        for stored in file.read()? {
            ring.retired.insert(stored.id, Retired { key: Arc::new(DataKey::of(&stored)), since: None });
        }
        let key = DataKey::new(&chance);
        file.add(&key.stored())?;
        ring.current = Some(Sealing { key: Arc::new(key), since: None });
        let (ring, file) = (RwLock::new(ring), Some(Mutex::new(file)));
        Ok(Self { ring, file, chance: Some(chance), lost: Mutex::default() })
    }

    /// Seals under the current key.
    ///
    /// # Errors
    /// A guest has no key.
    pub(super) fn seal(&self, plain: Vec<u8>) -> Result<Vec<u8>, StoreUnavailable> {
        let key = self.current()?;
        key.seal(plain)
    }

    /// What was sealed; `None` when it was wiped, or its key is gone.
    pub(super) fn open_sealed(&self, data: &[u8]) -> Option<Vec<u8>> {
        match data.first() {
            Some(&SEALED) => {}
            Some(b'{') => return Some(data.to_owned()),
            Some(_) | None => return None,
        }
        let id: KeyId = data.get(1..PREFIX_BYTES)?.try_into().ok()?;
        let plain = self.key(id).and_then(|key| key.open(data));
        if plain.is_none() {
            self.tell_of_lost(id);
        }
        plain
    }

    /// What `reference` of the account's session leaves in its row under the current key.
    ///
    /// # Errors
    /// A guest has no key.
    pub(super) fn reference_tag(
        &self,
        account: &AccountId,
        reference: &str,
    ) -> Result<Vec<u8>, StoreUnavailable> {
        Ok(self.current()?.reference_tag(account, reference))
    }

    /// What `reference` has left in rows under any key that is there.
    pub(super) fn reference_tags(&self, account: &AccountId, reference: &str) -> Vec<Vec<u8>> {
        let ring = self.ring();
        let current = ring.current.iter().map(|sealing| &sealing.key);
        let keys = current.chain(ring.retired.values().map(|retired| &retired.key));
        keys.map(|key| key.reference_tag(account, reference)).collect()
    }

    /// Makes a new key when the current one has sealed for long enough. Waits for the disk.
    ///
    /// When the file cannot be written, the current key goes on: a payment matters more than its result's age.
    pub(super) fn rotate(&self, now: Timestamp) {
        self.mend_file();
        if !self.is_due(now) {
            return;
        }
        let Some(chance) = &self.chance else { return };
        let key = DataKey::new(chance);
        let added = self.file.as_ref().map_or(Ok(()), |file| lock(file).add(&key.stored()));
        match added {
            Ok(()) => {
                let mut ring = self.ring_mut();
                let sealing = Sealing { key: Arc::new(key), since: Some(now) };
                if let Some(Sealing { key, .. }) = ring.current.replace(sealing) {
                    ring.retired.insert(key.id, Retired { key, since: Some(now) });
                }
            }
            Err(error) => {
                warn!(%error, "no new key for results could be made: the one before is used on");
            }
        }
    }

    /// Destroys the keys that have sealed their last and have no row under them. `used` are the prefixes of what
    /// is stored, read after the purge that followed [`Keys::rotate`]. Waits for the disk.
    pub(super) fn destroy_unused(&self, used: &[Vec<u8>], now: Timestamp) {
        let is_used = |id: &KeyId| used.iter().any(|prefix| prefix.get(1..) == Some(id.as_slice()));
        let ids: Vec<KeyId> = self
            .ring()
            .retired
            .iter()
            .filter(|(id, retired)| retired.past(REST, now) && !is_used(id))
            .map(|(id, _)| *id)
            .collect();
        if ids.is_empty() {
            return;
        }
        if let Some(file) = &self.file
            && let Err(error) = lock(file).destroy(&ids)
        {
            warn!(%error, "keys of results that are gone could not be destroyed: tried again with the next purge");
            return;
        }
        let mut ring = self.ring_mut();
        for id in &ids {
            ring.retired.remove(id);
        }
    }

    /// The prefixes of what is to be sealed anew.
    pub(super) fn to_be_moved(&self, now: Timestamp) -> Vec<Vec<u8>> {
        let ring = self.ring();
        let old = ring.retired.iter().filter(|(_, retired)| retired.past(MOVE_AFTER, now));
        old.map(|(id, _)| prefix(id)).collect()
    }

    /// Whether a new key is due. Also notes since when the others are what they are.
    fn is_due(&self, now: Timestamp) -> bool {
        let mut ring = self.ring_mut();
        for retired in ring.retired.values_mut() {
            retired.since.get_or_insert(now);
        }
        let full = ring.retired.len() + 1 >= KEYS_MAX;
        let Some(sealing) = &mut ring.current else { return false };
        let since = *sealing.since.get_or_insert(now);
        !full && since.plus(SEALING_PERIOD) <= now
    }

    /// Writes the file again when somebody has taken it away: the keys are still here.
    fn mend_file(&self) {
        let Some(file) = &self.file else { return };
        let mut file = lock(file);
        if file.is_in_place() {
            return;
        }
        let keys: Vec<StoredKey> = {
            let ring = self.ring();
            let current = ring.current.iter().map(|sealing| sealing.key.stored());
            current.chain(ring.retired.values().map(|retired| retired.key.stored())).collect()
        };
        match file.replace(&keys) {
            Ok(()) => {
                warn!(path = %file.path().display(), "the file with the keys of results was gone: written again")
            }
            Err(error) => {
                warn!(path = %file.path().display(), %error,
                      "the file with the keys of results is gone and cannot be written: results end with this process");
            }
        }
    }

    fn key(&self, id: KeyId) -> Option<Arc<DataKey>> {
        if let Some(key) = self.known(id) {
            return Some(key);
        }
        // Another owner on this machine may have made it. Asked once for each.
        let file = self.file.as_ref()?;
        if lock(&self.lost).contains(&id) {
            return None;
        }
        let stored = lock(file).read().ok()?.into_iter().find(|stored| stored.id == id)?;
        let key = Arc::new(DataKey::of(&stored));
        self.ring_mut().retired.insert(id, Retired { key: Arc::clone(&key), since: None });
        Some(key)
    }

    fn known(&self, id: KeyId) -> Option<Arc<DataKey>> {
        let ring = self.ring();
        match &ring.current {
            Some(sealing) if sealing.key.id == id => Some(Arc::clone(&sealing.key)),
            Some(_) | None => ring.retired.get(&id).map(|retired| Arc::clone(&retired.key)),
        }
    }

    fn tell_of_lost(&self, id: KeyId) {
        if self.ring().current.is_none() {
            return;
        }
        let mut lost = lock(&self.lost);
        if lost.len() < LOST_MAX && lost.insert(id) {
            let at = self.file.as_ref().map(|file| lock(file).path().display().to_string());
            info!(file = at.as_deref().unwrap_or("none"), key = %hex(&id),
                  "results under a key that is not there cannot be read: their sessions are served without them");
        }
    }

    fn current(&self) -> Result<Arc<DataKey>, StoreUnavailable> {
        let ring = self.ring();
        let key = ring.current.as_ref().map(|sealing| Arc::clone(&sealing.key));
        key.ok_or_else(|| StoreUnavailable("a guest has no key to seal with".to_owned()))
    }

    fn ring(&self) -> std::sync::RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> std::sync::RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Retired {
    fn past(&self, after: Duration, now: Timestamp) -> bool {
        self.since.is_some_and(|since| since.plus(after) <= now)
    }
}

impl DataKey {
    fn new(chance: &Chance) -> Self {
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&chance.draw()[..ID_BYTES]);
        Self::of(&StoredKey { id, bytes: chance.draw() })
    }

    fn of(stored: &StoredKey) -> Self {
        let unbound = UnboundKey::new(&AES_256_GCM, &stored.bytes).expect("the key has 32 bytes");
        // A key of its own for references, so that no key serves two ends.
        let from = hmac::Key::new(hmac::HMAC_SHA256, &stored.bytes);
        let references = hmac::sign(&from, b"hushpad references");
        Self {
            id: stored.id,
            bytes: stored.bytes,
            aead: LessSafeKey::new(unbound),
            references: hmac::Key::new(hmac::HMAC_SHA256, references.as_ref()),
            sealed: AtomicU64::new(0),
        }
    }

    fn stored(&self) -> StoredKey {
        StoredKey { id: self.id, bytes: self.bytes }
    }

    fn seal(&self, mut plain: Vec<u8>) -> Result<Vec<u8>, StoreUnavailable> {
        let counter = self.sealed.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let prefix = prefix(&self.id);
        let sealed = self.aead.seal_in_place_append_tag(nonce(counter), Aad::from(&prefix), &mut plain);
        sealed.map_err(|_| StoreUnavailable("a result is too long to seal".to_owned()))?;
        Ok([prefix.as_slice(), counter.as_slice(), plain.as_slice()].concat())
    }

    fn open(&self, data: &[u8]) -> Option<Vec<u8>> {
        let counter: [u8; COUNTER_BYTES] = data.get(PREFIX_BYTES..HEAD_BYTES)?.try_into().ok()?;
        let mut sealed = data.get(HEAD_BYTES..)?.to_owned();
        let plain =
            self.aead.open_in_place(nonce(counter), Aad::from(&data[..PREFIX_BYTES]), &mut sealed).ok()?;
        let length = plain.len();
        sealed.truncate(length);
        Some(sealed)
    }

    /// 128 bits: enough that no two references meet in a store.
    fn reference_tag(&self, account: &AccountId, reference: &str) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.references);
        context.update(account.as_str().as_bytes());
        context.update(&[0]);
        context.update(reference.as_bytes());
        context.sign().as_ref()[..16].to_vec()
    }
}

/// [`Keys::rotate`] where waiting for the disk harms nobody.
pub(super) async fn rotate(keys: &Arc<Keys>, now: Timestamp) {
    let keys = Arc::clone(keys);
    on_the_side(move || keys.rotate(now)).await;
}

/// [`Keys::destroy_unused`], the same.
pub(super) async fn destroy_unused(keys: &Arc<Keys>, used: Vec<Vec<u8>>, now: Timestamp) {
    let keys = Arc::clone(keys);
    on_the_side(move || keys.destroy_unused(&used, now)).await;
}

async fn on_the_side(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        warn!(%error, "the keys of results were not seen to");
    }
}

fn prefix(id: &KeyId) -> Vec<u8> {
    [&[SEALED], id.as_slice()].concat()
}

fn nonce(counter: [u8; COUNTER_BYTES]) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter);
    Nonce::assume_unique_for_key(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
