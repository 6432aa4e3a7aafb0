//! What a phone remembers of its call.

use std::collections::{BTreeMap, VecDeque};

use super::session_description::PCMU;
use super::talker::KeyCarrier;
use super::track::Track;

/// Times of strange packets remembered: a key press makes eight, and each press is judged within a second.
const MAX_STRANGE: usize = 256;
/// Key presses remembered: more than two minutes of keying without a pause.
const MAX_PRESSES: usize = 1024;

/// One key press.
#[derive(Clone, Copy, Debug)]
pub struct Press {
    /// Counts up from 0 on each phone.
    pub number: u64,
    /// The key.
    pub key: char,
    /// How it was sent.
    pub carrier: KeyCarrier,
    /// When it began, on the demo's clock. It lasted [`super::PRESS_MS`].
    pub at_ms: u64,
}

/// Everything a phone remembers.
#[derive(Debug, Default)]
pub struct Record {
    /// What it sent.
    pub sent: Track,
    /// What its owner heard.
    pub heard: Track,
    /// Keys pressed, oldest first.
    pub presses: VecDeque<Press>,
    /// RTP packets received, by payload type.
    pub packets_heard: BTreeMap<u8, u64>,
    /// SIP INFO requests received.
    pub infos_heard: u64,
    /// When the latest packets that were not plain G.711, and the latest INFOs, came.
    strange_at_ms: VecDeque<u64>,
    presses_ever: u64,
}

impl Record {
    /// Received RTP packets that were not plain G.711: on the agent's phone, each could carry a key.
    #[must_use]
    pub fn events_heard(&self) -> u64 {
        self.packets_heard.iter().filter(|(kind, _)| **kind != PCMU).map(|(_, count)| count).sum()
    }

    /// Whether between two times anything came that could carry a key outside the audio.
    #[must_use]
    pub fn strange_between(&self, from_ms: u64, until_ms: u64) -> bool {
        self.strange_at_ms.iter().any(|at_ms| (from_ms..until_ms).contains(at_ms))
    }

    pub(super) fn strange(&mut self, at_ms: u64) {
        if self.strange_at_ms.len() == MAX_STRANGE {
            self.strange_at_ms.pop_front();
        }
        self.strange_at_ms.push_back(at_ms);
    }

    pub(super) fn press(&mut self, key: char, carrier: KeyCarrier, at_ms: u64) {
        if self.presses.len() == MAX_PRESSES {
            self.presses.pop_front();
        }
        self.presses.push_back(Press { number: self.presses_ever, key, carrier, at_ms });
        self.presses_ever += 1;
    }
}
