//! Text on the wire: what goes out of an attempt, and what may be kept of a reply.

use http::HeaderValue;
use hushpad_domain::text::holds_card_number;
use uuid::Uuid;

/// Longer ids and messages are cut: they are shown and stored.
const TEXT_CHARS_MAX: usize = 200;

/// The namespace of our idempotency keys. Any fixed one will do.
const KEY_NAMESPACE: Uuid = Uuid::from_u128(0x6ac2_7f4e_0b65_4a0f_9d8e_31c5_5e20_77b1);

/// The key of one step of an attempt or an operation: stable over restarts, new for every id. 36 characters.
pub(crate) fn idempotency_key(id: Uuid, step: &str) -> HeaderValue {
    let key = derived(id, step);
    HeaderValue::try_from(key.to_string()).unwrap_or(HeaderValue::from_static(""))
}

/// An id that follows from another and a purpose.
pub(crate) fn derived(id: Uuid, purpose: &str) -> Uuid {
    let mut name = id.as_bytes().to_vec();
    name.extend_from_slice(purpose.as_bytes());
    Uuid::new_v5(&KEY_NAMESPACE, &name)
}

/// A header that is never printed; `None` when it cannot be one.
pub(crate) fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Digits as text; they are ASCII.
pub(crate) fn digits_as_text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or_default()
}

/// An id that may be shown and stored: visible ASCII, not too long, and no card number.
pub(crate) fn safe_id(id: &str) -> String {
    if holds_card_number(id) {
        return String::new();
    }
    id.chars().filter(char::is_ascii_graphic).take(TEXT_CHARS_MAX).collect()
}

/// A message that may be shown and stored: three digits in a row could be a security code.
pub(crate) fn safe_message(message: &str) -> String {
    let is_digit = |character: char| character.is_numeric();
    let mut safe = String::new();
    let mut rest = message;
    while let Some(start) = rest.find(is_digit) {
        let (before, run) = rest.split_at(start);
        let end = run.find(|character| !is_digit(character)).unwrap_or(run.len());
        let (run, after) = run.split_at(end);
        safe.push_str(before);
        safe.push_str(if run.chars().count() < 3 { run } else { "***" });
        rest = after;
    }
    safe.push_str(rest);
    safe.chars().filter(|character| !character.is_control()).take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_no_run_of_digits() {
        assert_eq!(safe_message("code 123 of 4111 1111, try 2 more\u{0}"), "code *** of *** ***, try 2 more");
        assert_eq!(safe_id("ch 4111-1111-1111-1111"), "");
    }
}
