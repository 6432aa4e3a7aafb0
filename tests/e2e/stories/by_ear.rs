//! Nothing of a key reaches an agent, however it is pressed and whatever the network does meanwhile: judged by the
//! ears of others, on calls that run through the real product all at once.

use crate::crowd::{Calls, Carrier, Fault, Plan, Recording, run};
use crate::ear::RATE_HZ;
use crate::verdict::{Ears, joined};

const MU: &[u8] = &[0];
const A: &[u8] = &[8];

#[test]
fn no_carrier_of_keys_is_heard_by_an_agent() {
    nothing_is_heard(&carriers());
}

/// The same ears at the same calls, but for the sessions: each of them would have told.
#[test]
fn without_a_session_every_carrier_is_heard() {
    let plans = carriers();
    let (desk, recordings) = run(&plans, Calls::Open);
    let heard: Vec<_> = recordings.into_iter().map(|recording| (recording.name, recording.heard)).collect();
    let leaks = Ears::new(&desk.workplace()).leaks(&heard);
    for plan in &plans {
        let of: Vec<&str> =
            leaks.iter().filter(|(n, _)| *n == plan.name).map(|(_, leak)| leak.as_str()).collect();
        let told = |what: &str| of.iter().any(|leak| leak.contains(what));
        match plan.carrier {
            Carrier::Tones | Carrier::InfoAndTones | Carrier::EventsAndTones => {
                assert!(told("multimon-ng reads") && (plan.talks || told("dBm0")), "{}: {of:?}", plan.name);
            }
            Carrier::Events | Carrier::EventsAndSliver => assert!(told("payload types [101]"), "{of:?}"),
            Carrier::Info => assert!(told("an INFO"), "{of:?}"),
        }
    }
}

#[test]
fn no_fault_lets_an_agent_hear_a_key() {
    use Carrier::{Events, EventsAndSliver, EventsAndTones, InfoAndTones, Tones};
    nothing_is_heard(&[
        Plan::new("tones, packets lost", Tones, Fault::Loss),
        Plan::new("events over tones, packets lost", EventsAndTones, Fault::Loss),
        Plan::new("events after a sliver, packets lost", EventsAndSliver, Fault::Loss),
        Plan::new("events over tones, packets doubled", EventsAndTones, Fault::Duplicates),
        Plan::new("tones, packets out of order", Tones, Fault::Reorder),
        Plan::new("events over tones, packets out of order", EventsAndTones, Fault::Reorder),
        Plan::new("tones, packets in bursts", Tones, Fault::Jitter),
        Plan::new("events over tones, packets in bursts", EventsAndTones, Fault::Jitter),
        Plan::new("tones, a re-INVITE in a key", Tones, Fault::Reinvite),
        Plan::new("events over tones, a re-INVITE in a key", EventsAndTones, Fault::Reinvite),
        Plan::new("tones, the customer holds in a key", Tones, Fault::CustomerHolds),
        Plan::new("tones, the agent holds in a key", Tones, Fault::AgentHolds),
        Plan::new("tones, another law is agreed in a key", Tones, Fault::OtherLaw),
        Plan::new("INFO and tones, another law unsaid in a key", InfoAndTones, Fault::OtherLawUnsaid),
        Plan::new("tones, strangers send tones too", Tones, Fault::Strangers),
        Plan::new("events over tones, strangers too", EventsAndTones, Fault::Strangers),
        Plan::new("tones, a new stream in a key", Tones, Fault::NewStream),
        Plan::new("tones, the session ends in a key", Tones, Fault::Cancel),
        Plan::new("events over tones, the session ends in a key", EventsAndTones, Fault::Cancel),
        Plan::new("tones out of silence", Tones, Fault::Silence),
        Plan::new("events out of silence", Events, Fault::Silence),
    ]);
}

/// Every carrier, by itself and with others, over a good network.
fn carriers() -> Vec<Plan> {
    let tones = |name| Plan::new(name, Carrier::Tones, Fault::None);
    vec![
        Plan { has_events: false, customer: MU, agent: MU, ..tones("tones in µ-law") },
        Plan { has_events: false, customer: A, agent: A, ..tones("tones in A-law") },
        Plan { customer: MU, agent: A, ..tones("tones from µ-law to A-law") },
        Plan { customer: A, agent: MU, ..tones("tones from A-law to µ-law") },
        tones("tones although events were agreed"),
        Plan { packet_ms: 10, ..tones("tones in packets of 10 ms") },
        Plan { packet_ms: 60, ..tones("tones in packets of 60 ms") },
        Plan { tone_ms: 45, ..tones("short tones") },
        Plan { tone_ms: 250, ..tones("long tones") },
        Plan { level_dbm0: -28.0, ..tones("faint tones") },
        Plan { level_dbm0: -3.0, ..tones("loud tones") },
        Plan { talks: true, ..tones("tones under speech") },
        Plan::new("events", Carrier::Events, Fault::None),
        Plan::new("events after a sliver of tone", Carrier::EventsAndSliver, Fault::None),
        Plan::new("events over tones", Carrier::EventsAndTones, Fault::None),
        Plan {
            customer: A,
            agent: MU,
            ..Plan::new("events over A-law", Carrier::EventsAndTones, Fault::None)
        },
        Plan::new("INFO", Carrier::Info, Fault::None),
        Plan::new("INFO and tones", Carrier::InfoAndTones, Fault::None),
    ]
}

/// Runs the calls, and hands what the agents heard to the ears.
fn nothing_is_heard(plans: &[Plan]) {
    let (desk, recordings) = run(plans, Calls::Secured);
    let ears = Ears::new(&desk.workplace());
    were_pressed(&ears, plans, &recordings);
    for (plan, recording) in plans.iter().zip(&recordings) {
        let Recording { name, heard, speech_dbfs, .. } = recording;
        // The agent was not just left without sound.
        assert!(*speech_dbfs > -40.0, "{name}: speech at {speech_dbfs:.0} dBFS before the session");
        assert!(heard.sound.seconds() > 2.0, "{name}: {:.1} s of sound", heard.sound.seconds());
        assert!(plan.talks || heard.quiet.len() > RATE_HZ / 2, "{name}: keys in {:?}", heard.quiet);
    }
    let heard: Vec<_> = recordings.into_iter().map(|recording| (recording.name, recording.heard)).collect();
    let leaks = ears.leaks(&heard);
    assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), lines(&leaks));
}

/// The tones were there to be heard: on the customers' side both decoders find most of them.
fn were_pressed(ears: &Ears, plans: &[Plan], recordings: &[Recording]) {
    let audible = |plan: &Plan| {
        matches!(plan.carrier, Carrier::Tones | Carrier::EventsAndTones | Carrier::InfoAndTones)
    };
    let pressed = plans.iter().filter(|plan| audible(plan)).count() * 16;
    let sent = plans.iter().zip(recordings).filter(|(plan, _)| audible(plan));
    let [multimon, spandsp] = ears.keys(&joined(sent.map(|(_, recording)| &recording.sent)));
    for (who, read) in [("multimon-ng", multimon), ("spandsp", spandsp)] {
        assert!(read.len() * 10 > pressed * 7, "{who} reads {} of {pressed} keys", read.len());
    }
}

fn lines(leaks: &[(&str, String)]) -> String {
    leaks.iter().map(|(name, leak)| format!("{name}: {leak}\n")).collect()
}
