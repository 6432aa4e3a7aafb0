//! Gateways that fail in every way, with the ledger that says what they did: the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hushpad::payments::Acquirer;
use hushpad_domain::attempt::{
    Attempt, AttemptState, Check, DeclineClass, GatewayAnswer, NotSent, Unknown, Verdict,
};
use hushpad_domain::challenge::Challenge;
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AttemptId, GatewayName, OperationId};
use hushpad_domain::masked_card::MaskedCard;
use hushpad_domain::money::Money;
use hushpad_domain::notification::{Notification, UndoingEnd};
use hushpad_gateways::{
    Asked, AskedFollowUp, Caps, Challenges, Channel, FollowUp, FollowUpKind, FollowUpSubmission, NotKnown,
    NotificationError, Order, Replay, Return, Reversal, Source, Step, Submission,
};

use super::bank::Visit;
use super::dice::Dice;
use super::memory::Disk;
use super::world::VirtualWorld;

/// After this, "not found" is final, or should be.
const SETTLE: Duration = Duration::from_secs(60);

/// What the gateways did. Survives every crash of ours.
#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) entries: BTreeMap<AttemptId, Entry>,
    /// What must never happen.
    pub(crate) violations: Vec<String>,
    /// What will be told unasked, and when, in microseconds.
    pub(crate) outbox: Vec<(i64, GatewayName, Notification)>,
}

/// One attempt, as its gateway has it.
pub(crate) struct Entry {
    pub(crate) requests: u32,
    /// When the money is held or taken; in the future for one that is still on its way.
    pub(super) booked_at: Option<i64>,
    pub(crate) held: i64,
    pub(super) verdict: Verdict,
    pub(super) security_code: Check,
    pub(super) final_at: i64,
    pub(crate) reversed: bool,
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
    operations: BTreeSet<OperationId>,
    /// Of a gateway that tells later: how each operation ended there.
    pub(crate) ends: BTreeMap<OperationId, bool>,
    /// The same of the undoing without an answer.
    pub(super) undoing: Option<UndoingEnd>,
    /// Where its payer is, when the gateway wanted to see one.
    pub(super) visit: Option<Visit>,
}

impl Entry {
    /// Whether the gateway has approved it by now.
    pub(crate) fn is_booked(&self, now: i64) -> bool {
        self.booked_at.is_some_and(|at| at <= now)
    }

    /// What the customer is out of pocket, or blocked on the card.
    pub(crate) fn net(&self, now: i64) -> i64 {
        if self.is_booked(now) && !self.reversed { self.held - self.refunded } else { 0 }
    }

    pub(super) fn answer(&self, now: i64) -> GatewayAnswer {
        let verdict = match &self.verdict {
            Verdict::Pending if now >= self.final_at => Verdict::Approved,
            verdict => verdict.clone(),
        };
        let mut answer = GatewayAnswer::new(verdict, "gw-1".to_owned(), BTreeMap::new(), None);
        answer.checks.security_code = self.security_code;
        answer
    }
}

#[derive(Clone)]
pub(crate) struct SimGateways {
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    pub(super) caps: Arc<BTreeMap<GatewayName, Caps>>,
    pub(super) disk: Disk,
    world: VirtualWorld,
    pub(super) dice: Dice,
    /// A broken build: a reset after the request is taken for a connection that never was.
    resets_are_not_sent: bool,
}

