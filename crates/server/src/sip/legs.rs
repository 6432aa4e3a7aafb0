//! The two dialogs of one call, in the words of the call core.

use std::collections::BTreeMap;
use std::sync::Arc;

use hushpad_telephony::call::{Dtmf, Leg, MIN_SE_S, RequestId, SessionTimer, TimerFields, Wish};
use rsipstack::dialog::DialogId;
use rsipstack::dialog::dialog::{DialogState, TerminatedReason, TransactionHandle};
use rsipstack::dialog::invitation::InviteOption;
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::sip::{Auth, Header, HeadersExt, Method, Request, Scheme, StatusCode, StatusCodeKind, Uri};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::incoming::IncomingCall;
use super::lines::{CallLine, Line, LineStep, Step, drop_line, invite_failed, line_step};
use super::reliable::{self, Saying};
use super::{Credential, LegEvent, SipError, Stack, headers, refer};

/// Answers to our own requests that wait to be read: one change and the keys under way.
const WAITING_ANSWERS: usize = 32;
/// In-dialog requests that wait for our answer; more at once are refused with 500.
const MAX_PENDING: usize = 16;

/// The dialogs of one call. Dropping it removes them from the stack.
pub struct CallLegs {
    stack: Arc<Stack>,
    /// The call they are of.
    call: Uuid,
    caller: CallLine,
    /// How answers reach a caller whose phone acknowledges each of them.
    reliable: Option<mpsc::Sender<Saying>>,
    /// The caller was given its 200, or will be.
    has_answer: bool,
    callee: Option<CallLine>,
    /// Who is to take a place: called while a leg is transferred, or one who called us.
    next: Option<CallLine>,
    calling: Calling,
    pending: BTreeMap<RequestId, Pending>,
    next_request: u64,
    answers: mpsc::Sender<LegEvent>,
    answered: mpsc::Receiver<LegEvent>,
}

/// What of the caller's INVITE the callee's carries on.
pub(super) struct Calling {
    /// The user part of its From; may be empty.
    pub(super) user: String,
    /// `Max-Forwards` of the callee's INVITE.
    pub(super) hops: u8,
}

