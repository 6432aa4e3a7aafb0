//! What CyberSource says to a payment, and its published result names.

use hushpad_domain::attempt::{
    Attempt, Checks, DeclineClass, GatewayAnswer, Purpose, StoredCard, Unknown, Verdict,
};
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::money::Money;
use serde::Deserialize;

use super::reference;
use crate::checks;
use crate::connector::Parsed;
use crate::order::Order;
use crate::wire::Reply;
use crate::wire_text::{derived, safe_id};

const UNREADABLE: Parsed = Parsed::Indeterminate(Unknown::Unreadable);

pub(super) fn read(order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    if reply.status >= 500 {
        return Parsed::Indeterminate(Unknown::GatewayError);
    }
    let answer = reply.json::<Answer>();
    let has_status = answer.as_ref().is_some_and(|answer| answer.status.is_some());
    match (reply.status, answer) {
        (401 | 403 | 429, _) if !has_status => Parsed::Refused,
        (200 | 201 | 400, Some(answer)) => {
            let Some(decision) = answer.decision(reply.status, order.attempt) else { return UNREADABLE };
            if !answer.is_ours(order.attempt, &decision.verdict) {
                return UNREADABLE;
            }
            let id = answer.id.as_deref().map(safe_id).unwrap_or_default();
            if reply.status != 400 && id.is_empty() {
                return UNREADABLE;
            }
            let mut told = decision.answer(order.attempt, id, card.cloned());
            told.checks = answer.checks();
            told.stored = answer.stored();
            if told.stored.is_some() {
                told.result.insert("createSubscription".to_owned(), "true".to_owned());
            }
            let own = order.payment_data.reference().map(str::to_owned);
            let code = own.unwrap_or_else(|| reference(order.attempt.id.0));
            told.result.insert("MerchantReferenceCode".to_owned(), code);
            Parsed::Answer(told)
        }
        _ => UNREADABLE,
    }
}

/// A decision with its published reason code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    verdict: Verdict,
    code: u16,
}

impl Decision {
    /// By reason code; `None` where it is not known whether the gateway acted.
    pub(super) fn of_code(code: u16) -> Option<Self> {
        let class = match code {
            100 => return Some(Self { verdict: Verdict::Approved, code }),
            480 | 481 => return Some(Self { verdict: Verdict::Review, code }),
            // Partial approval; duplicate of what may have been approved; errors and time-outs on their side.
            110 | 104 | 150..=152 | 250 => return None,
            202 => DeclineClass::Rekey(Field::Expiry),
            209 | 211 | 230 => DeclineClass::Rekey(Field::SecurityCode),
            231 => DeclineClass::Rekey(Field::CardNumber),
            475 | 478 => DeclineClass::Authenticate,
            205 => DeclineClass::Never,
            // Fields, funds, issuer away, limit, merchant's settings, processor.
            101 | 102 | 204 | 207 | 210 | 234 | 236 => DeclineClass::TryLater,
            _ => DeclineClass::OtherCard,
        };
        Some(Self { verdict: Verdict::Declined { class }, code })
    }

    /// Less was approved than was asked for.
    pub(super) fn in_part(approved: Money) -> Self {
        Self { verdict: Verdict::Partial { approved }, code: 110 }
    }

    /// In our words, with the result in the published names.
    pub(super) fn answer(self, attempt: &Attempt, id: String, card: Option<MaskedCard>) -> GatewayAnswer {
        let decision = match self.verdict {
            Verdict::Approved => "ACCEPT",
            Verdict::Review => "REVIEW",
            Verdict::Declined { .. } | Verdict::Partial { .. } | Verdict::Pending => "REJECT",
        };
        let result = [
            ("decision", decision.to_owned()),
            ("reasonCode", self.code.to_string()),
            ("requestID", id.clone()),
            ("requestToken", derived(attempt.id.0, "requestToken").simple().to_string()),
            ("transactionType", transaction_type(attempt.purpose).to_owned()),
            ("createSubscription", "false".to_owned()),
            ("Amount", attempt.amount.minor().to_string()),
            ("Currency", attempt.amount.currency().code().to_owned()),
        ];
        let result = result.map(|(name, value)| (name.to_owned(), value)).into();
        GatewayAnswer::new(self.verdict, id, result, card)
    }
}

