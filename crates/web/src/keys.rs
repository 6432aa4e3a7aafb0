//! Keys, all derived from the installation's master key, one per purpose (RFC 5869).

use ring::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::hmac;

use thiserror::Error;

use crate::api_keys::ApiKeys;

/// Parts our derivations from any other use of the same master key.
const SALT: &[u8] = b"hushpad web v1";
const KEY_BYTES: usize = 32;

/// The keys of the web room. No `Debug`: nothing prints them.
pub struct TokenKeys {
    pub(crate) api: ApiKeys,
    spent: hmac::Key,
    page_tokens: hmac::Key,
    client_secrets: hmac::Key,
    request_hashes: hmac::Key,
    kept_answers: LessSafeKey,
    grants: LessSafeKey,
    passwords: hmac::Key,
}

/// A kept answer that was changed, or sealed under another key or for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a kept answer cannot be opened")]
pub(crate) struct NotSealedByUs;

impl TokenKeys {
    /// Derives every key from the master key. The same master key gives the same keys on every node.
    #[must_use]
    pub fn from_master(master: &[u8; 32]) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(master);
        Self {
            spent: hmac::Key::new(hmac::HMAC_SHA256, &derive(&root, b"spent")),
            page_tokens: hmac::Key::new(hmac::HMAC_SHA256, &derive(&root, b"agent page token")),
            client_secrets: hmac::Key::new(hmac::HMAC_SHA256, &derive(&root, b"client secret hash")),
            request_hashes: hmac::Key::new(hmac::HMAC_SHA256, &derive(&root, b"idempotency hash")),
            kept_answers: sealing_key(&root, b"kept answer"),
            grants: sealing_key(&root, b"sign-in grant"),
            passwords: hmac::Key::new(hmac::HMAC_SHA256, &derive(&root, b"agent password")),
            api: ApiKeys::new(root),
        }
    }

    /// HMAC-SHA-256 of these parts, each with its length, so that no two lists read as one.
    pub(crate) fn hash_request(&self, parts: &[&[u8]]) -> [u8; 32] {
        hash_parts(&self.request_hashes, parts)
    }

    /// The same under the key of what is used once.
    pub(crate) fn hash_spent(&self, parts: &[&[u8]]) -> [u8; 32] {
        hash_parts(&self.spent, parts)
    }

    /// The same under the key of page tokens.
    pub(crate) fn hash_page(&self, parts: &[&[u8]]) -> [u8; 32] {
        hash_parts(&self.page_tokens, parts)
    }

    /// Encrypts an answer that is kept (AES-256-GCM, NIST SP 800-38D). `chance` gives the nonce: with 96 random
    /// bits a key is good for 2^32 answers. It opens only with the same `about`.
    pub(crate) fn seal_answer(&self, chance: [u8; 32], about: &[u8], body: Vec<u8>) -> Vec<u8> {
        seal(&self.kept_answers, chance, about, body)
    }

    /// Decrypts what `seal_answer` gave.
    pub(crate) fn open_answer(&self, about: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotSealedByUs> {
        open(&self.kept_answers, about, sealed)
    }

    /// The same for codes and refresh tokens: `about` says which of them it is.
    pub(crate) fn seal_grant(&self, chance: [u8; 32], about: &[u8], body: Vec<u8>) -> Vec<u8> {
        seal(&self.grants, chance, about, body)
    }

    /// Decrypts what `seal_grant` gave.
    pub(crate) fn open_grant(&self, about: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotSealedByUs> {
        open(&self.grants, about, sealed)
    }

    /// What of a password is hashed slowly: without the master key a stolen database does not even let passwords be
    /// tried.
    pub(crate) fn pepper(&self, password: &str) -> [u8; 32] {
        hash_of(hmac::sign(&self.passwords, password.as_bytes()))
    }
}

fn sealing_key(root: &hkdf::Prk, purpose: &'static [u8]) -> LessSafeKey {
    let key = UnboundKey::new(&aead::AES_256_GCM, &derive(root, purpose));
    LessSafeKey::new(key.expect("32 bytes are an AES-256 key"))
}

fn seal(key: &LessSafeKey, chance: [u8; 32], about: &[u8], mut body: Vec<u8>) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    nonce.copy_from_slice(&chance[..NONCE_LEN]);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), &mut body)
        .expect("what we seal is far below the 64 GiB that one nonce is good for");
    [nonce.as_slice(), &body].concat()
}

