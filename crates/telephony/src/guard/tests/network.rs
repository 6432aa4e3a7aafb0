//! The guard on networks as they are: packet sizes, jitter, loss, reordering, duplicates, comfort noise, a
//! change of codec. And guards with a flaw, which the same meter must find.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::rig::{FIRST_TS, KEYPAD, LAWS, Line, decoded, leak};
use crate::g711::Law;
use crate::guard::{Fill, Guard, GuardConfig};

/// What the network does to packets.
#[derive(Clone, Copy, Debug)]
struct Weather {
    packet_ms: usize,
    jitter_ms: u64,
    lost_percent: u32,
    twice_percent: u32,
    /// Nothing is sent for silence: comfort-noise packets come instead, which are not pushed.
    comfort_noise: bool,
    /// The law changes in the middle of this press.
    law_changes_in: Option<usize>,
}

const CALM: Weather = Weather {
    packet_ms: 20,
    jitter_ms: 0,
    lost_percent: 0,
    twice_percent: 0,
    comfort_noise: false,
    law_changes_in: None,
};

/// What is wrong with a guard.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    PassesTheFirst5Ms,
    PassesTheLast5Ms,
    /// Instead of replacing a tone it turns it down to −45 dBm0.
    OnlyAttenuates,
}

/// One way through: what was sent and what came, as linear samples.
struct Passage {
    line: Line,
    sent: Vec<f64>,
    received: Vec<f64>,
    begins: usize,
}

impl Passage {
    fn leak(&self) -> Option<String> {
        leak(&self.line.presses, &self.sent, &self.received)
    }
}

fn keys(ms: usize) -> Line {
    KEYPAD.iter().enumerate().fold(Line::new().silence(700), |line, (index, key)| {
        line.key(*key, ms, -10.0).silence(1900 + index * 37)
    })
}

fn pass(line: Line, law: Law, weather: Weather, flaw: Flaw, seed: u64) -> Passage {
    let mut random = SmallRng::seed_from_u64(seed);
    let samples = weather.packet_ms * 8;
    let change = weather.law_changes_in.map(|press| {
        let press = line.presses[press];
        (press.from + press.to) / 2 / samples * samples
    });
    let law_at = |position: usize| match (change, law) {
        (Some(change), Law::Mu) if position >= change => Law::A,
        (Some(change), Law::A) if position >= change => Law::Mu,
        _ => law,
    };
    let bytes = LAWS.map(|law| (law, line.bytes(law)));
    let in_law = |law: Law| bytes.iter().find(|(other, _)| *other == law).map_or(&[][..], |(_, bytes)| bytes);
    let sent = decoded(in_law(law), law);
    let mut arrivals = Vec::new();
    for from in (0..line.samples.len()).step_by(samples) {
        let to = (from + samples).min(line.samples.len());
        let silent = line.samples[from..to].iter().all(|sample| *sample == 0.0);
        if (weather.comfort_noise && silent) || random.random_range(0..100) < weather.lost_percent {
            continue;
        }
        let copies = 1 + usize::from(random.random_range(0..100) < weather.twice_percent);
        for _ in 0..copies {
            let late_us = random.random_range(0..=weather.jitter_ms * 1000);
            arrivals.push((to as u64 * 125 + late_us, from, to));
        }
    }
    arrivals.sort_by_key(|(at_us, ..)| *at_us);
    let mut guard = Guard::new(GuardConfig { fill: Fill::Silence, ..GuardConfig::default() }, law);
    let (mut received, mut begins, mut now_law) = (vec![0.0; sent.len()], 0, law);
    for (now_us, from, to) in arrivals {
        if law_at(from) != now_law && now_law == law {
            now_law = law_at(from);
            guard.set_law(now_law);
        } else if law_at(from) != now_law {
            continue; // the relay drops a payload type that is no longer agreed
        }
        let ts = FIRST_TS.wrapping_add(from as u32);
        guard.push(now_us, ts, false, &in_law(now_law)[from..to], &mut |_, phase, _| {
            begins += usize::from(phase == crate::detector::Phase::Begin);
        });
        while let Some(held) = guard.pop(now_us) {
            let at = held.ts.wrapping_sub(FIRST_TS) as usize;
            received[at..at + held.payload.len()].copy_from_slice(&decoded(held.payload, now_law));
        }
    }
    while let Some(held) = guard.drain() {
        let at = held.ts.wrapping_sub(FIRST_TS) as usize;
        received[at..at + held.payload.len()].copy_from_slice(&decoded(held.payload, now_law));
    }
    break_guard(flaw, &line, &sent, &mut received);
    Passage { line, sent, received, begins }
}

