//! What the agent page shows and what the agent may do. No digit is in here, only how many there are.

use crate::attempt::DeclineClass;
use crate::field::Field;
use crate::ids::AgentId;
use crate::link::{LinkState, PaymentLinkUrl};
use crate::masked_card::Brand;
use crate::money::Money;
use crate::operation::ReverseCause;
use crate::time::Timestamp;

/// The whole page at one moment. A newer one replaces it: nothing is told in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageState {
    /// Grows with every change.
    pub revision: u64,
    /// What will be charged (G6).
    pub amount: Money,
    /// The merchant's reference, if any.
    pub reference: Option<String>,
    /// Whose page it is.
    pub agent: AgentId,
    /// The fields in their order.
    pub fields: Vec<FieldView>,
    /// Where the payment stands.
    pub phase: Phase,
    /// What the agent should know beside it, if anything.
    pub notice: Option<Notice>,
    /// Whether the page has the test keypad in place of a phone.
    pub test_keypad: bool,
    /// The payment link, where that is the way to pay now.
    pub link: Option<LinkView>,
    /// Whether it can be moved now: from the keypad to a link, or from the link to the agent's call.
    pub may_move: bool,
}

/// The payment link as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// Its address, to copy; none once it was revoked.
    pub url: Option<PaymentLinkUrl>,
    /// What became of it.
    pub state: LinkState,
    /// Until when it is good.
    pub expires_on: Timestamp,
}

/// One field as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldView {
    /// Which field.
    pub field: Field,
    /// How it stands.
    pub status: FieldStatus,
    /// How many keys are typed.
    pub typed: u8,
    /// How many it will have, when that is known.
    pub length: Option<u8>,
    /// The card's brand, on the card number, once its range is clear.
    pub brand: Option<Brand>,
}

/// How a field stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldStatus {
    /// Not started.
    Waiting,
    /// The customer is keying it.
    Typing,
    /// Complete and valid.
    Valid,
    /// Complete and wrong.
    Invalid(InvalidReason),
    /// No key came in time.
    TimedOut,
    /// Typed into the payer page; it is checked when it is sent.
    Typed,
}

/// Why a field is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidReason {
    /// The check digit is wrong: a key is missing, doubled or mistaken.
    CheckDigit,
    /// Too few or too many digits.
    Length,
    /// The brand is not taken here.
    BrandNotTaken,
    /// Not a month from 01 to 12.
    Month,
    /// In the past.
    Expired,
    /// The gateway blamed it.
    Declined,
}

/// Where the payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Fields are being keyed; the named one takes the keys.
    Entry {
        /// The field that takes the keys now, if any.
        active: Option<Field>,
    },
    /// The payer has a link and types into its page.
    ByLink {
        /// The field that was typed last, if any.
        typing: Option<Field>,
    },
    /// Every field is valid: Pay is on.
    ReadyToPay,
    /// The attempt is at the gateway.
    Paying,
    /// The gateway has not answered: do not retry, we are asking.
    Unknown,
    /// The gateway has taken it and will say later what became of it.
    Pending,
    /// The payer is at the bank, which checks who it is.
    AtTheBank,
    /// The gateway approved, and the approval does not stand: it is being given back.
    GivingBack {
        /// Why it does not stand.
        cause: ReverseCause,
    },
    /// Declined, and it can be tried again; the class says how.
    Declined {
        /// What can be done.
        class: DeclineClass,
        /// The field that takes the keys now, if any.
        active: Option<Field>,
    },
    /// Over.
    Ended(EndView),
}

/// How it ended, for the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndView {
    /// Approved: the payment is taken.
    Approved,
    /// Taken, and the merchant reviews it.
    Review,
    /// Declined, and it ended so.
    Declined,
    /// Cancelled; nothing was charged.
    Cancelled,
    /// The call ended first; nothing was charged.
    CallEnded,
    /// Out of time; nothing was charged.
    TimedOut,
    /// We failed; nothing was charged.
    Failed,
}

/// What the agent should know beside the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Nothing was sent to the gateway: pay again is safe.
    NotSent,
    /// The gateway has no trace of the attempt: pay again is safe.
    NotCharged,
    /// Audio came from a foreign source: entry of the field was stopped.
    ForeignSource,
    /// Keys came faster than a person types: entry of the field was stopped.
    TooFast,
    /// New payments cannot be written down just now: try again in a moment.
    StoreUnavailable,
    /// The session has had all its attempts: only cancelling is left.
    AttemptsUsedUp,
    /// The call ended while the payment was at the gateway.
    CallEnded,
    /// An approval was given back, for this reason.
    GivenBack(ReverseCause),
    /// The gateway approved only part, which stands: the rest is asked of another card.
    PartApproved,
    /// Much of the customer's sound is lost: keys may be missing.
    PoorLine,
    /// Keys come so shortly one after the other that some may be doubled.
    SlowKeys,
    /// The agent has no live call to take the payment on, or more than one.
    NoLiveCall,
    /// The agent's live call has another open session.
    CallTaken,
    /// The session has had all its payment links.
    LinksUsedUp,
    /// The payment link did not go to the payer by text message or e-mail.
    LinkNotSent,
}

/// What the agent does on the page, or the back end by the Payment API.
#[derive(Clone, PartialEq, Eq)]
pub enum AgentAction {
    /// Let the customer key this field now.
    Start(Field),
    /// Wipe this field and let the customer key it again.
    Redo(Field),
    /// Send the payment.
    Pay,
    /// End the session.
    Cancel,
    /// A key of the test keypad: `0-9 * #`. Only where the configuration is marked as test.
    TestKey(u8),
    /// Move to a payment link, or put a new link in the place of the one before.
    IssueLink,
    /// Make the payment link worthless.
    RevokeLink,
    /// Move from the link to the live call of this agent; without a name, of the session's agent.
    TakeByKeypad(Option<AgentId>),
}
