//! The guard: nothing of a tone passes from the customer leg toward the agent leg. Pure.
//!
//! While secure mode is on, the customer's audio runs through a look-back of some 40 ms. Two decisions
//! are made on it at two speeds. *Suspicion* (`suspicion.rs`) is quick and may err: what might be a tone is
//! replaced before it leaves, from before its onset until after its end, exact to the sample and without
//! a click. *Detection* ([`crate::detector`]) takes its time and says which key was pressed.
//!
//! The clock of the look-back is the stream itself: a packet leaves when the newest sample is a look-back
//! younger than the packet's end. With 20 ms packets and 40 ms that is the arrival of the second packet
//! after it: 40 ms of added delay. If no packet follows (silence suppression, loss), it leaves by the
//! clock 20 ms later, without the last 10 ms of what came, which nothing has vouched for.
//!
//! It fails closed. What was not examined in its turn (late packets, packets after an unexplained jump of
//! the time stamp) is replaced; what cannot be placed is dropped.
//!
//! ```
//! use hushpad_telephony::{g711::Law, guard::{Guard, GuardConfig}};
//! let mut guard = Guard::new(GuardConfig::default(), Law::Mu);
//! let (mut left, speech) = (0, [0xD0_u8; 160]);
//! for n in 0..4_u32 {
//!     guard.push(u64::from(n) * 20_000, n * 160, n == 0, &speech, &mut |_key, _phase, _onset_us| ());
//!     while let Some(held) = guard.pop(u64::from(n) * 20_000) {
//!         assert_eq!(held.payload, speech);
//!         left += 1;
//!     }
//! }
//! assert_eq!(left, 2); // two are still in the look-back
//! ```

mod cover;
mod fill;
mod held;
mod suspicion;
#[cfg(test)]
mod tests;

pub use fill::Fill;

use crate::detector::spectrum::BLOCK;
use crate::detector::{Detector, Heard, Phase};
use crate::g711::Law;
use crate::key::Key;
use cover::Covers;
use fill::Filler;
use held::{Lookback, Packet};
use suspicion::Suspicion;

/// Shortest look-back, in ms: below, suspicion would come too late.
pub const MIN_LOOK_BACK_MS: u16 = 40;
/// Longest look-back, in ms: above, talking becomes hard.
pub const MAX_LOOK_BACK_MS: u16 = 120;
/// Longest packet that is taken, in samples (60 ms): longer ones are dropped, not passed.
pub const MAX_PACKET_SAMPLES: usize = 480;

/// How the guard behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// How long audio is held, in ms: 40 to 120; other values count as the nearer end.
    pub look_back_ms: u16,
    /// What stands in for tones.
    pub fill: Fill,
}

impl Default for GuardConfig {
    fn default() -> Self {
        Self { look_back_ms: MIN_LOOK_BACK_MS, fill: Fill::Silence }
    }
}

/// A packet that has passed the guard.
#[derive(Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// Its RTP time stamp, as it came.
    pub ts: u32,
    /// Its RTP marker, as it came.
    pub marker: bool,
    /// G.711 bytes, one per sample; tones are replaced. The length is as it came.
    pub payload: &'a [u8],
}

/// Stands between the customer leg and the agent leg while secure mode is on. See the module's text.
///
/// All its memory (about 16 KiB) is taken in [`Guard::new`]; packets cost none.
pub struct Guard {
    law: Law,
    /// In samples.
    look_back: u64,
    detector: Box<Detector>,
    suspicion: Suspicion,
    lookback: Box<Lookback>,
    covers: Covers,
    filler: Filler,
    stream: Stream,
    out: Box<[u8; MAX_PACKET_SAMPLES]>,
}

/// What is known of the RTP stream.
enum Stream {
    /// No packet since the start or the last reset.
    Fresh,
    /// The next sample in order has this time stamp; the newest packet came at this time.
    Running { next_ts: u32, came_us: u64 },
}

/// Where a packet lies against the stream so far.
enum Place {
    /// At the head, after so many samples that never came.
    Next { gap: u64 },
    /// After a pause of the sender that took as long by the clock as by the time stamp.
    AfterPause,
    /// So many samples before the head.
    Late { back: u64 },
    /// Nowhere near: the sender began anew.
    Jump,
}