fn open(key: &LessSafeKey, about: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotSealedByUs> {
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(NotSealedByUs)?;
    let mut body = body.to_vec();
    let opened = key
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(about), &mut body)
        .map_err(|_| NotSealedByUs)?;
    let length = opened.len();
    body.truncate(length);
    Ok(body)
}

/// The keyed hash under which a client's secret is stored (HMAC-SHA-256): without the master key a stolen
/// database does not even let secrets be tried.
#[must_use]
pub fn hash_client_secret(keys: &TokenKeys, secret: &str) -> [u8; 32] {
    hash_of(hmac::sign(&keys.client_secrets, secret.as_bytes()))
}

fn hash_parts(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    hash_of(context.sign())
}

fn hash_of(tag: hmac::Tag) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(tag.as_ref());
    hash
}

fn derive(root: &hkdf::Prk, purpose: &'static [u8]) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    root.expand(&[purpose], hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut key))
        .expect("one SHA-256 block is within what HKDF can give");
    key
}

/// The key of this number for the purpose; number 0 is the purpose's first.
pub(crate) fn derive_numbered(root: &hkdf::Prk, purpose: &'static [u8], number: u32) -> [u8; KEY_BYTES] {
    if number == 0 {
        return derive(root, purpose);
    }
    let mut key = [0; KEY_BYTES];
    root.expand(&[purpose, b" number ", &number.to_be_bytes()], hkdf::HKDF_SHA256)
        .and_then(|material| material.fill(&mut key))
        .expect("one SHA-256 block is within what HKDF can give");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_hash_by_the_master_key_and_nothing_else() {
        let keys = TokenKeys::from_master(&[7; 32]);
        let again = TokenKeys::from_master(&[7; 32]);
        let other = TokenKeys::from_master(&[8; 32]);
        assert_eq!(hash_client_secret(&keys, "s"), hash_client_secret(&again, "s"));
        assert_ne!(hash_client_secret(&keys, "s"), hash_client_secret(&other, "s"));
        assert_ne!(hash_client_secret(&keys, "s"), hash_client_secret(&keys, "t"));
    }

    #[test]
    fn no_two_lists_of_parts_hash_the_same() {
        let keys = TokenKeys::from_master(&[7; 32]);
        let lists: [&[&[u8]]; 5] =
            [&[b"ab", b"c"], &[b"a", b"bc"], &[b"abc"], &[b"abc", b""], &[b"", b"abc"]];
        let mut hashes = lists.map(|parts| keys.hash_request(parts)).to_vec();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), lists.len());
    }

    #[test]
    fn a_kept_answer_opens_for_its_own_request_only_and_only_whole() {
        let keys = TokenKeys::from_master(&[7; 32]);
        let sealed = keys.seal_answer([3; 32], b"about", b"the answer".to_vec());
        assert_eq!(keys.open_answer(b"about", &sealed), Ok(b"the answer".to_vec()));
        assert_eq!(keys.open_answer(b"above", &sealed), Err(NotSealedByUs));
        let other = TokenKeys::from_master(&[8; 32]);
        assert_eq!(other.open_answer(b"about", &sealed), Err(NotSealedByUs));
        for length in 0..sealed.len() {
            assert_eq!(keys.open_answer(b"about", &sealed[..length]), Err(NotSealedByUs));
        }
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(keys.open_answer(b"about", &changed), Err(NotSealedByUs));
        }
    }
}
