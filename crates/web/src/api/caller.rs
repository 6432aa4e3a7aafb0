//! Who is calling: the access token, and the client's allowance of requests.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use hushpad_domain::ids::ClientId;

use super::Api;
use crate::PeerCertificate;
use crate::error::ApiError;
use crate::rate::{Allowances, Left};
use crate::tokens::{Access, AccessFault, read_access};

pub(super) const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(super) const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Lets a request through with what its token says among its extensions, or not at all.
pub(super) async fn authorise(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let shown = request.extensions().get::<PeerCertificate>().map(|shown| shown.thumbprint);
    let access = match access(&api, request.headers(), shown).await {
        Ok(access) => access,
        Err(error) => return error.into_response(),
    };
    let taken = api.per_client.take(&access.principal.client, api.parts.world.now());
    request.extensions_mut().insert(access.principal.clone());
    request.extensions_mut().insert(access);
    let (mut response, left) = match taken {
        Ok(left) => (next.run(request).await, left),
        Err(exhausted) => (
            ApiError::RateLimited(exhausted).into_response(),
            Left { remaining: 0, full_in_s: api.per_client.window_s() },
        ),
    };
    tell_allowance(&api, left, response.headers_mut());
    response
}

/// The token is taken from the header only: never from the query string or the body (RFC 9700, 4.3.2).
async fn access(api: &Api, headers: &HeaderMap, shown: Option<[u8; 32]>) -> Result<Arc<Access>, ApiError> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return Err(ApiError::TokenMissing);
    };
    let (scheme, token) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(ApiError::TokenMissing)?;
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(ApiError::TokenMissing);
    }
    let access = read_access(&api.parts, &api.verified, token.trim()).await.map_err(ApiError::Token)?;
    // A stolen token without its certificate's key opens nothing (RFC 8705, 3).
    match access.certificate {
        Some(bound) if shown != Some(bound) => Err(ApiError::Token(AccessFault::Invalid)),
        Some(_) | None => Ok(access),
    }
}

/// draft-ietf-httpapi-ratelimit-headers-10.
fn tell_allowance(api: &Api, left: Left, headers: &mut HeaderMap) {
    if let Some(policy) = &api.rate_policy {
        headers.insert(RATE_LIMIT_POLICY, policy.clone());
    }
    let now = format!(r#""client";r={};t={}"#, left.remaining, left.full_in_s);
    if let Ok(now) = HeaderValue::from_maybe_shared(Bytes::from(now)) {
        headers.insert(RATE_LIMIT, now);
    }
}

/// What each client may do: the same for all, as long as the process runs.
pub(super) fn rate_policy(per_client: &Allowances<ClientId>) -> Option<HeaderValue> {
    let policy = format!(r#""client";q={};w={}"#, per_client.burst(), per_client.window_s());
    HeaderValue::try_from(policy).ok()
}
