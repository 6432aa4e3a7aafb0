//! A key of the phone's keypad, and the report that one was pressed.

use std::fmt;

/// One of the sixteen keys of ITU-T Q.23.
///
/// `Debug` hides which key it is: a key may be a card digit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(u8);

impl Key {
    /// Every key, in the order of the RFC 4733 event codes 0 to 15.
    pub const ALL: &'static [u8; 16] = b"0123456789*#ABCD";

    /// The key for an ASCII character `0-9 * # A-D` (also `a-d`).
    #[must_use]
    pub fn from_ascii(ascii: u8) -> Option<Self> {
        let upper = ascii.to_ascii_uppercase();
        Self::ALL.contains(&upper).then_some(Self(upper))
    }

    /// The key for an RFC 4733 event code (section 3.2); codes over 15 are not keys.
    #[must_use]
    pub fn from_event_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).map(|ascii| Self(*ascii))
    }

    /// The key as ASCII.
    #[must_use]
    pub fn ascii(self) -> u8 {
        self.0
    }

    /// The key's RFC 4733 event code, 0 to 15.
    #[must_use]
    pub fn event_code(self) -> u8 {
        match self.0 {
            digit @ b'0'..=b'9' => digit - b'0',
            b'*' => 10,
            b'#' => 11,
            letter => letter - b'A' + 12,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(•)")
    }
}

/// How a key press came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// RFC 4733 telephone-event packets.
    Event,
    /// Tones in the audio.
    InBand,
    /// A SIP INFO request.
    Info,
}

/// One key press as one carrier reported it. The same press may come on several carriers.
#[derive(Clone, Copy, Debug)]
pub struct KeyReport {
    /// Which key.
    pub key: Key,
    /// How it came.
    pub carrier: Carrier,
    /// When the press began, in milliseconds of the process's monotonic clock.
    pub at_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_codes_and_characters_name_the_same_keys() {
        for code in 0..16 {
            let key = Key::from_event_code(code).unwrap();
            assert_eq!(key.event_code(), code);
            assert!(Key::from_ascii(key.ascii()) == Some(key));
        }
        assert!(Key::from_event_code(16).is_none());
        assert!(Key::from_ascii(b'E').is_none());
    }
}
