//! The bridge, by script: a phone on either side, and what each of them hears.

use super::*;
use crate::g711::Law;
use crate::guard::GuardConfig;
use crate::key::{Carrier, Key, KeyReport};
use crate::key_queue::KeyQueue;
use proptest::prelude::*;
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
        let seed = |ssrc| StreamSeed { ssrc, sequence: 65_530, timestamp: 7 };
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

    fn release(&mut self) {
        let sent = &mut self.sent;
        self.bridge.release(self.now_us, &mut |side, to, bytes| sent.push((side, to, bytes.to_vec())));
    }

    fn arrives(&mut self, side: Side, from: SocketAddr, bytes: &[u8]) {
        let sent = &mut self.sent;
        let mut emit = |side, to, bytes: &[u8]| sent.push((side, to, bytes.to_vec()));
        self.bridge.packet(self.now_us, side, from, bytes, &mut emit);
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

#[test]
fn plain_mode_passes_sound_and_events_as_they_are() {
    let mut call = Call::new();
    call.customer_says(speech(2));
    let press = call.customer.press(b'5', 2);
    press.iter().for_each(|packet| call.customer_sends(packet));
    let heard = call.heard_by(Side::Agent);
    assert!(heard[..2].iter().map(|packet| packet.payload.to_vec()).eq(speech(2)));
    let events: Vec<_> = heard[2..].iter().map(|packet| packet.payload).collect();
    assert_eq!(events, press.iter().map(|bytes| &bytes[HEADER_BYTES..]).collect::<Vec<_>>());
    assert!(heard[2..].iter().all(|packet| packet.header.payload_type == EVENT));
    assert_eq!(heard[2].header.timestamp, heard[1].header.timestamp.wrapping_add(SAMPLES));
    assert_eq!((heard[0].header.ssrc, heard[0].header.sequence, heard[0].header.timestamp), (0xa, 65_530, 7));
    assert_eq!(call.keys(), "", "plain mode keeps no keys");
}

#[test]
fn contributing_sources_and_extensions_stop_here() {
    let mut call = Call::new();
    let mut bytes = call.customer.packet(0, 5, &[]);
    bytes[0] |= 0x11;
    bytes.extend([9; 4].iter().chain(&[0xbe, 0xde, 0, 1, 0x10, 0x7f, 0, 0]).chain(b"sound"));
    call.customer_sends(&bytes);
    assert_eq!(call.sent[0].2.len(), HEADER_BYTES + 5);
    assert_eq!(call.heard_by(Side::Agent)[0].payload, b"sound");
}

#[test]
fn payload_types_and_laws_are_each_legs_own() {
    let mut call = Call::new();
    let agent = LegParams { event_payload_type: Some(96), ..LegParams::pcma(Some(address(Side::Agent))) };
    call.bridge.set_leg(Side::Agent, agent);
    call.customer_says(speech(1));
    call.customer.press(b'5', 1).iter().for_each(|packet| call.customer_sends(packet));
    let heard = call.heard_by(Side::Agent);
    assert_eq!((heard[0].header.payload_type, heard[1].header.payload_type), (8, 96));
    let expected: Vec<_> = speech(1)[0].iter().map(|byte| Law::Mu.to(Law::A)[usize::from(*byte)]).collect();
    assert_eq!(heard[0].payload, expected);
    assert_eq!(heard[1].payload.len(), 4);
}

#[test]
fn secure_mode_begins_and_ends_without_a_gap() {
    let mut call = Call::new();
    call.customer_says(speech(30));
    call.secure();
    call.customer_says(speech(30));
    call.release();
    call.customer_says(speech(30));
    call.assert_agent_stream_is_whole();
    let heard = call.heard_by(Side::Agent);
    assert_eq!(heard.len(), 90);
    // Only the guard's last look-back may be changed.
    for (packet, spoken) in heard[..57].iter().zip([speech(30), speech(30)].concat()) {
        assert_eq!(packet.payload, spoken);
    }
}

#[test]
fn in_secure_mode_events_become_keys_and_the_agent_hears_a_whole_silent_stream() {
    let mut call = Call::secured();
    call.customer_says(speech(10));
    call.customer_presses("4111#");
    call.customer_says(speech(10));
    assert_eq!(call.keys(), "4111#");
    call.assert_agent_stream_is_whole();
    assert!(call.heard_by(Side::Agent).iter().all(|packet| packet.header.payload_type == 0));
    assert_eq!(call.dropped().event, 35);
    assert_eq!(call.keys.take_alarm(), None);
}

#[test]
fn a_tone_in_the_audio_is_a_key_and_is_not_heard() {
    let mut call = Call::secured();
    call.customer_says(speech(10));
    call.customer_says(tone(5));
    call.customer_says(speech(20));
    let report = call.keys.pop().unwrap();
    assert!(report.key.ascii() == b'1' && report.carrier == Carrier::InBand);
    assert!(report.at_ms.abs_diff(50_200) <= 40);
    assert!(peak(&call.heard_by(Side::Agent)) <= NOISE_PEAK);
    call.assert_agent_stream_is_whole();
}

#[test]
fn a_phone_that_sends_tone_and_event_presses_one_key() {
    let mut call = Call::secured();
    call.customer_says(speech(10));
    let mut events = Phone { next: call.customer.next };
    for (event, sound) in events.press(b'1', 5).iter().zip(tone(5).into_iter().chain(speech(3))) {
        let sound = call.customer.audio(&sound);
        call.arrives(Side::Customer, address(Side::Customer), &sound);
        call.customer_sends(event);
    }
    call.customer_says(speech(10));
    assert_eq!(call.keys(), "1");
    assert_eq!(call.bridge.stats().keys, 2, "two carriers told of it");
    assert!(peak(&call.heard_by(Side::Agent)) <= NOISE_PEAK);
    call.assert_agent_stream_is_whole();
}

#[test]
fn the_customer_always_hears_the_agent_also_its_keys() {
    let mut call = Call::secured();
    call.agent_says(b"one moment");
    let press = call.agent.press(b'9', 1);
    call.arrives(Side::Agent, address(Side::Agent), &press[0]);
    call.keys.close();
    call.agent_says(b"still here");
    call.bridge.fault();
    call.agent_says(b"and still");
    let heard: Vec<_> = call.heard_by(Side::Customer).iter().map(|packet| packet.payload).collect();
    assert_eq!(heard, [b"one moment", &press[0][HEADER_BYTES..], b"still here", b"and still"]);
    assert_eq!(call.keys(), "", "the agent's keys are not the customer's");
}

#[test]
fn what_is_not_audio_stays_outside_in_secure_mode() {
    let mut call = Call::secured();
    for payload_type in (0..128).filter(|number| ![0, 8, EVENT].contains(number)) {
        let timestamp = call.customer.next.timestamp;
        let packet = call.customer.packet(payload_type, timestamp, &[5, 0x8a, 3, 0x20]);
        call.customer_sends(&packet);
    }
    let sent = &mut call.sent;
    call.bridge.deadline(u64::MAX / 2, &mut |side, to, bytes| sent.push((side, to, bytes.to_vec())));
    assert!(call.sent.is_empty());
    assert_eq!(call.keys(), "");
}

#[test]
fn a_foreign_source_is_dropped_and_in_secure_mode_raises_the_alarm() {
    let stranger = SocketAddr::from(([192, 0, 2, 66], 4000));
    let mut call = Call::new();
    let forged = Phone::new(1).press(b'9', 1);
    call.arrives(Side::Customer, stranger, &forged[0]);
    assert_eq!(call.keys.take_alarm(), None);
    call.secure();
    call.arrives(Side::Customer, stranger, b"not RTP at all");
    assert_eq!(call.keys.take_alarm(), None);
    forged.iter().for_each(|packet| call.arrives(Side::Customer, stranger, packet));
    assert_eq!(call.keys.take_alarm(), Some(Alarm::ForeignSource));
    assert_eq!((call.keys(), call.sent.len(), call.dropped().foreign), (String::new(), 0, 5));
}

#[test]
fn another_stream_of_the_customer_is_hidden_too_but_its_keys_do_not_count() {
    let mut call = Call::secured();
    call.customer_says(speech(10));
    call.customer = Phone { next: Header { ssrc: 77, timestamp: 1, ..call.customer.next } };
    call.customer_says(speech(10));
    assert_eq!(call.keys.take_alarm(), Some(Alarm::StreamChanged));
    call.customer_presses("9");
    assert_eq!(call.keys(), "");
    assert!(call.heard_by(Side::Agent).iter().all(|packet| packet.header.payload_type == 0));
    let heard = call.heard_by(Side::Agent);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
        assert!((SAMPLES..=4 * SAMPLES).contains(&step));
    }
    call.secure();
    call.customer_presses("8");
    assert_eq!(call.keys(), "8");
}

