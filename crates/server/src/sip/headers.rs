//! Between the stack's headers and our words.

use hushpad_telephony::call::{Refresher, SessionTimer, TimerFields};
use rsipstack::sip::{HasHeaders, Header, HeadersExt};

/// What we answer in `Allow`.
const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, PRACK";
/// Hops of a request that starts here.
const MAX_FORWARDS: u8 = 70;
/// Longest user part we take over; numbers have 15 digits, names seldom 30 letters.
const MAX_USER: usize = 64;

/// Extensions that may be required of us.
const KNOWN: [&str; 3] = ["timer", "100rel", "replaces"];

pub(super) fn allow() -> Header {
    Header::Allow(ALLOW.into())
}

pub(super) fn supported() -> Header {
    Header::Supported("timer, replaces".into())
}

/// The headers of a description we send.
pub(super) fn with_sdp(timer: Option<SessionTimer>) -> Vec<Header> {
    let mut headers = vec![Header::ContentType("application/sdp".into())];
    headers.extend(session(timer));
    headers
}

/// The headers every answer or request about a session carries.
pub(super) fn session(timer: Option<SessionTimer>) -> Vec<Header> {
    let mut headers = vec![allow(), supported()];
    headers.extend(timer.map(|timer| Header::SessionExpires(timer.to_string().into())));
    headers
}

/// RFC 4028 section 9: whoever is to refresh as client must be told that it has to know how.
pub(super) fn with_required_timer(mut fields: Vec<Header>, timer: Option<SessionTimer>) -> Vec<Header> {
    if timer.is_some_and(|timer| timer.refresher == Some(Refresher::Uac)) {
        fields.push(Header::Require("timer".into()));
    }
    fields
}

/// What a message says of session timers.
pub(super) fn timer_fields(message: &impl HasHeaders) -> TimerFields {
    let headers = message.headers();
    let session = headers.iter().find_map(|header| match header {
        Header::SessionExpires(value) => SessionTimer::read(value.value()),
        _ => None,
    });
    let min_se_s = headers.iter().find_map(|header| match header {
        Header::MinSE(value) => value.value().split(';').next()?.trim().parse().ok(),
        _ => None,
    });
    let supported = tokens(message, is_supported_or_require).any(|token| token.eq_ignore_ascii_case("timer"));
    TimerFields { session, min_se_s, supported }
}

/// What the sender requires and we do not know (RFC 3261 section 8.2.2.3).
pub(super) fn unknown_requirements(message: &impl HasHeaders) -> Vec<String> {
    tokens(message, |header| match header {
        Header::Require(value) => Some(value.value()),
        _ => None,
    })
    .filter(|token| !KNOWN.iter().any(|known| token.eq_ignore_ascii_case(known)))
    .map(clean)
    .collect()
}

/// Whether the sender requires this extension.
pub(super) fn requires(message: &impl HasHeaders, extension: &str) -> bool {
    let mut required = tokens(message, |header| match header {
        Header::Require(value) => Some(value.value()),
        _ => None,
    });
    required.any(|token| token.eq_ignore_ascii_case(extension))
}

/// The description in a message, if it holds one.
pub(super) fn sdp_of(message: &impl HasHeaders, body: &[u8]) -> Option<Vec<u8>> {
    let is_sdp = content_type(message).eq_ignore_ascii_case("application/sdp");
    (is_sdp && !body.is_empty()).then(|| body.to_vec())
}

/// The Content-Type without its parameters.
pub(super) fn content_type(message: &impl HasHeaders) -> &str {
    let value = message.headers().iter().find_map(|header| match header {
        Header::ContentType(value) => Some(value.value()),
        _ => None,
    });
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

/// How many hops a request may still take (RFC 3261 section 8.1.1.6; 70 where it does not say).
pub(super) fn max_forwards(message: &impl HasHeaders) -> u8 {
    let value = message.headers().iter().find_map(|header| match header {
        Header::MaxForwards(value) => value.value().trim().parse().ok(),
        _ => None,
    });
    value.unwrap_or(MAX_FORWARDS).min(MAX_FORWARDS)
}

/// The sequence number of a message.
pub(super) fn sequence(message: &impl HeadersExt) -> Option<u32> {
    message.cseq_header().ok()?.seq().ok()
}

/// What of a user part or name may go on to the other side or into a log.
pub(super) fn clean(text: &str) -> String {
    // The one character of ours that some write escaped (link codes begin with it).
    let text = text.replace("%2A", "*").replace("%2a", "*");
    text.chars().filter(|c| c.is_ascii_alphanumeric() || "+*#-_.".contains(*c)).take(MAX_USER).collect()
}

fn is_supported_or_require(header: &Header) -> Option<&str> {
    match header {
        Header::Supported(value) => Some(value.value()),
        Header::Require(value) => Some(value.value()),
        _ => None,
    }
}

fn tokens<'a, M: HasHeaders>(
    message: &'a M,
    value: impl Fn(&'a Header) -> Option<&'a str> + 'a,
) -> impl Iterator<Item = &'a str> + 'a {
    let values = message.headers().iter().filter_map(value);
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}
