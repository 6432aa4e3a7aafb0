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
/// also when spaces, dashes, dots, slashes or underscores split it into groups.
#[must_use]
pub fn holds_card_number(text: &str) -> bool {
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

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,200}") {
            let _ = holds_card_number(&text);
        }
    }
}
