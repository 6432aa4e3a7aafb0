//! Suites and master keys.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use std::fmt;

/// A master key and its salt, as SDES writes them one after the other.
pub const MASTER_KEY_BYTES: usize = KEY_BYTES + SALT_BYTES;
const KEY_BYTES: usize = 16;
const SALT_BYTES: usize = 14;

/// How packets are sealed (RFC 4568 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80`: tags of 80 bits.
    Sha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`: tags of 32 bits on RTP, of 80 bits on RTCP.
    Sha1_32,
}

impl Suite {
    pub(super) const RTCP_TAG_BYTES: usize = 10;

    pub(super) fn tag_bytes(self) -> usize {
        match self {
            Self::Sha1_80 => 10,
            Self::Sha1_32 => 4,
        }
    }

    /// As it is written in SDP.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The suite of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sha1_80, Self::Sha1_32].into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }
}

/// A master key with its salt. Not shown by `Debug`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MasterKey([u8; MASTER_KEY_BYTES]);

impl MasterKey {
    /// From the bytes that SDES carries.
    #[must_use]
    pub const fn new(bytes: [u8; MASTER_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes that SDES carries.
    #[must_use]
    pub fn bytes(&self) -> &[u8; MASTER_KEY_BYTES] {
        &self.0
    }

    pub(super) fn parts(self) -> ([u8; KEY_BYTES], [u8; SALT_BYTES]) {
        let (mut key, mut salt) = ([0; KEY_BYTES], [0; SALT_BYTES]);
        key.copy_from_slice(&self.0[..KEY_BYTES]);
        salt.copy_from_slice(&self.0[KEY_BYTES..]);
        (key, salt)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(•)")
    }
}

/// What was agreed for one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// For both directions.
    pub suite: Suite,
    /// We seal with it.
    pub ours: MasterKey,
    /// We open with it.
    pub theirs: MasterKey,
}

/// Makes the master keys of one call out of one secret: every dialog gets its own.
#[derive(Clone)]
pub struct KeySource {
    secret: [u8; 32],
    made: u32,
}

impl KeySource {
    /// `secret` is random and used for nothing else.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        Self { secret, made: 0 }
    }

    /// A key that was not given before.
    pub fn next_key(&mut self) -> MasterKey {
        self.made = self.made.wrapping_add(1);
        let mut bytes = [0; MASTER_KEY_BYTES];
        // Two rounds of 20 bytes, cut to 30: a pseudo-random function in counter mode (NIST SP 800-108).
        for (part, piece) in bytes.chunks_mut(20).enumerate() {
            let mut mac = Hmac::<Sha1>::new_from_slice(&self.secret).expect("HMAC takes a key of any length");
            mac.update(b"srtp master key");
            mac.update(&self.made.to_be_bytes());
            mac.update(&part.to_be_bytes());
            piece.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        }
        MasterKey(bytes)
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySource(•)")
    }
}