#[test]
fn more_than_twelve_keys_a_second_raise_the_alarm() {
    let mut call = Call::secured();
    for key in "1234567890123".bytes() {
        let press = call.customer.press(key, 1);
        call.arrives(Side::Customer, address(Side::Customer), &press[3]);
        call.now_us += 70_000;
    }
    assert_eq!(call.keys(), "123456789012");
    assert_eq!(call.keys.take_alarm(), Some(Alarm::TooFast));
}

#[test]
fn without_a_reader_of_the_keys_the_agent_hears_silence() {
    let silent = |call: &Call| {
        let heard = call.heard_by(Side::Agent);
        assert!(heard.len() >= 18);
        heard.iter().all(|packet| packet.payload.iter().all(|byte| *byte == Law::Mu.silence()))
    };
    let mut closed = Call::secured();
    closed.keys.close();
    closed.customer_says(speech(20));
    assert!(silent(&closed));

    let mut gone = Call::secured();
    gone.keys = Arc::default();
    gone.customer_says(speech(20));
    assert!(silent(&gone));
}

#[test]
fn after_a_fault_in_secure_mode_the_agent_hears_silence_until_it_is_left() {
    let mut call = Call::secured();
    call.customer_says(speech(10));
    let before = call.sent.len();
    call.bridge.fault();
    call.customer_presses("4");
    let after = &call.heard_by(Side::Agent)[before..];
    assert!(after.iter().all(|packet| packet.header.payload_type == 0));
    assert!(peak(after) == 0 && after.len() == 3);
    call.release();
    call.customer_says(speech(2));
    assert_eq!(call.heard_by(Side::Agent).last().unwrap().payload, speech(2)[1]);
    assert_eq!(call.bridge.stats().faults, 1);
}

