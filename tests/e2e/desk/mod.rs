//! A contact centre in a box: the product, a gateway, an agent's phone, a client of the Payment API.

mod config;
mod faults;
mod leaks;
mod memory;
mod money;
mod telephony;

pub(crate) use memory::Image;
pub(crate) use telephony::charge;

use config::Extras;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cards::TestCard;
use crate::database::Database;
use crate::ear::{RATE_HZ, Sound};
use crate::http::{self, FORM, JSON, Reply, Seen};
use crate::page::Page;
use crate::phones::{Baresip, Customer, Keying, PhoneParts};
use crate::process::{Ports, Program, output};
use crate::receiver::Receiver;
use crate::sound::speech;
use crate::wire::Wire;
use crate::{until, wire};

/// The built program.
pub(crate) const HUSHPAD: &str = env!("CARGO_BIN_EXE_hushpad");
/// The agent who has a phone.
pub(crate) const AGENT: &str = "agent1234";
/// An agent whom nobody calls.
pub(crate) const IDLE_AGENT: &str = "agent5678";
/// The configuration for payments, and the one that is marked as test.
pub(crate) const CONFIGURATION: u32 = 0;
pub(crate) const TEST_CONFIGURATION: u32 = 1;
/// The configuration for digital sessions.
pub(crate) const DIGITAL_CONFIGURATION: u32 = 2;

/// Everything that can be logged, the SIP stack's messages too, if the product let it.
const LOG: &str = "trace,rsipstack::transaction=trace,rsipstack::transport=trace,rsipstack::dialog=trace";

const MASTER_KEY: (&str, &str) =
    ("HUSHPAD_MASTER_KEY", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
const GATEWAY_PASSWORD: (&str, &str) = ("HUSHPAD_SANDBOX_PASSWORD", "sandbox");
/// `sandbox:sandbox`.
const GATEWAY_AUTHORIZATION: (&str, &str) = ("Authorization", "Basic c2FuZGJveDpzYW5kYm94");

/// Where everything listens.
pub(crate) struct Addresses {
    pub(crate) api: SocketAddr,
    pub(crate) page: SocketAddr,
    pub(crate) payer: SocketAddr,
    /// Where others' telephony hands over cards.
    pub(crate) connector: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) gateway: SocketAddr,
    pub(crate) sip: SocketAddr,
    /// The shop's own page, of another origin than the agent page.
    pub(crate) shop: SocketAddr,
    /// The back end that results are pushed to.
    pub(crate) receiver: SocketAddr,
    /// Where gateways tell unasked what became of something.
    pub(crate) notifications: SocketAddr,
}

/// A contact centre in a box.
pub(crate) struct Desk {
    pub(crate) at: Addresses,
    pub(crate) wire: Wire,
    pub(crate) agent: Baresip,
    pub(crate) receiver: Receiver,
    seen: Seen,
    ports: Ports,
    server: Program,
    gateway: Program,
    client: (String, String),
    token: Option<String>,
    typed: Vec<TestCard>,
    sessions: Vec<String>,
    customer_speech: Sound,
    directory: TempDir,
}

/// A call between a customer and the agent.
pub(crate) struct Call {
    pub(crate) customer: Customer,
}

/// A reply of `POST /v1/session`.
pub(crate) struct Session {
    pub(crate) guid: String,
    pub(crate) reply: Value,
}

