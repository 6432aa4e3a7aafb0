//! RFC 4733 telephone-events: packets in, key presses out.
//!
//! A press is a run of packets that carry the same start timestamp. That timestamp is its identity
//! (section 2.5.1.2): whatever is lost, doubled or out of order, one start is one press.

use crate::detector::Phase;
use crate::key::Key;

/// Bytes of one event in a payload (section 2.3).
pub const EVENT_BYTES: usize = 4;

/// Presses remembered, to know a late or doubled packet again: more than twelve keys a second, which is
/// the most a session accepts, for the two seconds of [`LATE_S`].
const REMEMBERED: usize = 32;

/// Packets whose press began this long before the newest one are ignored: no network reorders that far.
const LATE_S: u32 = 2;

/// The fastest clock of any audio (RFC 4733 section 2.1 ties events to it), in Hz.
const MAX_CLOCK_RATE_HZ: u32 = 192_000;

/// A duration field is full: the press goes on in a segment of its own (section 2.5.1.3).
const FULL_DURATION: u32 = 0xffff;

/// A sender may start the new segment a little before the field is quite full: by at most one packet of
/// 60 ms, told in parts of a second.
const SEGMENT_SLACK_PARTS: u32 = 16;

/// Segments in a row that may be lost whole and still belong to the press before.
const LOST_SEGMENTS: u32 = 4;

/// Events in one packet (section 2.5.1.5 lets a sender pack them); the rest is ignored.
const EVENTS_PER_PACKET: usize = 8;

/// One event of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// RTP timestamp at which it began.
    pub start: u32,
    /// How long it has lasted, in timestamp units.
    pub duration: u32,
    /// The end bit.
    pub ended: bool,
    code: u8,
}

/// Reads the events of a payload, at most eight. The reserved bit and the volume mean nothing to us.
pub fn events(timestamp: u32, payload: &[u8]) -> impl Iterator<Item = Event> + '_ {
    let mut start = timestamp;
    payload.chunks_exact(EVENT_BYTES).take(EVENTS_PER_PACKET).map(move |bytes| {
        let duration = u32::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let event = Event { start, duration, ended: bytes[1] & 0x80 != 0, code: bytes[0] };
        start = start.wrapping_add(duration);
        event
    })
}

/// Hears the presses of one RTP stream: one `Begin` and at most one `End` for each.
///
/// An `End` is missing only when the last press of a stream lost all its end packets.
#[derive(Clone)]
pub struct Receiver {
    clock_rate_hz: u32,
    seen: [Option<Seen>; REMEMBERED],
    next: usize,
    newest: Option<u32>,
    down: Option<Down>,
}

#[derive(Clone, Copy)]
struct Seen {
    start: u32,
    ended: bool,
}

/// The press that has not ended yet, and the start of its latest segment.
#[derive(Clone, Copy)]
struct Down {
    key: Key,
    segment_start: u32,
}

impl Receiver {
    /// A receiver for events whose clock runs at `clock_rate_hz` (8000 for G.711), from 1 to 192,000; other
    /// values count as the nearer end.
    #[must_use]
    pub fn new(clock_rate_hz: u32) -> Self {
        let seen = [None; REMEMBERED];
        Self {
            clock_rate_hz: clock_rate_hz.clamp(1, MAX_CLOCK_RATE_HZ),
            seen,
            next: 0,
            newest: None,
            down: None,
        }
    }

    /// Forgets everything: another stream begins.
    pub fn reset(&mut self) {
        *self = Self::new(self.clock_rate_hz);
    }

    /// Takes the payload of one telephone-event packet and reports `heard(key, phase, onset_us)`, where
    /// `onset_us` is when the press began by the clock of `now_us`.
    pub fn packet(
        &mut self,
        now_us: u64,
        timestamp: u32,
        payload: &[u8],
        heard: &mut dyn FnMut(Key, Phase, u64),
    ) {
        for event in events(timestamp, payload) {
            if let Some(key) = Key::from_event_code(event.code) {
                let lasted_us = u64::from(event.duration) * 1_000_000 / u64::from(self.clock_rate_hz);
                let onset_us = now_us.saturating_sub(lasted_us);
                self.event(event, key, &mut |key, phase| heard(key, phase, onset_us));
            }
        }
    }

