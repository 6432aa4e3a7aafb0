//! What a phone sends: speech, and between it the keys its owner presses, as RTP packets of 20 ms (RFC 3550).

use std::collections::VecDeque;
use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::codec;
use super::session_description::PCMU;
use super::voice::{FRAME_SAMPLES, SAMPLE_RATE_HZ, Voice};

/// How a phone sends its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyCarrier {
    /// RFC 4733 telephone-event packets.
    Event,
    /// SIP INFO requests.
    Info,
    /// Tones in the audio.
    InBand,
}

impl KeyCarrier {
    /// The carrier's name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "RFC 4733 events",
            Self::Info => "SIP INFO",
            Self::InBand => "in-band tones",
        }
    }
}

/// Keys a phone remembers to press: a card number, an expiry and a security code, twice over.
pub const MAX_QUEUED_KEYS: usize = 64;
/// Length of one key press, a quick but ordinary thumb.
pub const PRESS_MS: u64 = TONE_FRAMES * FRAME_MS;
/// The talker falls silent this long before the first key of a run, and after the last one.
pub const HUSH_MS: u64 = HUSH_FRAMES * FRAME_MS;

/// In a run of keys, a space: the talker speaks this long before going on, as people do between groups of digits.
pub const PAUSE: char = ' ';
const PAUSE_FRAMES: u64 = 35;

/// Length of one packet.
pub(super) const FRAME_MS: u64 = 20;
const TONE_FRAMES: u64 = 6;
const HUSH_FRAMES: u64 = 5;
/// Levels of the tones: what ITU-T Q.23 phones commonly send, the high group 2 dB above the low one.
const LOW_DBM0: f64 = -9.0;
const HIGH_DBM0: f64 = -7.0;
const RTP_HEADER: usize = 12;

/// One phone's outgoing stream.
#[derive(Debug)]
pub(super) struct Talker {
    voice: Voice,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    queue: VecDeque<(char, KeyCarrier)>,
    doing: Doing,
    /// The next audio packet is the first after a pause.
    resumes: bool,
}

#[derive(Clone, Copy, Debug)]
enum Doing {
    Speaking,
    /// Speaking between two groups of keys, for so many frames more.
    Breath(u64),
    /// Silent around keys, for so many frames more.
    Hushed(u64),
    /// In this frame of a key press that began at this timestamp.
    Pressing {
        key: char,
        carrier: KeyCarrier,
        frame: u64,
        began: u32,
    },
}

/// 20 ms of a phone.
#[derive(Debug)]
pub(super) struct Frame {
    /// The audio in it: silence while an event packet takes its place.
    pub(super) audio: [i16; FRAME_SAMPLES],
    /// RTP packets to send.
    pub(super) packets: Vec<Vec<u8>>,
    /// The key whose press begins with this frame, and the carrier it really takes.
    pub(super) pressed: Option<(char, KeyCarrier)>,
}

impl Talker {
    pub(super) fn new(voice: Voice, ssrc: u32) -> Self {
        let doing = Doing::Speaking;
        Self { voice, ssrc, sequence: 1, timestamp: 0, queue: VecDeque::new(), doing, resumes: true }
    }

    /// Queues keys and pauses; those that do not fit are not pressed. Gives how many were taken.
    pub(super) fn press(&mut self, keys: &str, carrier: KeyCarrier) -> usize {
        let keys = keys.chars().filter(|key| *key == PAUSE || event_code(*key).is_some());
        let before = self.queue.len();
        self.queue.extend(keys.take(MAX_QUEUED_KEYS - before).map(|key| (key, carrier)));
        self.queue.len() - before
    }

    /// Keys still to be pressed, the one under way included.
    pub(super) fn keys_left(&self) -> usize {
        self.queue.len() + usize::from(matches!(self.doing, Doing::Pressing { .. }))
    }

    /// The call is over: keys not pressed by now are not for the next one.
    pub(super) fn forget_keys(&mut self) {
        self.queue.clear();
        self.doing = Doing::Speaking;
    }

