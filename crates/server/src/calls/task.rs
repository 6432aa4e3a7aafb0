//! The task that owns one call.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use uuid::Uuid;

use hushpad_telephony::call::{
    Addresses, Call, CallEvent, EndReason, Input, Leg, Limits, Output, Plan, SessionTimer, Wish,
};
use hushpad_telephony::key::{Carrier, Key, KeyReport};
use hushpad_telephony::key_queue::{Alarm, KeyQueue, Lane};
use hushpad_telephony::relay::{Flow, KeyRate, LegParams, Side};
use hushpad_telephony::sdp::{Direction, Negotiated};
use hushpad_telephony::srtp::KeySource;

use crate::media::{Leaving, MediaGone, MediaSession, now_ms};
use crate::sip::{CallLegs, Callee, IncomingCall, LegEvent};

use super::codes::{Codes, Linked};
use super::handle::{BindRefused, Binding, CallGone, CallHandle, Command, Facts};
use super::link::{Link, heard};
use super::recording::{RecorderDesk, Recording};
use super::table::Table;
use super::{LineTotals, Route, Routes};

/// Commands that wait; a session tells a call one thing at a time.
const WAITING_COMMANDS: usize = 8;

/// What a call begins with.
pub(super) struct Start {
    pub(super) route: Route,
    pub(super) routes: Arc<dyn Routes>,
    pub(super) codes: Arc<Codes>,
    /// The link code that was dialled.
    pub(super) linked: Option<Linked>,
    pub(super) recorders: Arc<RecorderDesk>,
    /// What is wanted of SRTP, caller leg first.
    pub(super) srtp: [Wish; 2],
    /// Whether SRTP keys may go over SIP that is not encrypted.
    pub(super) without_tls: bool,
    pub(super) limits: Limits,
    pub(super) timer: Option<SessionTimer>,
    pub(super) media: MediaSession,
    /// Which legs sit behind a NAT.
    pub(super) nat: Nat,
    /// Holds the call's place among the calls allowed.
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) table: Arc<Table>,
}

/// Which legs sit behind a NAT.
#[derive(Clone, Copy)]
pub(super) struct Nat {
    pub(super) caller: bool,
    pub(super) callee: bool,
}

/// Runs a call from its INVITE to its end.
pub(super) async fn run(start: Start, incoming: IncomingCall, totals: &LineTotals) {
    let route = &start.route;
    let begun = Call::begin(now_ms(), plan(&start), incoming.offer());
    let (core, first) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            tracing::info!(%error, peer = incoming.peer(), agent = route.agent, reason = "media", "call refused");
            return incoming.refuse_media().await;
        }
    };
    let facts = Facts {
        guid: Uuid::new_v4(),
        account: route.account.clone(),
        agent: route.agent.clone(),
        peer: incoming.peer().to_owned(),
        caller: route.shows_caller.then(|| incoming.caller().to_owned()),
    };
    let legs = match incoming.accept(facts.guid).await {
        Ok(legs) => legs,
        Err(error) => {
            tracing::info!(%error, peer = facts.peer, agent = route.agent, reason = "dialog", "call refused");
            return;
        }
    };
    let facts = Arc::new(facts);
    let (commands, told) = mpsc::channel(WAITING_COMMANDS);
    let (ended, watched) = watch::channel(false);
    let handle = CallHandle { facts: Arc::clone(&facts), commands, ended: watched };
    start.table.insert(now_ms(), handle);
    tracing::info!(call.id = %facts.guid, peer = facts.peer, agent = facts.agent, "call started");
    let mut task = Task::new(start, core, legs, facts, ended);
    task.perform(first).await;
    task.run(told).await;
    if let Ok(stats) = task.media.stats().await {
        totals.add(&stats);
    }
}

fn plan(start: &Start) -> Plan {
    let local = |leg| start.media.local(side_of(&start.route, leg));
    Plan {
        limits: start.limits,
        customer: start.route.customer,
        addresses: Addresses { caller: local(Leg::Caller), callee: local(Leg::Callee) },
        session_ids: session_ids(),
        srtp: start.srtp,
        keys: KeySource::new(rand::random()),
        timer: start.timer,
    }
}

