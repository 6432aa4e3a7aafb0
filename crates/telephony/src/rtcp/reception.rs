//! How one stream arrives: loss and jitter (RFC 3550 appendices A.3 and A.8).

use super::Block;
use crate::rtp::Header;

/// Timestamp units in a second: G.711's clock.
const CLOCK_HZ: u64 = 8000;
/// Farther ahead or back than this the sender has begun anew (appendix A.1).
const MAX_STEP: i16 = 3000;
/// A step of the transit time by more is the sender's clock jumping, not the network: half a second.
const MAX_TRANSIT_STEP: i64 = 4000;

/// What is known of the stream a leg sends to us.
#[derive(Clone, Copy, Debug)]
pub struct Reception {
    ssrc: u32,
    base: u32,
    highest: u32,
    received: u32,
    expected_before: u32,
    received_before: u32,
    transit: i64,
    /// Sixteen times the jitter, as the appendix keeps it.
    jitter_16: u64,
    last_sender_report: Option<(u32, u64)>,
}

/// Loss and jitter of a leg so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceptionStats {
    /// Packets that should have come.
    pub expected: u64,
    /// Of them, those that did not.
    pub lost: u64,
    /// Jitter now, in microseconds.
    pub jitter_us: u64,
}

impl Reception {
    /// A stream begins with this packet.
    #[must_use]
    pub fn new(now_us: u64, header: &Header) -> Self {
        let first = u32::from(header.sequence);
        Self {
            ssrc: header.ssrc,
            base: first,
            highest: first,
            received: 1,
            expected_before: 0,
            received_before: 0,
            transit: transit(now_us, header.timestamp),
            jitter_16: 0,
            last_sender_report: None,
        }
    }

    /// Takes the next packet. `false` when it is of another stream, or this one began anew: then
    /// [`Reception::new`] takes it.
    pub fn arrived(&mut self, now_us: u64, header: &Header) -> bool {
        let [.., high, low] = self.highest.to_be_bytes();
        let step = header.sequence.wrapping_sub(u16::from_be_bytes([high, low])).cast_signed();
        if header.ssrc != self.ssrc || !(-MAX_STEP..=MAX_STEP).contains(&step) {
            return false;
        }
        if step > 0 {
            self.highest = self.highest.wrapping_add(u32::from(step.unsigned_abs()));
        }
        self.received = self.received.wrapping_add(1);
        let transit = transit(now_us, header.timestamp);
        // Timestamps wrap, so the difference does.
        let moved = i64::from(wrapped(transit - self.transit)).abs();
        self.transit = transit;
        if moved <= MAX_TRANSIT_STEP {
            let moved = moved.unsigned_abs();
            self.jitter_16 = (self.jitter_16 + moved).saturating_sub((self.jitter_16 + 8) >> 4);
        }
        true
    }

    /// Takes their sender report.
    pub fn sender_report(&mut self, now_us: u64, ssrc: u32, ntp_middle: u32) {
        if ssrc == self.ssrc {
            self.last_sender_report = Some((ntp_middle, now_us));
        }
    }

    /// What we report; the next one counts from here.
    pub fn report(&mut self, now_us: u64) -> Block {
        let (expected, lost) = (self.expected(), self.lost());
        let expected_now = expected.wrapping_sub(self.expected_before);
        let received_now = self.received.wrapping_sub(self.received_before);
        (self.expected_before, self.received_before) = (expected, self.received);
        let lost_now = u64::from(expected_now.saturating_sub(received_now));
        let fraction = (lost_now << 8).checked_div(u64::from(expected_now)).unwrap_or(0);
        let (last_report, since_last_report) = self.last_sender_report.map_or((0, 0), |(report, at_us)| {
            (report, u32::try_from((now_us.saturating_sub(at_us) << 16) / 1_000_000).unwrap_or(u32::MAX))
        });
        Block {
            ssrc: self.ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            lost,
            highest: self.highest,
            jitter: u32::try_from(self.jitter_16 >> 4).unwrap_or(u32::MAX),
            last_report,
            since_last_report,
        }
    }

    /// Loss and jitter so far.
    #[must_use]
    pub fn stats(&self) -> ReceptionStats {
        ReceptionStats {
            expected: u64::from(self.expected()),
            lost: u64::try_from(self.lost()).unwrap_or(0),
            jitter_us: (self.jitter_16 >> 4) * 1_000_000 / CLOCK_HZ,
        }
    }

    fn expected(&self) -> u32 {
        self.highest.wrapping_sub(self.base).wrapping_add(1)
    }

    fn lost(&self) -> i32 {
        self.expected().wrapping_sub(self.received).cast_signed()
    }
}

/// Arrival less timestamp, in timestamp units, modulo 2^32.
fn transit(now_us: u64, timestamp: u32) -> i64 {
    let arrival = i64::try_from(now_us / 1000 * (CLOCK_HZ / 1000) + now_us % 1000 * CLOCK_HZ / 1_000_000);
    arrival.unwrap_or(0) - i64::from(timestamp)
}

/// The low 32 bits, with their sign.
fn wrapped(difference: i64) -> i32 {
    let [.., a, b, c, d] = difference.to_be_bytes();
    i32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 9 }
    }

    /// A stream whose packets `n` come `late_us(n)` after their time; `None` is lost.
    fn arrived(packets: u16, late_us: impl Fn(u16) -> Option<u64>) -> Reception {
        let mut reception = None::<Reception>;
        for n in 0..packets {
            let Some(late_us) = late_us(n) else { continue };
            let now_us = 1_000_000 + u64::from(n) * 20_000 + late_us;
            let timestamp = 0xffff_ff00_u32.wrapping_add(u32::from(n) * 160);
            let header = header(65_500_u16.wrapping_add(n), timestamp);
            match &mut reception {
                None => reception = Some(Reception::new(now_us, &header)),
                Some(known) => assert!(known.arrived(now_us, &header)),
            }
        }
        reception.unwrap()
    }

    #[test]
    fn a_perfect_stream_has_no_loss_and_no_jitter() {
        let mut reception = arrived(200, |_| Some(0));
        assert_eq!(reception.stats(), ReceptionStats { expected: 200, lost: 0, jitter_us: 0 });
        let block = reception.report(9_000_000);
        assert_eq!((block.fraction_lost, block.lost, block.highest), (0, 0, 65_500 + 199));
    }

    #[test]
    fn every_tenth_lost_is_a_tenth() {
        let mut reception = arrived(200, |n| (n % 10 != 5).then_some(0));
        assert_eq!(reception.stats().lost, 20);
        assert_eq!(reception.report(0).fraction_lost, 25);
        assert_eq!(reception.report(0).fraction_lost, 0, "nothing since the last report");
    }

    #[test]
    fn jitter_settles_at_the_mean_step() {
        let reception = arrived(400, |n| Some(if n % 2 == 0 { 0 } else { 5_000 }));
        let jitter_us = reception.stats().jitter_us;
        assert!((4_500..=5_500).contains(&jitter_us), "{jitter_us}");
    }

    #[test]
    fn another_stream_is_not_taken_and_a_sender_report_is_echoed() {
        let mut reception = arrived(3, |_| Some(0));
        assert!(!reception.arrived(0, &Header { ssrc: 1, ..header(65_503, 0) }));
        assert!(!reception.arrived(0, &header(30_000, 0)));
        reception.sender_report(1_000_000, 1, 5);
        assert_eq!(reception.report(1_500_000).last_report, 0);
        reception.sender_report(1_000_000, 9, 5);
        let block = reception.report(1_500_000);
        assert_eq!((block.last_report, block.since_last_report), (5, 32_768));
    }
}
