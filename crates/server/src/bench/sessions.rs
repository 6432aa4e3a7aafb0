//! `POST /v1/session` and its status per second, beside the same commits on the same disk in the same run: put
//! straight into a store, and put into it by a bare HTTP handler under the same load; on PostgreSQL also beside
//! pgbench with the same rows.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use hushpad_domain::ids::{AccountId, AgentId, ConfigurationId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::{Sessions, World};
use hushpad_domain::session::{NewSession, Session};
use hushpad_store::{Ownership, Store};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::load::{Load, Pace, drive, once};
use super::{Durations, micros, per_second, postgres_url};
use crate::demo::api::PaymentApi;
use crate::demo::stage::{Extras, Stage, TEST_CONFIGURATION};
use crate::log::Redactor;
use crate::world::RealWorld;

/// How long each figure of one round is measured.
const ROW: Duration = Duration::from_millis(1_500);
/// Rounds. The sides take turns and the medians are shown, as the machine has other work.
const ROUNDS: usize = 3;
/// Requests at one time.
const CLIENTS: [usize; 3] = [1, 16, 64];
/// How long the half load is kept up.
const HALF_LOAD: Duration = Duration::from_secs(5);
/// As the example of the README, and a name.
pub(super) const PAYMENT_DATA: [(&str, &str); 5] = [
    ("FirstName", "Ada"),
    ("Surname", "Byron"),
    ("Amount", "12.40"),
    ("Currency", "GBP"),
    ("MerchantReferenceCode", "ORDER-7"),
];

/// Where the sessions of a run are kept.
#[derive(Clone, Copy)]
enum Engine<'a> {
    Sqlite,
    /// The database of the product; that of the peers has `_raw` at its end.
    Postgres(&'a str),
}

pub(super) async fn run(redactor: Redactor, out: &mut dyn Write) -> anyhow::Result<()> {
    engine(Engine::Sqlite, redactor.clone(), out).await?;
    match postgres_url() {
        Some(url) => engine(Engine::Postgres(&url), redactor, out).await,
        None => Ok(()),
    }
}

async fn engine(engine: Engine<'_>, redactor: Redactor, out: &mut dyn Write) -> anyhow::Result<()> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let extras = Extras { postgres_url: engine.url(), ..Extras::default() };
    let stage = Stage::set_with(anywhere, "http://127.0.0.1", redactor, extras, async |_| Ok(())).await?;
    let api = PaymentApi::new(&stage.parts, Arc::new(|_| {}));
    let token = api.token().await.context("a token")?;
    let address: SocketAddr = stage.parts.api_base.trim_start_matches("http://").parse()?;
    let post = post_request(address, &token);
    writeln!(out, "POST /v1/session, {}, durable. Peers in the same run, on the same disk:", engine.name())?;
    writeln!(out, "  raw       the same commits straight into a store, by as many callers")?;
    writeln!(out, "  raw-http  the same commits by a bare HTTP handler, under the same load generator")?;
    writeln!(
        out,
        "  null      a bare HTTP handler that does nothing: the load generator's and HTTP's own share"
    )?;
    writeln!(out, "clients  sessions/s   p50 ms   p99 ms     raw/s  ratio  raw-http/s  ratio    null/s")?;
    let mut most = 0.0;
    for clients in CLIENTS {
        most = row(engine, address, &post, clients, out).await?;
    }
    let half = drive(address, vec![post.clone()], 64, Pace::PerSecond(most / 2.0), HALF_LOAD).await?;
    let peer = commit_over_http(engine, &post, 64, Pace::PerSecond(most / 2.0), HALF_LOAD).await?;
    for (name, Load { rate, durations }) in [("", half), ("raw-http at the same pace: ", peer)] {
        let (p50, p99) = (durations.quantile_ms(0.5), durations.quantile_ms(0.99));
        writeln!(out, "at half of that load: {name}{rate:.0} sessions/s, p50 {p50:.2} ms, p99 {p99:.2} ms")?;
    }
    let statuses = statuses(address, &token, &post_request(address, &token)).await?;
    writeln!(out, "GET /v1/session/{{guid}} at 64 clients: {statuses:.0}/s, {:.1} × POST", statuses / most)?;
    stage.strike().await;
    if let Engine::Postgres(url) = engine {
        match pgbench(url).await? {
            Some(rate) => {
                writeln!(
                    out,
                    "pgbench, 64 clients, the same rows: {rate:.0}/s; POST is {:.2} of it",
                    most / rate
                )?;
            }
            None => writeln!(out, "pgbench was not run: HUSHPAD_BENCH_PGBENCH does not name it")?,
        }
    }
    Ok(())
}