    /// The next 20 ms. `event` is the payload type the other side takes telephone-events as, if it does.
    pub(super) fn frame(&mut self, event: Option<u8>) -> Frame {
        let mut out = Frame { audio: [0; FRAME_SAMPLES], packets: Vec::new(), pressed: None };
        self.step(event, &mut out);
        let mut as_event = None;
        match self.doing {
            Doing::Speaking | Doing::Breath(_) => out.audio = self.voice.frame(),
            Doing::Pressing { key, carrier: KeyCarrier::InBand, frame, .. } => {
                let first = frame * FRAME_SAMPLES as u64;
                out.audio = std::array::from_fn(|n| tone_sample(key, first + n as u64, LOW_DBM0, HIGH_DBM0));
            }
            Doing::Pressing { key, carrier: KeyCarrier::Event, frame, began } => {
                as_event = event.zip(event_code(key)).map(|(kind, code)| (kind, code, frame, began));
            }
            Doing::Hushed(_) | Doing::Pressing { carrier: KeyCarrier::Info, .. } => {}
        }
        match as_event {
            Some((kind, code, frame, began)) => self.event_packets(kind, code, frame, began, &mut out),
            None => {
                let payload: Vec<u8> = out.audio.iter().map(|sample| codec::encode(*sample)).collect();
                let resumes = std::mem::replace(&mut self.resumes, false);
                let packet = self.packet(PCMU, resumes, self.timestamp, &payload);
                out.packets.push(packet);
            }
        }
        self.timestamp = self.timestamp.wrapping_add(FRAME_SAMPLES as u32);
        out
    }

    /// Moves on to what this frame is for.
    fn step(&mut self, event: Option<u8>, out: &mut Frame) {
        self.doing = match self.doing {
            Doing::Speaking | Doing::Breath(0) if self.queue.is_empty() => Doing::Speaking,
            Doing::Speaking | Doing::Breath(0) => Doing::Hushed(HUSH_FRAMES - 1),
            Doing::Breath(left) => Doing::Breath(left - 1),
            Doing::Hushed(0) => match self.queue.pop_front() {
                None => Doing::Speaking,
                Some((PAUSE, _)) => Doing::Breath(PAUSE_FRAMES - 1),
                Some((key, wanted)) => {
                    // A phone whose events are refused sends tones instead.
                    let refused = wanted == KeyCarrier::Event && event.is_none();
                    let carrier = if refused { KeyCarrier::InBand } else { wanted };
                    out.pressed = Some((key, carrier));
                    Doing::Pressing { key, carrier, frame: 0, began: self.timestamp }
                }
            },
            Doing::Hushed(left) => Doing::Hushed(left - 1),
            Doing::Pressing { key, carrier, frame, began } if frame + 1 < TONE_FRAMES => {
                Doing::Pressing { key, carrier, frame: frame + 1, began }
            }
            Doing::Pressing { .. } => Doing::Hushed(HUSH_FRAMES - 1),
        };
    }

    /// RFC 4733, section 2.5.1: every 20 ms with a growing duration, marker on the first, the end said three times.
    fn event_packets(&mut self, kind: u8, code: u8, frame: u64, began: u32, out: &mut Frame) {
        let duration = ((frame + 1) * FRAME_SAMPLES as u64) as u16;
        let last = frame + 1 == TONE_FRAMES;
        let volume = 10;
        let end = if last { 0x80 } else { 0 };
        let [high, low] = duration.to_be_bytes();
        for _ in 0..if last { 3 } else { 1 } {
            let packet = self.packet(kind, frame == 0, began, &[code, end | volume, high, low]);
            out.packets.push(packet);
        }
        self.resumes = true;
    }

    fn packet(&mut self, payload_type: u8, marker: bool, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::with_capacity(RTP_HEADER + payload.len());
        packet.extend([0x80, payload_type | if marker { 0x80 } else { 0 }]);
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }
}

/// The parts of an RTP packet a phone looks at.
#[derive(Debug, PartialEq)]
pub(super) struct Heard<'a> {
    pub(super) payload_type: u8,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    pub(super) payload: &'a [u8],
}

/// Reads an RTP packet (RFC 3550, section 5.1). `None` for anything else.
pub(super) fn read_packet(packet: &[u8]) -> Option<Heard<'_>> {
    let (header, rest) = packet.split_at_checked(RTP_HEADER)?;
    if header[0] >> 6 != 2 {
        return None;
    }
    let mut payload = rest.get(usize::from(header[0] & 0x0F) * 4..)?;
    if header[0] & 0x10 != 0 {
        let words = u16::from_be_bytes([*payload.get(2)?, *payload.get(3)?]);
        payload = payload.get(4 + usize::from(words) * 4..)?;
    }
    if header[0] & 0x20 != 0 {
        payload = payload.get(..payload.len().checked_sub(usize::from(*payload.last()?))?)?;
    }
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    Some(Heard { payload_type: header[1] & 0x7F, timestamp: word(4), ssrc: word(8), payload })
}

