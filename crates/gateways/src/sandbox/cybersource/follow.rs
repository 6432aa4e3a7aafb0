//! What follows a payment: capture, reversal, refund, void; by id, or by the merchant's `transactionId` where no
//! id is known because the answer was lost.

use hushpad_domain::money::{Currency, Money};
use serde_json::{Value, json};

use super::{invalid, not_found, seconds};
use crate::sandbox::format::Format;
use crate::sandbox::http::{Reply, text_at};
use crate::sandbox::ids;
use crate::sandbox::ledger::payment::{Payment, Refusal};
use crate::sandbox::ledger::summary::decimal;
use crate::sandbox::turn::{Stop, Turn};

pub(super) fn capture(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let Some(step) = Step::read(turn, id)? else { return Ok(not_found(turn.now)) };
    step.take(turn, "PENDING", None, Payment::capture)
}

pub(super) fn refund(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let Some(step) = Step::read(turn, id)? else { return Ok(not_found(turn.now)) };
    step.take(turn, "PENDING", Some(("refundAmountDetails", "refundAmount")), Payment::refund)
}

pub(super) fn reverse(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let Some(step) = Step::read(turn, id)? else { return Ok(not_found(turn.now)) };
    reverse_step(turn, step)
}

fn reverse_step(turn: &mut Turn<'_>, step: Step) -> Result<Reply, Stop> {
    let names = Some(("reversalAmountDetails", "reversedAmount"));
    step.take(turn, "REVERSED", names, |payment, _, id, now| payment.cancel(id, now))
}

/// A void of a sale undoes all of it. A void of a capture or a refund undoes only that.
pub(super) fn void(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    let Some(step) = Step::read(turn, id)? else { return Ok(not_found(turn.now)) };
    void_step(turn, step, id)
}

fn void_step(turn: &mut Turn<'_>, step: Step, id: &str) -> Result<Reply, Stop> {
    let names = Some(("voidAmountDetails", "voidAmount"));
    if step.payment.id == id {
        return step.take(turn, "VOIDED", names, |payment, _, id, now| {
            // An authorisation is reversed, not voided.
            if payment.captured() == 0 { Err(Refusal::NothingLeft) } else { payment.void(id, now) }
        });
    }
    step.take(turn, "VOIDED", names, |payment, _, _, _| payment.void_one(id))
}

/// `POST /pts/v2/reversals/` and `/pts/v2/voids/`.
pub(super) fn by_transaction_id(turn: &mut Turn<'_>, what: &str) -> Result<Reply, Stop> {
    let body = turn.ask.json().unwrap_or_default();
    let Some(id) = text_at(&body, &["clientReferenceInformation", "transactionId"]) else {
        return Ok(invalid(turn.now, "MISSING_FIELD", Some("clientReferenceInformation.transactionId")));
    };
    let Some(id) = turn.books.by_transaction_id(&id).map(|payment| payment.id.clone()) else {
        return Ok(not_found(turn.now));
    };
    let Some(step) = Step::read(turn, &id)? else { return Ok(not_found(turn.now)) };
    if what == "voids" { void_step(turn, step, &id) } else { reverse_step(turn, step) }
}

struct Step {
    payment: Payment,
    /// What is asked for; all where nothing is said.
    amount: Result<Option<i64>, ()>,
    code: String,
    id: String,
}

impl Step {
    fn read(turn: &mut Turn<'_>, id: &str) -> Result<Option<Self>, Stop> {
        let payment =
            turn.books.payment_of(id).filter(|payment| payment.format == Format::CyberSource).cloned();
        let Some(payment) = payment else { return Ok(None) };
        let body = turn.ask.json().unwrap_or_default();
        let amount = amount_of(&body, &payment);
        let code = text_at(&body, &["clientReferenceInformation", "code"]).unwrap_or_default().into_owned();
        Ok(Some(Self { payment, amount, code, id: ids::request_number(turn.books.next_serial()?) }))
    }

    fn take(
        mut self,
        turn: &mut Turn<'_>,
        status: &str,
        names: Option<(&str, &str)>,
        work: impl FnOnce(
            &mut Payment,
            Option<i64>,
            String,
            hushpad_domain::time::Timestamp,
        ) -> Result<i64, Refusal>,
    ) -> Result<Reply, Stop> {
        let Ok(amount) = self.amount else {
            return Ok(invalid(turn.now, "INVALID_DATA", Some("orderInformation.amountDetails.totalAmount")));
        };
        let moved = match work(&mut self.payment, amount, self.id.clone(), turn.now) {
            Ok(moved) => moved,
            Err(refusal) => return Ok(invalid(turn.now, reason(refusal, status), None)),
        };
        self.payment.kept.insert(format!("code {}", self.id), self.code.clone());
        let (moved, currency) = (decimal(moved, &self.payment.currency), self.payment.currency.clone());
        turn.save(self.payment)?;
        let mut reply = json!({
            "_links": { "self": { "method": "GET", "href": format!("/pts/v2/{}", self.id) } },
            "id": self.id,
            "submitTimeUtc": seconds(turn.now),
            "status": status,
            "reconciliationId": ids::capitals(&self.id, 16),
            "clientReferenceInformation": { "code": self.code },
            "orderInformation": { "amountDetails": { "totalAmount": moved, "currency": currency } },
        });
        if let Some((group, name)) = names {
            reply[group] = json!({ name: moved, "currency": currency });
        }
        Ok(Reply::json(201, &reply))
    }
}

/// `Err` where an amount is there that cannot be read, or in another currency.
fn amount_of(body: &Value, payment: &Payment) -> Result<Option<i64>, ()> {
    let places = [&body["orderInformation"]["amountDetails"], &body["reversalInformation"]["amountDetails"]];
    let Some(details) = places.into_iter().find(|details| details.get("totalAmount").is_some()) else {
        return Ok(None);
    };
    let given = text_at(details, &["currency"]).unwrap_or_else(|| payment.currency.as_str().into());
    let currency = Currency::from_code(&payment.currency).map_err(|_| ())?;
    let total = text_at(details, &["totalAmount"]).ok_or(())?;
    let amount = Money::parse(&total, currency).map_err(|_| ())?;
    if given == payment.currency { Ok(Some(amount.minor())) } else { Err(()) }
}

fn reason(refusal: Refusal, status: &str) -> &'static str {
    match (refusal, status) {
        (Refusal::NotApproved, _) => "MISSING_AUTH",
        (Refusal::AlreadyVoided, "REVERSED") => "AUTH_ALREADY_REVERSED",
        (Refusal::AlreadyVoided, "VOIDED") => "NOT_VOIDABLE",
        (Refusal::AlreadyVoided, _) => "TRANSACTION_ALREADY_SETTLED_OR_REVERSED",
        (Refusal::TooMuch, _) => "EXCEEDS_AUTH_AMOUNT",
        (Refusal::NothingLeft, "VOIDED") => "NOT_VOIDABLE",
        (Refusal::NothingLeft, _) => "TRANSACTION_ALREADY_SETTLED_OR_REVERSED",
        (Refusal::ByMagic, _) => "PROCESSOR_ERROR",
    }
}
