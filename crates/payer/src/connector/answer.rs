//! What is answered: the published names, and in `parameters` what else is known.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use hushpad_domain::attempt::{
    Attempt, AttemptState, Check, Checks, DeclineClass, GatewayAnswer, NotSent, Purpose, Verdict,
};
use hushpad_domain::field::Field;
use hushpad_domain::session::{Ending, Outcome, Session, SessionState};
use serde_json::{Map, Value, json};

use super::desk::{Found, Method};
use super::request::{About, Mistake, Wanted};

/// What became of a transaction.
pub(super) fn of_transaction(id: &str, found: &Found) -> Response {
    match found {
        Found::Begun => under_way(id, None, "pending", UNDER_WAY),
        Found::Session(session) => of_session(id, session),
    }
}

/// Whether what is asked now is what was asked first.
pub(super) fn is_same(wanted: &Wanted, found: &Found) -> bool {
    let Found::Session(session) = found else { return true };
    let tokenizes = session.attempts.first().map(|attempt| attempt.purpose == Purpose::Tokenise);
    let same_method = tokenizes.is_none_or(|tokenizes| tokenizes == (wanted.method == Method::Tokenize));
    let given = wanted.amount_is_given || wanted.method == Method::Charge;
    let same_amount = if given {
        session.amount() == wanted.amount
    } else {
        session.amount().currency() == wanted.amount.currency()
    };
    same_method && same_amount
}

/// The same id, but another amount, currency or method.
pub(super) fn reused(id: &str) -> Response {
    refusal(
        StatusCode::CONFLICT,
        Some(id),
        "transaction_id_reused",
        "this transaction_id came before with another amount, currency or method; what became of that one is told to GET",
    )
}

/// Nothing of this id ever came.
pub(super) fn not_found(id: &str) -> Response {
    refusal(StatusCode::NOT_FOUND, Some(id), "not_found", "no transaction with this id has come")
}

/// All mistakes at once. The code is that of the gravest; about the card only where all the rest is right.
pub(super) fn mistaken(id: Option<&str>, mistakes: &[Mistake]) -> Response {
    let find = |wanted: About| mistakes.iter().map(|mistake| mistake.about).find(|about| *about == wanted);
    let gravest = find(About::CardInText).or_else(|| find(About::InvalidRequest));
    let about = gravest.or_else(|| mistakes.first().map(|mistake| mistake.about));
    let (status, code) = match about {
        Some(About::CardInText) => (StatusCode::BAD_REQUEST, "card_number_in_text"),
        Some(About::InvalidRequest) | None => (StatusCode::BAD_REQUEST, "invalid_request"),
        Some(About::Number) => (StatusCode::UNPROCESSABLE_ENTITY, "incorrect_number"),
        Some(About::BrandNotTaken) => (StatusCode::UNPROCESSABLE_ENTITY, "card_not_supported"),
        Some(About::Expiry) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_expiry"),
        Some(About::SecurityCode) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_cvc"),
    };
    let words: Vec<_> = mistakes.iter().map(|mistake| mistake.text.as_str()).collect();
    refusal(status, id, code, &words.join("; "))
}

/// A refusal in the published names.
pub(super) fn refusal(status: StatusCode, id: Option<&str>, code: &str, message: &str) -> Response {
    let mut members = Map::new();
    if let Some(id) = id {
        members.insert("transaction_id".to_owned(), json!(id));
    }
    members.insert("error_code".to_owned(), json!(code));
    members.insert("error_message".to_owned(), json!(message));
    (status, Json(Value::Object(members))).into_response()
}

const UNDER_WAY: &str =
    "The payment is under way. Do not pay again with another transaction_id: ask again with this one.";
const NOT_KNOWN: &str = "The bank has not answered: it may have been charged. Do not pay again with another transaction_id: ask again with this one.";
const GIVEN_BACK: &str = "The approval must not stand and is being given back. Do not pay again yet: ask again with this transaction_id.";
const NOT_CHARGED: &str = "Nothing was charged. It can be paid again, with a new transaction_id.";

fn of_session(id: &str, session: &Session) -> Response {
    match &session.state {
        SessionState::Ended { ending: Ending::Finished(Outcome::Approved), .. } => {
            approved(id, session, false)
        }
        SessionState::Ended { ending: Ending::Finished(Outcome::Review), .. } => approved(id, session, true),
        SessionState::Ended { ending: Ending::Finished(Outcome::Declined), .. } => declined(id, session),
        SessionState::Ended {
            ending:
                Ending::Finished(Outcome::Cancelled | Outcome::Unknown | Outcome::None)
                | Ending::Error
                | Ending::TimeOut
                | Ending::ExpiredOnProviderSide,
            ..
        } => not_charged(id, session),
        SessionState::Created | SessionState::InProgress | SessionState::Processing { .. } => {
            if session.reversing_attempt().is_some() {
                return under_way(id, Some(session), "pending", GIVEN_BACK);
            }
            match session.open_attempt().map(|attempt| &attempt.state) {
                Some(AttemptState::Unknown { .. }) => under_way(id, Some(session), "unknown", NOT_KNOWN),
                Some(_) | None => under_way(id, Some(session), "pending", UNDER_WAY),
            }
        }
    }
}

/// The attempt that counts, and what the gateway said of it.
fn standing(session: &Session) -> Option<(&Attempt, &GatewayAnswer)> {
    let stands = |attempt: &&Attempt| !attempt.was_turned_back();
    session.attempts.iter().rev().filter(stands).find_map(|attempt| Some((attempt, attempt.answer()?)))
}

