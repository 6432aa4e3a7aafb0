//! What Adyen tells unasked, signed: it ends what was only accepted, once, and only when Adyen has said it.

use serde_json::{Value, json};

use crate::cards::VISA;
use crate::desk::{Desk, Session};
use crate::stories::kill_steps::{charge_of, keys};
use crate::until;

/// The configuration that sells at Adyen.
const SALE: u32 = 13;
const ACCEPTED: &str = "[accepted]";

/// The gateway's notifications come to the shop's own back end, and no further.
fn intercepted(desk: &Desk) -> usize {
    desk.gateway_notifies(&format!("http://{}/adyen", desk.at.receiver));
    desk.receiver.bodies_with("notificationItems").len()
}

/// What the gateway has told since then.
fn next_told(desk: &Desk, after: usize) -> String {
    until("the gateway tells", || desk.receiver.bodies_with("notificationItems").get(after).cloned())
}

fn pays(desk: &mut Desk, amount: &str) -> Session {
    let (session, page) = keys(desk, SALE, VISA, amount);
    page.pay();
    session
}

fn operation(desk: &mut Desk, session: &Session) -> Value {
    desk.status(session)["attempts"][0]["operations"][0]["state"].clone()
}

fn count(events: &[String], kind: &str) -> usize {
    events.iter().filter(|event| *event == kind).count()
}

#[test]
fn a_pending_payment_ends_when_adyen_says_so_and_only_adyen() {
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    let told_before = intercepted(&desk);
    let session = pays(&mut desk, "68.03");
    until("it is pending", || (desk.status(&session)["attempts"][0]["state"] == "pending").then_some(()));
    let told = next_told(&desk, told_before);

    // Somebody else's words: unsigned, signed for another amount, and cut off.
    let mut unsigned: Value = serde_json::from_str(&told).unwrap();
    let item = &mut unsigned["notificationItems"][0]["NotificationRequestItem"];
    item["additionalData"].as_object_mut().unwrap().remove("hmacSignature").unwrap();
    let unsigned = unsigned.to_string();
    let changed = told.replace("6803", "1");
    assert_ne!(changed, told);
    for (forged, status) in [(unsigned.as_str(), 401), (&changed, 401), (&told[..told.len() / 2], 400)] {
        let reply = desk.is_notified("adyen", forged);
        assert_eq!((reply.status, reply.body.as_str()), (status, ""), "{reply:?}");
    }
    desk.is_notified("generic", &told).expect(404);
    let status = desk.status(&session);
    assert_eq!(
        (&status["sessionState"], &status["outcome"]),
        (&json!("Processing"), &json!("unknown")),
        "{status}"
    );

    // Adyen's own, twice.
    assert_eq!(desk.is_notified("adyen", &told).expect(200).body, ACCEPTED);
    assert_eq!(desk.is_notified("adyen", &told).expect(200).body, ACCEPTED);
    let status = desk.waits_for_outcome(&session, "approved");
    assert_eq!(status["sessionState"], "Finished", "{status}");
    assert_eq!(charge_of(&desk, "68.03").unwrap()["stands"], "68.03");
    until("the result is pushed", || (!desk.receiver.came(&session.guid).is_empty()).then_some(()));
    // And once more after a restart: it is known.
    desk.kill_9();
    desk.restart();
    assert_eq!(desk.is_notified("adyen", &told).expect(200).body, ACCEPTED);
    let events = desk.events(&session);
    assert_eq!(count(&events, "attempt.approved"), 1, "{events:?}");
    assert_eq!(count(&events, "session.ended"), 1, "{events:?}");
}

#[test]
fn a_refund_that_was_only_accepted_is_done_when_that_is_told() {
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    desk.gateway_notifies(&desk.notifications_of("adyen"));
    let session = pays(&mut desk, "22.01");
    desk.waits_for_outcome(&session, "approved");
    let told_before = intercepted(&desk);
    let refund = desk.post(&format!("/v1/session/{}/refund", session.guid), r#"{"amount": "4.00"}"#);
    assert_eq!(refund.status, 202, "{refund:?}");
    assert_eq!(operation(&mut desk, &session), "accepted");

    let told = next_told(&desk, told_before);
    let forged = told.replace(r#""success":"true""#, r#""success":"false""#);
    assert_ne!(forged, told);
    assert_eq!(desk.is_notified("adyen", &forged).status, 401);
    assert_eq!(operation(&mut desk, &session), "accepted");
    // A crash between receipt and taking up loses nothing.
    assert_eq!(desk.is_notified("adyen", &told).expect(200).body, ACCEPTED);
    desk.kill_9();
    desk.restart();
    until("it is done", || (operation(&mut desk, &session) == "done").then_some(()));
    assert_eq!(desk.is_notified("adyen", &told).expect(200).body, ACCEPTED);
    let events = desk.events(&session);
    assert_eq!(count(&events, "operation.done"), 1, "{events:?}");
    assert_eq!(charge_of(&desk, "22.01").unwrap()["stands"], "18.01");
    until("that is pushed too", || {
        let came = desk.receiver.came(&session.guid);
        let last = came.last()?.json();
        (last["attempts"][0]["operations"][0]["state"] == "done").then_some(())
    });
}
