//! The demo's two telephones: small SIP user agents that talk, press keys, and remember what they heard.
//!
//! They are real peers of the server: signalling over UDP (`user_agent`), 20 ms packets of G.711 µ-law paced by a
//! timer (`talker`), telephone-events, INFO and in-band tones. They share no code with the server's own SIP and audio,
//! and live on loopback only. One task owns a phone; a [`Line`] is how the rest of the demo speaks to it.

mod codec;
mod dialog;
mod message;
mod record;
mod session_description;
mod talker;
mod track;
mod user_agent;
mod voice;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use self::message::MAX_DATAGRAM;
use self::session_description::{PCMU, Remote};
use self::talker::{FRAME_MS, Talker};
use self::track::Placing;
use self::user_agent::{Output, UserAgent};

pub use self::record::{Press, Record};
pub use self::talker::{HUSH_MS, KeyCarrier, MAX_QUEUED_KEYS, PAUSE, PRESS_MS, tone_sample};
pub use self::track::{RECORDING_S, Track};
pub use self::voice::{SAMPLE_RATE_HZ, Voice};

/// Orders a phone has not looked at yet. It looks at them between two packets, so a person cannot fill this.
const MAX_COMMANDS: usize = 16;
/// How long a call may take to be answered: longer than the server rings an agent.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);

/// The demo's clock: milliseconds since it was made. Both phones have the same one, so their recordings line up.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that shows 0 now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the start.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The customer's phone: calls, talks, presses keys.
#[derive(Debug)]
pub struct CustomerPhone {
    line: Line,
}

impl CustomerPhone {
    /// A phone at this address (port 0 picks one).
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(sip: SocketAddr, clock: Clock) -> io::Result<Self> {
        let line = Line::start("customer", sip, clock, Voice::new(11, 118.0)).await?;
        Ok(Self { line })
    }

    /// Calls `sip:<user>@hushpad` through `peer`, and waits until somebody answers.
    ///
    /// # Errors
    /// When the call is refused, nobody answers, or a call is up already.
    pub async fn call(&self, peer: SocketAddr, user: &str) -> Result<(), PhoneError> {
        let mut state = self.line.state();
        if matches!(*state.borrow_and_update(), CallState::InCall | CallState::Calling) {
            return Err(PhoneError::Busy);
        }
        self.line.order(Command::Call { peer, uri: format!("sip:{user}@hushpad") }).await?;
        let answered = async {
            // How the last call ended is not how this one does.
            state.changed().await?;
            let known = state.wait_for(|state| matches!(state, CallState::InCall | CallState::Ended(_)));
            known.await.map(|state| state.clone())
        };
        match tokio::time::timeout(ANSWER_WITHIN, answered).await {
            Ok(Ok(CallState::Ended(why))) => Err(PhoneError::NotAnswered(why)),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(PhoneError::Gone),
            Err(_) => Err(PhoneError::NotAnswered("nobody answered".into())),
        }
    }

    /// Presses keys one after the other, in the order asked for; returns when they are queued. What is no key is
    /// skipped, and so is what exceeds [`MAX_QUEUED_KEYS`].
    ///
    /// # Errors
    /// When the phone is gone.
    pub async fn press(&self, keys: &str, carrier: KeyCarrier) -> Result<(), PhoneError> {
        self.line.order(Command::Press { keys: keys.to_owned(), carrier }).await
    }

    /// Waits until every queued key is pressed and released.
    pub async fn keys_done(&self) {
        let mut left = self.line.keys_left.clone();
        // An error means that the phone is gone, and with it the keys.
        drop(left.wait_for(|left| *left == 0).await);
    }

    /// What this phone sends and hears.
    #[must_use]
    pub fn line(&self) -> &Line {
        &self.line
    }
}

/// The agent's phone: answers every call at once, and talks.
#[derive(Debug)]
pub struct AgentPhone {
    line: Line,
}

