//! A longer look: are two steady tones of one key all through the last so many blocks?

use std::f32::consts::PI;

use super::spectrum::{BLOCK, Block, FREQUENCIES_HZ, Lanes, Pair, RATE_HZ, SHORT, Spectrum, is_quiet};

/// Sums of 10 ms remembered, one per block.
const DEPTH: usize = 32;
/// Blocks between the two sums whose phases are compared: 5 ms resolves ±100 Hz without ambiguity.
const LAG: usize = 2;
/// 10 ms sums in the longest look (80 ms), one every [`LAG`] blocks.
const MAX_SUMS: usize = 15;
/// A look may see this much less share by the quick estimate than by the exact one.
const ESTIMATE_SLACK: f32 = 0.12;

/// The power of the oldest 10 ms of a look against the mean: with less, the tone began inside of the
/// window, and the look would end as not steady.
const FAINTEST_OLDEST: f32 = 0.15;
/// The two strongest tones must hold so much of 10 ms, by the quick estimate, for a look to be worth its time.
const WORTH_A_LOOK: f32 = 0.2;

/// The correlation over 10 ms (four blocks) with the eight frequencies, for each of the last blocks.
pub(crate) struct Sums {
    ring: [Sum; DEPTH],
    newest: usize,
    /// Whether there is anything to look at.
    worth: bool,
    /// Whether `power` is that of the newest sum.
    prepared: bool,
    /// Powers of the frequencies and energy, summed over the newest one, two, … sums.
    power: [(Lanes, f32); MAX_SUMS],
}

#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Sum {
    power: Lanes,
    block: Block,
}

/// What a look saw.
#[derive(Clone, Copy)]
pub(crate) struct Look {
    pub(crate) pair: Pair,
    /// Share of all energy in the window that the two tones explain, 0 to 1.
    pub(crate) share: f32,
    /// Amplitudes, linear.
    pub(crate) low: f32,
    pub(crate) high: f32,
    /// The weakest 10 ms of either tone against its mean over the window, 0 to 1.
    pub(crate) steadiness: f32,
    /// The larger of the two tones' deviations from nominal, as a fraction of the frequency.
    pub(crate) deviation: f32,
    /// The lesser of the two tones' coherence: 1 when amplitude and turn of phase never change.
    pub(crate) coherence: f32,
}

/// A tone of a look: its frequency's index, and its turn of phase per [`LAG`] blocks against nominal.
struct Tone {
    lane: usize,
    step: f32,
}

impl Tone {
    fn off_hz(&self) -> f32 {
        self.step / (2.0 * PI * (LAG * BLOCK) as f32) * RATE_HZ as f32
    }

    fn nominal_hz(&self) -> f32 {
        FREQUENCIES_HZ[self.lane] as f32
    }

    fn deviation(&self) -> f32 {
        (self.off_hz() / self.nominal_hz()).abs()
    }
}

/// What makes a look worth finishing: a share of the energy, and how far off the tones may then be.
pub(crate) struct Limit {
    /// The least that the quick estimate must show of the energy.
    estimate: f32,
    /// The cosine of the largest turn per [`LAG`] blocks, by frequency: to compare without an arc tangent.
    least_cos: Lanes,
}

impl Limit {
    /// At least `share` explained by tones at most `deviation` (a fraction) off their frequencies.
    pub(crate) fn new(share: f32, deviation: f32) -> Self {
        let turn = 2.0 * PI * (LAG * BLOCK) as f32 / RATE_HZ as f32;
        let off = |lane: usize| turn * deviation * FREQUENCIES_HZ[lane] as f32;
        // Two tones as far off as they may be lose so much of their power in sums at the nominal frequencies.
        let seen = |lane: usize| {
            let half = (off(lane) / LAG as f32 * SHORT as f32 / 2.0).max(f32::EPSILON);
            (half.sin() / half).powi(2)
        };
        Self {
            estimate: share * (seen(3) + seen(7)) / 2.0 - ESTIMATE_SLACK,
            least_cos: std::array::from_fn(|lane| off(lane).min(PI).cos()),
        }
    }
}

impl Sums {
    pub(crate) fn new() -> Self {
        let nothing = Sum { block: Block::QUIET, power: [0.0; 8] };
        Self {
            ring: [nothing; DEPTH],
            newest: 0,
            worth: false,
            prepared: false,
            power: [([0.0; 8], 0.0); MAX_SUMS],
        }
    }

