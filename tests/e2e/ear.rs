//! An ear that is not ours: G.711 read by the book (ITU-T G.711), and multimon-ng to name the keys in it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::output;
use crate::wire::Rtp;

/// Samples per second of everything here.
pub(crate) const RATE_HZ: usize = 8000;

/// Mono audio at 8 kHz.
#[derive(Clone, Default)]
pub(crate) struct Sound {
    pub(crate) samples: Vec<i16>,
}

impl Sound {
    /// The audio of a stream, put where its timestamps say. More than one source: one after the other.
    pub(crate) fn from_rtp<'a>(packets: impl Iterator<Item = Rtp<'a>>) -> Self {
        let (mut sound, mut base) = (Self::default(), None);
        for rtp in packets.filter(|rtp| is_g711(rtp.payload_type)) {
            let (ssrc, start, offset) = *base.get_or_insert((rtp.ssrc, rtp.timestamp, sound.samples.len()));
            let mut at = offset + rtp.timestamp.wrapping_sub(start) as usize;
            // Another source, or a jump of more than ten seconds: it goes on from here.
            if ssrc != rtp.ssrc || at > sound.samples.len() + 10 * RATE_HZ {
                at = sound.samples.len();
                base = Some((rtp.ssrc, rtp.timestamp, at));
            }
            let end = at + rtp.payload.len();
            if sound.samples.len() < end {
                sound.samples.resize(end, 0);
            }
            sound.samples[at..end].copy_from_slice(&Self::from_payload(&rtp).samples);
        }
        sound
    }

    /// The audio of one packet.
    pub(crate) fn from_payload(rtp: &Rtp<'_>) -> Self {
        let samples = rtp.payload.iter().map(|byte| decode(rtp.payload_type, *byte)).collect();
        if is_g711(rtp.payload_type) { Self { samples } } else { Self::default() }
    }

    /// A WAV file, whatever its rate.
    pub(crate) fn from_wav(file: &Path) -> Self {
        let raw = file.with_extension("8k.raw");
        output(
            Command::new("sox")
                .arg(file)
                .args(["-r", "8000", "-c", "1", "-b", "16", "-e", "signed"])
                .arg(&raw),
        );
        Self::from_raw(&fs::read(raw).unwrap())
    }

    /// 16-bit little-endian samples.
    pub(crate) fn from_raw(bytes: &[u8]) -> Self {
        Self { samples: bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect() }
    }

    /// 16-bit little-endian samples.
    pub(crate) fn to_raw(&self) -> Vec<u8> {
        self.samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.samples.len() as f64 / RATE_HZ as f64
    }

    /// Mean power against a full-scale square wave; −120 for silence.
    pub(crate) fn level_dbfs(&self) -> f64 {
        let power: f64 = self.samples.iter().map(|s| (f64::from(*s) / 32_768.0).powi(2)).sum();
        (10.0 * (power / self.samples.len().max(1) as f64).log10()).max(-120.0)
    }

    /// The keys that multimon-ng hears.
    pub(crate) fn keys(&self, workplace: &Path) -> String {
        let (narrow, wide) = (workplace.join("heard.raw"), workplace.join("heard-22050.raw"));
        fs::write(&narrow, self.to_raw()).unwrap();
        let format = ["-t", "raw", "-b", "16", "-e", "signed", "-c", "1"];
        output(
            Command::new("sox")
                .args(format)
                .args(["-r", "8000"])
                .arg(&narrow)
                .args(format)
                .args(["-r", "22050"])
                .arg(&wide),
        );
        let said = output(Command::new("multimon-ng").args(["-q", "-t", "raw", "-a", "DTMF"]).arg(&wide));
        said.lines().filter_map(|line| line.strip_prefix("DTMF: ")).flat_map(str::chars).collect()
    }
}

/// Static payload types of G.711 µ-law and A-law (RFC 3551, table 4).
pub(crate) fn is_g711(payload_type: u8) -> bool {
    matches!(payload_type, 0 | 8)
}

/// The sample that a byte of this payload type stands for: 8 is A-law, anything else µ-law.
pub(crate) fn decode(payload_type: u8, byte: u8) -> i16 {
    if payload_type == 8 { a_law(byte) } else { mu_law(byte) }
}

fn mu_law(byte: u8) -> i16 {
    let (sign, exponent, mantissa) = (!byte & 0x80, (!byte >> 4) & 7, i32::from(!byte & 0x0f));
    let magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84;
    i16::try_from(if sign == 0 { magnitude } else { -magnitude }).unwrap_or_default()
}

fn a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = ((byte >> 4) & 7, i32::from(byte & 0x0f));
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    i16::try_from(if byte & 0x80 == 0 { -magnitude } else { magnitude }).unwrap_or_default()
}
