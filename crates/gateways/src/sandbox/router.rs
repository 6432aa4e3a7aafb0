//! From a request to its answer: which gateway, what goes wrong before, and what goes wrong after.

use std::time::Duration;

use ::http::Response;
use hyper::body::Incoming;

use super::faults::Fault;
use super::faulty_io::{Spoil, WireFault};
use super::format::Format;
use super::http::{Ask, Content, Reply, flood};
use super::ledger::Ledger;
use super::turn::{Stop, Turn};
use super::{acs, admin};
use crate::wire::BODY_BYTES_MAX;

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends here, as planned")]
pub(super) struct Dropped;

type Answer = Result<Response<Content>, Dropped>;

/// Answers a request, or does what its amount or a rule asks for.
pub(super) async fn answer(ledger: &Ledger, wire: &WireFault, request: ::http::Request<Incoming>) -> Answer {
    let Ok(ask) = Ask::read(request).await else {
        return Ok(Reply::text(413, "text/plain", "the body is too long or ended early").into_response());
    };
    if acs::is_path(&ask.path) {
        return Ok(acs::answer(ledger, &ask).into_response());
    }
    let Some(format) = Format::of_path(&ask.path) else {
        return Ok(admin::answer(ledger, &ask));
    };
    let (result, fault) = decide(ledger, format, &ask);
    // Card data goes as soon as it is judged, also where the answer is late.
    drop(ask);
    match (result, fault) {
        (Ok(reply), fault) => tell(reply, fault, format, wire).await,
        (Err(Stop::Unwritable), _) => Ok(format.trouble(503).into_response()),
        (Err(Stop::Fault(fault)), _) => refuse(fault, format, wire).await,
    }
}

fn decide(ledger: &Ledger, format: Format, ask: &Ask) -> (Result<Reply, Stop>, Option<Fault>) {
    let now = ledger.now();
    let (result, fault) = ledger.with(|books| {
        let fault = books.plan.take(format, ask.method.as_str(), &ask.path);
        if let Some(fault) = fault.filter(|fault| fault.is_before_commit()) {
            return (Err(Stop::Fault(fault)), None);
        }
        let mut turn = Turn { books, ask, now, fault };
        (format.answer(&mut turn), turn.fault)
    });
    ledger.changed();
    (result, fault)
}

/// What happens instead of processing.
async fn refuse(fault: Fault, format: Format, wire: &WireFault) -> Answer {
    match fault {
        Fault::Throttled => Ok(format.trouble(429).into_response()),
        Fault::NeverProcessed => std::future::pending().await,
        Fault::ResetBeforeCommit => {
            wire.set(Spoil::Reset);
            Err(Dropped)
        }
        _ => Ok(format.trouble(503).into_response()),
    }
}

/// Tells what is written down, in the manner that was asked for.
async fn tell(mut reply: Reply, fault: Option<Fault>, format: Format, wire: &WireFault) -> Answer {
    match fault {
        None | Some(Fault::OtherAmount | Fault::OtherCurrency) => {}
        Some(Fault::Slow { delay_ms }) => {
            tokio::time::sleep(Duration::from_millis(u64::from(delay_ms))).await;
        }
        Some(Fault::NeverAnswered | Fault::NeverProcessed) => std::future::pending().await,
        Some(Fault::ResetAfterCommit | Fault::ResetBeforeCommit) => {
            wire.set(Spoil::Reset);
            return Err(Dropped);
        }
        Some(Fault::ErrorAfterCommit) => reply = format.trouble(500),
        Some(Fault::Unavailable) => reply = format.trouble(503),
        Some(Fault::Throttled) => reply = format.trouble(429),
        Some(Fault::Garbage) => wire.set(Spoil::Garbage),
        Some(Fault::Truncated) => wire.set(Spoil::Half),
        Some(Fault::Twice) => wire.set(Spoil::Twice),
        Some(Fault::TooLong) => reply.body.push_str(&" ".repeat(4 * BODY_BYTES_MAX)),
        Some(Fault::Flood) => return Ok(flood()),
        Some(Fault::WebPage) => {
            reply = Reply::text(200, "text/html", "<!doctype html><title>Sign in</title>");
        }
    }
    Ok(reply.into_response())
}
