//! A transfer of the agent leg: the agent's phone asks for it with REFER (RFC 3515), we call the next agent.
//!
//! The customer's leg and all audio stay where they are; only the far end of the agent leg changes. While
//! keys are hidden there is no transfer: whoever guards the session knows to whom the customer speaks.

use crate::sdp::Direction;

use super::core::{Call, State};
use super::media::Side;
use super::modify::Exchange;
use super::timer::{SessionTimer, TimerFields, Watch};
use super::{CallEvent, EndReason, Leg, Output, RequestId};

/// A transfer under way; no other change is made meanwhile.
#[derive(Debug)]
pub(super) struct Transfer {
    next: Side,
    told: Direction,
    pub(super) give_up_at_ms: u64,
    /// The agent hung up after its REFER, as phones do: the customer waits for the next one alone.
    pub(super) agent_gone: bool,
}

impl Call {
    /// Whether the agent leg is being transferred.
    #[must_use]
    pub fn is_transferring(&self) -> bool {
        matches!(self.exchange, Exchange::Transfer(_))
    }

    /// Whether somebody is there to open a session: not while a transfer has nobody on the agent leg.
    #[must_use]
    pub fn has_agent(&self) -> bool {
        !matches!(&self.exchange, Exchange::Transfer(transfer) if transfer.agent_gone)
    }

    pub(super) fn refer(&mut self, now_ms: u64, leg: Leg, request: RequestId, allowed: bool) {
        let code = match self.state {
            State::Ended | State::AckThenBye => 481,
            _ if self.secure || leg == Leg::Customer || !allowed => 403,
            State::Talking { .. } if matches!(self.exchange, Exchange::None) => 202,
            State::Ringing { .. } | State::Answered { .. } | State::Talking { .. } => 491,
        };
        self.respond(leg, request, code);
        if code != 202 {
            return;
        }
        // What the agent held, the next one does not; what the customer holds stays held.
        let told = if self.agent_holds() { Direction::SendRecv } else { self.customer.theirs() };
        let mut next = self.agent.anew();
        let sdp = next.offer(told, self.customer.law(), self.customer.ptime_ms());
        let give_up_at_ms = now_ms.saturating_add(self.limits.ring_time_out_ms);
        let transfer = Transfer { next, told, give_up_at_ms, agent_gone: false };
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
        let held = self.agent_holds();
        if !transfer.agent_gone {
            self.out.push(Output::Notify { code: 200, last: true });
            self.out.push(Output::Bye { leg: Leg::Agent });
        }
        self.agent = transfer.next;
        self.agent.watch = Watch::as_client(timer, now_ms);
        self.out.push(Output::Adopt);
        self.out.push(Output::SetLeg { leg: Leg::Agent, agreed });
        self.out.push(Output::Event(CallEvent::Transferred));
        if held {
            let told = self.agent.theirs();
            let sdp = self.customer.offer(told, None, None);
            let timer = self.customer.watch.asked();
            self.exchange = Exchange::Resume { told };
            self.out.push(Output::Modify { leg: Leg::Customer, sdp, timer });
        }
    }

    pub(super) fn transfer_refused(&mut self, code: u16) {
        if let Some(transfer) = self.take_transfer() {
            self.not_transferred(&transfer, code);
        }
    }

    /// Gives up calling the next agent.
    pub(super) fn abort_transfer(&mut self, code: u16) {
        if let Some(transfer) = self.take_transfer() {
            self.out.push(Output::CancelNext);
            self.not_transferred(&transfer, code);
        }
    }

    /// The agent hung up in the middle of a transfer: the call goes on without it.
    pub(super) fn left_for_transfer(&mut self) {
        let Exchange::Transfer(transfer) = &mut self.exchange else { return };
        transfer.agent_gone = true;
        self.agent.watch = Watch::Off;
        // Nothing more goes to a phone that is not in the call.
        if let Some(agreed) = self.agent.agreed() {
            let agreed = crate::sdp::Negotiated { direction: Direction::Inactive, ..agreed };
            self.out.push(Output::SetLeg { leg: Leg::Agent, agreed });
        }
    }

    fn not_transferred(&mut self, transfer: &Transfer, code: u16) {
        if transfer.agent_gone {
            self.end(EndReason::HungUpBy(Leg::Agent), Some(Leg::Agent));
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

    fn agent_holds(&self) -> bool {
        matches!(self.agent.theirs(), Direction::SendOnly | Direction::Inactive)
    }
}
