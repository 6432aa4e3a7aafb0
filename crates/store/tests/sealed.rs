//! What is held is sealed: a copy of the database yields nothing once its keys are gone, and losing the keys loses
//! results and nothing else. On both engines.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]

mod chance;
mod cluster;
mod story;

use std::fs;
use std::path::{Path, PathBuf};

use chance::chance;
use hushpad_domain::attempt::{Checks, StoredCard};
use hushpad_domain::change::Change;
use hushpad_domain::ids::GatewayName;
use hushpad_domain::notification::{Notification, Told};
use hushpad_domain::ports::{Notifications, Sessions};
use hushpad_domain::session::Session;
use hushpad_store::{Ownership, Store, open_with_keys};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use story::{account, approved, declined, intended, minute, opened};
use uuid::Uuid;

/// In payment data and in the gateway's result.
const CANARY: &str = "CANARY-7f3a";

/// One engine's database, of which copies can be made and put back.
trait Engine {
    async fn new() -> Self;
    fn url(&self) -> String;
    /// Everything that a backup would take: the bytes of what is held, wherever they are.
    async fn back_up(&mut self);
    /// Puts the copy in the place of what is there. The store must be closed.
    async fn restore(&mut self);
    /// All that the database has on its disk that can be read from here.
    async fn bytes(&self) -> Vec<u8>;
}

struct Desk<E> {
    engine: E,
    folder: tempfile::TempDir,
}

