//! An independent ear: what a person, or a recorder, at the agent's end could have heard.
//!
//! Written without the product's detector and on another method, so that a mistake there is not repeated
//! here: in a window of 20 ms the strongest low and the strongest high frequency of ITU-T Q.23 are found, both
//! are fitted to the audio by least squares, and the window is a tone when hardly anything is left over.
//! It is made to hear too much rather than too little: down to −50 dBm0 per frequency, 25 ms, any twist up to 15 dB.

use std::f64::consts::PI;

use serde::Serialize;

use super::phone::SAMPLE_RATE_HZ;

/// One tone an agent could have heard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeardTone {
    /// Which key.
    pub key: char,
    /// Where it begins, in milliseconds from the first sample.
    pub at_ms: u64,
    /// How long it sounds, to about 5 ms.
    pub length_ms: u64,
    /// Level of the louder of its two frequencies.
    pub level_dbm0: f64,
}

/// Level below everything a 16-bit sample can hold; what digital silence is given.
pub const SILENCE_DBM0: f64 = -96.0;
/// Quieter than this, speech is not counted as heard.
pub const SPEECH_DBM0: f64 = -40.0;

const LOW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH_HZ: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// 20 ms: shorter than any tone that counts, long enough to tell neighbouring frequencies apart.
const WINDOW: usize = 160;
/// 2.5 ms: a 25 ms tone fills at least three windows.
const HOP: usize = 20;
/// Windows in a row, fitting the same key, that make a tone.
const WINDOWS_IN_A_ROW: usize = 2;
/// Quietest frequency that counts.
const QUIETEST_DBM0: f64 = -50.0;
/// Largest difference between the two frequencies.
const TWIST_DB: f64 = 15.0;
/// Share of the window's energy that the two frequencies must explain. Speech stays well below.
const EXPLAINED: f64 = 0.93;
/// Two runs of one key closer than this are one tone: a person would not hear the gap.
const SAME_TONE_GAP_MS: u64 = 10;

/// Every tone in the audio, in order.
#[must_use]
pub fn tones(samples: &[i16]) -> Vec<HeardTone> {
    let bank = Bank::new();
    let mut found: Vec<HeardTone> = Vec::new();
    let mut run: Option<Run> = None;
    for (hop, window) in samples.windows(WINDOW).step_by(HOP).enumerate() {
        match (bank.fit(window), &mut run) {
            (Some(fit), Some(current)) if current.key == fit.key => current.grow(hop, fit.level_dbm0),
            (fit, _) => {
                close(run.take(), &mut found);
                run = fit.map(|fit| Run { key: fit.key, first: hop, last: hop, level_dbm0: fit.level_dbm0 });
            }
        }
    }
    close(run, &mut found);
    found
}

/// The loudest the audio ever is at one of the eight frequencies of ITU-T Q.23, over windows of 20 ms.
#[must_use]
pub fn loudest_in_tone_bands_dbm0(samples: &[i16]) -> f64 {
    let bank = Bank::new();
    let loudest = samples
        .windows(WINDOW)
        .step_by(HOP)
        .flat_map(|window| {
            let window = hann(window);
            bank.powers(&window).into_iter().flatten().collect::<Vec<_>>()
        })
        // A Hann window lets half of a sine's amplitude through.
        .fold(0.0, |most: f64, power| most.max(power * 4.0));
    dbm0_of_power(loudest)
}

/// Level of the whole span, as root mean square.
#[must_use]
pub fn level_dbm0(samples: &[i16]) -> f64 {
    if samples.is_empty() {
        return SILENCE_DBM0;
    }
    let energy: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    dbm0_of_power(energy / samples.len() as f64)
}

/// Level of the loudest 200 ms in the span: whether there was speech in it, pauses or not.
#[must_use]
pub fn loudest_speech_dbm0(samples: &[i16]) -> f64 {
    const SPEECH_WINDOW: usize = 1600;
    if samples.len() < SPEECH_WINDOW {
        return level_dbm0(samples);
    }
    samples.windows(SPEECH_WINDOW).step_by(400).map(level_dbm0).fold(SILENCE_DBM0, f64::max)
}

/// Mean square of a sine at 0 dBm0: G.711's loudest sine (peak 32,124 of 16-bit samples) is +3.17 dBm0 (G.711 table 5).
fn zero_dbm0_power() -> f64 {
    let peak = 32_124.0_f64 / 10_f64.powf(3.17 / 20.0);
    peak * peak / 2.0
}

