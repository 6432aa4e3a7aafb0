//! What follows a payment at Adyen. All of it is only taken here; a notification says how it ends.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, Purpose, Unknown};
use serde::Deserialize;
use serde_json::{Value, json};

use super::UNITS;
use crate::amounts;
use crate::connector::{BuildError, ParsedFollowUp, ParsedReversal};
use crate::order::{FollowUp, FollowUpKind};
use crate::wire::Reply;
use crate::wire_text::safe_id;

/// Longer references are not Adyen's.
const REFERENCE_CHARS_MAX: usize = 64;

pub(super) fn request(account: &str, follow_up: &FollowUp<'_>) -> Result<(String, Value), BuildError> {
    let payment = follow_up.answer_reference;
    let is_reference = (1..=REFERENCE_CHARS_MAX).contains(&payment.len())
        && payment.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_reference {
        return Err(BuildError::Unsupported);
    }
    let plain = json!({ "merchantAccount": account, "reference": follow_up.id });
    let with_amount = || {
        let value = amounts::minor(follow_up.amount, UNITS)?;
        Ok(json!({
            "merchantAccount": account, "reference": follow_up.id,
            "amount": { "currency": follow_up.amount.currency().code(), "value": value },
        }))
    };
    let (what, body) = match follow_up.kind {
        FollowUpKind::Capture => ("captures", with_amount()?),
        FollowUpKind::Refund => ("refunds", with_amount()?),
        FollowUpKind::Void if follow_up.attempt.purpose == Purpose::Authorise => ("cancels", plain),
        // Cancels or refunds, whichever is due.
        FollowUpKind::Void | FollowUpKind::Reverse => ("reversals", plain),
    };
    Ok((format!("/payments/{payment}/{what}"), body))
}

pub(super) fn read(follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    if reply.status >= 500 {
        return ParsedFollowUp::Indeterminate(Unknown::GatewayError);
    }
    match (reply.status, reply.json::<Answer>()) {
        (201, Some(answer)) if answer.is_of(&follow_up.id.to_string()) => {
            let reference = answer.psp_reference.as_deref().map(safe_id).unwrap_or_default();
            if answer.status.as_deref() != Some("received") || reference.is_empty() {
                return ParsedFollowUp::Indeterminate(Unknown::Unreadable);
            }
            let named = [("pspReference", reference.as_str()), ("status", "received")];
            let result = named.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            ParsedFollowUp::Accepted { reference, result }
        }
        (401 | 403 | 429, _) => ParsedFollowUp::NotProcessed,
        (400 | 422, Some(answer)) => refused(&answer),
        _ => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
    }
}

/// By our reference: for an attempt whose `pspReference` was lost.
pub(super) fn technical_cancel(account: &str, attempt: &Attempt) -> Value {
    json!({ "merchantAccount": account, "paymentReference": attempt.id, "reference": attempt.id })
}

pub(super) fn read_technical_cancel(attempt: &Attempt, reply: &Reply) -> ParsedReversal {
    match (reply.status, reply.json::<Answer>()) {
        (500.., _) => ParsedReversal::Indeterminate(Unknown::GatewayError),
        (201, Some(answer))
            if answer.is_of(&attempt.id.to_string()) && answer.status.as_deref() == Some("received") =>
        {
            ParsedReversal::Accepted
        }
        _ => ParsedReversal::Indeterminate(Unknown::Unreadable),
    }
}

fn refused(answer: &Answer) -> ParsedFollowUp {
    let code = answer.error_code.as_deref().map(safe_id).unwrap_or_default();
    // 704: the same key is being processed.
    let checked = matches!(answer.error_type.as_deref(), Some("validation" | "configuration"));
    if !checked || code.is_empty() || code == "704" {
        return ParsedFollowUp::Indeterminate(Unknown::Unreadable);
    }
    let result = BTreeMap::from([("errorCode".to_owned(), code.clone())]);
    ParsedFollowUp::Refused { reason: code, result }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    psp_reference: Option<String>,
    reference: Option<String>,
    status: Option<String>,
    error_code: Option<String>,
    error_type: Option<String>,
}

impl Answer {
    fn is_of(&self, reference: &str) -> bool {
        self.reference.as_deref().is_none_or(|theirs| theirs == reference)
    }
}
