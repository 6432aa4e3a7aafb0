//! A gateway that takes what it is asked for, and tells later how it ended: late, twice, out of order, or never.

use std::collections::BTreeMap;
use std::time::Duration;

use hushpad_domain::attempt::{Attempt, Checks, Verdict};
use hushpad_domain::money::Money;
use hushpad_domain::notification::{Notification, Told, UndoingEnd};
use hushpad_gateways::{FollowUp, FollowUpKind};
use uuid::Uuid;

use super::gateway::SimGateways;

/// Nothing is told later than this after it has happened.
const LATE_MAX_MS: u64 = 600_000;

impl SimGateways {
    /// The decision is told after it was made. No approval is never told: nobody would ever know of it.
    pub(super) fn tell_of_attempt(&self, attempt: &Attempt) {
        if !self.caps[&attempt.gateway].notifies {
            return;
        }
        let (amount, what, at) = self.with(|ledger, now| {
            let entry = &ledger.entries[&attempt.id];
            let declined = match &entry.verdict {
                Verdict::Declined { class } => Some(*class),
                Verdict::Approved | Verdict::Partial { .. } | Verdict::Review | Verdict::Pending => None,
            };
            let checks = Checks { security_code: entry.security_code, ..Checks::default() };
            let known = if entry.verdict == Verdict::Pending { entry.final_at } else { now };
            let what = Told::Attempt { declined, checks, result: BTreeMap::new(), stored: None };
            let amount = Money::from_minor(entry.held, attempt.amount.currency()).ok();
            (amount, what, known.max(entry.booked_at.unwrap_or(now)))
        });
        let never = matches!(what, Told::Attempt { declined: Some(_), .. }) && self.dice.percent(5);
        if !never {
            self.tell(attempt, attempt.id.0, amount, what, at);
        }
    }

    /// Does it or does not, once, and tells.
    pub(super) fn accept_undoing(&self, attempt: &Attempt) {
        let fails = self.dice.percent(10);
        let end = self.with(|ledger, now| {
            let booked = ledger.entries.get_mut(&attempt.id).filter(|entry| entry.is_booked(now));
            let Some(entry) = booked.filter(|entry| entry.held > 0) else {
                return Some(UndoingEnd::NothingThere);
            };
            if entry.undoing.is_some() {
                return None;
            }
            let end = if fails { UndoingEnd::Failed } else { UndoingEnd::Done };
            entry.reversed |= end == UndoingEnd::Done;
            entry.undoing = Some(end);
            Some(end)
        });
        if let Some(end) = end
            && !self.dice.percent(5)
        {
            let what = Told::Reversal { end, reason: String::new() };
            self.tell(attempt, attempt.id.0, None, what, self.with(|_, now| now));
        }
    }

    /// Does it or does not, once for each id, and tells; some that were done fail after all.
    pub(super) fn accept(&self, follow_up: &FollowUp<'_>) {
        let (attempt, id) = (follow_up.attempt, follow_up.id);
        let known = self.with(|ledger, _| {
            ledger.entries.get(&attempt.id).is_none_or(|entry| entry.ends.contains_key(&id))
        });
        if known {
            return;
        }
        let gone = self.with(|ledger, _| ledger.entries[&attempt.id].reversed);
        let done = !gone && !self.dice.percent(15) && self.execute(follow_up).is_ok();
        let moves_on = matches!(follow_up.kind, FollowUpKind::Capture | FollowUpKind::Refund);
        let fails_later = done && moves_on && self.dice.percent(10);
        let now = self.with(|ledger, now| {
            let entry = ledger.entries.get_mut(&attempt.id).unwrap();
            entry.ends.insert(id, done && !fails_later);
            if fails_later && follow_up.kind == FollowUpKind::Capture {
                entry.captured -= follow_up.amount.minor();
            } else if fails_later {
                entry.refunded -= follow_up.amount.minor();
            }
            now
        });
        if !self.dice.percent(5) {
            let what = Told::FollowUp { done, reason: "no".to_owned() };
            self.tell(attempt, id.0, None, what, now);
        }
        if fails_later {
            self.tell(attempt, id.0, None, Told::FailedLater { event: "failed".to_owned() }, now);
        }
    }

    fn tell(&self, attempt: &Attempt, reference: Uuid, amount: Option<Money>, what: Told, at: i64) {
        let told = Notification {
            dedupe_key: self.dice.guid().to_string(),
            reference,
            gateway_reference: reference.to_string(),
            original_reference: None,
            amount,
            what,
        };
        let times = if self.dice.percent(20) { 2 } else { 1 };
        for _ in 0..times {
            // Mostly soon, some long after what followed.
            let late = if self.dice.percent(70) { 2_000 } else { LATE_MAX_MS };
            let due = at + i64::try_from(self.dice.millis(late).as_micros()).unwrap();
            self.with(|ledger, _| ledger.outbox.push((due, attempt.gateway.clone(), told.clone())));
        }
    }

    /// What is due to be told, and how long it is until the next.
    pub(super) fn due(&self) -> (Vec<(hushpad_domain::ids::GatewayName, Notification)>, Option<Duration>) {
        self.with(|ledger, now| {
            let (due, later): (Vec<_>, Vec<_>) =
                std::mem::take(&mut ledger.outbox).into_iter().partition(|(at, _, _)| *at <= now);
            ledger.outbox = later;
            let next = ledger.outbox.iter().map(|(at, _, _)| *at - now).min();
            let next = next.map(|wait| Duration::from_micros(u64::try_from(wait).unwrap_or(0)));
            (due.into_iter().map(|(_, gateway, told)| (gateway, told)).collect(), next)
        })
    }

    /// It was not taken: it is told again.
    pub(super) fn tell_again(&self, gateway: hushpad_domain::ids::GatewayName, told: Notification) {
        self.with(|ledger, now| ledger.outbox.push((now + 5_000_000, gateway, told)));
    }
}