/// Sample `n` of a key's two tones (ITU-T Q.23) at these levels; silence for what is no key.
#[must_use]
pub fn tone_sample(key: char, n: u64, low_dbm0: f64, high_dbm0: f64) -> i16 {
    const ROWS: [(&str, f64); 4] = [("123A", 697.0), ("456B", 770.0), ("789C", 852.0), ("*0#D", 941.0)];
    const COLUMNS_HZ: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
    let Some((low_hz, column)) = ROWS.iter().find_map(|(keys, hz)| Some((*hz, keys.find(key)?))) else {
        return 0;
    };
    // G.711's loudest sine, peak 32,124, is +3.17 dBm0.
    let wave = |hz: f64, dbm0: f64| {
        let peak = 32_124.0 * 10_f64.powf((dbm0 - 3.17) / 20.0);
        peak * (2.0 * PI * hz * n as f64 / f64::from(SAMPLE_RATE_HZ)).sin()
    };
    (wave(low_hz, low_dbm0) + wave(COLUMNS_HZ[column], high_dbm0)) as i16
}

/// The RFC 4733 event code of a key.
fn event_code(key: char) -> Option<u8> {
    "0123456789*#ABCD".find(key).map(|code| code as u8)
}

#[cfg(test)]
mod tests {
    use hushpad_telephony::detector::Phase;
    use hushpad_telephony::g711::Law;
    use hushpad_telephony::guard::{Guard, GuardConfig};

    use super::*;
    use crate::demo::ear;

    fn talker() -> Talker {
        Talker::new(Voice::new(1, 120.0), 42)
    }

    fn frames(talker: &mut Talker, event: Option<u8>) -> Vec<Frame> {
        let mut frames = Vec::new();
        while talker.keys_left() > 0 {
            frames.push(talker.frame(event));
        }
        frames.extend((0..20).map(|_| talker.frame(event)));
        frames
    }

