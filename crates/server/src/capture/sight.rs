//! What the payer sees of a session, made from the session and where its payment stands.

use hushpad_domain::account::PaymentFlow;
use hushpad_domain::attempt::{Attempt, DeclineClass};
use hushpad_domain::link::{Link, LinkNo, LinkState};
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::session::{Ending, Outcome as SessionOutcome, Session, SessionState};
use hushpad_payer::{Bill, Challenge, Form, Outcome, Sight};

use super::task::Stage;

/// What the newest link shows; the links before it show less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// The link that may be paid by, if any.
    payable: Option<LinkNo>,
    sight: Sight,
}

impl Shown {
    /// What the session shows at this stage.
    pub(super) fn of(
        session: &Session,
        payee: &str,
        flow: &PaymentFlow,
        stage: Stage,
        not_sent: bool,
    ) -> Self {
        let payable = session.link().filter(|link| link.state != LinkState::Revoked).map(|link| link.no);
        let sight = match stage {
            Stage::Entry(declined) => Sight::Form(form(session, payee, flow, declined, not_sent)),
            Stage::AtTheBank => challenge(session, payee),
            Stage::Paying | Stage::Unknown | Stage::Pending | Stage::GivingBack(_) => {
                Sight::Processing(bill(session, payee))
            }
            Stage::Ended(_) => over(session, payee),
        };
        Self { payable, sight }
    }

    /// What the link with this number shows. What became of the payment, every link shows; the form, only the newest.
    pub(super) fn by(&self, link: LinkNo) -> Sight {
        match &self.sight {
            Sight::Form(form) if self.payable != Some(link) => {
                Sight::Over(form.bill.clone(), Outcome::Withdrawn)
            }
            sight => sight.clone(),
        }
    }

    /// Whether it changes by itself, soon.
    pub(super) fn is_processing(&self) -> bool {
        matches!(self.sight, Sight::Processing(_))
    }
}

/// Which form of the session is the newest: grows with every card that was sent, over restarts too.
pub(super) fn round(session: &Session) -> u32 {
    u32::try_from(session.attempts.len()).unwrap_or(u32::MAX).saturating_add(1)
}

/// Whether the session can be paid by this link, for all that is stored of it.
pub(super) fn is_payable_by(session: &Session, no: LinkNo) -> bool {
    let open = |link: Link| link.no == no && link.state != LinkState::Revoked;
    !session.has_ended() && session.link().is_some_and(open)
}

/// What a session shows that nobody runs: one that has ended, or whose link was withdrawn.
pub(super) fn at_rest(session: &Session, payee: &str) -> Sight {
    match session.state {
        SessionState::Ended { .. } => over(session, payee),
        SessionState::Processing { .. } => challenge(session, payee),
        SessionState::Created | SessionState::InProgress => {
            Sight::Over(bill(session, payee), Outcome::Withdrawn)
        }
    }
}

fn bill(session: &Session, payee: &str) -> Bill {
    Bill {
        payee: payee.to_owned(),
        amount: session.remaining().unwrap_or_else(|| session.amount()),
        reference: session.payment_data.reference().map(str::to_owned),
    }
}

fn form(
    session: &Session,
    payee: &str,
    flow: &PaymentFlow,
    declined: Option<DeclineClass>,
    not_sent: bool,
) -> Form {
    Form {
        bill: bill(session, payee),
        round: round(session),
        fields: flow.fields.clone(),
        brands: flow.brands.clone(),
        declined,
        not_sent,
    }
}

/// The way to the bank, while the payer is waited for; else the payment is under way.
fn challenge(session: &Session, payee: &str) -> Sight {
    let bill = bill(session, payee);
    match session.challenged_attempt().and_then(Attempt::challenge) {
        Some(at) => {
            Sight::Challenge(bill, Challenge { url: at.url().to_owned(), fields: at.fields().to_vec() })
        }
        None => Sight::Processing(bill),
    }
}

fn over(session: &Session, payee: &str) -> Sight {
    // What was paid, and not what is left of it.
    let bill = Bill { amount: session.amount(), ..bill(session, payee) };
    let SessionState::Ended { ending, .. } = &session.state else {
        return Sight::Processing(bill);
    };
    let outcome = match ending {
        Ending::Finished(SessionOutcome::Approved) => Outcome::Paid { card: paid_with(session) },
        Ending::Finished(SessionOutcome::Review) => Outcome::Review,
        Ending::Finished(SessionOutcome::Declined) => Outcome::Declined,
        Ending::TimeOut | Ending::ExpiredOnProviderSide => Outcome::Expired,
        Ending::Finished(SessionOutcome::Cancelled | SessionOutcome::Unknown | SessionOutcome::None)
        | Ending::Error => Outcome::Withdrawn,
    };
    Sight::Over(bill, outcome)
}

/// The masked card, as long as it is kept.
fn paid_with(session: &Session) -> Option<MaskedCard> {
    let stands = |attempt: &&Attempt| attempt.standing().is_some();
    session.attempts.iter().rev().find(stands).and_then(Attempt::answer)?.card.clone()
}
