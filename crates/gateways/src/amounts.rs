//! Amounts as each gateway writes them. The decimals of a currency are the gateway's, not always ISO 4217's.

use hushpad_domain::money::{Currency, Money};

use crate::connector::BuildError;

/// The currencies of one gateway: what everyone writes alike, and what it writes in its own way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currencies {
    own: &'static [Unit],
    written: Written,
}

impl Currencies {
    /// For a gateway that takes whole numbers of its smallest unit.
    pub(crate) const fn in_minor_units(own: &'static [Unit]) -> Self {
        Self { own, written: Written::Minor }
    }

    /// For a gateway that takes decimal text with ISO 4217's decimals.
    pub(crate) const fn in_decimals(own: &'static [Unit]) -> Self {
        Self { own, written: Written::Decimal }
    }

    /// For a gateway that takes decimal text in every currency of ISO 4217.
    pub(crate) const fn all_in_decimals() -> Self {
        Self { own: &[], written: Written::AnyDecimal }
    }

    /// Whether the amount can be written for this gateway.
    #[must_use]
    pub fn takes(&self, amount: Money) -> bool {
        match self.written {
            Written::Minor => minor(amount, self.own).is_ok(),
            Written::Decimal => decimal(amount, self.own).is_ok(),
            Written::AnyDecimal => true,
        }
    }

    /// How many decimals the gateway gives a currency; `None` where it is not taken.
    #[must_use]
    pub fn decimals(&self, currency: Currency) -> Option<u8> {
        match self.written {
            Written::Minor => unit(currency, self.own).map(|unit| unit.decimals),
            Written::Decimal => unit(currency, self.own)
                .map(|unit| unit.decimals)
                .filter(|decimals| *decimals == currency.exponent()),
            Written::AnyDecimal => Some(currency.exponent()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Minor,
    Decimal,
    AnyDecimal,
}

/// How one gateway writes one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    code: &'static str,
    decimals: u8,
    /// Amounts in the gateway's unit must be a multiple of this.
    multiple: i64,
}

impl Unit {
    pub(crate) const fn new(code: &'static str, decimals: u8) -> Self {
        Self { code, decimals, multiple: 1 }
    }

    pub(crate) const fn in_multiples_of(code: &'static str, decimals: u8, multiple: i64) -> Self {
        Self { code, decimals, multiple }
    }
}

/// What every gateway here writes with two decimals, as ISO 4217 does.
const TWO_DECIMALS: [&str; 29] = [
    "AED", "AUD", "BGN", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "ILS", "INR", "MXN",
    "MYR", "NOK", "NZD", "PHP", "PLN", "QAR", "RON", "SAR", "SEK", "SGD", "THB", "TRY", "USD", "ZAR",
];

/// The amount in the gateway's smallest unit; `own` is what differs from [`TWO_DECIMALS`].
///
/// # Errors
/// [`BuildError::Currency`] when neither has the currency, or the amount is no whole number of units.
pub(crate) fn minor(amount: Money, own: &[Unit]) -> Result<i64, BuildError> {
    let unit = unit(amount.currency(), own).ok_or(BuildError::Currency)?;
    let (ours, theirs) = (amount.currency().exponent(), unit.decimals);
    let scale = 10_i64.checked_pow(u32::from(ours.abs_diff(theirs))).ok_or(BuildError::Currency)?;
    let minor = if theirs >= ours {
        amount.minor().checked_mul(scale)
    } else {
        (amount.minor() % scale == 0).then_some(amount.minor() / scale)
    };
    minor.filter(|minor| minor % unit.multiple == 0).ok_or(BuildError::Currency)
}

/// What an amount in the gateway's smallest unit is; `None` where it is not whole in ours, or not positive.
pub(crate) fn from_minor(minor: i64, currency: Currency, own: &[Unit]) -> Option<Money> {
    let (ours, theirs) = (currency.exponent(), unit(currency, own)?.decimals);
    let scale = 10_i64.checked_pow(u32::from(ours.abs_diff(theirs)))?;
    let minor = if ours >= theirs {
        minor.checked_mul(scale)?
    } else {
        (minor % scale == 0).then_some(minor / scale)?
    };
    Money::from_minor(minor, currency).ok()
}

/// The amount as decimal text with ISO 4217's decimals, for gateways that take those.
///
/// # Errors
/// [`BuildError::Currency`] when the gateway does not have the currency with just these decimals.
pub(crate) fn decimal(amount: Money, own: &[Unit]) -> Result<String, BuildError> {
    let unit = unit(amount.currency(), own).ok_or(BuildError::Currency)?;
    if unit.decimals != amount.currency().exponent() {
        return Err(BuildError::Currency);
    }
    Ok(amount.decimal())
}

fn unit(currency: Currency, own: &[Unit]) -> Option<Unit> {
    let code = currency.code();
    own.iter()
        .copied()
        .find(|unit| unit.code == code)
        .or_else(|| TWO_DECIMALS.iter().find(|listed| **listed == code).map(|listed| Unit::new(listed, 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(text: &str, code: &str) -> Money {
        Money::parse(text, Currency::from_code(code).unwrap()).unwrap()
    }

    #[test]
    fn a_gateways_own_decimals_count() {
        let own = [
            Unit::new("CLP", 2),
            Unit::new("IDR", 0),
            Unit::in_multiples_of("KWD", 3, 10),
            Unit::new("JPY", 0),
        ];
        assert_eq!(minor(money("12.40", "GBP"), &own), Ok(1240));
        assert_eq!(minor(money("1240", "JPY"), &own), Ok(1240));
        assert_eq!(minor(money("1240", "CLP"), &own), Ok(124_000));
        assert_eq!(minor(money("1240.00", "IDR"), &own), Ok(1240));
        assert_eq!(minor(money("1240.50", "IDR"), &own), Err(BuildError::Currency));
        assert_eq!(minor(money("1.230", "KWD"), &own), Ok(1230));
        assert_eq!(minor(money("1.234", "KWD"), &own), Err(BuildError::Currency));
        assert_eq!(minor(money("1.00", "MGA"), &own), Err(BuildError::Currency));
        for text in ["12.40 GBP", "1240 JPY", "1240 CLP", "1240.00 IDR", "1.230 KWD"] {
            let (amount, code) = text.split_once(' ').unwrap();
            let amount = money(amount, code);
            assert_eq!(from_minor(minor(amount, &own).unwrap(), amount.currency(), &own), Some(amount));
        }
    }

    #[test]
    fn decimal_text_is_only_for_currencies_whose_decimals_agree() {
        let own = [Unit::new("CLP", 2), Unit::new("JPY", 0)];
        assert_eq!(decimal(money("12.4", "GBP"), &own), Ok("12.40".to_owned()));
        assert_eq!(decimal(money("12", "JPY"), &own), Ok("12".to_owned()));
        assert_eq!(decimal(money("12", "CLP"), &own), Err(BuildError::Currency));
        assert_eq!(decimal(money("12", "ISK"), &own), Err(BuildError::Currency));
    }
}
