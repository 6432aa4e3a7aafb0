//! What Adyen says, by `resultCode` and `refusalReasonCode`
//! (docs.adyen.com/development-resources/refusal-reasons).

use std::collections::BTreeMap;

use hushpad_domain::attempt::{
    Attempt, Check, Checks, DeclineClass, GatewayAnswer, StoredCard, Unknown, Verdict,
};
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::money::Money;
use serde::Deserialize;

use super::challenge::Redirection;
use super::{UNITS, request};
use crate::amounts;
use crate::connector::Parsed;
use crate::order::{Channel, Order};
use crate::wire::Reply;
use crate::wire_text::{safe_id, safe_message};

/// The reply to a payment.
pub(super) fn read(order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    let challenge = match order.channel {
        Channel::Ecommerce(_) => reply.json::<Redirection>().and_then(|reply| reply.challenge()),
        Channel::Moto => None,
    };
    challenge.map_or_else(|| read_answer(order.attempt, card, reply), Parsed::Challenge)
}

pub(super) fn read_answer(attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    if reply.status >= 500 {
        return Parsed::Indeterminate(Unknown::GatewayError);
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(&reply.body) else {
        let refused = matches!(reply.status, 401 | 403 | 429);
        return if refused { Parsed::Refused } else { Parsed::Indeterminate(Unknown::Unreadable) };
    };
    match (reply.status, &answer.result_code) {
        (200, Some(_)) => judge(&answer, attempt, card),
        (401 | 403 | 429, None) => Parsed::Refused,
        (400 | 422, None) => refused_request(&answer, card),
        _ => Parsed::Indeterminate(Unknown::Unreadable),
    }
}

/// The answer, in its published names. No other member is kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    result_code: Option<String>,
    psp_reference: Option<String>,
    merchant_reference: Option<String>,
    amount: Option<Amount>,
    refusal_reason: Option<String>,
    refusal_reason_code: Option<String>,
    error_code: Option<String>,
    error_type: Option<String>,
    #[serde(default)]
    additional_data: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Amount {
    currency: String,
    value: i64,
}

fn judge(answer: &Answer, attempt: &Attempt, card: Option<&MaskedCard>) -> Parsed {
    let unreadable = Parsed::Indeterminate(Unknown::Unreadable);
    let Some(reference) = answer.psp_reference.as_deref().map(safe_id).filter(|id| !id.is_empty()) else {
        return unreadable;
    };
    if !is_ours(answer, attempt) {
        return unreadable;
    }
    let verdict = match answer.result_code.as_deref().unwrap_or_default() {
        "Authorised" if answer.has_whole_amount(attempt) => Verdict::Approved,
        "PartiallyAuthorised" => match answer.approved_part(attempt) {
            Some(approved) => Verdict::Partial { approved },
            None => return unreadable,
        },
        "Pending" | "Received" => Verdict::Pending,
        "Refused" => {
            Verdict::Declined { class: class(answer.refusal_reason_code.as_deref().unwrap_or_default()) }
        }
        // Final: "there was an error when the payment was being processed".
        "Error" => Verdict::Declined { class: DeclineClass::TryLater },
        // The issuer wants authentication, which a telephone payment cannot give, nor a page without Adyen's script.
        "ChallengeShopper" | "IdentifyShopper" | "RedirectShopper" => {
            Verdict::Declined { class: DeclineClass::Authenticate }
        }
        "Cancelled" => Verdict::Declined { class: DeclineClass::OtherCard },
        _ => return unreadable,
    };
    let mut result = BTreeMap::new();
    let mut keep = |name: &str, text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            result.insert(name.to_owned(), text);
        }
    };
    keep("pspReference", Some(reference.clone()));
    keep("merchantReference", Some(attempt.id.to_string()));
    keep("resultCode", answer.result_code.as_deref().map(safe_id));
    keep("refusalReason", answer.refusal_reason.as_deref().map(safe_message));
    keep("refusalReasonCode", answer.refusal_reason_code.as_deref().map(safe_id));
    let stored = if verdict == Verdict::Approved { answer.stored(attempt) } else { None };
    let mut told = GatewayAnswer::new(verdict, reference, result, card.cloned());
    told.checks = checks(&answer.additional_data);
    told.stored = stored;
    Parsed::Answer(told)
}

