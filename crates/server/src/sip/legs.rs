//! The two dialogs of one call, in the words of the call core.

use std::collections::BTreeMap;
use std::sync::Arc;

use hushpad_telephony::call::{Dtmf, Leg, MIN_SE_S, Refresher, RequestId, SessionTimer, TimerFields, Wish};
use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver, TerminatedReason, TransactionHandle};
use rsipstack::dialog::invitation::{InviteAsyncResult, InviteOption};
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::{Auth, Header, HeadersExt, Method, Request, Scheme, StatusCode, StatusCodeKind, Uri};
use tokio::sync::mpsc;

use super::lines::{AgentLine, Line, Step, agent_step, drop_line};
use super::reliable::{self, Saying};
use super::{Credential, LegEvent, SipError, Stack, headers, refer};

/// Answers to our own requests that wait to be read: one change and the keys under way.
const WAITING_ANSWERS: usize = 32;
/// In-dialog requests that wait for our answer; more at once are refused with 500.
const MAX_PENDING: usize = 16;

/// The dialogs of one call. Dropping it removes them from the stack.
pub struct CallLegs {
    stack: Arc<Stack>,
    customer: Line,
    /// How answers reach a customer whose phone acknowledges each of them.
    reliable: Option<mpsc::Sender<Saying>>,
    /// The customer was given its 200, or will be.
    has_answer: bool,
    agent: Option<AgentLine>,
    /// The one that is called while the agent leg is transferred.
    next_agent: Option<AgentLine>,
    caller: Caller,
    pending: BTreeMap<RequestId, Pending>,
    next_request: u64,
    answers: mpsc::Sender<LegEvent>,
    answered: mpsc::Receiver<LegEvent>,
}

/// What of the customer's INVITE the agent's carries on.
pub(super) struct Caller {
    /// The user part of its From; may be empty.
    pub(super) user: String,
    /// `Max-Forwards` of the agent's INVITE.
    pub(super) hops: u8,
}

/// Whom to call as an agent.
pub struct Callee<'a> {
    /// A SIP URI.
    pub uri: &'a str,
    /// What we say when we are asked who we are.
    pub credential: Option<Credential>,
    /// The call to take over there (RFC 3891).
    pub replaces: Option<String>,
}

struct Pending {
    handle: TransactionHandle,
    /// Where the far end wants to be reached from now on, if we accept (RFC 3261 section 12.2).
    target: Option<Uri>,
    /// Whether an answer is about the session.
    about_session: bool,
}

impl CallLegs {
    pub(super) fn new(
        stack: Arc<Stack>,
        dialog: InviteDialog,
        events: DialogStateReceiver,
        caller: Caller,
    ) -> Self {
        let (answers, answered) = mpsc::channel(WAITING_ANSWERS);
        let required = reliable::is_required(&dialog.initial_request());
        let reliable = required.then(|| stack.pracks.begin(&dialog));
        Self {
            stack,
            customer: Line::new(dialog, events),
            reliable,
            has_answer: false,
            agent: None,
            next_agent: None,
            caller,
            pending: BTreeMap::new(),
            next_request: 0,
            answers,
            answered,
        }
    }

