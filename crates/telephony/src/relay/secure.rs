//! Secure mode: the customer's sound on its way to the agent, without its keys.

use super::rate::KeyRate;
use crate::detector::Phase;
use crate::g711::Law;
use crate::guard::{Guard, GuardConfig, Held, MAX_PACKET_SAMPLES};
use crate::key::{Carrier, Key, KeyReport};
use crate::key_queue::{Alarm, Hint, KeyQueue, Lane};
use crate::rtp::Header;
use crate::telephone_event::{Receiver, events};
use std::sync::Arc;

/// Events share the clock of the audio, which is G.711's.
const CLOCK_RATE_HZ: u32 = 8000;

/// A packet of 20 ms, until the customer has shown another size.
const USUAL_SAMPLES: u16 = 160;

/// The longest packet we fill in: 60 ms, which is also the longest the guard takes.
const MAX_FILL_SAMPLES: u16 = MAX_PACKET_SAMPLES as u16;

/// Packets of silence put in at once; more are not a press but an interruption.
const MAX_FILLS: usize = 4;

/// A key counts as down so long after the last sign of it: its end packets may be lost, and its audio may
/// come after its events.
const KEY_LINGERS_US: u64 = 200_000;

/// An event this far from where the audio is does not belong to it.
const MAX_EVENT_DISTANCE_S: u32 = 4;

/// Everything secure mode needs, made before it is entered so that the media thread allocates nothing.
pub struct SecureMode {
    guard: Guard,
    law: Law,
    receiver: Receiver,
    keys: Arc<KeyQueue>,
    counting: Counting,
    event_rate: KeyRate,
    tone_rate: KeyRate,
    reported: u64,
    audio: Option<Audio>,
    samples: u16,
    tone: Tone,
    last_key_us: Option<u64>,
}

/// The tone in the audio.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Up,
    Down,
}

/// Whether keys still count.
enum Counting {
    Counted,
    /// The stream they came from was replaced.
    Stopped,
}

/// Where the customer's audio is, what we filled in included.
#[derive(Clone, Copy)]
struct Audio {
    next: u32,
    at_us: u64,
    /// Audio before this timestamp was replaced by our silence.
    filled: Option<u32>,
}

impl SecureMode {
    /// Secure mode whose keys go to `keys`.
    #[must_use]
    pub fn new(config: GuardConfig, keys: Arc<KeyQueue>) -> Self {
        Self {
            guard: Guard::new(config, Law::Mu),
            law: Law::Mu,
            receiver: Receiver::new(CLOCK_RATE_HZ),
            keys,
            counting: Counting::Counted,
            event_rate: KeyRate::default(),
            tone_rate: KeyRate::default(),
            reported: 0,
            audio: None,
            samples: USUAL_SAMPLES,
            tone: Tone::Up,
            last_key_us: None,
        }
    }

    /// The law the guard works in until secure mode ends.
    pub(super) fn begin(&mut self, law: Law) {
        self.law = law;
        self.guard.set_law(law);
    }

    pub(super) fn law(&self) -> Law {
        self.law
    }

    /// Keys handed over so far.
    pub(super) fn reported(&self) -> u64 {
        self.reported
    }

    /// Nobody reads the keys any more: nothing of the customer's sound may pass.
    pub(super) fn is_abandoned(&self) -> bool {
        self.keys.is_closed() || Arc::strong_count(&self.keys) < 2
    }

    pub(super) fn raise(&self, alarm: Alarm) {
        self.keys.raise(alarm);
    }

    pub(super) fn hint(&self, hint: Hint) {
        self.keys.raise_hint(hint);
    }

    /// Another stream begins. Its tones are hidden, its keys do not count.
    pub(super) fn stream_replaced(&mut self) {
        self.counting = Counting::Stopped;
        self.keys.raise(Alarm::StreamChanged);
        self.stream_restarted();
    }

    /// The same stream began to count anew.
    pub(super) fn stream_restarted(&mut self) {
        self.guard.reset();
        self.audio = None;
        self.tone = Tone::Up;
    }

    /// Takes audio, in the guard's law. What is longer than the guard takes goes on in pieces.
    pub(super) fn audio(&mut self, now_us: u64, header: &Header, payload: &[u8]) {
        let Ok(samples) = u16::try_from(payload.len()) else { return };
        let filled = self.audio.and_then(|audio| audio.filled);
        let replaced = filled.is_some_and(|filled| is_just_before(header.timestamp, filled));
        if samples == 0 || replaced {
            return;
        }
        self.fill_up_to(now_us, header.timestamp);
        self.samples = samples.min(MAX_FILL_SAMPLES);
        let (mut timestamp, mut marker) = (header.timestamp, header.marker);
        for piece in payload.chunks(MAX_PACKET_SAMPLES) {
            self.push(now_us, timestamp, marker, piece, None);
            timestamp = timestamp.wrapping_add(MAX_PACKET_SAMPLES as u32);
            marker = false;
        }
    }

    /// A sign of a key was seen.
    pub(super) fn key_seen(&mut self, now_us: u64) {
        self.last_key_us = Some(now_us);
    }

    /// Whether a key is down, or was a moment ago.
    pub(super) fn is_key_down(&self, now_us: u64) -> bool {
        self.last_key_us.is_some_and(|last_us| now_us.saturating_sub(last_us) < KEY_LINGERS_US)
    }

