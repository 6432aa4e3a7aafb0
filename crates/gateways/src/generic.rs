//! The generic gateway: the JSON over HTTP that the pay connectors of Twilio, SignalWire and Telnyx speak.
//!
//! # Charge
//! `POST url`, HTTP Basic, `application/json`, all values strings:
//! `transaction_id` (the attempt's id: the same id must never be charged twice), `method` `charge`,
//! `cardnumber`, `cvv` (if the card has one), `expiry_month` `MM`, `expiry_year` `YY`, `amount` `12.40`,
//! `currency_code` `GBP`, `postal_code`, `description`, and `parameters`: what else came in `paymentData`.
//! `Idempotency-Key` is a UUIDv5 of the attempt's id.
//!
//! # Answer
//! `charge_id` and no `error_code`: approved. `error_code` (and `error_message`) and no `charge_id`:
//! declined, with status 200 or 402; with 400 or 422 only where the code is one we know. Status 401, 403 and 429 without a `charge_id`: refused before
//! processing. If `transaction_id`, `amount` or `currency_code` come back, they must be ours. All else is
//! unknown.
//!
//! # Query (ours, optional)
//! `GET query_url?transaction_id=…`: status 200 with `transaction_id` and the answer as above; or 404 with
//! `transaction_id` and `error_code` `not_found`. A 404 without these may be a wrong URL, and proves nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Method, header};
use hushpad_card::{Card, brand};
use hushpad_domain::attempt::{Attempt, DeclineClass, GatewayAnswer, Purpose, Unknown, Verdict};
use hushpad_domain::field::Field;
use hushpad_domain::ids::AttemptId;
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::money::Money;
use hushpad_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::amounts::Currencies;
use crate::caps::{Caps, Replay};
use crate::connector::{BuildError, Connector, Parsed, ParsedQuery, Step};
use crate::endpoint::Endpoint;
use crate::order::{Order, Source};
use crate::wire::{Reply, WireBody, WireRequest};
use crate::wire_text::{digits_as_text as as_text, idempotency_key, safe_id, safe_message};

/// The error code by which a query says that there is no such charge.
const NOT_FOUND: &str = "not_found";

/// The connector of the generic gateway.
pub struct Generic {
    charge: Endpoint,
    query: Option<Endpoint>,
    authorization: HeaderValue,
    caps: Caps,
}

impl Generic {
    /// The connector; `None` when user or password cannot be sent by HTTP Basic (RFC 7617, section 2).
    #[must_use]
    pub fn new(
        charge: Endpoint,
        query: Option<Endpoint>,
        user: &str,
        password: &str,
        settle_time: Duration,
    ) -> Option<Self> {
        if user.contains(':') || user.chars().chain(password.chars()).any(char::is_control) {
            return None;
        }
        let credentials = Zeroizing::new(format!("{user}:{password}"));
        let mut authorization =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials.as_bytes()))).ok()?;
        authorization.set_sensitive(true);
        let caps = Caps {
            replay: Replay::None,
            query_by_ref: query.is_some(),
            reverse_by_ref: false,
            settle_time,
            currencies: Currencies::all_in_decimals(),
            brands: &Brand::ALL,
            partial: false,
            moto: true,
            purposes: &[Purpose::Sale],
            follow_ups: &[],
            query_follow_up: false,
            notifies: false,
        };
        Some(Self { charge, query, authorization, caps })
    }
}

