//! RTCP of both legs: what is heard, and what we report.

use std::net::SocketAddr;

use super::leg::Leg;
use super::outgoing::StreamSeed;
use super::stats::LegStats;
use super::{Bridge, MAX_PACKET_BYTES, Mode, SCRATCH_BYTES, Side};
use crate::key_queue::Hint;
use crate::rtcp::{self, NAME_CHARS, Ntp, Reception, Reporter, Sent, Told};
use crate::rtp::Header;

/// Reports are this far apart on average (RFC 3550 section 6.2).
const INTERVAL_US: u64 = 5_000_000;
/// More than this of the customer's packets lost lately, in 256ths: digits get lost (3 %).
const POOR_FRACTION_LOST: u8 = 8;
/// Jitter above this is more than phones make up for.
const POOR_JITTER_US: u64 = 60_000;

/// Over which of a leg's ports a report goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The port of RTP (RFC 5761).
    Rtp,
    /// The port of RTCP.
    Rtcp,
}

/// Takes a report that is ready to be sent.
pub type EmitReport<'a> = &'a mut dyn FnMut(Side, Channel, SocketAddr, &[u8]);

/// What a leg's reports are made of.
pub(super) struct Reporting {
    name: [u8; NAME_CHARS],
    chance: u32,
    due_us: Option<u64>,
    packets: u32,
    bytes: u32,
    sent_since: bool,
    reception: Option<Reception>,
    /// Of streams before this one.
    expected_before: u64,
    lost_before: u64,
    far_fraction_lost: Option<u8>,
}

impl Reporting {
    pub(super) fn new(seed: StreamSeed) -> Self {
        const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let letter = |n: usize| LETTERS[usize::from((seed.name >> (n * 5)).to_le_bytes()[0] & 31)];
        Self {
            name: std::array::from_fn(letter),
            chance: seed.ssrc | 1,
            due_us: None,
            packets: 0,
            bytes: 0,
            sent_since: false,
            reception: None,
            expected_before: 0,
            lost_before: 0,
            far_fraction_lost: None,
        }
    }

    /// A packet of the peer was taken.
    pub(super) fn arrived(&mut self, now_us: u64, header: &Header) {
        if let Some(reception) = &mut self.reception
            && reception.arrived(now_us, header)
        {
            return;
        }
        if let Some(before) = self.reception.replace(Reception::new(now_us, header)) {
            self.expected_before += before.stats().expected;
            self.lost_before += before.stats().lost;
        }
    }

    /// A packet with so much payload went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(u32::try_from(bytes).unwrap_or(0));
        self.sent_since = true;
    }

    /// Writes a report on a stream that only goes out: its name, and the timestamp of now if something was sent.
    pub(super) fn write(
        &mut self,
        scratch: &mut [u8],
        (ssrc, timestamp): (u32, Option<u32>),
        unix_us: u64,
        goodbye: bool,
    ) -> Option<usize> {
        let sent = self.sent_by(timestamp);
        let reporter = Reporter { ssrc, name: self.name };
        reporter.write(scratch, Ntp::from_unix_us(unix_us), sent, None, goodbye)
    }

    /// What was sent, if there was anything since the last report.
    fn sent_by(&mut self, timestamp: Option<u32>) -> Option<Sent> {
        let timestamp = timestamp.filter(|_| std::mem::take(&mut self.sent_since))?;
        Some(Sent { timestamp, packets: self.packets, bytes: self.bytes })
    }

    /// Whether a report is due; then the next one is between a half and one and a half intervals away.
    pub(super) fn is_due(&mut self, now_us: u64) -> bool {
        let due = self.due_us.is_some_and(|due_us| now_us >= due_us);
        if due || self.due_us.is_none() {
            self.chance = self.chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let spread_us = (INTERVAL_US * u64::from(self.chance >> 8)) >> 24;
            self.due_us = Some(now_us + INTERVAL_US / 2 + spread_us);
        }
        due
    }
}

impl Leg {
    /// What was counted, with how sound travels.
    pub(super) fn stats(&self) -> LegStats {
        let mut stats = self.stats;
        let now = self.reporting.reception.map(|reception| reception.stats()).unwrap_or_default();
        stats.quality.expected = self.reporting.expected_before + now.expected;
        stats.quality.lost = self.reporting.lost_before + now.lost;
        stats.quality.jitter_us = now.jitter_us;
        stats.quality.far_fraction_lost = self.reporting.far_fraction_lost;
        stats
    }

