//! Cards that are kept: instrument identifiers, payment instruments, customers. All stand for the same card here.

use serde_json::{Value, json};

use super::{invalid, not_found};
use crate::sandbox::format::Format;
use crate::sandbox::http::{Reply, text_at};
use crate::sandbox::ids;
use crate::sandbox::issuer::{CardAsked, CardFacts, Reason, Standing};
use crate::sandbox::ledger::books::{Entry, Token};
use crate::sandbox::turn::{Stop, Turn};

/// `tokenInformation` of a payment with `TOKEN_CREATE`.
pub(super) fn create(turn: &mut Turn<'_>, card: &CardFacts) -> Result<Value, Stop> {
    let mut information = json!({ "instrumentidentifierNew": true });
    for kind in ["instrumentIdentifier", "paymentInstrument", "customer"] {
        let id = keep(turn, card)?;
        information[kind] = json!({ "id": id });
    }
    information["instrumentIdentifier"]["state"] = json!("ACTIVE");
    Ok(information)
}

fn keep(turn: &mut Turn<'_>, card: &CardFacts) -> Result<String, Stop> {
    let id = ids::capitals(&turn.seed()?, 32);
    let token =
        Token { format: Format::CyberSource, card: card.clone(), owner: String::new(), is_keyed: false };
    turn.books.put(Entry::Token(id.clone(), token))?;
    Ok(id)
}

/// `POST /tms/v1/instrumentidentifiers`: a card number alone, so its expiry is far away.
pub(super) fn instrument_identifier(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let Some(body) = turn.ask.json() else { return Ok(not_found(turn.now)) };
    let number = text_at(&body, &["card", "number"]).unwrap_or_default();
    let card = CardAsked { number: &number, month: "12", year: "2099", code: None, has_address: false };
    let facts = turn.look(&card);
    if matches!(facts.standing, Standing::Declined(Reason::InvalidNumber | Reason::IncorrectNumber)) {
        return Ok(invalid(turn.now, "INVALID_DATA", Some("card.number")));
    }
    let id = keep(turn, &facts)?;
    let reply = json!({
        "id": id, "object": "instrumentIdentifier", "state": "ACTIVE",
        "card": { "number": format!("{}XXXXXX{}", facts.first6, facts.last4) },
    });
    Ok(Reply::json(201, &reply))
}
