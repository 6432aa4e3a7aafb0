//! The generic gateway: the JSON of pay connectors, with HTTP Basic. The same `transaction_id` gets its first
//! answer again and is never processed twice.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hushpad_domain::money::{Currency, Money};
use serde_json::{Value, json};

use super::acs;
use super::format::Format;
use super::http::{Reply, text_at};
use super::ids;
use super::issuer::{CardAsked, CardFacts, Standing};
use super::ledger::books::{Entry, Replay, Token};
use super::ledger::payment::{Payment, Refusal, Said};
use super::ledger::summary::decimal;
use super::magic::Ruling;
use super::turn::{NewPayment, Stop, Taking, Turn};
use super::{PASSWORD, USER};

/// Longer references are refused.
const TRANSACTION_ID_CHARS_MAX: usize = 64;

pub(super) fn answer(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let ask = turn.ask;
    if !ask.is_basic(USER, PASSWORD) {
        return Ok(problem(401, "unauthorized", "user or password is wrong"));
    }
    if ask.path != "/charges" {
        return Ok(problem(404, "no_such_path", "try /charges"));
    }
    match (ask.is_get(), ask.is_post()) {
        (true, _) => find(turn),
        (_, true) => order(turn),
        _ => Ok(problem(405, "method_not_allowed", "GET or POST")),
    }
}

pub(super) fn trouble(status: u16) -> Reply {
    match status {
        429 => problem(429, "throttled", "try again later"),
        503 => problem(503, "unavailable", "the ledger cannot be written"),
        _ => problem(500, "internal", "something broke"),
    }
}

fn order(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let Some(body) = turn.ask.json() else { return Ok(malformed("the body is no JSON object")) };
    let Some(id) = text_at(&body, &["transaction_id"]).filter(|id| is_reference(id)) else {
        return Ok(malformed("transaction_id must have 1 to 64 visible characters"));
    };
    if text_at(&body, &["method"]).as_deref() == Some("complete") {
        return complete(turn, &body, &id);
    }
    if let Some(known) = again(turn, &id)? {
        return Ok(known);
    }
    match text_at(&body, &["method"]).as_deref() {
        Some("charge") => charge(turn, &body, &id, Taking::Now),
        Some("authorize") => charge(turn, &body, &id, Taking::Later),
        Some("tokenize") => tokenize(turn, &body, &id),
        Some("reverse") => reverse(turn, &body, &id),
        Some(method @ ("capture" | "refund" | "void")) => follow(turn, &body, &id, method),
        _ => Ok(malformed("method must be charge, authorize, tokenize, capture, refund, void or reverse")),
    }
}

