//! `/v1/payment_methods` and `/v1/customers`.

use serde_json::json;

use super::intents::metadata;
use super::objects::{card_error, method};
use super::{invalid, missing};
use crate::sandbox::format::Format;
use crate::sandbox::http::Reply;
use crate::sandbox::ids;
use crate::sandbox::issuer::{CardAsked, Standing};
use crate::sandbox::ledger::books::{Entry, Token};
use crate::sandbox::turn::{Stop, Turn};

pub(super) fn create(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let form = turn.ask.form();
    let text = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if text("type") != "card" {
        return Ok(invalid("type", "Only cards are known here."));
    }
    let card = turn.look(&CardAsked {
        number: text("card[number]"),
        month: text("card[exp_month]"),
        year: text("card[exp_year]"),
        code: form.get("card[cvc]").map(String::as_str),
        has_address: form.contains_key("billing_details[address][postal_code]"),
    });
    if let Standing::Declined(reason) = card.standing
        && reason.is_malformed()
    {
        return Ok(Reply::json(402, &json!({ "error": card_error(reason) })));
    }
    let id = format!("pm_{}", ids::smalls(&turn.seed()?, 24));
    let mut shown = method(&id, &card, "", turn.now);
    shown["metadata"] = json!(metadata(&form));
    let token = Token { format: Format::Stripe, card, owner: String::new(), is_keyed: true };
    turn.books.put(Entry::Token(id, token))?;
    Ok(Reply::json(200, &shown))
}

pub(super) fn look(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    Ok(match turn.books.token(Format::Stripe, id) {
        Some(token) => Reply::json(200, &method(id, &token.card, &token.owner, turn.now)),
        None => missing("No such payment_method"),
    })
}

/// From then on it is a card on file, and need not be MOTO.
pub(super) fn attach(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let Some(customer) = turn.ask.form().get("customer").cloned() else {
        return Ok(invalid("customer", "Missing required param: customer."));
    };
    let Some(token) = turn.books.token(Format::Stripe, id).cloned() else {
        return Ok(missing("No such payment_method"));
    };
    let shown = method(id, &token.card, &customer, turn.now);
    let token = Token { owner: customer, is_keyed: false, ..token };
    turn.books.put(Entry::Token(id.to_owned(), token))?;
    Ok(Reply::json(200, &shown))
}

pub(super) fn customer(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let form = turn.ask.form();
    let id = format!("cus_{}", ids::smalls(&turn.seed()?, 14));
    let shown = json!({
        "id": id, "object": "customer", "created": turn.now.as_seconds(), "livemode": false,
        "description": form.get("description"), "email": form.get("email"), "name": form.get("name"),
        "metadata": metadata(&form), "shipping": null, "balance": 0, "default_source": null,
    });
    Ok(Reply::json(200, &shown))
}
