//! `hushpad agent`: who signs in by themselves.

use std::io::{BufRead, Write};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hushpad_domain::credentials::AgentLogin;
use hushpad_domain::ids::{AccountId, AgentId};
use hushpad_domain::ports::{Credentials, World};
use hushpad_store::{Ownership, Store};
use hushpad_web::{PASSWORD_CHARS, TokenKeys, hash_password};
use zeroize::Zeroizing;

use crate::cli::AgentCommand;
use crate::config::Config;
use crate::world::RealWorld;

/// Random bytes of a password that we make: 24 characters, 144 bits.
const PASSWORD_BYTES: usize = 18;

/// Does what the command line asks.
///
/// # Errors
/// What was wrong, for the person at the terminal.
pub async fn run(command: AgentCommand, input: &mut dyn BufRead, out: &mut dyn Write) -> anyhow::Result<()> {
    match command {
        AgentCommand::Create { config, account, password_stdin, agent } => {
            let config = Config::load(&config.config)?;
            let (account, agent) = (AccountId(account), AgentId(agent));
            let Some(known) = config.directory.account(&account) else {
                bail!("there is no account {account} in the config file");
            };
            if !known.knows(&agent) {
                bail!("account {account} has no agent {agent} in the config file");
            }
            let (password, shown) =
                if password_stdin { (read_password(input)?, false) } else { (make_password(), true) };
            let world = RealWorld::new();
            let keys = TokenKeys::from_master(&config.master_key);
            let hash =
                hash_password(&keys, &password, world.secret()).context("the password cannot be hashed")?;
            let login =
                AgentLogin { account, agent, password_hash: hash, since: world.now(), revoked_on: None };
            open_store(&config).await?.put_login(login.clone()).await?;
            writeln!(out, "agent {} of account {} may sign in", login.agent, login.account)?;
            if shown {
                writeln!(out, "password: {}", *password)?;
                writeln!(out, "It is shown this once.")?;
            }
        }
        AgentCommand::List { config } => {
            for login in open_store(&Config::load(&config.config)?).await?.logins().await? {
                let revoked = login.revoked_on.map(|at| format!("  revoked {at}")).unwrap_or_default();
                let AgentLogin { account, agent, since, .. } = login;
                writeln!(out, "{agent}  account {account}  password since {since}{revoked}")?;
            }
        }
        AgentCommand::Revoke { config, account, agent } => {
            let store = open_store(&Config::load(&config.config)?).await?;
            let found = store.login(&AccountId(account), &AgentId(agent)).await?;
            let Some(login) = found.filter(|login| login.revoked_on.is_none()) else {
                bail!("there is no such agent who could sign in");
            };
            store.put_login(AgentLogin { revoked_on: Some(RealWorld::new().now()), ..login }).await?;
            writeln!(out, "revoked. What was signed in opens nothing any more within five seconds.")?;
        }
    }
    Ok(())
}

fn make_password() -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(&RealWorld::new().secret()[..PASSWORD_BYTES]))
}

fn read_password(input: &mut dyn BufRead) -> anyhow::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    input.read_line(&mut line).context("the password cannot be read")?;
    let password = Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned());
    if !PASSWORD_CHARS.contains(&password.chars().count()) {
        bail!("a password has {} to {} characters", PASSWORD_CHARS.start(), PASSWORD_CHARS.end());
    }
    Ok(password)
}

/// Beside the server, which may be running.
async fn open_store(config: &Config) -> anyhow::Result<Store> {
    Ok(hushpad_store::open(&config.store_url, Ownership::Guest).await?)
}
