//! The part of the contract that is about webhook deliveries.

use std::time::Duration;

use hushpad_domain::change::Change;
use hushpad_domain::ids::{ConfigurationId, DeliveryId, SessionGuid};
use hushpad_domain::ports::CommitError;
use hushpad_domain::session::{RESULT_RETENTION, Session, SessionState};
use hushpad_domain::time::Timestamp;
use hushpad_domain::webhook::{
    Backlog, Delivery, DeliveryList, DeliveryState, Listed, Receiver, TRIES_WINDOW, Tried, TryAnswer,
};
use uuid::Uuid;

use crate::story::{account, approved, declined, intended, minute, opened, opened_on};
use crate::{Engine, Ports};

const OK: TryAnswer = TryAnswer::Status(200);
const DOWN: TryAnswer = TryAnswer::Unreachable;

fn receiver(account_name: &str) -> Receiver {
    Receiver { account: account(account_name), configuration: ConfigurationId(0) }
}

/// A new session of a configuration with a webhook.
fn opened_with_webhook(account: &str, at: Timestamp) -> Change {
    let mut change = opened(account, "A1", at);
    change.after.webhook = true;
    change
}

impl Ports {
    async fn pays(&self, account: &str, at: i64) -> Session {
        let session = self.commit(opened_with_webhook(account, minute(at))).await;
        let session = self.commit(intended(session, minute(at))).await;
        self.commit(approved(session, "A1", minute(at))).await
    }

    async fn due(&self, account: &str, now: Timestamp) -> Vec<(Delivery, Session)> {
        self.webhooks.due(&receiver(account), now, &[], 1_000).await.unwrap()
    }

    async fn the_due(&self, account: &str, now: Timestamp) -> Delivery {
        let mut due = self.due(account, now).await;
        assert_eq!(due.len(), 1);
        due.remove(0).0
    }

    async fn tries(&self, delivery: &Delivery, answer: TryAnswer, now: Timestamp) -> DeliveryState {
        let tried = delivery.tried(answer, now, 0);
        let state = tried.state;
        self.webhooks.settle(vec![tried]).await.unwrap();
        state
    }

    async fn listed(&self, account_name: &str, state: Listed, after: Option<DeliveryId>) -> Vec<Delivery> {
        let list = DeliveryList { account: account(account_name), state, after, limit: 2 };
        self.webhooks.deliveries(list).await.unwrap()
    }
}

fn kept_until(session: &Session) -> Timestamp {
    match session.state {
        SessionState::Ended { kept_until, .. } => kept_until,
        _ => panic!("the session has not ended"),
    }
}

fn earlier(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros() - 1)
}

pub(crate) async fn what_a_receiver_must_hear_is_due_with_its_change<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.commit(opened_with_webhook("acme", minute(0))).await;
    let session = ports.commit(intended(session, minute(1))).await;
    assert_eq!(ports.due("acme", minute(9)).await, vec![]);
    let answered = declined(session, "A1", minute(2));
    let id = answered.delivery.expect("the gateway has answered");
    let session = ports.commit(answered).await;
    let expected = Delivery {
        id,
        session: session.guid,
        receiver: receiver("acme"),
        event: session.events,
        created_on: minute(2),
        since: minute(2),
        tries: 0,
        last: None,
        state: DeliveryState::Due { at: minute(2) },
    };
    assert_eq!(ports.due("acme", earlier(minute(2))).await, vec![]);
    assert_eq!(ports.due("acme", minute(2)).await, vec![(expected.clone(), session.clone())]);
    assert_eq!(ports.webhooks.next_due(&receiver("acme"), &[]).await.unwrap(), Some(minute(2)));
    assert_eq!(ports.webhooks.receivers().await.unwrap(), vec![receiver("acme")]);
    // A crash after this has lost nothing: who opens the store next finds it due, with what is true by then.
    let again = engine.open().await;
    let session = again.commit(session.cancel(minute(3)).unwrap()).await;
    assert_eq!(again.due("acme", minute(2)).await, vec![(expected, session)]);
    assert_eq!(again.webhooks.backlog().await.unwrap(), Backlog { due: 2, oldest: Some(minute(2)), dead: 0 });
}

pub(crate) async fn without_a_webhook_nothing_is_due<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.commit(opened_on(None, "acme", "A1", minute(0))).await;
    ports.commit(session.cancel(minute(1)).unwrap()).await;
    assert_eq!(ports.webhooks.backlog().await.unwrap(), Backlog::default());
    assert_eq!(ports.webhooks.receivers().await.unwrap(), vec![]);
}

