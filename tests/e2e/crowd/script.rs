//! What a customer's phone sends while keys are pressed, packet by packet, and what the network makes of it.

use std::f64::consts::TAU;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::ear::{RATE_HZ, Sound};

/// Amplitude of a sine of 0 dBm0 in 16-bit samples.
const FULL: f64 = 22_827.0;
/// Samples of a millisecond.
const MS: usize = RATE_HZ / 1000;
/// Nobody talks for so long before the first key, and after the last.
pub(super) const LEAD_MS: usize = 700;
pub(super) const TAIL_MS: usize = 600;
const EVENT: u8 = 101;

/// How keys are told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// Tones only.
    Tones,
    /// Events in place of the audio.
    Events,
    /// The same, but the tone starts 30 ms before its first event.
    EventsAndSliver,
    /// Events, and the whole tone beneath.
    EventsAndTones,
    /// SIP INFO.
    Info,
    /// SIP INFO, and the tone as well.
    InfoAndTones,
}

/// What goes wrong meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Loss,
    Duplicates,
    Reorder,
    Jitter,
    /// A re-INVITE in the middle of a key.
    Reinvite,
    /// The customer, or the agent, holds in the middle of a key and comes back in another.
    CustomerHolds,
    AgentHolds,
    /// A-law in place of µ-law from the middle of a key on, agreed or not.
    OtherLaw,
    OtherLawUnsaid,
    /// Somebody else sends tones: from another address, and from the customer's under another name.
    Strangers,
    /// The phone begins its stream anew in the middle of a key.
    NewStream,
    /// The agent closes the session in the middle of the last key.
    Cancel,
    /// No packets but while a key is down.
    Silence,
}

/// A call and how it is keyed.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    pub(crate) carrier: Carrier,
    pub(crate) fault: Fault,
    /// What each phone offers or answers.
    pub(crate) customer: &'static [u8],
    pub(crate) agent: &'static [u8],
    pub(crate) has_events: bool,
    pub(crate) packet_ms: usize,
    /// Of each tone, in dBm0.
    pub(crate) level_dbm0: f64,
    pub(crate) tone_ms: usize,
    /// The customer talks all the time, 12 dB below the tones.
    pub(crate) talks: bool,
}

impl Plan {
    pub(crate) const fn new(name: &'static str, carrier: Carrier, fault: Fault) -> Self {
        Self {
            name,
            carrier,
            fault,
            customer: &[0, 8],
            agent: &[0, 8],
            has_events: true,
            packet_ms: 20,
            level_dbm0: -10.0,
            tone_ms: 80,
            talks: false,
        }
    }
}

/// What happens, and when, in milliseconds since the first.
pub(super) enum Act {
    /// A packet of the customer's phone.
    Packet(Vec<u8>),
    /// A packet of somebody else.
    Stranger(Vec<u8>),
    Info(char),
    CustomerOffers(&'static [u8], &'static str),
    AgentOffers(&'static str),
    Cancel,
}

/// The customer's RTP stream.
pub(super) struct Stream {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
}

impl Stream {
    pub(super) fn packet(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, payload_type];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        packet
    }

    /// The next packet of audio.
    pub(super) fn audio(&mut self, samples: &[i16]) -> Vec<u8> {
        let payload: Vec<u8> = samples.iter().map(|sample| encode(self.payload_type, *sample)).collect();
        let packet = self.packet(self.payload_type, self.timestamp, &payload);
        self.timestamp = self.timestamp.wrapping_add(samples.len() as u32);
        packet
    }
}

/// One key on the line, in milliseconds.
#[derive(Clone, Copy)]
struct Press {
    key: char,
    from: usize,
    to: usize,
}

/// The whole of the keying, and how long it takes in milliseconds.
pub(super) fn keying(
    plan: &Plan,
    keys: &str,
    speech: &Sound,
    stream: &mut Stream,
) -> (Vec<(usize, Act)>, usize) {
    let presses = presses(plan, keys);
    let last = presses.last().copied().expect("there are keys");
    let length_ms = last.to + TAIL_MS;
    let line = line(plan, &presses, speech, length_ms);
    let mut acts = Vec::new();
    for at_ms in (0..length_ms).step_by(plan.packet_ms) {
        changes(plan, &presses, at_ms, stream, &mut acts);
        packets(plan, &presses, &line, at_ms, stream, &mut acts);
    }
    network(plan, &mut acts);
    acts.sort_by_key(|(at_ms, _)| *at_ms);
    (acts, length_ms)
}

