//! How sound travelled in all calls that ended, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use hushpad_telephony::relay::{BridgeStats, LegStats};

/// Sums over calls that ended.
#[derive(Debug, Default)]
pub struct LineTotals {
    /// The customers' legs.
    pub customer: LegTotals,
    /// The agents' legs.
    pub agent: LegTotals,
}

/// Sums over one leg of every call that ended.
#[derive(Debug, Default)]
pub struct LegTotals {
    expected: AtomicU64,
    lost: AtomicU64,
    rejected: AtomicU64,
    calls_with_jitter: AtomicU64,
}

/// Jitter above this at a call's end counts, in microseconds: what common jitter buffers take.
const JITTER_US: u64 = 40_000;

impl LineTotals {
    pub(super) fn add(&self, stats: &BridgeStats) {
        self.customer.add(&stats.customer);
        self.agent.add(&stats.agent);
    }
}

impl LegTotals {
    fn add(&self, stats: &LegStats) {
        let dropped = stats.dropped;
        let rejected = dropped.foreign + dropped.unauthentic + dropped.malformed;
        self.expected.fetch_add(stats.quality.expected, Ordering::Relaxed);
        self.lost.fetch_add(stats.quality.lost, Ordering::Relaxed);
        self.rejected.fetch_add(rejected, Ordering::Relaxed);
        self.calls_with_jitter.fetch_add(u64::from(stats.quality.jitter_us > JITTER_US), Ordering::Relaxed);
    }

    /// Packets that should have come.
    #[must_use]
    pub fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }

    /// Of them, those that did not.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Packets that were not the peer's, or no RTP.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Calls that ended with a jitter of more than 40 ms.
    #[must_use]
    pub fn calls_with_jitter(&self) -> u64 {
        self.calls_with_jitter.load(Ordering::Relaxed)
    }
}
