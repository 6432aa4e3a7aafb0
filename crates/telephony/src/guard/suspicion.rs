//! Suspicion: which stretches of the audio might be a tone, decided on every block of 2.5 ms.
//!
//! A suspicion may be wrong; it costs a little speech. It must not miss: it has to fall before the oldest
//! sample of the tone leaves the look-back, so nothing here looks at more than 40 ms, and a
//! clear tone is seen in 10.

use crate::detector::look::{Limit, Look, Sums};
use crate::detector::spectrum::{BLOCK, Fit, Pair, SHORT, Spectrum};

/// Watches the blocks and names the samples to hide.
pub(super) struct Suspicion {
    state: State,
    /// Of each case of each of [`WINDOWS`].
    limits: [[Limit; CASES]; WINDOWS.len()],
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

/// Weakest tone that is suspected: −64 dBm0. No receiver need take it, but on a silent line some decoders
/// do (multimon-ng reads −60 dBm0), and a recording can be turned up.
const LEAST_AMPLITUDE: f32 = 14.0;
/// Largest ratio of the two amplitudes either way: 14 dB, more than any receiver takes for a key.
const MOST_TWIST: f32 = 5.0;
/// How much two tones must explain of 10 ms to be suspected without a second look.
const SHARE_10_MS: f32 = 0.96;
/// What a longer window must show: the more it sees, the less of it the tones must explain, if they are
/// close to their frequencies and steady. Chosen so that speech is silenced for less than 0.2 % of its time.
const WINDOWS: [Window; 7] = [
    Window {
        blocks: 6,
        cases: &[Case::new(0.98, 0.0, 0.04), Case::new(0.93, 0.0, 0.0175), Case::new(0.78, 0.0, 0.006)],
    },
    Window {
        blocks: 8,
        cases: &[Case::new(0.97, 0.0, 0.04), Case::new(0.9, 0.0, 0.0175), Case::new(0.68, 0.0, 0.006)],
    },
    Window {
        blocks: 10,
        cases: &[Case::new(0.96, 0.96, 0.035), Case::new(0.82, 0.955, 0.0175), Case::new(0.61, 0.93, 0.006)],
    },
    Window { blocks: 12, cases: &[Case::new(0.7, 0.97, 0.01), Case::new(0.48, 0.945, 0.004)] },
    Window {
        blocks: 14,
        cases: &[
            Case::new(0.68, 0.96, 0.0175),
            Case::new(0.5, 0.96, 0.008),
            Case::new(0.4, 0.965, 0.004),
            Case::new(0.18, 0.965, 0.003),
            Case::new(0.3, 0.94, 0.0015),
        ],
    },
    Window {
        blocks: 16,
        cases: &[Case::new(0.4, 0.9, 0.003), Case::new(0.12, 0.93, 0.003), Case::new(0.08, 0.9, 0.0015)],
    },
    Window { blocks: 20, cases: &[Case::new(0.08, 0.94, 0.002), Case::new(0.06, 0.9, 0.001)] },
];

/// Cases of a window at most.
const CASES: usize = 5;

/// A length of window, and what raises a suspicion in it.
struct Window {
    blocks: usize,
    cases: &'static [Case],
}

#[derive(Clone, Copy)]
struct Case {
    share: f32,
    coherence: f32,
    deviation: f32,
}

impl Case {
    const fn new(share: f32, coherence: f32, deviation: f32) -> Self {
        Self { share, coherence, deviation }
    }

    fn holds(&self, look: &Look) -> bool {
        look.share >= self.share && look.coherence >= self.coherence && look.deviation <= self.deviation
    }
}

impl Window {
    /// Windows of fewer cases repeat their last one.
    fn limits(&self) -> [Limit; CASES] {
        std::array::from_fn(|index| {
            let case = self.cases[index.min(self.cases.len() - 1)];
            Limit::new(case.share, case.deviation)
        })
    }

    fn suspects(&self, spectrum: &Spectrum, sums: &Sums, limits: &[Limit]) -> Option<Fit> {
        let look = sums.look(spectrum, self.blocks, limits)?;
        let holds = self.cases.iter().any(|case| case.holds(&look))
            && look.steadiness >= LEAST_STEADINESS
            && plausible(look.low, look.high);
        holds.then_some(Fit { pair: look.pair, share: look.share, low: look.low, high: look.high })
    }
}
/// How much two tones must explain of the last 5 or 10 ms before a gap.
const SHARE_BEFORE_GAP: f32 = 0.6;
/// The weakest 10 ms of a tone against its mean, at least.
const LEAST_STEADINESS: f32 = 0.45;
/// Hidden before the first and after the last block in which the pair is seen: 7.5 ms.
const MARGIN: usize = 3 * BLOCK;
/// The pair counts as still there at this part of its amplitude (−18 dB)…
const TRACE: f32 = 0.125;
/// …if it explains so much of 5 ms, after the tone and before it.
const TRACE_SHARE: f32 = 0.35;
const TRACE_SHARE_BEFORE: f32 = 0.25;
/// How far back the beginning is traced, over a gap too: 40 ms, what the shortest look-back still holds.
const TRACE_BLOCKS: usize = 16;
/// How long a pair is remembered after its last trace (200 ms): over lost packets and between the halves
/// of a broken press.
const WARY_BLOCKS: u32 = 80;

impl Suspicion {
    pub(super) fn new() -> Self {
        Self { state: State::Calm, limits: std::array::from_fn(|index| WINDOWS[index].limits()) }
    }

