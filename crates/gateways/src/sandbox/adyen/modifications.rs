//! What follows a payment: taken at once with 201 `received`, decided by a notification.

use serde_json::{Value, json};

use super::notices::Event;
use super::{DECIMALS, error};
use crate::sandbox::format::Format;
use crate::sandbox::http::{Reply, text_at};
use crate::sandbox::ids;
use crate::sandbox::ledger::payment::{Kind, Payment, Refusal};
use crate::sandbox::turn::{Stop, Turn};

/// `POST /payments/{psp}/captures`, `cancels`, `refunds`, `reversals`.
pub(super) fn modify(turn: &mut Turn<'_>, body: &Value, psp: &str, what: &str) -> Result<Reply, Stop> {
    let Some(payment) = turn.books.payment(psp).filter(|payment| payment.format == Format::Adyen).cloned()
    else {
        return Ok(error(422, "167", "validation", "Original pspReference required for this operation"));
    };
    let takes_amount = matches!(what, "captures" | "refunds");
    let amount = match (body.get("amount"), takes_amount) {
        (Some(_), false) => {
            return Ok(error(422, "702", "validation", "Unrecognized field 'amount'"));
        }
        (None, false) => None,
        (None, true) => return Ok(error(422, "100", "validation", "No amount specified")),
        (Some(amount), true) => {
            let currency = text_at(amount, &["currency"]).unwrap_or_default();
            let value = amount["value"].as_i64().and_then(|value| DECIMALS.money(value, &currency));
            match value.filter(|money| money.currency().code() == payment.currency) {
                Some(amount) => Some(amount.minor()),
                None => return Ok(error(422, "137", "validation", "Invalid amount specified")),
            }
        }
    };
    let id = ids::capitals(&turn.seed()?, 16);
    let event = carry_out(turn, payment, what, amount, &id, body)?;
    let mut reply = received(body, &id);
    reply["paymentPspReference"] = json!(psp);
    if takes_amount {
        reply["amount"] = body["amount"].clone();
    }
    turn.note(event);
    Ok(Reply::json(201, &reply))
}

fn received(body: &Value, id: &str) -> Value {
    let mut reply =
        json!({ "merchantAccount": body["merchantAccount"], "pspReference": id, "status": "received" });
    if let Some(reference) = body.get("reference") {
        reply["reference"] = reference.clone();
    }
    reply
}

fn carry_out(
    turn: &mut Turn<'_>,
    mut payment: Payment,
    what: &str,
    amount: Option<i64>,
    id: &str,
    body: &Value,
) -> Result<Event, Stop> {
    let (movement, now) = (id.to_owned(), turn.now);
    let (code, moved) = match what {
        "captures" => {
            let moved = payment.capture(amount, movement, now);
            // Without the setting for several captures, the rest is let go.
            payment.released |= moved.is_ok();
            ("CAPTURE", moved.map(|sum| (Kind::Capture, sum)))
        }
        "refunds" => ("REFUND", payment.refund(amount, movement, now).map(|sum| (Kind::Refund, sum))),
        "cancels" => ("CANCELLATION", payment.cancel(movement, now).map(|sum| (Kind::Void, sum))),
        _ => ("CANCEL_OR_REFUND", payment.reverse(movement, now)),
    };
    let reference = text_at(body, &["reference"]).map(std::borrow::Cow::into_owned);
    let event = Event::modification(&payment, code, id, reference, amount, moved);
    turn.save(payment)?;
    Ok(event)
}

/// `POST /cancels`: by the merchant's reference, where no answer came. It is taken also where there is nothing to
/// cancel; the notification tells.
pub(super) fn cancel_by_reference(turn: &mut Turn<'_>, body: &Value) -> Result<Reply, Stop> {
    let Some(reference) = text_at(body, &["paymentReference"]) else {
        return Ok(error(422, "130", "validation", "Required field 'paymentReference' is not provided."));
    };
    if body.get("amount").is_some() {
        return Ok(error(422, "702", "validation", "Unrecognized field 'amount'"));
    }
    let id = ids::capitals(&turn.seed()?, 16);
    let found = turn.books.of_reference(Format::Adyen, &reference).last().map(|payment| (*payment).clone());
    let own = text_at(body, &["reference"]).map(std::borrow::Cow::into_owned);
    let event = match found {
        None => {
            Event::nothing_to_cancel(&id, own.unwrap_or_else(|| reference.clone().into_owned()), turn.now)
        }
        Some(mut payment) => {
            let moved: Result<i64, Refusal> = payment.cancel(id.clone(), turn.now);
            let moved = moved.map(|sum| (Kind::Void, sum));
            let event = Event::modification(&payment, "TECHNICAL_CANCEL", &id, own, None, moved);
            turn.save(payment)?;
            event
        }
    };
    turn.note(event);
    let mut reply = received(body, &id);
    reply["paymentReference"] = json!(reference);
    Ok(Reply::json(201, &reply))
}
