//! Keys in INFO bodies: `application/dtmf-relay` and `application/dtmf` (RFC 6086 section 1.1 names them
//! legacy use; they have no RFC of their own).

use std::fmt;

use thiserror::Error;

use crate::key::Key;

/// Longest body read. The usual one is `Signal=5` and `Duration=160`: 24 bytes.
const MAX_BODY: usize = 128;
/// The event codes of the sixteen keys, as some phones write them: 10 is `*`, 11 is `#`.
const MAX_EVENT_CODE: u8 = 15;
/// Longest duration passed on, in milliseconds (RFC 4733 allows 8 s in one event at 8 kHz).
const MAX_DURATION_MS: u16 = 8000;
/// What we write when no duration was given, in milliseconds.
const DEFAULT_DURATION_MS: u16 = 160;

/// The content of a key's INFO.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Dtmf {
    /// Which key; nothing for a signal that is none, such as a hook flash.
    pub key: Option<Key>,
    /// How long it was pressed, in milliseconds.
    pub duration_ms: u16,
}

/// The body is no key in the form its type promises. It does not say what was there.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the INFO body is not a key")]
pub struct MalformedDtmf;

impl fmt::Debug for Dtmf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dtmf(•)")
    }
}

impl Dtmf {
    /// Reads a body of the given Content-Type; nothing if the type is not one of keys.
    ///
    /// # Errors
    /// [`MalformedDtmf`] for a body that does not hold one signal.
    pub fn read(content_type: &str, body: &[u8]) -> Option<Result<Self, MalformedDtmf>> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/dtmf-relay") {
            Some(read_relay(body))
        } else if kind.eq_ignore_ascii_case("application/dtmf") {
            Some(read_plain(body))
        } else {
            None
        }
    }

    /// Writes the body of an `application/dtmf-relay` INFO; nothing for a signal that is no key.
    #[must_use]
    pub fn write_relay(self) -> Option<Vec<u8>> {
        let signal = char::from(self.key?.ascii());
        Some(format!("Signal={signal}\r\nDuration={}\r\n", self.duration_ms).into_bytes())
    }
}

fn text(body: &[u8]) -> Result<&str, MalformedDtmf> {
    if body.len() > MAX_BODY {
        return Err(MalformedDtmf);
    }
    std::str::from_utf8(body).map_err(|_| MalformedDtmf)
}

fn read_relay(body: &[u8]) -> Result<Dtmf, MalformedDtmf> {
    let mut found: Option<Option<Key>> = None;
    let mut duration_ms = DEFAULT_DURATION_MS;
    for line in text(body)?.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("signal") {
            // Two signals in one body are no key press we know.
            if found.replace(signal(value.trim())?).is_some() {
                return Err(MalformedDtmf);
            }
        } else if name.trim().eq_ignore_ascii_case("duration") {
            duration_ms = value.trim().parse().unwrap_or(DEFAULT_DURATION_MS).min(MAX_DURATION_MS);
        }
    }
    Ok(Dtmf { key: found.ok_or(MalformedDtmf)?, duration_ms })
}

fn read_plain(body: &[u8]) -> Result<Dtmf, MalformedDtmf> {
    Ok(Dtmf { key: signal(text(body)?.trim())?, duration_ms: DEFAULT_DURATION_MS })
}

fn signal(text: &str) -> Result<Option<Key>, MalformedDtmf> {
    if let [one] = text.as_bytes() {
        // `!` is a hook flash.
        return if *one == b'!' { Ok(None) } else { Key::from_ascii(*one).map(Some).ok_or(MalformedDtmf) };
    }
    match text.parse::<u8>() {
        Ok(code @ 10..=MAX_EVENT_CODE) if text.len() == 2 => Ok(Key::from_event_code(code)),
        Ok(16) => Ok(None),
        _ => Err(MalformedDtmf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(content_type: &str, body: &[u8]) -> Option<char> {
        let read = Dtmf::read(content_type, body).unwrap().unwrap();
        read.key.map(|key| char::from(key.ascii()))
    }

    #[test]
    fn keys_are_read_as_phones_write_them() {
        let relay = "application/dtmf-relay";
        assert_eq!(key(relay, b"Signal=5\r\nDuration=160\r\n"), Some('5'));
        assert_eq!(key(relay, b"Signal= *\nDuration= 250"), Some('*'));
        assert_eq!(key(relay, b"duration=90\r\nsignal=11"), Some('#'));
        assert_eq!(key("Application/DTMF-Relay; charset=utf-8", b"Signal=a"), Some('A'));
        assert_eq!(key("application/dtmf", b"7"), Some('7'));
        assert_eq!(key("application/dtmf", b"10\r\n"), Some('*'));
        assert_eq!(key(relay, b"Signal=16\r\n"), None);
    }

    #[test]
    fn what_is_no_single_key_is_malformed() {
        let relay = "application/dtmf-relay";
        let long = [b'1'; MAX_BODY + 1];
        let bodies: [&[u8]; 8] = [
            b"",
            b"Signal=",
            b"Signal=55",
            b"Signal=5\r\nSignal=6",
            b"Signal=x",
            b"5",
            b"Signal=\xff",
            &long,
        ];
        for body in bodies {
            assert_eq!(Dtmf::read(relay, body), Some(Err(MalformedDtmf)), "{body:?}");
        }
        assert_eq!(Dtmf::read("text/plain", b"5"), None);
    }

    #[test]
    fn a_key_is_written_anew_and_its_length_is_bounded() {
        let read =
            Dtmf::read("application/dtmf-relay", b"X=inner\r\nSignal=d\r\nDuration=60000").unwrap().unwrap();
        assert_eq!(read.write_relay().unwrap(), b"Signal=D\r\nDuration=8000\r\n");
        assert_eq!(format!("{read:?}"), "Dtmf(•)");
    }
}
