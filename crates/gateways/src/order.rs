//! What a gateway is asked for: an order with what pays for it, and what may follow once it is answered.

use hushpad_card::Card;
use hushpad_domain::attempt::{Attempt, StoredCard};
use hushpad_domain::challenge::Browser;
use hushpad_domain::ids::OperationId;
use hushpad_domain::money::Money;
use hushpad_domain::payment_data::PaymentData;
use serde::{Deserialize, Serialize};

/// What is to be done, with all that is known of it but the card. What for is [`Attempt::purpose`].
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// The attempt; its amount is what is authorised (G6), its id is our reference.
    pub attempt: &'a Attempt,
    /// What the back end gave with the session.
    pub payment_data: &'a PaymentData,
    /// How the card came to us.
    pub channel: Channel<'a>,
    /// Whether the card is kept, or was.
    pub credential: Credential,
}

impl<'a> Order<'a> {
    /// An order by telephone with a card that is used once.
    #[must_use]
    pub fn by_phone(attempt: &'a Attempt, payment_data: &'a PaymentData) -> Self {
        Self { attempt, payment_data, channel: Channel::Moto, credential: Credential::Once }
    }

    /// An order from a page with a card that is used once.
    #[must_use]
    pub fn by_page(attempt: &'a Attempt, payment_data: &'a PaymentData, browser: &'a Browser) -> Self {
        Self { channel: Channel::Ecommerce(browser), ..Self::by_phone(attempt, payment_data) }
    }
}

/// How the card came to us. Gateways judge the two apart, and so do the issuers' rules on authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel<'a> {
    /// Keyed on the telephone: mail order, telephone order. Never with 3-D Secure data.
    Moto,
    /// Typed into a page by the payer, in this browser: the bank may want to see the payer there.
    Ecommerce(&'a Browser),
}

/// Whether the card is kept for later, or was kept before: the schemes want every such payment marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Used once and forgotten.
    Once,
    /// The first payment with a card that the customer agreed to have kept. Asks for a token.
    FirstOfStored,
    /// A kept card, used while the customer is there.
    StoredByCustomer,
    /// A kept card, used by the merchant alone, as agreed with the customer before.
    StoredByMerchant,
}

/// What pays.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A card that was keyed just now.
    Keyed(&'a Card),
    /// A card that the gateway keeps.
    Stored(&'a StoredCard),
}

/// What may follow once an attempt is answered.
#[derive(Clone, Copy)]
pub struct FollowUp<'a> {
    /// The attempt.
    pub attempt: &'a Attempt,
    /// The gateway's reference of its answer: [`hushpad_domain::attempt::GatewayAnswer::gateway_reference`].
    pub answer_reference: &'a str,
    /// The gateway's reference of the capture that took the money, where a capture did and not the attempt itself.
    pub capture_reference: Option<&'a str>,
    /// Its id: our reference, and what its idempotency key is made from.
    pub id: OperationId,
    /// What to do.
    pub kind: FollowUpKind,
    /// How much. For a void and a reverse: all that is held.
    pub amount: Money,
}

/// Kinds of follow-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FollowUpKind {
    /// Take authorised money, whole or in part.
    Capture,
    /// Undo what has not been settled yet, whole.
    Void,
    /// Give taken money back, whole or in part.
    Refund,
    /// Give all of it back, by whatever is right for its purpose and its state at that gateway.
    Reverse,
}

impl FollowUpKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Capture, Self::Void, Self::Refund, Self::Reverse];
}
