//! PaymentIntents and SetupIntents, and how Stripe shows them.

use std::collections::BTreeMap;

use hushpad_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::DECIMALS;
use crate::sandbox::acs;
use crate::sandbox::ids;
use crate::sandbox::issuer::{CardFacts, Check, Reason, Standing};
use crate::sandbox::ledger::payment::{Payment, Said};
use crate::sandbox::magic::Ruling;
use crate::sandbox::turn::Turn;

/// A PaymentIntent. Its payment is in the ledger, under the id of its last charge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Intent {
    pub(in crate::sandbox) id: String,
    /// In minor units of ISO 4217.
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    pub(super) is_manual: bool,
    /// Whether the card is kept for its customer once it has paid.
    #[serde(default)]
    pub(super) keeps_card: bool,
    pub(super) method: Option<String>,
    pub(super) customer: Option<String>,
    pub(super) description: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    /// The ids of the charges that were tried.
    pub(super) charges: Vec<String>,
    pub(super) is_cancelled: bool,
    pub(super) on: Timestamp,
}

/// A SetupIntent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Setup {
    pub(in crate::sandbox) id: String,
    pub(super) method: Option<String>,
    pub(super) customer: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) status: String,
    pub(super) on: Timestamp,
}

impl Intent {
    /// What the merchant calls it: the id of the attempt, which our connector puts into `metadata[ref]`.
    pub(super) fn reference(&self) -> &str {
        self.metadata.get("ref").or_else(|| self.metadata.get("order_id")).unwrap_or(&self.id)
    }

    /// Whether the payer may still confirm at the bank.
    pub(in crate::sandbox) fn waits_for_payer(&self, turn: &Turn<'_>) -> bool {
        self.status(self.payment(turn)) == "requires_action"
    }

    /// The last charge that was tried.
    pub(super) fn payment<'b>(&self, turn: &'b Turn<'_>) -> Option<&'b Payment> {
        turn.books.payment(self.charges.last()?)
    }

    pub(super) fn status(&self, payment: Option<&Payment>) -> &'static str {
        match (self.is_cancelled, payment.map(|payment| payment.ruling)) {
            (true, _) => "canceled",
            (false, None) if self.method.is_some() => "requires_confirmation",
            (false, None | Some(Ruling::Declined(_))) => "requires_payment_method",
            (false, Some(Ruling::WantsAuthentication)) if is_challenge(payment) => "requires_action",
            (false, Some(Ruling::WantsAuthentication)) => "requires_payment_method",
            (false, Some(_)) => match payment {
                Some(payment) if !payment.is_told() => "processing",
                Some(payment) if payment.captured() > 0 || payment.refunded() > 0 => "succeeded",
                _ => "requires_capture",
            },
        }
    }

    pub(super) fn json(&self, turn: &Turn<'_>) -> Value {
        let payment = self.payment(turn);
        let (minor, currency) = match payment {
            Some(payment) => turn.told(payment),
            None => (self.amount_minor, self.currency.clone()),
        };
        let units = |minor: i64| DECIMALS.minor(minor, &currency);
        let status = self.status(payment);
        let received = payment.filter(|_| status == "succeeded").map_or(0, Payment::captured);
        let capturable = payment.filter(|_| status == "requires_capture").map_or(0, Payment::reserved);
        // A lie about the amount is told of all amounts.
        let received = if minor == self.amount_minor { received } else { received.min(minor) };
        let mut shown = json!({
            "id": self.id,
            "object": "payment_intent",
            "amount": units(minor),
            "amount_capturable": units(capturable),
            "amount_received": units(received),
            "capture_method": if self.is_manual { "manual" } else { "automatic" },
            "client_secret": format!("{}_secret_sandbox", self.id),
            "confirmation_method": "automatic",
            "created": self.on.as_seconds(),
            "currency": currency.to_ascii_lowercase(),
            "customer": self.customer,
            "description": self.description,
            "last_payment_error": payment.and_then(last_error),
            "latest_charge": self.latest_charge(turn),
            "livemode": false,
            "metadata": self.metadata,
            "next_action": null,
            "payment_method": self.method.as_ref().filter(|_| status != "requires_payment_method"),
            "payment_method_types": ["card"],
            "setup_future_usage": self.keeps_card.then_some("off_session"),
            "status": status,
        });
        if status == "requires_action" {
            shown["next_action"] = match payment.and_then(|payment| Some((payment, payment.visit.as_ref()?)))
            {
                Some((payment, visit)) => json!({
                    "type": "redirect_to_url",
                    "redirect_to_url": { "url": acs::url(turn, payment), "return_url": visit.return_url },
                }),
                None => json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} }),
            };
        }
        shown
    }

    /// Its id, or the whole charge where the request asks for that (`expand[]`).
    fn latest_charge(&self, turn: &Turn<'_>) -> Value {
        let expands = |value: Option<&String>| value.is_some_and(|value| value == "latest_charge");
        let ask = turn.ask;
        let is_asked = expands(ask.form().get("expand[]")) || expands(ask.queried("expand[]").as_ref());
        match self.payment(turn).filter(|_| is_asked) {
            Some(payment) => self.charge(turn, payment),
            None => json!(self.charges.last()),
        }
    }

    fn charge(&self, turn: &Turn<'_>, payment: &Payment) -> Value {
        let (minor, currency) = turn.told(payment);
        let units = |minor: i64| DECIMALS.minor(minor, &currency);
        let paid = payment.is_approved() && payment.is_told();
        json!({
            "id": payment.id,
            "object": "charge",
            "amount": units(minor),
            "amount_captured": units(payment.captured().min(minor)),
            "amount_refunded": units(payment.refunded()),
            "captured": payment.captured() > 0,
            "created": payment.on.as_seconds(),
            "currency": currency.to_ascii_lowercase(),
            "livemode": false,
            "paid": paid,
            "payment_intent": self.id,
            "payment_method_details": {
                "type": "card",
                "card": {
                    "brand": payment.card.brand.map_or("unknown", brand_name),
                    "last4": payment.card.last4, "exp_month": payment.card.month,
                    "exp_year": payment.card.year,
                    "checks": checks(payment.address, payment.code),
                    "network_transaction_id": paid.then(|| ids::capitals(&format!("network {}", payment.id), 15)),
                },
            },
            "status": if paid { "succeeded" } else if payment.is_told() { "failed" } else { "pending" },
        })
    }
}

