//! CyberSource's search by a reference: the request, and its answer in published names.

use hushpad_domain::money::{Currency, Money};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::reference;
use crate::wire::Reply;

/// One reference has one payment, and perhaps someone's reversal or refund. More than this is not ours.
const LIMIT: u8 = 20;

#[derive(Serialize)]
pub(super) struct Request {
    save: bool,
    timezone: &'static str,
    query: String,
    offset: u8,
    limit: u8,
    sort: &'static str,
}

pub(super) fn request(id: Uuid) -> Request {
    Request {
        save: false,
        timezone: "UTC",
        query: format!("clientReferenceInformation.code:{}", reference(id)),
        offset: 0,
        limit: LIMIT,
        sort: "submitTimeUtc:desc",
    }
}

/// What was found; `None` when it is no answer to a question about this id.
pub(super) fn read(id: Uuid, reply: &Reply) -> Option<(u32, Vec<Summary>)> {
    let found = reply.json::<Found>().filter(|_| reply.status == 201)?;
    // Only an answer to our question counts, even where it is "none".
    found.query.filter(|query| query.contains(&reference(id)))?;
    let summaries = found.embedded.map(|embedded| embedded.transaction_summaries).unwrap_or_default();
    Some((found.total_count, summaries))
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
pub(super) struct Summary {
    pub(super) id: String,
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
    /// Only where one transaction is looked at.
    authorized_amount: Option<String>,
    currency: Option<String>,
}

impl Summary {
    pub(super) fn is_of(&self, id: Uuid) -> bool {
        let code = self.client_reference_information.as_ref().and_then(|given| given.code.as_deref());
        code == Some(reference(id).as_str())
    }

    /// The reason code of an application, such as `ics_auth`.
    pub(super) fn reason(&self, name: &str) -> Option<u16> {
        let applications = &self.application_information.as_ref()?.applications;
        let found = applications.iter().find(|application| application.name == name)?;
        found.reason_code.as_deref()?.parse().ok()
    }

    pub(super) fn has_application(&self, part: &str) -> bool {
        self.application_information.as_ref().is_some_and(|information| {
            information.applications.iter().any(|application| application.name.contains(part))
        })
    }

    pub(super) fn has_amount(&self, amount: Money) -> bool {
        self.details().is_some_and(|details| {
            // The search writes amounts as numbers are written: "12.4" for 12.40.
            details.read(details.total_amount.as_deref(), amount.currency()) == Some(amount)
        })
    }

    /// What was authorised; `None` unless it is less than what was asked for.
    pub(super) fn approved_part(&self, asked: Money) -> Option<Money> {
        let details = self.details()?;
        let approved = details.read(details.authorized_amount.as_deref(), asked.currency())?;
        (approved.minor() < asked.minor()).then_some(approved)
    }

    fn details(&self) -> Option<&AmountDetails> {
        self.order_information.as_ref()?.amount_details.as_ref()
    }
}

impl AmountDetails {
    /// An amount, where all amounts are in this currency.
    fn read(&self, text: Option<&str>, currency: Currency) -> Option<Money> {
        let is_ours = self.currency.as_deref() == Some(currency.code());
        Money::parse(text.filter(|_| is_ours)?, currency).ok()
    }
}
