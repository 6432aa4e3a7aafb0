//! What is said to a recorder of a call's sound (RFC 7866 section 7): two streams that only go out, each with a
//! label by which the metadata names it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use sdp_types::Session;

use crate::g711::Law;
use crate::relay::{ForkFlow, ForkTo};
use crate::srtp::Crypto;

use super::parse::{AVP, Formats, SAVP, address, direction, is_audio, rtcp_address};
use super::write::{Line, OFFERED, audio, head, payload_type};
use super::{Direction, MAX_ATTRIBUTES, MAX_SDP_BYTES, Ours, SdpError, Srtp, crypto};

/// The labels (RFC 4574): what the customer says, and what the agent says.
pub const LABELS: [&str; 2] = ["1", "2"];

/// What we offer a recorder.
#[derive(Clone, Copy, Debug)]
pub struct Copies {
    /// The ports that the copies come from, what the customer says first.
    pub addresses: [SocketAddr; 2],
    /// Session id of our `o=` line; stays the same for the whole dialog.
    pub session_id: u64,
    /// What is wanted of SRTP, with a key for each copy.
    pub srtp: [Srtp; 2],
    /// The law that is named first.
    pub first: Law,
}

impl Copies {
    /// Our offer; `version` is one more whenever the text changes, and a paused recorder is offered silence
    /// both ways (`a=inactive`).
    #[must_use]
    pub fn offer(&self, version: u64, paused: bool) -> Vec<u8> {
        let second = match self.first {
            Law::Mu => Law::A,
            Law::A => Law::Mu,
        };
        let laws = [self.first, second].map(|law| (law, payload_type(law)));
        let ours = |n: usize| Ours {
            address: self.addresses[n],
            session_id: self.session_id,
            version,
            direction: if paused { Direction::Inactive } else { Direction::SendOnly },
            ptime_ms: None,
            srtp: self.srtp[n],
        };
        let mut text = head(&ours(0));
        for (n, label) in LABELS.iter().enumerate() {
            let line = Line {
                savp: matches!(self.srtp[n], Srtp::Required(_)),
                rtcp_mux: false,
                crypto: &OFFERED,
                laws: &laws,
                event: None,
                comfort_noise: false,
            };
            audio(&mut text, &ours(n), &line);
            // Writing to a `String` cannot fail.
            let _ = write!(text, "a=label:{label}\r\n");
        }
        text.into_bytes()
    }

    /// Where the copies are to go, by the recorder's answer: nowhere for one that it does not take.
    ///
    /// # Errors
    /// The answer cannot be read, or has not a line for each copy.
    pub fn answered(&self, body: &[u8]) -> Result<ForkFlow, SdpError> {
        if body.len() > MAX_SDP_BYTES {
            return Err(SdpError::TooLarge);
        }
        let session = Session::parse(body).map_err(|_| SdpError::Malformed)?;
        if session.attributes.len() > MAX_ATTRIBUTES || session.medias.len() != LABELS.len() {
            return Err(SdpError::Malformed);
        }
        Ok([0, 1].map(|n| self.taken(&session, n)))
    }

