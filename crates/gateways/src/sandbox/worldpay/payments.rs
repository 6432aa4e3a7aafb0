//! `POST /cardPayments/customerInitiatedTransactions`, and the same by the merchant alone with a token.

use std::collections::BTreeMap;

use hushpad_domain::masked_card::Brand;
use serde_json::{Value, json};

use super::{DECIMALS, UNSURE, WORLDPAY_ENTITY, invalid, links, tokens};
use crate::sandbox::format::Format;
use crate::sandbox::http::{Reply, at, text_at};
use crate::sandbox::ids;
use crate::sandbox::issuer::{CardAsked, CardFacts, Check, Reason, Standing};
use crate::sandbox::ledger::payment::Payment;
use crate::sandbox::magic::Ruling;
use crate::sandbox::turn::{NewPayment, Stop, Taking, Turn};

const INSTRUMENT: &str = "$.instruction.paymentInstrument";
const MISSING: &str = "fieldIsMissing";
const INVALID: &str = "fieldHasInvalidValue";

/// References have 1 to 64 characters.
const REFERENCE_CHARS_MAX: usize = 64;

pub(super) fn pay(turn: &mut Turn<'_>, by_customer: bool) -> Result<Reply, Stop> {
    let Some(body) = turn.ask.json() else { return Ok(invalid("bodyIsNotJson", "$")) };
    let order = match read(turn, &body, by_customer) {
        Ok(order) => order,
        Err((name, path)) => return Ok(invalid(name, &path)),
    };
    let id = ids::capitals(&turn.seed()?, 24);
    let payment = turn.pay(NewPayment {
        format: Format::Worldpay,
        reference: &order.reference,
        id,
        amount: order.amount,
        card: order.card,
        taking: if order.settles { Taking::Now } else { Taking::Later },
        takes_parts: false,
        kept: BTreeMap::new(),
        return_url: None,
    })?;
    let mut reply = told(turn, &payment);
    if payment.is_approved() && text_at(&body, &["instruction", "tokenCreation", "type"]).is_some() {
        reply["token"] = tokens::keep(turn, payment.card.clone())?;
    }
    let status = if payment.is_told() { 201 } else { 202 };
    Ok(Reply::json(status, &reply))
}

struct Order {
    reference: String,
    amount: hushpad_domain::money::Money,
    card: CardFacts,
    settles: bool,
}

