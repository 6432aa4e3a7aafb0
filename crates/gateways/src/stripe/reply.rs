//! What Stripe says to the steps of an order.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{
    Attempt, Check, Checks, DeclineClass, GatewayAnswer, Purpose, StoredCard, Unknown, Verdict,
};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::MaskedCard;
use serde::Deserialize;

use super::{CANCEL, CONFIRM, CUSTOMER, METHOD, UNITS, UPDATE, tokenise};
use crate::amounts;
use crate::connector::{Parsed, Step};
use crate::order::{Channel, Credential, Order};
use crate::wire::Reply;
use crate::wire_text::safe_id;

/// Longer ids are not Stripe's.
const ID_CHARS_MAX: usize = 100;

/// The code we give where the issuer wanted authentication.
const AUTHENTICATION: &str = "authentication_required";

const UNREADABLE: Parsed = Parsed::Indeterminate(Unknown::Unreadable);

pub(super) fn created(order: &Order<'_>, is_keyed: bool, reply: &Reply) -> Parsed {
    match (reply.status, read::<Intent>(reply)) {
        (200, Some(intent)) if intent.is_of(order.attempt) => {
            let no = match (is_keyed, order.credential) {
                (true, Credential::FirstOfStored) => CUSTOMER,
                (true, _) => METHOD,
                (false, _) => UPDATE,
            };
            Parsed::Next(Step { no, ids: vec![intent.id] })
        }
        (200, _) => UNREADABLE,
        _ => failed_before_confirming(reply),
    }
}

pub(super) fn customer_made(step: &Step, reply: &Reply) -> Parsed {
    match (reply.status, read::<Method>(reply)) {
        (200, Some(made)) if made.object == "customer" && is_id(&made.id) => {
            let ids = step.ids.iter().take(1).cloned().chain([made.id]).collect();
            Parsed::Next(Step { no: UPDATE, ids })
        }
        (200, _) => UNREADABLE,
        _ => failed_before_confirming(reply),
    }
}

pub(super) fn updated(step: &Step, order: &Order<'_>, is_keyed: bool, reply: &Reply) -> Parsed {
    match (reply.status, read::<Intent>(reply)) {
        (200, Some(intent)) if intent.is_of(order.attempt) && step.ids.first() == Some(&intent.id) => {
            let no = if is_keyed { METHOD } else { CONFIRM };
            Parsed::Next(Step { no, ids: step.ids.clone() })
        }
        (200, _) => UNREADABLE,
        _ => failed_before_confirming(reply),
    }
}

pub(super) fn method_made(step: &Step, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    match (reply.status, read::<Method>(reply)) {
        (200, Some(method)) if method.object == "payment_method" && is_id(&method.id) => {
            // The intent, the payment method, and the customer where there is one.
            let (intent, customer) = (step.ids.iter().take(1), step.ids.iter().skip(1));
            let ids = intent.cloned().chain([method.id]).chain(customer.cloned()).collect();
            Parsed::Next(Step { no: CONFIRM, ids })
        }
        (200, _) => UNREADABLE,
        _ => declined_card(reply, card).unwrap_or_else(|| failed_before_confirming(reply)),
    }
}

/// A decline before anything could be charged.
pub(super) fn declined_card(reply: &Reply, card: Option<&MaskedCard>) -> Option<Parsed> {
    let failure = read::<Failure>(reply).filter(|_| reply.status == 402)?;
    let decline = || Parsed::Answer(failure.error.decline(String::new(), card.cloned()));
    failure.error.is_about_the_card().then(decline)
}

pub(super) fn confirmed(step: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    let attempt = order.attempt;
    let ours = |intent: &Intent| intent.is_of(attempt) && step.ids.first() == Some(&intent.id);
    match (reply.status, read::<Intent>(reply), read::<Failure>(reply)) {
        (500.., ..) => Parsed::Indeterminate(Unknown::GatewayError),
        (200, Some(intent), _) if ours(&intent) => match intent.what(attempt, card) {
            What::Decided(answer) => Parsed::Answer(intent.keeping(answer, &step.ids)),
            What::Processing => Parsed::Answer(intent.answer(Verdict::Pending, card)),
            What::WantsAuthentication => match (order.channel, intent.challenge(&step.ids)) {
                (Channel::Ecommerce(_), Some(challenge)) => Parsed::Challenge(challenge),
                _ => Parsed::Next(Step { no: CANCEL, ids: vec![intent.id] }),
            },
            What::NotConfirmed | What::Cancelled | What::NotKnown => UNREADABLE,
        },
        (402, _, Some(failure)) if failure.error.is_about_the_card() => match &failure.error.payment_intent {
            Some(intent) if !ours(intent) => UNREADABLE,
            Some(intent) if intent.status == "requires_action" => {
                Parsed::Next(Step { no: CANCEL, ids: vec![intent.id.clone()] })
            }
            Some(intent) if intent.status != "requires_payment_method" => UNREADABLE,
            _ => {
                let reference = step.ids.first().cloned().unwrap_or_default();
                Parsed::Answer(failure.error.decline(reference, card.cloned()))
            }
        },
        (401 | 403, _, Some(_)) => Parsed::Refused,
        (429, _, Some(failure)) if failure.error.code.as_deref() == Some("rate_limit") => Parsed::Refused,
        _ => UNREADABLE,
    }
}

