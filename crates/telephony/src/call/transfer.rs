//! A transfer of one leg: its phone asks for it with REFER (RFC 3515) and we call whom it names, or somebody
//! calls us to take its place (INVITE with `Replaces`, RFC 3891).
//!
//! The other leg and all audio stay where they are; only the far end of this one changes. While keys are hidden
//! there is no transfer: whoever guards the session knows to whom the customer speaks, and whose keys these are.

use crate::g711::Law;
use crate::sdp::{Direction, Negotiated};

use super::core::{Call, State};
use super::media::Side;
use super::modify::Exchange;
use super::timer::{SessionTimer, TimerFields, Watch};
use super::{CallEvent, EndReason, Leg, Output, RequestId, Wish};

/// A transfer under way; no other change is made meanwhile.
#[derive(Debug)]
pub(super) struct Transfer {
    /// The leg that leads elsewhere afterwards.
    leg: Leg,
    next: Side,
    told: Direction,
    pub(super) give_up_at_ms: u64,
    /// Whoever asked hung up after its REFER, as phones do: the other side waits for the next one alone.
    gone: bool,
}

impl Call {
    /// Whether a leg is being transferred.
    #[must_use]
    pub fn is_transferring(&self) -> bool {
        matches!(self.exchange, Exchange::Transfer(_))
    }

    /// Whether somebody is on both legs: not while a transfer has nobody on one.
    #[must_use]
    pub fn has_both(&self) -> bool {
        self.has(Leg::Caller) && self.has(Leg::Callee)
    }

    /// Whether somebody is on this leg.
    pub(super) fn has(&self, leg: Leg) -> bool {
        !matches!(&self.exchange, Exchange::Transfer(transfer) if transfer.gone && transfer.leg == leg)
    }

    pub(super) fn is_transferred(&self, leg: Leg) -> bool {
        matches!(&self.exchange, Exchange::Transfer(transfer) if transfer.leg == leg)
    }

    pub(super) fn refer(&mut self, now_ms: u64, leg: Leg, request: RequestId, allowed: Option<Wish>) {
        let code = match self.state {
            State::Ended | State::AckThenBye => 481,
            _ if self.secure || allowed.is_none() => 403,
            State::Talking { .. } if matches!(self.exchange, Exchange::None) => 202,
            State::Ringing { .. } | State::Answered { .. } | State::Talking { .. } => 491,
        };
        self.respond(leg, request, code);
        if code != 202 {
            return;
        }
        let (told, law, ptime_ms) = self.told_next(leg);
        let srtp = allowed.unwrap_or_default().with(&mut self.keys);
        let mut next = self.side(leg).anew(srtp);
        let sdp = next.offer(told, law, ptime_ms);
        let give_up_at_ms = now_ms.saturating_add(self.limits.ring_time_out_ms);
        let transfer = Transfer { leg, next, told, give_up_at_ms, gone: false };
        self.exchange = Exchange::Transfer(Box::new(transfer));
        let timer = SessionTimer { expires_s: self.limits.session_expires_s, refresher: None };
        self.out.push(Output::Notify { leg, code: 100, last: false });
        self.out.push(Output::InviteNext { sdp, timer });
    }

    pub(super) fn transfer_answered(&mut self, now_ms: u64, sdp: Option<&[u8]>, timer: &TimerFields) {
        // One that comes after we gave up is hung up below us.
        let Some(mut transfer) = self.take_transfer() else { return };
        let Some(Ok(agreed)) = sdp.map(|body| transfer.next.accept(body, transfer.told)) else {
            self.out.push(Output::CancelNext);
            return self.not_transferred(&transfer, 488);
        };
        let leg = transfer.leg;
        let held = self.holds(leg);
        if !transfer.gone {
            self.out.push(Output::Notify { leg, code: 200, last: true });
            self.out.push(Output::Bye { leg });
        }
        *self.side(leg) = transfer.next;
        self.side(leg).watch = Watch::as_client(timer, now_ms);
        self.adopted(leg, Some(agreed), held);
    }

