//! A payer who is sent to the bank by Adyen, and comes back.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, Unknown};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::masked_card::MaskedCard;
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply;
use crate::connector::{NoReturn, Parsed, Step};
use crate::wire::Reply;

/// The steps after a challenge, by what came back. In [`Step::ids`]: what came back, then `paymentData` where Adyen gave
/// some.
const RESULT: u8 = 10;
/// The same for a bank that answers by itself, as in 3-D Secure 1: `MD`, `PaRes`.
const PA_RES: u8 = 11;

/// The longest thing that comes back: a `PaRes` of some kilobytes.
const BROUGHT_BYTES_MAX: usize = 16 * 1024;

/// A reply that sends the payer somewhere.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Redirection {
    result_code: String,
    action: Action,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    #[serde(rename = "type")]
    kind: String,
    url: String,
    method: String,
    #[serde(default)]
    data: BTreeMap<String, String>,
    payment_data: Option<String>,
}

impl Redirection {
    /// `None` where it is not a place that a payer can be sent to: the attempt is declined then.
    pub(super) fn challenge(self) -> Option<Challenge> {
        let Self { result_code, action } = self;
        let fields = match action.method.as_str() {
            "GET" => Vec::new(),
            // Without a field it would be a link.
            "POST" if !action.data.is_empty() => action.data.into_iter().collect(),
            _ => return None,
        };
        let is_redirect = result_code == "RedirectShopper" && action.kind == "redirect";
        let reference = action.payment_data.into_iter().collect();
        is_redirect.then(|| Challenge::new(action.url, fields, reference).ok())?
    }
}

pub(super) fn returned(challenge: &Challenge, came_along: &[u8]) -> Result<Step, NoReturn> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(came_along).map_err(|_| NoReturn)?;
    let brought = |name: &str| {
        let found = pairs.iter().find(|(named, _)| named == name).map(|(_, value)| value.clone());
        found.filter(|value| (1..=BROUGHT_BYTES_MAX).contains(&value.len()))
    };
    let (no, brought) = match (brought("redirectResult"), brought("MD"), brought("PaRes")) {
        (Some(result), ..) => (RESULT, vec![result]),
        (None, Some(md), Some(pa_res)) => (PA_RES, vec![md, pa_res]),
        _ => return Err(NoReturn),
    };
    Ok(Step { no, ids: brought.into_iter().chain(challenge.reference().iter().cloned()).collect() })
}

/// The body of `POST /payments/details`.
pub(super) fn details(step: &Step) -> Option<Value> {
    let (details, payment_data) = match (step.no, step.ids.as_slice()) {
        (RESULT, [result, rest @ ..]) => (json!({ "redirectResult": result }), rest.first()),
        (PA_RES, [md, pa_res, rest @ ..]) => (json!({ "MD": md, "PaRes": pa_res }), rest.first()),
        _ => return None,
    };
    let mut body = json!({ "details": details });
    if let Some(payment_data) = payment_data {
        body["paymentData"] = json!(payment_data);
    }
    Some(body)
}

/// Reads what Adyen says of the details. What the payer brought may be another payment's: then it says nothing of ours.
pub(super) fn read(attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    // Nothing of this payment was processed: the payer may still bring the right thing.
    let again = || match attempt.visit() {
        Some(visit) => Parsed::Challenge(visit.challenge.clone()),
        None => Parsed::Indeterminate(Unknown::Unreadable),
    };
    let Some(said) = reply.json::<Said>() else { return reply::read_answer(attempt, card, reply) };
    match (reply.status, said.merchant_reference) {
        (200, Some(reference)) if reference == attempt.id.to_string() => {
            match reply.json::<Redirection>().and_then(Redirection::challenge) {
                Some(challenge) => Parsed::Challenge(challenge),
                None => reply::read_answer(attempt, card, reply),
            }
        }
        (200, Some(_)) => again(),
        (200, None) => Parsed::Indeterminate(Unknown::Unreadable),
        (400 | 422, _) if said.error_type.as_deref() == Some("validation") => {
            match said.error_code.as_deref() {
                // The same key is being processed.
                Some("704") | None => Parsed::Indeterminate(Unknown::Unreadable),
                Some(_) => again(),
            }
        }
        _ => reply::read_answer(attempt, card, reply),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    merchant_reference: Option<String>,
    error_code: Option<String>,
    error_type: Option<String>,
}
