//! Payment links: the other way in which a payer gives the card, besides the keypad of a phone.
//!
//! A session is paid by one way at a time and may move between them ([`Way`]); its guid and its amount stay. A link
//! pays once, until it expires or is revoked. Only the newest link of a session opens; a renewed one makes those
//! before it worthless.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The longest that a link may live. Longer, and the amount, the card's holder and the mailbox may have changed.
pub const LINK_LIFE_MAX: Duration = Duration::from_secs(72 * 3600);
/// Links of one session. Somebody who needs more sends them to the wrong place, or is a program gone wild.
pub const LINKS_MAX: u16 = 20;

/// How the payer gives the card now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Keyed on the phone, or on the test keypad.
    Keypad,
    /// Typed into the page behind a payment link.
    Link(Link),
}

/// The payment link of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in the session, from 1.
    pub no: LinkNo,
    /// What became of it.
    pub state: LinkState,
    /// From then on it opens nothing, and the session is over.
    pub expires_on: Timestamp,
}

/// The number of a link within its session, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkNo(pub u16);

impl fmt::Display for LinkNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Nobody has opened it yet.
    Issued,
    /// The payer has opened it.
    Opened,
    /// It was revoked: it opens nothing any more, and can be renewed.
    Revoked,
}

impl LinkState {
    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Opened => "opened",
            Self::Revoked => "revoked",
        }
    }
}

/// The address of a payer page. A secret: who has it may pay. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct PaymentLinkUrl(pub String);

impl PaymentLinkUrl {
    /// The address itself, for the one who is to pass it on.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PaymentLinkUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PaymentLinkUrl(…)")
    }
}
