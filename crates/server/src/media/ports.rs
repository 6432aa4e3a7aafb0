//! The UDP ports of calls: each leg has an even one for RTP and the next for RTCP.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Every port pair of the range is either in the pool or in one [`Lease`].
///
/// What was given back last is given out last, so that late packets of an old call find no new one.
pub(super) struct PortPool {
    free: Mutex<VecDeque<u16>>,
    first: u16,
    pairs: usize,
}

impl PortPool {
    /// A pool of the pairs within `min..=max`.
    pub(super) fn new(min: u16, max: u16) -> Self {
        let first = min.saturating_add(min % 2);
        let free: VecDeque<u16> =
            (first..max).step_by(2).filter(|port| *port != 0 && *port % 2 == 0).collect();
        let pairs = free.len();
        Self { free: Mutex::new(free), first, pairs }
    }

    /// How many pairs there are.
    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }

    /// Opens the two sockets of a leg. An error when no pair is left; pairs in use by other programs are
    /// passed over.
    pub(super) fn open(self: &Arc<Self>, address: IpAddr) -> io::Result<LegSockets> {
        let mut last = io::Error::new(io::ErrorKind::AddrInUse, "no media port is free");
        // Each pair at most once.
        for _ in 0..self.pairs {
            let Some(port) = self.free().pop_front() else { break };
            let lease = Lease { port, pool: self.clone() };
            match (bind(address, port), bind(address, port + 1)) {
                (Ok(rtp), Ok(rtcp)) => return Ok(LegSockets { rtp, rtcp, lease }),
                (Err(error), _) | (_, Err(error)) => last = error,
            }
        }
        Err(last)
    }

    /// Pairs that are not given out.
    pub(super) fn left(&self) -> usize {
        self.free().len()
    }

    fn free(&self) -> MutexGuard<'_, VecDeque<u16>> {
        // Every change is one push or one pop: whole even after a panic.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bind(address: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(address, port))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv4() {
        // RFC 3246: voice asks for expedited forwarding. A network that refuses loses nothing.
        let _refused = socket2::SockRef::from(&socket).set_tos_v4(EXPEDITED_FORWARDING);
    }
    Ok(socket)
}

const EXPEDITED_FORWARDING: u32 = 46 << 2;

/// The sockets of one leg. They are closed before their ports go back to the pool: fields are dropped in
/// the order they are written.
pub(super) struct LegSockets {
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    pub(super) lease: Lease,
}

impl LegSockets {
    /// What comes is not read: the kernel is to keep as little of it as it can.
    pub(super) fn is_not_read(&self) {
        for socket in [&self.rtp, &self.rtcp] {
            let _refused = socket2::SockRef::from(socket).set_recv_buffer_size(1);
        }
    }
}

/// A pair of ports, given back when dropped.
pub(super) struct Lease {
    port: u16,
    pool: Arc<PortPool>,
}

impl Lease {
    /// The RTP port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// A number for the pair, below [`PortPool::pairs`], that nobody else has meanwhile.
    pub(super) fn index(&self) -> usize {
        usize::from(self.port - self.pool.first) / 2
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.free().push_back(self.port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn pairs_are_even_and_inside_the_range() {
        let pairs = |min, max| PortPool::new(min, max).free().iter().copied().collect::<Vec<_>>();
        assert_eq!(pairs(10_001, 10_006), [10_002, 10_004]);
        assert_eq!(pairs(10_000, 10_003), [10_000, 10_002]);
        assert!(pairs(10_000, 10_000).is_empty());
        assert_eq!(pairs(65_533, 65_535), [65_534]);
        assert!(pairs(65_535, 65_535).is_empty());
    }

    #[test]
    fn a_pair_in_use_is_passed_over_and_comes_back() {
        let pool = Arc::new(PortPool::new(21_300, 21_303));
        let _other = UdpSocket::bind((LOOPBACK, 21_301)).unwrap();
        let leg = pool.open(LOOPBACK).unwrap();
        assert_eq!((leg.lease.port(), leg.lease.index()), (21_302, 1));
        assert!(pool.open(LOOPBACK).is_err());
        drop(leg);
        assert_eq!(pool.left(), 2);
    }
}
