//! The eight DTMF frequencies in blocks of 2.5 ms: the front end of the detector and of the guard.
//!
//! Each block of 20 samples is correlated with the eight frequencies of Q.23. The phase reference is
//! absolute (it runs on from block to block), so the correlation over any run of blocks is the sum over
//! its blocks, and the change of phase between blocks tells how far a tone is off its nominal frequency.

use std::f64::consts::TAU;
use std::sync::LazyLock;

use super::bank::{Bank, is_idle};
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
#[repr(C, align(16))]
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

impl Fit {
    /// Nothing is explained.
    pub(crate) const NOTHING: Self = Self { pair: Pair { low: 0, high: 4 }, share: 0.0, low: 0.0, high: 0.0 };
}

/// Samples in, blocks out, the last [`DEPTH`] kept.
pub(crate) struct Spectrum {
    tables: &'static Tables,
    ring: [Block; DEPTH],
    /// Where the newest block is in the ring.
    newest: usize,
    /// Blocks finished since the start.
    blocks: u64,
    /// Blocks until all phases come round.
    until_turn: u32,
    pending: [i16; BLOCK],
    filled: usize,
    /// The frequencies' phases in the middle of the block to come.
    turn: Turn,
}

impl Spectrum {
    pub(crate) fn new() -> Self {
        Self {
            tables: &TABLES,
            ring: [Block::QUIET; DEPTH],
            newest: 0,
            blocks: 0,
            until_turn: BLOCKS_PER_TURN,
            pending: [0; BLOCK],
            filled: 0,
            turn: TABLES.first_middle,
        }
    }

    /// Takes samples up to the end of the next block; returns how many it took and whether a block ended.
    #[inline]
    pub(crate) fn take(&mut self, samples: &[i16]) -> (usize, bool) {
        if self.filled == 0
            && let Some(block) = samples.first_chunk::<BLOCK>()
        {
            self.finish_block(block);
            return (BLOCK, true);
        }
        let count = samples.len().min(BLOCK - self.filled);
        self.pending[self.filled..self.filled + count].copy_from_slice(&samples[..count]);
        self.filled += count;
        if self.filled < BLOCK {
            return (count, false);
        }
        self.filled = 0;
        self.finish_block(&{ self.pending });
        (count, true)
    }

    #[inline]
    fn finish_block(&mut self, samples: &[i16; BLOCK]) {
        self.newest = if self.newest + 1 == DEPTH { 0 } else { self.newest + 1 };
        let turn = &self.turn;
        self.ring[self.newest] = if is_idle(samples) {
            Block::QUIET
        } else {
            let (re, im, energy) = self.tables.bank.correlate(samples);
            Block {
                re: lanes(|lane| re[lane] * turn.cos[lane] + im[lane] * turn.sin[lane]),
                im: lanes(|lane| im[lane] * turn.cos[lane] - re[lane] * turn.sin[lane]),
                energy,
            }
        };
        self.blocks += 1;
        self.until_turn -= 1;
        if self.until_turn == 0 {
            (self.turn, self.until_turn) = (self.tables.first_middle, BLOCKS_PER_TURN);
        } else {
            self.turn = turn.by(&self.tables.step);
        }
    }

