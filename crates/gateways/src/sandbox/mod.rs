//! A gateway that takes no money: for the first payment after cloning, and for tests.
//!
//! It speaks the JSON of [`crate::generic`] on three doors, all with HTTP Basic ([`USER`], [`PASSWORD`]):
//! `POST /charges`, `GET /charges?transaction_id=…`, and `GET /ledger` (every charge it has decided). The same
//! `transaction_id` gets the first decision again and is never charged twice.
//!
//! Cards are checked as a bank would: check digit, expiry, length of the security code. Everything is approved
//! but these published test numbers (docs.stripe.com/testing):
//!
//! | card number | answer |
//! |---|---|
//! | 4000 0000 0000 0002 | `card_declined` |
//! | 4000 0000 0000 9995 | `insufficient_funds` |
//! | 4000 0000 0000 6975 | `card_velocity_exceeded` |
//! | 4000 0000 0000 0069 | `expired_card`, unless its expiry is 12/31 |
//! | 4000 0000 0000 0127 | `incorrect_cvc`, unless its code is 321 |
//! | 4000 0000 0000 0119 | `processing_error` |
//! | 4000 0000 0000 9987 | `lost_card` |
//! | 4000 0000 0000 9979 | `stolen_card` |
//!
//! and but these amounts, by their last four digits in minor units (66.01, 166.01, …; 6601 in JPY):
//!
//! | amount | what happens |
//! |---|---|
//! | 66.01 | declined: `card_declined` |
//! | 66.02 | declined: `insufficient_funds` |
//! | 66.03 | declined: `expired_card` |
//! | 66.04 | declined: `incorrect_cvc` |
//! | 66.05 | declined: `incorrect_number` |
//! | 66.06 | declined: `stolen_card` |
//! | 67.01 | charged at once, answered after three seconds |
//! | 67.02 | charged, never answered |
//! | 67.03 | charged, then the connection is reset |
//! | 67.04 | not charged, the connection is reset |
//! | 67.05 | charged, then status 500 |
//! | 67.06 | charged, then bytes that are no HTTP |
//! | 67.07 | charged, then half an answer |
//! | 67.08 | charged, then an answer that is far too long |
//! | 67.09 | not charged, status 429 |
//! | 67.10 | charged, and the answer names another amount |
//! | 67.11 | not charged, never answered |
//! | 67.12 | charged, then a web page with status 200 |
//!
//! No card number is kept: first six and last four digits only.

mod faulty_io;
mod ledger;
mod plan;
mod service;

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use self::faulty_io::{Fault, FaultyIo, WireFault};
pub use self::ledger::{Charge, Decision, Ledger};

/// The user of HTTP Basic.
pub const USER: &str = "sandbox";
/// The password of HTTP Basic. It guards nothing: no money moves here.
pub const PASSWORD: &str = "sandbox";

/// Enough for load tests of one node; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 512;

/// How long a client may take to send the head of its request.
const HEAD_TIME_OUT: Duration = Duration::from_secs(10);

/// Serves the sandbox until `shutdown` is done. Open requests are dropped then.
pub async fn serve(listener: TcpListener, ledger: Ledger, shutdown: impl Future) {
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    loop {
        let has_room = connections.len() < CONNECTIONS_MAX;
        tokio::select! {
            _ = &mut shutdown => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, _)) => { connections.spawn(converse(stream, ledger.clone())); }
                // No descriptor left, most likely: let others end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

async fn converse(stream: TcpStream, ledger: Ledger) {
    let fault = WireFault::default();
    let stream = FaultyIo::new(stream, fault.clone());
    if ledger.takes_reset() {
        fault.set(Fault::Reset);
        return;
    }
    let service = service_fn(|request: Request<Incoming>| service::answer(&ledger, &fault, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_OUT)
        .serve_connection(TokioIo::new(stream), service);
    // It fails when the client goes away, or when the plan says so.
    let _ = connection.await;
}