pub(super) fn cancelled(attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    match (reply.status, read::<Intent>(reply)) {
        (200, Some(intent)) if intent.is_of(attempt) && intent.status == "canceled" => {
            Parsed::Answer(authentication_wanted(intent.id, card.cloned()))
        }
        _ => UNREADABLE,
    }
}

/// The issuer wanted authentication, which a telephone payment cannot give; the intent is cancelled.
pub(super) fn authentication_wanted(intent: String, card: Option<MaskedCard>) -> GatewayAnswer {
    let error = Problem { code: Some(AUTHENTICATION.to_owned()), ..Problem::default() };
    error.decline(intent, card)
}

/// Nothing can have been charged; the question is only whether Stripe said no, or is in trouble.
pub(super) fn failed_before_confirming(reply: &Reply) -> Parsed {
    match (reply.status, read::<Failure>(reply)) {
        (400..=499, Some(_)) | (401 | 403 | 429, None) => Parsed::Refused,
        _ => Parsed::Indeterminate(Unknown::GatewayError),
    }
}

pub(super) fn read<'a, T: Deserialize<'a>>(reply: &'a Reply) -> Option<T> {
    serde_json::from_slice(&reply.body).ok()
}

/// A PaymentIntent, as far as we read it.
#[derive(Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    object: String,
    amount: i64,
    amount_received: Option<i64>,
    amount_capturable: Option<i64>,
    currency: String,
    pub(super) status: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    latest_charge: Option<serde_json::Value>,
    review: Option<serde_json::Value>,
    last_payment_error: Option<Box<Problem>>,
    next_action: Option<serde_json::Value>,
}

/// What an intent says of itself.
pub(super) enum What {
    Decided(GatewayAnswer),
    WantsAuthentication,
    /// No confirmation has reached it.
    NotConfirmed,
    Cancelled,
    /// Stripe will say later; asking again tells.
    Processing,
    NotKnown,
}

impl Intent {
    /// Whether it is this attempt's, with its amount (G6).
    pub(super) fn is_of(&self, attempt: &Attempt) -> bool {
        self.object == "payment_intent"
            && is_id(&self.id)
            && self.metadata.get("ref").is_some_and(|reference| *reference == attempt.id.to_string())
            && amounts::minor(attempt.amount, UNITS) == Ok(self.amount)
            && self.currency.eq_ignore_ascii_case(attempt.amount.currency().code())
    }

    pub(super) fn what(&self, attempt: &Attempt, card: Option<&MaskedCard>) -> What {
        let whole = |amount: Option<i64>| amount.is_none_or(|amount| amount == self.amount);
        let approved = match (attempt.purpose, self.status.as_str()) {
            (Purpose::Sale, "succeeded") => whole(self.amount_received),
            (Purpose::Authorise, "requires_capture") => whole(self.amount_capturable),
            _ => false,
        };
        if approved {
            let verdict = if self.review.is_some() { Verdict::Review } else { Verdict::Approved };
            return What::Decided(self.answer(verdict, card));
        }
        match (self.status.as_str(), &self.last_payment_error) {
            ("requires_payment_method", Some(error)) => {
                What::Decided(error.decline(self.id.clone(), card.cloned()))
            }
            ("requires_payment_method" | "requires_confirmation", None) => What::NotConfirmed,
            ("requires_action", _) => What::WantsAuthentication,
            ("canceled", _) => What::Cancelled,
            ("processing", _) => What::Processing,
            _ => What::NotKnown,
        }
    }

    /// The answer, with the card's token where the steps made a customer for it.
    pub(super) fn keeping(&self, mut answer: GatewayAnswer, ids: &[String]) -> GatewayAnswer {
        if let ([_, method, customer], Verdict::Approved) = (ids, &answer.verdict) {
            let network_transaction_id = self.network_transaction_id();
            answer.stored = Some(StoredCard { network_transaction_id, ..tokenise::token(customer, method) });
        }
        answer
    }

