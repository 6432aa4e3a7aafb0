//! What of a gateway's approval is taken, and what is given back.

use crate::attempt::{Attempt, Check, GatewayAnswer, Verdict};
use crate::operation::ReverseCause;

/// By what a payment flow judges an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// Whether a payment may be split: when only part was approved, the rest is asked of another card.
    pub split: bool,
    /// What an address or postcode that does not match means.
    pub address: OnMismatch,
    /// What a security code that does not match means.
    pub security_code: OnMismatch,
}

impl Default for Acceptance {
    /// No split. An address is often spelt otherwise, so a mismatch is only shown; a security code that does not
    /// match is a sign of a card that is not there, so its approval is given back.
    fn default() -> Self {
        Self { split: false, address: OnMismatch::Accept, security_code: OnMismatch::Reverse }
    }
}

/// What a check that failed means for an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMismatch {
    /// The approval stands; the mismatch is shown.
    Accept,
    /// The approval is given back.
    Reverse,
}

/// What an answer comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The payment is made, or held for review.
    Take,
    /// A part of it is made; the rest is still to be paid.
    TakePart,
    /// Money is held that must be given back.
    GiveBack(ReverseCause),
    /// No money is held.
    Declined,
    /// Not known yet.
    Pending,
}

impl Acceptance {
    /// Judges the answer to `attempt`. `rest_possible` says whether another card could still pay a rest.
    pub(crate) fn judge(self, attempt: &Attempt, answer: &GatewayAnswer, rest_possible: bool) -> Judgement {
        let holds_money = attempt.purpose.holds_money();
        let cause = holds_money.then(|| self.mismatch(answer)).flatten();
        match (&answer.verdict, cause) {
            (Verdict::Declined { .. }, _) => Judgement::Declined,
            (Verdict::Pending, _) => Judgement::Pending,
            (Verdict::Approved | Verdict::Review | Verdict::Partial { .. }, Some(cause)) => {
                Judgement::GiveBack(cause)
            }
            // Nothing is held, so there is nothing to give back.
            (Verdict::Partial { .. }, None) if !holds_money => Judgement::Take,
            (Verdict::Partial { approved }, None) if *approved == attempt.amount => Judgement::Take,
            // More than was asked for, or other money: never taken (G6).
            (Verdict::Partial { approved }, None)
                if approved.currency() != attempt.amount.currency()
                    || approved.minor() > attempt.amount.minor() =>
            {
                Judgement::GiveBack(ReverseCause::Partial)
            }
            (Verdict::Partial { .. }, None) if self.split && rest_possible => Judgement::TakePart,
            (Verdict::Partial { .. }, None) => Judgement::GiveBack(ReverseCause::Partial),
            (Verdict::Approved | Verdict::Review, None) => Judgement::Take,
        }
    }

    fn mismatch(self, answer: &GatewayAnswer) -> Option<ReverseCause> {
        let checks = answer.checks;
        if self.security_code == OnMismatch::Reverse && checks.security_code == Check::NoMatch {
            Some(ReverseCause::SecurityCode)
        } else if self.address == OnMismatch::Reverse
            && (checks.address == Check::NoMatch || checks.postcode == Check::NoMatch)
        {
            Some(ReverseCause::Address)
        } else {
            None
        }
    }
}
