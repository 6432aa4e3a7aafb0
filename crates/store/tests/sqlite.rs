//! What only the SQLite engine must keep: its file, its log, its lock, and its full disk.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]

mod chance;
mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chance::chance;
use hushpad_domain::change::Change;
use hushpad_domain::client::ApiClient;
use hushpad_domain::ids::{ClientId, ConfigurationId};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::{Clients, CommitError, Replays, Sessions, Webhooks};
use hushpad_domain::replay::{FirstRequest, ReplayKey};
use hushpad_domain::session::Session;
use hushpad_domain::webhook::{Receiver, TryAnswer};
use hushpad_store::{OpenError, Ownership, SqliteOptions, SqliteStore};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use story::{account, approved, declined, intended, minute, opened};

const MINUTES_90_DAYS: i64 = 90 * 24 * 60;
/// Key and number at the beginning of what is sealed.
const HEAD_BYTES: usize = 17;
/// Before each value that must vanish.
const CANARY: &[u8] = b"CANARY-";

async fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, SqliteOptions::new(Ownership::Exclusive(chance()))).await.unwrap()
}

fn database() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hushpad.db");
    (directory, path)
}

/// A paid session whose data and results carry `CANARY-` and its guid.
async fn pay(store: &SqliteStore, at: i64) -> Session {
    let session = try_to_pay(store, at).await;
    pay_again(store, session, at).await
}

/// A session with one declined attempt.
async fn try_to_pay(store: &SqliteStore, at: i64) -> Session {
    let mut opening = opened("acme", "", minute(at));
    let mut data = opening.after.payment_data.values().clone();
    // Of many lengths, so that rows meet the ends of pages in every way.
    let filler = "x".repeat(usize::from(opening.after.guid.0.as_bytes()[0]));
    data.insert("Note".to_owned(), format!("{} {filler}", canary(&opening.after)));
    opening.after.payment_data = PaymentData::from_stored(data, opening.after.amount());
    let session = commit(store, opening).await;
    let session = commit(store, intended(session, minute(at))).await;
    let canary = canary(&session);
    commit(store, declined(session, &canary, minute(at))).await
}

/// Ends it with an approved one, a minute later.
async fn pay_again(store: &SqliteStore, session: Session, at: i64) -> Session {
    let session = commit(store, intended(session, minute(at))).await;
    let canary = canary(&session);
    commit(store, approved(session, &canary, minute(at + 1))).await
}

async fn commit(store: &SqliteStore, change: Change) -> Session {
    let after = change.after.clone();
    store.commit(change).await.unwrap();
    after
}

fn canary(session: &Session) -> String {
    format!("CANARY-{}", session.guid)
}

/// What each session's sealed data begins with, by what was ever seen in the rows: key and number, which come once.
#[derive(Default)]
struct Heads(BTreeMap<Vec<u8>, String>);

impl Heads {
    /// Guids whose sealed data is in any of the store's files. In plain it never is.
    async fn found(&mut self, directory: &Path) -> BTreeSet<String> {
        self.note(&directory.join("hushpad.db")).await;
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(directory).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            assert!(
                !bytes.windows(CANARY.len()).any(|window| window == CANARY),
                "there is a canary in plain"
            );
            for window in bytes.windows(HEAD_BYTES).filter(|window| window[0] == 1) {
                found.extend(self.0.get(window).cloned());
            }
        }
        found
    }

    async fn note(&mut self, path: &Path) {
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = options.connect().await.unwrap();
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT substr(held.data, 1, 17), session.guid FROM held JOIN session ON session.held = held.id
             UNION ALL
             SELECT substr(held.data, 1, 17), session.guid
               FROM held
               JOIN attempt ON attempt.held = held.id
               JOIN session ON session.id = attempt.session",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        connection.close().await.unwrap();
        for (head, guid) in rows {
            let guid: [u8; 16] = guid.try_into().unwrap();
            self.0.insert(head, uuid::Uuid::from_bytes(guid).to_string());
        }
    }
}

