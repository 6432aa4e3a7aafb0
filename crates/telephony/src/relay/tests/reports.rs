//! RTCP of the two legs.

use super::*;
use crate::key_queue::Hint;
use crate::rtcp::{MAX_REPORT_BYTES, Ntp, Reporter, Told, read};

fn reports(call: &mut Call) -> Vec<(Side, Channel, SocketAddr, Vec<Told>)> {
    let mut all = Vec::new();
    let mut emit = |side, channel, to, bytes: &[u8]| {
        let mut told = Vec::new();
        read(bytes, &mut |one| told.push(one));
        all.push((side, channel, to, told));
    };
    call.bridge.report(call.now_us, 1_000_000_000, &mut emit);
    all
}

fn after_a_while(call: &mut Call) -> Vec<(Side, Channel, SocketAddr, Vec<Told>)> {
    call.now_us += 8_000_000;
    reports(call)
}

fn port(side: Side) -> u16 {
    address(side).port()
}

#[test]
fn each_leg_hears_of_its_own_streams_and_nothing_of_the_others() {
    let mut call = Call::new();
    assert!(reports(&mut call).is_empty(), "the first one waits, too");
    for (n, payload) in speech(20).into_iter().enumerate() {
        let packet = call.customer.audio(&payload);
        if n % 4 != 3 {
            call.arrives(Side::Customer, address(Side::Customer), &packet);
        }
        call.now_us += PACKET_US;
    }
    let told = after_a_while(&mut call);
    assert_eq!(told.len(), 2);
    let (side, channel, to, customer) = &told[0];
    assert_eq!((*side, *channel, to.port()), (Side::Customer, Channel::Rtcp, port(Side::Customer) + 1));
    let [Told::Receives(block)] = customer[..] else { panic!("{customer:?}") };
    assert_eq!((block.ssrc, block.lost, block.fraction_lost), (1, 4, 53));
    let (side, _, to, agent) = &told[1];
    assert_eq!((*side, to.port()), (Side::Agent, port(Side::Agent) + 1));
    assert!(matches!(agent[..], [Told::Sends { ssrc: 0xa, .. }]), "{agent:?}");
    let quality = call.bridge.stats().customer.quality;
    assert_eq!((quality.expected, quality.lost), (19, 4));
}

#[test]
fn a_report_of_the_peer_is_read_and_a_strangers_is_not() {
    let mut call = Call::new();
    call.customer_says(speech(2));
    let reporter = Reporter { ssrc: 2, name: [b'x'; 16] };
    let block = crate::rtcp::Block {
        ssrc: 0xa,
        fraction_lost: 99,
        lost: 1,
        highest: 1,
        jitter: 0,
        last_report: 0,
        since_last_report: 0,
    };
    let mut bytes = [0; MAX_REPORT_BYTES];
    let length = reporter.write(&mut bytes, Ntp::from_unix_us(0), None, Some(block), true).unwrap();
    let mut bytes = bytes[..length].to_vec();
    let stranger = SocketAddr::from(([203, 0, 113, 9], 9));
    call.bridge.rtcp(call.now_us, Side::Agent, stranger, &mut bytes.clone());
    assert_eq!(call.agent_stats().quality.far_fraction_lost, None);
    call.bridge.rtcp(call.now_us, Side::Agent, address(Side::Agent), &mut bytes);
    assert_eq!(call.agent_stats().quality.far_fraction_lost, Some(99));
    assert_eq!((call.agent_stats().rtcp, call.agent_stats().dropped.foreign), (1, 1));
    assert!(call.heard_by(Side::Customer).is_empty(), "nothing is passed on");
}

#[test]
fn a_shared_port_carries_reports_both_ways_and_the_end_is_told() {
    let mut call = Call::new();
    let shared = LegParams { rtcp_mux: true, ..LegParams::pcmu(Some(address(Side::Agent))) };
    call.bridge.set_leg(Side::Agent, shared);
    let mut bytes = [0; MAX_REPORT_BYTES];
    let reporter = Reporter { ssrc: 2, name: [b'x'; 16] };
    let length = reporter.write(&mut bytes, Ntp::from_unix_us(0), None, None, false).unwrap();
    call.arrives(Side::Agent, address(Side::Agent), &bytes[..length]);
    assert_eq!(call.agent_stats().rtcp, 1);
    let mut ends = Vec::new();
    let mut emit = |side, channel, to: SocketAddr, bytes: &[u8]| {
        read(bytes, &mut |told| ends.push((side, channel, to.port(), told)));
    };
    call.bridge.goodbye(call.now_us, 0, &mut emit);
    assert_eq!(
        ends,
        [
            (Side::Customer, Channel::Rtcp, port(Side::Customer) + 1, Told::Leaves { ssrc: 0xc }),
            (Side::Agent, Channel::Rtp, port(Side::Agent), Told::Leaves { ssrc: 0xa }),
        ]
    );
}

#[test]
fn a_poor_line_is_hinted_at_only_while_keys_are_awaited() {
    let mut call = Call::new();
    reports(&mut call);
    let lossy = |call: &mut Call| {
        for (n, payload) in speech(40).into_iter().enumerate() {
            let packet = call.customer.audio(&payload);
            if n % 10 != 3 {
                call.customer_sends(&packet);
            }
        }
        after_a_while(call);
    };
    lossy(&mut call);
    assert_eq!(call.keys.take_hint(), None);
    call.secure();
    lossy(&mut call);
    assert_eq!(call.keys.take_hint(), Some(Hint::PoorLine));
    assert_eq!(call.keys.take_hint(), None);
}

#[test]
fn hasty_keys_are_hinted_at_by_their_time_alone() {
    let queue = KeyQueue::new();
    let press = |key: u8, at_ms| {
        let key = Key::from_ascii(key).unwrap();
        queue.push(crate::key_queue::Lane::Media, KeyReport { key, carrier: Carrier::Event, at_ms });
        queue.pop().unwrap();
        queue.take_hint()
    };
    assert_eq!([press(b'1', 1000), press(b'1', 1200), press(b'2', 1400)], [None; 3]);
    assert_eq!(press(b'2', 1500), Some(Hint::HastyKeys));
    assert_eq!(press(b'3', 1600), Some(Hint::HastyKeys));
}
