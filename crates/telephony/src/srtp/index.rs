//! The index of a packet: its sequence number and how often that rolled over (RFC 3711 section 3.3.1), and
//! which ones were there before.

/// Indices remembered; RFC 3711 section 3.3.2 wants at least 64.
const REMEMBERED: u64 = 128;

/// A packet's index in its stream, 48 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Index(u64);

impl Index {
    pub(super) fn value(self) -> u64 {
        self.0
    }

    pub(super) fn rollovers(self) -> u32 {
        // 48 bits in all: the rest is 32.
        u32::try_from(self.0 >> 16).unwrap_or(u32::MAX)
    }
}

/// The indices of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Indices {
    newest: Option<Index>,
    window: Window,
}

impl Indices {
    /// The likeliest index of a sequence number: the one nearest to the newest there was.
    pub(super) fn of(&self, sequence: u16) -> Index {
        let Some(newest) = self.newest else { return Index(u64::from(sequence)) };
        let [.., high, low] = newest.0.to_be_bytes();
        let step = i64::from(sequence.wrapping_sub(u16::from_be_bytes([high, low])).cast_signed());
        // Before the first roll-over there is nothing: then it is one ahead.
        Index(newest.0.checked_add_signed(step).unwrap_or(u64::from(sequence)))
    }

    pub(super) fn is_fresh(&self, index: Index) -> bool {
        self.window.is_fresh(index.0)
    }

    /// A packet with this index was taken.
    pub(super) fn take(&mut self, index: Index) {
        self.newest = self.newest.max(Some(index));
        self.window.take(index.0);
    }
}

/// Which of the latest indices were taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// One more than the newest, zero before the first.
    next: u64,
    /// Bit 0 is the newest.
    taken: u128,
}

impl Window {
    /// Whether it is not too old and was not taken.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        match self.next.checked_sub(index + 1) {
            None => true,
            Some(age) => age < REMEMBERED && self.taken >> age & 1 == 0,
        }
    }

    pub(super) fn take(&mut self, index: u64) {
        match self.next.checked_sub(index + 1) {
            Some(age) if age < REMEMBERED => self.taken |= 1 << age,
            Some(_) => {}
            None => {
                let ahead = u32::try_from(index + 1 - self.next).unwrap_or(u32::MAX);
                self.taken = self.taken.checked_shl(ahead).unwrap_or(0) | 1;
                self.next = index + 1;
            }
        }
    }
}
