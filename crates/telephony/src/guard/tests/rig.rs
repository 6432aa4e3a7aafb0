//! A line with presses on it, a guard with a clock, and the leak meter.

use std::f64::consts::TAU;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::detector::Phase;
use crate::g711::Law;
use crate::guard::{Fill, Guard, GuardConfig};

pub(super) const LOW_HZ: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
pub(super) const HIGH_HZ: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
pub(super) const KEYPAD: &[u8; 16] = b"123A456B789C*0#D";
/// Peak of a 0 dBm0 sine in 16-bit samples.
pub(super) const FULL: f64 = 22_827.0;
pub(super) const LAWS: [Law; 2] = [Law::Mu, Law::A];

pub(super) fn amplitude(dbm0: f64) -> f64 {
    FULL * 10_f64.powf(dbm0 / 20.0)
}

pub(super) fn frequencies(key: u8) -> (f64, f64) {
    let index = KEYPAD.iter().position(|other| *other == key).unwrap();
    (LOW_HZ[index / 4], HIGH_HZ[index % 4])
}

/// A line of audio with presses in it.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) samples: Vec<f64>,
    pub(super) presses: Vec<Press>,
}

#[derive(Clone, Copy)]
pub(super) struct Press {
    pub(super) key: u8,
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { samples: Vec::new(), presses: Vec::new() }
    }

    pub(super) fn silence(mut self, samples: usize) -> Self {
        self.samples.resize(self.samples.len() + samples, 0.0);
        self
    }

    pub(super) fn key(mut self, key: u8, ms: usize, dbm0: f64) -> Self {
        let (low, high) = frequencies(key);
        let from = self.samples.len();
        for n in 0..ms * 8 {
            let t = n as f64 / 8000.0;
            let pair = (TAU * low * t + 0.3).sin() + (TAU * high * t + 1.1).sin();
            self.samples.push(pair * amplitude(dbm0));
        }
        self.presses.push(Press { key, from, to: self.samples.len() });
        self
    }

    /// Vowels with moving pitch and formants, some breath, pauses: like speech, without its meaning.
    pub(super) fn speech(mut self, seconds: usize, seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let end = self.samples.len() + seconds * 8000;
        while self.samples.len() < end {
            let length = random.random_range(800..3200);
            let (pitch, glide) = (random.random_range(85.0..150.0), random.random_range(-0.2..0.2));
            let formants = [
                (random.random_range(300.0..900.0), 1.0),
                (random.random_range(900.0..2300.0), 0.3),
                (2700.0, 0.15),
            ];
            let mut phase = 0.0;
            for n in 0..length {
                let at = f64::from(n) / f64::from(length);
                phase += TAU * pitch * (1.0 + glide * at + random.random_range(-0.1..0.1)) / 8000.0;
                let voice: f64 = (1..16)
                    .map(|h| {
                        let hz = pitch * f64::from(h);
                        let gain: f64 =
                            formants.iter().map(|(f, g)| g / (1.0 + ((hz - f) / 90.0).powi(2))).sum();
                        (gain + 0.05) * (phase * f64::from(h)).sin() / f64::from(h).sqrt()
                    })
                    .sum();
                let breath = random.random_range(-0.15..0.15);
                self.samples.push((voice + breath) * (at * TAU / 2.0).sin() * 3000.0);
            }
            self = self.silence(random.random_range(80..1200));
        }
        self
    }

    pub(super) fn bytes(&self, law: Law) -> Vec<u8> {
        self.samples.iter().map(|s| law.encode(s.clamp(-32_768.0, 32_767.0) as i16)).collect()
    }
}

/// What came out of a guard.
pub(super) struct Outcome {
    /// As placed by time stamp; where nothing came, silence.
    pub(super) bytes: Vec<u8>,
    pub(super) begins: Vec<(u8, u64)>,
    pub(super) ends: usize,
    pub(super) packets: usize,
}

pub(super) const FIRST_TS: u32 = u32::MAX - 3000; // the time stamp wraps in every test

pub(super) struct Rig {
    pub(super) guard: Guard,
    pub(super) law: Law,
    pub(super) packet: usize,
    pub(super) out: Outcome,
}

impl Rig {
    pub(super) fn new(law: Law, packet_ms: usize, fill: Fill) -> Self {
        let guard = Guard::new(GuardConfig { fill, ..GuardConfig::default() }, law);
        let out = Outcome { bytes: Vec::new(), begins: Vec::new(), ends: 0, packets: 0 };
        Self { guard, law, packet: packet_ms * 8, out }
    }

    /// Sends packet `index` of `sent` at its time, and takes what leaves.
    pub(super) fn send(&mut self, sent: &[u8], index: usize) {
        self.send_at(sent, index, (index + 1) * self.packet);
    }

