//! One side of the bridge: what signalling agreed for it, who may send, what we heard and sent.

use super::outgoing::{Outgoing, StreamSeed};
use super::report::Reporting;
use super::source::Source;
use super::stats::LegStats;
use crate::g711::Law;
use crate::rtp::{COMFORT_NOISE, Header};
use crate::srtp::{Crypto, Opener, Refused, Sealer};
use std::net::SocketAddr;

/// RFC 3551: the payload types of G.711 that need no agreement.
const PCMU: u8 = 0;
const PCMA: u8 = 8;

/// What signalling agreed for one leg. Set again after every offer and answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegParams {
    /// Where its SDP wants packets. `None` while nothing is known, or when it named no address (a hold in
    /// the old way, `0.0.0.0`): then nothing is sent.
    pub remote: Option<SocketAddr>,
    /// The law of `payload_type`.
    pub law: Law,
    /// Payload type of its audio.
    pub payload_type: u8,
    /// Payload type of its telephone-events, if agreed.
    pub event_payload_type: Option<u8>,
    /// Whether it takes comfort noise, payload type 13.
    pub comfort_noise: bool,
    /// What may flow (hold).
    pub flow: Flow,
    /// The peer is behind a NAT: its address is learned from its first packets, then fixed. Otherwise only
    /// packets from `remote` are taken.
    pub nat: bool,
    /// Where RTCP goes; nowhere while nothing is known.
    pub rtcp: Option<SocketAddr>,
    /// RTCP goes over the port of RTP, both ways.
    pub rtcp_mux: bool,
    /// How packets are sealed, both ways; nothing when they are plain.
    pub srtp: Option<Crypto>,
}

impl LegParams {
    /// PCMU, telephone-events on 101, both directions, no NAT.
    #[must_use]
    pub fn pcmu(remote: Option<SocketAddr>) -> Self {
        Self {
            remote,
            law: Law::Mu,
            payload_type: PCMU,
            event_payload_type: Some(101),
            comfort_noise: false,
            flow: Flow::Both,
            nat: false,
            rtcp: remote.and_then(|remote| Some(SocketAddr::new(remote.ip(), remote.port().checked_add(1)?))),
            rtcp_mux: false,
            srtp: None,
        }
    }

    /// PCMA, telephone-events on 101, both directions, no NAT.
    #[must_use]
    pub fn pcma(remote: Option<SocketAddr>) -> Self {
        Self { law: Law::A, payload_type: PCMA, ..Self::pcmu(remote) }
    }

    /// What a packet of this payload type carries. Both laws are always understood on their fixed numbers:
    /// a peer that was offered both may change between them without a word.
    pub(super) fn kind(&self, payload_type: u8) -> Kind {
        match payload_type {
            event if Some(event) == self.event_payload_type => Kind::Event,
            audio if audio == self.payload_type => Kind::Audio(self.law),
            PCMU => Kind::Audio(Law::Mu),
            PCMA => Kind::Audio(Law::A),
            COMFORT_NOISE => Kind::ComfortNoise,
            _ => Kind::Unknown,
        }
    }
}

/// Which way media may flow on a leg, seen from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// We send and receive.
    Both,
    /// We only send to it.
    Send,
    /// We only receive from it.
    Receive,
    /// Nothing: on hold both ways.
    Nothing,
}

impl Flow {
    pub(super) fn receives(self) -> bool {
        matches!(self, Self::Both | Self::Receive)
    }

    fn sends(self) -> bool {
        matches!(self, Self::Both | Self::Send)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Audio(Law),
    Event,
    ComfortNoise,
    Unknown,
}

pub(super) struct Leg {
    pub(super) params: LegParams,
    pub(super) source: Source,
    pub(super) incoming: Option<Incoming>,
    pub(super) outgoing: Outgoing,
    pub(super) stats: LegStats,
    sealing: Option<Box<Sealing>>,
    pub(super) reporting: Reporting,
}

/// SRTP of a leg.
struct Sealing {
    opener: Opener,
    sealer: Sealer,
}

impl Leg {
    pub(super) fn new(seed: StreamSeed) -> Self {
        Self {
            params: LegParams { flow: Flow::Nothing, ..LegParams::pcmu(None) },
            source: Source::default(),
            incoming: None,
            outgoing: Outgoing::new(seed),
            stats: LegStats::default(),
            sealing: None,
            reporting: Reporting::new(seed),
        }
    }

