//! Access tokens that were verified already: the same token comes with every request of a client for two hours, and a
//! signature check costs more than all else that a request needs before the store.
//!
//! What is kept is a hash of the token and who it speaks for. Its end is looked at each time. Nobody can put
//! anything in here but by a signature that was good.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use ring::digest;

use crate::tokens::Access;

/// Tokens at once: a client needs one at a time, so this is thousands of busy clients in under a megabyte. A full
/// table forgets all, and each token is verified anew once.
const TOKENS_MAX: usize = 4096;

/// SHA-256 of a token as it came.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of this token.
    pub(crate) fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }
}

/// The table.
#[derive(Default)]
pub(crate) struct VerifiedTokens(RwLock<HashMap<TokenHash, Arc<Access>>>);

impl VerifiedTokens {
    /// What the token with this hash says, if it was seen.
    pub(crate) fn find(&self, hash: TokenHash) -> Option<Arc<Access>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned()
    }

    /// Forgets the token with this hash: it was revoked.
    pub(crate) fn forget(&self, hash: TokenHash) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&hash);
    }

    /// Remembers a token whose signature was good.
    pub(crate) fn put(&self, hash: TokenHash, access: &Arc<Access>) {
        // No code under this lock can leave the map half changed.
        let mut tokens = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= TOKENS_MAX {
            tokens.clear();
        }
        tokens.insert(hash, Arc::clone(access));
    }
}

#[cfg(test)]
mod tests {
    use hushpad_domain::client::Principal;
    use hushpad_domain::ids::{AccountId, ClientId};

    use super::*;

    #[test]
    fn the_table_is_bounded_and_finds_only_the_very_token() {
        let table = VerifiedTokens::default();
        let principal =
            Principal { client: ClientId("c".into()), account: AccountId("a".into()), agent: None };
        let access = Arc::new(Access {
            principal: principal.clone(),
            expires_s: 1,
            spent_as: [0; 32],
            sign_in: None,
            certificate: None,
            checked_on: hushpad_domain::time::Timestamp::from_micros(0),
        });
        for number in 0..=TOKENS_MAX {
            table.put(TokenHash::of(&number.to_string()), &access);
        }
        assert!(table.0.read().unwrap().len() <= TOKENS_MAX);
        let last = TokenHash::of(&TOKENS_MAX.to_string());
        assert_eq!(table.find(last).map(|access| access.principal.clone()), Some(principal));
        assert!(table.find(TokenHash::of("other")).is_none());
    }
}
