//! Telephone-events and the queue of keys, against models that are too simple to be wrong.

use hushpad_telephony::detector::Phase;
use hushpad_telephony::key::{Carrier, Key, KeyReport};
use hushpad_telephony::key_queue::{KeyQueue, LANE_REPORTS, Lane, MERGE_WINDOW_MS};
use hushpad_telephony::telephone_event::{Receiver, events};

use super::Script;

/// See the module.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    match script.below(3) {
        0 => any_payload(&mut script),
        1 => presses(&mut script),
        _ => queue(&mut script),
    }
}

/// Whatever the packets say: begins and ends alternate but for presses that were overtaken.
fn any_payload(script: &mut Script<'_>) {
    let mut receiver = Receiver::new([8000, 16_000, 48_000, 0, u32::MAX][usize::from(script.below(5))]);
    let (mut begins, mut ends, mut packets) = (0_u32, 0_u32, 0_u32);
    while !script.is_over() {
        let timestamp = u32::from(script.word()) << script.below(17);
        let length = usize::from(script.below(64));
        let payload = script.bytes(length);
        assert!(events(timestamp, payload).count() <= 8);
        receiver.packet(1_000_000, timestamp, payload, &mut |_, phase, onset_us| {
            assert!(onset_us <= 1_000_000);
            match phase {
                Phase::Begin => begins += 1,
                Phase::End => ends += 1,
            }
        });
        packets += 8;
        assert!(ends <= begins && begins <= packets && begins - ends <= 1, "{begins} begins, {ends} ends");
    }
}

/// Presses over a network that loses, doubles and delays: every press of which a packet came is one key.
fn presses(script: &mut Script<'_>) {
    const MOST_PRESSES: usize = 12;
    /// Short of a full duration field: the same key so much later, the end of the first one lost, looks like the next
    /// segment of one long press (RFC 4733 section 2.5.1.3).
    const LONGEST: u32 = 60_000;
    const FIRST: u32 = u32::MAX - 4000;
    let mut start = FIRST;
    let (mut packets, mut pressed, mut place) = (Vec::new(), Vec::new(), 0_u32);
    while !script.is_over() && pressed.len() < MOST_PRESSES && start.wrapping_sub(FIRST) < LONGEST {
        let code = script.below(16);
        let length = 1 + u32::from(script.below(8));
        let mut came = false;
        for n in 1..=length + 3 {
            let fate = script.byte();
            // 0: lost. Else it comes after up to three others.
            if fate & 7 == 0 {
                place += 1;
                continue;
            }
            came = true;
            let duration = n.min(length) * 160;
            let [high, low] = (duration as u16).to_be_bytes();
            let payload = [code, u8::from(n > length) << 7 | fate >> 6, high, low];
            for copy in 0..=u32::from(fate & 0x20 != 0) {
                packets.push((place * 4 + u32::from(fate >> 3 & 3) * 5 + copy, start, payload));
            }
            place += 1;
        }
        if came {
            pressed.push((start, code));
        }
        start = start.wrapping_add((length + 3) * 160);
    }
    packets.sort_by_key(|(place, ..)| *place);
    let mut heard = Vec::new();
    let mut receiver = Receiver::new(8000);
    for (_, timestamp, payload) in packets {
        receiver.packet(60_000_000, timestamp, &payload, &mut |key, phase, _| {
            if phase == Phase::Begin {
                heard.push((timestamp, key.event_code()));
            }
        });
    }
    heard.sort_by_key(|(start, _)| start.wrapping_add(4000));
    pressed.sort_by_key(|(start, _)| start.wrapping_add(4000));
    assert!(heard == pressed, "{} of {} presses", heard.len(), pressed.len());
}

/// The queue against two lists and a search.
fn queue(script: &mut Script<'_>) {
    /// Presses that the queue remembers.
    const REMEMBERED: usize = 16;
    let queue = KeyQueue::new();
    let mut lanes: [Vec<KeyReport>; 2] = [Vec::new(), Vec::new()];
    let mut accepted: Vec<(KeyReport, Vec<Carrier>)> = Vec::new();
    let mut at_ms = 1000;
    while !script.is_over() {
        match script.below(4) {
            0..=2 => {
                at_ms += u64::from(script.byte()) * 4;
                let key = Key::from_event_code(script.below(3)).expect("a code of a key");
                let (lane, carrier) = match script.below(3) {
                    0 => (Lane::Media, Carrier::Event),
                    1 => (Lane::Media, Carrier::InBand),
                    _ => (Lane::Signalling, Carrier::Info),
                };
                let report = KeyReport { key, carrier, at_ms };
                let model = &mut lanes[usize::from(lane == Lane::Signalling)];
                let fits = model.len() < LANE_REPORTS;
                assert_eq!(queue.push(lane, report), fits);
                if fits {
                    model.push(report);
                }
            }
            _ => {
                let expected = next(&mut lanes, |report| {
                    let oldest = accepted.len().saturating_sub(REMEMBERED);
                    let known = accepted[oldest..].iter_mut().find(|(press, carriers)| {
                        press.key == report.key
                            && press.at_ms.abs_diff(report.at_ms) <= MERGE_WINDOW_MS
                            && !carriers.contains(&report.carrier)
                    });
                    if let Some((_, carriers)) = known {
                        carriers.push(report.carrier);
                        return false;
                    }
                    accepted.push((report, vec![report.carrier]));
                    true
                });
                let popped = queue.pop();
                let same = |a: KeyReport, b: KeyReport| {
                    a.key == b.key && a.at_ms == b.at_ms && a.carrier == b.carrier
                };
                match (popped, expected) {
                    (None, None) => {}
                    (Some(popped), Some(expected)) => assert!(same(popped, expected), "another key"),
                    _ => panic!("the queue has a key too many or too few"),
                }
            }
        }
    }
}

fn next(lanes: &mut [Vec<KeyReport>; 2], mut is_new: impl FnMut(KeyReport) -> bool) -> Option<KeyReport> {
    loop {
        let at = |lane: &Vec<KeyReport>| lane.first().map_or(u64::MAX, |report| report.at_ms);
        let lane = usize::from(at(&lanes[1]) < at(&lanes[0]));
        if lanes[lane].is_empty() {
            return None;
        }
        let report = lanes[lane].remove(0);
        if is_new(report) {
            return Some(report);
        }
    }
}
