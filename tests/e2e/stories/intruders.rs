//! Who is not part of it: strangers on the SIP port get no answer, and a stranger's audio stops the entry, not the call.

use std::net::UdpSocket;
use std::time::Duration;

use crate::cards::VISA;
use crate::desk::{Desk, stays};
use crate::page::customer_types_again;
use crate::phones::{Customer, Keying};
use crate::wire::Packet;
use crate::{PATIENCE, until};

#[test]
fn sip_from_a_stranger_gets_no_answer() {
    let desk = Desk::start();
    let (peer, stranger) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.9:0").unwrap());
    for method in ["OPTIONS", "INVITE", "BYE", "REGISTER"] {
        stranger.send_to(request(method, &stranger).as_bytes(), desk.at.sip).unwrap();
    }
    stranger.send_to(b"\r\n\r\n", desk.at.sip).unwrap();
    stranger.send_to(b"not SIP at all", desk.at.sip).unwrap();

    // The peer asks after the stranger, and has its answer: so the stranger's turn was before.
    peer.send_to(request("OPTIONS", &peer).as_bytes(), desk.at.sip).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 2048];
    let length = peer.recv(&mut answer).expect("a peer gets an answer");
    assert!(answer[..length].starts_with(b"SIP/2.0 200 "), "{}", String::from_utf8_lossy(&answer[..length]));
    stranger.set_nonblocking(true).unwrap();
    stays("the stranger hears nothing", Duration::from_millis(500), || stranger.recv(&mut answer).is_err());
}

#[test]
fn audio_of_a_stranger_stops_the_entry_and_the_call_lives() {
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    let mut call = desk.customer_calls(Keying::Events);
    let session = desk.open_session();
    let page = desk.open_page(&session);
    page.start("card_number");
    call.customer.keys("4111");
    page.shows_typed("card_number", 4);

    let packets = desk.wire.from(&call.customer.rtp());
    let last: &Packet = packets.iter().rev().find(|packet| packet.rtp().is_some()).unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut forged = last.payload.clone();
    // Another source of synchronisation, as a stranger would have.
    forged[8..12].copy_from_slice(b"evil");
    stranger.send_to(&forged, last.to).unwrap();

    let stopped = "Entry was stopped: audio came from an unknown source";
    page.shows("that entry was stopped", |state| state["html"]["status"].to_string().contains(stopped));
    desk.both_hear_speech(&call);

    // The customer's own audio still counts: the field is typed anew.
    customer_types_again(&desk, &mut call, &page, "card_number", VISA.number);
    page.cancel();
    desk.waits_for_outcome(&session, "cancelled");
    until("the call goes on", || desk.agent.is_in_a_call().then_some(()));
    call.customer.hangs_up();
    desk.agent_heard_no_key();
}

#[test]
fn keys_faster_than_a_person_types_stop_the_entry() {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(Keying::Info);
    let session = desk.open_session();
    let page = desk.open_page(&session);
    page.start("card_number");
    let Customer::Info(phone) = &mut call.customer else { panic!("an INFO phone") };
    phone.sends_infos_at_once(VISA.number);
    let stopped = "Entry was stopped: the keys came too fast";
    page.shows("that entry was stopped", |state| state["html"]["status"].to_string().contains(stopped));
    call.customer.hangs_up();
    desk.waits_for_outcome(&session, "cancelled");
    desk.agent_heard_no_key();
}

fn request(method: &str, from: &UdpSocket) -> String {
    let here = from.local_addr().unwrap();
    let number = here.port();
    format!(
        "{method} sip:1234@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {here};branch=z9hG4bK{method}{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:stranger@{here}>;tag=t{number}\r\nTo: <sip:1234@127.0.0.1>\r\n\
         Call-ID: {method}-{number}\r\nCSeq: 1 {method}\r\nContact: <sip:stranger@{here}>\r\nContent-Length: 0\r\n\r\n"
    )
}