    /// Somebody who calls us is to take the place of whoever is on a leg.
    pub(super) fn replace(
        &mut self,
        now_ms: u64,
        leg: Leg,
        sdp: Option<&[u8]>,
        timer: Option<SessionTimer>,
        srtp: Wish,
    ) {
        let refused = match self.state {
            State::Ended | State::AckThenBye => Some(481),
            _ if self.secure => Some(403),
            State::Talking { .. } if matches!(self.exchange, Exchange::None) => None,
            State::Ringing { .. } | State::Answered { .. } | State::Talking { .. } => Some(491),
        };
        if let Some(code) = refused {
            return self.out.push(Output::RejectNext { code });
        }
        let (told, law, ptime_ms) = self.told_next(leg);
        let held = self.holds(leg);
        let srtp = srtp.with(&mut self.keys);
        let mut next = self.side(leg).anew_for_caller(srtp);
        let answer = match sdp {
            Some(body) => {
                next.parse(body).and_then(|offered| next.answer(&offered, told, law, ptime_ms)).ok()
            }
            // The other side would be asked to speak again at the same time.
            None if held => None,
            None => Some(next.offer(told, law, ptime_ms)),
        };
        let Some(answer) = answer else { return self.out.push(Output::RejectNext { code: 488 }) };
        next.watch = Watch::as_server(timer, now_ms);
        let agreed = next.agreed();
        self.out.push(Output::AnswerNext { sdp: answer, timer });
        self.out.push(Output::Bye { leg });
        *self.side(leg) = next;
        if agreed.is_none() {
            self.exchange = Exchange::LateAnswer { leg };
        }
        self.adopted(leg, agreed, held);
    }

    /// What the next one on a leg is told: what the other side does, in its law. What the one before held, the
    /// next one does not; what the other side holds stays held.
    fn told_next(&mut self, leg: Leg) -> (Direction, Option<Law>, Option<u8>) {
        let held = self.holds(leg);
        let other = self.side(leg.other());
        let told = if held { Direction::SendRecv } else { other.theirs() };
        (told, other.law(), other.ptime_ms())
    }

    /// A leg leads to somebody else now; whom the one before `held` may speak again.
    fn adopted(&mut self, leg: Leg, agreed: Option<Negotiated>, held: bool) {
        self.out.push(Output::Adopt { leg });
        self.out.extend(agreed.map(|agreed| Output::SetLeg { leg, agreed }));
        self.out.push(Output::Event(CallEvent::Transferred { leg }));
        if held {
            let (told, other) = (self.side(leg).theirs(), leg.other());
            let sdp = self.side(other).offer(told, None, None);
            let timer = self.side(other).watch.asked();
            self.exchange = Exchange::Resume { leg: other, told };
            self.out.push(Output::Modify { leg: other, sdp, timer });
        }
    }

    pub(super) fn transfer_refused(&mut self, code: u16) {
        if let Some(transfer) = self.take_transfer() {
            self.not_transferred(&transfer, code);
        }
    }

    /// Gives up calling the next callee.
    pub(super) fn abort_transfer(&mut self, code: u16) {
        if let Some(transfer) = self.take_transfer() {
            self.out.push(Output::CancelNext);
            self.not_transferred(&transfer, code);
        }
    }

    /// Whoever asked for a transfer hung up in the middle of it: the call goes on without.
    pub(super) fn left_for_transfer(&mut self, leg: Leg) {
        let Exchange::Transfer(transfer) = &mut self.exchange else { return };
        transfer.gone = true;
        let side = self.side(leg);
        side.watch = Watch::Off;
        // Nothing more goes to a phone that is not in the call.
        if let Some(agreed) = side.agreed() {
            let agreed = Negotiated { direction: Direction::Inactive, ..agreed };
            self.out.push(Output::SetLeg { leg, agreed });
        }
    }

    fn not_transferred(&mut self, transfer: &Transfer, code: u16) {
        let leg = transfer.leg;
        if transfer.gone {
            self.end(EndReason::HungUpBy(leg), Some(leg));
        } else {
            self.out.push(Output::Notify { leg, code, last: true });
        }
    }

    fn take_transfer(&mut self) -> Option<Box<Transfer>> {
        match std::mem::replace(&mut self.exchange, Exchange::None) {
            Exchange::Transfer(transfer) => Some(transfer),
            other => {
                self.exchange = other;
                None
            }
        }
    }

    fn holds(&mut self, leg: Leg) -> bool {
        matches!(self.side(leg).theirs(), Direction::SendOnly | Direction::Inactive)
    }
}
