//! What Access Worldpay says to an order.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{
    Attempt, Check, Checks, DeclineClass, GatewayAnswer, Purpose, StoredCard, Unknown, Verdict,
};
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::MaskedCard;
use serde::Deserialize;

use super::PAY;
use crate::connector::{Parsed, Step};
use crate::order::Order;
use crate::wire::Reply;
use crate::wire_text::{safe_id, safe_message};

/// Longer links are not Worldpay's.
const HREF_CHARS_MAX: usize = 400;

const UNREADABLE: Parsed = Parsed::Indeterminate(Unknown::Unreadable);

pub(super) fn token_made(order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    let href = || reply.json::<TokenMade>().and_then(|made| made.token_payment_instrument?.href);
    match (reply.status, href().filter(|href| is_href(href))) {
        (200 | 201 | 409, Some(href)) if order.attempt.purpose == Purpose::Tokenise => {
            let result = BTreeMap::from([("outcome".to_owned(), "tokenCreated".to_owned())]);
            let reference = order.attempt.id.to_string();
            let mut answer = GatewayAnswer::new(Verdict::Approved, reference, result, card.cloned());
            answer.stored = Some(StoredCard { token: href, network_transaction_id: None });
            Parsed::Answer(answer)
        }
        // 409: the card is there already, under another name of its holder; the token is as good.
        (200 | 201 | 409, Some(href)) => Parsed::Next(Step { no: PAY, ids: vec![href] }),
        (500.., _) => Parsed::Indeterminate(Unknown::GatewayError),
        (400, None) => refused_request(reply, card).unwrap_or(Parsed::Refused),
        (401..=499, None) => Parsed::Refused,
        _ => UNREADABLE,
    }
}

pub(super) fn read(step: &Step, attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    let answer = reply.json::<Answer>().filter(|answer| answer.outcome.is_some());
    match (reply.status, answer) {
        (500.., _) => Parsed::Indeterminate(Unknown::GatewayError),
        (200 | 201, Some(answer)) => judge(&answer, step, attempt, card),
        // The outcome is not known yet; asking tells.
        (202, _) => Parsed::Answer(GatewayAnswer::new(
            Verdict::Pending,
            attempt.id.to_string(),
            BTreeMap::new(),
            card.cloned(),
        )),
        (401 | 403 | 429, None) => Parsed::Refused,
        (400, None) => match (reply.json::<Problem>(), refused_request(reply, card)) {
            (Some(problem), said) if problem.error_name == "bodyDoesNotMatchSchema" => {
                said.unwrap_or(Parsed::Refused)
            }
            (Some(problem), _) if problem.error_name.starts_with("header") => Parsed::Refused,
            _ => UNREADABLE,
        },
        _ => UNREADABLE,
    }
}

/// Only as far as it is understood.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    outcome: Option<String>,
    payment_id: Option<String>,
    transaction_reference: Option<String>,
    refusal_code: Option<String>,
    refusal_description: Option<String>,
    #[serde(default)]
    risk_factors: Vec<RiskFactor>,
    scheme: Option<Scheme>,
}

#[derive(Deserialize)]
struct RiskFactor {
    #[serde(rename = "type")]
    kind: Option<String>,
    detail: Option<String>,
    risk: Option<String>,
}