/// What is wrong with the body, and where.
type Wrong = (&'static str, String);

fn read(turn: &Turn<'_>, body: &Value, by_customer: bool) -> Result<Order, Wrong> {
    let wrong = |name, path: &str| Err((name, path.to_owned()));
    let reference = text_at(body, &["transactionReference"]).unwrap_or_default().into_owned();
    if reference.is_empty() || reference.chars().count() > REFERENCE_CHARS_MAX {
        return wrong(MISSING, "$.transactionReference");
    }
    if at(body, &["merchant", "entity"]).is_none_or(|entity| entity != WORLDPAY_ENTITY) {
        return wrong(INVALID, "$.merchant.entity");
    }
    let instruction = &body["instruction"];
    if at(instruction, &["narrative", "line1"]).is_none() {
        return wrong(MISSING, "$.instruction.narrative.line1");
    }
    let settles = at(instruction, &["requestAutoSettlement", "enabled"]).and_then(Value::as_bool);
    let Some(settles) = settles else { return wrong(MISSING, "$.instruction.requestAutoSettlement.enabled") };
    let currency = text_at(instruction, &["value", "currency"]).unwrap_or_default();
    let amount = at(instruction, &["value", "amount"]).and_then(Value::as_i64);
    let amount = amount.filter(|_| !UNSURE.contains(&currency.as_ref()));
    let Some(amount) = amount.and_then(|amount| DECIMALS.money(amount, &currency)) else {
        return wrong(INVALID, "$.instruction.value");
    };
    let (card, is_keyed) = card_of(turn, &instruction["paymentInstrument"])?;
    let channel = body["channel"].as_str().unwrap_or_default();
    match (by_customer, channel, is_keyed) {
        (true, "moto", _) | (false, "", false) => {}
        (true, "ecom", false) => {}
        (true, "ecom", true) if turn.books.takes_ecommerce => {}
        (false, "", true) => return wrong(INVALID, INSTRUMENT),
        (false, ..) => return wrong("fieldIsNotAllowed", "$.channel"),
        (true, "", _) => return wrong(MISSING, "$.channel"),
        (true, ..) => return wrong(INVALID, "$.channel"),
    }
    if channel == "moto" && body.get("authentication").is_some() {
        return wrong("fieldIsNotAllowed", "$.channel");
    }
    Ok(Order { reference, amount, card, settles })
}

/// The card, and whether it was keyed.
fn card_of(turn: &Turn<'_>, instrument: &Value) -> Result<(CardFacts, bool), Wrong> {
    let wrong = |name, field: &str| Err((name, format!("{INSTRUMENT}.{field}")));
    match instrument["type"].as_str() {
        Some("card/plain") => {}
        Some("card/token") => {
            let href = text_at(instrument, &["href"]).unwrap_or_default();
            let id = href.rsplit('/').next().unwrap_or_default();
            return match turn.books.token(Format::Worldpay, id) {
                Some(token) => Ok((token.card.clone(), false)),
                None => wrong(INVALID, "href"),
            };
        }
        _ => return wrong(INVALID, "type"),
    }
    let text = |path: &[&str]| text_at(instrument, path).unwrap_or_default();
    let (number, month, year) =
        (text(&["cardNumber"]), text(&["expiryDate", "month"]), text(&["expiryDate", "year"]));
    let code = text_at(instrument, &["cvc"]);
    let has_address = at(instrument, &["billingAddress", "postalCode"]).is_some();
    let card = CardAsked { number: &number, month: &month, year: &year, code: code.as_deref(), has_address };
    let facts = turn.look(&card);
    match facts.standing {
        Standing::Declined(Reason::IncorrectNumber) => wrong("panFailedLuhnCheck", "cardNumber"),
        Standing::Declined(Reason::InvalidNumber) => wrong(INVALID, "cardNumber"),
        Standing::Declined(Reason::InvalidExpiryMonth) => wrong(INVALID, "expiryDate.month"),
        Standing::Declined(Reason::InvalidExpiryYear) => wrong(INVALID, "expiryDate.year"),
        Standing::Declined(Reason::InvalidCvc) => wrong(INVALID, "cvc"),
        _ => Ok((facts, true)),
    }
}

fn told(turn: &Turn<'_>, payment: &Payment) -> Value {
    let outcome = match payment.ruling {
        Ruling::Declined(_) | Ruling::WantsAuthentication => "refused",
        _ if payment.captured() > 0 => "sentForSettlement",
        _ => "authorized",
    };
    let mut reply = json!({
        "outcome": outcome,
        "paymentId": format!("pay{}", payment.id),
        "paymentInstrument": {
            "type": "card/plain+masked", "cardBin": payment.card.first6, "lastFour": payment.card.last4,
            "cardBrand": payment.card.brand.map(Brand::title),
            "expiryDate": { "month": payment.card.month, "year": payment.card.year },
        },
        "riskFactors": risk_factors(payment),
        "_links": links(turn.ask, payment, "cardPayments"),
    });
    match payment.ruling {
        Ruling::Declined(reason) => {
            let (code, description) = refusal(reason);
            reply["refusalCode"] = json!(code);
            reply["refusalDescription"] = json!(description);
        }
        Ruling::WantsAuthentication => {
            reply["refusalCode"] = json!("65");
            reply["refusalDescription"] = json!("AUTHENTICATION REQUESTED");
        }
        _ => {
            reply["issuer"] = json!({ "authorizationCode": ids::capitals(&payment.id, 6) });
            reply["scheme"] = json!({ "reference": ids::capitals(&format!("scheme {}", payment.id), 15) });
        }
    }
    if !payment.is_told() {
        return json!({ "_links": { "cardPayments:events": reply["_links"]["cardPayments:events"] } });
    }
    reply
}

fn risk_factors(payment: &Payment) -> Value {
    let mut factors = Vec::new();
    let mut add = |check: Check, kind: &str, detail: Option<&str>| {
        let risk = match check {
            Check::Match => return,
            Check::Mismatch => "notMatched",
            Check::NotChecked => "notSupplied",
        };
        let mut factor = json!({ "type": kind, "risk": risk });
        if let Some(detail) = detail {
            factor["detail"] = json!(detail);
        }
        factors.push(factor);
    };
    add(payment.code, "cvc", None);
    add(payment.address, "avs", Some("address"));
    add(payment.address, "avs", Some("postcode"));
    Value::Array(factors)
}

/// Worldpay passes the schemes' own codes on.
fn refusal(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::CardDeclined | Reason::DoNotHonor => ("5", "REFUSED"),
        Reason::InsufficientFunds => ("51", "LIMIT EXCEEDED"),
        Reason::CardVelocityExceeded => ("61", "EXCEEDS WITHDRAWAL LIMIT"),
        Reason::ExpiredCard | Reason::InvalidExpiryMonth | Reason::InvalidExpiryYear => {
            ("54", "EXPIRED CARD")
        }
        Reason::IncorrectCvc | Reason::InvalidCvc => ("82", "CVV FAILURE"),
        Reason::IncorrectNumber | Reason::InvalidNumber => ("14", "INVALID CARD"),
        Reason::LostCard => ("41", "LOST CARD"),
        Reason::StolenCard => ("43", "STOLEN CARD"),
        Reason::CallIssuer => ("2", "REFERRED"),
        Reason::ProcessingError => ("91", "CREDITCARD ISSUER TEMPORARILY NOT REACHABLE"),
        Reason::Fraudulent => ("34", "FRAUD SUSPICION"),
    }
}
