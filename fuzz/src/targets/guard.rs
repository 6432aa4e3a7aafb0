//! Any sound, in packets of any size and time, and then a key. The key is heard and hidden, so no sound can put the
//! detector out of order (a NaN would stay for ever).

use hushpad_telephony::detector::{Detector, Phase};
use hushpad_telephony::g711::Law;
use hushpad_telephony::guard::{Fill, Guard, GuardConfig, MAX_PACKET_SAMPLES};

use super::Script;
use super::tones::{KEYS, longest_tone, tone};

/// Samples; 5 ms of tone are a leak.
const LEAK: usize = 40;

/// See the module.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    match script.flag() {
        true => detector(&mut script),
        false => guard(&mut script),
    }
}

fn detector(script: &mut Script<'_>) {
    let mut detector = Detector::new();
    let mut pushed = 0_u64;
    while !script.is_over() {
        let length = usize::from(script.byte()) * 2;
        let samples: Vec<i16> =
            script.bytes(length).chunks_exact(2).map(|b| i16::from_be_bytes([b[0], b[1]])).collect();
        pushed += samples.len() as u64;
        detector.push(&samples, &mut |heard| assert!(heard.at_sample <= pushed, "heard before it was"));
    }
    let key = usize::from(pushed.to_le_bytes()[0]) % KEYS.len();
    let mut begun = Vec::new();
    let mut hears = |samples: &[i16]| {
        detector.push(samples, &mut |heard| {
            if heard.phase == Phase::Begin {
                begun.push(heard.key.ascii());
            }
        });
    };
    hears(&[0; 800]);
    let samples: Vec<i16> = tone(key, Law::Mu, 0, 800).map(|byte| Law::Mu.decode(byte)).collect();
    hears(&samples);
    hears(&[0; 800]);
    assert_eq!(begun.last(), Some(&KEYS[key].0), "the detector hears no key any more");
}

fn guard(script: &mut Script<'_>) {
    let how = script.byte();
    let law = if how & 1 == 0 { Law::Mu } else { Law::A };
    let fill = if how & 2 == 0 { Fill::Silence } else { Fill::ComfortNoise };
    let mut guard = Guard::new(GuardConfig { look_back_ms: u16::from(how >> 2) * 3, fill }, law);
    let (mut now_us, mut ts, mut pushed, mut popped) = (1_000_000, 0_u32, 0_u32, 0_u32);
    while !script.is_over() {
        now_us += u64::from(script.byte()) * 500;
        match script.below(8) {
            0 => ts = ts.wrapping_add(u32::from(script.word())),
            1 => ts = ts.wrapping_sub(u32::from(script.word())),
            2 => guard.cover(now_us, ts, u32::from(script.word()), script.flag()),
            3 => guard.reset(),
            _ => {
                let length = usize::from(script.word()) % (MAX_PACKET_SAMPLES + 2);
                let payload = script.bytes(length);
                guard.push(now_us, ts, script.flag(), payload, &mut |_, _, onset_us| {
                    assert!(onset_us <= now_us, "heard before it was");
                });
                ts = ts.wrapping_add(payload.len() as u32);
                pushed += 1;
            }
        }
        while let Some(held) = guard.pop(now_us) {
            assert!(held.payload.len() <= MAX_PACKET_SAMPLES);
            popped += 1;
        }
        assert!(popped <= pushed, "more comes out than went in");
    }
    // Far away in the stream: what is a little behind would count as late.
    ts = ts.wrapping_add(0x4000_0000);
    presses(&mut guard, law, now_us + 1_000_000, ts, usize::from(how >> 5) % KEYS.len());
}

/// 100 ms each of silence, tone, silence, in time.
fn presses(guard: &mut Guard, law: Law, mut now_us: u64, mut ts: u32, key: usize) {
    let mut begun = Vec::new();
    for n in 0..18_u32 {
        let payload: Vec<u8> = if (5..10).contains(&n) {
            tone(key, law, n * 160, 160).collect()
        } else {
            vec![law.silence(); 160]
        };
        guard.push(now_us, ts, false, &payload, &mut |key, phase, _| {
            if phase == Phase::Begin {
                begun.push(key.ascii());
            }
        });
        while let Some(held) = guard.pop(now_us) {
            let leaked = longest_tone(held.payload);
            assert!(leaked < LEAK, "{leaked} samples of tone");
        }
        now_us += 20_000;
        ts = ts.wrapping_add(160);
    }
    assert_eq!(begun.last(), Some(&KEYS[key].0), "the guard hears no key any more");
}
