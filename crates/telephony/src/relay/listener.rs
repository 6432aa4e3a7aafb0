//! Hears the keys of the agent's side while nobody pays: a link code is keyed on the agent's own phone.
//!
//! Only outside secure mode. What is heard is passed on all the same.

use crate::detector::{Detector, Phase};
use crate::g711::Law;
use crate::key::{Carrier, KeyReport};
use crate::key_queue::{KeyQueue, Lane};
use crate::telephone_event::Receiver;
use std::sync::Arc;

/// Events share the clock of G.711.
const CLOCK_RATE_HZ: u32 = 8000;

/// Samples turned at once: 10 ms.
const PIECE: usize = 80;

/// Made before it is installed, so that the media thread allocates nothing.
pub struct KeyListener {
    receiver: Receiver,
    detector: Box<Detector>,
    keys: Arc<KeyQueue>,
}

impl KeyListener {
    /// A listener whose keys go to `keys`.
    #[must_use]
    pub fn new(keys: Arc<KeyQueue>) -> Self {
        Self { receiver: Receiver::new(CLOCK_RATE_HZ), detector: Box::new(Detector::new()), keys }
    }

    pub(super) fn event(&mut self, now_us: u64, timestamp: u32, payload: &[u8]) {
        let keys = &self.keys;
        self.receiver.packet(now_us, timestamp, payload, &mut |key, phase, onset_us| {
            if phase == Phase::Begin {
                keys.push(Lane::Media, KeyReport { key, carrier: Carrier::Event, at_ms: onset_us / 1000 });
            }
        });
    }

    pub(super) fn audio(&mut self, now_us: u64, law: Law, payload: &[u8]) {
        let (keys, table) = (&self.keys, law.table());
        for piece in payload.chunks(PIECE) {
            let mut samples = [0_i16; PIECE];
            for (sample, byte) in samples.iter_mut().zip(piece) {
                *sample = table[usize::from(*byte)];
            }
            self.detector.push(&samples[..piece.len()], &mut |heard| {
                if heard.phase == Phase::Begin {
                    let report = KeyReport { key: heard.key, carrier: Carrier::InBand, at_ms: now_us / 1000 };
                    keys.push(Lane::Media, report);
                }
            });
        }
    }
}