    #[test]
    fn events_have_one_start_a_growing_duration_and_three_ends() {
        let mut talker = talker();
        assert_eq!(talker.press("4x1", KeyCarrier::Event), 2);
        let frames = frames(&mut talker, Some(101));
        let packets: Vec<Heard<'_>> =
            frames.iter().flat_map(|frame| &frame.packets).filter_map(|packet| read_packet(packet)).collect();
        let events: Vec<_> = packets.iter().filter(|packet| packet.payload_type == 101).collect();
        assert_eq!(events.len(), 16, "two keys of six frames, the last one three times");
        let durations: Vec<u16> =
            events[..8].iter().map(|e| u16::from_be_bytes([e.payload[2], e.payload[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 960, 960, 960]);
        assert!(events[..8].iter().all(|e| e.payload[0] == 4 && e.timestamp == events[0].timestamp));
        assert_eq!(events[..8].iter().filter(|e| e.payload[1] & 0x80 != 0).count(), 3);
        let audio: Vec<i16> = frames.iter().flat_map(|frame| frame.audio).collect();
        assert_eq!(ear::tones(&audio), [], "no tone in the audio beside the events");
    }

    #[test]
    fn tones_in_the_audio_are_heard_as_the_keys_pressed() {
        let mut talker = talker();
        talker.press("4111#0", KeyCarrier::InBand);
        let frames = frames(&mut talker, Some(101));
        let sent: Vec<i16> = frames
            .iter()
            .flat_map(|frame| &frame.packets)
            .flat_map(|packet| read_packet(packet).unwrap().payload.iter().map(|byte| codec::decode(*byte)))
            .collect();
        let heard = ear::tones(&sent);
        assert_eq!(heard.iter().map(|tone| tone.key).collect::<String>(), "4111#0");
        assert!(heard.iter().all(|tone| tone.length_ms.abs_diff(PRESS_MS) <= 10), "{heard:?}");
        let pressed: String = frames.iter().filter_map(|frame| frame.pressed).map(|(key, _)| key).collect();
        assert_eq!(pressed, "4111#0");
    }

    /// What comes out of the product's guard, packet by packet, and how many keys it heard.
    fn guarded(frames: &[Frame]) -> (Vec<i16>, usize) {
        let mut guard = Guard::new(GuardConfig::default(), Law::Mu);
        let (mut audio, mut keys) = (Vec::new(), 0);
        let packets = frames.iter().flat_map(|frame| &frame.packets).filter_map(|packet| read_packet(packet));
        for (n, packet) in packets.enumerate() {
            let now_us = n as u64 * 1000 * FRAME_MS;
            guard.push(now_us, packet.timestamp, false, packet.payload, &mut |_, phase, _| {
                keys += usize::from(phase == Phase::Begin);
            });
            while let Some(held) = guard.pop(now_us) {
                audio.extend(held.payload.iter().map(|byte| codec::decode(*byte)));
            }
        }
        (audio, keys)
    }

    #[test]
    fn after_the_guard_the_ear_hears_speech_and_no_tone() {
        let mut talker = talker();
        talker.press("4111 1111 1111 1111#", KeyCarrier::InBand);
        let (audio, keys) = guarded(&frames(&mut talker, Some(101)));
        assert_eq!(keys, 17);
        assert_eq!(ear::tones(&audio), []);
        assert!(ear::loudest_speech_dbm0(&audio) > ear::SPEECH_DBM0);
    }

    #[test]
    fn the_guard_lets_the_speech_of_both_phones_pass() {
        for (seed, pitch_hz) in [(11, 118.0), (23, 205.0)] {
            let mut talker = Talker::new(Voice::new(seed, pitch_hz), 1);
            let frames: Vec<Frame> = (0..50 * 120).map(|_| talker.frame(None)).collect();
            let said: Vec<i16> = frames.iter().flat_map(|frame| frame.audio).collect();
            let (passed, keys) = guarded(&frames);
            let silenced =
                said.iter().zip(&passed).filter(|(said, passed)| said.abs() > 200 && **passed == 0).count();
            assert_eq!(keys, 0);
            // 0.2 %, the bar for speech.
            assert!(silenced * 500 < said.len(), "{silenced} of {} samples", said.len());
        }
    }

    #[test]
    fn a_phone_whose_events_are_refused_sends_tones() {
        let mut talker = talker();
        talker.press("7", KeyCarrier::Event);
        let audio: Vec<i16> = frames(&mut talker, None).iter().flat_map(|frame| frame.audio).collect();
        assert_eq!(ear::tones(&audio).len(), 1);
    }

    #[test]
    fn in_a_pause_between_keys_the_customer_speaks() {
        let mut talker = talker();
        talker.press("1 1", KeyCarrier::InBand);
        let frames = frames(&mut talker, Some(101));
        let presses: Vec<usize> = (0..frames.len()).filter(|n| frames[*n].pressed.is_some()).collect();
        let between: Vec<i16> =
            frames[presses[0] + 6..presses[1]].iter().flat_map(|frame| frame.audio).collect();
        assert!(ear::loudest_speech_dbm0(&between) > ear::SPEECH_DBM0);
        let all: Vec<i16> = frames.iter().flat_map(|frame| frame.audio).collect();
        assert_eq!(ear::tones(&all).len(), 2);
    }

    #[test]
    fn the_queue_of_keys_is_bounded() {
        let mut talker = talker();
        assert_eq!(talker.press(&"1".repeat(100), KeyCarrier::Info), MAX_QUEUED_KEYS);
        assert_eq!(talker.press("1", KeyCarrier::Info), 0);
    }

    #[test]
    fn extensions_sources_and_padding_are_skipped() {
        let packet = [
            &[0xB1, 0x80, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9, 9, 9, 0, 0, 0, 1, 8, 8, 8, 8],
            &[5, 6, 0, 2][..],
        ];
        let packet = packet.concat();
        let heard = read_packet(&packet).unwrap();
        assert_eq!(heard, Heard { payload_type: 0, timestamp: 2, ssrc: 3, payload: &[5, 6] });
        for cut in 0..packet.len() - 1 {
            assert_eq!(read_packet(&packet[..cut]), None, "cut at {cut}");
        }
    }
}