impl<E: Engine> Desk<E> {
    async fn new() -> Self {
        Self { engine: E::new().await, folder: tempfile::tempdir().unwrap() }
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    async fn open(&self) -> Store {
        open_with_keys(&self.engine.url(), Ownership::Exclusive(chance()), &self.keys()).await.unwrap()
    }
}

async fn commit(store: &Store, change: Change) -> Session {
    let after = change.after.clone();
    store.commit(change).await.unwrap();
    after
}

async fn pay(store: &Store, at: i64) -> Session {
    let open = commit(store, opened("acme", CANARY, minute(at))).await;
    let paying = commit(store, intended(open, minute(at))).await;
    let again = commit(store, declined(paying, CANARY, minute(at))).await;
    let paying = commit(store, intended(again, minute(at))).await;
    commit(store, approved(paying, CANARY, minute(at))).await
}

async fn read(store: &Store, session: &Session) -> Session {
    store.session(&account("acme"), session.guid).await.unwrap().expect("the session is there")
}

/// Without anything that was held, and otherwise the same.
fn assert_bare(read: &Session, session: &Session) {
    let text = format!("{read:?}");
    assert!(!text.contains(CANARY), "{text}");
    assert_eq!((read.guid, read.version, read.outcome()), (session.guid, session.version, session.outcome()));
    assert_eq!(read.attempts.len(), session.attempts.len());
    assert_eq!(read.amount(), session.amount());
}

/// A notification with a stored card.
fn told() -> Notification {
    let stored = StoredCard { token: CANARY.to_owned(), network_transaction_id: Some(CANARY.to_owned()) };
    Notification {
        dedupe_key: "key-1".to_owned(),
        reference: Uuid::from_u128(7),
        gateway_reference: "psp-1".to_owned(),
        original_reference: None,
        amount: None,
        what: Told::Attempt {
            declined: None,
            checks: Checks::default(),
            result: [("merchantReference".to_owned(), CANARY.to_owned())].into(),
            stored: Some(stored),
        },
    }
}

async fn is_told(store: &Store, at: i64) {
    let gateway = GatewayName("adyen".to_owned());
    assert_eq!(store.keep(&gateway, vec![told()], minute(at)).await.unwrap(), 1);
}

/// What waits.
async fn waiting(store: &Store) -> Vec<Notification> {
    store.waiting(0, 10).await.unwrap().into_iter().map(|one| one.notification).collect()
}

/// Purges often enough for every key that may go to go.
async fn purge_until(store: &Store, from: i64, until: i64) {
    for at in from..=until {
        store.purge(minute(at)).await.unwrap();
    }
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

async fn a_copy_put_back_after_the_retention_yields_nothing<E: Engine>() {
    let mut desk = Desk::<E>::new().await;
    let store = desk.open().await;
    store.purge(minute(0)).await.unwrap();
    let session = pay(&store, 1).await;
    // With its log, while it is open.
    desk.engine.back_up().await;
    store.close().await;
    assert!(!contains(&desk.engine.bytes().await, CANARY.as_bytes()));
    // The copy is whole: put back in time, it yields everything.
    desk.engine.restore().await;
    let store = desk.open().await;
    assert_eq!(read(&store, &session).await, session);
    let keys_then = fs::read(desk.keys()).unwrap();
    purge_until(&store, 2, 20).await;
    assert_bare(&read(&store, &session).await, &session);
    store.close().await;
    assert!(!contains(&desk.engine.bytes().await, CANARY.as_bytes()));
    let keys_now = fs::read(desk.keys()).unwrap();
    let (slots, _) = keys_then.as_chunks::<64>();
    for slot in slots.iter().filter(|slot| slot[0] != 0) {
        assert!(!contains(&keys_now, &slot[12..44]), "a key is still there");
    }

    desk.engine.restore().await;
    let store = desk.open().await;
    assert_bare(&read(&store, &session).await, &session);
    // And the store goes on.
    let next = pay(&store, 21).await;
    assert_eq!(read(&store, &next).await, next);
    store.close().await;
}

async fn without_its_keys_a_session_is_served_without_its_result<E: Engine>() {
    let desk = Desk::<E>::new().await;
    let store = desk.open().await;
    let session = pay(&store, 0).await;
    let open = commit(&store, opened("acme", CANARY, minute(0))).await;
    store.close().await;
    // A restart alone loses nothing.
    let store = desk.open().await;
    assert_eq!(read(&store, &session).await, session);
    store.close().await;
    fs::remove_file(desk.keys()).unwrap();
    let store = desk.open().await;
    assert_bare(&read(&store, &session).await, &session);
    // What was open can be paid, what is new is read, and what is past its retention goes as always.
    let open = read(&store, &open).await;
    assert_bare(&open, &open);
    let paying = commit(&store, intended(open, minute(1))).await;
    let paid = commit(&store, approved(paying, "late", minute(1))).await;
    let paid = read(&store, &paid).await;
    assert_eq!(paid.attempts[0].answer().unwrap().result["MerchantReferenceCode"], "late");
    assert_eq!(store.purge(minute(16)).await.unwrap(), 2);
    store.close().await;
}

async fn what_stays_for_long_outlives_its_key<E: Engine>() {
    let desk = Desk::<E>::new().await;
    let store = desk.open().await;
    store.purge(minute(0)).await.unwrap();
    let keys_then = fs::read(desk.keys()).unwrap();
    let open = commit(&store, opened("acme", CANARY, minute(0))).await;
    for at in 1..=300 {
        store.purge(minute(at)).await.unwrap();
        let slots = fs::read(desk.keys()).unwrap().len() / 64;
        assert!(slots <= 8, "{slots} keys at minute {at}");
    }
    assert!(!contains(&fs::read(desk.keys()).unwrap(), &keys_then[12..44]), "its first key is gone");
    assert_eq!(read(&store, &open).await, open);
    // By its reference too, which is no more readable than the rest.
    let query = hushpad_domain::listing::SessionQuery {
        agent: None,
        call: None,
        state: None,
        outcome: None,
        from: None,
        until: None,
        reference: Some(CANARY.to_owned()),
        after: None,
        limit: 10,
        now: minute(300),
    };
    assert_eq!(Sessions::list(&store, &account("acme"), &query).await.unwrap(), vec![open]);
    assert!(!contains(&desk.engine.bytes().await, CANARY.as_bytes()));
    store.close().await;
}

async fn what_a_gateway_told_is_sealed_while_it_waits_however_long<E: Engine>() {
    let mut desk = Desk::<E>::new().await;
    let store = desk.open().await;
    store.purge(minute(0)).await.unwrap();
    is_told(&store, 0).await;
    let keys_then = fs::read(desk.keys()).unwrap();
    // The file, its log, and a copy of both, while it waits.
    desk.engine.back_up().await;
    assert!(!contains(&desk.engine.bytes().await, CANARY.as_bytes()));
    purge_until(&store, 1, 100).await;
    assert!(!contains(&fs::read(desk.keys()).unwrap(), &keys_then[12..44]), "its first key is gone");
    assert_eq!(waiting(&store).await, [told()], "sealed anew");
    store.close().await;
    let store = desk.open().await;
    assert_eq!(waiting(&store).await, [told()], "by the next owner too");
    let number = store.waiting(0, 1).await.unwrap()[0].number;
    store.taken_up(number).await.unwrap();
    assert_eq!(waiting(&store).await, []);
    purge_until(&store, 101, 130).await;
    store.close().await;
    assert!(!contains(&desk.engine.bytes().await, CANARY.as_bytes()));
}

async fn without_its_keys_a_notification_still_says_what_happened<E: Engine>() {
    let desk = Desk::<E>::new().await;
    let store = desk.open().await;
    is_told(&store, 0).await;
    store.close().await;
    fs::remove_file(desk.keys()).unwrap();
    let store = desk.open().await;
    let mut bare = told();
    bare.what = Told::Attempt { declined: None, checks: Checks::default(), result: [].into(), stored: None };
    assert_eq!(waiting(&store).await, [bare]);
    store.close().await;
}

struct Sqlite {
    folder: tempfile::TempDir,
    copy: Vec<(PathBuf, Vec<u8>)>,
}

impl Sqlite {
    fn files(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path()).unwrap();
        files.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Engine for Sqlite {
    async fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), copy: Vec::new() }
    }