/// The published example has `Capture` for a sale.
fn transaction_type(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Sale => "Capture",
        Purpose::Authorise | Purpose::Tokenise => "Authorize",
    }
}

/// The answer, in its published names. No message is kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    id: Option<String>,
    status: Option<String>,
    /// Where the request was refused; `errorInformation` has it where the payment was.
    reason: Option<String>,
    #[serde(default)]
    details: Vec<Detail>,
    error_information: Option<ErrorInformation>,
    client_reference_information: Option<Reference>,
    order_information: Option<OrderInformation>,
    processor_information: Option<ProcessorInformation>,
    token_information: Option<TokenInformation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProcessorInformation {
    avs: Option<Avs>,
    card_verification: Option<CardVerification>,
    network_transaction_id: Option<String>,
    transaction_id: Option<String>,
}

#[derive(Deserialize)]
struct Avs {
    code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CardVerification {
    result_code: Option<String>,
}

#[derive(Deserialize)]
struct TokenInformation {
    customer: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: Option<String>,
}

#[derive(Deserialize)]
struct Detail {
    field: Option<String>,
}

#[derive(Deserialize)]
struct ErrorInformation {
    reason: Option<String>,
    #[serde(default)]
    details: Vec<Detail>,
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
    authorized_amount: Option<String>,
    total_amount: Option<String>,
    currency: Option<String>,
}

impl Answer {
    fn checks(&self) -> Checks {
        let Some(processor) = &self.processor_information else { return Checks::default() };
        let avs = processor.avs.as_ref().and_then(|avs| avs.code.as_deref());
        let code = processor.card_verification.as_ref().and_then(|checked| checked.result_code.as_deref());
        let (address, postcode) = checks::avs_letter(avs.unwrap_or_default());
        Checks { address, postcode, security_code: checks::code_letter(code.unwrap_or_default()) }
    }

    fn stored(&self) -> Option<StoredCard> {
        let id = self.token_information.as_ref()?.customer.as_ref()?.id.as_deref()?;
        let token = Some(safe_id(id)).filter(|token| !token.is_empty())?;
        let network = self.processor_information.as_ref().and_then(|processor| {
            processor.network_transaction_id.as_deref().or(processor.transaction_id.as_deref())
        });
        Some(StoredCard { token, network_transaction_id: network.map(safe_id) })
    }

    /// The amount that was authorised in part; `None` unless it is ours, and less than ours.
    fn approved_part(&self, attempt: &Attempt) -> Option<Money> {
        let details = self.order_information.as_ref()?.amount_details.as_ref()?;
        let approved = Money::parse(details.authorized_amount.as_deref()?, attempt.amount.currency()).ok()?;
        (approved.minor() < attempt.amount.minor()).then_some(approved)
    }

    fn decision(&self, status: u16, attempt: &Attempt) -> Option<Decision> {
        let error = self.error_information.as_ref();
        let reason = error.and_then(|error| error.reason.as_deref()).or(self.reason.as_deref());
        match (status, self.status.as_deref()?) {
            (201, "AUTHORIZED") if reason.is_none() => Decision::of_code(100),
            (201, "PARTIAL_AUTHORIZED") => Some(Decision::in_part(self.approved_part(attempt)?)),
            (201, "AUTHORIZED_PENDING_REVIEW" | "PENDING_REVIEW") => Decision::of_code(480),
            (201, "AUTHORIZED_RISK_DECLINED") => Decision::of_code(481),
            // The issuer wants authentication, which a telephone payment cannot give.
            (201, "PENDING_AUTHENTICATION") => Decision::of_code(475),
            // "Unknown codes are judged by decision."
            (201, "DECLINED") => Decision::of_code(reason.map_or(203, |reason| code(reason).unwrap_or(203))),
            (201 | 400, "INVALID_REQUEST") => {
                let decision = Decision::of_code(reason.map_or(102, |reason| code(reason).unwrap_or(102)))?;
                let details = self.details.iter().chain(error.into_iter().flat_map(|error| &error.details));
                let field = details.filter_map(|detail| detail.field.as_deref()).find_map(keyed_field);
                Some(match field {
                    Some(field) => Decision {
                        verdict: Verdict::Declined { class: DeclineClass::Rekey(field) },
                        ..decision
                    },
                    None => decision,
                })
            }
            _ => None,
        }
    }

