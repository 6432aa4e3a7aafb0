//! Runs files of 16-bit little-endian samples (mono, 8 kHz) through the guard as RTP packets, and writes
//! what leaves toward the agent, or measures what plain speech loses.
//!
//! `guard_file [-l ms] [-p ms] [-a] [-o OUT.s16] FILE...`: look-back (40), packet time (20), A-law
//! instead of µ-law, and where the audio of the agent leg goes (placed by time stamp; what was sent goes
//! to `OUT.s16.sent`). Prints packets, keys heard, and the share of samples changed. Where a list of presses
//! lies beside the file (`.csv`, as the corpus has it), it measures what came through of each.
//! `guard_file -b ROUNDS FILE`: only measures the time per packet.
#![expect(clippy::print_stdout, reason = "printing is what this program is for")]
#![expect(clippy::disallowed_methods, reason = "measuring needs the clock")]

use std::time::Instant;

mod meter;

use hushpad_telephony::detector::Phase;
use hushpad_telephony::g711::Law;
use hushpad_telephony::guard::{Guard, GuardConfig};
use meter::Leaks;

struct Options {
    config: GuardConfig,
    law: Law,
    packet: usize,
    rounds: usize,
    out: Option<String>,
    files: Vec<String>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = options()?;
    let (mut all, mut changed) = (0_usize, 0_usize);
    for path in &options.files {
        let bytes = std::fs::read(path)?;
        let sent: Vec<u8> =
            bytes.chunks_exact(2).map(|b| options.law.encode(i16::from_le_bytes([b[0], b[1]]))).collect();
        if options.rounds > 0 {
            measure(&options, &sent);
            continue;
        }
        let (received, keys) = run(&options, &sent);
        let differ = sent.iter().zip(&received).filter(|(a, b)| a != b).count();
        let share = 100.0 * differ as f64 / sent.len().max(1) as f64;
        let mut told =
            format!("{path}: {keys} keys, {differ} of {} samples changed = {share:.4} %", sent.len());
        all += sent.len();
        changed += differ;
        if let Ok(list) = std::fs::read_to_string(path.replace(".s16", ".csv")) {
            let (sent, received) = (linear(&sent, options.law), linear(&received, options.law));
            let mut leaks = Leaks::default();
            meter::presses(&list).iter().for_each(|press| leaks.add(press, &sent, &received));
            told += &format!(
                "; {} presses, {} leak, {} ms at most, {} ms in all; loudest rest {:.1} dBm0",
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
            "-o" => options.out = arguments.next(),
            _ => options.files.push(argument),
        }
    }
    Ok(options)
}

/// What leaves the guard, placed by time stamp, and how many keys were heard.
fn run(options: &Options, sent: &[u8]) -> (Vec<u8>, usize) {
    let mut guard = Guard::new(options.config, options.law);
    let mut received = vec![options.law.silence(); sent.len()];
    let mut keys = 0;
    for (index, packet) in sent.chunks(options.packet).enumerate() {
        let from = index * options.packet;
        let now_us = from as u64 * 125;
        guard.push(now_us, from as u32, index == 0, packet, &mut |_, phase, _| {
            keys += usize::from(phase == Phase::Begin);
        });
        while let Some(held) = guard.pop(now_us) {
            let at = held.ts as usize;
            received[at..at + held.payload.len()].copy_from_slice(held.payload);
        }
    }
    while let Some(held) = guard.drain() {
        let at = held.ts as usize;
        received[at..at + held.payload.len()].copy_from_slice(held.payload);
    }
    (received, keys)
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
        run(options, sent);
    }
    let spent = start.elapsed().as_secs_f64();
    let packets = (sent.len().div_ceil(options.packet) * options.rounds) as f64;
    println!("{packets} packets in {spent:.3} s: {:.3} us per packet", spent / packets * 1e6);
}