    /// Takes what was agreed. `true` when the place its packets come from is no longer the one it was.
    pub(super) fn set(&mut self, params: LegParams) -> bool {
        let before = std::mem::replace(&mut self.params, params).srtp;
        self.sealing = match (params.srtp, self.sealing.take(), before) {
            (None, ..) => None,
            (Some(crypto), Some(mut sealing), Some(before)) => {
                // A key that stays keeps its counters (RFC 4568 section 7.1.4).
                if (crypto.suite, crypto.ours) != (before.suite, before.ours) {
                    sealing.sealer = Sealer::new(crypto.suite, crypto.ours);
                }
                if (crypto.suite, crypto.theirs) != (before.suite, before.theirs) {
                    sealing.opener = Opener::new(crypto.suite, crypto.theirs);
                }
                Some(sealing)
            }
            (Some(crypto), ..) => Some(Box::new(Sealing {
                opener: Opener::new(crypto.suite, crypto.theirs),
                sealer: Sealer::new(crypto.suite, crypto.ours),
            })),
        };
        self.source.set(params.remote, params.nat)
    }

    /// A report as its peer wrote it.
    pub(super) fn open_report<'a>(&mut self, bytes: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        let Some(sealing) = &mut self.sealing else { return Ok(bytes) };
        let length = sealing.opener.open_rtcp(bytes)?;
        bytes.get(..length).ok_or(Refused)
    }

    /// As [`Leg::seal`], for a report.
    pub(super) fn seal_report<'a>(&mut self, buffer: &'a mut [u8], length: usize) -> Option<&'a [u8]> {
        let length = match &mut self.sealing {
            Some(sealing) => sealing.sealer.seal_rtcp(buffer, length)?,
            None => length,
        };
        buffer.get(..length)
    }

    /// The packet as its peer wrote it.
    pub(super) fn open<'a>(&mut self, bytes: &'a mut [u8]) -> Result<&'a [u8], Refused> {
        let Some(sealing) = &mut self.sealing else { return Ok(bytes) };
        let length = sealing.opener.open(bytes)?;
        bytes.get(..length).ok_or(Refused)
    }

    /// The packet of `length` bytes at the beginning of the buffer as it goes on the wire; nothing when it must
    /// not go there.
    pub(super) fn seal<'a>(&mut self, buffer: &'a mut [u8], length: usize) -> Option<&'a [u8]> {
        let length = match &mut self.sealing {
            Some(sealing) => sealing.sealer.seal(buffer, length)?,
            None => length,
        };
        buffer.get(..length)
    }

    /// Where to send, if the leg is to get anything now.
    pub(super) fn destination(&self) -> Option<SocketAddr> {
        let address = self.source.locked().or(self.params.remote)?;
        (self.params.flow.sends() && self.params.remote.is_some()).then_some(address)
    }

    /// Notes a packet of this leg and tells how it goes on from the ones before.
    pub(super) fn arrived(&mut self, now_us: u64, header: &Header) -> Continuity {
        let Some(incoming) = &mut self.incoming else {
            self.incoming = Some(Incoming::new(now_us, header));
            return Continuity::First;
        };
        if incoming.ssrc != header.ssrc {
            *incoming = Incoming::new(now_us, header);
            return Continuity::Replaced;
        }
        incoming.last_us = now_us;
        let step = header.sequence.wrapping_sub(incoming.sequence).cast_signed();
        if !(-MAX_LATE..=MAX_LOST).contains(&step) {
            incoming.sequence = header.sequence;
            return Continuity::Restarted;
        }
        if step > 0 {
            incoming.sequence = header.sequence;
        }
        Continuity::GoesOn
    }
}

/// The stream a leg sends to us.
#[derive(Clone, Copy)]
pub(super) struct Incoming {
    pub(super) ssrc: u32,
    pub(super) last_us: u64,
    sequence: u16,
}

impl Incoming {
    fn new(now_us: u64, header: &Header) -> Self {
        Self { ssrc: header.ssrc, last_us: now_us, sequence: header.sequence }
    }
}

/// RFC 3550 appendix A.1: farther back than this is not reordering, and farther ahead is not loss; the
/// sender has started again.
const MAX_LATE: i16 = 100;
const MAX_LOST: i16 = 3000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    /// The first packet of the leg.
    First,
    /// Same stream.
    GoesOn,
    /// Same name, but the numbers began anew.
    Restarted,
    /// Another stream.
    Replaced,
}
