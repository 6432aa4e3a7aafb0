//! Payers who are sent to their bank (3-D Secure): they confirm or not, come back once, twice, never, or with nonsense.

use std::time::Duration;

use hushpad::payments::{Payments, Progress, StillThere};
use hushpad_domain::attempt::{
    Attempt, AttemptState, DeclineClass, GatewayAnswer, NotSent, Unknown, Verdict,
};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::event::EventKind;
use hushpad_domain::ids::AttemptId;
use hushpad_domain::session::Session;
use hushpad_gateways::{Asked, Challenges, Submission};
use tokio::sync::mpsc;

use super::gateway::SimGateways;
use super::schedule::{Build, play};

/// What a payer brings back from the bank.
pub(crate) const BACK: &[u8] = b"back=1";

/// A payer at the bank.
pub(super) struct Visit {
    confirmed: bool,
    /// The gateway lets it be confirmed no more.
    closed: bool,
    /// How often we went on after it.
    went_on: u32,
}

impl SimGateways {
    pub(super) fn send_to_the_bank(&self, attempt: &Attempt) -> Challenge {
        self.with(|ledger, _| {
            if let Some(entry) = ledger.entries.get_mut(&attempt.id) {
                entry.visit = Some(Visit { confirmed: false, closed: false, went_on: 0 });
            }
        });
        challenge(attempt.id)
    }

    /// The payer confirms at the bank. Some gateways charge right then.
    fn confirm(&self, attempt: &Attempt) {
        let charges_now = self.caps[&attempt.gateway].challenge == Challenges::ChargedAtBank;
        let confirmed = self.with(|ledger, _| {
            let visit = ledger.entries.get_mut(&attempt.id).and_then(|entry| entry.visit.as_mut());
            visit.filter(|visit| !visit.closed && !visit.confirmed).map(|visit| visit.confirmed = true)
        });
        if confirmed.is_some() && charges_now {
            let (verdict, code) = self.verdict(attempt.amount);
            self.book(attempt, Duration::ZERO, verdict, code);
        }
    }

    /// We go on: at some gateways only this charges.
    pub(super) async fn go_on_after_the_bank(&self, attempt: &Attempt) -> Submission {
        self.check_return(attempt);
        let charges_now = self.caps[&attempt.gateway].challenge == Challenges::ChargedOnReturn;
        let fate = self.dice.below(100);
        if fate < 10 {
            tokio::time::sleep(self.dice.millis(5_000)).await;
            return if charges_now {
                Submission::NotSent(NotSent::Unreachable)
            } else {
                Submission::Unknown(Unknown::ConnectionLost)
            };
        }
        let confirmed = self.with(|ledger, _| {
            let (entries, violations) = (&mut ledger.entries, &mut ledger.violations);
            let visit = entries.get_mut(&attempt.id)?.visit.as_mut()?;
            if charges_now && visit.confirmed {
                visit.went_on += 1;
                if visit.went_on > 1 {
                    violations.push(format!("{} went on {} times", attempt.id, visit.went_on));
                }
            }
            visit.closed |= visit.confirmed;
            Some(visit.confirmed)
        });
        tokio::time::sleep(self.dice.millis(1_000)).await;
        if confirmed != Some(true) {
            return Submission::Challenged(challenge(attempt.id));
        }
        if charges_now {
            let (verdict, code) = self.verdict(attempt.amount);
            self.book(attempt, Duration::ZERO, verdict, code);
        }
        tokio::time::sleep(self.dice.millis(1_000)).await;
        if fate < 25 {
            return Submission::Unknown(Unknown::ConnectionLost);
        }
        Submission::Answered(self.with(|ledger, now| ledger.entries[&attempt.id].answer(now)))
    }

    /// A gateway that is asked about a payer who never confirmed gives that payment up, and says so.
    pub(super) fn ask_after_the_bank(&self, attempt: &Attempt) -> Option<Asked> {
        self.with(|ledger, _| {
            let visit = ledger.entries.get_mut(&attempt.id)?.visit.as_mut()?;
            visit.closed = true;
            let verdict = Verdict::Declined { class: DeclineClass::Authenticate };
            let declined = GatewayAnswer::new(verdict, "gw-1".to_owned(), Default::default(), None);
            (!visit.confirmed).then_some(Asked::Found(declined))
        })
    }

    /// Nothing may go on whose return would not survive a crash.
    fn check_return(&self, attempt: &Attempt) {
        let rows = self.disk.lock().unwrap();
        let mut stored = rows.sessions.values().flat_map(|session| &session.attempts);
        let is_written = stored.any(|one| {
            one.id == attempt.id
                && matches!(one.state, AttemptState::Confirming { .. } | AttemptState::Unknown { .. })
        });
        drop(rows);
        if !is_written {
            self.with(|ledger, _| ledger.violations.push(format!("{} went on unwritten", attempt.id)));
        }
    }

    /// One payer, who was just sent to the bank.
    pub(super) async fn visit_the_bank(
        &self,
        payments: Payments,
        session: Session,
        still_there: StillThere,
        progress: mpsc::Sender<Progress>,
    ) {
        let Some(attempt) = session.challenged_attempt().cloned() else { return };
        tokio::time::sleep(self.dice.millis(20_000)).await;
        if self.dice.percent(70) {
            self.confirm(&attempt);
        }
        if self.dice.percent(15) {
            // Gone for good; or the link is withdrawn.
            if self.dice.percent(50) {
                let _ = payments.abandon_challenge(session, still_there, Some(progress)).await;
            }
            return;
        }
        for _ in 0..=self.dice.below(2) {
            let brought = if self.dice.percent(20) { b"nonsense".as_slice() } else { BACK };
            payments.returned(&session, brought, still_there.clone(), progress.clone()).await;
            if self.dice.percent(50) {
                tokio::time::sleep(self.dice.millis(2_000)).await;
            }
        }
    }
}

/// How many payments of a schedule were made over the bank, and how many payers were given up there.
pub(crate) fn visits(seed: u64) -> (usize, usize) {
    let (disk, ..) = play(seed, Build::Sound);
    let rows = disk.lock().unwrap();
    let follows = |first: fn(&EventKind) -> bool, second: fn(&EventKind) -> bool| {
        let pairs = rows.events.values().flat_map(|events| events.windows(2));
        pairs.filter(|pair| first(&pair[0].kind) && second(&pair[1].kind)).count()
    };
    let paid = follows(
        |kind| matches!(kind, EventKind::ChallengeReturned { .. }),
        |kind| matches!(kind, EventKind::Approved { .. }),
    );
    let given_up = follows(
        |kind| matches!(kind, EventKind::Challenge { .. }),
        |kind| matches!(kind, EventKind::Unknown { .. }),
    );
    (paid, given_up)
}

fn challenge(attempt: AttemptId) -> Challenge {
    Challenge::new(format!("https://bank.example/{attempt}"), Vec::new(), Vec::new()).unwrap()
}
