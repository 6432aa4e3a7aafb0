//! The shop's back end as a client of the Payment API: what an integrator writes. It keeps the client secret, and
//! notes every exchange with the secrets cut short, for the page and the terminal to show.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Request;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::{HttpError, Reply, send};

/// What the API needs to know about the shop.
#[derive(Clone)]
pub struct PaymentApi {
    base: String,
    client_id: String,
    client_secret: String,
    agent_id: String,
    account_configuration: u32,
    note: Arc<dyn Fn(Exchange) + Send + Sync>,
}

/// One request and its reply, fit to be shown: tokens and secrets are cut short.
#[derive(Clone, Debug, Serialize)]
pub struct Exchange {
    /// Method and path.
    pub request: String,
    /// Body of the request, laid out for reading; empty for a GET.
    pub request_body: String,
    /// Status of the reply; `None` when there was none.
    pub status: Option<u16>,
    /// Body of the reply, or why there is none.
    pub reply_body: String,
}

/// Why a call of the API did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There was no reply.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The API refused; its own words.
    #[error("{detail} (HTTP {status})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The problem's detail.
        detail: String,
    },
    /// The reply is not what the contract says.
    #[error("the reply cannot be read: {0}")]
    Reply(#[from] serde_json::Error),
}

/// What is to be paid, and by whom.
#[derive(Clone, Debug)]
pub struct Order {
    /// Decimal text, as in "12.40".
    pub amount: String,
    /// ISO 4217 code.
    pub currency: String,
    /// The shop's own number for it.
    pub reference: String,
}

/// Reply of `POST /v1/session`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenedSession {
    /// Names the session in the API.
    pub session_guid: String,
    /// Opens the agent page.
    pub agent_access_token: String,
    /// Renews the former.
    pub agent_refresh_token: String,
    /// Where the agent page is.
    pub iframe_url: String,
    /// Names the session on the page's side.
    pub provider_session_guid: String,
}

/// Reply of `GET /v1/session/{sessionGuid}`, the parts a shop looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub struct SessionStatus {
    /// `Created`, `InProgress`, `Processing`, or one of the terminal states.
    pub session_state: String,
    /// `approved`, `declined`, `review`, `cancelled`, `unknown`, `none`.
    #[serde(default)]
    pub outcome: Option<String>,
    /// The gateway's reply in its own names.
    #[serde(default)]
    pub payment_result_data: BTreeMap<String, Value>,
}

impl SessionStatus {
    /// Whether the session is over: the state changes no more.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self.session_state.as_str(), "Finished" | "Error" | "TimeOut" | "ExpiredOnProviderSide")
    }
}

impl PaymentApi {
    /// A client of the API the parts name. `note` is told every exchange.
    #[must_use]
    pub fn new(parts: &super::DemoParts, note: Arc<dyn Fn(Exchange) + Send + Sync>) -> Self {
        Self {
            base: parts.api_base.trim_end_matches('/').to_owned(),
            client_id: parts.client_id.clone(),
            client_secret: parts.client_secret.clone(),
            agent_id: parts.agent_user.clone(),
            account_configuration: parts.account_configuration,
            note,
        }
    }