impl Desk {
    /// Starts everything and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_as(&Extras::default())
    }

    /// The same on a trunk: calls to 1234 reach the agent's phone, and are nobody's.
    pub(crate) fn start_on_a_trunk() -> Self {
        Self::start_as(&Extras { trunk: true, ..Extras::default() })
    }

    /// The same, with the phones behind a NAT.
    pub(crate) fn start_behind_nat() -> Self {
        Self::start_as(&Extras { nat: true, ..Extras::default() })
    }

    /// The same with more agents: their ids, and their phones' SIP addresses.
    pub(crate) fn start_with(agents: &[(String, String)]) -> Self {
        Self::start_as(&Extras { agents, ..Extras::default() })
    }

    /// The same with its sessions in this database.
    pub(crate) fn start_on(database: &Database) -> Self {
        Self::start_as(&Extras { database: Some(database), ..Extras::default() })
    }

    fn start_as(extras: &Extras<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut ports = Ports::find();
        let http = ports.take(10);
        let here = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let at = Addresses {
            api: here(http.start),
            page: here(http.start + 1),
            admin: here(http.start + 2),
            gateway: here(http.start + 3),
            sip: here(ports.take(2).start),
            shop: here(http.start + 4),
            receiver: here(http.start + 5),
            payer: here(http.start + 6),
            notifications: here(http.start + 7),
            connector: here(http.start + 8),
        };
        let wire = Wire::tap(&ports);
        let (customer_speech, agent_speech) = voices(directory.path());
        // A call has four ports.
        let relay = ports.take(32.max(extras.agents.len() as u16 * 4));
        let agent =
            PhoneParts::new("1234", directory.path(), &mut ports, &agent_speech, "PCMU/8000/1,PCMA/8000/1");
        config::write(&at, &relay, &agent.uri(), extras, directory.path());
        let agent = Baresip::start(agent);
        let receiver = Receiver::open(at.receiver);
        let gateway = start_gateway(&at, directory.path());
        let seen = Seen::default();
        let server = start_server(&at, directory.path(), &seen);
        let client = create_client(directory.path(), "shop");
        Self {
            at,
            wire,
            agent,
            receiver,
            seen,
            ports,
            server,
            gateway,
            client,
            token: None,
            typed: Vec::new(),
            sessions: Vec::new(),
            customer_speech,
            directory,
        }
    }

    /// A customer's call to the agent, answered, with speech both ways.
    pub(crate) fn customer_calls(&mut self, keying: Keying) -> Call {
        let codecs = if keying == Keying::TonesALaw { "PCMA/8000/1" } else { "PCMU/8000/1" };
        let parts = PhoneParts::new(
            "customer",
            self.directory.path(),
            &mut self.ports,
            &self.customer_speech,
            codecs,
        );
        let call = Call { customer: Customer::calls(parts, keying, "1234", self.at.sip) };
        self.both_hear_speech(&call);
        call
    }

    /// A phone that is not yet anybody's, with speech, in µ-law and A-law. Of one desk, each name once.
    pub(crate) fn phone_parts(&mut self, name: &'static str) -> PhoneParts {
        let (directory, codecs) = (self.directory.path(), "PCMU/8000/1,PCMA/8000/1");
        PhoneParts::new(name, directory, &mut self.ports, &self.customer_speech, codecs)
    }

    /// Speech arrives at both ends, now.
    pub(crate) fn both_hear_speech(&self, call: &Call) {
        let phones = [("the agent", self.agent.rtp()), ("the customer", call.customer.rtp())];
        self.wire.waits_for_speech(&phones);
    }

    /// Opens a session of 12.40 GBP on the agent's call.
    pub(crate) fn open_session(&mut self) -> Session {
        self.open_session_of("12.40")
    }

    /// Opens a session of 12.40 GBP on the call of this agent.
    pub(crate) fn open_session_for(&mut self, agent: &str) -> Session {
        let body = json!({ "agentId": agent, "paymentData": payment("12.40") });
        let reply = self.post_session(&body).expect(200).json();
        self.opened(reply)
    }

    /// What customers say.
    pub(crate) fn customer_speech(&self) -> Sound {
        self.customer_speech.clone()
    }

    /// Opens a session of that many GBP on the agent's call.
    pub(crate) fn open_session_of(&mut self, amount: &str) -> Session {
        let body = json!({ "agentId": AGENT, "paymentData": payment(amount) });
        let reply = self.post_session(&body).expect(200).json();
        self.opened(reply)
    }

    /// Opens a session without a call, on the configuration marked as test.
    pub(crate) fn open_test_session(&mut self) -> Session {
        self.open_test_session_of("12.40")
    }

    /// The same of that many GBP.
    pub(crate) fn open_test_session_of(&mut self, amount: &str) -> Session {
        let body = json!({
            "agentId": AGENT, "paymentData": payment(amount),
            "accountConfigurationId": TEST_CONFIGURATION, "skipCallTransfer": true,
        });
        let reply = self.post_session(&body).expect(200).json();
        self.opened(reply)
    }

    /// Opens a digital session of that many GBP, and gives its link.
    pub(crate) fn open_digital_session(&mut self, amount: &str) -> (Session, String) {
        let body = json!({
            "agentId": AGENT, "paymentData": payment(amount), "accountConfigurationId": DIGITAL_CONFIGURATION,
        });
        let reply = self.post("/v1/digitalsession", &body.to_string()).expect(200).json();
        let link = reply["paymentLinkUrl"].as_str().unwrap().to_owned();
        (self.opened(reply), link)
    }

    /// Posts to the Payment API, whatever it answers.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> Reply {
        let authorization = self.authorization();
        let headers = [("Authorization", authorization.as_str()), JSON];
        http::send(&self.seen, self.at.api, &format!("POST {path}"), &headers, body)
    }

    /// The payer page without a browser.
    pub(crate) fn payer_page(&self, request: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        http::send(&self.seen, self.at.payer, request, headers, body)
    }

    /// What the product has logged so far.
    pub(crate) fn server_log(&self) -> String {
        self.server.log()
    }

    /// `POST /v1/session`, whatever it answers.
    pub(crate) fn post_session(&mut self, body: &Value) -> Reply {
        let authorization = self.authorization();
        let headers = [("Authorization", authorization.as_str()), JSON];
        http::send(&self.seen, self.at.api, "POST /v1/session", &headers, &body.to_string())
    }

    /// `GET /v1/session/{guid}`.
    pub(crate) fn status(&mut self, session: &Session) -> Value {
        self.status_of(&session.guid)
    }

    /// Its body as it came.
    pub(crate) fn status_text(&mut self, session: &Session) -> String {
        self.status_text_of(&session.guid)
    }

    /// What the program says on the command line, on the product's own config.
    pub(crate) fn hushpad(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(HUSHPAD);
        command.args(arguments).arg("--config").arg(self.directory.path().join("hushpad.toml"));
        output(command.envs([MASTER_KEY, GATEWAY_PASSWORD]))
    }

    /// Waits until the session's outcome is this word.
    pub(crate) fn waits_for_outcome(&mut self, session: &Session, outcome: &str) -> Value {
        let mut last = Value::Null;
        until(&format!("outcome {outcome}"), || {
            last = self.status(session);
            (last["outcome"] == outcome).then(|| last.clone())
        })
    }

    /// Every charge that the gateway has decided.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let reply = http::send(&self.seen, self.at.gateway, "GET /ledger", &[GATEWAY_AUTHORIZATION], "");
        reply.expect(200).json()["charges"].as_array().unwrap().clone()
    }

    /// The agent's page, opened by its form.
    pub(crate) fn open_page(&self, session: &Session) -> Page {
        Page::open(&self.seen, self.at.page, session)
    }

    /// The page's form, whatever the answer.
    pub(crate) fn post_page(&self, session: &Session) -> Reply {
        Page::post(&self.seen, self.at.page, session)
    }

    /// Ends a session by the Payment API.
    pub(crate) fn cancels(&mut self, session: &Session) {
        let authorization = self.authorization();
        let request = format!("POST /v1/session/{}/cancel", session.guid);
        let headers = [("Authorization", authorization.as_str()), JSON];
        let reply = http::send(&self.seen, self.at.api, &request, &headers, "");
        assert!((200..300).contains(&reply.status), "{reply:?}");
        self.waits_for_outcome(session, "cancelled");
    }

    /// Keys of this card will be typed: from now on they may be nowhere.
    pub(crate) fn expects_card(&mut self, card: TestCard) {
        self.typed.push(card);
    }

    /// Ends the product as a crash or a loss of power would.
    pub(crate) fn kill_9(&mut self) {
        self.server.kill();
    }

    /// Starts the product again on the same files.
    pub(crate) fn restart(&mut self) {
        self.server = start_server(&self.at, self.directory.path(), &self.seen);
    }

    /// Ends the gateway. Its ledger stays.
    pub(crate) fn stop_gateway(&mut self) {
        self.gateway.kill();
    }

    /// Starts the gateway again on its ledger.
    pub(crate) fn start_gateway(&mut self) {
        self.gateway = start_gateway(&self.at, self.directory.path());
    }

    /// What is in the memory of the product's process.
    pub(crate) fn memory_image(&self) -> Image {
        Image::of(self.server.pid(), self.directory.path())
    }

    /// A place for files of the test.
    pub(crate) fn workplace(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Nothing that the agent's phone got could be a key: no tone, no event, no INFO, neither on the wire nor in the
    /// phone itself. The call must be over.
    pub(crate) fn agent_heard_no_key(&self) {
        self.agent.waits_for_the_end();
        until("the product lets go of the call", || (self.metric("hushpad_calls") == "0").then_some(()));
        is_one_stream(&self.wire.to(&self.agent.rtp()));
        self.got_no_key(&self.agent);
    }

    /// Nothing that this phone got so far could be a key.
    pub(crate) fn got_no_key(&self, phone: &Baresip) {
        let packets = self.wire.to(&phone.rtp());
        let types: std::collections::BTreeSet<u8> =
            packets.iter().filter_map(wire::Packet::rtp).map(|rtp| rtp.payload_type).collect();
        assert!(types.iter().all(|t| crate::ear::is_g711(*t)), "payload types at the agent: {types:?}");
        let on_the_wire = self.wire.sound_to(&phone.rtp());
        let in_the_phone = phone.heard();
        for (heard, place) in [(on_the_wire, "on the wire"), (in_the_phone, "in the phone")] {
            assert!(heard.seconds() > 0.5, "only {:.1} s of audio {place}", heard.seconds());
            assert_eq!(heard.keys(self.directory.path()), "", "keys {place}");
        }
        for packet in self.wire.to(&(phone.sip()..phone.sip() + 1)) {
            assert!(!packet.payload.starts_with(b"INFO "), "an INFO reached the agent");
        }
        assert!(!phone.log().contains("received event"), "an event reached the agent");
        assert!(!phone.log().contains("received DTMF"), "a key reached the agent");
    }

    /// Whether a message with this in its session description went to the customer's phone since then.
    pub(crate) fn sdp_to_customer_since(&self, call: &Call, since: Instant, line: &str) -> Option<()> {
        let sip = call.customer.sip();
        let packets = self.wire.to(&(sip..sip + 1));
        let holds = |packet: &&wire::Packet| {
            packet.at > since && String::from_utf8_lossy(&packet.payload).lines().any(|l| l.trim() == line)
        };
        packets.iter().find(holds).map(|_| ())
    }

    /// Whatever the agent's side was spared, the customer heard the agent all the time.
    pub(crate) fn customer_heard_all_speech(&self, call: &Call) {
        /// The agent's voice has pauses of 60 ms.
        const PAUSE_MAX: usize = RATE_HZ / 5;
        let packets = self.wire.to(&call.customer.rtp());
        is_one_stream(&packets);
        let heard = self.wire.sound_to(&call.customer.rtp());
        for (place, part) in heard.samples.chunks_exact(PAUSE_MAX).enumerate() {
            let level = Sound { samples: part.to_vec() }.level_dbfs();
            assert!(level > -45.0, "{level:.0} dBFS after {:.1} s", place as f64 * 0.2);
        }
    }

    pub(crate) fn metric(&self, name: &str) -> String {
        let metrics = http::send(&self.seen, self.at.admin, "GET /metrics", &[], "").expect(200).body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}")).to_owned()
    }

    fn opened(&mut self, reply: Value) -> Session {
        let guid = reply["sessionGuid"].as_str().unwrap().to_owned();
        self.sessions.push(guid.clone());
        Session { guid, reply }
    }

    fn status_of(&mut self, guid: &str) -> Value {
        let text = self.status_text_of(guid);
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
    }

    fn status_text_of(&mut self, guid: &str) -> String {
        let authorization = self.authorization();
        let request = format!("GET /v1/session/{guid}");
        http::send(&self.seen, self.at.api, &request, &[("Authorization", &authorization)], "")
            .expect(200)
            .body
    }

    fn authorization(&mut self) -> String {
        if self.token.is_none() {
            self.token = Some(self.token_of(&self.client));
        }
        format!("Bearer {}", self.token.clone().unwrap_or_default())
    }

    /// An access token for this client.
    fn token_of(&self, (id, secret): &(String, String)) -> String {
        let fields = [
            ("grant_type", "client_credentials"),
            ("scope", "globalpci"),
            ("client_id", id.as_str()),
            ("client_secret", secret.as_str()),
        ];
        let path = "POST /Auth/connect/token";
        let reply = http::send(&self.seen, self.at.api, path, &[FORM], &http::form(&fields));
        reply.expect(200).json()["access_token"].as_str().unwrap().to_owned()
    }

    /// The back end has heard of this end.
    fn is_told(&self, guid: &str, status: &Value) {
        until("the end is pushed", || {
            let came = self.receiver.came(guid);
            came.iter().any(|one| one.json()["sessionState"] == status["sessionState"]).then_some(())
        });
        until("that is written down", || (self.metric("hushpad_webhooks_due") == "0").then_some(()));
    }

    /// No payment is left open, no result was kept from the back end, and no card digit is where the product writes or answers.
    fn is_left_clean(&mut self) {
        for guid in self.sessions.clone() {
            let status = self.status_of(&guid);
            assert_ne!(status["sessionState"], "Processing", "a payment is left open: {status}");
            assert_ne!(status["outcome"], "unknown", "a payment is left open: {status}");
            if ["Finished", "Error", "TimeOut", "ExpiredOnProviderSide"]
                .iter()
                .any(|s| status["sessionState"] == *s)
            {
                self.is_told(&guid, &status);
            }
        }
        assert_eq!(self.metric("hushpad_log_lines_redacted"), "0", "a card number was logged, and masked");
        assert_eq!(self.metric("hushpad_webhooks_dead"), "0", "a webhook was given up");
        self.server.stop();
        let to_the_agent: Vec<u8> = self
            .wire
            .to(&(self.agent.sip()..self.agent.sip() + 1))
            .into_iter()
            .flat_map(|packet| packet.payload)
            .collect();
        let answers = [
            ("an answer", self.seen.bytes()),
            ("SIP to the agent", to_the_agent),
            ("a webhook", self.receiver.bytes()),
        ];
        leaks::assert_none(&self.typed, self.directory.path(), &answers);
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.is_left_clean();
            self.gateway.stop();
        }
    }
}

