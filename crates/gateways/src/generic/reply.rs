//! What the generic gateway says, in its published names.

use std::collections::BTreeMap;

use hushpad_card::brand;
use hushpad_domain::attempt::{
    Attempt, Check, Checks, DeclineClass, GatewayAnswer, Purpose, StoredCard, Unknown, Verdict,
};
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::money::Money;
use serde::Deserialize;
use uuid::Uuid;

use crate::connector::{Parsed, ParsedFollowUp, ParsedQuery, ParsedReversal};
use crate::order::FollowUp;
use crate::wire::Reply;
use crate::wire_text::{safe_id, safe_message};

/// The error code by which a query says that there is no such charge.
const NOT_FOUND: &str = "not_found";

pub(super) fn to_order(attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    if reply.status >= 500 {
        return Parsed::Indeterminate(Unknown::GatewayError);
    }
    let answer = reply.json::<Answer>();
    let has_id = answer.as_ref().is_some_and(|answer| answer.id(attempt.purpose).is_some());
    match (reply.status, answer) {
        (401 | 403 | 429, _) if !has_id => Parsed::Refused,
        (200..=299, Some(answer)) => judge(&answer, attempt, card),
        (402, Some(answer)) if !has_id => judge(&answer, attempt, card),
        // These may be about the request and not about the card: only codes we know are declines.
        (400 | 422, Some(answer)) if !has_id && answer.has_listed_code() => judge(&answer, attempt, card),
        _ => Parsed::Indeterminate(Unknown::Unreadable),
    }
}

pub(super) fn to_query(attempt: &Attempt, reply: &Reply) -> ParsedQuery {
    if reply.status >= 500 {
        return ParsedQuery::Indeterminate(Unknown::GatewayError);
    }
    // Only an answer that names our reference is about our attempt.
    let Some(answer) = reply.json::<Answer>().filter(|answer| answer.transaction_id.is_some()) else {
        return ParsedQuery::Indeterminate(Unknown::Unreadable);
    };
    let missing = answer.is_missing();
    match (reply.status, judge(&answer, attempt, None)) {
        (404, Parsed::Answer(_)) if missing => ParsedQuery::NotFound,
        (200, Parsed::Answer(answer)) if !missing => ParsedQuery::Found(answer),
        (_, Parsed::Indeterminate(reason)) => ParsedQuery::Indeterminate(reason),
        _ => ParsedQuery::Indeterminate(Unknown::Unreadable),
    }
}

pub(super) fn to_follow_up(follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    if reply.status >= 500 {
        return ParsedFollowUp::Indeterminate(Unknown::GatewayError);
    }
    match (reply.status, reply.json::<Answer>()) {
        (401 | 403 | 429, answer) if answer.as_ref().is_none_or(|answer| answer.charge_id.is_none()) => {
            ParsedFollowUp::NotProcessed
        }
        (200..=299, Some(answer)) if answer.is_about(follow_up.id.0) => answer.follow_up(),
        (400 | 402 | 404 | 409 | 422, Some(answer)) if answer.charge_id.is_none() => answer.follow_up(),
        _ => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
    }
}

pub(super) fn to_follow_up_query(follow_up: &FollowUp<'_>, reply: &Reply) -> ParsedFollowUp {
    if reply.status >= 500 {
        return ParsedFollowUp::Indeterminate(Unknown::GatewayError);
    }
    match (reply.status, reply.json::<Answer>()) {
        (200, Some(answer)) if answer.is_about(follow_up.id.0) && !answer.is_missing() => answer.follow_up(),
        (404, Some(answer)) if answer.is_about(follow_up.id.0) && answer.is_missing() => {
            ParsedFollowUp::NotProcessed
        }
        _ => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
    }
}