impl Engine<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    fn url(self) -> Option<String> {
        match self {
            Self::Sqlite => None,
            Self::Postgres(url) => Some(url.to_owned()),
        }
    }
}

/// The rows of a new session, by PostgreSQL's own load tool in the peers' database.
const PGBENCH_SCRIPT: &str = "
WITH ours AS (SELECT epoch FROM owner WHERE id = 1 FOR SHARE),
changed AS (INSERT INTO session (guid, provider, account, configuration, agent, amount_minor, currency, state,
                                 created_on, updated_on, version, events, webhook, holds)
            SELECT gen_random_uuid(), gen_random_uuid(), 'demo', 1, 'agent1234', 1240, 'GBP', 'created',
                   1, 1, 1, 1, FALSE, TRUE
              FROM ours
         RETURNING guid),
kept AS (INSERT INTO held (session, attempt, data)
         SELECT guid, 0, convert_to(repeat('x', 160), 'UTF8') FROM changed),
told AS (INSERT INTO event (session, seq, at, kind)
         SELECT guid, 1, 1, '{\"type\":\"session.created\"}' FROM changed)
SELECT count(*) FROM changed;
";

/// Transactions per second of pgbench at 64 clients; `None` where it is not named.
async fn pgbench(url: &str) -> anyhow::Result<Option<f64>> {
    #[expect(clippy::disallowed_methods, reason = "a bench of the command line")]
    let Ok(program) = std::env::var("HUSHPAD_BENCH_PGBENCH") else { return Ok(None) };
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("session.sql");
    std::fs::write(&script, PGBENCH_SCRIPT.replace('\n', " ").trim_start())?;
    let seconds = (2 * ROW).as_secs().to_string();
    let run = tokio::process::Command::new(program)
        .args(["--client=64", "--jobs=2", "--protocol=prepared", "--no-vacuum", "--time", &seconds, "--file"])
        .arg(&script)
        .arg(format!("{url}_raw"))
        .output()
        .await
        .context("pgbench")?;
    let (said, complained) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.with_context(|| format!("pgbench: {said}{complained}")).map(Some)
}

async fn row(
    engine: Engine<'_>,
    address: SocketAddr,
    post: &[u8],
    clients: usize,
    out: &mut dyn Write,
) -> anyhow::Result<f64> {
    let (mut rates, mut raw, mut raw_http, mut null) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut taken_us = Vec::new();
    for _ in 0..ROUNDS {
        let load = drive(address, vec![post.to_vec()], clients, Pace::Flat, ROW).await?;
        rates.push(load.rate);
        taken_us.extend(load.durations.0);
        raw.push(commit_sessions(engine, clients).await?);
        raw_http.push(commit_over_http(engine, post, clients, Pace::Flat, ROW).await?.rate);
        null.push(nothing_over_http(post, clients).await?.rate);
    }
    let durations = Durations::new(taken_us);
    let (rate, raw, raw_http, null) = (median(rates), median(raw), median(raw_http), median(null));
    writeln!(
        out,
        "{clients:>7}  {rate:>10.0}  {:>7.2}  {:>7.2}  {raw:>8.0}  {:>5.2}  {raw_http:>10.0}  {:>5.2}  {null:>8.0}",
        durations.quantile_ms(0.5),
        durations.quantile_ms(0.99),
        rate / raw,
        rate / raw_http,
    )?;
    Ok(rate)
}

/// Posts for one round; also what other benches run beside their own work.
pub(super) async fn post_sessions(
    api: &str,
    token: &str,
    clients: usize,
) -> anyhow::Result<(f64, Durations)> {
    let address: SocketAddr = api.parse()?;
    let load = drive(address, vec![post_request(address, token)], clients, Pace::Flat, 2 * ROW).await?;
    Ok((load.rate, load.durations))
}

