//! The leak meter: what of a press came through, by nothing that the guard itself uses.

use std::f64::consts::TAU;

const LOW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH_HZ: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
/// Peak of a 0 dBm0 sine.
const FULL: f64 = 22_827.0;
/// Samples of a leak window (4 ms), and of a step.
const WINDOW: usize = 32;
const STEP: usize = 8;
/// Samples looked at before and after a press (50 ms).
const AROUND: usize = 400;

/// One press of a corpus.
pub(crate) struct Press {
    key: usize,
    pub(crate) onset: usize,
    pub(crate) length: usize,
}

/// What came through of all presses of a file.
#[derive(Default)]
pub(crate) struct Leaks {
    pub(crate) presses: usize,
    pub(crate) leaking: usize,
    pub(crate) most_ms: usize,
    pub(crate) all_ms: usize,
    /// The loudest of the eight bands in 20 ms of any press, as an amplitude.
    loudest: f64,
}

impl Leaks {
    pub(crate) fn loudest_dbm0(&self) -> f64 {
        20.0 * (self.loudest / FULL + 1e-5).log10()
    }

    /// Measures one press: the 4 ms windows, every ms, in which a fit of its two tones finds both within
    /// 20 dB of what was sent and explains half of what is there. One window alone is chance.
    pub(crate) fn add(&mut self, press: &Press, sent: &[f64], received: &[f64]) {
        let (from, to) = (press.onset, press.onset + press.length);
        if press.length < WINDOW || to + AROUND > received.len() {
            return;
        }
        let fit = Fit::new(LOW_HZ[press.key / 4], HIGH_HZ[press.key % 4]);
        let windows = |from: usize, to: usize| (from..=to - WINDOW).step_by(STEP);
        let all: Vec<Seen> = windows(from, to).map(|at| fit.at(&sent[at..at + WINDOW])).collect();
        let (low, high) = (median(all.iter().map(|s| s.low)), median(all.iter().map(|s| s.high)));
        let hits: Vec<bool> = windows(from.saturating_sub(WINDOW - STEP), to + WINDOW - STEP)
            .map(|at| fit.at(&received[at..at + WINDOW]))
            .map(|seen| seen.low > low / 10.0 && seen.high > high / 10.0 && seen.share > 0.5)
            .collect();
        let beside = |index: usize| hits.get(index).copied().unwrap_or(false);
        let leaked_ms = (0..hits.len())
            .filter(|index| beside(*index) && (beside(index.wrapping_sub(1)) || beside(index + 1)))
            .count();
        let span = press.length.min(160);
        for at in (from..=to - span).step_by(40) {
            for hz in LOW_HZ.iter().chain(&HIGH_HZ) {
                self.loudest = self.loudest.max(level(&received[at..at + span], *hz));
            }
        }
        self.presses += 1;
        self.leaking += usize::from(leaked_ms > 0);
        self.most_ms = self.most_ms.max(leaked_ms);
        self.all_ms += leaked_ms;
    }
}

/// Reads a corpus's list (`section,param,digit,onset,length`): the presses that a receiver might read. Tones
/// further off than Q.24's 3.5 %, with more than 12 dB of twist, fainter than −45 dBm0 or shorter than 15 ms
/// are left out.
pub(crate) fn presses(list: &str) -> Vec<Press> {
    list.lines().skip(1).filter_map(press).collect()
}

fn press(line: &str) -> Option<Press> {
    let [section, param, digit, onset, length] = line.split(',').collect::<Vec<_>>()[..] else { return None };
    let param: f64 = param.parse().ok()?;
    let counts = match section {
        "lo" | "hi" | "both" => param.abs() <= 3.5,
        "twist" => param.abs() <= 12.0,
        "level" => param >= -45.0,
        "dur" => param >= 15.0,
        _ => true,
    };
    let key = "123A456B789C*0#D".find(digit)?;
    let press = Press { key, onset: onset.parse().ok()?, length: length.trim().parse().ok()? };
    counts.then_some(press)
}

/// A least-squares fit of two sinusoids to a Hann-weighted window.
struct Fit {
    /// The four waves (cosine and sine of each tone), weighted, and what turns a window into their amounts.
    waves: [[f64; WINDOW]; 4],
    solve: [[f64; WINDOW]; 4],
    weight: [f64; WINDOW],
}

struct Seen {
    low: f64,
    high: f64,
    share: f64,
}

impl Fit {
    fn new(low: f64, high: f64) -> Self {
        let weight = std::array::from_fn(|n| 0.5 - 0.5 * (TAU * n as f64 / (WINDOW - 1) as f64).cos());
        let wave = |hz: f64, turn: f64| -> [f64; WINDOW] {
            std::array::from_fn(|n| {
                weight[n] * (TAU * (hz * (n as f64 - WINDOW as f64 / 2.0) / 8000.0 - turn)).cos()
            })
        };
        let waves = [wave(low, 0.0), wave(low, 0.25), wave(high, 0.0), wave(high, 0.25)];
        let gram = std::array::from_fn(|a| std::array::from_fn(|b| dot(&waves[a], &waves[b])));
        let inverse = inverse(gram);
        let solve = std::array::from_fn(|a| {
            std::array::from_fn(|n| (0..4).map(|b| inverse[a][b] * waves[b][n]).sum())
        });
        Self { waves, solve, weight }
    }

    fn at(&self, window: &[f64]) -> Seen {
        let weighted: [f64; WINDOW] = std::array::from_fn(|n| window[n] * self.weight[n]);
        let amounts: [f64; 4] = std::array::from_fn(|a| dot(&self.solve[a], &weighted));
        let rest: f64 = (0..WINDOW)
            .map(|n| weighted[n] - (0..4).map(|a| amounts[a] * self.waves[a][n]).sum::<f64>())
            .map(|rest| rest * rest)
            .sum();
        Seen {
            low: amounts[0].hypot(amounts[1]),
            high: amounts[2].hypot(amounts[3]),
            share: 1.0 - rest / (dot(&weighted, &weighted) + 1e-9),
        }
    }
}

fn dot(a: &[f64; WINDOW], b: &[f64; WINDOW]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Gauss and Jordan's way, without a search for pivots: a Gram matrix needs none.
fn inverse(mut matrix: [[f64; 4]; 4]) -> [[f64; 4]; 4] {
    let mut inverse: [[f64; 4]; 4] =
        std::array::from_fn(|row| std::array::from_fn(|column| if row == column { 1.0 } else { 0.0 }));
    for pivot in 0..4 {
        let by = matrix[pivot][pivot];
        for column in 0..4 {
            matrix[pivot][column] /= by;
            inverse[pivot][column] /= by;
        }
        for row in (0..4).filter(|row| *row != pivot) {
            let by = matrix[row][pivot];
            for column in 0..4 {
                matrix[row][column] -= by * matrix[pivot][column];
                inverse[row][column] -= by * inverse[pivot][column];
            }
        }
    }
    inverse
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// The amplitude of one frequency in a window (Hann).
fn level(window: &[f64], hz: f64) -> f64 {
    let (mut re, mut im, mut weight) = (0.0, 0.0, 0.0);
    for (n, sample) in window.iter().enumerate().filter(|(_, sample)| **sample != 0.0) {
        let w = 0.5 - 0.5 * (TAU * (n as f64 + 0.5) / window.len() as f64).cos();
        let (sin, cos) = (TAU * hz * n as f64 / 8000.0).sin_cos();
        (re, im, weight) = (re + w * sample * cos, im + w * sample * sin, weight + w);
    }
    2.0 * f64::hypot(re, im) / weight.max(window.len() as f64 / 2.0)
}
