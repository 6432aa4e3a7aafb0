//! An agent's sign-in and what comes of it: a code, then tokens, then fresh ones (OAuth 2.1 as RFC 9700 wants it:
//! authorization code with PKCE, S256 only).
//!
//! Codes and refresh tokens are sealed statements, so nothing is kept of them but that they were used. All that comes of one
//! sign-in is one family: it ends as a whole when a code or a refresh token comes a second time, when it is revoked, when
//! the agent's password changes, and twelve hours after the sign-in.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hushpad_domain::credentials::Spent;
use hushpad_domain::ids::{AccountId, AgentId, ClientId};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;
use ring::digest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::WebParts;

/// From the sign-in page to the token endpoint is one redirect.
const CODE_LIFE: Duration = Duration::from_secs(60);
/// One shift: then the agent signs in again.
const FAMILY_LIFE: Duration = Duration::from_secs(12 * 3600);
/// Browsers leak; their tokens live for minutes and are refreshed.
pub(crate) const BROWSER_TOKEN_LIFE: Duration = Duration::from_secs(900);
/// Ours have about 500 characters.
const SEALED_CHARS_MAX: usize = 2048;
/// RFC 7636, 4.1.
const VERIFIER_CHARS: std::ops::RangeInclusive<usize> = 43..=128;
/// SHA-256 in base64url.
const CHALLENGE_CHARS: usize = 43;
const CODE: &[u8] = b"authorization code";
const REFRESH: &[u8] = b"refresh token";

/// Who signed in, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignIn {
    pub(crate) agent: AgentId,
    /// One for all that comes of it.
    pub(crate) family: Uuid,
    /// In seconds since the Unix epoch.
    pub(crate) at_s: i64,
}

/// What a code is sealed over.
#[derive(Serialize, Deserialize)]
pub(crate) struct Code {
    pub(crate) client: ClientId,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Challenge,
    pub(crate) sign_in: SignIn,
    expires_s: i64,
}

/// What a refresh token is sealed over.
#[derive(Serialize, Deserialize)]
struct Refresh {
    client: ClientId,
    sign_in: SignIn,
    /// Parts it from the family's others.
    no: Uuid,
}

/// The challenge of PKCE: SHA-256 of what only the client knows.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Challenge(String);

/// Why a code or a refresh token gives nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantFault {
    /// Not ours, another client's, used, revoked, or too old.
    Invalid,
    /// Nobody can tell just now.
    Unavailable,
}

impl From<StoreUnavailable> for GrantFault {
    fn from(error: StoreUnavailable) -> Self {
        tracing::error!(%error, "a sign-in could not be checked");
        Self::Unavailable
    }
}

impl Challenge {
    /// 43 characters of base64url, or it is none.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let whole = text.len() == CHALLENGE_CHARS && URL_SAFE_NO_PAD.decode(text).is_ok();
        whole.then(|| Self(text.to_owned()))
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn fits(&self, verifier: &str) -> bool {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let hash = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        VERIFIER_CHARS.contains(&verifier.len())
            && verifier.bytes().all(unreserved)
            && bool::from(hash.as_bytes().ct_eq(self.0.as_bytes()))
    }
}

impl SignIn {
    /// A new one, now.
    pub(crate) fn new(parts: &WebParts, agent: AgentId) -> Self {
        Self { agent, family: parts.world.guid(), at_s: parts.world.now().as_seconds() }
    }

    /// Whether what came of it still counts: not ended, and neither the agent's password nor the right to sign in has
    /// changed since.
    pub(crate) async fn is_good(
        &self,
        parts: &WebParts,
        account: &AccountId,
    ) -> Result<bool, StoreUnavailable> {
        if parts.credentials.is_spent(self.spent_as(parts)).await? {
            return Ok(false);
        }
        let login = parts.credentials.login(account, &self.agent).await?;
        Ok(login.is_some_and(|login| login.revoked_on.is_none() && login.since.as_seconds() <= self.at_s))
    }

    /// Ends all that came of it.
    pub(crate) async fn end(&self, parts: &WebParts) -> Result<(), StoreUnavailable> {
        let ended = Spent { hash: self.spent_as(parts), expires_on: self.ends_on() };
        parts.credentials.spend(ended).await.map(|_| ())
    }

    fn spent_as(&self, parts: &WebParts) -> [u8; 32] {
        parts.keys.hash_spent(&[b"sign-in", self.family.as_bytes()])
    }