/// Whether what comes back of our reference and currency is what we sent (G6).
fn is_ours(answer: &Answer, attempt: &Attempt) -> bool {
    let reference = attempt.id.to_string();
    answer.merchant_reference.as_ref().is_none_or(|theirs| *theirs == reference)
        && answer.amount.as_ref().is_none_or(|theirs| theirs.currency == attempt.amount.currency().code())
}

impl Answer {
    /// An approval of another amount than ours is none (G6). A kept card has none.
    fn has_whole_amount(&self, attempt: &Attempt) -> bool {
        let ours = if attempt.purpose.holds_money() { amounts::minor(attempt.amount, UNITS) } else { Ok(0) };
        self.amount.as_ref().is_none_or(|theirs| ours == Ok(theirs.value))
    }

    fn approved_part(&self, attempt: &Attempt) -> Option<Money> {
        let approved = amounts::from_minor(self.amount.as_ref()?.value, attempt.amount.currency(), UNITS)?;
        (approved.minor() < attempt.amount.minor()).then_some(approved)
    }

    fn data(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.additional_data.get(*name))?.as_str()
    }

    fn stored(&self, attempt: &Attempt) -> Option<StoredCard> {
        let id = self.data(&["tokenization.storedPaymentMethodId", "recurring.recurringDetailReference"])?;
        let token = request::token(&attempt.id.to_string(), &safe_id(id));
        let network = self.data(&["networkTxReference"]).map(safe_id).filter(|id| !id.is_empty());
        Some(StoredCard { token, network_transaction_id: network })
    }
}

/// Only where the account is set to return them (Customer Area, "Additional data settings").
pub(super) fn checks(additional_data: &BTreeMap<String, serde_json::Value>) -> Checks {
    let number = |name: &str| {
        let text = additional_data.get(name).and_then(serde_json::Value::as_str)?;
        text.split(' ').next()?.parse::<u8>().ok()
    };
    let (address, postcode) = match number("avsResult") {
        Some(7 | 20 | 24) => (Check::Match, Check::Match),
        Some(1) => (Check::Match, Check::NoMatch),
        Some(9 | 12 | 21 | 25) => (Check::Match, Check::NotChecked),
        Some(6) => (Check::NoMatch, Check::Match),
        Some(14 | 15 | 19 | 23) => (Check::NotChecked, Check::Match),
        Some(2 | 26) => (Check::NoMatch, Check::NoMatch),
        Some(10 | 13) => (Check::NoMatch, Check::NotChecked),
        Some(16 | 17) => (Check::NotChecked, Check::NoMatch),
        _ => (Check::NotChecked, Check::NotChecked),
    };
    let security_code = match number("cvcResult") {
        Some(1) => Check::Match,
        Some(2) => Check::NoMatch,
        _ => Check::NotChecked,
    };
    Checks { address, postcode, security_code }
}

/// A request that failed Adyen's checks was not processed. Three of these are about what was keyed.
fn refused_request(answer: &Answer, card: Option<&MaskedCard>) -> Parsed {
    let code = answer.error_code.as_deref().unwrap_or_default();
    // 704: the same key is being processed.
    let checked = matches!(answer.error_type.as_deref(), Some("validation" | "security" | "configuration"));
    if !checked || code == "704" || code.is_empty() {
        return Parsed::Indeterminate(Unknown::Unreadable);
    }
    let field = match code {
        "101" => Field::CardNumber,
        "103" => Field::SecurityCode,
        "129" => Field::Expiry,
        _ => return Parsed::Refused,
    };
    Parsed::Answer(GatewayAnswer::new(
        Verdict::Declined { class: DeclineClass::Rekey(field) },
        answer.psp_reference.as_deref().map(safe_id).unwrap_or_default(),
        BTreeMap::from([("errorCode".to_owned(), code.to_owned())]),
        card.cloned(),
    ))
}

/// What can be done about a `refusalReasonCode`.
pub(super) fn class(code: &str) -> DeclineClass {
    match code {
        "6" => DeclineClass::Rekey(Field::Expiry),
        "8" => DeclineClass::Rekey(Field::CardNumber),
        "24" => DeclineClass::Rekey(Field::SecurityCode),
        // Acquirer error, invalid amount, issuer unavailable, balance, withdrawal limits.
        "4" | "7" | "9" | "12" | "28" | "29" => DeclineClass::TryLater,
        // Blocked, restricted, authorisation revoked.
        "5" | "25" | "26" => DeclineClass::Never,
        // 3-D Secure not authenticated; authentication required.
        "11" | "38" => DeclineClass::Authenticate,
        _ => DeclineClass::OtherCard,
    }
}