fn dbm0_of_power(mean_square: f64) -> f64 {
    if mean_square <= 0.0 {
        return SILENCE_DBM0;
    }
    (10.0 * (mean_square / zero_dbm0_power()).log10()).max(SILENCE_DBM0)
}

/// Windows in a row that fit one key.
struct Run {
    key: char,
    first: usize,
    last: usize,
    level_dbm0: f64,
}

impl Run {
    fn grow(&mut self, hop: usize, level_dbm0: f64) {
        self.last = hop;
        self.level_dbm0 = self.level_dbm0.max(level_dbm0);
    }
}

fn close(run: Option<Run>, found: &mut Vec<HeardTone>) {
    let Some(run) = run else { return };
    if run.last - run.first + 1 < WINDOWS_IN_A_ROW {
        return;
    }
    let at_ms = (run.first * HOP * 1000 / SAMPLE_RATE_HZ as usize) as u64;
    let until_ms = ((run.last * HOP + WINDOW) * 1000 / SAMPLE_RATE_HZ as usize) as u64;
    if let Some(last) = found.last_mut()
        && last.key == run.key
        && at_ms <= last.at_ms + last.length_ms + SAME_TONE_GAP_MS
    {
        last.length_ms = until_ms - last.at_ms;
        last.level_dbm0 = last.level_dbm0.max(run.level_dbm0);
        return;
    }
    found.push(HeardTone { key: run.key, at_ms, length_ms: until_ms - at_ms, level_dbm0: run.level_dbm0 });
}

struct Fit {
    key: char,
    level_dbm0: f64,
}

/// Cosine and sine of one frequency over one window.
type Wave = [[f64; WINDOW]; 2];

/// The eight frequencies, ready to be compared with a window.
struct Bank {
    groups: [[Wave; 4]; 2],
}

impl Bank {
    fn new() -> Self {
        let wave = |hz: f64| {
            let turn = |n: usize| 2.0 * PI * hz * n as f64 / f64::from(SAMPLE_RATE_HZ);
            [std::array::from_fn(|n| turn(n).cos()), std::array::from_fn(|n| turn(n).sin())]
        };
        Self { groups: [LOW_HZ.map(wave), HIGH_HZ.map(wave)] }
    }

    /// Mean square of the window at each frequency, low group then high group.
    fn powers(&self, window: &[f64; WINDOW]) -> [[f64; 4]; 2] {
        let n = WINDOW as f64;
        std::array::from_fn(|group| {
            std::array::from_fn(|i| {
                let [cosine, sine] = &self.groups[group][i];
                2.0 * (dot(window, cosine).powi(2) + dot(window, sine).powi(2)) / (n * n)
            })
        })
    }

    /// The key whose two frequencies explain this window, if one does.
    fn fit(&self, window: &[i16]) -> Option<Fit> {
        let mut audio = [0.0; WINDOW];
        for (to, from) in audio.iter_mut().zip(window) {
            *to = f64::from(*from);
        }
        let energy = dot(&audio, &audio);
        let floor = 2.0 * zero_dbm0_power() * 10_f64.powf(QUIETEST_DBM0 / 10.0);
        if energy / (WINDOW as f64) < floor / 2.0 {
            return None;
        }
        let [low, high] = self.powers(&audio).map(|group| strongest(&group));
        let pair = [&self.groups[0][low], &self.groups[1][high]];
        let (explained, powers) = least_squares(&audio, pair);
        let levels = powers.map(dbm0_of_power);
        let is_tone = explained >= EXPLAINED * energy
            && levels.iter().all(|level| *level >= QUIETEST_DBM0)
            && (levels[0] - levels[1]).abs() <= TWIST_DB;
        is_tone.then(|| Fit { key: KEYS[low][high], level_dbm0: levels[0].max(levels[1]) })
    }
}

