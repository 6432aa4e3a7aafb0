//! Stand-in for the guard: silences everything.

use crate::detector::Phase;
use crate::g711::{Law, silence};
use crate::key::Key;
use std::collections::VecDeque;

/// What the agent hears in place of a tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Nothing.
    Silence,
    /// Soft noise.
    ComfortNoise,
    /// A flat beep.
    Beep,
}

/// How the guard works.
#[derive(Clone, Copy, Debug)]
pub struct GuardConfig {
    /// How long audio is held back.
    pub look_back_ms: u16,
    /// What replaces a tone.
    pub fill: Fill,
}

/// A packet that may go on.
pub struct Held<'a> {
    /// RTP timestamp.
    pub ts: u32,
    /// Marker bit.
    pub marker: bool,
    /// Coded audio.
    pub payload: &'a [u8],
}

/// The guard of one call.
pub struct Guard {
    config: GuardConfig,
    law: Law,
    held: VecDeque<(u64, u32, bool, usize)>,
    out: Vec<u8>,
}

impl Guard {
    /// A guard that holds nothing.
    #[must_use]
    pub fn new(config: GuardConfig, law: Law) -> Self {
        Self { config, law, held: VecDeque::new(), out: Vec::new() }
    }
    /// Changes the law.
    pub fn set_law(&mut self, law: Law) {
        self.law = law;
    }
    /// Forgets everything.
    pub fn reset(&mut self) {
        self.held.clear();
    }
    /// Takes a packet.
    pub fn push(
        &mut self,
        now_us: u64,
        ts: u32,
        marker: bool,
        payload: &[u8],
        _heard: &mut dyn FnMut(Key, Phase, u64),
    ) {
        self.held.push_back((now_us, ts, marker, payload.len()));
    }
    /// A telephone-event was seen.
    pub fn cover(&mut self, _now_us: u64, _ts: u32, _duration: u32, _ended: bool) {}
    /// The next packet whose time has come.
    pub fn pop(&mut self, now_us: u64) -> Option<Held<'_>> {
        if self.next_deadline_us()? > now_us {
            return None;
        }
        self.drain()
    }
    /// The next packet, its time come or not.
    pub fn drain(&mut self) -> Option<Held<'_>> {
        let (_, ts, marker, length) = self.held.pop_front()?;
        self.out.clear();
        self.out.resize(length, silence(self.law));
        Some(Held { ts, marker, payload: &self.out })
    }
    /// When to call `pop` again.
    #[must_use]
    pub fn next_deadline_us(&self) -> Option<u64> {
        self.held.front().map(|held| held.0 + u64::from(self.config.look_back_ms) * 1000)
    }
}
