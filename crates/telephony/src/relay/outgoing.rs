//! The stream we send on a leg: one name, numbers and timestamps without a break, whatever comes in.

use crate::rtp::Header;

/// Chance for the start of a stream (RFC 3550 section 5.1 wants all three unpredictable).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSeed {
    /// Name of the stream.
    pub ssrc: u32,
    /// First sequence number.
    pub sequence: u16,
    /// First timestamp.
    pub timestamp: u32,
    /// For the canonical name in reports, and for when they are sent.
    pub name: u128,
}

/// Samples per millisecond of G.711.
const SAMPLES_PER_MS: u64 = 8;

/// Between two streams there is at least one packet's time, so that no timestamp is sent twice.
const LEAST_STEP: u32 = 160;

pub(super) struct Outgoing {
    ssrc: u32,
    next_sequence: u16,
    timestamp: Timestamps,
    /// How incoming sequence numbers become ours, as soon as one was passed on.
    sequence: Option<SequenceMap>,
    last: Option<Sent>,
}

enum Timestamps {
    /// The next packet gets the seed's timestamp, or goes on from the last one sent.
    Anew(u32),
    /// What to add.
    Shifted(u32),
}

#[derive(Clone, Copy)]
struct SequenceMap {
    shift: u16,
    /// Our first number under this map: earlier ones were given to other packets.
    first: u16,
}

#[derive(Clone, Copy)]
struct Sent {
    timestamp: u32,
    at_us: u64,
}

impl Outgoing {
    pub(super) fn new(seed: StreamSeed) -> Self {
        Self {
            ssrc: seed.ssrc,
            next_sequence: seed.sequence,
            timestamp: Timestamps::Anew(seed.timestamp),
            sequence: None,
            last: None,
        }
    }

    /// The next packet comes from another stream: go on from what was sent last.
    pub(super) fn begin_stream(&mut self) {
        self.sequence = None;
        if let Timestamps::Shifted(_) = self.timestamp {
            self.timestamp = Timestamps::Anew(0);
        }
    }

    /// The next packet that is passed on gets the next free number: there were packets of our own before.
    pub(super) fn renumber(&mut self) {
        self.sequence = None;
    }

    /// The header for a packet that is passed on as it came: its place among its neighbours stays, so that
    /// the receiver sees loss and reordering as they are. `None` when its number was used up before.
    pub(super) fn passed(&mut self, now_us: u64, header: &Header, payload_type: u8) -> Option<Header> {
        let next = self.next_sequence;
        let map = *self
            .sequence
            .get_or_insert(SequenceMap { shift: next.wrapping_sub(header.sequence), first: next });
        let sequence = header.sequence.wrapping_add(map.shift);
        if is_before(sequence, map.first) {
            return None;
        }
        if !is_before(sequence, next) {
            self.next_sequence = sequence.wrapping_add(1);
        }
        Some(self.header(now_us, header.timestamp, header.marker, payload_type, sequence))
    }

    /// The header for a packet of our own making.
    pub(super) fn numbered(&mut self, now_us: u64, timestamp: u32, marker: bool, payload_type: u8) -> Header {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.wrapping_add(1);
        self.header(now_us, timestamp, marker, payload_type, sequence)
    }

    /// A packet that would have been passed on is not: close the gap it would leave.
    pub(super) fn skipped(&mut self, header: &Header) {
        if let Some(map) = &mut self.sequence
            && header.sequence.wrapping_add(map.shift) == self.next_sequence
        {
            map.shift = map.shift.wrapping_sub(1);
            map.first = self.next_sequence;
        }
    }

    fn header(
        &mut self,
        now_us: u64,
        incoming: u32,
        marker: bool,
        payload_type: u8,
        sequence: u16,
    ) -> Header {
        let (shift, begins) = match self.timestamp {
            Timestamps::Shifted(shift) => (shift, false),
            Timestamps::Anew(seed) => (self.goes_on_at(now_us, seed).wrapping_sub(incoming), true),
        };
        self.timestamp = Timestamps::Shifted(shift);
        let timestamp = incoming.wrapping_add(shift);
        self.last = Some(Sent { timestamp, at_us: now_us });
        Header { marker: marker || begins, payload_type, sequence, timestamp, ssrc: self.ssrc }
    }

    /// The name of the stream, and the timestamp that belongs to now if something was sent.
    pub(super) fn now(&self, now_us: u64) -> (u32, Option<u32>) {
        (self.ssrc, self.last.map(|_| self.goes_on_at(now_us, 0)))
    }

    fn goes_on_at(&self, now_us: u64, seed: u32) -> u32 {
        let Some(last) = self.last else { return seed };
        let samples = now_us.saturating_sub(last.at_us) * SAMPLES_PER_MS / 1000;
        // Timestamps wrap: the low half is what counts.
        let [a, b, c, d, ..] = samples.to_le_bytes();
        last.timestamp.wrapping_add(u32::from_le_bytes([a, b, c, d]).max(LEAST_STEP))
    }
}

fn is_before(sequence: u16, other: u16) -> bool {
    sequence.wrapping_sub(other).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing() -> Outgoing {
        Outgoing::new(StreamSeed { ssrc: 7, sequence: 65_530, timestamp: 5000, name: 0 })
    }

    fn packet(sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 1 }
    }

    fn pass(stream: &mut Outgoing, now_ms: u64, sequence: u16, timestamp: u32) -> Option<(u16, u32)> {
        let sent = stream.passed(now_ms * 1000, &packet(sequence, timestamp), 0)?;
        Some((sent.sequence, sent.timestamp))
    }

    #[test]
    fn loss_and_order_stay_visible() {
        let mut stream = outgoing();
        assert_eq!(pass(&mut stream, 0, 100, 0), Some((65_530, 5000)));
        assert_eq!(pass(&mut stream, 20, 103, 480), Some((65_533, 5480)));
        assert_eq!(pass(&mut stream, 21, 102, 320), Some((65_532, 5320)));
        assert_eq!(pass(&mut stream, 40, 104, 640), Some((65_534, 5640)));
    }

    #[test]
    fn a_packet_left_out_leaves_no_gap() {
        let mut stream = outgoing();
        pass(&mut stream, 0, 100, 0);
        stream.skipped(&packet(101, 160));
        assert_eq!(pass(&mut stream, 40, 102, 320), Some((65_531, 5320)));
    }

    #[test]
    fn another_stream_goes_on_where_the_last_one_was_in_time() {
        let mut stream = outgoing();
        pass(&mut stream, 0, 100, 0);
        stream.begin_stream();
        let sent = stream.passed(100_000, &packet(9, 1_000_000), 0).unwrap();
        assert_eq!((sent.sequence, sent.timestamp, sent.marker), (65_531, 5800, true));
        assert_eq!(pass(&mut stream, 120, 10, 1_000_160), Some((65_532, 5960)));
    }

    #[test]
    fn numbers_of_our_own_and_passed_ones_never_meet() {
        let mut stream = outgoing();
        pass(&mut stream, 0, 100, 0);
        stream.renumber();
        let own = stream.numbered(20_000, 160, false, 0);
        assert_eq!((own.sequence, own.timestamp), (65_531, 5160));
        stream.renumber();
        assert_eq!(pass(&mut stream, 60, 103, 480), Some((65_532, 5480)));
        assert_eq!(pass(&mut stream, 61, 102, 320), None, "its number went to another packet");
    }
}