    /// A token by client credentials.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn token(&self) -> Result<String, ApiError> {
        #[derive(Deserialize)]
        struct Token {
            access_token: String,
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", "globalpci"),
            ("client_id", &self.client_id),
            ("client_secret", &self.client_secret),
        ];
        let body = form_body(&form);
        let shown = body.replace(&form_value(&self.client_secret), "…");
        let request = Request::post(format!("{}/Auth/connect/token", self.base))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        Ok(serde_json::from_str::<Token>(&self.exchange(request, body, shown).await?)?.access_token)
    }

    /// Opens a payment session for the shop's agent.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn open_session(&self, token: &str, order: &Order) -> Result<OpenedSession, ApiError> {
        let body = json!({
            "agentId": self.agent_id,
            "accountConfigurationId": self.account_configuration,
            "paymentData": {
                "FirstName": "Jo",
                "Surname": "Smith",
                "Amount": order.amount,
                "Currency": order.currency,
                "MerchantReferenceCode": order.reference,
            },
        });
        let request = Request::post(format!("{}/v1/session", self.base))
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {token}"));
        let reply = self.exchange(request, body.to_string(), pretty(&body)).await?;
        Ok(serde_json::from_str(&reply)?)
    }

    /// How the session stands.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn status(&self, token: &str, session_guid: &str) -> Result<SessionStatus, ApiError> {
        let request = Request::get(format!("{}/v1/session/{session_guid}", self.base))
            .header(AUTHORIZATION, format!("Bearer {token}"));
        Ok(serde_json::from_str(&self.exchange(request, String::new(), String::new()).await?)?)
    }

    async fn exchange(
        &self,
        request: http::request::Builder,
        body: String,
        shown: String,
    ) -> Result<String, ApiError> {
        let method = request.method_ref().map_or("", |method| method.as_str()).to_owned();
        let path = request.uri_ref().map_or("", |uri| uri.path()).to_owned();
        let mut exchange = Exchange {
            request: format!("{method} {path}"),
            request_body: shown,
            status: None,
            reply_body: String::new(),
        };
        let address = |_| HttpError::Address(self.base.clone());
        let reply = match request.header(ACCEPT, "application/json").body(body).map_err(address) {
            Ok(request) => send(request).await,
            Err(error) => Err(error),
        };
        match &reply {
            Ok(reply) => {
                exchange.status = Some(reply.status);
                exchange.reply_body = shown_reply(reply);
            }
            Err(error) => exchange.reply_body = error.to_string(),
        }
        (self.note)(exchange);
        let reply = reply?;
        match reply.status {
            200..300 => Ok(reply.body),
            status => Err(ApiError::Refused { status, detail: problem_detail(&reply.body) }),
        }
    }
}

/// A form as `application/x-www-form-urlencoded`.
pub(super) fn form_body(fields: &[(&str, &str)]) -> String {
    let pairs = fields.iter().map(|(name, value)| format!("{}={}", form_value(name), form_value(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn form_value(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                coded.push(char::from(byte))
            }
            b' ' => coded.push('+'),
            other => coded.push_str(&format!("%{other:02X}")),
        }
    }
    coded
}

fn problem_detail(body: &str) -> String {
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    ["detail", "title", "error"]
        .iter()
        .find_map(|name| problem.get(name).and_then(Value::as_str))
        .unwrap_or("the API refused without a reason")
        .to_owned()
}

fn shown_reply(reply: &Reply) -> String {
    match serde_json::from_str::<Value>(&reply.body) {
        Ok(mut value) => {
            shorten(&mut value);
            pretty(&value)
        }
        Err(_) => reply.body.chars().take(200).collect(),
    }
}

/// Cuts every token to its first eight characters: enough to tell two apart, useless to anybody.
fn shorten(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        match value {
            Value::String(text) if name.to_ascii_lowercase().contains("token") && name != "token_type" => {
                *text = text.chars().take(8).chain("…".chars()).collect();
            }
            nested => shorten(nested),
        }
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_secrets_are_not_shown() {
        let mut reply = json!({
            "access_token": "eyJhbGciOiJFZERTQSJ9.secret", "token_type": "Bearer", "sessionGuid": "0123456789",
            "inner": { "agentRefreshToken": "abcdefghijkl" },
        });
        shorten(&mut reply);
        assert_eq!(
            reply,
            json!({
                "access_token": "eyJhbGci…", "token_type": "Bearer", "sessionGuid": "0123456789",
                "inner": { "agentRefreshToken": "abcdefgh…" },
            })
        );
    }

    #[test]
    fn a_form_survives_any_text() {
        assert_eq!(form_body(&[("a b", "x&y=z+é"), ("c", "")]), "a+b=x%26y%3Dz%2B%C3%A9&c=");
    }

    #[test]
    fn a_status_is_read_with_and_without_our_additions() {
        let old = r#"{"sessionGuid":"1","sessionState":"Created","createdOn":"x"}"#;
        let status: SessionStatus = serde_json::from_str(old).unwrap();
        assert!(!status.is_terminal() && status.outcome.is_none());
        let new =
            r#"{"sessionState":"Finished","outcome":"approved","paymentResultData":{"decision":"ACCEPT"}}"#;
        let status: SessionStatus = serde_json::from_str(new).unwrap();
        assert!(status.is_terminal());
        assert_eq!(status.outcome.as_deref(), Some("approved"));
    }
}
