//! The life of a payment session.
//!
//! ```text
//! Created ──begin──► InProgress ──intend──► Processing ──answered approved/review──► Finished
//!    │                 │   ▲                   │  │
//!    │                 │   └─ declined,        │  └─ unknown: stays Processing until the resolver knows
//!    │                 │      not sent ────────┘
//!    └── cancel, hang-up, time-out, failure ──► Finished | TimeOut | ExpiredOnProviderSide | Error
//! ```
//! A gateway may send the payer to the bank first (3-D Secure, only on a page): the attempt is challenged, then goes on.
//!
//! An approval that must not stand (a security code that did not match, a part of the amount) is given back by a
//! reversal; the session stays Processing until that is confirmed, then goes on as after a decline. After the end
//! only operations happen (refunds, late reversals): they never change how it ended.
//!
//! What a gateway has only *accepted* (a reversal, a refund, the undoing of an attempt without an answer) is not
//! done: it stays open until the gateway's notification, an answer or the operator says how it ended.
//!
//! Each transition consumes the session and gives a [`Change`]; nothing is ever half changed. Those of an attempt
//! are in `saga`, its way over the bank in `challenges`, those of operations in `operations`, what a gateway tells
//! unasked in `told`, those between keypad and payment link in `ways`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::acceptance::Acceptance;
use crate::attempt::{Attempt, AttemptState, DeclineClass, GatewayAnswer, Verdict};
use crate::change::Change;
use crate::event::EventKind;
use crate::field::Field;
use crate::ids::{
    AccountId, AgentId, AttemptNo, CallGuid, ConfigurationId, ProviderSessionGuid, SessionGuid,
};
use crate::link::{Link, LinkNo, LinkState, Way};
use crate::money::Money;
use crate::operation::{Operation, ReverseCause};
use crate::payment_data::PaymentData;
use crate::time::Timestamp;
use crate::webhook::TRIES_WINDOW;

mod challenges;
mod operations;
mod saga;
mod told;
mod ways;

pub use operations::{OperationEnd, OperationRequest};
pub use told::Heard;

/// How long `paymentResultData` is given out after the end, or after its delivery where there is a webhook.
pub const RESULT_RETENTION: Duration = Duration::from_secs(15 * 60);
/// Attempts in one session. A customer with more wrong cards than this needs another way to pay.
pub const ATTEMPTS_MAX: u16 = 10;

/// A payment session. Its fields are read by everyone; only its transitions change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id on the API side.
    pub guid: SessionGuid,
    /// Its id on the secure side.
    pub provider: ProviderSessionGuid,
    /// The owner.
    pub account: AccountId,
    /// Which configuration it runs by.
    pub configuration: ConfigurationId,
    /// The agent.
    pub agent: AgentId,
    /// The call it secures; `None` with the test keypad, and by a payment link.
    pub call: Option<CallGuid>,
    /// How the payer gives the card now.
    pub way: Way,
    /// How many payment links it has had.
    pub links: u16,
    /// What the back end gave, with the amount.
    pub payment_data: PaymentData,
    /// Whether its configuration had a webhook when it was opened.
    pub webhook: bool,
    /// Every attempt, in order.
    pub attempts: Vec<Attempt>,
    /// Where it is in its life.
    pub state: SessionState,
    /// When it was opened.
    pub created_on: Timestamp,
    /// When it last changed.
    pub updated_on: Timestamp,
    /// Grows by one with each change; 0 only before the first commit.
    pub version: u64,
    /// How many events it has.
    pub events: u32,
}

/// Where a session is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SessionState {
    /// Opened; the agent has not begun.
    Created,
    /// Fields are being keyed.
    InProgress,
    /// An attempt is at the gateway, or its outcome is being asked for.
    Processing {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// Over, for good.
    Ended {
        /// When.
        at: Timestamp,
        /// How.
        ending: Ending,
        /// Until when its result is given out. A webhook's delivery brings it forward, nothing ever puts it off.
        kept_until: Timestamp,
    },
}