#[test]
fn keys_count_while_the_agent_is_on_hold_and_its_stream_goes_on_after_it() {
    let mut call = Call::secured();
    call.customer_says(speech(5));
    let talking = LegParams::pcmu(Some(address(Side::Agent)));
    call.bridge.set_leg(Side::Agent, LegParams { flow: Flow::Nothing, remote: None, ..talking });
    let before = call.agent_stats().sent;
    call.customer_presses("42");
    assert_eq!(call.agent_stats().sent, before);
    call.bridge.set_leg(Side::Agent, talking);
    call.customer_says(speech(5));
    assert_eq!(call.keys(), "42");
    for pair in call.heard_by(Side::Agent).windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
    }
}

#[test]
fn a_held_customer_is_not_heard_in_either_mode() {
    let mut call = Call::new();
    let held = LegParams { flow: Flow::Send, ..LegParams::pcmu(Some(address(Side::Customer))) };
    call.bridge.set_leg(Side::Customer, held);
    call.customer_says(speech(3));
    call.secure();
    call.customer_presses("4");
    assert!(call.sent.is_empty());
    assert_eq!(call.keys(), "");
}

#[test]
fn new_payload_types_in_the_middle_of_a_press_leave_it_one_key() {
    let mut call = Call::secured();
    call.customer_says(speech(5));
    let customer =
        LegParams { event_payload_type: Some(97), ..LegParams::pcma(Some(address(Side::Customer))) };
    for (n, mut packet) in call.customer.press(b'7', 10).into_iter().enumerate() {
        if n == 5 {
            call.bridge.set_leg(Side::Customer, customer);
        }
        if n >= 5 {
            packet[1] = 97;
        }
        call.customer_sends(&packet);
    }
    call.customer_says(speech(5));
    assert_eq!(call.keys(), "7");
    assert_eq!(call.keys.take_alarm(), None);
    assert!(call.heard_by(Side::Agent).iter().all(|packet| packet.header.payload_type == 0));
    call.assert_agent_stream_is_whole();
}

#[test]
fn another_law_of_the_agent_in_secure_mode_sounds_the_same() {
    let mut call = Call::secured();
    call.customer_says(speech(5));
    call.bridge.set_leg(Side::Agent, LegParams::pcma(Some(address(Side::Agent))));
    call.customer_says(speech(5));
    let heard = call.heard_by(Side::Agent);
    let last = heard.last().unwrap();
    let expected: Vec<_> = speech(5)[2].iter().map(|byte| Law::Mu.to(Law::A)[usize::from(*byte)]).collect();
    assert_eq!((last.header.payload_type, last.payload), (8, &expected[..]));
}

#[test]
fn a_new_address_of_the_customer_in_secure_mode_stops_the_keys() {
    let mut call = Call::secured();
    call.customer_presses("1");
    let elsewhere = SocketAddr::from(([192, 0, 2, 9], 4000));
    call.bridge.set_leg(Side::Customer, LegParams::pcmu(Some(elsewhere)));
    assert_eq!(call.keys.take_alarm(), Some(Alarm::StreamChanged));
    call.customer.press(b'2', 3).iter().for_each(|packet| call.arrives(Side::Customer, elsewhere, packet));
    assert_eq!(call.keys(), "1");
}

