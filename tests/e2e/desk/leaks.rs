//! Where no card digit may be: whatever the product wrote or answered.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cards::TestCard;

/// Fails where a card is found in the answers, or in a file of the product or of the agent's phone.
pub(super) fn assert_none(typed: &[TestCard], directory: &Path, answers: &[(&str, Vec<u8>)]) {
    let files = files(directory).into_iter().filter(|file| !is_the_customers(file, directory));
    let files = files.map(|file| (file.display().to_string(), fs::read(file).unwrap()));
    let files: Vec<_> = files.collect();
    for (place, bytes) in &files {
        // One key of a SIP INFO (application/dtmf-relay), as a log of messages would have it.
        assert!(!bytes.windows(7).any(|window| window == b"Signal="), "a key is in {place}");
    }
    let answers = answers.iter().map(|(place, bytes)| ((*place).to_owned(), bytes.clone()));
    for (place, bytes) in files.into_iter().chain(answers) {
        for card in typed {
            assert!(!holds(&bytes, card.number), "a card number is in {place}");
            let rest = [card.expiry, card.security_code].concat();
            assert!(!holds(&bytes, &rest), "expiry and security code are in {place}");
        }
    }
}

/// Whether these digits are there in a row, one or two bytes of anything that separates between them or not: plain,
/// spaced, dashed, in lines, as UTF-16.
fn holds(bytes: &[u8], digits: &str) -> bool {
    let digits = digits.as_bytes();
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == digits[0]);
    starts.map(|(at, _)| &bytes[at..]).any(|rest| begins(rest, digits))
}

fn begins(mut bytes: &[u8], digits: &[u8]) -> bool {
    for digit in digits {
        let separators = bytes.iter().take(2).take_while(|byte| b" -_.,;:/\t\r\n\0".contains(byte)).count();
        match bytes.get(separators) {
            Some(found) if found == digit => bytes = &bytes[separators + 1..],
            _ => return false,
        }
    }
    true
}

/// The customer's own phone knows what was typed on it; tones and speech are not text.
fn is_the_customers(file: &Path, directory: &Path) -> bool {
    let place = file.strip_prefix(directory).unwrap_or(file);
    let is_audio = place.extension().is_some_and(|e| e == "wav" || e == "raw" || e == "ulaw");
    place.starts_with("customer") || is_audio
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn digits_are_found_however_they_are_written() {
    let number = "4111111111111111";
    for text in [
        "pan=4111111111111111;",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    ] {
        assert!(holds(text.as_bytes(), number), "{text}");
    }
    let wide: Vec<u8> = number.bytes().flat_map(|byte| [byte, 0]).collect();
    assert!(holds(&wide, number), "UTF-16");
    for text in ["411111******1111", "411111111111111", "4111111111111112"] {
        assert!(!holds(text.as_bytes(), number), "{text}");
    }
}
