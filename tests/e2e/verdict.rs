//! What an agent could hear of the keys: two decoders that others wrote (multimon-ng, spandsp), the energy in the
//! eight bands of ITU-T Q.23, and whatever else came besides audio.

use std::collections::BTreeSet;
use std::f64::consts::{PI, TAU};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ear::{RATE_HZ, Sound, is_g711};
use crate::process::output;

/// The eight frequencies, in Hz.
const BANDS_HZ: [f64; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];
/// Amplitude of a sine of 0 dBm0 in 16-bit samples.
const FULL: f64 = 22_827.0;
/// What may be left of a tone while a key is down, in dBm0.
const RESIDUE_DBM0: f64 = -55.0;
/// 20 ms, by steps of 10 ms.
const WINDOW: usize = RATE_HZ / 50;

/// All that reached an agent.
#[derive(Default)]
pub(crate) struct Heard {
    /// From the first packet to the last.
    pub(crate) sound: Sound,
    /// Where in it keys were pressed while nobody talked, in samples: then the eight bands must be empty.
    pub(crate) quiet: Range<usize>,
    /// RTP payload types.
    pub(crate) payload_types: BTreeSet<u8>,
    /// Methods of the SIP requests.
    pub(crate) requests: Vec<String>,
}

/// spandsp's decoder, built from `../shared/tools/dtmf`.
pub(crate) struct Ears {
    spandsp: PathBuf,
    workplace: PathBuf,
}

impl Ears {
    pub(crate) fn new(workplace: &Path) -> Self {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/tools/dtmf/spandsp_drv.c");
        let spandsp = workplace.join("spandsp_drv");
        output(Command::new("cc").arg("-O2").arg("-o").arg(&spandsp).arg(source).args(["-lspandsp", "-lm"]));
        Self { spandsp, workplace: workplace.to_owned() }
    }

    /// What each of them could have told a key by; nothing for a call that hid them all.
    pub(crate) fn leaks<'a>(&self, calls: &[(&'a str, Heard)]) -> Vec<(&'a str, String)> {
        let mut found = Vec::new();
        for (name, heard) in calls {
            let types: Vec<_> = heard.payload_types.iter().filter(|number| !is_g711(**number)).collect();
            if !types.is_empty() {
                found.push((*name, format!("payload types {types:?}")));
            }
            if heard.requests.iter().any(|method| method == "INFO") {
                found.push((*name, "an INFO".to_owned()));
            }
            let loudest = loudest_band_dbm0(&heard.sound.samples[heard.quiet.clone()]);
            if loudest > RESIDUE_DBM0 {
                found.push((*name, format!("{loudest:.0} dBm0 in a band of the keys")));
            }
        }
        // The decoders are asked once about all calls, and about each one only where there is something.
        let all = joined(calls.iter().map(|(_, heard)| &heard.sound));
        if self.keys(&all) != [const { String::new() }; 2] {
            for (name, heard) in calls {
                let [multimon, spandsp] = self.keys(&heard.sound);
                if !multimon.is_empty() || !spandsp.is_empty() {
                    found.push((*name, format!("multimon-ng reads {multimon:?}, spandsp {spandsp:?}")));
                }
            }
        }
        found
    }

    /// The keys that multimon-ng and spandsp read.
    pub(crate) fn keys(&self, sound: &Sound) -> [String; 2] {
        let raw = self.workplace.join("spandsp.raw");
        fs::write(&raw, sound.to_raw()).unwrap();
        let said = output(Command::new(&self.spandsp).arg(&raw));
        let begun = said.lines().filter_map(|line| line.strip_prefix("on ")?.chars().next());
        [sound.keys(&self.workplace), begun.collect()]
    }
}

/// One after the other, a second apart.
pub(crate) fn joined<'a>(sounds: impl Iterator<Item = &'a Sound>) -> Sound {
    let pause = std::iter::repeat_n(0, RATE_HZ);
    let samples = sounds.flat_map(|sound| sound.samples.iter().copied().chain(pause.clone())).collect();
    Sound { samples }
}

/// The strongest of the eight in any 20 ms, in dBm0; −120 for silence.
fn loudest_band_dbm0(samples: &[i16]) -> f64 {
    let shape: Vec<f64> =
        (0..WINDOW).map(|n| 0.5 - 0.5 * (TAU * (n as f64 + 0.5) / WINDOW as f64).cos()).collect();
    let weight: f64 = shape.iter().sum();
    let amplitude = |window: &[i16], hz: f64| {
        let (mut cosine, mut sine) = (0.0, 0.0);
        for (n, (sample, shape)) in window.iter().zip(&shape).enumerate() {
            let angle = 2.0 * PI * hz * n as f64 / RATE_HZ as f64;
            cosine += f64::from(*sample) * shape * angle.cos();
            sine += f64::from(*sample) * shape * angle.sin();
        }
        2.0 * cosine.hypot(sine) / weight
    };
    let windows = (0..samples.len().saturating_sub(WINDOW)).step_by(WINDOW / 2);
    let windows = windows.map(|at| &samples[at..at + WINDOW]);
    let amplitudes = windows.flat_map(|window| BANDS_HZ.map(|hz| amplitude(window, hz)));
    (20.0 * (amplitudes.fold(0.0, f64::max) / FULL).log10()).max(-120.0)
}

/// The verdict would see what it is there for: a sliver of 5 ms, and a tone that is nearly nothing.
#[test]
fn slivers_and_faint_tones_are_leaks() {
    let workplace = tempfile::tempdir().unwrap();
    let ears = Ears::new(workplace.path());
    let line = |at: Range<usize>, dbm0: f64| {
        let level = FULL * 10_f64.powf(dbm0 / 20.0);
        let tone = |n: usize| {
            let wave = |hz: f64| (TAU * hz * n as f64 / RATE_HZ as f64).sin();
            if at.contains(&n) { ((wave(852.0) + wave(1336.0)) * level) as i16 } else { 0 }
        };
        let samples: Vec<i16> = (0..RATE_HZ).map(tone).collect();
        let quiet = 0..samples.len();
        ("a line", Heard { sound: Sound { samples }, quiet, ..Heard::default() })
    };
    assert_eq!(ears.leaks(&[line(0..0, 0.0)]), []);
    for (leaked, what) in [(3990..4030, "5 ms at −10 dBm0"), (801..841, "the same elsewhere")] {
        assert_eq!(ears.leaks(&[line(leaked, -10.0)]).len(), 1, "{what}");
    }
    assert!(!ears.leaks(&[line(2000..2800, -45.0)]).is_empty(), "100 ms at −45 dBm0");
    // Under speech only the decoders judge: both of them hear a whole tone.
    let (name, mut heard) = line(2000..2800, -10.0);
    heard.quiet = 0..0;
    assert_eq!(ears.leaks(&[(name, heard)]), [(name, "multimon-ng reads \"8\", spandsp \"8\"".to_owned())]);
    let mut other = Heard { sound: Sound { samples: vec![0; 400] }, ..Heard::default() };
    other.payload_types.insert(101);
    other.requests.push("INFO".to_owned());
    assert_eq!(ears.leaks(&[("a phone", other)]).len(), 2);
}
