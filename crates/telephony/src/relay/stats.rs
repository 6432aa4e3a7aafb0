//! What a bridge counts.

/// Counters of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegStats {
    /// RTP packets taken from its peer.
    pub received: u64,
    /// RTP packets sent to its peer.
    pub sent: u64,
    /// RTCP packets: read, not passed on.
    pub rtcp: u64,
    /// How its stream arrives, and ours at the peer.
    pub quality: Quality,
    /// When its peer was last heard, in microseconds of the caller's clock.
    pub last_packet_us: Option<u64>,
    /// Packets of telephone-events received.
    pub events: u64,
    /// Times its stream was replaced or began anew.
    pub streams_changed: u64,
    /// Received and not passed on, by reason.
    pub dropped: Dropped,
}

impl LegStats {
    /// How long its peer has not been heard, in microseconds. `None` when it never was.
    #[must_use]
    pub fn quiet_for_us(&self, now_us: u64) -> Option<u64> {
        self.last_packet_us.map(|last_us| now_us.saturating_sub(last_us))
    }
}

/// How the sound of one leg travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quality {
    /// Packets of the peer that should have come.
    pub expected: u64,
    /// Of them, those that did not.
    pub lost: u64,
    /// Jitter of what comes, in microseconds.
    pub jitter_us: u64,
    /// What the peer says of our stream: lost lately, in 256ths.
    pub far_fraction_lost: Option<u8>,
}

/// Why packets were not passed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Not RTP, or larger than a packet may be.
    pub malformed: u64,
    /// From an address, or of a stream, that is not the peer's.
    pub foreign: u64,
    /// From a peer behind a NAT, before its address was decided on.
    pub undecided: u64,
    /// The payload type is not one that may pass.
    pub payload_type: u64,
    /// A telephone-event kept from the agent, or one the other side has no number for.
    pub event: u64,
    /// The leg, or the other one, is on hold or has no address.
    pub held: u64,
    /// SRTP that is not genuine, or was there before.
    pub unauthentic: u64,
    /// SRTCP that is not genuine. Some phones send a plain packet to open a pinhole before they seal.
    pub unauthentic_reports: u64,
    /// Came after its number was used up.
    pub late: u64,
    /// Silenced because the guard or the reader of the keys is gone.
    pub failed_closed: u64,
}

/// Counters of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BridgeStats {
    /// The customer's side.
    pub customer: LegStats,
    /// The agent's side.
    pub agent: LegStats,
    /// Keys handed over, before carriers are merged.
    pub keys: u64,
    /// Whether secure mode is on.
    pub secured: bool,
    /// Faults of our own while a packet of this call was handled.
    pub faults: u64,
}