    fn event(&mut self, event: Event, key: Key, heard: &mut dyn FnMut(Key, Phase)) {
        let known = self.seen.iter_mut().flatten().find(|seen| seen.start == event.start);
        if let Some(seen) = known {
            let ends = event.ended && !seen.ended;
            seen.ended |= event.ended;
            if ends && self.down.is_some_and(|down| down.segment_start == event.start) {
                self.end(heard);
            }
            return;
        }
        let ahead = self.newest.map(|newest| event.start.wrapping_sub(newest).cast_signed());
        let reach = (self.clock_rate_hz * LATE_S).cast_signed();
        match ahead {
            Some(ahead) if ahead < -reach => {}
            Some(..0) => {
                // Overtaken by a later press: it counts, and it is over.
                self.remember(event, true);
                heard(key, Phase::Begin);
                heard(key, Phase::End);
            }
            _ => self.newer(event, key, heard),
        }
    }

    fn newer(&mut self, event: Event, key: Key, heard: &mut dyn FnMut(Key, Phase)) {
        self.newest = Some(event.start);
        let goes_on = self.down.is_some_and(|down| down.key == key && self.is_segment(down, event.start));
        self.remember(event, event.ended);
        if !goes_on {
            self.end(heard);
            heard(key, Phase::Begin);
        }
        self.down = Some(Down { key, segment_start: event.start });
        if event.ended {
            self.end(heard);
        }
    }

    fn is_segment(&self, down: Down, start: u32) -> bool {
        let distance = start.wrapping_sub(down.segment_start);
        let slack = self.clock_rate_hz / SEGMENT_SLACK_PARTS;
        (1..=LOST_SEGMENTS).any(|segments| {
            let full = segments * FULL_DURATION;
            // Only the first one may have been cut short: we know where it began.
            let earliest = if segments == 1 { full.saturating_sub(slack) } else { full };
            (earliest..=full).contains(&distance)
        })
    }

    fn end(&mut self, heard: &mut dyn FnMut(Key, Phase)) {
        if let Some(down) = self.down.take() {
            heard(down.key, Phase::End);
        }
    }

