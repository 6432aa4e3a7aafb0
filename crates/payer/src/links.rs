//! What the payer page needs from the secure side.

use std::net::IpAddr;

use async_trait::async_trait;
use hushpad_card::Card;
use hushpad_domain::attempt::DeclineClass;
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::money::Money;
use hushpad_domain::time::Tick;

/// Payment links, as their page sees them. `server` stands behind it.
#[async_trait]
pub trait PaymentLinks: Send + Sync {
    /// What the link shows now. The first look tells the agent that the link was opened. When a payment is
    /// under way, it is waited for a few seconds, so that a page without scripts mostly shows the outcome.
    ///
    /// # Errors
    /// [`LinkRefused`].
    async fn look(&self, code: &LinkCode) -> Result<Sight, LinkRefused>;

    /// The payer has typed so much of a field.
    async fn typing(&self, code: &LinkCode, typing: Typing);

    /// Pays with this card, if the link still shows the form of this `round`. When this returns, the link shows no
    /// form of this round any more.
    ///
    /// # Errors
    /// [`PayRefused`]; surely nothing was sent then.
    async fn pay(&self, code: &LinkCode, round: u32, card: Card, from: Visitor) -> Result<(), PayRefused>;

    /// The payer is back from the bank's own check. What came along is for the gateway's connector.
    ///
    /// # Errors
    /// [`LinkRefused`].
    async fn back(&self, code: &LinkCode, came_along: &[u8]) -> Result<(), LinkRefused>;

    /// The year and month in the most lenient time zone, for expiries.
    fn today(&self) -> (i32, u8);

    /// The monotonic clock.
    fn tick(&self) -> Tick;
}

/// Where a request comes from: `server` puts it into the request's extensions. Requests without it share one
/// allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(pub IpAddr);

/// Who asks to pay, as far as the browser says: the bank may want to know (EMV 3-D Secure).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visitor {
    /// From where.
    pub address: Option<IpAddr>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// `Accept`.
    pub accept: Option<String>,
    /// `Accept-Language`.
    pub languages: Option<String>,
}

/// The code in a payment link. A secret: who has it may pay. No `Debug`: nothing prints it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LinkCode([u8; Self::BYTES]);

impl LinkCode {
    /// A guid and twelve bytes that cannot be guessed.
    pub const BYTES: usize = 28;

    /// The code of these bytes.
    #[must_use]
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The code with this text; `None` for any other text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        use base64::Engine;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The code as it stands in a link: 38 characters of a URL's path.
    #[must_use]
    pub fn text(&self) -> String {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0)
    }
}

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Who gets the money, as the payer knows them.
    pub payee: String,
    /// How much (G6).
    pub amount: Money,
    /// The merchant's reference, if any.
    pub reference: Option<String>,
}

/// What a link shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The form.
    Form(Form),
    /// The payment is under way: do not pay again.
    Processing(Bill),
    /// The bank wants to check that it is the cardholder (3-D Secure).
    Challenge(Bill, Challenge),
    /// It is over.
    Over(Bill, Outcome),
}

/// The form, and what to say above it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// What is to be paid.
    pub bill: Bill,
    /// Grows with every card that was sent: a form of an older round pays nothing.
    pub round: u32,
    /// The fields.
    pub fields: Vec<Field>,
    /// The brands that are taken.
    pub brands: Vec<Brand>,
    /// How the last card was declined, if one was.
    pub declined: Option<DeclineClass>,
    /// The last card was surely not charged: the gateway could not be reached.
    pub not_sent: bool,
}

/// Where the payer's bank checks who is paying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Where to: `https`, at the gateway or the bank.
    pub url: String,
    /// What is posted there; none means a plain link.
    pub fields: Vec<(String, String)>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Paid.
    Paid {
        /// With this card.
        card: Option<MaskedCard>,
    },
    /// Paid, and the merchant looks at it first.
    Review,
    /// Declined for good.
    Declined,
    /// Withdrawn by the merchant.
    Withdrawn,
    /// Too late.
    Expired,
}

/// How far the payer is in one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typing {
    /// Which field.
    pub field: Field,
    /// How many characters it has, at most 32.
    pub typed: u8,
}

/// The link opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkRefused {
    /// There is no such link. Links that were withdrawn long ago look the same.
    NoSuchLink,
    /// Not just now: try again in a moment.
    Unavailable,
}

/// Why a card was not taken. It is wiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayRefused {
    /// The link opens nothing.
    Link(LinkRefused),
    /// Another card is on its way, or the link is over: look again.
    NotNow,
}
