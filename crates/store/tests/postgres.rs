//! What is PostgreSQL's own: transactions taken back, connections lost, values that it cannot hold, databases
//! that are not fit.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]

mod chance;
mod cluster;
#[expect(dead_code, reason = "a shorter story than the contract tells")]
mod story;

use std::str::FromStr;
use std::sync::Arc;

use chance::chance;
use cluster::Database;
use hushpad_domain::change::Change;
use hushpad_domain::ids::AgentId;
use hushpad_domain::ports::{CommitError, Sessions};
use hushpad_store::{OpenError, Ownership, PostgresStore};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use story::{account, approved, intended, minute, opened, opened_on};

async fn open(database: &Database) -> PostgresStore {
    PostgresStore::open(&database.url(), Ownership::Exclusive(chance())).await.unwrap()
}

async fn refused(database: &Database) -> OpenError {
    PostgresStore::open(&database.url(), Ownership::Exclusive(chance())).await.err().unwrap()
}

/// A connection beside the store's.
async fn connect(database: &Database) -> PgConnection {
    PgConnectOptions::from_str(&database.url()).unwrap().connect().await.unwrap()
}

async fn run(connection: &mut PgConnection, sql: impl Into<String>) {
    sqlx::raw_sql(AssertSqlSafe(sql.into())).execute(connection).await.unwrap();
}

/// From now on the next `times` inserted events raise this error. A sequence counts, as its numbers are not taken
/// back with the transaction.
async fn fail_events(connection: &mut PgConnection, times: u32, code: &str) {
    let sql = format!(
        "CREATE SEQUENCE failures;
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('failures') <= {times} THEN RAISE EXCEPTION USING ERRCODE = '{code}'; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER fail BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION fail();"
    );
    run(connection, sql).await;
}

