//! SRTP (RFC 3711) with the suites of SDES (RFC 4568): AES-128 in counter mode, HMAC-SHA1.
//!
//! The ciphers are RustCrypto's; what is here is the framing, which the crates on offer do with two or three
//! allocations a packet and only together with a runtime. Everything works in place, in the caller's buffer.
//!
//! [`Opener`] verifies a packet before it learns, counts or changes anything: a forged packet leaves no trace but
//! in the caller's statistics. [`Sealer`] never uses a key stream twice.

mod cipher;
mod index;
mod keys;

pub use keys::{Crypto, KeySource, MASTER_KEY_BYTES, MasterKey, Suite};

use crate::rtp::HEADER_BYTES;
use cipher::{Material, Session};
use index::{Indices, Window};

/// What sealing a packet may add: the tag, and for RTCP an index of 4 bytes before it.
pub const OVERHEAD_BYTES: usize = 14;

/// The fixed part of an RTCP packet that stays readable (RFC 3711 section 3.4).
const RTCP_HEADER_BYTES: usize = 8;
/// The field with the flag for encryption and the index.
const RTCP_INDEX_BYTES: usize = 4;
const ENCRYPTED: u32 = 1 << 31;
/// SSRCs that one peer may use before the one that was quiet longest is forgotten. A phone has one, and
/// another one after a transfer behind it.
const STREAMS: usize = 4;

/// The packet is not genuine, was there before, or is no packet. Nothing of it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// Opens what one peer sends.
pub struct Opener {
    rtp: Session,
    rtcp: Session,
    tag_bytes: usize,
    streams: [Option<Stream>; STREAMS],
    turn: u64,
}

/// What is known of one SSRC.
#[derive(Clone, Copy)]
struct Stream {
    ssrc: u32,
    indices: Indices,
    rtcp: Window,
    last_turn: u64,
}

impl Opener {
    /// For packets sealed with the peer's key.
    #[must_use]
    pub fn new(suite: Suite, key: MasterKey) -> Self {
        let Material { rtp, rtcp } = Material::of(key);
        Self { rtp, rtcp, tag_bytes: suite.tag_bytes(), streams: [None; STREAMS], turn: 0 }
    }

    /// Opens an RTP packet in place and gives its length.
    ///
    /// # Errors
    /// [`Refused`]; what is in the buffer then means nothing.
    pub fn open(&mut self, bytes: &mut [u8]) -> Result<usize, Refused> {
        let payload = payload_at(bytes).ok_or(Refused)?;
        let length =
            bytes.len().checked_sub(self.tag_bytes).filter(|length| *length >= payload).ok_or(Refused)?;
        let (packet, tag) = bytes.split_at_mut(length);
        let (ssrc, sequence) = (word(packet, 8), u16::from_be_bytes([packet[2], packet[3]]));
        let indices = self.find(ssrc).map_or_else(Indices::default, |stream| stream.indices);
        let index = indices.of(sequence);
        let fresh = indices.is_fresh(index);
        // The roll-over counter is part of what is authenticated.
        if !self.rtp.verifies(&[packet, &index.rollovers().to_be_bytes()], tag) || !fresh {
            return Err(Refused);
        }
        self.rtp.apply(ssrc, index.value(), &mut packet[payload..]);
        self.stream(ssrc).indices.take(index);
        Ok(length)
    }

    /// Opens an RTCP packet in place and gives its length.
    ///
    /// # Errors
    /// [`Refused`]; what is in the buffer then means nothing.
    pub fn open_rtcp(&mut self, bytes: &mut [u8]) -> Result<usize, Refused> {
        // Its tag is the long one in both suites (RFC 4568 section 6.2.2).
        let end = bytes.len().checked_sub(Suite::RTCP_TAG_BYTES).ok_or(Refused)?;
        let length = end.checked_sub(RTCP_INDEX_BYTES).filter(|length| *length >= RTCP_HEADER_BYTES);
        let length = length.ok_or(Refused)?;
        let (authenticated, tag) = bytes.split_at_mut(end);
        let (ssrc, trailer) = (word(authenticated, 4), word(authenticated, length));
        let index = u64::from(trailer & !ENCRYPTED);
        let fresh = self.find(ssrc).is_none_or(|stream| stream.rtcp.is_fresh(index));
        if !self.rtcp.verifies(&[authenticated], tag) || !fresh {
            return Err(Refused);
        }
        if trailer & ENCRYPTED != 0 {
            self.rtcp.apply(ssrc, index, &mut authenticated[RTCP_HEADER_BYTES..length]);
        }
        self.stream(ssrc).rtcp.take(index);
        Ok(length)
    }