    /// Takes the sum of the newest 10 ms.
    #[inline]
    pub(crate) fn push(&mut self, short: &Block) {
        self.newest = (self.newest + 1) % DEPTH;
        self.prepared = false;
        let sum = &mut self.ring[self.newest];
        sum.block = *short;
        for lane in 0..8 {
            sum.power[lane] = short.re[lane] * short.re[lane] + short.im[lane] * short.im[lane];
        }
        let [a, b, c, d, e, f, g, h] = sum.power;
        let tones = larger(larger(a, b), larger(c, d)) + larger(larger(e, f), larger(g, h));
        self.worth = !is_quiet(short) && estimate(tones) >= WORTH_A_LOOK * short.energy;
    }

    /// The sum of the newest 10 ms.
    #[inline]
    pub(crate) fn newest(&self) -> &Block {
        &self.ring[self.newest].block
    }

    /// Whether a look at what ends with the newest sum is worth its time.
    #[inline]
    pub(crate) fn is_worth_a_look(&self) -> bool {
        self.worth
    }

    /// Whether the strongest tones of the newest sum turn no faster than ±50 Hz off their frequencies.
    #[inline]
    pub(crate) fn is_near_a_pair(&self) -> bool {
        let (new, old) = (&self.ring[self.newest], self.back(LAG));
        let slow = |lane: usize| new.block.re[lane] * old.re[lane] + new.block.im[lane] * old.im[lane] > 0.0;
        slow(strongest(&new.power, 0)) && slow(strongest(&new.power, 4))
    }

    /// Makes ready for looks at the newest sum.
    pub(crate) fn prepare(&mut self) {
        if std::mem::replace(&mut self.prepared, true) {
            return;
        }
        let (mut power, mut energy): (Lanes, f32) = ([0.0; 8], 0.0);
        for index in 0..MAX_SUMS {
            let sum = &self.ring[(self.newest + DEPTH - index * LAG) % DEPTH];
            for (total, own) in power.iter_mut().zip(&sum.power) {
                *total += own;
            }
            energy += sum.block.energy;
            self.power[index] = (power, energy);
        }
    }

    #[inline]
    fn back(&self, age: usize) -> &Block {
        &self.ring[(self.newest + 2 * DEPTH - age) % DEPTH].block
    }

    /// Looks at the newest `count` blocks; `None` when quick estimates show that no limit will be kept. The
    /// limits are in order of share, the largest and with it the largest deviation first. Needs
    /// [`Sums::prepare`].
    pub(crate) fn look(&self, spectrum: &Spectrum, count: usize, limits: &[Limit]) -> Option<Look> {
        let sums = ((count.saturating_sub(SHORT)) / LAG + 1).min(MAX_SUMS);
        let (power, energy) = &self.power[sums - 1];
        let (low, high) = (strongest(power, 0), strongest(power, 4));
        let tones = estimate(power[low] + power[high]);
        let limit = limits.iter().find(|limit| tones >= limit.estimate * energy)?;
        let oldest = &self.ring[(self.newest + DEPTH - (sums - 1) * LAG) % DEPTH].power;
        let least = FAINTEST_OLDEST / sums as f32;
        if oldest[low] < power[low] * least || oldest[high] < power[high] * least {
            return None;
        }
        let low = self.tone(sums, low, limit)?;
        let high = self.tone(sums, high, limit)?;
        Some(self.look_at(spectrum, count, sums, &low, &high))
    }

    fn look_at(&self, spectrum: &Spectrum, count: usize, sums: usize, low: &Tone, high: &Tone) -> Look {
        let mut coherent = Block::QUIET;
        for tone in [low, high] {
            add_aligned(spectrum, count, tone, &mut coherent);
        }
        let energy: f32 = (0..count).map(|age| spectrum.back(age).energy).sum();
        let samples = (count * BLOCK) as f32;
        let (a, b) = spectrum.centred(&coherent, low.lane, 0, count);
        let (c, d) = spectrum.centred(&coherent, high.lane, 0, count);
        let (a, b, c, d) = (a / samples, b / samples, c / samples, d / samples);
        let low_hz = low.nominal_hz() + low.off_hz();
        let apart = PI * (high.nominal_hz() + high.off_hz() - low_hz) / RATE_HZ as f32;
        // The two sinusoids' overlap in a window of this length (a Dirichlet kernel).
        let overlap = (samples * apart).sin() / (samples * apart.sin());
        let rest = 1.0 - overlap * overlap;
        let explained =
            2.0 * samples * (a * a + b * b + c * c + d * d - 2.0 * overlap * (a * c + b * d)) / rest;
        let low_amplitude = 2.0 * length(a - overlap * c, b - overlap * d) / rest;
        let high_amplitude = 2.0 * length(c - overlap * a, d - overlap * b) / rest;
        let weakest = self.weakest(sums, low.lane, low_amplitude);
        Look {
            pair: Pair { low: low.lane, high: high.lane },
            share: explained / energy.max(1.0),
            low: low_amplitude,
            high: high_amplitude,
            steadiness: weakest.min(self.weakest(sums, high.lane, high_amplitude)),
            deviation: low.deviation().max(high.deviation()),
            coherence: self.coherence(sums, low).min(self.coherence(sums, high)),
        }
    }

