//! `hushpad gateway-sim`: the gateway simulator as a program of its own, so that its ledger outlives us.

use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;

use anyhow::Context;
use hushpad_domain::ports::World;
use hushpad_gateways::sandbox::{self, Ledger};
use tokio::net::TcpListener;

use crate::cli::GatewaySimArgs;
use crate::world::RealWorld;

/// Serves until `stop` is done.
///
/// # Errors
/// When the address, the ledger's file or the URL for notifications cannot be used.
pub async fn run(arguments: &GatewaySimArgs, stop: impl Future) -> anyhow::Result<()> {
    let world = RealWorld::new();
    let clock = move || world.now();
    let ledger = match &arguments.ledger {
        Some(path) => Ledger::open(path, clock).with_context(|| format!("the ledger {}", path.display()))?,
        None => Ledger::in_memory_at(clock),
    };
    if arguments.ecommerce {
        ledger.take_ecommerce();
    }
    anyhow::ensure!(ledger.notify(arguments.notify.as_deref()), "--notify is no URL");
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    tell(listener.local_addr()?)?;
    sandbox::serve(listener, ledger, stop).await;
    Ok(())
}

/// What goes into a configuration, and where to look.
fn tell(address: SocketAddr) -> io::Result<()> {
    let (user, password) = (sandbox::USER, sandbox::PASSWORD);
    let gateways = [
        ("generic", "/charges", format!("user \"{user}\", password \"{password}\"")),
        (
            "cybersource",
            "",
            format!(
                "merchant_id \"{}\", key_id \"{}\", secret \"{}\"",
                sandbox::CYBERSOURCE_MERCHANT,
                sandbox::CYBERSOURCE_KEY_ID,
                sandbox::CYBERSOURCE_SECRET
            ),
        ),
        ("stripe", "", format!("secret \"{}\"", sandbox::STRIPE_KEY)),
        (
            "adyen",
            "/v72",
            format!(
                "merchant_account \"{}\", secret \"{}\"",
                sandbox::ADYEN_MERCHANT,
                sandbox::ADYEN_API_KEY
            ),
        ),
        (
            "worldpay",
            "",
            format!("user \"{user}\", password \"{password}\", entity \"{}\"", sandbox::WORLDPAY_ENTITY),
        ),
        ("mpgs", "", format!("merchant \"{}\", password \"{password}\"", sandbox::MPGS_MERCHANT)),
    ];
    let mut out = io::stdout();
    writeln!(out, "gateway simulator: no money moves here")?;
    for (kind, path, credentials) in gateways {
        writeln!(out, "  {kind:<12} url \"http://{address}{path}\", {credentials}")?;
    }
    writeln!(out, "  ledger       http://{address}/ledger (user \"{user}\", password \"{password}\")")
}
