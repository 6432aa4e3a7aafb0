//! The part of the contract that is about answers told again.

use std::time::Duration;

use hushpad_domain::ids::{ClientId, SessionGuid};
use hushpad_domain::replay::{Begun, FirstRequest, REPLAY_RETENTION, ReplayKey, StoredAnswer};
use hushpad_domain::time::Timestamp;
use uuid::Uuid;

use crate::story::{account, minute, opened};
use crate::{Engine, Ports};

fn key(account_name: &str, client: &str, key: u8) -> ReplayKey {
    ReplayKey { account: account(account_name), client: ClientId(client.to_owned()), key_hash: [key; 32] }
}

fn request(key: ReplayKey) -> FirstRequest {
    FirstRequest { key, fingerprint: [9; 32], session: SessionGuid(Uuid::new_v4()) }
}

fn answer(status: u16) -> StoredAnswer {
    // Longer than a page of SQLite's.
    StoredAnswer { status, sealed_body: (0..=u8::MAX).cycle().take(9_000).collect() }
}

fn earlier_than(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.as_micros() - 1)
}

/// When what began at `at` is over.
fn end_of(at: Timestamp) -> Timestamp {
    at.plus(REPLAY_RETENTION)
}

impl Ports {
    async fn begin(&self, request: FirstRequest, at: Timestamp) -> Begun {
        self.replays.begin(request, at).await.unwrap()
    }
}

pub(crate) async fn a_key_is_taken_once_and_then_tells_its_answer<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let key = key("acme", "shop", 1);
    assert_eq!(ports.begin(request(key.clone()), minute(0)).await, Begun::First);
    assert_eq!(ports.begin(request(key.clone()), minute(1)).await, Begun::InFlight);
    let other = FirstRequest { fingerprint: [8; 32], ..request(key.clone()) };
    assert_eq!(ports.begin(other.clone(), minute(1)).await, Begun::Mismatch);

    ports.replays.finish(key.clone(), answer(200)).await.unwrap();
    assert_eq!(ports.begin(request(key.clone()), minute(2)).await, Begun::Answered(answer(200)));
    assert_eq!(ports.begin(other, minute(2)).await, Begun::Mismatch);
    // What has been told is never told otherwise.
    ports.replays.finish(key.clone(), answer(404)).await.unwrap();
    ports.replays.abandon(key.clone()).await.unwrap();
    assert_eq!(ports.begin(request(key), minute(3)).await, Begun::Answered(answer(200)));
}

pub(crate) async fn of_many_at_once_one_is_the_first<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let ask = || ports.begin(request(key("acme", "shop", 1)), minute(0));
    let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
    let mut found = [a, b, c, d];
    found.sort_by_key(|begun| *begun != Begun::First);
    assert_eq!(found, [Begun::First, Begun::InFlight, Begun::InFlight, Begun::InFlight]);
}

pub(crate) async fn an_abandoned_key_is_free<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let key = key("acme", "shop", 1);
    assert_eq!(ports.begin(request(key.clone()), minute(0)).await, Begun::First);
    ports.replays.abandon(key.clone()).await.unwrap();
    let other = FirstRequest { fingerprint: [8; 32], ..request(key) };
    assert_eq!(ports.begin(other, minute(0)).await, Begun::First);
}

pub(crate) async fn neither_accounts_nor_clients_meet_in_a_key<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let all =
        [key("acme", "shop", 1), key("globex", "shop", 1), key("acme", "desk", 1), key("acme", "shop", 2)];
    for (status, key) in (200..).zip(&all) {
        assert_eq!(ports.begin(request(key.clone()), minute(0)).await, Begun::First);
        ports.replays.finish(key.clone(), answer(status)).await.unwrap();
    }
    ports.replays.abandon(key("globex", "desk", 1)).await.unwrap();
    for (status, key) in (200..).zip(&all) {
        let found = ports.begin(request(key.clone()), minute(1)).await;
        assert_eq!(found, Begun::Answered(answer(status)));
    }
}