    /// The tone near a frequency, by the mean turn of its phase; `None` when it is too far off.
    fn tone(&self, sums: usize, lane: usize, limit: &Limit) -> Option<Tone> {
        let (mut re, mut im) = (0.0_f32, 0.0_f32);
        let mut new = self.back(0);
        for index in 1..sums {
            let old = self.back(index * LAG);
            re += new.re[lane] * old.re[lane] + new.im[lane] * old.im[lane];
            im += new.im[lane] * old.re[lane] - new.re[lane] * old.im[lane];
            new = old;
        }
        let length = (re * re + im * im).sqrt();
        if re < limit.least_cos[lane] * length {
            return None;
        }
        Some(Tone { lane, step: if length > 0.0 { im.atan2(re) } else { 0.0 } })
    }

    /// How much of the 10 ms sums' power is in their mean, once each is turned back by its age.
    fn coherence(&self, sums: usize, tone: &Tone) -> f32 {
        let (mut mean_re, mut mean_im, mut power) = (0.0_f32, 0.0_f32, 0.0_f32);
        let lane = tone.lane;
        let (turn_sin, turn_cos) = tone.step.sin_cos();
        let (mut sin, mut cos) = (0.0_f32, 1.0_f32);
        for index in 0..sums {
            let sum = self.back(index * LAG);
            mean_re += sum.re[lane] * cos - sum.im[lane] * sin;
            mean_im += sum.re[lane] * sin + sum.im[lane] * cos;
            power += sum.re[lane] * sum.re[lane] + sum.im[lane] * sum.im[lane];
            (cos, sin) = (cos * turn_cos - sin * turn_sin, sin * turn_cos + cos * turn_sin);
        }
        (mean_re * mean_re + mean_im * mean_im) / (sums as f32 * power).max(1.0)
    }

    fn weakest(&self, sums: usize, lane: usize, mean: f32) -> f32 {
        let mut least = f32::MAX;
        for index in 0..sums {
            let sum = self.back(index * LAG);
            least = least.min(sum.re[lane] * sum.re[lane] + sum.im[lane] * sum.im[lane]);
        }
        2.0 * least.sqrt() / (SHORT * BLOCK) as f32 / mean.max(1.0)
    }
}

/// Adds up one tone over the newest blocks, each turned by its distance from the window's middle, so that
/// a tone off its nominal frequency adds up in phase.
fn add_aligned(spectrum: &Spectrum, count: usize, tone: &Tone, into: &mut Block) {
    let lane = tone.lane;
    let per_block = tone.step / LAG as f32;
    let (mut sin, mut cos) = (-per_block * (count as f32 - 1.0) / 2.0).sin_cos();
    let (turn_sin, turn_cos) = per_block.sin_cos();
    for age in 0..count {
        let block = spectrum.back(age);
        into.re[lane] += block.re[lane] * cos - block.im[lane] * sin;
        into.im[lane] += block.re[lane] * sin + block.im[lane] * cos;
        (cos, sin) = (cos * turn_cos - sin * turn_sin, sin * turn_cos + cos * turn_sin);
    }
}

/// The energy that tones of so much correlated power have in 10 ms.
#[inline]
fn estimate(power: f32) -> f32 {
    power * (2.0 / (SHORT * BLOCK) as f32)
}

fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

/// `f32::max` without its care for what is not a number: one instruction.
#[inline]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline]
fn strongest(power: &Lanes, from: usize) -> usize {
    (from..from + 4).fold(from, |best, lane| if power[lane] > power[best] { lane } else { best })
}