impl SimGateways {
    pub(crate) fn new(
        model: &Caps,
        disk: Disk,
        world: VirtualWorld,
        dice: Dice,
        resets_are_not_sent: bool,
    ) -> Self {
        let kinds = [
            ("asks", true, false, Replay::None, true),
            ("reverses", false, true, Replay::NaturalKey, false),
            ("both", true, true, Replay::StoresFirst { window: Duration::from_secs(86_400) }, true),
            ("operator", false, false, Replay::None, true),
            ("tells", false, true, Replay::StoresFirst { window: Duration::from_secs(86_400) }, false),
            ("at-bank", true, false, Replay::None, true),
            ("on-return", false, true, Replay::None, true),
        ];
        let notifies = |name: &str| name == "tells";
        let caps = kinds.map(|(name, query_by_ref, reverse_by_ref, replay, query_follow_up)| {
            let follow_ups = &FollowUpKind::ALL;
            let caps = Caps {
                query_by_ref,
                reverse_by_ref,
                replay,
                query_follow_up,
                follow_ups,
                settle_time: SETTLE,
                notifies: notifies(name),
                challenge: match name {
                    "at-bank" => Challenges::ChargedAtBank,
                    "on-return" => Challenges::ChargedOnReturn,
                    _ => Challenges::None,
                },
                ..model.clone()
            };
            (GatewayName(name.to_owned()), caps)
        });
        Self { ledger: Arc::default(), caps: Arc::new(caps.into()), disk, world, dice, resets_are_not_sent }
    }

    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Ledger, i64) -> R) -> R {
        let now = self.world.micros();
        act(&mut self.ledger.lock().unwrap(), now)
    }

    /// Nothing may be sent whose intent would not survive a crash.
    fn check_intent(&self, attempt: &Attempt) {
        let rows = self.disk.lock().unwrap();
        let stored =
            rows.sessions.values().flat_map(|session| &session.attempts).find(|one| one.id == attempt.id);
        if stored.is_none() {
            self.with(|ledger, _| {
                ledger.violations.push(format!("{} was sent without an intent", attempt.id))
            });
        }
    }

    pub(super) fn verdict(&self, amount: Money) -> (Verdict, Check) {
        let approved = || (Verdict::Approved, Check::Match);
        match self.dice.below(100) {
            0..50 => approved(),
            50..60 => (Verdict::Approved, Check::NoMatch),
            60..65 => (Verdict::Review, Check::NotChecked),
            65..70 => (Verdict::Pending, Check::NotChecked),
            70..80 => {
                let part = Money::from_minor(amount.minor() / 2, amount.currency());
                part.map_or_else(|_| approved(), |approved| (Verdict::Partial { approved }, Check::Match))
            }
            80..90 => (Verdict::Declined { class: DeclineClass::Rekey(Field::Expiry) }, Check::NotChecked),
            _ => (Verdict::Declined { class: DeclineClass::OtherCard }, Check::NotChecked),
        }
    }

    /// Books the attempt `after` from now.
    pub(super) fn book(&self, attempt: &Attempt, after: Duration, verdict: Verdict, security_code: Check) {
        let held = match &verdict {
            Verdict::Approved | Verdict::Review | Verdict::Pending => attempt.amount.minor(),
            Verdict::Partial { approved } => approved.minor(),
            Verdict::Declined { .. } => 0,
        };
        let micros = |length: Duration| i64::try_from(length.as_micros()).unwrap();
        let pending = micros(self.dice.millis(600_000));
        self.with(|ledger, now| {
            let entry = ledger.entries.get_mut(&attempt.id).unwrap();
            entry.booked_at = Some(now + micros(after));
            (entry.held, entry.verdict, entry.security_code) = (held, verdict, security_code);
            entry.final_at = now + pending;
        });
        self.tell_of_attempt(attempt);
    }

    /// Does an operation, once for each id.
    pub(super) fn execute(&self, follow_up: &FollowUp<'_>) -> Result<(), &'static str> {
        let once = self.caps[&follow_up.attempt.gateway].replay != Replay::None;
        self.with(|ledger, now| {
            let Ledger { entries, violations, outbox: _ } = ledger;
            let id = follow_up.attempt.id;
            let Some(entry) = entries.get_mut(&id).filter(|entry| entry.is_booked(now)) else {
                violations.push(format!("{id}: an operation on what the gateway does not have"));
                return Err("unknown");
            };
            if !entry.operations.insert(follow_up.id) {
                if !once {
                    violations.push(format!("{id}: operation {} was sent twice", follow_up.id));
                }
                return Ok(());
            }
            match follow_up.kind {
                FollowUpKind::Capture => entry.captured += follow_up.amount.minor(),
                FollowUpKind::Refund => entry.refunded += follow_up.amount.minor(),
                FollowUpKind::Void | FollowUpKind::Reverse => entry.reversed = true,
            }
            if entry.captured > entry.held
                || entry.refunded > entry.held
                || (entry.reversed && entry.refunded > 0)
            {
                violations.push(format!("{id}: more was moved than there is"));
            }
            Ok(())
        })
    }
}