fn is_reference(id: &str) -> bool {
    (1..=TRANSACTION_ID_CHARS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The first answer to this `transaction_id`.
fn again(turn: &mut Turn<'_>, id: &str) -> Result<Option<Reply>, Stop> {
    if let Some(replay) = turn.books.replay(&replay_key(id)) {
        return Ok(Some(replay.reply.clone()));
    }
    let Some(payment) = turn.books.of_reference(Format::Generic, id).first().map(|known| (*known).clone())
    else {
        return Ok(None);
    };
    turn.books.count_request(id)?;
    Ok(Some(decided(turn, &payment)))
}

fn replay_key(id: &str) -> String {
    format!("generic {id}")
}

fn charge(turn: &mut Turn<'_>, body: &Value, id: &str, taking: Taking) -> Result<Reply, Stop> {
    if turn.books.is_blocked(id) {
        return Ok(problem(409, "reversed", "this transaction_id was reversed before it came"));
    }
    let Some(amount) = amount_of(body) else { return Ok(malformed("amount or currency_code is wrong")) };
    let Some(card) = card_of(turn, body) else {
        return Ok(malformed("there is no card and no known token_id"));
    };
    let payment = turn.pay(NewPayment {
        format: Format::Generic,
        reference: id,
        id: charge_id(id),
        amount,
        card,
        taking,
        takes_parts: true,
        kept: BTreeMap::new(),
        return_url: text_at(body, &["parameters", "return_url"]).map(Cow::into_owned),
    })?;
    Ok(decided(turn, &payment))
}

/// The payer is back from the bank.
fn complete(turn: &mut Turn<'_>, body: &Value, id: &str) -> Result<Reply, Stop> {
    let known = turn.books.of_reference(Format::Generic, id).first().map(|known| (*known).clone());
    let named = text_at(body, &["challenge_id"]);
    let found = known.filter(|payment| named.as_deref() == Some(&challenge_id(payment)));
    let Some((mut payment, visit)) = found.and_then(|payment| Some((payment.clone(), payment.visit?))) else {
        return Ok(not_found(id));
    };
    if visit.said == Said::Confirmed && payment.waits_for_payer() {
        turn.confirmed(&mut payment, visit.taking)?;
    }
    Ok(decided(turn, &payment))
}

/// What the payer brings back from the bank's page.
pub(super) fn challenge_id(payment: &Payment) -> String {
    format!("chl_{}", ids::smalls(&payment.id, 24))
}

fn amount_of(body: &Value) -> Option<Money> {
    let currency = Currency::from_code(&text_at(body, &["currency_code"])?).ok()?;
    Money::parse(body.get("amount")?.as_str()?, currency).ok()
}

fn card_of(turn: &Turn<'_>, body: &Value) -> Option<CardFacts> {
    if let Some(token) = body.get("token_id") {
        return Some(turn.books.token(Format::Generic, token.as_str()?)?.card.clone());
    }
    Some(turn.look(&CardAsked {
        number: body.get("cardnumber")?.as_str()?,
        month: body.get("expiry_month")?.as_str()?,
        year: body.get("expiry_year")?.as_str()?,
        code: body.get("cvv").and_then(Value::as_str),
        has_address: body.get("postal_code").is_some(),
    }))
}

fn tokenize(turn: &mut Turn<'_>, body: &Value, id: &str) -> Result<Reply, Stop> {
    let Some(card) = card_of(turn, body) else { return Ok(malformed("there is no card")) };
    if let Standing::Declined(reason) = card.standing
        && reason.is_malformed()
    {
        return keep(turn, id, problem(402, reason.code(), reason.message()));
    }
    let token_id = format!("tok_{}", ids::smalls(&turn.seed()?, 24));
    let masked = (card.first6.clone(), card.last4.clone());
    let token = Token { format: Format::Generic, card, owner: String::new(), is_keyed: true };
    turn.books.put(Entry::Token(token_id.clone(), token))?;
    let reply = json!({
        "transaction_id": id, "token_id": token_id, "card_first6": masked.0, "card_last4": masked.1,
        "error_code": null, "error_message": null, "parameters": {},
    });
    keep(turn, id, Reply::json(200, &reply))
}

fn follow(turn: &mut Turn<'_>, body: &Value, id: &str, method: &str) -> Result<Reply, Stop> {
    let Some(mut payment) = original(turn, body) else { return Ok(not_found(id)) };
    let amount = match (body.get("amount"), amount_of(body)) {
        (None, _) => None,
        (Some(_), Some(amount)) if amount.currency().code() == payment.currency => Some(amount.minor()),
        (Some(_), _) => return Ok(malformed("amount or currency_code is wrong")),
    };
    let (movement, now) = (charge_id(id), turn.now);
    let moved = match method {
        "capture" => payment.capture(amount, movement.clone(), now),
        "refund" => payment.refund(amount, movement.clone(), now),
        _ => payment.void(movement.clone(), now),
    };
    finish(turn, id, payment, moved, &movement)
}

/// Undoes what a reference did. Where it did nothing, it never will.
fn reverse(turn: &mut Turn<'_>, body: &Value, id: &str) -> Result<Reply, Stop> {
    let Some(mut payment) = original(turn, body) else {
        if let Some(reference) = text_at(body, &["original_transaction_id"]) {
            turn.books.put(Entry::Blocked(reference.into_owned()))?;
        }
        return Ok(not_found(id));
    };
    let movement = charge_id(id);
    let moved = payment.reverse(movement.clone(), turn.now).map(|(_, sum)| sum);
    finish(turn, id, payment, moved, &movement)
}

fn original(turn: &Turn<'_>, body: &Value) -> Option<Payment> {
    if let Some(id) = text_at(body, &["charge_id"]) {
        return turn.books.payment_of(&id).filter(|payment| payment.format == Format::Generic).cloned();
    }
    let reference = text_at(body, &["original_transaction_id"])?;
    turn.books.of_reference(Format::Generic, &reference).first().map(|payment| (*payment).clone())
}

fn finish(
    turn: &mut Turn<'_>,
    id: &str,
    payment: Payment,
    moved: Result<i64, Refusal>,
    movement: &str,
) -> Result<Reply, Stop> {
    let reply = match moved {
        Err(refusal) => problem(402, refusal_code(refusal), "this cannot be done with that charge"),
        Ok(minor) => {
            let reply = json!({
                "transaction_id": id, "charge_id": movement, "original_transaction_id": payment.reference,
                "error_code": null, "error_message": null, "amount": decimal(minor, &payment.currency),
                "currency_code": payment.currency, "parameters": {},
            });
            turn.save(payment)?;
            Reply::json(200, &reply)
        }
    };
    keep(turn, id, reply)
}

fn refusal_code(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotApproved => "not_charged",
        Refusal::AlreadyVoided => "already_voided",
        Refusal::TooMuch => "amount_too_large",
        Refusal::NothingLeft => "nothing_left",
        Refusal::ByMagic => "processing_error",
    }
}

/// Keeps an answer for the next request with the same id.
fn keep(turn: &mut Turn<'_>, id: &str, reply: Reply) -> Result<Reply, Stop> {
    let replay = Replay { print: String::new(), reply: reply.clone(), on: turn.now, busy_until: turn.now };
    turn.books.put(Entry::Replay(replay_key(id), replay))?;
    Ok(reply)
}

fn find(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let Some(id) = turn.ask.queried("transaction_id") else {
        return Ok(malformed("transaction_id is missing"));
    };
    if let Some(replay) = turn.books.replay(&replay_key(&id)) {
        return Ok(Reply { status: 200, ..replay.reply.clone() });
    }
    let Some(mut payment) =
        turn.books.of_reference(Format::Generic, &id).first().map(|known| (*known).clone())
    else {
        return Ok(not_found(&id));
    };
    let is_seen = payment.asked();
    turn.save(payment.clone())?;
    Ok(if is_seen { Reply { status: 200, ..decided(turn, &payment) } } else { not_found(&id) })
}

fn decided(turn: &Turn<'_>, payment: &Payment) -> Reply {
    let (minor, currency) = turn.told(payment);
    let (status, charge_id, error) = match payment.ruling {
        Ruling::Declined(reason) => (402, None, Some((reason.code(), reason.message()))),
        Ruling::WantsAuthentication if payment.waits_for_payer() => (200, None, None),
        Ruling::WantsAuthentication if payment.visit.is_some() => {
            (402, None, Some(("authentication_failed", "Your bank did not confirm that it was you.")))
        }
        Ruling::WantsAuthentication => {
            (402, None, Some(("authentication_required", "Your card was declined.")))
        }
        Ruling::Pending if !payment.is_told() => (200, None, Some(("pending", "It is not decided yet."))),
        Ruling::Partial | Ruling::Review | Ruling::Pending | Ruling::Approved => {
            (200, Some(&payment.id), None)
        }
    };
    let minor = if payment.ruling == Ruling::Partial { payment.granted() } else { minor };
    let parameters = if payment.waits_for_payer() {
        json!({ "challenge_url": acs::url(turn, payment), "challenge_id": challenge_id(payment) })
    } else {
        json!({})
    };
    let reply = json!({
        "transaction_id": payment.reference,
        "charge_id": charge_id,
        "error_code": error.map(|error| error.0),
        "error_message": error.map(|error| error.1),
        "amount": decimal(minor, &currency),
        "currency_code": currency,
        "card_first6": payment.card.first6,
        "card_last4": payment.card.last4,
        "cvv_result": payment.code,
        "avs_result": payment.address,
        "review": payment.ruling == Ruling::Review,
        "partial": payment.ruling == Ruling::Partial,
        "parameters": parameters,
    });
    Reply::json(status, &reply)
}

fn charge_id(transaction_id: &str) -> String {
    format!("ch_{}", ids::smalls(transaction_id, 32))
}

fn not_found(id: &str) -> Reply {
    Reply::json(404, &json!({ "transaction_id": id, "error_code": "not_found" }))
}

fn malformed(message: &str) -> Reply {
    problem(400, "malformed", message)
}

fn problem(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({ "error_code": code, "error_message": message }))
}
