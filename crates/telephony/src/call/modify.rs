//! Changes while both speak: re-INVITE and UPDATE from either side, and our own refreshes.

use crate::sdp::{Described, Direction};

use super::core::{Call, State};
use super::timer::{MIN_SE_S, SessionTimer, TimerFields, Watch, agree_as_server};
use super::transfer::Transfer;
use super::{CallEvent, EndReason, Leg, Output, RequestId};

/// Earliest second try after glare, when we made the dialog, in milliseconds (RFC 3261 section 14.1).
const GLARE_OWNER_MS: u64 = 2100;
/// Spread of the second try after glare, in milliseconds.
const GLARE_SPREAD_MS: u64 = 1900;
/// How soon a refresh is tried again that failed for another reason, in milliseconds.
const REFRESH_RETRY_MS: u64 = 10_000;

/// The one change under way. A second one meanwhile is refused with 491 (RFC 3261 section 14.2).
#[derive(Debug)]
pub(super) enum Exchange {
    None,
    /// An offer of one side was passed across; the request waits for what the other side says.
    Across {
        from: Leg,
        request: RequestId,
        offered: Described,
        told: Direction,
        timer: Option<SessionTimer>,
    },
    /// We asked one side to go on as before.
    Refresh {
        leg: Leg,
    },
    /// Whoever held this side is gone: we offered it to speak again.
    Resume {
        leg: Leg,
        told: Direction,
    },
    /// A leg is being transferred.
    Transfer(Box<Transfer>),
    /// We made an offer in a 200; its answer comes in the ACK.
    LateAnswer {
        leg: Leg,
    },
}

impl Call {
    pub(super) fn modify(
        &mut self,
        now_ms: u64,
        leg: Leg,
        request: RequestId,
        sdp: Option<&[u8]>,
        update: bool,
        fields: &TimerFields,
    ) {
        match self.state {
            State::Talking { .. } => {}
            State::Ended | State::AckThenBye => return self.respond(leg, request, 481),
            State::Ringing { .. } | State::Answered { .. } => return self.respond(leg, request, 491),
        }
        if !matches!(self.exchange, Exchange::None) {
            return self.respond(leg, request, 491);
        }
        let Ok(timer) = agree_as_server(fields, self.limits.session_expires_s) else {
            let timer = Some(SessionTimer { expires_s: MIN_SE_S, refresher: None });
            return self.out.push(Output::Respond { leg, request, code: 422, sdp: None, timer });
        };
        match sdp.map(|body| self.side(leg).parse(body)) {
            Some(Err(_)) => self.respond(leg, request, 488),
            Some(Ok(offered)) => self.offered_anew(now_ms, leg, request, offered, timer),
            None if update => self.accept_modify(now_ms, leg, request, None, timer),
            None => {
                let side = self.side(leg);
                let direction = side.told();
                let ptime_ms = side.ptime_ms();
                let offer = side.offer(direction, None, ptime_ms);
                self.exchange = Exchange::LateAnswer { leg };
                self.accept_modify(now_ms, leg, request, Some(offer), timer);
            }
        }
    }

    pub(super) fn modify_acked(&mut self, leg: Leg, sdp: Option<&[u8]>) {
        if matches!(self.exchange, Exchange::LateAnswer { leg: waiting } if waiting == leg) {
            self.exchange = Exchange::None;
            self.take_late_answer(leg, sdp);
        }
    }

    pub(super) fn modify_answered(
        &mut self,
        now_ms: u64,
        leg: Leg,
        code: u16,
        sdp: Option<&[u8]>,
        timer: &TimerFields,
    ) {
        if self.state == State::Ended {
            return;
        }
        match std::mem::replace(&mut self.exchange, Exchange::None) {
            Exchange::Across { from, request, offered, told, timer: ours } if from == leg.other() => {
                self.across_answered(now_ms, leg, code, sdp, timer, (from, request, offered, told, ours));
            }
            Exchange::Refresh { leg: asked } if asked == leg => {
                let told = self.side(leg).told();
                self.refresh_answered(now_ms, leg, code, sdp, timer, told);
            }
            Exchange::Resume { leg: asked, told } if asked == leg => {
                self.refresh_answered(now_ms, leg, code, sdp, timer, told);
            }
            other => self.exchange = other,
        }
    }

    /// Ends the call if the far end is silent for too long, or asks it to go on.
    pub(super) fn watch(&mut self, now_ms: u64, leg: Leg) {
        if matches!(self.state, State::Ended) {
            return;
        }
        if self.side(leg).watch.is_over(now_ms) {
            return self.end(EndReason::Expired(leg), None);
        }
        if !self.side(leg).watch.is_due(now_ms) {
            return;
        }
        if !matches!((&self.state, &self.exchange), (State::Talking { .. }, Exchange::None)) {
            return self.side(leg).watch.put_off(now_ms + REFRESH_RETRY_MS);
        }
        let side = self.side(leg);
        // Not again until this one is answered; the end of the session stays where it is.
        side.watch.put_off(u64::MAX);
        let (sdp, timer) = (side.repeat(), side.watch.asked());
        self.exchange = Exchange::Refresh { leg };
        self.out.push(Output::Modify { leg, sdp, timer });
    }

