//! Stripe: PaymentIntents, PaymentMethods, SetupIntents, refunds. Every POST with an `Idempotency-Key` is
//! answered once and replayed for 24 hours, errors too (docs.stripe.com/api/idempotent_requests).

mod intents;
mod methods;
pub(super) mod objects;
mod refunds;
mod setups;

use std::time::Duration;

use serde_json::{Value, json};

use super::faults::Fault;
use super::http::Reply;
use super::ids;
use super::ledger::books::{Entry, Replay};
use super::turn::{Decimals, Stop, Turn};

/// The secret key.
pub const STRIPE_KEY: &str = "sk_test_sandbox";

/// Keys are removed "after they're at least 24 hours old".
const KEY_LIFE_S: i64 = 24 * 60 * 60;

/// "up to 255 characters".
const KEY_CHARS_MAX: usize = 255;

/// Where Stripe does not write ISO 4217's decimals, or takes not every amount (docs.stripe.com/currencies).
const DECIMALS: Decimals = Decimals {
    own: &[
        ("ISK", 2, 100),
        ("UGX", 2, 100),
        ("MGA", 0, 1),
        ("BHD", 3, 10),
        ("JOD", 3, 10),
        ("KWD", 3, 10),
        ("OMR", 3, 10),
        ("TND", 3, 10),
    ],
};

pub(super) fn answer(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let ask = turn.ask;
    if ask.header("authorization") != format!("Bearer {STRIPE_KEY}") && !ask.is_basic(STRIPE_KEY, "") {
        return Ok(error(401, "invalid_request_error", json!({ "message": "Invalid API Key provided." })));
    }
    let key = ask.header("idempotency-key");
    if !ask.is_post() || key.is_empty() {
        return route(turn);
    }
    if key.len() > KEY_CHARS_MAX {
        return Ok(invalid("Idempotency-Key", "The key is longer than 255 characters."));
    }
    let (key, print) = (format!("stripe {key}"), ask.print());
    if let Some(known) =
        turn.books.replay(&key).filter(|r| turn.now.as_seconds() - r.on.as_seconds() < KEY_LIFE_S)
    {
        return Ok(replayed(known, &print, turn));
    }
    let reply = route(turn)?;
    // What fails before it is started is not kept.
    if !matches!(reply.status, 400 | 401 | 404 | 429) {
        let busy = match turn.fault {
            Some(Fault::Slow { delay_ms }) => Duration::from_millis(u64::from(delay_ms)),
            _ => Duration::ZERO,
        };
        let kept = if turn.fault == Some(Fault::ErrorAfterCommit) { trouble(500) } else { reply.clone() };
        let replay = Replay { print, reply: kept, on: turn.now, busy_until: turn.now.plus(busy) };
        turn.books.put(Entry::Replay(key, replay))?;
    }
    Ok(reply)
}

fn replayed(known: &Replay, print: &str, turn: &Turn<'_>) -> Reply {
    if known.print != print {
        let message = "Keys for idempotent requests can only be used with the same parameters they were first used with.";
        return error(400, "idempotency_error", json!({ "message": message }));
    }
    if known.busy_until > turn.now {
        let message = "There is currently another in-progress request using this Idempotent Key.";
        let more = json!({ "code": "idempotency_key_in_use", "message": message });
        return error(409, "idempotency_error", more);
    }
    known.reply.clone().with("idempotent-replayed", "true")
}

pub(super) fn trouble(status: u16) -> Reply {
    match status {
        429 => {
            let message = "Request rate limit exceeded.";
            error(429, "invalid_request_error", json!({ "code": "rate_limit", "message": message }))
        }
        _ => error(status, "api_error", json!({ "message": "An unknown error occurred" })),
    }
}

fn route(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let ask = turn.ask;
    let parts = ask.parts();
    let reply = match (ask.is_post(), parts.get(1..).unwrap_or_default()) {
        (true, ["payment_intents"]) => intents::create(turn),
        (false, ["payment_intents", "search"]) => intents::search(turn),
        (false, ["payment_intents", id]) => intents::look(turn, id),
        (true, ["payment_intents", id]) => intents::update(turn, id),
        (true, ["payment_intents", id, "confirm"]) => intents::confirm(turn, id),
        (true, ["payment_intents", id, "capture"]) => intents::capture(turn, id),
        (true, ["payment_intents", id, "cancel"]) => intents::cancel(turn, id),
        (true, ["payment_methods"]) => methods::create(turn),
        (false, ["payment_methods", id]) => methods::look(turn, id),
        (true, ["payment_methods", id, "attach"]) => methods::attach(turn, id),
        (true, ["customers"]) => methods::customer(turn),
        (true, ["setup_intents"]) => setups::create(turn),
        (true, ["setup_intents", id, "confirm"]) => setups::confirm(turn, id),
        (false, ["setup_intents", id]) => setups::look(turn, id),
        (true, ["refunds"]) => refunds::create(turn),
        (false, ["refunds", id]) => refunds::look(turn, id),
        _ => Ok(missing("Unrecognized request URL.")),
    }?;
    let request = format!("req_{}", ids::smalls(&format!("{} {}", ask.path, ask.print()), 14));
    Ok(reply.with("request-id", request).with("stripe-version", "2024-06-20"))
}

/// An error, with the members that its kind has.
fn error(status: u16, kind: &str, more: Value) -> Reply {
    let mut error = more;
    error["type"] = json!(kind);
    Reply::json(status, &json!({ "error": error }))
}

fn invalid(parameter: &str, message: &str) -> Reply {
    let more = json!({ "code": "parameter_invalid_empty", "param": parameter, "message": message });
    error(400, "invalid_request_error", more)
}

fn missing(message: &str) -> Reply {
    error(404, "invalid_request_error", json!({ "code": "resource_missing", "message": message }))
}
