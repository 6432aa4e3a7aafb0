//! `…/order/{order}/transaction/{transaction}`: the same `PUT` is answered again and never carried out twice.

use std::collections::BTreeMap;

use hushpad_domain::money::{Currency, Money};
use serde_json::Value;

use super::{card_of, error, invalid, view};
use crate::sandbox::format::Format;
use crate::sandbox::http::{Reply, text_at};
use crate::sandbox::ledger::books::{Entry, Replay};
use crate::sandbox::ledger::payment::{Payment, Refusal};
use crate::sandbox::turn::{NewPayment, Stop, Taking, Turn};

/// Orders and transactions have at most 40 characters.
const ID_CHARS_MAX: usize = 40;

/// What a card that is read out on the telephone or written down may be marked as.
const MOTO: [&str; 5] = ["MOTO", "MAIL_ORDER", "TELEPHONE_ORDER", "CALL_CENTRE", "VOICE_RESPONSE"];

pub(super) fn put(turn: &mut Turn<'_>, order: &str, id: &str) -> Result<Reply, Stop> {
    if order.len() > ID_CHARS_MAX || id.len() > ID_CHARS_MAX {
        return Ok(invalid("transaction.id"));
    }
    let Some(body) = turn.ask.json() else { return Ok(invalid("apiOperation")) };
    let (key, print) = (format!("mpgs {order}/{id}"), turn.ask.print());
    if let Some(known) = turn.books.replay(&key) {
        if known.print != print {
            return Ok(error(
                400,
                "INVALID_REQUEST",
                "The transaction is there with other values.",
                Some("transaction.id"),
            ));
        }
        return Ok(Reply { status: 200, ..known.reply.clone() });
    }
    let done = match text_at(&body, &["apiOperation"]).as_deref() {
        Some("PAY") => pay(turn, &body, order, id, Taking::Now),
        Some("AUTHORIZE") => pay(turn, &body, order, id, Taking::Later),
        Some(operation @ ("CAPTURE" | "REFUND" | "VOID")) => follow(turn, &body, order, id, operation),
        _ => return Ok(invalid("apiOperation")),
    }?;
    let payment = match done {
        Ok(payment) => payment,
        Err(refused) => return Ok(refused),
    };
    let truth = Reply::json(201, &view::transaction(&payment, id, None));
    let replay = Replay { print, reply: truth, on: turn.now, busy_until: turn.now };
    turn.books.put(Entry::Replay(key, replay))?;
    let told = turn.told(&payment);
    Ok(Reply::json(201, &view::transaction(&payment, id, Some(told))))
}

/// A payment, or the answer of a request that was refused.
type Done = Result<Result<Payment, Reply>, Stop>;

fn pay(turn: &mut Turn<'_>, body: &Value, order: &str, id: &str, taking: Taking) -> Done {
    if turn.books.of_reference(Format::Mpgs, order).iter().any(|payment| payment.is_approved()) {
        return Ok(Err(error(400, "INVALID_REQUEST", "The order is paid or authorized.", Some("order.id"))));
    }
    let (card, is_keyed) = match card_of(turn, body) {
        Ok(card) => card,
        Err(field) => return Ok(Err(invalid(field))),
    };
    let source = text_at(body, &["transaction", "source"]).unwrap_or_default().into_owned();
    let may_be_web = !is_keyed || turn.books.takes_ecommerce;
    let fits = MOTO.contains(&source.as_str())
        || (source == "INTERNET" && may_be_web)
        || (source == "MERCHANT" && !is_keyed);
    if !fits {
        return Ok(Err(invalid("transaction.source")));
    }
    let Some(amount) = amount_of(body, "order") else { return Ok(Err(invalid("order.amount"))) };
    let kept = BTreeMap::from([
        ("source".to_owned(), source),
        ("operation".to_owned(), if taking == Taking::Now { "PAYMENT" } else { "AUTHORIZATION" }.to_owned()),
    ]);
    let payment = turn.pay(NewPayment {
        format: Format::Mpgs,
        reference: order,
        id: view::movement_id(order, id),
        amount,
        card,
        taking,
        takes_parts: true,
        kept,
        return_url: None,
    })?;
    Ok(Ok(payment))
}

fn amount_of(body: &Value, group: &str) -> Option<Money> {
    let currency = Currency::from_code(&text_at(body, &[group, "currency"])?).ok()?;
    Money::parse(&text_at(body, &[group, "amount"])?, currency).ok()
}

fn follow(turn: &mut Turn<'_>, body: &Value, order: &str, id: &str, operation: &str) -> Done {
    let found = turn.books.of_reference(Format::Mpgs, order).into_iter().rev();
    let Some(mut payment) = found.clone().find(|payment| payment.is_approved()).cloned() else {
        return Ok(Err(error(400, "INVALID_REQUEST", "Unable to find order specified.", Some("order.id"))));
    };
    let (movement, now) = (view::movement_id(order, id), turn.now);
    let moved = if operation == "VOID" {
        let Some(target) = text_at(body, &["transaction", "targetTransactionId"]) else {
            return Ok(Err(invalid("transaction.targetTransactionId")));
        };
        let target = view::movement_id(order, &target);
        if target == payment.id { payment.void(movement, now) } else { payment.void_one(&target) }
    } else {
        let amount = amount_of(body, "transaction").filter(|a| a.currency().code() == payment.currency);
        let Some(amount) = amount else { return Ok(Err(invalid("transaction.amount"))) };
        match operation {
            "CAPTURE" => payment.capture(Some(amount.minor()), movement, now),
            _ => payment.refund(Some(amount.minor()), movement, now),
        }
    };
    let explanation = match moved {
        Ok(_) => {
            payment.kept.insert(format!("type {id}"), operation.to_owned());
            turn.save(payment.clone())?;
            return Ok(Ok(payment));
        }
        Err(Refusal::TooMuch) => "The amount exceeds what is left of the order.",
        Err(Refusal::AlreadyVoided) => "The transaction was voided.",
        Err(Refusal::NotApproved | Refusal::NothingLeft) => "The order does not allow this operation.",
        Err(Refusal::ByMagic) => "The acquirer does not allow this operation.",
    };
    Ok(Err(error(400, "INVALID_REQUEST", explanation, None)))
}

/// What became of an order, or of one of its transactions.
pub(super) fn look(turn: &mut Turn<'_>, order: &str, id: Option<&str>) -> Result<Reply, Stop> {
    let payments: Vec<Payment> = turn.books.of_reference(Format::Mpgs, order).into_iter().cloned().collect();
    let mut seen = Vec::new();
    for mut payment in payments {
        let is_seen = payment.asked();
        turn.save(payment.clone())?;
        if is_seen {
            seen.push(payment);
        }
    }
    let has = |payment: &&Payment| id.is_none_or(|id| view::has_transaction(payment, id));
    let missing = || error(400, "INVALID_REQUEST", "Unable to find order specified.", Some("order.id"));
    Ok(match (seen.iter().rev().find(has), id) {
        (None, _) => missing(),
        (Some(payment), Some(id)) => Reply::json(200, &view::transaction(payment, id, None)),
        (Some(payment), None) => Reply::json(200, &view::order(payment)),
    })
}
