//! `POST /tokens` (Tokens v3), and the tokens that payments make.

use hushpad_domain::masked_card::Brand;
use serde_json::{Value, json};

use super::{TOKENS_TYPE, invalid};
use crate::sandbox::format::Format;
use crate::sandbox::http::{Reply, text_at};
use crate::sandbox::ids;
use crate::sandbox::issuer::{CardAsked, CardFacts, Reason, Standing};
use crate::sandbox::ledger::books::{Entry, Token};
use crate::sandbox::turn::{Stop, Turn};

pub(super) fn create(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let body = turn.ask.json().unwrap_or_default();
    let instrument = &body["paymentInstrument"];
    let text = |path: &[&str]| text_at(instrument, path).unwrap_or_default();
    let (number, month, year) =
        (text(&["cardNumber"]), text(&["cardExpiryDate", "month"]), text(&["cardExpiryDate", "year"]));
    let card = CardAsked { number: &number, month: &month, year: &year, code: None, has_address: false };
    let facts = turn.look(&card);
    let field = match facts.standing {
        Standing::Declined(Reason::IncorrectNumber) => Some(("panFailedLuhnCheck", "cardNumber")),
        Standing::Declined(Reason::InvalidNumber) => Some(("fieldHasInvalidValue", "cardNumber")),
        Standing::Declined(Reason::InvalidExpiryMonth | Reason::InvalidExpiryYear) => {
            Some(("fieldHasInvalidValue", "cardExpiryDate"))
        }
        _ => None,
    };
    if let Some((name, field)) = field {
        return Ok(invalid(name, &format!("$.paymentInstrument.{field}")));
    }
    let token = keep(turn, facts)?;
    let reply = json!({
        "tokenId": token["tokenId"],
        "description": body["description"],
        "tokenPaymentInstrument": { "type": "card/token", "href": token["href"] },
        "paymentInstrument": { "type": "card/masked", "brand": token["brand"], "cardNumber": token["cardNumber"] },
    });
    Ok(Reply::json(201, &reply).with("content-type", TOKENS_TYPE))
}

/// A token as a payment tells it.
pub(super) fn keep(turn: &mut Turn<'_>, card: CardFacts) -> Result<Value, Stop> {
    let id = ids::capitals(&turn.seed()?, 32);
    let told = json!({
        "tokenId": id,
        "href": format!("http://{}/tokens/{id}", turn.ask.header("host")),
        "brand": card.brand.map(Brand::title),
        "cardNumber": format!("{}******{}", card.first6, card.last4),
        "tokenExpiryDateTime": "2099-12-31T00:00:00Z",
    });
    let token = Token { format: Format::Worldpay, card, owner: String::new(), is_keyed: false };
    turn.books.put(Entry::Token(id, token))?;
    Ok(told)
}
