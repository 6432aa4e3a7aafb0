//! Suspicion: which stretches of the audio might be a tone, decided on every block of 2.5 ms.
//!
//! A suspicion may be wrong; it costs a little speech. It must not miss: it has to fall before the oldest
//! sample of the tone leaves the look-back, so nothing here looks at more than 35 ms.

use crate::detector::WORTH_A_LOOK;
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
/// How much two tones must explain of 10 ms to be suspected without a second look.
const SHARE_10_MS: f32 = 0.88;
/// What a longer window must show: the more it sees, the less of it the tones must explain, if they are
/// close to their frequencies and steady. Chosen so that speech is silenced for about 0.1 % of its time.
const RULES: [Rule; 8] = [
    Rule { blocks: 6, share: 0.80, coherence: 0.0, deviation: 0.05 },
    Rule { blocks: 8, share: 0.78, coherence: 0.0, deviation: 0.05 },
    Rule { blocks: 10, share: 0.75, coherence: 0.9, deviation: 0.04 },
    Rule { blocks: 12, share: 0.68, coherence: 0.94, deviation: 0.03 },
    Rule { blocks: 14, share: 0.58, coherence: 0.95, deviation: 0.02 },
    Rule { blocks: 14, share: 0.50, coherence: 0.96, deviation: 0.008 },
    Rule { blocks: 14, share: 0.40, coherence: 0.97, deviation: 0.004 },
    Rule { blocks: 14, share: 0.20, coherence: 0.975, deviation: 0.003 },
];
struct Rule {
    blocks: usize,
    share: f32,
    coherence: f32,
    deviation: f32,
}
/// How much two tones must explain of the last 5 or 10 ms before a gap.
const SHARE_BEFORE_GAP: f32 = 0.6;
/// The weakest 10 ms of a tone against its mean, at least.
const LEAST_STEADINESS: f32 = 0.45;
/// Hidden before the first and after the last block in which the pair is seen: 5 ms.
const MARGIN: usize = 2 * BLOCK;
/// The pair counts as still there at this part of its amplitude (−18 dB)…
const TRACE: f32 = 0.125;
/// …if it explains so much of 5 ms.
const TRACE_SHARE: f32 = 0.5;
/// How far back the beginning is traced, over a gap too: 40 ms, what the shortest look-back still holds.
const TRACE_BLOCKS: usize = 16;
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

    /// Whether a tone could have begun in the last 10 ms, by the little there is: asked when what follows
    /// is lost and nothing more will be known.
    pub(super) fn could_begin(spectrum: &Spectrum) -> bool {
        let fit = spectrum.best_short_fit(&spectrum.sum(0, SHORT));
        let newest = spectrum.fit(fit.pair, 0, 2);
        plausible(newest.low, newest.high) && fit.share.max(newest.share) >= SHARE_BEFORE_GAP
    }

    /// Whether the newest block still belongs to a suspected tone.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.state, State::Wary { absent: 0..=3, .. })
    }
}

/// A suspicion without any memory: the fit that raised it and how many blocks it covers.
fn suspect(spectrum: &Spectrum, sums: &Sums, fit: &Fit) -> Option<(Fit, usize)> {
    if fit.share < WORTH_A_LOOK {
        return None;
    }
    if fit.share >= SHARE_10_MS && plausible(fit.low, fit.high) {
        return Some((*fit, SHORT));
    }
    RULES.iter().find_map(|rule| {
        let look = sums.look(spectrum, rule.blocks, rule.share, rule.deviation)?;
        let steady = look.share >= rule.share
            && look.coherence >= rule.coherence
            && look.steadiness >= LEAST_STEADINESS
            && plausible(look.low, look.high);
        let seen = Fit { pair: look.pair, share: look.share, low: look.low, high: look.high };
        steady.then_some((seen, rule.blocks))
    })
}

fn plausible(low: f32, high: f32) -> bool {
    low.min(high) >= LEAST_AMPLITUDE && low <= high * MOST_TWIST && high <= low * MOST_TWIST
}

fn is_trace(fit: &Fit, low: f32, high: f32) -> bool {
    fit.low >= low * TRACE && fit.high >= high * TRACE && fit.share >= TRACE_SHARE
}

/// How many blocks back the pair can be found, over a gap too.
fn trace_back(spectrum: &Spectrum, seen: &Fit, blocks: usize) -> usize {
    let is_there = |age: usize| is_trace(&spectrum.fit(seen.pair, age, 2), seen.low, seen.high);
    let oldest = (blocks..TRACE_BLOCKS).rev().find(|age| is_there(*age));
    oldest.map_or(blocks, |age| age + 2)
}