/// Longest gap that keeps its place (200 ms); what was lost in it counts as silence.
const MAX_GAP: u64 = 1600;
/// A packet up to 500 ms behind the newest is late; further back the sender has begun anew.
const MAX_LATE: u64 = 4000;
/// How far clock and time stamp may differ over a pause: jitter and the wait of a queue.
const PAUSE_SLACK_MS: u64 = 300;
/// Replaced after a jump (40 ms): a tone may have been going on, and what came before it is unknown.
const HIDE_AFTER_JUMP: u64 = 320;
/// Replaced after a gap in mid-tone, until the tone can be seen again or is sure to be gone (10 ms).
const HIDE_AFTER_GAP: u64 = 80;
/// Hidden before an onset that the detector found and after it (5 ms): its estimate errs by 3 ms.
const ONSET_MARGIN: u64 = 40;
/// Length of the fade at either edge of what is replaced (2 ms), outside of it.
const FADE: u64 = 16;
/// Beyond a fade's reach.
const FAR: u8 = FADE as u8 + 1;
/// What leaves by the clock loses its last 10 ms: shorter slivers of tone are not sure to be suspected.
const UNVOUCHED: u64 = 80;
/// How long after it should have left by the stream a packet leaves by the clock (20 ms of jitter).
const CLOCK_GRACE_US: u64 = 20_000;
const SAMPLES_PER_MS: u64 = 8;
const US_PER_SAMPLE: u64 = 125;

impl Guard {
    /// A guard for a stream of G.711 in `law` at 8 kHz.
    #[must_use]
    pub fn new(config: GuardConfig, law: Law) -> Self {
        let look_back_ms = config.look_back_ms.clamp(MIN_LOOK_BACK_MS, MAX_LOOK_BACK_MS);
        Self {
            law,
            look_back: u64::from(look_back_ms) * SAMPLES_PER_MS,
            detector: Box::new(Detector::new()),
            suspicion: Suspicion::new(),
            lookback: Box::new(Lookback::new()),
            covers: Covers::new(),
            filler: Filler::new(config.fill),
            stream: Stream::Fresh,
            out: Box::new([0; MAX_PACKET_SAMPLES]),
        }
    }

    /// The customer leg speaks `law` from now on (a re-INVITE). What is held is dropped when the law
    /// really changed: its bytes would mean something else.
    pub fn set_law(&mut self, law: Law) {
        if self.law != law {
            self.reset();
            self.law = law;
        }
    }

    /// Secure mode is entered anew, or the stream restarted with another SSRC: nothing is held, and
    /// nothing of before is heard. A press that was going on gets no [`Phase::End`].
    pub fn reset(&mut self) {
        *self.detector = Detector::new();
        self.suspicion = Suspicion::new();
        self.lookback.clear();
        self.covers = Covers::new();
        self.stream = Stream::Fresh;
    }

    /// One audio packet of the customer leg, in any order and of 10 to 60 ms. `now_us` is a monotonic
    /// clock in µs. `heard` gets each edge of a press in the audio, and when it was by the same clock
    /// (estimated: the packet's last sample counts as spoken now).
    ///
    /// Empty packets and those over [`MAX_PACKET_SAMPLES`] are dropped. Comfort-noise packets
    /// (RFC 3389) are not audio: do not push them.
    pub fn push(
        &mut self,
        now_us: u64,
        ts: u32,
        marker: bool,
        payload: &[u8],
        heard: &mut dyn FnMut(Key, Phase, u64),
    ) {
        if payload.is_empty() || payload.len() > MAX_PACKET_SAMPLES {
            return;
        }
        self.covers.forget_old(now_us);
        // What the end of this packet's samples is in time; the edges heard lie before it.
        let mut tell = |edge: Heard, samples_ago: u64| {
            heard(edge.key, edge.phase, now_us.saturating_sub(samples_ago * US_PER_SAMPLE));
        };
        let length = payload.len() as u64;
        match self.place(ts, now_us) {
            Place::Late { back } => {
                let from = self.lookback.head().saturating_sub(back);
                self.lookback.fill_gap(from, ts, marker, now_us, payload);
                return;
            }
            Place::Next { gap } => self.bridge(gap, &mut |edge, ago| tell(edge, ago + length)),
            Place::AfterPause => self.begin_anew(&mut |edge, ago| tell(edge, ago + length)),
            Place::Jump => {
                self.begin_anew(&mut |edge, ago| tell(edge, ago + length));
                let head = self.lookback.head();
                self.lookback.hide(head, head + HIDE_AFTER_JUMP);
            }
        }
        self.lookback.append(ts, marker, now_us, payload);
        self.stream = Stream::Running { next_ts: ts.wrapping_add(payload.len() as u32), came_us: now_us };
        let table = self.law.table();
        let mut samples = [0_i16; MAX_PACKET_SAMPLES];
        for (sample, byte) in samples.iter_mut().zip(payload) {
            *sample = table[usize::from(*byte)];
        }
        self.examine(&samples[..payload.len()], &mut tell);
    }

