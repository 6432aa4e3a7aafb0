//! Commits per second through the store, beside the same rows by a bare loop: same settings, same disk, same
//! run, in both engines. `cargo bench -p hushpad-store`.
#![expect(clippy::print_stdout, reason = "the figures are the output")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

#[path = "../tests/chance/mod.rs"]
mod chance;
#[expect(clippy::unwrap_used, reason = "without PostgreSQL there is nothing to measure")]
#[path = "../tests/cluster/mod.rs"]
mod cluster;
#[path = "commits/postgres.rs"]
mod postgres;
#[expect(clippy::unwrap_used, reason = "the stories are fixed and sound")]
#[expect(dead_code, reason = "a shorter story than the tests tell")]
#[path = "../tests/story/mod.rs"]
mod story;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chance::chance;
use hushpad_domain::change::Change;
use hushpad_domain::ports::Sessions;
use hushpad_store::{Ownership, SqliteOptions, SqliteStore};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};
use story::{approved, intended, minute, opened};

/// How long one figure of one round is measured.
const MEASURED: Duration = Duration::from_secs(1);
/// Rounds. The two sides take turns and the medians are shown, as the machine has other work.
const ROUNDS: usize = 9;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    runtime.expect("a runtime starts").block_on(async {
        println!(
            "{:>8} {:>8} {:>17} {:>25} {:>7}",
            "engine", "callers", "store, commits/s", "bare loop of that group/s", "ratio"
        );
        for engine in [Engine::Sqlite, Engine::Postgres] {
            measure(engine).await;
        }
    });
}

#[derive(Clone, Copy, Debug)]
enum Engine {
    Sqlite,
    Postgres,
}

async fn measure(engine: Engine) {
    let mut ungrouped = None;
    for callers in [1, 16, 64] {
        let (mut store, mut bare, mut ratio) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (through_store, by_hand) = match engine {
                Engine::Sqlite => {
                    let directory = scratch();
                    let url = format!("sqlite:{}", directory.path().join("hushpad.db").display());
                    (through_store(&url, callers).await, bare_loop(callers).await)
                }
                Engine::Postgres => {
                    let url = cluster::Database::new().await.url();
                    (through_store(&url, callers).await, postgres::bare_loop(callers, MEASURED).await)
                }
            };
            store.push(through_store);
            bare.push(by_hand);
            ratio.push(through_store / by_hand);
        }
        let (store, bare, ratio) = (median(store), median(bare), median(ratio));
        let name = format!("{engine:?}");
        println!("{name:>8} {callers:>8} {store:>17.0} {bare:>25.0} {ratio:>7.2}");
        let ungrouped = *ungrouped.get_or_insert(bare);
        println!("{:>17} {:>43.1} times the bare loop without groups", "", store / ungrouped);
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// So many callers, each paying one session after the other: open, intend, approve.
async fn through_store(url: &str, callers: usize) -> f64 {
    let store = hushpad_store::open(url, Ownership::Exclusive(chance())).await.expect("the store opens");
    let store = Arc::new(store);
    let end = Instant::now() + MEASURED;
    let start = Instant::now();
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut commits = 0_u32;
                while Instant::now() < end {
                    for change in payment() {
                        store.commit(change).await.expect("the commit is taken");
                        commits += 1;
                    }
                }
                commits
            })
        })
        .collect();
    let mut commits = 0;
    for caller in callers {
        commits += caller.await.expect("the caller ends");
    }
    let rate = f64::from(commits) / start.elapsed().as_secs_f64();
    store.close().await;
    rate
}

fn payment() -> [Change; 3] {
    let open = opened("acme", "ORDER-2026-000123", minute(0));
    let intent = intended(open.after.clone(), minute(1));
    let answer = approved(intent.after.clone(), "ORDER-2026-000123", minute(2));
    [open, intent, answer]
}