#[test]
fn behind_a_nat_the_first_packets_decide_and_nobody_else_can_talk_in() {
    let mut call = Call::new();
    let (home, stranger) =
        (SocketAddr::from(([198, 51, 100, 1], 1)), SocketAddr::from(([198, 51, 100, 2], 2)));
    let customer = LegParams { nat: true, ..LegParams::pcmu(Some(address(Side::Customer))) };
    call.bridge.set_leg(Side::Customer, customer);
    for payload in speech(5) {
        let packet = call.customer.audio(&payload);
        call.arrives(Side::Customer, home, &packet);
    }
    call.arrives(Side::Customer, stranger, &Phone::new(1).audio(b"spam"));
    call.arrives(Side::Customer, home, &Phone::new(66).audio(b"forged"));
    assert_eq!(call.heard_by(Side::Agent).len(), 3);
    assert_eq!((call.dropped().undecided, call.dropped().foreign), (2, 2));
    call.agent_says(b"hello");
    assert_eq!(call.sent.last().unwrap().1, home);
}

#[test]
fn rtcp_is_counted_and_goes_nowhere() {
    let mut call = Call::new();
    let mut report = Phone::new(1).audio(&[0; 16]);
    report[1] = 200;
    call.customer_sends(&report);
    assert!(call.sent.is_empty());
    assert_eq!(call.bridge.stats().customer.rtcp, 1);
}

#[test]
fn a_silent_network_does_not_keep_held_sound_for_ever() {
    let mut call = Call::secured();
    call.customer_says(speech(1));
    let deadline_us = call.bridge.next_deadline_us().unwrap();
    let sent = &mut call.sent;
    call.bridge.deadline(deadline_us, &mut |side, to, bytes| sent.push((side, to, bytes.to_vec())));
    assert_eq!(call.sent.len(), 1);
    assert_eq!(call.bridge.next_deadline_us(), None);
}

#[test]
fn a_report_has_the_time_the_key_went_down() {
    let mut call = Call::secured();
    call.now_us = 9_000_000;
    call.customer_presses("1");
    let KeyReport { at_ms, carrier, .. } = call.keys.pop().unwrap();
    assert_eq!((at_ms, carrier), (8980, Carrier::Event));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_network_does_keys_arrive_once_and_never_at_the_agent(
        fates in proptest::collection::vec((0_u8..10, 0_u8..6, 0_usize..3), 400),
        length in 1_u32..8,
    ) {
        let mut call = Call::secured();
        let mut arrivals = Vec::new();
        let mut expected = String::new();
        for key in "4111111111111111".bytes() {
            let press = call.customer.press(key, length);
            let pause: Vec<_> = speech(6).iter().map(|payload| call.customer.audio(payload)).collect();
            let mut arrived = false;
            for (n, packet) in press.into_iter().chain(pause).enumerate() {
                let place = arrivals.len();
                let (lost, doubled, moved) = fates[place % fates.len()];
                arrived |= lost != 0 && n < length as usize + 3;
                let copies = if lost == 0 { 0 } else { 1 + usize::from(doubled == 0) };
                arrivals.push((place, None));
                arrivals.extend((0..copies).map(|copy| (place + moved * (1 + copy), Some(packet.clone()))));
            }
            if arrived {
                expected.push(char::from(key));
            }
        }
        arrivals.sort_by_key(|(place, _)| *place);
        for (_, packet) in arrivals {
            match packet {
                Some(packet) => call.arrives(Side::Customer, address(Side::Customer), &packet),
                None => call.now_us += PACKET_US,
            }
        }
        prop_assert_eq!(call.keys(), expected);
        let heard = call.heard_by(Side::Agent);
        prop_assert!(heard.iter().all(|packet| packet.header.payload_type == 0));
        for pair in heard.windows(2) {
            prop_assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
        }
    }

    #[test]
    fn no_packet_panics_and_in_secure_mode_only_audio_leaves(
        packets in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..60),
    ) {
        let mut call = Call::secured();
        for (payload_type, mut bytes) in packets {
            if let [first, second, ..] = &mut bytes[..] {
                *first = 0x80 | *first & 0x3f;
                *second = [0, 8, EVENT, 13][usize::from(payload_type % 4)];
            }
            call.customer_sends(&bytes);
        }
        call.release();
        prop_assert!(call.sent.iter().all(|(_, _, bytes)| bytes[1] & 0x7f == 0));
    }
}
