//! What telephones say: speech by espeak-ng, and keys as tones (ITU-T Q.23).

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::ear::{RATE_HZ, Sound};
use crate::process::output;

/// Longer than any story's call, so that nobody falls silent.
const SPEECH_S: usize = 120;

/// Somebody who talks without a pause that a listener would notice.
pub(crate) fn speech(voice: &str, text: &str, workplace: &Path) -> Sound {
    let wav = workplace.join(format!("{voice}.wav"));
    output(Command::new("espeak-ng").args(["-v", voice, "-s", "150", "-w"]).arg(&wav).arg(text));
    let spoken = Sound::from_wav(&wav);
    let is_loud = |frame: &[i16]| Sound { samples: frame.to_vec() }.level_dbfs() > -40.0;
    let (mut samples, mut quiet) = (Vec::new(), 0);
    for frame in spoken.samples.chunks(RATE_HZ / 50) {
        quiet = if is_loud(frame) { 0 } else { quiet + 1 };
        // Pauses between words stay, up to 60 ms.
        if quiet <= 3 {
            samples.extend_from_slice(frame);
        }
    }
    let samples = samples.iter().copied().cycle().take(SPEECH_S * RATE_HZ).collect();
    Sound { samples }
}

/// Keys pressed on a phone without signalling, 80 ms each with 80 ms between them; then it talks on.
pub(crate) fn tones_then(keys: &str, then: &Sound) -> Sound {
    const TONE: usize = RATE_HZ * 80 / 1000;
    let silence = |ms: usize| std::iter::repeat_n(0_i16, RATE_HZ * ms / 1000);
    let mut samples: Vec<i16> = silence(100).collect();
    for key in keys.chars() {
        let (low, high) = frequencies_hz(key);
        samples.extend((0..TONE).map(|i| {
            let at = |hz: f64| (TAU * hz * i as f64 / RATE_HZ as f64).sin();
            ((at(low) + at(high)) * 6000.0) as i16
        }));
        samples.extend(silence(80));
    }
    samples.extend(silence(300));
    samples.extend_from_slice(&then.samples);
    Sound { samples }
}

/// A WAV file of 16-bit samples.
pub(crate) fn write_wav(sound: &Sound, file: &Path) {
    let data = sound.to_raw();
    let rate = u32::try_from(RATE_HZ).unwrap();
    let size = u32::try_from(data.len()).unwrap();
    let mut wav = Vec::with_capacity(data.len() + 44);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(size + 36).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend_from_slice(&rate.to_le_bytes());
    wav.extend_from_slice(&(rate * 2).to_le_bytes());
    wav.extend_from_slice(b"\x02\0\x10\0data");
    wav.extend_from_slice(&size.to_le_bytes());
    wav.extend_from_slice(&data);
    fs::write(file, wav).unwrap();
}

/// The two frequencies of a key, in Hz.
pub(crate) fn frequencies_hz(key: char) -> (f64, f64) {
    let place = "123A456B789C*0#D".find(key).expect("a key of the keypad");
    ([697.0, 770.0, 852.0, 941.0][place / 4], [1209.0, 1336.0, 1477.0, 1633.0][place % 4])
}
