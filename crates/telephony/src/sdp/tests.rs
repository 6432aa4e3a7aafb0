//! Descriptions as phones, trunks and attackers send them.

use super::*;
use crate::g711::Law;
use crate::srtp::{MasterKey, Suite};

fn ours() -> Ours {
    Ours {
        address: "198.51.100.7:40000".parse().unwrap(),
        session_id: 7,
        version: 1,
        direction: Direction::SendRecv,
        ptime_ms: Some(20),
        srtp: Srtp::Off,
    }
}

fn described(media: &str) -> Result<Described, SdpError> {
    described_with(media, Srtp::Off)
}

fn described_with(media: &str, srtp: Srtp) -> Result<Described, SdpError> {
    let text = format!("v=0\r\no=x 1 1 IN IP4 10.0.0.9\r\ns=call\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n{media}");
    Described::parse(text.as_bytes(), srtp)
}

fn answered(media: &str) -> (String, Negotiated) {
    let (text, agreed) = answer(&described(media).unwrap(), &ours(), None).unwrap();
    (String::from_utf8(text).unwrap(), agreed)
}

#[test]
fn our_answer_holds_nothing_of_theirs() {
    let (text, agreed) = answered(
        "m=audio 5004 RTP/AVP 18 8 0 101 13\r\na=rtpmap:18 G729/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=candidate:1 1 UDP 1 10.0.0.9 5004 typ host\r\na=x-secret:inner\r\na=ptime:20\r\na=sendrecv\r\n\
         m=video 6000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n",
    );
    insta::assert_snapshot!(text.replace('\r', ""), @"
    v=0
    o=- 7 1 IN IP4 198.51.100.7
    s=-
    c=IN IP4 198.51.100.7
    t=0 0
    m=audio 40000 RTP/AVP 8 13 101
    a=rtpmap:8 PCMA/8000
    a=rtpmap:13 CN/8000
    a=rtpmap:101 telephone-event/8000
    a=fmtp:101 0-15
    a=ptime:20
    a=sendrecv
    m=video 0 RTP/AVP 96
    ");
    assert_eq!(agreed.remote, Some("10.0.0.9:5004".parse().unwrap()));
    assert_eq!(agreed.remote_rtcp, Some("10.0.0.9:5005".parse().unwrap()));
    assert_eq!((agreed.law, agreed.event_send, agreed.comfort_noise), (Law::A, Some(101), true));
}

#[test]
fn our_offer_is_understood_by_ourselves() {
    let read = Described::parse(&offer(&ours(), &Layout::default(), Law::A), Srtp::Off).unwrap();
    assert_eq!(read.laws, [(Law::A, 8), (Law::Mu, 0)]);
    assert_eq!((read.event, read.ptime_ms, read.direction), (Some(101), Some(20), Direction::SendRecv));
}

#[test]
fn the_preferred_law_is_taken_when_offered() {
    let both = described("m=audio 5004 RTP/AVP 0 8\r\n").unwrap();
    assert_eq!(answer(&both, &ours(), Some(Law::A)).unwrap().1.law, Law::A);
    let one = described("m=audio 5004 RTP/AVP 0\r\n").unwrap();
    assert_eq!(answer(&one, &ours(), Some(Law::A)).unwrap().1.law, Law::Mu);
}

#[test]
fn every_way_to_hold_is_read() {
    let cases = [
        ("c=IN IP4 0.0.0.0\r\n", Direction::SendOnly, Direction::RecvOnly),
        ("c=IN IP4 0.0.0.0\r\na=inactive\r\n", Direction::Inactive, Direction::Inactive),
        ("a=sendonly\r\n", Direction::SendOnly, Direction::RecvOnly),
        ("a=recvonly\r\n", Direction::RecvOnly, Direction::SendOnly),
        ("a=inactive\r\n", Direction::Inactive, Direction::Inactive),
        ("", Direction::SendRecv, Direction::SendRecv),
    ];
    for (lines, theirs, ours_then) in cases {
        let media = format!("m=audio 5004 RTP/AVP 0\r\n{lines}");
        assert_eq!(described(&media).unwrap().direction(), theirs, "{lines}");
        assert_eq!(answered(&media).1.direction, ours_then, "{lines}");
    }
    assert_eq!(answered("m=audio 5004 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n").1.remote, None);
}

#[test]
fn a_direction_of_the_whole_session_counts_unless_the_stream_says_otherwise() {
    let text = |media: &str| {
        let head = "v=0\r\no=x 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\na=sendonly\r\n";
        Described::parse(format!("{head}m=audio 5004 RTP/AVP 0\r\n{media}").as_bytes(), Srtp::Off)
            .unwrap()
            .direction()
    };
    assert_eq!(text(""), Direction::SendOnly);
    assert_eq!(text("a=sendrecv\r\n"), Direction::SendRecv);
}

#[test]
fn unusable_descriptions_are_refused_with_their_reason() {
    let cases = [
        ("m=video 5004 RTP/AVP 96\r\n", SdpError::NoAudio),
        ("m=audio 0 RTP/AVP 0\r\n", SdpError::NoAudio),
        ("m=audio 5004 RTP/SAVP 0\r\n", SdpError::NoAudio),
        ("m=audio 5004 RTP/AVP 18 96\r\na=rtpmap:96 opus/48000/2\r\n", SdpError::NoCodec),
        ("m=audio 5004 RTP/AVP 0\r\na=rtpmap:0 L16/44100\r\n", SdpError::NoCodec),
        ("m=audio 5004 RTP/AVP 0\r\nc=IN IP4 phone.example.com\r\n", SdpError::Address),
        ("m=audio 5004 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n", SdpError::Address),
        ("m=audio 99999 RTP/AVP 0\r\n", SdpError::Malformed),
    ];
    for (media, why) in cases {
        assert_eq!(described(media), Err(why), "{media}");
    }
    assert_eq!(described(&"m=audio 5004 RTP/AVP 0\r\n".repeat(MAX_MEDIA + 1)), Err(SdpError::TooLarge));
    let formats = " 0".repeat(MAX_FORMATS + 1);
    assert_eq!(described(&format!("m=audio 5004 RTP/AVP{formats}\r\n")), Err(SdpError::TooLarge));
    assert_eq!(Described::parse(&vec![b'a'; MAX_SDP_BYTES + 1], Srtp::Off), Err(SdpError::TooLarge));
}

#[test]
fn events_at_another_clock_rate_are_not_taken_for_ours() {
    let (text, agreed) = answered(
        "m=audio 5004 RTP/AVP 0 100 101\r\na=rtpmap:100 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\n",
    );
    assert_eq!(agreed.event_send, Some(101));
    assert!(text.contains("RTP/AVP 0 101\r\n"), "{text}");
}

#[test]
fn an_answer_may_number_its_events_differently() {
    let theirs = described("m=audio 5004 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n").unwrap();
    let agreed = theirs.accepted(&mut Layout::default(), Direction::SendRecv, Srtp::Off).unwrap();
    assert_eq!((agreed.event_send, agreed.event_receive), (Some(96), Some(101)));
}

#[test]
fn rtcp_follows_its_attributes() {
    let rtcp = |media: &str| answered(media).1.remote_rtcp.map(|address| address.port());
    assert_eq!(rtcp("m=audio 5004 RTP/AVP 0\r\na=rtcp:6001\r\n"), Some(6001));
    assert_eq!(rtcp("m=audio 5004 RTP/AVP 0\r\na=rtcp-mux\r\n"), Some(5004));
    assert_eq!(rtcp("m=audio 65535 RTP/AVP 0\r\n"), None);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_parser_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let _ = Described::parse(&body, srtp_wanted());
    }

    #[test]
    fn no_lines_make_an_answer_that_we_could_not_read(
        lines in proptest::collection::vec("[a-z]=[ -~]{0,40}", 0..12),
        port in 1u16..,
    ) {
        let text = format!("m=audio {port} RTP/AVP 0\r\n{}\r\n", lines.join("\r\n"));
        if let Ok(theirs) = described(&text) {
            let (ours, _) = answer(&theirs, &ours(), None).unwrap();
            Described::parse(&ours, Srtp::Off).unwrap();
        }
    }
}