fn approved(id: &str, session: &Session, review: bool) -> Response {
    let Some((attempt, answer)) = standing(session) else { return not_charged(id, session) };
    let token = answer.stored.as_ref().map(|stored| stored.token.as_str());
    if attempt.purpose == Purpose::Tokenise && token.is_none() {
        let message =
            "The card was kept at the gateway; its token is told for a few minutes only, and these are over.";
        return refusal(StatusCode::GONE, Some(id), "result_expired", message);
    }
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| members.insert(name.to_owned(), value);
    put("transaction_id", json!(id));
    if attempt.purpose != Purpose::Tokenise {
        put("charge_id", json!(charge_id(session, answer)));
        put("amount", json!(attempt.amount.decimal()));
        put("currency_code", json!(attempt.amount.currency().code()));
    }
    if let Some(token) = token {
        put("token_id", json!(token));
    }
    put("error_code", Value::Null);
    put("error_message", Value::Null);
    if review {
        put("review", json!(true));
    }
    for (name, word) in checks(answer.checks) {
        put(name, json!(word));
    }
    if let Some(card) = &answer.card {
        put("card_first6", json!(card.first6()));
        put("card_last4", json!(card.last4()));
    }
    put("parameters", parameters(session, Some((attempt, answer))));
    (StatusCode::OK, Json(Value::Object(members))).into_response()
}

/// The gateway's own reference, by which the merchant finds it there; of a gateway that gives none, ours.
fn charge_id(session: &Session, answer: &GatewayAnswer) -> String {
    match answer.gateway_reference.as_str() {
        "" => session.guid.to_string(),
        reference => reference.to_owned(),
    }
}

fn declined(id: &str, session: &Session) -> Response {
    // The names that gateways share; Hushpad's own generic connector reads them.
    let (code, message) = match session.last_decline() {
        Some(DeclineClass::Rekey(Field::CardNumber)) => {
            ("incorrect_number", "Declined: the card number is wrong.")
        }
        Some(DeclineClass::Rekey(Field::Expiry)) => ("invalid_expiry", "Declined: the expiry date is wrong."),
        Some(DeclineClass::Rekey(Field::SecurityCode)) => {
            ("incorrect_cvc", "Declined: the security code is wrong.")
        }
        Some(DeclineClass::OtherCard) | None => ("card_declined", "Declined: another card is needed."),
        Some(DeclineClass::TryLater) => ("try_again_later", "Declined: the same card may work later."),
        Some(DeclineClass::Never) => ("restricted_card", "Declined: this card must not be used again."),
        Some(DeclineClass::Authenticate) => (
            "authentication_required",
            "Declined: the bank wants the cardholder to authenticate, which cannot be done by phone.",
        ),
    };
    let last = session.attempts.last();
    failed(id, session, code, message, last.and_then(|attempt| Some((attempt, attempt.answer()?))))
}

fn not_charged(id: &str, session: &Session) -> Response {
    let unsupported = session.attempts.last().is_some_and(|attempt| {
        matches!(attempt.state, AttemptState::NotSent { reason: NotSent::Unsupported })
    });
    if unsupported {
        let message =
            "Nothing was charged: the gateway cannot be asked for this (currency, brand or method).";
        return failed(id, session, "not_supported", message, None);
    }
    failed(id, session, "try_again_later", NOT_CHARGED, None)
}

/// It is over, and nothing is charged. 200, as callers read `error_code` there.
fn failed(
    id: &str,
    session: &Session,
    code: &str,
    message: &str,
    answered: Option<(&Attempt, &GatewayAnswer)>,
) -> Response {
    let body = json!({
        "transaction_id": id, "error_code": code, "error_message": message,
        "parameters": parameters(session, answered),
    });
    (StatusCode::OK, Json(body)).into_response()
}

fn under_way(id: &str, session: Option<&Session>, code: &str, message: &str) -> Response {
    let mut body = json!({ "transaction_id": id, "error_code": code, "error_message": message });
    if let (Some(session), Some(members)) = (session, body.as_object_mut()) {
        members.insert("parameters".to_owned(), parameters(session, None));
    }
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// What else is known: ours, over what the gateway said in its own names. All of it strings.
fn parameters(session: &Session, answered: Option<(&Attempt, &GatewayAnswer)>) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, text: &str| members.insert(name.to_owned(), json!(text));
    if let Some((attempt, answer)) = answered {
        for (name, text) in &answer.result {
            put(name, text);
        }
        put("gateway", attempt.gateway.as_str());
        put("gateway_reference", &answer.gateway_reference);
        if let Some(card) = &answer.card {
            put("card_last4", &card.last4());
            put("card_brand", card.brand().map_or("", |brand| brand.title()));
        }
        if let Verdict::Partial { approved } = answer.verdict {
            put("approved_amount", &approved.decimal());
        }
    }
    put("outcome", session.outcome().word());
    put("session_guid", &session.guid.to_string());
    Value::Object(members)
}

fn checks(checks: Checks) -> impl Iterator<Item = (&'static str, &'static str)> {
    let word = |check| match check {
        Check::Match => Some("match"),
        Check::NoMatch => Some("mismatch"),
        Check::NotChecked => None,
    };
    let all = [("cvv_result", checks.security_code), ("avs_result", checks.postcode)];
    all.into_iter().filter_map(move |(name, check)| Some((name, word(check)?)))
}