#[async_trait]
impl Acquirer for SimGateways {
    fn caps(&self, gateway: &GatewayName) -> Option<&Caps> {
        self.caps.get(gateway)
    }

    async fn submit(&self, order: &Order<'_>, _: &Source<'_>) -> Submission {
        let attempt = order.attempt;
        assert_eq!(attempt.amount, order.payment_data.amount());
        let fate = self.dice.below(100);
        if fate < 12 {
            tokio::time::sleep(self.dice.millis(5_000)).await;
            let reasons = [NotSent::Unreachable, NotSent::Refused, NotSent::BreakerOpen];
            return Submission::NotSent(reasons[usize::try_from(fate).unwrap() % 3]);
        }
        self.check_intent(attempt);
        let no_money = Verdict::Declined { class: DeclineClass::Never };
        self.with(|ledger, now| {
            let entry = ledger.entries.entry(attempt.id).or_insert(Entry {
                requests: 0,
                booked_at: None,
                held: 0,
                verdict: no_money,
                security_code: Check::NotChecked,
                final_at: now,
                reversed: false,
                captured: 0,
                refunded: 0,
                operations: BTreeSet::new(),
                ends: BTreeMap::new(),
                undoing: None,
                visit: None,
            });
            entry.requests += 1;
        });
        tokio::time::sleep(self.dice.millis(1_000)).await;
        if let (Channel::Ecommerce(_), 50..) = (order.channel, fate)
            && self.caps[&attempt.gateway].challenge != Challenges::None
        {
            return Submission::Challenged(self.send_to_the_bank(attempt));
        }
        let (verdict, code) = self.verdict(attempt.amount);
        let lost = if self.resets_are_not_sent {
            Submission::NotSent(NotSent::Unreachable)
        } else {
            Submission::Unknown(Unknown::ConnectionLost)
        };
        match fate {
            // Lost on the way there.
            12..20 => return lost,
            // Lost on the way back.
            20..34 => {
                self.book(attempt, Duration::ZERO, verdict, code);
                tokio::time::sleep(self.dice.millis(1_000)).await;
                return lost;
            }
            // It takes effect when nobody waits any more; at those that can be asked, even after its time.
            34..42 => {
                let caps = &self.caps[&attempt.gateway];
                let max_ms = if caps.query_by_ref || caps.notifies { 110_000 } else { 40_000 };
                self.book(attempt, self.dice.millis(max_ms), verdict, code);
                return Submission::Unknown(Unknown::TimedOut);
            }
            _ => {}
        }
        self.book(attempt, Duration::ZERO, verdict, code);
        tokio::time::sleep(self.dice.millis(1_000)).await;
        Submission::Answered(self.with(|ledger, now| ledger.entries[&attempt.id].answer(now)))
    }

    fn read_return(&self, attempt: &Attempt, _: &Challenge, came_along: &[u8]) -> Option<Return> {
        let back = Step { no: 0, ids: vec![attempt.id.to_string()] };
        (came_along == super::bank::BACK).then(|| Return::from(back))
    }

    async fn go_on(&self, attempt: &Attempt, _: Option<&MaskedCard>, _: &Return) -> Submission {
        self.go_on_after_the_bank(attempt).await
    }

    async fn ask(&self, attempt: &Attempt) -> Asked {
        tokio::time::sleep(self.dice.millis(200)).await;
        let caps = &self.caps[&attempt.gateway];
        let answered = matches!(attempt.state, AttemptState::Answered { .. });
        if !caps.query_by_ref && (caps.notifies || !answered) {
            return Asked::NotKnown(NotKnown::NoQuery);
        }
        if self.dice.percent(10) {
            return Asked::NotKnown(NotKnown::Unreachable);
        }
        if let Some(told) = self.ask_after_the_bank(attempt) {
            return told;
        }
        self.with(|ledger, now| match ledger.entries.get(&attempt.id) {
            Some(entry) if entry.is_booked(now) && !entry.reversed => Asked::Found(entry.answer(now)),
            Some(_) | None => Asked::NotFound,
        })
    }

