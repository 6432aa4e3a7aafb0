//! Free text must not carry a card number.

/// The shortest and the longest card number (ISO/IEC 7812).
const CARD_NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// Whether the digits pass the Luhn check (ISO/IEC 7812-1, annex B). Not for an empty list.
#[must_use]
pub fn luhn_valid(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(index, digit)| match (index % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// Whether `text` holds something that reads as a card number: a Luhn-valid run of 13 to 19 digits,
/// also when spaces, dashes, dots, slashes or underscores split it into groups. Random ids are no card numbers:
/// a UUID is read as one word.
#[must_use]
pub fn holds_card_number(text: &str) -> bool {
    let text = without_ids(text);
    let mut groups: Vec<Vec<u8>> = vec![Vec::new()];
    for character in text.chars() {
        match (character.to_digit(10), character) {
            (Some(digit), _) => {
                if let Some(group) = groups.last_mut() {
                    group.push(u8::try_from(digit).unwrap_or(0));
                }
            }
            (None, ' ' | '-' | '.' | '/' | '_' | '\u{a0}') => {
                // Several separators in a row part two groups as one does.
                if groups.last().is_some_and(|group| !group.is_empty()) {
                    groups.push(Vec::new());
                }
            }
            (None, _) => {
                if neighbours_hold_card_number(&groups) {
                    return true;
                }
                groups = vec![Vec::new()];
            }
        }
    }
    neighbours_hold_card_number(&groups)
}

/// Any neighbouring groups that are a card number when read as one.
fn neighbours_hold_card_number(groups: &[Vec<u8>]) -> bool {
    (0..groups.len()).any(|first| {
        let mut digits = Vec::new();
        for group in &groups[first..] {
            digits.extend_from_slice(group);
            if digits.len() > *CARD_NUMBER_DIGITS.end() {
                return false;
            }
            if CARD_NUMBER_DIGITS.contains(&digits.len()) && is_card_number(&digits) {
                return true;
            }
        }
        false
    })
}

/// A run of one repeated digit (as `0000000000000`) is a filler, not a card.
fn is_card_number(digits: &[u8]) -> bool {
    luhn_valid(digits) && digits.iter().any(|digit| *digit != digits[0])
}

/// `text` with every UUID, and every other id of 128 bits in hexadecimal, blotted out at its place. Of random UUIDs one
/// in 350 holds a Luhn-valid run of digits, and no card number is written like one: 8-4-4-4-12 or 32 in a row, and
/// letters among the digits.
fn without_ids(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut from = 0;
    while from < bytes.len() {
        let starts_here = from == 0 || !bytes[from - 1].is_ascii_alphanumeric();
        match starts_here.then(|| id_at(&bytes[from..])).flatten() {
            Some(length) => {
                bytes[from..from + length].fill(b'x');
                from += length;
            }
            None => from += 1,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How many bytes at the start of `bytes` are an id.
fn id_at(bytes: &[u8]) -> Option<usize> {
    const UUID: [usize; 5] = [8, 4, 4, 4, 12];
    let word = |length: usize| bytes.get(..length).filter(|word| word.iter().all(u8::is_ascii_hexdigit));
    let uuid = || {
        let groups = bytes.get(..36)?.split(|byte| *byte == b'-');
        let fits = |(group, length): (&[u8], usize)| {
            group.len() == length && group.iter().all(u8::is_ascii_hexdigit)
        };
        (groups.clone().count() == UUID.len() && groups.zip(UUID).all(fits)).then_some(36)
    };
    let length = word(32).map(<[u8]>::len).or_else(uuid)?;
    let ends = !bytes.get(length).is_some_and(u8::is_ascii_alphanumeric);
    (ends && bytes[..length].iter().any(u8::is_ascii_alphabetic)).then_some(length)
}

/// `text` with every card number in it hidden, or `None` when there is none. For log lines, the last line of
/// defence: only spaces and dashes part the groups here, so that addresses do not read as cards.
#[must_use]
pub fn mask_card_numbers(text: &str) -> Option<String> {
    let without_ids = without_ids(text);
    let bytes = without_ids.as_bytes();
    let mut masked: Option<Vec<u8>> = None;
    let mut from = 0;
    while from < bytes.len() {
        let starts_here = bytes[from].is_ascii_digit() && (from == 0 || !bytes[from - 1].is_ascii_digit());
        match starts_here.then(|| card_number_at(&bytes[from..])).flatten() {
            Some(length) => {
                let hidden = masked.get_or_insert_with(|| text.as_bytes().to_vec());
                hidden[from..from + length].fill(b'*');
                from += length;
            }
            None => from += 1,
        }
    }
    masked.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// How many bytes at the start of `bytes` are a card number, parted by single spaces or dashes or not at all.
fn card_number_at(bytes: &[u8]) -> Option<usize> {
    let mut digits = Vec::with_capacity(*CARD_NUMBER_DIGITS.end());
    for (index, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits.push(byte - b'0'),
            b' ' | b'-' if bytes[index - 1].is_ascii_digit() => continue,
            _ => return None,
        }
        if digits.len() > *CARD_NUMBER_DIGITS.end() {
            return None;
        }
        let group_ends = !bytes.get(index + 1).is_some_and(u8::is_ascii_digit);
        if group_ends && CARD_NUMBER_DIGITS.contains(&digits.len()) && is_card_number(&digits) {
            return Some(index + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_seen_however_they_are_written() {
        for text in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "card 5555-5555-5555-4444 thanks",
            "378282246310005",
            "ref 3782.822463.10005",
            "12 4111  1111 1111 1111 99",
        ] {
            assert!(holds_card_number(text), "{text}");
        }
    }

    #[test]
    fn ordinary_references_pass() {
        for text in ["", "ORDER-2026-000123", "+44 20 7946 0958", "4111111111111112", "0000000000000000"] {
            assert!(!holds_card_number(text), "{text}");
        }
    }

    #[test]
    fn random_ids_are_no_card_numbers() {
        // Each holds a Luhn-valid run.
        for id in ["41111111-1111-1111-ab9a-9e1773078f78", "ch_4111111111111111b9a29e1773078f78"] {
            assert!(!holds_card_number(id) && mask_card_numbers(id).is_none(), "{id}");
        }
        for text in [
            "41111111-1111-1111-ab9a",
            "41111111-1111-1111-ab9a-9e1773078f780",
            "4111111111111111b9a29e1773078f78a",
            "41111111-11111111-0000-0000-000000000000",
            "b9a29e1773078f78b9a29e1773078f78 4111111111111111",
        ] {
            assert!(holds_card_number(text) && mask_card_numbers(text).is_some(), "{text}");
        }
    }

    #[test]
    fn card_numbers_in_log_lines_are_hidden() {
        let mask = |text| mask_card_numbers(text).unwrap_or_else(|| "(as it is)".to_owned());
        insta::assert_snapshot!(mask("digit 4111111111111111 seen"), @"digit **************** seen");
        insta::assert_snapshot!(mask("3782-822463-10005"), @"*****************");
        insta::assert_snapshot!(mask("rtp from 192.168.100.200:20000 at 2026-11-23T04:24:43.123456Z"), @"(as it is)");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _ = holds_card_number(&text);
            let _ = mask_card_numbers(&text);
        }
    }
}
