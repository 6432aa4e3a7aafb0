//! The eight DTMF frequencies in blocks of 2.5 ms: the front end of the detector and of the guard.
//!
//! Each block of 20 samples is correlated with the eight frequencies of Q.23. The phase reference is
//! absolute (it runs on from block to block), so the correlation over any run of blocks is the sum over
//! its blocks, and the change of phase between blocks tells how far a tone is off its nominal frequency.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use crate::key::Key;

/// Samples per second: DTMF lives in telephone-band audio.
pub(crate) const RATE_HZ: u32 = 8000;
/// Samples in one block (2.5 ms).
pub(crate) const BLOCK: usize = 20;
/// The frequencies of Q.23: four low, four high, in Hz.
pub(crate) const FREQUENCIES_HZ: [f64; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];
/// Blocks remembered: 100 ms, more than the longest window any decision looks at.
const DEPTH: usize = 40;
/// Every frequency is a whole number of Hz, so after a second of blocks all phases come round again.
const BLOCKS_PER_TURN: u32 = RATE_HZ / BLOCK as u32;
/// Blocks of the short fit of the suspicion (10 ms).
pub(crate) const SHORT: usize = 4;

/// 10 ms with less energy hold no tone of −64 dBm0, the weakest that anybody asks for.
const LEAST_ENERGY: f32 = 14.0 * 14.0 * (SHORT * BLOCK) as f32 / 2.0;

/// One value per frequency.
pub(crate) type Lanes = [f32; 8];

/// One block's correlation with the eight frequencies, and its energy (sum of squares).
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub(crate) re: Lanes,
    pub(crate) im: Lanes,
    pub(crate) energy: f32,
}

impl Block {
    /// A block in which there was nothing.
    pub(crate) const QUIET: Self = Self { re: [0.0; 8], im: [0.0; 8], energy: 0.0 };
}

/// A pair of tones: one low and one high frequency, by index into [`FREQUENCIES_HZ`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) low: usize,
    pub(crate) high: usize,
}

impl Pair {
    /// The key that this pair of tones means (Q.23).
    pub(crate) fn key(self) -> Option<Key> {
        const KEYPAD: [[u8; 4]; 4] = [*b"123A", *b"456B", *b"789C", *b"*0#D"];
        KEYPAD.get(self.low)?.get(self.high.checked_sub(4)?).and_then(|ascii| Key::from_ascii(*ascii))
    }

    fn index(self) -> usize {
        (self.low & 3) * 4 + (self.high & 3)
    }
}

/// How well two sinusoids explain a short window.
#[derive(Clone, Copy)]
pub(crate) struct Fit {
    pub(crate) pair: Pair,
    /// Share of the window's energy that the two explain, 0 to 1.
    pub(crate) share: f32,
    /// Amplitude of the low tone, linear.
    pub(crate) low: f32,
    /// Amplitude of the high tone, linear.
    pub(crate) high: f32,
}

/// Samples in, blocks out, the last [`DEPTH`] kept.
pub(crate) struct Spectrum {
    tables: &'static Tables,
    ring: [Block; DEPTH],
    /// Blocks finished since the start.
    blocks: u64,
    pending: [f32; BLOCK],
    filled: usize,
    turn_re: Lanes,
    turn_im: Lanes,
}

impl Spectrum {
    pub(crate) fn new() -> Self {
        Self {
            tables: &TABLES,
            ring: [Block::QUIET; DEPTH],
            blocks: 0,
            pending: [0.0; BLOCK],
            filled: 0,
            turn_re: [1.0; 8],
            turn_im: [0.0; 8],
        }
    }

    /// Takes samples up to the end of the next block; returns how many it took and whether a block ended.
    #[inline]
    pub(crate) fn take(&mut self, samples: &[i16]) -> (usize, bool) {
        let count = samples.len().min(BLOCK - self.filled);
        for (slot, sample) in self.pending[self.filled..].iter_mut().zip(&samples[..count]) {
            *slot = f32::from(*sample);
        }
        self.filled += count;
        if self.filled < BLOCK {
            return (count, false);
        }
        self.filled = 0;
        self.finish_block();
        (count, true)
    }

