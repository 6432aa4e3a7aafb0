//! Sends notifications to the merchant, and again where they are not taken.

use std::time::Duration;

use ::http::{HeaderValue, Method, header};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::adyen::notices::Notice;
use super::ledger::Ledger;
use crate::endpoint::Endpoint;
use crate::executor::{Exchange, Executor};
use crate::{WireBody, WireRequest};

/// Enough for a test; more wait.
const POSTS_MAX: usize = 64;

/// How often a notification is tried, and the pause in between.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// A merchant answers within ten seconds.
const TIME_OUT: Duration = Duration::from_secs(10);

/// What became of a notification.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Sent {
    /// As it was sent.
    pub(super) body: serde_json::Value,
    /// How often it was tried.
    pub(super) tries: u32,
    /// Whether it was taken, with a status of 2xx.
    pub(super) taken: bool,
}

/// Sends what the ledger has to say, for as long as the listener runs.
pub(super) async fn run(ledger: Ledger) {
    let Ok(executor) = Executor::new() else { return };
    let executor = std::sync::Arc::new(executor);
    let mut changes = ledger.changes();
    let mut posts: JoinSet<Sent> = JoinSet::new();
    loop {
        changes.mark_unchanged();
        let notices = ledger.with(|books| books.take_notices());
        for notice in notices {
            let Some(target) = ledger.target() else { continue };
            while posts.len() >= POSTS_MAX {
                finish(&ledger, posts.join_next().await);
            }
            posts.spawn(deliver(executor.clone(), target, notice));
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            Some(sent) = posts.join_next() => finish(&ledger, Some(sent)),
        }
    }
}

fn finish(ledger: &Ledger, sent: Option<Result<Sent, tokio::task::JoinError>>) {
    if let Some(Ok(sent)) = sent {
        ledger.keep_sent(sent);
    }
}

async fn deliver(executor: std::sync::Arc<Executor>, target: Endpoint, notice: Notice) -> Sent {
    sleep(Duration::from_millis(notice.delay_ms)).await;
    let body = serde_json::from_str(&notice.body).unwrap_or_default();
    for tries in 1..=TRIES {
        if post(&executor, &target, &notice.body).await {
            return Sent { body, tries, taken: true };
        }
        sleep(PAUSE).await;
    }
    Sent { body, tries: TRIES, taken: false }
}

async fn post(executor: &Executor, target: &Endpoint, text: &str) -> bool {
    let mut body = WireBody::room();
    if std::io::Write::write_all(&mut body, text.as_bytes()).is_err() {
        return false;
    }
    let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    let request = WireRequest { endpoint: target.clone(), method: Method::POST, headers, body };
    let exchange = executor.exchange(request, TIME_OUT, Instant::now() + TIME_OUT).await;
    matches!(exchange, Exchange::Reply(reply) if (200..300).contains(&reply.status))
}
