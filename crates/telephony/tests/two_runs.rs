//! Two runs, one difference: whatever the customer keys, the agent leg gets the same packets at the same times.
//!
//! A search for digits finds only what one thought to search for. Here the same call is played twice with
//! other keys, and every byte and time toward the agent is compared: a digit that shows in the length of a
//! silence, in a packet more or less, or in a moment's delay, is found too.

use std::f64::consts::TAU;
use std::net::SocketAddr;
use std::sync::Arc;

use hushpad_telephony::g711::Law;
use hushpad_telephony::guard::{Fill, GuardConfig};
use hushpad_telephony::key::Key;
use hushpad_telephony::key_queue::KeyQueue;
use hushpad_telephony::relay::{Bridge, LegParams, SecureMode, Side, StreamSeed};
use hushpad_telephony::rtp::Header;

const PACKET_US: u64 = 20_000;
const SAMPLES: u32 = 160;
const EVENT: u8 = 101;
const PRESSES: u32 = 20;
const PEAK: f64 = 6000.0;
const KEYS: &[u8; 12] = b"1234567890*#";

/// How a phone tells of its keys.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Keying {
    Events,
    EventsOverTones,
    Tones,
}

/// What left toward the agent: when, where to, and every byte.
type Heard = Vec<(u64, SocketAddr, Vec<u8>)>;

#[test]
fn events_look_the_same_whatever_the_key() {
    assert_all_keys_look_the_same(Keying::Events, Fill::Silence);
    assert_all_keys_look_the_same(Keying::Events, Fill::Beep);
}

#[test]
fn events_with_their_tone_beneath_look_the_same_whatever_the_key() {
    assert_all_keys_look_the_same(Keying::EventsOverTones, Fill::Silence);
}

/// A tone is hidden from before its onset until after its end, and where exactly that begins and ends is
/// heard from the tone itself. So an edge may lie a block of the spectrum earlier or later for another key,
/// and nothing else may differ.
///
/// A grid does not cure that. Of 160 presses, each of all twelve keys, begun at each of the 160 samples of a packet,
/// 76 have an edge that differs between keys, by 23 samples at most. With edges put out to whole packets 8 still
/// differ, now by 160 samples: where an edge is near a line of the grid, one key is on its other side. Any rule that
/// hears the edge from the sound has such places; and what is put out is speech, too, of which the guard silences
/// what the bar allows already (docs/performance.md).
#[test]
fn tones_look_the_same_whatever_the_key_but_for_the_edges_of_the_silence() {
    /// What edges differ by, and the ramp that makes them click-free.
    const EDGE_SAMPLES: usize = 23 + 16;
    let sound =
        |heard: &Heard| -> Vec<u8> { heard.iter().flat_map(|(.., bytes)| bytes[12..].to_vec()).collect() };
    let frame = |heard: &Heard| -> Vec<_> {
        heard.iter().map(|(at_us, to, bytes)| (*at_us, *to, bytes[..12].to_vec(), bytes.len())).collect()
    };
    let (first, _) = play(Keying::Tones, Fill::Silence, KEYS[0], 0);
    let first_sound = sound(&first);
    let is_silence = |n: usize| first_sound.get(n).is_none_or(|byte| *byte == Law::Mu.silence());
    for key in &KEYS[1..] {
        let (heard, keys) = play(Keying::Tones, Fill::Silence, *key, 0);
        assert_eq!(keys, char::from(*key).to_string().repeat(PRESSES as usize));
        assert_eq!(frame(&first), frame(&heard), "when packets leave, and what they are called");
        let other = sound(&heard);
        for (n, _) in first_sound.iter().zip(&other).enumerate().filter(|(_, (was, is))| was != is) {
            let around = n.saturating_sub(EDGE_SAMPLES)..n + EDGE_SAMPLES;
            let at_edge = around.clone().any(is_silence) && !around.clone().all(is_silence);
            assert!(at_edge, "sample {n} tells {:?} from 1", char::from(*key));
        }
    }
}

/// Without this the others would prove nothing: what is compared does change with what is said.
#[test]
fn another_sound_is_seen() {
    let (heard, _) = play(Keying::Tones, Fill::Silence, b'1', 0);
    let (other, _) = play(Keying::Tones, Fill::Silence, b'1', 1);
    assert_ne!(heard, other);
}

#[track_caller]
fn assert_all_keys_look_the_same(keying: Keying, fill: Fill) {
    let (first, keys) = play(keying, fill, KEYS[0], 0);
    assert_eq!(keys, "1".repeat(PRESSES as usize), "{keying:?}: the keys were taken");
    assert!(first.len() > 40, "{keying:?}: the agent hears a stream");
    for key in &KEYS[1..] {
        let (heard, keys) = play(keying, fill, *key, 0);
        assert_eq!(keys, char::from(*key).to_string().repeat(PRESSES as usize));
        for (n, (was, is)) in first.iter().zip(&heard).enumerate() {
            assert!(
                was == is,
                "{keying:?}, {fill:?}: packet {n} tells {:?} from 1: {}",
                char::from(*key),
                diff(&was.2, &is.2)
            );
        }
        assert_eq!(first.len(), heard.len());
    }
}

