//! `paymentData`: what the back end knows of the payment before a card is keyed.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::money::{Currency, Money, MoneyError};
use crate::text::holds_card_number;

/// More names than any gateway's form has.
pub const NAMES_MAX: usize = 64;
/// A name in the published API is under 40 characters.
pub const NAME_CHARS_MAX: usize = 64;
/// Long enough for an address line or a description; gateways cut earlier.
pub const VALUE_CHARS_MAX: usize = 512;

/// The pre-filled values of a session, checked. Names keep the caller's spelling; a look-up ignores case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentData {
    values: BTreeMap<String, String>,
    amount: Money,
}

impl PaymentData {
    /// Checks the values and reads the amount.
    ///
    /// # Errors
    /// Every mistake at once, each with the name it concerns, none with the value.
    pub fn new(values: BTreeMap<String, String>) -> Result<Self, Vec<PaymentDataError>> {
        let mut mistakes = check_texts(&values);
        match read_amount(&values) {
            Ok(amount) if mistakes.is_empty() => return Ok(Self { values, amount }),
            Ok(_) => {}
            Err(mistake) => mistakes.push(mistake),
        }
        Err(mistakes)
    }

    /// Values read back from the store, which were checked when they came in.
    #[must_use]
    pub fn from_stored(values: BTreeMap<String, String>, amount: Money) -> Self {
        Self { values, amount }
    }

    /// The amount: fixed from here to the gateway (G6).
    #[must_use]
    pub fn amount(&self) -> Money {
        self.amount
    }

    /// The same data for another amount, as for the rest of a split payment.
    #[must_use]
    pub fn with_amount(&self, amount: Money) -> Self {
        let mut values = self.values.clone();
        if amount != self.amount {
            for (name, value) in &mut values {
                if name.eq_ignore_ascii_case("Amount") {
                    *value = amount.decimal();
                }
            }
        }
        Self { values, amount }
    }

    /// The value of a name, whatever its case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        find(&self.values, name)
    }

    /// The merchant's own reference, when one was given.
    #[must_use]
    pub fn reference(&self) -> Option<&str> {
        self.get("MerchantReferenceCode")
    }

    /// All values, as they came.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }
}

/// One mistake in `paymentData`. The caller's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PaymentDataError {
    /// `Amount` or `Currency` is not there.
    #[error("paymentData.{0} is missing")]
    Missing(&'static str),
    /// `Amount` or `Currency` is not money.
    #[error("paymentData.{0} {1}")]
    Money(&'static str, MoneyError),
    /// A text holds a card number.
    #[error("paymentData.{0} holds a card number: card data must never be sent here")]
    CardNumber(String),
    /// A name holds a card number, so it cannot even be named.
    #[error("a name in paymentData holds a card number: card data must never be sent here")]
    CardNumberInName,
    /// A value is longer than [`VALUE_CHARS_MAX`].
    #[error("paymentData.{0} is longer than {VALUE_CHARS_MAX} characters")]
    TooLong(String),
    /// A name is empty or longer than [`NAME_CHARS_MAX`].
    #[error("a name in paymentData is empty or longer than {NAME_CHARS_MAX} characters")]
    BadName,
    /// The same name twice, in different case.
    #[error("paymentData.{0} is there twice")]
    Twice(String),
    /// More names than [`NAMES_MAX`].
    #[error("paymentData has more than {NAMES_MAX} names")]
    TooMany,
    /// The flow needs this name.
    #[error("paymentData.{0} is missing")]
    Needed(String),
    /// The flow wants another form.
    #[error("paymentData.{0} must be {1}")]
    Format(String, &'static str),
    /// The flow allows fewer characters.
    #[error("paymentData.{0} is longer than the {1} characters that the flow allows")]
    TooLongForTheFlow(String, usize),
    /// The flow knows no such name, and takes no others.
    #[error("paymentData.{0} is not a name of this flow")]
    NotOfTheFlow(String),
    /// A control character.
    #[error("paymentData.{0} holds a control character")]
    ControlCharacter(String),
}

impl PaymentDataError {
    /// The name that it concerns; `None` when that cannot be told or is all of them.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Missing(name) | Self::Money(name, _) => Some(name),
            Self::CardNumber(name)
            | Self::TooLong(name)
            | Self::Twice(name)
            | Self::Needed(name)
            | Self::Format(name, _)
            | Self::TooLongForTheFlow(name, _)
            | Self::NotOfTheFlow(name)
            | Self::ControlCharacter(name) => Some(name),
            Self::CardNumberInName | Self::BadName | Self::TooMany => None,
        }
    }

    /// Whether card data was sent.
    #[must_use]
    pub fn is_card_data(&self) -> bool {
        matches!(self, Self::CardNumber(_) | Self::CardNumberInName)
    }
}

fn check_texts(values: &BTreeMap<String, String>) -> Vec<PaymentDataError> {
    let mut mistakes = Vec::new();
    if values.len() > NAMES_MAX {
        return vec![PaymentDataError::TooMany];
    }
    let mut seen: Vec<String> = Vec::with_capacity(values.len());
    for (name, value) in values {
        let mut report = |mistake| mistakes.push(mistake);
        if holds_card_number(name) {
            report(PaymentDataError::CardNumberInName);
            continue;
        }
        if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            report(PaymentDataError::BadName);
            continue;
        }
        if value.chars().count() > VALUE_CHARS_MAX {
            report(PaymentDataError::TooLong(name.clone()));
        }
        if holds_card_number(value) {
            report(PaymentDataError::CardNumber(name.clone()));
        }
        if value.chars().any(char::is_control) {
            report(PaymentDataError::ControlCharacter(name.clone()));
        }
        let lower = name.to_lowercase();
        if seen.contains(&lower) {
            report(PaymentDataError::Twice(name.clone()));
        }
        seen.push(lower);
    }
    mistakes
}

fn read_amount(values: &BTreeMap<String, String>) -> Result<Money, PaymentDataError> {
    let text = |name: &'static str| find(values, name).ok_or(PaymentDataError::Missing(name));
    let (amount, currency) = (text("Amount")?, text("Currency")?);
    let currency =
        Currency::from_code(currency).map_err(|error| PaymentDataError::Money("Currency", error))?;
    Money::parse(amount, currency).map_err(|error| PaymentDataError::Money("Amount", error))
}

fn find<'a>(values: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    values.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(pairs: &[(&str, &str)]) -> Result<PaymentData, Vec<PaymentDataError>> {
        PaymentData::new(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn names_are_found_in_any_case() {
        let data =
            data(&[("amount", "12.40"), ("CURRENCY", "GBP"), ("merchantReferenceCode", "A1")]).unwrap();
        assert_eq!(data.amount().to_string(), "12.40 GBP");
        assert_eq!(data.reference(), Some("A1"));
    }

    #[test]
    fn every_mistake_is_told_at_once_and_no_value_is_echoed() {
        let mistakes =
            data(&[("Amount", "12.405"), ("Currency", "GBP"), ("Note", "my card 4111 1111 1111 1111")])
                .unwrap_err();
        let told = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(told, @r"
        paymentData.Note holds a card number: card data must never be sent here
        paymentData.Amount has too many decimals: GBP has 2
        ");
    }

    #[test]
    fn a_card_number_as_a_name_is_not_echoed() {
        let mistakes = data(&[("Amount", "1"), ("Currency", "GBP"), ("4111111111111111", "x")]).unwrap_err();
        assert_eq!(mistakes, vec![PaymentDataError::CardNumberInName]);
    }
}
