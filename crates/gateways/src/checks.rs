//! What issuers' letters say of address and security code. Several gateways hand them on as they are.

use hushpad_domain::attempt::Check;

/// The letter of the address verification service, as Visa and Mastercard set them and CyberSource lists them:
/// first line of the address, postcode.
pub(crate) fn avs_letter(letter: &str) -> (Check, Check) {
    use Check::{Match, NoMatch, NotChecked};
    match letter {
        "D" | "H" | "M" | "V" | "X" | "Y" => (Match, Match),
        "A" | "O" => (Match, NoMatch),
        "B" | "T" => (Match, NotChecked),
        // F is both in the United Kingdom, and the postcode alone at American Express.
        "F" | "L" | "P" => (NotChecked, Match),
        "W" | "Z" => (NoMatch, Match),
        "C" | "K" | "N" => (NoMatch, NoMatch),
        _ => (NotChecked, NotChecked),
    }
}

/// The letter of the check of the security code.
pub(crate) fn code_letter(letter: &str) -> Check {
    match letter {
        "M" => Check::Match,
        "N" => Check::NoMatch,
        _ => Check::NotChecked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_letters_with_a_meaning_say_something() {
        assert_eq!(avs_letter("Y"), (Check::Match, Check::Match));
        assert_eq!(avs_letter("A"), (Check::Match, Check::NoMatch));
        assert_eq!(avs_letter("Z"), (Check::NoMatch, Check::Match));
        assert_eq!(avs_letter("N"), (Check::NoMatch, Check::NoMatch));
        for letter in ["", "U", "R", "S", "G", "I", "E", "1", "2", "?", "YY"] {
            assert_eq!(avs_letter(letter), (Check::NotChecked, Check::NotChecked), "{letter}");
        }
        let codes = ["M", "N", "P", "S", "U", ""].map(code_letter);
        assert_eq!(codes[..2], [Check::Match, Check::NoMatch]);
        assert!(codes[2..].iter().all(|code| *code == Check::NotChecked));
    }
}
