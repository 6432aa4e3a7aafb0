//! A call's recorder, reached by SIP (SIPREC, RFC 7866): it is told of the call and its pauses, and given a copy of
//! what both say.
//!
//! One task per recorded call. It is told what is wanted through a value that it looks at, never a queue, so the
//! call waits for nothing here: a recorder that refuses, is slow or dies changes nothing for the call (guarantee G7).
//! It is a courtesy, never the protection: the copies are taken behind the guard.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hushpad_domain::ports::World;
use hushpad_telephony::call::Wish;
use hushpad_telephony::g711::Law;
use hushpad_telephony::relay::ForkFlow;
use hushpad_telephony::sdp::Srtp;
use hushpad_telephony::sdp::recording::Copies;
use hushpad_telephony::siprec::{Metadata, Participant, body};
use hushpad_telephony::srtp::KeySource;
use tokio::sync::watch;
use uuid::Uuid;

use super::handle::Facts;
use super::routes::{is_encrypted, settle};
use crate::media::{ForkPorts, MediaSession};
use crate::sip::{Credential, NotRecorded, RecordingLine, Stack};
use crate::world::RealWorld;

/// No copies.
const NOWHERE: ForkFlow = [None, None];
/// A recorder whose own request crossed ours is asked again after this (RFC 3261 section 14.1: the owner of the
/// Call-ID, which we are, waits 2.1 to 4 s), so often.
const GLARE_WAIT: Duration = Duration::from_millis(2_500);
const GLARE_TRIES: u8 = 3;

/// Hears what came of each signal to a recorder, for metrics: the signal and the answer.
#[derive(Clone)]
pub struct RecorderEar(Arc<dyn Fn(&'static str, &'static str) + Send + Sync>);

impl RecorderEar {
    /// An ear of this function, which must not wait.
    #[must_use]
    pub fn new(heard: impl Fn(&'static str, &'static str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(heard))
    }
}

impl Default for RecorderEar {
    fn default() -> Self {
        Self::new(|_, _| {})
    }
}

impl fmt::Debug for RecorderEar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecorderEar")
    }
}

/// A recorder that is reached by SIP.
#[derive(Clone, Debug)]
pub struct SipRecorder {
    /// Its SIP address.
    pub uri: String,
    /// Who we are, for a recorder that asks.
    pub credential: Option<Credential>,
}

/// The recorders that are reached by SIP.
#[derive(Clone, Debug, Default)]
pub struct SipRecorders {
    /// By account.
    pub by_account: HashMap<String, SipRecorder>,
    /// Who counts what they answer.
    pub ear: RecorderEar,
}

/// What every call's recording needs.
pub(super) struct RecorderDesk {
    pub(super) stack: Arc<Stack>,
    pub(super) recorders: SipRecorders,
    /// Whether SRTP keys may go over SIP that is not encrypted.
    pub(super) without_tls: bool,
}

/// What a recorder is to know.
#[derive(Clone, PartialEq, Eq)]
struct Wanted {
    paused: bool,
    /// Pauses so far: one that was over before it was seen stopped the copies all the same.
    pauses: u32,
    agent: Option<String>,
}

/// The call's end of its recording, which ends when this is dropped.
pub(super) struct Recording(watch::Sender<Wanted>);

impl Recording {
    /// Begins to record a call that was answered, if its account has a recorder.
    pub(super) fn begin(desk: &Arc<RecorderDesk>, facts: &Facts, media: &Arc<MediaSession>) -> Option<Self> {
        let recorder = desk.recorders.by_account.get(&facts.account)?.clone();
        let uri = &recorder.uri;
        let told = |signal, answer| {
            (desk.recorders.ear.0)(signal, answer);
            tracing::warn!(call.id = %facts.guid, signal, answer, "the call is not recorded");
        };
        let wish = desk.stack.srtp_toward(uri);
        let Ok(wish) = settle(wish, is_encrypted(uri), desk.without_tls) else {
            told("record", "srtp");
            return None;
        };
        let Ok(ports) = media.open_fork() else {
            told("record", "no_room");
            return None;
        };
        let (wanted, watched) =
            watch::channel(Wanted { paused: false, pauses: 0, agent: facts.agent.clone() });
        let client = Client::new(desk, facts, recorder, media, (wish, &ports));
        tokio::spawn(client.run(ports, watched));
        Some(Self(wanted))
    }

    /// Secure mode begins or ends.
    pub(super) fn pause(&self, paused: bool) {
        self.0.send_if_modified(|wanted| {
            let changed = std::mem::replace(&mut wanted.paused, paused) != paused;
            wanted.pauses = wanted.pauses.wrapping_add(u32::from(changed && paused));
            changed
        });
    }

    /// The call is this agent's from now on.
    pub(super) fn agent(&self, agent: Option<&str>) {
        self.0.send_if_modified(|wanted| {
            let before = std::mem::replace(&mut wanted.agent, agent.map(str::to_owned));
            wanted.agent != before
        });
    }
}

/// The session recording client of one call.
struct Client {
    desk: Arc<RecorderDesk>,
    call: Uuid,
    recorder: SipRecorder,
    /// The media goes with the call, whoever still speaks of it here.
    media: Weak<MediaSession>,
    copies: Copies,
    /// Of the description, and whether it was one of a pause.
    version: (u64, bool),
    metadata: Metadata,
}

