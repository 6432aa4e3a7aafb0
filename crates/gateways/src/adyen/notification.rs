//! Adyen's notifications ("standard webhooks"), each item signed (docs.adyen.com, "Verify HMAC signatures").
//!
//! The signature is HMAC-SHA256 with the key from the Customer Area (hexadecimal), over eight values joined by
//! colons: `pspReference`, `originalReference`, `merchantAccountCode`, `merchantReference`, the amount's `value`
//! and `currency`, `eventCode`, `success`; in base64 as `additionalData.hmacSignature`. Nothing is escaped, as in
//! Adyen's own libraries; so a colon within a value could move the borders, and is taken only in
//! `merchantReference`, which another system of the merchant may have made.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hushpad_domain::attempt::{DeclineClass, StoredCard};
use hushpad_domain::money::{Currency, Money};
use hushpad_domain::notification::{DEDUPE_KEY_CHARS_MAX, Notification, Told, UndoingEnd};
use ring::hmac;
use serde::Deserialize;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{UNITS, reply, request};
use crate::amounts;
use crate::notification::{NOTIFICATIONS_MAX, NotificationError};
use crate::wire_text::{safe_id, safe_message};

/// The key that Adyen signs with.
pub(super) struct NotificationKey(hmac::Key);

impl NotificationKey {
    /// `None` when it is not hexadecimal.
    pub(super) fn new(hex: &str) -> Option<Self> {
        let hex = hex.trim().as_bytes();
        if hex.is_empty() || !hex.len().is_multiple_of(2) {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let bytes: Option<Vec<u8>> =
            hex.chunks(2).map(|pair| Some(digit(pair[0])? * 16 + digit(pair[1])?)).collect();
        Some(Self(hmac::Key::new(hmac::HMAC_SHA256, &Zeroizing::new(bytes?))))
    }

    fn has_signed(&self, item: &Item) -> bool {
        let signature = item.additional_data.get("hmacSignature").and_then(serde_json::Value::as_str);
        let Some(signature) = signature.and_then(|text| STANDARD.decode(text).ok()) else { return false };
        let original = item.original_reference.as_deref().unwrap_or_default();
        let fixed = [&item.psp_reference, original, &item.merchant_account_code, &item.event_code];
        if fixed.iter().any(|value| value.contains(':')) {
            return false;
        }
        hmac::verify(&self.0, item.signed_text().as_bytes(), &signature).is_ok()
    }
}

/// All of them, or none: one that is not signed spoils the lot.
pub(super) fn read(
    key: &NotificationKey,
    account: &str,
    body: &[u8],
) -> Result<Vec<Notification>, NotificationError> {
    let lot: Lot = serde_json::from_slice(body).map_err(|_| NotificationError::Malformed)?;
    if lot.notification_items.len() > NOTIFICATIONS_MAX {
        return Err(NotificationError::Malformed);
    }
    let items = lot.notification_items.into_iter().map(|item| item.notification_request_item);
    items
        .map(|item| match key.has_signed(&item) && item.merchant_account_code == account {
            true => Ok(item.notification()),
            false => Err(NotificationError::NotSigned),
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lot {
    notification_items: Vec<Wrapped>,
}

#[derive(Deserialize)]
struct Wrapped {
    #[serde(rename = "NotificationRequestItem")]
    notification_request_item: Item,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(default)]
    psp_reference: String,
    #[serde(default)]
    original_reference: Option<String>,
    #[serde(default)]
    merchant_account_code: String,
    #[serde(default)]
    merchant_reference: Option<String>,
    #[serde(default)]
    amount: Option<Amount>,
    #[serde(default)]
    event_code: String,
    success: Flag,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    additional_data: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Amount {
    value: i64,
    currency: String,
}

/// `"true"`, or `true`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Words(String),
    Flag(bool),
}

impl Flag {
    fn text(&self) -> &str {
        match self {
            Self::Words(words) => words,
            Self::Flag(true) => "true",
            Self::Flag(false) => "false",
        }
    }
}

impl Item {
    fn signed_text(&self) -> String {
        let (value, currency) = match &self.amount {
            Some(amount) => (amount.value.to_string(), amount.currency.as_str()),
            None => (String::new(), ""),
        };
        let values = [
            self.psp_reference.as_str(),
            self.original_reference.as_deref().unwrap_or_default(),
            &self.merchant_account_code,
            self.merchant_reference.as_deref().unwrap_or_default(),
            &value,
            currency,
            &self.event_code,
            self.success.text(),
        ];
        values.join(":")
    }

    fn notification(self) -> Notification {
        let done = self.success.text() == "true";
        let reason = self.reason.as_deref().map(safe_message).unwrap_or_default();
        let event = safe_id(&self.event_code);
        let reference = self.merchant_reference.as_deref().and_then(|text| Uuid::try_parse(text).ok());
        let what = match (self.event_code.as_str(), reference) {
            (_, None) => Told::Other { event: event.clone() },
            ("AUTHORISATION", _) => Told::Attempt {
                declined: (!done).then(|| self.class()),
                checks: reply::checks(&self.additional_data),
                result: self.result(done),
                stored: done.then(|| self.stored()).flatten(),
            },
            ("CAPTURE" | "REFUND" | "CANCELLATION" | "CANCEL_OR_REFUND", _) => {
                Told::FollowUp { done, reason }
            }
            ("TECHNICAL_CANCEL", _) => Told::Reversal { end: self.undoing_end(done), reason },
            ("CAPTURE_FAILED" | "REFUND_FAILED" | "REFUNDED_REVERSED", _) => {
                Told::FailedLater { event: event.clone() }
            }
            _ => Told::Other { event: event.clone() },
        };
        let gateway_reference = safe_id(&self.psp_reference);
        Notification {
            dedupe_key: format!("{gateway_reference} {event} {done}")
                .chars()
                .take(DEDUPE_KEY_CHARS_MAX)
                .collect(),
            reference: reference.unwrap_or(Uuid::nil()),
            original_reference: self.original_reference.as_deref().map(safe_id).filter(|id| !id.is_empty()),
            amount: self.money(),
            gateway_reference,
            what,
        }
    }

    /// Told by what is signed: a payment that was found is named, the words of the reason are anybody's.
    fn undoing_end(&self, done: bool) -> UndoingEnd {
        let found = self.original_reference.as_deref().is_some_and(|original| !original.is_empty());
        match (done, found) {
            (true, _) => UndoingEnd::Done,
            (false, true) => UndoingEnd::Failed,
            (false, false) => UndoingEnd::NothingThere,
        }
    }

    /// As the answer to the payment would name it.
    fn result(&self, done: bool) -> BTreeMap<String, String> {
        let code = if done { "Authorised" } else { "Refused" };
        let named = [("resultCode", code.to_owned()), ("pspReference", safe_id(&self.psp_reference))];
        named.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn class(&self) -> DeclineClass {
        let code = self.additional_data.get("refusalReasonCode").and_then(serde_json::Value::as_str);
        reply::class(code.unwrap_or_default())
    }

    fn stored(&self) -> Option<StoredCard> {
        let text = |names: &[&str]| {
            let value = names.iter().find_map(|name| self.additional_data.get(*name))?;
            value.as_str().map(safe_id).filter(|text| !text.is_empty())
        };
        let id = text(&["tokenization.storedPaymentMethodId", "recurring.recurringDetailReference"])?;
        let shopper = text(&["tokenization.shopperReference", "recurring.shopperReference"])?;
        let network_transaction_id = text(&["networkTxReference"]);
        Some(StoredCard { token: request::token(&shopper, &id), network_transaction_id })
    }

    fn money(&self) -> Option<Money> {
        let amount = self.amount.as_ref()?;
        let currency = Currency::from_code(&amount.currency).ok()?;
        amounts::from_minor(amount.value, currency, UNITS)
    }
}
