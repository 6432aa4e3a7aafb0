//! Any bytes as RTP, RTCP and telephone-event on either port: no panic, and RTCP is never passed on.

use std::net::SocketAddr;
use std::sync::Arc;

use hushpad_telephony::guard::GuardConfig;
use hushpad_telephony::key_queue::KeyQueue;
use hushpad_telephony::relay::{Bridge, LegParams, SecureMode, Side, StreamSeed};
use hushpad_telephony::rtp::{Packet, is_rtcp};

use super::Script;

/// See the module.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let seed = |ssrc| StreamSeed { ssrc, sequence: 1, timestamp: 1, name: 1 };
    let mut bridge = Bridge::new(seed(0xc), seed(0xa));
    let at = |side| SocketAddr::from(([192, 0, 2, if side == Side::Customer { 1 } else { 2 }], 4000));
    for side in [Side::Customer, Side::Agent] {
        bridge.set_leg(side, LegParams::pcmu(Some(at(side))));
    }
    let keys = Arc::new(KeyQueue::new());
    if script.flag() {
        bridge.secure(Box::new(SecureMode::new(GuardConfig::default(), keys.clone())));
    }
    let mut now_us = 0;
    while !script.is_over() {
        now_us += u64::from(script.byte()) * 1000;
        let side = if script.flag() { Side::Customer } else { Side::Agent };
        let length = usize::from(script.byte());
        let bytes = script.bytes(length);
        let mut sent = 0;
        bridge.packet(now_us, side, at(side), &mut bytes.to_vec(), &mut |_, _, _| sent += 1);
        bridge.rtcp(now_us, side, at(side), &mut bytes.to_vec());
        // Our own reports are ours: of our streams, and read by ourselves.
        bridge.report(now_us, now_us, &mut |_, _, _, report| {
            assert!(is_rtcp(report));
            hushpad_telephony::rtcp::read(report, &mut |_| {});
        });
        assert!(sent == 0 || !is_rtcp(bytes), "RTCP is passed on");
        assert!(!(is_rtcp(bytes) && Packet::parse(bytes).is_some()), "one packet, two meanings");
    }
}
