//! RTP packets (RFC 3550): a view of the header without a copy, and the header we write ourselves.
//!
//! We never forward a header: contributing sources and header extensions stop here (an extension may
//! carry the audio level, RFC 6464, which tells when a key is pressed), and padding is cut off.

/// Length of the header we write: no contributing sources, no extension.
pub const HEADER_BYTES: usize = 12;

/// Comfort noise (RFC 3389), a static payload type.
pub const COMFORT_NOISE: u8 = 13;

/// A received RTP packet, taken apart in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fields of the fixed header.
    pub header: Header,
    /// What is carried, without padding. May be empty.
    pub payload: &'a [u8],
}

/// The fields of the fixed header that mean something to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First packet of a talk spurt or of a telephone-event.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Counts packets, wraps.
    pub sequence: u16,
    /// Counts samples, wraps.
    pub timestamp: u32,
    /// Names the stream.
    pub ssrc: u32,
}

impl<'a> Packet<'a> {
    /// Reads a packet (RFC 3550 section 5.1). `None` for everything that is not RTP: a wrong version, RTCP
    /// (see [`is_rtcp`]), or lengths that do not fit into what was received.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
        if first >> 6 != 2 || is_rtcp(bytes) {
            return None;
        }
        let mut payload = rest.get(usize::from(first & 0x0f) * 4..)?;
        if first & 0x10 != 0 {
            let (extension, after) = payload.split_first_chunk::<4>()?;
            let words = u16::from_be_bytes([extension[2], extension[3]]);
            payload = after.get(usize::from(words) * 4..)?;
        }
        if first & 0x20 != 0 {
            let padding = usize::from(*payload.last()?);
            if padding == 0 {
                return None;
            }
            payload = payload.get(..payload.len().checked_sub(padding)?)?;
        }
        let header = Header {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        };
        Some(Self { header, payload })
    }
}

impl Header {
    /// The twelve bytes to send. Bits over 7 of the payload type are dropped.
    #[must_use]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [c0, c1, c2, c3] = self.ssrc.to_be_bytes();
        let second = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        [0x80, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]
    }
}

/// Whether this is RTCP: packet types 192 to 223 (RFC 5761 section 4), which on a shared port stand where
/// RTP has the marker and the payload type.
#[must_use]
pub fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(bytes, [first, kind, ..] if first >> 6 == 2 && (192..=223).contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: Header = Header {
        marker: true,
        payload_type: 101,
        sequence: 0x1234,
        timestamp: 0xdead_beef,
        ssrc: 0x0bad_cafe,
    };

    fn packet(first: u8, tail: &[u8]) -> Vec<u8> {
        let mut bytes = HEADER.to_bytes().to_vec();
        bytes[0] = first;
        bytes.extend_from_slice(tail);
        bytes
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = packet(0x80, b"sound");
        assert_eq!(Packet::parse(&bytes), Some(Packet { header: HEADER, payload: b"sound" }));
    }

    #[test]
    fn contributing_sources_extension_and_padding_are_not_payload() {
        let tail = [&[1; 8][..], &[0xbe, 0xde, 0, 1, 9, 9, 9, 9], b"sound", &[0, 0, 3]].concat();
        let bytes = packet(0x80 | 0x20 | 0x10 | 2, &tail);
        assert_eq!(Packet::parse(&bytes).unwrap().payload, b"sound");
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        assert!(Packet::parse(&packet(0x80, b"")[..11]).is_none());
        assert!(Packet::parse(&packet(0x8f, &[0; 59])).is_none(), "fifteen sources need sixty bytes");
        assert!(Packet::parse(&packet(0x90, &[0, 0, 0xff, 0xff])).is_none(), "extension past the end");
        assert!(Packet::parse(&packet(0x90, &[0, 0, 0])).is_none(), "extension header cut");
        assert!(Packet::parse(&packet(0xa0, &[1, 2, 9])).is_none(), "more padding than packet");
        assert!(Packet::parse(&packet(0xa0, &[1, 0])).is_none(), "padding counts itself");
        assert!(Packet::parse(&packet(0xa0, &[])).is_none(), "padding without a byte");
        assert!(Packet::parse(&packet(0x40, b"sound")).is_none(), "version 1");
    }

    #[test]
    fn rtcp_on_the_same_port_is_told_apart() {
        let mut report = packet(0x80, &[0; 16]);
        report[1] = 200;
        assert!(is_rtcp(&report) && Packet::parse(&report).is_none());
        assert!(!is_rtcp(&packet(0x80, b"")));
    }

    proptest! {
        #[test]
        fn no_input_panics_and_the_payload_is_inside(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(packet) = Packet::parse(&bytes) {
                prop_assert!(packet.payload.len() + HEADER_BYTES <= bytes.len());
            }
        }
    }
}