pub(crate) async fn an_answer_survives_its_owner<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    let key = key("acme", "shop", 1);
    ports.begin(request(key.clone()), minute(0)).await;
    ports.replays.finish(key.clone(), answer(409)).await.unwrap();
    let again = engine.open().await;
    assert_eq!(again.begin(request(key), minute(1)).await, Begun::Answered(answer(409)));
}

pub(crate) async fn what_a_crash_left_in_flight_is_free_unless_its_session_is_there<E: Engine>() {
    let engine = E::new().await;
    let crashed = engine.open().await;
    let (idle, opening) = (request(key("acme", "shop", 1)), request(key("acme", "shop", 2)));
    assert_eq!(crashed.begin(idle.clone(), minute(0)).await, Begun::First);
    assert_eq!(crashed.begin(opening.clone(), minute(0)).await, Begun::First);
    let mut change = opened("acme", "A1", minute(0));
    change.after.guid = opening.session;
    crashed.commit(change).await;

    let owner = engine.open().await;
    assert_eq!(owner.begin(request(idle.key.clone()), minute(1)).await, Begun::First);
    // Now it is this owner's.
    assert_eq!(owner.begin(request(idle.key), minute(1)).await, Begun::InFlight);
    for at in [minute(1), earlier_than(end_of(minute(0)))] {
        let found = owner.begin(request(opening.key.clone()), at).await;
        assert_eq!(found, Begun::Interrupted(opening.session));
    }
    let other = FirstRequest { fingerprint: [8; 32], ..request(opening.key.clone()) };
    assert_eq!(owner.begin(other, minute(1)).await, Begun::Mismatch);
    assert_eq!(owner.begin(request(opening.key), end_of(minute(0))).await, Begun::First);
}

pub(crate) async fn a_replaced_owner_takes_and_answers_no_key<E: Engine>() {
    let engine = E::new().await;
    let old = engine.open().await;
    let key = key("acme", "shop", 1);
    assert_eq!(old.begin(request(key.clone()), minute(0)).await, Begun::First);
    let new = engine.open().await;
    assert_eq!(new.begin(request(key.clone()), minute(0)).await, Begun::First);
    assert!(old.replays.begin(request(key.clone()), minute(0)).await.is_err());
    assert!(old.replays.finish(key.clone(), answer(200)).await.is_err());
    assert!(old.replays.abandon(key.clone()).await.is_err());
    assert_eq!(new.begin(request(key), minute(0)).await, Begun::InFlight);
}

pub(crate) async fn after_a_day_a_key_is_free_and_its_answer_gone<E: Engine>() {
    let engine = E::new().await;
    let ports = engine.open().await;
    // More than one batch of a purge.
    let keys: Vec<ReplayKey> = (0..=u8::MAX).map(|number| key("acme", "shop", number)).collect();
    for key in &keys {
        ports.begin(request(key.clone()), minute(0)).await;
        ports.replays.finish(key.clone(), answer(200)).await.unwrap();
    }
    let late = request(key("acme", "late", 1));
    ports.begin(late.clone(), minute(1)).await;

    ports.sessions.purge(earlier_than(end_of(minute(0)))).await.unwrap();
    let found = ports.begin(request(keys[0].clone()), earlier_than(end_of(minute(0)))).await;
    assert_eq!(found, Begun::Answered(answer(200)));
    // At its end it is free, purged or not.
    assert_eq!(ports.begin(request(keys[0].clone()), end_of(minute(0))).await, Begun::First);

    ports.sessions.purge(end_of(minute(0))).await.unwrap();
    // Asked as of the beginning: what is still there would be told.
    for key in &keys[1..] {
        assert_eq!(ports.begin(request(key.clone()), minute(0)).await, Begun::First);
    }
    let found = ports.begin(request(late.key), minute(0).plus(Duration::from_secs(1))).await;
    assert_eq!(found, Begun::InFlight);
}
