//! The sandbox's doors.

use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hushpad_domain::money::{Currency, Money};
use hyper::body::Incoming;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::connector::BODY_BYTES_MAX;

use super::faulty_io::{Fault, WireFault};
use super::ledger::{Charge, Decision, Ledger, NewCharge};
use super::plan::{ChargeRequest, Manner, Plan, plan};
use super::{PASSWORD, USER};

/// How late a slow answer is: within the usual patience, long enough to be seen on the agent page.
const SLOW: Duration = Duration::from_secs(3);

/// Longer references are refused.
const TRANSACTION_ID_CHARS_MAX: usize = 64;

/// The namespace of charge ids: the same reference has the same one, whatever the card.
const CHARGE_NAMESPACE: Uuid = Uuid::from_u128(0x5a3c_9b1e_77d0_4c11_8f4a_02b6_90cd_e411);

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection ends here, as planned")]
pub(super) struct Dropped;

type Answer = Result<Response<Full<Bytes>>, Dropped>;

/// Answers a request, or does what its amount asks for.
pub(super) async fn answer(ledger: &Ledger, fault: &WireFault, request: Request<Incoming>) -> Answer {
    let expected = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    if request
        .headers()
        .get(header::AUTHORIZATION)
        .is_none_or(|given| given.as_bytes() != expected.as_bytes())
    {
        return problem(StatusCode::UNAUTHORIZED, "unauthorized", "user or password is wrong");
    }
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/charges") => charge(ledger, fault, request).await,
        (&Method::GET, "/charges") => find(ledger, request.uri().query().unwrap_or_default()),
        (&Method::GET, "/ledger") => reply(StatusCode::OK, &json!({ "charges": ledger.charges() })),
        (_, "/charges" | "/ledger") => {
            problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "GET or POST")
        }
        _ => problem(StatusCode::NOT_FOUND, "no_such_path", "try /charges or /ledger"),
    }
}

async fn charge(ledger: &Ledger, fault: &WireFault, request: Request<Incoming>) -> Answer {
    let Ok(body) = read(request.into_body()).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too long or ended early");
    };
    let malformed = |message| problem(StatusCode::BAD_REQUEST, "malformed", message);
    let Ok(asked) = serde_json::from_slice::<ChargeRequest<'_>>(&body) else {
        return malformed("the body is not a charge as JSON");
    };
    let id = asked.transaction_id;
    if id.is_empty() || id.len() > TRANSACTION_ID_CHARS_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return malformed("transaction_id must have 1 to 64 visible characters");
    }
    if asked.method != "charge" {
        return malformed("method must be charge");
    }
    let amount = Currency::from_code(asked.currency_code).and_then(|code| Money::parse(asked.amount, code));
    let Ok(amount) = amount else { return malformed("amount or currency_code is wrong") };
    match ledger.repeat(id) {
        Ok(Some(charge)) => return decided(&charge),
        Ok(None) => {}
        Err(_) => return unavailable(),
    }
    let (decision, manner) = match plan(&asked, amount, ledger.today()) {
        Plan::Charge(manner) => (Decision::ChargeId(charge_id(id)), manner),
        Plan::Decline(code) => (Decision::ErrorCode(code.to_owned()), Manner::Plain),
        Plan::Throttle => return problem(StatusCode::TOO_MANY_REQUESTS, "throttled", "try again later"),
        Plan::HangUndecided => std::future::pending().await,
        Plan::ResetUndecided => {
            fault.set(Fault::Reset);
            return Err(Dropped);
        }
    };
    let charge = ledger.decide(NewCharge { transaction_id: id, decision, amount, number: asked.cardnumber });
    let Ok(charge) = charge else { return unavailable() };
    drop(body);
    tell(&charge, manner, fault).await
}

/// Tells a decision that is written down, in the manner that was asked for.
async fn tell(charge: &Charge, manner: Manner, fault: &WireFault) -> Answer {
    match manner {
        Manner::Plain => {}
        Manner::Slow => tokio::time::sleep(SLOW).await,
        Manner::Hang => std::future::pending().await,
        Manner::Reset => {
            fault.set(Fault::Reset);
            return Err(Dropped);
        }
        Manner::Error => return problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "something broke"),
        Manner::Garbage => fault.set(Fault::Garbage),
        Manner::Half => fault.set(Fault::Half),
        Manner::Huge => {
            let padding = "x".repeat(4 * BODY_BYTES_MAX);
            return reply(
                StatusCode::OK,
                &json!({ "charge_id": charge_id(&charge.transaction_id), "x": padding }),
            );
        }
        Manner::OtherAmount => {
            let other = Charge { amount: "0.01".to_owned(), ..charge.clone() };
            return decided(&other);
        }
        Manner::WebPage => {
            return Ok(Response::new(Full::from("<!doctype html><title>Sign in</title>")));
        }
    }
    decided(charge)
}

fn find(ledger: &Ledger, query: &str) -> Answer {
    let id = serde_urlencoded::from_str::<Vec<(String, String)>>(query)
        .ok()
        .and_then(|pairs| pairs.into_iter().find(|(name, _)| name == "transaction_id"))
        .map(|(_, id)| id);
    let Some(id) = id else {
        return problem(StatusCode::BAD_REQUEST, "malformed", "transaction_id is missing");
    };
    match ledger.find(&id) {
        Some(charge) => reply(StatusCode::OK, &answer_of(&charge)),
        None => reply(StatusCode::NOT_FOUND, &json!({ "transaction_id": id, "error_code": "not_found" })),
    }
}

fn decided(charge: &Charge) -> Answer {
    let status = match charge.decision {
        Decision::ChargeId(_) => StatusCode::OK,
        Decision::ErrorCode(_) => StatusCode::PAYMENT_REQUIRED,
    };
    reply(status, &answer_of(charge))
}

fn answer_of(charge: &Charge) -> Value {
    let (charge_id, error_code, error_message) = match &charge.decision {
        Decision::ChargeId(id) => (Some(id), None, None),
        Decision::ErrorCode(code) => (None, Some(code), Some(message(code))),
    };
    json!({
        "transaction_id": charge.transaction_id,
        "charge_id": charge_id,
        "error_code": error_code,
        "error_message": error_message,
        "amount": charge.amount,
        "currency_code": charge.currency_code,
        "card_first6": charge.card_first6,
        "card_last4": charge.card_last4,
        "parameters": {},
    })
}

/// What a person would be told.
fn message(code: &str) -> &'static str {
    match code {
        "insufficient_funds" => "Your card has insufficient funds.",
        "expired_card" => "Your card has expired.",
        "incorrect_cvc" | "invalid_cvc" => "Your card's security code is incorrect.",
        "incorrect_number" | "invalid_number" => "Your card number is incorrect.",
        "processing_error" => "An error occurred while processing your card. Try again in a little bit.",
        _ => "Your card was declined.",
    }
}

fn charge_id(transaction_id: &str) -> String {
    format!("ch_{}", Uuid::new_v5(&CHARGE_NAMESPACE, transaction_id.as_bytes()).simple())
}

fn unavailable() -> Answer {
    problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the ledger cannot be written")
}

fn problem(status: StatusCode, code: &str, message: &str) -> Answer {
    reply(status, &json!({ "error_code": code, "error_message": message }))
}

fn reply(status: StatusCode, body: &Value) -> Answer {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn read(mut incoming: Incoming) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_BYTES_MAX));
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let Some(data) = frame.data_ref() else { continue };
        if body.capacity() - body.len() < data.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        body.extend_from_slice(data);
    }
    Ok(body)
}
