//! G.711 µ-law and A-law (ITU-T G.711): one byte per sample at 8 kHz.
//!
//! Decoding and transcoding are look-ups in tables that the compiler builds; encoding is a handful of
//! integer operations. Every byte is a valid sample in both laws, so nothing here can fail.

/// Which companding law a G.711 stream uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law: RTP payload type 0, PCMU.
    Mu,
    /// A-law: RTP payload type 8, PCMA.
    A,
}

impl Law {
    /// The byte that decodes to silence: 0xFF in µ-law, 0xD5 in A-law.
    #[must_use]
    pub fn silence(self) -> u8 {
        match self {
            Self::Mu => 0xFF,
            Self::A => 0xD5,
        }
    }

    /// One byte as a linear 16-bit sample.
    #[must_use]
    #[inline]
    pub fn decode(self, byte: u8) -> i16 {
        self.table()[usize::from(byte)]
    }

    /// The nearest byte to a linear 16-bit sample; louder samples than the law can carry are clipped.
    #[must_use]
    #[inline]
    pub fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Mu => encode_mu(sample),
            Self::A => encode_a(sample),
        }
    }

    /// The linear value of each of the 256 bytes.
    #[must_use]
    #[inline]
    pub fn table(self) -> &'static [i16; 256] {
        match self {
            Self::Mu => &MU_TO_LINEAR,
            Self::A => &A_TO_LINEAR,
        }
    }

    /// The table that turns bytes of this law into bytes of `other`, by way of linear samples.
    ///
    /// The same law gives the identity, so a relay can use it without asking.
    #[must_use]
    #[inline]
    pub fn to(self, other: Self) -> &'static [u8; 256] {
        match (self, other) {
            (Self::Mu, Self::A) => &MU_TO_A,
            (Self::A, Self::Mu) => &A_TO_MU,
            (Self::Mu, Self::Mu) | (Self::A, Self::A) => &SAME,
        }
    }
}

static MU_TO_LINEAR: [i16; 256] = linear_table(true);
static A_TO_LINEAR: [i16; 256] = linear_table(false);
static MU_TO_A: [u8; 256] = transcode_table(true);
static A_TO_MU: [u8; 256] = transcode_table(false);
static SAME: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = byte as u8;
        byte += 1;
    }
    table
};

const fn linear_table(mu: bool) -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if mu { decode_mu(byte as u8) } else { decode_a(byte as u8) };
        byte += 1;
    }
    table
}

const fn transcode_table(from_mu: bool) -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = if from_mu { encode_a(decode_mu(byte as u8)) } else { encode_mu(decode_a(byte as u8)) };
        byte += 1;
    }
    table
}

/// The bias that makes µ-law's segments powers of two, in 16-bit units.
const MU_BIAS: i32 = 132;

const fn decode_mu(byte: u8) -> i16 {
    let bits = !byte;
    let magnitude = ((((bits & 15) as i32) * 8 + MU_BIAS) << ((bits >> 4) & 7)) - MU_BIAS;
    if bits & 0x80 != 0 { -magnitude as i16 } else { magnitude as i16 }
}

const fn encode_mu(sample: i16) -> u8 {
    // 32635 is the largest magnitude whose biased value stays in 15 bits.
    let mut magnitude = (sample as i32).abs();
    if magnitude > 32_635 {
        magnitude = 32_635;
    }
    let biased = magnitude + MU_BIAS;
    let segment = 24 - biased.leading_zeros() as i32;
    let quantum = (biased >> (segment + 3)) & 15;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(sign | ((segment as u8) << 4) | quantum as u8)
}

const fn decode_a(byte: u8) -> i16 {
    let bits = byte ^ 0x55;
    let segment = (bits >> 4) & 7;
    let quantum = ((bits & 15) as i32) << 4;
    let magnitude = if segment == 0 { quantum + 8 } else { (quantum + 0x108) << (segment - 1) };
    if bits & 0x80 != 0 { magnitude as i16 } else { -magnitude as i16 }
}

const fn encode_a(sample: i16) -> u8 {
    // A-law has no zero: negative samples are mirrored around −½ (one's complement), as in G.711.
    let (sign, magnitude) = if sample >= 0 { (0x80, sample as i32) } else { (0, !(sample as i32)) };
    let segment = if magnitude < 256 { 0 } else { 24 - magnitude.leading_zeros() as i32 };
    let shift = if segment == 0 { 4 } else { segment + 3 };
    (sign | ((segment as u8) << 4) | ((magnitude >> shift) & 15) as u8) ^ 0x55
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_decoding_and_encoding() {
        for byte in 0..=255_u8 {
            assert_eq!(Law::A.encode(Law::A.decode(byte)), byte);
            // µ-law has two zeros; both decode to 0 and 0 encodes to the positive one.
            let expected = if byte == 0x7F { 0xFF } else { byte };
            assert_eq!(Law::Mu.encode(Law::Mu.decode(byte)), expected);
        }
    }

    #[test]
    fn known_values_of_the_standard() {
        assert_eq!(Law::Mu.decode(0x80), 32_124);
        assert_eq!(Law::Mu.decode(0x00), -32_124);
        assert_eq!(Law::A.decode(0xAA), 32_256);
        assert_eq!(Law::A.decode(0x2A), -32_256);
        assert_eq!(Law::Mu.decode(Law::Mu.silence()), 0);
        assert_eq!(Law::A.decode(Law::A.silence()), 8);
    }

    #[test]
    fn the_error_of_coding_stays_within_half_a_quantum() {
        for sample in i16::MIN..=i16::MAX {
            for law in [Law::Mu, Law::A] {
                let error = i32::from(law.decode(law.encode(sample))) - i32::from(sample);
                let allowed = (i32::from(sample).abs() / 32 + 9).max(9);
                let clipped = i32::from(sample).abs() > 32_000;
                assert!(clipped || error.abs() <= allowed, "{law:?} {sample} {error}");
            }
        }
    }

    #[test]
    fn transcoding_there_and_back_moves_a_sample_by_one_step_at_most() {
        for byte in 0..=255_u8 {
            let there = Law::Mu.to(Law::A)[usize::from(byte)];
            let back = Law::A.to(Law::Mu)[usize::from(there)];
            let (before, after) = (i32::from(Law::Mu.decode(byte)), i32::from(Law::Mu.decode(back)));
            assert!((before - after).abs() <= before.abs() / 16 + 16, "{before} {after}");
            assert_eq!(Law::Mu.to(Law::Mu)[usize::from(byte)], byte);
        }
    }
}
