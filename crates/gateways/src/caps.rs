//! What a gateway can do.

use std::time::Duration;

use hushpad_domain::attempt::Purpose;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::money::Money;

use crate::amounts::Currencies;
use crate::order::FollowUpKind;

/// What a gateway can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// What the gateway does with a request that it gets twice.
    pub replay: Replay,
    /// Whether an attempt can be found by our reference.
    pub query_by_ref: bool,
    /// Whether an attempt without an answer can be undone by our reference alone.
    pub reverse_by_ref: bool,
    /// How long after the intent "not found" may still change into a charge. After it, it is final.
    pub settle_time: Duration,
    /// The currencies, with their decimals at this gateway.
    pub currencies: Currencies,
    /// The brands that its card numbers may have. The merchant's contract may allow fewer.
    pub brands: &'static [Brand],
    /// Whether it may authorise less than it was asked for.
    pub partial: bool,
    /// Whether it takes telephone orders.
    pub moto: bool,
    /// What attempts may ask for.
    pub purposes: &'static [Purpose],
    /// What may follow an answer.
    pub follow_ups: &'static [FollowUpKind],
    /// Whether it can be asked what became of a follow-up.
    pub query_follow_up: bool,
    /// Whether it says by notification what became of an attempt or a follow-up.
    pub notifies: bool,
    /// Whether a payer on a page can be sent to the bank.
    pub challenge: Challenges,
}

/// Whether a gateway's challenge (3-D Secure) can be done here, and when it is charged then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenges {
    /// Where the issuer wants one, the payment is declined.
    None,
    /// It is charged once we go on after the payer's return, and never without that: a payer who does not come back is
    /// surely not charged.
    ChargedOnReturn,
    /// It may be charged as soon as the payer has confirmed at the bank. Whether it was, must be asked.
    ChargedAtBank,
}

impl Caps {
    /// Whether an amount can be sent in its currency.
    #[must_use]
    pub fn takes(&self, amount: Money) -> bool {
        self.currencies.takes(amount)
    }
}

/// What a gateway does with a request that it gets twice, with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// It processes it twice.
    None,
    /// It gives the first answer again, whatever that was.
    StoresFirst {
        /// For how long.
        window: Duration,
    },
    /// It gives the first answer again if that was a success.
    StoresOnlySuccess {
        /// For how long.
        window: Duration,
    },
    /// It gives the present state of what the first one made.
    ReturnsCurrent {
        /// For how long.
        window: Duration,
    },
    /// The reference is the thing's own name: it is done once, and a second one gets the first answer or is
    /// refused.
    NaturalKey,
}

impl Replay {
    /// Whether the same request may be sent again `age` after the first one without doing it twice.
    #[must_use]
    pub fn is_safe(self, age: Duration) -> bool {
        match self {
            Self::None => false,
            Self::StoresFirst { window }
            | Self::StoresOnlySuccess { window }
            | Self::ReturnsCurrent { window } => age < window,
            Self::NaturalKey => true,
        }
    }
}
