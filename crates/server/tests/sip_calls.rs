//! Calls over real sockets: SIPp as the customer and as the agent, and a phone that we script ourselves.
//!
//! The agents' scenarios also check that nothing of the customer's side reaches them: no address, no name,
//! no line of its description.

#![expect(clippy::unwrap_used, reason = "what cannot be unwrapped fails the test where it stands")]

#[path = "sip_calls/bounds.rs"]
mod bounds;
#[path = "sip_calls/desk.rs"]
mod desk;
#[path = "sip_calls/digest.rs"]
mod digest;
#[path = "sip_calls/phone.rs"]
mod phone;
#[path = "sip_calls/recorded.rs"]
mod recorded;
#[path = "sip_calls/reliable.rs"]
mod reliable;
#[path = "sip_calls/rtp.rs"]
mod rtp;
#[path = "sip_calls/scripted.rs"]
mod scripted;
#[path = "sip_calls/sealed.rs"]
mod sealed;
#[path = "sip_calls/transfers.rs"]
mod transfers;
#[path = "sip_calls/trunks.rs"]
mod trunks;

use std::process::Stdio;
use std::time::Duration;

use desk::{Desk, Sipp, until};
use hushpad::sip::{Listener, Tls, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn a_customer_calls_an_agent_and_hangs_up() {
    Desk::start().await.play("customer", "agent").await;
}

#[tokio::test]
async fn the_agent_hangs_up() {
    Desk::start().await.play("customer_waits", "agent_hangs_up").await;
}

#[tokio::test]
async fn a_customer_gives_up_while_it_rings() {
    Desk::start().await.play("customer_cancels", "agent_rings").await;
}

#[tokio::test]
async fn an_agent_is_busy() {
    let desk = Desk::start().await;
    let agent = Sipp::new("agent_busy").port(desk.agent.port()).start(desk.sip());
    Sipp::new("customer_refused").hears(486).start(desk.sip()).succeeds().await;
    agent.succeeds().await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn an_agent_does_not_answer() {
    let desk = Desk::start_with(|config| config.ring_time_out = Duration::from_millis(500)).await;
    let agent = Sipp::new("agent_rings").port(desk.agent.port()).start(desk.sip());
    Sipp::new("customer_refused").hears(480).start(desk.sip()).succeeds().await;
    agent.succeeds().await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn a_customer_holds_the_agent_and_comes_back() {
    Desk::start().await.play("customer_holds", "agent_is_held").await;
}

#[tokio::test]
async fn an_agent_holds_the_customer() {
    Desk::start().await.play("customer_is_held", "agent_holds").await;
}

#[tokio::test]
async fn a_key_by_info_crosses_outside_secure_mode() {
    Desk::start().await.play("customer_keys", "agent_hears_keys").await;
}

#[tokio::test]
async fn an_invite_without_an_offer_is_answered_with_ours() {
    Desk::start().await.play("customer_late", "agent").await;
}

#[tokio::test]
async fn a_session_is_refreshed_by_update() {
    Desk::start().await.play("customer_updates", "agent").await;
}

#[tokio::test]
async fn we_are_there_when_asked() {
    let desk = Desk::start().await;
    Sipp::new("options").start(desk.sip()).succeeds().await;
}

#[tokio::test]
async fn nobody_is_reached_by_an_unknown_number() {
    let desk = Desk::start().await;
    Sipp::new("customer_refused").dials("somebody").hears(404).start(desk.sip()).succeeds().await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn what_we_do_not_know_and_is_required_is_named() {
    let desk = Desk::start().await;
    Sipp::new("customer_requires").start(desk.sip()).succeeds().await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn ringing_is_acknowledged_on_either_side() {
    Desk::start().await.play("customer_reliable", "agent").await;
    Desk::start().await.play("customer", "agent_reliable").await;
}

#[tokio::test]
async fn one_call_more_than_allowed_hears_503_and_the_first_goes_on() {
    let desk = Desk::start_with(|config| config.max_calls = 1).await;
    let agent = Sipp::new("agent").port(desk.agent.port()).start(desk.sip());
    let first = Sipp::new("customer_waits").start(desk.sip());
    let call = desk.live_call("agent1").await;
    Sipp::new("customer_refused").hears(503).start(desk.sip()).succeeds().await;
    assert!(!*call.ended().borrow());
    call.hang_up().await;
    first.succeeds().await;
    agent.succeeds().await;
    desk.is_quiet().await;
    assert!(*call.ended().borrow());
}

#[tokio::test]
async fn a_stranger_gets_no_answer_and_is_counted() {
    let desk = Desk::start().await;
    let mut stranger = phone::Phone::at("127.0.0.2:0", desk.sip()).await;
    stranger.options().await;
    stranger.invite("agent1", None).await;
    until("the stranger is counted", || desk.calls.counters().unknown_source() >= 2).await;
    // Whoever came later has been served: nothing can still be on its way to the stranger.
    Sipp::new("options").start(desk.sip()).succeeds().await;
    assert!(stranger.heard_nothing());
    assert_eq!(desk.calls.count(), 0);
}

#[tokio::test]
async fn calls_come_over_tcp_too() {
    let bind = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let desk =
        Desk::start_with(|config| config.listeners.push(Listener { transport: Transport::Tcp, bind })).await;
    let agent = Sipp::new("agent").port(desk.agent.port()).start(desk.sip());
    Sipp::new("customer").over_tcp().start(bind).succeeds().await;
    agent.succeeds().await;
    desk.is_quiet().await;
}

#[tokio::test]
async fn agents_are_called_over_tcp_too() {
    let bind = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let desk =
        Desk::start_with(|config| config.listeners.push(Listener { transport: Transport::Tcp, bind })).await;
    let agent = Sipp::new("agent_hangs_up").port(desk.agent.port()).over_tcp().start(desk.sip());
    until("the agent's phone is there", || std::net::TcpStream::connect(desk.agent).is_ok()).await;
    Sipp::new("customer_waits").dials("agent-tcp").start(desk.sip()).succeeds().await;
    agent.succeeds().await;
    desk.is_quiet().await;
}

/// Found by fuzzing: the stack adds this length to another one, which must not end as a panic of its reader.
#[tokio::test]
async fn a_stream_with_an_impossible_length_is_closed() {
    let bind = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let _desk =
        Desk::start_with(|config| config.listeners.push(Listener { transport: Transport::Tcp, bind })).await;
    until("the listener is there", || std::net::TcpStream::connect(bind).is_ok()).await;
    let mut stream = tokio::net::TcpStream::connect(bind).await.unwrap();
    let message = format!("OPTIONS sip:{bind} SIP/2.0\r\nContent-Length: {}\r\n\r\n", u64::MAX);
    stream.write_all(message.as_bytes()).await.unwrap();
    let closed = tokio::time::timeout(desk::PATIENCE, stream.read(&mut [0; 64])).await;
    assert!(matches!(closed.expect("the stream is closed"), Ok(0) | Err(_)));
}

#[tokio::test]
async fn an_address_that_others_cannot_use_is_refused_at_the_start() {
    let bind = "0.0.0.0:0".parse().unwrap();
    let start = Desk::try_start_with(|config| config.listeners[0].bind = bind).await;
    assert!(format!("{:#}", start.err().unwrap()).contains("advertised address"));
}

/// Debian's SIPp has no TLS, so OpenSSL speaks here.
#[tokio::test]
async fn we_are_there_over_tls() {
    let folder = tempfile::tempdir().unwrap();
    let made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost \
                -keyout key.pem -out certificate.pem";
    assert!(openssl(&folder, made).status().await.unwrap().success());
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let tls = Tls { certificate: read("certificate.pem"), key: read("key.pem"), authorities: Vec::new() };
    let bind = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let desk = Desk::start_with(|config| {
        config.tls = Some(tls);
        config.listeners.push(Listener { transport: Transport::Tls, bind });
    })
    .await;
    until("the listener is there", || std::net::TcpStream::connect(bind).is_ok()).await;
    let arguments = format!("s_client -quiet -verify_return_error -CAfile certificate.pem -connect {bind}");
    let mut client =
        openssl(&folder, &arguments).stdout(Stdio::piped()).stdin(Stdio::piped()).spawn().unwrap();
    let options = format!(
        "OPTIONS sip:{bind} SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:5061;branch=z9hG4bKtls;rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:x@127.0.0.1>;tag=1\r\nTo: <sip:{bind}>\r\nCall-ID: tls\r\n\
         CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    client.stdin.as_mut().unwrap().write_all(options.as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    let heard = client.stdout.as_mut().unwrap().read_exact(&mut answer);
    tokio::time::timeout(desk::PATIENCE, heard).await.expect("an answer comes").unwrap();
    assert_eq!(&answer, b"SIP/2.0 200 OK\r");
    assert_eq!(desk.calls.count(), 0);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_told_at_the_start() {
    let tls = Tls { certificate: b"no".to_vec(), key: b"no".to_vec(), authorities: Vec::new() };
    let bind = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Desk::try_start_with(|config| {
        config.tls = Some(tls);
        config.listeners.push(Listener { transport: Transport::Tls, bind });
    })
    .await
    .err()
    .unwrap();
    assert!(format!("{error:#}").contains("certificate"), "{error:#}");
}

fn openssl(folder: &tempfile::TempDir, arguments: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("openssl");
    command.args(arguments.split_ascii_whitespace()).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}
