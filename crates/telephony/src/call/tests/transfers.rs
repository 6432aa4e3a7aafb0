//! A leg leads to somebody else: by REFER of its phone, or by an INVITE that replaces it.

use super::*;

#[test]
fn the_agent_passes_the_customer_on() {
    let mut script = Script::talking();
    assert_eq!(script.refer(true), ["respond callee #9 202", "notify callee 100", "invite next sendrecv"]);
    assert!(script.call.is_transferring());
    assert_eq!(
        script.next_answers("sendrecv"),
        ["notify callee 200 last", "bye callee", "adopt callee", "set callee SendRecv", "transferred callee"]
    );
    assert_eq!(script.takes(Input::Bye { leg: Leg::Callee }), ["bye caller", "Ended(HungUpBy(Callee))"]);
}

#[test]
fn an_agent_who_hangs_up_after_its_refer_leaves_the_customer_waiting() {
    let mut script = Script::talking();
    script.refer(true);
    assert_eq!(script.takes(Input::Bye { leg: Leg::Callee }), ["set callee Inactive"]);
    assert!(script.call.is_live() && !script.call.has_both());
    assert_eq!(
        script.next_answers("sendrecv"),
        ["adopt callee", "set callee SendRecv", "transferred callee"]
    );
    assert!(script.call.has_both());

    let mut script = Script::talking();
    script.refer(true);
    script.takes(Input::Bye { leg: Leg::Callee });
    assert_eq!(script.takes(Input::TransferRefused { code: 486 }), ["bye caller", "Ended(HungUpBy(Callee))"]);
}

#[test]
fn a_transfer_that_fails_leaves_the_agent_where_it_is() {
    let mut script = Script::talking();
    script.refer(true);
    assert_eq!(script.takes(Input::TransferRefused { code: 486 }), ["notify callee 486 last"]);
    assert!(script.call.is_live() && !script.call.is_transferring());
    script.refer(true);
    assert_eq!(script.call.deadline_ms(), Some(60_000));
    assert_eq!(script.at(60_000, Input::Time), ["cancel next", "notify callee 408 last"]);
    script.refer(true);
    let useless = Input::TransferAnswered { sdp: Some(b"v=0\r\n"), timer: NO_TIMER };
    assert_eq!(script.takes(useless), ["cancel next", "notify callee 488 last"]);
    assert!(script.next_answers("sendrecv").is_empty());
}

#[test]
fn who_may_not_be_called_and_who_may_not_ask_is_refused() {
    let mut script = Script::talking();
    assert_eq!(script.refer(false), ["respond callee #9 403"]);
    let customers = Input::Refer { leg: Leg::Caller, request: RequestId(1), allowed: None };
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
    assert_eq!(script.takes(Input::Secure(true)), ["cancel next", "notify callee 403 last"]);
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
    assert_eq!(script.next_answers("recvonly").last().unwrap(), "transferred callee");
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

#[test]
fn the_caller_passes_the_agent_on() {
    let mut script = Script::talking();
    let refer = Input::Refer { leg: Leg::Caller, request: RequestId(3), allowed: Some(Wish::Off) };
    assert_eq!(script.takes(refer), ["respond caller #3 202", "notify caller 100", "invite next sendrecv"]);
    assert_eq!(script.takes(Input::Bye { leg: Leg::Caller }), ["set caller Inactive"]);
    assert!(!script.call.has_both());
    assert_eq!(
        script.next_answers("sendrecv"),
        ["adopt caller", "set caller SendRecv", "transferred caller"]
    );
    // The new dialog is ours, on the caller leg too: after glare the owner of the Call-ID waits longer.
    assert_eq!(script.takes(Input::HangUp), ["bye callee", "bye caller", "Ended(HungUp)"]);

    let mut script = Script::talking();
    let refer = Input::Refer { leg: Leg::Caller, request: RequestId(3), allowed: Some(Wish::Off) };
    script.takes(refer);
    script.takes(Input::Bye { leg: Leg::Caller });
    assert_eq!(script.takes(Input::TransferRefused { code: 486 }), ["bye callee", "Ended(HungUpBy(Caller))"]);
}

#[test]
fn somebody_takes_the_place_of_either_side() {
    for leg in [Leg::Caller, Leg::Callee] {
        let mut script = Script::talking();
        let name = leg.name();
        assert_eq!(
            script.replace(leg, Some(&phone("sendrecv"))),
            [
                "answer next sendrecv".to_owned(),
                format!("bye {name}"),
                format!("adopt {name}"),
                format!("set {name} SendRecv"),
                format!("transferred {name}"),
            ]
        );
        // And again, now with an offer of ours; its answer comes with the ACK.
        let out = script.replace(leg, None);
        assert_eq!(out[0], "answer next sendrecv");
        assert_eq!(out.last().unwrap(), &format!("transferred {name}"));
        assert_eq!(script.modify(leg, 5, Some(&phone("sendonly"))), [format!("respond {name} #5 491")]);
        let acked = Input::Acked { leg, sdp: Some(&phone("sendrecv")) };
        assert_eq!(script.takes(acked), [format!("set {name} SendRecv")]);
    }
}

#[test]
fn nobody_takes_a_place_while_keys_are_hidden_or_something_else_goes_on() {
    let (mut script, _) = Script::dialled();
    assert_eq!(script.replace(Leg::Callee, Some(&phone("sendrecv"))), ["respond next 491"]);
    let mut script = Script::talking();
    script.takes(Input::Secure(true));
    for leg in [Leg::Caller, Leg::Callee] {
        assert_eq!(script.replace(leg, Some(&phone("sendrecv"))), ["respond next 403"]);
    }
    script.takes(Input::Secure(false));
    assert_eq!(script.replace(Leg::Callee, Some(b"v=0\r\n")), ["respond next 488"]);
    script.refer(true);
    assert_eq!(script.replace(Leg::Callee, Some(&phone("sendrecv"))), ["respond next 491"]);
    script.takes(Input::HangUp);
    assert_eq!(script.replace(Leg::Callee, Some(&phone("sendrecv"))), ["respond next 481"]);
}

#[test]
fn who_takes_the_place_of_one_that_holds_lets_the_other_speak_again() {
    let mut script = Script::talking();
    script.modify(Leg::Callee, 1, Some(&phone("sendonly")));
    script.modify_answered(Leg::Caller, 200, Some(&phone("recvonly")));
    // Without an offer two exchanges would cross.
    assert_eq!(script.replace(Leg::Callee, None), ["respond next 488"]);
    let out = script.replace(Leg::Callee, Some(&phone("sendrecv")));
    assert_eq!(out.first().unwrap(), "answer next sendrecv");
    assert_eq!(out.last().unwrap(), "re-invite caller sendrecv");
    assert_eq!(script.modify_answered(Leg::Caller, 200, Some(&phone("sendrecv"))), ["set caller SendRecv"]);
}