    /// A telephone-event packet was seen for `[ts, ts + duration)` of the same RTP clock: the audio under
    /// it, the look-back before it and a margin after it are replaced (many phones leak a sliver of tone
    /// there). Until a packet with the end bit (`ended`) comes, the margin is long, as the end may be lost.
    pub fn cover(&mut self, now_us: u64, ts: u32, duration: u32, ended: bool) {
        self.covers.add(now_us, ts, duration, ended, self.look_back as u32);
    }

    /// The next packet whose look-back is over, or whose time has run out by the clock. Call until `None`.
    pub fn pop(&mut self, now_us: u64) -> Option<Held<'_>> {
        let first = *self.lookback.first()?;
        if first.end() + self.look_back <= self.lookback.head() {
            return Some(self.release(&first));
        }
        if now_us < self.deadline_us(&first) {
            return None;
        }
        self.hide_unvouched(&first);
        Some(self.release(&first))
    }

    /// Secure mode is left: the next packet still held, tones replaced, whatever its age. Call until `None`.
    pub fn drain(&mut self) -> Option<Held<'_>> {
        let first = *self.lookback.first()?;
        if first.end() + self.look_back > self.lookback.head() {
            self.hide_unvouched(&first);
        }
        Some(self.release(&first))
    }

    /// When [`Guard::pop`] has a packet at the latest, by the clock of `now_us`; `None` when nothing is held.
    #[must_use]
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.lookback.first().map(|first| self.deadline_us(first))
    }

    fn deadline_us(&self, packet: &Packet) -> u64 {
        // The stream releases it with a whole number of packets of its own length.
        let length = (packet.len as u64).max(1);
        let by_stream = self.look_back.div_ceil(length) * length;
        packet.came_us.saturating_add(by_stream * US_PER_SAMPLE + CLOCK_GRACE_US)
    }

    fn place(&self, ts: u32, now_us: u64) -> Place {
        let Stream::Running { next_ts, came_us } = self.stream else { return Place::Next { gap: 0 } };
        let ahead = ts.wrapping_sub(next_ts);
        let behind = u64::from(next_ts.wrapping_sub(ts));
        if u64::from(ahead) <= MAX_GAP {
            return Place::Next { gap: u64::from(ahead) };
        }
        if behind <= MAX_LATE {
            return Place::Late { back: behind };
        }
        let by_clock_ms = now_us.saturating_sub(came_us) / 1000;
        let by_stamp_ms = u64::from(ahead) / SAMPLES_PER_MS;
        if by_clock_ms.abs_diff(by_stamp_ms) <= PAUSE_SLACK_MS { Place::AfterPause } else { Place::Jump }
    }

    /// Samples were lost or left out: the detector hears silence for them.
    fn bridge(&mut self, gap: u64, tell: &mut dyn FnMut(Heard, u64)) {
        if gap == 0 {
            return;
        }
        let in_tone = self.suspicion.is_on() || self.detector.is_on();
        let before = self.lookback.head();
        self.lookback.skip(gap);
        let head = self.lookback.head();
        if in_tone {
            self.lookback.hide(before, head + HIDE_AFTER_GAP);
        } else if Suspicion::could_begin(self.detector.spectrum()) {
            self.lookback.hide(before.saturating_sub(UNVOUCHED), head);
        }
        let silence = [0_i16; MAX_GAP as usize];
        self.examine(&silence[..gap.min(MAX_GAP) as usize], tell);
    }

    /// After a pause or a jump: what was going on ends here, and a gap of fixed length is put between.
    fn begin_anew(&mut self, tell: &mut dyn FnMut(Heard, u64)) {
        self.bridge(MAX_GAP, tell);
    }

    /// Shows the samples that end at the head to the detector and to suspicion.
    fn examine(&mut self, samples: &[i16], tell: &mut dyn FnMut(Heard, u64)) {
        let mut rest = samples;
        while !rest.is_empty() {
            let (taken, turn) = self.detector.advance(rest);
            rest = &rest[taken..];
            let Some(turn) = turn else { continue };
            let block_end = self.lookback.head() - rest.len() as u64;
            self.detector.prepare();
            let (spectrum, sums) = (self.detector.spectrum(), self.detector.sums());
            let heard_samples = spectrum.blocks() * BLOCK as u64;
            if let Some(hide) = self.suspicion.observe(spectrum, sums) {
                let from = block_end.saturating_sub(hide.from_back as u64);
                self.lookback.hide(from, block_end + hide.beyond as u64);
            }
            if self.detector.is_on() {
                self.lookback.hide(block_end.saturating_sub(BLOCK as u64), block_end);
            }
            for edge in turn.ended.into_iter().chain(turn.begun) {
                let ago = heard_samples.saturating_sub(edge.at_sample);
                if edge.phase == Phase::Begin {
                    let from = block_end.saturating_sub(ago + ONSET_MARGIN);
                    self.lookback.hide(from, block_end + ONSET_MARGIN);
                }
                tell(edge, ago + rest.len() as u64);
            }
        }
    }

    /// Hides the end of a packet that leaves before its look-back is full.
    fn hide_unvouched(&mut self, packet: &Packet) {
        let vouched = self.lookback.head().saturating_sub(UNVOUCHED).max(packet.from);
        if vouched < packet.end() {
            let (from, to) = (vouched, packet.end());
            let loud =
                (from..to).any(|at| self.law.decode(self.lookback.byte(at)).unsigned_abs() > QUIET_PEAK);
            if loud {
                self.lookback.hide(from, to);
            }
        }
    }

    fn release(&mut self, packet: &Packet) -> Held<'_> {
        self.hide_covered(packet);
        let law = self.law;
        let length = packet.len.min(MAX_PACKET_SAMPLES);
        if !self.lookback.any_hidden(packet.from.saturating_sub(FADE), packet.end() + FADE) {
            self.lookback.copy(packet, &mut self.out[..length]);
            self.lookback.drop_first();
            return Held { ts: packet.ts, marker: packet.marker, payload: &self.out[..length] };
        }
        let distances = self.distances_to_hidden(packet);
        for (position, (slot, distance)) in (packet.from..).zip(self.out[..length].iter_mut().zip(distances))
        {
            let byte = self.lookback.byte(position);
            *slot = match distance {
                FAR.. => byte,
                0 => self.filler.byte(position, law),
                near => {
                    let (own, fill) = (i32::from(law.decode(byte)), i32::from(self.filler.sample(position)));
                    let (near, span) = (i32::from(near), i32::from(FAR));
                    law.encode(((own * near + fill * (span - near)) / span) as i16)
                }
            };
        }
        self.lookback.drop_first();
        Held { ts: packet.ts, marker: packet.marker, payload: &self.out[..length] }
    }

    /// Marks what lies under telephone-events, in the packet and as far beyond as a fade looks.
    fn hide_covered(&mut self, packet: &Packet) {
        if self.covers.is_empty() {
            return;
        }
        for position in packet.from..(packet.end() + FADE).min(self.lookback.head()) {
            let ts = packet.ts.wrapping_add((position - packet.from) as u32);
            if self.covers.hides(ts) {
                self.lookback.hide(position, position + 1);
            }
        }
    }

    /// How far the nearest hidden sample is from each of the packet's: 0 for a hidden one, [`FAR`] when it
    /// is out of a fade's reach.
    fn distances_to_hidden(&self, packet: &Packet) -> [u8; MAX_PACKET_SAMPLES] {
        let mut distances = [FAR; MAX_PACKET_SAMPLES];
        let step = |distance: u8, position: u64| {
            if self.lookback.is_hidden(position) { 0 } else { (distance + 1).min(FAR) }
        };
        let mut distance = (packet.from.saturating_sub(FADE)..packet.from).fold(FAR, step);
        for (slot, position) in distances.iter_mut().zip(packet.from..packet.end()) {
            distance = step(distance, position);
            *slot = distance;
        }
        distance = (packet.end()..packet.end() + FADE).rev().fold(FAR, step);
        let length = packet.len.min(MAX_PACKET_SAMPLES);
        for (index, slot) in distances[..length].iter_mut().enumerate().rev() {
            distance = step(distance, packet.from + index as u64);
            *slot = distance.min(*slot);
        }
        distances
    }
}

/// A peak of −60 dBm0: nothing quieter is a tone that a decoder reads.
const QUIET_PEAK: u16 = 23;
