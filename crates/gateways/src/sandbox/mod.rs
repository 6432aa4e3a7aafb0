//! Gateways that take no money: for the first payment after cloning, and for tests.
//!
//! One listener speaks like six gateways, each with its own rules: who may ask, what is a duplicate, what can
//! follow a payment, how currencies are written. `docs/gateway-sim.md` has the paths, and the table of cards and
//! amounts that decline, fail or dawdle.
//!
//! | gateway | file |
//! |---|---|
//! | the JSON of [`crate::generic`] | `generic.rs` |
//! | CyberSource REST | `cybersource/` |
//! | Stripe | `stripe/` |
//! | Adyen Checkout v72 | `adyen/` |
//! | Access Worldpay, Card Payments v7 | `worldpay/` |
//! | Mastercard Payment Gateway Services | `mpgs/` |
//!
//! Behind all of them is one issuer (`issuer.rs`, `magic.rs`) and one [`Ledger`]: what was reserved, taken, given
//! back and undone, by the merchant's reference. What goes wrong is planned (`faults.rs`) by a magic amount, by a
//! rule, or by chance with a seed.
//!
//! A card that its issuer wants to see leads the payer of a web page to the bank's own page (`acs.rs`), where a person
//! confirms or refuses.
//!
//! A request is answered in one step while the books are held (`turn.rs`), so that nothing can come in between.
//! No card number is kept: first six and last four digits only.

mod acs;
mod admin;
mod adyen;
mod cybersource;
mod faults;
mod faulty_io;
mod format;
mod generic;
mod http;
mod ids;
mod issuer;
mod ledger;
mod magic;
mod mpgs;
mod notifier;
mod page;
mod router;
mod stripe;
mod turn;
mod worldpay;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use ::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub use self::adyen::{ADYEN_API_KEY, ADYEN_HMAC_KEY, ADYEN_MERCHANT};
pub use self::cybersource::{CYBERSOURCE_KEY_ID, CYBERSOURCE_MERCHANT, CYBERSOURCE_SECRET};
pub use self::faults::{Chaos, Fault, Rule};
use self::faulty_io::{FaultyIo, Spoil, WireFault};
pub use self::format::Format;
pub use self::ledger::{Charge, Decision, Kind, Ledger, Movement, Step};
pub use self::mpgs::MPGS_MERCHANT;
pub use self::stripe::STRIPE_KEY;
pub use self::worldpay::WORLDPAY_ENTITY;

/// The user of HTTP Basic.
pub const USER: &str = "sandbox";
/// The password of HTTP Basic. It guards nothing: no money moves here.
pub const PASSWORD: &str = "sandbox";

/// Enough for load tests of one node; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 512;

/// How long a client may take to send the head of its request.
const HEAD_TIME_OUT: Duration = Duration::from_secs(10);

/// Serves the sandbox until `shutdown` is done. Open requests are dropped then.
pub async fn serve(mut listener: TcpListener, ledger: Ledger, shutdown: impl Future) {
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    let mut notifier = JoinSet::new();
    notifier.spawn(notifier::run(ledger.clone()));
    loop {
        let has_room = connections.len() < CONNECTIONS_MAX;
        tokio::select! {
            _ = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            length = ledger.closes() => match closed(listener, length).await {
                Some(opened) => listener = opened,
                None => return,
            },
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => { connections.spawn(converse(stream, ledger.clone())); }
                // No descriptor left, most likely: let others end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

/// Nobody listens for a while: connections are refused. `None` when the address is taken by then.
async fn closed(listener: TcpListener, length: Duration) -> Option<TcpListener> {
    let address = listener.local_addr().ok()?;
    drop(listener);
    tokio::time::sleep(length).await;
    TcpListener::bind(address).await.ok()
}

async fn converse(stream: TcpStream, ledger: Ledger) {
    let fault = WireFault::default();
    let stream = FaultyIo::new(stream, fault.clone());
    if ledger.takes_reset() {
        fault.set(Spoil::Reset);
        return;
    }
    let service = service_fn(|request: Request<Incoming>| router::answer(&ledger, &fault, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_OUT)
        .serve_connection(TokioIo::new(stream), service);
    // It fails when the client goes away, or when the plan says so.
    let _ = connection.await;
}
