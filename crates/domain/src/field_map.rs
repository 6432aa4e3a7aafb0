//! What a payment flow says about the names of `paymentData`: which must be there, and in what form.

use std::collections::BTreeMap;

use crate::payment_data::PaymentDataError;
use crate::text::holds_card_number;

/// The rules of one flow. Without any, every name is passed through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldMap {
    /// The names that it knows.
    pub rules: Vec<FieldRule>,
    /// What becomes of the others.
    pub others: OtherNames,
}

/// One name of `paymentData`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// The name; it counts in any case.
    pub name: String,
    /// Whether a session cannot be opened without it.
    pub required: bool,
    /// The form of its value.
    pub format: DataFormat,
    /// The most characters that the value may have.
    pub chars_max: usize,
}

/// The form of a value. They catch slips, not lies: whether an address exists, only a letter tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataFormat {
    /// Any text.
    Text,
    /// Digits only.
    Digits,
    /// `name@host`.
    Email,
    /// E.164: `+` and 7 to 15 digits.
    Phone,
    /// ISO 3166-1 alpha-2: two capital letters.
    Country,
}

/// What becomes of names without a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtherNames {
    /// They are kept and echoed.
    #[default]
    PassedThrough,
    /// They are a mistake.
    Refused,
}

/// Every flow needs these two, whatever its rules.
const ALWAYS_KNOWN: [&str; 2] = ["Amount", "Currency"];

impl FieldMap {
    /// Every mistake in these values.
    #[must_use]
    pub fn check(&self, values: &BTreeMap<String, String>) -> Vec<PaymentDataError> {
        let mut mistakes: Vec<PaymentDataError> =
            self.rules.iter().filter_map(|rule| rule.check(values)).collect();
        if self.others == OtherNames::Refused {
            let known = |name: &str| {
                let rules = self.rules.iter().map(|rule| rule.name.as_str());
                rules.chain(ALWAYS_KNOWN).any(|known| known.eq_ignore_ascii_case(name))
            };
            // A name that holds a card number is told by `PaymentData::new`, which does not say it.
            let strangers = values.keys().filter(|name| !known(name) && !holds_card_number(name));
            mistakes.extend(strangers.map(|name| PaymentDataError::NotOfTheFlow(name.clone())));
        }
        mistakes
    }
}

impl FieldRule {
    fn check(&self, values: &BTreeMap<String, String>) -> Option<PaymentDataError> {
        let found = values.iter().find(|(name, _)| name.eq_ignore_ascii_case(&self.name));
        // An empty value is no value.
        let Some((name, value)) = found.filter(|(_, value)| !value.is_empty()) else {
            return self.required.then(|| PaymentDataError::Needed(self.name.clone()));
        };
        if value.chars().count() > self.chars_max {
            return Some(PaymentDataError::TooLongForTheFlow(name.clone(), self.chars_max));
        }
        (!self.format.fits(value)).then(|| PaymentDataError::Format(name.clone(), self.format.wanted()))
    }
}

impl DataFormat {
    /// Every format with its name in the config file.
    pub const ALL: [(&'static str, Self); 5] = [
        ("text", Self::Text),
        ("digits", Self::Digits),
        ("email", Self::Email),
        ("phone", Self::Phone),
        ("country", Self::Country),
    ];

    /// Whether a value has this form.
    #[must_use]
    pub fn fits(self, value: &str) -> bool {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match self {
            Self::Text => true,
            Self::Digits => digits(value),
            Self::Email => value.split_once('@').is_some_and(|(name, host)| {
                !name.is_empty()
                    && !host.is_empty()
                    && !value.contains(char::is_whitespace)
                    && !host.contains('@')
            }),
            Self::Phone => value
                .strip_prefix('+')
                .is_some_and(|rest| digits(rest) && (7..=15).contains(&rest.len()) && !rest.starts_with('0')),
            Self::Country => value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_uppercase()),
        }
    }

    /// What it should be, after "must be".
    #[must_use]
    pub fn wanted(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Digits => "digits only",
            Self::Email => "an e-mail address",
            Self::Phone => "a phone number such as \"+442079460958\"",
            Self::Country => "a country code of two capital letters, such as \"GB\"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, required: bool, format: DataFormat, chars_max: usize) -> FieldRule {
        FieldRule { name: name.to_owned(), required, format, chars_max }
    }

    fn told(map: &FieldMap, pairs: &[(&str, &str)]) -> Vec<String> {
        let values = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        map.check(&values).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_mistake_is_told_at_once_and_no_value() {
        let map = FieldMap {
            rules: vec![
                rule("Email", true, DataFormat::Email, 40),
                rule("Country", false, DataFormat::Country, 2),
                rule("Surname", true, DataFormat::Text, 5),
            ],
            others: OtherNames::Refused,
        };
        insta::assert_snapshot!(
            told(&map, &[("amount", "1"), ("Currency", "GBP"), ("country", "gb"), ("SURNAME", "Lovelace"), ("X", "")])
                .join("\n"),
            @r#"
        paymentData.Email is missing
        paymentData.country must be a country code of two capital letters, such as "GB"
        paymentData.SURNAME is longer than the 5 characters that the flow allows
        paymentData.X is not a name of this flow
        "#
        );
        assert!(told(&map, &[("email", "a@b.c"), ("Surname", "Byron"), ("Amount", "1")]).is_empty());
    }

    #[test]
    fn a_card_number_as_a_name_is_not_told() {
        let map = FieldMap { rules: Vec::new(), others: OtherNames::Refused };
        assert_eq!(told(&map, &[("4111111111111111", "x")]), Vec::<String>::new());
    }

    #[test]
    fn formats_catch_slips() {
        for (format, good, bad) in [
            (DataFormat::Email, "jo@shop.example", "jo shop@example"),
            (DataFormat::Email, "jo@x", "jo@"),
            (DataFormat::Phone, "+442079460958", "02079460958"),
            (DataFormat::Phone, "+1234567", "+123456"),
            (DataFormat::Phone, "+12345678901234", "+02079460958"),
            (DataFormat::Digits, "007", "7a"),
            (DataFormat::Country, "GB", "UKR"),
        ] {
            assert!(format.fits(good) && !format.fits(bad), "{good} {bad}");
        }
    }
}