    pub(super) fn send_at(&mut self, sent: &[u8], index: usize, time: usize) {
        let now_us = time as u64 * 125;
        let from = index * self.packet;
        let payload = &sent[from..(from + self.packet).min(sent.len())];
        let out = &mut self.out;
        let ts = FIRST_TS.wrapping_add(from as u32);
        self.guard.push(now_us, ts, index == 0, payload, &mut |key, phase, at_us| match phase {
            Phase::Begin => out.begins.push((key.ascii(), at_us / 125)),
            Phase::End => out.ends += 1,
        });
        self.take(now_us, sent.len());
    }

    pub(super) fn take(&mut self, now_us: u64, length: usize) {
        self.out.bytes.resize(length, self.law.silence());
        while let Some(held) = self.guard.pop(now_us) {
            let at = held.ts.wrapping_sub(FIRST_TS) as usize;
            self.out.bytes[at..at + held.payload.len()].copy_from_slice(held.payload);
            self.out.packets += 1;
        }
    }

    pub(super) fn finish(mut self) -> Outcome {
        while let Some(held) = self.guard.drain() {
            let at = held.ts.wrapping_sub(FIRST_TS) as usize;
            self.out.bytes[at..at + held.payload.len()].copy_from_slice(held.payload);
            self.out.packets += 1;
        }
        self.out
    }
}

pub(super) fn through(line: &Line, law: Law, packet_ms: usize, fill: Fill) -> Outcome {
    let sent = line.bytes(law);
    let mut rig = Rig::new(law, packet_ms, fill);
    for index in 0..sent.len().div_ceil(rig.packet) {
        rig.send(&sent, index);
    }
    rig.finish()
}

/// The leak meter: Hann-windowed correlation with the press's own two frequencies.
pub(super) struct Meter {
    pub(super) leaked_ms: usize,
    pub(super) residual_dbm0: f64,
}

pub(super) fn level(window: &[f64], hz: f64) -> f64 {
    let length = window.len() as f64;
    let (mut re, mut im, mut weight) = (0.0, 0.0, 0.0);
    for (n, sample) in window.iter().enumerate() {
        let w = 0.5 - 0.5 * (TAU * (n as f64 + 0.5) / length).cos();
        let angle = TAU * hz * n as f64 / 8000.0;
        (re, im, weight) = (re + w * sample * angle.cos(), im + w * sample * angle.sin(), weight + w);
    }
    2.0 * re.hypot(im) / weight
}

pub(super) fn decoded(bytes: &[u8], law: Law) -> Vec<f64> {
    bytes.iter().map(|byte| f64::from(law.decode(*byte))).collect()
}

/// Measures one press: 4 ms windows in which both tones are within 20 dB of what was sent, and the
/// loudest of the eight bands in 20 ms windows (or the whole press, when it is shorter).
pub(super) fn measure(press: &Press, sent: &[u8], received: &[u8], law: Law) -> Meter {
    measure_linear(press, &decoded(sent, law), &decoded(received, law))
}

pub(super) fn measure_linear(press: &Press, sent: &[f64], received: &[f64]) -> Meter {
    let (low, high) = frequencies(press.key);
    let middle = (press.from + press.to) / 2;
    let clear = &sent[middle - 80..middle + 80];
    let (low_sent, high_sent) = (level(clear, low), level(clear, high));
    let leaked_ms = (press.from.saturating_sub(16)..press.to - 16)
        .step_by(8)
        .filter(|from| {
            let window = &received[*from..*from + 32];
            level(window, low) > low_sent / 10.0 && level(window, high) > high_sent / 10.0
        })
        .count();
    let length = 160.min(press.to - press.from);
    let residual = (press.from..=press.to - length)
        .step_by(40)
        .flat_map(|from| LOW_HZ.iter().chain(&HIGH_HZ).map(move |hz| (from, *hz)))
        .map(|(from, hz)| level(&received[from..from + length], hz))
        .fold(0.0, f64::max);
    Meter { leaked_ms, residual_dbm0: 20.0 * (residual / FULL + 1e-9).log10() }
}

pub(super) fn assert_nothing_leaks(line: &Line, law: Law, outcome: &Outcome, what: &str) {
    let (sent, received) = (decoded(&line.bytes(law), law), decoded(&outcome.bytes, law));
    if let Some(leak) = leak(&line.presses, &sent, &received) {
        panic!("{what}: {leak}");
    }
}

/// The first press of which anything came through: 1 ms, or more than −55 dBm0 in any of the eight bands.
pub(super) fn leak(presses: &[Press], sent: &[f64], received: &[f64]) -> Option<String> {
    presses.iter().find_map(|press| {
        let Meter { leaked_ms, residual_dbm0 } = measure_linear(press, sent, received);
        let leaks = leaked_ms > 0 || residual_dbm0 > -55.0;
        let key = char::from(press.key);
        leaks.then(|| format!("key {key} at {}: {leaked_ms} ms, {residual_dbm0:.1} dBm0", press.from))
    })
}
