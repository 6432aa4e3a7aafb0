//! Adyen Checkout v72: payments are answered at once, what follows them by notification. The same
//! `Idempotency-Key` gets the first answer again (docs.adyen.com/development-resources/api-idempotency).

mod modifications;
pub(super) mod notices;
pub(super) mod payments;

use std::time::Duration;

use serde_json::json;

use super::faults::Fault;
use super::http::Reply;
use super::ledger::books::{Entry, Replay};
use super::turn::{Decimals, Stop, Turn};

/// The API key.
pub const ADYEN_API_KEY: &str = "sandbox-api-key";
/// The merchant account.
pub const ADYEN_MERCHANT: &str = "SandboxMerchant";
/// The HMAC key of notifications, in hex.
pub const ADYEN_HMAC_KEY: &str = "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF";

/// "maximum 64 characters".
const KEY_CHARS_MAX: usize = 64;
/// Keys are "valid for a minimum period of 7 days".
const KEY_LIFE_S: i64 = 7 * 24 * 60 * 60;

/// Where Adyen does not write ISO 4217's decimals (docs.adyen.com/development-resources/currency-codes).
const DECIMALS: Decimals = Decimals { own: &[("CLP", 2, 1), ("CVE", 0, 1), ("IDR", 0, 1), ("ISK", 2, 1)] };

pub(super) fn answer(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let ask = turn.ask;
    if ask.header("x-api-key") != ADYEN_API_KEY {
        return Ok(error(401, "000", "security", "HTTP Status Response - Unauthorized"));
    }
    let Some(body) = ask.json().filter(|_| ask.is_post()) else {
        return Ok(error(400, "702", "validation", "Structure of the request is not valid"));
    };
    // What the payer brought says which merchant it is.
    if body["merchantAccount"] != ADYEN_MERCHANT && ask.parts().get(1..) != Some(&["payments", "details"]) {
        return Ok(error(403, "901", "security", "Invalid Merchant Account"));
    }
    let key = ask.header("idempotency-key");
    if key.len() > KEY_CHARS_MAX {
        return Ok(error(422, "702", "validation", "The Idempotency-Key is longer than 64 characters"));
    }
    let key = format!("adyen {key}");
    if let Some(known) =
        turn.books.replay(&key).filter(|r| turn.now.as_seconds() - r.on.as_seconds() < KEY_LIFE_S)
    {
        if known.busy_until > turn.now {
            let reply = error(422, "704", "validation", "request already processed or in progress");
            return Ok(reply.with("transient-error", "true"));
        }
        return Ok(known.reply.clone());
    }
    let reply = route(turn, &body)?;
    if key != "adyen " && reply.status < 400 {
        let busy = match turn.fault {
            Some(Fault::Slow { delay_ms }) => Duration::from_millis(u64::from(delay_ms)),
            _ => Duration::ZERO,
        };
        let replay = Replay {
            print: String::new(),
            reply: reply.clone(),
            on: turn.now,
            busy_until: turn.now.plus(busy),
        };
        turn.books.put(Entry::Replay(key, replay))?;
    }
    Ok(reply)
}

fn route(turn: &mut Turn<'_>, body: &serde_json::Value) -> Result<Reply, Stop> {
    let parts = turn.ask.parts();
    match parts.get(1..).unwrap_or_default() {
        ["payments"] => payments::pay(turn, body),
        ["payments", "details"] => payments::details(turn, body),
        ["storedPaymentMethods"] => payments::store(turn, body),
        ["cancels"] => modifications::cancel_by_reference(turn, body),
        ["payments", psp, what @ ("captures" | "cancels" | "refunds" | "reversals")] => {
            modifications::modify(turn, body, psp, what)
        }
        _ => Ok(error(404, "000", "validation", "There is no such path")),
    }
}

pub(super) fn trouble(status: u16) -> Reply {
    match status {
        429 => error(429, "000", "validation", "Too many requests"),
        _ => error(status, "905", "internal", "Payment details are not supported"),
    }
}

fn error(status: u16, code: &str, kind: &str, message: &str) -> Reply {
    let body = json!({ "status": status, "errorCode": code, "message": message, "errorType": kind });
    Reply::json(status, &body)
}
