//! The life of a payment session.
//!
//! ```text
//! Created ──begin──► InProgress ──intend──► Processing ──answered approved/review──► Finished
//!    │                 │   ▲                   │  │
//!    │                 │   └─ declined,        │  └─ unknown: stays Processing until the resolver knows
//!    │                 │      not sent ────────┘
//!    └── cancel, hang-up, time-out, failure ──► Finished | TimeOut | ExpiredOnProviderSide | Error
//! ```
//! Each transition consumes the session and gives a [`Change`]; nothing is ever half changed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::attempt::{Attempt, AttemptState, GatewayAnswer, NotSent, Purpose, Unknown, Verdict};
use crate::change::Change;
use crate::event::EventKind;
use crate::ids::{
    AccountId, AgentId, AttemptId, AttemptNo, CallGuid, ConfigurationId, GatewayName, ProviderSessionGuid,
    SessionGuid,
};
use crate::money::Money;
use crate::payment_data::PaymentData;
use crate::time::Timestamp;
use crate::webhook::TRIES_WINDOW;

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
    /// The call it secures; `None` with the test keypad.
    pub call: Option<CallGuid>,
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
}

/// Whether the fields can still be keyed after a decline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The call and its secure side are there: the agent may redo a field.
    Possible,
    /// The customer is gone, or a restart lost the entry: the session ends with this attempt.
    Over,
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
}

