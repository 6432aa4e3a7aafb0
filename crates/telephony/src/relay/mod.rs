//! Two legs joined, packet by packet. Pure: bytes, addresses and time come in, bytes go out.
//!
//! A [`Bridge`] is one call. Outside secure mode it passes everything on, with numbers, names and payload
//! types of our own on each leg. In secure mode ([`SecureMode`]) the customer's audio goes through the
//! guard, its telephone-events go to the [`KeyQueue`](crate::key_queue::KeyQueue), and nothing else of it
//! goes anywhere. What the agent says always reaches the customer.
//!
//! It fails closed: when the reader of the keys is gone the agent gets silence, and after
//! [`Bridge::fault`] too, until secure mode is left.

mod fork;
mod leg;
mod listener;
mod outgoing;
mod rate;
mod report;
mod secure;
mod source;
mod stats;
#[cfg(test)]
mod tests;

pub use fork::{Fork, ForkFlow, ForkSink, ForkTo, Sealing};
pub use leg::{Flow, LegParams};
pub use listener::KeyListener;
pub use outgoing::StreamSeed;
pub use rate::KeyRate;
pub use report::{Channel, EmitReport};
pub use secure::SecureMode;
pub use stats::{BridgeStats, Dropped, LegStats, Quality};

use crate::g711::Law;
use crate::key_queue::Alarm;
use crate::rtp::{COMFORT_NOISE, HEADER_BYTES, Header, Packet, is_rtcp};
use crate::srtp::OVERHEAD_BYTES;
use leg::{Continuity, Kind, Leg};
use source::Verdict;
use std::net::SocketAddr;

/// The largest packet taken or sent: what fits an Ethernet frame.
pub const MAX_PACKET_BYTES: usize = 1500;

/// A packet, and what sealing it adds.
const SCRATCH_BYTES: usize = MAX_PACKET_BYTES + OVERHEAD_BYTES;

/// From a peer behind a NAT another stream is taken only after its own one was quiet this long: somebody
/// who can forge its address must not be able to talk in between.
const QUIET_BEFORE_NEW_STREAM_US: u64 = 200_000;

/// Which end of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Whoever has the card.
    Customer,
    /// Whoever must not hear it.
    Agent,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Customer => Self::Agent,
            Self::Agent => Self::Customer,
        }
    }
}

/// Takes a packet that is ready to be sent: from our port of that side, to that address.
pub type Emit<'a> = &'a mut dyn FnMut(Side, SocketAddr, &[u8]);

/// One call of two legs.
pub struct Bridge {
    customer: Leg,
    agent: Leg,
    mode: Mode,
    listener: Option<Box<KeyListener>>,
    fork: Option<Box<Fork>>,
    keys_before: u64,
    faults: u64,
    scratch: [u8; SCRATCH_BYTES],
}

enum Mode {
    Plain,
    Secured(Box<SecureMode>),
    /// A fault of our own struck in secure mode: the agent gets silence.
    Failed(Box<SecureMode>),
}

impl Bridge {
    /// A bridge whose legs are still unknown; the seeds are for the streams sent to either side.
    #[must_use]
    pub fn new(to_customer: StreamSeed, to_agent: StreamSeed) -> Self {
        Self {
            customer: Leg::new(to_customer),
            agent: Leg::new(to_agent),
            mode: Mode::Plain,
            listener: None,
            fork: None,
            keys_before: 0,
            faults: 0,
            scratch: [0; SCRATCH_BYTES],
        }
    }

    /// Takes what signalling agreed for a leg. In secure mode a new address of the customer is obeyed, but
    /// it raises [`Alarm::StreamChanged`] and the keys stop to count.
    pub fn set_leg(&mut self, side: Side, params: LegParams) {
        let moved = self.leg_mut(side).set(params);
        if let (true, Side::Customer, Mode::Secured(secure)) = (moved, side, &mut self.mode) {
            secure.stream_replaced();
            self.agent.outgoing.begin_stream();
        }
    }

    /// Hears the agent's keys from now on, or no more. Gives back who listened before, to be freed elsewhere.
    pub fn listen(&mut self, listener: Option<Box<KeyListener>>) -> Option<Box<KeyListener>> {
        std::mem::replace(&mut self.listener, listener)
    }

    /// Copies both directions for a recorder from now on, or no more. Gives back the fork before.
    pub fn fork(&mut self, fork: Option<Box<Fork>>) -> Option<Box<Fork>> {
        std::mem::replace(&mut self.fork, fork)
    }

    /// The copies go here from now on.
    pub fn flow(&mut self, to: ForkFlow) {
        if let Some(fork) = &mut self.fork {
            fork.flow(to);
        }
    }