#[test]
fn a_later_offer_of_ours_keeps_the_lines_and_numbers_of_the_first_one() {
    let media =
        "m=video 6000 RTP/AVP 96\r\nm=audio 5004 RTP/AVP 0 96\r\na=rtpmap:96 telephone-event/8000\r\n";
    let text = String::from_utf8(offer(&ours(), &described(media).unwrap().layout(), Law::Mu)).unwrap();
    let lines: Vec<_> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(lines, ["m=video 0 RTP/AVP 96", "m=audio 40000 RTP/AVP 0 8 96"]);
}

const THEIRS: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

fn key() -> MasterKey {
    MasterKey::new([b'o'; 30])
}

fn srtp_wanted() -> Srtp {
    Srtp::Optional(key())
}

fn sealed(proto: &str) -> String {
    format!(
        "m=audio 5004 {proto} 8\r\na=crypto:3 AES_256_CM_HMAC_SHA1_80 inline:x\r\n\
         a=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:{THEIRS}|2^20\r\n"
    )
}

#[test]
fn an_srtp_offer_is_answered_with_our_key_and_their_tag() {
    for (proto, srtp) in [("RTP/SAVP", srtp_wanted()), ("RTP/AVP", Srtp::Required(key()))] {
        let theirs = described_with(&sealed(proto), srtp).unwrap();
        let (text, agreed) = answer(&theirs, &Ours { srtp, ..ours() }, None).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains(&format!("m=audio 40000 {proto} 8\r\n")), "{text}");
        let line = "a=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:b29vb29vb29vb29vb29vb29vb29vb29vb29vb29v\r\n";
        assert!(text.contains(line) && text.matches("a=crypto").count() == 1, "{text}");
        let crypto = agreed.srtp.unwrap();
        assert_eq!((crypto.suite, crypto.ours), (Suite::Sha1_32, key()));
        // A later offer of ours stays as agreed.
        let text = offer(&Ours { srtp, ..ours() }, &theirs.layout(), Law::A);
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains(&format!("m=audio 40000 {proto} 8 0 101\r\n")) && text.contains(line),
            "{text}"
        );
    }
}

