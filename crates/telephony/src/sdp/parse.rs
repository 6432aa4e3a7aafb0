//! Reading a description, trusting nothing in it.

use std::net::{IpAddr, SocketAddr};

use sdp_types::{Media, Session};

use crate::g711::Law;

use super::crypto::{self, CryptoLine};
use super::{Direction, MAX_ATTRIBUTES, MAX_FORMATS, MAX_MEDIA, MAX_SDP_BYTES, SdpError, Srtp};

/// The clock rate of G.711 and of the telephone events we keep, in Hz.
const CLOCK_HZ: u32 = 8000;
/// The static payload type of comfort noise (RFC 3389 section 4).
const COMFORT_NOISE: u8 = 13;

/// What the far end described: its audio stream, and the lines an answer has to repeat as refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Where the audio is to go; nothing when the address is unspecified (hold, RFC 2543).
    pub(super) remote: Option<SocketAddr>,
    pub(super) remote_rtcp: Option<SocketAddr>,
    /// The laws with their payload types, the preferred one first.
    pub(super) laws: Vec<(Law, u8)>,
    pub(super) event: Option<u8>,
    pub(super) comfort_noise: bool,
    pub(super) direction: Direction,
    pub(super) ptime_ms: Option<u8>,
    pub(super) rtcp_mux: bool,
    /// Whether the line says `RTP/SAVP`.
    pub(super) savp: bool,
    /// Its crypto lines that we can use; none unless SRTP is wanted.
    pub(super) crypto: Vec<CryptoLine>,
    /// Every media line in order; `None` is the audio we take.
    pub(super) lines: Vec<Option<Refused>>,
}

/// A media line we do not take, as far as the answer has to repeat it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) media: String,
    pub(super) proto: String,
    pub(super) format: String,
}

impl Described {
    /// Reads an offer or an answer; `srtp` is what is wanted of it.
    ///
    /// # Errors
    /// Every [`SdpError`]: the caller answers 488 (RFC 3261 section 13.3.1.3).
    pub fn parse(body: &[u8], srtp: Srtp) -> Result<Self, SdpError> {
        if body.len() > MAX_SDP_BYTES {
            return Err(SdpError::TooLarge);
        }
        let session = Session::parse(body).map_err(|_| SdpError::Malformed)?;
        if session.medias.len() > MAX_MEDIA || session.attributes.len() > MAX_ATTRIBUTES {
            return Err(SdpError::TooLarge);
        }
        if session.medias.iter().any(|media| media.attributes.len() > MAX_ATTRIBUTES) {
            return Err(SdpError::TooLarge);
        }
        let taken = chosen(&session.medias, srtp).ok_or(SdpError::NoAudio)?;
        let media = &session.medias[taken];
        let formats = Formats::of(media)?;
        let ip = address(&session, media)?;
        let held = ip.is_unspecified();
        let stated = direction(&session, media);
        Ok(Self {
            remote: (!held).then_some(SocketAddr::new(ip, media.port)),
            remote_rtcp: if held { None } else { rtcp_address(ip, media) },
            laws: formats.laws,
            event: formats.event,
            comfort_noise: formats.comfort_noise,
            // An unspecified address means: I do not receive (RFC 3264 section 8.4).
            direction: if held { Direction::new(stated.sends(), false) } else { stated },
            ptime_ms: ptime(media),
            rtcp_mux: media.has_attribute("rtcp-mux"),
            savp: is_audio(media, SAVP),
            crypto: if srtp == Srtp::Off { Vec::new() } else { crypto::lines(media) },
            lines: session
                .medias
                .iter()
                .enumerate()
                .map(|(at, m)| (at != taken).then(|| refused(m)))
                .collect(),
        })
    }

    /// What the far end says it does.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The law the far end prefers.
    #[must_use]
    pub fn preferred_law(&self) -> Option<Law> {
        self.laws.first().map(|(law, _)| *law)
    }

    /// The packet time the far end asks for, in milliseconds.
    #[must_use]
    pub fn ptime_ms(&self) -> Option<u8> {
        self.ptime_ms
    }
}

/// The payload types of a media line that we can use.
pub(super) struct Formats {
    pub(super) laws: Vec<(Law, u8)>,
    event: Option<u8>,
    comfort_noise: bool,
}

impl Formats {
    pub(super) fn of(media: &Media) -> Result<Self, SdpError> {
        let mut found = Self { laws: Vec::new(), event: None, comfort_noise: false };
        for (count, format) in media.fmt.split_ascii_whitespace().enumerate() {
            if count >= MAX_FORMATS {
                return Err(SdpError::TooLarge);
            }
            let Some(payload_type) = format.parse::<u8>().ok().filter(|pt| *pt < 128) else { continue };
            found.take(payload_type, rtpmap(media, payload_type));
        }
        if found.laws.is_empty() { Err(SdpError::NoCodec) } else { Ok(found) }
    }

