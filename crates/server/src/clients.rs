//! `hushpad client`: makes, lists and revokes API clients.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hushpad_domain::client::{ApiClient, ClientCertificate};
use hushpad_domain::credentials::{ClientProof, SigningKeyNumber};
use hushpad_domain::ids::{AccountId, AgentId, ClientId};
use hushpad_domain::ports::{Clients, Credentials, World};
use hushpad_store::{Ownership, Store};
use hushpad_web::{TokenKeys, hash_client_secret};
use ring::digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::cli::ClientCommand;
use crate::config::{Config, MasterKey};
use crate::world::RealWorld;

/// Does what the command line asks.
///
/// # Errors
/// What was wrong, for the person at the terminal.
pub async fn run(command: ClientCommand, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        ClientCommand::Create { config, account, agent, redirect_uri, label } => {
            let config = Config::load(&config.config)?;
            let account = AccountId(account);
            if config.directory.account(&account).is_none() {
                bail!("there is no account {account} in the config file");
            }
            let store = open_store(&config).await?;
            if !redirect_uri.is_empty() {
                let id = create_public(&store, account, redirect_uri, label).await?;
                writeln!(out, "client_id:     {id}")?;
                writeln!(out, "It has no secret. Agents sign in at {}/sign-in.", config.page.public_url)?;
                return Ok(());
            }
            let new = create(&store, &config.master_key, account, agent.map(AgentId), label).await?;
            writeln!(out, "client_id:     {}", new.id)?;
            writeln!(out, "client_secret: {}", new.secret)?;
            writeln!(out, "The secret is shown this once. Keep it where your back end reads its secrets.")?;
        }
        ClientCommand::List { config } => {
            let config = Config::load(&config.config)?;
            let store = open_store(&config).await?;
            for client in store.list().await? {
                let revoked = client.revoked_on.map(|at| format!("revoked {at}")).unwrap_or_default();
                let agent = client.agent.map(|agent| format!("agent {agent}")).unwrap_or_default();
                writeln!(
                    out,
                    "{}  account {}  {agent}  made {}  {revoked}  {}",
                    client.id, client.account, client.created_on, client.label
                )?;
            }
        }
        ClientCommand::Revoke { config, client_id } => {
            let config = Config::load(&config.config)?;
            let store = open_store(&config).await?;
            if !store.revoke(&ClientId(client_id.clone()), RealWorld::new().now()).await? {
                bail!("there is no client {client_id} that could be revoked");
            }
            writeln!(out, "revoked. Tokens that it has open nothing any more within five seconds.")?;
        }
        change => prove_otherwise(change, out).await?,
    }
    Ok(())
}

/// What changes by what clients, or we, prove themselves.
async fn prove_otherwise(command: ClientCommand, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        ClientCommand::RotateSecret { config, client_id } => {
            let config = Config::load(&config.config)?;
            let store = open_store(&config).await?;
            let secret = URL_SAFE_NO_PAD.encode(RealWorld::new().secret());
            let hash = hash_client_secret(&TokenKeys::from_master(&config.master_key), &secret);
            prove(&store, ClientProof::NewSecret(ClientId(client_id), hash)).await?;
            writeln!(out, "client_secret: {secret}")?;
            writeln!(
                out,
                "The secret before is good too, until you end it: hushpad client drop-old-secret."
            )?;
        }
        ClientCommand::DropOldSecret { config, client_id } => {
            let store = open_store(&Config::load(&config.config)?).await?;
            prove(&store, ClientProof::DropOldSecret(ClientId(client_id))).await?;
            writeln!(out, "Only the newest secret is good.")?;
        }
        ClientCommand::SetKey { config, client_id, public_key } => {
            let store = open_store(&Config::load(&config.config)?).await?;
            let key = public_key.as_deref().map(read_public_key).transpose()?;
            prove(&store, ClientProof::PublicKey(ClientId(client_id), key)).await?;
            writeln!(
                out,
                "{}",
                if key.is_some() { "The key is good now." } else { "It has no key any more." }
            )?;
        }
        ClientCommand::SetCertificate { config, client_id, file, name } => {
            let store = open_store(&Config::load(&config.config)?).await?;
            let certificate = match (file, name) {
                (Some(file), _) => Some(ClientCertificate::Thumbprint(thumbprint(&file)?)),
                (None, Some(name)) => Some(ClientCertificate::Name(name)),
                (None, None) => None,
            };
            let told =
                if certificate.is_some() { "The certificate is good now." } else { "It has none any more." };
            prove(&store, ClientProof::Certificate(ClientId(client_id), certificate)).await?;
            writeln!(out, "{told}")?;
        }
        ClientCommand::RotateSigningKey { config } => {
            let store = open_store(&Config::load(&config.config)?).await?;
            let key = rotate_signing_key(&store).await?;
            writeln!(out, "key {} signs from {} on", key.number, key.active_from)?;
        }
        ClientCommand::Create { .. } | ClientCommand::List { .. } | ClientCommand::Revoke { .. } => {}
    }
    Ok(())
}

