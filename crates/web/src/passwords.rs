//! Agents' passwords: Argon2id (RFC 9106) over a keyed hash.

use argon2::password_hash::{PasswordHash, SaltString};
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

use crate::keys::TokenKeys;

/// How long a password may be. NIST SP 800-63B-4, 3.1.1.2 asks for 15 at least where it stands alone.
pub const PASSWORD_CHARS: std::ops::RangeInclusive<usize> = 15..=128;
/// OWASP's minimum for Argon2id: 19 MiB, two passes, one lane. About 30 ms on one core.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// What an unknown agent's password is compared with, so that it takes as long. No password has this hash.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5bm9ib2R5bm9ib2R5bm9ib2Q$\
                       AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// The hash of a password, as a PHC string; `salt` is chance. `None` when the parameters are refused, which they are
/// not.
#[must_use]
pub fn hash_password(keys: &TokenKeys, password: &str, salt: [u8; 32]) -> Option<String> {
    let salt = SaltString::encode_b64(&salt[..16]).ok()?;
    let hash = hasher()?.hash_password(&keys.pepper(password), &salt).ok()?;
    Some(hash.to_string())
}

/// Whether this is the password behind the hash; takes as long when there is none.
pub(crate) fn is_password(keys: &TokenKeys, password: &str, hash: Option<&str>) -> bool {
    let good = PasswordHash::new(hash.unwrap_or(NOBODYS))
        .ok()
        .zip(hasher())
        .is_some_and(|(hash, hasher)| hasher.verify_password(&keys.pepper(password), &hash).is_ok());
    good && hash.is_some()
}

fn hasher() -> Option<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).ok()?;
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_under_its_master_key_only() {
        let keys = TokenKeys::from_master(&[1; 32]);
        let hash = hash_password(&keys, "correct horse battery", [7; 32]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(is_password(&keys, "correct horse battery", Some(&hash)));
        assert!(!is_password(&keys, "correct horse batterz", Some(&hash)));
        assert!(!is_password(&TokenKeys::from_master(&[2; 32]), "correct horse battery", Some(&hash)));
        assert!(!is_password(&keys, "correct horse battery", None));
        assert!(!is_password(&keys, "", Some("no hash")));
        // The stand-in is a whole hash: it costs what a real one costs.
        assert!(PasswordHash::new(NOBODYS).is_ok_and(|hash| hash.hash.is_some() && hash.salt.is_some()));
    }
}