    /// Blocks finished since the start; block `n` covers the samples from `n * BLOCK`.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks
    }

    /// The block that ended `age` blocks before the newest (0 = newest).
    #[inline]
    pub(crate) fn back(&self, age: usize) -> &Block {
        let index = self.newest + DEPTH - age.min(DEPTH - 1);
        &self.ring[if index >= DEPTH { index - DEPTH } else { index }]
    }

    /// The sum of the newest four blocks: 10 ms.
    #[inline]
    pub(crate) fn short_sum(&self) -> Block {
        let (a, b, c, d) = (self.back(0), self.back(1), self.back(2), self.back(3));
        let energy = (a.energy + b.energy) + (c.energy + d.energy);
        if energy < LEAST_ENERGY {
            return Block { energy, ..Block::QUIET };
        }
        let sum = |a: &Lanes, b: &Lanes, c: &Lanes, d: &Lanes| -> Lanes {
            std::array::from_fn(|lane| (a[lane] + b[lane]) + (c[lane] + d[lane]))
        };
        Block { re: sum(&a.re, &b.re, &c.re, &d.re), im: sum(&a.im, &b.im, &c.im, &d.im), energy }
    }

    /// The pair that best explains the newest 10 ms (whose sum is given) by an exact least-squares fit of
    /// two sinusoids. A window too quiet for any tone gets a fit that explains nothing.
    pub(crate) fn best_short_fit(&self, window: &Block) -> Fit {
        if is_quiet(window) {
            return Fit::NOTHING;
        }
        let (mut re, mut im) = ([0.0; 8], [0.0; 8]);
        let middle = self.middle(0, SHORT);
        for lane in 0..8 {
            re[lane] = window.re[lane] * middle.cos[lane] - window.im[lane] * middle.sin[lane];
            im[lane] = window.re[lane] * middle.sin[lane] + window.im[lane] * middle.cos[lane];
        }
        let index = self.tables.best_short(&re, &im);
        let (low, high) = (index / 4, 4 + index % 4);
        self.tables.short[index].fit((re[low], im[low]), (re[high], im[high]), index, window.energy)
    }

    /// The fit of one pair to `count` blocks (2, 4 or 8; others count as 4) that ended `age` blocks back.
    pub(crate) fn fit(&self, pair: Pair, age: usize, count: usize) -> Fit {
        let count = if matches!(count, 2 | 8) { count } else { SHORT };
        let (low, high) = (pair.low, pair.high);
        let mut total = Block::QUIET;
        for back in age..age + count {
            let block = self.back(back);
            total.energy += block.energy;
            for lane in [low, high] {
                total.re[lane] += block.re[lane];
                total.im[lane] += block.im[lane];
            }
        }
        self.fit_window(&total, pair, age, count)
    }

    /// The fit of one pair to the newest 10 ms, whose sum is given.
    pub(crate) fn fit_short(&self, window: &Block, pair: Pair) -> Fit {
        self.fit_window(window, pair, 0, SHORT)
    }

    fn fit_window(&self, window: &Block, pair: Pair, age: usize, count: usize) -> Fit {
        let solvers = match count {
            2 => &self.tables.tiny,
            8 => &self.tables.long,
            _ => &self.tables.short,
        };
        let (low, high) =
            (self.centred(window, pair.low, age, count), self.centred(window, pair.high, age, count));
        solvers[pair.index()].fit(low, high, pair.index(), window.energy)
    }

    /// One frequency's sum over a window, with the phase reference in the window's middle: there cosines
    /// and sines are orthogonal to each other, and a fit of two sinusoids falls apart into two fits of two
    /// unknowns.
    #[inline]
    pub(crate) fn centred(&self, window: &Block, lane: usize, age: usize, count: usize) -> (f32, f32) {
        let back = &self.tables.back_to_middle[(2 * age + count).min(2 * DEPTH)];
        let (turn, re, im) = (&self.turn, window.re[lane], window.im[lane]);
        let cos = turn.cos[lane] * back.cos[lane] + turn.sin[lane] * back.sin[lane];
        let sin = turn.sin[lane] * back.cos[lane] - turn.cos[lane] * back.sin[lane];
        (re * cos - im * sin, re * sin + im * cos)
    }

    /// All frequencies' phases in the middle of a window.
    #[inline]
    fn middle(&self, age: usize, count: usize) -> Turn {
        let back = &self.tables.back_to_middle[(2 * age + count).min(2 * DEPTH)];
        let mut middle = Turn { cos: [0.0; 8], sin: [0.0; 8] };
        for lane in 0..8 {
            let (cos, sin) = (self.turn.cos[lane], self.turn.sin[lane]);
            middle.cos[lane] = cos * back.cos[lane] + sin * back.sin[lane];
            middle.sin[lane] = sin * back.cos[lane] - cos * back.sin[lane];
        }
        middle
    }
}

/// Whether 10 ms are too quiet for any tone.
#[inline]
pub(crate) fn is_quiet(window: &Block) -> bool {
    window.energy < LEAST_ENERGY
}

#[inline]
fn lanes(of: impl Fn(usize) -> f32) -> Lanes {
    std::array::from_fn(of)
}

/// How far a frequency's phase goes in so many samples.
fn radians(lane: usize, samples: f64) -> f64 {
    TAU * FREQUENCIES_HZ[lane] * samples / f64::from(RATE_HZ)
}

/// Cosine and sine of one angle per frequency. Aligned, so that the processor multiplies straight from memory.
#[derive(Clone, Copy)]
#[repr(C, align(32))]
struct Turn {
    cos: Lanes,
    sin: Lanes,
}