impl Connector for Generic {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn build(
        &self,
        _: &Step,
        order: &Order<'_>,
        source: &Source<'_>,
        _: Timestamp,
    ) -> Result<WireRequest, BuildError> {
        let (Purpose::Sale, Source::Keyed(card)) = (order.attempt.purpose, source) else {
            return Err(BuildError::Unsupported);
        };
        let mut body = WireBody::room();
        write_charge(&mut body, order, card)?;
        let key = idempotency_key(order.attempt.id, "");
        let headers = vec![
            (header::AUTHORIZATION, self.authorization.clone()),
            (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
            (HeaderName::from_static("idempotency-key"), key),
        ];
        Ok(WireRequest { endpoint: self.charge.clone(), method: Method::POST, headers, body })
    }

    fn parse(&self, _: &Step, order: &Order<'_>, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
        let attempt = order.attempt;
        if reply.status >= 500 {
            return Parsed::Indeterminate(Unknown::GatewayError);
        }
        let answer = serde_json::from_slice::<Answer>(&reply.body);
        let says_charged = answer.as_ref().is_ok_and(|answer| answer.charge_id.is_some());
        match (reply.status, answer) {
            (401 | 403 | 429, _) if !says_charged => Parsed::Refused,
            (200..=299, Ok(answer)) => judge(answer, attempt, card),
            (402, Ok(answer)) if !says_charged => judge(answer, attempt, card),
            // These may be about the request and not about the card: only codes we know are declines.
            (400 | 422, Ok(answer)) if !says_charged && answer.has_listed_code() => {
                judge(answer, attempt, card)
            }
            _ => Parsed::Indeterminate(Unknown::Unreadable),
        }
    }

    fn query(&self, _: &Step, attempt: &Attempt, _: Timestamp) -> Option<WireRequest> {
        let mut endpoint = self.query.clone()?;
        let join = if endpoint.target.contains('?') { '&' } else { '?' };
        endpoint.target = format!("{}{join}transaction_id={}", endpoint.target, attempt.id);
        let headers = vec![
            (header::AUTHORIZATION, self.authorization.clone()),
            (header::ACCEPT, HeaderValue::from_static("application/json")),
        ];
        Some(WireRequest { endpoint, method: Method::GET, headers, body: WireBody::empty() })
    }

    fn parse_query(&self, _: &Step, attempt: &Attempt, reply: &Reply) -> ParsedQuery {
        if reply.status >= 500 {
            return ParsedQuery::Indeterminate(Unknown::GatewayError);
        }
        let Ok(answer) = serde_json::from_slice::<Answer>(&reply.body) else {
            return ParsedQuery::Indeterminate(Unknown::Unreadable);
        };
        // Only an answer that names our reference is about our attempt.
        if answer.transaction_id.is_none() {
            return ParsedQuery::Indeterminate(Unknown::Unreadable);
        }
        let missing = answer.error_code.as_ref().is_some_and(|code| code.as_text() == NOT_FOUND);
        match (reply.status, judge(answer, attempt, None)) {
            (404, Parsed::Answer(_)) if missing => ParsedQuery::NotFound,
            (200, Parsed::Answer(answer)) if !missing => ParsedQuery::Found(answer),
            (_, Parsed::Indeterminate(reason)) => ParsedQuery::Indeterminate(reason),
            _ => ParsedQuery::Indeterminate(Unknown::Unreadable),
        }
    }
}

/// The request, in its published names.
#[derive(Serialize)]
struct Charge<'a> {
    transaction_id: AttemptId,
    method: &'static str,
    cardnumber: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cvv: Option<&'a str>,
    expiry_month: &'a str,
    expiry_year: &'a str,
    amount: String,
    currency_code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    postal_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    parameters: BTreeMap<&'a str, &'a str>,
}

/// The names of `paymentData` that have a place of their own in the request.
const POSTAL_CODE_NAMES: [&str; 3] = ["PostalCode", "postal_code", "billTo_postalCode"];
const DESCRIPTION_NAMES: [&str; 2] = ["Description", "MerchantReferenceCode"];

fn write_charge(body: &mut WireBody, order: &Order<'_>, card: &Card) -> Result<(), BuildError> {
    let (data, amount) = (order.payment_data, order.attempt.amount);
    if data.amount() != amount {
        return Err(BuildError::AmountDiffers);
    }
    let own_places = || ["Amount", "Currency"].iter().chain(&POSTAL_CODE_NAMES);
    let has_own_place = |name: &str| own_places().any(|own| own.eq_ignore_ascii_case(name));
    let parameters = data.values().iter().filter(|(name, _)| !has_own_place(name));
    let (month, year) = card.expiry();
    let (month, year) =
        (Zeroizing::new(format!("{month:02}")), Zeroizing::new(format!("{:02}", year.rem_euclid(100))));
    card.read_number(|number| {
        card.read_security_code(|code| {
            let charge = Charge {
                transaction_id: order.attempt.id,
                method: "charge",
                cardnumber: as_text(number),
                cvv: code.map(as_text),
                expiry_month: &month,
                expiry_year: &year,
                amount: amount.decimal(),
                currency_code: amount.currency().code(),
                postal_code: POSTAL_CODE_NAMES.iter().find_map(|name| data.get(name)),
                description: DESCRIPTION_NAMES.iter().find_map(|name| data.get(name)),
                parameters: parameters.map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            };
            serde_json::to_writer(body, &charge).map_err(|_| BuildError::TooLong)
        })
    })
}

/// The answer, in its published names. Others, such as `parameters`, are not kept: they may echo anything.
#[derive(Deserialize)]
struct Answer {
    transaction_id: Option<Text>,
    charge_id: Option<Text>,
    error_code: Option<Text>,
    error_message: Option<Text>,
    amount: Option<Text>,
    currency_code: Option<Text>,
    card_first6: Option<Text>,
    card_last4: Option<Text>,
}

impl Answer {
    fn has_listed_code(&self) -> bool {
        self.error_code.as_ref().is_some_and(|code| listed_class(&code.as_text()).is_some())
    }
}

/// A string, or a number that stands for one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Words(String),
    Number(i64),
}

