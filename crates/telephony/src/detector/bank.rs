//! The correlator of one block: the only work that is done on every sample, so it is made to be cheap.
//!
//! From the middle of a block, cosines are even and sines are odd: the sums of the samples that lie
//! opposite each other give the cosine parts, their differences the sine parts, at half the
//! multiplications. Eight frequencies side by side are two registers of any processor of today.

use super::spectrum::{BLOCK, Lanes};

/// Samples in half a block.
const HALF: usize = BLOCK / 2;
/// A block whose samples are all within ±8 holds no tone of −64 dBm0 (which peaks at 24 at least in any
/// 2.5 ms): the idle noise of a line, down to A-law's way to say nothing.
const IDLE_PEAK: i16 = 8;

/// Cosine and sine of eight frequencies over half a block.
pub(super) struct Bank {
    /// A slice and no array: unrolled whole, the sums would not fit the registers.
    rows: Box<[Row]>,
}

/// Aligned, so that the processor multiplies straight from memory.
#[repr(C, align(32))]
struct Row {
    cos: Lanes,
    sin: Lanes,
}

impl Bank {
    /// `radians` is the phase of each frequency so many samples from a block's middle.
    pub(super) fn new(radians: impl Fn(usize, f64) -> f64) -> Self {
        let row = |n: usize| Row {
            cos: std::array::from_fn(|lane| radians(lane, n as f64 + 0.5).cos() as f32),
            sin: std::array::from_fn(|lane| radians(lane, n as f64 + 0.5).sin() as f32),
        };
        Self { rows: (0..HALF).map(row).collect() }
    }

    /// A block's correlation with the frequencies (cosine, minus sine), and its energy.
    #[inline]
    pub(super) fn correlate(&self, samples: &[i16; BLOCK]) -> (Lanes, Lanes, f32) {
        let first = |n: usize| i32::from(samples[HALF - 1 - n]);
        let second = |n: usize| i32::from(samples[HALF + n]);
        let even: [f32; HALF] = std::array::from_fn(|n| (second(n) + first(n)) as f32);
        let odd: [f32; HALF] = std::array::from_fn(|n| (second(n) - first(n)) as f32);
        let (mut re, mut im, mut energy) = ([0.0_f32; 8], [0.0_f32; 8], 0.0_f32);
        for (row, (even, odd)) in self.rows.iter().zip(even.iter().zip(&odd)) {
            for lane in 0..8 {
                re[lane] += even * row.cos[lane];
                im[lane] -= odd * row.sin[lane];
            }
            energy += even * even + odd * odd;
        }
        (re, im, energy / 2.0)
    }
}

/// Whether a block is too quiet to be worth correlating.
#[inline]
pub(super) fn is_idle(samples: &[i16; BLOCK]) -> bool {
    samples.iter().fold(true, |idle, sample| idle & (-IDLE_PEAK..=IDLE_PEAK).contains(sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn radians(lane: usize, samples: f64) -> f64 {
        (697.0 + 100.0 * lane as f64) * samples * std::f64::consts::TAU / 8000.0
    }

    #[test]
    fn it_correlates_as_the_formula_says() {
        let bank = Bank::new(radians);
        for loud in [20.0, 4000.0, 32_767.0] {
            let samples: [i16; BLOCK] = std::array::from_fn(|n| ((n as f64 * 1.3 + 0.4).sin() * loud) as i16);
            let (re, im, energy) = bank.correlate(&samples);
            let sum = |wave: fn(f64) -> f64, lane| -> f64 {
                let term = |(n, s): (usize, &i16)| f64::from(*s) * wave(radians(lane, n as f64 - 9.5));
                samples.iter().enumerate().map(term).sum()
            };
            for lane in 0..8 {
                assert!((f64::from(re[lane]) - sum(f64::cos, lane)).abs() < loud * 1e-5, "{lane}");
                assert!((f64::from(im[lane]) + sum(f64::sin, lane)).abs() < loud * 1e-5, "{lane}");
            }
            let exact: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
            assert!((f64::from(energy) / exact - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn only_what_is_quieter_than_any_tone_counts_as_idle() {
        assert!(is_idle(&[8; BLOCK]) && is_idle(&[-8; BLOCK]));
        for at in 0..BLOCK {
            let mut samples = [0; BLOCK];
            samples[at] = -9;
            assert!(!is_idle(&samples));
        }
        assert!(!is_idle(&[i16::MIN; BLOCK]));
    }
}