    /// With its last access token.
    fn ends_on(&self) -> Timestamp {
        seconds(self.at_s).plus(FAMILY_LIFE).plus(BROWSER_TOKEN_LIFE)
    }
}

/// A code for the client's page to come back with.
pub(crate) fn issue_code(
    parts: &WebParts,
    client: ClientId,
    redirect_uri: String,
    challenge: Challenge,
    sign_in: SignIn,
) -> String {
    let expires_s = parts.world.now().plus(CODE_LIFE).as_seconds();
    seal(parts, CODE, &Code { client, redirect_uri, challenge, sign_in, expires_s })
}

/// What the code was given for. It is good once; when it comes again, all that it gave ends (RFC 9700, 2.1.1).
pub(crate) async fn redeem_code(
    parts: &WebParts,
    client: &ClientId,
    code: &str,
    redirect_uri: &str,
    verifier: &str,
) -> Result<SignIn, GrantFault> {
    let read: Code = open(parts, CODE, code).ok_or(GrantFault::Invalid)?;
    if read.client != *client {
        return Err(GrantFault::Invalid);
    }
    let spent =
        Spent { hash: parts.keys.hash_spent(&[CODE, code.as_bytes()]), expires_on: read.sign_in.ends_on() };
    if parts.credentials.is_spent(spent.hash).await? {
        return Err(came_twice(parts, &read.sign_in).await);
    }
    let good = parts.world.now().as_seconds() < read.expires_s
        && read.redirect_uri == redirect_uri
        && read.challenge.fits(verifier);
    if !good {
        return Err(GrantFault::Invalid);
    }
    if !parts.credentials.spend(spent).await? {
        return Err(came_twice(parts, &read.sign_in).await);
    }
    Ok(read.sign_in)
}

/// A refresh token of this sign-in.
pub(crate) fn issue_refresh(parts: &WebParts, client: &ClientId, sign_in: &SignIn) -> String {
    let refresh = Refresh { client: client.clone(), sign_in: sign_in.clone(), no: parts.world.guid() };
    seal(parts, REFRESH, &refresh)
}

/// The sign-in of a refresh token, which is good once: when it comes again, one of the two who hold it has stolen it, and
/// the whole family ends (RFC 9700, 4.14.2).
pub(crate) async fn redeem_refresh(
    parts: &WebParts,
    client: &ClientId,
    account: &AccountId,
    token: &str,
) -> Result<SignIn, GrantFault> {
    let Refresh { sign_in, .. } = read_refresh(parts, client, token).ok_or(GrantFault::Invalid)?;
    let over = seconds(sign_in.at_s).plus(FAMILY_LIFE) <= parts.world.now();
    if over || !sign_in.is_good(parts, account).await? {
        return Err(GrantFault::Invalid);
    }
    let spent =
        Spent { hash: parts.keys.hash_spent(&[REFRESH, token.as_bytes()]), expires_on: sign_in.ends_on() };
    if !parts.credentials.spend(spent).await? {
        return Err(came_twice(parts, &sign_in).await);
    }
    Ok(sign_in)
}

/// The sign-in that a refresh token of this client belongs to, used or not.
pub(crate) fn sign_in_of(parts: &WebParts, client: &ClientId, token: &str) -> Option<SignIn> {
    read_refresh(parts, client, token).map(|refresh| refresh.sign_in)
}

fn read_refresh(parts: &WebParts, client: &ClientId, token: &str) -> Option<Refresh> {
    open(parts, REFRESH, token).filter(|refresh: &Refresh| refresh.client == *client)
}

async fn came_twice(parts: &WebParts, sign_in: &SignIn) -> GrantFault {
    tracing::warn!(agent = %sign_in.agent, "a code or refresh token came a second time: its sign-in is ended");
    match sign_in.end(parts).await {
        Ok(()) => GrantFault::Invalid,
        Err(error) => error.into(),
    }
}

fn seal<T: Serialize>(parts: &WebParts, about: &[u8], value: &T) -> String {
    let body = serde_json::to_vec(value).expect("grants are structs of texts and numbers");
    URL_SAFE_NO_PAD.encode(parts.keys.seal_grant(parts.world.secret(), about, body))
}

fn open<T: DeserializeOwned>(parts: &WebParts, about: &[u8], text: &str) -> Option<T> {
    if text.len() > SEALED_CHARS_MAX {
        return None;
    }
    let body = parts.keys.open_grant(about, &URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    serde_json::from_slice(&body).ok()
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000))
}
