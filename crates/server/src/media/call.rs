//! One call in a worker's hands: its sockets, and the bridge between them.

use super::ports::LegSockets;
use super::worker::Leftover;
use hushpad_telephony::relay::{
    Bridge, BridgeStats, Channel, Emit, EmitReport, Fork, ForkFlow, KeyListener, LegParams, MAX_PACKET_BYTES,
    Release, SecureMode, Side,
};
use std::net::{SocketAddr, UdpSocket};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::oneshot;

/// One byte more than a packet may have, so that a larger one shows.
pub(super) const BUFFER_BYTES: usize = MAX_PACKET_BYTES + 1;

/// A fault of ours while a packet is handled ends with that packet: the process and the other calls go on,
/// and in secure mode this call's agent hears nothing more.
pub(super) struct Call {
    sockets: Sockets,
    bridge: Bridge,
    leaving: Option<Leaving>,
}

/// Secure mode was asked to end, but a key is still down: its rest must not be heard either.
struct Leaving {
    done: oneshot::Sender<Leftover>,
    look_again_us: u64,
}

/// How often to look whether the key is up, when no packet comes.
const LOOK_AGAIN_US: u64 = 20_000;

struct Sockets {
    customer: LegSockets,
    agent: LegSockets,
}

/// Which of a call's four sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Rtp(Side),
    Rtcp(Side),
}

pub(super) const PORTS: [Port; 4] =
    [Port::Rtp(Side::Customer), Port::Rtcp(Side::Customer), Port::Rtp(Side::Agent), Port::Rtcp(Side::Agent)];

/// A call's number and one of its ports in one word.
#[derive(Clone, Copy)]
pub(super) struct Token(pub(super) u64);

impl Token {
    pub(super) fn new(number: usize, port: Port) -> Self {
        let port = PORTS.iter().position(|known| *known == port).unwrap_or(0);
        Self((number * PORTS.len() + port) as u64)
    }

    pub(super) fn parts(self) -> Option<(usize, Port)> {
        let word = usize::try_from(self.0).ok()?;
        Some((word / PORTS.len(), PORTS[word % PORTS.len()]))
    }
}

impl Call {
    pub(super) fn new(customer: LegSockets, agent: LegSockets, bridge: Bridge) -> Self {
        Self { sockets: Sockets { customer, agent }, bridge, leaving: None }
    }

    pub(super) fn socket(&self, port: Port) -> &UdpSocket {
        match port {
            Port::Rtp(side) => &self.sockets.leg(side).rtp,
            Port::Rtcp(side) => &self.sockets.leg(side).rtcp,
        }
    }

    /// Takes one packet. If there are more, epoll tells again, after the other calls had their turn.
    pub(super) fn receive(&mut self, port: Port, now_us: u64, buffer: &mut [u8; BUFFER_BYTES]) {
        let Ok((length, from)) = self.socket(port).recv_from(buffer) else { return };
        let Some(bytes) = buffer.get_mut(..length) else { return };
        match port {
            Port::Rtp(side) => {
                self.sending(|bridge, emit| bridge.packet(now_us, side, from, bytes, emit));
            }
            Port::Rtcp(side) => {
                contained(&mut self.bridge, |bridge| bridge.rtcp(now_us, side, from, bytes));
            }
        }
    }

    /// Sends the reports that are due.
    pub(super) fn report(&mut self, now_us: u64, unix_us: u64) {
        self.reporting(|bridge, emit| bridge.report(now_us, unix_us, emit));
    }

    /// The call is over.
    pub(super) fn goodbye(&mut self, now_us: u64, unix_us: u64) {
        self.reporting(|bridge, emit| bridge.goodbye(now_us, unix_us, emit));
    }

