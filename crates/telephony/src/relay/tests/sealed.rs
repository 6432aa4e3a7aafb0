//! SRTP on one leg, plain RTP on the other.

use super::*;
use crate::srtp::{Crypto, KeySource, Opener, Sealer, Suite};

/// A call whose customer's phone speaks SRTP.
struct SealedCall {
    call: Call,
    phone: Sealer,
    ear: Opener,
}

impl SealedCall {
    fn new(suite: Suite) -> Self {
        let mut keys = KeySource::new([3; 32]);
        let crypto = Crypto { suite, ours: keys.next_key(), theirs: keys.next_key() };
        let mut call = Call::new();
        let customer = LegParams { srtp: Some(crypto), ..LegParams::pcmu(Some(address(Side::Customer))) };
        call.bridge.set_leg(Side::Customer, customer);
        Self { call, phone: Sealer::new(suite, crypto.theirs), ear: Opener::new(suite, crypto.ours) }
    }

    fn sends(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut packet = [plain, &[0; OVERHEAD_BYTES]].concat();
        let length = self.phone.seal(&mut packet, plain.len()).unwrap();
        packet.truncate(length);
        self.call.customer_sends(&packet);
        packet
    }

    fn says(&mut self, payload: &[u8]) -> Vec<u8> {
        let packet = self.call.customer.audio(payload);
        self.sends(&packet)
    }
}

#[test]
fn sealed_and_plain_phones_hear_each_other() {
    for suite in [Suite::Sha1_80, Suite::Sha1_32] {
        let mut sealed = SealedCall::new(suite);
        for payload in speech(3) {
            sealed.says(&payload);
            sealed.call.agent_says(&payload);
        }
        let heard = sealed.call.heard_by(Side::Agent);
        assert!(heard.iter().map(|packet| packet.payload.to_vec()).eq(speech(3)));
        let to_customer: Vec<_> =
            sealed.call.sent.iter().filter(|(side, ..)| *side == Side::Customer).collect();
        assert_eq!(to_customer.len(), 3);
        for ((_, _, bytes), spoken) in to_customer.into_iter().zip(speech(3)) {
            assert!(!bytes.windows(160).any(|window| window == spoken), "it is encrypted");
            let mut bytes = bytes.clone();
            let length = sealed.ear.open(&mut bytes).unwrap();
            assert_eq!(bytes[HEADER_BYTES..length], spoken);
        }
    }
}

#[test]
fn keys_come_through_srtp_and_the_agent_hears_none() {
    let mut sealed = SealedCall::new(Suite::Sha1_80);
    sealed.call.secure();
    speech(5).iter().for_each(|payload| drop(sealed.says(payload)));
    for packet in sealed.call.customer.press(b'4', 4) {
        sealed.sends(&packet);
    }
    speech(5).iter().for_each(|payload| drop(sealed.says(payload)));
    assert_eq!(sealed.call.keys(), "4");
    assert!(sealed.call.heard_by(Side::Agent).iter().all(|packet| packet.header.payload_type == 0));
    sealed.call.assert_agent_stream_is_whole();
}

#[test]
fn what_is_not_genuine_is_counted_and_changes_nothing() {
    let mut sealed = SealedCall::new(Suite::Sha1_80);
    sealed.call.secure();
    let first = sealed.says(&speech(1)[0]);
    let plain = sealed.call.customer.audio(&speech(1)[0]);
    let mut bent = first.clone();
    bent[30] ^= 1;
    let stranger = SocketAddr::from(([203, 0, 113, 9], 9));
    // Plain, replayed, bent, cut, of another name; from the right address and from a wrong one.
    let mut renamed = first.clone();
    renamed[8] ^= 1;
    let bad = [plain, first.clone(), bent, first[..20].to_vec(), renamed];
    for packet in &bad {
        for from in [address(Side::Customer), stranger] {
            sealed.call.arrives(Side::Customer, from, packet);
        }
    }
    assert_eq!(sealed.call.dropped().unauthentic, 10);
    assert_eq!((sealed.call.bridge.stats().customer.received, sealed.call.dropped().foreign), (1, 0));
    assert_eq!(sealed.call.keys.take_alarm(), None, "nobody can stop an entry who has no key");
    let press = sealed.call.customer.press(b'9', 4);
    press.iter().for_each(|packet| drop(sealed.sends(packet)));
    assert_eq!(sealed.call.keys(), "9");
}

#[test]
fn a_repeated_description_keeps_the_counters_and_a_new_key_begins_anew() {
    let mut sealed = SealedCall::new(Suite::Sha1_80);
    let params = sealed.call.bridge.customer.params;
    let first = sealed.says(&speech(1)[0]);
    sealed.call.bridge.set_leg(Side::Customer, params);
    sealed.call.customer_sends(&first);
    assert_eq!(sealed.call.dropped().unauthentic, 1, "a replay is known after a refresh");
    let mut keys = KeySource::new([4; 32]);
    let crypto = Crypto { suite: Suite::Sha1_32, ours: keys.next_key(), theirs: keys.next_key() };
    sealed.call.bridge.set_leg(Side::Customer, LegParams { srtp: Some(crypto), ..params });
    sealed.phone = Sealer::new(Suite::Sha1_32, crypto.theirs);
    sealed.says(&speech(1)[0]);
    assert_eq!(sealed.call.heard_by(Side::Agent).len(), 2);
}
