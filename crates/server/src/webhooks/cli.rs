//! `hushpad webhooks`: dead letters listed and sent again, and a receiver for integrators to look at what arrives.

use std::io::Write;

use anyhow::bail;
use hushpad_domain::ids::{AccountId, DeliveryId};
use hushpad_domain::ports::{Webhooks, World};
use hushpad_domain::webhook::{Delivery, DeliveryList, DeliveryState, Listed, Receiver};
use hushpad_store::{Ownership, Store};
use uuid::Uuid;

use super::listen;
use crate::cli::WebhooksCommand;
use crate::config::Config;
use crate::world::RealWorld;

/// Read from the store at one time.
const PAGE: u32 = 100;

/// Does what the command line asks.
///
/// # Errors
/// What was wrong, for the person at the terminal.
pub async fn run(
    command: WebhooksCommand,
    stop: impl Future + Send,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    match command {
        WebhooksCommand::List { config, account, due } => {
            let config = Config::load(&config.config)?;
            let accounts = accounts(&config, account)?;
            let store = open_store(&config).await?;
            let state = if due { Listed::Due } else { Listed::Dead };
            for account in accounts {
                list(&store, account, state, out).await?;
            }
            store.close().await;
        }
        WebhooksCommand::Replay { config, account, id } => {
            let config = Config::load(&config.config)?;
            let accounts = accounts(&config, account)?;
            let store = open_store(&config).await?;
            let now = RealWorld::new().now();
            let mut found = None;
            for account in &accounts {
                found = found.or(store.replay(account, DeliveryId(id), now).await?);
            }
            store.close().await;
            let Some(delivery) = found else { bail!("there is no webhook {id}") };
            write_row(&delivery, out)?;
        }
        WebhooksCommand::Listen(arguments) => listen::run(&arguments, stop, out).await?,
    }
    Ok(())
}

/// The one that is meant, or all.
fn accounts(config: &Config, account: Option<String>) -> anyhow::Result<Vec<AccountId>> {
    let Some(account) = account.map(AccountId) else {
        return Ok(config.directory.accounts().iter().map(|account| account.id.clone()).collect());
    };
    if config.directory.account(&account).is_none() {
        bail!("there is no account {account} in the config file");
    }
    Ok(vec![account])
}

/// Beside the server, which may be running.
async fn open_store(config: &Config) -> anyhow::Result<Store> {
    Ok(hushpad_store::open(&config.store_url, Ownership::Guest).await?)
}

async fn list(
    store: &Store,
    account: AccountId,
    state: Listed,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let mut after: Option<DeliveryId> = None;
    loop {
        let list = DeliveryList { account: account.clone(), state, after, limit: PAGE };
        let page = store.deliveries(list).await?;
        for delivery in &page {
            write_row(delivery, out)?;
        }
        match page.last() {
            Some(last) => after = Some(last.id),
            None => return Ok(()),
        }
    }
}

fn write_row(delivery: &Delivery, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let Delivery { id, session, receiver, created_on, tries, last, state, .. } = delivery;
    let state = match state {
        DeliveryState::Due { at } => format!("due {at}"),
        DeliveryState::Delivered { at } => format!("delivered {at}"),
        DeliveryState::Dead { at } => format!("dead since {at}"),
    };
    let last = last.map(|answer| answer.word()).unwrap_or_default();
    let Receiver { account, configuration } = receiver;
    writeln!(
        out,
        "{id}  session {session}  account {account} configuration {configuration}  made {created_on}  {state}  tries {tries}  {last}"
    )?;
    Ok(())
}

/// A delivery's id on the command line.
///
/// # Errors
/// It is no guid.
pub fn parse_id(text: &str) -> Result<Uuid, String> {
    Uuid::try_parse(text).map_err(|_| "must be the guid that `hushpad webhooks list` shows".to_owned())
}
