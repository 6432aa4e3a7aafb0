//! The fields that a customer keys.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A field of the payment flow. Its value is card data and lives in the `card` room only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The card number (PAN).
    CardNumber,
    /// The expiry, keyed MMYY.
    Expiry,
    /// The security code (CVV): three digits, four for American Express.
    SecurityCode,
}

impl Field {
    /// Every field, in the order in which they are keyed.
    pub const ALL: [Self; 3] = [Self::CardNumber, Self::Expiry, Self::SecurityCode];

    /// The field's name in config, forms and events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CardNumber => "card_number",
            Self::Expiry => "expiry",
            Self::SecurityCode => "security_code",
        }
    }

    /// The field with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
