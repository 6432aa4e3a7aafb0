//! The state machine: from the caller's INVITE to the last BYE.

use crate::sdp::{Described, Direction, SdpError};
use crate::srtp::KeySource;

use super::media::Side;
use super::modify::Exchange;
use super::timer::{SessionTimer, TimerFields, Watch};
use super::{CallEvent, Dtmf, EndReason, Input, Leg, Limits, Output, Plan, RequestId};

/// How often the callee's INVITE is sent again with a larger interval after 422 (RFC 4028 section 7.4).
const MAX_INTERVAL_RETRIES: u8 = 2;

/// One call of two legs. See the module's comment.
#[derive(Debug)]
pub struct Call {
    pub(super) limits: Limits,
    pub(super) caller: Side,
    pub(super) callee: Side,
    pub(super) state: State,
    pub(super) exchange: Exchange,
    pub(super) secure: bool,
    /// Whose keys count in secure mode.
    customer: Leg,
    /// Where a leg's key comes from.
    pub(super) keys: KeySource,
    /// The caller's first offer; nothing when we are to make it.
    offered: Option<Described>,
    /// The timer that our 200 to the caller will state.
    caller_timer: Option<SessionTimer>,
    pub(super) out: Vec<Output>,
}

/// Where the call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The callee is being called.
    Ringing { give_up_at_ms: u64, told: Told, interval_retries: u8 },
    /// The caller has our 200, its ACK has not come.
    Answered { until_ms: u64 },
    /// The callee hung up before the caller's ACK: our BYE must wait for it (RFC 3261 section 15).
    AckThenBye,
    /// Both can speak.
    Talking { until_ms: u64 },
    /// Nothing more happens.
    Ended,
}

/// What the caller was told of the ringing: each word once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Nothing,
    Ringing,
    EarlyMedia,
}

impl Call {
    /// Takes the caller's INVITE; the first outputs call the callee.
    ///
    /// # Errors
    /// The offer cannot be used: answer 488.
    pub fn begin(now_ms: u64, plan: Plan, offer: Option<&[u8]>) -> Result<(Self, Vec<Output>), SdpError> {
        let Plan { limits, customer, addresses, session_ids, srtp, keys: mut source, timer } = plan;
        let caller = Side::new(addresses.caller, session_ids[0], srtp[0].with(&mut source));
        let callee = Side::new(addresses.callee, session_ids[1], srtp[1].with(&mut source)).opened_by_us();
        let offered = offer.map(|body| caller.parse(body)).transpose()?;
        let mut call = Self {
            limits,
            caller,
            callee,
            state: State::Ringing {
                give_up_at_ms: now_ms.saturating_add(limits.ring_time_out_ms),
                told: Told::Nothing,
                interval_retries: 0,
            },
            exchange: Exchange::None,
            secure: false,
            customer,
            keys: source,
            offered,
            caller_timer: timer,
            out: Vec::new(),
        };
        call.invite_callee(limits.session_expires_s);
        let out = std::mem::take(&mut call.out);
        Ok((call, out))
    }

    /// Takes what happened and gives what to do about it.
    #[must_use]
    pub fn handle(&mut self, now_ms: u64, input: Input<'_>) -> Vec<Output> {
        match input {
            Input::Progress { sdp } => self.progress(sdp),
            Input::Answered { sdp, timer } => self.answered(now_ms, sdp, &timer),
            Input::Refused { code, timer } => self.refused(code, &timer),
            Input::Cancelled => self.cancelled(),
            Input::Acked { leg, sdp } => self.acked(leg, sdp),
            Input::Bye { leg } => self.gone(leg, EndReason::HungUpBy(leg)),
            Input::Lost { leg } => self.gone(leg, EndReason::Lost(leg)),
            Input::Modify { leg, request, sdp, update, timer } => {
                self.modify(now_ms, leg, request, sdp, update, &timer);
            }
            Input::ModifyAnswered { leg, code, sdp, timer } => {
                self.modify_answered(now_ms, leg, code, sdp, &timer);
            }
            Input::Info { leg, request, content_type, body } => self.info(leg, request, content_type, body),
            Input::InfoAnswered { leg, request, code } => self.respond(leg, request, code),
            Input::Refer { leg, request, allowed } => self.refer(now_ms, leg, request, allowed),
            Input::TransferAnswered { sdp, timer } => self.transfer_answered(now_ms, sdp, &timer),
            Input::TransferRefused { code } => self.transfer_refused(code),
            Input::Replace { leg, sdp, timer, srtp } => self.replace(now_ms, leg, sdp, timer, srtp),
            Input::Secure(on) => {
                self.secure = on;
                if on {
                    self.abort_transfer(403);
                }
            }
            Input::HangUp => self.end(EndReason::HungUp, None),
            Input::Time => self.time_passed(now_ms),
        }
        std::mem::take(&mut self.out)
    }

