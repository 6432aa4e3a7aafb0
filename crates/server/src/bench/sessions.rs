//! `POST /v1/session` per second, beside the same commits put straight into the store on the same disk.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hushpad_domain::ids::{AccountId, AgentId, ConfigurationId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::{Sessions, World};
use hushpad_domain::session::{NewSession, Session};
use hushpad_store::{SqliteOptions, SqliteStore};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Durations;
use crate::demo::api::PaymentApi;
use crate::demo::stage::{Stage, TEST_CONFIGURATION};
use crate::log::Redactor;
use crate::world::RealWorld;

/// How long each row is measured.
const ROW: Duration = Duration::from_secs(3);
/// Requests at one time.
const CLIENTS: [usize; 3] = [1, 16, 64];
/// As the example of the README, and a name.
const PAYMENT_DATA: [(&str, &str); 5] = [
    ("FirstName", "Ada"),
    ("Surname", "Byron"),
    ("Amount", "12.40"),
    ("Currency", "GBP"),
    ("MerchantReferenceCode", "ORDER-7"),
];

pub(super) async fn run(redactor: Redactor, out: &mut dyn Write) -> anyhow::Result<()> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let stage = Stage::set(anywhere, "http://127.0.0.1", redactor).await?;
    let token = PaymentApi::new(&stage.parts, Arc::new(|_| {})).token().await.context("a token")?;
    let api = stage.parts.api_base.trim_start_matches("http://").to_owned();
    writeln!(out, "POST /v1/session, SQLite, durable; beside it the same commits straight into a store")?;
    writeln!(out, "clients  sessions/s   p50 ms   p99 ms   commits/s   ratio")?;
    for clients in CLIENTS {
        let (rate, durations) = post_sessions(&api, &token, clients).await?;
        let raw = commit_sessions(clients).await?;
        writeln!(
            out,
            "{clients:>7}  {rate:>10.0}  {:>7.2}  {:>7.2}  {raw:>10.0}  {:>6.2}",
            durations.quantile_ms(0.5),
            durations.quantile_ms(0.99),
            rate / raw
        )?;
    }
    stage.strike().await;
    Ok(())
}

async fn post_sessions(api: &str, token: &str, clients: usize) -> anyhow::Result<(f64, Durations)> {
    let body = serde_json::json!({
        "agentId": "agent1234",
        "accountConfigurationId": TEST_CONFIGURATION,
        "skipCallTransfer": true,
        "paymentData": BTreeMap::from(PAYMENT_DATA),
    });
    let body = Bytes::from(body.to_string());
    let world = RealWorld::new();
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (api, token, body, world) = (api.to_owned(), token.to_owned(), body.clone(), world.clone());
        tasks.spawn(async move {
            let mut sender = connect(&api).await?;
            let mut durations = Vec::new();
            while world.elapsed_us() < micros(ROW) {
                let begun = world.elapsed_us();
                post(&mut sender, &api, &token, body.clone()).await?;
                durations.push(world.elapsed_us() - begun);
            }
            anyhow::Ok(durations)
        });
    }
    let mut all = Vec::new();
    while let Some(durations) = tasks.join_next().await {
        all.extend(durations??);
    }
    Ok((per_second(all.len(), world.elapsed_us()), Durations::new(all)))
}

async fn connect(api: &str) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(api).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn post(
    sender: &mut SendRequest<Full<Bytes>>,
    api: &str,
    token: &str,
    body: Bytes,
) -> anyhow::Result<()> {
    let request = Request::post("/v1/session")
        .header("host", api)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Full::new(body))?;
    sender.ready().await?;
    let reply = sender.send_request(request).await?;
    let status = reply.status();
    let body = reply.into_body().collect().await?.to_bytes();
    ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
    Ok(())
}

/// The same rows, by as many callers, without HTTP, token, page tokens or secure side.
async fn commit_sessions(callers: usize) -> anyhow::Result<f64> {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(&folder.path().join("raw.db"), SqliteOptions::default()).await?;
    let store = Arc::new(store);
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

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench run")]
fn per_second(count: usize, elapsed_us: u64) -> f64 {
    count as f64 * 1e6 / elapsed_us.max(1) as f64
}
