//! The web room: the Payment API, its OAuth endpoint, and the agent page. It can hold no card.
//!
//! `web` knows `domain` and nothing else: what it needs from the world comes in as the ports of
//! [`hushpad_domain::ports`], gathered in [`WebParts`]. It has no clock, no randomness and no
//! configuration of its own; `tokio::time` is used only to pace heartbeats and to give up on slow bodies.
//!
//! Two routers come out of it, for two listeners:
//! - [`api_router`]: `POST /Auth/connect/token`, `POST /v1/session`, its status, cancel and events,
//!   `GET /openapi.json`;
//! - [`page_router`]: `/view/{providerSessionGuid}/framed` and what the opened page calls.
//!
//! [`notification_router`] is a third, for what gateways tell unasked; it knows nothing of the other two.
//!
//! The server puts [`Source`] into each request's extensions, so that failures can be slowed down by
//! where they come from.
//!
//! Read in this order: `api/mod.rs` (routes and what surrounds every request), `api/create.rs` (the
//! request that starts everything), `api/idempotency.rs` (a request that comes again), `error.rs` (every refusal, in one match), `page/mod.rs` (the agent
//! page), `page/opening.rs` (how its one-time tokens are spent), `page/view.rs` (its words).
//!
//! The one place where keys pass through is the test keypad: a single key goes on as
//! [`hushpad_domain::page::AgentAction::TestKey`] and is kept nowhere.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hushpad_domain::account::Directory;
use hushpad_domain::ports::{
    Calls, Changes, Clients, Credentials, Operations, Replays, SecureSide, Sessions, StoredCards, Webhooks,
    World,
};

mod api;
mod api_keys;
mod error;
mod jwt;
mod keys;
mod mistakes;
mod notifications;
mod page;
mod passwords;
mod rate;
mod sign_in;
mod tokens;
mod verified;

pub use api::{Access, EndpointInfo, api_router, endpoint_list, openapi_document, status_body};
pub use keys::{TokenKeys, hash_client_secret};
pub use notifications::notification_router;
pub use page::page_router;
pub use passwords::{PASSWORD_CHARS, hash_password};

/// Everything that the web room needs. Both routers share it.
#[expect(missing_docs, reason = "the fields are the ports of `domain`")]
pub struct WebParts {
    pub directory: Arc<Directory>,
    pub sessions: Arc<dyn Sessions>,
    pub clients: Arc<dyn Clients>,
    pub replays: Arc<dyn Replays>,
    pub webhooks: Arc<dyn Webhooks>,
    pub credentials: Arc<dyn Credentials>,
    pub changes: Arc<dyn Changes>,
    pub calls: Arc<dyn Calls>,
    pub secure_side: Arc<dyn SecureSide>,
    pub operations: Arc<dyn Operations>,
    pub stored_cards: Arc<dyn StoredCards>,
    pub world: Arc<dyn World>,
    pub keys: TokenKeys,
    pub settings: WebSettings,
    pub observer: Arc<dyn Observer>,
}

/// What the operator's configuration says about the web room.
#[derive(Clone, Debug)]
pub struct WebSettings {
    /// `iss` of every token: this installation's name as a URL.
    pub issuer: String,
    /// The Payment API's public base URL, without a slash at its end; `aud` of access tokens.
    pub api_base_url: String,
    /// The same API on the listener that asks clients for a certificate, if there is one.
    pub certificates_base_url: Option<String>,
    /// Origins (`scheme://host:port`) whose pages may call the Payment API from a browser; none means none.
    pub browser_origins: Vec<String>,
    /// The payment host's public base URL, without a slash at its end; `iframeUrl` begins with it.
    pub page_base_url: String,
    /// The limits.
    pub limits: WebLimits,
}

/// Limits that an operator may want to move.
#[derive(Clone, Copy, Debug)]
pub struct WebLimits {
    /// Requests that one API client may send at once.
    pub client_burst: u32,
    /// After a burst, one more request is allowed each time this has passed.
    pub client_refill: Duration,
    /// How often an open page gets a sign of life.
    pub heartbeat: Duration,
    /// Agent pages at once; one more is refused with 503.
    pub pages_max: usize,
}

impl Default for WebLimits {
    /// 100 requests at once and 20 a second per client: far above what a contact centre's back end needs.
    /// A heartbeat every 15 s, half of what proxies commonly allow. 10,000 pages, a few MB.
    fn default() -> Self {
        Self {
            client_burst: 100,
            client_refill: Duration::from_millis(50),
            heartbeat: Duration::from_secs(15),
            pages_max: 10_000,
        }
    }
}

/// Hears what metrics are made of. Implemented by `server`, which has the clock and the registry.
pub trait Observer: Send + Sync {
    /// A request has come in. What it gives back, such as a reading of its clock, is handed to
    /// [`Observer::request_done`] untouched.
    fn request_begins(&self) -> u64;

    /// The request that began with `begun` has been answered. `route` is the pattern, never the path.
    fn request_done(&self, route: &str, status: u16, begun: u64);

    /// This many agent pages are live now.
    fn pages_live(&self, count: usize);
}

/// Where a request comes from: `server` puts it into the request's extensions. Requests without it share
/// one allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(pub IpAddr);

/// The certificate of a client that has proved to hold its key, on a listener that asks for one: `server` puts it into
/// the request's extensions. Never made of a header.
#[derive(Clone)]
pub struct PeerCertificate {
    /// SHA-256 of the whole certificate (`x5t#S256`, RFC 8705, 3.1).
    pub thumbprint: [u8; 32],
    /// Whether it is for this dNSName, and signed by an authority of ours.
    pub is_named: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}
