//! A complete card on its way through one attempt.

use hushpad_domain::masked_card::{Brand, MaskedCard};

use crate::brand;
use crate::check::read_expiry;
use crate::secret::Secret;

/// A complete, checked card. Made by [`Capture::take`](crate::Capture::take) only; wiped when dropped.
pub struct Card {
    pub(crate) number: Secret,
    pub(crate) expiry: Secret,
    pub(crate) security_code: Option<Secret>,
}

impl Card {
    /// Shows the number's digits, in ASCII, to `reader`: for writing the gateway request.
    pub fn read_number<R>(&self, reader: impl FnOnce(&[u8]) -> R) -> R {
        self.number.read(reader)
    }

    /// Shows the security code's digits, in ASCII, to `reader`; `None` when the card has none or the flow
    /// does not ask for it.
    pub fn read_security_code<R>(&self, reader: impl FnOnce(Option<&[u8]>) -> R) -> R {
        match &self.security_code {
            Some(code) if !code.is_empty() => code.read(|digits| reader(Some(digits))),
            _ => reader(None),
        }
    }

    /// The month (1 to 12) and the full year through which the card is valid.
    #[must_use]
    pub fn expiry(&self) -> (u8, i32) {
        // A card is only made of a checked expiry; month 0 would be refused by every gateway.
        let (year, month) = self.expiry.read(read_expiry).unwrap_or((2000, 0));
        (month, year)
    }

    /// The brand.
    #[must_use]
    pub fn brand(&self) -> Option<Brand> {
        self.number.read(brand::detect)
    }

    /// Brand, first six and last four digits: all that may leave.
    #[must_use]
    pub fn masked(&self) -> MaskedCard {
        let value = |digits: &[u8]| {
            digits.iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit.wrapping_sub(b'0') % 10))
        };
        let (first6, last4) = self.number.read(|digits| {
            let first6 = value(&digits[..digits.len().min(6)]);
            (first6, value(&digits[digits.len().saturating_sub(4)..]))
        });
        MaskedCard::new(self.brand(), first6, u16::try_from(last4).unwrap_or(0))
    }
}
