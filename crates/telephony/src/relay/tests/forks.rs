//! A recorder behind the guard gets a copy of what both hear, and no key.

use super::*;
use crate::srtp::{MasterKey, Opener, Suite};
use std::sync::{Mutex, PoisonError};

/// What a recorder got: of whom, over which port, and every byte.
type Copied = Arc<Mutex<Vec<(Side, Channel, Vec<u8>)>>>;

fn to(law: Law) -> ForkTo {
    let payload_type = if law == Law::Mu { 0 } else { 8 };
    let remote = SocketAddr::from(([192, 0, 2, 3], 6000));
    ForkTo { remote, rtcp: Some(SocketAddr::from(([192, 0, 2, 3], 6001))), law, payload_type, srtp: None }
}

struct Recorded {
    call: Call,
    copied: Copied,
}

impl Recorded {
    fn new(flow: ForkFlow) -> Self {
        let mut call = Call::new();
        let copied = Copied::default();
        let sink = {
            let copied = Arc::clone(&copied);
            move |side, channel, _: SocketAddr, bytes: &[u8]| {
                copied.lock().unwrap_or_else(PoisonError::into_inner).push((side, channel, bytes.to_vec()));
            }
        };
        let seed = |ssrc| StreamSeed { ssrc, sequence: 65_533, timestamp: 0xffff_ff00, name: 2 };
        let mut fork = Box::new(Fork::new([seed(0xcc), seed(0xaa)], Box::new(sink)));
        fork.flow(flow);
        assert!(call.bridge.fork(Some(fork)).is_none());
        Self { call, copied }
    }

    /// The copy of what this side said.
    fn copy_of(&self, side: Side) -> Vec<(Header, Vec<u8>)> {
        let copied = self.copied.lock().unwrap();
        let own = copied.iter().filter(|(of, channel, _)| *of == side && *channel == Channel::Rtp);
        own.map(|(_, _, bytes)| {
            let packet = Packet::parse(bytes).unwrap();
            (packet.header, packet.payload.to_vec())
        })
        .collect()
    }

    #[track_caller]
    fn assert_copy_is_whole(&self, side: Side) {
        for pair in self.copy_of(side).windows(2) {
            assert_eq!(pair[1].0.sequence, pair[0].0.sequence.wrapping_add(1));
            assert_eq!(pair[1].0.ssrc, pair[0].0.ssrc);
        }
    }
}

#[test]
fn both_directions_are_copied_under_names_of_their_own() {
    let mut recorded = Recorded::new([Some(to(Law::A)), Some(to(Law::Mu))]);
    recorded.call.customer_says(speech(3));
    recorded.call.customer_presses("4");
    recorded.call.agent_says(b"hello");
    let of_customer = recorded.copy_of(Side::Customer);
    assert!(of_customer.iter().all(|(header, _)| (header.payload_type, header.ssrc) == (8, 0xcc)));
    let said: Vec<_> = speech(3).into_iter().chain(speech(3)).collect();
    let turned = |sound: &Vec<u8>| -> Vec<u8> {
        sound.iter().map(|byte| Law::Mu.to(Law::A)[usize::from(*byte)]).collect()
    };
    assert!(of_customer.iter().map(|(_, payload)| payload.clone()).eq(said.iter().map(turned)));
    // A key outside secure mode passes to the agent; its copy is left out, and leaves no gap in the numbers.
    recorded.assert_copy_is_whole(Side::Customer);
    assert_eq!(recorded.call.agent_stats().sent, 6 + 7);
    let of_agent = recorded.copy_of(Side::Agent);
    assert!(matches!(of_agent.as_slice(), [(header, said)] if header.ssrc == 0xaa && said == b"hello"));
}