/// How a session ended. Exactly one, ever (G4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ending", content = "why", rename_all = "snake_case")]
pub enum Ending {
    /// The gateway answered, or it ended without the gateway.
    Finished(Outcome),
    /// We failed: a restart lost the entry, or the launch was undone.
    Error,
    /// The agent did not finish in time.
    TimeOut,
    /// The agent never began.
    ExpiredOnProviderSide,
}

/// What became of the payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The gateway approved.
    Approved,
    /// The gateway declined.
    Declined,
    /// The gateway approved and holds it for review.
    Review,
    /// Cancelled before anything was sent, by the agent, the back end or a hang-up.
    Cancelled,
    /// It may have been charged: do not retry yet.
    Unknown,
    /// Nothing yet, or nothing came of it.
    None,
}

impl Outcome {
    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Review => "review",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::None => "none",
        }
    }
}

/// What a new session is made of.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of `Session`")]
pub struct NewSession {
    pub guid: SessionGuid,
    pub provider: ProviderSessionGuid,
    pub account: AccountId,
    pub configuration: ConfigurationId,
    pub agent: AgentId,
    pub call: Option<CallGuid>,
    pub payment_data: PaymentData,
    pub webhook: bool,
}

/// What the resolver found out about an unknown attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The gateway has it, and this is what became of it.
    Answer(GatewayAnswer),
    /// The gateway has no trace of it, and its settle time is over.
    NotCharged,
    /// The gateway had it and has undone it.
    Undone,
}

/// Whether the fields can still be keyed after a decline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The call and its secure side are there: the agent may redo a field.
    Possible,
    /// The customer is gone, or a restart lost the entry: the session ends with this attempt.
    Over,
}

/// By what an answer is judged, and what may come after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether the fields can still be keyed.
    pub retry: Retry,
    /// What of an approval is taken.
    pub acceptance: Acceptance,
}

impl From<Retry> for Terms {
    /// With the usual acceptance.
    fn from(retry: Retry) -> Self {
        Self { retry, acceptance: Acceptance::default() }
    }
}

/// The session is not in a state that allows this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WrongState {
    /// It has ended.
    #[error("the session has ended")]
    Ended,
    /// An attempt is at the gateway.
    #[error("a payment attempt is in progress")]
    Processing,
    /// There is no such open attempt.
    #[error("there is no open attempt with this number")]
    NoAttempt,
    /// [`ATTEMPTS_MAX`] reached.
    #[error("the session has had all its {ATTEMPTS_MAX} attempts")]
    AttemptsUsedUp,
    /// There is no payment link, or not one that is good.
    #[error("the session has no payment link that is open")]
    NoLink,
    /// [`crate::link::LINKS_MAX`] reached.
    #[error("the session has had all its payment links")]
    LinksUsedUp,
}

impl Session {
    /// Opens a session.
    pub fn open(new: NewSession, at: Timestamp) -> Change {
        Change::of(Self::new(new, Way::Keypad, at), at, vec![EventKind::Created])
    }

    /// Opens a session that is paid by a payment link, good until `expires_on`.
    pub fn open_by_link(new: NewSession, expires_on: Timestamp, at: Timestamp) -> Change {
        let link = LinkNo(1);
        let way = Way::Link(Link { no: link, state: LinkState::Issued, expires_on });
        let session = Self { links: link.0, call: None, ..Self::new(new, way, at) };
        Change::of(session, at, vec![EventKind::Created, EventKind::LinkIssued { link }])
    }

    fn new(new: NewSession, way: Way, at: Timestamp) -> Self {
        Self {
            guid: new.guid,
            provider: new.provider,
            account: new.account,
            configuration: new.configuration,
            agent: new.agent,
            call: new.call,
            way,
            links: 0,
            payment_data: new.payment_data,
            webhook: new.webhook,
            attempts: Vec::new(),
            state: SessionState::Created,
            created_on: at,
            updated_on: at,
            version: 0,
            events: 0,
        }
    }

