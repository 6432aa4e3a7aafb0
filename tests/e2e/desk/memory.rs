//! The memory of a process, taken by gdb's gcore and searched for card digits in every form that a program might
//! keep them in.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cards::TestCard;
use crate::process::output;

/// What was in a process.
pub(crate) struct Image {
    bytes: Vec<u8>,
}

impl Image {
    /// Takes it; also the mappings that the process asked to leave out of dumps.
    pub(super) fn of(pid: u32, workplace: &Path) -> Self {
        let core = workplace.join("image");
        output(Command::new("gcore").arg("-a").arg("-o").arg(&core).arg(pid.to_string()));
        let file = workplace.join(format!("image.{pid}"));
        let bytes = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        Self { bytes }
    }

    pub(crate) fn mib(&self) -> usize {
        self.bytes.len() >> 20
    }

    /// The forms in which the card is there.
    pub(crate) fn forms_of(&self, card: &TestCard) -> Vec<String> {
        let mut patterns = forms(card.number, "number");
        patterns.extend(forms(&[card.expiry, card.security_code].concat(), "expiry and code"));
        for (before, after) in [("cvv\":\"", "\""), ("cvv=", "&"), ("security_code=", "")] {
            let text = format!("{before}{}{after}", card.security_code);
            patterns.push(Pattern::new("code in a request".to_owned(), text.into_bytes(), 1));
        }
        self.search(&patterns)
    }

    fn search(&self, patterns: &[Pattern]) -> Vec<String> {
        const PAGE: usize = 4096;
        let mut by_first = vec![Vec::new(); 256];
        for pattern in patterns {
            by_first[usize::from(pattern.bytes[0])].push(pattern);
        }
        let mut found = Vec::new();
        for (page, bytes) in self.bytes.chunks(PAGE).enumerate() {
            // Most of an image; no pattern begins with a zero.
            if bytes == &[0; PAGE][..bytes.len()] {
                continue;
            }
            for (at, byte) in bytes.iter().enumerate() {
                let here = &self.bytes[page * PAGE + at..];
                let candidates = &by_first[usize::from(*byte)];
                found.extend(candidates.iter().filter(|p| p.begins(here)).map(|p| p.name.clone()));
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Bytes at equal distances, with anything between them.
struct Pattern {
    name: String,
    bytes: Vec<u8>,
    distance: usize,
}

impl Pattern {
    /// None begins with a zero byte.
    fn new(name: String, bytes: Vec<u8>, distance: usize) -> Self {
        assert_ne!(bytes[0], 0);
        Self { name, bytes, distance }
    }

    fn begins(&self, memory: &[u8]) -> bool {
        let at = |i: usize| memory.get(i * self.distance);
        self.bytes.iter().enumerate().all(|(i, byte)| at(i) == Some(byte))
    }
}

/// The ways in which a program may keep digits: as characters or numbers, of any width or in an array of structs;
/// packed two to a byte; spaced.
fn forms(digits: &str, what: &str) -> Vec<Pattern> {
    /// A key with its time and its source is smaller.
    const STRUCT_BYTES_MAX: usize = 64;
    let mut forms = Vec::new();
    let mut add = |how: &str, bytes: Vec<u8>, distance| {
        forms.push(Pattern::new(format!("{what} as {how}"), bytes, distance));
    };
    let values: Vec<u8> = digits.bytes().map(|b| b - b'0').collect();
    for distance in 1..=STRUCT_BYTES_MAX {
        add(&format!("characters every {distance} bytes"), digits.as_bytes().to_vec(), distance);
        add(&format!("numbers every {distance} bytes"), values.clone(), distance);
    }
    let pairs = |values: &[u8], low_first: bool| -> Vec<u8> {
        let pair = |p: &[u8]| if low_first { p[1] << 4 | p[0] } else { p[0] << 4 | p[1] };
        values.chunks_exact(2).map(pair).collect()
    };
    // From the second digit on, should the first have shared its byte with something else.
    let inner = values.iter().position(|v| *v != 0 && *v != values[0]).unwrap_or_default();
    for from in [0, 1, inner] {
        for (low_first, order) in [(false, "high"), (true, "low")] {
            let packed = pairs(&values[from..], low_first);
            if packed.len() >= 3 && packed[0] != 0 {
                add(&format!("BCD, {order} half first, from digit {from}"), packed, 1);
            }
        }
    }
    for separator in [" ", "-"] {
        let groups: Vec<_> = digits.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        add("groups of four", groups.join(separator).into_bytes(), 1);
    }
    forms
}

#[test]
fn digits_are_found_however_they_are_kept() {
    let kept: [&[u8]; 6] = [
        b"....4000123....",
        b"4\x000\x000\x000\x001\x002\x003\x00",
        b"4ab0cd0ef0gh1ij2kl3mn",
        &[9, 4, 0, 0, 0, 1, 2, 3, 9],
        &[0x40, 0x00, 0x12, 0x3f],
        b"4000-123",
    ];
    for bytes in kept {
        let image = Image { bytes: bytes.to_vec() };
        assert_ne!(image.search(&forms("4000123", "number")), Vec::<String>::new(), "{bytes:?}");
    }
    let other = Image { bytes: b"400012 4000 132".to_vec() };
    assert_eq!(other.search(&forms("4000123", "number")), Vec::<String>::new());
}
