//! Results are pushed to the back end: once, signed, as the Payment API would tell them; and again after a crash that
//! nobody can know the end of.

use hushpad::webhooks::signature::{self, SigningSecret};
use hushpad::world::RealWorld;
use hushpad_domain::ports::World;
use serde_json::json;

use crate::cards::AMEX;
use crate::desk::Desk;
use crate::receiver::{Came, Manner, SECRET};
use crate::stories::test_keypad::presses_card;
use crate::until;

#[test]
fn a_payment_is_pushed_once_signed_and_as_the_api_tells_it() {
    let mut desk = Desk::start();
    desk.expects_card(AMEX);
    let session = desk.open_test_session();
    let page = desk.open_page(&session);
    presses_card(&page, AMEX);
    page.pay();
    page.shows_phase("ended");
    until("the result is pushed", || (!desk.receiver.came(&session.guid).is_empty()).then_some(()));
    until("that is written down", || (desk.metric("hushpad_webhooks_due") == "0").then_some(()));
    let came = desk.receiver.came(&session.guid);
    assert_eq!(came.len(), 1, "{came:?}");
    assert_eq!(came[0].body, desk.status_text(&session));
    assert_eq!(came[0].json()["outcome"], "approved");
    assert_verifies(&came[0]);
}

#[test]
fn what_a_crash_left_unanswered_comes_again_with_its_id() {
    let mut desk = Desk::start();
    desk.receiver.now(Manner::SaysNothing);
    let (first, second) = (desk.open_test_session(), desk.open_test_session());
    desk.cancels(&first);
    until("it is sent", || (!desk.receiver.came(&first.guid).is_empty()).then_some(()));
    // Sent, not written down; and one more whose result is committed a moment before the end.
    desk.cancels(&second);
    desk.kill_9();
    desk.receiver.now(Manner::Takes);
    desk.restart();
    for session in [&first, &second] {
        until("it comes again", || {
            let came = desk.receiver.came(&session.guid);
            let id = came.first()?.header("webhook-id").to_owned();
            assert!(came.iter().all(|one| one.header("webhook-id") == id), "{came:?}");
            came.iter().for_each(assert_verifies);
            (desk.metric("hushpad_webhooks_due") == "0").then_some(())
        });
    }
    assert!(desk.receiver.came(&first.guid).len() >= 2);
    // No dead letter, and nothing that waits: seen from beside the running server.
    assert_eq!(desk.hushpad(&["webhooks", "list", "--due"]), "");
    assert_eq!(desk.hushpad(&["webhooks", "list"]), "");
}

fn assert_verifies(came: &Came) {
    let secret = SigningSecret::parse(SECRET).unwrap();
    let headers = [signature::ID, signature::TIMESTAMP, signature::SIGNATURE];
    let headers = headers.map(|name| (name.parse().unwrap(), came.header(name).parse().unwrap()));
    let headers = headers.into_iter().collect();
    signature::verify(&secret, &headers, came.body.as_bytes(), RealWorld::new().now()).unwrap();
    assert_ne!(came.json(), json!(null));
}
