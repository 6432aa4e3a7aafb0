//! A session that is paid by a link: what the payer does, what the agent sees of it, and the moves between keypad and
//! link.

use std::sync::Arc;
use std::time::Duration;

use hushpad_domain::change::Change;
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AgentId, CallGuid};
use hushpad_domain::link::{LINKS_MAX, LinkNo};
use hushpad_domain::message::{Contact, EmailAddress, Message, PhoneNumber, SendRefused};
use hushpad_domain::open_session::{EMAIL, PHONE_NUMBER};
use hushpad_domain::page::{EndView, FieldStatus, FieldView, LinkView, Notice, PageState, Phase};
use hushpad_domain::ports::{ActError, CommitError, NoLiveCall, World};
use hushpad_domain::session::{ATTEMPTS_MAX, Session, WrongState};
use hushpad_domain::time::Tick;
use hushpad_payer::{PayRefused, Typing};
use tracing::{info, warn};

use super::command::{Command, Payment};
use super::sight::{self, Shown};
use super::task::{ProviderSession, Stage};
use super::{Shared, view};
use crate::payments::{CameBy, Progress, Returned, StillThere};

/// How often a session that is paid by a link looks at the time and at the agent's calls.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A task that nobody was at for so long goes; the next who comes begins it anew. Longer than a payer reads.
const IDLE_AFTER: Duration = Duration::from_secs(90);
/// Cards of one link that the bank may decline. A payer with more needs another way to pay; a thief who tries cards has
/// found the wrong place.
const DECLINES_MAX: usize = 5;
/// More characters than any field has digits.
const TYPED_MAX: u8 = 19;

/// What is known of the payer behind the link. No digit is in here, only how many there are.
pub(super) struct ByLink {
    payee: String,
    typed: Vec<(Field, u8)>,
    typing: Option<Field>,
    /// The last card was surely not charged.
    not_sent: bool,
    /// When somebody last came.
    used: Tick,
}

impl ByLink {
    pub(super) fn new(shared: &Shared, session: &Session) -> Self {
        let account = shared.directory.account(&session.account);
        let payee = account.map_or_else(|| session.account.to_string(), |account| account.payee.clone());
        Self { payee, typed: Vec::new(), typing: None, not_sent: false, used: shared.world.tick() }
    }

    /// Who gets the money, as the payer knows them.
    pub(super) fn payee(&self) -> &str {
        &self.payee
    }

    /// When to look at the time and at the agent's calls again.
    pub(super) fn next_look(&self, now: Tick) -> Tick {
        now.plus(LOOK_EVERY)
    }

    fn forget_entry(&mut self) {
        self.typed.clear();
        self.typing = None;
    }
}

impl ProviderSession {
    /// The payer has opened a link, perhaps too late. When that cannot be written now, the next look says it.
    pub(super) async fn looked(&mut self, no: LinkNo) {
        self.by_link.used = self.shared.world.tick();
        self.end_if_expired().await;
        if !sight::is_payable_by(&self.session, no) {
            return;
        }
        let Ok(change) = self.session.clone().open_link(self.shared.world.now()) else { return };
        match self.commit(change).await {
            Ok(()) => info!(session.id = %self.session.guid, link = %no, "the payment link was opened"),
            Err(error) => {
                warn!(session.id = %self.session.guid, %error, "that a link was opened was not written");
            }
        }
    }

    /// The payer has typed so much of a field.
    pub(super) fn typed(&mut self, no: LinkNo, Typing { field, typed }: Typing) {
        self.by_link.used = self.shared.world.tick();
        let takes = matches!(self.stage, Stage::Entry(_)) && sight::is_payable_by(&self.session, no);
        if !takes || !self.configuration.flow.fields.contains(&field) {
            return;
        }
        let typed = typed.min(TYPED_MAX);
        match self.by_link.typed.iter_mut().find(|(known, _)| *known == field) {
            Some((_, count)) => *count = typed,
            None => self.by_link.typed.push((field, typed)),
        }
        self.by_link.typing = Some(field);
    }

