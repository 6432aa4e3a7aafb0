//! Stretches of the stream that lie under telephone-events, in RTP time.

/// Events remembered: two presses that overlap in the look-back, and room for reordered packets.
const COVERS: usize = 4;
/// Hidden after the sure end of an event (20 ms): phones switch back to audio a little late.
const AFTER_END: u32 = 160;
/// Hidden after the last known sample of an event whose end has not come (100 ms): senders repeat an
/// event every 50 ms at most, and end packets may be lost.
const AFTER_UNENDED: u32 = 800;
/// A cover is forgotten so long after its last packet: its samples have left long before.
const FORGET_US: u64 = 2_000_000;
/// Longest stretch of one event packet that is believed (RFC 4733: 16 bits of duration).
const MAX_DURATION: u32 = 65_535;

/// The events seen lately.
pub(super) struct Covers {
    slots: [Option<Cover>; COVERS],
}

#[derive(Clone, Copy)]
struct Cover {
    /// The event's own time stamp.
    event_ts: u32,
    /// First hidden sample, and how many.
    from_ts: u32,
    len: u32,
    seen_us: u64,
}

impl Covers {
    pub(super) fn new() -> Self {
        Self { slots: [None; COVERS] }
    }

    /// An event packet for `[ts, ts + duration)`; `before` samples ahead of it are hidden too.
    pub(super) fn add(&mut self, now_us: u64, ts: u32, duration: u32, ended: bool, before: u32) {
        let after = if ended { AFTER_END } else { AFTER_UNENDED };
        let len = before + duration.min(MAX_DURATION) + after;
        let fresh = Cover { event_ts: ts, from_ts: ts.wrapping_sub(before), len, seen_us: now_us };
        if let Some(known) = self.slots.iter_mut().flatten().find(|cover| cover.event_ts == ts) {
            // An end is final; until then an event only grows, whatever order its packets come in.
            let len = if ended { len } else { known.len.max(len) };
            *known = Cover { len, ..fresh };
            return;
        }
        let oldest = self.slots.iter_mut().min_by_key(|slot| slot.map_or(0, |cover| cover.seen_us));
        if let Some(slot) = oldest {
            *slot = Some(fresh);
        }
    }

    /// Forgets what has long passed.
    pub(super) fn forget_old(&mut self, now_us: u64) {
        for slot in &mut self.slots {
            if slot.is_some_and(|cover| now_us.saturating_sub(cover.seen_us) > FORGET_US) {
                *slot = None;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.iter().all(Option::is_none)
    }

    /// Whether the sample at RTP time `ts` lies under an event.
    pub(super) fn hides(&self, ts: u32) -> bool {
        self.slots.iter().flatten().any(|cover| ts.wrapping_sub(cover.from_ts) < cover.len)
    }
}
