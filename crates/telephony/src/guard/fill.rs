//! What stands in for hidden audio.

use std::f32::consts::TAU;

use crate::g711::Law;

/// What the agent hears instead of a tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fill {
    /// Digital silence.
    #[default]
    Silence,
    /// Faint noise (about −66 dBm0), so that the line does not sound dead.
    ComfortNoise,
    /// A low flat tone (400 Hz, −30 dBm0): the same for every key, so it says nothing but "a key".
    Beep,
}

/// Peak of the noise: ±14 uniform is −66 dBm0.
const NOISE_PEAK: i16 = 14;
/// Samples of one period of the beep: 400 Hz at 8 kHz.
const BEEP_PERIOD: usize = 20;
/// Amplitude of the beep: 0 dBm0 peaks at 22,827, and −30 dB of it is 722.
const BEEP_AMPLITUDE: f32 = 722.0;

/// Makes fill samples. The noise is a fixed sequence: it carries nothing of the call.
pub(super) struct Filler {
    fill: Fill,
    beep: [i16; BEEP_PERIOD],
    noise: u32,
}

impl Filler {
    pub(super) fn new(fill: Fill) -> Self {
        let beep = std::array::from_fn(|n| {
            ((n as f32 * TAU / BEEP_PERIOD as f32).sin() * BEEP_AMPLITUDE).round() as i16
        });
        Self { fill, beep, noise: 0x2545_F491 }
    }

    /// The fill at a position of the stream, as a linear sample.
    pub(super) fn sample(&mut self, position: u64) -> i16 {
        match self.fill {
            Fill::Silence => 0,
            Fill::ComfortNoise => {
                self.noise ^= self.noise << 13;
                self.noise ^= self.noise >> 17;
                self.noise ^= self.noise << 5;
                (self.noise % (2 * NOISE_PEAK as u32 + 1)) as i16 - NOISE_PEAK
            }
            Fill::Beep => self.beep[(position % BEEP_PERIOD as u64) as usize],
        }
    }

    /// The fill as a byte of `law`.
    pub(super) fn byte(&mut self, position: u64, law: Law) -> u8 {
        match self.fill {
            Fill::Silence => law.silence(),
            Fill::ComfortNoise | Fill::Beep => law.encode(self.sample(position)),
        }
    }
}
