//! What of a stream is an audible key: whole tones, by the detector of the product, and pieces of tones
//! that no receiver takes for a key but an ear, or a patient listener to a recording, might.

use std::f64::consts::TAU;

use hushpad_telephony::detector::{Detector, Phase};
use hushpad_telephony::key::Key;

use super::Stream;

/// One press that could be heard. Positions are samples at 8 kHz.
pub(super) struct Audible {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) key: Key,
    pub(super) carrier: Carrier,
}

/// In what form.
#[derive(Clone, Copy)]
pub(super) enum Carrier {
    /// A tone that a receiver reads; the power of its two parts together.
    Tone { dbm0: f64 },
    /// 10 ms of a tone or a little more, standing alone.
    Sliver { dbm0: f64 },
    /// A telephone-event packet (RFC 4733).
    Event,
}

const LOW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH_HZ: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
const KEYPAD: &[u8; 16] = b"123A456B789C*0#D";
/// Peak of a 0 dBm0 sine in 16-bit samples.
const FULL: f64 = 22_827.0;
/// Silence put after the end, in which a last press ends (100 ms).
const FLUSH: [i16; 800] = [0; 800];

/// Samples of the window in which a piece of a tone is looked for (10 ms), and of a step (2.5 ms).
const WINDOW: usize = 80;
const STEP: usize = 20;
/// Weakest part of a piece (−50 dBm0), as an amplitude.
const LEAST_AMPLITUDE: f64 = 72.0;
/// The two parts' amplitudes differ by 12 dB at most.
const MOST_TWIST: f64 = 4.0;
/// The two tones must explain so much of the window: nothing but a tone generator does that.
const LEAST_SHARE: f64 = 0.97;
/// A piece stands alone when 10 ms before and after it have less than this of its power: speech has not.
const QUIET: f64 = 0.02;
/// A piece this near a whole tone (20 ms) belongs to it.
const NEAR: usize = 160;

/// Everything audible in a stream, in order of time.
pub(super) fn all(stream: &Stream) -> Vec<Audible> {
    let mut all = tones(&stream.samples);
    let near = |a: &Audible, b: &Audible| a.from < b.to + NEAR && b.from < a.to + NEAR;
    let alone: Vec<Audible> = slivers(&stream.samples)
        .into_iter()
        .filter(|piece| !all.iter().any(|tone| near(tone, piece)))
        .collect();
    all.extend(alone);
    all.extend(stream.events.iter().map(|event| Audible { ..*event }));
    all.sort_by_key(|one| one.from);
    all
}

fn tones(samples: &[i16]) -> Vec<Audible> {
    let (mut detector, mut tones, mut begun) = (Detector::new(), Vec::new(), None);
    let mut heard = |edge: hushpad_telephony::detector::Heard| {
        let at = usize::try_from(edge.at_sample).unwrap_or(usize::MAX).min(samples.len());
        match edge.phase {
            Phase::Begin => begun = Some(at),
            Phase::End => {
                if let Some(from) = begun.take() {
                    let to = at.max(from);
                    let dbm0 = level_dbm0(&samples[from..to], edge.key);
                    tones.push(Audible { from, to, key: edge.key, carrier: Carrier::Tone { dbm0 } });
                }
            }
        }
    };
    detector.push(samples, &mut heard);
    detector.push(&FLUSH, &mut heard);
    tones
}

/// The level of a key's two tones in a stretch: the loudest of its 10 ms windows.
fn level_dbm0(samples: &[i16], key: Key) -> f64 {
    let index = KEYPAD.iter().position(|ascii| *ascii == key.ascii()).unwrap_or(0);
    let pair = Pair::new(index);
    let power = samples.windows(WINDOW).step_by(STEP).map(|window| {
        let seen = pair.fit(&Sums::of(window));
        seen.low * seen.low + seen.high * seen.high
    });
    dbm0(power.fold(0.0, f64::max))
}

fn dbm0(power: f64) -> f64 {
    10.0 * (power / (FULL * FULL)).max(1e-10).log10()
}

/// Runs of windows in which one pair is nearly all there is, with quiet on both sides.
fn slivers(samples: &[i16]) -> Vec<Audible> {
    let pairs: Vec<Pair> = (0..16).map(Pair::new).collect();
    let (mut found, mut run): (Vec<Audible>, Option<Run>) = (Vec::new(), None);
    for (step, window) in samples.windows(WINDOW).step_by(STEP).enumerate() {
        let from = step * STEP;
        let piece = piece(window, &pairs);
        match (&mut run, piece) {
            (Some(run), Some((index, power))) if run.index == index => {
                run.to = from + WINDOW;
                run.power = run.power.max(power);
            }
            (_, piece) => {
                found.extend(run.take().and_then(|run| run.alone_in(samples)));
                run = piece.map(|(index, power)| Run { index, from, to: from + WINDOW, power });
            }
        }
    }
    found.extend(run.and_then(|run| run.alone_in(samples)));
    found
}

