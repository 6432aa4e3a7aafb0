//! RTP in a capture: which datagrams are streams of calls, put into the order in which they were spoken.

use std::net::SocketAddr;

use hushpad_telephony::g711::Law;
use hushpad_telephony::key::Key;
use hushpad_telephony::rtp::{self, Packet};
use hushpad_telephony::telephone_event;

use super::capture::Datagram;
use super::hear::{Audible, Carrier};
use super::{Recording, Stream, Unreadable};

/// Streams of a capture that are followed. A capture of more calls is better cut by call first.
const MAX_STREAMS: usize = 512;
/// Samples of all streams together (12 h): the time stamps of a broken capture could ask for any number.
const MAX_SAMPLES: usize = 12 * 3600 * 8000;
/// Telephone-events remembered per stream.
const MAX_EVENTS: usize = 1000;
/// Packets in sequence that make a stream out of what may be any datagram.
const ENOUGH_IN_SEQUENCE: usize = 3;
/// A time stamp that goes back by more (1 s) or ahead by more (10 s) has begun anew.
const MOST_BACK: i64 = 8000;
const MOST_AHEAD: i64 = 80_000;
/// Longest packet of audio (60 ms).
const MAX_PAYLOAD: usize = 480;

/// The streams found so far.
#[derive(Default)]
pub(super) struct Streams {
    tracks: Vec<Track>,
    samples: usize,
    too_many: bool,
}

struct Track {
    from: SocketAddr,
    to: SocketAddr,
    ssrc: u32,
    first_us: u64,
    last_sequence: u16,
    in_sequence: usize,
    /// Packets of G.711, of them those with the tail of SRTP, and packets of other codecs.
    audio: usize,
    with_tail: usize,
    other: usize,
    base: Option<Base>,
    samples: Vec<i16>,
    events: Vec<Event>,
}

/// Which time stamp stands for which sample.
#[derive(Clone, Copy)]
struct Base {
    timestamp: u32,
    position: usize,
}

struct Event {
    timestamp: u32,
    key: Key,
    from: usize,
    to: usize,
    packets: usize,
}

impl Streams {
    pub(super) fn take(&mut self, datagram: &Datagram<'_>) {
        let Some(packet) = Packet::parse(datagram.payload) else { return };
        let (from, to, ssrc) = (datagram.from, datagram.to, packet.header.ssrc);
        let known = self.tracks.iter().position(|t| t.ssrc == ssrc && t.from == from && t.to == to);
        let index = match known {
            Some(index) => index,
            None if self.tracks.len() < MAX_STREAMS => {
                self.tracks.push(Track::new(datagram, &packet));
                self.tracks.len() - 1
            }
            None => {
                self.too_many = true;
                return;
            }
        };
        let room = MAX_SAMPLES - self.samples;
        let track = &mut self.tracks[index];
        let before = track.samples.len();
        self.too_many |= !track.take(datagram.at_us, &packet, room);
        self.samples += track.samples.len() - before;
    }

    pub(super) fn recording(self) -> Result<Recording, Unreadable> {
        let mut notes = Vec::new();
        if self.too_many {
            notes.push(format!("more than {MAX_STREAMS} streams or 12 hours: cut the capture by call"));
        }
        let mut streams = Vec::new();
        for track in self.tracks.into_iter().filter(|track| track.in_sequence >= ENOUGH_IN_SEQUENCE) {
            let name = format!("{} → {}, SSRC {:08x}", track.from, track.to, track.ssrc);
            if track.with_tail * 2 > track.audio {
                notes.push(format!("{name}: looks encrypted (SRTP)"));
            } else if track.other > track.audio {
                notes.push(format!("{name}: its codec is not G.711"));
            }
            let events = track.events();
            let readable = track.audio > 0 && track.with_tail * 2 <= track.audio;
            if readable || !events.is_empty() {
                let samples = if readable { track.samples } else { Vec::new() };
                streams.push(Stream { name, samples, events });
            }
        }
        if streams.is_empty() && notes.is_empty() {
            return Err(Unreadable::NoAudio);
        }
        Ok(Recording { streams, notes })
    }
}