/// Fits two frequencies at once. Gives the energy they explain, and the mean square of each.
fn least_squares(audio: &[f64; WINDOW], pair: [&Wave; 2]) -> (f64, [f64; 2]) {
    let basis = [&pair[0][0], &pair[0][1], &pair[1][0], &pair[1][1]];
    // The normal equations, solved by elimination: the four waves are far from parallel, so no pivoting is needed.
    let mut rows: [[f64; 5]; 4] = std::array::from_fn(|i| {
        std::array::from_fn(|j| if j < 4 { dot(basis[i], basis[j]) } else { dot(basis[i], audio) })
    });
    let right: [f64; 4] = std::array::from_fn(|i| rows[i][4]);
    for i in 0..4 {
        let pivot_row = rows[i];
        for (j, row) in rows.iter_mut().enumerate() {
            if j != i {
                let factor = row[i] / pivot_row[i];
                row.iter_mut().zip(pivot_row).for_each(|(cell, pivot)| *cell -= factor * pivot);
            }
        }
    }
    let weights: [f64; 4] = std::array::from_fn(|i| rows[i][4] / rows[i][i]);
    let explained = weights.iter().zip(right).map(|(weight, dot)| weight * dot).sum();
    let power = |i: usize| (weights[i].powi(2) + weights[i + 1].powi(2)) / 2.0;
    (explained, [power(0), power(2)])
}

fn strongest(powers: &[f64; 4]) -> usize {
    (0..4).fold(0, |best, i| if powers[i] > powers[best] { i } else { best })
}

fn dot(a: &[f64; WINDOW], b: &[f64; WINDOW]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn hann(window: &[i16]) -> [f64; WINDOW] {
    std::array::from_fn(|n| {
        let weight = 0.5 - 0.5 * (2.0 * PI * (n as f64 + 0.5) / WINDOW as f64).cos();
        window.get(n).map_or(0.0, |sample| f64::from(*sample) * weight)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::phone::{Voice, tone_sample};

    fn key_press(key: char, level_dbm0: f64, length_ms: usize) -> Vec<i16> {
        let mut audio = vec![0; 803];
        audio.extend((0..length_ms * 8).map(|n| tone_sample(key, n as u64, level_dbm0, level_dbm0)));
        audio.resize(audio.len() + 800, 0);
        audio
    }

    fn keys_heard(audio: &[i16]) -> String {
        tones(audio).iter().map(|tone| tone.key).collect()
    }

    #[test]
    fn every_key_is_heard_from_loud_to_minus_45_dbm0() {
        for level_dbm0 in [-3.0, -20.0, -35.0, -45.0] {
            for key in KEYS.into_iter().flatten() {
                for length_ms in [25, 40, 120] {
                    let heard = tones(&key_press(key, level_dbm0, length_ms));
                    assert_eq!(heard.len(), 1, "{key} at {level_dbm0} dBm0 for {length_ms} ms: {heard:?}");
                    assert_eq!(heard[0].key, key);
                    assert!(heard[0].at_ms.abs_diff(100) <= 6, "{heard:?}");
                    assert!(heard[0].length_ms.abs_diff(length_ms as u64) <= 10, "{heard:?}");
                    assert!((heard[0].level_dbm0 - level_dbm0).abs() < 1.0, "{heard:?}");
                }
            }
        }
    }

    #[test]
    fn keys_in_a_row_are_counted_one_by_one() {
        let audio: Vec<i16> = "5588".chars().flat_map(|key| key_press(key, -10.0, 60)).collect();
        assert_eq!(keys_heard(&audio), "5588");
    }

    #[test]
    fn no_key_is_heard_in_the_speech_of_either_phone() {
        for (seed, pitch_hz) in [(1, 118.0), (2, 205.0), (3, 160.0)] {
            let mut voice = Voice::new(seed, pitch_hz);
            let audio: Vec<i16> = (0..60 * 50).flat_map(|_| voice.frame()).collect();
            assert_eq!(tones(&audio), [], "seed {seed}");
        }
    }

    #[test]
    fn a_residue_below_the_threshold_of_a_tone_is_still_measured() {
        let audio = key_press('8', -58.0, 60);
        assert_eq!(tones(&audio), []);
        let residue = loudest_in_tone_bands_dbm0(&audio);
        assert!((residue + 58.0).abs() < 1.5, "{residue}");
        assert!(loudest_in_tone_bands_dbm0(&[0; 4000]) <= SILENCE_DBM0);
    }

    #[test]
    fn speech_is_told_from_silence_by_its_loudest_part() {
        let mut voice = Voice::new(4, 120.0);
        let mut audio: Vec<i16> = (0..100).flat_map(|_| voice.frame()).collect();
        assert!(loudest_speech_dbm0(&audio) > SPEECH_DBM0);
        audio.fill(3);
        assert!(loudest_speech_dbm0(&audio) < SPEECH_DBM0);
    }
}
