//! What belongs to OAuth beside the token endpoint: revocation (RFC 7009), metadata (RFC 8414) and keys (RFC 7517).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hushpad_domain::client::SCOPE_GLOBALPCI;
use hushpad_domain::credentials::Spent;
use hushpad_domain::time::Timestamp;
use serde_json::{Value, json};

use super::client_proof::{authenticate, public_client};
use super::endpoint::{Access, Endpoint, Operation};
use super::json::json_reply;
use super::token::{GRANT_TYPES, TokenError, not_stored, read_form, source_of};
use super::{Api, TOKEN_PATH};
use crate::error::ApiError;
use crate::page::SIGN_IN_PATH;
use crate::sign_in::{GrantFault, sign_in_of};
use crate::tokens::{know_keys, verify_access};
use crate::verified::TokenHash;

/// This file's endpoints.
pub(super) fn endpoints() -> Vec<Endpoint> {
    let text = json!({"type": "string"});
    let revoke = Operation::new(
        "revoke",
        "Revoke a token (RFC 7009); with a refresh token, all that came of its sign-in. What is no token of the client is \
         no mistake: it is of no use already.",
    )
    .form(
        &json!({
            "type": "object",
            "required": ["token"],
            "properties": {
                "token": text, "token_type_hint": text, "client_id": text, "client_secret": text,
                "client_assertion": text, "client_assertion_type": text,
            },
        }),
        &json!({
            "token": "a token",
            "client_id": "the client's id",
            "client_secret": "the client's secret",
        }),
    )
    .reply(200, "It opens nothing any more", "application/json", &json!({"type": "object"}))
    .oauth_errors(&[400, 401, 429, 503]);
    let metadata = Operation::new("oauthMetadata", "What the authorization server can do (RFC 8414).").reply(
        200,
        "The metadata",
        "application/json",
        &json!({"type": "object", "required": ["issuer", "token_endpoint", "jwks_uri"]}),
    );
    let keys = Operation::new("jwks", "The keys that sign access tokens (RFC 7517), the next one in time.")
        .reply(200, "The keys", "application/json", &json!({"type": "object", "required": ["keys"]}));
    vec![
        Endpoint::post("/oauth/revoke", revoke_token, revoke).open_to(Access::ClientSecret),
        Endpoint::get("/.well-known/oauth-authorization-server", metadata_reply, metadata)
            .open_to(Access::Public),
        Endpoint::get("/.well-known/jwks.json", keys_reply, keys.refusals(&[503])).open_to(Access::Public),
    ]
}

async fn revoke_token(State(api): State<Arc<Api>>, request: Request) -> Response {
    not_stored(revoke(&api, request).await.map(|()| json!({})))
}

async fn revoke(api: &Api, request: Request) -> Result<(), TokenError> {
    let source = source_of(&request);
    let (head, form) = read_form(request).await?;
    let client = match public_client(api, &head, &form, source).await? {
        Some(client) => client,
        None => authenticate(api, &head, &form, source).await?,
    };
    let token = form.get("token").ok_or(TokenError::InvalidRequest("token is missing"))?;
    let parts = &api.parts;
    if let Some(sign_in) = sign_in_of(parts, &client.id, token) {
        return Ok(sign_in.end(parts).await.map_err(GrantFault::from)?);
    }
    // Another client's token is not this one's to revoke; it is not even told that it exists.
    let Ok(access) = verify_access(parts, token).await else { return Ok(()) };
    if access.principal.client != client.id {
        return Ok(());
    }
    let expires_on = Timestamp::from_micros(access.expires_s.saturating_mul(1_000_000));
    let spent = Spent { hash: access.spent_as, expires_on };
    parts.credentials.spend(spent).await.map_err(|error| {
        tracing::error!(%error, "a token could not be revoked");
        TokenError::Unavailable
    })?;
    api.verified.forget(TokenHash::of(token));
    Ok(())
}

async fn metadata_reply(State(api): State<Arc<Api>>) -> Response {
    json_reply(&metadata(&api))
}

fn metadata(api: &Api) -> Value {
    let settings = &api.parts.settings;
    let base = &settings.api_base_url;
    let mut methods = vec!["client_secret_basic", "client_secret_post", "private_key_jwt"];
    if settings.certificates_base_url.is_some() {
        methods.extend(["tls_client_auth", "self_signed_tls_client_auth"]);
    }
    // Public clients have nothing to prove themselves by.
    methods.push("none");
    let mut metadata = json!({
        "issuer": settings.issuer,
        "authorization_endpoint": format!("{}{SIGN_IN_PATH}", settings.page_base_url),
        "token_endpoint": format!("{base}{TOKEN_PATH}"),
        "jwks_uri": format!("{base}/.well-known/jwks.json"),
        "revocation_endpoint": format!("{base}/oauth/revoke"),
        "scopes_supported": [SCOPE_GLOBALPCI],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "grant_types_supported": GRANT_TYPES,
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ["EdDSA"],
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": ["EdDSA"],
        "service_documentation": format!("{base}/docs"),
    });
    if let Some(base) = &settings.certificates_base_url {
        metadata["tls_client_certificate_bound_access_tokens"] = json!(true);
        metadata["mtls_endpoint_aliases"] = json!({
            "token_endpoint": format!("{base}{TOKEN_PATH}"),
            "revocation_endpoint": format!("{base}/oauth/revoke"),
        });
    }
    metadata
}

async fn keys_reply(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    know_keys(&api.parts).await?;
    Ok(json_reply(&json!({"keys": api.parts.keys.api.public(api.parts.world.now())})))
}
