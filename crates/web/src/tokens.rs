//! What our tokens say, and for how long.
//!
//! API tokens are JWTs. Page tokens are opaque, under a key and for an audience of their own, so that one can
//! never be used as the other.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hushpad_domain::client::{ApiClient, Principal, SCOPE_GLOBALPCI};
use hushpad_domain::ids::{AccountId, AgentId, ClientId, LinkPageGuid, ProviderSessionGuid};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use thiserror::Error;
use uuid::Uuid;

use crate::keys::TokenKeys;
use crate::sign_in::SignIn;
use crate::verified::{TokenHash, VerifiedTokens};
use crate::{WebParts, WebSettings};

/// The published life of an access token: `expires_in`.
pub(crate) const ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(7200);
/// Enough for a slow desktop to post the form, little for a thief.
const PAGE_ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(300);

/// How soon a revocation by another process, or by the command line, is noticed.
const RECHECK_AFTER: Duration = Duration::from_secs(5);
/// Use, end, and keyed hash.
const PAGE_TOKEN_BYTES: usize = 1 + 8 + 32;

/// Why an access token is refused. The texts are told to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum AccessFault {
    /// Not issued by us for this API, or changed.
    #[error("the access token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
    /// Whether it was revoked cannot be told just now.
    #[error("the service cannot check the access token just now")]
    Unavailable,
    /// It is good, and lacks the scope.
    #[error("the access token lacks the scope globalpci")]
    ScopeMissing,
}

/// Why a page token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageTokenFault {
    /// Not issued by us for this page and this use, or changed.
    Invalid,
    /// Its time is over.
    Expired,
}

/// Which page of the payment host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PageId {
    /// The agent page of a session.
    Payment(ProviderSessionGuid),
    /// The page that shows a link code.
    Link(LinkPageGuid),
}

impl PageId {
    /// Its address, to be opened as a window of its own; with `/framed` at its end, in a frame.
    pub(crate) fn url(self, settings: &WebSettings) -> String {
        format!("{}/{}", self.audience(settings), self.guid())
    }

    /// Pages of one kind: a token for the one opens no other.
    fn audience(self, settings: &WebSettings) -> String {
        let kind = match self {
            Self::Payment(_) => "view",
            Self::Link(_) => "link",
        };
        format!("{}/{kind}", settings.page_base_url)
    }

    fn guid(self) -> Uuid {
        match self {
            Self::Payment(ProviderSessionGuid(guid)) | Self::Link(LinkPageGuid(guid)) => guid,
        }
    }
}

/// The two uses of page tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageTokenUse {
    /// `agentAccessToken`: opens the page once, soon.
    Access,
    /// `agentRefreshToken`: opens it once more, as long as the page may last.
    Refresh,
}

impl PageTokenUse {
    fn byte(self) -> u8 {
        match self {
            Self::Access => b'A',
            Self::Refresh => b'R',
        }
    }
}

/// Claims of an access token (RFC 9068, 2.2).
#[derive(Serialize, Deserialize)]
struct AccessClaims {
    iss: String,
    aud: String,
    sub: String,
    client_id: String,
    account: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    scope: String,
    /// The sign-in that it comes from; a back end's token has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<Uuid>,
    /// When the agent signed in (RFC 9068, 2.2.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    /// The certificate that it is bound to (RFC 8705, 3.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cnf: Option<Confirmation>,
    iat: i64,
    exp: i64,
    jti: Uuid,
}

#[derive(Serialize, Deserialize)]
struct Confirmation {
    #[serde(rename = "x5t#S256")]
    thumbprint: String,
}

/// What an access token is given for.
pub(crate) struct Grant<'a> {
    pub(crate) client: &'a ApiClient,
    /// The agent's sign-in, where there was one.
    pub(crate) sign_in: Option<&'a SignIn>,
    /// The certificate that the client proved itself by.
    pub(crate) certificate: Option<[u8; 32]>,
    pub(crate) life: Duration,
}

