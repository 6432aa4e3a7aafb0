//! Access Worldpay, Card Payments v7: HTTP Basic, versioned media types, and links to what can follow. There is
//! no replay protection: the same `transactionReference` is charged again.

mod follow;
mod payments;
mod tokens;

use serde_json::{Value, json};

use super::http::{Ask, Reply};
use super::ledger::payment::Payment;
use super::turn::{Decimals, Stop, Turn};
use super::{PASSWORD, USER};

/// The merchant's entity.
pub const WORLDPAY_ENTITY: &str = "default";

const PAYMENTS_TYPE: &str = "application/vnd.worldpay.payments-v7";
const TOKENS_TYPE: &str = "application/vnd.worldpay.tokens-v3.hal+json";

/// Worldpay announces that the exponents of these may change, so none is taken here.
const UNSURE: [&str; 4] = ["CLP", "CVE", "ISK", "UGX"];
const DECIMALS: Decimals = Decimals { own: &[] };

pub(super) fn answer(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let ask = turn.ask;
    if !ask.is_basic(USER, PASSWORD) {
        return Ok(error(401, "accessDenied", "Access to the requested resource has been denied"));
    }
    if let Some(refused) = wrong_type(ask) {
        return Ok(refused);
    }
    let parts = ask.parts();
    let reply = match (ask.is_post(), parts.as_slice()) {
        (true, ["cardPayments", "customerInitiatedTransactions"]) => payments::pay(turn, true),
        (true, ["cardPayments", "merchantInitiatedTransactions"]) => payments::pay(turn, false),
        (true, ["tokens"]) => return tokens::create(turn),
        (false, ["payments", "events"]) => follow::by_reference(turn),
        (false, ["payments", "events", link]) => follow::by_link(turn, link),
        (true, ["payments", way @ .., link]) => follow::follow(turn, way, link),
        _ => Ok(not_found()),
    }?;
    Ok(reply.with("content-type", format!("{PAYMENTS_TYPE}.hal+json")))
}

/// A body must name its version, and so must what is accepted.
fn wrong_type(ask: &Ask) -> Option<Reply> {
    let is_token = ask.path.starts_with("/tokens");
    let own = |given: &str| {
        if is_token {
            given == TOKENS_TYPE
        } else {
            given.starts_with(PAYMENTS_TYPE) && given.ends_with("+json")
        }
    };
    let refuse = |status, name: &str| {
        let body = json!({
            "errorName": "headerHasInvalidValue", "message": "The required header has an invalid value",
            "headerName": name,
        });
        Some(Reply::json(status, &body))
    };
    if ask.is_post() && !ask.body.is_empty() && !own(ask.header("content-type")) {
        return refuse(415, "content-type");
    }
    let accept = ask.header("accept");
    let takes_any = accept.is_empty() || accept.contains("*/*");
    if takes_any || accept.split(", ").any(own) { None } else { refuse(406, "accept") }
}

pub(super) fn trouble(status: u16) -> Reply {
    match status {
        429 => error(429, "tooManyRequests", "Too many requests"),
        503 => error(503, "serviceUnavailable", "The service is unavailable"),
        _ => error(500, "internalErrorOccurred", "Internal server error"),
    }
}

fn error(status: u16, name: &str, message: &str) -> Reply {
    Reply::json(status, &json!({ "errorName": name, "message": message }))
}

fn not_found() -> Reply {
    error(404, "entityIsNotFound", "The requested resource could not be found")
}

/// A field of the body that is missing or wrong.
fn invalid(name: &str, path: &str) -> Reply {
    let body = json!({
        "errorName": "bodyDoesNotMatchSchema",
        "message": "The json body provided does not match the expected schema",
        "validationErrors": [{ "errorName": name, "message": "The field is missing or has an invalid value", "jsonPath": path }],
    });
    Reply::json(400, &body)
}

/// What can be done with a payment now. Answers of payments say `cardPayments:`, those of questions `payments:`.
fn links(ask: &Ask, payment: &Payment, prefix: &str) -> Value {
    let host = ask.header("host");
    let link = &payment.id;
    let mut links = json!({});
    let mut add = |name: &str, path: &str| {
        links[format!("{prefix}:{name}")] =
            json!({ "href": format!("http://{host}/payments/{path}/{link}") });
    };
    if payment.reserved() > 0 {
        add("cancel", "authorizations/cancellations");
        add("settle", "settlements");
        add("partialSettle", "settlements/partials");
    }
    if payment.taken() > 0 {
        add("refund", "settlements/refunds/full");
        add("partialRefund", "settlements/refunds/partials");
    }
    if payment.reserved() + payment.taken() > 0 {
        add("reverse", "authorizations/reversals");
    }
    add("events", "events");
    links["curies"] = json!([{ "name": prefix, "href": format!("http://{host}/rels/{prefix}/{{rel}}"), "templated": true }]);
    links
}