impl Track {
    fn new(datagram: &Datagram<'_>, packet: &Packet<'_>) -> Self {
        Self {
            from: datagram.from,
            to: datagram.to,
            ssrc: packet.header.ssrc,
            first_us: datagram.at_us,
            last_sequence: packet.header.sequence,
            in_sequence: 0,
            audio: 0,
            with_tail: 0,
            other: 0,
            base: None,
            samples: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Takes a packet; false when there is no room for it.
    fn take(&mut self, at_us: u64, packet: &Packet<'_>, room: usize) -> bool {
        let (header, payload) = (packet.header, packet.payload);
        // The end of an event comes three times over, with three sequence numbers.
        self.in_sequence += usize::from(header.sequence == self.last_sequence.wrapping_add(1));
        self.last_sequence = header.sequence;
        let law = match header.payload_type {
            0 => Law::Mu,
            8 => Law::A,
            rtp::COMFORT_NOISE => return true,
            96.. if is_event(payload) => {
                self.event(at_us, header.timestamp, payload);
                return true;
            }
            _ => {
                self.other += 1;
                return true;
            }
        };
        if payload.is_empty() || payload.len() > MAX_PAYLOAD {
            self.other += 1;
            return true;
        }
        self.audio += 1;
        self.with_tail += usize::from(matches!(payload.len() % 40, 4 | 10));
        let from = self.position(at_us, header.timestamp);
        let to = from + payload.len();
        if to.saturating_sub(self.samples.len()) > room {
            return false;
        }
        if to > self.samples.len() {
            self.samples.resize(to, 0);
        }
        for (sample, byte) in self.samples[from..to].iter_mut().zip(payload) {
            *sample = law.decode(*byte);
        }
        true
    }

    /// Where a time stamp lies among the samples.
    fn position(&mut self, at_us: u64, timestamp: u32) -> usize {
        let head = self.samples.len();
        if let Some(base) = self.base {
            let away = i64::from(timestamp.wrapping_sub(base.timestamp).cast_signed());
            let position = base.position as i64 + away;
            if position >= 0 && (-MOST_BACK..=MOST_AHEAD).contains(&(position - head as i64)) {
                return position as usize;
            }
        }
        let by_clock = usize::try_from(at_us.saturating_sub(self.first_us) / 125).unwrap_or(usize::MAX);
        let position = by_clock.max(head);
        self.base = Some(Base { timestamp, position });
        position
    }

    fn event(&mut self, at_us: u64, timestamp: u32, payload: &[u8]) {
        let Some(key) = payload.first().and_then(|code| Key::from_event_code(*code)) else { return };
        let lasted = telephone_event::events(timestamp, payload).next().map_or(0, |event| event.duration);
        let known = self.events.iter_mut().rev().find(|event| event.timestamp == timestamp);
        if let Some(event) = known {
            event.to = event.to.max(event.from + lasted as usize);
            event.packets += 1;
        } else if self.events.len() < MAX_EVENTS {
            let from = self.position(at_us, timestamp);
            self.events.push(Event { timestamp, key, from, to: from + lasted as usize, packets: 1 });
        }
    }

    /// Four bytes may be many things; beside audio, or told more than once, they are an event.
    fn events(&self) -> Vec<Audible> {
        let sure = |event: &&Event| self.audio >= ENOUGH_IN_SEQUENCE || event.packets >= ENOUGH_IN_SEQUENCE;
        let audible = |event: &Event| Audible {
            from: event.from,
            to: event.to,
            key: event.key,
            carrier: Carrier::Event,
        };
        self.events.iter().filter(sure).map(audible).collect()
    }
}

/// RFC 4733: event, end bit, a reserved bit that is zero, volume, duration. Without the SDP, the form alone
/// must tell.
fn is_event(payload: &[u8]) -> bool {
    matches!(payload, [code, flags, ..] if payload.len() == 4 && *code <= 15 && flags & 0x40 == 0)
}