pub(crate) async fn a_change_that_is_refused_tells_nobody<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.commit(opened_with_webhook("acme", minute(0))).await;
    ports.commit(session.clone().begin(minute(1)).unwrap()).await;
    let stale = session.cancel(minute(1)).unwrap();
    assert!(stale.delivery.is_some());
    assert!(matches!(ports.sessions.commit(stale).await, Err(CommitError::Conflict)));
    assert_eq!(ports.webhooks.backlog().await.unwrap(), Backlog::default());
}

pub(crate) async fn a_failed_try_is_due_again_and_a_delivered_one_never<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.pays("acme", 0).await;
    let first = ports.the_due("acme", minute(0)).await;
    let DeliveryState::Due { at } = ports.tries(&first, DOWN, minute(0)).await else { panic!("given up") };
    assert_eq!(ports.due("acme", earlier(at)).await, vec![]);
    assert_eq!(ports.webhooks.next_due(&receiver("acme"), &[]).await.unwrap(), Some(at));
    let second = ports.the_due("acme", at).await;
    let expected = Delivery { tries: 1, last: Some(DOWN), state: DeliveryState::Due { at }, ..first.clone() };
    assert_eq!(second, expected);
    ports.tries(&second, OK, at).await;
    assert_eq!(ports.due("acme", minute(1_000)).await, vec![]);
    assert_eq!(ports.webhooks.next_due(&receiver("acme"), &[]).await.unwrap(), None);
    // What comes late changes nothing.
    ports.tries(&second, DOWN, at).await;
    assert_eq!(ports.due("acme", minute(1_000)).await, vec![]);
    assert_eq!(kept_until(&ports.read(&session).await), at.plus(RESULT_RETENTION));
}

pub(crate) async fn only_one_of_a_session_is_under_way<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let session = ports.commit(opened_with_webhook("acme", minute(0))).await;
    let session = ports.commit(intended(session, minute(1))).await;
    let session = ports.commit(declined(session, "A1", minute(1))).await;
    let session = ports.commit(session.cancel(minute(2)).unwrap()).await;
    let other = ports.pays("acme", 3).await;
    let guids = |due: Vec<(Delivery, Session)>| -> Vec<(SessionGuid, u32)> {
        due.into_iter().map(|(delivery, session)| (session.guid, delivery.event)).collect()
    };
    assert_eq!(guids(ports.due("acme", minute(9)).await), [(session.guid, 3), (other.guid, other.events)]);
    let except = [session.guid];
    let rest = ports.webhooks.due(&receiver("acme"), minute(9), &except, 1_000).await.unwrap();
    assert_eq!(guids(rest), [(other.guid, other.events)]);
    assert_eq!(ports.webhooks.next_due(&receiver("acme"), &except).await.unwrap(), Some(minute(3)));
    let one = ports.webhooks.due(&receiver("acme"), minute(9), &[], 1).await.unwrap();
    assert_eq!(guids(one), [(session.guid, 3)]);
    // While another waits, the delivered one does not let go of the result.
    let (first, _) = ports.due("acme", minute(9)).await.remove(0);
    ports.tries(&first, OK, minute(9)).await;
    assert_eq!(kept_until(&ports.read(&session).await), minute(2).plus(TRIES_WINDOW));
    let (second, _) = ports.due("acme", minute(9)).await.remove(0);
    assert_eq!(second.event, 4);
    ports.tries(&second, OK, minute(10)).await;
    assert_eq!(kept_until(&ports.read(&session).await), minute(10).plus(RESULT_RETENTION));
}

pub(crate) async fn many_are_settled_at_once<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    for at in 0..30 {
        ports.pays("acme", at).await;
    }
    let due = ports.due("acme", minute(100)).await;
    assert_eq!(due.len(), 30);
    let tried: Vec<Tried> = due
        .iter()
        .enumerate()
        .map(|(n, (delivery, _))| delivery.tried(if n % 3 == 0 { DOWN } else { OK }, minute(100), 0))
        .collect();
    ports.webhooks.settle(tried).await.unwrap();
    assert_eq!(ports.webhooks.backlog().await.unwrap().due, 10);
    for (n, (delivery, session)) in due.iter().enumerate() {
        let delivered = kept_until(&ports.read(session).await) == minute(100).plus(RESULT_RETENTION);
        assert_eq!(delivered, n % 3 != 0, "{delivery:?}");
    }
}