impl Text {
    fn as_text(&self) -> String {
        match self {
            Self::Words(words) => words.clone(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// What the answer says of this attempt.
fn judge(answer: Answer, attempt: &Attempt, card: Option<&MaskedCard>) -> Parsed {
    let text = |text: &Option<Text>| text.as_ref().map(Text::as_text).filter(|text| !text.is_empty());
    if !is_ours(&answer, attempt) {
        return Parsed::Indeterminate(Unknown::Unreadable);
    }
    let mut result = BTreeMap::new();
    let (verdict, reference) = match (text(&answer.charge_id), text(&answer.error_code)) {
        (Some(charge_id), None) => {
            let charge_id = safe_id(&charge_id);
            result.insert("charge_id".to_owned(), charge_id.clone());
            (Verdict::Approved, charge_id)
        }
        (None, Some(code)) => {
            if DOUBTFUL.contains(&code.as_str()) {
                return Parsed::Indeterminate(Unknown::GatewayError);
            }
            let class = listed_class(&code).unwrap_or(DeclineClass::OtherCard);
            result.insert("error_code".to_owned(), safe_id(&code));
            if let Some(message) = text(&answer.error_message) {
                result.insert("error_message".to_owned(), safe_message(&message));
            }
            (Verdict::Declined { class }, String::new())
        }
        _ => return Parsed::Indeterminate(Unknown::Unreadable),
    };
    let card = card.cloned().or_else(|| {
        let (first6, last4) = (text(&answer.card_first6)?, text(&answer.card_last4)?);
        let brand = brand::detect(first6.as_bytes());
        Some(MaskedCard::new(brand, first6.parse().ok()?, last4.parse().ok()?))
    });
    Parsed::Answer(GatewayAnswer::new(verdict, reference, result, card))
}

/// Whether what comes back of our reference and amount is what we sent (G6).
fn is_ours(answer: &Answer, attempt: &Attempt) -> bool {
    let currency = attempt.amount.currency();
    let same = |text: &Option<Text>, ours: &dyn Fn(&str) -> bool| {
        text.as_ref().is_none_or(|text| ours(&text.as_text()))
    };
    same(&answer.transaction_id, &|id| id.eq_ignore_ascii_case(&attempt.id.to_string()))
        && same(&answer.currency_code, &|code| code.eq_ignore_ascii_case(currency.code()))
        && same(&answer.amount, &|amount| Money::parse(amount, currency) == Ok(attempt.amount))
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
        "card_declined" | "generic_decline" | "do_not_honor" | "card_not_supported" => {
            DeclineClass::OtherCard
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use hushpad_domain::attempt::AttemptState;
    use hushpad_domain::ids::{AttemptNo, GatewayName};
    use hushpad_domain::money::Currency;
    use hushpad_domain::payment_data::PaymentData;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn connector() -> Generic {
        let endpoint = Endpoint::parse("https://pay.example/charges", false).unwrap();
        Generic::new(endpoint.clone(), Some(endpoint), "u", "p", Duration::from_secs(60)).unwrap()
    }

    fn attempt() -> Attempt {
        Attempt {
            id: AttemptId(Uuid::from_u128(7)),
            no: AttemptNo(1),
            amount: Money::from_minor(1240, Currency::from_code("GBP").unwrap()).unwrap(),
            purpose: Purpose::Sale,
            gateway: GatewayName("main".to_owned()),
            intended_on: Timestamp::from_micros(0),
            updated_on: Timestamp::from_micros(0),
            state: AttemptState::Intent,
        }
    }

    fn parsed(status: u16, body: &[u8]) -> Parsed {
        let reply = Reply { status, body: Zeroizing::new(body.to_vec()) };
        let (attempt, payment_data) =
            (attempt(), PaymentData::from_stored(BTreeMap::new(), attempt().amount));
        let order = Order::by_phone(&attempt, &payment_data);
        connector().parse(&Step::default(), &order, Some(&MaskedCard::new(None, 411_111, 1111)), &reply)
    }

    fn queried(status: u16, body: &str) -> ParsedQuery {
        connector().parse_query(
            &Step::default(),
            &attempt(),
            &Reply { status, body: Zeroizing::new(body.into()) },
        )
    }

    fn verdict(parsed: Parsed) -> Option<Verdict> {
        match parsed {
            Parsed::Answer(answer) => Some(answer.verdict),
            Parsed::Next(_) | Parsed::Refused | Parsed::Indeterminate(_) => None,
        }
    }

    const OURS: &str = "00000000-0000-0000-0000-000000000007";

    #[test]
    fn an_answer_is_read_by_its_words_not_by_its_status() {
        let other_card = Verdict::Declined { class: DeclineClass::OtherCard };
        let cases = [
            (200, r#"{"charge_id":"ch_1"}"#, Some(Verdict::Approved)),
            (201, r#"{"charge_id":77,"error_code":null,"error_message":null}"#, Some(Verdict::Approved)),
            (200, r#"{"charge_id":"ch_1","error_code":"","parameters":{"a":[1]}}"#, Some(Verdict::Approved)),
            (200, r#"{"charge_id":"ch_1","amount":"12.4","currency_code":"gbp"}"#, Some(Verdict::Approved)),
            (200, r#"{"error_code":"new_reason"}"#, Some(other_card.clone())),
            (402, r#"{"error_code":51,"error_message":"no"}"#, Some(other_card.clone())),
            (422, r#"{"error_code":"card_declined"}"#, Some(other_card)),
        ];
        for (status, body, expected) in cases {
            assert_eq!(verdict(parsed(status, body.as_bytes())), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_surprise_is_never_a_decline() {
        let cases = [
            (200, ""),
            (200, "{}"),
            (200, "null"),
            (200, r#"{"charge_id":"","error_code":""}"#),
            (200, r#"{"charge_id":"ch_1","error_code":"card_declined"}"#),
            (200, r#"{"charge_id":"ch_1","charge_id":"ch_2"}"#),
            (200, r#"{"charge_id":"ch_1","amount":"12.41"}"#),
            (200, r#"{"charge_id":"ch_1","currency_code":"USD"}"#),
            (200, r#"{"charge_id":"ch_1","transaction_id":"another"}"#),
            (200, r#"{"error_code":"timeout"}"#),
            (402, r#"{"charge_id":"ch_1"}"#),
            (402, "declined"),
            (400, r#"{"error_code":"malformed"}"#),
            (401, r#"{"charge_id":"ch_1"}"#),
            (302, r#"{"error_code":"card_declined"}"#),
            (404, r#"{"error_code":"card_declined"}"#),
            (500, r#"{"error_code":"card_declined"}"#),
            (503, r#"{"charge_id":"ch_1"}"#),
        ];
        for (status, body) in cases {
            let parsed = parsed(status, body.as_bytes());
            assert!(matches!(parsed, Parsed::Indeterminate(_)), "{status} {body}: {parsed:?}");
        }
    }

    #[test]
    fn only_a_clear_word_about_our_reference_counts_when_asking() {
        let found = queried(200, &format!(r#"{{"transaction_id":"{OURS}","charge_id":"ch_1"}}"#));
        assert!(matches!(found, ParsedQuery::Found(_)));
        let none = format!(r#"{{"transaction_id":"{OURS}","error_code":"not_found"}}"#);
        assert_eq!(queried(404, &none), ParsedQuery::NotFound);
        for (status, body) in [
            (404, "".to_owned()),
            (404, "not found".to_owned()),
            (404, r#"{"error_code":"not_found"}"#.to_owned()),
            (404, r#"{"transaction_id":"another","error_code":"not_found"}"#.to_owned()),
            (404, format!(r#"{{"transaction_id":"{OURS}","charge_id":"ch_1"}}"#)),
            (200, none),
            (200, r#"{"charge_id":"ch_1"}"#.to_owned()),
            (200, r#"{"transaction_id":"another","charge_id":"ch_1"}"#.to_owned()),
            (500, format!(r#"{{"transaction_id":"{OURS}","error_code":"not_found"}}"#)),
            (401, format!(r#"{{"transaction_id":"{OURS}","charge_id":"ch_1"}}"#)),
        ] {
            let said = queried(status, &body);
            assert!(matches!(said, ParsedQuery::Indeterminate(_)), "{status} {body}: {said:?}");
        }
    }

    proptest! {
        #[test]
        fn any_reply_is_read_without_a_panic(status in 100_u16..1000, body in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(verdict(parsed(status, &body)), None);
        }

        #[test]
        fn approval_needs_a_charge_id_and_nothing_against_it(
            status in prop::sample::select(vec![200_u16, 201, 400, 401, 402, 404, 422, 429, 500, 503]),
            charge in prop::option::of("[a-z]{0,3}"),
            code in prop::option::of(prop::sample::select(vec!["", "card_declined", "timeout", "odd"])),
            amount in prop::option::of(prop::sample::select(vec!["12.40", "12.41", "x"])),
        ) {
            let body = serde_json::json!({"charge_id": charge, "error_code": code, "amount": amount});
            let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
            let code = code.map(str::to_owned);
            match verdict(parsed(status, body.to_string().as_bytes())) {
                Some(Verdict::Approved) => {
                    prop_assert!(status < 300 && given(&charge) && !given(&code));
                    prop_assert!(amount.is_none_or(|amount| amount == "12.40"));
                }
                Some(Verdict::Declined { .. }) => prop_assert!(given(&code) && !given(&charge) && status < 500),
                Some(Verdict::Review | Verdict::Partial { .. } | Verdict::Pending) => prop_assert!(false),
                None => {}
            }
        }
    }
}
