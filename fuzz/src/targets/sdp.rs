//! A description as an offer and as an answer: whatever it says, what we write of it can be read, and names
//! nobody's address but ours.

use std::net::{Ipv4Addr, SocketAddr};

use hushpad_telephony::g711::Law;
use hushpad_telephony::sdp::{self, Described, Direction, Layout, Negotiated, Ours, Srtp};
use hushpad_telephony::srtp::{MASTER_KEY_BYTES, MasterKey};

const OURS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)), 40_000);

/// See the module.
pub fn run(data: &[u8]) {
    let Some((how, body)) = data.split_first() else { return };
    let key = MasterKey::new([7; MASTER_KEY_BYTES]);
    let srtp = [Srtp::Off, Srtp::Optional(key), Srtp::Required(key), Srtp::Off][usize::from(how >> 4 & 3)];
    let Ok(theirs) = Described::parse(body, srtp) else { return };
    let direction = Direction::new(how & 1 == 0, how & 2 == 0);
    let preferred = [None, Some(Law::Mu), Some(Law::A), None][usize::from(how >> 2 & 3)];
    let ptime_ms = theirs.ptime_ms();
    let ours = Ours { address: OURS, session_id: 7, version: 1, direction, ptime_ms, srtp };
    let (text, agreed) = sdp::answer(&theirs, &ours, preferred).expect("what was read has a law");
    is_ours(&text, srtp);
    holds(&agreed, direction);
    assert!(!agreed.direction.sends() || theirs.direction().receives(), "we send to who does not listen");

    // Our next offer in this dialog, and theirs taken as an answer to an offer of ours.
    for mut layout in [theirs.layout(), Layout::default()] {
        is_ours(&sdp::offer(&ours, &layout, agreed.law), srtp);
        holds(&theirs.accepted(&mut layout, direction, srtp).expect("what was read has a law"), direction);
    }
}

fn is_ours(text: &[u8], srtp: Srtp) {
    let text_read = Described::parse(text, srtp);
    let read = text_read.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(text)));
    let (_, mirrored) = sdp::answer(&read, &mirror(srtp), None).expect("we always offer a law");
    assert_eq!(mirrored.remote, Some(OURS));
    for line in String::from_utf8_lossy(text).lines() {
        let is_known = ["v=", "o=", "s=", "c=", "t=", "m=", "a="].iter().any(|start| line.starts_with(start));
        assert!(is_known, "a line of somebody else: {line}");
    }
}

fn mirror(srtp: Srtp) -> Ours {
    let direction = Direction::SendRecv;
    Ours { address: OURS, session_id: 8, version: 1, direction, ptime_ms: None, srtp }
}

fn holds(agreed: &Negotiated, ours: Direction) {
    assert!(agreed.payload_type < 128);
    assert!(agreed.event_send.is_none_or(|number| number < 128));
    assert!(!agreed.direction.sends() || ours.sends(), "more than we allowed");
    assert!(!agreed.direction.receives() || ours.receives(), "more than we allowed");
    assert!(agreed.remote.is_none_or(|to| !to.ip().is_unspecified() && !to.ip().is_multicast()));
}
