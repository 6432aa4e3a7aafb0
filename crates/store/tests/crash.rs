//! `kill -9` while committing: what was acknowledged is there, and nothing is there by half.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]
#![expect(clippy::print_stdout, reason = "the child tells its parent by lines")]

mod chance;
mod cluster;
mod story;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;

use chance::chance;
use hushpad_domain::ids::SessionGuid;
use hushpad_domain::ports::Sessions;
use hushpad_domain::session::Session;
use hushpad_store::{Ownership, Store};
use story::{account, approved, declined, intended, minute, opened};

/// Tells the child where to write.
const DATABASE: &str = "HUSHPAD_TEST_DATABASE";
/// Sessions that the child pays at the same time.
const PAYERS: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_commit_survives_a_kill_in_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    every_acknowledged_commit_survives_a_kill(&format!(
        "sqlite:{}",
        directory.path().join("hushpad.db").display()
    ))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_commit_survives_a_kill_in_postgres() {
    every_acknowledged_commit_survives_a_kill(&cluster::Database::new().await.url()).await;
}

async fn every_acknowledged_commit_survives_a_kill(url: &str) {
    let mut acknowledged: Vec<(SessionGuid, u64)> = Vec::new();
    // Kills at ever other places, each time into the same file.
    for acknowledgements in [1, 37, 211, 600] {
        acknowledged.extend(kill_after(acknowledgements, url));
        let store = hushpad_store::open(url, Ownership::Exclusive(chance())).await.unwrap();
        for (guid, version) in &acknowledged {
            let session = store.session(&account("acme"), *guid).await.unwrap();
            let session = session.expect("an acknowledged session is there");
            assert!(session.version >= *version, "version {version} was acknowledged");
            assert_whole(&store, &session).await;
        }
        // What was not acknowledged in time may be there, but then whole.
        for session in store.unfinished().await.unwrap() {
            assert_whole(&store, &session).await;
        }
        store.close().await;
    }
}

/// In this story the version says exactly what there must be.
async fn assert_whole(store: &Store, session: &Session) {
    let (attempts, events) = match session.version {
        1 => (0, 1),
        2 => (0, 2),
        3 => (1, 3),
        4 => (1, 4),
        5 => (2, 5),
        6 => (2, 7),
        other => panic!("version {other} was never written"),
    };
    assert_eq!((session.attempts.len(), session.events), (attempts, events));
    let told = store.events(&session.account, session.guid, 0).await.unwrap();
    let numbers: Vec<u32> = told.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=events).collect::<Vec<_>>());
    assert_eq!(session.has_ended(), session.version == 6);
}

/// Runs the child, kills it after so many acknowledgements, and gives all that it made.
fn kill_after(acknowledgements: usize, database: &str) -> Vec<(SessionGuid, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_commits", "--ignored", "--nocapture"])
        .env(DATABASE, database)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut made: Vec<_> =
        lines.by_ref().map_while(Result::ok).filter_map(|line| read(&line)).take(acknowledgements).collect();
    child.kill().unwrap();
    made.extend(lines.map_while(Result::ok).filter_map(|line| read(&line)));
    child.wait().unwrap();
    assert!(made.len() >= acknowledgements, "the child ended by itself");
    made
}

/// `ack GUID VERSION.`; the stop at the end tells a whole line from one cut by the kill.
fn read(line: &str) -> Option<(SessionGuid, u64)> {
    let (guid, version) = line.strip_prefix("ack ")?.strip_suffix('.')?.split_once(' ')?;
    Some((SessionGuid(guid.parse().ok()?), version.parse().ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that the test above kills"]
#[expect(clippy::disallowed_methods, reason = "the parent says by the environment where to write")]
async fn child_that_commits() {
    let url = std::env::var(DATABASE).unwrap();
    let store = Arc::new(hushpad_store::open(&url, Ownership::Exclusive(chance())).await.unwrap());
    let payers: Vec<_> = (0..PAYERS).map(|_| tokio::spawn(pay_forever(Arc::clone(&store)))).collect();
    for payer in payers {
        payer.await.unwrap();
    }
}

async fn pay_forever(store: Arc<Store>) {
    loop {
        let mut change = opened("acme", "A1", minute(0));
        loop {
            let session = change.after.clone();
            store.commit(change).await.unwrap();
            println!("ack {} {}.", session.guid, session.version);
            change = match session.version {
                1 => session.begin(minute(1)).unwrap(),
                2 => intended(session, minute(2)),
                3 => declined(session, "A1", minute(3)),
                4 => intended(session, minute(4)),
                5 => approved(session, "A1", minute(5)),
                _ => break,
            };
        }
    }
}