/// Names one dialog of a call through us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The call.
    pub call: Uuid,
    pub(super) dialog: DialogId,
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
    pub(super) fn new(stack: Arc<Stack>, call: Uuid, caller: CallLine, calling: Calling) -> Self {
        let (answers, answered) = mpsc::channel(WAITING_ANSWERS);
        let dialog = &caller.line.dialog;
        let required = reliable::is_required(&dialog.initial_request());
        let reliable = required.then(|| stack.pracks.begin(dialog));
        Self {
            stack,
            call,
            caller,
            reliable,
            has_answer: false,
            callee: None,
            next: None,
            calling,
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
                step = line_step(Some(&mut self.caller)) => Step::Leg(Leg::Caller, step),
                step = line_step(self.callee.as_mut()) => Step::Leg(Leg::Callee, step),
                step = line_step(self.next.as_mut()) => Step::Next(step),
                event = self.answered.recv() => Step::Answer(event),
            };
            let event = match step {
                Step::Leg(leg, LineStep::State(Some(state))) => self.leg_state(leg, state).await,
                // The stack holds the other end as long as the dialogs live.
                Step::Leg(leg, LineStep::State(None)) => Some(LegEvent::Lost(leg)),
                Step::Leg(_, LineStep::Invite(ended)) => invite_failed(ended),
                Step::Next(step) => self.next_step(step),
                Step::Answer(event) => event,
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
        report("ring", self.caller.line.dialog.ringing(fields, sdp));
    }

    /// 200 to the customer.
    pub fn answer(&mut self, sdp: Vec<u8>, timer: Option<SessionTimer>) {
        self.has_answer = true;
        let fields = headers::with_required_timer(headers::with_sdp(timer), timer);
        if let Some(reliable) = &self.reliable {
            return drop(reliable.try_send(Saying::Answer(fields, sdp)));
        }
        report("answer", self.caller.line.dialog.accept(Some(fields), Some(sdp)));
    }

    /// A refusal to the customer.
    pub fn reject(&self, code: u16) {
        report("reject", self.caller.line.dialog.reject(Some(StatusCode::from(code)), None));
    }

    /// Calls the agent.
    ///
    /// # Errors
    /// The address cannot be used; nothing was sent.
    pub fn invite(&mut self, to: Callee<'_>, sdp: Vec<u8>, timer: SessionTimer) -> Result<(), SipError> {
        self.cancel();
        self.callee = Some(self.call(to, sdp, timer)?);
        Ok(())
    }

    /// Calls the next one, beside the leg that is transferred.
    ///
    /// # Errors
    /// The address cannot be used; nothing was sent.
    pub fn invite_next(&mut self, to: Callee<'_>, sdp: Vec<u8>, timer: SessionTimer) -> Result<(), SipError> {
        self.cancel_next();
        self.next = Some(self.call(to, sdp, timer)?);
        Ok(())
    }

    /// Gives up calling the next one.
    pub fn cancel_next(&mut self) {
        drop_line(&self.stack, self.next.take());
    }

    /// Somebody who calls us is to take a place: one of the next two answers follows.
    ///
    /// # Errors
    /// The INVITE cannot make a dialog; it has been answered.
    pub async fn join_in(&mut self, incoming: IncomingCall) -> Result<(), SipError> {
        self.cancel_next();
        let (line, _) = incoming.open().await?;
        self.next = Some(line);
        Ok(())
    }

    /// 200 to the one who is to take a place.
    pub fn answer_next(&self, sdp: Vec<u8>, timer: Option<SessionTimer>) {
        let fields = headers::with_required_timer(headers::with_sdp(timer), timer);
        if let Some(next) = &self.next {
            report("answer", next.line.dialog.accept(Some(fields), Some(sdp)));
        }
    }

    /// A refusal to the one who was to take a place.
    pub fn reject_next(&mut self, code: u16) {
        if let Some(next) = self.next.take() {
            report("reject", next.line.dialog.reject(Some(StatusCode::from(code)), None));
            self.stack.forget(&next.line.dialog.id());
        }
    }

    /// The next one's dialog is this leg from now on.
    pub fn adopt(&mut self, leg: Leg) {
        let Some(next) = self.next.take() else { return };
        let before = match leg {
            Leg::Caller => Some(std::mem::replace(&mut self.caller, next)),
            Leg::Callee => self.callee.replace(next),
        };
        if let Some(before) = before.filter(|before| !before.line.hanging_up) {
            self.stack.forget(&before.line.dialog.id());
        }
        self.join();
    }

    /// Both dialogs stand: they are one call.
    fn join(&self) {
        if let Some(callee) = &self.callee {
            self.stack.pairs.join(self.call, &self.caller.line.dialog.id(), &callee.line.dialog.id());
        }
    }

    /// Which leg this dialog is.
    #[must_use]
    pub fn leg_of(&self, named: &Named) -> Option<Leg> {
        [Leg::Caller, Leg::Callee]
            .into_iter()
            .find(|leg| self.dialog(*leg).is_some_and(|dialog| dialog.id() == named.dialog))
    }

    /// The name of the peer that this leg's phone is in, as far as addresses tell.
    #[must_use]
    pub fn peer(&self, leg: Leg) -> Option<&str> {
        match leg {
            Leg::Caller => self.caller.peer.as_deref(),
            Leg::Callee => self.callee.as_ref()?.peer.as_deref(),
        }
    }

    /// The call to take over as the target of a transfer knows it.
    #[must_use]
    pub fn replaces_toward_target(&self, replaces: String) -> String {
        self.stack.pairs.across(&replaces).unwrap_or(replaces)
    }

    /// Tells a phone how its REFER goes.
    pub fn notify(&mut self, leg: Leg, code: u16, last: bool) {
        if let Some(line) = self.line(leg) {
            line.news = Some(refer::notify(line.dialog.clone(), line.news.take(), code, last));
        }
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

    fn call(&self, to: Callee<'_>, sdp: Vec<u8>, timer: SessionTimer) -> Result<CallLine, SipError> {
        let Callee { uri, credential, replaces } = to;
        let contact = self.stack.contact(None);
        let user = if self.calling.user.is_empty() { "anonymous" } else { &self.calling.user }.to_owned();
        let caller = Uri {
            scheme: Some(Scheme::Sip),
            auth: Some(Auth { user, password: None }),
            host_with_port: contact.host_with_port.clone(),
            ..Uri::default()
        };
        let mut fields = headers::session(Some(timer));
        fields.push(Header::MinSE(MIN_SE_S.to_string().into()));
        fields.push(Header::MaxForwards(u32::from(self.calling.hops).into()));
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
        let peer = self.stack.peer_at(uri).map(|peer| peer.name.clone());
        Ok(CallLine::outgoing(Line::new(dialog, events), peer, invite))
    }

    /// The agent's address cannot be used: [`CallLegs::next`] will say so as a refusal.
    pub fn agent_cannot_be_called(&self) {
        // The channel is empty so early; if it is not, the ring time ends the call.
        drop(self.answers.try_send(LegEvent::Refused(404, TimerFields::default())));
    }

    /// Gives up calling the agent; a 200 that crosses is acknowledged and ended with BYE.
    pub fn cancel(&mut self) {
        drop_line(&self.stack, self.callee.take());
    }

    /// Hangs up a leg.
    pub fn bye(&mut self, leg: Leg) {
        let stack = Arc::clone(&self.stack);
        let Some(line) = self.line(leg) else { return };
        line.hanging_up = true;
        let (dialog, news) = (line.dialog.clone(), line.news.take());
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
            fields = headers::with_required_timer(fields, timer);
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

    fn line(&mut self, leg: Leg) -> Option<&mut Line> {
        match leg {
            Leg::Caller => Some(&mut self.caller.line),
            Leg::Callee => self.callee.as_mut().map(|callee| &mut callee.line),
        }
    }

    fn dialog(&self, leg: Leg) -> Option<&InviteDialog> {
        match leg {
            Leg::Caller => Some(&self.caller.line.dialog),
            Leg::Callee => self.callee.as_ref().map(|callee| &callee.line.dialog),
        }
    }

    async fn leg_state(&mut self, leg: Leg, state: DialogState) -> Option<LegEvent> {
        let is_incoming = match leg {
            Leg::Caller => self.caller.is_incoming(),
            Leg::Callee => self.callee.as_ref()?.is_incoming(),
        };
        if is_incoming {
            self.incoming_state(leg, state).await
        } else {
            self.outgoing_state(leg, state).await
        }
    }

    /// On a dialog that somebody opened with us.
    async fn incoming_state(&mut self, leg: Leg, state: DialogState) -> Option<LegEvent> {
        match state {
            DialogState::Terminated(_, reason) => match reason {
                // The call counts as answered, but the 200 was still waiting for a PRACK.
                TerminatedReason::UacCancel | TerminatedReason::UasDecline if self.has_answer => {
                    Some(LegEvent::Lost(leg))
                }
                TerminatedReason::UacBye => Some(LegEvent::Bye(leg)),
                TerminatedReason::UacCancel | TerminatedReason::UasDecline => Some(LegEvent::Cancelled),
                // Our own BYE.
                TerminatedReason::UasBye => None,
                _ => Some(LegEvent::Lost(leg)),
            },
            other => self.dialog_state(leg, other).await,
        }
    }

    /// What happens to the next one counts until it has its place; then it is told as on any leg.
    fn next_step(&mut self, step: LineStep) -> Option<LegEvent> {
        match step {
            LineStep::State(Some(DialogState::Confirmed(_, answer))) => {
                let next = self.next.as_mut().filter(|next| !next.answered)?;
                next.answered = true;
                let (sdp, timer) = (headers::sdp_of(&answer, &answer.body), headers::timer_fields(&answer));
                Some(LegEvent::TransferAnswered(sdp, timer))
            }
            LineStep::Invite(ended) => match invite_failed(ended)? {
                LegEvent::Refused(code, _) => Some(LegEvent::TransferRefused(code)),
                _ => None,
            },
            LineStep::State(None) => Some(LegEvent::TransferRefused(408)),
            LineStep::State(Some(_)) => None,
        }
    }

    /// On a dialog that we opened.
    async fn outgoing_state(&mut self, leg: Leg, state: DialogState) -> Option<LegEvent> {
        let line = match leg {
            Leg::Caller => &mut self.caller,
            Leg::Callee => self.callee.as_mut()?,
        };
        match state {
            DialogState::Early(_, answer) if !line.answered => {
                Some(LegEvent::Progress(headers::sdp_of(&answer, &answer.body)))
            }
            DialogState::Confirmed(_, answer) if !line.answered => {
                line.answered = true;
                let (sdp, timer) = (headers::sdp_of(&answer, &answer.body), headers::timer_fields(&answer));
                self.join();
                Some(LegEvent::Answered(sdp, timer))
            }
            DialogState::Terminated(_, TerminatedReason::UasBye) => Some(LegEvent::Bye(leg)),
            // Before the answer the end of the INVITE tells more; after it, our own BYE is no news.
            DialogState::Terminated(_, TerminatedReason::UacBye | TerminatedReason::UacCancel) => None,
            DialogState::Terminated(..) => line.answered.then_some(LegEvent::Lost(leg)),
            other => self.dialog_state(leg, other).await,
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
        let line = self.line(leg)?;
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
        let others = [&self.callee, &self.next].into_iter().flatten();
        for line in others.chain([&self.caller]) {
            if !line.line.hanging_up {
                self.stack.forget(&line.line.dialog.id());
            }
            if let Some(invite) = &line.invite {
                invite.abort();
            }
        }
    }
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
