//! The DTMF detector: in-band tones of ITU-T Q.23, heard by the rules of Q.24. Pure.
//!
//! Samples go in, in pieces of any size; the begin and the end of each key press come out. The front end
//! (`spectrum.rs`) gives every 2.5 ms the correlation with the eight frequencies. A key is declared when
//! two tones of one pair explain most of the energy of a window: nearly all of 25 ms, or less of a longer
//! window in which both stay steady (noise, speech over the tone). A press ends when its two tones are
//! gone for longer than a drop-out of the line lasts.
//!
//! The press that is heard belongs to whoever calls: this module keeps no key after its end is told,
//! but for the one it needs to tell a drop-out from a second press.

mod bank;
pub(crate) mod look;
pub(crate) mod spectrum;

use crate::key::Key;
use look::{Limit, Look, Sums};
use spectrum::{BLOCK, Block, Pair, Spectrum};

/// Which edge of a key press was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The press began.
    Begin,
    /// The press ended.
    End,
}

/// One edge of a key press, heard in the audio.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    /// Which key.
    pub key: Key,
    /// Which edge.
    pub phase: Phase,
    /// When the tone began or ended, in samples (8 kHz) since the first one pushed; estimated to about
    /// 3 ms. Always earlier than the newest sample, by the time the decision takes.
    pub at_sample: u64,
}

/// Hears DTMF in one direction of one call. Linear samples at 8 kHz; see the module's text.
pub struct Detector {
    spectrum: Spectrum,
    sums: Sums,
    /// Of each of [`RULES`].
    limits: [[Limit; 2]; RULES.len()],
    state: State,
    last: Last,
}

/// What one block brought.
pub(crate) struct Turn {
    pub(crate) ended: Option<Heard>,
    pub(crate) begun: Option<Heard>,
}

/// Where we are in a press.
enum State {
    Idle,
    On(Press),
}

/// A press that was declared and has not ended.
struct Press {
    pair: Pair,
    key: Key,
    /// Amplitudes when declared, linear.
    low: f32,
    high: f32,
    /// Blocks since the pair was last there.
    absent: u32,
    /// Whether the line was quiet in all of those blocks.
    quiet: bool,
}

/// The press before, as far as it still matters.
enum Last {
    None,
    Ended { pair: Pair, at_block: u64 },
}

/// Weakest tone that counts: −45 dBm0, 4 dB under what Q.24's administrations ask at most.
const LEAST_AMPLITUDE: f32 = 128.0;
/// Twist, high against low as an amplitude ratio: −11 dB to +7 dB (Q.24: −8…+4; the aim is −10…+6).
const LEAST_TWIST: f32 = 0.282;
const MOST_TWIST: f32 = 2.24;
/// A tone weaker than this part of its declared amplitude is absent.
const PRESENT: f32 = 0.4;
/// Absent this long on a quiet line, the press is over: between a 10 ms drop-out and a 20 ms pause.
const GONE_QUIET_BLOCKS: u32 = 5;
/// The same on a line that is not quiet, where speech may hide the tone for a while.
const GONE_LOUD_BLOCKS: u32 = 13;
/// The same key again within 30 ms of its end is a second press only if it lasts 45 ms: else it is the
/// rest of a press out of which a packet was lost.
const AGAIN_BLOCKS: u64 = 12;
const AGAIN_LENGTH: u64 = 18;
/// How far back an onset is traced (90 ms).
const TRACE_BLOCKS: usize = 36;

/// What a window must show to declare a key, by its length.
///
/// Speech that comes near a pair is rarely near both nominal frequencies (no two of Q.23 are close to a
/// simple ratio), and its phases waver; a sender's do not. So a pair that is right on its frequencies may
/// have much more else around it. Chosen on 7.6 h of speech, 10 h of worst-case vowels and the corpus of
/// conditions.
struct Rule {
    blocks: usize,
    /// Share of the energy that the pair must explain, at any deviation allowed.
    share: f32,
    /// The same when both tones are exact.
    exact_share: f32,
    /// How far off exact tones are at most, as a fraction: a longer window tells it better.
    exact_deviation: f32,
    /// How closely the phases keep to a straight line.
    coherence: f32,
}
const RULES: [Rule; 5] = [
    Rule { blocks: 10, share: 0.94, exact_share: 0.88, exact_deviation: 0.003, coherence: 0.9 },
    Rule { blocks: 16, share: 0.93, exact_share: 0.76, exact_deviation: 0.0022, coherence: 0.971 },
    Rule { blocks: 20, share: 0.93, exact_share: 0.62, exact_deviation: 0.0015, coherence: 0.975 },
    Rule { blocks: 24, share: 0.93, exact_share: 0.42, exact_deviation: 0.0012, coherence: 0.975 },
    Rule { blocks: 32, share: 0.93, exact_share: 0.32, exact_deviation: 0.0008, coherence: 0.968 },
];
/// Q.24: up to 1.5 % off must be heard, 3.5 % and more must not. Speech fills what lies between.
const MOST_DEVIATION: f32 = 0.0175;
/// The weakest 10 ms of a tone against its mean, at least.
const LEAST_STEADINESS: f32 = 0.5;

impl Default for Detector {
    fn default() -> Self {
        Self::new()
    }
}

