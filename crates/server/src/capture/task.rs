//! The life of one provider session: keys come in, the agent asks, an attempt runs, the call ends.

use std::sync::Arc;

use futures_util::StreamExt;
use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::account::AccountConfiguration;
use hushpad_domain::attempt::{AttemptState, DeclineClass};
use hushpad_domain::field::Field;
use hushpad_domain::link::Way;
use hushpad_domain::operation::ReverseCause;
use hushpad_domain::page::{AgentAction, EndView, Notice, PageState, Phase};
use hushpad_domain::ports::{ActError, ChangeSigns, Launch, World};
use hushpad_domain::session::{ATTEMPTS_MAX, Session};
use hushpad_domain::time::Tick;
use hushpad_telephony::key_queue::{Alarm, Hint};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::command::{Command, linger};
use super::link::ByLink;
use super::sight::Shown;
use super::{Line, Shared, view};
use crate::payments::{CameBy, Fenced, Progress, StillThere};

/// A payment sends three messages, and may wait once more for each time it is asked for.
const PROGRESS_MAX: usize = 8;

/// One provider session. Owns the card data of its customer.
pub(super) struct ProviderSession {
    pub(super) shared: Arc<Shared>,
    pub(super) configuration: Arc<AccountConfiguration>,
    pub(super) session: Session,
    pub(super) capture: Capture,
    pub(super) line: Option<Line>,
    pub(super) by_link: ByLink,
    pub(super) stage: Stage,
    pub(super) notice: Option<Notice>,
    pub(super) still_there: StillThere,
    attempt: Option<mpsc::Receiver<Progress>>,
    /// Commits that others make: what became of an attempt from before a restart.
    signs: ChangeSigns,
    pub(super) deadline: Tick,
    page: watch::Sender<PageState>,
    shown: watch::Sender<Shown>,
}

/// Where the payment stands here; the committed truth is in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Fields are keyed; after a decline, how.
    Entry(Option<DeclineClass>),
    /// The attempt is at the gateway.
    Paying,
    /// It may have been charged.
    Unknown,
    /// The gateway has it and will say later.
    Pending,
    /// The payer is at the bank, which checks who it is.
    AtTheBank,
    /// Its approval is being given back.
    GivingBack(ReverseCause),
    /// Over.
    Ended(EndView),
}

enum Woken {
    Command(Option<Command>),
    Keys,
    CallEnded,
    Progress(Option<Progress>),
    /// Somebody has changed the session.
    Changed,
    Time,
}

impl ProviderSession {
    pub(super) fn new(
        shared: Arc<Shared>,
        launch: Launch,
        line: Option<Line>,
    ) -> (Self, watch::Receiver<PageState>, watch::Receiver<Shown>) {
        let Launch { session, configuration } = launch;
        let flow = &configuration.flow;
        let capture = Capture::new(Rules {
            fields: flow.fields.clone(),
            brands: flow.brands.clone(),
            first_key_time_out: flow.first_key_time_out,
            between_keys_time_out: flow.between_keys_time_out,
        });
        // Listening comes before the first look, so that nothing falls between.
        let signs = shared.changes.signs(session.guid);
        let by_link = ByLink::new(&shared, &session);
        let stage = view::stage_of(&session);
        let shown = Shown::of(&session, by_link.payee(), flow, stage, false);
        let (shown, payer_watcher) = watch::channel(shown);
        let deadline = shared.world.tick().plus(flow.session_time_out);
        let first = view::page(0, &session, &capture, stage, None);
        let (page, watcher) = watch::channel(first);
        let task = Self {
            shared,
            configuration,
            session,
            capture,
            line,
            by_link,
            stage,
            notice: None,
            still_there: StillThere::yes(),
            attempt: None,
            signs,
            deadline,
            page,
            shown,
        };
        (task, watcher, payer_watcher)
    }

