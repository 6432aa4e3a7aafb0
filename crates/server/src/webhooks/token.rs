//! A token for a receiver that wants one: OAuth client credentials (RFC 6749, 4.4) at the receiver's own endpoint.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use hushpad_domain::ports::World;
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::TryAnswer;
use serde::Deserialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::client::Client;

/// Where its endpoint does not say how long a token lives.
const LIFE_S_UNKNOWN: u64 = 300;
/// No token is used longer, whatever its endpoint says.
const LIFE_S_MAX: u64 = 24 * 60 * 60;

/// Who we are at a receiver's token endpoint.
pub struct ClientCredentials {
    /// Our client id there.
    pub client_id: String,
    /// Our secret there.
    pub client_secret: Zeroizing<String>,
    /// What we ask for, if that must be said.
    pub scope: Option<String>,
}

/// Fetches tokens and keeps the newest for nine tenths of its life.
pub struct TokenSource {
    client: Client,
    form: Bytes,
    authorization: HeaderValue,
    world: Arc<dyn World>,
    /// Held while a token is fetched, so that tries at the same time share one.
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    header: HeaderValue,
    until: Timestamp,
}

#[derive(Deserialize)]
struct TokenReply {
    access_token: String,
    expires_in: Option<u64>,
}

impl TokenSource {
    /// A source that has no token yet.
    ///
    /// # Errors
    /// What cannot be written as a header or form.
    pub fn new(
        client: Client,
        credentials: &ClientCredentials,
        world: Arc<dyn World>,
    ) -> Result<Self, String> {
        let mut fields = vec![("grant_type", "client_credentials")];
        fields.extend(credentials.scope.as_deref().map(|scope| ("scope", scope)));
        let form = encode(&fields)?;
        // Both are form-encoded first (RFC 6749, 2.3.1).
        let part = |text: &str| encode(&[("", text)]).map(|pair| pair.trim_start_matches('=').to_owned());
        let pair = format!("{}:{}", part(&credentials.client_id)?, part(&credentials.client_secret)?);
        let mut authorization = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
            .map_err(|error| error.to_string())?;
        authorization.set_sensitive(true);
        Ok(Self { client, form: form.into(), authorization, world, kept: Mutex::new(None) })
    }

    /// `Authorization` for a try.
    ///
    /// # Errors
    /// [`TryAnswer::NoToken`].
    pub async fn authorization(&self) -> Result<HeaderValue, TryAnswer> {
        let mut kept = self.kept.lock().await;
        if let Some(fresh) = kept.as_ref().filter(|kept| self.world.now() < kept.until) {
            return Ok(fresh.header.clone());
        }
        *kept = None;
        let fresh = self.fetch().await?;
        let header = fresh.header.clone();
        *kept = Some(fresh);
        Ok(header)
    }

    /// This one was not taken: the next is fetched anew.
    pub async fn forget(&self, refused: &HeaderValue) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|kept| kept.header == refused) {
            *kept = None;
        }
    }

    async fn fetch(&self) -> Result<Kept, TryAnswer> {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let headers: [(HeaderName, HeaderValue); 3] = [
            (header::CONTENT_TYPE, form),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (header::AUTHORIZATION, self.authorization.clone()),
        ];
        let asked_on = self.world.now();
        let reply = self.client.post(&headers, self.form.clone()).await.map_err(|answer| {
            self.warn(&answer.word());
            TryAnswer::NoToken
        })?;
        let read: Option<TokenReply> = Some(&reply.body)
            .filter(|_| reply.status == 200)
            .and_then(|body| serde_json::from_slice(body).ok());
        let Some(TokenReply { access_token, expires_in }) = read else {
            self.warn(&reply.status.to_string());
            return Err(TryAnswer::NoToken);
        };
        let access_token = Zeroizing::new(access_token);
        let mut header =
            HeaderValue::try_from(format!("Bearer {}", *access_token)).map_err(|_| TryAnswer::NoToken)?;
        header.set_sensitive(true);
        let life_s = expires_in.unwrap_or(LIFE_S_UNKNOWN).min(LIFE_S_MAX);
        Ok(Kept { header, until: asked_on.plus(Duration::from_millis(life_s * 900)) })
    }

    fn warn(&self, answer: &str) {
        tracing::warn!(
            endpoint = self.client.authority(),
            answer,
            "a webhook's token endpoint gave no token"
        );
    }
}

fn encode(fields: &[(&str, &str)]) -> Result<String, String> {
    serde_urlencoded::to_string(fields).map_err(|error| error.to_string())
}