fn post_request(address: SocketAddr, token: &str) -> Vec<u8> {
    let body = serde_json::json!({
        "agentId": "agent1234",
        "accountConfigurationId": TEST_CONFIGURATION,
        "skipCallTransfer": true,
        "paymentData": BTreeMap::from(PAYMENT_DATA),
    });
    let body = body.to_string();
    format!(
        "POST /v1/session HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Each connection asks for a session of its own.
async fn statuses(address: SocketAddr, token: &str, post: &[u8]) -> anyhow::Result<f64> {
    let mut requests = Vec::new();
    for _ in 0..64 {
        let opened: serde_json::Value = serde_json::from_slice(&once(address, post.to_vec()).await?)?;
        let guid = opened["sessionGuid"].as_str().context("a sessionGuid")?;
        let request = format!(
            "GET /v1/session/{guid} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        requests.push(request.into_bytes());
    }
    let mut rates = Vec::new();
    for _ in 0..ROUNDS {
        rates.push(drive(address, requests.clone(), 64, Pace::Flat, ROW).await?.rate);
    }
    Ok(median(rates))
}

/// The same rows, by as many callers, without HTTP, token, page tokens or secure side.
async fn commit_sessions(engine: Engine<'_>, callers: usize) -> anyhow::Result<f64> {
    let (store, _folder) = raw_store(engine).await?;
    let world = RealWorld::new();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (store, world) = (Arc::clone(&store), world.clone());
        tasks.spawn(async move {
            let mut count = 0_usize;
            while world.elapsed_us() < micros(ROW) {
                store.commit(Session::open(new_session(&world)?, world.now())).await?;
                count += 1;
            }
            anyhow::Ok(count)
        });
    }
    let mut count = 0;
    while let Some(one) = tasks.join_next().await {
        count += one??;
    }
    let rate = per_second(count, world.elapsed_us());
    store.close().await;
    Ok(rate)
}

/// The same rows by the same load over HTTP, without token, page tokens or secure side.
async fn commit_over_http(
    engine: Engine<'_>,
    request: &[u8],
    clients: usize,
    pace: Pace,
    length: Duration,
) -> anyhow::Result<Load> {
    let (store, _folder) = raw_store(engine).await?;
    let (committing, world) = (Arc::clone(&store), RealWorld::new());
    let handler = move |_: Bytes| {
        let (store, world) = (Arc::clone(&committing), world.clone());
        async move {
            let session = new_session(&world).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
            let stored = store.commit(Session::open(session, world.now())).await;
            stored.map(|()| "{}").map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    let router = Router::new().route("/v1/session", post(handler));
    let load = over_http(router, request, clients, pace, length).await;
    store.close().await;
    load
}

async fn nothing_over_http(request: &[u8], clients: usize) -> anyhow::Result<Load> {
    let router = Router::new().route("/v1/session", post(async |_: Bytes| "{}"));
    over_http(router, request, clients, Pace::Flat, ROW).await
}

fn over_http(
    router: Router,
    request: &[u8],
    clients: usize,
    pace: Pace,
    length: Duration,
) -> impl Future<Output = anyhow::Result<Load>> + use<> {
    let request = request.to_vec();
    async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let server = tokio::spawn(crate::http::serve(listener, router, stop.clone()));
        let load = drive(address, vec![request], clients, pace, length).await;
        stop.cancel();
        server.await?;
        load
    }
}

async fn raw_store(engine: Engine<'_>) -> anyhow::Result<(Arc<Store>, TempDir)> {
    let folder = tempfile::tempdir()?;
    let url = match engine {
        Engine::Sqlite => format!("sqlite:{}", folder.path().join("raw.db").display()),
        Engine::Postgres(url) => format!("{url}_raw"),
    };
    let store = hushpad_store::open(&url, Ownership::Exclusive(RealWorld::new().chance())).await?;
    Ok((Arc::new(store), folder))
}

fn new_session(world: &RealWorld) -> anyhow::Result<NewSession> {
    let values = PAYMENT_DATA.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(NewSession {
        guid: SessionGuid(world.guid()),
        provider: ProviderSessionGuid(world.guid()),
        account: AccountId("demo".into()),
        configuration: ConfigurationId(TEST_CONFIGURATION),
        agent: AgentId("agent1234".into()),
        call: None,
        payment_data: PaymentData::new(BTreeMap::from(values))
            .map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?,
        webhook: false,
    })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}
