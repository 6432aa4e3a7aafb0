//! A bridge under any sequence of packets, times, addresses and commands. In secure mode the agent gets audio only,
//! of one whole stream, without 10 ms of tone in it; silence when nobody reads the keys or a fault struck; nothing
//! when somebody else sent it.

use std::net::SocketAddr;
use std::sync::Arc;

use hushpad_telephony::g711::Law;
use hushpad_telephony::guard::GuardConfig;
use hushpad_telephony::key_queue::KeyQueue;
use hushpad_telephony::relay::{
    Bridge, Flow, LegParams, MAX_PACKET_BYTES, Release, SecureMode, Side, StreamSeed,
};
use hushpad_telephony::rtp::{HEADER_BYTES, Header, Packet, is_rtcp};

use super::Script;
use super::tones::{longest_tone, tone};

const EVENT: u8 = 101;
/// So much tone in a row always has a whole window of suspicion in it (10 ms, by steps of 2.5 ms), in samples. Less,
/// with anything or nothing around it, says nothing to anybody.
const LEAK: usize = 104;
/// Packets that one input lets go: all that the look-back holds.
const MOST_SENT: usize = 64;

/// See the module.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut scene = Scene::new(script.byte());
    while !script.is_over() {
        scene.step(&mut script);
    }
}

struct Scene {
    bridge: Bridge,
    keys: Option<Arc<KeyQueue>>,
    now_us: u64,
    nat: bool,
    agent: LegParams,
    customer: LegParams,
    next: Header,
    failed: bool,
    last: Option<Header>,
}

impl Scene {
    fn new(how: u8) -> Self {
        let seed = |ssrc| StreamSeed { ssrc, sequence: 65_530, timestamp: u32::MAX - 1000, name: 3 };
        let law = |a: bool| if a { LegParams::pcma as fn(_) -> _ } else { LegParams::pcmu };
        let nat = how & 1 != 0;
        let customer = LegParams { nat, ..law(how & 2 != 0)(Some(address(Side::Customer, 0))) };
        let agent = law(how & 4 != 0)(Some(address(Side::Agent, 0)));
        let mut scene = Self {
            bridge: Bridge::new(seed(0xc), seed(0xa)),
            keys: None,
            now_us: 1_000_000_000,
            nat,
            agent,
            customer,
            next: Header {
                marker: false,
                payload_type: 0,
                sequence: 65_500,
                timestamp: 0xffff_f000,
                ssrc: 1,
            },
            failed: false,
            last: None,
        };
        scene.bridge.set_leg(Side::Customer, customer);
        scene.bridge.set_leg(Side::Agent, agent);
        if how & 8 != 0 {
            scene.secure();
        }
        scene
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.below(16) {
            0..=6 => {
                let packet = self.audio(script);
                self.arrives(script, Side::Customer, &packet);
            }
            7 | 8 => {
                let packet = self.event(script);
                self.arrives(script, Side::Customer, &packet);
            }
            9 => {
                let packet = self.audio(script);
                self.arrives(script, Side::Agent, &packet);
            }
            10 => {
                let length = usize::from(script.word()) % (MAX_PACKET_BYTES + 8);
                let packet = script.bytes(length).to_vec();
                let side = if script.flag() { Side::Customer } else { Side::Agent };
                self.arrives(script, side, &packet);
            }
            11 => self.time_passes(u64::from(script.word())),
            12 => match script.below(4) {
                0 => self.secure(),
                1 => self.release(),
                2 => {
                    self.bridge.fault();
                    self.failed |= self.bridge.is_secured();
                }
                _ => self.keys = None,
            },
            13 => self.set_leg(script),
            14 => {
                if let Some(keys) = &self.keys {
                    while keys.pop().is_some() {}
                    while keys.take_alarm().is_some() {}
                }
            }
            _ => self.jump(script),
        }
    }

    /// A packet of tone, noise or silence.
    fn audio(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        let law = if script.flag() { Law::A } else { Law::Mu };
        let samples = [80, 160, 160, 160, 240, 480, 8, 700][usize::from(script.below(8))];
        let what = script.byte();
        let mut header = self.next;
        header.payload_type = if law == Law::A { 8 } else { 0 };
        let mut packet = header.to_bytes().to_vec();
        match what & 3 {
            0 | 1 => packet.extend(tone(usize::from(what >> 2), law, header.timestamp, samples)),
            2 => packet.extend(std::iter::repeat_n(law.silence(), samples)),
            _ => packet.extend(noise(u32::from(what) | 1).take(samples)),
        }
        self.next.sequence = self.next.sequence.wrapping_add(1);
        self.next.timestamp = self.next.timestamp.wrapping_add(samples as u32);
        packet
    }

    fn event(&mut self, script: &mut Script<'_>) -> Vec<u8> {
        let back = u32::from(script.byte()) * 80;
        let header =
            Header { payload_type: EVENT, timestamp: self.next.timestamp.wrapping_sub(back), ..self.next };
        self.next.sequence = self.next.sequence.wrapping_add(1);
        let mut packet = header.to_bytes().to_vec();
        let length = usize::from(script.below(40));
        packet.extend(script.bytes(length));
        packet
    }