async fn prove(store: &Store, proof: ClientProof) -> anyhow::Result<()> {
    if !store.prove(proof).await? {
        bail!("there is no such client that is not revoked");
    }
    Ok(())
}

fn read_public_key(text: &str) -> anyhow::Result<[u8; 32]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).context("the key is not base64url")?;
    bytes.try_into().map_err(|_| anyhow::anyhow!("an Ed25519 key has 32 bytes"))
}

/// The lead gives every process, and everybody who reads the keys, the time to know the new one before it signs.
async fn rotate_signing_key(store: &Store) -> anyhow::Result<SigningKeyNumber> {
    const LEAD: Duration = Duration::from_secs(60);
    let newest = store.signing_keys().await?.last().map_or(0, |key| key.number);
    let active_from = RealWorld::new().now().plus(LEAD);
    let key = SigningKeyNumber { number: newest.saturating_add(1), active_from };
    if !store.add_signing_key(key).await? {
        bail!("somebody else has just added a key");
    }
    Ok(key)
}

/// Beside the server, which may be running.
async fn open_store(config: &Config) -> anyhow::Result<Store> {
    Ok(hushpad_store::open(&config.store_url, Ownership::Guest).await?)
}

/// A client without a secret, whose tokens are for the agents who sign in.
async fn create_public(
    store: &Store,
    account: AccountId,
    redirect_uris: Vec<String>,
    label: String,
) -> anyhow::Result<ClientId> {
    for uri in &redirect_uris {
        check_redirect_uri(uri)?;
    }
    let world = RealWorld::new();
    let id = ClientId(format!("hp_{}", world.guid().simple()));
    // No secret has this hash.
    let client = ApiClient { redirect_uris, ..new_client(&world, id.clone(), account, [0; 32], label) };
    store.add(client).await.context("the client could not be stored")?;
    Ok(id)
}

/// https, or this machine itself; no fragment (RFC 6749, 3.1.2; RFC 9700, 2.6).
fn check_redirect_uri(uri: &str) -> anyhow::Result<()> {
    let parsed: http::Uri = uri.parse().with_context(|| format!("{uri} is no address"))?;
    let here = matches!(parsed.host(), Some("127.0.0.1" | "[::1]" | "localhost"));
    let safe = match parsed.scheme_str() {
        Some("https") => parsed.host().is_some(),
        Some("http") => here,
        Some(_) | None => false,
    };
    // What goes into the page's policy must be one word of it.
    let plain = uri.bytes().all(|byte| byte.is_ascii_graphic() && !b"#;,'\"<>\\".contains(&byte));
    if !safe || !plain || parsed.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        bail!("{uri}: a redirect URI begins with https:// (or http:// on this machine) and has no #");
    }
    Ok(())
}

/// SHA-256 of the certificate in a PEM file.
fn thumbprint(file: &Path) -> anyhow::Result<[u8; 32]> {
    let certificate = CertificateDer::from_pem_file(file).with_context(|| file.display().to_string())?;
    let mut thumbprint = [0; 32];
    thumbprint.copy_from_slice(digest::digest(&digest::SHA256, &certificate).as_ref());
    Ok(thumbprint)
}

/// A client that was just made.
pub struct NewClient {
    /// Its id.
    pub id: ClientId,
    /// Its secret: 256 random bits. Nowhere else.
    pub secret: String,
}

/// Makes a client.
///
/// # Errors
/// When the store cannot be written.
pub async fn create(
    store: &Store,
    master_key: &MasterKey,
    account: AccountId,
    agent: Option<AgentId>,
    label: String,
) -> anyhow::Result<NewClient> {
    let world = RealWorld::new();
    let id = ClientId(format!("hp_{}", world.guid().simple()));
    let secret = URL_SAFE_NO_PAD.encode(world.secret());
    let secret_hash = hash_client_secret(&TokenKeys::from_master(master_key), &secret);
    let client = ApiClient { agent, ..new_client(&world, id.clone(), account, secret_hash, label) };
    store.add(client).await.context("the client could not be stored")?;
    Ok(NewClient { id, secret })
}

fn new_client(
    world: &RealWorld,
    id: ClientId,
    account: AccountId,
    secret_hash: [u8; 32],
    label: String,
) -> ApiClient {
    ApiClient {
        id,
        account,
        agent: None,
        secret_hash,
        old_secret_hash: None,
        public_key: None,
        certificate: None,
        redirect_uris: Vec::new(),
        label,
        created_on: world.now(),
        revoked_on: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_sent_back_to_safe_addresses_only() {
        for good in [
            "https://crm.example/back",
            "https://crm.example:8443/back?tab=1&x=%20",
            "http://127.0.0.1:9000/back",
            "http://localhost/back",
        ] {
            assert!(check_redirect_uri(good).is_ok(), "{good}");
        }
        for bad in [
            "http://crm.example/back",
            "https://crm.example/back#x",
            "https://user@crm.example/back",
            "https://crm.example;script-src/back",
            "javascript:alert(1)",
            "crm.example/back",
            "/back",
            "https://crm.example/ba ck",
            "",
        ] {
            assert!(check_redirect_uri(bad).is_err(), "{bad}");
        }
    }
}