/// Everything one call owns.
pub(super) struct Task {
    pub(super) core: Call,
    pub(super) legs: CallLegs,
    media: Arc<MediaSession>,
    pub(super) nat: Nat,
    pub(super) place: Place,
    route: Route,
    pub(super) routes: Arc<dyn Routes>,
    pub(super) codes: Arc<Codes>,
    recorders: Arc<RecorderDesk>,
    recording: Option<Recording>,
    pub(super) without_tls: bool,
    /// The longest session interval we want, in seconds.
    pub(super) expires_s: u32,
    releasing: Option<Releasing>,
    link: LinkState,
    /// A link code was spent, and its agent is not on the call yet.
    pub(super) linked: Option<Linked>,
    pub(super) next: Next,
    answered_ms: Option<u64>,
    /// Keys by INFO come as fast as the network does: a person is slower.
    info_rate: KeyRate,
}

/// Who is to take a place in the call.
pub(super) enum Next {
    Nobody,
    /// Whom we call, and the call to take over there.
    Called(Route, Option<String>),
    /// One who calls us; the agent, if it is one that is known.
    Calling {
        agent: Option<String>,
        nat: bool,
    },
}

/// The call's place in the program; leaving it is the end, also after a panic.
pub(super) struct Place {
    pub(super) facts: Arc<Facts>,
    table: Arc<Table>,
    ended: watch::Sender<bool>,
    /// Where keys go; there while secure mode is on.
    keys: Option<Arc<KeyQueue>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(keys) = self.keys.take() {
            keys.close();
        }
        self.table.remove(self.facts.guid);
        self.ended.send_replace(true);
    }
}

/// Whether the agent's side is listened to for a link code.
enum LinkState {
    Off,
    On(Link),
    /// Too many wrong codes.
    Deaf,
}

impl LinkState {
    fn on(&self) -> Option<&Link> {
        match self {
            Self::On(link) => Some(link),
            Self::Off | Self::Deaf => None,
        }
    }
}

/// Secure mode is to end as soon as no key is down.
struct Releasing {
    leaving: Leaving,
    done: oneshot::Sender<Result<(), CallGone>>,
    warn_at_ms: u64,
}

/// A key that is down for longer than this is worth a line in the log, in milliseconds.
const LONG_KEY_MS: u64 = 10_000;

async fn left(releasing: Option<&mut Releasing>) -> Turn {
    let Some(releasing) = releasing else { return std::future::pending().await };
    let warn_at_ms = Some(releasing.warn_at_ms).filter(|at_ms| *at_ms < u64::MAX);
    tokio::select! {
        left = releasing.leaving.left() => Turn::Released(left),
        () = sleep_until(warn_at_ms) => {
            releasing.warn_at_ms = u64::MAX;
            Turn::LongKey
        }
    }
}

enum Turn {
    Leg(LegEvent),
    LinkKeys,
    Released(Result<(), MediaGone>),
    /// A key is down for long.
    LongKey,
    Command(Option<Command>),
    Time,
}

impl Task {
    fn new(start: Start, core: Call, legs: CallLegs, facts: Arc<Facts>, ended: watch::Sender<bool>) -> Self {
        let Start {
            route,
            routes,
            codes,
            linked,
            recorders,
            without_tls,
            limits,
            media,
            nat,
            permit,
            table,
            ..
        } = start;
        let place = Place { facts, table, ended, keys: None, _permit: permit };
        Self {
            core,
            legs,
            media: Arc::new(media),
            nat,
            place,
            route,
            routes,
            codes,
            recorders,
            recording: None,
            without_tls,
            expires_s: limits.session_expires_s,
            releasing: None,
            link: LinkState::Off,
            linked,
            next: Next::Nobody,
            answered_ms: None,
            info_rate: KeyRate::default(),
        }
    }

