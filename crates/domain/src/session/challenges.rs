//! The transitions of an attempt whose payer is sent to the bank (3-D Secure).
//!
//! ```text
//! Intent ──challenged──► Challenged ──challenge_returned──► Confirming ──► as after an intent
//!                          │  ▲                                │
//!                          │  └── not confirmed at the bank, ──┘ (a few times)
//!                          │      nothing sent
//!                          └── abandoned ──► Unknown, and the resolver asks
//! ```

use super::{Session, WrongState};
use crate::attempt::{Attempt, AttemptState, Unknown};
use crate::challenge::{Challenge, VISITS_MAX, Visit};
use crate::change::Change;
use crate::event::EventKind;
use crate::ids::AttemptNo;
use crate::masked_card::MaskedCard;
use crate::time::Timestamp;

impl Session {
    /// The gateway wants the payer of the open attempt to go to the bank, and waits until `until`; a visit after the
    /// first keeps the first one's time and card. After [`VISITS_MAX`] visits the challenge counts as abandoned.
    ///
    /// # Errors
    /// [`WrongState`] when no attempt is at the gateway.
    pub fn challenged(
        mut self,
        challenge: Challenge,
        card: Option<MaskedCard>,
        until: Timestamp,
        at: Timestamp,
    ) -> Result<Change, WrongState> {
        let visit = match self.open_attempt().map(|attempt| &attempt.state) {
            Some(AttemptState::Intent) => Visit { challenge, card, until, no: 1 },
            Some(AttemptState::Confirming { visit }) if visit.no >= VISITS_MAX => {
                return self.unknown(Unknown::Abandoned, at);
            }
            Some(AttemptState::Confirming { visit }) => {
                Visit { challenge, card: visit.card.clone(), until: visit.until, no: visit.no + 1 }
            }
            _ => return Err(WrongState::NoAttempt),
        };
        let attempt = self.set_open_attempt(AttemptState::Challenged { visit }, at)?;
        Ok(Change::of(self, at, vec![EventKind::Challenge { attempt }]))
    }

    /// The payer is back from the bank. The gateway may be asked to go on only once this is committed: so of two
    /// returns one goes on.
    ///
    /// # Errors
    /// [`WrongState`] when the attempt is not challenged.
    pub fn challenge_returned(mut self, no: AttemptNo, at: Timestamp) -> Result<Change, WrongState> {
        let visit = self.visit_at_the_bank(no)?;
        let attempt = self.set_open_attempt(AttemptState::Confirming { visit }, at)?;
        Ok(Change::of(self, at, vec![EventKind::ChallengeReturned { attempt }]))
    }

    /// The payer is back, and surely nothing was sent after that: as before the return.
    ///
    /// # Errors
    /// [`WrongState`] when the attempt does not go on after a return.
    pub fn challenge_return_undone(mut self, no: AttemptNo, at: Timestamp) -> Result<Change, WrongState> {
        let visit = match self.open_attempt().filter(|attempt| attempt.no == no).map(|attempt| &attempt.state)
        {
            Some(AttemptState::Confirming { visit }) => visit.clone(),
            _ => return Err(WrongState::NoAttempt),
        };
        let attempt = self.set_open_attempt(AttemptState::Challenged { visit }, at)?;
        Ok(Change::of(self, at, vec![EventKind::Challenge { attempt }]))
    }

    /// The payer is waited for no longer. Whether the gateway charged is unknown until it is asked (G3).
    ///
    /// # Errors
    /// [`WrongState`] when the attempt is not challenged: the payer may just have come back.
    pub fn challenge_abandoned(self, no: AttemptNo, at: Timestamp) -> Result<Change, WrongState> {
        self.visit_at_the_bank(no)?;
        self.unknown(Unknown::Abandoned, at)
    }

    /// The attempt whose payer is at the bank.
    #[must_use]
    pub fn challenged_attempt(&self) -> Option<&Attempt> {
        self.open_attempt().filter(|attempt| attempt.challenge().is_some())
    }

    fn visit_at_the_bank(&self, no: AttemptNo) -> Result<Visit, WrongState> {
        let attempt = self.challenged_attempt().filter(|attempt| attempt.no == no);
        attempt.and_then(Attempt::visit).cloned().ok_or(WrongState::NoAttempt)
    }
}
