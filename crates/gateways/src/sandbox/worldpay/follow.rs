//! What follows a payment, by its links; and what became of it.

use serde_json::{Value, json};

use super::{DECIMALS, invalid, links, not_found};
use crate::sandbox::format::Format;
use crate::sandbox::http::{Reply, at, text_at};
use crate::sandbox::ids;
use crate::sandbox::ledger::payment::{Payment, Refusal};
use crate::sandbox::magic::Ruling;
use crate::sandbox::turn::{Stop, Turn};

pub(super) fn follow(turn: &mut Turn<'_>, way: &[&str], link: &str) -> Result<Reply, Stop> {
    let Some(mut payment) = find(turn, link) else { return Ok(not_found()) };
    let body = turn.ask.json().unwrap_or_default();
    let is_part = way.last() == Some(&"partials");
    let amount = match (is_part, amount_of(&body, &payment)) {
        (false, _) => None,
        (true, Some(amount)) => Some(amount),
        (true, None) => return Ok(invalid("fieldHasInvalidValue", "$.value")),
    };
    if is_part && text_at(&body, &["reference"]).is_none() {
        return Ok(invalid("fieldIsMissing", "$.reference"));
    }
    let (id, now) = (ids::capitals(&turn.seed()?, 24), turn.now);
    let moved = match way {
        ["settlements"] | ["settlements", "full" | "partials"] => payment.capture(amount, id, now),
        ["settlements", "refunds", "full" | "partials"] => payment.refund(amount, id, now),
        ["authorizations", "cancellations"] => payment.cancel(id, now),
        ["authorizations" | "sales", "reversals"] | ["reversals"] => {
            payment.reverse(id, now).map(|(_, sum)| sum)
        }
        _ => return Ok(not_found()),
    };
    if let Err(refusal) = moved {
        return Ok(refused(refusal));
    }
    turn.save(payment.clone())?;
    Ok(Reply::json(202, &json!({ "_links": links(turn.ask, &payment, "cardPayments") })))
}

fn find(turn: &Turn<'_>, link: &str) -> Option<Payment> {
    turn.books.payment(link).filter(|payment| payment.format == Format::Worldpay).cloned()
}

fn amount_of(body: &Value, payment: &Payment) -> Option<i64> {
    let currency = text_at(body, &["value", "currency"])?;
    let amount = DECIMALS.money(at(body, &["value", "amount"])?.as_i64()?, &currency)?;
    (currency == payment.currency).then_some(amount.minor())
}

fn refused(refusal: Refusal) -> Reply {
    let message = match refusal {
        Refusal::NotApproved => "The payment was not authorized",
        Refusal::AlreadyVoided => "The payment was cancelled",
        Refusal::TooMuch => "The amount is more than is left",
        Refusal::NothingLeft => "The requested action is not allowed for this payment",
        Refusal::ByMagic => "The action was refused",
    };
    super::error(409, "operationNotAllowed", message)
}

pub(super) fn by_link(turn: &mut Turn<'_>, link: &str) -> Result<Reply, Stop> {
    let Some(mut payment) = find(turn, link) else { return Ok(not_found()) };
    payment.asked();
    turn.save(payment.clone())?;
    Ok(last_event(turn, &payment))
}

/// `?transactionRef=…&entity=…`: the last payment of that reference.
pub(super) fn by_reference(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let (Some(reference), Some(entity)) = (turn.ask.queried("transactionRef"), turn.ask.queried("entity"))
    else {
        return Ok(invalid("queryParameterIsMissing", "transactionRef"));
    };
    let found = turn.books.of_reference(Format::Worldpay, &reference);
    let Some(mut payment) =
        found.last().filter(|_| entity == super::WORLDPAY_ENTITY).map(|known| (*known).clone())
    else {
        return Ok(not_found());
    };
    let is_seen = payment.asked();
    turn.save(payment.clone())?;
    Ok(if is_seen { last_event(turn, &payment) } else { not_found() })
}

fn last_event(turn: &Turn<'_>, payment: &Payment) -> Reply {
    let event = match payment.ruling {
        Ruling::Declined(_) | Ruling::WantsAuthentication => "Refused",
        _ if !payment.is_told() => "Sent for Authorization",
        _ if payment.is_voided() => "Sent for Cancellation",
        _ if payment.refunded() > 0 => "Sent for Refund",
        _ if payment.captured() > 0 => "Sent for Settlement",
        _ => "Authorized",
    };
    Reply::json(200, &json!({ "lastEvent": event, "_links": links(turn.ask, payment, "payments") }))
}