    fn taken(&self, session: &Session, n: usize) -> Option<ForkTo> {
        let media = &session.medias[n];
        let is_ours = is_audio(media, AVP) || is_audio(media, SAVP);
        if !is_ours || media.attributes.len() > MAX_ATTRIBUTES || !direction(session, media).receives() {
            return None;
        }
        let (law, payload_type) = *Formats::of(media).ok()?.laws.first()?;
        let ip = address(session, media).ok().filter(|ip| !ip.is_unspecified())?;
        let ours = self.srtp[n];
        let line = ours.key().and_then(|_| crypto::lines(media).into_iter().next());
        let srtp =
            line.and_then(|line| Some(Crypto { suite: line.suite, ours: ours.key()?, theirs: line.key }));
        // What was to be sealed does not go out in the clear.
        if srtp.is_none() && (matches!(ours, Srtp::Required(_)) || is_audio(media, SAVP)) {
            return None;
        }
        Some(ForkTo {
            remote: SocketAddr::new(ip, media.port),
            rtcp: rtcp_address(ip, media),
            law,
            payload_type,
            srtp: srtp.map(|crypto| (crypto.suite, crypto.ours)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::{MasterKey, Suite};

    fn copies(srtp: [Srtp; 2]) -> Copies {
        let at = |port| SocketAddr::from(([192, 0, 2, 10], port));
        Copies { addresses: [at(40_000), at(40_002)], session_id: 7, srtp, first: Law::Mu }
    }

    fn answer(media: &str) -> Vec<u8> {
        format!("v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n{media}")
            .into_bytes()
    }

    const PLAIN: [Srtp; 2] = [Srtp::Off; 2];

    #[test]
    fn the_offer_has_two_labelled_streams_that_only_go_out() {
        insta::assert_snapshot!(String::from_utf8(copies(PLAIN).offer(1, false)).unwrap(), @r"
        v=0
        o=- 7 1 IN IP4 192.0.2.10
        s=-
        c=IN IP4 192.0.2.10
        t=0 0
        m=audio 40000 RTP/AVP 0 8
        a=rtpmap:0 PCMU/8000
        a=rtpmap:8 PCMA/8000
        a=sendonly
        a=label:1
        m=audio 40002 RTP/AVP 0 8
        a=rtpmap:0 PCMU/8000
        a=rtpmap:8 PCMA/8000
        a=sendonly
        a=label:2
        ");
        let paused = String::from_utf8(copies(PLAIN).offer(2, true)).unwrap();
        assert_eq!((paused.matches("a=inactive").count(), paused.matches("a=send").count()), (2, 0));
        assert!(paused.contains("o=- 7 2 "));
    }

    #[test]
    fn each_copy_goes_where_the_answer_says() {
        let both = "m=audio 5000 RTP/AVP 8\r\na=recvonly\r\nm=audio 5004 RTP/AVP 0\r\na=rtcp:6000\r\n";
        let [customer, agent] = copies(PLAIN).answered(&answer(both)).unwrap().map(Option::unwrap);
        assert_eq!((customer.remote.port(), customer.law, customer.payload_type), (5000, Law::A, 8));
        assert_eq!((agent.remote.port(), agent.law, agent.rtcp.unwrap().port()), (5004, Law::Mu, 6000));
        assert_eq!(customer.rtcp.unwrap().port(), 5001);
    }

    #[test]
    fn what_the_recorder_does_not_take_goes_nowhere() {
        for refused in [
            "m=audio 0 RTP/AVP 8\r\n",
            "m=audio 5000 RTP/AVP 8\r\na=inactive\r\n",
            "m=audio 5000 RTP/AVP 8\r\na=sendonly\r\n",
            "m=audio 5000 RTP/AVP 9\r\n",
            "m=audio 5000 RTP/SAVP 8\r\n",
            "m=video 5000 RTP/AVP 8\r\n",
            "m=audio 5000 RTP/AVP 8\r\nc=IN IP4 0.0.0.0\r\n",
            "m=audio 5000 RTP/AVP 8\r\nc=IN IP4 224.0.0.1\r\n",
        ] {
            let text = answer(&format!("{refused}m=audio 5004 RTP/AVP 0\r\n"));
            let [customer, agent] = copies(PLAIN).answered(&text).unwrap();
            assert!(customer.is_none() && agent.is_some(), "{refused}");
        }
        for wrong in ["", "m=audio 5000 RTP/AVP 8\r\n"] {
            assert_eq!(copies(PLAIN).answered(&answer(wrong)), Err(SdpError::Malformed));
        }
        assert_eq!(copies(PLAIN).answered(b"no"), Err(SdpError::Malformed));
    }

    #[test]
    fn a_copy_that_must_be_sealed_goes_out_sealed_or_not_at_all() {
        let key = |byte| MasterKey::new([byte; 30]);
        let sealed = copies([Srtp::Required(key(b'a')), Srtp::Optional(key(b'b'))]);
        let text = String::from_utf8(sealed.offer(1, false)).unwrap();
        assert!(text.contains("m=audio 40000 RTP/SAVP") && text.contains("m=audio 40002 RTP/AVP"), "{text}");
        let line = "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
        let taken = format!("m=audio 5000 RTP/SAVP 0\r\n{line}m=audio 5004 RTP/AVP 0\r\n{line}");
        let [customer, agent] = sealed.answered(&answer(&taken)).unwrap().map(Option::unwrap);
        assert_eq!(customer.srtp, Some((Suite::Sha1_32, key(b'a'))));
        assert_eq!(agent.srtp, Some((Suite::Sha1_32, key(b'b'))));
        let plain = "m=audio 5000 RTP/AVP 0\r\nm=audio 5004 RTP/AVP 0\r\n";
        let [customer, agent] = sealed.answered(&answer(plain)).unwrap();
        assert!(customer.is_none() && agent.unwrap().srtp.is_none());
    }

    proptest::proptest! {
        #[test]
        fn no_answer_panics(body in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let _ = copies(PLAIN).answered(&body);
        }
    }
}
