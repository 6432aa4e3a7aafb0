//! One try of one delivery: token, signature, request.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use hushpad_domain::ports::World;
use hushpad_domain::webhook::{Delivery, TryAnswer};

use super::WebhookConfig;
use super::client::Client;
use super::signature::{self, SigningSecret};
use super::token::TokenSource;

const UNAUTHORIZED: u16 = 401;

/// Sends to one receiver.
pub(super) struct Sender {
    client: Client,
    secrets: Vec<SigningSecret>,
    token: Option<TokenSource>,
    world: Arc<dyn World>,
}

impl Sender {
    /// A sender by this configuration.
    pub(super) fn new(config: WebhookConfig, world: Arc<dyn World>) -> Result<Self, String> {
        let WebhookConfig { receiver: _, url, secrets, token, reach, tls } = config;
        let token = token
            .map(|(url, credentials)| {
                let client = Client::new(url, reach, tls.clone());
                TokenSource::new(client, &credentials, Arc::clone(&world))
            })
            .transpose()?;
        Ok(Self { client: Client::new(url, reach, tls), secrets, token, world })
    }

    /// Sends this body once; a refused token is fetched anew, once.
    pub(super) async fn send(&self, delivery: &Delivery, body: Bytes) -> TryAnswer {
        let Some(token) = &self.token else { return self.post(delivery, body, None).await };
        let mut last = TryAnswer::NoToken;
        for _ in 0..2 {
            let authorization = match token.authorization().await {
                Ok(authorization) => authorization,
                Err(answer) => return answer,
            };
            last = self.post(delivery, body.clone(), Some(authorization.clone())).await;
            if last != TryAnswer::Status(UNAUTHORIZED) {
                break;
            }
            token.forget(&authorization).await;
        }
        last
    }

    async fn post(&self, delivery: &Delivery, body: Bytes, authorization: Option<HeaderValue>) -> TryAnswer {
        let (id, seconds) = (delivery.id.to_string(), self.world.now().as_seconds().to_string());
        let signatures = signature::sign(&self.secrets, &id, &seconds, &body);
        let texts =
            [(signature::ID, id), (signature::TIMESTAMP, seconds), (signature::SIGNATURE, signatures)];
        let mut headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
        for (name, text) in texts {
            let Ok(value) = HeaderValue::try_from(text) else { return TryAnswer::Broken };
            headers.push((HeaderName::from_static(name), value));
        }
        match self.client.post(&headers, body).await {
            Ok(reply) => TryAnswer::Status(reply.status),
            Err(answer) => answer,
        }
    }
}