impl AgentPhone {
    /// A phone at this address, which the server's configuration names as the agent's.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(sip: SocketAddr, clock: Clock) -> io::Result<Self> {
        let line = Line::start("agent", sip, clock, Voice::new(23, 205.0)).await?;
        Ok(Self { line })
    }

    /// What this phone sends and hears.
    #[must_use]
    pub fn line(&self) -> &Line {
        &self.line
    }
}

/// Why a phone did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// A call is up.
    #[error("the phone is in a call already")]
    Busy,
    /// The call did not come about.
    #[error("the call was not answered: {0}")]
    NotAnswered(String),
    /// The phone's task has ended.
    #[error("the phone is switched off")]
    Gone,
}

/// What a phone's display would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallState {
    /// No call yet.
    Idle,
    /// Ringing at the other side.
    Calling,
    /// Talking.
    InCall,
    /// The call ended, and why.
    Ended(String),
}

/// A hold on a phone. Dropping it hangs up and switches the phone off.
#[derive(Debug)]
pub struct Line {
    sip: SocketAddr,
    commands: mpsc::Sender<Command>,
    state: watch::Receiver<CallState>,
    keys_left: watch::Receiver<usize>,
    record: Arc<Mutex<Record>>,
}

impl Line {
    async fn start(name: &str, sip: SocketAddr, clock: Clock, voice: Voice) -> io::Result<Self> {
        let sip_socket = UdpSocket::bind(sip).await?;
        let rtp_socket = UdpSocket::bind(SocketAddr::new(sip.ip(), 0)).await?;
        let sip = sip_socket.local_addr()?;
        let seed = uuid::Uuid::new_v4();
        let agent = UserAgent::new(name, sip, rtp_socket.local_addr()?, seed.simple().to_string());
        let talker = Talker::new(voice, seed.as_fields().0);
        let record = Arc::new(Mutex::new(Record::default()));
        let (commands, command_queue) = mpsc::channel(MAX_COMMANDS);
        let (state_out, state) = watch::channel(CallState::Idle);
        let (keys_left_out, keys_left) = watch::channel(0);
        let phone = Phone {
            sip: sip_socket,
            rtp: rtp_socket,
            agent,
            talker,
            remote: None,
            placing: Placing::default(),
            clock,
            record: record.clone(),
            state: state_out,
            keys_left: keys_left_out,
        };
        tokio::spawn(phone.run(command_queue));
        Ok(Self { sip, commands, state, keys_left, record })
    }

    /// Where the phone takes SIP.
    #[must_use]
    pub fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// The call's state, live.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<CallState> {
        self.state.clone()
    }

    /// Reads the record. `look` must be quick: the phone waits with its next packet.
    pub fn read<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends the call, if there is one.
    ///
    /// # Errors
    /// When the phone is gone.
    pub async fn hang_up(&self) -> Result<(), PhoneError> {
        self.order(Command::HangUp).await
    }

    async fn order(&self, command: Command) -> Result<(), PhoneError> {
        self.commands.send(command).await.map_err(|_| PhoneError::Gone)
    }
}

#[derive(Debug)]
enum Command {
    Call { peer: SocketAddr, uri: String },
    HangUp,
    Press { keys: String, carrier: KeyCarrier },
}

/// The phone itself, owned by its task.
struct Phone {
    sip: UdpSocket,
    rtp: UdpSocket,
    agent: UserAgent,
    talker: Talker,
    /// The other side's audio, while a call is up.
    remote: Option<Remote>,
    placing: Placing,
    clock: Clock,
    record: Arc<Mutex<Record>>,
    state: watch::Sender<CallState>,
    keys_left: watch::Sender<usize>,
}