fn presses(plan: &Plan, keys: &str) -> Vec<Press> {
    let step = plan.tone_ms + 90;
    let from = |place: usize| LEAD_MS + place * step;
    let press = |(place, key)| Press { key, from: from(place), to: from(place) + plan.tone_ms };
    keys.chars().enumerate().map(press).collect()
}

/// The audio of the customer's phone: faint noise or speech, and the tones.
fn line(plan: &Plan, presses: &[Press], speech: &Sound, length_ms: usize) -> Vec<i16> {
    let mut random = SmallRng::seed_from_u64(7);
    let level = FULL * 10_f64.powf(plan.level_dbm0 / 20.0);
    let talk = 10_f64.powf((plan.level_dbm0 + 3.0) / 20.0) / 10_f64.powf((speech.level_dbfs() + 15.0) / 20.0);
    let audible_ms = match plan.carrier {
        Carrier::Tones | Carrier::EventsAndTones | Carrier::InfoAndTones => usize::MAX,
        Carrier::EventsAndSliver => 30,
        Carrier::Events | Carrier::Info => 0,
    };
    let sample = |n: usize| {
        let mut value = f64::from(random.random_range(-8_i16..=8));
        if plan.talks {
            value += f64::from(speech.samples[n % speech.samples.len()]) * talk;
        }
        let at_ms = n / MS;
        let down = presses.iter().find(|press| (press.from..press.to).contains(&at_ms));
        if let Some(press) = down.filter(|press| at_ms - press.from < audible_ms) {
            let (low, high) = crate::sound::frequencies_hz(press.key);
            let wave = |hz: f64| (TAU * hz * n as f64 / RATE_HZ as f64).sin();
            value += (wave(low) + wave(high)) * level;
        }
        value.clamp(-32_000.0, 32_000.0) as i16
    };
    (0..(length_ms + plan.packet_ms) * MS).map(sample).collect()
}

/// What is done beside sending.
fn changes(plan: &Plan, presses: &[Press], at_ms: usize, stream: &mut Stream, acts: &mut Vec<(usize, Act)>) {
    let is_now = |ms: usize| (at_ms..at_ms + plan.packet_ms).contains(&ms);
    let middle = |place: usize| presses[place].from + plan.tone_ms / 2;
    let (first, second) = (is_now(middle(3)), is_now(middle(6)));
    let act = match plan.fault {
        Fault::Reinvite if first || second => Some(Act::CustomerOffers(plan.customer, "sendrecv")),
        Fault::CustomerHolds if first => Some(Act::CustomerOffers(plan.customer, "sendonly")),
        Fault::CustomerHolds if second => Some(Act::CustomerOffers(plan.customer, "sendrecv")),
        Fault::AgentHolds if first => Some(Act::AgentOffers("sendonly")),
        Fault::AgentHolds if second => Some(Act::AgentOffers("sendrecv")),
        Fault::OtherLaw if first => Some(Act::CustomerOffers(&[8], "sendrecv")),
        Fault::Cancel if is_now(presses[presses.len() - 1].from + plan.tone_ms / 2) => Some(Act::Cancel),
        _ => None,
    };
    acts.extend(act.map(|act| (at_ms, act)));
    match plan.fault {
        Fault::OtherLaw if first => stream.payload_type = 8,
        Fault::OtherLawUnsaid if first || second => stream.payload_type ^= 8,
        Fault::NewStream if first => {
            (stream.ssrc, stream.sequence) =
                (stream.ssrc.wrapping_add(1), stream.sequence.wrapping_add(9000));
            stream.timestamp = stream.timestamp.wrapping_add(1_000_000);
        }
        _ => {}
    }
    if let Some(press) = presses.iter().find(|press| is_now(press.from))
        && matches!(plan.carrier, Carrier::Info | Carrier::InfoAndTones)
    {
        acts.push((at_ms, Act::Info(press.key)));
    }
}