fn guids(sessions: &[Session]) -> BTreeSet<String> {
    sessions.iter().map(|session| session.guid.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_purged_is_in_no_file_any_more_and_what_is_not_still_is() {
    let (directory, path) = database();
    let mut heads = Heads::default();
    let store = Arc::new(open(&path).await);
    let (mut open, mut ended): (Vec<Session>, Vec<Session>) = (Vec::new(), Vec::new());
    for round in 0..20 {
        let now = round * 10;
        // Those that are left open share their pages with those that are wiped: ended two rounds later.
        let due = std::mem::take(&mut ended);
        let late = std::mem::take(&mut open);
        for session in late {
            ended.push(pay_again(&store, session, now).await);
        }
        let payments: Vec<_> = (0..40)
            .map(|_| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { try_to_pay(&store, now).await })
            })
            .collect();
        for (index, payment) in payments.into_iter().enumerate() {
            let session = payment.await.unwrap();
            if index % 3 == 0 {
                open.push(session);
            } else {
                ended.push(pay_again(&store, session, now).await);
            }
        }
        let kept: Vec<Session> = open.iter().chain(&ended).cloned().collect();
        assert!(heads.found(directory.path()).await.is_superset(&guids(&kept)));
        // At least 15 minutes after the end of those that are due, 9 after those of this round.
        let lost = store.purge(minute(now + 10)).await.unwrap();
        assert_eq!(lost, due.len() as u64, "round {round}");
        assert_eq!(heads.found(directory.path()).await, guids(&kept), "round {round}");
        for session in &kept {
            assert_eq!(store.session(&session.account, session.guid).await.unwrap().as_ref(), Some(session));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_for_a_webhook_is_in_no_file_once_its_time_is_over() {
    let (directory, path) = database();
    let mut heads = Heads::default();
    let store = open(&path).await;
    let receiver = Receiver { account: account("acme"), configuration: ConfigurationId(0) };
    let pay_with_webhook = async |at| {
        let mut opening = opened("acme", "", minute(at));
        let mut data = opening.after.payment_data.values().clone();
        data.insert("Note".to_owned(), canary(&opening.after));
        opening.after.payment_data = PaymentData::from_stored(data, opening.after.amount());
        opening.after.webhook = true;
        let session = commit(&store, opening).await;
        pay_again(&store, session, at).await
    };
    let (told, untold) = (pay_with_webhook(0).await, pay_with_webhook(60).await);
    let due = store.due(&receiver, minute(10), &[], 10).await.unwrap();
    let tried = due.iter().map(|(delivery, _)| delivery.tried(TryAnswer::Status(200), minute(60), 0));
    store.settle(tried.collect()).await.unwrap();
    store.purge(minute(74)).await.unwrap();
    assert_eq!(heads.found(directory.path()).await, guids(&[told, untold.clone()]));
    store.purge(minute(75)).await.unwrap();
    assert_eq!(heads.found(directory.path()).await, guids(&[untold]));
    // Never delivered: no longer than it is tried. What tells of it stays, and says nothing.
    store.purge(minute(61 + 12 * 60)).await.unwrap();
    assert_eq!(heads.found(directory.path()).await, BTreeSet::new());
    assert_eq!(store.backlog().await.unwrap().due, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_old_sessions_leaves_live_ones_whole_and_no_trace() {
    let (directory, path) = database();
    let mut heads = Heads::default();
    let store = open(&path).await;
    let mut old = Vec::new();
    for _ in 0..300 {
        old.push(pay(&store, 0).await);
    }
    heads.note(&path).await;
    assert_eq!(store.purge(minute(100)).await.unwrap(), 300);
    let mut live = Vec::new();
    for _ in 0..30 {
        live.push(pay(&store, MINUTES_90_DAYS).await);
    }
    let before = store.file_sizes().unwrap().database;
    assert_eq!(store.purge(minute(MINUTES_90_DAYS + 1)).await.unwrap(), 300);
    assert_eq!(heads.found(directory.path()).await, guids(&live));
    for session in &old {
        assert_eq!(store.session(&session.account, session.guid).await.unwrap(), None);
    }
    for session in &live {
        assert_eq!(store.session(&session.account, session.guid).await.unwrap().as_ref(), Some(session));
    }
    assert_eq!(store.purge(minute(MINUTES_90_DAYS + 30)).await.unwrap(), 30);
    assert_eq!(heads.found(directory.path()).await, BTreeSet::new());
    // The room is used again.
    for _ in 0..300 {
        pay(&store, MINUTES_90_DAYS + 40).await;
    }
    store.purge(minute(MINUTES_90_DAYS + 60)).await.unwrap();
    assert!(store.file_sizes().unwrap().database < before * 3 / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_empties_the_log_that_another_process_left() {
    let (directory, path) = database();
    let mut heads = Heads::default();
    let stopped = open(&path).await;
    let session = pay(&stopped, 0).await;
    assert!(stopped.file_sizes().unwrap().log > 0);
    heads.note(&path).await;
    let options = SqliteOptions::new(Ownership::TakeOver(chance()));
    let store = SqliteStore::open(&path, options).await.unwrap();
    store.purge(minute(16)).await.unwrap();
    assert_eq!(heads.found(directory.path()).await, BTreeSet::new());
    assert_eq!(store.file_sizes().unwrap().log, 0);
    assert!(store.session(&session.account, session.guid).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_file_refuses_new_sessions_only_and_recovers_after_a_purge() {
    let (_directory, path) = database();
    let bound = 400_000;
    let store = SqliteStore::open(
        &path,
        SqliteOptions { size_max_bytes: Some(bound), ..SqliteOptions::new(Ownership::Exclusive(chance())) },
    );
    let store = Arc::new(store.await.unwrap());
    let (mut written, mut refused) = (Vec::new(), Vec::new());
    while refused.is_empty() {
        let commits: Vec<_> = (0..64)
            .map(|_| {
                let store = Arc::clone(&store);
                let change = opened("acme", "A1", minute(0));
                tokio::spawn(async move { (change.clone(), store.commit(change).await) })
            })
            .collect();
        for commit in commits {
            match commit.await.unwrap() {
                (change, Ok(())) => written.push(change),
                (change, Err(CommitError::Unavailable(_))) => refused.push(change),
                (_, Err(other)) => panic!("{other}"),
            }
        }
    }
    assert!(!written.is_empty());
    for change in &refused {
        assert_eq!(store.session(&change.after.account, change.after.guid).await.unwrap(), None);
    }
    for change in &written {
        let session = store.session(&change.after.account, change.after.guid).await.unwrap();
        assert_eq!(session.as_ref(), Some(&change.after));
        let events = store.events(&change.after.account, change.after.guid, 0).await.unwrap();
        assert_eq!(events, change.events);
    }
    // Nor is a key taken that may open one.
    let request = FirstRequest {
        key: ReplayKey { account: account("acme"), client: ClientId("shop".to_owned()), key_hash: [1; 32] },
        fingerprint: [2; 32],
        session: refused[0].after.guid,
    };
    let fill = async |number| {
        let key = ReplayKey { key_hash: [number; 32], ..request.key.clone() };
        store.begin(FirstRequest { key, ..request.clone() }, minute(0)).await
    };
    let mut taken = Vec::new();
    for number in 0..=u8::MAX {
        taken.push(fill(number).await);
    }
    assert!(taken.last().unwrap().is_err());
    // What becomes of an open session is written all the same, also beside a new one that is refused.
    for change in &written {
        let end = change.after.clone().cancel(minute(1)).unwrap();
        let (ended, _) = tokio::join!(store.commit(end), store.commit(opened("acme", "A2", minute(1))));
        ended.unwrap();
    }
    let lost = store.purge(minute(MINUTES_90_DAYS + 10)).await.unwrap();
    assert_eq!(lost, written.len() as u64);
    for change in refused {
        store.commit(change).await.unwrap();
    }
}

#[tokio::test]
async fn a_second_owner_is_refused_and_a_guest_is_not() {
    let (_directory, path) = database();
    let store = open(&path).await;
    let second = SqliteStore::open(&path, SqliteOptions::new(Ownership::Exclusive(chance()))).await;
    assert!(matches!(second, Err(OpenError::Owned { .. })));

    let guest = SqliteOptions::new(Ownership::Guest);
    let guest = SqliteStore::open(&path, guest).await.unwrap();
    let client = ApiClient {
        id: ClientId("shop".to_owned()),
        account: account("acme"),
        agent: None,
        secret_hash: [1; 32],
        old_secret_hash: None,
        public_key: None,
        certificate: None,
        redirect_uris: Vec::new(),
        label: String::new(),
        created_on: minute(0),
        revoked_on: None,
    };
    guest.add(client.clone()).await.unwrap();
    assert_eq!(store.client(&client.id).await.unwrap(), Some(client));
    let refused = guest.commit(opened("acme", "A1", minute(0))).await;
    assert!(matches!(refused, Err(CommitError::Fenced)));
    guest.close().await;

    // The guest did not take the store away.
    store.commit(opened("acme", "A1", minute(0))).await.unwrap();
    store.close().await;
    open(&path).await;
}

#[tokio::test]
async fn closing_writes_what_waits_and_refuses_the_rest() {
    let (directory, path) = database();
    let store = Arc::new(open(&path).await);
    let changes: Vec<_> = (0..200).map(|_| opened("acme", "A1", minute(0))).collect();
    let commits: Vec<_> = changes
        .iter()
        .cloned()
        .map(|change| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.commit(change).await })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    let late = store.commit(opened("acme", "A1", minute(0))).await;
    assert!(matches!(late, Err(CommitError::Unavailable(_))));
    assert!(store.unfinished().await.is_err());
    assert_eq!(store.queue_depth(), 0);
    assert!(!directory.path().join("hushpad.db-wal").exists(), "the log is folded into the file");

    let again = open(&path).await;
    for (change, commit) in changes.into_iter().zip(commits) {
        let answer = commit.await.unwrap();
        let stored = again.session(&change.after.account, change.after.guid).await.unwrap();
        assert_eq!(answer.is_ok(), stored.is_some());
    }
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let (directory, path) = database();
    fs::write(directory.path().join("file"), "").unwrap();
    let below_a_file = directory.path().join("file/hushpad.db");
    let error = SqliteStore::open(&below_a_file, SqliteOptions::new(Ownership::Exclusive(chance())))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");

    let garbage = directory.path().join("garbage.db");
    fs::write(&garbage, "no database at all, but long enough to be taken for one. ".repeat(100)).unwrap();
    let error =
        SqliteStore::open(&garbage, SqliteOptions::new(Ownership::Exclusive(chance()))).await.err().unwrap();
    assert!(matches!(error, OpenError::Sqlite { .. }), "{error}");

    open(&path).await.close().await;
    run_sql(&path, "PRAGMA user_version = 1000").await;
    let error =
        SqliteStore::open(&path, SqliteOptions::new(Ownership::Exclusive(chance()))).await.err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 1000, .. }), "{error}");

    let foreign = directory.path().join("foreign.db");
    fs::write(&foreign, "").unwrap();
    run_sql(&foreign, "CREATE TABLE theirs (id INTEGER)").await;
    let error =
        SqliteStore::open(&foreign, SqliteOptions::new(Ownership::Exclusive(chance()))).await.err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, path) = database();
    let store = open(&path).await;
    store.commit(opened("acme", "A1", minute(0))).await.unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

async fn run_sql(path: &Path, sql: &'static str) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
