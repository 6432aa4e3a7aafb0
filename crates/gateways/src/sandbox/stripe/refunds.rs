//! `/v1/refunds`.

use serde_json::{Value, json};

use super::{DECIMALS, error, invalid, missing};
use crate::sandbox::format::Format;
use crate::sandbox::http::Reply;
use crate::sandbox::ids;
use crate::sandbox::ledger::payment::{Kind, Payment, Refusal};
use crate::sandbox::turn::{Stop, Turn};

pub(super) fn create(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let form = turn.ask.form();
    let intent = form.get("payment_intent").and_then(|id| turn.books.intent(id));
    let charge = intent.and_then(|intent| intent.charges.last()).or_else(|| form.get("charge"));
    let payment =
        charge.and_then(|id| turn.books.payment(id)).filter(|p| p.format == Format::Stripe).cloned();
    let Some(mut payment) = payment else { return Ok(missing("No such payment_intent")) };
    let amount = match form.get("amount").map(|units| units.parse::<i64>()) {
        None => None,
        Some(units) => match units.ok().and_then(|units| DECIMALS.money(units, &payment.currency)) {
            Some(amount) => Some(amount.minor()),
            None => return Ok(invalid("amount", "Invalid integer")),
        },
    };
    let id = format!("re_{}", ids::smalls(&turn.seed()?, 24));
    let (amount, status) = match payment.refund(amount, id.clone(), turn.now) {
        Ok(amount) => (amount, "succeeded"),
        Err(Refusal::ByMagic) => (amount.unwrap_or(payment.amount_minor), "failed"),
        Err(Refusal::TooMuch) => {
            return Ok(invalid("amount", "Refund amount is greater than unrefunded amount on charge."));
        }
        Err(Refusal::NothingLeft) if payment.refunded() > 0 => {
            let more =
                json!({ "code": "charge_already_refunded", "message": "It has already been refunded." });
            return Ok(error(400, "invalid_request_error", more));
        }
        Err(Refusal::NothingLeft | Refusal::NotApproved | Refusal::AlreadyVoided) => {
            let more =
                json!({ "message": "This PaymentIntent does not have a successful charge to refund." });
            return Ok(error(400, "invalid_request_error", more));
        }
    };
    let shown = shown(&payment, &id, amount, status, turn.now.as_seconds());
    turn.save(payment)?;
    Ok(Reply::json(200, &shown))
}

pub(super) fn look(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let found = turn.books.payment_of(id).filter(|payment| payment.format == Format::Stripe);
    let movement = found.and_then(|payment| {
        let refund = payment.movements.iter().find(|m| m.id == id && m.kind == Kind::Refund)?;
        Some(shown(payment, id, refund.amount_minor, "succeeded", refund.on.as_seconds()))
    });
    Ok(movement.map_or_else(|| missing("No such refund"), |shown| Reply::json(200, &shown)))
}

fn shown(payment: &Payment, id: &str, amount: i64, status: &str, created: i64) -> Value {
    json!({
        "id": id, "object": "refund", "amount": DECIMALS.minor(amount, &payment.currency),
        "balance_transaction": null, "charge": payment.id, "created": created,
        "currency": payment.currency.to_ascii_lowercase(), "metadata": {},
        "payment_intent": payment.kept.get("intent"), "reason": null, "receipt_number": null,
        "source_transfer_reversal": null, "status": status, "transfer_reversal": null,
    })
}