    fn finish_block(&mut self) {
        let (mut re, mut im, mut energy) = ([0.0_f32; 8], [0.0_f32; 8], 0.0_f32);
        for (sample, row) in self.pending.iter().zip(&self.tables.wave) {
            energy += sample * sample;
            for lane in 0..8 {
                re[lane] += sample * row.cos[lane];
                im[lane] -= sample * row.sin[lane];
            }
        }
        let slot = (self.blocks % DEPTH as u64) as usize;
        let block = &mut self.ring[slot];
        block.energy = energy;
        for lane in 0..8 {
            block.re[lane] = re[lane] * self.turn_re[lane] + im[lane] * self.turn_im[lane];
            block.im[lane] = im[lane] * self.turn_re[lane] - re[lane] * self.turn_im[lane];
        }
        self.blocks += 1;
        if self.blocks.is_multiple_of(u64::from(BLOCKS_PER_TURN)) {
            (self.turn_re, self.turn_im) = ([1.0; 8], [0.0; 8]);
        } else {
            let step = &self.tables.step;
            for lane in 0..8 {
                let (re, im) = (self.turn_re[lane], self.turn_im[lane]);
                self.turn_re[lane] = re * step.cos[lane] - im * step.sin[lane];
                self.turn_im[lane] = re * step.sin[lane] + im * step.cos[lane];
            }
        }
    }

    /// Blocks finished since the start; block `n` covers the samples from `n * BLOCK`.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The block that ended `age` blocks before the newest (0 = newest).
    #[inline]
    pub(crate) fn back(&self, age: usize) -> &Block {
        let newest = self.blocks + (DEPTH as u64) - 1;
        &self.ring[((newest - age.min(DEPTH - 1) as u64) % DEPTH as u64) as usize]
    }

    /// The sum of `count` blocks, the newest of them `age` blocks back.
    #[inline]
    pub(crate) fn sum(&self, age: usize, count: usize) -> Block {
        let mut total = Block::QUIET;
        for back in age..age + count {
            let block = self.back(back);
            total.energy += block.energy;
            for lane in 0..8 {
                total.re[lane] += block.re[lane];
                total.im[lane] += block.im[lane];
            }
        }
        total
    }

    /// The pair that best explains the newest 10 ms (whose sum is given) by an exact least-squares fit of
    /// two sinusoids. A window too quiet for any tone gets a fit that explains nothing.
    pub(crate) fn best_short_fit(&self, window: &Block) -> Fit {
        if window.energy < LEAST_ENERGY {
            return Fit { pair: Pair { low: 0, high: 4 }, share: 0.0, low: 0.0, high: 0.0 };
        }
        let (re, im) = self.centred(window, 0, SHORT);
        let mut best = (0_usize, 0.0_f32);
        for (index, solver) in self.tables.short.iter().enumerate() {
            let explained = solver.explained(&re, &im, index);
            if explained > best.1 {
                best = (index, explained);
            }
        }
        self.tables.short[best.0].fit(&re, &im, best.0, window.energy)
    }

    /// The fit of one pair to `count` blocks (2, 4 or 8; others count as 4) that ended `age` blocks back.
    pub(crate) fn fit(&self, pair: Pair, age: usize, count: usize) -> Fit {
        let (solvers, count) = match count {
            2 => (&self.tables.tiny, 2),
            8 => (&self.tables.long, 8),
            _ => (&self.tables.short, SHORT),
        };
        let window = self.sum(age, count);
        let (re, im) = self.centred(&window, age, count);
        solvers[pair.index()].fit(&re, &im, pair.index(), window.energy)
    }

    /// Turns a window's sums to a phase reference in its middle: there cosines and sines are orthogonal
    /// to each other, and a fit of two sinusoids falls apart into two fits of two unknowns.
    #[inline]
    pub(crate) fn centred(&self, window: &Block, age: usize, count: usize) -> (Lanes, Lanes) {
        // Twice the middle sample's time, counted from the start of the first block of the next block to come.
        let back = &self.tables.back_to_middle[(2 * age + count).min(2 * DEPTH)];
        let (mut re, mut im) = ([0.0; 8], [0.0; 8]);
        for lane in 0..8 {
            let cos = self.turn_re[lane] * back.cos[lane] + self.turn_im[lane] * back.sin[lane];
            let sin = self.turn_im[lane] * back.cos[lane] - self.turn_re[lane] * back.sin[lane];
            re[lane] = window.re[lane] * cos - window.im[lane] * sin;
            im[lane] = window.re[lane] * sin + window.im[lane] * cos;
        }
        (re, im)
    }
}

