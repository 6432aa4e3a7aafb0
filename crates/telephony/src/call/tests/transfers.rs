//! The callee leg moves on to another callee.

use super::*;

#[test]
fn the_agent_passes_the_customer_on() {
    let mut script = Script::talking();
    assert_eq!(script.refer(true), ["respond callee #9 202", "notify 100", "invite next sendrecv"]);
    assert!(script.call.is_transferring());
    assert_eq!(
        script.next_answers("sendrecv"),
        ["notify 200 last", "bye callee", "adopt", "set callee SendRecv", "Transferred"]
    );
    assert_eq!(script.takes(Input::Bye { leg: Leg::Callee }), ["bye caller", "Ended(HungUpBy(Callee))"]);
}

#[test]
fn an_agent_who_hangs_up_after_its_refer_leaves_the_customer_waiting() {
    let mut script = Script::talking();
    script.refer(true);
    assert_eq!(script.takes(Input::Bye { leg: Leg::Callee }), ["set callee Inactive"]);
    assert!(script.call.is_live() && !script.call.has_callee());
    assert_eq!(script.next_answers("sendrecv"), ["adopt", "set callee SendRecv", "Transferred"]);
    assert!(script.call.has_callee());

    let mut script = Script::talking();
    script.refer(true);
    script.takes(Input::Bye { leg: Leg::Callee });
    assert_eq!(script.takes(Input::TransferRefused { code: 486 }), ["bye caller", "Ended(HungUpBy(Callee))"]);
}

#[test]
fn a_transfer_that_fails_leaves_the_agent_where_it_is() {
    let mut script = Script::talking();
    script.refer(true);
    assert_eq!(script.takes(Input::TransferRefused { code: 486 }), ["notify 486 last"]);
    assert!(script.call.is_live() && !script.call.is_transferring());
    script.refer(true);
    assert_eq!(script.call.deadline_ms(), Some(60_000));
    assert_eq!(script.at(60_000, Input::Time), ["cancel next", "notify 408 last"]);
    script.refer(true);
    let useless = Input::TransferAnswered { sdp: Some(b"v=0\r\n"), timer: NO_TIMER };
    assert_eq!(script.takes(useless), ["cancel next", "notify 488 last"]);
    assert!(script.next_answers("sendrecv").is_empty());
}

#[test]
fn who_may_not_be_called_and_who_may_not_ask_is_refused() {
    let mut script = Script::talking();
    assert_eq!(script.refer(false), ["respond callee #9 403"]);
    let customers = Input::Refer { leg: Leg::Caller, request: RequestId(1), allowed: Some(Wish::Off) };
    assert_eq!(script.takes(customers), ["respond caller #1 403"]);
    script.refer(true);
    assert_eq!(script.refer(true), ["respond callee #9 491"]);
    assert_eq!(script.modify(Leg::Caller, 2, Some(&phone("sendonly"))), ["respond caller #2 491"]);
}

#[test]
fn while_keys_are_hidden_nobody_is_transferred() {
    let mut script = Script::talking();
    script.takes(Input::Secure(true));
    assert_eq!(script.refer(true), ["respond callee #9 403"]);
    script.takes(Input::Secure(false));
    script.refer(true);
    // One that is under way when a session begins comes to nothing.
    assert_eq!(script.takes(Input::Secure(true)), ["cancel next", "notify 403 last"]);
    assert!(script.next_answers("sendrecv").is_empty());
}

#[test]
fn a_customer_on_hold_hears_the_next_agent() {
    let mut script = Script::talking();
    script.modify(Leg::Callee, 1, Some(&phone("sendonly")));
    script.modify_answered(Leg::Caller, 200, Some(&phone("recvonly")));
    assert_eq!(script.refer(true)[2], "invite next sendrecv");
    assert_eq!(script.next_answers("sendrecv")[5..], ["re-invite caller sendrecv"]);
    assert_eq!(script.modify_answered(Leg::Caller, 200, Some(&phone("sendrecv"))), ["set caller SendRecv"]);
    // And the caller's own hold stays.
    script.modify(Leg::Caller, 2, Some(&phone("sendonly")));
    script.modify_answered(Leg::Callee, 200, Some(&phone("recvonly")));
    assert_eq!(script.refer(true)[2], "invite next sendonly");
    assert_eq!(script.next_answers("recvonly").last().unwrap(), "Transferred");
}

#[test]
fn a_customer_who_hangs_up_ends_a_transfer_too() {
    let mut script = Script::talking();
    script.refer(true);
    assert_eq!(
        script.takes(Input::Bye { leg: Leg::Caller }),
        ["bye callee", "cancel next", "Ended(HungUpBy(Caller))"]
    );
}
