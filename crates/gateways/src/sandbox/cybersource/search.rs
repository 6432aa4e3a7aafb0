//! The transaction search: one summary per request, by the code that the request carried.

use hushpad_domain::time::Timestamp;
use serde_json::{Value, json};

use super::payments::card_type;
use super::{CYBERSOURCE_MERCHANT, not_found, outcome, seconds};
use crate::sandbox::format::Format;
use crate::sandbox::http::{Reply, text_at};
use crate::sandbox::ids;
use crate::sandbox::ledger::payment::{Kind, Movement, Payment};
use crate::sandbox::ledger::summary::decimal;
use crate::sandbox::turn::{Stop, Turn};

/// The most summaries of one page.
const LIMIT_MAX: usize = 2500;

pub(super) fn search(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let body = turn.ask.json().unwrap_or_default();
    let Some(query) = text_at(&body, &["query"]) else {
        return Ok(super::invalid(turn.now, "MISSING_FIELD", Some("query")));
    };
    let wanted = |name: &str| {
        let rest = &query[query.find(&format!("{name}:"))? + name.len() + 1..];
        rest.split([' ', ')']).next().map(|value| value.trim_matches('"').to_owned())
    };
    let found = match (wanted("clientReferenceInformation.code"), wanted("id")) {
        (Some(code), _) => with_code(turn, &code)?,
        (None, Some(id)) => with_id(turn, &id).into_iter().collect(),
        (None, None) => Vec::new(),
    };
    let number = |name: &str| body[name].as_u64().and_then(|number| usize::try_from(number).ok());
    let (offset, limit) = (number("offset").unwrap_or(0), number("limit").unwrap_or(20).min(LIMIT_MAX));
    let page: Vec<Value> = found.iter().skip(offset).take(limit).cloned().collect();
    let reply = json!({
        "_links": { "self": { "method": "GET", "href": "/tss/v2/searches/one" } },
        "searchId": ids::smalls(&query, 32), "save": false, "name": body["name"], "timezone": "UTC",
        "query": query, "offset": offset, "limit": limit, "sort": body["sort"],
        "count": page.len(), "totalCount": found.len(), "status": "FINISHED", "submitTimeUtc": seconds(turn.now),
        "_embedded": { "transactionSummaries": page },
    });
    Ok(Reply::json(201, &reply))
}

pub(super) fn transaction(turn: &mut Turn<'_>, id: &str) -> Result<Reply, Stop> {
    Ok(match with_id(turn, id) {
        Some(mut summary) => {
            if let Some((granted, currency)) = granted(turn, id) {
                summary["orderInformation"]["amountDetails"]["authorizedAmount"] =
                    json!(short(&decimal(granted, &currency)));
            }
            Reply::json(200, &summary)
        }
        None => not_found(turn.now),
    })
}

/// What the issuer granted of a payment, which only the look at one transaction tells.
fn granted(turn: &Turn<'_>, id: &str) -> Option<(i64, String)> {
    let payment = turn.books.payment_of(id).filter(|payment| payment.id == id && payment.is_approved())?;
    Some((payment.granted(), payment.currency.clone()))
}

/// Every request that carried the code: payments, and what followed payments.
fn with_code(turn: &mut Turn<'_>, code: &str) -> Result<Vec<Value>, Stop> {
    let key = |id: &str| format!("code {id}");
    let mut of_code: Vec<Payment> = turn
        .books
        .payments()
        .filter(|payment| payment.format == Format::CyberSource)
        .filter(|payment| payment.kept.iter().any(|(name, value)| name.starts_with("code ") && value == code))
        .cloned()
        .collect();
    let mut found = Vec::new();
    for payment in &mut of_code {
        let is_seen = payment.asked();
        turn.save(payment.clone())?;
        if !is_seen {
            continue;
        }
        if payment.kept.get(&key(&payment.id)).is_some_and(|known| known == code) {
            found.push(summary(payment));
        }
        let followed = payment.movements.iter().filter(|movement| movement.id != payment.id);
        let carried =
            |movement: &&Movement| payment.kept.get(&key(&movement.id)).is_some_and(|known| known == code);
        found.extend(followed.filter(carried).map(|movement| followed_summary(payment, movement, code)));
    }
    found.sort_by_key(|summary| std::cmp::Reverse(summary["id"].as_str().unwrap_or_default().to_owned()));
    Ok(found)
}

fn with_id(turn: &Turn<'_>, id: &str) -> Option<Value> {
    let payment = turn.books.payment_of(id).filter(|payment| payment.format == Format::CyberSource)?;
    if payment.id == id {
        return Some(summary(payment));
    }
    let movement = payment.movements.iter().find(|movement| movement.id == id)?;
    let code = payment.kept.get(&format!("code {id}")).map(String::as_str).unwrap_or_default();
    Some(followed_summary(payment, movement, code))
}

fn summary(payment: &Payment) -> Value {
    let outcome = outcome(payment);
    let mut applications = vec![application("ics_auth", outcome.code, outcome.reason)];
    let is_sale = payment.movements.iter().any(|m| m.kind == Kind::Capture && m.id == payment.id);
    if is_sale {
        applications.push(application("ics_bill", 100, None));
    }
    base(payment, &payment.id, &payment.reference, payment.amount_minor, payment.on, applications)
}

fn followed_summary(payment: &Payment, movement: &Movement, code: &str) -> Value {
    let name = match movement.kind {
        Kind::Capture => "ics_bill",
        Kind::Refund => "ics_credit",
        Kind::Void
            if payment.captured() == 0 && payment.movements.iter().all(|m| m.kind != Kind::Capture) =>
        {
            "ics_auth_reversal"
        }
        Kind::Void => "ics_void",
        Kind::Authorise | Kind::Challenge | Kind::Decline => "ics_auth",
    };
    let applications = vec![application(name, 100, None)];
    base(payment, &movement.id, code, movement.amount_minor, movement.on, applications)
}

fn application(name: &str, code: u16, reason: Option<&str>) -> Value {
    let is_good = code == 100;
    json!({
        "name": name,
        "reasonCode": code.to_string(),
        "rCode": if is_good { "1" } else { "0" },
        "rFlag": if is_good { "SOK" } else { "DCARDREFUSED" },
        "rMessage": reason.unwrap_or("Request was processed successfully."),
        "returnCode": if is_good { 1_010_000 } else { 1_010_100 },
    })
}

fn base(
    payment: &Payment,
    id: &str,
    code: &str,
    minor: i64,
    on: Timestamp,
    applications: Vec<Value>,
) -> Value {
    json!({
        "id": id,
        "submitTimeUtc": seconds(on),
        "merchantId": CYBERSOURCE_MERCHANT,
        "applicationInformation": { "applications": applications },
        "clientReferenceInformation": { "code": code },
        "orderInformation": { "amountDetails": {
            "totalAmount": short(&decimal(minor, &payment.currency)), "currency": payment.currency,
        } },
        "paymentInformation": { "card": {
            "prefix": payment.card.first6, "suffix": payment.card.last4, "type": card_type(payment),
        } },
    })
}

/// The search writes amounts as numbers are written: `12.4` for 12.40.
fn short(amount: &str) -> &str {
    if amount.contains('.') { amount.trim_end_matches('0').trim_end_matches('.') } else { amount }
}
