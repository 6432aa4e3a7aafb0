//! WAV files (RIFF): G.711 in both laws, and 16-bit PCM from 8 kHz up.

use hushpad_telephony::g711::Law;

use super::{Stream, Unreadable};

/// Channels of a recording at most: left and right, and what recorders add to it.
const MAX_CHANNELS: u16 = 8;
/// Sample rates that are taken: below, telephone tones do not fit; above is no recording of a call.
const RATES_HZ: std::ops::RangeInclusive<u32> = 8000..=192_000;
/// The rate that tones are heard at.
const EAR_HZ: u32 = 8000;
/// What is above is cut off before the rate is lowered: well over the highest tone (1,633 Hz).
const CUTOFF_HZ: f64 = 3400.0;
/// Half the length of the low-pass, in samples at [`EAR_HZ`].
const TAPS: f64 = 12.0;

const PCM: u16 = 1;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const EXTENSIBLE: u16 = 0xFFFE;

#[derive(Clone, Copy)]
enum Encoding {
    G711(Law),
    Pcm16,
}

#[derive(Clone, Copy)]
struct Format {
    encoding: Encoding,
    channels: usize,
    rate_hz: u32,
}

pub(super) fn is_wav(bytes: &[u8]) -> bool {
    bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WAVE")
}

/// One stream per channel.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Stream>, Unreadable> {
    let mut rest = bytes.get(12..).unwrap_or_default();
    let mut format = None;
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, l0, l1, l2, l3] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        // Recorders that were stopped leave a data length of 0 or of the largest number.
        let body = &after[..length.min(after.len())];
        match &[a, b, c, d] {
            b"fmt " => format = Some(read_format(body)?),
            b"data" => {
                let format = format.ok_or(Unreadable::Encoding("no format before its data".into()))?;
                let body = if length == 0 { after } else { body };
                return Ok(channels(format, body));
            }
            _ => {}
        }
        rest = after.get(length.saturating_add(length % 2)..).unwrap_or_default();
    }
    Err(Unreadable::Cut("a WAV header"))
}

fn read_format(body: &[u8]) -> Result<Format, Unreadable> {
    let word = |at: usize| Some(u16::from_le_bytes([*body.get(at)?, *body.get(at + 1)?]));
    let read = || {
        let tag = word(0)?;
        let tag = if tag == EXTENSIBLE { word(24)? } else { tag };
        let rate_hz = u32::from(word(4)?) | u32::from(word(6)?) << 16;
        Some((tag, word(2)?, rate_hz, word(14)?))
    };
    let (tag, channels, rate_hz, bits) = read().ok_or(Unreadable::Cut("a WAV header"))?;
    let encoding = match (tag, bits) {
        (PCM, 16) => Encoding::Pcm16,
        (A_LAW, 8) => Encoding::G711(Law::A),
        (MU_LAW, 8) => Encoding::G711(Law::Mu),
        _ => return Err(Unreadable::Encoding(format!("encoding {tag}, {bits} bits"))),
    };
    if !(1..=MAX_CHANNELS).contains(&channels) || !RATES_HZ.contains(&rate_hz) {
        return Err(Unreadable::Encoding(format!("{channels} channels at {rate_hz} Hz")));
    }
    Ok(Format { encoding, channels: usize::from(channels), rate_hz })
}

fn channels(format: Format, data: &[u8]) -> Vec<Stream> {
    let name = |index: usize| match (format.channels, index) {
        (1, _) => "mono".to_owned(),
        (2, 0) => "left".to_owned(),
        (2, _) => "right".to_owned(),
        (_, index) => format!("channel {}", index + 1),
    };
    (0..format.channels)
        .map(|index| {
            let samples: Vec<i16> = match format.encoding {
                Encoding::G711(law) => {
                    data.iter().skip(index).step_by(format.channels).map(|byte| law.decode(*byte)).collect()
                }
                Encoding::Pcm16 => {
                    let all = data.as_chunks::<2>().0.iter().skip(index).step_by(format.channels);
                    all.map(|two| i16::from_le_bytes(*two)).collect()
                }
            };
            Stream { name: name(index), samples: to_8_khz(samples, format.rate_hz), events: Vec::new() }
        })
        .collect()
}

/// Lowers the rate: each sample is the sum of those around its time, by a windowed sinc.
fn to_8_khz(samples: Vec<i16>, rate_hz: u32) -> Vec<i16> {
    if rate_hz == EAR_HZ {
        return samples;
    }
    let step = f64::from(rate_hz) / f64::from(EAR_HZ);
    let (reach, cutoff) = (TAPS * step, 2.0 * CUTOFF_HZ / f64::from(rate_hz));
    let count = (samples.len() as f64 / step) as usize;
    let at = |position: f64| {
        let (from, to) = ((position - reach).ceil().max(0.0) as usize, (position + reach).floor() as usize);
        let (mut sum, mut gain) = (0.0, 0.0);
        for (index, sample) in samples.iter().enumerate().take(to + 1).skip(from) {
            let away = index as f64 - position;
            let window = 0.5 + 0.5 * (std::f64::consts::PI * away / reach).cos();
            let weight = sinc(cutoff * away) * window;
            sum += weight * f64::from(*sample);
            gain += weight;
        }
        (sum / gain) as i16
    };
    (0..count).map(|n| at(n as f64 * step)).collect()
}

fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle }
}
