//! What really goes over the wire: every UDP packet toward a desk's ports, read by a packet socket beside the
//! programs that send and receive. No word of it comes from the product.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::ear::Sound;
use crate::process::Ports;
use crate::until;

/// A UDP packet.
#[derive(Clone)]
pub(crate) struct Packet {
    pub(crate) at: Instant,
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    pub(crate) payload: Vec<u8>,
}

/// An RTP packet (RFC 3550, section 5.1).
pub(crate) struct Rtp<'a> {
    pub(crate) payload_type: u8,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) ssrc: u32,
    pub(crate) payload: &'a [u8],
}

/// Records until it is dropped.
pub(crate) struct Wire {
    packets: Arc<Mutex<Vec<Packet>>>,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Wire {
    /// Records every UDP packet to one of these ports.
    pub(crate) fn tap(ports: &Ports) -> Self {
        let socket = packet_socket(ports.first..ports.first + Ports::COUNT);
        let (packets, over) = (Arc::<Mutex<Vec<Packet>>>::default(), Arc::<AtomicBool>::default());
        let (kept, told) = (packets.clone(), over.clone());
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !told.load(Ordering::Relaxed) {
                if let Ok(length) = (&socket).read(&mut buffer)
                    && let Some(packet) = udp(&buffer[..length])
                {
                    kept.lock().unwrap().push(packet);
                }
            }
        });
        Self { packets, over, reader: Some(reader) }
    }

    /// What was sent to these ports so far.
    pub(crate) fn to(&self, ports: &Range<u16>) -> Vec<Packet> {
        let packets = self.packets.lock().unwrap();
        packets.iter().filter(|packet| ports.contains(&packet.to.port())).cloned().collect()
    }

    /// What was sent from these ports so far.
    pub(crate) fn from(&self, ports: &Range<u16>) -> Vec<Packet> {
        let packets = self.packets.lock().unwrap();
        packets.iter().filter(|packet| ports.contains(&packet.from.port())).cloned().collect()
    }

    /// The audio that was sent to these ports so far, with its gaps.
    pub(crate) fn sound_to(&self, ports: &Range<u16>) -> Sound {
        Sound::from_rtp(self.to(ports).iter().filter_map(Packet::rtp))
    }

    /// Waits until half a second of somebody talking has come to each of these phones, from now on.
    pub(crate) fn waits_for_speech(&self, phones: &[(&str, Range<u16>)]) {
        /// Of speech, vowels are that loud; line noise and comfort noise are not.
        const LOUD_DBFS: f64 = -35.0;
        const LOUD_PACKETS: usize = 25;
        let begun = Instant::now();
        for (who, ports) in phones {
            until(&format!("{who} hears speech"), || {
                let packets = self.to(ports);
                let recent = packets.iter().filter(|packet| packet.at > begun).filter_map(Packet::rtp);
                let loud = recent.filter(|rtp| Sound::from_payload(rtp).level_dbfs() > LOUD_DBFS).count();
                (loud >= LOUD_PACKETS).then_some(())
            });
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Packet {
    /// The packet read as RTP; `None` for RTCP, SIP, and what is too short.
    pub(crate) fn rtp(&self) -> Option<Rtp<'_>> {
        Rtp::read(&self.payload).filter(|_| self.to.port().is_multiple_of(2))
    }
}

impl<'a> Rtp<'a> {
    /// Reads a packet; `None` for RTCP and what is too short.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let is_rtcp = matches!(bytes.get(1)?, 200..=207);
        if bytes.len() < 12 || bytes[0] >> 6 != 2 || is_rtcp {
            return None;
        }
        let sources = usize::from(bytes[0] & 0x0f) * 4;
        Some(Self {
            payload_type: bytes[1] & 0x7f,
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
            timestamp: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            ssrc: u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
            payload: bytes.get(12 + sources..)?,
        })
    }
}

/// A socket that gets every IP packet which the machine receives, and lets those pass that go to these UDP ports.
fn packet_socket(ports: Range<u16>) -> Socket {
    const IP: u16 = 0x0800;
    let protocol = Protocol::from(i32::from(IP.to_be()));
    let socket =
        Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol)).expect("reading the wire needs root");
    let step = SockFilter::new;
    let filter = [
        step(0x30, 0, 0, 9),                      // A = protocol of the IP header
        step(0x15, 0, 5, 17),                     // UDP, or drop
        step(0xb1, 0, 0, 0),                      // X = length of the IP header
        step(0x48, 0, 0, 2),                      // A = UDP destination port
        step(0x35, 0, 2, u32::from(ports.start)), // at least the first port, or drop
        step(0x35, 1, 0, u32::from(ports.end)),   // past the last port: drop
        step(0x06, 0, 0, 65_535),                 // keep
        step(0x06, 0, 0, 0),                      // drop
    ];
    socket.attach_filter(&filter).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    // Seconds of audio, should this thread not get its turn.
    let _ = socket.set_recv_buffer_size(4 << 20);
    socket
}

fn udp(ip: &[u8]) -> Option<Packet> {
    let head = usize::from(ip.first()? & 0x0f) * 4;
    let address = |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(ip.get(at..at + 4)?).ok()?));
    let port = |at: usize| Some(u16::from_be_bytes([*ip.get(at)?, *ip.get(at + 1)?]));
    Some(Packet {
        at: Instant::now(),
        from: SocketAddrV4::new(address(12)?, port(head)?),
        to: SocketAddrV4::new(address(16)?, port(head + 2)?),
        payload: ip.get(head + 8..)?.to_vec(),
    })
}