    fn url(&self) -> String {
        format!("sqlite:{}", self.folder.path().join("hushpad.db").display())
    }

    async fn back_up(&mut self) {
        let read = |path: PathBuf| (path.clone(), fs::read(&path).unwrap());
        self.copy = self.files().into_iter().map(read).collect();
    }

    async fn restore(&mut self) {
        self.files().iter().for_each(|path| fs::remove_file(path).unwrap());
        self.copy.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    }

    async fn bytes(&self) -> Vec<u8> {
        self.files().iter().flat_map(|path| fs::read(Path::new(path)).unwrap()).collect()
    }
}

struct Postgres {
    database: cluster::Database,
    copy: Vec<(Uuid, i64, Vec<u8>)>,
}

impl Postgres {
    async fn connect(&self) -> PgConnection {
        self.database.url().parse::<PgConnectOptions>().unwrap().connect().await.unwrap()
    }

    async fn held(&self) -> Vec<(Uuid, i64, Vec<u8>)> {
        let mut connection = self.connect().await;
        let rows = sqlx::query_as("SELECT session, attempt, data FROM held").fetch_all(&mut connection);
        let rows = rows.await.unwrap();
        connection.close().await.unwrap();
        rows
    }
}

impl Engine for Postgres {
    async fn new() -> Self {
        Self { database: cluster::Database::new().await, copy: Vec::new() }
    }

    fn url(&self) -> String {
        self.database.url()
    }

    async fn back_up(&mut self) {
        self.copy = self.held().await;
    }

    async fn restore(&mut self) {
        let mut connection = self.connect().await;
        for (session, attempt, data) in &self.copy {
            sqlx::query(
                "INSERT INTO held (session, attempt, data) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            )
            .bind(session)
            .bind(attempt)
            .bind(data)
            .execute(&mut connection)
            .await
            .unwrap();
        }
        sqlx::query("UPDATE session SET holds = TRUE").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Its files belong to the server; its rows are what a dump would take.
    async fn bytes(&self) -> Vec<u8> {
        let mut connection = self.connect().await;
        let told: Vec<(Option<String>, Option<Vec<u8>>)> =
            sqlx::query_as("SELECT told, sealed FROM notification").fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        let told = told.into_iter().flat_map(|(told, sealed)| {
            [told.unwrap_or_default().into_bytes(), sealed.unwrap_or_default()].concat()
        });
        self.held().await.into_iter().flat_map(|(_, _, data)| data).chain(told).collect()
    }
}

macro_rules! on_both {
    ($($name:ident),+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name::<super::Sqlite>().await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name::<super::Postgres>().await;
            })+
        }
    };
}

on_both!(
    a_copy_put_back_after_the_retention_yields_nothing,
    without_its_keys_a_session_is_served_without_its_result,
    what_stays_for_long_outlives_its_key,
    what_a_gateway_told_is_sealed_while_it_waits_however_long,
    without_its_keys_a_notification_still_says_what_happened
);
