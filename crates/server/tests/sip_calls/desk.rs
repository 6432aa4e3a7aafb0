//! A running telephone side, and SIPp on both ends of it.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hushpad::calls::{CallHandle, Calls, CallsConfig, Dialled, Route, RouteRefused, Routes};
use hushpad::media::{MediaConfig, MediaPlane};
use hushpad::sip::{Credential, Listener, Peer, PeerKind, Transport};
use hushpad_telephony::call::{Leg, Wish};
use hushpad_telephony::guard::GuardConfig;

/// How long anything may take before the test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Everybody who dials `agent…` reaches one phone (`agent-tcp` over TCP), `agent-next` another, `agent-at-PORT`
/// that port (or `agent-at-IP_PORT`); everybody
/// else nobody. `agent-abroad` belongs to another account.
struct Phones {
    agent: SocketAddr,
    next: SocketAddr,
    credential: Option<Credential>,
}

impl Phones {
    /// `+…` comes in from a trunk, `0…` goes out to one; nobody knows the agent.
    fn trunk(&self, dialled: &Dialled<'_>) -> Option<Route> {
        let customer = match dialled.user.chars().next()? {
            '+' => Leg::Caller,
            '0' => Leg::Callee,
            _ => return None,
        };
        Some(Route {
            account: "shop".to_owned(),
            agent: None,
            uri: format!("sip:{}@{}", dialled.user, self.agent),
            customer,
            shows_caller: true,
            srtp: None,
        })
    }
}

impl Routes for Phones {
    fn route(&self, dialled: &Dialled<'_>) -> Result<Route, RouteRefused> {
        if let Some(route) = self.trunk(dialled) {
            return Ok(route);
        }
        let agent = dialled.agent_header.unwrap_or(dialled.user);
        if !agent.starts_with("agent") {
            return Err(RouteRefused);
        }
        let at = agent.strip_prefix("agent-at-").map(|at| at.replace('_', ":"));
        let port = at.and_then(|at| {
            let alone = at.parse().ok().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)));
            alone.or_else(|| at.parse().ok())
        });
        let phone = match port {
            Some(phone) => phone,
            None if agent == "agent-next" => self.next,
            None => self.agent,
        };
        let transport = if agent == "agent-tcp" { ";transport=tcp" } else { "" };
        let user = if port.is_some() { "customer" } else { agent };
        let uri = format!("sip:{user}@{phone}{transport}");
        let account = if agent == "agent-abroad" { "other shop" } else { "shop" };
        Ok(Route::to_agent(account, agent, uri))
    }

    fn agent_phone(&self, account: &str, agent: &str) -> Option<Route> {
        let uri = format!("sip:{agent}@{}", self.next);
        agent.starts_with("agent").then(|| Route::to_agent(account, agent, uri))
    }

    fn agent_calling(&self, _account: &str, agent_header: Option<&str>, _caller: &str) -> Option<String> {
        agent_header.filter(|agent| agent.starts_with("agent")).map(str::to_owned)
    }

    fn credential(&self, _route: &Route) -> Option<Credential> {
        self.credential.clone()
    }
}

pub(crate) struct Desk {
    pub(crate) calls: Calls,
    pub(crate) agent: SocketAddr,
    pub(crate) next: SocketAddr,
    knows_phones: bool,
}

