//! The ledger as it is told: one line per reference of the merchant.

use hushpad_domain::money::Currency;
use serde::{Deserialize, Serialize};

use super::books::Books;
use super::payment::{Kind, Payment};
use crate::sandbox::format::Format;
use crate::sandbox::magic::Ruling;

/// What became of one reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The merchant's reference: the `transaction_id` of the generic gateway, and what the others call theirs.
    pub transaction_id: String,
    /// At which gateway.
    pub gateway: Format,
    /// How often a charge was asked for with this reference.
    pub requests: u32,
    /// How often the issuer granted money: more than once is what must never be.
    pub charged: u32,
    /// The decision: of the first payment that was granted, else of the last one.
    #[serde(flatten)]
    pub decision: Decision,
    /// What was asked for, as a decimal number such as `12.40`.
    pub amount: String,
    /// ISO 4217.
    pub currency_code: String,
    /// The first six digits of the card.
    pub card_first6: String,
    /// The last four digits of the card.
    pub card_last4: String,
    /// All that was ever reserved, as a decimal number.
    pub authorised: String,
    /// All that was taken and not voided.
    pub captured: String,
    /// All that was given back.
    pub refunded: String,
    /// All that was undone before it was settled.
    pub voided: String,
    /// What the customer is out of, or has reserved, in the end.
    pub stands: String,
    /// Every movement of every payment, in order.
    pub history: Vec<Step>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Approved, under this id.
    ChargeId(String),
    /// Declined, for this reason.
    ErrorCode(String),
}

/// One movement, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What moved.
    pub kind: Kind,
    /// The gateway's id of it.
    pub id: String,
    /// How much, as a decimal number.
    pub amount: String,
    /// When, ISO 8601.
    pub on: String,
    /// Whether a later void took it back.
    pub undone: bool,
}

pub(super) fn all(books: &Books) -> Vec<Charge> {
    books.references().filter_map(|(reference, payments)| told(books, reference, &payments)).collect()
}

pub(super) fn of(books: &Books, reference: &str) -> Option<Charge> {
    told(books, reference, &books.all_of(reference))
}

fn told(books: &Books, reference: &str, payments: &[&Payment]) -> Option<Charge> {
    let granted = payments.iter().filter(|payment| payment.is_approved());
    let shown = granted.clone().next().or(payments.last())?;
    let text = |minor: i64| decimal(minor, &shown.currency);
    let sum = |part: fn(&Payment) -> i64| text(payments.iter().map(|payment| part(payment)).sum());
    let decision = match shown.ruling {
        Ruling::Declined(reason) => Decision::ErrorCode(reason.code().to_owned()),
        Ruling::WantsAuthentication => Decision::ErrorCode("authentication_required".to_owned()),
        Ruling::Approved | Ruling::Partial | Ruling::Review | Ruling::Pending => {
            Decision::ChargeId(shown.id.clone())
        }
    };
    let steps = payments.iter().flat_map(|payment| &payment.movements).map(|movement| Step {
        kind: movement.kind,
        id: movement.id.clone(),
        amount: text(movement.amount_minor),
        on: movement.on.to_string(),
        undone: movement.undone,
    });
    Some(Charge {
        transaction_id: reference.to_owned(),
        gateway: shown.format,
        requests: books.requests_of(reference),
        charged: u32::try_from(granted.count()).unwrap_or(u32::MAX),
        decision,
        amount: text(shown.amount_minor),
        currency_code: shown.currency.clone(),
        card_first6: shown.card.first6.clone(),
        card_last4: shown.card.last4.clone(),
        authorised: sum(Payment::authorised),
        captured: sum(Payment::captured),
        refunded: sum(Payment::refunded),
        voided: sum(Payment::voided),
        stands: sum(|payment| payment.reserved() + payment.taken()),
        history: steps.collect(),
    })
}

/// Minor units as a decimal number with the currency's decimals.
pub(in crate::sandbox) fn decimal(minor: i64, currency: &str) -> String {
    let exponent = Currency::from_code(currency).map_or(2, |currency| usize::from(currency.exponent()));
    let digits = format!("{minor:0width$}", width = exponent + 1);
    let (whole, fraction) = digits.split_at(digits.len() - exponent);
    if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_with_the_currencys_decimals() {
        assert_eq!(decimal(1240, "GBP"), "12.40");
        assert_eq!(decimal(0, "GBP"), "0.00");
        assert_eq!(decimal(5, "KWD"), "0.005");
        assert_eq!(decimal(1240, "JPY"), "1240");
    }
}