    /// An offer that changes who may speak goes across; any other is ours to answer, media being anchored.
    fn offered_anew(
        &mut self,
        now_ms: u64,
        leg: Leg,
        request: RequestId,
        offered: Described,
        timer: Option<SessionTimer>,
    ) {
        let side = self.side(leg);
        if offered.direction() == side.theirs() {
            let told = side.told();
            return self.answer_modify(now_ms, leg, request, &offered, told, timer);
        }
        let told = offered.direction();
        let ptime_ms = offered.ptime_ms();
        let across = self.side(leg.other());
        let sdp = across.offer(told, None, ptime_ms);
        let asked = across.watch.asked();
        self.exchange = Exchange::Across { from: leg, request, offered, told, timer };
        self.out.push(Output::Modify { leg: leg.other(), sdp, timer: asked });
    }

    fn across_answered(
        &mut self,
        now_ms: u64,
        leg: Leg,
        code: u16,
        sdp: Option<&[u8]>,
        timer: &TimerFields,
        (from, request, offered, told, ours): (Leg, RequestId, Described, Direction, Option<SessionTimer>),
    ) {
        if is_dialog_lost(code) {
            self.respond(from, request, 481);
            return self.end(EndReason::Lost(leg), Some(leg));
        }
        if !(200..300).contains(&code) {
            self.side(leg).withdraw();
            return self.respond(from, request, if code == 491 { 491 } else { 488 });
        }
        let side = self.side(leg);
        side.watch = Watch::as_client(timer, now_ms);
        match sdp.map(|body| side.accept(body, told)) {
            Some(Ok(agreed)) => {
                let theirs = side.theirs();
                self.out.push(Output::SetLeg { leg, agreed });
                let was = self.side(from).theirs();
                self.answer_modify(now_ms, from, request, &offered, theirs, ours);
                self.tell_hold(from, was);
            }
            Some(Err(_)) | None => self.respond(from, request, 488),
        }
    }

    fn tell_hold(&mut self, by: Leg, was: Direction) {
        let is = self.side(by).theirs();
        match (was == Direction::SendRecv, is == Direction::SendRecv) {
            (true, false) => self.out.push(Output::Event(CallEvent::Held { by })),
            (false, true) => self.out.push(Output::Event(CallEvent::Resumed { by })),
            (true, true) | (false, false) => {}
        }
    }

    fn answer_modify(
        &mut self,
        now_ms: u64,
        leg: Leg,
        request: RequestId,
        offered: &Described,
        direction: Direction,
        timer: Option<SessionTimer>,
    ) {
        let side = self.side(leg);
        let ptime_ms = side.ptime_ms();
        match side.answer(offered, direction, None, ptime_ms) {
            Ok(answer) => {
                let agreed = side.agreed();
                self.accept_modify(now_ms, leg, request, Some(answer), timer);
                self.out.extend(agreed.map(|agreed| Output::SetLeg { leg, agreed }));
            }
            Err(_) => self.respond(leg, request, 488),
        }
    }

    fn accept_modify(
        &mut self,
        now_ms: u64,
        leg: Leg,
        request: RequestId,
        sdp: Option<Vec<u8>>,
        timer: Option<SessionTimer>,
    ) {
        self.side(leg).watch = Watch::as_server(timer, now_ms);
        self.out.push(Output::Respond { leg, request, code: 200, sdp, timer });
    }

    fn refresh_answered(
        &mut self,
        now_ms: u64,
        leg: Leg,
        code: u16,
        sdp: Option<&[u8]>,
        timer: &TimerFields,
        direction: Direction,
    ) {
        if is_dialog_lost(code) {
            return self.end(EndReason::Lost(leg), Some(leg));
        }
        let side = self.side(leg);
        match code {
            200..=299 => {
                side.watch = Watch::as_client(timer, now_ms);
                // A refresh changes nothing, so an answer that cannot be read is no loss.
                if let Some(Ok(agreed)) = sdp.map(|body| side.accept(body, direction)) {
                    self.out.push(Output::SetLeg { leg, agreed });
                }
            }
            491 => {
                // The owner of the Call-ID waits longer.
                let base_ms = if side.is_ours() { GLARE_OWNER_MS } else { 0 };
                side.watch.put_off(now_ms + base_ms + now_ms % GLARE_SPREAD_MS);
            }
            _ => side.watch.put_off(now_ms + REFRESH_RETRY_MS),
        }
    }
}

/// The far end does not know the dialog, or does not answer at all (RFC 3261 section 12.2.1.2).
fn is_dialog_lost(code: u16) -> bool {
    matches!(code, 408 | 481)
}
