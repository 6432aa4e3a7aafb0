//! The agent's page, made from the session and the entry.

use hushpad_card::Capture;
use hushpad_domain::attempt::{Attempt, AttemptState};
use hushpad_domain::page::{EndView, Notice, PageState};
use hushpad_domain::session::{Ending, Outcome, Session, SessionState};

use super::task::{Stage, phase};

/// The page at one moment.
pub(super) fn page(
    revision: u64,
    session: &Session,
    capture: &Capture,
    stage: Stage,
    notice: Option<Notice>,
) -> PageState {
    PageState {
        revision,
        amount: session.remaining().unwrap_or_else(|| session.amount()),
        reference: session.payment_data.reference().map(str::to_owned),
        agent: session.agent.clone(),
        fields: capture.views(),
        phase: phase(stage, capture),
        notice,
        test_keypad: session.call.is_none(),
        link: None,
        may_move: false,
    }
}

/// The stage that a committed session is in.
pub(super) fn stage_of(session: &Session) -> Stage {
    match &session.state {
        SessionState::Created | SessionState::InProgress => Stage::Entry(None),
        SessionState::Processing { .. } => processing(session),
        SessionState::Ended { ending, .. } => Stage::Ended(end_view(*ending)),
    }
}

fn processing(session: &Session) -> Stage {
    if let Some(cause) = session.reversing_attempt().and_then(Attempt::turned_back_for) {
        return Stage::GivingBack(cause);
    }
    match session.open_attempt().map(|attempt| &attempt.state) {
        Some(AttemptState::Unknown { .. }) => Stage::Unknown,
        Some(AttemptState::Answered { .. }) => Stage::Pending,
        Some(AttemptState::Challenged { .. }) => Stage::AtTheBank,
        Some(
            AttemptState::Intent
            | AttemptState::Confirming { .. }
            | AttemptState::NotSent { .. }
            | AttemptState::NotCharged { .. },
        )
        | None => Stage::Paying,
    }
}

fn end_view(ending: Ending) -> EndView {
    match ending {
        Ending::Finished(Outcome::Approved) => EndView::Approved,
        Ending::Finished(Outcome::Review) => EndView::Review,
        Ending::Finished(Outcome::Declined) => EndView::Declined,
        Ending::Finished(Outcome::Cancelled | Outcome::None | Outcome::Unknown) => EndView::Cancelled,
        Ending::TimeOut | Ending::ExpiredOnProviderSide => EndView::TimedOut,
        Ending::Error => EndView::Failed,
    }
}
