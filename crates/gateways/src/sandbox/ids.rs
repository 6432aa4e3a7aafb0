//! Ids that a gateway makes up. They are functions of their seed, so that a run can be repeated, and but for
//! CyberSource's they hold letters only, so that none looks like a card number.

use ring::digest;

const LETTERS: &[u8; 16] = b"BCDFGHJKLMNPQRST";

/// Capital letters that follow from a seed; at most 64.
pub(super) fn capitals(seed: &str, length: usize) -> String {
    let hash = digest::digest(&digest::SHA256, seed.as_bytes());
    let halves = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.take(length).map(|half| char::from(LETTERS[usize::from(half)])).collect()
}

/// The same in small letters.
pub(super) fn smalls(seed: &str, length: usize) -> String {
    capitals(seed, length).to_ascii_lowercase()
}

/// 22 digits, as CyberSource numbers its requests: too many for a card number.
pub(super) fn request_number(serial: u64) -> String {
    format!("7{serial:021}")
}