impl Detector {
    /// A detector that has heard nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            spectrum: Spectrum::new(),
            sums: Sums::new(),
            limits: std::array::from_fn(|index| RULES[index].limits()),
            state: State::Idle,
            last: Last::None,
        }
    }

    /// Listens to the next samples; `heard` is called for each edge of a press, in order.
    pub fn push(&mut self, mut samples: &[i16], heard: &mut dyn FnMut(Heard)) {
        while !samples.is_empty() {
            let (taken, turn) = self.advance(samples);
            samples = &samples[taken..];
            if let Some(turn) = turn {
                turn.ended.into_iter().chain(turn.begun).for_each(&mut *heard);
            }
        }
    }

    /// Listens up to the end of the next block: how many samples that took, and what the block brought.
    pub(crate) fn advance(&mut self, samples: &[i16]) -> (usize, Option<Turn>) {
        let (taken, finished) = self.spectrum.take(samples);
        if !finished {
            return (taken, None);
        }
        self.sums.push(&self.spectrum.short_sum());
        let ended = self.end();
        let begun = if self.is_on() { None } else { self.begin() };
        (taken, Some(Turn { ended, begun }))
    }

    /// Makes ready for looks at the newest block.
    pub(crate) fn prepare(&mut self) {
        if self.sums.is_worth_a_look() {
            self.sums.prepare();
        }
    }

    pub(crate) fn spectrum(&self) -> &Spectrum {
        &self.spectrum
    }

    pub(crate) fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Whether a press is going on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        matches!(self.state, State::On(_))
    }

    /// The end of the press that is on, when the newest block brought it.
    fn end(&mut self) -> Option<Heard> {
        let State::On(press) = &mut self.state else { return None };
        if press.still_on(&self.spectrum, self.sums.newest()) {
            return None;
        }
        let at_block = self.spectrum.blocks().saturating_sub(u64::from(press.absent));
        // 10 ms windows see the tone until 4 ms of it are left: the end is 6 ms before the last one's.
        let at_sample = (at_block * BLOCK as u64).saturating_sub(48);
        let ended = Heard { key: press.key, phase: Phase::End, at_sample };
        self.last = Last::Ended { pair: press.pair, at_block };
        self.state = State::Idle;
        Some(ended)
    }

    /// The beginning of a press, when the newest block made it sure.
    fn begin(&mut self) -> Option<Heard> {
        if !self.sums.is_worth_a_look() || !self.sums.is_near_a_pair() {
            return None;
        }
        self.sums.prepare();
        RULES
            .iter()
            .zip(&self.limits)
            .find_map(|(rule, limits)| {
                let look = self.sums.look(&self.spectrum, rule.blocks, limits)?;
                if rule.accepts(&look) { Some((look, rule.blocks)) } else { None }
            })
            .and_then(|(look, blocks)| self.begin_with(&look, blocks))
    }

    fn begin_with(&mut self, look: &Look, blocks: usize) -> Option<Heard> {
        let key = look.pair.key()?;
        let length = self.trace_back(look, blocks);
        let at_block = self.spectrum.blocks().saturating_sub(length);
        if let Last::Ended { pair, at_block: end } = self.last
            && pair == look.pair
            && at_block <= end + AGAIN_BLOCKS
            && length < AGAIN_LENGTH
        {
            return None;
        }
        self.last = Last::None;
        let press = Press { pair: look.pair, key, low: look.low, high: look.high, absent: 0, quiet: true };
        self.state = State::On(press);
        Some(Heard { key, phase: Phase::Begin, at_sample: at_block * BLOCK as u64 })
    }

    /// For how many blocks the pair has been there, at half its amplitude or more.
    fn trace_back(&self, look: &Look, blocks: usize) -> u64 {
        let mut age = blocks.saturating_sub(2);
        while age < TRACE_BLOCKS {
            let fit = self.spectrum.fit(look.pair, age + 1, 2);
            if fit.low < look.low / 2.0 || fit.high < look.high / 2.0 {
                break;
            }
            age += 1;
        }
        age as u64 + 2
    }
}

impl Press {
    /// Takes note of the newest block; false once the press is over.
    fn still_on(&mut self, spectrum: &Spectrum, newest: &Block) -> bool {
        let fit = spectrum.fit_short(newest, self.pair);
        if fit.low > self.low * PRESENT && fit.high > self.high * PRESENT {
            (self.absent, self.quiet) = (0, true);
            return true;
        }
        self.absent += 1;
        let tone_energy = (self.low * self.low + self.high * self.high) / 2.0 * BLOCK as f32;
        self.quiet &= spectrum.back(0).energy < tone_energy / 4.0;
        self.absent < if self.quiet { GONE_QUIET_BLOCKS } else { GONE_LOUD_BLOCKS }
    }
}

impl Rule {
    fn limits(&self) -> [Limit; 2] {
        [Limit::new(self.share, MOST_DEVIATION), Limit::new(self.exact_share, self.exact_deviation)]
    }

    fn accepts(&self, look: &Look) -> bool {
        let share = if look.deviation <= self.exact_deviation { self.exact_share } else { self.share };
        look.share >= share
            && look.low >= LEAST_AMPLITUDE
            && look.high >= LEAST_AMPLITUDE
            && look.high >= look.low * LEAST_TWIST
            && look.high <= look.low * MOST_TWIST
            && look.deviation <= MOST_DEVIATION
            && look.steadiness >= LEAST_STEADINESS
            && look.coherence >= self.coherence
    }
}
