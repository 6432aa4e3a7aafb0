//! Who else takes a place in the call: whom a REFER names, or who calls with `Replaces`.
//!
//! Either way it must be somebody that the one who asks could reach, or be, without it: a REFER reaches whom an
//! INVITE of the caller's peer reaches, within the account, and a leg is taken over only from the peer that it is
//! with. In secure mode the call core refuses both.

use hushpad_telephony::call::{Input, Leg, RequestId, SessionTimer};
use hushpad_telephony::relay::Side;

use super::codes::{Linked, is_code};
use super::routes::{is_encrypted, settle};
use super::task::{Next, Task};
use super::{Dialled, Route};
use crate::media::now_ms;
use crate::sip::{Callee, IncomingCall, Named, Target};

impl Task {
    /// Where a transfer of this leg to this user leads, and the link code that this is.
    fn route_to(&self, leg: Leg, user: &str) -> Option<(Route, Option<Linked>)> {
        let facts = &self.place.facts;
        // A link code is for agents: a customer must not choose whose screen a call opens on.
        if is_code(user) && self.side_of(leg) == Side::Agent {
            let linked = self.codes.spend(now_ms(), &facts.account, user)?;
            let route = self.routes.agent_phone(&linked.account, &linked.agent)?;
            return Some((route, Some(linked)));
        }
        let peer = match self.side_of(leg) {
            Side::Agent => &facts.peer,
            Side::Customer => self.legs.peer(leg)?,
        };
        let route = self.routes.route(&Dialled { user, agent_header: None, peer, caller: "" }).ok()?;
        Some((route, None))
    }

    /// A transfer stays within the account: its sessions are nobody else's.
    pub(super) async fn refer(&mut self, leg: Leg, request: RequestId, target: Option<Target>) {
        let facts = &self.place.facts;
        let next = target.and_then(|target| {
            let (route, linked) = self.route_to(leg, &target.user)?;
            let replaces = target.replaces.map(|call| self.legs.replaces_toward_target(call));
            (route.account == facts.account).then_some((route, replaces, linked))
        });
        let allowed = next.as_ref().and_then(|(route, ..)| {
            let wish = route.srtp.unwrap_or_else(|| self.legs.srtp_toward(&route.uri));
            settle(wish, is_encrypted(&route.uri), self.without_tls).ok()
        });
        if !self.core.is_transferring() {
            let (next, linked) = next.map_or((Next::Nobody, None), |(route, replaces, linked)| {
                (Next::Called(route, replaces), linked)
            });
            (self.next, self.linked) = (next, linked);
        }
        self.input(Input::Refer { leg, request, allowed }).await;
    }

    pub(super) fn invite_next(&mut self, sdp: Vec<u8>, timer: SessionTimer) {
        let Next::Called(route, replaces) = &self.next else { return };
        let credential = self.routes.credential(route);
        let callee = Callee { uri: &route.uri, credential, replaces: replaces.clone() };
        // Nothing comes of an address that cannot be called, so the ring time ends the try.
        if let Err(error) = self.legs.invite_next(callee, sdp, timer) {
            tracing::warn!(%error, call.id = %self.place.facts.guid, "the next one's address cannot be called");
        }
    }

    /// Somebody calls to take the place of whoever is on the dialog that is named.
    pub(super) async fn replace(&mut self, incoming: IncomingCall, named: &Named) {
        let refused = |incoming: &IncomingCall, reason: &'static str| {
            let (call, peer) = (self.place.facts.guid, incoming.peer());
            tracing::info!(call.id = %call, peer, reason, "takeover refused");
        };
        // A dialog that has just ended, or been replaced itself.
        let Some(leg) = self.legs.leg_of(named) else { return incoming.refuse_gone().await };
        if self.legs.peer(leg) != Some(incoming.peer()) {
            refused(&incoming, "another_peer");
            return incoming.refuse_forbidden().await;
        }
        if self.core.is_transferring() {
            return incoming.refuse_pending().await;
        }
        let Ok(srtp) = settle(incoming.srtp(), incoming.is_encrypted(), self.without_tls) else {
            refused(&incoming, "srtp");
            return incoming.refuse_media().await;
        };
        let Ok(timer) = incoming.agree_timer(self.expires_s) else {
            return incoming.refuse_interval().await;
        };
        let account = &self.place.facts.account;
        let agent = self.routes.agent_calling(account, incoming.agent_header(), incoming.caller());
        self.next = Next::Calling { agent, nat: incoming.is_behind_nat() };
        let offer = incoming.offer().map(<[u8]>::to_vec);
        if let Err(error) = self.legs.join_in(incoming).await {
            tracing::info!(%error, call.id = %self.place.facts.guid, reason = "dialog", "takeover refused");
            return;
        }
        self.input(Input::Replace { leg, sdp: offer.as_deref(), timer, srtp }).await;
    }

    /// The next one has its place.
    pub(super) fn adopt(&mut self, leg: Leg) {
        self.legs.adopt(leg);
        let (agent, nat) = match std::mem::replace(&mut self.next, Next::Nobody) {
            Next::Nobody => return,
            Next::Called(route, _) => {
                let nat = self.legs.is_behind_nat(&route.uri);
                (route.agent, nat)
            }
            Next::Calling { agent, nat } => (agent, nat),
        };
        match leg {
            Leg::Caller => self.nat.caller = nat,
            Leg::Callee => self.nat.callee = nat,
        }
        // Who the customer is changes nothing about whose call it is.
        if self.side_of(leg) == Side::Agent {
            self.bind(agent);
        }
    }
}
