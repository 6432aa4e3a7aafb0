//! What our tokens say, and for how long.
//!
//! API tokens and page tokens have different keys, types and audiences, so that one can never be used as
//! the other.

use std::time::Duration;

use hushpad_domain::client::{ApiClient, Principal, SCOPE_GLOBALPCI};
use hushpad_domain::ids::{AccountId, AgentId, ClientId, ProviderSessionGuid};
use hushpad_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::keys::TokenKeys;
use crate::{WebParts, WebSettings};

/// The published life of an access token: `expires_in`.
pub(crate) const ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(7200);
/// Enough for a slow desktop to post the form, little for a thief.
const PAGE_ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(300);

/// Why an access token is refused. The texts are told to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum AccessFault {
    /// Not issued by us for this API, or changed.
    #[error("the access token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the access token has expired")]
    Expired,
    /// It is good, and lacks the scope.
    #[error("the access token lacks the scope globalpci")]
    ScopeMissing,
}

/// Why a page token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageTokenFault {
    /// Not issued by us for a page, or changed.
    Invalid,
    /// Issued for another session.
    OtherSession,
    /// Its time is over.
    Expired,
}

/// The two uses of page tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PageTokenUse {
    /// `agentAccessToken`: opens the page once, soon.
    Access,
    /// `agentRefreshToken`: opens it once more, as long as the session may last.
    Refresh,
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
    iat: i64,
    exp: i64,
    jti: Uuid,
}

/// Claims of a page token.
#[derive(Serialize, Deserialize)]
struct PageClaims {
    iss: String,
    aud: String,
    /// The provider session.
    sub: Uuid,
    #[serde(rename = "use")]
    for_use: PageTokenUse,
    iat: i64,
    exp: i64,
    jti: Uuid,
}

/// An access token for this client.
pub(crate) fn issue_access(parts: &WebParts, client: &ApiClient) -> String {
    let now = parts.world.now();
    parts.keys.api.sign(&AccessClaims {
        iss: parts.settings.issuer.clone(),
        aud: parts.settings.api_base_url.clone(),
        sub: client.id.0.clone(),
        client_id: client.id.0.clone(),
        account: client.account.0.clone(),
        agent: client.agent.as_ref().map(|agent| agent.0.clone()),
        scope: SCOPE_GLOBALPCI.to_owned(),
        iat: now.as_seconds(),
        exp: now.plus(ACCESS_TOKEN_LIFE).as_seconds(),
        jti: parts.world.guid(),
    })
}

/// Who holds this access token.
pub(crate) fn read_access(parts: &WebParts, token: &str) -> Result<Principal, AccessFault> {
    let claims: AccessClaims = parts.keys.api.verify(token).map_err(|_| AccessFault::Invalid)?;
    if claims.iss != parts.settings.issuer || claims.aud != parts.settings.api_base_url {
        return Err(AccessFault::Invalid);
    }
    if parts.world.now().as_seconds() >= claims.exp {
        return Err(AccessFault::Expired);
    }
    if !claims.scope.split(' ').any(|scope| scope == SCOPE_GLOBALPCI) {
        return Err(AccessFault::ScopeMissing);
    }
    Ok(Principal {
        client: ClientId(claims.client_id),
        account: AccountId(claims.account),
        agent: claims.agent.map(AgentId),
    })
}

/// `agentAccessToken` and `agentRefreshToken` of a session that may last as long as `session_life`.
pub(crate) fn issue_page_pair(
    parts: &WebParts,
    session: ProviderSessionGuid,
    session_life: Duration,
) -> (String, String) {
    let now = parts.world.now();
    let sign = |for_use, life| {
        parts.keys.page.sign(&PageClaims {
            iss: parts.settings.issuer.clone(),
            aud: page_audience(&parts.settings),
            sub: session.0,
            for_use,
            iat: now.as_seconds(),
            exp: now.plus(life).as_seconds(),
            jti: parts.world.guid(),
        })
    };
    (
        sign(PageTokenUse::Access, PAGE_ACCESS_TOKEN_LIFE.min(session_life)),
        sign(PageTokenUse::Refresh, session_life),
    )
}

/// Checks a page token of this use for this session.
pub(crate) fn check_page(
    keys: &TokenKeys,
    settings: &WebSettings,
    now: Timestamp,
    session: ProviderSessionGuid,
    for_use: PageTokenUse,
    token: &str,
) -> Result<(), PageTokenFault> {
    let claims: PageClaims = keys.page.verify(token).map_err(|_| PageTokenFault::Invalid)?;
    if claims.iss != settings.issuer || claims.aud != page_audience(settings) || claims.for_use != for_use {
        return Err(PageTokenFault::Invalid);
    }
    if claims.sub != session.0 {
        return Err(PageTokenFault::OtherSession);
    }
    if now.as_seconds() >= claims.exp {
        return Err(PageTokenFault::Expired);
    }
    Ok(())
}

fn page_audience(settings: &WebSettings) -> String {
    format!("{}/view", settings.page_base_url)
}