impl Session {
    /// Opens a session.
    pub fn open(new: NewSession, at: Timestamp) -> Change {
        let session = Self {
            guid: new.guid,
            provider: new.provider,
            account: new.account,
            configuration: new.configuration,
            agent: new.agent,
            call: new.call,
            payment_data: new.payment_data,
            webhook: new.webhook,
            attempts: Vec::new(),
            state: SessionState::Created,
            created_on: at,
            updated_on: at,
            version: 0,
            events: 0,
        };
        Change::of(session, at, vec![EventKind::Created])
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

    /// Writes down that an attempt is about to be sent. The attempt may be sent only once this is committed.
    ///
    /// # Errors
    /// [`WrongState`] when an attempt is open, the session is over or its attempts are used up.
    pub fn intend(
        mut self,
        id: AttemptId,
        gateway: GatewayName,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        self.still_open()?;
        let no = u16::try_from(self.attempts.len()).unwrap_or(u16::MAX).saturating_add(1);
        if no > ATTEMPTS_MAX {
            return Err(WrongState::AttemptsUsedUp);
        }
        let attempt = AttemptNo(no);
        self.attempts.push(Attempt {
            id,
            no: attempt,
            amount: self.amount(),
            purpose: Purpose::Sale,
            gateway,
            intended_on: at,
            updated_on: at,
            state: AttemptState::Intent,
        });
        self.state = SessionState::Processing { attempt };
        Ok(Change::of(self, at, vec![EventKind::Intent { attempt }]))
    }

    /// The gateway has answered the open attempt.
    ///
    /// # Errors
    /// [`WrongState`] when no attempt is open.
    pub fn answered(self, answer: GatewayAnswer, retry: Retry, at: Timestamp) -> Result<Change, WrongState> {
        self.settle(answer, false, retry, at)
    }

    /// Surely nothing of the open attempt was sent: the agent may try again.
    ///
    /// # Errors
    /// [`WrongState`] when no attempt is open.
    pub fn not_sent(mut self, reason: NotSent, retry: Retry, at: Timestamp) -> Result<Change, WrongState> {
        let attempt = self.set_open_attempt(AttemptState::NotSent { reason }, at)?;
        let mut events = vec![EventKind::NotSent { attempt }];
        self.back_to_entry(retry, Ending::Error, at, &mut events);
        Ok(Change::of(self, at, events))
    }

    /// The open attempt may or may not have been charged. The session stays in processing (G3).
    ///
    /// # Errors
    /// [`WrongState`] when no attempt is open.
    pub fn unknown(mut self, reason: Unknown, at: Timestamp) -> Result<Change, WrongState> {
        let attempt = self.set_open_attempt(AttemptState::Unknown { reason }, at)?;
        Ok(Change::of(self, at, vec![EventKind::Unknown { attempt }]))
    }

    /// The resolver has found out what became of the open attempt.
    ///
    /// # Errors
    /// [`WrongState`] when no attempt is open.
    pub fn resolved(mut self, finding: Finding, retry: Retry, at: Timestamp) -> Result<Change, WrongState> {
        match finding {
            Finding::Answer(answer) => self.settle(answer, true, retry, at),
            Finding::NotCharged => {
                let attempt = self.set_open_attempt(AttemptState::NotCharged, at)?;
                let mut events = vec![EventKind::NotCharged { attempt }];
                self.back_to_entry(retry, Ending::Error, at, &mut events);
                Ok(Change::of(self, at, events))
            }
        }
    }

    /// The agent or the back end gives up, or the customer hangs up. Not while an attempt is open.
    ///
    /// # Errors
    /// [`WrongState`] while an attempt is open, and after the end.
    pub fn cancel(mut self, at: Timestamp) -> Result<Change, WrongState> {
        self.still_open()?;
        let declined = self.last_verdict().is_some();
        let outcome = if declined { Outcome::Declined } else { Outcome::Cancelled };
        let events = vec![self.end(Ending::Finished(outcome), at)];
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
        let events = vec![self.end(ending, at)];
        Ok(Change::of(self, at, events))
    }

    /// We failed it: the launch was undone, or a restart lost the entry. Not while an attempt is open.
    ///
    /// # Errors
    /// [`WrongState`] while an attempt is open, and after the end.
    pub fn fail(mut self, at: Timestamp) -> Result<Change, WrongState> {
        self.still_open()?;
        let events = vec![self.end(Ending::Error, at)];
        Ok(Change::of(self, at, events))
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

    /// Whether `paymentResultData` may still be given out at `now`.
    #[must_use]
    pub fn result_is_kept(&self, now: Timestamp) -> bool {
        match self.state {
            SessionState::Ended { kept_until, .. } => now < kept_until,
            SessionState::Created | SessionState::InProgress | SessionState::Processing { .. } => true,
        }
    }

    fn is_unknown(&self) -> bool {
        self.open_attempt().is_some_and(|attempt| matches!(attempt.state, AttemptState::Unknown { .. }))
    }

    fn last_verdict(&self) -> Option<&Verdict> {
        self.attempts.iter().rev().find_map(Attempt::answer).map(|answer| &answer.verdict)
    }

    fn still_open(&self) -> Result<(), WrongState> {
        match self.state {
            SessionState::Created | SessionState::InProgress => Ok(()),
            SessionState::Processing { .. } => Err(WrongState::Processing),
            SessionState::Ended { .. } => Err(WrongState::Ended),
        }
    }

    fn settle(
        mut self,
        answer: GatewayAnswer,
        resolved: bool,
        retry: Retry,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        let verdict = answer.verdict.clone();
        let attempt = self.set_open_attempt(AttemptState::Answered { answer, resolved }, at)?;
        let mut events = Vec::with_capacity(2);
        match verdict {
            Verdict::Approved => {
                events.push(EventKind::Approved { attempt });
                events.push(self.end(Ending::Finished(Outcome::Approved), at));
            }
            // Money may be held: an operator must look.
            Verdict::Review | Verdict::Partial { .. } | Verdict::Pending => {
                events.push(EventKind::Review { attempt });
                events.push(self.end(Ending::Finished(Outcome::Review), at));
            }
            Verdict::Declined { .. } => {
                events.push(EventKind::Declined { attempt });
                self.back_to_entry(retry, Ending::Finished(Outcome::Declined), at, &mut events);
            }
        }
        Ok(Change::of(self, at, events))
    }

    fn back_to_entry(&mut self, retry: Retry, over: Ending, at: Timestamp, events: &mut Vec<EventKind>) {
        match retry {
            Retry::Possible => self.state = SessionState::InProgress,
            Retry::Over => events.push(self.end(over, at)),
        }
    }

    fn set_open_attempt(&mut self, state: AttemptState, at: Timestamp) -> Result<AttemptNo, WrongState> {
        let SessionState::Processing { attempt: no } = self.state else {
            return Err(if self.has_ended() { WrongState::Ended } else { WrongState::NoAttempt });
        };
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.no == no && attempt.is_open());
        let attempt = attempt.ok_or(WrongState::NoAttempt)?;
        attempt.state = state;
        attempt.updated_on = at;
        Ok(no)
    }

    fn end(&mut self, ending: Ending, at: Timestamp) -> EventKind {
        // With a webhook: until it has been delivered for a while, but no longer than it is tried.
        let kept = if self.webhook { TRIES_WINDOW } else { RESULT_RETENTION };
        self.state = SessionState::Ended { at, ending, kept_until: at.plus(kept) };
        EventKind::Ended { state: ending.name().to_owned(), outcome: self.outcome().word().to_owned() }
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