    /// Waits for the next thing to happen. May be dropped and called again.
    pub async fn next(&mut self) -> LegEvent {
        loop {
            let step = tokio::select! {
                // In order: an answer of ours must not overtake the dialog's own story.
                biased;
                state = self.customer.events.recv() => Step::Customer(state),
                step = agent_step(&mut self.agent) => step,
                step = agent_step(&mut self.next_agent) => Step::Next(Box::new(step)),
                event = self.answered.recv() => Step::Answer(event),
            };
            let event = match step {
                Step::Customer(Some(state)) => self.customer_state(state).await,
                Step::Agent(Some(state)) => self.agent_state(state).await,
                Step::Invite(ended) => invite_failed(ended),
                Step::Next(step) => self.next_agent_step(*step),
                Step::Answer(event) => event,
                // The stack holds the other end as long as the dialogs live.
                Step::Customer(None) => Some(LegEvent::Lost(Leg::Caller)),
                Step::Agent(None) => Some(LegEvent::Lost(Leg::Callee)),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// 180, or 183 with early media.
    pub fn ring(&self, sdp: Option<Vec<u8>>) {
        if let Some(reliable) = &self.reliable {
            // Two are said at most, so there is room.
            return drop(reliable.try_send(Saying::Ring(sdp)));
        }
        let fields = sdp.as_ref().map(|_| headers::with_sdp(None));
        report("ring", self.customer.dialog.ringing(fields, sdp));
    }

    /// 200 to the customer.
    pub fn answer(&mut self, sdp: Vec<u8>, timer: Option<SessionTimer>) {
        self.has_answer = true;
        let fields = with_required_timer(headers::with_sdp(timer), timer);
        if let Some(reliable) = &self.reliable {
            return drop(reliable.try_send(Saying::Answer(fields, sdp)));
        }
        report("answer", self.customer.dialog.accept(Some(fields), Some(sdp)));
    }

    /// A refusal to the customer.
    pub fn reject(&self, code: u16) {
        report("reject", self.customer.dialog.reject(Some(StatusCode::from(code)), None));
    }

    /// Calls the agent.
    ///
    /// # Errors
    /// The address cannot be used; nothing was sent.
    pub fn invite(&mut self, to: Callee<'_>, sdp: Vec<u8>, timer: SessionTimer) -> Result<(), SipError> {
        self.cancel();
        self.agent = Some(self.call(to, sdp, timer)?);
        Ok(())
    }

    /// Calls the next agent, beside the one there is.
    ///
    /// # Errors
    /// The address cannot be used; nothing was sent.
    pub fn invite_next(&mut self, to: Callee<'_>, sdp: Vec<u8>, timer: SessionTimer) -> Result<(), SipError> {
        self.cancel_next();
        self.next_agent = Some(self.call(to, sdp, timer)?);
        Ok(())
    }

    /// Gives up calling the next agent.
    pub fn cancel_next(&mut self) {
        drop_line(&self.stack, self.next_agent.take());
    }

    /// The next agent's dialog is the agent leg from now on.
    pub fn adopt(&mut self) {
        if let Some(before) = std::mem::replace(&mut self.agent, self.next_agent.take())
            && !before.line.hanging_up
        {
            self.stack.forget(&before.line.dialog.id());
        }
        self.join();
    }

    /// Both dialogs stand: they are one call.
    fn join(&self) {
        if let Some(agent) = &self.agent {
            self.stack.pairs.join(&self.customer.dialog.id(), &agent.line.dialog.id());
        }
    }

    /// The call to take over as the target of a transfer knows it.
    #[must_use]
    pub fn replaces_toward_target(&self, replaces: String) -> String {
        self.stack.pairs.across(&replaces).unwrap_or(replaces)
    }

    /// Tells the agent's phone how its REFER goes.
    pub fn notify(&mut self, code: u16, last: bool) {
        let Some(AgentLine { line, .. }) = &mut self.agent else { return };
        line.news = Some(refer::notify(line.dialog.clone(), line.news.take(), code, last));
    }

    /// Whether the phone at this address sits behind a NAT.
    #[must_use]
    pub fn is_behind_nat(&self, uri: &str) -> bool {
        self.stack.is_behind_nat(uri)
    }

    /// What is wanted of SRTP toward this address.
    #[must_use]
    pub fn srtp_toward(&self, uri: &str) -> Wish {
        self.stack.srtp_toward(uri)
    }

    fn call(&self, to: Callee<'_>, sdp: Vec<u8>, timer: SessionTimer) -> Result<AgentLine, SipError> {
        let Callee { uri, credential, replaces } = to;
        let contact = self.stack.contact(None);
        let user = if self.caller.user.is_empty() { "anonymous" } else { &self.caller.user }.to_owned();
        let caller = Uri {
            scheme: Some(Scheme::Sip),
            auth: Some(Auth { user, password: None }),
            host_with_port: contact.host_with_port.clone(),
            ..Uri::default()
        };
        let mut fields = headers::session(Some(timer));
        fields.push(Header::MinSE(MIN_SE_S.to_string().into()));
        fields.push(Header::MaxForwards(u32::from(self.caller.hops).into()));
        fields.extend(replaces.map(|call| Header::Replaces(call.into())));
        // The stack's own Call-IDs end in its vendor's domain.
        let call_id = uuid::Uuid::new_v4().to_string();
        let option = InviteOption {
            caller,
            callee: Uri::try_from(uri).map_err(rsipstack::Error::from)?,
            offer: Some(sdp),
            contact,
            headers: Some(fields),
            call_id: Some(call_id.clone()),
            // Without one the stack would not send a challenged request again; what it makes of it is
            // replaced on the way out.
            support_prack: true,
            credential: credential.as_ref().map(|_| Default::default()),
            ..InviteOption::default()
        };
        let (sender, events) = self.stack.dialogs.new_dialog_state_channel();
        if let Some(credential) = credential {
            self.stack.identity.begin(&call_id, credential);
        }
        let begun = self.stack.dialogs.do_invite_async(option, sender);
        let (dialog, invite) = begun.inspect_err(|_| self.stack.identity.end(&call_id))?;
        Ok(AgentLine { line: Line::new(dialog, events), invite: Some(invite), answered: false })
    }

    /// The agent's address cannot be used: [`CallLegs::next`] will say so as a refusal.
    pub fn agent_cannot_be_called(&self) {
        // The channel is empty so early; if it is not, the ring time ends the call.
        drop(self.answers.try_send(LegEvent::Refused(404, TimerFields::default())));
    }

    /// Gives up calling the agent; a 200 that crosses is acknowledged and ended with BYE.
    pub fn cancel(&mut self) {
        drop_line(&self.stack, self.agent.take());
    }

    /// Hangs up a leg.
    pub fn bye(&mut self, leg: Leg) {
        let line = match leg {
            Leg::Caller => &mut self.customer,
            Leg::Callee => match &mut self.agent {
                Some(agent) => &mut agent.line,
                None => return,
            },
        };
        line.hanging_up = true;
        let (stack, dialog, news) = (Arc::clone(&self.stack), line.dialog.clone(), line.news.take());
        tokio::spawn(async move {
            refer::said(news).await;
            if let Err(error) = dialog.bye().await {
                tracing::debug!(%error, leg = leg.name(), "a BYE failed");
            }
            stack.forget(&dialog.id());
        });
    }

    /// A re-INVITE of ours.
    pub fn modify(&self, leg: Leg, sdp: Vec<u8>, timer: Option<SessionTimer>) {
        let Some(dialog) = self.dialog(leg).cloned() else { return };
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let answer = dialog.reinvite(Some(headers::with_sdp(timer)), Some(sdp)).await;
            let event = match answer {
                Ok(Some(answer)) => {
                    if answer.status_code.kind() == StatusCodeKind::Successful {
                        adopt_target(&dialog, target(&answer));
                    }
                    let (sdp, timer) =
                        (headers::sdp_of(&answer, &answer.body), headers::timer_fields(&answer));
                    LegEvent::ModifyAnswered(leg, u16::from(answer.status_code.clone()), sdp, timer)
                }
                Ok(None) | Err(_) => LegEvent::ModifyAnswered(leg, 408, None, TimerFields::default()),
            };
            drop(answers.send(event).await);
        });
    }

    /// Answers an in-dialog request.
    pub async fn respond(
        &mut self,
        leg: Leg,
        request: RequestId,
        code: u16,
        sdp: Option<Vec<u8>>,
        timer: Option<SessionTimer>,
    ) {
        let Some(pending) = self.pending.remove(&request) else { return };
        let status = StatusCode::from(code);
        let mut fields = match (&sdp, code) {
            (Some(_), _) => headers::with_sdp(timer),
            (None, 200..=299) if pending.about_session => headers::session(timer),
            (None, 422) => vec![Header::MinSE(timer.map_or(MIN_SE_S, |t| t.expires_s).to_string().into())],
            (None, 415) => vec![Header::Accept("application/dtmf-relay, application/dtmf".into())],
            (None, _) => vec![],
        };
        if status.kind() == StatusCodeKind::Successful {
            fields = with_required_timer(fields, timer);
            if let Some(dialog) = self.dialog(leg) {
                adopt_target(dialog, pending.target);
            }
        }
        if pending.handle.respond(status, Some(fields), sdp).await.is_err() {
            tracing::debug!(leg = leg.name(), code, "a request was gone before its answer");
        }
    }

    /// Passes a key on to the leg across from `from`.
    pub fn info(&self, from: Leg, request: RequestId, dtmf: Dtmf) {
        let (dialog, body) = (self.dialog(from.other()).cloned(), dtmf.write_relay());
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let answer = match (dialog, body) {
                (Some(dialog), Some(body)) => {
                    let fields = vec![Header::ContentType("application/dtmf-relay".into())];
                    dialog.info(Some(fields), Some(body)).await.ok().flatten()
                }
                _ => None,
            };
            let code = answer.map_or(408, |answer| u16::from(answer.status_code));
            drop(answers.send(LegEvent::InfoAnswered(from, request, code)).await);
        });
    }

    fn dialog(&self, leg: Leg) -> Option<&InviteDialog> {
        match leg {
            Leg::Caller => Some(&self.customer.dialog),
            Leg::Callee => self.agent.as_ref().map(|agent| &agent.line.dialog),
        }
    }

    async fn customer_state(&mut self, state: DialogState) -> Option<LegEvent> {
        match state {
            DialogState::Terminated(_, reason) => match reason {
                // The call counts as answered, but the 200 was still waiting for a PRACK.
                TerminatedReason::UacCancel | TerminatedReason::UasDecline if self.has_answer => {
                    Some(LegEvent::Lost(Leg::Caller))
                }
                TerminatedReason::UacBye => Some(LegEvent::Bye(Leg::Caller)),
                TerminatedReason::UacCancel | TerminatedReason::UasDecline => Some(LegEvent::Cancelled),
                // Our own BYE.
                TerminatedReason::UasBye => None,
                _ => Some(LegEvent::Lost(Leg::Caller)),
            },
            other => self.dialog_state(Leg::Caller, other).await,
        }
    }

    /// What happens to the next agent counts until it is the agent; then it is told as any agent's.
    fn next_agent_step(&mut self, step: Step) -> Option<LegEvent> {
        match step {
            Step::Agent(Some(DialogState::Confirmed(_, answer))) => {
                let next = self.next_agent.as_mut().filter(|next| !next.answered)?;
                next.answered = true;
                let (sdp, timer) = (headers::sdp_of(&answer, &answer.body), headers::timer_fields(&answer));
                Some(LegEvent::TransferAnswered(sdp, timer))
            }
            Step::Invite(ended) => match invite_failed(ended)? {
                LegEvent::Refused(code, _) => Some(LegEvent::TransferRefused(code)),
                _ => None,
            },
            Step::Agent(None) => Some(LegEvent::TransferRefused(408)),
            Step::Agent(Some(_)) | Step::Customer(_) | Step::Answer(_) | Step::Next(_) => None,
        }
    }

    async fn agent_state(&mut self, state: DialogState) -> Option<LegEvent> {
        let agent = self.agent.as_mut()?;
        match state {
            DialogState::Early(_, answer) if !agent.answered => {
                Some(LegEvent::Progress(headers::sdp_of(&answer, &answer.body)))
            }
            DialogState::Confirmed(_, answer) if !agent.answered => {
                agent.answered = true;
                let (sdp, timer) = (headers::sdp_of(&answer, &answer.body), headers::timer_fields(&answer));
                self.join();
                Some(LegEvent::Answered(sdp, timer))
            }
            DialogState::Terminated(_, TerminatedReason::UasBye) => Some(LegEvent::Bye(Leg::Callee)),
            // Before the answer the end of the INVITE tells more; after it, our own BYE is no news.
            DialogState::Terminated(_, TerminatedReason::UacBye | TerminatedReason::UacCancel) => None,
            DialogState::Terminated(..) => agent.answered.then_some(LegEvent::Lost(Leg::Callee)),
            other => self.dialog_state(Leg::Callee, other).await,
        }
    }

    /// What may happen on either leg once the dialog stands.
    async fn dialog_state(&mut self, leg: Leg, state: DialogState) -> Option<LegEvent> {
        match state {
            DialogState::Confirmed(..) => self.acked(leg),
            DialogState::Updated(_, request, handle) => self.modification(leg, &request, handle).await,
            DialogState::Info(_, mut message, handle) => {
                let request = self.wait_for_answer(handle, None, false).await?;
                let content_type = headers::content_type(&message).to_owned();
                Some(LegEvent::Info { leg, request, content_type, body: std::mem::take(&mut message.body) })
            }
            DialogState::Options(_, _, handle) => {
                drop(handle.respond(StatusCode::OK, Some(vec![headers::allow()]), None).await);
                None
            }
            DialogState::Refer(_, message, handle) => {
                let target = refer::target(&message);
                let request = self.wait_for_answer(handle, None, false).await?;
                Some(LegEvent::Refer { leg, request, target })
            }
            DialogState::Notify(_, _, handle)
            | DialogState::Message(_, _, handle)
            | DialogState::Publish(_, _, handle) => {
                drop(handle.respond(StatusCode::MethodNotAllowed, Some(vec![headers::allow()]), None).await);
                None
            }
            DialogState::Calling(_)
            | DialogState::Trying(_)
            | DialogState::Early(..)
            | DialogState::WaitAck(..)
            | DialogState::Terminated(..) => None,
        }
    }

    /// The stack says "confirmed" after many things; a new ACK is what counts.
    fn acked(&mut self, leg: Leg) -> Option<LegEvent> {
        let line = match leg {
            Leg::Caller => &mut self.customer,
            Leg::Callee => &mut self.agent.as_mut()?.line,
        };
        let ack = line.dialog.last_remote_ack()?;
        let sequence = headers::sequence(&ack);
        if sequence.is_none() || sequence == line.last_ack {
            return None;
        }
        line.last_ack = sequence;
        Some(LegEvent::Acked(leg, headers::sdp_of(&ack, &ack.body)))
    }

    async fn modification(
        &mut self,
        leg: Leg,
        message: &Request,
        handle: TransactionHandle,
    ) -> Option<LegEvent> {
        let request = self.wait_for_answer(handle, target(message), true).await?;
        Some(LegEvent::Modify {
            leg,
            request,
            sdp: headers::sdp_of(message, &message.body),
            update: message.method == Method::Update,
            timer: headers::timer_fields(message),
        })
    }

    async fn wait_for_answer(
        &mut self,
        handle: TransactionHandle,
        target: Option<Uri>,
        about_session: bool,
    ) -> Option<RequestId> {
        if self.pending.len() >= MAX_PENDING {
            drop(handle.reply(StatusCode::ServerInternalError).await);
            return None;
        }
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.pending.insert(request, Pending { handle, target, about_session });
        Some(request)
    }
}

