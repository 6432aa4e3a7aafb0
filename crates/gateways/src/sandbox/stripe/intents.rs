//! `/v1/payment_intents`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::objects::{Intent, last_error};
use super::{DECIMALS, error, invalid, missing};
use crate::sandbox::format::Format;
use crate::sandbox::http::Reply;
use crate::sandbox::ids;
use crate::sandbox::ledger::books::{Entry, Token};
use crate::sandbox::ledger::payment::{Payment, Refusal};
use crate::sandbox::turn::{NewPayment, Stop, Taking, Turn};
use hushpad_domain::money::{Currency, Money};

type Form = BTreeMap<String, String>;

pub(super) fn create(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let form = turn.ask.form();
    let text = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let Ok(units) = text("amount").parse::<i64>() else { return Ok(invalid("amount", "Invalid integer")) };
    let currency = text("currency").to_ascii_uppercase();
    let Some(amount) = DECIMALS.money(units, &currency) else {
        return Ok(invalid("amount", "This amount cannot be charged in this currency."));
    };
    let intent = Intent {
        id: format!("pi_{}", ids::smalls(&turn.seed()?, 24)),
        amount_minor: amount.minor(),
        currency,
        is_manual: text("capture_method") == "manual",
        keeps_card: form.contains_key("setup_future_usage"),
        method: form.get("payment_method").cloned(),
        customer: form.get("customer").cloned(),
        description: form.get("description").cloned(),
        metadata: metadata(&form),
        charges: Vec::new(),
        is_cancelled: false,
        on: turn.now,
    };
    save(turn, &intent)?;
    if text("confirm") == "true" {
        return confirm_with(turn, intent, &form);
    }
    Ok(Reply::json(200, &intent.json(turn)))
}

/// `POST /v1/payment_intents/{id}`: whose card it is, and whether it is kept.
pub(super) fn update(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let form = turn.ask.form();
    let Some(mut intent) = turn.books.intent(id).cloned() else {
        return Ok(missing("No such payment_intent"));
    };
    if matches!(intent.status(intent.payment(turn)), "succeeded" | "canceled") {
        return Ok(unexpected_state(turn, &intent));
    }
    intent.customer = form.get("customer").cloned().or(intent.customer);
    intent.description = form.get("description").cloned().or(intent.description);
    intent.keeps_card |= form.contains_key("setup_future_usage");
    intent.metadata.extend(metadata(&form));
    save(turn, &intent)?;
    Ok(Reply::json(200, &intent.json(turn)))
}

/// `metadata[name]` of a form.
pub(super) fn metadata(form: &Form) -> BTreeMap<String, String> {
    let name = |key: &str| Some(key.strip_prefix("metadata[")?.strip_suffix(']')?.to_owned());
    form.iter().filter_map(|(key, value)| Some((name(key)?, value.clone()))).collect()
}

fn save(turn: &mut Turn<'_>, intent: &Intent) -> Result<(), Stop> {
    Ok(turn.books.put(Entry::Intent(Box::new(intent.clone())))?)
}

pub(super) fn look(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let Some(intent) = turn.books.intent(id).cloned() else { return Ok(missing("No such payment_intent")) };
    asked(turn, &intent)?;
    Ok(Reply::json(200, &intent.json(turn)))
}

/// Counts the question; `false` while a search shall not find it.
fn asked(turn: &mut Turn<'_>, intent: &Intent) -> Result<bool, Stop> {
    let Some(mut payment) = intent.payment(turn).cloned() else { return Ok(true) };
    let is_seen = payment.asked();
    turn.save(payment)?;
    Ok(is_seen)
}

/// By `metadata['name']:'value'`, the one kind of query that is understood here.
pub(super) fn search(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let query = turn.ask.queried("query").unwrap_or_default();
    let parts: Vec<&str> = query.split('\'').collect();
    let ["metadata[", name, "]:", value, ..] = parts[..] else {
        return Ok(invalid("query", "Only metadata['name']:'value' is understood."));
    };
    let fits = |intent: &&Intent| intent.metadata.get(name).is_some_and(|known| known == value);
    let intents: Vec<Intent> = turn.books.intents().filter(fits).cloned().collect();
    let mut found = Vec::new();
    for intent in intents {
        if asked(turn, &intent)? {
            found.push(intent.json(turn));
        }
    }
    let reply = json!({
        "object": "search_result", "url": "/v1/payment_intents/search", "has_more": false, "data": found,
    });
    Ok(Reply::json(200, &reply))
}

pub(super) fn confirm(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let form = turn.ask.form();
    let Some(intent) = turn.books.intent(id).cloned() else { return Ok(missing("No such payment_intent")) };
    confirm_with(turn, intent, &form)
}

