//! A transfer of the callee leg: the callee's phone asks for it with REFER (RFC 3515), we call the next callee.
//!
//! The caller's leg and all audio stay where they are; only the far end of the callee leg changes. While
//! keys are hidden there is no transfer: whoever guards the session knows to whom the caller speaks.

use crate::sdp::Direction;

use super::core::{Call, State};
use super::media::Side;
use super::modify::Exchange;
use super::timer::{SessionTimer, TimerFields, Watch};
use super::{CallEvent, EndReason, Leg, Output, RequestId, Wish};

/// A transfer under way; no other change is made meanwhile.
#[derive(Debug)]
pub(super) struct Transfer {
    next: Side,
    told: Direction,
    pub(super) give_up_at_ms: u64,
    /// The callee hung up after its REFER, as phones do: the caller waits for the next one alone.
    pub(super) callee_gone: bool,
}

impl Call {
    /// Whether the callee leg is being transferred.
    #[must_use]
    pub fn is_transferring(&self) -> bool {
        matches!(self.exchange, Exchange::Transfer(_))
    }

    /// Whether somebody is there to open a session: not while a transfer has nobody on the callee leg.
    #[must_use]
    pub fn has_callee(&self) -> bool {
        !matches!(&self.exchange, Exchange::Transfer(transfer) if transfer.callee_gone)
    }

    pub(super) fn refer(&mut self, now_ms: u64, leg: Leg, request: RequestId, allowed: Option<Wish>) {
        let code = match self.state {
            State::Ended | State::AckThenBye => 481,
            _ if self.secure || leg == Leg::Caller || allowed.is_none() => 403,
            State::Talking { .. } if matches!(self.exchange, Exchange::None) => 202,
            State::Ringing { .. } | State::Answered { .. } | State::Talking { .. } => 491,
        };
        self.respond(leg, request, code);
        if code != 202 {
            return;
        }
        // What the callee held, the next one does not; what the caller holds stays held.
        let told = if self.callee_holds() { Direction::SendRecv } else { self.caller.theirs() };
        let srtp = allowed.unwrap_or_default().with(&mut self.keys);
        let mut next = self.callee.anew(srtp);
        let sdp = next.offer(told, self.caller.law(), self.caller.ptime_ms());
        let give_up_at_ms = now_ms.saturating_add(self.limits.ring_time_out_ms);
        let transfer = Transfer { next, told, give_up_at_ms, callee_gone: false };
        self.exchange = Exchange::Transfer(Box::new(transfer));
        let timer = SessionTimer { expires_s: self.limits.session_expires_s, refresher: None };
        self.out.push(Output::Notify { code: 100, last: false });
        self.out.push(Output::InviteNext { sdp, timer });
    }

    pub(super) fn transfer_answered(&mut self, now_ms: u64, sdp: Option<&[u8]>, timer: &TimerFields) {
        // One that comes after we gave up is hung up below us.
        let Some(mut transfer) = self.take_transfer() else { return };
        let Some(Ok(agreed)) = sdp.map(|body| transfer.next.accept(body, transfer.told)) else {
            self.out.push(Output::CancelNext);
            return self.not_transferred(&transfer, 488);
        };
        let held = self.callee_holds();
        if !transfer.callee_gone {
            self.out.push(Output::Notify { code: 200, last: true });
            self.out.push(Output::Bye { leg: Leg::Callee });
        }
        self.callee = transfer.next;
        self.callee.watch = Watch::as_client(timer, now_ms);
        self.out.push(Output::Adopt);
        self.out.push(Output::SetLeg { leg: Leg::Callee, agreed });
        self.out.push(Output::Event(CallEvent::Transferred));
        if held {
            let told = self.callee.theirs();
            let sdp = self.caller.offer(told, None, None);
            let timer = self.caller.watch.asked();
            self.exchange = Exchange::Resume { told };
            self.out.push(Output::Modify { leg: Leg::Caller, sdp, timer });
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

    /// The callee hung up in the middle of a transfer: the call goes on without it.
    pub(super) fn left_for_transfer(&mut self) {
        let Exchange::Transfer(transfer) = &mut self.exchange else { return };
        transfer.callee_gone = true;
        self.callee.watch = Watch::Off;
        // Nothing more goes to a phone that is not in the call.
        if let Some(agreed) = self.callee.agreed() {
            let agreed = crate::sdp::Negotiated { direction: Direction::Inactive, ..agreed };
            self.out.push(Output::SetLeg { leg: Leg::Callee, agreed });
        }
    }

    fn not_transferred(&mut self, transfer: &Transfer, code: u16) {
        if transfer.callee_gone {
            self.end(EndReason::HungUpBy(Leg::Callee), Some(Leg::Callee));
        } else {
            self.out.push(Output::Notify { code, last: true });
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

    fn callee_holds(&self) -> bool {
        matches!(self.callee.theirs(), Direction::SendOnly | Direction::Inactive)
    }
}