/// The packets of one turn.
fn packets(
    plan: &Plan,
    presses: &[Press],
    line: &[i16],
    at_ms: usize,
    stream: &mut Stream,
    acts: &mut Vec<(usize, Act)>,
) {
    let samples = &line[at_ms * MS..(at_ms + plan.packet_ms) * MS];
    let has_events =
        matches!(plan.carrier, Carrier::Events | Carrier::EventsAndSliver | Carrier::EventsAndTones);
    // A press becomes an event with the first turn that lies in it whole.
    let down = presses.iter().find(|press| at_ms >= press.from && at_ms < press.to + plan.packet_ms);
    let begun_ms = down.map_or(0, |press| press.from.next_multiple_of(plan.packet_ms));
    let is_event = has_events && down.is_some_and(|_| at_ms >= begun_ms);
    let (sequence, timestamp) = (stream.sequence, stream.timestamp);
    let audio = stream.audio(samples);
    let silent = plan.fault == Fault::Silence
        && down.is_none()
        && !presses.iter().any(|press| at_ms < press.from && press.from < at_ms + plan.packet_ms);
    if silent || is_event && plan.carrier != Carrier::EventsAndTones {
        stream.sequence = sequence;
    } else {
        acts.push((at_ms, Act::Packet(audio.clone())));
    }
    if plan.fault == Fault::Strangers && down.is_some() {
        acts.push((at_ms, Act::Stranger(audio.clone())));
        let mut forged = audio;
        forged[8..12].copy_from_slice(b"evil");
        acts.push((
            at_ms,
            if (at_ms / 20).is_multiple_of(2) { Act::Stranger(forged) } else { Act::Packet(forged) },
        ));
    }
    let Some(press) = down.filter(|_| is_event) else { return };
    let start = timestamp.wrapping_sub(((at_ms - begun_ms) * MS) as u32);
    let ends = at_ms + plan.packet_ms >= press.to;
    let duration = u16::try_from((at_ms + plan.packet_ms - begun_ms) * MS).unwrap().to_be_bytes();
    let code = "0123456789*#ABCD".find(press.key).unwrap() as u8;
    for _ in 0..if ends { 3 } else { 1 } {
        let payload = [code, u8::from(ends) << 7 | 10, duration[0], duration[1]];
        acts.push((at_ms, Act::Packet(stream.packet(EVENT, start, &payload))));
    }
}

/// What the network makes of it; the seed is the name.
fn network(plan: &Plan, acts: &mut Vec<(usize, Act)>) {
    let seed = plan.name.bytes().fold(1_u64, |seed, byte| seed.wrapping_mul(131) + u64::from(byte));
    let mut random = SmallRng::seed_from_u64(seed);
    let mut arrived = Vec::new();
    for (at_ms, act) in acts.drain(..) {
        let Act::Packet(packet) = act else {
            arrived.push((at_ms, act));
            continue;
        };
        let chance = random.random_range(0..100);
        let at_ms = match plan.fault {
            Fault::Loss if chance < 8 => continue,
            Fault::Reorder if chance < 15 => at_ms + plan.packet_ms + 2,
            // Three packets are kept back and come with the fourth.
            Fault::Jitter if at_ms % 240 < 80 => at_ms / 240 * 240 + 80,
            _ => at_ms,
        };
        if plan.fault == Fault::Duplicates && chance < 20 {
            arrived.push((at_ms + usize::try_from(chance).unwrap(), Act::Packet(packet.clone())));
        }
        arrived.push((at_ms, Act::Packet(packet)));
    }
    *acts = arrived;
}

/// G.711 by search over what the decoder says: slow, and nobody's code but this ear's.
fn encode(payload_type: u8, sample: i16) -> u8 {
    use std::sync::LazyLock;
    static TABLES: LazyLock<[Vec<(i16, u8)>; 2]> = LazyLock::new(|| {
        [0, 8].map(|payload_type| {
            let value = |byte: u8| crate::ear::decode(payload_type, byte);
            let mut table: Vec<(i16, u8)> = (0..=255).map(|byte| (value(byte), byte)).collect();
            table.sort_unstable();
            table
        })
    });
    let table = &TABLES[usize::from(payload_type == 8)];
    let above = table.partition_point(|(value, _)| *value < sample).min(table.len() - 1);
    let below = above.saturating_sub(1);
    let distance = |place: usize| i32::from(table[place].0).abs_diff(i32::from(sample));
    if distance(below) < distance(above) { table[below].1 } else { table[above].1 }
}
