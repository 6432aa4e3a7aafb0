//! `hushpad gateway-sim`: the sandbox gateway as a program of its own, so that its ledger outlives us.

use std::future::Future;
use std::io::{self, Write};

use anyhow::Context;
use hushpad_gateways::sandbox::{self, Ledger};
use tokio::net::TcpListener;

use crate::cli::GatewaySimArgs;
use crate::world::this_month;

/// Serves until `stop` is done.
///
/// # Errors
/// When the address or the ledger's file cannot be used.
pub async fn run(arguments: &GatewaySimArgs, stop: impl Future) -> anyhow::Result<()> {
    let ledger = match &arguments.ledger {
        Some(path) => {
            Ledger::open(path, this_month).with_context(|| format!("the ledger {}", path.display()))?
        }
        None => Ledger::in_memory(this_month),
    };
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let address = listener.local_addr()?;
    let mut out = io::stdout();
    writeln!(out, "sandbox gateway: no money moves here")?;
    writeln!(out, "  url = \"http://{address}/charges\"")?;
    writeln!(out, "  user = \"{}\", password \"{}\"", sandbox::USER, sandbox::PASSWORD)?;
    writeln!(out, "  every charge: curl -u {}:{} http://{address}/ledger", sandbox::USER, sandbox::PASSWORD)?;
    sandbox::serve(listener, ledger, stop).await;
    Ok(())
}