/// What a guard with this flaw would have let out.
fn break_guard(flaw: Flaw, line: &Line, sent: &[f64], received: &mut [f64]) {
    for press in &line.presses {
        let (range, gain) = match flaw {
            Flaw::None => continue,
            Flaw::PassesTheFirst5Ms => (press.from..press.from + 40, 1.0),
            Flaw::PassesTheLast5Ms => (press.to - 40..press.to, 1.0),
            Flaw::OnlyAttenuates => (press.from..press.to, 10_f64.powf(-35.0 / 20.0)),
        };
        for at in range {
            received[at] = sent[at] * gain;
        }
    }
}

fn weathers() -> Vec<Weather> {
    let mut all: Vec<Weather> =
        [10, 20, 30, 40, 50, 60].map(|packet_ms| Weather { packet_ms, ..CALM }).to_vec();
    all.extend([
        Weather { jitter_ms: 15, ..CALM },
        Weather { jitter_ms: 50, ..CALM }, // overtakes
        Weather { jitter_ms: 35, packet_ms: 10, ..CALM },
        Weather { lost_percent: 5, ..CALM },
        Weather { lost_percent: 20, twice_percent: 10, jitter_ms: 25, ..CALM },
        Weather { twice_percent: 30, packet_ms: 30, ..CALM },
        Weather { comfort_noise: true, ..CALM },
        Weather { comfort_noise: true, packet_ms: 30, lost_percent: 3, jitter_ms: 10, ..CALM },
        Weather { law_changes_in: Some(5), ..CALM },
        Weather { law_changes_in: Some(11), packet_ms: 10, jitter_ms: 5, ..CALM },
    ]);
    all
}

#[test]
fn whatever_the_network_does_nothing_leaks() {
    for (seed, weather) in weathers().into_iter().enumerate() {
        for law in LAWS {
            let passage = pass(keys(80), law, weather, Flaw::None, seed as u64);
            assert_eq!(passage.leak(), None, "{law:?} {weather:?}");
        }
    }
}

#[test]
fn without_loss_every_key_is_also_heard() {
    for weather in weathers().into_iter().filter(|w| w.lost_percent == 0 && w.jitter_ms == 0) {
        let passage = pass(keys(80), Law::Mu, weather, Flaw::None, 1);
        // The press in which the law changes may count twice: what is held is dropped there.
        let most = KEYPAD.len() + usize::from(weather.law_changes_in.is_some());
        assert!((KEYPAD.len()..=most).contains(&passage.begins), "{weather:?}: {}", passage.begins);
    }
}

#[test]
fn a_flawed_guard_is_found_out_in_any_weather() {
    for (seed, weather) in weathers().into_iter().enumerate().step_by(3) {
        for flaw in [Flaw::PassesTheFirst5Ms, Flaw::PassesTheLast5Ms, Flaw::OnlyAttenuates] {
            let passage = pass(keys(80), Law::Mu, weather, flaw, seed as u64);
            assert!(passage.leak().is_some(), "{flaw:?} {weather:?}");
        }
    }
}

/// The largest change of slope from one sample to the next: a click is one.
fn sharpest(samples: &[f64]) -> f64 {
    samples.windows(3).map(|three| (three[0] - 2.0 * three[1] + three[2]).abs()).fold(0.0, f64::max)
}

#[test]
fn entering_and_leaving_a_replaced_press_does_not_click_and_a_hard_cut_would() {
    for fill in [Fill::Silence, Fill::ComfortNoise, Fill::Beep] {
        let mut line = Line::new().silence(1600).key(b'9', 80, -12.0).silence(1600);
        let press = line.presses[0];
        for (n, sample) in line.samples.iter_mut().enumerate() {
            *sample += (std::f64::consts::TAU * 200.0 * n as f64 / 8000.0).sin() * 600.0;
        }
        let outcome = super::through(&line, Law::Mu, 20, fill);
        let received = decoded(&outcome.bytes, Law::Mu);
        assert!(sharpest(&received) < 250.0, "{fill:?}: {}", sharpest(&received));
        let sent = decoded(&line.bytes(Law::Mu), Law::Mu);
        let mut cut = sent.clone();
        let crest = press.from - 30; // at the top of the hum
        cut[crest..press.to + 30].fill(0.0);
        assert!(sharpest(&cut) > 400.0, "{}", sharpest(&cut));
    }
}
