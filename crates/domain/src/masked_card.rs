//! What may be known of a card outside the secure side.

use serde::{Deserialize, Serialize};

/// A card's brand by its number (ISO/IEC 7812 ranges as the schemes publish them).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the variants are proper names")]
pub enum Brand {
    Visa,
    Mastercard,
    Amex,
    Diners,
    Discover,
    Jcb,
    UnionPay,
    Maestro,
}

impl Brand {
    /// Every brand.
    pub const ALL: [Self; 8] = [
        Self::Visa,
        Self::Mastercard,
        Self::Amex,
        Self::Diners,
        Self::Discover,
        Self::Jcb,
        Self::UnionPay,
        Self::Maestro,
    ];

    /// The brand as people write it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Visa => "Visa",
            Self::Mastercard => "Mastercard",
            Self::Amex => "American Express",
            Self::Diners => "Diners Club",
            Self::Discover => "Discover",
            Self::Jcb => "JCB",
            Self::UnionPay => "UnionPay",
            Self::Maestro => "Maestro",
        }
    }
}

/// Brand, first six and last four digits (PCI DSS 3.4.1). By its size it cannot hold a card number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskedCard {
    brand: Option<Brand>,
    first6: u32,
    last4: u16,
}

impl MaskedCard {
    /// The mask of a card. `first6` below 1,000,000 and `last4` below 10,000: larger numbers are cut.
    #[must_use]
    pub fn new(brand: Option<Brand>, first6: u32, last4: u16) -> Self {
        Self { brand, first6: first6 % 1_000_000, last4: last4 % 10_000 }
    }

    /// The brand, when the number is in a known range.
    #[must_use]
    pub fn brand(&self) -> Option<Brand> {
        self.brand
    }

    /// The first six digits.
    #[must_use]
    pub fn first6(&self) -> String {
        format!("{:06}", self.first6)
    }

    /// The last four digits.
    #[must_use]
    pub fn last4(&self) -> String {
        format!("{:04}", self.last4)
    }
}
