//! Speech-like audio, made in code: vowels, consonant noise and pauses. No recording, no person.
//!
//! A phrase is made at once: a pulse train (the vocal cords) through four resonators (the mouth), after the
//! cascade half of D. H. Klatt, "Software for a cascade/parallel formant synthesizer" (JASA 67, 1980). It
//! says nothing, but has what matters to a tone detector: harmonics, moving formants, hiss, and silence.

use std::f32::consts::PI;

/// Samples per second of everything in the demo.
pub const SAMPLE_RATE_HZ: u32 = 8_000;
/// Samples in one packet of 20 ms.
pub(super) const FRAME_SAMPLES: usize = 160;
/// Root mean square of a phrase's voiced parts: about −19 dBm0, an ordinary talker.
const PHRASE_RMS: f32 = 1_800.0;

/// An endless talker. The same seed and pitch say the same thing.
#[derive(Debug)]
pub struct Voice {
    chance: Chance,
    pitch_hz: f32,
    phrase: Vec<i16>,
    said: usize,
}

impl Voice {
    /// A talker with a middle pitch of `pitch_hz` (a deep voice is 110, a high one 220).
    #[must_use]
    pub fn new(seed: u64, pitch_hz: f32) -> Self {
        Self { chance: Chance::new(seed), pitch_hz, phrase: Vec::new(), said: 0 }
    }

    /// The next 20 ms.
    pub fn frame(&mut self) -> [i16; FRAME_SAMPLES] {
        let mut frame = [0; FRAME_SAMPLES];
        for sample in &mut frame {
            if self.said == self.phrase.len() {
                self.phrase = phrase(&mut self.chance, self.pitch_hz);
                self.said = 0;
            }
            *sample = self.phrase.get(self.said).copied().unwrap_or(0);
            self.said += 1;
        }
        frame
    }
}

/// Formants of a vowel in Hz.
type Formants = [f32; 4];

/// Eight vowels of English, after Peterson and Barney (1952), with a fixed fourth formant. Two of theirs are left out,
/// those at 730 and 1,090 Hz and at 640 and 1,190 Hz: a machine holds them so steadily that they are all but the tones of
/// a key, and a guard silences half of them. People do not.
const VOWELS: [Formants; 8] = [
    [270.0, 2290.0, 3010.0, 3500.0],
    [390.0, 1990.0, 2550.0, 3500.0],
    [530.0, 1840.0, 2480.0, 3500.0],
    [660.0, 1720.0, 2410.0, 3500.0],
    [570.0, 840.0, 2410.0, 3500.0],
    [440.0, 1020.0, 2240.0, 3500.0],
    [300.0, 870.0, 2240.0, 3500.0],
    [490.0, 1350.0, 1690.0, 3500.0],
];
/// Bandwidths that go with the formants, in Hz.
const BANDWIDTHS: Formants = [90.0, 120.0, 170.0, 250.0];

fn phrase(chance: &mut Chance, pitch_hz: f32) -> Vec<i16> {
    let syllables = 4 + chance.below(6);
    let mut mouth = Mouth::new();
    let mut audio = Vec::new();
    let mut vowel = VOWELS[chance.below(VOWELS.len())];
    for syllable in 0..syllables {
        if chance.unit() < 0.6 {
            consonant(chance, &mut audio);
        }
        let next = VOWELS[chance.below(VOWELS.len())];
        // Pitch falls over the phrase, as in a statement.
        let fall = 1.1 - 0.2 * syllable as f32 / syllables as f32;
        let start_hz = pitch_hz * fall * (0.95 + 0.1 * chance.unit());
        mouth.syllable(chance, &mut audio, (vowel, next), start_hz);
        vowel = next;
        if chance.unit() < 0.25 {
            audio.resize(audio.len() + milliseconds(30 + chance.below(40)), 0.0);
        }
    }
    let voiced = level(&audio);
    let gain = if voiced > 0.0 { PHRASE_RMS / voiced } else { 0.0 };
    let mut phrase: Vec<i16> =
        audio.iter().map(|sample| (sample * gain).clamp(-30_000.0, 30_000.0) as i16).collect();
    phrase.resize(phrase.len() + milliseconds(200 + chance.below(350)), 0);
    phrase
}