    /// Enters secure mode from the next packet on. Gives back what is left over of an earlier one, so that
    /// it can be freed elsewhere.
    pub fn secure(&mut self, mut secure: Box<SecureMode>) -> Option<Box<SecureMode>> {
        secure.begin(self.customer.params.law);
        self.replace_mode(Mode::Secured(secure))
    }

    /// Leaves secure mode: what the guard still holds is sent at once, cleaned, and then sound passes as it
    /// comes. But not while a key is down, or was just now: its rest must not be heard. Then nothing changes
    /// and this is to be called again.
    pub fn release(&mut self, now_us: u64, emit: Emit<'_>) -> Release {
        if let Mode::Secured(secure) | Mode::Failed(secure) = &self.mode
            && secure.is_key_down(now_us)
        {
            return Release::KeyDown;
        }
        self.pump(now_us, Pump::Everything, emit);
        self.agent.outgoing.renumber();
        Release::Left(self.replace_mode(Mode::Plain))
    }

    /// Something went wrong in us while a packet of this call was handled. In secure mode the agent gets
    /// silence from now on.
    pub fn fault(&mut self) {
        self.faults += 1;
        self.mode = match std::mem::replace(&mut self.mode, Mode::Plain) {
            Mode::Plain => Mode::Plain,
            Mode::Secured(secure) | Mode::Failed(secure) => Mode::Failed(secure),
        };
    }

    /// Takes what arrived at our RTP port of a side; SRTP is opened in its place, before anything is learned from
    /// it. `now_us` is a monotonic clock, the one of the key reports.
    pub fn packet(&mut self, now_us: u64, side: Side, from: SocketAddr, bytes: &mut [u8], emit: Emit<'_>) {
        if is_rtcp(bytes) {
            self.rtcp(now_us, side, from, bytes);
            return;
        }
        let leg = self.leg_mut(side);
        if bytes.len() > MAX_PACKET_BYTES {
            leg.stats.dropped.malformed += 1;
            return;
        }
        let Ok(bytes) = leg.open(bytes) else {
            leg.stats.dropped.unauthentic += 1;
            return;
        };
        let Some(packet) = Packet::parse(bytes) else {
            leg.stats.dropped.malformed += 1;
            return;
        };
        if self.admit(now_us, side, from, &packet.header) {
            match (side, &self.mode) {
                (Side::Agent, _) | (Side::Customer, Mode::Plain) => self.pass(now_us, side, &packet, emit),
                (Side::Customer, Mode::Secured(_)) => self.hide(now_us, &packet, emit),
                (Side::Customer, Mode::Failed(_)) => self.silence(now_us, &packet, emit),
            }
        }
    }

    /// When [`deadline`](Self::deadline) wants to be called next, if no packet comes before.
    #[must_use]
    pub fn next_deadline_us(&self) -> Option<u64> {
        match &self.mode {
            Mode::Secured(secure) => secure.next_deadline_us(),
            Mode::Plain | Mode::Failed(_) => None,
        }
    }

    /// Sends what the guard held until now.
    pub fn deadline(&mut self, now_us: u64, emit: Emit<'_>) {
        self.pump(now_us, Pump::Due, emit);
    }

    /// Whether secure mode is on, working or failed.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        !matches!(self.mode, Mode::Plain)
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> BridgeStats {
        let (secured, keys) = match &self.mode {
            Mode::Plain => (false, 0),
            Mode::Secured(secure) | Mode::Failed(secure) => (true, secure.reported()),
        };
        BridgeStats {
            customer: self.customer.stats(),
            agent: self.agent.stats(),
            keys: self.keys_before + keys,
            secured,
            faults: self.faults,
        }
    }

    fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Customer => &mut self.customer,
            Side::Agent => &mut self.agent,
        }
    }

    fn replace_mode(&mut self, mode: Mode) -> Option<Box<SecureMode>> {
        match std::mem::replace(&mut self.mode, mode) {
            Mode::Plain => None,
            Mode::Secured(secure) | Mode::Failed(secure) => {
                self.keys_before += secure.reported();
                Some(secure)
            }
        }
    }

    /// Whether the packet is its peer's; keeps account of the peer's stream.
    fn admit(&mut self, now_us: u64, side: Side, from: SocketAddr, header: &Header) -> bool {
        let secure = match (side, &mut self.mode) {
            (Side::Customer, Mode::Secured(secure)) => Some(secure),
            _ => None,
        };
        let (leg, other) = match side {
            Side::Customer => (&mut self.customer, &mut self.agent),
            Side::Agent => (&mut self.agent, &mut self.customer),
        };
        match leg.source.judge(from) {
            Verdict::Accepted => {}
            Verdict::Undecided => {
                leg.stats.dropped.undecided += 1;
                return false;
            }
            Verdict::Foreign => {
                leg.stats.dropped.foreign += 1;
                let plausible = leg.params.kind(header.payload_type) != Kind::Unknown;
                if let (true, Some(secure)) = (plausible, secure) {
                    secure.raise(Alarm::ForeignSource);
                }
                return false;
            }
        }
        let intrudes = leg.incoming.is_some_and(|incoming| {
            let quiet_us = now_us.saturating_sub(incoming.last_us);
            leg.params.nat && incoming.ssrc != header.ssrc && quiet_us < QUIET_BEFORE_NEW_STREAM_US
        });
        if intrudes {
            leg.stats.dropped.foreign += 1;
            if let Some(secure) = secure {
                secure.raise(Alarm::StreamChanged);
            }
            return false;
        }
        leg.reporting.arrived(now_us, header);
        leg.stats.received += 1;
        leg.stats.last_packet_us = Some(now_us);
        let continuity = leg.arrived(now_us, header);
        if continuity == Continuity::GoesOn {
            return true;
        }
        other.outgoing.begin_stream();
        leg.stats.streams_changed += u64::from(continuity != Continuity::First);
        match (continuity, secure) {
            (Continuity::Replaced, Some(secure)) => secure.stream_replaced(),
            (Continuity::Restarted, Some(secure)) => secure.stream_restarted(),
            _ => {}
        }
        true
    }

    /// Passes a packet on to the other side.
    fn pass(&mut self, now_us: u64, side: Side, packet: &Packet<'_>, emit: Emit<'_>) {
        let (leg, other) = match side {
            Side::Customer => (&mut self.customer, &mut self.agent),
            Side::Agent => (&mut self.agent, &mut self.customer),
        };
        let kind = leg.params.kind(packet.header.payload_type);
        leg.stats.events += u64::from(kind == Kind::Event);
        if let (Side::Agent, Mode::Plain, Some(listener)) = (side, &self.mode, &mut self.listener) {
            match kind {
                Kind::Event => listener.event(now_us, packet.header.timestamp, packet.payload),
                Kind::Audio(law) => listener.audio(now_us, law, packet.payload),
                Kind::ComfortNoise | Kind::Unknown => {}
            }
        }
        let (dropped, to) = (&mut leg.stats.dropped, other.params);
        let own_number = packet.header.payload_type;
        let (reason, payload_type, from_law) = match kind {
            Kind::Audio(law) => (&mut dropped.payload_type, Some(to.payload_type), Some(law)),
            Kind::Event => (&mut dropped.event, to.event_payload_type, None),
            Kind::ComfortNoise => {
                (&mut dropped.payload_type, to.comfort_noise.then_some(COMFORT_NOISE), None)
            }
            // Only where the number means nothing else on the other side.
            Kind::Unknown => {
                let free = to.kind(own_number) == Kind::Unknown;
                (&mut dropped.payload_type, free.then_some(own_number), None)
            }
        };
        let Some(payload_type) = payload_type else {
            *reason += 1;
            other.outgoing.skipped(&packet.header);
            return;
        };
        let destination = other.destination().filter(|_| leg.params.flow.receives());
        let Some(destination) = destination else {
            leg.stats.dropped.held += 1;
            other.outgoing.skipped(&packet.header);
            return;
        };
        let Some(header) = other.outgoing.passed(now_us, &packet.header, payload_type) else {
            leg.stats.dropped.late += 1;
            return;
        };
        let sound = from_law.map(|law| (law, to.law));
        let length = write(&mut self.scratch, header, packet.payload, sound).map(|bytes| bytes.len());
        if let (Some(fork), Some(length)) = (&mut self.fork, length) {
            let law = from_law.map(|_| to.law);
            fork.sent(now_us, side, &header, law, &self.scratch[HEADER_BYTES..length]);
        }
        if let Some(bytes) = length.and_then(|length| other.seal(&mut self.scratch, length)) {
            other.stats.sent += 1;
            other.reporting.sent(packet.payload.len());
            emit(side.other(), destination, bytes);
        }
    }

    /// Takes a packet of the customer in secure mode.
    fn hide(&mut self, now_us: u64, packet: &Packet<'_>, emit: Emit<'_>) {
        let Mode::Secured(secure) = &mut self.mode else { return };
        let stats = &mut self.customer.stats;
        let kind = self.customer.params.kind(packet.header.payload_type);
        stats.events += u64::from(kind == Kind::Event);
        match kind {
            _ if !self.customer.params.flow.receives() => stats.dropped.held += 1,
            Kind::Audio(law) if law == secure.law() => secure.audio(now_us, &packet.header, packet.payload),
            Kind::Audio(law) => {
                let sound = Some((law, secure.law()));
                let converted = write(&mut self.scratch, packet.header, packet.payload, sound);
                if let Some(payload) = converted.and_then(|bytes| bytes.get(HEADER_BYTES..)) {
                    secure.audio(now_us, &packet.header, payload);
                }
            }
            Kind::Event => {
                stats.dropped.event += 1;
                secure.event(now_us, packet.header.timestamp, packet.payload);
            }
            Kind::ComfortNoise | Kind::Unknown => stats.dropped.payload_type += 1,
        }
        self.pump(now_us, Pump::Due, emit);
    }

    /// Sends the agent what the guard lets go.
    fn pump(&mut self, now_us: u64, pump: Pump, emit: Emit<'_>) {
        let Mode::Secured(secure) = &mut self.mode else { return };
        let (law, abandoned) = (secure.law(), secure.is_abandoned());
        let agent = &mut self.agent;
        loop {
            let held = match pump {
                Pump::Due => secure.pop(now_us),
                Pump::Everything => secure.drain(),
            };
            let Some(held) = held else { return };
            let Some(destination) = agent.destination() else {
                self.customer.stats.dropped.held += 1;
                continue;
            };
            let header = agent.outgoing.numbered(now_us, held.ts, held.marker, agent.params.payload_type);
            let sound = Some((law, agent.params.law));
            let Some(bytes) = write(&mut self.scratch, header, held.payload, sound) else { continue };
            if abandoned {
                self.customer.stats.dropped.failed_closed += 1;
                bytes[HEADER_BYTES..].fill(agent.params.law.silence());
            }
            let length = bytes.len();
            if let Some(fork) = &mut self.fork {
                fork.sent(now_us, Side::Customer, &header, Some(agent.params.law), &bytes[HEADER_BYTES..]);
            }
            if let Some(bytes) = agent.seal(&mut self.scratch, length) {
                agent.stats.sent += 1;
                agent.reporting.sent(length - HEADER_BYTES);
                emit(Side::Agent, destination, bytes);
            }
        }
    }

    /// Sends the agent silence for a packet of audio, and nothing for any other.
    fn silence(&mut self, now_us: u64, packet: &Packet<'_>, emit: Emit<'_>) {
        let (customer, agent) = (&mut self.customer, &mut self.agent);
        customer.stats.dropped.failed_closed += 1;
        let kind = customer.params.kind(packet.header.payload_type);
        if let (Kind::Event, Mode::Failed(secure)) = (kind, &mut self.mode) {
            secure.key_seen(now_us);
        }
        let is_audio = matches!(kind, Kind::Audio(_));
        let Some(destination) = agent.destination().filter(|_| is_audio) else { return };
        let Header { timestamp, marker, .. } = packet.header;
        let header = agent.outgoing.numbered(now_us, timestamp, marker, agent.params.payload_type);
        if let Some(bytes) = write(&mut self.scratch, header, packet.payload, None) {
            bytes[HEADER_BYTES..].fill(agent.params.law.silence());
            let length = bytes.len();
            if let Some(fork) = &mut self.fork {
                fork.sent(now_us, Side::Customer, &header, Some(agent.params.law), &bytes[HEADER_BYTES..]);
            }
            if let Some(bytes) = agent.seal(&mut self.scratch, length) {
                agent.stats.sent += 1;
                agent.reporting.sent(length - HEADER_BYTES);
                emit(Side::Agent, destination, bytes);
            }
        }
    }
}

/// What came of the wish to leave secure mode.
pub enum Release {
    /// It is left, or was not on. What is left over of it can be freed elsewhere.
    Left(Option<Box<SecureMode>>),
    /// A key is down: it is still on.
    KeyDown,
}

#[derive(Clone, Copy)]
enum Pump {
    /// What the time has come for.
    Due,
    /// All there is.
    Everything,
}

/// Writes a packet, its sound turned from one law into another. `None` if it does not fit, which a packet
/// that was received as one never does.
fn write<'a>(
    scratch: &'a mut [u8; SCRATCH_BYTES],
    header: Header,
    payload: &[u8],
    sound: Option<(Law, Law)>,
) -> Option<&'a mut [u8]> {
    let bytes = scratch.get_mut(..MAX_PACKET_BYTES)?.get_mut(..HEADER_BYTES + payload.len())?;
    let (head, body) = bytes.split_at_mut(HEADER_BYTES);
    head.copy_from_slice(&header.to_bytes());
    body.copy_from_slice(payload);
    if let Some((from, to)) = sound.filter(|(from, to)| from != to) {
        let table = from.to(to);
        body.iter_mut().for_each(|byte| *byte = table[usize::from(*byte)]);
    }
    Some(bytes)
}
