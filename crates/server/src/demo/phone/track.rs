//! A recording on the demo's clock: the last two minutes of what one phone sent or heard.

use std::collections::VecDeque;

use super::voice::SAMPLE_RATE_HZ;

/// Longest recording: a slow payment with every field keyed twice fits. 1.9 MB.
pub const RECORDING_S: u64 = 120;
const CAPACITY: usize = (RECORDING_S * SAMPLE_RATE_HZ as u64) as usize;
const SAMPLES_PER_MS: u64 = SAMPLE_RATE_HZ as u64 / 1000;

/// Samples at their places in time. What was never written is silence.
#[derive(Debug, Default)]
pub struct Track {
    /// Place of the first sample kept, counted from the clock's start.
    first: u64,
    samples: VecDeque<i16>,
}

impl Track {
    /// Writes samples at a place counted in samples from the clock's start. Late ones land where they belong.
    pub(super) fn write(&mut self, place: u64, frame: &[i16]) {
        if self.samples.is_empty() {
            self.first = place;
        }
        let Some(offset) = place.checked_sub(self.first) else { return };
        let end = offset as usize + frame.len();
        if end > self.samples.len() + CAPACITY {
            // A gap longer than the whole recording: start anew.
            self.samples.clear();
            self.first = place;
            return self.write(place, frame);
        }
        if end > self.samples.len() {
            self.samples.resize(end, 0);
        }
        for (sample, new) in self.samples.range_mut(offset as usize..end).zip(frame) {
            *sample = *new;
        }
        let surplus = self.samples.len().saturating_sub(CAPACITY);
        self.samples.drain(..surplus);
        self.first += surplus as u64;
    }

    /// The samples between two times of the demo's clock; silence where nothing was recorded.
    #[must_use]
    pub fn span(&self, from_ms: u64, until_ms: u64) -> Vec<i16> {
        let places = from_ms * SAMPLES_PER_MS..until_ms.max(from_ms) * SAMPLES_PER_MS;
        places
            .take(CAPACITY)
            .map(|place| {
                let offset = place.checked_sub(self.first).map(|offset| offset as usize);
                offset.and_then(|offset| self.samples.get(offset)).copied().unwrap_or(0)
            })
            .collect()
    }

    /// Time of the latest sample.
    #[must_use]
    pub fn end_ms(&self) -> u64 {
        (self.first + self.samples.len() as u64) / SAMPLES_PER_MS
    }
}

/// Puts RTP packets at their places: by timestamp from the first packet on, so that network jitter does not
/// tear the recording; anew when the stream changes or its clock runs away from ours.
#[derive(Debug, Default)]
pub(super) struct Placing {
    anchor: Option<Anchor>,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    ssrc: u32,
    timestamp: u32,
    place: u64,
}

/// How far a packet may be from where its timestamp puts it: more than any jitter here, less than a listener would miss.
const RUNAWAY: u64 = 500 * SAMPLES_PER_MS;

impl Placing {
    pub(super) fn place(&mut self, ssrc: u32, timestamp: u32, now_ms: u64) -> u64 {
        let arrived = now_ms * SAMPLES_PER_MS;
        if let Some(anchor) = self.anchor.filter(|anchor| anchor.ssrc == ssrc) {
            let distance = i64::from(timestamp.wrapping_sub(anchor.timestamp).cast_signed());
            if let Some(place) = anchor.place.checked_add_signed(distance)
                && place.abs_diff(arrived) <= RUNAWAY
            {
                self.anchor = Some(Anchor { ssrc, timestamp, place });
                return place;
            }
        }
        self.anchor = Some(Anchor { ssrc, timestamp, place: arrived });
        arrived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_lost_and_old_samples_are_where_they_belong() {
        let mut track = Track::default();
        track.write(80, &[1; 80]);
        track.write(240, &[3; 80]);
        assert_eq!(track.span(20, 30), [0; 80]);
        track.write(160, &[2; 80]);
        assert_eq!(track.span(10, 40), [[1; 80], [2; 80], [3; 80]].concat());
        assert_eq!((track.span(0, 5), track.end_ms()), (vec![0; 40], 40));
    }

    #[test]
    fn only_the_last_two_minutes_are_kept() {
        let mut track = Track::default();
        for second in 0..RECORDING_S + 5 {
            track.write(second * 8000, &[7; 8000]);
        }
        assert_eq!(track.samples.len(), CAPACITY);
        assert_eq!(track.span(4_999, 5_001), [[0; 8], [7; 8]].concat());
        track.write(1 << 40, &[9; 8]);
        assert_eq!(track.samples.len(), 8);
    }

    #[test]
    fn packets_follow_their_timestamps_and_not_their_arrival() {
        let mut placing = Placing::default();
        assert_eq!(placing.place(1, u32::MAX - 79, 1000), 8000);
        assert_eq!(placing.place(1, 80, 1055), 8160, "over the wrap, with jitter");
        assert_eq!(placing.place(2, 5, 1060), 8480, "another stream");
        assert_eq!(placing.place(2, 1_000_000, 1080), 8640, "a jump of the timestamp");
    }
}