    /// The payer pays with this card. Of two at once, the second finds the first under way.
    pub(super) fn pay_by_link(&mut self, payment: Payment) -> Result<(), PayRefused> {
        self.by_link.used = self.shared.world.tick();
        let Payment { link, round, card, browser } = payment;
        let now = self.shared.world.now();
        let good = self.session.link().is_some_and(|link| link.expires_on > now)
            && sight::is_payable_by(&self.session, link)
            && round == sight::round(&self.session);
        if !good || !matches!(self.stage, Stage::Entry(_)) {
            return Err(PayRefused::NotNow);
        }
        self.by_link.not_sent = false;
        self.by_link.typing = None;
        self.send(card, CameBy::Page(browser));
        Ok(())
    }

    /// The payer is back from the bank. The attempt goes on, once.
    pub(super) async fn back_from_the_bank(&mut self, came_along: &[u8]) {
        self.by_link.used = self.shared.world.tick();
        if self.stage != Stage::AtTheBank {
            return;
        }
        let progress = self.hear_progress();
        let still_there = self.still_there.clone();
        let returned = self.shared.payments.returned(&self.session, came_along, still_there, progress).await;
        match returned {
            Returned::GoesOn => self.stage = Stage::Paying,
            Returned::NoReturn | Returned::NothingToDo | Returned::Unavailable => {
                info!(session.id = %self.session.guid, ?returned, "no return from the bank");
                self.attempt_of_others().await;
            }
        }
    }

    /// An attempt that says nothing to this task: commits tell of it.
    async fn attempt_of_others(&mut self) {
        self.hear_no_progress();
        self.reread().await;
        self.stage = view::stage_of(&self.session);
    }

    /// What the attempt says. True when that was its last word.
    pub(super) async fn progress_by_link(&mut self, progress: Option<Progress>) -> bool {
        self.notice = None;
        let not_sent =
            matches!(progress, Some(Progress::NotBegun(..) | Progress::NotSent(..) | Progress::NotPaid(_)));
        match progress {
            // The card is typed again: it is not kept while the payer reads.
            Some(Progress::NotBegun(session, card) | Progress::NotSent(session, card)) => {
                drop(card);
                self.session = *session;
                self.notice = Some(Notice::NotSent);
            }
            // It was at the bank, and nothing was charged.
            Some(Progress::NotPaid(session)) => {
                self.session = *session;
                self.notice = Some(Notice::NotSent);
            }
            // The payer may stay there for minutes, and this process may end meanwhile: what happens to the attempt
            // from here on is heard of by its commits, whoever makes them.
            Some(Progress::Challenged(_)) => {
                self.attempt_of_others().await;
                return false;
            }
            Some(Progress::Answered(session, card)) => {
                drop(card);
                self.session = *session;
                self.notice = self.after_answer();
            }
            Some(Progress::Waiting(session)) => {
                self.session = *session;
                self.stage = view::stage_of(&self.session);
                return false;
            }
            None => {
                warn!(session.id = %self.session.guid, "an attempt ended without a word");
                self.reread().await;
            }
        }
        self.back_to_the_form(not_sent).await;
        true
    }

    /// Others have changed the session: it is as the store says.
    pub(super) async fn changed_by_others(&mut self) {
        let version = self.session.version;
        self.reread().await;
        if self.session.version == version {
            return;
        }
        self.notice = self.after_answer();
        self.back_to_the_form(false).await;
    }

    /// What the payer sees after an attempt: the form again, or its end when cards were declined too often.
    async fn back_to_the_form(&mut self, not_sent: bool) {
        self.by_link.forget_entry();
        self.stage = view::stage_of(&self.session);
        let not_charged = self.notice == Some(Notice::NotCharged);
        self.by_link.not_sent = not_sent || not_charged;
        if !matches!(self.stage, Stage::Entry(_)) {
            return;
        }
        let declined = self.session.attempts.iter().filter(|attempt| attempt.answer().is_some()).count();
        let all = self.session.attempts.len();
        if declined >= DECLINES_MAX || all >= usize::from(ATTEMPTS_MAX) {
            warn!(session.id = %self.session.guid, "the payment link was tried too often");
            self.end(EndView::Declined, Session::cancel).await;
            return;
        }
        self.stage = Stage::Entry(self.session.last_decline().filter(|_| !self.by_link.not_sent));
    }

    /// Ends the session when its link's time is over. Not while an attempt is under way.
    pub(super) async fn end_if_expired(&mut self) {
        let now = self.shared.world.now();
        let expired = self.session.link().is_some_and(|link| link.expires_on <= now);
        if expired && matches!(self.stage, Stage::Entry(_)) {
            self.end(EndView::TimedOut, Session::time_out).await;
        }
    }