    fn find(&self, ssrc: u32) -> Option<&Stream> {
        self.streams.iter().flatten().find(|stream| stream.ssrc == ssrc)
    }

    /// The stream of a packet that was verified.
    fn stream(&mut self, ssrc: u32) -> &mut Stream {
        self.turn += 1;
        let known = self.streams.iter().position(|place| place.is_some_and(|stream| stream.ssrc == ssrc));
        let place = known.unwrap_or_else(|| {
            let age = |place: usize| self.streams[place].map_or(0, |stream| stream.last_turn);
            (0..STREAMS).min_by_key(|place| age(*place)).unwrap_or(0)
        });
        let new = Stream { ssrc, indices: Indices::default(), rtcp: Window::default(), last_turn: 0 };
        let stream = self.streams[place].get_or_insert(new);
        if stream.ssrc != ssrc {
            *stream = new;
        }
        stream.last_turn = self.turn;
        stream
    }
}

/// Seals what we send to one peer: one stream.
pub struct Sealer {
    rtp: Session,
    rtcp: Session,
    tag_bytes: usize,
    indices: Indices,
    next_rtcp: u32,
}

impl Sealer {
    /// With our key, which no other peer has.
    #[must_use]
    pub fn new(suite: Suite, key: MasterKey) -> Self {
        let Material { rtp, rtcp } = Material::of(key);
        Self { rtp, rtcp, tag_bytes: suite.tag_bytes(), indices: Indices::default(), next_rtcp: 0 }
    }

    /// Seals the RTP packet of `length` bytes at the beginning of the buffer and gives its new length. `None`,
    /// and it must not be sent, when its number was used before or the buffer has no room of
    /// [`OVERHEAD_BYTES`] behind it.
    pub fn seal(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        let sealed = length.checked_add(self.tag_bytes)?;
        let (packet, tag) = buffer.get_mut(..sealed)?.split_at_mut(length);
        let payload = payload_at(packet)?;
        let (ssrc, sequence) = (word(packet, 8), u16::from_be_bytes([packet[2], packet[3]]));
        let index = self.indices.of(sequence);
        if !self.indices.is_fresh(index) {
            return None;
        }
        self.indices.take(index);
        self.rtp.apply(ssrc, index.value(), &mut packet[payload..]);
        self.rtp.sign(&[packet, &index.rollovers().to_be_bytes()], tag);
        Some(sealed)
    }

    /// Seals the RTCP packet of `length` bytes at the beginning of the buffer and gives its new length; `None`
    /// when the buffer has no room of [`OVERHEAD_BYTES`] behind it.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Option<usize> {
        let end = length.checked_add(RTCP_INDEX_BYTES)?;
        let sealed = end + Suite::RTCP_TAG_BYTES;
        if length < RTCP_HEADER_BYTES {
            return None;
        }
        let (packet, tag) = buffer.get_mut(..sealed)?.split_at_mut(end);
        let index = self.next_rtcp;
        // 31 bits last for centuries of reports; past them nothing more is sent.
        self.next_rtcp = index.checked_add(1).filter(|next| next & ENCRYPTED == 0)?;
        let ssrc = word(packet, 4);
        self.rtcp.apply(ssrc, u64::from(index), &mut packet[RTCP_HEADER_BYTES..length]);
        packet[length..].copy_from_slice(&(index | ENCRYPTED).to_be_bytes());
        self.rtcp.sign(&[packet], tag);
        Some(sealed)
    }
}

/// Where the payload begins: behind contributing sources and the header extension, which are not encrypted.
fn payload_at(packet: &[u8]) -> Option<usize> {
    let first = *packet.first().filter(|first| **first >> 6 == 2)?;
    let mut at = HEADER_BYTES + usize::from(first & 0x0f) * 4;
    if first & 0x10 != 0 {
        let words = packet.get(at + 2..at + 4)?;
        at += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
    }
    (packet.len() >= at).then_some(at)
}

/// Four bytes of a packet that was seen to be long enough.
fn word(packet: &[u8], at: usize) -> u32 {
    packet.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

#[cfg(test)]
mod tests;
