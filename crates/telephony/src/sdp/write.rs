//! Writing our own descriptions.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::g711::Law;

use super::parse::Refused;
use super::{Described, Direction, Negotiated, SdpError};

/// The telephone-event payload type in our offers: what nearly everybody uses.
const EVENT: u8 = 101;

/// What we say of ourselves on one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ours {
    /// Where we receive this leg's audio, as the far end must address it.
    pub address: SocketAddr,
    /// Session id of our `o=` line; stays the same for the whole dialog.
    pub session_id: u64,
    /// Version of our `o=` line; one more whenever the text changes (RFC 3264 section 8).
    pub version: u64,
    /// What we do on this leg.
    pub direction: Direction,
    /// The packet time we ask for, in milliseconds.
    pub ptime_ms: Option<u8>,
}

/// The media lines of a dialog, which every later offer must repeat in order (RFC 3264 section 8).
///
/// The default is one audio line, as in the first offer of a dialog that we start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    lines: Vec<Option<Refused>>,
    event: u8,
}

impl Default for Layout {
    fn default() -> Self {
        Self { lines: vec![None], event: EVENT }
    }
}

/// Our offer: both laws (`first` in front) and telephone-event, on the lines of `layout`.
#[must_use]
pub fn offer(ours: &Ours, layout: &Layout, first: Law) -> Vec<u8> {
    let second = match first {
        Law::Mu => Law::A,
        Law::A => Law::Mu,
    };
    let laws = [(first, payload_type(first)), (second, payload_type(second))];
    let mut text = head(ours);
    for line in &layout.lines {
        match line {
            None => audio(&mut text, ours, &laws, Some(layout.event), false),
            Some(other) => refuse(&mut text, other),
        }
    }
    text.into_bytes()
}

/// Our answer to `offered`, with the law `preferred` when it was offered, else the offerer's first.
///
/// The direction of the answer is what both `ours` and the offer allow; other media lines are refused with
/// port 0 (RFC 3264 section 6).
///
/// # Errors
/// [`SdpError::NoCodec`]: no law in common.
pub fn answer(
    offered: &Described,
    ours: &Ours,
    preferred: Option<Law>,
) -> Result<(Vec<u8>, Negotiated), SdpError> {
    let chosen = offered.laws.iter().find(|(law, _)| Some(*law) == preferred).or(offered.laws.first());
    let (law, payload_type) = *chosen.ok_or(SdpError::NoCodec)?;
    let ours = Ours { direction: ours.direction.and(offered.direction.reversed()), ..*ours };
    let mut text = head(&ours);
    for line in &offered.lines {
        match line {
            None => audio(&mut text, &ours, &[(law, payload_type)], offered.event, offered.comfort_noise),
            Some(other) => refuse(&mut text, other),
        }
    }
    Ok((text.into_bytes(), offered.settled(law, payload_type, offered.event, ours.direction)))
}

impl Described {
    /// The lines and numbers that our later offers to this far end have to keep.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout { lines: self.lines.clone(), event: self.event.unwrap_or(EVENT) }
    }

    /// What was agreed when `self` is the answer to our [`offer`] made with `layout` and `offered`.
    ///
    /// # Errors
    /// [`SdpError::NoCodec`]: the answer holds no law.
    pub fn accepted(&self, layout: &Layout, offered: Direction) -> Result<Negotiated, SdpError> {
        let (law, payload_type) = *self.laws.first().ok_or(SdpError::NoCodec)?;
        // The answerer may use another number toward itself; ours stays as we offered it.
        let event_receive = self.event.map(|_| layout.event);
        Ok(self.settled(law, payload_type, event_receive, offered.and(self.direction.reversed())))
    }

    fn settled(&self, law: Law, payload_type: u8, event_receive: Option<u8>, ours: Direction) -> Negotiated {
        Negotiated {
            remote: self.remote,
            remote_rtcp: self.remote_rtcp,
            law,
            payload_type,
            event_send: self.event,
            event_receive,
            comfort_noise: self.comfort_noise,
            direction: ours,
            ptime_ms: self.ptime_ms,
        }
    }
}

// Writing to a `String` cannot fail, so the results below are dropped.

fn head(ours: &Ours) -> String {
    let ip = ours.address.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let mut text = String::with_capacity(320);
    let _ = write!(
        text,
        "v=0\r\no=- {id} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n",
        id = ours.session_id,
        version = ours.version,
    );
    text
}

fn audio(text: &mut String, ours: &Ours, laws: &[(Law, u8)], event: Option<u8>, comfort_noise: bool) {
    let _ = write!(text, "m=audio {} RTP/AVP", ours.address.port());
    for (_, payload_type) in laws {
        let _ = write!(text, " {payload_type}");
    }
    if comfort_noise {
        text.push_str(" 13");
    }
    if let Some(event) = event {
        let _ = write!(text, " {event}");
    }
    text.push_str("\r\n");
    for (law, payload_type) in laws {
        let _ = write!(text, "a=rtpmap:{payload_type} {}/8000\r\n", name(*law));
    }
    if comfort_noise {
        text.push_str("a=rtpmap:13 CN/8000\r\n");
    }
    if let Some(event) = event {
        let _ = write!(text, "a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-15\r\n");
    }
    if let Some(ptime_ms) = ours.ptime_ms {
        let _ = write!(text, "a=ptime:{ptime_ms}\r\n");
    }
    let _ = write!(text, "a={}\r\n", ours.direction.name());
}

fn refuse(text: &mut String, line: &Refused) {
    let _ = write!(text, "m={} 0 {} {}\r\n", line.media, line.proto, line.format);
}

/// The static payload types (RFC 3551 section 6).
fn payload_type(law: Law) -> u8 {
    match law {
        Law::Mu => 0,
        Law::A => 8,
    }
}

fn name(law: Law) -> &'static str {
    match law {
        Law::Mu => "PCMU",
        Law::A => "PCMA",
    }
}