    /// When to call [`Call::handle`] with [`Input::Time`], if nothing else happens before.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        let own = match self.state {
            State::Ringing { give_up_at_ms, .. } => return Some(give_up_at_ms),
            State::Answered { until_ms } | State::Talking { until_ms } => until_ms,
            State::AckThenBye | State::Ended => return None,
        };
        let transfer = match &self.exchange {
            Exchange::Transfer(transfer) => Some(transfer.give_up_at_ms),
            _ => None,
        };
        let watches = [self.caller.watch, self.callee.watch];
        watches.into_iter().filter_map(Watch::deadline_ms).chain(transfer).chain([own]).min()
    }

    /// Whether both can speak: answered and not ended.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Answered { .. } | State::Talking { .. })
    }

    /// Whether the call is over.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    pub(super) fn side(&mut self, leg: Leg) -> &mut Side {
        match leg {
            Leg::Caller => &mut self.caller,
            Leg::Callee => &mut self.callee,
        }
    }

    pub(super) fn respond(&mut self, leg: Leg, request: RequestId, code: u16) {
        self.out.push(Output::Respond { leg, request, code, sdp: None, timer: None });
    }

    /// Ends the call with the last words on the legs that still hear us; `gone` does not.
    pub(super) fn end(&mut self, reason: EndReason, gone: Option<Leg>) {
        match self.state {
            State::Ended => return,
            State::Ringing { .. } => {
                if gone != Some(Leg::Callee) {
                    self.out.push(Output::Cancel);
                }
                if gone != Some(Leg::Caller) {
                    self.out.push(Output::Reject { code: reject_code(reason) });
                }
            }
            State::AckThenBye => self.bye_unless(Leg::Caller, gone),
            State::Answered { .. } | State::Talking { .. } => {
                for leg in [Leg::Callee, Leg::Caller] {
                    if self.has(leg) {
                        self.bye_unless(leg, gone);
                    }
                }
            }
        }
        match std::mem::replace(&mut self.exchange, Exchange::None) {
            // A request that waits is answered all the same (RFC 3261 section 15.1.2).
            Exchange::Across { from, request, .. } => self.respond(from, request, 487),
            Exchange::Transfer(_) => self.out.push(Output::CancelNext),
            Exchange::None
            | Exchange::Refresh { .. }
            | Exchange::LateAnswer { .. }
            | Exchange::Resume { .. } => {}
        }
        self.state = State::Ended;
        self.out.push(Output::Event(CallEvent::Ended(reason)));
    }

    fn bye_unless(&mut self, leg: Leg, gone: Option<Leg>) {
        if gone != Some(leg) {
            self.out.push(Output::Bye { leg });
        }
    }

    fn invite_callee(&mut self, expires_s: u32) {
        // The callee hears what the caller's side is willing to do, in the caller's law if there is one.
        let (direction, law, ptime_ms) = match &self.offered {
            Some(offered) => (offered.direction(), offered.preferred_law(), offered.ptime_ms()),
            None => (Direction::SendRecv, None, None),
        };
        let sdp = self.callee.offer(direction, law, ptime_ms);
        self.out.push(Output::Invite { sdp, timer: SessionTimer { expires_s, refresher: None } });
    }

    fn progress(&mut self, sdp: Option<&[u8]>) {
        let State::Ringing { told, .. } = self.state else { return };
        // Early media that cannot be used is no reason to end the call: it just rings.
        let early = match sdp {
            Some(body) if self.offered.is_some() => self.join_media(body).ok().flatten(),
            _ => None,
        };
        let now = if early.is_some() { Told::EarlyMedia } else { Told::Ringing };
        if now <= told {
            return;
        }
        if let State::Ringing { told, .. } = &mut self.state {
            *told = now;
        }
        self.out.push(Output::Ring { sdp: early });
        if told == Told::Nothing {
            self.out.push(Output::Event(CallEvent::Ringing));
        }
    }

    fn answered(&mut self, now_ms: u64, sdp: Option<&[u8]>, timer: &TimerFields) {
        if !matches!(self.state, State::Ringing { .. }) {
            // The 200 crossed our CANCEL (RFC 3261 section 9.1).
            if self.state == State::Ended {
                self.out.push(Output::Bye { leg: Leg::Callee });
            }
            return;
        }
        let joined = match sdp {
            Some(body) => self.join_media(body),
            None if self.callee.agreed().is_some() => Ok(self.early_answer()),
            None => Err(SdpError::NoAudio),
        };
        let Ok(answer) = joined else {
            self.out.push(Output::Bye { leg: Leg::Callee });
            return self.end(EndReason::Media, Some(Leg::Callee));
        };
        let sdp = answer.unwrap_or_else(|| {
            let (law, ptime_ms) = (self.callee.law(), self.callee.ptime_ms());
            self.caller.offer(self.callee.theirs(), law, ptime_ms)
        });
        self.callee.watch = Watch::as_client(timer, now_ms);
        self.caller.watch = Watch::as_server(self.caller_timer, now_ms);
        self.state = State::Answered { until_ms: now_ms.saturating_add(self.limits.max_duration_ms) };
        self.out.push(Output::Answer { sdp, timer: self.caller_timer });
        self.out.push(Output::Event(CallEvent::Answered));
    }

    /// Takes the callee's description and, if the caller made an offer, gives our answer to it.
    fn join_media(&mut self, body: &[u8]) -> Result<Option<Vec<u8>>, SdpError> {
        let direction = self.callee.told();
        let agreed = self.callee.accept(body, direction)?;
        self.out.push(Output::SetLeg { leg: Leg::Callee, agreed });
        let Some(offered) = self.offered.clone() else { return Ok(None) };
        if self.caller.agreed().is_some() {
            // Once given, an answer stays the same until the next offer (RFC 3261 section 13.2.1).
            return Ok(self.early_answer());
        }
        let answer =
            self.caller.answer(&offered, self.callee.theirs(), Some(agreed.law), self.callee.ptime_ms())?;
        if let Some(agreed) = self.caller.agreed() {
            self.out.push(Output::SetLeg { leg: Leg::Caller, agreed });
        }
        Ok(Some(answer))
    }

    fn early_answer(&mut self) -> Option<Vec<u8>> {
        self.caller.agreed().is_some().then(|| self.caller.repeat())
    }

    fn refused(&mut self, code: u16, timer: &TimerFields) {
        let State::Ringing { interval_retries, .. } = &mut self.state else { return };
        if code == 422 && *interval_retries < MAX_INTERVAL_RETRIES {
            *interval_retries += 1;
            let expires_s = timer.min_se_s.unwrap_or(0).max(self.limits.session_expires_s);
            return self.invite_callee(expires_s);
        }
        self.end(EndReason::Refused(code), Some(Leg::Callee));
    }

    fn cancelled(&mut self) {
        // After our 200 a CANCEL changes nothing (RFC 3261 section 9.2).
        if matches!(self.state, State::Ringing { .. }) {
            self.end(EndReason::Cancelled, Some(Leg::Caller));
        }
    }

    fn acked(&mut self, leg: Leg, sdp: Option<&[u8]>) {
        match self.state {
            State::Answered { until_ms } if leg == Leg::Caller => {
                self.state = State::Talking { until_ms };
                if self.offered.is_none() {
                    self.take_late_answer(leg, sdp);
                }
            }
            State::AckThenBye if leg == Leg::Caller => self.end(EndReason::HungUpBy(Leg::Callee), None),
            State::Talking { .. } => self.modify_acked(leg, sdp),
            State::Ringing { .. } | State::Answered { .. } | State::AckThenBye | State::Ended => {}
        }
    }

    /// The answer to an offer that our 200 made. Without a usable one there is no speech: the call ends.
    pub(super) fn take_late_answer(&mut self, leg: Leg, sdp: Option<&[u8]>) {
        let side = self.side(leg);
        let direction = side.told();
        match sdp.map(|body| side.accept(body, direction)) {
            Some(Ok(agreed)) => self.out.push(Output::SetLeg { leg, agreed }),
            Some(Err(_)) | None => self.end(EndReason::Media, None),
        }
    }

    fn gone(&mut self, leg: Leg, reason: EndReason) {
        match self.state {
            State::Answered { .. } if leg == Leg::Callee => self.state = State::AckThenBye,
            State::Ringing { .. } if leg == Leg::Caller => {
                self.out.push(Output::Reject { code: 487 });
                self.end(EndReason::Cancelled, Some(leg));
            }
            State::AckThenBye if leg == Leg::Callee => {}
            State::Talking { .. } if self.is_transferred(leg) => self.left_for_transfer(leg),
            _ => self.end(reason, Some(leg)),
        }
    }

    fn info(&mut self, leg: Leg, request: RequestId, content_type: &str, body: &[u8]) {
        if self.state == State::Ended {
            return self.respond(leg, request, 481);
        }
        let code = match Dtmf::read(content_type, body) {
            // An empty INFO asks only whether we are there.
            None if body.is_empty() => 200,
            None => 415,
            Some(Err(_)) => 400,
            Some(Ok(dtmf)) if self.secure => {
                if let Some(key) = dtmf.key.filter(|_| leg == self.customer) {
                    self.out.push(Output::Event(CallEvent::Key(key)));
                }
                200
            }
            Some(Ok(Dtmf { key: None, .. })) => 200,
            Some(Ok(dtmf)) if matches!(self.state, State::Talking { .. }) => {
                return self.out.push(Output::Info { from: leg, request, dtmf });
            }
            Some(Ok(_)) => 480,
        };
        self.respond(leg, request, code);
    }

    fn time_passed(&mut self, now_ms: u64) {
        match self.state {
            State::Ringing { give_up_at_ms, .. } if now_ms >= give_up_at_ms => {
                self.end(EndReason::NoAnswer, None);
            }
            State::Answered { until_ms } | State::Talking { until_ms } if now_ms >= until_ms => {
                self.end(EndReason::TooLong, None);
            }
            State::Answered { .. } | State::Talking { .. } => {
                if matches!(&self.exchange, Exchange::Transfer(transfer) if now_ms >= transfer.give_up_at_ms)
                {
                    self.abort_transfer(408);
                }
                self.watch(now_ms, Leg::Caller);
                self.watch(now_ms, Leg::Callee);
            }
            State::Ringing { .. } | State::AckThenBye | State::Ended => {}
        }
    }
}

/// What the caller hears when the call cannot be made. Codes that would send a proxy on its own errand
/// (authentication, redirection, retry elsewhere) stay on the callee's side.
fn reject_code(reason: EndReason) -> u16 {
    match reason {
        EndReason::Refused(code) => match code {
            401 | 407 | 300..=399 => 480,
            408 | 480 => 480,
            600 => 486,
            604 => 404,
            606 => 488,
            400..=499 => code,
            603 => 603,
            _ => 500,
        },
        EndReason::Media => 488,
        EndReason::HungUp => 503,
        EndReason::Cancelled => 487,
        EndReason::NoAnswer
        | EndReason::HungUpBy(_)
        | EndReason::Lost(_)
        | EndReason::Expired(_)
        | EndReason::TooLong => 480,
    }
}
