//! The bank's own page (an access control server, ACS, in the words of EMV 3-D Secure): a person confirms or refuses. It
//! works without scripts and asks for no password: no money moves here.
//!
//! Stripe charges as soon as the payer has confirmed; Adyen and the generic gateway only when the merchant goes on.

use std::fmt::Write as _;

use super::adyen::payments::redirect_result;
use super::format::Format;
use super::generic;
use super::http::{Ask, Reply};
use super::ledger::Ledger;
use super::ledger::payment::{Payment, Said};
use super::ledger::summary::decimal;
use super::page::escaped;
use super::turn::{Stop, Turn};

/// Where the payer of this payment is sent.
pub(super) fn url(turn: &Turn<'_>, payment: &Payment) -> String {
    format!("{}/acs/{}", turn.home(), payment.id)
}

pub(super) fn is_path(path: &str) -> bool {
    path.starts_with("/acs/")
}

/// The page, or the way back after a button of it.
pub(super) fn answer(ledger: &Ledger, ask: &Ask) -> Reply {
    let id = ask.path.strip_prefix("/acs/").unwrap_or_default();
    let now = ledger.now();
    let said = ledger.with(|books| {
        let mut turn = Turn { books, ask, now, fault: None };
        let Some(payment) = turn.books.payment(id).filter(|payment| payment.visit.is_some()).cloned() else {
            return Ok(page(404, "There is nothing to confirm here", "", None));
        };
        match ask.form().get("decision").map(String::as_str).filter(|_| ask.is_post()) {
            Some("confirm") => decide(&mut turn, payment, Said::Confirmed),
            Some("refuse") => decide(&mut turn, payment, Said::Refused),
            Some(_) => Ok(page(400, "There is no such button", "", None)),
            None if is_waiting(&turn, &payment) => Ok(ask_payer(&payment)),
            None => Ok(page(410, "This is over", "You have answered, or it took too long.", Some(&payment))),
        }
    });
    ledger.changed();
    said.unwrap_or_else(|_: Stop| page(503, "The ledger cannot be written", "", None))
}

/// Whether the payer can still say something.
fn is_waiting(turn: &Turn<'_>, payment: &Payment) -> bool {
    let is_open = match payment.format {
        Format::Stripe => {
            let intent = payment.kept.get("intent").and_then(|id| turn.books.intent(id));
            intent.is_some_and(|intent| intent.waits_for_payer(turn))
        }
        _ => true,
    };
    is_open && payment.said() == Some(Said::Nothing)
}

/// The first word counts; a second one leads back all the same.
fn decide(turn: &mut Turn<'_>, mut payment: Payment, said: Said) -> Result<Reply, Stop> {
    if is_waiting(turn, &payment)
        && let Some(visit) = &mut payment.visit
    {
        visit.said = said;
        let taking = visit.taking;
        match (said, payment.format) {
            (Said::Confirmed, Format::Stripe) => turn.confirmed(&mut payment, taking)?,
            (Said::Refused, _) => payment.refused_at_the_bank(turn.now),
            _ => {}
        }
        turn.save(payment.clone())?;
    }
    let back = way_back(&payment);
    Ok(page(303, "Back to the merchant", "", None).with("location", back))
}

fn way_back(payment: &Payment) -> String {
    let url = payment.visit.as_ref().map(|visit| visit.return_url.as_str()).unwrap_or_default();
    let confirmed = payment.said() == Some(Said::Confirmed);
    let pairs = match payment.format {
        Format::Stripe => {
            let intent = payment.kept.get("intent").cloned().unwrap_or_default();
            let status = if confirmed { "succeeded" } else { "failed" };
            vec![
                ("payment_intent_client_secret", format!("{intent}_secret_sandbox")),
                ("payment_intent", intent),
                ("redirect_status", status.to_owned()),
            ]
        }
        Format::Adyen => vec![("redirectResult", redirect_result(payment))],
        _ => vec![("challenge_id", generic::challenge_id(payment))],
    };
    let query = serde_urlencoded::to_string(pairs).unwrap_or_default();
    let join = if url.contains('?') { '&' } else { '?' };
    format!("{url}{join}{query}")
}

fn ask_payer(payment: &Payment) -> Reply {
    let amount = decimal(payment.amount_minor, &payment.currency);
    let text = format!("{amount} {} with the card ending in {}.", payment.currency, payment.card.last4);
    page(200, "Your bank: is this you?", &text, Some(payment))
}

/// A page of the bank. With a payment that waits, its two buttons.
fn page(status: u16, title: &str, text: &str, payment: Option<&Payment>) -> Reply {
    let mut html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>\
         <meta name=viewport content='width=device-width'><main><h1>{title}</h1><p>{}</p>",
        escaped(text)
    );
    if let Some(payment) = payment.filter(|_| status == 200) {
        // Writing to a string does not fail.
        let _ = write!(
            html,
            "<form method=post action='/acs/{}'><button name=decision value=confirm>Confirm</button> \
             <button name=decision value=refuse>Refuse</button></form>",
            escaped(&payment.id)
        );
    }
    html.push_str("<p>This bank belongs to the gateway simulator. No money moves here.</p></main></html>");
    Reply::text(status, "text/html; charset=utf-8", html)
        .with("content-security-policy", POLICY)
        .with("x-content-type-options", "nosniff")
        .with("referrer-policy", "no-referrer")
        .with("cache-control", "no-store")
}

/// Nothing is loaded. Where a form leads is left open: browsers hold that against the way back to the merchant too.
const POLICY: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'";
