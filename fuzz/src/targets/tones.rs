//! Tones as bytes, and how much of one is in other bytes.

use std::collections::HashSet;
use std::f64::consts::TAU;
use std::sync::LazyLock;

use hushpad_telephony::g711::Law;

/// The keys that sound in here, with their frequencies in Hz.
pub(crate) const KEYS: [(u8, f64, f64); 4] =
    [(b'1', 697.0, 1209.0), (b'5', 770.0, 1336.0), (b'9', 852.0, 1477.0), (b'0', 941.0, 1336.0)];
const LAWS: [Law; 2] = [Law::Mu, Law::A];
/// All of these tones repeat after a second.
const PERIOD: usize = 8000;
/// Two tones of −10 dBm0 each.
const AMPLITUDE: f64 = 7219.0;
/// Samples by which a stretch of tone is known: 2 ms are like nothing else here.
const WINDOW: usize = 16;

type Window = [u8; WINDOW];

static TONES: LazyLock<[[Vec<u8>; 2]; 4]> = LazyLock::new(|| {
    KEYS.map(|(_, low, high)| {
        let sample = |n: usize| {
            let at = |hz: f64| (TAU * hz * n as f64 / 8000.0).sin();
            ((at(low) + at(high)) * AMPLITUDE) as i16
        };
        LAWS.map(|law| (0..PERIOD).map(|n| law.encode(sample(n))).collect())
    })
});

/// Every stretch of every tone, as it comes out after the laws it may have passed through.
static WINDOWS: LazyLock<HashSet<Window>> = LazyLock::new(|| {
    let mut windows = HashSet::new();
    for (origin, tone) in TONES.iter().flat_map(|laws| LAWS.into_iter().zip(laws)) {
        for (inner, outer) in LAWS.into_iter().flat_map(|inner| LAWS.map(|outer| (inner, outer))) {
            let through = |byte: &u8| outer.encode(inner.decode(inner.encode(origin.decode(*byte))));
            let bytes: Vec<u8> = tone.iter().chain(&tone[..WINDOW]).map(through).collect();
            windows.extend(bytes.windows(WINDOW).filter_map(|window| Window::try_from(window).ok()));
        }
    }
    windows
});

/// The tone of a key at a place in time, in samples.
pub(crate) fn tone(key: usize, law: Law, at: u32, samples: usize) -> impl Iterator<Item = u8> {
    let bytes = &TONES[key % KEYS.len()][usize::from(law == Law::A)];
    bytes.iter().copied().cycle().skip(at as usize % PERIOD).take(samples)
}

/// The longest stretch of tone in these bytes, in samples.
pub(crate) fn longest_tone(bytes: &[u8]) -> usize {
    let (mut longest, mut length) = (0, 0);
    for window in bytes.windows(WINDOW) {
        length = if WINDOWS.contains(window) { length + 1 } else { 0 };
        longest = longest.max(length);
    }
    if longest == 0 { 0 } else { longest + WINDOW - 1 }
}