pub(super) fn to_reversal(id: Uuid, reply: &Reply) -> ParsedReversal {
    if reply.status >= 500 {
        return ParsedReversal::Indeterminate(Unknown::GatewayError);
    }
    match (reply.status, reply.json::<Answer>()) {
        (200, Some(answer)) if answer.is_about(id) => match answer.follow_up() {
            ParsedFollowUp::Done { .. } => ParsedReversal::Reversed,
            _ => ParsedReversal::Indeterminate(Unknown::Unreadable),
        },
        (404, Some(answer)) if answer.is_about(id) && answer.is_missing() => ParsedReversal::NothingThere,
        _ => ParsedReversal::Indeterminate(Unknown::Unreadable),
    }
}

/// The answer. Other members, such as `parameters`, are not kept: they may echo anything.
#[derive(Deserialize)]
struct Answer {
    transaction_id: Option<Text>,
    charge_id: Option<Text>,
    token_id: Option<Text>,
    error_code: Option<Text>,
    error_message: Option<Text>,
    amount: Option<Text>,
    currency_code: Option<Text>,
    card_first6: Option<Text>,
    card_last4: Option<Text>,
    cvv_result: Option<Text>,
    avs_result: Option<Text>,
    review: Option<bool>,
    partial: Option<bool>,
}

impl Answer {
    /// What names the thing that was made.
    fn id(&self, purpose: Purpose) -> Option<String> {
        match purpose {
            Purpose::Sale | Purpose::Authorise => text(self.charge_id.as_ref()),
            Purpose::Tokenise => text(self.token_id.as_ref()),
        }
    }

    fn code(&self) -> Option<String> {
        text(self.error_code.as_ref())
    }

    fn is_missing(&self) -> bool {
        self.code().is_some_and(|code| code == NOT_FOUND)
    }

    fn has_listed_code(&self) -> bool {
        self.code().is_some_and(|code| listed_class(&code).is_some())
    }

    fn is_about(&self, id: Uuid) -> bool {
        text(self.transaction_id.as_ref()).is_some_and(|given| given.eq_ignore_ascii_case(&id.to_string()))
    }

    fn checks(&self) -> Checks {
        let address = check(self.avs_result.as_ref());
        Checks { address, postcode: address, security_code: check(self.cvv_result.as_ref()) }
    }

    /// What it says of a follow-up.
    fn follow_up(&self) -> ParsedFollowUp {
        let mut result = BTreeMap::new();
        match (self.id(Purpose::Sale), self.code()) {
            (Some(charge_id), None) => {
                let reference = safe_id(&charge_id);
                result.insert("charge_id".to_owned(), reference.clone());
                ParsedFollowUp::Done { reference, result }
            }
            (None, Some(code)) if DOUBTFUL.contains(&code.as_str()) => {
                ParsedFollowUp::Indeterminate(Unknown::GatewayError)
            }
            (None, Some(code)) => {
                let reason = safe_id(&code);
                result.insert("error_code".to_owned(), reason.clone());
                ParsedFollowUp::Refused { reason, result }
            }
            _ => ParsedFollowUp::Indeterminate(Unknown::Unreadable),
        }
    }
}

/// A string, or a number that stands for one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Words(String),
    Number(i64),
}

/// The text; `None` where it is empty.
fn text(given: Option<&Text>) -> Option<String> {
    let text = match given? {
        Text::Words(words) => words.clone(),
        Text::Number(number) => number.to_string(),
    };
    Some(text).filter(|text| !text.is_empty())
}

fn check(given: Option<&Text>) -> Check {
    match text(given).as_deref() {
        Some("match") => Check::Match,
        Some("mismatch" | "no_match") => Check::NoMatch,
        _ => Check::NotChecked,
    }
}