    /// The agent has begun: the page was opened or a field started.
    ///
    /// # Errors
    /// [`WrongState`] when it has begun already or is over.
    pub fn begin(mut self, at: Timestamp) -> Result<Change, WrongState> {
        match self.state {
            SessionState::Created => {
                self.state = SessionState::InProgress;
                Ok(Change::of(self, at, vec![EventKind::InProgress]))
            }
            SessionState::InProgress | SessionState::Processing { .. } => Err(WrongState::Processing),
            SessionState::Ended { .. } => Err(WrongState::Ended),
        }
    }

    /// The agent or the back end gives up, or the customer hangs up. Not while an attempt is open.
    ///
    /// # Errors
    /// [`WrongState`] while an attempt is open, and after the end.
    pub fn cancel(mut self, at: Timestamp) -> Result<Change, WrongState> {
        self.still_open()?;
        // A late success is no answer to what the agent did: it was told that nothing was sent.
        let answered = self.attempts.iter().any(|attempt| {
            attempt.answer().is_some() && attempt.turned_back_for() != Some(ReverseCause::Late)
        });
        let outcome = if answered { Outcome::Declined } else { Outcome::Cancelled };
        let events = self.end(Ending::Finished(outcome), at);
        Ok(Change::of(self, at, events))
    }

    /// The session's time is over. Not while an attempt is open.
    ///
    /// # Errors
    /// [`WrongState`] while an attempt is open, and after the end.
    pub fn time_out(mut self, at: Timestamp) -> Result<Change, WrongState> {
        self.still_open()?;
        let ending = match self.state {
            SessionState::Created => Ending::ExpiredOnProviderSide,
            SessionState::InProgress | SessionState::Processing { .. } | SessionState::Ended { .. } => {
                Ending::TimeOut
            }
        };
        let events = self.end(ending, at);
        Ok(Change::of(self, at, events))
    }

    /// We failed it: the launch was undone, or a restart lost the entry. Not while an attempt is open.
    ///
    /// # Errors
    /// [`WrongState`] while an attempt is open, and after the end.
    pub fn fail(mut self, at: Timestamp) -> Result<Change, WrongState> {
        self.still_open()?;
        let events = self.end(Ending::Error, at);
        Ok(Change::of(self, at, events))
    }

    /// What is still to be paid: the amount, less the parts of a split payment that stand.
    #[must_use]
    pub fn remaining(&self) -> Option<Money> {
        let paid: i64 = self.attempts.iter().filter_map(Attempt::standing).map(Money::minor).sum();
        Money::from_minor(self.amount().minor() - paid, self.amount().currency()).ok()
    }

    /// The payment data for an attempt: as the back end gave it, with the attempt's own amount where the payment
    /// is split.
    #[must_use]
    pub fn order_data(&self, attempt: &Attempt) -> PaymentData {
        self.payment_data.with_amount(attempt.amount)
    }

    /// What the last attempt leaves the agent to do, when its answer was no success: a decline, or an approval
    /// that was given back.
    #[must_use]
    pub fn last_decline(&self) -> Option<DeclineClass> {
        let last = self.attempts.last()?;
        match (&last.answer()?.verdict, last.turned_back_for()) {
            (Verdict::Declined { class }, _) => Some(*class),
            (_, Some(ReverseCause::SecurityCode)) => Some(DeclineClass::Rekey(Field::SecurityCode)),
            (_, Some(ReverseCause::Address | ReverseCause::Partial | ReverseCause::RestUnpaid)) => {
                Some(DeclineClass::OtherCard)
            }
            (_, Some(ReverseCause::Late) | None) => None,
        }
    }

    /// The amount: fixed when the session was opened (G6).
    #[must_use]
    pub fn amount(&self) -> Money {
        self.payment_data.amount()
    }

