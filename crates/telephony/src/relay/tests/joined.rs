//! Two legs joined: what passes, and under which numbers.

use super::*;

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
    assert!(call.release());
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
fn what_was_lost_in_secure_mode_leaves_no_gap_after_it() {
    let mut call = Call::new();
    call.customer_says(speech(5));
    call.secure();
    call.customer_says(speech(5));
    for lost in speech(3) {
        call.customer.audio(&lost);
    }
    call.customer_says(speech(5));
    assert!(call.release());
    call.customer_says(speech(5));
    let heard = call.heard_by(Side::Agent);
    assert_eq!(heard.len(), 20);
    for pair in heard.windows(2) {
        assert_eq!(pair[1].header.sequence, pair[0].header.sequence.wrapping_add(1));
    }
}

#[test]
fn the_agents_keys_are_heard_on_either_carrier_and_pass_on() {
    let mut call = Call::new();
    call.bridge.listen(Some(Box::new(KeyListener::new(call.keys.clone()))));
    for packet in call.agent.press(b'7', 4) {
        call.arrives(Side::Agent, address(Side::Agent), &packet);
        call.now_us += PACKET_US;
    }
    assert_eq!(call.keys(), "7");
    for payload in [speech(3), tone(5), speech(3)].concat() {
        call.agent_says(&payload);
        call.now_us += PACKET_US;
    }
    assert_eq!(call.keys(), "1");
    assert_eq!(call.heard_by(Side::Customer).len(), 7 + 11);
    call.customer_presses("5");
    assert_eq!(call.keys(), "", "the customer's are nobody's business");
    call.bridge.listen(None);
    call.agent.press(b'7', 4).iter().for_each(|packet| {
        call.arrives(Side::Agent, address(Side::Agent), packet);
    });
    assert_eq!(call.keys(), "");
}
