//! What CyberSource's search says of an attempt.

use hushpad_domain::attempt::{Attempt, Unknown};
use hushpad_domain::money::Money;
use serde::Deserialize;

use super::reference;
use super::reply::Decision;
use crate::connector::ParsedQuery;
use crate::wire::Reply;
use crate::wire_text::safe_id;

/// One reference has one payment, and perhaps someone's reversal or refund. More than this is not ours.
pub(super) const LIMIT: u8 = 20;

const UNREADABLE: ParsedQuery = ParsedQuery::Indeterminate(Unknown::Unreadable);

pub(super) fn read(attempt: &Attempt, reply: &Reply) -> ParsedQuery {
    if reply.status >= 500 {
        return ParsedQuery::Indeterminate(Unknown::GatewayError);
    }
    let Some(found) = serde_json::from_slice::<Found>(&reply.body).ok().filter(|_| reply.status == 201)
    else {
        return UNREADABLE;
    };
    let summaries = found.embedded.map(|embedded| embedded.transaction_summaries).unwrap_or_default();
    // Only an answer to our question counts, even where it is "none".
    if !found.query.is_some_and(|query| query.contains(&reference(attempt.id))) {
        return UNREADABLE;
    }
    match (found.total_count, summaries.as_slice()) {
        (0, []) => ParsedQuery::NotFound,
        // A second one is a reversal, a refund or a mistake: the operator must look.
        (1, [summary]) => judge(summary, attempt).unwrap_or(UNREADABLE),
        _ => UNREADABLE,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    query: Option<String>,
    total_count: u32,
    #[serde(rename = "_embedded")]
    embedded: Option<Embedded>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Embedded {
    #[serde(default)]
    transaction_summaries: Vec<Summary>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    id: String,
    application_information: Option<ApplicationInformation>,
    client_reference_information: Option<Reference>,
    order_information: Option<OrderInformation>,
}

#[derive(Deserialize)]
struct ApplicationInformation {
    #[serde(default)]
    applications: Vec<Application>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Application {
    name: String,
    reason_code: Option<String>,
}

#[derive(Deserialize)]
struct Reference {
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderInformation {
    amount_details: Option<AmountDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AmountDetails {
    total_amount: Option<String>,
    currency: Option<String>,
}

/// A sale is an authorisation and a bill in one. `None` where it is not clear what happened.
fn judge(summary: &Summary, attempt: &Attempt) -> Option<ParsedQuery> {
    let id = Some(safe_id(&summary.id)).filter(|id| !id.is_empty())?;
    let code = summary.client_reference_information.as_ref()?.code.as_deref()?;
    if code != reference(attempt.id) || !has_amount(summary, attempt) {
        return None;
    }
    let applications = &summary.application_information.as_ref()?.applications;
    let reason = |name: &str| {
        let found = applications.iter().find(|application| application.name == name)?;
        found.reason_code.as_deref()?.parse::<u16>().ok()
    };
    if applications.iter().any(|application| application.name.contains("reversal")) {
        return None;
    }
    let decision = match (reason("ics_auth")?, reason("ics_bill")) {
        (100, Some(100)) => Decision::of_code(100)?,
        // Authorised, but not billed: an authorisation is held and no money was taken.
        (100, _) => return None,
        (code, _) => Decision::of_code(code)?,
    };
    Some(ParsedQuery::Found(decision.answer(attempt, id, None)))
}

fn has_amount(summary: &Summary, attempt: &Attempt) -> bool {
    let currency = attempt.amount.currency();
    let details = summary.order_information.as_ref().and_then(|order| order.amount_details.as_ref());
    details.is_some_and(|details| {
        details.currency.as_deref() == Some(currency.code())
            && details.total_amount.as_deref().is_some_and(|amount| {
                // The search writes amounts as numbers are written: "12.4" for 12.40.
                Money::parse(amount, currency) == Ok(attempt.amount)
            })
    })
}