impl Desk {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut CallsConfig)) -> Self {
        Self::try_start_with(change).await.unwrap()
    }

    /// A desk that can tell the agents' phones who calls.
    pub(crate) async fn start_known(user: &str, password: &str) -> Self {
        Self::start_as(Some(Credential::new(user, password)), PORTS, |_| {}).await.unwrap()
    }

    pub(crate) async fn try_start_with(change: impl FnOnce(&mut CallsConfig)) -> anyhow::Result<Self> {
        Self::start_as(None, PORTS, change).await
    }

    /// A desk with media ports for one call.
    pub(crate) async fn start_for_one_call() -> Self {
        Self::start_for_one_call_with(|_| {}).await
    }

    pub(crate) async fn start_for_one_call_with(change: impl FnOnce(&mut CallsConfig)) -> Self {
        Self::start_as(None, 4, change).await.unwrap()
    }

    async fn start_as(
        credential: Option<Credential>,
        ports: u16,
        change: impl FnOnce(&mut CallsConfig),
    ) -> anyhow::Result<Self> {
        let knows_phones = credential.is_some();
        let agent = free_address();
        let mut config = CallsConfig {
            listeners: vec![Listener { transport: Transport::Udp, bind: "127.0.0.1:0".parse().unwrap() }],
            peers: vec![Peer {
                name: "loopback".to_owned(),
                networks: vec!["127.0.0.1".parse().unwrap()],
                kind: PeerKind::Pbx,
                nat: false,
                srtp: Wish::Off,
            }],
            drain_time_out: Duration::ZERO,
            ..CallsConfig::default()
        };
        change(&mut config);
        let next = free_address();
        let phones = Phones { agent, next, credential };
        let calls = Calls::start(config, Arc::new(phones), media_with(ports)).await?;
        Ok(Self { calls, agent, next, knows_phones })
    }

    pub(crate) fn sip(&self) -> SocketAddr {
        self.calls.addresses()[0]
    }

    pub(crate) fn knows_phones(&self) -> bool {
        self.knows_phones
    }

    /// The agent's one live call, as soon as there is one.
    pub(crate) async fn live_call(&self, agent: &str) -> CallHandle {
        let mut found = None;
        until("a live call", || {
            found = self.calls.live_calls("shop", agent).pop();
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Waits until nothing of any call is left, in our table and in the stack's.
    pub(crate) async fn is_quiet(&self) {
        until("no call is left", || self.calls.count() == 0 && self.calls.dialogs() == 0).await;
    }

    /// Plays a customer against an agent; both scenarios must run through to their ends.
    pub(crate) async fn play(&self, customer: &str, agent: &str) {
        let agent = Sipp::new(agent).port(self.agent.port()).start(self.sip());
        let customer = Sipp::new(customer).start(self.sip());
        customer.succeeds().await;
        agent.succeeds().await;
        self.is_quiet().await;
    }
}

/// One SIPp scenario of `tests/sipp`.
pub(crate) struct Sipp {
    name: String,
    port: u16,
    code: Option<u16>,
    dialled: &'static str,
    transport: &'static str,
}

impl Sipp {
    pub(crate) fn new(name: &str) -> Self {
        let port = free_address().port();
        let name = name.to_owned();
        Self { name, port, code: None, dialled: "agent1", transport: "u1" }
    }

    pub(crate) fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    pub(crate) fn hears(mut self, code: u16) -> Self {
        self.code = Some(code);
        self
    }

    pub(crate) fn dials(mut self, user: &'static str) -> Self {
        self.dialled = user;
        self
    }

    pub(crate) fn over_tcp(mut self) -> Self {
        self.transport = "t1";
        self
    }

    pub(crate) fn start(self, to: SocketAddr) -> Running {
        let scenarios = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/sipp");
        let text = std::fs::read_to_string(scenarios.join(format!("{}.xml", self.name))).unwrap();
        let text = text.replace("response=\"CODE\"", &format!("response=\"{}\"", self.code.unwrap_or(200)));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("scenario.xml");
        std::fs::write(&file, text).unwrap();
        let media = free_address().port() & !1;
        let mut command = Command::new("sipp");
        command.arg(to.to_string()).args(["-sf", "scenario.xml", "-m", "1", "-nostdin", "-nd", "-aa"]);
        command.args(["-i", "127.0.0.1", "-p", &self.port.to_string(), "-mp", &media.to_string()]);
        command.args(["-s", self.dialled, "-t", self.transport, "-timeout", "20", "-timeout_error"]);
        command.args([
            "-trace_err",
            "-error_file",
            "errors.log",
            "-trace_msg",
            "-message_file",
            "messages.log",
        ]);
        command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn().expect("SIPp is installed (Debian: sip-tester)");
        Running {
            name: self.name,
            child: tokio::task::spawn_blocking(move || child.wait_with_output()),
            directory,
        }
    }
}

/// A SIPp that runs; it ends by itself after 20 s at most.
pub(crate) struct Running {
    name: String,
    child: tokio::task::JoinHandle<std::io::Result<Output>>,
    directory: tempfile::TempDir,
}

impl Running {
    pub(crate) async fn succeeds(self) {
        let output = self.child.await.unwrap().unwrap();
        let read = |name: &str| std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        let (errors, messages) = (read("errors.log"), read("messages.log"));
        assert!(
            output.status.success(),
            "{}: {}\n{errors}\n{messages}\n{}",
            self.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Ports for a few calls.
const PORTS: u16 = 20;

/// Tests that run at once have other ports.
fn media_with(ports: u16) -> MediaPlane {
    let loopback = "127.0.0.1".parse().unwrap();
    let port_min = 10_000 + u16::try_from(std::process::id() % 1000).unwrap() * 20;
    MediaPlane::start(MediaConfig {
        bind_address: loopback,
        advertised_address: loopback,
        port_min,
        port_max: port_min + ports - 1,
        workers: 1,
        guard: GuardConfig::default(),
    })
    .unwrap()
}

/// Waits for a condition, at most [`PATIENCE`].
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