/// One source, no packet missing: nothing has got past this ear, and secure mode has made no gap.
fn is_one_stream(packets: &[wire::Packet]) {
    let rtp: Vec<_> = packets.iter().filter_map(wire::Packet::rtp).collect();
    for (one, next) in rtp.iter().zip(&rtp[1..]) {
        assert_eq!(one.ssrc, next.ssrc, "the source changed");
        assert_eq!(one.sequence.wrapping_add(1), next.sequence, "a packet is missing");
    }
}

/// `paymentData` of a session.
pub(crate) fn payment(amount: &str) -> Value {
    json!({
        "FirstName": "Ada", "Surname": "Lovelace", "Amount": amount, "Currency": "GBP",
        "MerchantReferenceCode": "order-17",
    })
}

/// What a customer and an agent say to each other.
pub(crate) fn voices(workplace: &std::path::Path) -> (Sound, Sound) {
    let customer = "Good morning. I would like to pay my bill, please. The weather is rather nice today, and we \
                    shall go on talking for quite some time, about this and that, and nothing in particular.";
    let agent = "Of course, madam. Please key in your card number now, and I will stay with you on the line. Take \
                 all the time that you need, there is no hurry at all, and tell me when you are ready.";
    (speech("en", customer, workplace), speech("en+f3", agent, workplace))
}