/// What the answer says of this attempt.
fn judge(answer: &Answer, attempt: &Attempt, card: Option<&MaskedCard>) -> Parsed {
    let unreadable = Parsed::Indeterminate(Unknown::Unreadable);
    if !is_ours(answer, attempt) {
        return unreadable;
    }
    let mut result = BTreeMap::new();
    let (verdict, reference) = match (answer.id(attempt.purpose), answer.code()) {
        (Some(id), None) => {
            let Some(verdict) = approval(answer, attempt) else { return unreadable };
            let id = safe_id(&id);
            let name = if attempt.purpose == Purpose::Tokenise { "token_id" } else { "charge_id" };
            result.insert(name.to_owned(), id.clone());
            (verdict, id)
        }
        (None, Some(code)) => {
            if DOUBTFUL.contains(&code.as_str()) {
                return Parsed::Indeterminate(Unknown::GatewayError);
            }
            let class = listed_class(&code).unwrap_or(DeclineClass::OtherCard);
            result.insert("error_code".to_owned(), safe_id(&code));
            if let Some(message) = text(answer.error_message.as_ref()) {
                result.insert("error_message".to_owned(), safe_message(&message));
            }
            (Verdict::Declined { class }, String::new())
        }
        _ => return unreadable,
    };
    let card = card.cloned().or_else(|| masked(answer));
    let token = text(answer.token_id.as_ref()).map(|token| safe_id(&token)).filter(|token| !token.is_empty());
    let mut answered = GatewayAnswer::new(verdict, reference, result, card);
    answered.checks = answer.checks();
    answered.stored = token.map(|token| StoredCard { token, network_transaction_id: None });
    Parsed::Answer(answered)
}

/// A smaller amount than ours is a partial approval where the answer says so; any other amount is a mistake.
fn approval(answer: &Answer, attempt: &Attempt) -> Option<Verdict> {
    let approved = match text(answer.amount.as_ref()) {
        Some(amount) => Money::parse(&amount, attempt.amount.currency()).ok()?,
        None => attempt.amount,
    };
    match (approved.minor().cmp(&attempt.amount.minor()), answer.review) {
        (std::cmp::Ordering::Less, _) if answer.partial == Some(true) => Some(Verdict::Partial { approved }),
        (std::cmp::Ordering::Equal, Some(true)) => Some(Verdict::Review),
        (std::cmp::Ordering::Equal, _) => Some(Verdict::Approved),
        (std::cmp::Ordering::Less | std::cmp::Ordering::Greater, _) => None,
    }
}

fn masked(answer: &Answer) -> Option<MaskedCard> {
    let (first6, last4) = (text(answer.card_first6.as_ref())?, text(answer.card_last4.as_ref())?);
    let brand = brand::detect(first6.as_bytes());
    Some(MaskedCard::new(brand, first6.parse().ok()?, last4.parse().ok()?))
}

/// Whether what comes back of our reference and currency is what we sent (G6).
fn is_ours(answer: &Answer, attempt: &Attempt) -> bool {
    let ours =
        |given: Option<&Text>, ours: &str| text(given).is_none_or(|theirs| theirs.eq_ignore_ascii_case(ours));
    ours(answer.transaction_id.as_ref(), &attempt.id.to_string())
        && ours(answer.currency_code.as_ref(), attempt.amount.currency().code())
}

/// Error codes by which a gateway says that it does not know either what became of the charge.
const DOUBTFUL: [&str; 5] = ["timeout", "gateway_timeout", "processor_timeout", "unknown", "pending"];

/// What can be done about an error code, in the names that gateways share.
fn listed_class(code: &str) -> Option<DeclineClass> {
    Some(match code {
        "incorrect_number" | "invalid_number" => DeclineClass::Rekey(Field::CardNumber),
        "expired_card" | "invalid_expiry_month" | "invalid_expiry_year" | "invalid_expiry" => {
            DeclineClass::Rekey(Field::Expiry)
        }
        "incorrect_cvc" | "invalid_cvc" | "incorrect_cvv" | "invalid_cvv" => {
            DeclineClass::Rekey(Field::SecurityCode)
        }
        "processing_error"
        | "try_again_later"
        | "issuer_not_available"
        | "insufficient_funds"
        | "card_velocity_exceeded"
        | "withdrawal_count_limit_exceeded" => DeclineClass::TryLater,
        "lost_card" | "stolen_card" | "pickup_card" | "restricted_card" | "closed_account" | "fraudulent" => {
            DeclineClass::Never
        }
        "authentication_required" | "authentication_failed" => DeclineClass::Authenticate,
        "card_declined" | "generic_decline" | "do_not_honor" | "card_not_supported" | "call_issuer" => {
            DeclineClass::OtherCard
        }
        _ => return None,
    })
}