async fn assert_whole(store: &PostgresStore, change: &Change) {
    let after = &change.after;
    assert_eq!(store.session(&after.account, after.guid).await.unwrap().as_ref(), Some(after));
    let told = store.events(&after.account, after.guid, 0).await.unwrap();
    assert_eq!(told.len(), after.events as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_database_takes_back_is_written_again() {
    // "serialization_failure" and "deadlock_detected".
    for code in ["40001", "40P01"] {
        let database = Database::new().await;
        let store = open(&database).await;
        fail_events(&mut connect(&database).await, 3, code).await;
        let alone = opened("acme", "A1", minute(0));
        store.commit(alone.clone()).await.unwrap();
        assert_whole(&store, &alone).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_taken_back_is_written_again_whole() {
    let database = Database::new().await;
    let store = Arc::new(open(&database).await);
    fail_events(&mut connect(&database).await, 5, "40001").await;
    let changes: Vec<_> = (0..20).map(|_| opened("acme", "A1", minute(0))).collect();
    let commits: Vec<_> = changes
        .iter()
        .cloned()
        .map(|change| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(change).await })
        })
        .collect();
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    for change in &changes {
        assert_whole(&store, change).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_always_taken_back_is_unavailable_and_not_there() {
    let database = Database::new().await;
    let store = open(&database).await;
    let mut beside = connect(&database).await;
    fail_events(&mut beside, 1_000, "40001").await;
    let change = opened("acme", "A1", minute(0));
    assert!(matches!(store.commit(change.clone()).await, Err(CommitError::Unavailable(_))));
    assert_eq!(store.session(&account("acme"), change.after.guid).await.unwrap(), None);
    run(&mut beside, "DROP TRIGGER fail ON event").await;
    store.commit(change.clone()).await.unwrap();
    assert_whole(&store, &change).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_waits_for_what_the_old_one_is_writing() {
    let database = Database::new().await;
    // Both on one machine: they share their keys.
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let old =
        PostgresStore::open_with_keys(&database.url(), Ownership::Exclusive(chance()), Some(&keys)).await;
    let old = Arc::new(old.unwrap());
    let mut gate = connect(&database).await;
    run(
        &mut gate,
        "CREATE TABLE gate ();
         CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN LOCK TABLE gate IN SHARE MODE; RETURN NEW; END $$;
         CREATE TRIGGER pass BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION pass();",
    )
    .await;
    run(&mut gate, "BEGIN; LOCK TABLE gate IN EXCLUSIVE MODE").await;
    let change = opened("acme", "A1", minute(0));
    let writing = tokio::spawn({
        let (old, change) = (Arc::clone(&old), change.clone());
        async move { old.commit(change).await }
    });
    wait_for_waiting(&database, 1, || writing.is_finished()).await;
    let url = database.url();
    let opening = tokio::spawn(async move {
        PostgresStore::open_with_keys(&url, Ownership::TakeOver(chance()), Some(&keys)).await.unwrap()
    });
    wait_for_waiting(&database, 2, || opening.is_finished()).await;
    run(&mut gate, "COMMIT").await;
    writing.await.unwrap().unwrap();
    let new = opening.await.unwrap();
    assert_eq!(new.unfinished().await.unwrap(), vec![change.after]);
    let late = old.commit(opened("acme", "A2", minute(0))).await;
    assert!(matches!(late, Err(CommitError::Fenced)), "{late:?}");
}

/// Returns once so many of the database's connections wait for a lock; they must come to it before `over`.
async fn wait_for_waiting(database: &Database, waiting: i64, over: impl Fn() -> bool) {
    let mut beside = connect(database).await;
    loop {
        let now: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity
              WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_one(&mut beside)
        .await
        .unwrap();
        if now == waiting {
            return;
        }
        assert!(!over(), "nothing waited");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_the_database_cannot_hold_harm_no_other_change() {
    let database = Database::new().await;
    let store = open(&database).await;
    let (first, last) = (opened("acme", "A1", minute(0)), opened("acme", "A2", minute(0)));
    let mut bad = opened("acme", "A3", minute(0));
    // No text in PostgreSQL has this character.
    bad.after.agent = AgentId("agent\0".to_owned());
    // Asked at once, so that they are written together.
    let (before, refused, after) =
        tokio::join!(store.commit(first.clone()), store.commit(bad.clone()), store.commit(last.clone()));
    before.unwrap();
    after.unwrap();
    assert!(matches!(refused, Err(CommitError::Unavailable(_))));
    assert_whole(&store, &first).await;
    assert_whole(&store, &last).await;
    assert_eq!(store.session(&account("acme"), bad.after.guid).await.unwrap(), None);
    // What comes from a gateway may have it all the same.
    let paying = intended(first.after, minute(1));
    store.commit(paying.clone()).await.unwrap();
    let paid = approved(paying.after, "A1\0", minute(2));
    store.commit(paid.clone()).await.unwrap();
    assert_whole(&store, &paid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_are_opened_again() {
    let database = Database::new().await;
    let store = open(&database).await;
    let change = opened("acme", "A1", minute(0));
    store.commit(change.clone()).await.unwrap();
    run(
        &mut connect(&database).await,
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
    assert_whole(&store, &change).await;
    // The one that finds out is told so, the next is written.
    let lost = store.commit(opened("acme", "A2", minute(0))).await;
    assert!(matches!(lost, Err(CommitError::Unavailable(_))), "{lost:?}");
    let next = opened("acme", "A3", minute(0));
    store.commit(next.clone()).await.unwrap();
    assert_whole(&store, &next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_purged_is_in_no_row() {
    let database = Database::new().await;
    let store = open(&database).await;
    // More than one batch.
    for _ in 0..210 {
        let open = opened_on(None, "acme", "A1", minute(0));
        store.commit(open.clone()).await.unwrap();
        let paying = intended(open.after, minute(1));
        store.commit(paying.clone()).await.unwrap();
        store.commit(approved(paying.after, "A1", minute(2))).await.unwrap();
    }
    let live = opened("acme", "A2", minute(0));
    store.commit(live.clone()).await.unwrap();
    let mut beside = connect(&database).await;
    let mut count = async |table: &str| -> i64 {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        sqlx::query_scalar(sql).fetch_one(&mut beside).await.unwrap()
    };
    assert_eq!(count("held").await, 421);
    assert_eq!(store.purge(minute(2 + 15)).await.unwrap(), 210);
    assert_eq!((count("held").await, count("session").await), (1, 211));
    assert_eq!(store.purge(minute(2 + 90 * 24 * 60)).await.unwrap(), 210);
    assert_eq!((count("session").await, count("attempt").await, count("event").await), (1, 0, 1));
    assert_whole(&store, &live).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_open_a_new_database_at_once_all_find_it_ready() {
    let database = Database::new().await;
    let opening: Vec<_> = (0..6)
        .map(|_| {
            let url = database.url();
            tokio::spawn(async move { PostgresStore::open(&url, Ownership::Guest).await })
        })
        .collect();
    for opened in opening {
        let store = opened.await.unwrap().unwrap();
        assert_eq!(store.unfinished().await.unwrap(), vec![]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_says_why() {
    let database = Database::new().await;
    open(&database).await.close().await;
    let mut beside = connect(&database).await;
    run(&mut beside, "UPDATE hushpad_schema SET version = 1000").await;
    let error = refused(&database).await;
    assert!(matches!(error, OpenError::Newer { found: 1000, .. }), "{error}");

    let foreign = Database::new().await;
    run(&mut connect(&foreign).await, "CREATE TABLE theirs (id BIGINT)").await;
    let error = refused(&foreign).await;
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");

    let hasty = Database::new().await;
    run(
        &mut connect(&hasty).await,
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$",
    )
    .await;
    let error = refused(&hasty).await;
    assert!(matches!(error, OpenError::NotDurable { setting: "synchronous_commit", .. }), "{error}");

    let nobody =
        PostgresStore::open("postgres://hushpad@127.0.0.1:1/hushpad", Ownership::Exclusive(chance())).await;
    assert!(matches!(nobody.err().unwrap(), OpenError::Postgres { .. }));
    for url in ["", "mysql://localhost/hushpad", "sqlite:", "hushpad.db"] {
        let error = hushpad_store::open(url, Ownership::Exclusive(chance())).await.err().unwrap();
        assert!(matches!(error, OpenError::NotAUrl), "{url}: {error}");
    }
}
