//! AES in counter mode and HMAC-SHA1, with the keys that RFC 3711 section 4.3 derives.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use hmac::{Hmac, Mac as _};
use sha1::Sha1;

use super::MasterKey;

/// Bytes of a block.
const BLOCK: usize = 16;
/// Blocks made at once, which is what processors do side by side.
const BLOCKS: usize = 8;
/// The packet's index stands this far from the end of the counter block: 16 bits count blocks.
const INDEX_SHIFT: u32 = 16;
/// And its SSRC this far.
const SSRC_SHIFT: u32 = 64;
/// Derivation labels stand this far: before a key derivation index of 48 bits, which is always zero here.
const LABEL_SHIFT: u32 = 48 + 16;

/// What one direction of one leg needs.
pub(super) struct Material {
    pub(super) rtp: Session,
    pub(super) rtcp: Session,
}

impl Material {
    pub(super) fn of(master: MasterKey) -> Self {
        Self { rtp: Session::derive(master, 0), rtcp: Session::derive(master, 3) }
    }
}

/// Session keys of RTP or of RTCP.
pub(super) struct Session {
    cipher: Aes128,
    /// In the place it has in the counter block.
    salt: u128,
    mac: Hmac<Sha1>,
}

impl Session {
    /// The keys of this label and the two after it (section 4.3.2).
    fn derive(master: MasterKey, label: u8) -> Self {
        let (key, salt) = master.parts();
        let generator = Aes128::new(&Array::from(key));
        let part = |label: u8, out: &mut [u8]| {
            let counter = placed(salt) ^ u128::from(label) << LABEL_SHIFT;
            apply(&generator, counter, out);
        };
        let (mut key, mut auth, mut salt) = ([0; BLOCK], [0; 20], [0; 14]);
        part(label, &mut key);
        part(label + 1, &mut auth);
        part(label + 2, &mut salt);
        let mac = Hmac::<Sha1>::new_from_slice(&auth).expect("HMAC takes a key of any length");
        Self { cipher: Aes128::new(&Array::from(key)), salt: placed(salt), mac }
    }

    /// Encrypts or decrypts (section 4.1.1).
    pub(super) fn apply(&self, ssrc: u32, index: u64, bytes: &mut [u8]) {
        let counter = self.salt ^ u128::from(ssrc) << SSRC_SHIFT ^ u128::from(index) << INDEX_SHIFT;
        apply(&self.cipher, counter, bytes);
    }

    pub(super) fn sign(&self, parts: &[&[u8]], tag: &mut [u8]) {
        let whole = self.mac_of(parts).finalize().into_bytes();
        tag.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
    }

    /// In constant time.
    pub(super) fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        self.mac_of(parts).verify_truncated_left(tag).is_ok()
    }

    fn mac_of(&self, parts: &[&[u8]]) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

/// A salt of 112 bits, before the 16 that count blocks.
fn placed(salt: [u8; 14]) -> u128 {
    let mut block = [0; BLOCK];
    block[..14].copy_from_slice(&salt);
    u128::from_be_bytes(block)
}

/// The key stream from `counter` on, over the bytes.
fn apply(cipher: &Aes128, mut counter: u128, bytes: &mut [u8]) {
    for piece in bytes.chunks_mut(BLOCK * BLOCKS) {
        let mut blocks = [Array::from([0; BLOCK]); BLOCKS];
        for block in &mut blocks {
            *block = Array::from(counter.to_be_bytes());
            counter = counter.wrapping_add(1);
        }
        let used = piece.len().div_ceil(BLOCK);
        cipher.encrypt_blocks(&mut blocks[..used]);
        piece.iter_mut().zip(blocks.iter().flatten()).for_each(|(byte, key)| *byte ^= key);
    }
}
