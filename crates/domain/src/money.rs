//! Money: whole minor units and an ISO 4217 currency. Text comes in exactly or not at all.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// More digits than any price needs; keeps every sum far inside `i64`.
const AMOUNT_DIGITS_MAX: usize = 15;

/// An ISO 4217 currency that has a minor unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// The currency with this three-letter code, in capitals.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`] when ISO 4217 has no such code, or gives it no minor unit.
    pub fn from_code(code: &str) -> Result<Self, MoneyError> {
        iso_currency::Currency::from_code(code)
            .filter(|currency| currency.exponent().is_some())
            .map(Self)
            .ok_or(MoneyError::UnknownCurrency)
    }

    /// The three-letter code.
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// How many decimals the minor unit has: 2 for GBP, 0 for JPY, 3 for KWD.
    #[must_use]
    pub fn exponent(self) -> u8 {
        self.0.exponent().and_then(|exponent| u8::try_from(exponent).ok()).unwrap_or(0)
    }
}

/// An amount greater than zero in the currency's minor unit. Stored as `{"minor":1240,"currency":"GBP"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "StoredMoney", try_from = "StoredMoney")]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl Money {
    /// An amount from minor units (pence, cents).
    ///
    /// # Errors
    /// [`MoneyError::NotPositive`] below 1; [`MoneyError::TooLong`] above 15 digits.
    pub fn from_minor(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        match minor {
            ..=0 => Err(MoneyError::NotPositive),
            1_000_000_000_000_000.. => Err(MoneyError::TooLong),
            _ => Ok(Self { minor, currency }),
        }
    }

    /// An amount from text such as `12.40`: digits, then at most as many decimals as the currency has.
    ///
    /// # Errors
    /// What is wrong with the text, never the text itself.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let exponent = usize::from(currency.exponent());
        let (whole, fraction) = match text.split_once('.') {
            Some((_, "")) => return Err(MoneyError::Malformed),
            Some((whole, fraction)) => (whole, fraction),
            None => (text, ""),
        };
        let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits_only(whole) || !digits_only(fraction) {
            return Err(MoneyError::Malformed);
        }
        if fraction.len() > exponent {
            return Err(MoneyError::TooManyDecimals { code: currency.code(), allowed: currency.exponent() });
        }
        let digits = format!("{whole}{fraction:0<exponent$}");
        let digits = digits.trim_start_matches('0');
        if digits.len() > AMOUNT_DIGITS_MAX {
            return Err(MoneyError::TooLong);
        }
        let minor = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| MoneyError::Malformed)? };
        Self::from_minor(minor, currency)
    }

    /// The amount in minor units.
    #[must_use]
    pub fn minor(self) -> i64 {
        self.minor
    }

    /// The currency.
    #[must_use]
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// The amount as a decimal number with all the currency's decimals, such as `12.40`.
    #[must_use]
    pub fn decimal(self) -> String {
        let exponent = usize::from(self.currency.exponent());
        let digits = format!("{:0>width$}", self.minor, width = exponent + 1);
        let (whole, fraction) = digits.split_at(digits.len() - exponent);
        if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.decimal(), self.currency.code())
    }
}

/// [`Money`] as it is stored.
#[derive(Serialize, Deserialize)]
struct StoredMoney {
    minor: i64,
    currency: String,
}

impl From<Money> for StoredMoney {
    fn from(money: Money) -> Self {
        Self { minor: money.minor, currency: money.currency.code().to_owned() }
    }
}

impl TryFrom<StoredMoney> for Money {
    type Error = MoneyError;

    fn try_from(stored: StoredMoney) -> Result<Self, MoneyError> {
        Self::from_minor(stored.minor, Currency::from_code(&stored.currency)?)
    }
}

/// Why a text is no amount. The caller's mistake.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MoneyError {
    /// The code is not in ISO 4217.
    #[error("is not an ISO 4217 currency code such as \"GBP\"")]
    UnknownCurrency,
    /// Anything but digits and one decimal point.
    #[error("must be digits with an optional decimal point, such as \"12.40\"")]
    Malformed,
    /// More decimals than the currency has.
    #[error("has too many decimals: {code} has {allowed}")]
    TooManyDecimals {
        /// The currency.
        code: &'static str,
        /// How many it has.
        allowed: u8,
    },
    /// More than 15 digits.
    #[error("has more than 15 digits")]
    TooLong,
    /// Zero or less.
    #[error("must be greater than zero")]
    NotPositive,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, code: &str) -> Result<i64, MoneyError> {
        Money::parse(text, Currency::from_code(code)?).map(Money::minor)
    }

    #[test]
    fn amounts_are_read_exactly() {
        assert_eq!(parse("12.40", "GBP"), Ok(1240));
        assert_eq!(parse("12.4", "GBP"), Ok(1240));
        assert_eq!(parse("12", "GBP"), Ok(1200));
        assert_eq!(parse("0.01", "GBP"), Ok(1));
        assert_eq!(parse("12", "JPY"), Ok(12));
        assert_eq!(parse("1.234", "KWD"), Ok(1234));
        assert_eq!(parse("9999999999999.99", "GBP"), Ok(999_999_999_999_999));
    }

    #[test]
    fn anything_else_is_refused() {
        let decimals = |code, allowed| Err(MoneyError::TooManyDecimals { code, allowed });
        assert_eq!(parse("12.405", "GBP"), decimals("GBP", 2));
        assert_eq!(parse("12.40", "JPY"), decimals("JPY", 0));
        for text in ["", "abc", "1,200.00", "+1", "-1", "1e3", ".5", "5.", "1.2.3", " 1", "１"] {
            assert_eq!(parse(text, "GBP"), Err(MoneyError::Malformed), "{text:?}");
        }
        assert_eq!(parse("0", "GBP"), Err(MoneyError::NotPositive));
        assert_eq!(parse("0.00", "GBP"), Err(MoneyError::NotPositive));
        assert_eq!(parse("99999999999999.99", "GBP"), Err(MoneyError::TooLong));
        assert_eq!(parse("1", "gbp"), Err(MoneyError::UnknownCurrency));
        assert_eq!(parse("1", "XAU"), Err(MoneyError::UnknownCurrency));
    }

    #[test]
    fn what_is_stored_is_checked_when_it_is_read_back() {
        let money = Money::parse("12.40", Currency::from_code("GBP").unwrap()).unwrap();
        let stored = serde_json::to_string(&money).unwrap();
        assert_eq!(stored, r#"{"minor":1240,"currency":"GBP"}"#);
        assert_eq!(serde_json::from_str::<Money>(&stored).unwrap(), money);
        for wrong in [r#"{"minor":0,"currency":"GBP"}"#, r#"{"minor":1,"currency":"XAU"}"#] {
            assert!(serde_json::from_str::<Money>(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back(minor in 1_i64..1_000_000_000_000_000) {
            for code in ["GBP", "JPY", "KWD"] {
                let currency = Currency::from_code(code).unwrap();
                let money = Money::from_minor(minor, currency).unwrap();
                proptest::prop_assert_eq!(Money::parse(&money.decimal(), currency), Ok(money));
            }
        }
    }
}
