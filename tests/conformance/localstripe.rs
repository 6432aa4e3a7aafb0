//! localstripe, a stateful Stripe that others wrote: the happy path only. It ignores idempotency keys and
//! approves what Stripe declines, so it is asked for nothing else, and not what became of a payment either.

use std::process::Command;

use hushpad_gateways::GatewayKind;

use crate::shop::Shop;
use crate::tools::{Running, free_port, python, script};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_stripe_takes_our_sale_and_gives_it_back() {
    let address = free_port();
    let mut command = Command::new(python());
    command.arg(script("localstripe_loopback.py")).arg(address.port().to_string());
    let _stripe = Running::listening_on(command, address);
    let kind =
        GatewayKind::Stripe { url: format!("http://{address}"), secret_key: "sk_test_12345".to_owned() };
    Shop::new(kind, None).that_does_not_ask().sells_and_gives_back().await;
}