    async fn run(&mut self, mut told: mpsc::Receiver<Command>) {
        while !self.core.is_ended() {
            let turn = tokio::select! {
                event = self.legs.next() => Turn::Leg(event),
                command = told.recv() => Turn::Command(command),
                () = heard(self.link.on()) => Turn::LinkKeys,
                left = left(self.releasing.as_mut()) => left,
                () = sleep_until(self.core.deadline_ms()) => Turn::Time,
            };
            match turn {
                Turn::Leg(LegEvent::Refer { leg, request, target }) => self.refer(leg, request, target).await,
                Turn::Leg(event) => {
                    if let (LegEvent::Info { leg, content_type, body, .. }, Some(link)) =
                        (&event, self.link.on())
                        && self.side_of(*leg) == Side::Agent
                    {
                        link.info(content_type, body);
                    }
                    self.input(event.as_input()).await;
                }
                Turn::LinkKeys => self.link_keys().await,
                Turn::Released(left) => self.released(left).await,
                Turn::LongKey => {
                    let call = self.place.facts.guid;
                    tracing::warn!(call.id = %call, "a key is down for long: the agent's sound stays guarded");
                }
                Turn::Command(Some(command)) => self.command(command).await,
                // The table holds a sender as long as the call is in it.
                Turn::Command(None) => self.input(Input::HangUp).await,
                Turn::Time => self.input(Input::Time).await,
            }
            self.listen_if_free().await;
        }
        told.close();
        while let Ok(command) = told.try_recv() {
            if let Command::Replace(incoming, _) = command {
                incoming.refuse_gone().await;
            }
        }
    }

    pub(super) fn side_of(&self, leg: Leg) -> Side {
        side_of(&self.route, leg)
    }

    /// A call without an agent hears its agent's side for a link code.
    async fn listen_if_free(&mut self) {
        let wanted = self.core.is_live() && self.place.facts.agent.is_none();
        let keys = match (&self.link, wanted) {
            (LinkState::Off, true) => {
                let link = Link::new();
                let keys = Arc::clone(&link.keys);
                self.link = LinkState::On(link);
                Some(keys)
            }
            (LinkState::On(_), false) => {
                self.link = LinkState::Off;
                None
            }
            (LinkState::Deaf, _) | (LinkState::On(_), true) | (LinkState::Off, false) => return,
        };
        if self.media.listen(keys).await.is_err() {
            tracing::warn!(call.id = %self.place.facts.guid, "the agent's keys cannot be heard");
        }
    }

    async fn link_keys(&mut self) {
        while let LinkState::On(link) = &mut self.link {
            let Some(code) = link.code() else { return };
            let facts = &self.place.facts;
            if let Some(linked) = self.codes.spend(now_ms(), &facts.account, &code) {
                let agent = linked.agent.clone();
                self.linked = Some(linked);
                return self.bind(Some(agent));
            }
            tracing::info!(call.id = %facts.guid, "a link code was wrong");
            if !link.was_wrong() {
                self.link = LinkState::Deaf;
                let _gone = self.media.listen(None).await;
            }
        }
    }

    fn bind_on_demand(&mut self, binding: Binding) -> Result<(), BindRefused> {
        if !self.core.is_live() {
            return Err(BindRefused::NotAnswered);
        }
        let agent = self.place.facts.agent.as_deref();
        if binding.only_if_free && agent.is_some_and(|agent| agent != binding.agent) {
            return Err(BindRefused::Taken);
        }
        self.bind(Some(binding.agent));
        Ok(())
    }

    /// The call is this agent's from now on.
    pub(super) fn bind(&mut self, agent: Option<String>) {
        let facts = Arc::new(Facts { agent, ..Facts::clone(&self.place.facts) });
        self.place.table.changed(&facts);
        tracing::info!(call.id = %facts.guid, agent = facts.agent, "call tied to its agent");
        if let Some(recording) = &self.recording {
            recording.agent(facts.agent.as_deref());
        }
        self.place.facts = facts;
        self.tell_linked();
    }

    /// Whoever shows the link code hears that it has worked, once its agent is on the call.
    fn tell_linked(&mut self) {
        let agent = self.place.facts.agent.as_deref();
        if let Some(linked) = self.linked.take_if(|linked| agent == Some(&linked.agent)) {
            linked.tell(self.place.facts.guid);
        }
    }

