//! What MPGS says of a transaction.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{
    Attempt, Check, Checks, DeclineClass, GatewayAnswer, Purpose, StoredCard, Unknown, Verdict,
};
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::money::{Currency, Money};
use serde::Deserialize;

use super::PAY;
use crate::connector::{Parsed, ParsedQuery, Step};
use crate::wire::Reply;
use crate::wire_text::safe_id;

const UNREADABLE: Parsed = Parsed::Indeterminate(Unknown::Unreadable);

pub(super) fn token_made(attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    let Some(answer) = reply.json::<Answer>() else {
        return if reply.status >= 500 { Parsed::Indeterminate(Unknown::GatewayError) } else { UNREADABLE };
    };
    let token = answer.token.as_deref().map(safe_id).filter(|token| !token.is_empty());
    match (reply.status, answer.result.as_deref(), token) {
        (200 | 201, Some("SUCCESS"), Some(token)) if attempt.purpose == Purpose::Tokenise => {
            let result = BTreeMap::from([("result".to_owned(), "SUCCESS".to_owned())]);
            let reference = attempt.id.to_string();
            let mut answer = GatewayAnswer::new(Verdict::Approved, reference, result, card.cloned());
            answer.stored = Some(StoredCard { token, network_transaction_id: None });
            Parsed::Answer(answer)
        }
        (200 | 201, Some("SUCCESS"), Some(token)) => Parsed::Next(Step { no: PAY, ids: vec![token] }),
        _ => answer.refused(reply.status, card),
    }
}

pub(super) fn read(step: &Step, attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    match reply.json::<Answer>() {
        Some(answer) if matches!(reply.status, 200 | 201) && answer.error.is_none() => {
            answer.judge(step, attempt, card)
        }
        Some(answer) => answer.refused(reply.status, card),
        None if matches!(reply.status, 401 | 403 | 429) => Parsed::Refused,
        None if reply.status >= 500 => Parsed::Indeterminate(Unknown::GatewayError),
        None => UNREADABLE,
    }
}

pub(super) fn read_query(attempt: &Attempt, reply: &Reply) -> ParsedQuery {
    let unreadable = ParsedQuery::Indeterminate(Unknown::Unreadable);
    if reply.status >= 500 {
        return ParsedQuery::Indeterminate(Unknown::GatewayError);
    }
    let Some(answer) = reply.json::<Answer>() else { return unreadable };
    if answer.is_missing(reply.status) {
        return ParsedQuery::NotFound;
    }
    if reply.status != 200 || answer.error.is_some() {
        return unreadable;
    }
    match answer.judge(&Step::default(), attempt, None) {
        // Still waiting for the acquirer: ask again.
        Parsed::Answer(answer) if answer.verdict == Verdict::Pending => unreadable,
        Parsed::Answer(answer) => ParsedQuery::Found(answer),
        Parsed::Next(_) | Parsed::Challenge(_) | Parsed::Refused | Parsed::Indeterminate(_) => unreadable,
    }
}