    /// The payment's outcome as far as it is known.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match &self.state {
            SessionState::Ended { ending: Ending::Finished(outcome), .. } => *outcome,
            SessionState::Processing { .. } if self.is_unknown() => Outcome::Unknown,
            SessionState::Created
            | SessionState::InProgress
            | SessionState::Processing { .. }
            | SessionState::Ended { .. } => Outcome::None,
        }
    }

    /// `sessionState` of the Payment API.
    #[must_use]
    pub fn state_name(&self) -> &'static str {
        match &self.state {
            SessionState::Created => "Created",
            SessionState::InProgress => "InProgress",
            SessionState::Processing { .. } => "Processing",
            SessionState::Ended { ending, .. } => ending.name(),
        }
    }

    /// Whether it is over.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, SessionState::Ended { .. })
    }

    /// The attempt that is at the gateway or unknown, if any.
    #[must_use]
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().rev().find(|attempt| attempt.is_open())
    }

    /// The attempt whose approval is being given back while the session waits for that.
    #[must_use]
    pub fn reversing_attempt(&self) -> Option<&Attempt> {
        let SessionState::Processing { attempt } = self.state else { return None };
        self.attempt(attempt).filter(|attempt| attempt.is_reversing())
    }

    /// The attempt with this number.
    #[must_use]
    pub fn attempt(&self, no: AttemptNo) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.no == no)
    }

    /// Every operation whose end is not known, with its attempt.
    pub fn open_operations(&self) -> impl Iterator<Item = (&Attempt, &Operation)> {
        self.attempts
            .iter()
            .filter_map(|attempt| attempt.open_operation().map(|operation| (attempt, operation)))
    }

    /// Whether `paymentResultData` may still be given out at `now`.
    #[must_use]
    pub fn result_is_kept(&self, now: Timestamp) -> bool {
        match self.state {
            SessionState::Ended { kept_until, .. } => now < kept_until,
            SessionState::Created | SessionState::InProgress | SessionState::Processing { .. } => true,
        }
    }

    fn is_unknown(&self) -> bool {
        self.open_attempt().is_some_and(|attempt| match &attempt.state {
            AttemptState::Unknown { .. } | AttemptState::Answered { .. } => true,
            // It goes on: nobody would pay again now.
            AttemptState::Intent
            | AttemptState::Challenged { .. }
            | AttemptState::Confirming { .. }
            | AttemptState::NotSent { .. }
            | AttemptState::NotCharged { .. } => false,
        })
    }

    fn still_open(&self) -> Result<(), WrongState> {
        match self.state {
            SessionState::Created | SessionState::InProgress => Ok(()),
            SessionState::Processing { .. } => Err(WrongState::Processing),
            SessionState::Ended { .. } => Err(WrongState::Ended),
        }
    }

    /// Ends the session. What was approved of a split payment whose rest was not paid is given back.
    fn end(&mut self, ending: Ending, at: Timestamp) -> Vec<EventKind> {
        // With a webhook: until it has been delivered for a while, but no longer than it is tried.
        let kept = if self.webhook { TRIES_WINDOW } else { RESULT_RETENTION };
        self.state = SessionState::Ended { at, ending, kept_until: at.plus(kept) };
        let mut events = vec![EventKind::Ended {
            state: ending.name().to_owned(),
            outcome: self.outcome().word().to_owned(),
        }];
        match ending {
            Ending::Finished(Outcome::Approved | Outcome::Review) => {}
            Ending::Finished(Outcome::Declined | Outcome::Cancelled | Outcome::Unknown | Outcome::None)
            | Ending::Error
            | Ending::TimeOut
            | Ending::ExpiredOnProviderSide => {
                let parts: Vec<AttemptNo> = self
                    .attempts
                    .iter()
                    .filter(|part| part.standing().is_some())
                    .map(|part| part.no)
                    .collect();
                for part in parts {
                    events.extend(self.begin_reversal(part, ReverseCause::RestUnpaid, at));
                }
            }
        }
        events
    }
}

impl Ending {
    /// `sessionState` of the Payment API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished(_) => "Finished",
            Self::Error => "Error",
            Self::TimeOut => "TimeOut",
            Self::ExpiredOnProviderSide => "ExpiredOnProviderSide",
        }
    }
}