/// The rows that the store would write, by one connection that does nothing else.
async fn bare_loop(group: usize) -> f64 {
    let directory = scratch();
    let path = directory.path().join("hushpad.db");
    SqliteStore::open(&path, SqliteOptions::new(Ownership::Exclusive(chance())))
        .await
        .expect("the store opens")
        .close()
        .await;
    let mut connection = bare_connection(&path).await;
    let (mut commits, mut guid) = (0_u32, 0_u128);
    let start = Instant::now();
    while start.elapsed() < MEASURED {
        // A third of a group's changes opens sessions, as in the story above; alone, they take turns.
        let mut changes = Vec::with_capacity(3);
        for _ in 0..group {
            changes.push((commits + u32::try_from(changes.len()).unwrap_or(0)) % 3);
        }
        run(&mut connection, "BEGIN IMMEDIATE").await;
        for change in changes {
            guid += u128::from(change == 0);
            write_bare(&mut connection, change, guid).await;
            commits += 1;
        }
        run(&mut connection, "COMMIT").await;
    }
    f64::from(commits) / start.elapsed().as_secs_f64()
}

async fn bare_connection(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
        .connect()
        .await
        .expect("the file opens")
}

/// Open, intend or approve, with constant texts in place of ours.
async fn write_bare(connection: &mut SqliteConnection, change: u32, number: u128) {
    let sql = match change {
        0 => {
            "INSERT INTO held (data) VALUES (CAST($2 AS BLOB));
             INSERT INTO session (guid, provider, account, configuration, agent, call, amount_minor, currency,
                                  state, created_on, updated_on, version, events, held)
             VALUES ($1, $1, 'acme', 0, 'agent1234', $1, 1240, 'GBP', 'created', 1, 1, 1, 1,
                     last_insert_rowid());
             INSERT INTO event (session, seq, at, kind)
             SELECT id, 1, 1800000000000001, '{\"type\":\"session.created\"}' FROM session WHERE guid = $1;"
        }
        1 => {
            "UPDATE session SET state = 'processing', attempt = 1, version = 2, events = 2
              WHERE guid = $1 AND version = 1;
             INSERT INTO attempt (session, no, id, amount_minor, currency, gateway, intended_on, updated_on, state)
             SELECT id, 1, $1, 1240, 'GBP', 'sandbox', 1, 1, '{\"state\":\"intent\"}' FROM session WHERE guid = $1;
             INSERT INTO event (session, seq, at, kind)
             SELECT id, 2, 1800000000000001, '{\"type\":\"attempt.intent\",\"attempt\":1}' FROM session WHERE guid = $1;"
        }
        _ => {
            "UPDATE session SET state = 'ended', attempt = NULL, ended_on = 1, ending = 'approved', version = 3,
                    events = 4
              WHERE guid = $1 AND version = 2;
             INSERT INTO held (data) VALUES (CAST($2 AS BLOB));
             UPDATE attempt SET state = $3, held = last_insert_rowid() WHERE session = (SELECT id FROM session WHERE guid = $1);
             INSERT INTO event (session, seq, at, kind)
             SELECT id, 3, 1800000000000001, '{\"type\":\"attempt.approved\",\"attempt\":1}' FROM session WHERE guid = $1;
             INSERT INTO event (session, seq, at, kind)
             SELECT id, 4, 1800000000000001, '{\"type\":\"session.ended\",\"state\":\"Finished\",\"outcome\":\"approved\"}'
               FROM session WHERE guid = $1;"
        }
    };
    // Spread as random guids are.
    let guid = number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes();
    sqlx::query(sql)
        .bind(guid.as_slice())
        .bind(r#"{"Amount":"12.40","Currency":"GBP","MerchantReferenceCode":"ORDER-2026-000123"}"#)
        .bind(
            r#"{"state":"answered","answer":{"verdict":{"verdict":"approved"},"gateway_reference":"gw-1","result":{},"card":null},"resolved":false}"#,
        )
        .execute(connection)
        .await
        .expect("the rows are written");
}

async fn run(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::query(sql).execute(connection).await.expect("the statement runs");
}

/// On the disk of the build, not in a `/tmp` that may be memory.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory for the database")
}
