//! Calls: one task owns each, with its core, its two dialogs and its media session.
//!
//! [`Calls`] takes calls up and finds live ones; a [`CallHandle`] speaks with one of them. Nothing here
//! waits for a database, a gateway or a page: a call goes on whatever becomes of them (guarantee G7).
//!
//! A call that ends says BYE on the other leg, closes its media and the queue of keys, leaves the table and
//! takes its dialogs out of the SIP stack; then [`CallHandle::ended`] turns true.

mod codes;
mod handle;
mod link;
mod port;
mod recording;
mod routes;
mod table;
mod task;
mod totals;
mod transfers;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use hushpad_telephony::call::{Limits, MIN_SE_S};

use crate::media::{MediaPlane, now_ms};
use crate::sip::{Counters, IncomingCall, Listener, Login, Peer, SipConfig, Stack, Tls};

pub use handle::{BindRefused, CallGone, CallHandle, CallStats};
pub use port::CallTable;
pub use recording::{RecorderEar, SipRecorder, SipRecorders};
pub use routes::{Dialled, Route, RouteRefused, Routes};
pub use table::Standing;
pub use totals::{LegTotals, LineTotals};

pub use codes::Issued;
use codes::{Codes, Linked};
use recording::RecorderDesk;
use table::Table;

/// How long the last BYEs may take when the program goes down.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Settings of the telephone side.
#[derive(Clone, Debug)]
pub struct CallsConfig {
    /// Where we listen for SIP; at least one.
    pub listeners: Vec<Listener>,
    /// The address others reach us at, when it is not the one we bind.
    pub advertised: Option<IpAddr>,
    /// Whom we talk with; everybody else gets no answer.
    pub peers: Vec<Peer>,
    /// Peers whose calls must prove by digest that they come from them.
    pub logins: Vec<Login>,
    /// For listeners with TLS, and for calls to agents with `transport=tls`.
    pub tls: Option<Tls>,
    /// Whether SRTP keys may go over SIP that is not encrypted.
    pub sdes_without_tls: bool,
    /// Most calls at once; one more is refused with 503.
    pub max_calls: usize,
    /// How long an agent is rung.
    pub ring_time_out: Duration,
    /// How long an answered call may last.
    pub max_duration: Duration,
    /// Session interval (RFC 4028); at least 90 s.
    pub session_expires: Duration,
    /// How long calls may go on after [`Calls::shut_down`] was called.
    pub drain_time_out: Duration,
    /// Recorders that are reached by SIP.
    pub recorders: SipRecorders,
}

impl Default for CallsConfig {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            advertised: None,
            peers: Vec::new(),
            logins: Vec::new(),
            tls: None,
            sdes_without_tls: false,
            // What two cores carry with the guard on, with room to spare (docs: audio bar).
            max_calls: 500,
            // Longer than the 15 to 30 s after which PBXs divert; shorter than a carrier's 3 minutes.
            ring_time_out: Duration::from_secs(60),
            max_duration: Duration::from_secs(4 * 3600),
            // The value RFC 4028 section 4 recommends.
            session_expires: Duration::from_secs(1800),
            drain_time_out: Duration::from_secs(60),
            recorders: SipRecorders::default(),
        }
    }
}

impl CallsConfig {
    fn limits(&self) -> Limits {
        Limits {
            ring_time_out_ms: milliseconds(self.ring_time_out),
            max_duration_ms: milliseconds(self.max_duration),
            session_expires_s: u32::try_from(self.session_expires.as_secs())
                .unwrap_or(u32::MAX)
                .max(MIN_SE_S),
        }
    }
}

/// All calls. Clones are handles to the same.
#[derive(Clone)]
pub struct Calls {
    inner: Arc<Inner>,
}

struct Inner {
    config: CallsConfig,
    stack: Arc<Stack>,
    routes: Arc<dyn Routes>,
    media: MediaPlane,
    table: Arc<Table>,
    codes: Arc<Codes>,
    totals: Arc<LineTotals>,
    recorders: Arc<RecorderDesk>,
    room: Arc<Semaphore>,
    draining: AtomicBool,
}

impl Calls {
    /// Opens the SIP listeners and begins to take calls.
    ///
    /// # Errors
    /// A listener cannot be opened.
    pub async fn start(
        config: CallsConfig,
        routes: Arc<dyn Routes>,
        media: MediaPlane,
    ) -> anyhow::Result<Self> {
        let sip = SipConfig {
            listeners: config.listeners.clone(),
            advertised: config.advertised,
            peers: config.peers.clone(),
            logins: config.logins.clone(),
            tls: config.tls.clone(),
            max_calls: config.max_calls,
        };
        let (stack, incoming) = Stack::start(sip).await?;
        let room = Arc::new(Semaphore::new(config.max_calls.min(Semaphore::MAX_PERMITS)));
        let recorders = Arc::new(RecorderDesk {
            stack: Arc::clone(&stack),
            recorders: config.recorders.clone(),
            without_tls: config.sdes_without_tls,
        });
        let inner = Arc::new(Inner {
            config,
            stack,
            recorders,
            routes,
            media,
            table: Arc::new(Table::default()),
            codes: Arc::default(),
            totals: Arc::default(),
            room,
            draining: AtomicBool::new(false),
        });
        tokio::spawn(take_calls(Arc::clone(&inner), incoming));
        Ok(Self { inner })
    }

    /// The agent's calls that are answered and not ended.
    #[must_use]
    pub fn live_calls(&self, account: &str, agent: &str) -> Vec<CallHandle> {
        self.inner.table.live(account, agent)
    }

    /// The account's calls, ringing ones included, the oldest first.
    #[must_use]
    pub fn of_account(&self, account: &str) -> Vec<(CallHandle, Standing)> {
        self.inner.table.of_account(account)
    }