    /// Takes a telephone-event packet: its keys are reported, the audio it stands over is hidden, and when
    /// it came instead of audio, silence takes that place.
    pub(super) fn event(&mut self, now_us: u64, timestamp: u32, payload: &[u8]) {
        let Some(last) = events(timestamp, payload).last() else { return };
        self.key_seen(now_us);
        for event in events(timestamp, payload) {
            self.guard.cover(now_us, event.start, event.duration, event.ended);
        }
        let position = last.start.wrapping_add(last.duration);
        if self.belongs_to_audio(now_us, position) {
            let (keys, counting) = (&self.keys, &self.counting);
            let (rate, reported) = (&mut self.event_rate, &mut self.reported);
            self.receiver.packet(now_us, timestamp, payload, &mut |key, phase, onset_us| {
                report(
                    keys,
                    counting,
                    rate,
                    reported,
                    Press { key, phase, onset_us, carrier: Carrier::Event },
                );
            });
            self.fill(now_us, timestamp, position);
        }
    }

    /// The next packet for the agent.
    pub(super) fn pop(&mut self, now_us: u64) -> Option<Held<'_>> {
        self.guard.pop(now_us)
    }

    /// The next packet for the agent, its time come or not: secure mode ends.
    pub(super) fn drain(&mut self) -> Option<Held<'_>> {
        self.guard.drain()
    }

    pub(super) fn next_deadline_us(&self) -> Option<u64> {
        self.guard.next_deadline_us()
    }

    fn belongs_to_audio(&self, now_us: u64, position: u32) -> bool {
        let Some(audio) = self.audio else { return true };
        let passed_ms = u32::try_from(now_us.saturating_sub(audio.at_us) / 1000).unwrap_or(u32::MAX);
        let expected = audio.next.wrapping_add(passed_ms.wrapping_mul(CLOCK_RATE_HZ / 1000));
        let distance = position.wrapping_sub(expected).cast_signed().unsigned_abs();
        distance <= CLOCK_RATE_HZ * MAX_EVENT_DISTANCE_S
    }

    /// Keeps the agent's stream going: up to where the event is, and at the audio's pace while the end is
    /// being repeated.
    fn fill(&mut self, now_us: u64, timestamp: u32, position: u32) {
        let samples = u32::from(self.samples);
        let (mut next, last_us) = self.audio.map_or((timestamp, 0), |audio| (audio.next, audio.at_us));
        let missing = position.wrapping_sub(next).cast_signed();
        let mut fills = usize::try_from(missing).unwrap_or(0) / usize::from(self.samples);
        let pace_us = u64::from(samples) * 1_000_000 / u64::from(CLOCK_RATE_HZ);
        if fills == 0 && now_us.saturating_sub(last_us) >= pace_us * 3 / 4 {
            fills = 1;
        } else if fills > MAX_FILLS {
            next = position.wrapping_sub(samples);
            fills = 1;
        }
        self.push_silence(now_us, next, fills);
    }

    /// Sound comes again after events: end packets that came bunched were too few to fill their time.
    fn fill_up_to(&mut self, now_us: u64, timestamp: u32) {
        let Some(audio) = self.audio.filter(|audio| audio.filled == Some(audio.next)) else { return };
        let missing = u32::try_from(timestamp.wrapping_sub(audio.next).cast_signed()).unwrap_or(0);
        let fills = usize::try_from(missing / u32::from(self.samples)).unwrap_or(usize::MAX);
        if fills <= MAX_FILLS {
            self.push_silence(now_us, audio.next, fills);
        }
    }

    fn push_silence(&mut self, now_us: u64, mut next: u32, fills: usize) {
        let silent = [self.law.silence(); MAX_FILL_SAMPLES as usize];
        let payload = silent.get(..usize::from(self.samples)).unwrap_or(&silent);
        for _ in 0..fills {
            let end = next.wrapping_add(u32::from(self.samples));
            self.push(now_us, next, false, payload, Some(end));
            next = end;
        }
    }

    fn push(&mut self, now_us: u64, timestamp: u32, marker: bool, payload: &[u8], filled: Option<u32>) {
        let (keys, counting) = (&self.keys, &self.counting);
        let (rate, reported) = (&mut self.tone_rate, &mut self.reported);
        let before = self.tone;
        let tone = &mut self.tone;
        self.guard.push(now_us, timestamp, marker, payload, &mut |key, phase, onset_us| {
            *tone = if phase == Phase::Begin { Tone::Down } else { Tone::Up };
            report(keys, counting, rate, reported, Press { key, phase, onset_us, carrier: Carrier::InBand });
        });
        if before == Tone::Down || self.tone == Tone::Down {
            self.key_seen(now_us);
        }
        let samples = u32::try_from(payload.len()).unwrap_or(0);
        let end = timestamp.wrapping_add(samples);
        let (next, before) = self.audio.map_or((end, None), |audio| (audio.next, audio.filled));
        let next = if is_just_before(end, next) { next } else { end };
        self.audio = Some(Audio { next, at_us: now_us, filled: filled.or(before) });
    }
}

struct Press {
    key: Key,
    phase: Phase,
    onset_us: u64,
    carrier: Carrier,
}

fn report(keys: &KeyQueue, counting: &Counting, rate: &mut KeyRate, reported: &mut u64, press: Press) {
    if press.phase != Phase::Begin || matches!(counting, Counting::Stopped) {
        return;
    }
    if rate.is_too_fast(press.onset_us) {
        keys.raise(Alarm::TooFast);
        return;
    }
    let report = KeyReport { key: press.key, carrier: press.carrier, at_ms: press.onset_us / 1000 };
    *reported += u64::from(keys.push(Lane::Media, report));
}

/// Whether a timestamp is before another one of the same stretch of audio. Farther back than a second is
/// not late: the sender has jumped.
fn is_just_before(timestamp: u32, other: u32) -> bool {
    (1..=CLOCK_RATE_HZ).contains(&other.wrapping_sub(timestamp))
}
