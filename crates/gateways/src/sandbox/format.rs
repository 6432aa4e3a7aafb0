//! The six gateways, and which of them a path belongs to.

use serde::{Deserialize, Serialize};

use super::http::Reply;
use super::turn::{Stop, Turn};
use super::{adyen, cybersource, generic, mpgs, stripe, worldpay};

/// A gateway whose words are spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the variants are proper names")]
pub enum Format {
    Generic,
    CyberSource,
    Stripe,
    Adyen,
    Worldpay,
    Mpgs,
}

impl Format {
    /// The gateway that has this path.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let first = path.split('/').find(|part| !part.is_empty())?;
        Some(match first {
            "charges" => Self::Generic,
            "pts" | "tss" | "tms" => Self::CyberSource,
            "v1" => Self::Stripe,
            "cardPayments" | "payments" | "tokens" => Self::Worldpay,
            "api" => Self::Mpgs,
            version if version.len() == 3 && version.starts_with('v') => Self::Adyen,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::CyberSource => "cybersource",
            Self::Stripe => "stripe",
            Self::Adyen => "adyen",
            Self::Worldpay => "worldpay",
            Self::Mpgs => "mpgs",
        }
    }

    /// Answers a request of this gateway.
    pub(super) fn answer(self, turn: &mut Turn<'_>) -> Result<Reply, Stop> {
        match self {
            Self::Generic => generic::answer(turn),
            Self::CyberSource => cybersource::answer(turn),
            Self::Stripe => stripe::answer(turn),
            Self::Adyen => adyen::answer(turn),
            Self::Worldpay => worldpay::answer(turn),
            Self::Mpgs => mpgs::answer(turn),
        }
    }

    /// An error of the gateway itself, in its words: status 429, 500 or 503.
    pub(super) fn trouble(self, status: u16) -> Reply {
        match self {
            Self::Generic => generic::trouble(status),
            Self::CyberSource => cybersource::trouble(status),
            Self::Stripe => stripe::trouble(status),
            Self::Adyen => adyen::trouble(status),
            Self::Worldpay => worldpay::trouble(status),
            Self::Mpgs => mpgs::trouble(status),
        }
    }
}
