//! A longer look: are two steady tones of one key all through the last so many blocks?

use std::f32::consts::PI;

use super::spectrum::{BLOCK, Block, FREQUENCIES_HZ, Lanes, Pair, RATE_HZ, SHORT, Spectrum};

/// Sums of 10 ms remembered, one per block.
const DEPTH: usize = 40;
/// Blocks between the two sums whose phases are compared: 5 ms resolves ±100 Hz without ambiguity.
const LAG: usize = 2;
/// 10 ms sums in the longest look, one every [`LAG`] blocks.
const MAX_SUMS: usize = 18;

/// The correlation over 10 ms (four blocks) with the eight frequencies, for each of the last blocks.
pub(crate) struct Sums {
    ring: [(Lanes, Lanes); DEPTH],
    next: usize,
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

impl Sums {
    pub(crate) fn new() -> Self {
        Self { ring: [([0.0; 8], [0.0; 8]); DEPTH], next: 0 }
    }

    pub(crate) fn push(&mut self, short: &Block) {
        self.ring[self.next] = (short.re, short.im);
        self.next = (self.next + 1) % DEPTH;
    }

    fn back(&self, age: usize) -> &(Lanes, Lanes) {
        &self.ring[(self.next + 2 * DEPTH - 1 - age) % DEPTH]
    }

    /// Looks at the newest `count` blocks.
    pub(crate) fn look(&self, spectrum: &Spectrum, count: usize) -> Look {
        let sums = ((count.saturating_sub(SHORT)) / LAG + 1).min(MAX_SUMS);
        let mut power: Lanes = [0.0; 8];
        for index in 0..sums {
            let (re, im) = self.back(index * LAG);
            for lane in 0..8 {
                power[lane] += re[lane] * re[lane] + im[lane] * im[lane];
            }
        }
        let pair = Pair { low: strongest(&power, 0), high: strongest(&power, 4) };
        self.look_at(spectrum, count, sums, pair)
    }

    fn look_at(&self, spectrum: &Spectrum, count: usize, sums: usize, pair: Pair) -> Look {
        let low_step = self.phase_step(sums, pair.low);
        let high_step = self.phase_step(sums, pair.high);
        let (mut coherent, mut energy) = (Block { re: [0.0; 8], im: [0.0; 8], energy: 0.0 }, 0.0);
        for age in 0..count {
            let block = spectrum.back(age);
            energy += block.energy;
            let from_middle = age as f32 - (count as f32 - 1.0) / 2.0;
            for (lane, step) in [(pair.low, low_step), (pair.high, high_step)] {
                let (sin, cos) = (step / LAG as f32 * from_middle).sin_cos();
                coherent.re[lane] += block.re[lane] * cos - block.im[lane] * sin;
                coherent.im[lane] += block.re[lane] * sin + block.im[lane] * cos;
            }
        }
        let samples = (count * BLOCK) as f32;
        let (re, im) = spectrum.centred(&coherent, 0, count);
        let off_hz = |step: f32| step / (2.0 * PI * (LAG * BLOCK) as f32) * RATE_HZ as f32;
        let (low_hz, high_hz) = (FREQUENCIES_HZ[pair.low] as f32, FREQUENCIES_HZ[pair.high] as f32);
        let apart = PI * (high_hz + off_hz(high_step) - low_hz - off_hz(low_step)) / RATE_HZ as f32;
        // The two sinusoids' overlap in a window of this length (a Dirichlet kernel).
        let overlap = (samples * apart).sin() / (samples * apart.sin());
        let (a, b) = (re[pair.low] / samples, im[pair.low] / samples);
        let (c, d) = (re[pair.high] / samples, im[pair.high] / samples);
        let rest = 1.0 - overlap * overlap;
        let explained =
            2.0 * samples * (a * a + b * b + c * c + d * d - 2.0 * overlap * (a * c + b * d)) / rest;
        let low = 2.0 * (a - overlap * c).hypot(b - overlap * d) / rest;
        let high = 2.0 * (c - overlap * a).hypot(d - overlap * b) / rest;
        Look {
            pair,
            share: explained / energy.max(1.0),
            low,
            high,
            steadiness: self.weakest(sums, pair.low, low).min(self.weakest(sums, pair.high, high)),
            coherence: self
                .coherence(sums, pair.low, low_step)
                .min(self.coherence(sums, pair.high, high_step)),
            deviation: (off_hz(low_step) / low_hz).abs().max((off_hz(high_step) / high_hz).abs()),
        }
    }

    /// The mean turn of phase per [`LAG`] blocks against the nominal frequency, in radians.
    fn phase_step(&self, sums: usize, lane: usize) -> f32 {
        let (mut re, mut im) = (0.0_f32, 0.0_f32);
        for index in 1..sums {
            let ((new_re, new_im), (old_re, old_im)) = (self.back((index - 1) * LAG), self.back(index * LAG));
            re += new_re[lane] * old_re[lane] + new_im[lane] * old_im[lane];
            im += new_im[lane] * old_re[lane] - new_re[lane] * old_im[lane];
        }
        if re == 0.0 && im == 0.0 { 0.0 } else { im.atan2(re) }
    }

    /// How much of the 10 ms sums' power is in their mean, once each is turned back by its age.
    fn coherence(&self, sums: usize, lane: usize, step: f32) -> f32 {
        let (mut mean_re, mut mean_im, mut power) = (0.0_f32, 0.0_f32, 0.0_f32);
        for index in 0..sums {
            let (re, im) = self.back(index * LAG);
            let (sin, cos) = (step * index as f32).sin_cos();
            mean_re += re[lane] * cos - im[lane] * sin;
            mean_im += re[lane] * sin + im[lane] * cos;
            power += re[lane] * re[lane] + im[lane] * im[lane];
        }
        (mean_re * mean_re + mean_im * mean_im) / (sums as f32 * power).max(1.0)
    }

    fn weakest(&self, sums: usize, lane: usize, mean: f32) -> f32 {
        let mut least = f32::MAX;
        for index in 0..sums {
            let (re, im) = self.back(index * LAG);
            least = least.min(re[lane] * re[lane] + im[lane] * im[lane]);
        }
        2.0 * least.sqrt() / (SHORT * BLOCK) as f32 / mean.max(1.0)
    }
}

fn strongest(power: &Lanes, from: usize) -> usize {
    (from..from + 4).fold(from, |best, lane| if power[lane] > power[best] { lane } else { best })
}