    /// The agent is told, while that still matters.
    pub(super) fn link_not_sent(&mut self) {
        if self.session.link().is_some() && matches!(self.stage, Stage::Entry(_)) {
            self.notice = Some(Notice::LinkNotSent);
        }
    }

    /// Whether nobody has come for a while, and nothing is under way that somebody would be told of.
    pub(super) fn is_idle(&self) -> bool {
        self.session.link().is_some()
            && !self.is_paying()
            && self.shared.world.tick() >= self.by_link.used.plus(IDLE_AFTER)
    }

    /// Moves to a payment link, or renews it. The call, if there is one, goes back to plain mode.
    pub(super) async fn issue_link(&mut self) -> Result<(), ActError> {
        if self.shared.codes.is_none() {
            return Err(ActError::NoLink);
        }
        let now = self.shared.world.now();
        let expires_on = now.plus(self.configuration.link_life);
        let change = self.session.clone().issue_link(expires_on, now);
        self.move_by(change).await?;
        self.capture.wipe();
        self.release_call();
        self.shared.expiry.note(&self.session);
        self.shared.send_link(&self.session);
        info!(session.id = %self.session.guid, "payment link issued");
        Ok(())
    }

    /// Makes the link worthless.
    pub(super) async fn revoke_link(&mut self) -> Result<(), ActError> {
        let change = self.session.clone().revoke_link(self.shared.world.now());
        self.move_by(change).await?;
        info!(session.id = %self.session.guid, "payment link revoked");
        Ok(())
    }

    /// Moves from the link to the live call of the agent; where the configuration is marked as test, to the test
    /// keypad.
    pub(super) async fn take_by_keypad(&mut self, agent: Option<AgentId>) -> Result<(), ActError> {
        let Some(link) = self.session.link() else { return Err(ActError::NotNow) };
        let agent = agent.unwrap_or_else(|| self.session.agent.clone());
        let call = match self.live_call(&agent) {
            Ok(call) => Some(call),
            Err(_) if self.configuration.test => None,
            Err(none) => {
                self.notice = Some(Notice::NoLiveCall);
                return Err(ActError::NoLiveCall(none));
            }
        };
        // First the row: its unique index says whether the call is free.
        let change = self.session.clone().take_by_keypad(agent, call, self.shared.world.now());
        self.move_by(change).await?;
        match self.shared.secure_call(&self.session).await {
            Ok(line) => self.line = line,
            Err(error) => {
                // The call went at this moment: a link is the way to pay again, as long as the one before.
                warn!(session.id = %self.session.guid, %error, "the call could not be secured");
                let back = self.session.clone().issue_link(link.expires_on, self.shared.world.now());
                self.move_by(back).await?;
                self.notice = Some(Notice::NoLiveCall);
                return Err(ActError::NoLiveCall(NoLiveCall::None));
            }
        }
        self.deadline = self.shared.world.tick().plus(self.configuration.flow.session_time_out);
        info!(session.id = %self.session.guid, call.id = call.map(tracing::field::display), "taken by keypad");
        Ok(())
    }

    /// The page, as it is when a link is the way to pay.
    pub(super) fn view(&self, page: PageState) -> PageState {
        let in_entry = matches!(self.stage, Stage::Entry(_));
        let Some(link) = self.session.link() else {
            let may_move = in_entry && self.shared.codes.is_some() && self.session.links < LINKS_MAX;
            return PageState { may_move, ..page };
        };
        let fields = self.configuration.flow.fields.iter().map(|field| self.field_view(*field)).collect();
        let typing = self.by_link.typing;
        let phase = match (self.stage, page.phase) {
            (Stage::Entry(None), _) => Phase::ByLink { typing },
            (Stage::Entry(Some(class)), _) => Phase::Declined { class, active: typing },
            (_, phase) => phase,
        };
        PageState {
            fields,
            phase,
            test_keypad: false,
            link: Some(LinkView {
                url: self.shared.link_url(&self.session),
                state: link.state,
                expires_on: link.expires_on,
            }),
            may_move: in_entry && (self.configuration.test || self.live_call(&self.session.agent).is_ok()),
            ..page
        }
    }

    /// What the payer sees.
    pub(super) fn shown(&self) -> Shown {
        let (payee, flow) = (self.by_link.payee(), &self.configuration.flow);
        Shown::of(&self.session, payee, flow, self.stage, self.by_link.not_sent)
    }

