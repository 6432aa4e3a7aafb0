//! Recordings and captures made here, with keys at known places.

use std::f64::consts::TAU;
use std::path::PathBuf;

use hushpad_telephony::g711::Law;
use hushpad_telephony::rtp::Header;

use super::check;
use crate::cli::AudioCheckArgs;

const KEYPAD: &str = "123A456B789C*0#D";

/// Two tones of one key at −10 dBm0 each, `ms` long, at any rate.
fn press(key: char, ms: usize, rate_hz: usize) -> Vec<i16> {
    let index = KEYPAD.find(key).unwrap();
    let (low, high) = ([697.0, 770.0, 852.0, 941.0][index / 4], [1209.0, 1336.0, 1477.0, 1633.0][index % 4]);
    let wave = |hz: f64, n: usize| (TAU * hz * n as f64 / rate_hz as f64).sin() * 7218.0;
    (0..ms * rate_hz / 1000).map(|n| (wave(low, n) + wave(high, n)) as i16).collect()
}

fn silence(ms: usize, rate_hz: usize) -> Vec<i16> {
    vec![0; ms * rate_hz / 1000]
}

fn wav(tag: u16, bits: u16, channels: u16, rate_hz: u32, data: &[u8]) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVEfmt ".to_vec();
    file.extend(16_u32.to_le_bytes());
    file.extend([tag.to_le_bytes(), channels.to_le_bytes()].concat());
    file.extend(rate_hz.to_le_bytes());
    file.extend([0; 6]);
    file.extend(bits.to_le_bytes());
    file.extend(b"LIST\x03\0\0\0abc\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

fn pcm(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

struct Checked {
    code: u8,
    report: String,
}

fn checked(files: &[&[u8]], show_keys: bool) -> Checked {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = files
        .iter()
        .enumerate()
        .map(|(index, bytes)| {
            let path = folder.path().join(format!("file{index}"));
            std::fs::write(&path, bytes).unwrap();
            path
        })
        .collect();
    let mut out = Vec::new();
    let code = check(&AudioCheckArgs { show_keys, files }, &mut out).unwrap();
    let report = String::from_utf8(out).unwrap();
    Checked { code, report: report.replace(folder.path().to_str().unwrap(), "") }
}

#[test]
fn keys_are_told_by_channel_time_and_level_but_not_by_name() {
    for rate_hz in [8000, 16_000, 44_100, 48_000] {
        let left = silence(1000, rate_hz);
        let right = [silence(400, rate_hz), press('7', 100, rate_hz), silence(500, rate_hz)].concat();
        let both: Vec<i16> = left.iter().zip(&right).flat_map(|(l, r)| [*l, *r]).collect();
        let file = wav(1, 16, 2, rate_hz as u32, &pcm(&both));
        let Checked { code, report } = checked(&[&file], false);
        assert_eq!(code, 1, "{rate_hz}");
        let lines: Vec<&str> = report.lines().map(str::trim).collect();
        assert_eq!(lines[1..4], ["left (0:01)", "nothing audible", "right (0:01)"], "{rate_hz}");
        assert!(lines[4].starts_with("0:00.4") || lines[4].starts_with("0:00.39"), "{report}");
        assert!(lines[4].ends_with(" ms, -7 dBm0"), "{report}");
        assert_eq!(lines[5], "1 key was audible.");
        assert!(checked(&[&file], true).report.contains("-7 dBm0  key 7"));
    }
}

#[test]
fn both_laws_are_read_and_silence_is_silent() {
    for (tag, law) in [(7, Law::Mu), (6, Law::A)] {
        let line = [silence(200, 8000), press('#', 60, 8000), silence(200, 8000)].concat();
        let encode = |samples: &[i16]| samples.iter().map(|s| law.encode(*s)).collect::<Vec<u8>>();
        assert_eq!(checked(&[&wav(tag, 8, 1, 8000, &encode(&line))], false).code, 1, "{law:?}");
        let quiet = checked(&[&wav(tag, 8, 1, 8000, &encode(&silence(500, 8000)))], false);
        assert_eq!((quiet.code, quiet.report.contains("No key was audible.")), (0, true));
    }
}

#[test]
fn a_piece_of_a_tone_is_told_though_no_receiver_reads_it() {
    let line = [silence(300, 8000), press('5', 12, 8000), silence(300, 8000)].concat();
    let Checked { code, report } = checked(&[&wav(1, 16, 1, 8000, &pcm(&line))], false);
    assert_eq!(code, 1);
    assert!(report.contains("piece of a tone"), "{report}");
}

#[test]
fn what_cannot_be_read_is_said_and_counts_less_than_what_was_heard() {
    let noise = checked(&[b"no recording"], false);
    assert_eq!(noise.code, 2);
    assert!(noise.report.contains("neither WAV nor pcap"), "{}", noise.report);
    assert_eq!(checked(&[&wav(1, 24, 1, 8000, &[0; 60])], false).code, 2);
    let line = [silence(100, 8000), press('1', 60, 8000), silence(100, 8000)].concat();
    assert_eq!(checked(&[b"no recording", &wav(1, 16, 1, 8000, &pcm(&line))], false).code, 1);
}

/// A call in a capture: one packet of RTP after the other.
struct Call {
    frames: Vec<Vec<u8>>,
    sequence: u16,
    timestamp: u32,
}

impl Call {
    fn new() -> Self {
        Self { frames: Vec::new(), sequence: 65_530, timestamp: u32::MAX - 500 }
    }

    fn send(&mut self, payload_type: u8, timestamp: u32, payload: &[u8]) {
        let header = Header { marker: false, payload_type, sequence: self.sequence, timestamp, ssrc: 0x5EED };
        let rtp = [&header.to_bytes()[..], payload].concat();
        let udp_length = (rtp.len() + 8) as u16;
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0x00, 0, 5, 0x08, 0x00]); // a VLAN tag, then IPv4
        frame.extend([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend([4000_u16.to_be_bytes(), 5000_u16.to_be_bytes(), udp_length.to_be_bytes()].concat());
        frame.extend([0, 0]);
        frame.extend(rtp);
        self.frames.push(frame);
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn audio(mut self, samples: &[i16]) -> Self {
        for packet in samples.chunks(160) {
            let payload: Vec<u8> = packet.iter().map(|sample| Law::A.encode(*sample)).collect();
            self.send(8, self.timestamp, &payload);
            self.timestamp = self.timestamp.wrapping_add(160);
        }
        self
    }

    fn event(mut self, code: u8) -> Self {
        for duration in [160_u16, 320, 480, 480, 480] {
            let [d0, d1] = duration.to_be_bytes();
            let end = if duration == 480 { 0x80 } else { 0 };
            self.send(101, self.timestamp, &[code, end | 10, d0, d1]);
        }
        self.timestamp = self.timestamp.wrapping_add(480);
        self
    }

    fn pcap(&self) -> Vec<u8> {
        let mut file = [0xd4, 0xc3, 0xb2, 0xa1].to_vec();
        file.extend([0; 16]);
        file.extend(1_u32.to_le_bytes());
        for (index, frame) in self.frames.iter().enumerate() {
            file.extend(
                [7, index as u32 * 20_000, frame.len() as u32, frame.len() as u32]
                    .map(u32::to_le_bytes)
                    .concat(),
            );
            file.extend(frame);
        }
        file
    }

    fn pcapng(&self) -> Vec<u8> {
        let block = |kind: u32, body: &[u8]| {
            let mut body = body.to_vec();
            body.resize(body.len().next_multiple_of(4), 0);
            let length = (body.len() as u32 + 12).to_be_bytes();
            [&kind.to_be_bytes()[..], &length, &body, &length].concat()
        };
        let mut file =
            block(0x0A0D_0D0A, &[0x1A, 0x2B, 0x3C, 0x4D, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
        file.extend(block(1, &[0, 1, 0, 0, 0, 0, 255, 255]));
        for (index, frame) in self.frames.iter().enumerate() {
            let words = [0, 0, index as u32 * 20_000, frame.len() as u32, frame.len() as u32];
            file.extend(block(6, &[words.map(u32::to_be_bytes).concat(), frame.clone()].concat()));
        }
        file
    }
}

#[test]
fn captures_tell_tones_and_events_by_stream() {
    let call = Call::new()
        .audio(&[silence(400, 8000), press('9', 80, 8000), silence(320, 8000)].concat())
        .event(3)
        .audio(&silence(200, 8000));
    for file in [call.pcap(), call.pcapng()] {
        let Checked { code, report } = checked(&[&file], true);
        assert_eq!(code, 1);
        assert!(report.contains("10.0.0.1:4000 → 10.0.0.2:5000, SSRC 00005eed"), "{report}");
        let lines: Vec<&str> = report.lines().filter(|line| line.contains("key ")).map(str::trim).collect();
        assert!(lines[0].contains("tone,") && lines[0].ends_with("key 9"), "{report}");
        assert_eq!(lines[1], "0:00.800  telephone-event, 60 ms  key 3");
        let told = checked(&[&file], false).report;
        assert!(!told.contains("key 9") && !told.contains("key 3"), "{told}");
    }
}

#[test]
fn encrypted_and_other_audio_counts_as_not_checked() {
    let mut encrypted = Call::new();
    let mut other = Call::new();
    for index in 0..20_u32 {
        encrypted.send(0, index * 160, &[0x55; 170]);
        other.send(9, index * 160, &[0x55; 160]);
    }
    let Checked { code, report } = checked(&[&encrypted.pcap()], false);
    assert_eq!((code, report.contains("looks encrypted (SRTP)")), (2, true), "{report}");
    let Checked { code, report } = checked(&[&other.pcap()], false);
    assert_eq!((code, report.contains("not G.711")), (2, true), "{report}");
}

#[test]
fn damaged_files_never_panic() {
    let call = Call::new().audio(&press('1', 100, 8000)).event(1);
    let wav = wav(1, 16, 2, 16_000, &pcm(&press('1', 60, 16_000)));
    for file in [call.pcap(), call.pcapng(), wav] {
        for cut in (0..200).chain((200..file.len()).step_by(97)) {
            checked(&[&file[..cut.min(file.len())]], false);
        }
        for at in 0..120.min(file.len()) {
            let mut damaged = file.clone();
            damaged[at] ^= 0xFF;
            checked(&[&damaged], false);
        }
    }
}