fn start_server(at: &Addresses, directory: &std::path::Path, seen: &Seen) -> Program {
    let mut command = Command::new(HUSHPAD);
    command.args(["--log", LOG, "serve", "--config"]).arg(directory.join("hushpad.toml"));
    command.envs([MASTER_KEY, GATEWAY_PASSWORD]);
    let mut server = Program::start("hushpad serve", &mut command, &directory.join("hushpad.log"));
    until("the product is ready", || {
        assert!(server.is_running(), "it ended: {}", server.log());
        http::try_send(seen, at.admin, "GET /health/ready", &[], "").filter(|reply| reply.status == 200)
    });
    server
}

fn start_gateway(at: &Addresses, directory: &std::path::Path) -> Program {
    let mut command = Command::new(HUSHPAD);
    command.args(["gateway-sim", "--listen", &at.gateway.to_string(), "--ledger"]);
    command.arg(directory.join("ledger.jsonl"));
    let mut gateway = Program::start("the gateway", &mut command, &directory.join("gateway.log"));
    until("the gateway is ready", || {
        assert!(gateway.is_running(), "it ended: {}", gateway.log());
        http::try_send(&Seen::default(), at.gateway, "GET /ledger", &[GATEWAY_AUTHORIZATION], "")
    });
    gateway
}

fn create_client(directory: &std::path::Path, account: &str) -> (String, String) {
    let mut command = Command::new(HUSHPAD);
    command.args(["client", "create", "--account", account, "--config"]).arg(directory.join("hushpad.toml"));
    let said = output(command.envs([MASTER_KEY, GATEWAY_PASSWORD]));
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}: {said}")).trim_start_matches(':').trim().to_owned()
    };
    (value("client_id"), value("client_secret"))
}

/// Looks at something for a while in which it must stay as it is.
pub(crate) fn stays(what: &str, span: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < span {
        assert!(holds(), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
