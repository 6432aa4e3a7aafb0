//! What gateways have told, until it is taken up.

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Checks, StoredCard};
use hushpad_domain::ids::{GatewayName, OperationId};
use hushpad_domain::notification::{NOTIFICATION_RETENTION, Notification, Told, UndoingEnd};
use hushpad_domain::operation::Asked;
use hushpad_domain::session::OperationRequest;
use uuid::Uuid;

use super::story::{approved, intended, minute, opened};
use super::{Engine, Ports};

fn adyen() -> GatewayName {
    GatewayName("adyen".to_owned())
}

fn told(key: &str, what: Told) -> Notification {
    Notification {
        dedupe_key: key.to_owned(),
        reference: Uuid::from_u128(7),
        gateway_reference: "psp-1".to_owned(),
        original_reference: Some("psp-0".to_owned()),
        amount: None,
        what,
    }
}

fn undone(key: &str) -> Notification {
    told(key, Told::Reversal { end: UndoingEnd::Done, reason: "it's done; \"so\"".to_owned() })
}

async fn waiting(ports: &Ports) -> Vec<(GatewayName, Notification)> {
    let waiting = ports.notifications.waiting(0, 100).await.unwrap();
    waiting.into_iter().map(|one| (one.gateway, one.notification)).collect()
}

pub(crate) async fn what_was_told_waits_in_order_and_survives_its_owner<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let attempt = Told::Attempt {
        declined: None,
        checks: Checks::default(),
        result: BTreeMap::from([("resultCode".to_owned(), "Authorised".to_owned())]),
        stored: Some(StoredCard { token: "t-1".to_owned(), network_transaction_id: None }),
    };
    let (first, second, third) = (told("a", attempt), undone("b"), undone("c"));
    let both = vec![first.clone(), second.clone()];
    assert_eq!(ports.notifications.keep(&adyen(), both, minute(1)).await.unwrap(), 2);
    assert_eq!(ports.notifications.keep(&adyen(), vec![third.clone()], minute(1)).await.unwrap(), 1);
    let ports = engine.open().await;
    let all = [first, second.clone(), third].map(|one| (adyen(), one));
    assert_eq!(waiting(&ports).await, all);
    let page = ports.notifications.waiting(0, 1).await.unwrap();
    let next = ports.notifications.waiting(page[0].number, 1).await.unwrap();
    assert_eq!(next[0].notification, second);
}

pub(crate) async fn what_was_told_before_is_known_also_after_it_was_taken_up<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let keep = async |gateway: GatewayName, keys: &[&str], at| {
        let all = keys.iter().map(|key| undone(key)).collect();
        ports.notifications.keep(&gateway, all, at).await.unwrap()
    };
    // Twice in one request, too.
    assert_eq!(keep(adyen(), &["a", "a", "b"], minute(1)).await, 2);
    assert_eq!(keep(adyen(), &["b", "c"], minute(2)).await, 1);
    assert_eq!(keep(GatewayName("other".to_owned()), &["a"], minute(2)).await, 1);
    for one in ports.notifications.waiting(0, 100).await.unwrap() {
        ports.notifications.taken_up(one.number).await.unwrap();
    }
    assert_eq!(waiting(&ports).await, []);
    assert_eq!(keep(adyen(), &["a", "b", "c"], minute(3)).await, 0);
    assert_eq!(keep(adyen(), &["d"], minute(3)).await, 1);
    // After its retention it would be new again; what waits is kept for as long as it waits.
    ports.sessions.purge(minute(4).plus(NOTIFICATION_RETENTION)).await.unwrap();
    assert_eq!(waiting(&ports).await.len(), 1);
    assert_eq!(keep(adyen(), &["a", "d"], minute(5)).await, 1);
}

pub(crate) async fn a_session_is_found_by_its_attempt_and_by_its_operation<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.commit(opened("acme", "A1", minute(0))).await;
    let session = ports.commit(intended(session, minute(1))).await;
    let session = ports.commit(approved(session, "A1", minute(2))).await;
    let id = OperationId(Uuid::new_v4());
    let request = OperationRequest { id, asked: Asked::Refund, amount: None, attempt: None };
    let session = ports.commit(session.operate(request, minute(3)).unwrap()).await;
    let find = async |id| ports.notifications.session_of(id).await.unwrap();
    assert_eq!(find(session.attempts[0].id.0).await, Some(session.clone()));
    assert_eq!(find(id.0).await, Some(session));
    assert_eq!(find(Uuid::new_v4()).await, None);
}

pub(crate) async fn a_replaced_owner_keeps_and_takes_up_nothing<E: Engine>() {
    let engine = E::new().await;
    let old = engine.open().await;
    old.notifications.keep(&adyen(), vec![undone("a")], minute(1)).await.unwrap();
    let new = engine.open().await;
    assert!(old.notifications.keep(&adyen(), vec![undone("b")], minute(2)).await.is_err());
    let first = old.notifications.waiting(0, 1).await.unwrap();
    // Whether it is told or not: the new owner still has it.
    let _ = old.notifications.taken_up(first[0].number).await;
    assert_eq!(waiting(&new).await, [(adyen(), undone("a"))]);
}