struct Run {
    index: usize,
    from: usize,
    to: usize,
    power: f64,
}

impl Run {
    fn alone_in(self, samples: &[i16]) -> Option<Audible> {
        // A window takes in up to 2.5 ms beyond the piece's edges, and the edges may be faded.
        let before = &samples[self.from.saturating_sub(WINDOW + STEP)..self.from.saturating_sub(STEP)];
        let after_from = (self.to + STEP).min(samples.len());
        let after = &samples[after_from..(after_from + WINDOW).min(samples.len())];
        let quiet = |part: &[i16]| energy(part) <= QUIET * self.power / 2.0 * WINDOW as f64;
        let key = Key::from_ascii(KEYPAD[self.index])?;
        let carrier = Carrier::Sliver { dbm0: dbm0(self.power) };
        (quiet(before) && quiet(after)).then_some(Audible { from: self.from, to: self.to, key, carrier })
    }
}

/// The pair that is nearly all of a window, if there is one, and its power.
fn piece(window: &[i16], pairs: &[Pair]) -> Option<(usize, f64)> {
    let energy = energy(window);
    if energy < LEAST_AMPLITUDE * LEAST_AMPLITUDE * WINDOW as f64 {
        return None;
    }
    let sums = Sums::of(window);
    pairs.iter().enumerate().find_map(|(index, pair)| {
        let seen = pair.fit(&sums);
        let (weaker, stronger) = (seen.low.min(seen.high), seen.low.max(seen.high));
        let holds = seen.explained >= LEAST_SHARE * energy
            && weaker >= LEAST_AMPLITUDE
            && stronger <= weaker * MOST_TWIST;
        holds.then_some((index, stronger * stronger + weaker * weaker))
    })
}

fn energy(samples: &[i16]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample) * f64::from(*sample)).sum()
}

/// The correlation of a window with the eight frequencies, phase reference in its middle.
struct Sums {
    cos: [f64; 8],
    sin: [f64; 8],
}

/// Cosine and sine of the eight frequencies at one sample of a window.
struct Waves {
    cos: [f64; 8],
    sin: [f64; 8],
}

static WAVES: std::sync::LazyLock<Vec<Waves>> = std::sync::LazyLock::new(|| {
    let angle = |n: usize, lane: usize| {
        let hz = if lane < 4 { LOW_HZ[lane] } else { HIGH_HZ[lane - 4] };
        TAU * hz * (n as f64 - (WINDOW as f64 - 1.0) / 2.0) / 8000.0
    };
    let at = |n| Waves {
        cos: std::array::from_fn(|lane| angle(n, lane).cos()),
        sin: std::array::from_fn(|lane| angle(n, lane).sin()),
    };
    (0..WINDOW).map(at).collect()
});

impl Sums {
    fn of(window: &[i16]) -> Self {
        let mut sums = Self { cos: [0.0; 8], sin: [0.0; 8] };
        for (sample, waves) in window.iter().zip(WAVES.iter()) {
            let sample = f64::from(*sample);
            for lane in 0..8 {
                sums.cos[lane] += sample * waves.cos[lane];
                sums.sin[lane] += sample * waves.sin[lane];
            }
        }
        sums
    }
}

/// A pair of tones: the inverse Gram matrices of its cosines and of its sines.
struct Pair {
    low: usize,
    high: usize,
    cos: [f64; 3],
    sin: [f64; 3],
}

struct Seen {
    low: f64,
    high: f64,
    explained: f64,
}

impl Pair {
    fn new(index: usize) -> Self {
        let (low, high) = (index / 4, 4 + index % 4);
        let inverse = |wave: fn(&Waves) -> &[f64; 8]| {
            let (mut ll, mut lh, mut hh) = (0.0, 0.0, 0.0);
            for row in WAVES.iter().map(wave) {
                ll += row[low] * row[low];
                lh += row[low] * row[high];
                hh += row[high] * row[high];
            }
            let determinant = ll * hh - lh * lh;
            [hh / determinant, -lh / determinant, ll / determinant]
        };
        Self { low, high, cos: inverse(|at| &at.cos), sin: inverse(|at| &at.sin) }
    }

    fn fit(&self, sums: &Sums) -> Seen {
        let solve = |g: &[f64; 3], l: f64, h: f64| (g[0] * l + g[1] * h, g[1] * l + g[2] * h);
        let (cl, ch) = (sums.cos[self.low], sums.cos[self.high]);
        let (sl, sh) = (sums.sin[self.low], sums.sin[self.high]);
        let ((a, b), (c, d)) = (solve(&self.cos, cl, ch), solve(&self.sin, sl, sh));
        Seen { low: a.hypot(c), high: b.hypot(d), explained: a * cl + b * ch + c * sl + d * sh }
    }
}
