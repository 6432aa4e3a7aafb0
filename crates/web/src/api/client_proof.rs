//! How a client proves that it is one: by its secret in the form or by HTTP Basic (RFC 6749, 2.3), by an assertion
//! that it signed (`private_key_jwt`: RFC 7523, OpenID Connect Core 9), or by its certificate (RFC 8705).

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use hushpad_domain::client::{ApiClient, ClientCertificate};
use hushpad_domain::credentials::Spent;
use hushpad_domain::ids::ClientId;
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::token::{Form, TokenError};
use super::{Api, TOKEN_PATH};
use crate::jwt::{unverified_claims, verify_assertion};
use crate::keys::hash_client_secret;
use crate::{PeerCertificate, WebParts};

/// Longer than any id and secret that we make.
const CREDENTIAL_CHARS_MAX: usize = 256;
/// An assertion that lives longer than this is no proof that its key is still in good hands.
const ASSERTION_LIFE_MAX_S: i64 = 600;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How a client presented itself.
enum Proof {
    Secret { secret: String, basic: bool },
    Assertion(String),
    Certificate(PeerCertificate),
}

/// The client that sent this request.
pub(super) async fn authenticate(
    api: &Api,
    head: &Parts,
    form: &Form,
    source: Option<IpAddr>,
) -> Result<ApiClient, TokenError> {
    let WebParts { clients, world, .. } = &*api.parts;
    let (id, proof) = presented(head, form)?;
    let basic = matches!(proof, Proof::Secret { basic: true, .. });
    api.token_failures.check(&id, source, world.now()).map_err(TokenError::TooManyFailures)?;
    // An unknown or revoked client costs what a known one costs: one look-up, one hash, one comparison.
    let known = clients.client(&id).await.map_err(unavailable)?;
    let known = known.filter(|client| client.revoked_on.is_none());
    let proved = match &proof {
        Proof::Secret { secret, .. } => is_secret_of(api, known.as_ref(), secret),
        Proof::Assertion(assertion) => is_assertion_of(api, known.as_ref(), assertion).await?,
        Proof::Certificate(shown) => is_certificate_of(known.as_ref(), shown),
    };
    match known {
        Some(client) if proved => Ok(client),
        Some(_) | None => {
            api.token_failures.count(&id, source, world.now());
            tracing::warn!(source = ?source, "a client failed to authenticate");
            Err(TokenError::InvalidClient { basic })
        }
    }
}

/// The public client that this request names, when it brings no proof: a page in a browser has none.
pub(super) async fn public_client(
    api: &Api,
    head: &Parts,
    form: &Form,
    source: Option<IpAddr>,
) -> Result<Option<ApiClient>, TokenError> {
    let proved = head.headers.contains_key(AUTHORIZATION)
        || form.get("client_secret").is_some()
        || form.get("client_assertion").is_some();
    let Some(id) = form.get("client_id").filter(|id| !proved && id.len() <= CREDENTIAL_CHARS_MAX) else {
        return Ok(None);
    };
    let id = ClientId(id.to_owned());
    api.token_failures.check(&id, source, api.parts.world.now()).map_err(TokenError::TooManyFailures)?;
    let known = api.parts.clients.client(&id).await.map_err(unavailable)?;
    Ok(known.filter(|client| client.is_public() && client.revoked_on.is_none()))
}

/// In one way, not in two (RFC 6749, 2.3).
fn presented(head: &Parts, form: &Form) -> Result<(ClientId, Proof), TokenError> {
    let id = form.get("client_id");
    let assertion =
        form.get("client_assertion").map(|assertion| (assertion, form.get("client_assertion_type")));
    let (id, proof) = match (head.headers.get(AUTHORIZATION), form.get("client_secret"), assertion) {
        (Some(value), None, None) => {
            let (basic_id, secret) = basic_pair(value).ok_or(TokenError::InvalidClient { basic: true })?;
            if id.is_some_and(|id| id != basic_id) {
                return Err(TokenError::InvalidRequest("two different client ids"));
            }
            (basic_id, Proof::Secret { secret, basic: true })
        }
        (None, Some(secret), None) => {
            let id = id.ok_or(TokenError::InvalidClient { basic: false })?;
            (id.to_owned(), Proof::Secret { secret: secret.to_owned(), basic: false })
        }
        (None, None, Some((assertion, Some(ASSERTION_TYPE)))) => {
            let claims: Option<Assertion> = unverified_claims(assertion);
            let named = claims.map(|claims| claims.sub).ok_or(TokenError::InvalidClient { basic: false })?;
            if id.is_some_and(|id| id != named) {
                return Err(TokenError::InvalidRequest("two different client ids"));
            }
            (named, Proof::Assertion(assertion.to_owned()))
        }
        (None, None, Some(_)) => {
            return Err(TokenError::InvalidRequest("client_assertion_type is not known"));
        }
        (None, None, None) => {
            let shown = head.extensions.get::<PeerCertificate>();
            let (id, shown) = id.zip(shown).ok_or(TokenError::InvalidClient { basic: false })?;
            (id.to_owned(), Proof::Certificate(shown.clone()))
        }
        (_, _, _) => return Err(TokenError::InvalidRequest("client credentials given twice")),
    };
    let secret_chars = match &proof {
        Proof::Secret { secret, .. } => secret.len(),
        Proof::Assertion(_) | Proof::Certificate(_) => 0,
    };
    if id.len() > CREDENTIAL_CHARS_MAX || secret_chars > CREDENTIAL_CHARS_MAX {
        return Err(TokenError::InvalidClient { basic: matches!(proof, Proof::Secret { basic: true, .. }) });
    }
    Ok((ClientId(id), proof))
}

