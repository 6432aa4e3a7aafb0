//! A longer look: are two steady tones of one key all through the last so many blocks?

use std::f32::consts::PI;

use super::spectrum::{BLOCK, Block, FREQUENCIES_HZ, Lanes, Pair, RATE_HZ, SHORT, Spectrum};

/// Sums of 10 ms remembered, one per block.
const DEPTH: usize = 32;
/// Blocks between the two sums whose phases are compared: 5 ms resolves ±100 Hz without ambiguity.
const LAG: usize = 2;
/// 10 ms sums in the longest look (60 ms), one every [`LAG`] blocks.
const MAX_SUMS: usize = 11;
/// A look may see this much less share by the quick estimate than by the exact one.
const ESTIMATE_SLACK: f32 = 0.12;

/// The correlation over 10 ms (four blocks) with the eight frequencies, for each of the last blocks.
pub(crate) struct Sums {
    ring: [Block; DEPTH],
    next: usize,
    /// Powers of the frequencies and energy, summed over the newest one, two, … sums.
    power: [(Lanes, f32); MAX_SUMS],
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

impl Sums {
    pub(crate) fn new() -> Self {
        Self { ring: [Block::QUIET; DEPTH], next: 0, power: [([0.0; 8], 0.0); MAX_SUMS] }
    }

    pub(crate) fn push(&mut self, short: &Block) {
        self.ring[self.next] = *short;
        self.next = (self.next + 1) % DEPTH;
    }

    /// Makes ready for looks at the newest sum.
    pub(crate) fn prepare(&mut self) {
        let (mut power, mut energy): (Lanes, f32) = ([0.0; 8], 0.0);
        for index in 0..MAX_SUMS {
            let sum = &self.ring[(self.next + DEPTH - 1 - index * LAG) % DEPTH];
            for (lane, total) in power.iter_mut().enumerate() {
                *total += sum.re[lane] * sum.re[lane] + sum.im[lane] * sum.im[lane];
            }
            energy += sum.energy;
            self.power[index] = (power, energy);
        }
    }

    fn back(&self, age: usize) -> &Block {
        &self.ring[(self.next + 2 * DEPTH - 1 - age) % DEPTH]
    }

    /// Looks at the newest `count` blocks; `None` when quick estimates show that the share will be under
    /// `least_share` or the deviation over `most_deviation`. Needs [`Sums::prepare`].
    pub(crate) fn look(
        &self,
        spectrum: &Spectrum,
        count: usize,
        least_share: f32,
        most_deviation: f32,
    ) -> Option<Look> {
        let sums = ((count.saturating_sub(SHORT)) / LAG + 1).min(MAX_SUMS);
        let (power, energy) = &self.power[sums - 1];
        let (low, high) = (strongest(power, 0), strongest(power, 4));
        let estimate = (power[low] + power[high]) * 2.0 / (SHORT * BLOCK) as f32;
        if estimate < (least_share - ESTIMATE_SLACK) * energy {
            return None;
        }
        let low = Tone { lane: low, step: self.phase_step(sums, low) };
        let high = Tone { lane: high, step: self.phase_step(sums, high) };
        if low.deviation() > most_deviation || high.deviation() > most_deviation {
            return None;
        }
        Some(self.look_at(spectrum, count, sums, &low, &high))
    }

    fn look_at(&self, spectrum: &Spectrum, count: usize, sums: usize, low: &Tone, high: &Tone) -> Look {
        let mut coherent = Block::QUIET;
        for tone in [low, high] {
            add_aligned(spectrum, count, tone, &mut coherent);
        }
        let energy: f32 = (0..count).map(|age| spectrum.back(age).energy).sum();
        let samples = (count * BLOCK) as f32;
        let (re, im) = spectrum.centred(&coherent, 0, count);
        let low_hz = low.nominal_hz() + low.off_hz();
        let apart = PI * (high.nominal_hz() + high.off_hz() - low_hz) / RATE_HZ as f32;
        // The two sinusoids' overlap in a window of this length (a Dirichlet kernel).
        let overlap = (samples * apart).sin() / (samples * apart.sin());
        let (a, b) = (re[low.lane] / samples, im[low.lane] / samples);
        let (c, d) = (re[high.lane] / samples, im[high.lane] / samples);
        let rest = 1.0 - overlap * overlap;
        let explained =
            2.0 * samples * (a * a + b * b + c * c + d * d - 2.0 * overlap * (a * c + b * d)) / rest;
        let low_amplitude = 2.0 * (a - overlap * c).hypot(b - overlap * d) / rest;
        let high_amplitude = 2.0 * (c - overlap * a).hypot(d - overlap * b) / rest;
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

    /// The mean turn of phase per [`LAG`] blocks against the nominal frequency, in radians.
    fn phase_step(&self, sums: usize, lane: usize) -> f32 {
        let (mut re, mut im) = (0.0_f32, 0.0_f32);
        for index in 1..sums {
            let (new, old) = (self.back((index - 1) * LAG), self.back(index * LAG));
            re += new.re[lane] * old.re[lane] + new.im[lane] * old.im[lane];
            im += new.im[lane] * old.re[lane] - new.re[lane] * old.im[lane];
        }
        if re == 0.0 && im == 0.0 { 0.0 } else { im.atan2(re) }
    }

    /// How much of the 10 ms sums' power is in their mean, once each is turned back by its age.
    fn coherence(&self, sums: usize, tone: &Tone) -> f32 {
        let (mut mean_re, mut mean_im, mut power) = (0.0_f32, 0.0_f32, 0.0_f32);
        let lane = tone.lane;
        for index in 0..sums {
            let sum = self.back(index * LAG);
            let (sin, cos) = (tone.step * index as f32).sin_cos();
            mean_re += sum.re[lane] * cos - sum.im[lane] * sin;
            mean_im += sum.re[lane] * sin + sum.im[lane] * cos;
            power += sum.re[lane] * sum.re[lane] + sum.im[lane] * sum.im[lane];
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

fn strongest(power: &Lanes, from: usize) -> usize {
    (from..from + 4).fold(from, |best, lane| if power[lane] > power[best] { lane } else { best })
}
