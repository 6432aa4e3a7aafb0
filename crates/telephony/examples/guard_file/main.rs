//! Runs files of 16-bit little-endian samples (mono, 8 kHz) through the guard as RTP packets, and writes
//! what leaves toward the agent, or measures what plain speech loses.
//!
//! `guard_file [-l ms] [-p ms] [-a] [-o OUT.s16] FILE...`: look-back (40), packet time (20), A-law
//! instead of µ-law, and where the audio of the agent leg goes (placed by time stamp; what was sent goes
//! to `OUT.s16.sent`). Prints packets, keys heard, and the share of samples changed. Where a list of presses
//! lies beside the file (`.csv`, as the corpus has it), it measures what came through of each.
//! `-e RESIDUAL_MS` sends each press of the list as telephone-events too (RFC 4733), with so much of its tone left
//! in the audio before them; `-e all` leaves all of it.
//! `guard_file -b ROUNDS FILE`: only measures the time per packet.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]
#![expect(clippy::disallowed_methods, reason = "measuring needs the clock")]

use std::time::Instant;

mod meter;

use hushpad_telephony::detector::Phase;
use hushpad_telephony::g711::Law;
use hushpad_telephony::guard::{Guard, GuardConfig};
use meter::{Leaks, Press};

struct Options {
    config: GuardConfig,
    law: Law,
    packet: usize,
    rounds: usize,
    /// Samples of tone left in the audio when presses are also sent as telephone-events.
    residual: Option<usize>,
    out: Option<String>,
    files: Vec<String>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = options()?;
    let (mut all, mut changed) = (0_usize, 0_usize);
    for path in &options.files {
        let bytes = std::fs::read(path)?;
        let tones: Vec<i16> = bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        let list = std::fs::read_to_string(path.replace(".s16", ".csv")).unwrap_or_default();
        let presses = meter::presses(&list);
        let sent: Vec<u8> = tones.iter().map(|sample| options.law.encode(*sample)).collect();
        if options.rounds > 0 {
            measure(&options, &sent);
            continue;
        }
        let line = Line { audio: left_over(&options, &sent, &presses), presses: &presses };
        let Passage { received, keys, delay_ms } = run(&options, &line);
        let differ = line.audio.iter().zip(&received).filter(|(a, b)| a != b).count();
        let share = 100.0 * differ as f64 / sent.len().max(1) as f64;
        let mut told =
            format!("{path}: {keys} keys, {differ} of {} samples changed = {share:.4} %", sent.len());
        all += sent.len();
        changed += differ;
        if !presses.is_empty() {
            let (sent, received) = (linear(&sent, options.law), linear(&received, options.law));
            let mut leaks = Leaks::default();
            presses.iter().for_each(|press| leaks.add(press, &sent, &received));
            told += &format!(
                "; {} presses, {} leak, {} ms at most, {} ms in all; loudest rest {:.1} dBm0; delay {delay_ms} ms",
                leaks.presses,
                leaks.leaking,
                leaks.most_ms,
                leaks.all_ms,
                leaks.loudest_dbm0()
            );
        }
        println!("{told}");
        if let Some(out) = &options.out {
            write(&format!("{out}.sent"), options.law, &sent)?;
            write(out, options.law, &received)?;
        }
    }
    println!("all: {changed} of {all} samples changed = {:.4} %", 100.0 * changed as f64 / all.max(1) as f64);
    Ok(())
}

fn options() -> Result<Options, Box<dyn std::error::Error>> {
    let mut options = Options {
        config: GuardConfig::default(),
        law: Law::Mu,
        packet: 160,
        rounds: 0,
        residual: None,
        out: None,
        files: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "-l" => options.config.look_back_ms = arguments.next().ok_or("-l needs ms")?.parse()?,
            "-p" => options.packet = arguments.next().ok_or("-p needs ms")?.parse::<usize>()?.max(1) * 8,
            "-a" => options.law = Law::A,
            "-b" => options.rounds = arguments.next().ok_or("-b needs a number")?.parse()?,
            "-e" => {
                let residual = arguments.next().ok_or("-e needs ms or `all`")?;
                options.residual =
                    Some(if residual == "all" { usize::MAX } else { residual.parse::<usize>()? * 8 });
            }
            "-o" => options.out = arguments.next(),
            _ => options.files.push(argument),
        }
    }
    Ok(options)
}

