//! Many calls at once through one product, each keyed in its own way over its own bad network. What every agent got
//! is written down as it came.

mod phone;
mod script;

pub(crate) use script::{Carrier, Fault, Plan};

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::desk::{Desk, Session};
use crate::ear::{RATE_HZ, Sound};
use crate::verdict::Heard;
use crate::wire::Rtp;
use crate::{PATIENCE, until};
use phone::Phone;
use script::{Act, LEAD_MS, Stream, keying};

/// What is pressed: every key of the keypad.
const KEYS: &str = "4111369#852*7904";
/// Samples of a packet of speech.
const SPOKEN: usize = RATE_HZ / 50;
/// Speech from before the keys has passed the look-back so long after their script began, however late the packets.
const QUIET_FROM_MS: usize = LEAD_MS - 100;
/// The customer talks again so long after the keys, before hanging up.
const LAST_WORDS_MS: u64 = 500;

/// One call's record.
pub(crate) struct Recording {
    pub(crate) name: &'static str,
    /// What the agent got.
    pub(crate) heard: Heard,
    /// What the customer's phone sent of its own, as an agent without protection would have heard it.
    pub(crate) sent: Sound,
    /// How loud the customer's speech was at the agent before the session, in dBFS.
    pub(crate) speech_dbfs: f64,
}

/// What a call asks of the desk, which alone speaks to the Payment API.
enum Wish {
    /// The agent in this place has a call with speech on it: open a session.
    Session(usize),
    /// Cancel it.
    Cancel(usize),
    Done(usize, Box<Recording>),
}

/// Whether sessions are opened on the calls.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Before the first key.
    Secured,
    /// Never: the agents hear all that there is.
    Open,
}

/// Runs all plans at once.
pub(crate) fn run(plans: &[Plan], calls_are: Calls) -> (Desk, Vec<Recording>) {
    let ends = (0..plans.len()).map(agent);
    let (sockets, agents): (Vec<UdpSocket>, Vec<(String, String)>) = ends.unzip();
    let mut desk = Desk::start_with(&agents);
    let speech = desk.customer_speech();
    let (wishes, asked) = channel();
    let mut recordings = std::thread::scope(|scope| {
        let mut ready = Vec::new();
        for (place, (plan, socket)) in plans.iter().zip(sockets).enumerate() {
            let (secured, is_secured) = channel();
            ready.push(secured);
            let (wishes, speech, server) = (wishes.clone(), &speech, desk.at.sip);
            scope.spawn(move || {
                let agent = Phone::answering(&user(place), server, socket, plan.agent, plan.has_events);
                let customer = Phone::new(&format!("c{place}"), server, plan.customer, plan.has_events);
                CallOf { plan, place, customer, agent, speech, wishes, is_secured }.lives();
            });
        }
        drop(wishes);
        serve(&mut desk, calls_are, &asked, &ready)
    });
    recordings.sort_by_key(|(place, _)| *place);
    let recordings = recordings.into_iter().map(|(_, recording)| *recording).collect();
    (desk, recordings)
}

/// Does what the calls wish, until all are done.
fn serve(
    desk: &mut Desk,
    calls_are: Calls,
    asked: &Receiver<Wish>,
    ready: &[Sender<()>],
) -> Vec<(usize, Box<Recording>)> {
    let mut sessions: Vec<(usize, Session)> = Vec::new();
    let mut done = Vec::new();
    for wish in asked {
        match wish {
            Wish::Session(place) => {
                if calls_are == Calls::Secured {
                    sessions.push((place, desk.open_session_for(&agent_id(place))));
                }
                let _ = ready[place].send(());
            }
            Wish::Cancel(place) => {
                let (_, session) = sessions.iter().find(|(of, _)| *of == place).unwrap();
                desk.cancels(session);
            }
            Wish::Done(place, recording) => done.push((place, recording)),
        }
    }
    done
}

fn user(place: usize) -> String {
    format!("7{place:03}")
}

fn agent_id(place: usize) -> String {
    format!("crowd{place}")
}

/// A socket for the agent's SIP, and the agent: id, user and phone are told to the product before it starts.
fn agent(place: usize) -> (UdpSocket, (String, String)) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let uri = format!("sip:{}@{}", user(place), socket.local_addr().unwrap());
    (socket, (agent_id(place), uri))
}

/// A call from its first word to its last.
struct CallOf<'a> {
    plan: &'a Plan,
    place: usize,
    customer: Phone,
    agent: Phone,
    speech: &'a Sound,
    wishes: Sender<Wish>,
    is_secured: Receiver<()>,
}

