//! A description as an offer and as an answer: whatever it says, what we write of it can be read, and names
//! nobody's address but ours.

use std::net::{Ipv4Addr, SocketAddr};

use hushpad_telephony::g711::Law;
use hushpad_telephony::sdp::{self, Described, Direction, Layout, Negotiated, Ours};

const OURS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 40_000);

/// See the module.
pub fn run(data: &[u8]) {
    let Some((how, body)) = data.split_first() else { return };
    let Ok(theirs) = Described::parse(body) else { return };
    let direction = Direction::new(how & 1 == 0, how & 2 == 0);
    let preferred = [None, Some(Law::Mu), Some(Law::A), None][usize::from(how >> 2 & 3)];
    let ours = Ours { address: OURS, session_id: 7, version: 1, direction, ptime_ms: theirs.ptime_ms() };
    let (text, agreed) = sdp::answer(&theirs, &ours, preferred).expect("what was read has a law");
    is_ours(&text);
    holds(&agreed, direction);
    assert!(!agreed.direction.sends() || theirs.direction().receives(), "we send to who does not listen");

    // Our next offer in this dialog, and theirs taken as an answer to an offer of ours.
    for layout in [theirs.layout(), Layout::default()] {
        is_ours(&sdp::offer(&ours, &layout, agreed.law));
        holds(&theirs.accepted(&layout, direction).expect("what was read has a law"), direction);
    }
}

fn is_ours(text: &[u8]) {
    let text_read = Described::parse(text);
    let read = text_read.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)));
    let (_, mirrored) = sdp::answer(&read, &mirror(), None).expect("we always offer a law");
    assert_eq!(mirrored.remote, Some(OURS));
    for line in String::from_utf8_lossy(text).lines() {
        let is_known = ["v=", "o=", "s=", "c=", "t=", "m=", "a="].iter().any(|start| line.starts_with(start));
        assert!(is_known, "a line of somebody else: {line}");
    }
}

fn mirror() -> Ours {
    Ours { address: OURS, session_id: 8, version: 1, direction: Direction::SendRecv, ptime_ms: None }
}

fn holds(agreed: &Negotiated, ours: Direction) {
    assert!(agreed.payload_type < 128);
    assert!(agreed.event_send.is_none_or(|number| number < 128));
    assert!(!agreed.direction.sends() || ours.sends(), "more than we allowed");
    assert!(!agreed.direction.receives() || ours.receives(), "more than we allowed");
    assert!(agreed.remote.is_none_or(|to| !to.ip().is_unspecified() && !to.ip().is_multicast()));
}