fn consonant(chance: &mut Chance, audio: &mut Vec<f32>) {
    let length = milliseconds(35 + chance.below(50));
    let loudness = 0.02 + 0.06 * chance.unit();
    let mut before = 0.0;
    for n in 0..length {
        let noise = chance.unit() - 0.5;
        let fade = (PI * n as f32 / length as f32).sin();
        // The difference of white noise is its upper half: an "s" or an "f".
        audio.push((noise - before) * fade * loudness);
        before = noise;
    }
}

/// The resonators, and the phase of the pulse train, carried from syllable to syllable.
struct Mouth {
    resonators: [Resonator; 4],
    phase: f32,
    glottis: f32,
}

impl Mouth {
    fn new() -> Self {
        Self { resonators: [Resonator::default(); 4], phase: 0.0, glottis: 0.0 }
    }

    fn syllable(
        &mut self,
        chance: &mut Chance,
        audio: &mut Vec<f32>,
        (from, to): (Formants, Formants),
        hz: f32,
    ) {
        let length = milliseconds(110 + chance.below(130));
        let edge = milliseconds(25) as f32;
        for n in 0..length {
            let along = n as f32 / length as f32;
            for (i, resonator) in self.resonators.iter_mut().enumerate() {
                resonator.tune(from[i] + (to[i] - from[i]) * along, BANDWIDTHS[i]);
            }
            // A little flutter: a steady harmonic would be a tone, and speech has none.
            let flutter = 1.0 + 0.02 * (chance.unit() - 0.5) + 0.03 * (2.0 * PI * 5.0 * along).sin();
            self.phase += hz * (1.0 - 0.08 * along) * flutter / SAMPLE_RATE_HZ as f32;
            let pulse = if self.phase >= 1.0 { 1.0 } else { 0.0 };
            self.phase = self.phase.fract();
            let breath = 0.03 * (chance.unit() - 0.5);
            self.glottis += 0.6 * (pulse + breath - self.glottis);
            let voiced = self.resonators.iter_mut().fold(self.glottis, |x, r| r.pass(x));
            let fade = (n as f32 / edge).min((length - n) as f32 / edge).min(1.0);
            audio.push(voiced * fade);
        }
    }
}

/// Klatt's digital resonator: unity gain at 0 Hz, a peak at its frequency.
#[derive(Clone, Copy, Default)]
struct Resonator {
    a: f32,
    b: f32,
    c: f32,
    past: [f32; 2],
}

impl Resonator {
    fn tune(&mut self, centre_hz: f32, bandwidth_hz: f32) {
        let rate = SAMPLE_RATE_HZ as f32;
        let decay = (-PI * bandwidth_hz / rate).exp();
        self.c = -decay * decay;
        self.b = 2.0 * decay * (2.0 * PI * centre_hz / rate).cos();
        self.a = 1.0 - self.b - self.c;
    }

    fn pass(&mut self, x: f32) -> f32 {
        let y = self.a * x + self.b * self.past[0] + self.c * self.past[1];
        self.past = [y, self.past[0]];
        y
    }
}

/// A xorshift generator: the demo must say the same thing every time, so entropy has no place here.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// From 0 up to, not including, 1.
    fn unit(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 24) as f32
    }

    fn below(&mut self, limit: usize) -> usize {
        ((self.unit() * limit as f32) as usize).min(limit.saturating_sub(1))
    }
}

fn milliseconds(count: usize) -> usize {
    count * SAMPLE_RATE_HZ as usize / 1000
}

fn level(audio: &[f32]) -> f32 {
    if audio.is_empty() {
        return 0.0;
    }
    (audio.iter().map(|sample| sample * sample).sum::<f32>() / audio.len() as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::ear;

    fn seconds(voice: &mut Voice, count: usize) -> Vec<i16> {
        (0..count * 50).flat_map(|_| voice.frame()).collect()
    }

    #[test]
    fn the_same_seed_says_the_same_thing() {
        let first = seconds(&mut Voice::new(7, 120.0), 5);
        assert_eq!(first, seconds(&mut Voice::new(7, 120.0), 5));
        assert_ne!(first, seconds(&mut Voice::new(8, 120.0), 5));
    }

    #[test]
    fn speech_is_as_loud_as_speech_and_has_pauses() {
        let audio = seconds(&mut Voice::new(1, 120.0), 20);
        let level = ear::level_dbm0(&audio);
        assert!((-26.0..-14.0).contains(&level), "{level}");
        let silent = audio.chunks(FRAME_SAMPLES).filter(|frame| frame.iter().all(|s| *s == 0)).count();
        assert!((50..500).contains(&silent), "{silent} silent frames of 1000");
    }
}