#[test]
fn plain_and_sealed_lines_are_taken_as_wanted() {
    let both = format!("m=audio 5002 RTP/AVP 0\r\n{}", sealed("RTP/SAVP"));
    let taken = |media: &str, srtp| {
        let theirs = described_with(media, srtp)?;
        let (_, agreed) = answer(&theirs, &Ours { srtp, ..ours() }, None)?;
        Ok((agreed.remote.map(|at| at.port()), agreed.srtp.is_some()))
    };
    assert_eq!(taken(&both, Srtp::Off), Ok((Some(5002), false)));
    assert_eq!(taken(&both, srtp_wanted()), Ok((Some(5004), true)));
    assert_eq!(taken(&both, Srtp::Required(key())), Ok((Some(5004), true)));
    let plain = "m=audio 5002 RTP/AVP 0\r\n";
    assert_eq!(taken(plain, srtp_wanted()), Ok((Some(5002), false)));
    assert_eq!(taken(plain, Srtp::Required(key())), Err(SdpError::NoAudio));
    assert_eq!(taken(&sealed("RTP/SAVP"), Srtp::Off), Err(SdpError::NoAudio));
    assert_eq!(taken(&sealed("RTP/AVP"), Srtp::Off), Ok((Some(5004), false)));
    let keyless = "m=audio 5004 RTP/SAVP 0\r\n";
    assert_eq!(taken(keyless, srtp_wanted()), Err(SdpError::NoAudio));
}

#[test]
fn our_offer_names_both_suites_and_an_answer_without_a_key_means_plain_or_nothing() {
    let text = |srtp| String::from_utf8(offer(&Ours { srtp, ..ours() }, &Layout::default(), Law::A)).unwrap();
    assert!(!text(Srtp::Off).contains("crypto"));
    assert!(
        text(srtp_wanted()).contains("RTP/AVP 8")
            && text(srtp_wanted()).contains("a=crypto:2 AES_CM_128_HMAC_SHA1_32")
    );
    assert!(text(Srtp::Required(key())).contains("RTP/SAVP 8"));
    let mut layout = Layout::default();
    let plain = described_with("m=audio 5004 RTP/AVP 8\r\n", srtp_wanted()).unwrap();
    assert_eq!(plain.accepted(&mut layout, Direction::SendRecv, srtp_wanted()).unwrap().srtp, None);
    let later = offer(&Ours { srtp: srtp_wanted(), ..ours() }, &layout, Law::A);
    assert!(!String::from_utf8(later).unwrap().contains("crypto"), "what is plain stays plain");
    let answered = described_with(&sealed("RTP/AVP"), srtp_wanted()).unwrap();
    let agreed = answered.accepted(&mut Layout::default(), Direction::SendRecv, srtp_wanted()).unwrap();
    assert_eq!(agreed.srtp.unwrap().suite, Suite::Sha1_32);
}

#[test]
fn a_shared_port_is_taken_where_it_is_offered_and_kept() {
    let theirs = described("m=audio 5004 RTP/AVP 0\r\na=rtcp-mux\r\n").unwrap();
    let (text, agreed) = answer(&theirs, &ours(), None).unwrap();
    assert!(agreed.rtcp_mux && String::from_utf8(text).unwrap().contains("a=rtcp-mux\r\n"));
    assert!(String::from_utf8(offer(&ours(), &theirs.layout(), Law::A)).unwrap().contains("a=rtcp-mux\r\n"));
    assert!(!String::from_utf8(offer(&ours(), &Layout::default(), Law::A)).unwrap().contains("rtcp-mux"));
    let accepted = theirs.accepted(&mut Layout::default(), Direction::SendRecv, Srtp::Off).unwrap();
    assert!(!accepted.rtcp_mux, "we did not offer it");
}