    fn reporting(&mut self, action: impl FnOnce(&mut Bridge, EmitReport<'_>)) {
        let Self { sockets, bridge, .. } = self;
        contained(bridge, |bridge| {
            action(bridge, &mut |side, channel, to, bytes| {
                let socket = match channel {
                    Channel::Rtp => &sockets.leg(side).rtp,
                    Channel::Rtcp => &sockets.leg(side).rtcp,
                };
                let _lost = socket.send_to(bytes, to);
            });
        });
    }

    /// Does what its time has come for.
    pub(super) fn deadline(&mut self, now_us: u64) {
        if self.next_deadline_us().is_some_and(|deadline_us| deadline_us <= now_us) {
            self.sending(|bridge, emit| bridge.deadline(now_us, emit));
            self.leave(now_us);
        }
    }

    pub(super) fn next_deadline_us(&self) -> Option<u64> {
        let look_again_us = self.leaving.as_ref().map(|leaving| leaving.look_again_us);
        self.bridge.next_deadline_us().into_iter().chain(look_again_us).min()
    }

    pub(super) fn is_secured(&self) -> bool {
        self.bridge.is_secured()
    }

    pub(super) fn set_leg(&mut self, side: Side, params: LegParams) -> Option<()> {
        contained(&mut self.bridge, |bridge| bridge.set_leg(side, params))
    }

    /// Gives back who listened before, for the call task to free.
    pub(super) fn listen(&mut self, listener: Option<Box<KeyListener>>) -> Option<Box<KeyListener>> {
        self.bridge.listen(listener)
    }

    /// Copies for a recorder. A call gets one fork at most, so nothing is freed here.
    pub(super) fn fork(&mut self, fork: Box<Fork>) -> Option<Box<Fork>> {
        self.bridge.fork(Some(fork))
    }

    pub(super) fn flow(&mut self, to: ForkFlow) -> Option<()> {
        contained(&mut self.bridge, |bridge| bridge.flow(to))
    }

    pub(super) fn secure(&mut self, secure: Box<SecureMode>) -> Option<Leftover> {
        // Whoever waits for the end of the one before learns that it did not come.
        self.leaving = None;
        contained(&mut self.bridge, |bridge| bridge.secure(secure))
    }

    /// Leaves secure mode as soon as no key is down, and answers then.
    pub(super) fn release(&mut self, now_us: u64, done: oneshot::Sender<Leftover>) {
        self.leaving = Some(Leaving { done, look_again_us: now_us });
        self.leave(now_us);
    }

    fn leave(&mut self, now_us: u64) {
        let Some(leaving) = self.leaving.take() else { return };
        match self.sending(|bridge, emit| bridge.release(now_us, emit)) {
            Some(Release::Left(leftover)) => {
                // A call task that has gone away needs no answer.
                let _gone = leaving.done.send(leftover);
            }
            Some(Release::KeyDown) => {
                self.leaving = Some(Leaving { look_again_us: now_us + LOOK_AGAIN_US, ..leaving });
            }
            // A fault of ours: secure mode stays on, and the call task learns that by the missing answer.
            None => {}
        }
    }

    pub(super) fn stats(&self) -> BridgeStats {
        self.bridge.stats()
    }

    fn sending<T>(&mut self, action: impl FnOnce(&mut Bridge, Emit<'_>) -> T) -> Option<T> {
        let Self { sockets, bridge, .. } = self;
        contained(bridge, |bridge| {
            action(bridge, &mut |to, address, packet| sockets.send(to, address, packet))
        })
    }
}

impl Sockets {
    fn leg(&self, side: Side) -> &LegSockets {
        match side {
            Side::Customer => &self.customer,
            Side::Agent => &self.agent,
        }
    }

    fn send(&self, side: Side, to: SocketAddr, packet: &[u8]) {
        // A full buffer or an unreachable peer loses the packet, as any network may.
        let _lost = self.leg(side).rtp.send_to(packet, to);
    }
}

fn contained<T>(bridge: &mut Bridge, action: impl FnOnce(&mut Bridge) -> T) -> Option<T> {
    // After a fault the bridge sends nothing that came through the broken part: see `Bridge::fault`.
    let result = catch_unwind(AssertUnwindSafe(|| action(bridge)));
    if result.is_err() {
        bridge.fault();
    }
    result.ok()
}

#[cfg(test)]
mod tests {
    use super::super::ports::PortPool;
    use super::*;
    use hushpad_telephony::guard::GuardConfig;
    use hushpad_telephony::key_queue::KeyQueue;
    use hushpad_telephony::relay::StreamSeed;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    #[test]
    fn a_panic_ends_with_its_packet_and_leaves_the_agent_in_silence() {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let pool = Arc::new(PortPool::new(22_700, 22_799));
        let seed = StreamSeed { ssrc: 1, sequence: 1, timestamp: 1, name: 1 };
        let (customer, agent) = (pool.open(address).unwrap(), pool.open(address).unwrap());
        let mut call = Call::new(customer, agent, Bridge::new(seed, seed));
        let keys = Arc::new(KeyQueue::new());
        call.secure(Box::new(SecureMode::new(GuardConfig::default(), keys.clone()))).unwrap();
        assert!(call.sending(|_, _| -> () { panic!("a fault of our own") }).is_none());
        assert!(call.set_leg(Side::Agent, LegParams::pcmu(None)).is_some(), "the call goes on");
        assert_eq!((call.stats().faults, call.stats().secured), (1, true));
        assert_eq!(call.next_deadline_us(), None, "the guard is not asked any more");
    }

    #[test]
    fn a_token_names_the_call_and_the_port() {
        for number in [0, 1, 16_383] {
            for port in PORTS {
                assert_eq!(Token::new(number, port).parts(), Some((number, port)));
            }
        }
    }
}