    async fn reverse_unknown(&self, attempt: &Attempt) -> Reversal {
        tokio::time::sleep(self.dice.millis(200)).await;
        if self.dice.percent(15) {
            return Reversal::NotKnown(NotKnown::Unreachable);
        }
        if self.caps[&attempt.gateway].notifies {
            self.accept_undoing(attempt);
            let lost = self.dice.percent(10);
            return if lost {
                Reversal::NotKnown(NotKnown::NoAnswer(Unknown::TimedOut))
            } else {
                Reversal::Accepted
            };
        }
        let booked = self.with(|ledger, now| {
            let entry = ledger.entries.get_mut(&attempt.id).filter(|entry| entry.is_booked(now));
            entry.map(|entry| entry.reversed = true).is_some()
        });
        match booked {
            _ if self.dice.percent(10) => Reversal::NotKnown(NotKnown::NoAnswer(Unknown::TimedOut)),
            true => Reversal::Reversed,
            false => Reversal::NothingThere,
        }
    }

    async fn follow_up(&self, follow_up: &FollowUp<'_>) -> FollowUpSubmission {
        tokio::time::sleep(self.dice.millis(500)).await;
        let done = || FollowUpSubmission::Done { reference: "op-1".to_owned(), result: BTreeMap::new() };
        let known = self.with(|ledger, _| {
            ledger
                .entries
                .get(&follow_up.attempt.id)
                .is_some_and(|entry| entry.operations.contains(&follow_up.id))
        });
        match self.dice.below(100) {
            0..10 => return FollowUpSubmission::NotSent(NotSent::Unreachable),
            10..20 if !known => {
                return FollowUpSubmission::Refused { reason: "not now".to_owned(), result: BTreeMap::new() };
            }
            20..30 => return FollowUpSubmission::Unknown(Unknown::TimedOut),
            _ => {}
        }
        if self.caps[&follow_up.attempt.gateway].notifies {
            self.accept(follow_up);
            tokio::time::sleep(self.dice.millis(500)).await;
            return if self.dice.percent(20) {
                FollowUpSubmission::Unknown(Unknown::ConnectionLost)
            } else {
                FollowUpSubmission::Accepted { reference: follow_up.id.to_string(), result: BTreeMap::new() }
            };
        }
        if let Err(reason) = self.execute(follow_up) {
            return FollowUpSubmission::Refused { reason: reason.to_owned(), result: BTreeMap::new() };
        }
        tokio::time::sleep(self.dice.millis(500)).await;
        if self.dice.percent(20) { FollowUpSubmission::Unknown(Unknown::ConnectionLost) } else { done() }
    }

    async fn ask_follow_up(&self, follow_up: &FollowUp<'_>) -> AskedFollowUp {
        tokio::time::sleep(self.dice.millis(200)).await;
        if !self.caps[&follow_up.attempt.gateway].query_follow_up {
            return AskedFollowUp::NotKnown(NotKnown::NoQuery);
        }
        if self.dice.percent(10) {
            return AskedFollowUp::NotKnown(NotKnown::Unreachable);
        }
        let done = self.with(|ledger, _| {
            ledger
                .entries
                .get(&follow_up.attempt.id)
                .is_some_and(|entry| entry.operations.contains(&follow_up.id))
        });
        if done {
            AskedFollowUp::Done { reference: "op-1".to_owned(), result: BTreeMap::new() }
        } else {
            AskedFollowUp::NotFound
        }
    }

    /// The model's gateways sign nothing: the body is the notification.
    fn notification(&self, _: &GatewayName, body: &[u8]) -> Result<Vec<Notification>, NotificationError> {
        serde_json::from_slice(body).map(|told| vec![told]).map_err(|_| NotificationError::Malformed)
    }
}
