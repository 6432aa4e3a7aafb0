//! Sessions that are paid by a link: how they are kept, and how their call is free meanwhile.

use hushpad_domain::ids::{AgentId, CallGuid};
use hushpad_domain::link::LinkState;
use hushpad_domain::ports::CommitError;
use hushpad_domain::session::{NewSession, Session};
use uuid::Uuid;

use crate::story::{approved, intended, minute, opened, opened_on};
use crate::{Engine, Ports};

/// A new session of acme that is paid by a link.
async fn by_link(ports: &Ports) -> Session {
    let Session { guid, provider, account, configuration, agent, payment_data, webhook, .. } =
        opened_on(None, "acme", "A1", minute(0)).after;
    let call = None;
    let new = NewSession { guid, provider, account, configuration, agent, call, payment_data, webhook };
    ports.commit(Session::open_by_link(new, minute(60), minute(0))).await
}

pub(crate) async fn every_state_of_a_link_reads_back<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let issued = by_link(&ports).await;
    assert_eq!(ports.read(&issued).await, issued);
    let opened = ports.commit(issued.open_link(minute(1)).unwrap()).await;
    assert_eq!(ports.read(&opened).await, opened);
    assert_eq!(ports.sessions.unfinished().await.unwrap(), vec![opened.clone()]);
    let revoked = ports.commit(opened.revoke_link(minute(2)).unwrap()).await;
    assert_eq!(ports.read(&revoked).await, revoked);
    let renewed = ports.commit(revoked.issue_link(minute(90), minute(3)).unwrap()).await;
    assert_eq!(ports.read(&renewed).await, renewed);
    let agent = AgentId("another".to_owned());
    let keypad = ports.commit(renewed.take_by_keypad(agent, None, minute(4)).unwrap()).await;
    assert_eq!(ports.read(&keypad).await, keypad);
    let again = ports.commit(keypad.issue_link(minute(90), minute(5)).unwrap()).await;
    assert_eq!(
        (ports.read(&again).await.links, again.link().map(|link| link.state)),
        (3, Some(LinkState::Issued))
    );
    let paid = ports.commit(intended(again, minute(6))).await;
    let paid = ports.commit(approved(paid, "A1", minute(7))).await;
    // Another connection, the same truth.
    assert_eq!(engine.open().await.read(&paid).await, paid);
    let events = ports.sessions.events(&paid.account, paid.guid, 0).await.unwrap();
    assert_eq!(events.len(), paid.events as usize);
}

pub(crate) async fn a_call_is_free_while_its_session_is_paid_by_a_link<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let call = Some(CallGuid(Uuid::new_v4()));
    let first = ports.commit(opened_on(call, "acme", "A1", minute(0))).await;
    let agent = first.agent.clone();
    let first = ports.commit(first.issue_link(minute(60), minute(1)).unwrap()).await;
    let second = ports.commit(opened_on(call, "acme", "A2", minute(2))).await;
    let back = first.clone().take_by_keypad(agent.clone(), call, minute(3)).unwrap();
    // Refused whole, also as one of a group.
    let (refused, other) = tokio::join!(
        ports.sessions.commit(back.clone()),
        ports.sessions.commit(opened("acme", "A3", minute(3)))
    );
    assert!(matches!(refused, Err(CommitError::CallTaken)), "{refused:?}");
    other.unwrap();
    assert_eq!(ports.read(&first).await, first);
    assert_eq!(ports.sessions.events(&first.account, first.guid, first.events).await.unwrap(), vec![]);
    ports.commit(second.cancel(minute(4)).unwrap()).await;
    let first = ports.commit(back).await;
    assert_eq!(ports.read(&first).await, first);
    assert_eq!(first.call, call);
    let third = ports.sessions.commit(opened_on(call, "acme", "A4", minute(5))).await;
    assert!(matches!(third, Err(CommitError::CallTaken)));
}

pub(crate) async fn of_two_moves_at_once_one_is_made<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = by_link(&ports).await;
    let (revoke, renew) =
        (session.clone().revoke_link(minute(1)).unwrap(), session.issue_link(minute(90), minute(1)).unwrap());
    let (first, second) = tokio::join!(ports.sessions.commit(revoke.clone()), ports.sessions.commit(renew));
    first.unwrap();
    assert!(matches!(second, Err(CommitError::Conflict)), "{second:?}");
    assert_eq!(ports.read(&revoke.after).await, revoke.after);
}
