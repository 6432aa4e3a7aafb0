//! `hushpad audio-check`: which tones could somebody have heard who listened to this recording or capture?
//!
//! For the one who must prove that an agent heard no key: WAV files of a call recorder, or packet captures
//! taken on the agent's side. It tells that a key was audible, where, how loud and for how long. Which key
//! it was is told only when asked for: the report shall be fit to be passed on.

mod capture;
mod hear;
mod rtp;
#[cfg(test)]
mod tests;
mod wav;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::cli::AudioCheckArgs;
use hear::{Audible, Carrier};

/// Largest file that is read (1 GiB): it is held in memory. A day of G.711 is 660 MiB.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Tones told one by one per stream; the rest is counted. A screen of a report, not a log.
const MAX_TOLD: usize = 100;

/// Nothing was heard in any file.
const NONE_HEARD: u8 = 0;
/// A tone was heard in some file.
const HEARD: u8 = 1;
/// Nothing was heard, but not everything could be read.
const UNREADABLE: u8 = 2;

/// Checks every file and prints what was audible. The exit code is 1 if a key was audible anywhere, else 2
/// if anything could not be read, else 0.
///
/// # Errors
/// When the report cannot be written.
pub fn run(arguments: &AudioCheckArgs, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    check(arguments, out).map(ExitCode::from)
}

fn check(arguments: &AudioCheckArgs, out: &mut dyn Write) -> anyhow::Result<u8> {
    let (mut heard, mut unreadable) = (0_usize, false);
    for path in &arguments.files {
        writeln!(out, "{}", path.display())?;
        match read(path) {
            Ok(recording) => {
                for note in &recording.notes {
                    writeln!(out, "  not checked: {note}")?;
                    unreadable = true;
                }
                for stream in &recording.streams {
                    let audible = hear::all(stream);
                    heard += audible.len();
                    tell(stream, &audible, arguments.show_keys, out)?;
                }
            }
            Err(why) => {
                writeln!(out, "  cannot be read: {why}")?;
                unreadable = true;
            }
        }
    }
    writeln!(
        out,
        "{}",
        match heard {
            0 if unreadable => "No key was audible in what could be read.".to_owned(),
            0 => "No key was audible.".to_owned(),
            1 => "1 key was audible.".to_owned(),
            many => format!("{many} keys were audible."),
        }
    )?;
    Ok(if heard > 0 {
        HEARD
    } else if unreadable {
        UNREADABLE
    } else {
        NONE_HEARD
    })
}

/// What a file holds.
struct Recording {
    streams: Vec<Stream>,
    /// What is in the file and could not be checked.
    notes: Vec<String>,
}

/// One direction of a call, or one channel of a recording.
struct Stream {
    name: String,
    /// Linear samples at 8 kHz.
    samples: Vec<i16>,
    /// Telephone-events, in the stream's own time.
    events: Vec<Audible>,
}

/// Why a file cannot be read. It is the user's to mend.
#[derive(Debug, thiserror::Error, PartialEq)]
enum Unreadable {
    #[error("{0}")]
    File(String),
    #[error("neither WAV nor pcap nor pcapng")]
    Unknown,
    #[error("larger than {} MiB", MAX_FILE_BYTES >> 20)]
    TooLarge,
    #[error("the file ends in the middle of {0}")]
    Cut(&'static str),
    #[error("WAV with {0}: this reads G.711 and 16-bit PCM from 8 kHz")]
    Encoding(String),
    #[error("no RTP with G.711 or telephone-events in it")]
    NoAudio,
}

fn read(path: &Path) -> Result<Recording, Unreadable> {
    let failed = |error: std::io::Error| Unreadable::File(error.to_string());
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Unreadable::TooLarge);
    }
    if wav::is_wav(&bytes) {
        return wav::read(&bytes).map(|streams| Recording { streams, notes: Vec::new() });
    }
    let mut streams = rtp::Streams::default();
    capture::read(&bytes, &mut |packet| streams.take(packet))?;
    streams.recording()
}

fn tell(stream: &Stream, audible: &[Audible], show_keys: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let seconds = stream.samples.len() / 8000;
    writeln!(out, "  {} ({}:{:02})", stream.name, seconds / 60, seconds % 60)?;
    if audible.is_empty() {
        writeln!(out, "    nothing audible")?;
    }
    for one in audible.iter().take(MAX_TOLD) {
        writeln!(out, "    {}", line(one, show_keys))?;
    }
    if audible.len() > MAX_TOLD {
        writeln!(out, "    and {} more", audible.len() - MAX_TOLD)?;
    }
    Ok(())
}

fn line(one: &Audible, show_keys: bool) -> String {
    let (at_ms, length_ms) = (one.from / 8, (one.to - one.from) / 8);
    let mut text = format!("{}:{:02}.{:03}", at_ms / 60_000, at_ms / 1000 % 60, at_ms % 1000);
    let _ = match one.carrier {
        Carrier::Tone { dbm0 } => write!(text, "  tone, {length_ms} ms, {dbm0:.0} dBm0"),
        Carrier::Sliver { dbm0 } => write!(text, "  piece of a tone, {length_ms} ms, {dbm0:.0} dBm0"),
        Carrier::Event => write!(text, "  telephone-event, {length_ms} ms"),
    };
    if show_keys {
        let _ = write!(text, "  key {}", char::from(one.key.ascii()));
    }
    text
}
