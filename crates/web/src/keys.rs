//! Keys, all derived from the installation's master key, one per purpose (RFC 5869).

use ring::hkdf;
use ring::hmac;

use crate::jwt::{SigningKey, TokenType};

/// Parts our derivations from any other use of the same master key.
const SALT: &[u8] = b"hushpad web v1";
const KEY_BYTES: usize = 32;

/// The keys of the web room. No `Debug`: nothing prints them.
pub struct TokenKeys {
    pub(crate) api: SigningKey,
    pub(crate) page: SigningKey,
    client_secrets: hmac::Key,
}

impl TokenKeys {
    /// Derives every key from the master key. The same master key gives the same keys on every node.
    #[must_use]
    pub fn from_master(master: &[u8; 32]) -> Self {
        let root = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(master);
        Self {
            api: SigningKey::from_seed(&derive(&root, b"api access token"), TokenType::Access),
            page: SigningKey::from_seed(&derive(&root, b"agent page token"), TokenType::Page),
            client_secrets: hmac::Key::new(hmac::HMAC_SHA256, &derive(&root, b"client secret hash")),
        }
    }
}

/// The keyed hash under which a client's secret is stored (HMAC-SHA-256): without the master key a stolen
/// database does not even let secrets be tried.
#[must_use]
pub fn hash_client_secret(keys: &TokenKeys, secret: &str) -> [u8; 32] {
    let tag = hmac::sign(&keys.client_secrets, secret.as_bytes());
    let mut hash = [0; KEY_BYTES];
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
}
