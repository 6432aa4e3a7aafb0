//! How fast a backlog of webhooks drains to a fast receiver, and what that costs `POST /v1/session` meanwhile. Both in
//! the same run, on the same machine, which also plays the receiver and the clients.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hushpad_domain::ids::{AccountId, AgentId, ConfigurationId, ProviderSessionGuid, SessionGuid};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::ports::{Sessions, World};
use hushpad_domain::session::{NewSession, Session};
use hushpad_store::{Ownership, Store};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::per_second;
use super::sessions::{PAYMENT_DATA, post_sessions};
use crate::demo::api::PaymentApi;
use crate::demo::stage::{ACCOUNT, Extras, Stage, TEST_CONFIGURATION, Webhook};
use crate::log::Redactor;
use crate::world::RealWorld;

/// Webhooks that wait when the server starts: an hour of 28 payments a second.
const BACKLOG: usize = 100_000;
/// Clients of `POST /v1/session` at one time.
const CLIENTS: usize = 16;
/// Writers of the backlog, so that they share their syncs.
const WRITERS: usize = 64;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(super) async fn run(redactor: Redactor, out: &mut dyn Write) -> anyhow::Result<()> {
    writeln!(out, "webhooks to a fast receiver, SQLite, {CLIENTS} clients of POST /v1/session beside it")?;
    writeln!(out, "backlog   posts/s   p50 ms   p99 ms   drained/s")?;
    let (without, _) = measure(0, redactor.clone(), out).await?;
    let (with, alone) = measure(BACKLOG, redactor, out).await?;
    writeln!(out, "posts with the backlog beside those without: {:.2}", with / without)?;
    writeln!(out, "drained without posts: {alone:.0}/s")?;
    Ok(())
}

/// Posts while a backlog of this size drains, then the rest of it alone. Gives both rates.
async fn measure(backlog: usize, redactor: Redactor, out: &mut dyn Write) -> anyhow::Result<(f64, f64)> {
    let receiver = Receiver::open().await?;
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let webhook = Webhook { url: format!("http://{}/", receiver.address), secret: SECRET.to_owned() };
    let extras = Extras { webhook: Some(webhook), ..Extras::default() };
    let stage = Stage::set_with(anywhere, "http://127.0.0.1", redactor, extras, async |config| {
        let store =
            hushpad_store::open(&config.store_url, Ownership::Exclusive(RealWorld::new().chance())).await?;
        let store = Arc::new(store);
        fill(&store, backlog).await?;
        store.close().await;
        Ok(())
    });
    let stage = stage.await?;
    let token = PaymentApi::new(&stage.parts, Arc::new(|_| {})).token().await.context("a token")?;
    let api = stage.parts.api_base.trim_start_matches("http://").to_owned();
    let world = RealWorld::new();
    let before = receiver.count();
    let (posts, durations) = post_sessions(&api, &token, CLIENTS).await?;
    let drained = per_second(receiver.count() - before, world.elapsed_us());
    writeln!(
        out,
        "{backlog:>7}  {posts:>8.0}  {:>7.2}  {:>7.2}  {drained:>10.0}",
        durations.quantile_ms(0.5),
        durations.quantile_ms(0.99)
    )?;
    let (rest, world) = (receiver.count(), RealWorld::new());
    while receiver.count() < backlog {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let alone = per_second(receiver.count() - rest, world.elapsed_us());
    stage.strike().await;
    Ok((posts, alone))
}

/// Ended sessions whose webhook waits.
async fn fill(store: &Arc<Store>, count: usize) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let world = RealWorld::new();
            for _ in (writer..count).step_by(WRITERS) {
                let opened = Session::open(new_session(&world)?, world.now());
                let session = opened.after.clone();
                store.commit(opened).await?;
                store.commit(session.cancel(world.now())?).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

fn new_session(world: &RealWorld) -> anyhow::Result<NewSession> {
    let values = PAYMENT_DATA.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(NewSession {
        guid: SessionGuid(world.guid()),
        provider: ProviderSessionGuid(world.guid()),
        account: AccountId(ACCOUNT.into()),
        configuration: ConfigurationId(TEST_CONFIGURATION),
        agent: AgentId("agent1234".into()),
        call: None,
        payment_data: PaymentData::new(BTreeMap::from(values))
            .map_err(|mistakes| anyhow::anyhow!("{mistakes:?}"))?,
        webhook: true,
    })
}

/// Takes everything at once.
struct Receiver {
    address: SocketAddr,
    count: Arc<AtomicUsize>,
}

impl Receiver {
    async fn open() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, count) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                let service = service_fn(move |request: Request<Incoming>| {
                    let counter = Arc::clone(&counter);
                    async move {
                        // What is cut off is sent again.
                        if request.into_body().collect().await.is_ok() {
                            counter.fetch_add(1, Ordering::Relaxed);
                        }
                        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, count })
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}