    /// Whether what comes back of our reference and amount is what we sent (G6). An approval must name the
    /// amount. A partial one has been looked at, and a kept card has none.
    fn is_ours(&self, attempt: &Attempt, verdict: &Verdict) -> bool {
        let approved = *verdict == Verdict::Approved;
        let has_amount = attempt.purpose.holds_money() && !matches!(verdict, Verdict::Partial { .. });
        let code = self.client_reference_information.as_ref().and_then(|given| given.code.as_ref());
        let amounts = self.order_information.as_ref().and_then(|given| given.amount_details.as_ref());
        let (amount, currency) = amounts.map_or((None, None), |given| {
            (given.authorized_amount.as_ref().or(given.total_amount.as_ref()), given.currency.as_ref())
        });
        code.is_none_or(|code| *code == reference(attempt.id.0))
            && currency.is_none_or(|code| code == attempt.amount.currency().code())
            && (!has_amount
                || amount.map_or(!approved, |amount| {
                    Money::parse(amount, attempt.amount.currency())
                        .map_or(!approved, |theirs| theirs == attempt.amount)
                }))
    }
}

/// Where a mistake in the request is in what was keyed.
fn keyed_field(path: &str) -> Option<Field> {
    let name = path.strip_prefix("paymentInformation.card.")?;
    match name {
        "number" => Some(Field::CardNumber),
        "expirationMonth" | "expirationYear" => Some(Field::Expiry),
        "securityCode" => Some(Field::SecurityCode),
        _ => None,
    }
}

/// The reason code of a reason (developer.cybersource.com, "reason codes" and "response codes").
fn code(reason: &str) -> Option<u16> {
    Some(match reason {
        "MISSING_FIELD" => 101,
        "INVALID_DATA" => 102,
        "DUPLICATE_REQUEST" => 104,
        "SYSTEM_ERROR" => 150,
        "SERVER_TIMEOUT" => 151,
        "SERVICE_TIMEOUT" => 152,
        "AVS_FAILED" => 200,
        "CONTACT_PROCESSOR" => 201,
        "EXPIRED_CARD" => 202,
        "PROCESSOR_DECLINED" => 203,
        "INSUFFICIENT_FUND" => 204,
        "STOLEN_LOST_CARD" => 205,
        "ISSUER_UNAVAILABLE" => 207,
        "UNAUTHORIZED_CARD" => 208,
        "CVN_NOT_MATCH" => 209,
        "EXCEEDS_CREDIT_LIMIT" => 210,
        "INVALID_CVN" => 211,
        "DECLINED_CHECK" | "BLACKLISTED_CUSTOMER" => 221,
        "SUSPENDED_ACCOUNT" => 222,
        "CV_FAILED" => 230,
        "INVALID_ACCOUNT" | "INVALID_CARD" => 231,
        "CARD_TYPE_NOT_ACCEPTED" => 232,
        "GENERAL_DECLINE" => 233,
        "INVALID_MERCHANT_CONFIGURATION" => 234,
        "PROCESSOR_UNAVAILABLE" | "PROCESSOR_ERROR" => 236,
        "PROCESSOR_TIMEOUT" => 250,
        "BLOCKED_BY_CARDHOLDER" => 205,
        "PENDING_AUTHENTICATION" | "CONSUMER_AUTHENTICATION_REQUIRED" => 475,
        "CUSTOMER_AUTHENTICATION_REQUIRED" => 478,
        "DECISION_PROFILE_REVIEW" => 480,
        "DECISION_PROFILE_REJECT" | "SCORE_EXCEEDS_THRESHOLD" => 481,
        _ => return None,
    })
}
