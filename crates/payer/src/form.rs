//! How a card is read from the form's body.
//!
//! The body stays in the one buffer that it was read into, which is wiped. No string is made of a field.

use axum::body::Body;
use hushpad_domain::field::Field;
use zeroize::Zeroizing;

use crate::body::{BadBody, read_wiped};

/// Three fields, a round and their names: a tenth of it.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// A form's body, `application/x-www-form-urlencoded`, decoded in place and wiped when dropped.
pub(crate) struct FormBody {
    bytes: Zeroizing<Vec<u8>>,
    /// Name and value of each member, as ranges of `bytes`.
    members: Vec<(std::ops::Range<usize>, std::ops::Range<usize>)>,
}

impl FormBody {
    /// Reads a whole body.
    pub(crate) async fn read(body: Body) -> Result<Self, BadBody> {
        read_wiped(body, BODY_BYTES_MAX).await.map(Self::decode)
    }

    /// The same of a URL's query.
    pub(crate) fn of_query(query: &str) -> Self {
        Self::decode(Zeroizing::new(query.as_bytes().to_vec()))
    }

    /// What was written into a field; empty when it is not there. The first one counts.
    pub(crate) fn value(&self, name: &str) -> &[u8] {
        let found = self.members.iter().find(|(named, _)| self.bytes[named.clone()] == *name.as_bytes());
        found.map_or(&[], |(_, value)| &self.bytes[value.clone()])
    }

    /// The number in a field.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        std::str::from_utf8(self.value(name)).ok()?.parse().ok()
    }

    /// What was written into the field for a card field.
    pub(crate) fn value_of(&self, field: Field) -> &[u8] {
        self.value(field.name())
    }

    fn decode(mut bytes: Zeroizing<Vec<u8>>) -> Self {
        let mut members = Vec::new();
        let mut start = 0;
        while start <= bytes.len() {
            let end =
                bytes[start..].iter().position(|byte| *byte == b'&').map_or(bytes.len(), |at| start + at);
            let equals = bytes[start..end].iter().position(|byte| *byte == b'=').map_or(end, |at| start + at);
            let name = start..percent_decode(&mut bytes[start..equals]) + start;
            let value_start = (equals + 1).min(end);
            let value = value_start..percent_decode(&mut bytes[value_start..end]) + value_start;
            members.push((name, value));
            start = end + 1;
        }
        Self { bytes, members }
    }
}

/// Decodes in place; gives the new length. A broken escape stays as it is written.
fn percent_decode(bytes: &mut [u8]) -> usize {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut from, mut to) = (0, 0);
    while let Some(byte) = bytes.get(from).copied() {
        let escape = (byte == b'%').then(|| {
            let (high, low) = (bytes.get(from + 1).copied()?, bytes.get(from + 2).copied()?);
            Some(hex(high)? << 4 | hex(low)?)
        });
        let (decoded, taken) = match (byte, escape.flatten()) {
            (_, Some(decoded)) => (decoded, 3),
            (b'+', None) => (b' ', 1),
            (other, None) => (other, 1),
        };
        bytes[to] = decoded;
        from += taken;
        to += 1;
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> FormBody {
        FormBody::decode(Zeroizing::new(text.as_bytes().to_vec()))
    }

    #[test]
    fn a_form_is_read_as_browsers_write_it() {
        let form = form("round=7&card_number=4111+1111%201111-1111&expiry=12%2F30&security_code=123");
        assert_eq!(form.number("round"), Some(7));
        assert!(form.value_of(Field::CardNumber) == b"4111 1111 1111-1111");
        assert!(form.value_of(Field::Expiry) == b"12/30");
        assert!(form.value_of(Field::SecurityCode) == b"123");
        assert!(form.value("other").is_empty());
    }

    #[test]
    fn broken_forms_are_read_without_harm() {
        for text in ["", "&", "=", "&&=&", "%", "a=%", "a=%4", "a=%zz", "round", "round=", "=7", "a=b=c"] {
            let form = form(text);
            assert_eq!(form.number("round"), None, "{text}");
            assert!(form.value_of(Field::Expiry).is_empty(), "{text}");
        }
        assert!(form("a=%zz").value("a") == b"%zz");
        assert!(form("a=b=c").value("a") == b"b=c");
        assert!(form("a=1&a=2").value("a") == b"1");
    }

    #[tokio::test]
    async fn a_body_has_a_limit() {
        let read = FormBody::read(Body::from(vec![b'4'; BODY_BYTES_MAX + 1])).await;
        assert_eq!(read.err(), Some(BadBody::TooLarge));
        assert!(FormBody::read(Body::from(vec![b'4'; BODY_BYTES_MAX])).await.is_ok());
    }
}
