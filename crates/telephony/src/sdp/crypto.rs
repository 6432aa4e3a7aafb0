//! `a=crypto` lines (RFC 4568).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sdp_types::Media;

use crate::srtp::{MASTER_KEY_BYTES, MasterKey, Suite};

/// Most lines read of one media line; phones offer two to eight.
const MAX_CRYPTO: usize = 16;
/// A tag has at most nine digits (section 9.1).
const MAX_TAG: u32 = 999_999_999;

/// What we want of SRTP on one leg, and the key that we seal with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Srtp {
    /// Plain RTP only; a far end that insists is refused.
    Off,
    /// Taken when the far end has it.
    Optional(MasterKey),
    /// Nothing else is taken.
    Required(MasterKey),
}

impl Srtp {
    /// The key, where there is one.
    #[must_use]
    pub fn key(self) -> Option<MasterKey> {
        match self {
            Self::Off => None,
            Self::Optional(key) | Self::Required(key) => Some(key),
        }
    }
}

/// One line that we can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CryptoLine {
    pub(super) tag: u32,
    pub(super) suite: Suite,
    pub(super) key: MasterKey,
}

/// The lines we can use, in their order. One with a parameter that we do not know must not be taken (section
/// 6.3), nor one with a key identifier, which changes the packets.
pub(super) fn lines(media: &Media) -> Vec<CryptoLine> {
    let values = media.attributes.iter().filter(|a| a.attribute == "crypto");
    values.take(MAX_CRYPTO).filter_map(|a| read(a.value.as_deref()?)).collect()
}

fn read(value: &str) -> Option<CryptoLine> {
    let mut words = value.split_ascii_whitespace();
    let tag = words.next()?.parse().ok().filter(|tag| *tag <= MAX_TAG)?;
    let suite = Suite::from_name(words.next()?)?;
    let key = words.next()?;
    // The size of a window is the writer's business.
    if words.any(|parameter| !parameter.starts_with("WSH=")) {
        return None;
    }
    let mut parts = key.strip_prefix("inline:")?.split('|');
    let bytes: [u8; MASTER_KEY_BYTES] = BASE64_STANDARD.decode(parts.next()?).ok()?.try_into().ok()?;
    // A lifetime is no less than any call's; what has a colon is a key identifier.
    parts.all(|part| !part.contains(':')).then_some(CryptoLine { tag, suite, key: MasterKey::new(bytes) })
}

pub(super) fn write(text: &mut String, tag: u32, suite: Suite, key: MasterKey) {
    // Writing to a `String` cannot fail.
    let _ =
        write!(text, "a=crypto:{tag} {} inline:{}\r\n", suite.name(), BASE64_STANDARD.encode(key.bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn lines_are_read_as_rfc_4568_writes_them() {
        let good = |text: &str| read(text).map(|line| (line.tag, line.suite));
        assert_eq!(good(&format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}")), Some((1, Suite::Sha1_80)));
        assert_eq!(good(&format!("7 AES_CM_128_HMAC_SHA1_32 {KEY}|2^20 WSH=64")), Some((7, Suite::Sha1_32)));
    }

    #[test]
    fn what_we_cannot_do_is_not_taken() {
        for text in [
            "",
            "1 AES_CM_128_HMAC_SHA1_80",
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19z",
            "1 AES_CM_128_HMAC_SHA1_80 inline:!!!",
            &format!("x AES_CM_128_HMAC_SHA1_80 {KEY}"),
            &format!("1 F8_128_HMAC_SHA1_80 {KEY}"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}|2^20|1:4"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY} UNENCRYPTED_SRTP"),
            &format!("1 AES_CM_128_HMAC_SHA1_80 {KEY};{KEY}"),
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
