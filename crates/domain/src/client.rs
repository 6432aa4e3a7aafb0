//! API clients, and who is calling.

use crate::ids::{AccountId, AgentId, ClientId};
use crate::time::Timestamp;

/// The scope that the Payment API asks for.
pub const SCOPE_GLOBALPCI: &str = "globalpci";

/// A client id with the keyed hash of its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiClient {
    /// Its public id.
    pub id: ClientId,
    /// The account it acts for.
    pub account: AccountId,
    /// The agent it is bound to: a browser-side caller. `None` for a back end.
    pub agent: Option<AgentId>,
    /// HMAC-SHA-256 of the secret, under a key derived from the master key. Never the secret.
    pub secret_hash: [u8; 32],
    /// The same of the secret before, while it is changed: both are good.
    pub old_secret_hash: Option<[u8; 32]>,
    /// The public half of its Ed25519 key, when it proves itself by `private_key_jwt` (RFC 7523).
    pub public_key: Option<[u8; 32]>,
    /// The certificate that it proves itself by on the listener for certificates (RFC 8705).
    pub certificate: Option<ClientCertificate>,
    /// Where a browser is sent back to after an agent has signed in, each compared whole (RFC 9700, 2.1). Only a public
    /// client has any: it has no secret.
    pub redirect_uris: Vec<String>,
    /// What the operator called it.
    pub label: String,
    /// When it was made.
    pub created_on: Timestamp,
    /// When it was revoked; a revoked client gets no token.
    pub revoked_on: Option<Timestamp>,
}

/// By what a client's certificate is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// A name of the certificate (dNSName), which an authority of ours has signed: `tls_client_auth`.
    Name(String),
    /// SHA-256 of the very certificate: `self_signed_tls_client_auth`.
    Thumbprint([u8; 32]),
}

impl ApiClient {
    /// Whether it is a page in a browser: it can keep no secret, and gets tokens only for an agent who has signed in.
    #[must_use]
    pub fn is_public(&self) -> bool {
        !self.redirect_uris.is_empty()
    }
}

/// Who is calling, as the access token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The client that got the token.
    pub client: ClientId,
    /// Its account: everything it sees and does stays inside.
    pub account: AccountId,
    /// The agent it is bound to, if any.
    pub agent: Option<AgentId>,
}