    fn report_to(&self) -> Option<(Channel, SocketAddr)> {
        let remote = self.params.remote?;
        let learned = self.source.locked();
        if self.params.rtcp_mux {
            return Some((Channel::Rtp, learned.unwrap_or(remote)));
        }
        let stated = self.params.rtcp?;
        Some((Channel::Rtcp, learned.map_or(stated, |at| SocketAddr::new(at.ip(), stated.port()))))
    }

    /// Whether a report may come from here. Its port may be any: phones behind a NAT have one of their own.
    fn reports_come_from(&self, from: SocketAddr) -> bool {
        let address = self.source.locked().or(self.params.remote);
        address.is_some_and(|address| address.ip() == from.ip())
    }
}

impl Bridge {
    /// Takes an RTCP packet of a side, sealed or not. Nothing of it is passed on.
    pub fn rtcp(&mut self, now_us: u64, side: Side, from: SocketAddr, bytes: &mut [u8]) {
        let leg = self.leg_mut(side);
        if bytes.len() > MAX_PACKET_BYTES {
            leg.stats.dropped.malformed += 1;
            return;
        }
        let Ok(bytes) = leg.open_report(bytes) else {
            leg.stats.dropped.unauthentic_reports += 1;
            return;
        };
        if !leg.reports_come_from(from) {
            leg.stats.dropped.foreign += 1;
            return;
        }
        leg.stats.rtcp += 1;
        let (ours, _) = leg.outgoing.now(now_us);
        let reporting = &mut leg.reporting;
        rtcp::read(bytes, &mut |told| match told {
            Told::Sends { ssrc, ntp_middle } => {
                if let Some(reception) = &mut reporting.reception {
                    reception.sender_report(now_us, ssrc, ntp_middle);
                }
            }
            Told::Receives(block) if block.ssrc == ours => {
                reporting.far_fraction_lost = Some(block.fraction_lost);
            }
            // A stream that ends says so by silence, too; somebody else's BYE must not end anything.
            Told::Receives(_) | Told::Leaves { .. } => {}
        });
    }

    /// Sends the reports whose time has come. `unix_us` is the wall clock.
    pub fn report(&mut self, now_us: u64, unix_us: u64, emit: EmitReport<'_>) {
        for side in [Side::Customer, Side::Agent] {
            if self.leg_mut(side).reporting.is_due(now_us) {
                self.send_report(side, now_us, unix_us, false, emit);
            }
        }
        if let Some(fork) = &mut self.fork {
            fork.report(now_us, unix_us, false);
        }
    }

    /// Says goodbye on both legs.
    pub fn goodbye(&mut self, now_us: u64, unix_us: u64, emit: EmitReport<'_>) {
        for side in [Side::Customer, Side::Agent] {
            self.send_report(side, now_us, unix_us, true, emit);
        }
        if let Some(fork) = &mut self.fork {
            fork.report(now_us, unix_us, true);
        }
    }

    fn send_report(&mut self, side: Side, now_us: u64, unix_us: u64, goodbye: bool, emit: EmitReport<'_>) {
        let leg = self.leg_mut(side);
        let (ssrc, timestamp) = leg.outgoing.now(now_us);
        let reporting = &mut leg.reporting;
        let block = reporting.reception.as_mut().map(|reception| reception.report(now_us));
        let jitter_us = reporting.reception.map_or(0, |reception| reception.stats().jitter_us);
        let sent = reporting.sent_by(timestamp);
        let reporter = Reporter { ssrc, name: reporting.name };
        let poor = block.is_some_and(|block| block.fraction_lost >= POOR_FRACTION_LOST);
        if let (Side::Customer, true, Mode::Secured(secure)) =
            (side, poor || jitter_us >= POOR_JITTER_US, &self.mode)
        {
            secure.hint(Hint::PoorLine);
        }
        let leg = match side {
            Side::Customer => &mut self.customer,
            Side::Agent => &mut self.agent,
        };
        let Some((channel, to)) = leg.report_to() else { return };
        let scratch: &mut [u8; SCRATCH_BYTES] = &mut self.scratch;
        let length = reporter.write(scratch, Ntp::from_unix_us(unix_us), sent, block, goodbye);
        if let Some(bytes) = length.and_then(|length| leg.seal_report(scratch, length)) {
            emit(side, channel, to, bytes);
        }
    }
}
