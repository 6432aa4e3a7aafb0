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
            patterns.push(("code in a request".to_owned(), text.into_bytes()));
        }
        self.search(&patterns)
    }

    fn search(&self, patterns: &[(String, Vec<u8>)]) -> Vec<String> {
        const PAGE: usize = 4096;
        let mut by_first = vec![Vec::new(); 256];
        for (name, pattern) in patterns {
            by_first[usize::from(pattern[0])].push((name, pattern));
        }
        let mut found = Vec::new();
        for (page, bytes) in self.bytes.chunks(PAGE).enumerate() {
            // Most of an image; no pattern begins with a zero.
            if bytes == &[0; PAGE][..bytes.len()] {
                continue;
            }
            for (at, byte) in bytes.iter().enumerate() {
                for (name, pattern) in &by_first[usize::from(*byte)] {
                    if self.bytes[page * PAGE + at..].starts_with(pattern) {
                        found.push(name.to_string());
                    }
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// The ways in which digits are kept. None begins with a zero byte.
fn forms(digits: &str, what: &str) -> Vec<(String, Vec<u8>)> {
    let mut forms = Vec::new();
    let mut add = |how: &str, bytes: Vec<u8>| forms.push((format!("{what} as {how}"), bytes));
    let values: Vec<u8> = digits.bytes().map(|b| b - b'0').collect();
    for width in [1, 2, 4, 8] {
        let wide = |bytes: &[u8]| -> Vec<u8> {
            let zeros = std::iter::repeat_n(0, width - 1);
            let mut wide: Vec<u8> = bytes.iter().flat_map(|b| [*b].into_iter().chain(zeros.clone())).collect();
            wide.truncate(wide.len() - (width - 1));
            wide
        };
        add(&format!("characters of {width} bytes"), wide(digits.as_bytes()));
        add(&format!("numbers of {width} bytes"), wide(&values));
    }
    let pairs = |values: &[u8], low_first: bool| -> Vec<u8> {
        let pair = |p: &[u8]| if low_first { p[1] << 4 | p[0] } else { p[0] << 4 | p[1] };
        values.chunks_exact(2).map(pair).collect()
    };
    for from in [0, 1] {
        add("BCD", pairs(&values[from..], false));
        add("BCD, low half first", pairs(&values[from..], true));
    }
    for separator in [" ", "-"] {
        let groups: Vec<_> = digits.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
        add("groups of four", groups.join(separator).into_bytes());
        let each: Vec<_> = digits.chars().map(String::from).collect();
        add("spaced digits", each.join(separator).into_bytes());
    }
    forms.retain(|(_, bytes)| bytes[0] != 0);
    forms
}