fn confirm_with(turn: &mut Turn<'_>, mut intent: Intent, form: &Form) -> Result<Reply, Stop> {
    let status = intent.status(intent.payment(turn));
    if !matches!(status, "requires_payment_method" | "requires_confirmation" | "requires_action") {
        return Ok(unexpected_state(turn, &intent));
    }
    let method = form.get("payment_method").cloned().or_else(|| intent.method.clone());
    let Some((method, token)) =
        method.and_then(|id| turn.books.token(Format::Stripe, &id).map(|token| (id.clone(), token.clone())))
    else {
        return Ok(missing("No such payment_method"));
    };
    if !token.owner.is_empty() && intent.customer.as_deref() != Some(token.owner.as_str()) {
        return Ok(invalid("customer", "The payment method belongs to a customer: name that customer."));
    }
    let is_moto = form.get("payment_method_options[card][moto]").is_some_and(|flag| flag == "true");
    let return_url = form.get("return_url").filter(|_| !is_moto).cloned();
    let is_page = return_url.is_some() && turn.books.takes_ecommerce;
    if token.is_keyed && !is_moto && !is_page {
        return Ok(invalid("payment_method_options[card][moto]", "A keyed card must be flagged as MOTO."));
    }
    let Some(amount) =
        Currency::from_code(&intent.currency).and_then(|c| Money::from_minor(intent.amount_minor, c)).ok()
    else {
        return Ok(invalid("amount", "This amount cannot be charged in this currency."));
    };
    let charge = format!("ch_{}", ids::smalls(&turn.seed()?, 24));
    let payment = turn.pay(NewPayment {
        format: Format::Stripe,
        reference: intent.reference(),
        id: charge.clone(),
        amount,
        card: token.card.clone(),
        taking: if intent.is_manual { Taking::Later } else { Taking::Always },
        takes_parts: false,
        kept: BTreeMap::from([("intent".to_owned(), intent.id.clone())]),
        return_url,
    })?;
    if let (true, true, Some(owner)) = (intent.keeps_card, payment.is_approved(), &intent.customer) {
        let token = Token { owner: owner.clone(), is_keyed: false, ..token };
        turn.books.put(Entry::Token(method.clone(), token))?;
    }
    intent.method = Some(method);
    intent.charges.push(charge);
    save(turn, &intent)?;
    Ok(match last_error(&payment) {
        Some(declined) => card_error(turn, &intent, declined),
        None => Reply::json(200, &intent.json(turn)),
    })
}

/// Status 402, with the intent inside the error.
fn card_error(turn: &Turn<'_>, intent: &Intent, mut declined: Value) -> Reply {
    declined["charge"] = json!(intent.charges.last());
    declined["payment_intent"] = intent.json(turn);
    Reply::json(402, &json!({ "error": declined }))
}

fn unexpected_state(turn: &Turn<'_>, intent: &Intent) -> Reply {
    let more = json!({
        "code": "payment_intent_unexpected_state",
        "message": "This PaymentIntent's status does not allow that.",
        "payment_intent": intent.json(turn),
    });
    error(400, "invalid_request_error", more)
}

/// A capture of a part lets the rest go.
pub(super) fn capture(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let form = turn.ask.form();
    let Some(intent) = turn.books.intent(id).cloned() else { return Ok(missing("No such payment_intent")) };
    let Some(mut payment) =
        intent.payment(turn).cloned().filter(|payment| intent.status(Some(payment)) == "requires_capture")
    else {
        return Ok(unexpected_state(turn, &intent));
    };
    let amount = match form.get("amount_to_capture").map(|units| units.parse::<i64>()) {
        None => None,
        Some(units) => match units.ok().and_then(|units| DECIMALS.money(units, &intent.currency)) {
            Some(amount) => Some(amount.minor()),
            None => return Ok(invalid("amount_to_capture", "Invalid integer")),
        },
    };
    let movement = format!("cap_{}", ids::smalls(&turn.seed()?, 24));
    match payment.capture(amount, movement, turn.now) {
        Ok(_) => payment.released = true,
        Err(Refusal::TooMuch) => {
            return Ok(invalid("amount_to_capture", "More than was authorized."));
        }
        Err(_) => return Ok(unexpected_state(turn, &intent)),
    }
    turn.save(payment)?;
    Ok(Reply::json(200, &intent.json(turn)))
}

pub(super) fn cancel(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let Some(mut intent) = turn.books.intent(id).cloned() else {
        return Ok(missing("No such payment_intent"));
    };
    let payment = intent.payment(turn).cloned();
    if matches!(intent.status(payment.as_ref()), "succeeded" | "canceled" | "processing") {
        return Ok(unexpected_state(turn, &intent));
    }
    if let Some(mut payment) = payment.filter(Payment::is_approved) {
        let movement = format!("void_{}", ids::smalls(&turn.seed()?, 24));
        if payment.cancel(movement, turn.now).is_err() {
            return Ok(unexpected_state(turn, &intent));
        }
        turn.save(payment)?;
    }
    intent.is_cancelled = true;
    save(turn, &intent)?;
    let mut shown = intent.json(turn);
    shown["canceled_at"] = json!(turn.now.as_seconds());
    shown["cancellation_reason"] = json!(turn.ask.form().get("cancellation_reason"));
    Ok(Reply::json(200, &shown))
}