    /// Runs until the session is over and its page has been seen, or nobody is there any more who would pay by link.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        if matches!(self.session.way, Way::Link(_)) {
            Box::pin(self.reread()).await;
            self.stage = view::stage_of(&self.session);
            self.show();
        }
        while !self.is_over() {
            let woken = self.wait(&mut inbox).await;
            if matches!(woken, Woken::Command(None)) {
                break;
            }
            // Boxed: what a session keeps while it waits is a third of what it needs when it acts.
            Box::pin(self.act_on(woken)).await;
            self.show();
            if self.is_idle() && self.shared.leave(self.session.provider) {
                return;
            }
        }
        self.capture.wipe();
        self.release_call();
        info!(
            session.id = %self.session.guid,
            state = self.session.state_name(),
            outcome = self.session.outcome().word(),
            "session ended"
        );
        linger(inbox).await;
        self.shared.forget(self.session.provider);
    }

    async fn act_on(&mut self, woken: Woken) {
        match woken {
            Woken::Command(Some(command)) => self.command(command).await,
            Woken::Command(None) => {}
            Woken::Keys => self.take_keys().await,
            Woken::CallEnded => self.call_ended().await,
            Woken::Progress(progress) => self.progress(progress).await,
            Woken::Changed => self.changed_by_others().await,
            Woken::Time => self.time_passed().await,
        }
    }

    /// Whether an attempt of this task is under way.
    pub(super) fn is_paying(&self) -> bool {
        self.attempt.is_some()
    }

    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    async fn wait(&mut self, inbox: &mut mpsc::Receiver<Command>) -> Woken {
        let (deadline, timed) = match self.session.way {
            Way::Keypad => {
                let entry = self.capture.deadline();
                let deadline = entry.map_or(self.deadline, |entry| entry.min(self.deadline));
                // While an attempt runs, the session's own time-out waits for it.
                (deadline, matches!(self.stage, Stage::Entry(_) | Stage::Ended(_)))
            }
            Way::Link(_) => (self.by_link.next_look(self.shared.world.tick()), true),
        };
        let deadline = self.shared.world.instant_of(deadline);
        // What its own attempt does to the session, the attempt says.
        let foreign = matches!(self.session.way, Way::Link(_)) && self.attempt.is_none();
        let (line, attempt, signs) = (self.line.as_ref(), self.attempt.as_mut(), &mut self.signs);
        tokio::select! {
            biased;
            progress = next_progress(attempt) => Woken::Progress(progress),
            ended = line_wakes(line) => if ended { Woken::CallEnded } else { Woken::Keys },
            command = inbox.recv() => Woken::Command(command),
            Some(()) = signs.next(), if foreign => Woken::Changed,
            () = tokio::time::sleep_until(deadline), if timed => Woken::Time,
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            // By a link, the payer begins.
            Command::PageOpened if self.session.link().is_some() => {}
            Command::PageOpened => self.begin().await,
            Command::Act(action, done) => {
                let result = self.act(action).await;
                // The page shows it whether or not the asker still waits.
                let _ = done.send(result);
            }
            Command::Looked(link, seen) => {
                self.looked(link).await;
                self.show();
                let _ = seen.send(());
            }
            Command::Typed(link, typing) => self.typed(link, typing),
            Command::Pay(payment, done) => {
                let result = self.pay_by_link(*payment);
                // Whoever looks after the answer must not see the form once more.
                self.show();
                let _ = done.send(result);
            }
            Command::Back(came_along, done) => {
                self.back_from_the_bank(&came_along).await;
                self.show();
                let _ = done.send(());
            }
            Command::LinkExpired => self.end_if_expired().await,
            Command::LinkNotSent => self.link_not_sent(),
        }
    }

    /// The agent has begun. When that cannot be written now, the intent will say so later.
    async fn begin(&mut self) {
        if let Ok(change) = self.session.clone().begin(self.shared.world.now()) {
            let after = change.after.clone();
            match self.shared.payments.books.commit(change).await {
                Ok(()) => self.session = after,
                Err(error) => warn!(session.id = %self.session.guid, %error, "begin was not written"),
            }
        }
    }

    async fn act(&mut self, action: AgentAction) -> Result<(), ActError> {
        match (self.stage, action) {
            (Stage::Entry(_), AgentAction::IssueLink) => self.issue_link().await,
            (Stage::Entry(_), AgentAction::RevokeLink) => self.revoke_link().await,
            (Stage::Entry(_), AgentAction::TakeByKeypad(agent)) => self.take_by_keypad(agent).await,
            (Stage::Entry(_), AgentAction::Cancel) => {
                self.end(EndView::Cancelled, Session::cancel).await;
                Ok(())
            }
            (Stage::Entry(_), _) if self.session.link().is_some() => Err(ActError::NotNow),
            (Stage::Entry(_), AgentAction::Start(field)) => self.open_field(field, false),
            (Stage::Entry(_), AgentAction::Redo(field)) => self.open_field(field, true),
            (Stage::Entry(_), AgentAction::TestKey(key)) if self.line.is_none() => {
                self.key(key);
                Ok(())
            }
            (Stage::Entry(_), AgentAction::Pay) => self.pay(),
            (
                Stage::Entry(_)
                | Stage::Paying
                | Stage::Unknown
                | Stage::Pending
                | Stage::AtTheBank
                | Stage::GivingBack(_),
                _,
            ) => Err(ActError::NotNow),
            (Stage::Ended(_), _) => Err(ActError::Gone),
        }
    }

    fn open_field(&mut self, field: Field, anew: bool) -> Result<(), ActError> {
        self.notice = None;
        let now = self.shared.world.tick();
        let opened = if anew { self.capture.redo(field, now) } else { self.capture.start(field, now) };
        opened.map_err(|_| ActError::NotNow)
    }

    fn key(&mut self, key: u8) {
        let (now, today) = (self.shared.world.tick(), self.shared.world.lenient_month());
        self.capture.key(key, now, today);
        self.shared.metrics.key_taken();
    }

    async fn take_keys(&mut self) {
        let Some(line) = &self.line else { return };
        let keys = Arc::clone(&line.keys);
        while let Some(alarm) = keys.take_alarm() {
            self.alarmed(alarm).await;
        }
        while let Some(report) = keys.pop() {
            // Keys outside entry are dropped, and hidden all the same.
            if matches!(self.stage, Stage::Entry(_)) {
                self.key(report.key.ascii());
            }
        }
        let hint = std::iter::from_fn(|| keys.take_hint()).last();
        if let (Some(hint), None, Stage::Entry(_)) = (hint, self.notice, self.stage) {
            self.notice = Some(match hint {
                Hint::PoorLine => Notice::PoorLine,
                Hint::HastyKeys => Notice::SlowKeys,
            });
        }
    }

    /// Keys that cannot be trusted stop the entry of the field; the call lives.
    async fn alarmed(&mut self, alarm: Alarm) {
        warn!(session.id = %self.session.guid, ?alarm, "entry stopped");
        self.shared.metrics.entry_alarm(alarm);
        self.capture.stop();
        self.notice = Some(match alarm {
            Alarm::ForeignSource | Alarm::StreamChanged => Notice::ForeignSource,
            Alarm::TooFast | Alarm::QueueFull => Notice::TooFast,
        });
        if let (Alarm::StreamChanged, Some(line)) = (alarm, &self.line) {
            // The customer's phone began a new stream: its keys count again from here on.
            if line.call.secure(Arc::clone(&line.keys)).await.is_err() {
                info!(session.id = %self.session.guid, "the call ended before it was secured again");
            }
        }
    }

    fn pay(&mut self) -> Result<(), ActError> {
        if !self.capture.is_complete() {
            return Err(ActError::NotNow);
        }
        if self.session.attempts.len() >= usize::from(ATTEMPTS_MAX) {
            self.notice = Some(Notice::AttemptsUsedUp);
            return Err(ActError::NotNow);
        }
        let card = self.capture.take().ok_or(ActError::NotNow)?;
        self.send(card, CameBy::Phone);
        Ok(())
    }

    /// Hands the card to an attempt.
    pub(super) fn send(&mut self, card: Card, came_by: CameBy) {
        let sender = self.hear_progress();
        self.notice = None;
        self.stage = Stage::Paying;
        let still_there = self.still_there.clone();
        self.shared.payments.pay(self.session.clone(), card, came_by, still_there, sender);
    }

    /// Where an attempt says how it goes, from now on.
    pub(super) fn hear_progress(&mut self) -> mpsc::Sender<Progress> {
        let (sender, receiver) = mpsc::channel(PROGRESS_MAX);
        self.attempt = Some(receiver);
        sender
    }

    /// What an attempt does is heard of by its commits, from now on.
    pub(super) fn hear_no_progress(&mut self) {
        self.attempt = None;
    }

    async fn progress(&mut self, progress: Option<Progress>) {
        if self.session.link().is_some() {
            if self.progress_by_link(progress).await {
                self.attempt = None;
            }
            return;
        }
        match progress {
            Some(Progress::NotBegun(session, card)) => {
                self.session = *session;
                self.back_to_entry(card, &[], Some(Notice::StoreUnavailable));
            }
            Some(Progress::NotSent(session, card)) => {
                self.session = *session;
                self.back_to_entry(card, &[], Some(Notice::NotSent));
            }
            Some(Progress::NotPaid(session)) => {
                self.session = *session;
                self.capture.wipe();
                self.stage = view::stage_of(&self.session);
                self.notice = Some(Notice::NotSent);
            }
            Some(Progress::Answered(session, card)) => {
                self.session = *session;
                self.answered(card);
            }
            // By telephone nobody is sent to the bank; if a gateway did, it would be waited for all the same.
            Some(Progress::Waiting(session) | Progress::Challenged(session)) => {
                self.session = *session;
                self.stage = view::stage_of(&self.session);
                // The card went with the attempt: what is keyed next is a new entry.
                self.capture.wipe();
                return;
            }
            None => {
                warn!(session.id = %self.session.guid, "an attempt ended without a word");
                self.reread().await;
                self.stage = view::stage_of(&self.session);
            }
        }
        self.attempt = None;
        if !self.is_over() && self.line.is_none() && self.session.call.is_some() {
            // The call ended while the attempt ran, and the attempt left the session open.
            self.end(EndView::CallEnded, Session::cancel).await;
        }
    }

    fn answered(&mut self, card: Option<Card>) {
        self.stage = view::stage_of(&self.session);
        if self.session.has_ended() {
            drop(card);
            return;
        }
        let class = self.session.last_decline();
        self.notice = self.after_answer();
        match (card, class) {
            (Some(card), Some(DeclineClass::Rekey(field))) => self.capture.give_back(card, &[field]),
            (Some(card), Some(DeclineClass::TryLater)) => self.capture.give_back(card, &[]),
            (Some(card), None) if self.notice.is_none() => self.capture.give_back(card, &[]),
            (card, _) => {
                drop(card);
                self.capture.wipe();
            }
        }
        self.stage = Stage::Entry(class);
    }

    /// What the agent should know of an answer beside its class.
    pub(super) fn after_answer(&self) -> Option<Notice> {
        let last = self.session.attempts.last()?;
        match (last.turned_back_for(), &last.state) {
            (Some(cause), _) => Some(Notice::GivenBack(cause)),
            (None, AttemptState::NotCharged { .. }) => Some(Notice::NotCharged),
            (None, _) if last.standing().is_some() => Some(Notice::PartApproved),
            (None, _) => None,
        }
    }

    fn back_to_entry(&mut self, card: Card, blamed: &[Field], notice: Option<Notice>) {
        self.capture.give_back(card, blamed);
        self.stage = view::stage_of(&self.session);
        self.notice = notice;
    }

    /// A fenced owner keeps what it knew: the new owner ends the session.
    pub(super) fn took(&mut self, written: Result<Session, Fenced>) {
        if let Ok(session) = written {
            self.session = session;
        }
    }

    pub(super) async fn reread(&mut self) {
        let stored = self.shared.payments.books.store().provider_session(self.session.provider).await;
        if let Ok(Some(stored)) = stored {
            self.session = stored;
        }
    }

    async fn call_ended(&mut self) {
        self.still_there.gone();
        self.line = None;
        self.capture.wipe();
        match self.stage {
            Stage::Entry(_) => self.end(EndView::CallEnded, Session::cancel).await,
            Stage::Paying | Stage::Unknown | Stage::Pending | Stage::AtTheBank | Stage::GivingBack(_) => {
                self.notice = Some(Notice::CallEnded);
            }
            Stage::Ended(_) => {}
        }
    }

    async fn time_passed(&mut self) {
        if self.session.link().is_some() {
            return self.end_if_expired().await;
        }
        let now = self.shared.world.tick();
        if now >= self.deadline {
            self.end(EndView::TimedOut, Session::time_out).await;
        } else {
            let today = self.shared.world.lenient_month();
            self.capture.tick(now, today);
        }
    }

    /// Ends the session: the card is wiped and the page told at once, then it is written down.
    pub(super) async fn end(
        &mut self,
        seen_as: EndView,
        change: fn(
            Session,
            hushpad_domain::time::Timestamp,
        ) -> Result<hushpad_domain::change::Change, hushpad_domain::session::WrongState>,
    ) {
        self.capture.wipe();
        let written = self.shared.payments.books.write(self.session.clone(), change).await;
        self.took(written);
        self.shared.payments.give_back_parts(&self.session);
        self.stage = match view::stage_of(&self.session) {
            // It ended by itself or by us; the reason that we know is the better word.
            Stage::Ended(EndView::Cancelled) | Stage::Entry(_) => Stage::Ended(seen_as),
            other => other,
        };
    }

    /// Lets the call go back to plain mode.
    pub(super) fn release_call(&mut self) {
        if let Some(line) = self.line.take() {
            line.release();
        }
    }

    fn show(&self) {
        let revision = self.page.borrow().revision + 1;
        let state = self.view(view::page(revision, &self.session, &self.capture, self.stage, self.notice));
        let shown = self.shown();
        self.shown.send_if_modified(|before| {
            let changed = shown != *before;
            if changed {
                *before = shown;
            }
            changed
        });
        self.page.send_if_modified(|shown| {
            let changed = PageState { revision: shown.revision, ..state.clone() } != *shown;
            if changed {
                *shown = state;
            }
            changed
        });
    }
}

