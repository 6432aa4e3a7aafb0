//! `hushpad client`: makes, lists and revokes API clients.

use std::io::Write;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hushpad_domain::client::ApiClient;
use hushpad_domain::ids::{AccountId, AgentId, ClientId};
use hushpad_domain::ports::{Clients, World};
use hushpad_store::{Ownership, Store};
use hushpad_web::{TokenKeys, hash_client_secret};

use crate::cli::ClientCommand;
use crate::config::{Config, MasterKey};
use crate::world::RealWorld;

/// Does what the command line asks.
///
/// # Errors
/// What was wrong, for the person at the terminal.
pub async fn run(command: ClientCommand, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        ClientCommand::Create { config, account, agent, label } => {
            let config = Config::load(&config.config)?;
            let account = AccountId(account);
            if config.directory.account(&account).is_none() {
                bail!("there is no account {account} in the config file");
            }
            let store = open_store(&config).await?;
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
            writeln!(out, "revoked. Tokens that it has end by themselves within two hours.")?;
        }
    }
    Ok(())
}

/// Beside the server, which may be running.
async fn open_store(config: &Config) -> anyhow::Result<Store> {
    Ok(hushpad_store::open(&config.store_url, Ownership::Guest).await?)
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
    let created_on = world.now();
    let client = ApiClient {
        id: id.clone(),
        account,
        agent,
        secret_hash,
        old_secret_hash: None,
        public_key: None,
        label,
        created_on,
        revoked_on: None,
    };
    store.add(client).await.context("the client could not be stored")?;
    Ok(NewClient { id, secret })
}
