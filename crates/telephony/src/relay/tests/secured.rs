//! Secure mode: keys reach their reader and nobody else.

use super::*;
use proptest::prelude::*;

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
fn secure_mode_is_not_left_while_the_last_key_is_down() {
    let mut call = Call::secured();
    for packet in call.customer.press(b'3', 40) {
        call.customer_sends(&packet);
        assert!(!call.release());
    }
    assert_eq!(call.keys(), "3");
    call.customer_says(speech(10));
    assert!(call.release());

    let mut call = Call::secured();
    for sound in tone(40) {
        call.customer_says([sound]);
        if call.bridge.stats().keys == 1 {
            assert!(!call.release());
        }
    }
    assert_eq!(call.keys(), "1");
    call.customer_says(speech(15));
    assert!(call.release());
    assert!(peak(&call.heard_by(Side::Agent)) <= NOISE_PEAK);
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
fn end_packets_that_come_bunched_leave_no_gap_at_the_agent() {
    // When the three end packets come after the last one of the press, each in microseconds.
    for ends_us in
        [[20_000, 20_500, 21_000], [1_000, 2_000, 59_000], [39_000, 40_000, 41_000], [58_000, 59_000, 59_500]]
    {
        let mut call = Call::secured();
        call.customer_says(speech(10));
        for _ in 0..3 {
            let press = call.customer.press(b'4', 5);
            press[..5].iter().for_each(|packet| call.customer_sends(packet));
            let last_us = call.now_us - PACKET_US;
            for (packet, after_us) in press[5..].iter().zip(ends_us) {
                call.now_us = last_us + after_us;
                call.arrives(Side::Customer, address(Side::Customer), packet);
            }
            call.now_us = last_us + 4 * PACKET_US;
            call.customer_says(speech(10));
        }
        call.customer_says(speech(5));
        assert_eq!(call.keys(), "444");
        call.assert_agent_stream_is_whole();
        let packets = 10 + 3 * (8 + 10) + 5;
        assert!(call.heard_by(Side::Agent).len() >= packets - 2, "all but what is still held");
    }
}

#[test]
fn sound_beneath_an_event_is_not_heard_whatever_it_is() {
    let mut call = Call::secured();
    call.customer_says(speech(10));
    let mut events = Phone { next: call.customer.next };
    for event in events.press(b'1', 5).iter().take(5) {
        // Loud, and no tone a detector would know.
        let sound: Vec<_> =
            (0..SAMPLES).map(|n| Law::Mu.encode(((n * n * 997) % 16_000) as i16 - 8000)).collect();
        let sound = call.customer.audio(&sound);
        call.arrives(Side::Customer, address(Side::Customer), &sound);
        call.customer_sends(event);
    }
    call.customer_says(speech(10));
    assert_eq!(call.keys(), "1");
    assert!(peak(&call.heard_by(Side::Agent)) <= NOISE_PEAK);
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
    assert!(!call.release(), "a key was just now");
    call.customer_says(speech(10));
    assert!(call.release());
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
        call.now_us += 1_000_000;
        call.release();
        prop_assert!(call.sent.iter().all(|(_, _, bytes)| bytes[1] & 0x7f == 0));
    }
}
