//! Writing our own descriptions.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::g711::Law;
use crate::srtp::{Crypto, Suite};

use super::crypto::{self, CryptoLine};
use super::parse::Refused;
use super::{Described, Direction, Negotiated, SdpError, Srtp};

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
    /// What we want of SRTP.
    pub srtp: Srtp,
}

/// The media lines of a dialog, which every later offer must repeat in order (RFC 3264 section 8).
///
/// The default is one audio line, as in the first offer of a dialog that we start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    lines: Vec<Option<Refused>>,
    event: u8,
    rtcp_mux: bool,
    sealing: Sealing,
}

/// Whether packets are sealed: once agreed, it stays for the dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sealing {
    /// Nothing is agreed yet.
    Open,
    Plain,
    Sealed {
        savp: bool,
        tag: u32,
        suite: Suite,
    },
}

/// The crypto lines of an offer, the better one first.
pub(super) const OFFERED: [(u32, Suite); 2] = [(1, Suite::Sha1_80), (2, Suite::Sha1_32)];

impl Default for Layout {
    fn default() -> Self {
        Self { lines: vec![None], event: EVENT, rtcp_mux: false, sealing: Sealing::Open }
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
    let savp = match layout.sealing {
        Sealing::Open => matches!(ours.srtp, Srtp::Required(_)),
        Sealing::Plain => false,
        Sealing::Sealed { savp, .. } => savp,
    };
    let crypto = match layout.sealing {
        Sealing::Open => OFFERED.to_vec(),
        Sealing::Plain => vec![],
        Sealing::Sealed { tag, suite, .. } => vec![(tag, suite)],
    };
    let line_of = |laws| Line {
        savp,
        rtcp_mux: layout.rtcp_mux,
        crypto: &crypto,
        laws,
        event: Some(layout.event),
        comfort_noise: false,
    };
    let mut text = head(ours);
    for line in &layout.lines {
        match line {
            None => audio(&mut text, ours, &line_of(&laws)),
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
    let sealed = offered.sealed();
    let crypto: Vec<_> = sealed.map(|line| (line.tag, line.suite)).into_iter().collect();
    let taken = Line {
        savp: offered.savp,
        rtcp_mux: offered.rtcp_mux,
        crypto: &crypto,
        laws: &[(law, payload_type)],
        event: offered.event,
        comfort_noise: offered.comfort_noise,
    };
    let mut text = head(&ours);
    for line in &offered.lines {
        match line {
            None => audio(&mut text, &ours, &taken),
            Some(other) => refuse(&mut text, other),
        }
    }
    let agreed = offered.settled(law, payload_type, offered.event, ours.direction);
    let srtp = offered.sealed_with(ours.srtp, sealed.map(|line| line.suite));
    Ok((text.into_bytes(), Negotiated { srtp, rtcp_mux: offered.rtcp_mux, ..agreed }))
}

impl Described {
    /// The lines and numbers that our later offers to this far end have to keep.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let sealing = self.sealed().map_or(Sealing::Plain, |line| Sealing::Sealed {
            savp: self.savp,
            tag: line.tag,
            suite: line.suite,
        });
        Layout {
            lines: self.lines.clone(),
            event: self.event.unwrap_or(EVENT),
            rtcp_mux: self.rtcp_mux,
            sealing,
        }
    }

    /// The crypto line that counts: their first one that we can use.
    fn sealed(&self) -> Option<&CryptoLine> {
        self.crypto.first()
    }

    fn sealed_with(&self, ours: Srtp, suite: Option<Suite>) -> Option<Crypto> {
        let line = self.sealed()?;
        Some(Crypto { suite: suite?, ours: ours.key()?, theirs: line.key })
    }

    /// What was agreed when `self` is the answer to our [`offer`] made with `layout` and `offered`.
    ///
    /// # Errors
    /// [`SdpError::NoCodec`]: the answer holds no law.
    pub fn accepted(
        &self,
        layout: &mut Layout,
        offered: Direction,
        srtp: Srtp,
    ) -> Result<Negotiated, SdpError> {
        let (law, payload_type) = *self.laws.first().ok_or(SdpError::NoCodec)?;
        // The answerer may use another number toward itself; ours stays as we offered it.
        let event_receive = self.event.map(|_| layout.event);
        let agreed = self.settled(law, payload_type, event_receive, offered.and(self.direction.reversed()));
        // The answer repeats the tag of the line it takes; the suite that stands behind it is the one we offered.
        let suite = self.sealed().map(|line| line.suite);
        let srtp = self.sealed_with(srtp, suite);
        layout.sealing = match (self.sealed(), srtp) {
            (Some(line), Some(_)) => Sealing::Sealed { savp: self.savp, tag: line.tag, suite: line.suite },
            _ => Sealing::Plain,
        };
        // Shared only if we offered it, which we do when they did before.
        layout.rtcp_mux &= self.rtcp_mux;
        Ok(Negotiated { srtp, rtcp_mux: layout.rtcp_mux, ..agreed })
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
            rtcp_mux: false,
            srtp: None,
        }
    }
}

// Writing to a `String` cannot fail, so the results below are dropped.

pub(super) fn head(ours: &Ours) -> String {
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

/// What stands on the audio line and below it.
pub(super) struct Line<'a> {
    pub(super) savp: bool,
    pub(super) rtcp_mux: bool,
    pub(super) crypto: &'a [(u32, Suite)],
    pub(super) laws: &'a [(Law, u8)],
    pub(super) event: Option<u8>,
    pub(super) comfort_noise: bool,
}

pub(super) fn audio(text: &mut String, ours: &Ours, line: &Line<'_>) {
    let Line { savp, rtcp_mux, crypto, laws, event, comfort_noise } = *line;
    let profile = if savp { "RTP/SAVP" } else { "RTP/AVP" };
    let _ = write!(text, "m=audio {} {profile}", ours.address.port());
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
    if rtcp_mux {
        text.push_str("a=rtcp-mux\r\n");
    }
    if let Some(key) = ours.srtp.key() {
        crypto.iter().for_each(|(tag, suite)| crypto::write(text, *tag, *suite, key));
    }
    let _ = write!(text, "a={}\r\n", ours.direction.name());
}

fn refuse(text: &mut String, line: &Refused) {
    let _ = write!(text, "m={} 0 {} {}\r\n", line.media, line.proto, line.format);
}

/// The static payload types (RFC 3551 section 6).
pub(super) fn payload_type(law: Law) -> u8 {
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
