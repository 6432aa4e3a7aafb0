//! Mastercard Payment Gateway Services, REST: an order and a transaction are named by the merchant, so the same
//! `PUT` can be sent again and again.

mod transactions;
mod view;

use serde_json::json;

use super::PASSWORD;
use super::format::Format;
use super::http::{Reply, text_at};
use super::ids;
use super::issuer::{CardAsked, CardFacts, Reason, Standing};
use super::ledger::books::{Entry, Token};
use super::turn::{Decimals, Stop, Turn};

/// The merchant's id.
pub const MPGS_MERCHANT: &str = "SANDBOX";

/// The versions of the API that are answered.
const VERSIONS: std::ops::RangeInclusive<u16> = 60..=100;

/// Amounts are decimal numbers with ISO 4217's decimals.
const DECIMALS: Decimals = Decimals { own: &[] };

pub(super) fn answer(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let ask = turn.ask;
    if !ask.is_basic(&format!("merchant.{MPGS_MERCHANT}"), PASSWORD) {
        return Ok(error(401, "INVALID_REQUEST", "Invalid credentials.", None));
    }
    let parts = ask.parts();
    let ["api", "rest", "version", version, "merchant", merchant, rest @ ..] = parts.as_slice() else {
        return Ok(error(404, "INVALID_REQUEST", "There is no such path.", None));
    };
    let is_known = version.parse().is_ok_and(|version: u16| VERSIONS.contains(&version));
    if !is_known || *merchant != MPGS_MERCHANT {
        return Ok(error(400, "INVALID_REQUEST", "Unknown version or merchant.", None));
    }
    match (ask.method.as_str(), rest) {
        ("PUT", ["order", order, "transaction", id]) => transactions::put(turn, order, id),
        ("GET", ["order", order, "transaction", id]) => transactions::look(turn, order, Some(id)),
        ("GET", ["order", order]) => transactions::look(turn, order, None),
        ("POST", ["token"]) => tokenise(turn, None),
        ("PUT", ["token", id]) => tokenise(turn, Some(id)),
        _ => Ok(error(404, "INVALID_REQUEST", "There is no such path.", None)),
    }
}

pub(super) fn trouble(status: u16) -> Reply {
    match status {
        429 => error(429, "SERVER_BUSY", "The server is busy. Please try again.", None),
        503 => error(503, "SERVER_BUSY", "The server is busy. Please try again.", None),
        _ => error(500, "SERVER_FAILED", "An error occurred.", None),
    }
}

/// An error of the request; a field is to blame or none.
fn error(status: u16, cause: &str, explanation: &str, field: Option<&str>) -> Reply {
    let mut error = json!({ "cause": cause, "explanation": explanation });
    if let Some(field) = field {
        error["field"] = json!(field);
        error["validationType"] = json!("INVALID");
    }
    Reply::json(status, &json!({ "error": error, "result": "ERROR" }))
}

fn invalid(field: &str) -> Reply {
    error(400, "INVALID_REQUEST", "The value of a field is missing or wrong.", Some(field))
}

/// The card of `sourceOfFunds`, and whether it was keyed; or the field that is to blame.
fn card_of(turn: &Turn<'_>, body: &serde_json::Value) -> Result<(CardFacts, bool), &'static str> {
    const NUMBER: &str = "sourceOfFunds.provided.card.number";
    let source = &body["sourceOfFunds"];
    if let Some(id) = text_at(source, &["token"]) {
        let token = turn.books.token(Format::Mpgs, &id).ok_or("sourceOfFunds.token")?;
        return Ok((token.card.clone(), false));
    }
    let card = &source["provided"]["card"];
    let text = |path: &[&str]| text_at(card, path).unwrap_or_default();
    let (number, month, year) = (text(&["number"]), text(&["expiry", "month"]), text(&["expiry", "year"]));
    let code = text_at(card, &["securityCode"]);
    let has_address = body["billing"]["address"].get("postcodeZip").is_some();
    let asked = CardAsked { number: &number, month: &month, year: &year, code: code.as_deref(), has_address };
    let facts = turn.look(&asked);
    match facts.standing {
        Standing::Declined(Reason::IncorrectNumber | Reason::InvalidNumber) => Err(NUMBER),
        Standing::Declined(Reason::InvalidExpiryMonth) => Err("sourceOfFunds.provided.card.expiry.month"),
        Standing::Declined(Reason::InvalidExpiryYear) => Err("sourceOfFunds.provided.card.expiry.year"),
        Standing::Declined(Reason::InvalidCvc) => Err("sourceOfFunds.provided.card.securityCode"),
        _ => Ok((facts, true)),
    }
}

/// `POST …/token` and `PUT …/token/{id}`.
fn tokenise(turn: &mut Turn<'_>, id: Option<&str>) -> Result<Reply, Stop> {
    let body = turn.ask.json().unwrap_or_default();
    let card = match card_of(turn, &body) {
        Ok((card, _)) => card,
        Err(field) => return Ok(invalid(field)),
    };
    let id = match id {
        Some(id) => id.to_owned(),
        None => ids::capitals(&turn.seed()?, 16),
    };
    let reply = json!({
        "result": "SUCCESS", "status": "VALID", "token": id, "repositoryId": "SANDBOX",
        "response": { "gatewayCode": "BASIC_VERIFICATION_SUCCESSFUL" },
        "sourceOfFunds": { "type": "CARD", "provided": { "card": view::card(&card) } },
    });
    let token = Token { format: Format::Mpgs, card, owner: String::new(), is_keyed: false };
    turn.books.put(Entry::Token(id, token))?;
    Ok(Reply::json(201, &reply))
}
