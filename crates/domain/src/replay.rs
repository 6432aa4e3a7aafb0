//! The first answers to requests that carry an `Idempotency-Key`: told again when the request comes again.
//!
//! Nothing here can be read back into what a caller sent: the key and the request are keyed hashes, and the
//! answer is sealed before it comes here.

use std::time::Duration;

use crate::ids::{AccountId, ClientId, SessionGuid};

/// How long an answer is told again, counted from its request's beginning.
pub const REPLAY_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// Whose key this is, and which: no account, and no client within it, meets another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReplayKey {
    /// The account that the request acts for.
    pub account: AccountId,
    /// The client that sent it.
    pub client: ClientId,
    /// HMAC-SHA-256 of the key; never the key.
    pub key_hash: [u8; 32],
}

/// A request that wants to be the first with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstRequest {
    /// Its key.
    pub key: ReplayKey,
    /// HMAC-SHA-256 of its method, path and body.
    pub fingerprint: [u8; 32],
    /// The guid that its session will have, if it opens one. Promised before anything is done, so that after
    /// a crash it can be told whether the request got as far as that.
    pub session: SessionGuid,
}

/// What a request with a key finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is the first, and the key is now taken: do it, then `finish` or `abandon`.
    First,
    /// The first is under way.
    InFlight,
    /// The process that did the first ended before its answer was kept, and after this session was stored.
    Interrupted(SessionGuid),
    /// The key was used for another request.
    Mismatch,
    /// The answer that the first one got.
    Answered(StoredAnswer),
}

/// An answer as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body, encrypted: it may hold page tokens.
    pub sealed_body: Vec<u8>,
}