/// Whether the card asks for a challenge; otherwise its issuer declines for the want of one.
fn is_challenge(payment: Option<&Payment>) -> bool {
    payment.is_some_and(|payment| {
        payment.card.standing == Standing::WantsAuthentication && payment.said() != Some(Said::Refused)
    })
}

/// The error of a charge that was declined.
pub(super) fn last_error(payment: &Payment) -> Option<Value> {
    match payment.ruling {
        Ruling::Declined(reason) => Some(card_error(reason)),
        Ruling::WantsAuthentication if payment.said() == Some(Said::Refused) => Some(json!({
            "type": "card_error", "code": "payment_intent_authentication_failure",
            "message": "We are unable to authenticate your payment method.",
        })),
        Ruling::WantsAuthentication if !is_challenge(Some(payment)) => Some(json!({
            "type": "card_error", "code": "authentication_required",
            "decline_code": "authentication_required",
            "message": "Your card was declined. This transaction requires authentication.",
        })),
        _ => None,
    }
}

/// A decline in Stripe's words: some codes are codes of their own, others are decline codes
/// (docs.stripe.com/declines/codes).
pub(super) fn card_error(reason: Reason) -> Value {
    let mut error = json!({ "type": "card_error", "message": reason.message() });
    let code = match reason {
        Reason::ExpiredCard | Reason::IncorrectCvc | Reason::ProcessingError => {
            error["decline_code"] = json!(reason.code());
            reason.code()
        }
        Reason::IncorrectNumber
        | Reason::InvalidNumber
        | Reason::InvalidExpiryMonth
        | Reason::InvalidExpiryYear
        | Reason::InvalidCvc => reason.code(),
        Reason::CardDeclined => {
            error["decline_code"] = json!("generic_decline");
            "card_declined"
        }
        Reason::InsufficientFunds
        | Reason::CardVelocityExceeded
        | Reason::LostCard
        | Reason::StolenCard
        | Reason::CallIssuer
        | Reason::DoNotHonor
        | Reason::Fraudulent => {
            error["decline_code"] = json!(reason.code());
            "card_declined"
        }
    };
    error["code"] = json!(code);
    error
}

/// A PaymentMethod.
pub(super) fn method(id: &str, card: &CardFacts, customer: &str, on: Timestamp) -> Value {
    let brand = card.brand.map_or("unknown", brand_name);
    json!({
        "id": id,
        "object": "payment_method",
        "billing_details": { "address": null, "email": null, "name": null, "phone": null },
        "card": {
            "brand": brand, "last4": card.last4, "exp_month": card.month, "exp_year": card.year,
            "funding": "credit", "country": "GB", "fingerprint": null, "generated_from": null,
            "checks": checks(card.address, card.code), "networks": null, "three_d_secure_usage": null, "wallet": null,
        },
        "created": on.as_seconds(),
        "customer": Some(customer).filter(|customer| !customer.is_empty()),
        "livemode": false,
        "metadata": {},
        "type": "card",
    })
}

fn checks(address: Check, code: Check) -> Value {
    let word = |check: Check| match check {
        Check::Match => Some("pass"),
        Check::Mismatch => Some("fail"),
        Check::NotChecked => None,
    };
    json!({
        "address_line1_check": word(address), "address_postal_code_check": word(address),
        "cvc_check": word(code),
    })
}

fn brand_name(brand: hushpad_domain::masked_card::Brand) -> &'static str {
    use hushpad_domain::masked_card::Brand;
    match brand {
        Brand::Visa => "visa",
        Brand::Mastercard => "mastercard",
        Brand::Amex => "amex",
        Brand::Diners => "diners",
        Brand::Discover => "discover",
        Brand::Jcb => "jcb",
        Brand::UnionPay => "unionpay",
        Brand::Maestro => "unknown",
    }
}