#[derive(Deserialize)]
struct Scheme {
    reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TokenMade {
    token_payment_instrument: Option<Href>,
}

#[derive(Deserialize)]
struct Href {
    href: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    #[serde(default)]
    error_name: String,
    #[serde(default)]
    validation_errors: Vec<ValidationError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ValidationError {
    json_path: Option<String>,
}

fn judge(answer: &Answer, step: &Step, attempt: &Attempt, card: Option<&MaskedCard>) -> Parsed {
    let reference = attempt.id.to_string();
    if answer.transaction_reference.as_ref().is_some_and(|theirs| *theirs != reference) {
        return UNREADABLE;
    }
    let code = answer.refusal_code.as_deref().unwrap_or_default();
    let outcome = answer.outcome.as_deref().unwrap_or_default();
    let verdict = match (outcome, attempt.purpose) {
        ("authorized", Purpose::Sale | Purpose::Authorise) | ("sentForSettlement", Purpose::Sale) => {
            Verdict::Approved
        }
        ("refused" | "fraudHighRisk" | "not verified", _) => Verdict::Declined { class: class(code) },
        ("3dsDeviceDataRequired" | "3dsChallenged" | "3dsAuthenticationFailed", _) => {
            Verdict::Declined { class: DeclineClass::Authenticate }
        }
        _ => return UNREADABLE,
    };
    let payment_id = answer.payment_id.as_deref().map(safe_id).filter(|id| !id.is_empty());
    let named = [
        ("outcome", Some(safe_id(outcome))),
        ("paymentId", payment_id.clone()),
        ("transactionReference", Some(reference.clone())),
        ("refusalCode", answer.refusal_code.as_deref().map(safe_id)),
        ("refusalDescription", answer.refusal_description.as_deref().map(safe_message)),
    ];
    let result = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    let approved = verdict == Verdict::Approved;
    let mut told = GatewayAnswer::new(verdict, payment_id.unwrap_or(reference), result, card.cloned());
    told.checks = answer.checks();
    told.stored = step.ids.first().filter(|_| approved).map(|href| StoredCard {
        token: href.clone(),
        network_transaction_id: answer
            .scheme
            .as_ref()
            .and_then(|scheme| scheme.reference.as_deref())
            .map(safe_id),
    });
    Parsed::Answer(told)
}

impl Answer {
    /// What is not listed is not known to have been checked.
    fn checks(&self) -> Checks {
        let mut checks = Checks::default();
        for factor in &self.risk_factors {
            let risk = factor.risk.as_deref().unwrap_or_default().replace('_', "").to_ascii_lowercase();
            let check = match risk.as_str() {
                "notmatched" => Check::NoMatch,
                "matched" => Check::Match,
                _ => Check::NotChecked,
            };
            match (factor.kind.as_deref(), factor.detail.as_deref()) {
                (Some("cvc"), _) => checks.security_code = check,
                (Some("avs"), Some("address")) => checks.address = check,
                (Some("avs"), Some("postcode")) => checks.postcode = check,
                _ => {}
            }
        }
        checks
    }
}

/// A request that failed Worldpay's checks was not processed. Three of its fields were keyed.
fn refused_request(reply: &Reply, card: Option<&MaskedCard>) -> Option<Parsed> {
    let problem = reply.json::<Problem>()?;
    let keyed = |path: &str| {
        let path = path.to_ascii_lowercase();
        let places =
            [("cardnumber", Field::CardNumber), ("expirydate", Field::Expiry), ("cvc", Field::SecurityCode)];
        places.into_iter().find(|(place, _)| path.contains(place)).map(|(_, field)| field)
    };
    let paths = problem.validation_errors.iter().filter_map(|error| error.json_path.as_deref());
    let class = DeclineClass::Rekey(paths.into_iter().find_map(keyed)?);
    let result = BTreeMap::from([("errorName".to_owned(), safe_id(&problem.error_name))]);
    let verdict = Verdict::Declined { class };
    Some(Parsed::Answer(GatewayAnswer::new(verdict, String::new(), result, card.cloned())))
}

fn is_href(href: &str) -> bool {
    href.len() <= HREF_CHARS_MAX
        && href.contains("/tokens/")
        && href.bytes().all(|byte| byte.is_ascii_graphic())
}

/// What can be done about a refusal code. They are the schemes' (ISO 8583); docs.worldpay.com, "Refusal response
/// codes".
fn class(code: &str) -> DeclineClass {
    match code {
        "14" | "15" => DeclineClass::Rekey(Field::CardNumber),
        "33" | "54" | "80" => DeclineClass::Rekey(Field::Expiry),
        "82" | "83" => DeclineClass::Rekey(Field::SecurityCode),
        "51" | "61" | "68" | "91" | "92" | "96" => DeclineClass::TryLater,
        "4" | "7" | "34" | "41" | "43" | "46" | "59" => DeclineClass::Never,
        "1A" | "65" | "70" => DeclineClass::Authenticate,
        _ => DeclineClass::OtherCard,
    }
}
