//! The instruments of the other stories, on a call that nobody protects: what they find there, they would find.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::desk::voices;
use crate::phones::{Baresip, Customer, Keying, PhoneParts};
use crate::process::Ports;
use crate::until;
use crate::wire::{Packet, Wire};

#[test]
fn without_the_guard_the_ear_hears_the_digits() {
    for keying in [Keying::TonesMuLaw, Keying::TonesALaw] {
        let call = UnprotectedCall::of(keying, "4111#");
        let workplace = call.workplace.path();
        assert_eq!(call.wire.sound_to(&call.agent.rtp()).keys(workplace), "4111#", "{keying:?} on the wire");
        assert_eq!(call.agent.heard().keys(workplace), "4111#", "{keying:?} in the phone");
    }
}

#[test]
fn without_the_guard_events_reach_the_agent() {
    let call = UnprotectedCall::of(Keying::Events, "4111#");
    let packets = call.wire.to(&call.agent.rtp());
    let types: BTreeSet<u8> = packets.iter().filter_map(Packet::rtp).map(|rtp| rtp.payload_type).collect();
    assert_eq!(types, BTreeSet::from([0, 101]));
    assert_eq!(call.agent.log().matches("(end=1)").count(), 5);
}

#[test]
fn without_the_guard_info_reaches_the_agent() {
    let call = UnprotectedCall::of(Keying::Info, "4111#");
    assert_eq!(call.agent.log().matches("received DTMF").count(), 5);
}

/// A customer's phone that has called the agent's phone directly, typed, and hung up.
struct UnprotectedCall {
    agent: Baresip,
    wire: Wire,
    workplace: tempfile::TempDir,
}

impl UnprotectedCall {
    fn of(keying: Keying, keys: &str) -> Self {
        let workplace = tempfile::tempdir().unwrap();
        let mut ports = Ports::find();
        let wire = Wire::tap(&ports);
        let codecs = if keying == Keying::TonesALaw { "PCMA/8000/1" } else { "PCMU/8000/1" };
        let (customer_speech, agent_speech) = voices(workplace.path());
        let mut phone = |name, speech| PhoneParts::new(name, workplace.path(), &mut ports, speech, codecs);
        let (agent, customer) = (phone("1234", &agent_speech), phone("customer", &customer_speech));
        let agent_address = SocketAddr::from(([127, 0, 0, 1], agent.sip));
        let agent = Baresip::start(agent);
        let mut customer = Customer::calls(customer, keying, "1234", agent_address);
        wire.waits_for_speech(&[("the agent", agent.rtp()), ("the customer", customer.rtp())]);
        customer.keys(keys);
        until("every key has arrived", || match keying {
            Keying::Events => (agent.log().matches("(end=1)").count() >= keys.len()).then_some(()),
            Keying::Info => (agent.log().matches("received DTMF").count() >= keys.len()).then_some(()),
            Keying::TonesMuLaw | Keying::TonesALaw => {
                let heard = wire.sound_to(&agent.rtp()).keys(workplace.path());
                (heard.len() >= keys.len()).then_some(())
            }
        });
        wire.waits_for_speech(&[("the agent", agent.rtp())]);
        customer.hangs_up();
        agent.waits_for_the_end();
        Self { agent, wire, workplace }
    }
}
