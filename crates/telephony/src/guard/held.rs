//! The audio in the look-back: packets, their bytes, and which samples must be hidden.

use std::ops::Range;

/// Samples the ring holds (512 ms): the longest look-back (120 ms), the longest packet, the longest gap
/// that keeps its place (200 ms), and room for packets that come in a burst.
const RING: usize = 4096;
/// Packets held at most: 120 ms of 10 ms packets, three times over for bursts of small ones.
const PACKETS: usize = 40;

/// One packet in the look-back. `from` and `len` are samples; positions count from the guard's start.
#[derive(Clone, Copy)]
pub(super) struct Packet {
    pub(super) ts: u32,
    pub(super) from: u64,
    pub(super) len: usize,
    pub(super) marker: bool,
    pub(super) came_us: u64,
}

impl Packet {
    pub(super) fn end(&self) -> u64 {
        self.from + self.len as u64
    }
}

const NO_PACKET: Packet = Packet { ts: 0, from: 0, len: 0, marker: false, came_us: 0 };

/// Packets in order of position, and two rings over the positions: bytes and what is hidden.
pub(super) struct Lookback {
    bytes: [u8; RING],
    hidden: [bool; RING],
    packets: [Packet; PACKETS],
    count: usize,
    /// One past the newest sample.
    head: u64,
    /// Everything before has left or been given up.
    left: u64,
    /// What comes before this position is hidden as soon as it arrives.
    hide_until: u64,
}

/// Positions start here, so that looking back never goes below zero.
const START: u64 = RING as u64;

impl Lookback {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; RING],
            hidden: [false; RING],
            packets: [NO_PACKET; PACKETS],
            count: 0,
            head: START,
            left: START,
            hide_until: 0,
        }
    }

    /// Forgets everything; nothing of it can come out any more.
    pub(super) fn clear(&mut self) {
        self.bytes.fill(0);
        self.hidden.fill(false);
        (self.count, self.head, self.left, self.hide_until) = (0, START, START, 0);
    }

    pub(super) fn head(&self) -> u64 {
        self.head
    }

    /// Moves the head over samples that never came (yet).
    pub(super) fn skip(&mut self, samples: u64) {
        self.advance(samples);
    }

    /// Appends a packet at the head.
    pub(super) fn append(&mut self, ts: u32, marker: bool, came_us: u64, payload: &[u8]) {
        let packet = Packet { ts, from: self.head, len: payload.len(), marker, came_us };
        self.advance(payload.len() as u64);
        self.write(&packet, payload);
        if self.count == PACKETS {
            self.drop_first();
        }
        self.insert(self.count, packet);
    }

    /// Puts a late packet into its gap, hidden whole: it was not examined in its turn. Without a free gap
    /// for all of it, or when its place has left already, it is dropped.
    pub(super) fn fill_gap(&mut self, from: u64, ts: u32, marker: bool, came_us: u64, payload: &[u8]) {
        let packet = Packet { ts, from, len: payload.len(), marker, came_us };
        let held = &self.packets[..self.count];
        let taken = held.iter().any(|other| other.from < packet.end() && from < other.end());
        if taken || from < self.left || packet.end() > self.head || self.count == PACKETS {
            return;
        }
        let index = held.iter().take_while(|other| other.from < from).count();
        self.write(&packet, payload);
        self.hide(from, packet.end());
        self.insert(index, packet);
    }

    /// Hides the samples of a stretch: those here now, and those that come before `to`.
    pub(super) fn hide(&mut self, from: u64, to: u64) {
        let oldest = self.head.saturating_sub(RING as u64);
        for range in ring_ranges(from.max(oldest), to.min(self.head)) {
            self.hidden[range].fill(true);
        }
        self.hide_until = self.hide_until.max(to);
    }

    pub(super) fn first(&self) -> Option<&Packet> {
        self.packets[..self.count].first()
    }

    pub(super) fn drop_first(&mut self) {
        if let Some(packet) = self.first().copied() {
            self.left = self.left.max(packet.end());
            self.packets.copy_within(1..self.count, 0);
            self.count -= 1;
        }
    }

    pub(super) fn byte(&self, position: u64) -> u8 {
        self.bytes[slot(position)]
    }

    /// Copies the bytes of a packet as they came.
    pub(super) fn copy(&self, packet: &Packet, into: &mut [u8]) {
        let mut rest = into;
        for range in ring_ranges(packet.from, packet.end()) {
            let bytes = &self.bytes[range];
            let (now, later) = rest.split_at_mut(bytes.len().min(rest.len()));
            now.copy_from_slice(&bytes[..now.len()]);
            rest = later;
        }
    }

    /// Whether a sample is hidden; one that has not come yet is not, unless its hiding is settled.
    pub(super) fn is_hidden(&self, position: u64) -> bool {
        if position >= self.head { position < self.hide_until } else { self.hidden[slot(position)] }
    }

    /// Whether any sample of a stretch is hidden.
    pub(super) fn any_hidden(&self, from: u64, to: u64) -> bool {
        if to > self.head && self.head.max(from) < self.hide_until {
            return true;
        }
        ring_ranges(from, to.min(self.head)).into_iter().any(|range| self.hidden[range].contains(&true))
    }

    fn advance(&mut self, samples: u64) {
        let end = self.head + samples;
        let hidden_end = self.hide_until.clamp(self.head, end);
        for range in ring_ranges(self.head, hidden_end) {
            self.hidden[range].fill(true);
        }
        for range in ring_ranges(hidden_end, end) {
            self.hidden[range].fill(false);
        }
        self.head = end;
        let oldest = self.head.saturating_sub(RING as u64);
        while self.first().is_some_and(|packet| packet.from < oldest) {
            self.drop_first();
        }
    }

    fn write(&mut self, packet: &Packet, payload: &[u8]) {
        let mut rest = payload;
        for range in ring_ranges(packet.from, packet.end()) {
            let (now, later) = rest.split_at(range.len().min(rest.len()));
            self.bytes[range.start..range.start + now.len()].copy_from_slice(now);
            rest = later;
        }
    }

    fn insert(&mut self, index: usize, packet: Packet) {
        if self.count < PACKETS && index <= self.count {
            self.packets.copy_within(index..self.count, index + 1);
            self.packets[index] = packet;
            self.count += 1;
        }
    }
}

/// The slots of the positions `[from, to)`, at most a ring's length: up to its end, and on from its start.
fn ring_ranges(from: u64, to: u64) -> [Range<usize>; 2] {
    let length = to.saturating_sub(from).min(RING as u64) as usize;
    let start = slot(from);
    let first = length.min(RING - start);
    [start..start + first, 0..length - first]
}

fn slot(position: u64) -> usize {
    (position % RING as u64) as usize
}