impl CallOf<'_> {
    fn lives(mut self) {
        let payload_type = self.plan.customer[0];
        let mut stream = Stream { sequence: 65_500, timestamp: u32::MAX - 4000, ssrc: 77, payload_type };
        self.customer.calls(&user(self.place));
        until("the call stands", || {
            self.look();
            (self.customer.stands && self.agent.stands).then_some(())
        });
        let mut clock = Clock::start();
        // Half a second of speech, to be heard; then until the session is open.
        self.talks(&mut clock, &mut stream, 500);
        let speech_dbfs = self.sound_at_agent(Instant::now() - Duration::from_millis(200)).level_dbfs();
        self.wishes.send(Wish::Session(self.place)).unwrap();
        let begun = Instant::now();
        while self.is_secured.try_recv().is_err() {
            assert!(begun.elapsed() < PATIENCE, "no session");
            self.talks(&mut clock, &mut stream, 20);
        }
        let mut sent = Vec::new();
        let quiet = self.keys(&mut clock, &mut stream, &mut sent);
        self.talks(&mut clock, &mut stream, LAST_WORDS_MS);
        self.customer.hangs_up();
        until("the call is over", || {
            self.look();
            (self.customer.is_over && self.agent.is_over).then_some(())
        });
        let sent = Sound::from_rtp(sent.iter().filter_map(|packet: &Vec<u8>| Rtp::read(packet)));
        let recording = Recording { name: self.plan.name, heard: self.heard(quiet), sent, speech_dbfs };
        self.wishes.send(Wish::Done(self.place, Box::new(recording))).unwrap();
    }

    /// Plays the script; when in it nobody talked.
    fn keys(&mut self, clock: &mut Clock, stream: &mut Stream, sent: &mut Vec<Vec<u8>>) -> [Instant; 2] {
        let (acts, length_ms) = keying(self.plan, KEYS, self.speech, stream);
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut quiet_from = Instant::now();
        let mut acts = acts.into_iter().peekable();
        for now_ms in (0..length_ms).step_by(10) {
            if now_ms <= QUIET_FROM_MS {
                quiet_from = Instant::now();
            }
            while let Some((_, act)) = acts.next_if(|(at_ms, _)| *at_ms <= now_ms) {
                match act {
                    Act::Packet(packet) => {
                        self.customer.sends(&packet);
                        sent.push(packet);
                    }
                    Act::Stranger(packet) => drop(stranger.send_to(&packet, self.customer.relay.unwrap())),
                    Act::Info(key) => self.customer.sends_info(key),
                    Act::CustomerOffers(codecs, direction) => self.customer.offers(codecs, direction),
                    Act::AgentOffers(direction) => self.agent.holds(direction),
                    Act::Cancel => self.wishes.send(Wish::Cancel(self.place)).unwrap(),
                }
            }
            self.look();
            clock.waits(10);
        }
        [quiet_from, Instant::now()]
    }

    /// The customer talks for so long.
    fn talks(&mut self, clock: &mut Clock, stream: &mut Stream, ms: u64) {
        for _ in 0..ms / 20 {
            let from = stream.timestamp as usize % (self.speech.samples.len() - SPOKEN);
            let packet = stream.audio(&self.speech.samples[from..from + SPOKEN]);
            self.customer.sends(&packet);
            self.look();
            clock.waits(20);
        }
    }

    fn look(&mut self) {
        self.customer.looks();
        self.agent.looks();
    }

    fn sound_at_agent(&self, since: Instant) -> Sound {
        let packets = self.agent.packets.iter().filter(|(at, _)| *at >= since);
        Sound::from_rtp(packets.filter_map(|(_, packet)| Rtp::read(packet)))
    }

    fn heard(&self, quiet: [Instant; 2]) -> Heard {
        let packets = &self.agent.packets;
        let [from, to] = quiet;
        let part = |keep: &dyn Fn(Instant) -> bool| {
            let kept = packets.iter().filter(|(at, _)| keep(*at));
            Sound::from_rtp(kept.filter_map(|(_, packet)| Rtp::read(packet)))
        };
        // One sound of three parts, so that the place of the middle one is known.
        let parts = [part(&|at| at < from), part(&|at| at >= from && at < to), part(&|at| at >= to)];
        let begin = parts[0].samples.len();
        let end = if self.plan.talks { begin } else { begin + parts[1].samples.len() };
        let samples = parts.into_iter().flat_map(|part| part.samples).collect();
        let types = packets.iter().filter_map(|(_, packet)| Rtp::read(packet)).map(|rtp| rtp.payload_type);
        Heard {
            sound: Sound { samples },
            quiet: begin..end,
            payload_types: types.collect(),
            requests: self.agent.requests.clone(),
        }
    }
}

/// Turns in their time. Who misses one does not take the next ones sooner: that would shorten the silences.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn waits(&mut self, ms: u64) {
        let now = Instant::now();
        self.0 = now.max(self.0 + Duration::from_millis(ms));
        std::thread::sleep(self.0.saturating_duration_since(now));
    }
}