impl Phone {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut frames = every_frame();
        let mut signalling = vec![0; MAX_DATAGRAM];
        let mut media = vec![0; MAX_DATAGRAM];
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                Ok((length, from)) = self.sip.recv_from(&mut signalling) => {
                    self.agent.datagram(from, &signalling[..length], self.clock.now_ms());
                }
                Ok((length, _)) = self.rtp.recv_from(&mut media) => self.hear(&media[..length]),
                _ = frames.tick() => self.frame().await,
            }
            self.act().await;
        }
        self.agent.hang_up(self.clock.now_ms());
        self.act().await;
    }

    fn obey(&mut self, command: Command) {
        let now_ms = self.clock.now_ms();
        match command {
            Command::Call { peer, uri } => {
                if self.agent.is_idle() {
                    self.state.send_replace(CallState::Calling);
                }
                self.agent.call(peer, &uri, now_ms);
            }
            Command::HangUp => self.agent.hang_up(now_ms),
            Command::Press { keys, carrier } => {
                if self.remote.is_some() {
                    self.talker.press(&keys, carrier);
                    self.keys_left.send_replace(self.talker.keys_left());
                }
            }
        }
    }

    /// Every 20 ms: the next piece of speech or key press goes out.
    async fn frame(&mut self) {
        let now_ms = self.clock.now_ms();
        self.agent.tick(now_ms);
        let Some(remote) = self.remote else { return };
        let frame = self.talker.frame(remote.event);
        if let Some((key, KeyCarrier::Info)) = frame.pressed {
            self.agent.send_info(key, PRESS_MS, now_ms);
        }
        if remote.listens {
            for packet in &frame.packets {
                // A lost packet is for the other side to bear, as on any network.
                drop(self.rtp.send_to(packet, remote.rtp).await);
            }
        }
        {
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            record.sent.write(now_ms * u64::from(SAMPLE_RATE_HZ) / 1000, &frame.audio);
            if let Some((key, carrier)) = frame.pressed {
                record.press(key, carrier, now_ms);
            }
        }
        let left = self.talker.keys_left();
        self.keys_left.send_if_modified(|known| std::mem::replace(known, left) != left);
    }

    fn hear(&mut self, packet: &[u8]) {
        let Some(heard) = talker::read_packet(packet) else { return };
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        *record.packets_heard.entry(heard.payload_type).or_default() += 1;
        let now_ms = self.clock.now_ms();
        if heard.payload_type != PCMU {
            return record.strange(now_ms);
        }
        let audio: Vec<i16> = heard.payload.iter().map(|byte| codec::decode(*byte)).collect();
        let place = self.placing.place(heard.ssrc, heard.timestamp, now_ms);
        record.heard.write(place, &audio);
    }

    /// Does what the signalling asks for.
    async fn act(&mut self) {
        for output in self.agent.take_outputs() {
            match output {
                // What is lost is sent again by the signalling.
                Output::Send(to, bytes) => drop(self.sip.send_to(&bytes, to).await),
                Output::Media(remote) => {
                    self.remote = Some(remote);
                    self.state.send_replace(CallState::InCall);
                }
                Output::InfoReceived => {
                    let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
                    record.infos_heard += 1;
                    record.strange(self.clock.now_ms());
                }
                Output::Ended(why) => {
                    self.remote = None;
                    self.talker.forget_keys();
                    self.keys_left.send_replace(0);
                    self.state.send_replace(CallState::Ended(why));
                }
            }
        }
    }
}