#[test]
fn in_secure_mode_the_copy_is_what_the_agent_hears() {
    let mut recorded = Recorded::new([Some(to(Law::Mu)), None]);
    recorded.call.secure();
    recorded.call.customer_says(speech(10));
    recorded.call.customer_presses("4");
    recorded.call.customer_says(tone(5));
    recorded.call.customer_says(speech(20));
    recorded.call.agent_says(b"hello");
    assert_eq!(recorded.call.keys(), "41");
    let copy: Vec<_> = recorded.copy_of(Side::Customer).into_iter().map(|(_, payload)| payload).collect();
    let heard: Vec<_> =
        recorded.call.heard_by(Side::Agent).into_iter().map(|packet| packet.payload.to_vec()).collect();
    assert!(!copy.is_empty() && copy == heard);
    assert!(recorded.copy_of(Side::Agent).is_empty());
    // And when the guard has failed, silence.
    recorded.call.bridge.fault();
    recorded.call.customer_says(tone(1));
    let (_, last) = recorded.copy_of(Side::Customer).pop().unwrap();
    assert!(last.iter().all(|byte| *byte == Law::Mu.silence()));
}

#[test]
fn a_pause_leaves_no_gap_in_the_numbers_and_its_time_in_the_timestamps() {
    let flow = [Some(to(Law::Mu)), None];
    let mut recorded = Recorded::new(flow);
    recorded.call.customer_says(speech(2));
    recorded.call.bridge.flow([None, None]);
    recorded.call.customer_says(speech(5));
    recorded.call.bridge.flow(flow);
    recorded.call.customer_says(speech(2));
    let copy = recorded.copy_of(Side::Customer);
    recorded.assert_copy_is_whole(Side::Customer);
    assert_eq!(copy.len(), 4);
    assert_eq!(copy[2].0.timestamp, copy[1].0.timestamp.wrapping_add(6 * SAMPLES));
    assert!(copy[2].0.marker);
}

#[test]
fn what_the_agent_is_not_given_is_not_copied() {
    let mut recorded = Recorded::new([Some(to(Law::Mu)), None]);
    let held = LegParams { flow: Flow::Nothing, ..LegParams::pcmu(Some(address(Side::Agent))) };
    recorded.call.bridge.set_leg(Side::Agent, held);
    recorded.call.customer_says(speech(2));
    assert!(recorded.copy_of(Side::Customer).is_empty());
}

#[test]
fn a_sealed_copy_opens_with_its_key_also_after_a_pause() {
    let sealing = (Suite::Sha1_80, MasterKey::new([5; 30]));
    let flow = [Some(ForkTo { srtp: Some(sealing), ..to(Law::Mu) }), None];
    let mut recorded = Recorded::new(flow);
    recorded.call.customer_says(speech(5));
    recorded.call.bridge.flow([None, None]);
    recorded.call.bridge.flow(flow);
    recorded.call.customer_says(speech(2));
    let mut opener = Opener::new(sealing.0, sealing.1);
    let mut copied = recorded.copied.lock().unwrap().clone();
    assert_eq!(copied.len(), 7);
    for ((_, _, bytes), said) in copied.iter_mut().zip(speech(5).into_iter().chain(speech(2))) {
        assert!(!bytes.windows(160).any(|window| window == said), "it is encrypted");
        let length = opener.open(bytes).unwrap();
        assert_eq!(bytes[HEADER_BYTES..length], said);
    }
}

#[test]
fn a_recorder_gets_reports_and_a_goodbye() {
    let mut recorded = Recorded::new([Some(to(Law::Mu)), None]);
    recorded.call.customer_says(speech(5));
    let mut emit = |_, _, _: SocketAddr, _: &[u8]| {};
    recorded.call.bridge.report(recorded.call.now_us, 1, &mut emit);
    recorded.call.bridge.report(recorded.call.now_us + 10_000_000, 2, &mut emit);
    recorded.call.bridge.goodbye(recorded.call.now_us + 10_000_000, 3, &mut emit);
    let copied = recorded.copied.lock().unwrap();
    let kinds: Vec<_> =
        copied.iter().filter(|(_, at, _)| *at == Channel::Rtcp).map(|(_, _, bytes)| bytes[1]).collect();
    assert_eq!(kinds, [200, 201], "a sender report, and a last one");
}