/// An access token for this.
pub(crate) fn issue_access(parts: &WebParts, grant: &Grant<'_>) -> String {
    let Grant { client, sign_in, certificate, life } = grant;
    let now = parts.world.now();
    let agent = sign_in.map(|sign_in| &sign_in.agent).or(client.agent.as_ref());
    let claims = AccessClaims {
        iss: parts.settings.issuer.clone(),
        aud: parts.settings.api_base_url.clone(),
        sub: sign_in.map_or_else(|| client.id.0.clone(), |sign_in| sign_in.agent.0.clone()),
        client_id: client.id.0.clone(),
        account: client.account.0.clone(),
        agent: agent.map(|agent| agent.0.clone()),
        scope: SCOPE_GLOBALPCI.to_owned(),
        family: sign_in.map(|sign_in| sign_in.family),
        auth_time: sign_in.map(|sign_in| sign_in.at_s),
        cnf: certificate.map(|thumbprint| Confirmation { thumbprint: URL_SAFE_NO_PAD.encode(thumbprint) }),
        iat: now.as_seconds(),
        exp: now.plus(*life).as_seconds(),
        jti: parts.world.guid(),
    };
    parts.keys.api.sign(&claims, now)
}

/// What a good access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Who holds it.
    pub(crate) principal: Principal,
    /// When it ends, in seconds since the Unix epoch.
    pub(crate) expires_s: i64,
    /// Its keyed hash, under which it is revoked.
    pub(crate) spent_as: [u8; 32],
    /// The agent's sign-in that it comes from.
    pub(crate) sign_in: Option<SignIn>,
    /// SHA-256 of the certificate without which it opens nothing.
    pub(crate) certificate: Option<[u8; 32]>,
    /// When the store was last asked whether it and its client are revoked.
    pub(crate) checked_on: Timestamp,
}

/// What this access token says. One that was verified before is only looked up; whether it was revoked is asked again
/// after [`RECHECK_AFTER`].
pub(crate) async fn read_access(
    parts: &WebParts,
    verified: &VerifiedTokens,
    token: &str,
) -> Result<Arc<Access>, AccessFault> {
    let hash = TokenHash::of(token);
    let now = parts.world.now();
    let known = verified.find(hash);
    let access = match known {
        Some(access) if is_fresh(&access, now) => access,
        known => {
            let mut access = match known {
                Some(access) => Access::clone(&access),
                None => verify_access(parts, token).await?,
            };
            if now.as_seconds() < access.expires_s {
                still_good(parts, &access).await?;
            }
            access.checked_on = now;
            let access = Arc::new(access);
            verified.put(hash, &access);
            access
        }
    };
    if now.as_seconds() >= access.expires_s {
        return Err(AccessFault::Expired);
    }
    Ok(access)
}

/// A clock that jumped back asks again.
fn is_fresh(access: &Access, now: Timestamp) -> bool {
    access.checked_on <= now && now < access.checked_on.plus(RECHECK_AFTER)
}

/// Neither the token nor its client is revoked.
async fn still_good(parts: &WebParts, access: &Access) -> Result<(), AccessFault> {
    let unavailable = |error: StoreUnavailable| {
        tracing::error!(%error, "a token could not be checked");
        AccessFault::Unavailable
    };
    if parts.credentials.is_spent(access.spent_as).await.map_err(unavailable)? {
        return Err(AccessFault::Invalid);
    }
    if let Some(sign_in) = &access.sign_in
        && !sign_in.is_good(parts, &access.principal.account).await.map_err(unavailable)?
    {
        return Err(AccessFault::Invalid);
    }
    let client = parts.clients.client(&access.principal.client).await.map_err(unavailable)?;
    match client.filter(|client| client.revoked_on.is_none()) {
        Some(_) => Ok(()),
        None => Err(AccessFault::Invalid),
    }
}