/// A frame late is sent late, and the next ones catch up: the stream's clock must not fall behind.
fn every_frame() -> Interval {
    let mut frames = tokio::time::interval(Duration::from_millis(FRAME_MS));
    frames.set_missed_tick_behavior(MissedTickBehavior::Burst);
    frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::ear;

    const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    /// Both phones, in a call with each other and nothing between them.
    struct Call {
        customer: CustomerPhone,
        agent: AgentPhone,
        clock: Clock,
    }

    impl Call {
        async fn set_up() -> Self {
            let clock = Clock::start();
            let agent = AgentPhone::start(LOOPBACK, clock).await.unwrap();
            let customer = CustomerPhone::start(LOOPBACK, clock).await.unwrap();
            customer.call(agent.line().sip(), "agent1234").await.unwrap();
            Self { customer, agent, clock }
        }

        async fn talk(&self, seconds: u64) {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }

        /// Presses keys, and gives what the agent heard from the first to a second after the last.
        async fn keys(&self, keys: &str, carrier: KeyCarrier) -> Vec<i16> {
            let from_ms = self.clock.now_ms();
            self.customer.press(keys, carrier).await.unwrap();
            self.customer.line.keys_left.clone().wait_for(|left| *left > 0).await.unwrap();
            self.customer.keys_done().await;
            self.talk(1).await;
            self.agent.line().read(|record| record.heard.span(from_ms, self.clock.now_ms()))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn both_hear_each_other_until_one_hangs_up() {
        let call = Call::set_up().await;
        call.talk(5).await;
        for line in [call.customer.line(), call.agent.line()] {
            let heard = line.read(|record| record.heard.span(0, call.clock.now_ms()));
            assert!(ear::loudest_speech_dbm0(&heard) > ear::SPEECH_DBM0);
            assert_eq!(ear::tones(&heard), []);
        }
        let said = call.customer.line().read(|record| ear::level_dbm0(&record.sent.span(1000, 5000)));
        let heard = call.agent.line().read(|record| ear::level_dbm0(&record.heard.span(1000, 5000)));
        assert!((said - heard).abs() < 1.0, "said {said}, heard {heard}");

        call.agent.line().hang_up().await.unwrap();
        let mut state = call.customer.line().state();
        state.wait_for(|state| *state == CallState::Ended("the other side hung up".into())).await.unwrap();
        call.customer.call(call.agent.line().sip(), "agent1234").await.unwrap();
        assert_eq!(*call.customer.line().state().borrow(), CallState::InCall);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_arrive_by_the_carrier_they_were_sent_on_and_no_other() {
        let call = Call::set_up().await;
        let heard = call.keys("4111", KeyCarrier::InBand).await;
        assert_eq!(ear::tones(&heard).iter().map(|tone| tone.key).collect::<String>(), "4111");
        assert_eq!(call.agent.line().read(|record| (record.events_heard(), record.infos_heard)), (0, 0));

        let heard = call.keys("22#", KeyCarrier::Event).await;
        assert_eq!(ear::tones(&heard), []);
        assert_eq!(call.agent.line().read(|record| (record.events_heard(), record.infos_heard)), (24, 0));

        let heard = call.keys("90", KeyCarrier::Info).await;
        assert_eq!(ear::tones(&heard), []);
        assert_eq!(call.agent.line().read(|record| (record.events_heard(), record.infos_heard)), (24, 2));

        let pressed: String =
            call.customer.line().read(|record| record.presses.iter().map(|p| p.key).collect());
        assert_eq!(pressed, "411122#90");
    }

    #[tokio::test(start_paused = true)]
    async fn presses_are_marked_where_the_agent_heard_them() {
        let call = Call::set_up().await;
        call.keys("58", KeyCarrier::InBand).await;
        let presses: Vec<Press> =
            call.customer.line().read(|record| record.presses.iter().copied().collect());
        let heard = call.agent.line().read(|record| record.heard.span(0, call.clock.now_ms()));
        let tones = ear::tones(&heard);
        assert_eq!(tones.len(), 2);
        for (press, tone) in presses.iter().zip(&tones) {
            assert!(press.at_ms.abs_diff(tone.at_ms) <= 2 * FRAME_MS, "{press:?} {tone:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_caller_hears_that_the_line_is_busy() {
        let call = Call::set_up().await;
        let other = CustomerPhone::start(LOOPBACK, call.clock).await.unwrap();
        let refusal = other.call(call.agent.line().sip(), "agent1234").await.unwrap_err();
        assert_eq!(refusal.to_string(), "the call was not answered: refused with status 486");
        let again = call.customer.call(call.agent.line().sip(), "agent1234").await.unwrap_err();
        assert!(matches!(again, PhoneError::Busy));
    }
}
