//! Notifications: signed by HMAC, late, twice or never where the payment's amount asks for it
//! (docs.adyen.com/development-resources/webhooks/verify-hmac-signatures).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hushpad_domain::time::Timestamp;
use ring::hmac;
use serde_json::{Value, json};

use super::payments::{brand, refusal};
use super::{ADYEN_HMAC_KEY, ADYEN_MERCHANT, DECIMALS};
use crate::sandbox::ledger::payment::{Kind, Payment, Refusal};
use crate::sandbox::magic::{Quirk, Ruling, SLOW};

/// What happened, as it is notified.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Event {
    code: &'static str,
    psp: String,
    original: String,
    reference: String,
    value: i64,
    currency: String,
    success: bool,
    reason: String,
    method: &'static str,
    action: Option<&'static str>,
    on: Timestamp,
    quirk: Option<Quirk>,
}

/// A notification on its way.
#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Notice {
    /// How long it is held back, in milliseconds.
    pub(in crate::sandbox) delay_ms: u64,
    pub(in crate::sandbox) body: String,
}

impl Event {
    pub(super) fn authorisation(payment: &Payment) -> Self {
        let reason = match payment.ruling {
            Ruling::Declined(reason) => refusal(reason).1.to_owned(),
            Ruling::WantsAuthentication => "Authentication required".to_owned(),
            Ruling::Approved | Ruling::Partial | Ruling::Review | Ruling::Pending => {
                format!(
                    "{}:{}:{}/{}",
                    &payment.id[..6.min(payment.id.len())],
                    payment.card.last4,
                    payment.card.month,
                    payment.card.year
                )
            }
        };
        let granted = if payment.is_approved() { payment.granted() } else { payment.amount_minor };
        Self {
            code: "AUTHORISATION",
            psp: payment.id.clone(),
            original: String::new(),
            reference: payment.reference.clone(),
            value: DECIMALS.minor(granted, &payment.currency),
            currency: payment.currency.clone(),
            success: payment.is_approved(),
            reason,
            method: brand(payment),
            action: None,
            on: payment.on,
            quirk: payment.quirk(),
        }
    }

    /// What became of what follows a payment. `reference` is that of the request, if it had one.
    pub(super) fn modification(
        payment: &Payment,
        code: &'static str,
        psp: &str,
        reference: Option<String>,
        amount: Option<i64>,
        moved: Result<(Kind, i64), Refusal>,
    ) -> Self {
        let sum = moved.map_or(amount.unwrap_or(payment.amount_minor), |(_, sum)| sum);
        let action = match moved {
            _ if code != "CANCEL_OR_REFUND" => None,
            Ok((Kind::Refund, _)) => Some("refund"),
            _ => Some("cancel"),
        };
        Self {
            code,
            psp: psp.to_owned(),
            original: payment.id.clone(),
            reference: reference.unwrap_or_else(|| payment.reference.clone()),
            value: DECIMALS.minor(sum, &payment.currency),
            currency: payment.currency.clone(),
            success: moved.is_ok(),
            reason: moved.err().map(reason).unwrap_or_default().to_owned(),
            method: brand(payment),
            action,
            on: payment.movements.last().map_or(payment.on, |movement| movement.on),
            quirk: payment.quirk(),
        }
    }

    pub(super) fn nothing_to_cancel(psp: &str, reference: String, on: Timestamp) -> Self {
        Self {
            code: "TECHNICAL_CANCEL",
            psp: psp.to_owned(),
            original: String::new(),
            reference,
            value: 0,
            currency: "EUR".to_owned(),
            success: false,
            reason: "Transaction hasn't been found".to_owned(),
            method: "unknowncard",
            action: None,
            on,
            quirk: None,
        }
    }

    /// The notifications of this event: mostly one.
    pub(in crate::sandbox) fn notices(&self) -> Vec<Notice> {
        let (times, delay_ms) = match self.quirk {
            Some(Quirk::NoNotifications) => (0, 0),
            Some(Quirk::NotificationsTwice) => (2, 0),
            Some(Quirk::NotificationsLate) => (1, u64::try_from(SLOW.as_millis()).unwrap_or(0)),
            _ => (1, 0),
        };
        let notice = Notice { delay_ms, body: self.body().to_string() };
        vec![notice; times]
    }

    fn body(&self) -> Value {
        let date = self.on.to_string();
        let mut item = json!({
            "additionalData": { "hmacSignature": self.signature() },
            "amount": { "currency": self.currency, "value": self.value },
            "eventCode": self.code,
            "eventDate": format!("{}+00:00", date.get(..19).unwrap_or_default()),
            "merchantAccountCode": ADYEN_MERCHANT,
            "merchantReference": self.reference,
            "paymentMethod": self.method,
            "pspReference": self.psp,
            "reason": self.reason,
            "success": self.success.to_string(),
        });
        if !self.original.is_empty() {
            item["originalReference"] = json!(self.original);
        }
        if let Some(action) = self.action {
            item["additionalData"]["modification.action"] = json!(action);
        }
        if self.code == "AUTHORISATION" && self.success {
            item["operations"] = json!(["CANCEL", "CAPTURE", "REFUND"]);
        }
        json!({ "live": "false", "notificationItems": [{ "NotificationRequestItem": item }] })
    }

    /// Of eight values, joined by colons, by HMAC-SHA256 with the key's bytes.
    fn signature(&self) -> String {
        let (value, success) = (self.value.to_string(), self.success.to_string());
        let signed = [
            self.psp.as_str(),
            &self.original,
            ADYEN_MERCHANT,
            &self.reference,
            &value,
            &self.currency,
            self.code,
            &success,
        ]
        .join(":");
        let key: Vec<u8> = (0..ADYEN_HMAC_KEY.len() / 2)
            .filter_map(|at| u8::from_str_radix(ADYEN_HMAC_KEY.get(at * 2..at * 2 + 2)?, 16).ok())
            .collect();
        STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes()))
    }
}

fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotApproved => "Transaction is not authorised",
        Refusal::AlreadyVoided => "Transaction was cancelled",
        Refusal::TooMuch => "Insufficient balance on payment",
        Refusal::NothingLeft => "Modification not possible in this state",
        Refusal::ByMagic => "Processing failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected signature was made with Python's `hmac`, `hashlib` and `base64` from the same values and key.
    #[test]
    fn the_signature_is_the_one_that_others_compute() {
        let event = Event {
            code: "AUTHORISATION",
            psp: "NCDHRTMBPQKLGFST".to_owned(),
            original: String::new(),
            reference: "order-9".to_owned(),
            value: 1240,
            currency: "GBP".to_owned(),
            success: true,
            reason: String::new(),
            method: "visa",
            action: None,
            on: Timestamp::from_micros(0),
            quirk: None,
        };
        assert_eq!(event.signature(), "YNSNkRfsStcTEHuQl/QW1X+eHctPMaqmszj+MrBTDKk=");
    }
}