/// Everything of a token that does not change with time.
pub(crate) async fn verify_access(parts: &WebParts, token: &str) -> Result<Access, AccessFault> {
    let now = parts.world.now();
    know_keys(parts).await.map_err(|_| AccessFault::Unavailable)?;
    let claims: AccessClaims = parts.keys.api.verify(token, now).map_err(|_| AccessFault::Invalid)?;
    if claims.iss != parts.settings.issuer || claims.aud != parts.settings.api_base_url {
        return Err(AccessFault::Invalid);
    }
    if !claims.scope.split(' ').any(|scope| scope == SCOPE_GLOBALPCI) {
        return Err(AccessFault::ScopeMissing);
    }
    let agent = claims.agent.map(AgentId);
    let sign_in = match (claims.family, claims.auth_time, &agent) {
        (Some(family), Some(at_s), Some(agent)) => Some(SignIn { agent: agent.clone(), family, at_s }),
        (None, None, _) => None,
        (_, _, _) => return Err(AccessFault::Invalid),
    };
    let thumbprint = claims.cnf.map(|bound| URL_SAFE_NO_PAD.decode(bound.thumbprint)).transpose();
    let thumbprint = thumbprint.map_err(|_| AccessFault::Invalid)?.map(<[u8; 32]>::try_from).transpose();
    Ok(Access {
        sign_in,
        certificate: thumbprint.map_err(|_| AccessFault::Invalid)?,
        spent_as: parts.keys.hash_spent(&[b"token", claims.jti.as_bytes()]),
        principal: Principal {
            client: ClientId(claims.client_id),
            account: AccountId(claims.account),
            agent,
        },
        expires_s: claims.exp,
        checked_on: now,
    })
}

/// Takes over the signing keys that the store knows, unless that was done a moment ago. A new key signs a minute after
/// it was added, so what a moment ago was known is enough.
pub(crate) async fn know_keys(parts: &WebParts) -> Result<(), StoreUnavailable> {
    let now = parts.world.now();
    if parts.keys.api.is_to_ask(now, RECHECK_AFTER) {
        parts.keys.api.know(&parts.credentials.signing_keys().await?, now);
    }
    Ok(())
}

/// `agentAccessToken` and `agentRefreshToken` of a page that may last as long as `page_life`.
///
/// They are no JWTs: nobody but the payment host reads them, so they are a use, an end and a keyed hash of both
/// with page and audience. Nothing in them can be chosen, and two signatures per session are saved.
pub(crate) fn issue_page_pair(parts: &WebParts, page: PageId, page_life: Duration) -> (String, String) {
    let now = parts.world.now();
    let issue = |for_use, life| {
        let exp = now.plus(life).as_seconds();
        let tag = page_tag(&parts.keys, &parts.settings, page, for_use, exp);
        let mut token = [0; PAGE_TOKEN_BYTES];
        token[0] = for_use.byte();
        token[1..9].copy_from_slice(&exp.to_be_bytes());
        token[9..].copy_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(token)
    };
    (
        issue(PageTokenUse::Access, PAGE_ACCESS_TOKEN_LIFE.min(page_life)),
        issue(PageTokenUse::Refresh, page_life),
    )
}

/// Checks a token of this use for this page.
pub(crate) fn check_page(
    keys: &TokenKeys,
    settings: &WebSettings,
    now: Timestamp,
    page: PageId,
    for_use: PageTokenUse,
    token: &str,
) -> Result<(), PageTokenFault> {
    let mut bytes = [0; PAGE_TOKEN_BYTES + 2];
    let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).map_err(|_| PageTokenFault::Invalid)?;
    let (Some([kind]), Some(exp), Some(tag), PAGE_TOKEN_BYTES) =
        (bytes.first_chunk(), bytes[1..].first_chunk(), bytes[9..].first_chunk::<32>(), length)
    else {
        return Err(PageTokenFault::Invalid);
    };
    let exp = i64::from_be_bytes(*exp);
    let expected = page_tag(keys, settings, page, for_use, exp);
    if *kind != for_use.byte() || !bool::from(tag.ct_eq(&expected)) {
        return Err(PageTokenFault::Invalid);
    }
    if now.as_seconds() >= exp {
        return Err(PageTokenFault::Expired);
    }
    Ok(())
}

fn page_tag(
    keys: &TokenKeys,
    settings: &WebSettings,
    page: PageId,
    for_use: PageTokenUse,
    exp: i64,
) -> [u8; 32] {
    let (audience, guid) = (page.audience(settings), page.guid());
    keys.hash_page(&[audience.as_bytes(), guid.as_bytes(), &[for_use.byte()], &exp.to_be_bytes()])
}
