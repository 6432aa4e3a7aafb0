//! The bare loop over PostgreSQL: plain statements, each prepared once, by one connection on the same socket.

use std::str::FromStr;
use std::time::{Duration, Instant};

use hushpad_store::{Ownership, PostgresStore};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use uuid::Uuid;

use crate::chance::chance;
use crate::cluster;

/// The rows that the store would write, by one connection that does nothing else.
pub(crate) async fn bare_loop(group: usize, measured: Duration) -> f64 {
    let database = cluster::Database::new().await;
    let url = database.url();
    PostgresStore::open(&url, Ownership::Exclusive(chance())).await.expect("the store opens").close().await;
    let options = PgConnectOptions::from_str(&url).expect("the URL is sound").disable_statement_logging();
    let mut connection = options.connect().await.expect("the database is there");
    let (mut commits, mut guid) = (0_u32, Uuid::nil());
    let start = Instant::now();
    while start.elapsed() < measured {
        run(&mut connection, "BEGIN", None).await;
        for _ in 0..group {
            if commits.is_multiple_of(3) {
                guid = Uuid::new_v4();
            }
            for sql in STATEMENTS[commits as usize % 3] {
                run(&mut connection, sql, Some(guid)).await;
            }
            commits += 1;
        }
        run(&mut connection, "COMMIT", None).await;
    }
    f64::from(commits) / start.elapsed().as_secs_f64()
}

/// Open, intend and approve, with constant texts in place of ours.
const STATEMENTS: [&[&str]; 3] = [
    &[
        "INSERT INTO session (guid, provider, account, configuration, agent, call, amount_minor, currency, state,
                              created_on, updated_on, version, events, holds)
         VALUES ($1, $1, 'acme', 0, 'agent1234', $1, 1240, 'GBP', 'created', 1, 1, 1, 1, TRUE)",
        "INSERT INTO held (session, attempt, data)
         VALUES ($1, 0, '{\"Amount\":\"12.40\",\"Currency\":\"GBP\",\"MerchantReferenceCode\":\"ORDER-2026-000123\"}')",
        "INSERT INTO event (session, seq, at, kind)
         VALUES ($1, 1, 1800000000000001, '{\"type\":\"session.created\"}')",
    ],
    &[
        "UPDATE session SET state = 'processing', attempt = 1, version = 2, events = 2
          WHERE guid = $1 AND version = 1",
        "INSERT INTO attempt (session, no, id, amount_minor, currency, gateway, intended_on, updated_on, state)
         VALUES ($1, 1, $1, 1240, 'GBP', 'sandbox', 1, 1, '{\"state\":\"intent\"}')",
        "INSERT INTO event (session, seq, at, kind)
         VALUES ($1, 2, 1800000000000001, '{\"type\":\"attempt.intent\",\"attempt\":1}')",
    ],
    &[
        "UPDATE session SET state = 'ended', attempt = NULL, ended_on = 1, ending = 'approved', version = 3, events = 4
          WHERE guid = $1 AND version = 2",
        "INSERT INTO held (session, attempt, data)
         VALUES ($1, 1, '{\"result\":{\"decision\":\"ACCEPT\",\"reasonCode\":\"100\"},\"card\":null}')",
        "UPDATE attempt
            SET state = '{\"state\":\"answered\",\"answer\":{\"verdict\":{\"verdict\":\"approved\"}},\"resolved\":false}'
          WHERE session = $1",
        "INSERT INTO event (session, seq, at, kind)
         VALUES ($1, 3, 1800000000000001, '{\"type\":\"attempt.approved\",\"attempt\":1}'),
                ($1, 4, 1800000000000001, '{\"type\":\"session.ended\",\"state\":\"Finished\",\"outcome\":\"approved\"}')",
    ],
];

async fn run(connection: &mut PgConnection, sql: &'static str, guid: Option<Uuid>) {
    let query = sqlx::query(sql);
    let query = match guid {
        Some(guid) => query.bind(guid),
        None => query,
    };
    query.execute(connection).await.expect("the statement runs");
}
