//! Which account got which stored card through us (G8). A gateway may be one for several accounts: it takes a token from
//! whoever has the merchant's credentials, so it is for us to know whose the token is.

use std::fmt;
use std::time::Duration;

use crate::ids::GatewayName;

/// How long it is known whose a token is, from when a gateway last gave it. Longer than the cards of any scheme are
/// usually valid; who charges a token for longer than that gets it anew.
pub const KEPT_CARD_RETENTION: Duration = Duration::from_secs(5 * 366 * 24 * 60 * 60);

/// What a token is known by: a keyed hash of account and token. The token itself takes money, so it is not kept; nor could
/// a token that was made up be tried against the rows of a stolen store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenHash").finish_non_exhaustive()
    }
}

/// A card that a gateway keeps for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptCard {
    /// The gateway that keeps it.
    pub gateway: GatewayName,
    /// Its token.
    pub token: TokenHash,
    /// The scheme's id of the payment with which it came, which later ones must name. No card data.
    pub network_transaction_id: Option<String>,
}