impl Turn {
    #[inline]
    fn by(&self, other: &Self) -> Self {
        Self {
            cos: lanes(|lane| self.cos[lane] * other.cos[lane] - self.sin[lane] * other.sin[lane]),
            sin: lanes(|lane| self.cos[lane] * other.sin[lane] + self.sin[lane] * other.cos[lane]),
        }
    }

    fn after(samples: f64) -> Self {
        Self {
            cos: lanes(|lane| radians(lane, samples).cos() as f32),
            sin: lanes(|lane| radians(lane, samples).sin() as f32),
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

    /// `low` and `high` are the two frequencies' sums, centred (cosine, minus sine).
    fn fit(&self, low: (f32, f32), high: (f32, f32), index: usize, energy: f32) -> Fit {
        let solve = |g: &[f32; 3], l: f32, h: f32| (g[0] * l + g[1] * h, g[1] * l + g[2] * h);
        let (low_cos, high_cos) = solve(&self.cos, low.0, high.0);
        let (low_sin, high_sin) = solve(&self.sin, low.1, high.1);
        let explained = low_cos * low.0 + high_cos * high.0 + low_sin * low.1 + high_sin * high.1;
        Fit {
            pair: Pair { low: index / 4, high: 4 + index % 4 },
            share: explained / energy.max(1.0),
            low: (low_cos * low_cos + low_sin * low_sin).sqrt(),
            high: (high_cos * high_cos + high_sin * high_sin).sqrt(),
        }
    }
}

/// Four pairs of one low frequency, side by side: what [`Solver`] holds of each, ready for four at once.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Row {
    cos: [[f32; 4]; 3],
    sin: [[f32; 4]; 3],
}

impl Row {
    fn new(low: usize, solvers: &[Solver; 16]) -> Self {
        let column = |of: fn(&Solver) -> &[f32; 3]| -> [[f32; 4]; 3] {
            std::array::from_fn(|term| std::array::from_fn(|high| of(&solvers[low * 4 + high])[term]))
        };
        Self { cos: column(|solver| &solver.cos), sin: column(|solver| &solver.sin) }
    }
}

/// Constant tables, shared by every call.
struct Tables {
    bank: Bank,
    step: Turn,
    /// The phases in the middle of the very first block.
    first_middle: Turn,
    /// By count of half blocks back from the start of the next block to the middle of a window.
    back_to_middle: [Turn; 2 * DEPTH + 1],
    tiny: [Solver; 16],
    short: [Solver; 16],
    short_rows: [Row; 4],
    long: [Solver; 16],
}

impl Tables {
    fn new() -> Self {
        let short = std::array::from_fn(|index| Solver::new(index, SHORT * BLOCK));
        Self {
            bank: Bank::new(radians),
            step: Turn::after(BLOCK as f64),
            first_middle: Turn::after((BLOCK as f64 - 1.0) / 2.0),
            back_to_middle: std::array::from_fn(|halves| {
                Turn::after((halves + 1) as f64 * BLOCK as f64 / 2.0)
            }),
            tiny: std::array::from_fn(|index| Solver::new(index, 2 * BLOCK)),
            short,
            short_rows: std::array::from_fn(|low| Row::new(low, &short)),
            long: std::array::from_fn(|index| Solver::new(index, 8 * BLOCK)),
        }
    }

    /// The pair (by index) that explains most of 10 ms.
    #[inline]
    fn best_short(&self, re: &Lanes, im: &Lanes) -> usize {
        let mut explained = [0.0_f32; 16];
        for low in 0..4 {
            let (row, cos, sin) = (&self.short_rows[low], re[low], im[low]);
            for high in 0..4 {
                let (high_cos, high_sin) = (re[4 + high], im[4 + high]);
                explained[low * 4 + high] = row.cos[0][high] * cos * cos
                    + 2.0 * row.cos[1][high] * cos * high_cos
                    + row.cos[2][high] * high_cos * high_cos
                    + row.sin[0][high] * sin * sin
                    + 2.0 * row.sin[1][high] * sin * high_sin
                    + row.sin[2][high] * high_sin * high_sin;
            }
        }
        (1..16).fold(0, |best, index| if explained[index] > explained[best] { index } else { best })
    }
}

static TABLES: LazyLock<Tables> = LazyLock::new(Tables::new);
