//! Calls over real sockets: SIPp as the customer and as the agent, and a phone that we script ourselves.
//!
//! The agents' scenarios also check that nothing of the customer's side reaches them: no address, no name,
//! no line of its description.

#[path = "sip_calls/desk.rs"]
mod desk;
#[path = "sip_calls/phone.rs"]
mod phone;
#[path = "sip_calls/scripted.rs"]
mod scripted;

use std::time::Duration;

use desk::{Desk, Sipp, until};
use hushpad::sip::{Listener, Transport};

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
