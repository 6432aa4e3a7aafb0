//! What nobody can find out by asking, the operator says on the command line, beside the running server.

use serde_json::{Value, json};

use crate::cards::VISA;
use crate::desk::{Desk, Session};
use crate::stories::kill_steps::{charge_of, keys, pays};
use crate::until;

/// The configuration that sells at the generic gateway.
const SALE: u32 = 10;

/// The id in the operator's list of this session.
fn listed(desk: &Desk, session: &Session, what: &str) -> String {
    let open = desk.hushpad(&["attempts", "list"]);
    let line = open.lines().find(|line| line.contains(&session.guid)).unwrap_or_else(|| panic!("{open}"));
    assert!(line.contains(what), "{line}");
    line.split_whitespace().next().unwrap().to_owned()
}

fn settles(desk: &Desk, id: &str, as_what: &str) {
    let said = desk.hushpad(&["attempts", "settle", id, as_what, "--reference", "seen in the portal"]);
    assert!(said.starts_with("written down"), "{said}");
}

/// The back end has heard it, as the API tells it.
fn is_pushed(desk: &mut Desk, session: &Session, is_it: impl Fn(&Value) -> bool) {
    let status = desk.status(session);
    assert!(is_it(&status), "{status}");
    until("that is pushed", || {
        desk.receiver.came(&session.guid).iter().any(|came| is_it(&came.json())).then_some(())
    });
}

#[test]
fn an_unknown_attempt_ends_as_the_operator_says() {
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    let (session, page) = keys(&mut desk, SALE, VISA, "23.01");
    desk.gateway_fails(
        &json!({"fault": "never_answered", "gateway": "generic", "path": "/charges", "method": "POST"}),
    );
    page.pay();
    until("the gateway has charged", || charge_of(&desk, "23.01"));
    // From now on nobody can be asked.
    desk.stop_gateway();
    let status = desk.waits_for_outcome(&session, "unknown");
    assert_eq!(status["sessionState"], "Processing", "{status}");

    let id = listed(&desk, &session, "unknown");
    settles(&desk, &id, "--charged");
    let status = desk.waits_for_outcome(&session, "approved");
    assert_eq!(status["sessionState"], "Finished", "{status}");
    is_pushed(&mut desk, &session, |told| told["outcome"] == "approved");
    let events = desk.events(&session);
    assert!(events.contains(&"attempt.settled".to_owned()), "{events:?}");
    page.shows_phase("ended");
    assert_eq!(desk.hushpad(&["attempts", "list"]), "");
    // What the operator said is so.
    desk.start_gateway();
    assert_eq!(charge_of(&desk, "23.01").unwrap()["stands"], "23.01");
}

#[test]
fn unknown_operations_end_as_the_operator_says() {
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    let done = pays(&mut desk, SALE, "24.01");
    let failed = pays(&mut desk, SALE, "24.02");
    let mut asked = Vec::new();
    for (session, fault) in [(&done, "never_answered"), (&failed, "never_processed")] {
        desk.gateway_fails(
            &json!({"fault": fault, "gateway": "generic", "path": "/charges", "method": "POST"}),
        );
        asked.push(desk.asks_for(session, "refund", &json!({"amount": "4.00"})));
        desk.fault_has_struck();
    }
    desk.stop_gateway();
    asked.into_iter().for_each(|asked| asked.join().unwrap());
    for (session, as_what, state) in [(&done, "--done", "done"), (&failed, "--failed", "refused")] {
        let id = listed(&desk, session, "refund unknown");
        settles(&desk, &id, as_what);
        until(&format!("the refund is {state}"), || {
            let status = desk.status(session);
            assert_eq!(status["outcome"], "approved", "{status}");
            (status["attempts"][0]["operations"][0]["state"] == state).then_some(())
        });
        is_pushed(&mut desk, session, |told| told["attempts"][0]["operations"][0]["state"] == state);
    }
    assert_eq!(desk.hushpad(&["attempts", "list"]), "");
    desk.start_gateway();
    assert_eq!(charge_of(&desk, "24.01").unwrap()["stands"], "20.01");
    assert_eq!(charge_of(&desk, "24.02").unwrap()["stands"], "24.02");
}