    fn remember(&mut self, event: Event, ended: bool) {
        self.seen[self.next] = Some(Seen { start: event.start, ended });
        self.next = (self.next + 1) % REMEMBERED;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It is a key that was pressed.
        self.down = None;
        std::hint::black_box(&self.down);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PACKET: u32 = 160;

    /// What a phone sends for one press: growing durations, then the last one three times with the end bit.
    fn press(code: u8, start: u32, packets: u32) -> Vec<(u32, Vec<u8>)> {
        let mut sent: Vec<_> = (1..=packets).map(|n| (start, payload(code, false, n * PACKET))).collect();
        sent.extend((0..3).map(|_| (start, payload(code, true, packets * PACKET))));
        sent
    }

    fn payload(code: u8, ended: bool, duration: u32) -> Vec<u8> {
        let [high, low] = u16::try_from(duration).unwrap().to_be_bytes();
        vec![code, u8::from(ended) << 7 | 10, high, low]
    }

    fn hear(receiver: &mut Receiver, packets: &[(u32, Vec<u8>)]) -> String {
        let mut text = String::new();
        for (timestamp, payload) in packets {
            receiver.packet(60_000_000, *timestamp, payload, &mut |key, phase, _| {
                let ascii = char::from(key.ascii());
                text.push(if phase == Phase::Begin { ascii } else { '.' });
            });
        }
        text
    }

    fn heard(packets: &[(u32, Vec<u8>)]) -> String {
        hear(&mut Receiver::new(8000), packets)
    }

    #[test]
    fn one_press_is_one_key() {
        assert_eq!(heard(&press(5, 1000, 5)), "5.");
    }

    #[test]
    fn a_lost_start_and_a_lost_end_are_one_key() {
        let whole = press(5, 1000, 5);
        assert_eq!(heard(&whole[4..]), "5.");
        assert_eq!(heard(&whole[7..]), "5.", "only the last end packet came");
        assert_eq!(heard(&[&whole[..2], &press(6, 3000, 5)[..]].concat()), "5.6.");
    }

    #[test]
    fn the_same_key_twice_is_two_keys() {
        assert_eq!(heard(&[press(1, 1000, 3), press(1, 2000, 3)].concat()), "1.1.");
        assert_eq!(heard(&[&press(1, 1000, 3)[..2], &press(1, 2000, 3)[1..]].concat()), "1.1.");
    }

    #[test]
    fn a_doubled_and_a_late_packet_change_nothing() {
        let (first, second) = (press(1, 1000, 3), press(2, 2000, 3));
        assert_eq!(heard(&[&first[..], &first[..], &second[..], &first[2..]].concat()), "1.2.");
    }

    #[test]
    fn a_press_overtaken_whole_by_the_next_one_counts() {
        let mut keys = heard(&[press(2, 2000, 3), press(1, 1000, 3)].concat());
        keys.retain(|key| key != '.');
        assert_eq!(keys, "21");
    }

    #[test]
    fn a_press_longer_than_the_duration_field_is_one_key() {
        let mut sent = Vec::new();
        for segment in 0..3_u32 {
            let start = 1000_u32.wrapping_add(segment * FULL_DURATION);
            sent.extend((1..=409).map(|n| (start, payload(7, false, n * PACKET))));
            sent.push((start, payload(7, false, FULL_DURATION)));
        }
        let last = sent.last().unwrap().0;
        sent.extend((0..3).map(|_| (last.wrapping_add(FULL_DURATION), payload(7, true, 320))));
        assert_eq!(heard(&sent), "7.");
        sent.drain(100..600);
        assert_eq!(heard(&sent), "7.", "with the join of two segments lost");
    }

    #[test]
    fn the_same_key_after_eight_seconds_of_nothing_is_a_new_one() {
        assert_eq!(heard(&[press(7, 1000, 3), press(7, 1000 + FULL_DURATION, 3)].concat()), "7.7.");
    }

    #[test]
    fn codes_over_fifteen_and_cut_payloads_are_not_keys() {
        assert_eq!(heard(&press(16, 1000, 3)), "");
        assert_eq!(heard(&[(1000, vec![5, 0, 0])]), "");
    }

    #[test]
    fn volume_and_the_reserved_bit_mean_nothing() {
        let packets: Vec<_> = (0..64).map(|low| (1000, vec![5, 0x40 | low, 0, 160])).collect();
        assert_eq!(heard(&packets), "5");
    }

    #[test]
    fn two_events_in_one_packet_are_two_keys() {
        let packed = [payload(1, true, 800), payload(2, true, 800)].concat();
        assert_eq!(heard(&[(1000, packed.clone()), (1000, packed)]), "1.2.");
    }

    #[test]
    fn timestamps_wrap() {
        assert_eq!(heard(&[press(1, u32::MAX - 400, 3), press(2, 600, 3)].concat()), "1.2.");
    }

    #[test]
    fn the_onset_is_told_by_the_events_own_clock() {
        for (rate, duration) in [(8000, 800), (16_000, 1600), (48_000, 4800)] {
            let mut onset = 0;
            Receiver::new(rate)
                .packet(5_000_000, 7, &payload(1, false, duration), &mut |_, _, at| onset = at);
            assert_eq!(onset, 4_900_000);
        }
    }

    #[test]
    fn after_a_reset_the_same_timestamp_is_a_new_press() {
        let mut receiver = Receiver::new(8000);
        hear(&mut receiver, &press(1, 1000, 3));
        receiver.reset();
        assert_eq!(hear(&mut receiver, &press(1, 1000, 3)), "1.");
    }

    /// What networks do to a packet: lose it, double it, deliver it some packets later.
    #[derive(Clone, Copy, Debug)]
    struct Fault {
        lost: bool,
        doubled: bool,
        moved: usize,
    }

    fn faults() -> impl Strategy<Value = Vec<Fault>> {
        let fault = (0_u8..4, 0_u8..4, 0_usize..6);
        let fault =
            fault.prop_map(|(lost, doubled, moved)| Fault { lost: lost == 0, doubled: doubled == 0, moved });
        proptest::collection::vec(fault, 700)
    }

    proptest! {
        #[test]
        fn every_press_of_which_a_packet_arrives_is_exactly_one_key(
            presses in proptest::collection::vec((0_u8..16, 1_u32..30), 1..20),
            faults in faults(),
            origin in any::<u32>(),
        ) {
            let mut arrivals = Vec::new();
            let mut expected = [0_usize; 16];
            let (mut start, mut place) = (origin, 0_usize);
            for (code, packets) in presses {
                let mut arrived = false;
                for packet in press(code, start, packets) {
                    let fault = faults[place % faults.len()];
                    if !fault.lost {
                        arrived = true;
                        let copies = 1 + usize::from(fault.doubled);
                        arrivals.extend((1..=copies).map(|n| (place + fault.moved * n, packet.clone())));
                    }
                    place += 1;
                }
                expected[usize::from(code)] += usize::from(arrived);
                start = start.wrapping_add((packets + 4) * PACKET);
            }
            arrivals.sort_by_key(|(order, _)| *order);
            let packets: Vec<_> = arrivals.into_iter().map(|(_, packet)| packet).collect();
            let text = heard(&packets);
            for (ascii, presses) in Key::ALL.iter().zip(expected) {
                prop_assert_eq!(text.matches(char::from(*ascii)).count(), presses);
            }
            prop_assert!(text.matches('.').count() <= expected.iter().sum());
        }

        #[test]
        fn no_input_panics(packets in proptest::collection::vec(
            (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..40)), 0..50), rate in any::<u32>()) {
            let mut receiver = Receiver::new(rate.min(200_000));
            hear(&mut receiver, &packets);
        }
    }
}