async fn next_progress(attempt: Option<&mut mpsc::Receiver<Progress>>) -> Option<Progress> {
    match attempt {
        Some(attempt) => attempt.recv().await,
        None => std::future::pending().await,
    }
}

/// True when the call has ended, false when there may be keys.
async fn line_wakes(line: Option<&Line>) -> bool {
    let Some(line) = line else { return std::future::pending().await };
    let mut ended = line.call.ended();
    tokio::select! {
        // A sender that is gone went with its call.
        _ = ended.wait_for(|ended| *ended) => true,
        () = line.keys.ready() => line.keys.is_closed(),
    }
}

/// The phase of the page for a stage.
pub(super) fn phase(stage: Stage, capture: &Capture) -> Phase {
    match stage {
        Stage::Entry(_) if capture.is_complete() => Phase::ReadyToPay,
        Stage::Entry(Some(class)) => Phase::Declined { class, active: capture.active() },
        Stage::Entry(None) => Phase::Entry { active: capture.active() },
        Stage::Paying => Phase::Paying,
        Stage::Unknown => Phase::Unknown,
        Stage::Pending => Phase::Pending,
        Stage::AtTheBank => Phase::AtTheBank,
        Stage::GivingBack(cause) => Phase::GivingBack { cause },
        Stage::Ended(end) => Phase::Ended(end),
    }
}