    /// Where the payer is sent; `None` where only Stripe's own script could do it.
    pub(super) fn challenge(&self, ids: &[String]) -> Option<Challenge> {
        let url = self.next_action.as_ref()?.get("redirect_to_url")?.get("url")?.as_str()?;
        Challenge::new(url.to_owned(), Vec::new(), ids.to_vec()).ok()
    }

    /// What the issuer said, where the charge came along.
    fn checks(&self) -> Checks {
        let said = |name: &str| match self.card_detail(&["checks", name]) {
            Some("pass") => Check::Match,
            Some("fail") => Check::NoMatch,
            _ => Check::NotChecked,
        };
        Checks {
            address: said("address_line1_check"),
            postcode: said("address_postal_code_check"),
            security_code: said("cvc_check"),
        }
    }

    fn network_transaction_id(&self) -> Option<String> {
        self.card_detail(&["network_transaction_id"]).map(safe_id).filter(|id| !id.is_empty())
    }

    fn card_detail(&self, path: &[&str]) -> Option<&str> {
        let card = self.latest_charge.as_ref()?.get("payment_method_details")?.get("card")?;
        path.iter().try_fold(card, |value, name| value.get(name))?.as_str()
    }

    pub(super) fn answer(&self, verdict: Verdict, card: Option<&MaskedCard>) -> GatewayAnswer {
        let mut result = BTreeMap::from([
            ("payment_intent".to_owned(), self.id.clone()),
            ("status".to_owned(), self.status.clone()),
        ]);
        // An id, or the whole charge where the account expands it.
        let charge = self.latest_charge.as_ref();
        if let Some(charge) = charge.and_then(|charge| charge.get("id").unwrap_or(charge).as_str()) {
            result.insert("latest_charge".to_owned(), safe_id(charge));
        }
        let mut answer = GatewayAnswer::new(verdict, self.id.clone(), result, card.cloned());
        answer.checks = self.checks();
        answer
    }
}

#[derive(Deserialize)]
struct Method {
    id: String,
    object: String,
}

#[derive(Deserialize)]
struct Failure {
    error: Problem,
}

/// An error, as far as we read it: never its message, which may hold what was keyed.
#[derive(Deserialize, Default)]
pub(super) struct Problem {
    #[serde(rename = "type", default)]
    kind: String,
    pub(super) code: Option<String>,
    decline_code: Option<String>,
    payment_intent: Option<Intent>,
}

impl Problem {
    /// Its code, or its type where it has none.
    pub(super) fn word(&self) -> String {
        safe_id(self.code.as_deref().unwrap_or(&self.kind))
    }

    fn is_about_the_card(&self) -> bool {
        self.kind == "card_error" && self.code.as_ref().is_some_and(|code| !code.is_empty())
    }

    fn decline(&self, intent: String, card: Option<MaskedCard>) -> GatewayAnswer {
        let (code, decline_code) =
            (self.code.as_deref().unwrap_or_default(), self.decline_code.as_deref().unwrap_or_default());
        let class = class(decline_code).or_else(|| class(code)).unwrap_or(DeclineClass::OtherCard);
        let named = [("payment_intent", intent.as_str()), ("code", code), ("decline_code", decline_code)];
        let result = named
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| (name.to_owned(), safe_id(text)))
            .collect();
        GatewayAnswer::new(Verdict::Declined { class }, intent, result, card)
    }
}

/// Whether it may stand in a path.
pub(super) fn is_id(text: &str) -> bool {
    (1..=ID_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What can be done about a code or a decline code (docs.stripe.com/declines/codes).
fn class(code: &str) -> Option<DeclineClass> {
    Some(match code {
        "incorrect_number" | "invalid_number" => DeclineClass::Rekey(Field::CardNumber),
        "expired_card" | "invalid_expiry_month" | "invalid_expiry_year" => DeclineClass::Rekey(Field::Expiry),
        "incorrect_cvc" | "invalid_cvc" => DeclineClass::Rekey(Field::SecurityCode),
        "insufficient_funds"
        | "withdrawal_count_limit_exceeded"
        | "card_velocity_exceeded"
        | "processing_error"
        | "issuer_not_available"
        | "try_again_later"
        | "reenter_transaction"
        | "approve_with_id" => DeclineClass::TryLater,
        "lost_card"
        | "stolen_card"
        | "pickup_card"
        | "restricted_card"
        | "fraudulent"
        | "do_not_try_again"
        | "invalid_account"
        | "revocation_of_all_authorizations"
        | "revocation_of_authorization"
        | "stop_payment_order" => DeclineClass::Never,
        AUTHENTICATION | "payment_intent_authentication_failure" => DeclineClass::Authenticate,
        _ => return None,
    })
}