impl Client {
    fn new(
        desk: &Arc<RecorderDesk>,
        facts: &Facts,
        recorder: SipRecorder,
        media: &Arc<MediaSession>,
        (wish, ports): (Wish, &ForkPorts),
    ) -> Self {
        let addresses = ports.addresses();
        let mut keys = KeySource::new(rand::random());
        let srtp = [(); 2].map(|()| match wish {
            Wish::Off => Srtp::Off,
            Wish::Optional => Srtp::Optional(keys.next_key()),
            Wish::Required => Srtp::Required(keys.next_key()),
        });
        // Below 2^62, as some recorders read the number as signed.
        let session_id = Uuid::new_v4().as_u64_pair().0 >> 2;
        let now = now();
        let participants = [facts.caller.clone(), facts.agent.clone()].map(|user| participant(user, &now));
        Self {
            desk: Arc::clone(desk),
            call: facts.guid,
            recorder,
            media: Arc::downgrade(media),
            copies: Copies { addresses, session_id, srtp, first: Law::A },
            version: (1, false),
            metadata: Metadata {
                call: *facts.guid.as_bytes(),
                host: host(addresses[0].ip()),
                since: now,
                paused: None,
                participants,
            },
        }
    }

    async fn run(mut self, ports: ForkPorts, mut watched: watch::Receiver<Wanted>) {
        let mut told = watched.borrow_and_update().clone();
        let offer = self.body(&told);
        let asked = self.desk.stack.record(&self.recorder.uri, self.recorder.credential.clone(), offer);
        let answer = tokio::select! {
            answer = asked => answer,
            // Gives up the INVITE, too.
            () = over(watched.clone()) => return,
        };
        let (mut line, sdp) = match answer {
            Ok(recording) => recording,
            Err(not) => return self.heard("record", &Err(not)),
        };
        self.heard("record", &Ok(()));
        self.begin_copies(ports, &sdp, &watched);
        loop {
            let changed = tokio::select! {
                changed = watched.changed() => changed,
                () = line.ended() => return self.left(),
            };
            if changed.is_err() {
                return line.bye().await;
            }
            let wanted = watched.borrow_and_update().clone();
            if wanted == told {
                continue;
            }
            tokio::select! {
                () = self.change(&line, &told, &wanted, &watched) => told = wanted,
                // Nobody waits any more for what the recorder says.
                () = over(watched.clone()) => return line.bye().await,
            }
        }
    }

    fn begin_copies(&self, ports: ForkPorts, sdp: &[u8], watched: &watch::Receiver<Wanted>) {
        let Some(media) = self.media.upgrade() else { return };
        let flow = if watched.borrow().paused { NOWHERE } else { self.flow(sdp) };
        media.fork(ports, flow);
    }

    /// Tells the recorder of a change; copies begin again with its answer.
    async fn change(
        &mut self,
        line: &RecordingLine,
        told: &Wanted,
        wanted: &Wanted,
        watched: &watch::Receiver<Wanted>,
    ) {
        let signal = match (told.paused, wanted.paused) {
            (false, true) => "pause",
            (true, false) => "resume",
            (true, true) | (false, false) => "update",
        };
        // They stopped when the call was secured, unless they began in that very moment.
        if let (true, Some(media)) = (wanted.paused, self.media.upgrade()) {
            media.flow(NOWHERE);
        }
        let now = now();
        if wanted.agent != told.agent {
            self.metadata.participants[1] = participant(wanted.agent.clone(), &now);
        }
        match signal {
            "pause" => self.metadata.paused = Some(now),
            "resume" => (self.metadata.since, self.metadata.paused) = (now, None),
            _ => {}
        }
        let body = self.body(wanted);
        let mut answer = line.change(body.clone()).await;
        for _ in 1..GLARE_TRIES {
            if answer != Err(NotRecorded::Refused(491)) {
                break;
            }
            tokio::time::sleep(GLARE_WAIT).await;
            answer = line.change(body.clone()).await;
        }
        // A pause that came meanwhile stands.
        if let (Ok(sdp), false, false) = (&answer, wanted.paused, watched.borrow().paused)
            && let Some(media) = self.media.upgrade()
        {
            media.flow(self.flow(sdp));
        }
        self.heard(signal, &answer.map(drop));
    }

    fn flow(&self, sdp: &[u8]) -> ForkFlow {
        match self.copies.answered(sdp) {
            Ok(flow) => flow,
            Err(error) => {
                tracing::warn!(call.id = %self.call, %error, "the recorder's answer names no place for copies");
                NOWHERE
            }
        }
    }

    fn body(&mut self, wanted: &Wanted) -> Vec<u8> {
        let (version, was_paused) = self.version;
        let version = version + u64::from(was_paused != wanted.paused);
        self.version = (version, wanted.paused);
        body(&self.copies.offer(version, wanted.paused), &self.metadata)
    }

    fn left(&self) {
        if let Some(media) = self.media.upgrade() {
            media.flow(NOWHERE);
        }
        (self.desk.recorders.ear.0)("record", "ended");
        tracing::warn!(call.id = %self.call, "the recorder ended the recording");
    }

    fn heard(&self, signal: &'static str, answer: &Result<(), NotRecorded>) {
        let (answer, code) = match answer {
            Ok(()) => ("acknowledged", None),
            Err(NotRecorded::Refused(code)) => ("refused", Some(*code)),
            Err(NotRecorded::Unanswered) => ("unanswered", None),
        };
        (self.desk.recorders.ear.0)(signal, answer);
        if answer != "acknowledged" {
            tracing::warn!(call.id = %self.call, signal, answer, code, "the recorder did not acknowledge");
        }
    }
}

/// Waits until the call is over.
async fn over(mut watched: watch::Receiver<Wanted>) {
    while watched.changed().await.is_ok() {}
}

fn participant(user: Option<String>, since: &str) -> Participant {
    let id = || *Uuid::new_v4().as_bytes();
    Participant { id: id(), stream: id(), user, since: since.to_owned() }
}

fn host(ip: std::net::IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

fn now() -> String {
    RealWorld::new().now().to_string()
}