/// What the customer's phone sends.
struct Line<'a> {
    audio: Vec<u8>,
    presses: &'a [Press],
}

/// The audio beside telephone-events: phones that send those cut the tone, most of them a little late.
fn left_over(options: &Options, sent: &[u8], presses: &[Press]) -> Vec<u8> {
    let mut audio = sent.to_vec();
    if let Some(residual) = options.residual {
        for press in presses {
            let cut = press.onset + residual.min(press.length);
            audio[cut..press.onset + press.length].fill(options.law.silence());
        }
    }
    audio
}

/// What leaves the guard, placed by time stamp, how many keys were heard, and the middle of the delays.
struct Passage {
    received: Vec<u8>,
    keys: usize,
    delay_ms: u64,
}

fn run(options: &Options, line: &Line<'_>) -> Passage {
    let (sent, mut guard) = (&line.audio, Guard::new(options.config, options.law));
    let mut received = vec![options.law.silence(); sent.len()];
    let (mut keys, mut next, mut delays) = (0, 0, Vec::with_capacity(sent.len() / options.packet + 1));
    for (index, packet) in sent.chunks(options.packet).enumerate() {
        let from = index * options.packet;
        let now_us = from as u64 * 125;
        if options.residual.is_some() {
            cover(&mut guard, line.presses, &mut next, now_us, from, options.packet);
        }
        guard.push(now_us, from as u32, index == 0, packet, &mut |_, phase, _| {
            keys += usize::from(phase == Phase::Begin);
        });
        while let Some(held) = guard.pop(now_us) {
            let at = held.ts as usize;
            received[at..at + held.payload.len()].copy_from_slice(held.payload);
            delays.push((now_us - at as u64 * 125) / 1000);
        }
    }
    while let Some(held) = guard.drain() {
        let at = held.ts as usize;
        received[at..at + held.payload.len()].copy_from_slice(held.payload);
    }
    delays.sort_unstable();
    Passage { received, keys, delay_ms: delays.get(delays.len() / 2).copied().unwrap_or(0) }
}

/// The event packets that come with the audio packet at `from`. `next` is the first press not yet over.
fn cover(guard: &mut Guard, presses: &[Press], next: &mut usize, now_us: u64, from: usize, samples: usize) {
    let Some(press) = presses.get(*next) else { return };
    let end = press.onset + press.length;
    let head = from + samples;
    if head > press.onset {
        let ended = head >= end;
        guard.cover(now_us, press.onset as u32, (head.min(end) - press.onset) as u32, ended);
        *next += usize::from(ended);
    }
}

fn linear(bytes: &[u8], law: Law) -> Vec<f64> {
    bytes.iter().map(|byte| f64::from(law.decode(*byte))).collect()
}

fn write(path: &str, law: Law, bytes: &[u8]) -> std::io::Result<()> {
    let samples: Vec<u8> = bytes.iter().flat_map(|byte| law.decode(*byte).to_le_bytes()).collect();
    std::fs::write(path, samples)
}

fn measure(options: &Options, sent: &[u8]) {
    let start = Instant::now();
    for _ in 0..options.rounds {
        run(options, &Line { audio: sent.to_vec(), presses: &[] });
    }
    let spent = start.elapsed().as_secs_f64();
    let packets = (sent.len().div_ceil(options.packet) * options.rounds) as f64;
    println!("{packets} packets in {spent:.3} s: {:.3} us per packet", spent / packets * 1e6);
}