fn diff(was: &[u8], is: &[u8]) -> String {
    let places: Vec<_> =
        was.iter().zip(is).enumerate().filter(|(_, (a, b))| a != b).map(|(n, _)| n).collect();
    format!("bytes {places:?}")
}

/// A call in secure mode: talk, presses of `key` with talk between, talk.
fn play(keying: Keying, fill: Fill, key: u8, talk_seed: u32) -> (Heard, String) {
    let mut call = Call::new(fill);
    let mut voice = Voice(12_345 + talk_seed);
    let code = Key::from_ascii(key).map(Key::event_code).expect("the key is one");
    call.talk(&mut voice, 10);
    for press in 0..PRESSES {
        let start = call.timestamp;
        for n in 1..=5_u32 {
            let sound = match keying {
                Keying::Events => voice.packet(),
                Keying::EventsOverTones | Keying::Tones => tone(key, n - 1, press * 53 % SAMPLES, &mut voice),
            };
            call.audio(&sound);
            if keying != Keying::Tones {
                let [high, low] = u16::try_from(n * SAMPLES).unwrap_or(u16::MAX).to_be_bytes();
                call.send(EVENT, start, &[code, u8::from(n == 5) << 7 | 10, high, low]);
            }
            call.now_us += PACKET_US;
        }
        call.talk(&mut voice, 8);
    }
    call.talk(&mut voice, 10);
    let keys = std::iter::from_fn(|| call.keys.pop()).map(|report| char::from(report.key.ascii())).collect();
    (call.heard, keys)
}

struct Call {
    bridge: Bridge,
    keys: Arc<KeyQueue>,
    now_us: u64,
    sequence: u16,
    timestamp: u32,
    heard: Heard,
}

impl Call {
    fn new(fill: Fill) -> Self {
        let seed = |ssrc| StreamSeed { ssrc, sequence: 1, timestamp: 7, name: 0 };
        let mut bridge = Bridge::new(seed(0xc), seed(0xa));
        bridge.set_leg(Side::Customer, LegParams::pcmu(Some(customer())));
        bridge.set_leg(Side::Agent, LegParams::pcmu(Some(SocketAddr::from(([192, 0, 2, 2], 5000)))));
        let keys = Arc::new(KeyQueue::new());
        let config = GuardConfig { fill, ..GuardConfig::default() };
        bridge.secure(Box::new(SecureMode::new(config, Arc::clone(&keys))));
        Self { bridge, keys, now_us: 50_000_000, sequence: 100, timestamp: 8_000, heard: Vec::new() }
    }

    fn talk(&mut self, voice: &mut Voice, packets: u32) {
        for _ in 0..packets {
            let sound = voice.packet();
            self.audio(&sound);
            self.now_us += PACKET_US;
        }
    }

    fn audio(&mut self, sound: &[u8]) {
        self.send(0, self.timestamp, sound);
        self.timestamp += SAMPLES;
    }

    fn send(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let header = Header { marker: false, payload_type, sequence: self.sequence, timestamp, ssrc: 1 };
        self.sequence += 1;
        let (now_us, heard) = (self.now_us, &mut self.heard);
        let mut emit = |side, to, bytes: &[u8]| {
            if side == Side::Agent {
                heard.push((now_us, to, bytes.to_vec()));
            }
        };
        self.bridge.packet(
            now_us,
            Side::Customer,
            customer(),
            &mut [&header.to_bytes(), payload].concat(),
            &mut emit,
        );
    }
}

fn customer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4000))
}

/// Soft noise in place of talk: the guard lets it pass.
struct Voice(u32);

impl Voice {
    fn packet(&mut self) -> Vec<u8> {
        let mut sample = || {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Law::Mu.encode((self.0 >> 24) as i16 - 128)
        };
        (0..SAMPLES).map(|_| sample()).collect()
    }
}

/// Packet `n` of a key's tone (ITU-T Q.23).
fn tone(key: u8, n: u32, late: u32, voice: &mut Voice) -> Vec<u8> {
    let mut sound = voice.packet();
    let place = b"123A456B789C*0#D".iter().position(|one| *one == key).expect("the key is one");
    let (low, high) = ([697.0, 770.0, 852.0, 941.0][place / 4], [1209.0, 1336.0, 1477.0, 1633.0][place % 4]);
    // It begins and ends in the middle of a packet.
    let length = 4 * SAMPLES;
    for (at, byte) in (n * SAMPLES..).zip(&mut sound) {
        if let Some(at) = at.checked_sub(late).filter(|at| *at < length) {
            let at = f64::from(at) / 8000.0 * TAU;
            let sample = ((low * at).sin() + (high * at).sin()) * PEAK + f64::from(Law::Mu.decode(*byte));
            *byte = Law::Mu.encode(sample as i16);
        }
    }
    sound
}