impl Drop for CallLegs {
    fn drop(&mut self) {
        let agents = [&self.agent, &self.next_agent].map(Option::as_ref);
        let lines = agents.into_iter().flatten().map(|agent| &agent.line).chain([&self.customer]);
        for line in lines.filter(|line| !line.hanging_up) {
            self.stack.forget(&line.dialog.id());
        }
        for invite in agents.into_iter().flatten().filter_map(|agent| agent.invite.as_ref()) {
            invite.abort();
        }
    }
}

/// An INVITE that succeeded was told of by its dialog.
fn invite_failed(ended: Result<InviteAsyncResult, tokio::task::JoinError>) -> Option<LegEvent> {
    match ended {
        Ok(Ok((_, Some(answer)))) if answer.status_code == StatusCode::OK => None,
        Ok(Ok((_, Some(answer)))) => {
            let timer = headers::timer_fields(&answer);
            Some(LegEvent::Refused(u16::from(answer.status_code), timer))
        }
        Ok(Ok((_, None)) | Err(_)) | Err(_) => Some(LegEvent::Refused(408, TimerFields::default())),
    }
}

/// RFC 4028 section 9: whoever is to refresh as client must be told that it has to know how.
fn with_required_timer(mut fields: Vec<Header>, timer: Option<SessionTimer>) -> Vec<Header> {
    if timer.is_some_and(|timer| timer.refresher == Some(Refresher::Uac)) {
        fields.push(Header::Require("timer".into()));
    }
    fields
}

fn target(message: &impl HeadersExt) -> Option<Uri> {
    message.typed_contact_headers().ok()?.into_iter().next().map(|contact| contact.uri)
}

fn adopt_target(dialog: &InviteDialog, target: Option<Uri>) {
    if let Some(uri) = target {
        rsipstack::dialog::dialog::Dialog::Invite(dialog.clone()).set_remote_target(uri, None);
    }
}

fn report(what: &'static str, done: rsipstack::Result<()>) {
    if let Err(error) = done {
        tracing::debug!(%error, what, "an answer to an INVITE could not be sent");
    }
}
