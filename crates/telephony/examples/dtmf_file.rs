//! Feeds a file of 16-bit little-endian samples (mono, 8 kHz) to the detector and prints what it hears:
//! `on|off KEY SAMPLES`, with the number of samples consumed when it said so.
//!
//! `dtmf_file [-c CHUNK] FILE`: CHUNK samples at a time (8 when not given).
//! `dtmf_file -b ROUNDS FILE`: only measures the time of so many rounds over the file, in 20 ms packets.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]

use hushpad_telephony::detector::{Detector, Phase};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut chunk, mut rounds, mut path) = (8_usize, 0_usize, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-c" => chunk = arguments.next().ok_or("-c needs a number")?.parse::<usize>()?.max(1),
            "-b" => rounds = arguments.next().ok_or("-b needs a number")?.parse()?,
            _ => path = Some(argument),
        }
    }
    let bytes = std::fs::read(path.ok_or("which file?")?)?;
    let samples: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
    if rounds > 0 {
        measure(&samples, rounds);
        return Ok(());
    }
    let mut detector = Detector::new();
    let mut consumed = 0;
    for piece in samples.chunks(chunk) {
        consumed += piece.len();
        detector.push(piece, &mut |heard| {
            let word = if heard.phase == Phase::Begin { "on" } else { "off" };
            println!("{word} {} {consumed}", char::from(heard.key.ascii()));
        });
    }
    Ok(())
}

fn measure(samples: &[i16], rounds: usize) {
    let (mut detector, mut edges) = (Detector::new(), 0_u64);
    let start_ns = cpu_ns();
    for _ in 0..rounds {
        for packet in samples.chunks(160) {
            detector.push(packet, &mut |_| edges += 1);
        }
    }
    let spent = (cpu_ns() - start_ns) as f64 * 1e-9;
    let audio = (samples.len() * rounds) as f64 / 8000.0;
    println!(
        "{audio:.0} s of audio in {spent:.3} CPU s: {:.0} channel-seconds per CPU-second, {:.3} us per 20 ms packet, {edges} edges",
        audio / spent,
        spent / (audio * 50.0) * 1e6
    );
}

/// The CPU time this thread has had. Linux tells it in a file.
fn cpu_ns() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}
