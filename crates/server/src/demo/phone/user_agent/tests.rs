//! Two phones on a wire: what each tells its owner, and what comes over when messages are lost.

use super::super::dialog::T1_MS;
use super::*;

fn phone(name: &str, port: u16) -> UserAgent {
    UserAgent::new(name, ([127, 0, 0, 1], port).into(), ([127, 0, 0, 1], port + 1).into(), name.into())
}

/// Two phones on a wire that can lose everything.
struct Wire {
    caller: UserAgent,
    callee: UserAgent,
    heard: Vec<(&'static str, Output)>,
    cut: bool,
}

impl Wire {
    fn new() -> Self {
        Self { caller: phone("caller", 6000), callee: phone("callee", 7000), heard: Vec::new(), cut: false }
    }

    fn in_call() -> Self {
        let mut wire = Self::new();
        wire.caller.call(wire.callee.sip, "sip:callee@127.0.0.1:7000", 0);
        wire.carry(0);
        wire
    }

    /// Carries datagrams until both sides are quiet.
    fn carry(&mut self, now_ms: u64) {
        loop {
            let from_caller = self.caller.take_outputs();
            let from_callee = self.callee.take_outputs();
            if from_caller.is_empty() && from_callee.is_empty() {
                return;
            }
            for output in from_caller {
                match output {
                    Output::Send(_, _) if self.cut => {}
                    Output::Send(_, bytes) => self.callee.datagram(self.caller.sip, &bytes, now_ms),
                    other => self.heard.push(("caller", other)),
                }
            }
            for output in from_callee {
                match output {
                    Output::Send(_, _) if self.cut => {}
                    Output::Send(_, bytes) => self.caller.datagram(self.callee.sip, &bytes, now_ms),
                    other => self.heard.push(("callee", other)),
                }
            }
        }
    }

    fn told(&self) -> Vec<String> {
        self.heard
            .iter()
            .map(|(who, output)| match output {
                Output::Media(remote) => format!("{who}: talk to {}", remote.rtp.port()),
                Output::Ended(why) => format!("{who}: {why}"),
                other => format!("{who}: {other:?}"),
            })
            .collect()
    }
}

#[test]
fn a_call_is_answered_and_either_side_hangs_up() {
    let mut wire = Wire::in_call();
    assert_eq!(wire.told(), ["callee: talk to 6001", "caller: talk to 7001"]);
    wire.callee.hang_up(10);
    wire.carry(10);
    assert_eq!(wire.told()[2..], ["callee: hung up", "caller: the other side hung up"]);
    assert!(wire.caller.is_idle() && wire.callee.is_idle());

    let mut wire = Wire::in_call();
    wire.caller.hang_up(10);
    wire.carry(10);
    assert_eq!(wire.told()[2..], ["caller: hung up", "callee: the other side hung up"]);
    wire.caller.tick(GIVE_UP_MS);
    assert_eq!(wire.caller.take_outputs(), [], "an answered BYE is not repeated");
}

#[test]
fn a_lost_message_is_sent_again() {
    let mut wire = Wire::new();
    wire.cut = true;
    wire.caller.call(wire.callee.sip, "sip:callee@127.0.0.1:7000", 0);
    wire.carry(0);
    wire.cut = false;
    wire.caller.tick(T1_MS);
    wire.carry(T1_MS);
    assert_eq!(wire.told(), ["callee: talk to 6001", "caller: talk to 7001"]);
    let State::InCall { last_step: LastStep::Done, .. } = wire.callee.state else { panic!("no ACK came") };
}

#[test]
fn a_call_to_nobody_ends() {
    let mut wire = Wire::new();
    wire.cut = true;
    wire.caller.call(wire.callee.sip, "sip:callee@127.0.0.1:7000", 0);
    wire.caller.tick(GIVE_UP_MS);
    wire.carry(GIVE_UP_MS);
    assert_eq!(wire.told(), ["caller: nobody answered"]);
}

#[test]
fn a_second_call_finds_the_phone_busy() {
    let mut wire = Wire::in_call();
    let mut other = phone("other", 8000);
    other.call(wire.callee.sip, "sip:callee@127.0.0.1:7000", 0);
    for output in other.take_outputs() {
        let Output::Send(_, bytes) = output else { panic!("{output:?}") };
        wire.callee.datagram(other.sip, &bytes, 0);
    }
    let Some(Output::Send(_, busy)) = wire.callee.take_outputs().pop() else { panic!("no answer") };
    other.datagram(wire.callee.sip, &busy, 0);
    assert!(other.take_outputs().contains(&Output::Ended("refused with status 486".into())));
    assert!(other.is_idle() && !wire.callee.is_idle());
}

#[test]
fn an_info_is_confirmed_and_noticed() {
    let mut wire = Wire::in_call();
    wire.caller.send_info('5', 120, 0);
    wire.carry(0);
    assert_eq!(wire.told()[2..], ["callee: InfoReceived"]);
    assert!(wire.caller.pending.is_empty());
}

#[test]
fn the_other_side_may_move_and_hold_the_media() {
    let mut wire = Wire::in_call();
    let State::InCall { mut dialog, .. } = std::mem::replace(&mut wire.caller.state, State::Idle) else {
        panic!("not in a call")
    };
    let moved = sdp::describe(([127, 0, 0, 1], 9000).into(), 2, None).replace("sendrecv", "inactive");
    wire.caller.request_in_dialog("INVITE", &mut dialog, Some(("application/sdp", moved)), 0);
    wire.state_of_caller(dialog);
    wire.carry(0);
    let Some(("callee", Output::Media(remote))) = wire.heard.last() else { panic!("{:?}", wire.heard) };
    assert_eq!((remote.rtp.port(), remote.listens), (9000, false));
}

impl Wire {
    fn state_of_caller(&mut self, dialog: Dialog) {
        self.caller.state = State::InCall { dialog, last_step: LastStep::Done };
    }
}
