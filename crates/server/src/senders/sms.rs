//! Text messages over a provider's HTTP API: one POST, a form or JSON, with places for the number and the text.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};
use hushpad_domain::message::{Message, PhoneNumber, SendRefused};
use hushpad_domain::webhook::TryAnswer;
use hushpad_gateways::Endpoint;
use tokio_rustls::TlsConnector;
use tracing::warn;

use super::Tried;
use super::template::{Escape, Template};
use crate::webhooks::client::{Client, Reply};
use crate::webhooks::guard::Reach;

/// How an account sends text messages.
pub struct SmsConfig {
    /// Where the provider takes messages.
    pub url: Endpoint,
    /// `Authorization` and whatever else the provider wants.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is posted.
    pub body: SmsBody,
    /// What a message says.
    pub text: Template,
    /// What of a reply with a good status says that the provider has it; without, the status says it.
    pub taken_if: Option<TakenIf>,
    /// Where the provider may be.
    pub reach: Reach,
    /// How its certificate is checked.
    pub tls: TlsConnector,
}

/// The body of the request.
pub enum SmsBody {
    /// `application/x-www-form-urlencoded`: names, and their values with places.
    Form(Vec<(String, Template)>),
    /// `application/json`, with places inside of its strings.
    Json(Template),
}

/// Some providers answer 200 whatever became of a message, and say it in the body.
pub struct TakenIf {
    /// Where in the JSON reply (RFC 6901).
    pub pointer: String,
    /// What stands there.
    pub equals: String,
}

/// Sends an account's text messages.
pub struct SmsSender {
    client: Client,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: SmsBody,
    text: Template,
    taken_if: Option<TakenIf>,
}

impl SmsSender {
    /// A sender that opens no connection yet.
    #[must_use]
    pub fn new(config: SmsConfig) -> Self {
        let SmsConfig { url, mut headers, body, text, taken_if, reach, tls } = config;
        let content_type = match body {
            SmsBody::Form(_) => "application/x-www-form-urlencoded",
            SmsBody::Json(_) => "application/json",
        };
        headers.push((header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
        Self { client: Client::new(url, reach, tls), headers, body, text, taken_if }
    }

    /// The body of the request for one message.
    pub(super) fn written(&self, number: &PhoneNumber, message: &Message) -> Bytes {
        let text = self.text.told(message);
        let digits = number.as_str().trim_start_matches('+');
        let value = |place: &str| match place {
            "to" => number.as_str(),
            "to_digits" => digits,
            "text" => text.as_str(),
            _ => "",
        };
        let body = match &self.body {
            SmsBody::Form(fields) => {
                let filled = fields.iter().map(|(name, template)| (name, template.fill(Escape::Form, value)));
                serde_urlencoded::to_string(filled.collect::<Vec<_>>()).unwrap_or_default()
            }
            SmsBody::Json(template) => template.fill(Escape::Json, value),
        };
        Bytes::from(body)
    }

    /// One try.
    pub(super) async fn post(&self, body: &Bytes) -> Tried {
        match self.client.post(&self.headers, body.clone()).await {
            Ok(reply) => self.judge(&reply),
            Err(TryAnswer::AddressRefused) => {
                warn!(provider = self.client.authority(), "its address is none that may be called");
                Tried::Refused(SendRefused::NotAllowed)
            }
            Err(_) => Tried::Again,
        }
    }

    fn judge(&self, reply: &Reply) -> Tried {
        match (reply.status, &self.taken_if) {
            (200..=299, None) => Tried::Taken,
            (200..=299, Some(taken_if)) if taken_if.is_met(&reply.body) => Tried::Taken,
            // Whatever it is, it is not taken, and a second try would get the same.
            (200..=299, Some(_)) => Tried::Refused(SendRefused::NotAllowed),
            (401..=403, _) => Tried::Refused(SendRefused::NotAllowed),
            (429 | 500.., _) => Tried::Again,
            // A redirect is not followed: it is a wrong URL.
            (100..=199 | 300..=399, _) => Tried::Refused(SendRefused::NotAllowed),
            _ => Tried::Refused(SendRefused::Contact),
        }
    }
}

impl TakenIf {
    #[expect(clippy::cmp_owned, reason = "the text of any JSON value is compared, not the value")]
    fn is_met(&self, body: &[u8]) -> bool {
        let Ok(reply) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
        let found = reply.pointer(&self.pointer);
        found.is_some_and(|value| {
            // A number counts as its text.
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text == self.equals
        })
    }
}
