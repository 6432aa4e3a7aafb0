//! Payment links: the payer page's listener, what sessions a configuration is for, and who is paid.

use std::time::Duration;

use hushpad_domain::account::Kind;
use hushpad_domain::link::LINK_LIFE_MAX;
use hushpad_domain::text::holds_card_number;

use super::check::{Mistakes, listener};
use super::{HttpListener, raw};

/// A name that fits on a phone's screen and into a text message.
const PAYEE_CHARS_MAX: usize = 60;

/// The payer page, if there is one. It takes cards, so it shares its origin with nothing: what runs on another page of
/// the same origin could read them.
pub(super) fn payer(mistakes: &mut Mistakes, raw: &raw::Raw) -> Option<HttpListener> {
    let payer = raw.payer.as_ref()?;
    let payer = listener(mistakes, "payer", payer.listen, &payer.public_url);
    let certificates = raw.api.certificates.as_ref().map(|other| ("api.certificates", &other.public_url));
    let others = [("api", &raw.api.public_url), ("page", &raw.page.public_url)];
    for (name, other) in others.into_iter().chain(certificates) {
        if *other == payer.public_url {
            mistakes.add("payer.public_url", format!("must be another origin than {name}.public_url"));
        }
    }
    if !payer.public_url.starts_with("https://") && !raw.test_mode {
        mistakes.add(
            "payer.public_url",
            "must be https: cards are typed there (http only with test_mode = true)",
        );
    }
    Some(payer)
}

/// What sessions a configuration is for.
pub(super) fn kind(
    mistakes: &mut Mistakes,
    path: &str,
    raw: &raw::Configuration,
    has_payer_page: bool,
) -> Kind {
    if raw.kind == raw::Kind::Digital && !has_payer_page {
        mistakes.add(&format!("{path}.kind"), "needs [payer]: digital sessions are paid on the payer page");
    }
    match raw.kind {
        raw::Kind::AgentAssist => Kind::AgentAssist,
        raw::Kind::Digital => Kind::Digital,
    }
}

/// How long a link lives.
pub(super) fn link_life(mistakes: &mut Mistakes, path: &str, hours: u64) -> Duration {
    let life = Duration::from_secs(hours.saturating_mul(3600));
    if life.is_zero() || life > LINK_LIFE_MAX {
        let most = LINK_LIFE_MAX.as_secs() / 3600;
        mistakes.add(&format!("{path}.link_life_h"), format!("must be from 1 to {most}"));
    }
    life
}

/// Who gets the money, as payers know them.
pub(super) fn payee(mistakes: &mut Mistakes, path: &str, raw: &raw::Account) -> String {
    let payee = raw.payee.as_ref().unwrap_or(&raw.id);
    let good = (1..=PAYEE_CHARS_MAX).contains(&payee.chars().count())
        && !payee.chars().any(char::is_control)
        && !holds_card_number(payee);
    if !good {
        mistakes.add(
            &format!("{path}.payee"),
            format!("must be a name of 1 to {PAYEE_CHARS_MAX} characters: payers see it"),
        );
    }
    payee.clone()
}