pub(crate) async fn a_result_is_kept_until_it_was_delivered_for_a_while<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let (told, untold) = (ports.pays("acme", 0).await, ports.pays("globex", 0).await);
    ports.sessions.purge(minute(60)).await.unwrap();
    assert_eq!(ports.read(&told).await, told);
    let delivery = ports.the_due("acme", minute(60)).await;
    ports.tries(&delivery, OK, minute(60)).await;

    ports.sessions.purge(earlier(minute(75))).await.unwrap();
    assert!(!ports.read(&told).await.payment_data.values().is_empty());
    assert_eq!(ports.sessions.purge(minute(75)).await.unwrap(), 1);
    assert!(ports.read(&told).await.payment_data.values().is_empty());
    // The other receiver is down: no longer than it is tried.
    ports.sessions.purge(earlier(minute(12 * 60))).await.unwrap();
    assert_eq!(ports.read(&untold).await, untold);
    assert_eq!(ports.sessions.purge(minute(12 * 60)).await.unwrap(), 1);
    assert!(ports.read(&untold).await.payment_data.values().is_empty());
    // A change of the ended session does not put it off; see the column's comment.
    assert_eq!(kept_until(&ports.read(&told).await), minute(75));
}

pub(crate) async fn dead_letters_are_listed_and_replayed_within_their_account<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let late = minute(0).plus(TRIES_WINDOW);
    let mut sessions = Vec::new();
    for at in 0..3 {
        sessions.push(ports.pays("acme", at).await);
    }
    assert_eq!(ports.listed("acme", Listed::Due, None).await.len(), 2);
    for (delivery, _) in ports.due("acme", late.plus(Duration::from_secs(600))).await {
        let state = ports.tries(&delivery, TryAnswer::Status(503), late.plus(Duration::from_secs(600))).await;
        assert_eq!(state, DeliveryState::Dead { at: late.plus(Duration::from_secs(600)) });
    }
    let page = ports.listed("acme", Listed::Dead, None).await;
    let rest = ports.listed("acme", Listed::Dead, Some(page[1].id)).await;
    let guids: Vec<_> = page.iter().chain(&rest).map(|delivery| delivery.session).collect();
    assert_eq!(guids, sessions.iter().map(|session| session.guid).collect::<Vec<_>>());
    assert_eq!(page[0].last, Some(TryAnswer::Status(503)));
    assert_eq!(ports.listed("globex", Listed::Dead, None).await, vec![]);
    assert_eq!(ports.webhooks.backlog().await.unwrap(), Backlog { due: 0, oldest: None, dead: 3 });

    let id = page[0].id;
    assert_eq!(ports.webhooks.replay(&account("globex"), id, late).await.unwrap(), None);
    let nobody = DeliveryId(Uuid::new_v4());
    assert_eq!(ports.webhooks.replay(&account("acme"), nobody, late).await.unwrap(), None);
    let again = minute(2_000);
    let replayed = ports.webhooks.replay(&account("acme"), id, again).await.unwrap().unwrap();
    assert_eq!(
        replayed,
        Delivery { since: again, state: DeliveryState::Due { at: again }, ..page[0].clone() }
    );
    // Once is enough.
    let twice = ports.webhooks.replay(&account("acme"), id, minute(2_001)).await.unwrap();
    assert_eq!(twice.as_ref(), Some(&replayed));
    assert_eq!(ports.the_due("acme", again).await, replayed);
    ports.tries(&replayed, OK, again).await;
    let delivered = ports.webhooks.replay(&account("acme"), id, minute(2_002)).await.unwrap().unwrap();
    assert_eq!(delivered.state, DeliveryState::Delivered { at: again });
    assert_eq!(ports.due("acme", minute(9_000)).await, vec![]);
}

pub(crate) async fn deliveries_go_with_their_session<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    ports.pays("acme", 0).await;
    let delivery = ports.the_due("acme", minute(0)).await;
    ports.tries(&delivery, DOWN, minute(2_000)).await;
    assert_eq!(ports.listed("acme", Listed::Dead, None).await.len(), 1);
    ports.sessions.purge(minute(90 * 24 * 60)).await.unwrap();
    assert_eq!(ports.webhooks.backlog().await.unwrap(), Backlog::default());
    assert_eq!(ports.webhooks.replay(&account("acme"), delivery.id, minute(0)).await.unwrap(), None);
}

pub(crate) async fn a_replaced_owner_settles_nothing<E: Engine>() {
    let engine = E::new().await;
    let old = engine.open().await;
    old.pays("acme", 0).await;
    let delivery = old.the_due("acme", minute(0)).await;
    let new = engine.open().await;
    assert!(old.webhooks.settle(vec![delivery.tried(OK, minute(1), 0)]).await.is_err());
    assert_eq!(new.the_due("acme", minute(0)).await, delivery);
}
