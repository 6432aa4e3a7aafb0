//! `/v1/setup_intents`: keeping a card without taking money.

use serde_json::{Value, json};

use super::intents::metadata;
use super::objects::{Setup, card_error};
use super::{invalid, missing};
use crate::sandbox::format::Format;
use crate::sandbox::http::Reply;
use crate::sandbox::ids;
use crate::sandbox::issuer::Standing;
use crate::sandbox::ledger::books::{Entry, Token};
use crate::sandbox::turn::{Stop, Turn};

pub(super) fn create(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let form = turn.ask.form();
    let method = form.get("payment_method").cloned();
    let status = if method.is_some() { "requires_confirmation" } else { "requires_payment_method" };
    let setup = Setup {
        id: format!("seti_{}", ids::smalls(&turn.seed()?, 24)),
        method,
        customer: form.get("customer").cloned(),
        metadata: metadata(&form),
        status: status.to_owned(),
        on: turn.now,
    };
    turn.books.put(Entry::Setup(Box::new(setup.clone())))?;
    if form.get("confirm").is_some_and(|confirm| confirm == "true") {
        return confirm_with(turn, setup);
    }
    Ok(Reply::json(200, &shown(&setup)))
}

pub(super) fn look(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    Ok(turn.books.setup(id).map_or_else(|| missing("No such setupintent"), |s| Reply::json(200, &shown(s))))
}

pub(super) fn confirm(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let Some(setup) = turn.books.setup(id).cloned() else { return Ok(missing("No such setupintent")) };
    confirm_with(turn, setup)
}

fn confirm_with(turn: &mut Turn<'_>, mut setup: Setup) -> Result<Reply, Stop> {
    let form = turn.ask.form();
    let method = form.get("payment_method").cloned().or_else(|| setup.method.clone());
    let Some((id, token)) =
        method.and_then(|id| turn.books.token(Format::Stripe, &id).map(|token| (id.clone(), token.clone())))
    else {
        return Ok(missing("No such payment_method"));
    };
    let is_moto = form.get("payment_method_options[card][moto]").is_some_and(|flag| flag == "true");
    if token.is_keyed && !is_moto {
        return Ok(invalid("payment_method_options[card][moto]", "A keyed card must be flagged as MOTO."));
    }
    setup.method = Some(id.clone());
    setup.status = match token.card.standing {
        Standing::Good | Standing::Review => "succeeded",
        Standing::WantsAuthentication => "requires_action",
        Standing::Declined(_) => "requires_payment_method",
    }
    .to_owned();
    turn.books.put(Entry::Setup(Box::new(setup.clone())))?;
    if let Standing::Declined(reason) = token.card.standing {
        let mut declined = card_error(reason);
        declined["setup_intent"] = shown(&setup);
        return Ok(Reply::json(402, &json!({ "error": declined })));
    }
    if setup.status == "succeeded" {
        let owner = setup.customer.clone().unwrap_or_default();
        let token = Token { owner, is_keyed: false, ..token };
        turn.books.put(Entry::Token(id, token))?;
    }
    Ok(Reply::json(200, &shown(&setup)))
}

fn shown(setup: &Setup) -> Value {
    json!({
        "id": setup.id, "object": "setup_intent", "client_secret": format!("{}_secret_sandbox", setup.id),
        "created": setup.on.as_seconds(), "customer": setup.customer, "livemode": false,
        "metadata": setup.metadata, "payment_method": setup.method, "payment_method_types": ["card"],
        "status": setup.status, "usage": "off_session",
    })
}
