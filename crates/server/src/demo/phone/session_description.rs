//! SDP of a phone that speaks G.711 µ-law and telephone-events (RFC 4566, RFC 3264).

use std::net::{IpAddr, SocketAddr};

/// RTP payload type of G.711 µ-law (RFC 3551).
pub(super) const PCMU: u8 = 0;
/// RTP payload type the phones offer for telephone-events (RFC 4733); an answer may name another.
pub(super) const TELEPHONE_EVENT: u8 = 101;

/// What the other side said about its audio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Remote {
    pub(super) rtp: SocketAddr,
    /// Payload type for telephone-events, if it takes any.
    pub(super) event: Option<u8>,
    /// Whether it wants to hear us: not while we are on hold.
    pub(super) listens: bool,
    /// Whether it will send.
    pub(super) sends: bool,
}

/// Our side: where we listen, which event payload type is spoken, and the direction that fits `remote` (RFC 3264, 6.1).
pub(super) fn describe(rtp: SocketAddr, version: u32, remote: Option<&Remote>) -> String {
    let direction = match remote.map_or((true, true), |remote| (remote.listens, remote.sends)) {
        (true, true) => "sendrecv",
        (true, false) => "sendonly",
        (false, true) => "recvonly",
        (false, false) => "inactive",
    };
    let ip = rtp.ip();
    let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
    let (event_format, event_lines) = match remote.map_or(Some(TELEPHONE_EVENT), |remote| remote.event) {
        Some(event) => {
            (format!(" {event}"), format!("a=rtpmap:{event} telephone-event/8000\r\na=fmtp:{event} 0-15\r\n"))
        }
        None => (String::new(), String::new()),
    };
    format!(
        "v=0\r\no=phone 1 {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {PCMU}{event_format}\r\na=rtpmap:{PCMU} PCMU/8000\r\n{event_lines}\
         a=ptime:20\r\na={direction}\r\n",
        port = rtp.port(),
    )
}

/// Reads an offer or answer. `None` when it has no audio in G.711 µ-law over plain RTP.
pub(super) fn read(sdp: &str) -> Option<Remote> {
    let (session, media) = sdp.split_at(sdp.find("m=audio")?);
    let mut lines = media.lines();
    let mut format = lines.next()?.strip_prefix("m=audio ")?.split_whitespace();
    let port: u16 = format.next()?.parse().ok()?;
    if format.next()? != "RTP/AVP" || !format.any(|payload_type| payload_type == "0") {
        return None;
    }
    let lines: Vec<&str> = lines.take_while(|line| !line.starts_with("m=")).collect();
    let connection = lines.iter().copied().chain(session.lines()).find(|line| line.starts_with("c="))?;
    let ip: IpAddr = connection.split_whitespace().nth(2)?.parse().ok()?;
    let event = lines.iter().find_map(|line| {
        let (payload_type, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
        name.to_ascii_lowercase().starts_with("telephone-event/8000").then(|| payload_type.parse().ok())?
    });
    let direction =
        lines.iter().copied().chain(session.lines()).find_map(|line| match line.strip_prefix("a=")? {
            "sendrecv" => Some((true, true)),
            "sendonly" => Some((false, true)),
            "recvonly" => Some((true, false)),
            "inactive" => Some((false, false)),
            _ => None,
        });
    let (listens, sends) = direction.unwrap_or((true, true));
    Some(Remote { rtp: SocketAddr::new(ip, port), event, listens: listens && port != 0, sends })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_read_as_it_was_meant() {
        let rtp = ([127, 0, 0, 1], 4000).into();
        let offer = describe(rtp, 1, None);
        let remote = Remote { rtp, event: Some(101), listens: true, sends: true };
        assert_eq!(read(&offer), Some(remote));
    }

    #[test]
    fn hold_is_answered_by_listening_to_nobody() {
        let held = describe(([127, 0, 0, 1], 4000).into(), 1, None).replace("a=sendrecv", "a=sendonly");
        let remote = read(&held).unwrap();
        assert!(!remote.listens && remote.sends);
        assert!(describe(remote.rtp, 2, Some(&remote)).contains("a=recvonly"));
    }

    #[test]
    fn an_answer_may_refuse_events_and_must_keep_the_codec() {
        let offer = describe(([127, 0, 0, 1], 4000).into(), 1, None);
        let without = offer.replace("a=rtpmap:101 telephone-event/8000\r\n", "");
        assert_eq!(read(&without).unwrap().event, None);
        assert_eq!(read(&offer.replace("RTP/AVP 0", "RTP/AVP 8")), None);
        assert_eq!(read(""), None);
    }
}
