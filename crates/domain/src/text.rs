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
/// also when spaces, dashes, dots, slashes or underscores split it into groups. A UUID is none.
#[must_use]
pub fn holds_card_number(text: &str) -> bool {
    // Most texts have too few digits: no more than a look at them.
    if text.bytes().filter(u8::is_ascii_digit).count() < *CARD_NUMBER_DIGITS.start() {
        return false;
    }
    let text = &without_uuids(text);
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

/// `text` with every card number in it hidden, or `None` when there is none. For log lines, the last line of
/// defence: it counts what it hides, so numbers that only look like one must not count. Only spaces and dashes
/// part the groups here, and nothing of a word, a decimal or a UUID is a card.
#[must_use]
pub fn mask_card_numbers(text: &str) -> Option<String> {
    let known = without_uuids(text);
    let (bytes, mut masked) = (known.as_bytes(), None);
    let mut from = 0;
    while from < bytes.len() {
        let starts_here =
            (b'2'..=b'6').contains(&bytes[from]) && (from == 0 || !is_part_of_word(bytes[from - 1]));
        let length = starts_here.then(|| card_number_at(&bytes[from..])).flatten();
        match length.filter(|length| !goes_on(&bytes[from + length..])) {
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

/// A letter or a digit before a candidate makes it part of an id, a dot part of a decimal.
fn is_part_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.'
}

/// Whether the id or the decimal goes on after a candidate.
fn goes_on(rest: &[u8]) -> bool {
    match rest {
        [b'.', next, ..] | [next, ..] => next.is_ascii_alphanumeric(),
        [] => false,
    }
}

/// `text` with its UUIDs blanked, byte for byte. One with no letter in it stays: it could be anything.
fn without_uuids(text: &str) -> String {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    const LENGTH: usize = 36;
    let is_uuid = |candidate: &[u8]| {
        let mut groups = candidate.split(|byte| *byte == b'-');
        let shaped = GROUPS.iter().all(|length| {
            groups
                .next()
                .is_some_and(|group| group.len() == *length && group.iter().all(u8::is_ascii_hexdigit))
        });
        shaped && candidate.iter().any(u8::is_ascii_alphabetic)
    };
    let mut bytes = text.as_bytes().to_vec();
    let mut from = 0;
    while from + LENGTH <= bytes.len() {
        if is_uuid(&bytes[from..from + LENGTH]) {
            bytes[from..from + LENGTH].fill(b'u');
            from += LENGTH;
        } else {
            from += 1;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
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
        for text in [
            "",
            "ORDER-2026-000123",
            "+44 20 7946 0958",
            "4111111111111112",
            "0000000000000000",
            "59509155-1234-4175-b26e-941111111111",
            "a1b2c3d4-0000-4000-8348-941111111117",
        ] {
            assert!(!holds_card_number(text), "{text}");
        }
    }

    #[test]
    fn card_numbers_in_log_lines_are_hidden() {
        let mask = |text| mask_card_numbers(text).unwrap_or_else(|| "(as it is)".to_owned());
        insta::assert_snapshot!(mask("digit 4111111111111111 seen"), @"digit **************** seen");
        insta::assert_snapshot!(mask("3782-822463-10005"), @"*****************");
        insta::assert_snapshot!(mask("took 0.4111111111111111s"), @"(as it is)");
        insta::assert_snapshot!(mask("session.id=41111111-1111-1111-b26e-941111111111"), @"(as it is)");
        insta::assert_snapshot!(mask("pan_4111111111111111-99"), @"pan_****************-99");
        insta::assert_snapshot!(mask("card=4111111111111111, next"), @"card=****************, next");
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