    pub(super) async fn input(&mut self, input: Input<'_>) {
        let outputs = self.core.handle(now_ms(), input);
        self.perform(outputs).await;
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Secure(keys, done) => {
                let _ = done.send(self.secure(keys).await);
            }
            Command::Release(done) => self.begin_release(done),
            Command::Stats(done) => {
                let _ = done.send(self.media.stats().await.map_err(|_| CallGone));
            }
            Command::Bind(binding, done) => {
                let _ = done.send(Ok(self.bind_on_demand(binding)));
            }
            Command::Replace(incoming, named) => self.replace(*incoming, &named).await,
            Command::HangUp => self.input(Input::HangUp).await,
        }
    }

    /// Keys by INFO are stopped first, then those in the audio; then the caller may go on.
    async fn secure(&mut self, keys: Arc<KeyQueue>) -> Result<(), CallGone> {
        if !self.core.has_both() {
            return Err(CallGone);
        }
        self.releasing = None;
        self.input(Input::Secure(true)).await;
        let before = self.place.keys.replace(Arc::clone(&keys));
        // The same queue again: the session starts anew on a stream that was replaced.
        if let Some(before) = before.filter(|before| !Arc::ptr_eq(before, &keys)) {
            before.close();
        }
        let secured = self.media.secure(keys).await.map_err(|_| CallGone);
        // The recorder is behind the guard: it pauses as a courtesy.
        if let Some(recording) = &self.recording {
            self.media.flow([None, None]);
            recording.pause(true);
        }
        secured
    }

    /// The call goes on meanwhile: a key may be down for as long as somebody leans on it.
    fn begin_release(&mut self, done: oneshot::Sender<Result<(), CallGone>>) {
        match self.media.begin_release() {
            Ok(leaving) => {
                self.releasing = Some(Releasing { leaving, done, warn_at_ms: now_ms() + LONG_KEY_MS })
            }
            Err(_) => drop(done.send(Err(CallGone))),
        }
    }

    async fn released(&mut self, left: Result<(), MediaGone>) {
        let Some(releasing) = self.releasing.take() else { return };
        if left.is_ok() {
            self.input(Input::Secure(false)).await;
            self.place.keys = None;
            if let Some(recording) = &self.recording {
                recording.pause(false);
            }
        }
        let _ = releasing.done.send(left.map_err(|_| CallGone));
    }

    async fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Ring { sdp } => self.legs.ring(sdp),
                Output::Answer { sdp, timer } => self.legs.answer(sdp, timer),
                Output::Reject { code } => self.legs.reject(code),
                Output::Invite { sdp, timer } => self.invite(sdp, timer),
                Output::Cancel => self.legs.cancel(),
                Output::Bye { leg } => self.legs.bye(leg),
                Output::Modify { leg, sdp, timer } => self.legs.modify(leg, sdp, timer),
                Output::Respond { leg, request, code, sdp, timer } => {
                    self.legs.respond(leg, request, code, sdp, timer).await;
                }
                Output::Info { from, request, dtmf } => self.legs.info(from, request, dtmf),
                Output::Notify { leg, code, last } => self.legs.notify(leg, code, last),
                Output::InviteNext { sdp, timer } => self.invite_next(sdp, timer),
                Output::CancelNext => self.legs.cancel_next(),
                Output::AnswerNext { sdp, timer } => self.legs.answer_next(sdp, timer),
                Output::RejectNext { code } => self.legs.reject_next(code),
                Output::Adopt { leg } => self.adopt(leg),
                Output::SetLeg { leg, agreed } => self.set_leg(leg, &agreed),
                Output::Event(event) => self.event(event),
            }
        }
    }

    fn set_leg(&self, leg: Leg, agreed: &Negotiated) {
        // Should the two ends of a leg number events differently, the number of those that come counts where
        // keys come from, and the number of those that go where they go.
        let side = self.side_of(leg);
        let events = match side {
            Side::Customer => agreed.event_receive.or(agreed.event_send),
            Side::Agent => agreed.event_send.or(agreed.event_receive),
        };
        let nat = match leg {
            Leg::Caller => self.nat.caller,
            Leg::Callee => self.nat.callee,
        };
        self.media.set_leg(side, LegParams { event_payload_type: events, ..leg_params(agreed, nat) });
    }

    fn invite(&mut self, sdp: Vec<u8>, timer: SessionTimer) {
        let credential = self.routes.credential(&self.route);
        let callee = Callee { uri: &self.route.uri, credential, replaces: None };
        if let Err(error) = self.legs.invite(callee, sdp, timer) {
            tracing::warn!(%error, call.id = %self.place.facts.guid, "the agent's address cannot be called");
            self.legs.agent_cannot_be_called();
        }
    }

    fn event(&mut self, event: CallEvent) {
        let facts = &self.place.facts;
        match event {
            CallEvent::Answered => {
                self.answered_ms = Some(now_ms());
                self.place.table.answered(now_ms(), facts.guid);
                tracing::info!(call.id = %facts.guid, peer = facts.peer, agent = facts.agent, "call answered");
                self.recording = Recording::begin(&self.recorders, facts, &self.media);
                self.tell_linked();
            }
            CallEvent::Ended(reason) => self.log_end(reason),
            CallEvent::Key(key) => self.key(key),
            CallEvent::Transferred { leg } => {
                let leg = leg.name();
                tracing::info!(call.id = %facts.guid, peer = facts.peer, agent = facts.agent, leg, "call transferred");
            }
            CallEvent::Ringing | CallEvent::Held { .. } | CallEvent::Resumed { .. } => {
                tracing::debug!(call.id = %facts.guid, ?event, "call changed");
            }
        }
    }

    fn key(&mut self, key: Key) {
        let Some(keys) = &self.place.keys else { return };
        let at_ms = now_ms();
        if self.info_rate.is_too_fast(at_ms * 1000) {
            keys.raise(Alarm::TooFast);
            return;
        }
        let report = KeyReport { key, carrier: Carrier::Info, at_ms };
        // A full queue raises its own alarm.
        keys.push(Lane::Signalling, report);
    }

    fn log_end(&self, reason: EndReason) {
        let facts = &self.place.facts;
        let duration_ms = self.answered_ms.map_or(0, |at_ms| now_ms() - at_ms);
        let code = match reason {
            EndReason::Refused(code) => Some(code),
            _ => None,
        };
        tracing::info!(
            call.id = %facts.guid,
            peer = facts.peer,
            agent = facts.agent,
            reason = reason.name(),
            code,
            duration_ms,
            "call ended"
        );
    }
}

