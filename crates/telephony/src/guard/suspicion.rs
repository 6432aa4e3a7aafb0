//! Suspicion: which stretches of the audio might be a tone, decided on every block of 2.5 ms.
//!
//! A suspicion may be wrong; it costs a little speech. It must not miss: it has to fall before the oldest
//! sample of the tone leaves the look-back, so nothing here looks at more than 35 ms.

use crate::detector::look::Sums;
use crate::detector::spectrum::{BLOCK, Fit, Pair, SHORT, Spectrum};

/// Watches the blocks and names the samples to hide.
pub(super) struct Suspicion {
    state: State,
}

enum State {
    Calm,
    /// A pair was there not long ago: less is needed to suspect it again.
    Wary {
        pair: Pair,
        low: f32,
        high: f32,
        absent: u32,
    },
}

/// Samples to hide, counted back from the end of the newest block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hide {
    /// The first sample is so many before the end of the newest block.
    pub(super) from_back: usize,
    /// Samples after the newest block's end that are hidden too.
    pub(super) beyond: usize,
}

/// Weakest tone that is suspected: −48 dBm0, 3 dB under the weakest the detector takes.
const LEAST_AMPLITUDE: f32 = 90.0;
/// Largest ratio of the two amplitudes either way: 14 dB, more than any receiver takes for a key.
const MOST_TWIST: f32 = 5.0;
/// How much two tones must explain of 10 ms, of 20 ms, and of 35 ms if they are steady in it.
const SHARE_10_MS: f32 = 0.92;
const SHARE_20_MS: f32 = 0.75;
const SHARE_35_MS: f32 = 0.45;
const STEADY_35_MS: f32 = 0.5;
const DEVIATION_35_MS: f32 = 0.035;
const BLOCKS_20_MS: usize = 8;
const BLOCKS_35_MS: usize = 14;
/// Explained less than this in 10 ms, the longer windows are not looked at.
const WORTH_A_LOOK: f32 = 0.25;
/// Hidden before the first and after the last block in which the pair is seen: 5 ms.
const MARGIN: usize = 2 * BLOCK;
/// The pair counts as still there at this part of its amplitude (−18 dB)…
const TRACE: f32 = 0.125;
/// …if it explains so much of 5 ms.
const TRACE_SHARE: f32 = 0.4;
/// How far back the beginning is traced at most.
const TRACE_BLOCKS: usize = 12;
/// How long a pair is remembered after its last trace (200 ms): over lost packets and between the halves
/// of a broken press.
const WARY_BLOCKS: u32 = 80;

impl Suspicion {
    pub(super) fn new() -> Self {
        Self { state: State::Calm }
    }

    /// What the newest block says must be hidden.
    pub(super) fn observe(&mut self, spectrum: &Spectrum, sums: &Sums, fit: &Fit) -> Option<Hide> {
        let fresh = suspect(spectrum, sums, fit);
        if let Some((seen, blocks)) = fresh {
            self.state = State::Wary { pair: seen.pair, low: seen.low, high: seen.high, absent: 0 };
            let traced = trace_back(spectrum, &seen, blocks);
            return Some(Hide { from_back: traced * BLOCK + MARGIN, beyond: MARGIN });
        }
        let State::Wary { pair, low, high, absent } = &mut self.state else { return None };
        let now = spectrum.fit(*pair, 0, 2);
        if is_trace(&now, *low, *high) {
            *absent = 0;
            return Some(Hide { from_back: 2 * BLOCK + MARGIN, beyond: MARGIN });
        }
        *absent += 1;
        if *absent > WARY_BLOCKS {
            self.state = State::Calm;
        }
        None
    }

    /// Whether the newest block still belongs to a suspected tone.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.state, State::Wary { absent: 0..=3, .. })
    }
}

/// A suspicion without any memory: the fit that raised it and how many blocks it covers.
fn suspect(spectrum: &Spectrum, sums: &Sums, fit: &Fit) -> Option<(Fit, usize)> {
    if fit.share < WORTH_A_LOOK || !plausible(fit.low, fit.high) {
        return None;
    }
    if fit.share >= SHARE_10_MS {
        return Some((*fit, SHORT));
    }
    let longer = spectrum.fit(fit.pair, 0, BLOCKS_20_MS);
    if longer.share >= SHARE_20_MS && plausible(longer.low, longer.high) {
        return Some((longer, BLOCKS_20_MS));
    }
    let look = sums.look(spectrum, BLOCKS_35_MS);
    let steady = look.share >= SHARE_35_MS
        && look.steadiness >= STEADY_35_MS
        && look.deviation <= DEVIATION_35_MS
        && plausible(look.low, look.high);
    let seen = Fit { pair: look.pair, share: look.share, low: look.low, high: look.high };
    steady.then_some((seen, BLOCKS_35_MS))
}

fn plausible(low: f32, high: f32) -> bool {
    low.min(high) >= LEAST_AMPLITUDE && low <= high * MOST_TWIST && high <= low * MOST_TWIST
}

fn is_trace(fit: &Fit, low: f32, high: f32) -> bool {
    fit.low >= low * TRACE && fit.high >= high * TRACE && fit.share >= TRACE_SHARE
}

/// How many blocks back the pair can be followed without a break.
fn trace_back(spectrum: &Spectrum, seen: &Fit, blocks: usize) -> usize {
    let mut age = blocks;
    while age < blocks + TRACE_BLOCKS && is_trace(&spectrum.fit(seen.pair, age - 1, 2), seen.low, seen.high) {
        age += 1;
    }
    age
}