    fn field_view(&self, field: Field) -> FieldView {
        let typed =
            self.by_link.typed.iter().find(|(known, _)| *known == field).map_or(0, |(_, typed)| *typed);
        let status = match typed {
            _ if self.by_link.typing == Some(field) => FieldStatus::Typing,
            0 => FieldStatus::Waiting,
            _ => FieldStatus::Typed,
        };
        FieldView { field, status, typed, length: None, brand: None }
    }

    fn live_call(&self, agent: &AgentId) -> Result<CallGuid, NoLiveCall> {
        let calls = self.shared.calls.live_calls(self.session.account.as_str(), agent.as_str());
        match calls.as_slice() {
            [] => Err(NoLiveCall::None),
            [call] => Ok(CallGuid(call.guid())),
            [_, _, ..] => Err(NoLiveCall::Several),
        }
    }

    /// Writes a move between keypad and link, or of the link, and begins anew. It may be refused, and then nothing has
    /// changed.
    async fn move_by(&mut self, change: Result<Change, WrongState>) -> Result<(), ActError> {
        let change = change.map_err(|wrong| match wrong {
            WrongState::LinksUsedUp => {
                self.notice = Some(Notice::LinksUsedUp);
                ActError::NoLink
            }
            WrongState::Ended => ActError::Gone,
            WrongState::Processing
            | WrongState::NoAttempt
            | WrongState::AttemptsUsedUp
            | WrongState::NoLink => ActError::NotNow,
        })?;
        if let Err(error) = self.commit(change).await {
            warn!(session.id = %self.session.guid, %error, "a move was not written");
            let (notice, refused) = match error {
                CommitError::CallTaken => (Notice::CallTaken, ActError::CallTaken),
                CommitError::Conflict => {
                    self.reread().await;
                    (Notice::StoreUnavailable, ActError::NotNow)
                }
                CommitError::Fenced | CommitError::Unavailable(_) => {
                    // It may be there all the same.
                    self.reread().await;
                    (Notice::StoreUnavailable, ActError::Unavailable)
                }
            };
            self.notice = Some(notice);
            return Err(refused);
        }
        self.notice = None;
        self.still_there = StillThere::yes();
        self.by_link.forget_entry();
        self.by_link.not_sent = false;
        self.by_link.used = self.shared.world.tick();
        self.stage = view::stage_of(&self.session);
        Ok(())
    }

    /// Writes a change that may be refused.
    async fn commit(&mut self, change: Change) -> Result<(), CommitError> {
        let after = change.after.clone();
        self.shared.payments.books.commit(change).await?;
        self.session = after;
        Ok(())
    }
}

impl Shared {
    /// Sends the session's link where its `paymentData` says, by the senders that the account has. It is not waited
    /// for: whoever asked for the link has it, and can pass it on. That it was not sent stands in the log, and on the agent page
    /// if it is open.
    pub(super) fn send_link(self: &Arc<Self>, session: &Session) {
        let Some(url) = self.link_url(session) else { return };
        let data = |name| session.payment_data.get(name).unwrap_or_default();
        let phone = PhoneNumber::parse(data(PHONE_NUMBER)).map(Contact::Phone);
        let email = EmailAddress::parse(data(EMAIL)).map(Contact::Email);
        for contact in phone.into_iter().chain(email) {
            let message = Message {
                account: session.account.clone(),
                payee: self.payee(session),
                amount: session.amount(),
                link: url.reveal().to_owned(),
                reference: session.payment_data.reference().map(str::to_owned),
            };
            let (shared, guid, provider) = (Arc::clone(self), session.guid, session.provider);
            tokio::spawn(async move {
                match shared.sender.send(contact, message).await {
                    // The caller delivers the link.
                    Ok(()) | Err(SendRefused::NoSender) => {}
                    Err(refused) => {
                        warn!(session.id = %guid, reason = %refused, "the payment link was not sent");
                        let door = shared.doors().get(&provider).cloned();
                        if let Some(door) = door {
                            // A full inbox means that somebody is at work there.
                            let _ = door.commands.try_send(Command::LinkNotSent);
                        }
                    }
                }
            });
        }
    }

    /// Who gets the money of this session, as payers know them.
    pub(super) fn payee(&self, session: &Session) -> String {
        ByLink::new(self, session).payee
    }
}