fn side_of(route: &Route, leg: Leg) -> Side {
    if leg == route.customer { Side::Customer } else { Side::Agent }
}

/// What the media plane needs of an agreement.
fn leg_params(agreed: &Negotiated, nat: bool) -> LegParams {
    LegParams {
        remote: agreed.remote,
        law: agreed.law,
        payload_type: agreed.payload_type,
        event_payload_type: agreed.event_send,
        comfort_noise: agreed.comfort_noise,
        flow: match agreed.direction {
            Direction::SendRecv => Flow::Both,
            Direction::SendOnly => Flow::Send,
            Direction::RecvOnly => Flow::Receive,
            Direction::Inactive => Flow::Nothing,
        },
        nat,
        rtcp: agreed.remote_rtcp,
        rtcp_mux: agreed.rtcp_mux,
        srtp: agreed.srtp,
    }
}

async fn sleep_until(deadline_ms: Option<u64>) {
    match deadline_ms {
        Some(at_ms) => tokio::time::sleep(Duration::from_millis(at_ms.saturating_sub(now_ms()))).await,
        None => std::future::pending().await,
    }
}

/// Two ids for our `o=` lines, not to be guessed from one another (RFC 8866 section 5.2).
fn session_ids() -> [u64; 2] {
    // Below 2^62, as some phones read the number as signed.
    let (high, low) = Uuid::new_v4().as_u64_pair();
    [high >> 2, low >> 2]
}