/// While a secret is changed, the one before is good too.
fn is_secret_of(api: &Api, client: Option<&ApiClient>, secret: &str) -> bool {
    let presented = hash_client_secret(&api.parts.keys, secret);
    let newest = client.map_or([0; 32], |client| client.secret_hash);
    let older = client.and_then(|client| client.old_secret_hash).unwrap_or([0; 32]);
    // Both are compared, whatever the first gives. No secret has a hash of zeros.
    bool::from(presented.ct_eq(&newest) | presented.ct_eq(&older))
}

fn is_certificate_of(client: Option<&ApiClient>, shown: &PeerCertificate) -> bool {
    match client.and_then(|client| client.certificate.as_ref()) {
        Some(ClientCertificate::Thumbprint(known)) => bool::from(known.ct_eq(&shown.thumbprint)),
        Some(ClientCertificate::Name(name)) => (shown.is_named)(name),
        None => false,
    }
}

/// Claims of a client's assertion (RFC 7523, section 3).
#[derive(Deserialize)]
struct Assertion {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    #[serde(default)]
    nbf: Option<i64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

async fn is_assertion_of(api: &Api, client: Option<&ApiClient>, assertion: &str) -> Result<bool, TokenError> {
    let Some((client, public)) = client.and_then(|client| Some((client, client.public_key.as_ref()?))) else {
        return Ok(false);
    };
    let parts = &api.parts;
    let now = parts.world.now().as_seconds();
    let Ok(claims) = verify_assertion::<Assertion>(public, assertion) else { return Ok(false) };
    let in_time = now < claims.exp
        && claims.exp <= now + ASSERTION_LIFE_MAX_S
        && claims.nbf.is_none_or(|from| from <= now + ASSERTION_LIFE_MAX_S / 10);
    let own = claims.iss == client.id.as_str() && claims.sub == client.id.as_str();
    let fits = (1..=CREDENTIAL_CHARS_MAX).contains(&claims.jti.len());
    if !(in_time && own && fits && is_for_us(parts, &claims.aud)) {
        return Ok(false);
    }
    // Each is good once.
    let hash = parts.keys.hash_spent(&[b"assertion", client.id.as_str().as_bytes(), claims.jti.as_bytes()]);
    let expires_on = Timestamp::from_micros(claims.exp.saturating_mul(1_000_000));
    parts.credentials.spend(Spent { hash, expires_on }).await.map_err(unavailable)
}

/// The issuer, or the token endpoint by any of its addresses.
fn is_for_us(parts: &WebParts, audience: &Audience) -> bool {
    let settings = &parts.settings;
    let bases = || std::iter::once(&settings.api_base_url).chain(&settings.certificates_base_url);
    let is_endpoint = |path: &str| path.eq_ignore_ascii_case(TOKEN_PATH) || path == "/oauth/token";
    let ours = |name: &str| {
        name == settings.issuer
            || bases().any(|base| name.strip_prefix(base.as_str()).is_some_and(is_endpoint))
    };
    match audience {
        Audience::One(name) => ours(name),
        Audience::Several(names) => names.iter().any(|name| ours(name)),
    }
}

fn unavailable(error: StoreUnavailable) -> TokenError {
    tracing::error!(%error, "the client store cannot be used");
    TokenError::Unavailable
}

/// RFC 7617; both parts are form-encoded first (RFC 6749, 2.3.1).
fn basic_pair(value: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((form_decode(id)?, form_decode(secret)?))
}

fn form_decode(text: &str) -> Option<String> {
    if text.contains(['&', '=']) {
        return Some(text.to_owned()); // was never encoded
    }
    let mut pairs: Vec<(String, String)> = serde_urlencoded::from_str(&format!("v={text}")).ok()?;
    pairs.pop().map(|(_, value)| value)
}