    /// What the newest block says must be hidden.
    pub(super) fn observe(&mut self, spectrum: &Spectrum, sums: &Sums) -> Option<Hide> {
        let fresh = self.suspect(spectrum, sums);
        if let Some((seen, blocks)) = fresh {
            let traced = match self.state {
                // What came before is hidden already, up to what speech may have covered since.
                State::Wary { pair, absent, .. } if pair == seen.pair && absent <= TRACE_BLOCKS as u32 => {
                    blocks.max(absent as usize + 1)
                }
                State::Wary { .. } | State::Calm => trace_back(spectrum, &seen, blocks),
            };
            self.state = State::Wary { pair: seen.pair, low: seen.low, high: seen.high, absent: 0 };
            return Some(Hide { from_back: traced * BLOCK + MARGIN, beyond: MARGIN });
        }
        let State::Wary { pair, low, high, absent } = &mut self.state else { return None };
        let now = spectrum.fit(*pair, 0, 2);
        if is_trace(&now, *low, *high, TRACE_SHARE) {
            *absent = 0;
            return Some(Hide { from_back: 2 * BLOCK + MARGIN, beyond: MARGIN });
        }
        let back_after_silence =
            *absent <= TRACE_BLOCKS as u32 && begins_after_silence(spectrum, *low, *high);
        *absent += 1;
        if back_after_silence {
            return Some(Hide { from_back: BLOCK + MARGIN, beyond: MARGIN });
        }
        if *absent > WARY_BLOCKS {
            self.state = State::Calm;
        }
        None
    }

    /// Whether a tone could have begun in the last 10 ms, by the little there is: asked when what follows
    /// is lost and nothing more will be known.
    pub(super) fn could_begin(spectrum: &Spectrum) -> bool {
        let fit = spectrum.best_short_fit(&spectrum.short_sum());
        let newest = spectrum.fit(fit.pair, 0, 2);
        plausible(newest.low, newest.high) && fit.share.max(newest.share) >= SHARE_BEFORE_GAP
    }

    /// A suspicion without any memory: the fit that raised it and how many blocks it covers. Needs
    /// [`Sums::prepare`].
    fn suspect(&self, spectrum: &Spectrum, sums: &Sums) -> Option<(Fit, usize)> {
        if !sums.is_worth_a_look() {
            return None;
        }
        let fit = spectrum.best_short_fit(sums.newest());
        if fit.share >= SHARE_10_MS && plausible(fit.low, fit.high) {
            return Some((fit, SHORT));
        }
        let mut windows = WINDOWS.iter().zip(&self.limits);
        windows.find_map(|(window, limits)| Some((window.suspects(spectrum, sums, limits)?, window.blocks)))
    }

    /// Whether the newest block still belongs to a suspected tone.
    pub(super) fn is_on(&self) -> bool {
        matches!(self.state, State::Wary { absent: 0..=3, .. })
    }
}

fn plausible(low: f32, high: f32) -> bool {
    low.min(high) >= LEAST_AMPLITUDE && low <= high * MOST_TWIST && high <= low * MOST_TWIST
}

fn is_trace(fit: &Fit, low: f32, high: f32, share: f32) -> bool {
    fit.low >= low * TRACE && fit.high >= high * TRACE && fit.share >= share
}

/// Whether the newest block breaks a silence: out of a tone a packet was lost, and what comes may be its
/// last few milliseconds, too short to be known for what they are.
fn begins_after_silence(spectrum: &Spectrum, low: f32, high: f32) -> bool {
    let quiet = quiet_beside(low, high);
    spectrum.back(0).energy >= quiet && spectrum.back(1).energy < quiet && spectrum.back(2).energy < quiet
}

/// The energy under which a block counts as silent beside a tone: 30 dB less.
fn quiet_beside(low: f32, high: f32) -> f32 {
    (low * low + high * high) / 2.0 * BLOCK as f32 / 1000.0
}

/// How many blocks back the pair can be found, over a gap too. If it begins after silence, what was before
/// the silence counts as its beginning: a packet may have been lost out of it.
fn trace_back(spectrum: &Spectrum, seen: &Fit, blocks: usize) -> usize {
    let is_there =
        |age: usize| is_trace(&spectrum.fit(seen.pair, age, 2), seen.low, seen.high, TRACE_SHARE_BEFORE);
    let oldest = (blocks..TRACE_BLOCKS).rev().find(|age| is_there(*age));
    let traced = oldest.map_or(blocks, |age| age + 2);
    let quiet = quiet_beside(seen.low, seen.high);
    let is_silent = |age: usize| spectrum.back(age).energy < quiet;
    let silent = (traced.saturating_sub(2)..=traced + 2).any(is_silent);
    let before = (traced..TRACE_BLOCKS).rev().find(|age| silent && !is_silent(*age));
    before.map_or(traced, |age| age + 1)
}
