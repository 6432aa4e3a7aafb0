//! How clients and agents' logins look in their rows, the same in every engine.

use hushpad_domain::client::{ApiClient, ClientCertificate};
use hushpad_domain::credentials::AgentLogin;
use hushpad_domain::ids::{AccountId, AgentId, ClientId};
use hushpad_domain::ports::StoreUnavailable;
use hushpad_domain::time::Timestamp;
use sqlx::FromRow;

use crate::rows::{bytes_of, json, unreadable};

/// An API client as it is read.
#[derive(FromRow)]
pub(super) struct ClientRow {
    id: String,
    account: String,
    agent: Option<String>,
    secret_hash: Vec<u8>,
    old_secret_hash: Option<Vec<u8>>,
    public_key: Option<Vec<u8>>,
    certificate: Option<String>,
    redirect_uris: Option<String>,
    label: String,
    created_on: i64,
    revoked_on: Option<i64>,
}

impl ClientRow {
    /// The client that the row means.
    ///
    /// # Errors
    /// The row was not written by us.
    pub(super) fn read(self) -> Result<ApiClient, StoreUnavailable> {
        let bytes = |bytes: Vec<u8>| {
            bytes
                .try_into()
                .map_err(|_| StoreUnavailable("a client's hash or key is not 32 bytes".to_owned()))
        };
        let secret_hash = bytes(self.secret_hash)?;
        Ok(ApiClient {
            id: ClientId(self.id),
            account: AccountId(self.account),
            agent: self.agent.map(AgentId),
            secret_hash,
            old_secret_hash: self.old_secret_hash.map(bytes).transpose()?,
            public_key: self.public_key.map(bytes).transpose()?,
            certificate: self.certificate.as_deref().map(read_certificate).transpose()?,
            redirect_uris: match &self.redirect_uris {
                Some(uris) => json("a client's redirect URIs", uris.as_bytes())?,
                None => Vec::new(),
            },
            label: self.label,
            created_on: Timestamp::from_micros(self.created_on),
            revoked_on: self.revoked_on.map(Timestamp::from_micros),
        })
    }
}

/// A client's certificate as it is stored: `name:…`, or `sha256:` and 64 hexadecimal digits.
pub(super) fn certificate_text(certificate: &ClientCertificate) -> String {
    match certificate {
        ClientCertificate::Name(name) => format!("name:{name}"),
        ClientCertificate::Thumbprint(hash) => {
            let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("sha256:{digits}")
        }
    }
}

fn read_certificate(text: &str) -> Result<ClientCertificate, StoreUnavailable> {
    let wrong = || unreadable("a client's certificate");
    match text.split_once(':') {
        Some(("name", name)) => Ok(ClientCertificate::Name(name.to_owned())),
        Some(("sha256", digits)) => {
            let hash = bytes_of(digits)?.try_into().map_err(|_| wrong())?;
            Ok(ClientCertificate::Thumbprint(hash))
        }
        Some(_) | None => Err(wrong()),
    }
}

/// A public client's redirect URIs as they are stored; `None` for a client with a secret.
pub(super) fn redirect_uris_text(uris: &[String]) -> Option<String> {
    (!uris.is_empty()).then(|| serde_json::json!(uris).to_string())
}

/// How an agent signs in, as it is read.
#[derive(FromRow)]
pub(super) struct LoginRow {
    account: String,
    agent: String,
    password_hash: String,
    since: i64,
    revoked_on: Option<i64>,
}

impl LoginRow {
    pub(super) fn read(self) -> AgentLogin {
        AgentLogin {
            account: AccountId(self.account),
            agent: AgentId(self.agent),
            password_hash: self.password_hash,
            since: Timestamp::from_micros(self.since),
            revoked_on: self.revoked_on.map(Timestamp::from_micros),
        }
    }
}
