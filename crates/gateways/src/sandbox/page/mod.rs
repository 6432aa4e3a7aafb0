//! The ledger as a page that follows it. It shows first six and last four digits, never more.

use std::fmt::Write as _;
use std::time::Duration;

use ::http::{HeaderValue, Response, header};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::http::{Content, Reply};
use super::ledger::{Charge, Decision, Ledger};

/// More rows than a person looks through; the JSON has all.
const ROWS_MAX: usize = 500;

/// Changes are shown at most this often.
const PACE: Duration = Duration::from_millis(200);

/// Everything from here and nothing inline; no other page may show it in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn page(ledger: &Ledger) -> Reply {
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Ledger of the gateway simulator</title>\
         <meta name=viewport content='width=device-width'><link rel=stylesheet href=/ledger/page.css>\
         <script type=module src=/ledger/page.js></script>\
         <noscript><meta http-equiv=refresh content=3></noscript>\
         <h1>Ledger of the gateway simulator</h1>\
         <p>No money moves here. <span id=state role=status>as of now</span>. A reference that was charged more than once is marked.</p>\
         <div class=wide><table><thead><tr><th scope=col>Reference<th scope=col>Gateway<th scope=col>Card<th scope=col>Decision\
         <th scope=col class=sum>Asked<th scope=col class=sum>Charged<th scope=col class=sum>Amount\
         <th scope=col class=sum>Authorised<th scope=col class=sum>Captured<th scope=col class=sum>Refunded\
         <th scope=col class=sum>Voided<th scope=col class=sum>Stands</thead><tbody>{}</tbody></table></div></html>",
        rows(&ledger.charges())
    );
    guarded(Reply::text(200, "text/html; charset=utf-8", html))
}

pub(super) fn asset(name: &str) -> Option<Reply> {
    Some(guarded(match name {
        "page.css" => Reply::text(200, "text/css", include_str!("page.css")),
        "page.js" => Reply::text(200, "text/javascript", include_str!("page.js")),
        _ => return None,
    }))
}

fn guarded(reply: Reply) -> Reply {
    reply
        .with("content-security-policy", POLICY)
        .with("x-content-type-options", "nosniff")
        .with("referrer-policy", "no-referrer")
        .with("cache-control", "no-store")
}

/// The rows again whenever the ledger changes (HTML, section 9.2: server-sent events).
pub(super) fn events(ledger: &Ledger) -> Response<Content> {
    // One waits while the one before is written.
    let (sender, receiver) = mpsc::channel(1);
    let ledger = ledger.clone();
    tokio::spawn(async move {
        let mut changes = ledger.changes();
        loop {
            changes.mark_unchanged();
            let event = format!("data: {}\n\n", rows(&ledger.charges()));
            if sender.send(Bytes::from(event)).await.is_err() || changes.changed().await.is_err() {
                return;
            }
            tokio::time::sleep(PACE).await;
        }
    });
    let mut response = Response::new(Content::Live(receiver));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// On one line, as an event's data must be.
fn rows(charges: &[Charge]) -> String {
    let mut html = String::new();
    let mut latest: Vec<&Charge> = charges.iter().collect();
    latest.sort_by(|one, other| when(other).cmp(when(one)));
    for charge in latest.iter().take(ROWS_MAX) {
        // Writing to a string does not fail.
        let _ = row(&mut html, charge);
    }
    html
}

fn when(charge: &Charge) -> &str {
    charge.history.last().map(|step| step.on.as_str()).unwrap_or_default()
}

fn row(html: &mut String, charge: &Charge) -> std::fmt::Result {
    let (word, id) = match &charge.decision {
        Decision::ChargeId(id) => ("approved", id.as_str()),
        Decision::ErrorCode(code) => (code.as_str(), ""),
    };
    let mark = if charge.charged > 1 { " class=twice" } else { "" };
    let reference = escaped(&charge.transaction_id);
    write!(
        html,
        "<tr{mark}><td class=ref>{reference}<td>{}<td class=card>{}&hellip;{}<td><details id='d-{reference}'><summary>{}</summary>{}<ol>",
        charge.gateway.name(),
        escaped(&charge.card_first6),
        escaped(&charge.card_last4),
        escaped(word),
        escaped(id),
    )?;
    for step in &charge.history {
        let kind = format!("{:?}", step.kind).to_lowercase();
        let text = format!("{kind} {} on {}", step.amount, step.on);
        if step.undone { write!(html, "<li><s>{text}</s>")? } else { write!(html, "<li>{text}")? }
    }
    write!(html, "</ol></details><td class=sum>{}<td class=sum>{}", charge.requests, charge.charged)?;
    write!(html, "<td class=sum>{} {}", charge.amount, escaped(&charge.currency_code))?;
    for sum in [&charge.authorised, &charge.captured, &charge.refunded, &charge.voided, &charge.stands] {
        let is_zero = sum.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        let mark = if is_zero { " zero" } else { "" };
        write!(html, "<td class='sum{mark}'>{sum}")?;
    }
    Ok(())
}

/// References are the client's: they may hold anything.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\r' => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::format::Format;

    #[test]
    fn what_a_client_named_is_text_and_stays_on_one_line() {
        let zero = || "0.00".to_owned();
        let charge = Charge {
            transaction_id: "<script>'x'\n&".to_owned(),
            gateway: Format::Generic,
            requests: 2,
            charged: 2,
            decision: Decision::ChargeId("ch_1".to_owned()),
            amount: "12.40".to_owned(),
            currency_code: "GBP".to_owned(),
            card_first6: "411111".to_owned(),
            card_last4: "1111".to_owned(),
            authorised: "24.80".to_owned(),
            captured: zero(),
            refunded: zero(),
            voided: zero(),
            stands: "24.80".to_owned(),
            history: Vec::new(),
        };
        let html = rows(&[charge]);
        assert!(html.contains("&lt;script&gt;&#39;x&#39; &amp;") && !html.contains("<script"), "{html}");
        assert!(!html.contains('\n') && html.contains("<tr class=twice>"));
    }
}