/// Only as far as it is understood.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) result: Option<String>,
    pub(super) error: Option<Problem>,
    order: Option<Order>,
    pub(super) transaction: Option<Transaction>,
    pub(super) response: Option<Response>,
    authorization_response: Option<AuthorizationResponse>,
    risk: Option<Risk>,
    token: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Problem {
    pub(super) cause: Option<String>,
    explanation: Option<String>,
    field: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    id: Option<String>,
    amount: Option<serde_json::Number>,
    currency: Option<String>,
    total_authorized_amount: Option<serde_json::Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transaction {
    pub(super) id: Option<String>,
    authorization_code: Option<String>,
    receipt: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response {
    pub(super) gateway_code: Option<String>,
    acquirer_code: Option<String>,
    card_security_code: Option<Code>,
    cardholder_verification: Option<Verification>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Code {
    gateway_code: Option<String>,
}

#[derive(Deserialize)]
struct Verification {
    avs: Option<Code>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthorizationResponse {
    transaction_identifier: Option<String>,
}

#[derive(Deserialize)]
struct Risk {
    response: Option<Code>,
}

impl Answer {
    /// "Unable to find order": the gateway never had it.
    pub(super) fn is_missing(&self, status: u16) -> bool {
        let Some(error) = self.error.as_ref().filter(|_| matches!(status, 400 | 404)) else { return false };
        let explanation = error.explanation.as_deref().unwrap_or_default().to_ascii_lowercase();
        error.cause.as_deref() == Some("INVALID_REQUEST") && explanation.starts_with("unable to find")
    }

    pub(super) fn gateway_code(&self) -> &str {
        self.response.as_ref().and_then(|response| response.gateway_code.as_deref()).unwrap_or_default()
    }

    /// Whether it is about this order and this transaction.
    pub(super) fn is_of(&self, attempt: &Attempt, transaction: &str) -> bool {
        let order = self.order.as_ref().and_then(|order| order.id.as_deref());
        let given = self.transaction.as_ref().and_then(|transaction| transaction.id.as_deref());
        order == Some(attempt.id.to_string().as_str()) && given == Some(transaction)
    }

    fn judge(&self, step: &Step, attempt: &Attempt, card: Option<&MaskedCard>) -> Parsed {
        if !self.is_of(attempt, super::FIRST) || !self.has_currency(attempt.amount.currency()) {
            return UNREADABLE;
        }
        let verdict = match (self.result.as_deref(), self.gateway_code()) {
            (Some("SUCCESS"), "PARTIALLY_APPROVED") => match self.approved_part(attempt) {
                Some(approved) => Verdict::Partial { approved },
                None => return UNREADABLE,
            },
            (Some("SUCCESS"), code) if code.starts_with("APPROVED") => {
                if self.amount(attempt.amount.currency()) != Some(attempt.amount) {
                    return UNREADABLE;
                }
                if self.wants_review() { Verdict::Review } else { Verdict::Approved }
            }
            (Some("PENDING"), _) => Verdict::Pending,
            // It does not know either what the acquirer did.
            (Some("FAILURE"), "TIMED_OUT" | "UNKNOWN" | "SYSTEM_ERROR") => {
                return Parsed::Indeterminate(Unknown::GatewayError);
            }
            (Some("FAILURE"), code) if !code.is_empty() => Verdict::Declined { class: class(code) },
            _ => return UNREADABLE,
        };
        let approved = verdict == Verdict::Approved;
        let mut told =
            GatewayAnswer::new(verdict, attempt.id.to_string(), self.named(attempt), card.cloned());
        told.checks = self.checks();
        let network = self.authorization_response.as_ref();
        told.stored = step.ids.first().filter(|_| approved).map(|token| StoredCard {
            token: token.clone(),
            network_transaction_id: network
                .and_then(|response| response.transaction_identifier.as_deref())
                .map(safe_id),
        });
        Parsed::Answer(told)
    }

    /// The result in MPGS's own names.
    fn named(&self, attempt: &Attempt) -> BTreeMap<String, String> {
        let transaction = self.transaction.as_ref();
        let response = self.response.as_ref();
        let named = [
            ("order.id", Some(attempt.id.to_string())),
            ("result", self.result.as_deref().map(safe_id)),
            ("response.gatewayCode", Some(safe_id(self.gateway_code()))),
            ("response.acquirerCode", response.and_then(|it| it.acquirer_code.as_deref()).map(safe_id)),
            (
                "transaction.authorizationCode",
                transaction.and_then(|it| it.authorization_code.as_deref()).map(safe_id),
            ),
            ("transaction.receipt", transaction.and_then(|it| it.receipt.as_deref()).map(safe_id)),
        ];
        let given = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        given.filter(|(_, value)| !value.is_empty()).collect()
    }

    fn has_currency(&self, currency: Currency) -> bool {
        self.order.as_ref().and_then(|order| order.currency.as_deref()) == Some(currency.code())
    }

    fn amount(&self, currency: Currency) -> Option<Money> {
        money(self.order.as_ref()?.amount.as_ref()?, currency)
    }

    fn approved_part(&self, attempt: &Attempt) -> Option<Money> {
        let total = self.order.as_ref()?.total_authorized_amount.as_ref()?;
        money(total, attempt.amount.currency()).filter(|approved| approved.minor() < attempt.amount.minor())
    }

    fn wants_review(&self) -> bool {
        let risk = self.risk.as_ref().and_then(|risk| risk.response.as_ref());
        risk.and_then(|response| response.gateway_code.as_deref()) == Some("REVIEW_REQUIRED")
    }

    fn checks(&self) -> Checks {
        use Check::{Match, NoMatch, NotChecked};
        let said = |code: Option<&Code>| code.and_then(|code| code.gateway_code.clone()).unwrap_or_default();
        let response = self.response.as_ref();
        let avs = response.and_then(|response| response.cardholder_verification.as_ref());
        let (address, postcode) = match said(avs.and_then(|verification| verification.avs.as_ref())).as_str()
        {
            "ADDRESS_ZIP_MATCH" | "NAME_ADDRESS_ZIP_MATCH" => (Match, Match),
            "ADDRESS_MATCH" | "NAME_ADDRESS_MATCH" => (Match, NoMatch),
            "ZIP_MATCH" | "NAME_ZIP_MATCH" => (NoMatch, Match),
            "NO_MATCH" | "NAME_MATCH" => (NoMatch, NoMatch),
            _ => (NotChecked, NotChecked),
        };
        let security_code = match said(response.and_then(|it| it.card_security_code.as_ref())).as_str() {
            "MATCH" => Match,
            "NO_MATCH" => NoMatch,
            _ => NotChecked,
        };
        Checks { address, postcode, security_code }
    }

    /// A request that was refused before it was processed, where that is sure.
    fn refused(&self, status: u16, card: Option<&MaskedCard>) -> Parsed {
        let cause = self.error.as_ref().and_then(|error| error.cause.as_deref());
        match (status, cause) {
            (500.., _) => Parsed::Indeterminate(Unknown::GatewayError),
            (400..=499, Some("INVALID_REQUEST" | "REQUEST_REJECTED" | "SERVER_BUSY")) => {
                let field = self.error.as_ref().and_then(|error| error.field.as_deref()).and_then(keyed);
                let Some(field) = field else { return Parsed::Refused };
                let result = BTreeMap::from([("error.cause".to_owned(), "INVALID_REQUEST".to_owned())]);
                let verdict = Verdict::Declined { class: DeclineClass::Rekey(field) };
                Parsed::Answer(GatewayAnswer::new(verdict, String::new(), result, card.cloned()))
            }
            (401 | 403 | 429, None) => Parsed::Refused,
            _ => UNREADABLE,
        }
    }
}

/// Amounts are JSON numbers: 12.4 for 12.40.
fn money(number: &serde_json::Number, currency: Currency) -> Option<Money> {
    let text = number.to_string();
    Money::parse(text.strip_suffix(".0").unwrap_or(&text), currency).ok()
}

fn keyed(field: &str) -> Option<Field> {
    let name = field.strip_prefix("sourceOfFunds.provided.card.")?;
    match name.split('.').next()? {
        "number" => Some(Field::CardNumber),
        "expiry" => Some(Field::Expiry),
        "securityCode" => Some(Field::SecurityCode),
        _ => None,
    }
}

/// What can be done about a `response.gatewayCode`.
fn class(code: &str) -> DeclineClass {
    match code {
        "EXPIRED_CARD" => DeclineClass::Rekey(Field::Expiry),
        "INVALID_CSC" | "DECLINED_CSC" | "DECLINED_AVS_CSC" => DeclineClass::Rekey(Field::SecurityCode),
        "INSUFFICIENT_FUNDS" | "ACQUIRER_SYSTEM_ERROR" | "EXCEEDED_RETRY_LIMIT" | "UNSPECIFIED_FAILURE" => {
            DeclineClass::TryLater
        }
        "DECLINED_DO_NOT_CONTACT" | "BLOCKED" | "CANCELLED" => DeclineClass::Never,
        "AUTHENTICATION_FAILED"
        | "AUTHENTICATION_REQUIRED"
        | "CARD_NOT_ENROLLED"
        | "DECLINED_AUTHENTICATION_REQUIRED" => DeclineClass::Authenticate,
        _ => DeclineClass::OtherCard,
    }
}