    /// A code that ties a call to this agent when it is keyed on the agent's phone. Nothing when too many are open.
    #[must_use]
    pub fn link_code(&self, account: &str, agent: &str) -> Option<Issued> {
        self.inner.codes.issue(now_ms(), account, agent, rand::random)
    }

    /// The call with this id, answered or not.
    #[must_use]
    pub fn find(&self, guid: Uuid) -> Option<CallHandle> {
        self.inner.table.find(guid)
    }

    /// Calls at this moment, ringing ones included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inner.table.len()
    }

    /// Where we listen for SIP, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.inner.stack.addresses()
    }

    /// How sound travelled in the calls that ended.
    #[must_use]
    pub fn totals(&self) -> &LineTotals {
        &self.inner.totals
    }

    /// What was dropped on the wire.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        self.inner.stack.counters()
    }

    /// Dialogs in the SIP stack: two per call, and one with its recorder.
    #[must_use]
    pub fn dialogs(&self) -> usize {
        self.inner.stack.dialogs()
    }

    /// Transactions in the SIP stack, finished ones that still answer retransmissions included.
    #[must_use]
    pub fn transactions(&self) -> usize {
        self.inner.stack.transactions()
    }

    /// Refuses new calls, lets live ones go on until the configured deadline, hangs up what is left and
    /// closes the listeners.
    pub async fn shut_down(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
        self.inner.stack.drain();
        let table = &self.inner.table;
        drop(tokio::time::timeout(self.inner.config.drain_time_out, table.empty()).await);
        for call in table.all() {
            call.hang_up().await;
        }
        drop(tokio::time::timeout(LAST_WORDS, self.all_said()).await);
        self.inner.stack.stop();
    }

    /// Waits until every call and every dialog is gone.
    async fn all_said(&self) {
        self.inner.table.empty().await;
        while self.dialogs() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Hands every call to a task of its own. Never waits for one.
async fn take_calls(inner: Arc<Inner>, mut incoming: mpsc::Receiver<IncomingCall>) {
    while let Some(call) = incoming.recv().await {
        let inner = Arc::clone(&inner);
        tokio::spawn(async move { inner.take(call).await });
    }
}

impl Inner {
    async fn take(&self, call: IncomingCall) {
        if self.draining.load(Ordering::Relaxed) {
            return call.refuse_busy().await;
        }
        if call.replaces().is_some() {
            return self.hand_over(call).await;
        }
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::warn!(peer = call.peer(), reason = "max_calls", "call refused");
            return call.refuse_busy().await;
        };
        let Ok((route, linked)) = self.route(&call) else {
            tracing::info!(peer = call.peer(), reason = "no_route", "call refused");
            return call.refuse_unknown().await;
        };
        let without_tls = self.config.sdes_without_tls;
        let toward_callee = route.srtp.unwrap_or_else(|| self.stack.srtp_toward(&route.uri));
        let caller_srtp = routes::settle(call.srtp(), call.is_encrypted(), without_tls);
        let callee_srtp = routes::settle(toward_callee, routes::is_encrypted(&route.uri), without_tls);
        let (Ok(caller_srtp), Ok(callee_srtp)) = (caller_srtp, callee_srtp) else {
            tracing::warn!(error = %routes::SrtpNeedsTls, peer = call.peer(), reason = "srtp", "call refused");
            return call.refuse_media().await;
        };
        let srtp = [caller_srtp, callee_srtp];
        let limits = self.config.limits();
        let Ok(timer) = call.agree_timer(limits.session_expires_s) else {
            return call.refuse_interval().await;
        };
        let media = match self.media.open() {
            Ok(media) => media,
            Err(error) => {
                tracing::error!(%error, peer = call.peer(), reason = "no_media", "call refused");
                return call.refuse_busy().await;
            }
        };
        let nat = task::Nat { caller: call.is_behind_nat(), callee: self.stack.is_behind_nat(&route.uri) };
        let (routes, table) = (Arc::clone(&self.routes), Arc::clone(&self.table));
        let (codes, recorders) = (Arc::clone(&self.codes), Arc::clone(&self.recorders));
        let start = task::Start {
            route,
            routes,
            codes,
            linked,
            recorders,
            srtp,
            without_tls,
            limits,
            timer,
            media,
            nat,
            permit,
            table,
        };
        task::run(start, call, &self.totals).await;
    }

    /// An INVITE that replaces a dialog goes to the call of that dialog (RFC 3891 section 3).
    async fn hand_over(&self, call: IncomingCall) {
        let named = call.replaces().and_then(|replaces| self.stack.named(replaces));
        let found = named.and_then(|named| Some((self.table.find(named.call)?, named)));
        let Some((handle, named)) = found else {
            tracing::info!(peer = call.peer(), reason = "no_such_dialog", "takeover refused");
            return call.refuse_gone().await;
        };
        if call.replaces_early_only() {
            return call.refuse_answered().await;
        }
        if let Some(call) = handle.replace(call, named) {
            call.refuse_busy().await;
        }
    }

    /// Where the call goes, and the link code that it was dialled by.
    fn route(&self, call: &IncomingCall) -> Result<(Route, Option<Linked>), RouteRefused> {
        let (user, caller) = (call.dialled(), call.caller());
        if codes::is_code(user) {
            let linked = self.codes.spend_dialled(now_ms(), user).ok_or(RouteRefused)?;
            let route = self.routes.agent_phone(&linked.account, &linked.agent).ok_or(RouteRefused)?;
            return Ok((route, Some(linked)));
        }
        let (agent_header, peer) = (call.agent_header(), call.peer());
        Ok((self.routes.route(&Dialled { user, agent_header, peer, caller })?, None))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
