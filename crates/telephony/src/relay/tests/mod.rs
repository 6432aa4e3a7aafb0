//! The bridge, by script: a phone on either side, and what each of them hears.

mod forks;
mod joined;
mod reports;
mod sealed;
mod secured;

use super::*;
use crate::g711::Law;
use crate::guard::GuardConfig;
use crate::key::{Carrier, Key, KeyReport};
use crate::key_queue::KeyQueue;
use std::f64::consts::TAU;
use std::sync::Arc;

const EVENT: u8 = 101;
const PACKET_US: u64 = 20_000;
const SAMPLES: u32 = 160;
/// No louder than [`speech`] after rounding: any tone is.
const NOISE_PEAK: u16 = 140;

fn address(side: Side) -> SocketAddr {
    match side {
        Side::Customer => SocketAddr::from(([192, 0, 2, 1], 4000)),
        Side::Agent => SocketAddr::from(([192, 0, 2, 2], 5000)),
    }
}

/// A sender of RTP.
struct Phone {
    next: Header,
}

impl Phone {
    fn new(ssrc: u32) -> Self {
        Self {
            next: Header { marker: false, payload_type: 0, sequence: 65_500, timestamp: 0xffff_f000, ssrc },
        }
    }

    fn packet(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let header = Header { payload_type, timestamp, ..self.next };
        self.next.sequence = self.next.sequence.wrapping_add(1);
        [&header.to_bytes(), payload].concat()
    }

    fn audio(&mut self, payload: &[u8]) -> Vec<u8> {
        let timestamp = self.next.timestamp;
        self.next.timestamp = timestamp.wrapping_add(payload.len() as u32);
        self.packet(0, timestamp, payload)
    }

    /// A press of `packets` packets in place of the audio, the end three times; 20 ms each.
    fn press(&mut self, key: u8, packets: u32) -> Vec<Vec<u8>> {
        let start = self.next.timestamp;
        let code = Key::from_ascii(key).unwrap().event_code();
        let sent = (1..=packets + 3).map(|n| {
            let [high, low] = u16::try_from(n.min(packets) * SAMPLES).unwrap().to_be_bytes();
            self.packet(EVENT, start, &[code, u8::from(n > packets) << 7 | 10, high, low])
        });
        let sent = sent.collect();
        self.next.timestamp = start.wrapping_add((packets + 3) * SAMPLES);
        sent
    }
}

/// A call, and everything that came out of it.
struct Call {
    bridge: Bridge,
    customer: Phone,
    agent: Phone,
    keys: Arc<KeyQueue>,
    now_us: u64,
    sent: Vec<(Side, SocketAddr, Vec<u8>)>,
}

impl Call {
    fn new() -> Self {
        let seed = |ssrc| StreamSeed { ssrc, sequence: 65_530, timestamp: 7, name: 1 };
        let mut call = Self {
            bridge: Bridge::new(seed(0xc), seed(0xa)),
            customer: Phone::new(1),
            agent: Phone::new(2),
            keys: Arc::new(KeyQueue::new()),
            now_us: 50_000_000,
            sent: Vec::new(),
        };
        for side in [Side::Customer, Side::Agent] {
            call.bridge.set_leg(side, LegParams::pcmu(Some(address(side))));
        }
        call
    }

    fn secured() -> Self {
        let mut call = Self::new();
        call.secure();
        call
    }

    fn secure(&mut self) {
        let secure = SecureMode::new(GuardConfig::default(), self.keys.clone());
        self.bridge.secure(Box::new(secure));
    }

    /// Whether secure mode was left.
    fn release(&mut self) -> bool {
        let sent = &mut self.sent;
        let mut emit = |side, to, bytes: &[u8]| sent.push((side, to, bytes.to_vec()));
        matches!(self.bridge.release(self.now_us, &mut emit), Release::Left(_))
    }

    fn arrives(&mut self, side: Side, from: SocketAddr, bytes: &[u8]) {
        let sent = &mut self.sent;
        let mut emit = |side, to, bytes: &[u8]| sent.push((side, to, bytes.to_vec()));
        self.bridge.packet(self.now_us, side, from, &mut bytes.to_vec(), &mut emit);
    }

    /// A packet of the customer, and 20 ms pass.
    fn customer_sends(&mut self, bytes: &[u8]) {
        self.arrives(Side::Customer, address(Side::Customer), bytes);
        self.now_us += PACKET_US;
    }

    fn customer_says(&mut self, payloads: impl IntoIterator<Item = Vec<u8>>) {
        for payload in payloads {
            let packet = self.customer.audio(&payload);
            self.customer_sends(&packet);
        }
    }

    fn customer_presses(&mut self, keys: &str) {
        for key in keys.bytes() {
            for packet in self.customer.press(key, 4) {
                self.customer_sends(&packet);
            }
            self.customer_says(speech(3));
        }
    }

    fn agent_says(&mut self, payload: &[u8]) {
        let packet = self.agent.audio(payload);
        self.arrives(Side::Agent, address(Side::Agent), &packet);
    }

    fn heard_by(&self, side: Side) -> Vec<Packet<'_>> {
        let sent = self.sent.iter().filter(|(to, ..)| *to == side);
        sent.map(|(_, _, bytes)| Packet::parse(bytes).unwrap()).collect()
    }

    fn keys(&self) -> String {
        std::iter::from_fn(|| self.keys.pop()).map(|report| char::from(report.key.ascii())).collect()
    }

    fn agent_stats(&self) -> LegStats {
        self.bridge.stats().agent
    }

    fn dropped(&self) -> Dropped {
        self.bridge.stats().customer.dropped
    }

    /// The agent's stream has one name, every number once and in order, and every timestamp in its place.
    #[track_caller]
    fn assert_agent_stream_is_whole(&self) {
        let heard = self.heard_by(Side::Agent);
        assert!(!heard.is_empty());
        for pair in heard.windows(2) {
            let (before, after) = (pair[0].header, pair[1].header);
            assert_eq!(after.ssrc, before.ssrc);
            assert_eq!(after.sequence, before.sequence.wrapping_add(1));
            assert_eq!(after.timestamp, before.timestamp.wrapping_add(pair[0].payload.len() as u32));
        }
    }
}

/// Soft noise, every packet another one: the guard lets it pass.
fn speech(packets: u32) -> Vec<Vec<u8>> {
    let mut state = 12_345_u32 + packets;
    let mut sample = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Law::Mu.encode((state >> 24) as i16 - 128)
    };
    (0..packets).map(|_| (0..SAMPLES).map(|_| sample()).collect()).collect()
}

fn tone(packets: u32) -> Vec<Vec<u8>> {
    let sample = |n: u32| {
        let at = f64::from(n) / 8000.0 * TAU;
        Law::Mu.encode((((697.0 * at).sin() + (1209.0 * at).sin()) * 6000.0) as i16)
    };
    (0..packets).map(|packet| (packet * SAMPLES..(packet + 1) * SAMPLES).map(sample).collect()).collect()
}

fn peak(packets: &[Packet<'_>]) -> u16 {
    let samples = packets.iter().flat_map(|packet| packet.payload);
    samples.map(|byte| Law::Mu.decode(*byte).unsigned_abs()).max().unwrap()
}