/// Cosine and sine of one angle per frequency.
#[derive(Clone, Copy)]
struct Turn {
    cos: Lanes,
    sin: Lanes,
}

impl Turn {
    fn after(samples: f64) -> Self {
        let angle = |lane: usize| TAU * FREQUENCIES_HZ[lane] * samples / f64::from(RATE_HZ);
        Self {
            cos: std::array::from_fn(|lane| angle(lane).cos() as f32),
            sin: std::array::from_fn(|lane| angle(lane).sin() as f32),
        }
    }
}

/// The inverse Gram matrices of a pair in one window length, phase reference in the middle.
#[derive(Clone, Copy)]
struct Solver {
    cos: [f32; 3],
    sin: [f32; 3],
}

impl Solver {
    fn new(index: usize, samples: usize) -> Self {
        let gram = |odd: bool| {
            let (mut ll, mut lh, mut hh) = (0.0, 0.0, 0.0);
            for n in 0..samples {
                let t = (n as f64 - (samples as f64 - 1.0) / 2.0) * TAU / f64::from(RATE_HZ);
                let wave = |f: f64| if odd { (f * t).sin() } else { (f * t).cos() };
                let (l, h) = (wave(FREQUENCIES_HZ[index / 4]), wave(FREQUENCIES_HZ[4 + index % 4]));
                ll += l * l;
                lh += l * h;
                hh += h * h;
            }
            let determinant = ll * hh - lh * lh;
            [(hh / determinant) as f32, (-lh / determinant) as f32, (ll / determinant) as f32]
        };
        Self { cos: gram(false), sin: gram(true) }
    }

    #[inline]
    fn explained(&self, re: &Lanes, im: &Lanes, index: usize) -> f32 {
        let (low, high) = (index / 4, 4 + index % 4);
        let quadratic = |g: &[f32; 3], l: f32, h: f32| g[0] * l * l + 2.0 * g[1] * l * h + g[2] * h * h;
        quadratic(&self.cos, re[low], re[high]) + quadratic(&self.sin, im[low], im[high])
    }

    fn fit(&self, re: &Lanes, im: &Lanes, index: usize, energy: f32) -> Fit {
        let (low, high) = (index / 4, 4 + index % 4);
        let solve = |g: &[f32; 3], l: f32, h: f32| (g[0] * l + g[1] * h, g[1] * l + g[2] * h);
        let (low_cos, high_cos) = solve(&self.cos, re[low], re[high]);
        let (low_sin, high_sin) = solve(&self.sin, im[low], im[high]);
        Fit {
            pair: Pair { low, high },
            share: self.explained(re, im, index) / energy.max(1.0),
            low: low_cos.hypot(low_sin),
            high: high_cos.hypot(high_sin),
        }
    }
}

/// Constant tables, shared by every call.
struct Tables {
    wave: [Turn; BLOCK],
    step: Turn,
    /// By count of half blocks back from the end of the newest block to the middle of a window.
    back_to_middle: [Turn; 2 * DEPTH + 1],
    tiny: [Solver; 16],
    short: [Solver; 16],
    long: [Solver; 16],
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| Tables {
    wave: std::array::from_fn(|n| Turn::after(n as f64)),
    step: Turn::after(BLOCK as f64),
    // The middle of a window of an even number of samples lies half a sample before its upper half.
    back_to_middle: std::array::from_fn(|halves| Turn::after((halves * BLOCK) as f64 / 2.0 + 0.5)),
    tiny: std::array::from_fn(|index| Solver::new(index, 2 * BLOCK)),
    short: std::array::from_fn(|index| Solver::new(index, SHORT * BLOCK)),
    long: std::array::from_fn(|index| Solver::new(index, 8 * BLOCK)),
});
