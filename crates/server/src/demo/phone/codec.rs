//! G.711 µ-law (ITU-T G.711, table 2), for the demo's phones only.
//!
//! The phones share no audio code with the product: were its codec wrong, phones that used it would agree with it.

const BIAS: i32 = 132;
const CLIP: i32 = 32_635;

/// One 16-bit sample as a µ-law byte.
pub(super) fn encode(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    let exponent = (magnitude.ilog2() as i32 - 7).clamp(0, 7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

/// One µ-law byte as a 16-bit sample, at most 32,124.
pub(super) fn decode(byte: u8) -> i16 {
    let byte = !byte;
    let exponent = i32::from((byte >> 4) & 7);
    let magnitude = (((i32::from(byte & 0x0F) << 3) + BIAS) << exponent) - BIAS;
    let signed = if byte & 0x80 == 0 { magnitude } else { -magnitude };
    // At most 32,124: see above.
    signed as i16
}

#[cfg(test)]
mod tests {
    use hushpad_telephony::g711::Law;

    use super::*;

    #[test]
    fn every_byte_comes_back_as_itself() {
        for byte in 0..=255 {
            // Two bytes mean nothing: 0xFF and 0x7F. The second is never made.
            let expected = if byte == 0x7F { 0xFF } else { byte };
            assert_eq!(encode(decode(byte)), expected, "{byte:#x}");
        }
    }

    #[test]
    fn the_product_decodes_what_the_phones_encode() {
        for sample in i16::MIN..=i16::MAX {
            assert_eq!(Law::Mu.decode(encode(sample)), decode(encode(sample)));
        }
    }

    #[test]
    fn the_ends_of_the_scale_are_those_of_the_standard() {
        assert_eq!(decode(0x80), 32_124);
        assert_eq!(decode(0x00), -32_124);
        assert_eq!((encode(i16::MAX), encode(i16::MIN)), (0x80, 0x00));
        assert_eq!(encode(0), 0xFF);
    }
}