    /// Lost, doubled, late, another stream.
    fn jump(&mut self, script: &mut Script<'_>) {
        match script.below(5) {
            0 => self.next.sequence = self.next.sequence.wrapping_add(u16::from(script.byte())),
            1 => self.next.timestamp = self.next.timestamp.wrapping_add(u32::from(script.word())),
            2 => self.next.timestamp = self.next.timestamp.wrapping_sub(u32::from(script.word())),
            3 => self.next.ssrc = u32::from(script.below(3)),
            _ => self.next.sequence = script.word(),
        }
    }

    fn arrives(&mut self, script: &mut Script<'_>, side: Side, packet: &[u8]) {
        let (who, pause) = (script.byte(), script.byte());
        let foreign = who & 7 == 7;
        let from = address(side, u8::from(foreign));
        self.now_us += u64::from(pause) * 250;
        let now_us = self.now_us;
        let mut sent = Vec::new();
        self.bridge.packet(now_us, side, from, &mut packet.to_vec(), &mut |to, at, bytes| {
            sent.push((to, at, bytes.to_vec()));
        });
        assert!(sent.is_empty() || !is_rtcp(packet), "RTCP is passed on");
        let fixed = side == Side::Agent || !self.nat;
        assert!(sent.is_empty() || !(foreign && fixed), "a foreign packet has an effect");
        assert!(sent.iter().all(|(to, ..)| *to == side.other()), "a packet comes back");
        self.check(&sent);
    }

    fn time_passes(&mut self, hundreds_us: u64) {
        self.now_us += hundreds_us * 100;
        let now_us = self.now_us;
        let mut sent = Vec::new();
        if self.bridge.next_deadline_us().is_some_and(|at_us| at_us <= now_us) {
            self.bridge.deadline(now_us, &mut |to, at, bytes| sent.push((to, at, bytes.to_vec())));
            assert!(
                self.bridge.next_deadline_us().is_none_or(|at_us| at_us > now_us),
                "a deadline that passed stays"
            );
        }
        self.check(&sent);
    }

    fn secure(&mut self) {
        let keys = Arc::new(KeyQueue::new());
        drop(self.bridge.secure(Box::new(SecureMode::new(GuardConfig::default(), keys.clone()))));
        self.keys = Some(keys);
        (self.failed, self.last) = (false, None);
    }

    fn release(&mut self) {
        let mut sent = Vec::new();
        let now_us = self.now_us;
        let release = self.bridge.release(now_us, &mut |to, at, bytes| sent.push((to, at, bytes.to_vec())));
        self.check_secured(&sent);
        if let Release::Left(_) = release {
            (self.failed, self.last, self.keys) = (false, None, None);
        }
    }

    fn set_leg(&mut self, script: &mut Script<'_>) {
        let (side, how) = (script.flag(), script.byte());
        let flow = [Flow::Both, Flow::Both, Flow::Send, Flow::Receive, Flow::Nothing][usize::from(how % 5)];
        let (side, params) =
            if side { (Side::Customer, &mut self.customer) } else { (Side::Agent, &mut self.agent) };
        params.flow = flow;
        params.remote = (how & 0x30 != 0).then_some(address(side, 0));
        params.comfort_noise = how & 0x40 != 0;
        params.event_payload_type = (how & 0x80 == 0).then_some(EVENT);
        self.bridge.set_leg(side, *params);
    }

    fn check(&mut self, sent: &[(Side, SocketAddr, Vec<u8>)]) {
        assert!(sent.len() <= MOST_SENT, "{} packets for one", sent.len());
        assert!(sent.iter().all(|(.., bytes)| bytes.len() <= MAX_PACKET_BYTES));
        if self.bridge.is_secured() {
            self.check_secured(sent);
        }
    }

    fn check_secured(&mut self, sent: &[(Side, SocketAddr, Vec<u8>)]) {
        for (_, to, bytes) in sent.iter().filter(|(side, ..)| *side == Side::Agent) {
            assert_eq!(*to, address(Side::Agent, 0));
            let packet = Packet::parse(bytes).expect("what is sent is RTP");
            assert_eq!(packet.header.payload_type, self.agent.payload_type, "something else than audio");
            let mute = self.failed || self.keys.is_none();
            let silent = bytes[HEADER_BYTES..].iter().all(|byte| *byte == self.agent.law.silence());
            assert!(!mute || silent, "sound although nobody takes the keys");
            let leaked = longest_tone(packet.payload);
            assert!(leaked < LEAK, "{leaked} samples of tone reach the agent");
            if let Some(last) = self.last.replace(packet.header) {
                assert_eq!(packet.header.ssrc, last.ssrc);
                assert_eq!(packet.header.sequence, last.sequence.wrapping_add(1));
            }
        }
    }
}

fn address(side: Side, which: u8) -> SocketAddr {
    match side {
        Side::Customer => SocketAddr::from(([192, 0, 2, 1], 4000 + u16::from(which))),
        Side::Agent => SocketAddr::from(([192, 0, 2, 2], 5000 + u16::from(which))),
    }
}

fn noise(seed: u32) -> impl Iterator<Item = u8> {
    std::iter::successors(Some(seed), |state| Some(state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)))
        .map(|state| state.to_be_bytes()[0])
}
