//! What clients prove themselves with, beside their row: keys that sign tokens, and what can be used once or not any
//! more.

use crate::client::ClientCertificate;
use crate::ids::{AccountId, AgentId, ClientId};
use crate::time::Timestamp;

/// A key that signs access tokens. It is derived from the master key by its number; what is stored is when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SigningKeyNumber {
    /// Its number. 0 needs no row: it counts from the beginning.
    pub number: u32,
    /// It signs from this moment on; until then only its public half is shown, so that everybody has it in time.
    pub active_from: Timestamp,
}

/// Something that must not be used, or not again: a revoked token, an assertion that came. Only its keyed hash is
/// stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The hash.
    pub hash: [u8; 32],
    /// After this it would be refused anyway, and is forgotten.
    pub expires_on: Timestamp,
}

/// A change of what a client proves itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProof {
    /// A new secret; the one before stays good beside it.
    NewSecret(ClientId, [u8; 32]),
    /// Only the newest secret stays good.
    DropOldSecret(ClientId),
    /// The public half of an Ed25519 key for `private_key_jwt`; `None` takes it away.
    PublicKey(ClientId, Option<[u8; 32]>),
    /// What its certificate is known by; `None` takes it away.
    Certificate(ClientId, Option<ClientCertificate>),
}

/// How an agent signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentLogin {
    /// The account.
    pub account: AccountId,
    /// The agent of it.
    pub agent: AgentId,
    /// The password's hash: Argon2id as a PHC string, over a keyed hash of it. Never the password.
    pub password_hash: String,
    /// What was signed in before this moment is over.
    pub since: Timestamp,
    /// When it was revoked; then the agent cannot sign in, and tokens that the sign-in gave open nothing.
    pub revoked_on: Option<Timestamp>,
}
