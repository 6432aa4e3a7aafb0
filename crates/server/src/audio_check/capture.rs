//! Packet captures: pcap and pcapng down to the payload of UDP. Own and small: the two formats are a header
//! and a row of blocks, and what is read here comes from the one who reads the report.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Unreadable;

/// The payload of one UDP datagram.
pub(super) struct Datagram<'a> {
    /// When it was captured, in µs; counts from any time.
    pub(super) at_us: u64,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) payload: &'a [u8],
}

/// Interfaces of a pcapng section that are remembered: more have no machine.
const MAX_INTERFACES: usize = 256;

/// Calls `take` for each UDP datagram, in order. A capture that was cut off is read as far as it goes.
pub(super) fn read(bytes: &[u8], take: &mut dyn FnMut(&Datagram<'_>)) -> Result<(), Unreadable> {
    match bytes.first_chunk::<4>() {
        Some([0xd4, 0xc3, 0xb2, 0xa1]) => read_pcap(bytes, Reader { big: false }, 1, take),
        Some([0x4d, 0x3c, 0xb2, 0xa1]) => read_pcap(bytes, Reader { big: false }, 1000, take),
        Some([0xa1, 0xb2, 0xc3, 0xd4]) => read_pcap(bytes, Reader { big: true }, 1, take),
        Some([0xa1, 0xb2, 0x3c, 0x4d]) => read_pcap(bytes, Reader { big: true }, 1000, take),
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => read_pcapng(bytes, take),
        _ => Err(Unreadable::Unknown),
    }
}

/// Numbers in the byte order of the one who wrote the file.
#[derive(Clone, Copy)]
struct Reader {
    big: bool,
}

impl Reader {
    fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let four = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(if self.big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
    }

    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let two = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if self.big { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
    }
}

/// libpcap's format: a header of 24 bytes, then packets with 16 bytes before each.
fn read_pcap(
    bytes: &[u8],
    reader: Reader,
    ticks_per_us: u64,
    take: &mut dyn FnMut(&Datagram<'_>),
) -> Result<(), Unreadable> {
    let link = reader.u32(bytes, 20).ok_or(Unreadable::Cut("a pcap header"))? & 0xFFFF;
    let mut at = 24;
    while let (Some(seconds), Some(fraction), Some(length)) =
        (reader.u32(bytes, at), reader.u32(bytes, at + 4), reader.u32(bytes, at + 8))
    {
        let at_us = u64::from(seconds) * 1_000_000 + u64::from(fraction) / ticks_per_us;
        let from = at + 16;
        let Some(frame) = bytes.get(from..from.saturating_add(length as usize)) else { break };
        read_frame(link, at_us, frame, take);
        at = from + length as usize;
    }
    Ok(())
}

/// How an interface of a pcapng section is read.
#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    ticks_per_second: u64,
}

/// draft-ietf-opsawg-pcapng: blocks of type, length, body, length.
fn read_pcapng(bytes: &[u8], take: &mut dyn FnMut(&Datagram<'_>)) -> Result<(), Unreadable> {
    let (mut at, mut reader, mut interfaces) = (0, Reader { big: false }, Vec::new());
    while let Some(kind) = reader.u32(bytes, at) {
        if kind == 0x0A0D_0D0A {
            reader = Reader { big: bytes.get(at + 8) == Some(&0x1A) };
            interfaces.clear();
        }
        let Some(length) = reader.u32(bytes, at + 4).map(|length| length as usize) else { break };
        let Some(body) = bytes.get(at + 8..(at + length).saturating_sub(4)) else { break };
        match kind {
            1 if interfaces.len() < MAX_INTERFACES => interfaces.extend(interface(reader, body)),
            6 => packet(reader, body, &interfaces, take),
            _ => {}
        }
        at += length.max(12);
    }
    if at == 0 { Err(Unreadable::Cut("a pcapng header")) } else { Ok(()) }
}

fn interface(reader: Reader, body: &[u8]) -> Option<Interface> {
    let link = u32::from(reader.u16(body, 0)?);
    let (mut at, mut ticks_per_second) = (8, 1_000_000);
    while let (Some(code), Some(length)) = (reader.u16(body, at), reader.u16(body, at + 2)) {
        if code == 9
            && let Some(resolution) = body.get(at + 4)
        {
            let power = u32::from(resolution & 0x7F);
            let base: u64 = if resolution & 0x80 == 0 { 10 } else { 2 };
            ticks_per_second = base.checked_pow(power).unwrap_or(1_000_000);
        }
        at += 4 + usize::from(length).next_multiple_of(4);
        if code == 0 {
            break;
        }
    }
    Some(Interface { link, ticks_per_second })
}

fn packet(reader: Reader, body: &[u8], interfaces: &[Interface], take: &mut dyn FnMut(&Datagram<'_>)) {
    let read = || {
        let interface = *interfaces.get(reader.u32(body, 0)? as usize)?;
        let ticks = u64::from(reader.u32(body, 4)?) << 32 | u64::from(reader.u32(body, 8)?);
        let at_us = u128::from(ticks) * 1_000_000 / u128::from(interface.ticks_per_second);
        let length = reader.u32(body, 12)? as usize;
        Some((interface.link, u64::try_from(at_us).ok()?, body.get(20..20 + length)?))
    };
    if let Some((link, at_us, frame)) = read() {
        read_frame(link, at_us, frame, take);
    }
}

/// From the link's frame to the datagram; what is something else is passed over. Link types:
/// <https://www.tcpdump.org/linktypes.html>.
fn read_frame(link: u32, at_us: u64, frame: &[u8], take: &mut dyn FnMut(&Datagram<'_>)) {
    let ip = match link {
        0 | 108 => frame.get(4..),
        1 => ethernet(frame),
        12 | 14 | 101 | 228 | 229 => Some(frame),
        113 => frame.get(16..),
        276 => frame.get(20..),
        _ => None,
    };
    if let Some(datagram) = ip.and_then(|ip| udp(at_us, ip)) {
        take(&datagram);
    }
}

fn ethernet(frame: &[u8]) -> Option<&[u8]> {
    let mut at = 12;
    // VLAN tags, two at most.
    for _ in 0..2 {
        if matches!(frame.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
            at += 4;
        }
    }
    frame.get(at + 2..)
}

fn udp(at_us: u64, ip: &[u8]) -> Option<Datagram<'_>> {
    let (source, target, udp): (IpAddr, IpAddr, &[u8]) = match ip.first()? >> 4 {
        4 => {
            let header = usize::from(ip[0] & 15) * 4;
            // Of a fragment, only the first says which port it is for: RTP is never that long.
            let fragment = (u16::from_be_bytes([*ip.get(6)?, *ip.get(7)?]) & 0x3FFF) != 0;
            if *ip.get(9)? != 17 || fragment {
                return None;
            }
            let address = |at: usize| Some(Ipv4Addr::from(*ip.get(at..)?.first_chunk::<4>()?));
            (address(12)?.into(), address(16)?.into(), ip.get(header..)?)
        }
        6 => {
            if *ip.get(6)? != 17 {
                return None;
            }
            let address = |at: usize| Some(Ipv6Addr::from(*ip.get(at..)?.first_chunk::<16>()?));
            (address(8)?.into(), address(24)?.into(), ip.get(40..)?)
        }
        _ => return None,
    };
    let [s0, s1, d0, d1, l0, l1, _, _] = *udp.first_chunk::<8>()?;
    let length = usize::from(u16::from_be_bytes([l0, l1]));
    Some(Datagram {
        at_us,
        from: SocketAddr::new(source, u16::from_be_bytes([s0, s1])),
        to: SocketAddr::new(target, u16::from_be_bytes([d0, d1])),
        payload: udp.get(8..length.min(udp.len()))?,
    })
}
