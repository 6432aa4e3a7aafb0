//! Telephones that others wrote, told what to do.

mod baresip;
mod info_phone;
mod linphone;

pub(crate) use baresip::Baresip;
pub(crate) use info_phone::InfoPhone;
pub(crate) use linphone::Linphone;

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::ear::Sound;
use crate::process::Ports;

/// How a customer's phone signals a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keying {
    /// RFC 4733 telephone-event packets.
    Events,
    /// SIP INFO.
    Info,
    /// Tones in G.711 µ-law.
    TonesMuLaw,
    /// Tones in G.711 A-law.
    TonesALaw,
}

/// Where a phone lives and what it says.
pub(crate) struct PhoneParts {
    pub(crate) name: &'static str,
    pub(crate) directory: PathBuf,
    pub(crate) sip: u16,
    pub(crate) rtp: Range<u16>,
    /// Where it is told what to do.
    pub(crate) control: u16,
    pub(crate) speech: Sound,
    /// In baresip's words, in the order of preference.
    pub(crate) codecs: &'static str,
}

impl PhoneParts {
    pub(crate) fn new(
        name: &'static str,
        workplace: &Path,
        ports: &mut Ports,
        speech: &Sound,
        codecs: &'static str,
    ) -> Self {
        let directory = workplace.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let (sip, control) = (ports.take(2).start, ports.take(2).start);
        Self { name, directory, sip, rtp: ports.take(8), control, speech: speech.clone(), codecs }
    }

    pub(crate) fn uri(&self) -> String {
        format!("sip:{}@127.0.0.1:{}", self.name, self.sip)
    }
}

/// The customer's phone.
pub(crate) enum Customer {
    /// Signals by events, or sends the tones as audio.
    Baresip(Baresip, Keying),
    /// Signals by INFO.
    Info(InfoPhone),
}

impl Customer {
    /// Calls `user` at `server` and waits until they talk.
    pub(crate) fn calls(parts: PhoneParts, keying: Keying, user: &str, server: SocketAddr) -> Self {
        match keying {
            Keying::Info => Self::Info(InfoPhone::calls(&parts, user, server)),
            Keying::Events | Keying::TonesMuLaw | Keying::TonesALaw => {
                let mut phone = Baresip::start(parts);
                phone.dial(&format!("sip:{user}@{server}"));
                Self::Baresip(phone, keying)
            }
        }
    }

    /// Presses keys, at the phone's own pace; may return while they are still being sent.
    pub(crate) fn keys(&mut self, keys: &str) {
        match self {
            Self::Baresip(phone, Keying::Events) => phone.sends_events(keys),
            Self::Baresip(phone, _) => phone.sends_tones(keys),
            Self::Info(phone) => phone.sends_infos(keys),
        }
    }

    pub(crate) fn hangs_up(&mut self) {
        match self {
            Self::Baresip(phone, _) => phone.hangs_up(),
            Self::Info(phone) => phone.hangs_up(),
        }
    }

    /// Offers its session description again, in the call.
    pub(crate) fn renegotiates(&mut self) {
        match self {
            Self::Baresip(phone, _) => phone.renegotiates(),
            Self::Info(_) => panic!("the INFO phone cannot"),
        }
    }

    /// Where its SIP comes in.
    pub(crate) fn sip(&self) -> u16 {
        match self {
            Self::Baresip(phone, _) => phone.sip(),
            Self::Info(phone) => phone.sip(),
        }
    }

    /// Where its audio comes in.
    pub(crate) fn rtp(&self) -> Range<u16> {
        match self {
            Self::Baresip(phone, _) => phone.rtp(),
            Self::Info(phone) => phone.rtp(),
        }
    }
}