    /// Static types need no `rtpmap`, but where one stands it decides (RFC 8866 section 6.6).
    fn take(&mut self, payload_type: u8, mapped: Option<(&str, u32)>) {
        let law = match (payload_type, mapped) {
            (_, Some((name, CLOCK_HZ))) if name.eq_ignore_ascii_case("PCMU") => Some(Law::Mu),
            (_, Some((name, CLOCK_HZ))) if name.eq_ignore_ascii_case("PCMA") => Some(Law::A),
            (0, None) => Some(Law::Mu),
            (8, None) => Some(Law::A),
            _ => None,
        };
        if let Some(law) = law {
            if !self.laws.iter().any(|(known, _)| *known == law) {
                self.laws.push((law, payload_type));
            }
            return;
        }
        match mapped {
            Some((name, CLOCK_HZ)) if name.eq_ignore_ascii_case("telephone-event") => {
                self.event.get_or_insert(payload_type);
            }
            _ if payload_type == COMFORT_NOISE => self.comfort_noise = true,
            _ => {}
        }
    }
}

/// The line we take. An SRTP line without a key that we can use is refused, never answered with plain RTP.
fn chosen(medias: &[Media], srtp: Srtp) -> Option<usize> {
    let sealed = |media: &&Media| !crypto::lines(media).is_empty();
    let at = |fits: &dyn Fn(&&Media) -> bool| medias.iter().position(|media| fits(&media));
    let plain = || at(&|media| is_audio(media, AVP));
    match srtp {
        Srtp::Off => plain(),
        Srtp::Optional(_) => at(&|media| is_audio(media, SAVP) && sealed(media)).or_else(plain),
        Srtp::Required(_) => at(&|media| is_audio(media, SAVP) && sealed(media))
            .or_else(|| at(&|media| is_audio(media, AVP) && sealed(media))),
    }
}

pub(super) const AVP: &str = "RTP/AVP";
pub(super) const SAVP: &str = "RTP/SAVP";

pub(super) fn is_audio(media: &Media, proto: &str) -> bool {
    media.media.eq_ignore_ascii_case("audio") && media.proto.eq_ignore_ascii_case(proto) && media.port != 0
}

fn rtpmap(media: &Media, payload_type: u8) -> Option<(&str, u32)> {
    media.attributes.iter().filter(|a| a.attribute == "rtpmap").find_map(|attribute| {
        let (number, encoding) = attribute.value.as_deref()?.trim().split_once(' ')?;
        if number.parse::<u8>().ok()? != payload_type {
            return None;
        }
        let mut parts = encoding.trim().split('/');
        let name = parts.next()?;
        let rate = parts.next()?.trim().parse().ok()?;
        // A second channel would be another format: we take mono only.
        parts.next().is_none_or(|channels| channels.trim() == "1").then_some((name, rate))
    })
}

pub(super) fn address(session: &Session, media: &Media) -> Result<IpAddr, SdpError> {
    let connection = media.connections.first().or(session.connection.as_ref()).ok_or(SdpError::Address)?;
    let text = connection.connection_address.split('/').next().unwrap_or_default();
    let ip: IpAddr = text.parse().map_err(|_| SdpError::Address)?;
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_multicast() || broadcast { Err(SdpError::Address) } else { Ok(ip) }
}

/// RFC 3605 and RFC 5761. An address in `a=rtcp` is not followed: RTCP goes where the audio goes.
pub(super) fn rtcp_address(ip: IpAddr, media: &Media) -> Option<SocketAddr> {
    let stated = media.get_first_attribute_value("rtcp").flatten();
    let port = match stated.and_then(|value| value.split_ascii_whitespace().next()) {
        _ if media.has_attribute("rtcp-mux") => Some(media.port),
        Some(text) => text.parse().ok().filter(|port| *port != 0),
        None => media.port.checked_add(1),
    };
    port.map(|port| SocketAddr::new(ip, port))
}

pub(super) fn direction(session: &Session, media: &Media) -> Direction {
    let stated = |attributes: &[sdp_types::Attribute]| {
        attributes.iter().find_map(|a| match a.attribute.as_str() {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        })
    };
    stated(&media.attributes).or_else(|| stated(&session.attributes)).unwrap_or(Direction::SendRecv)
}

/// Packet times from 10 to 60 ms in whole tens; anything else is as if not stated.
fn ptime(media: &Media) -> Option<u8> {
    let value = media.get_first_attribute_value("ptime").flatten()?;
    value.trim().parse::<u8>().ok().filter(|ms| (10..=60).contains(ms) && ms % 10 == 0)
}

fn refused(media: &Media) -> Refused {
    Refused {
        media: token(&media.media),
        proto: token(&media.proto),
        format: token(media.fmt.split_ascii_whitespace().next().unwrap_or("0")),
    }
}

/// Longest word of a refused line that we repeat; `application` and `UDP/TLS/RTP/SAVPF` fit.
const MAX_TOKEN: usize = 32;

fn token(text: &str) -> String {
    let kept: String =
        text.chars().filter(|c| c.is_ascii_alphanumeric() || "/-.+_*".contains(*c)).take(MAX_TOKEN).collect();
    if kept.is_empty() { "0".to_owned() } else { kept }
}
