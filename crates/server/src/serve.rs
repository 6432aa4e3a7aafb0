//! The parts put together: sockets are bound, tasks started, and everything is ended in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::middleware::Next;
use hushpad_domain::account::Directory;
use hushpad_domain::ports::{Sessions, Webhooks, World};
use hushpad_domain::time::Timestamp;
use hushpad_gateways::{GatewayConfig, GatewayConfigError, Gateways};
use hushpad_payer::{PayerParts, PaymentLinks};
use hushpad_store::{Ownership, Store};
use hushpad_web::{Observer, Source, TokenKeys, WebParts, WebSettings};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, Admin};
use crate::announcer::Announcer;
use crate::calls::{CallTable, Calls, RecorderEar};
use crate::capture::codes::LinkCodes;
use crate::capture::{PayerDesk, SecureDesk, SecureParts};
use crate::config::{CertificateListener, Config, HttpListener, MasterKey};
use crate::http;
use crate::log::Redactor;
use crate::media::MediaPlane;
use crate::metrics::Metrics;
use crate::payments::{Books, CardHashes, Merchants, Payments, PaymentsParts, Vault, recovery};
use crate::recorder::Recorders;
use crate::senders::Senders;
use crate::webhooks::{Dispatcher, Told};
use crate::world::RealWorld;

/// How often what is past its retention is wiped. The query hides it at once; this makes it gone.
const PURGE_PERIOD: Duration = Duration::from_secs(60);

/// A running Hushpad.
pub struct Running {
    stop: CancellationToken,
    calls: Calls,
    store: Arc<Store>,
    dispatcher: Dispatcher,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts everything. When this returns, calls and requests are taken.
///
/// # Errors
/// What could not be started, and why.
pub async fn start(mut config: Config, redactor: Redactor) -> anyhow::Result<Running> {
    let (world, settings) = (RealWorld::new(), web_settings(&config));
    let metrics = Arc::new(Metrics::new());
    let store = open_store(&config, &world).await?;
    let media = MediaPlane::start(config.media).context("the media plane")?;
    let told = Arc::clone(&metrics);
    config.calls.recorders.ear = RecorderEar::new(move |signal, answer| told.recorder_told(signal, answer));
    let calls = Calls::start(config.calls, Arc::new(config.routes), media).await.context("SIP")?;
    let vault = vault(&store, &config.master_key, &config.directory, &config.gateways);
    let gateways = start_gateways(config.gateways, &world).context("gateways")?;
    let (clock, counted) = (Arc::new(world.clone()), Arc::clone(&metrics));
    let dispatcher = Dispatcher::start(config.webhooks, store.clone(), clock, counted).context("webhooks")?;
    let webhooks: Arc<dyn Webhooks> = Arc::new(Told::new(Arc::clone(&store), dispatcher.clone()));
    let announcer = Arc::new(Announcer::new(store.clone(), dispatcher.clone()));
    let sessions: Arc<dyn Sessions> = announcer.clone();
    let directory = Arc::new(config.directory);
    let payments = payments(&store, &sessions, vault, gateways, &directory, &world, &metrics).await?;
    let codes = config.payer.as_ref().map(|payer| link_codes(&config.master_key, payer));
    let secure_side = SecureDesk::new(SecureParts {
        calls: calls.clone(),
        payments: payments.clone(),
        world: world.clone(),
        metrics: Arc::clone(&metrics),
        recorders: Recorders::new(config.recorders, world.clone(), metrics.clone()),
        directory: Arc::clone(&directory),
        changes: announcer.clone(),
        codes: codes.clone(),
        sender: Arc::new(Senders::new(config.senders, &(Arc::new(world.clone()) as Arc<dyn World>))),
        max_sessions: config.max_sessions,
    });
    secure_side.watch_links().await.context("payment links from earlier")?;
    let web = Arc::new(WebParts {
        directory,
        sessions: Arc::clone(&sessions),
        clients: store.clone(),
        replays: store.clone(),
        webhooks: Arc::clone(&webhooks),
        credentials: store.clone(),
        changes: announcer,
        calls: Arc::new(CallTable { calls: calls.clone(), world: world.clone() }),
        secure_side: Arc::new(secure_side.clone()),
        operations: Arc::new(payments.clone()),
        stored_cards: Arc::new(payments.clone()),
        world: Arc::new(world.clone()),
        keys: TokenKeys::from_master(&config.master_key),
        settings,
        observer: Arc::new(Requests { metrics: Arc::clone(&metrics), world: world.clone() }),
    });
    let payer = config.payer.zip(codes.map(|codes| PayerDesk::new(secure_side.clone(), codes)));
    let admin = admin::router(Admin {
        metrics,
        calls: calls.clone(),
        secure_side,
        sessions: Arc::clone(&sessions),
        webhooks,
        world: Arc::new(world.clone()),
        redactor,
    });
    let (stop, api) = (CancellationToken::new(), hushpad_web::api_router(Arc::clone(&web)));
    let mut tasks = vec![
        serve(&config.api, "Payment API", api.clone(), &stop).await?,
        serve(&config.page, "agent page", hushpad_web::page_router(web), &stop).await?,
        serve_on(config.admin, "admin", admin, &stop).await?,
        tokio::spawn(purge_now_and_then(sessions, world, stop.clone())),
    ];
    tasks.extend(serve_payer(payer, &stop).await?);
    tasks.extend(serve_notifications(config.notifications, payments, &stop).await?);
    tasks.extend(serve_certificates(config.api_certificates.as_ref(), api, &stop).await?);
    Ok(Running { stop, calls, store, dispatcher, tasks })
}

async fn open_store(config: &Config, world: &RealWorld) -> anyhow::Result<Arc<Store>> {
    hushpad_store::open_with_keys(
        &config.store_url,
        Ownership::Exclusive(world.chance()),
        &config.result_keys,
    )
    .await
    .map(Arc::new)
    .context("the store")
}

fn web_settings(config: &Config) -> WebSettings {
    WebSettings {
        issuer: config.api.public_url.clone(),
        api_base_url: config.api.public_url.clone(),
        certificates_base_url: config
            .api_certificates
            .as_ref()
            .map(|listener| listener.http.public_url.clone()),
        browser_origins: config.browser_origins.clone(),
        page_base_url: config.page.public_url.clone(),
        limits: config.web_limits,
    }
}

fn link_codes(master_key: &MasterKey, payer: &HttpListener) -> Arc<LinkCodes> {
    Arc::new(LinkCodes::new(master_key, &payer.public_url))
}

/// The payer page, if there is one.
async fn serve_payer(
    payer: Option<(HttpListener, PayerDesk)>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some((listener, links)) = payer else { return Ok(None) };
    serve(&listener, "payer page", payer_router(Arc::new(links), &listener), stop).await.map(Some)
}

/// The payer page, which hears where a request comes from.
fn payer_router(links: Arc<dyn PaymentLinks>, listener: &HttpListener) -> axum::Router {
    let parts = PayerParts { links, base_url: listener.public_url.clone() };
    let with_source = async |mut request: axum::extract::Request, next: Next| {
        if let Some(Source(address)) = request.extensions().get::<Source>().copied() {
            request.extensions_mut().insert(hushpad_payer::Source(address));
        }
        next.run(request).await
    };
    hushpad_payer::payer_router(parts).layer(axum::middleware::from_fn(with_source))
}

/// The gateways; their connections are opened beside, so that the first payment need not wait for handshakes.
fn start_gateways(
    configs: Vec<GatewayConfig>,
    world: &RealWorld,
) -> Result<Arc<Gateways>, GatewayConfigError> {
    let gateways = Arc::new(Gateways::with_clock(configs, gateway_clock(world))?);
    let cold = Arc::clone(&gateways);
    tokio::spawn(async move { cold.warm_all().await });
    Ok(gateways)
}

fn vault(
    store: &Arc<Store>,
    master_key: &MasterKey,
    directory: &Directory,
    gateways: &[GatewayConfig],
) -> Vault {
    Vault {
        cards: store.clone(),
        hashes: CardHashes::new(master_key),
        merchants: Arc::new(Merchants::new(directory, gateways)),
    }
}

/// The payments, with those from before the start taken up.
async fn payments(
    store: &Arc<Store>,
    sessions: &Arc<dyn Sessions>,
    vault: Vault,
    gateways: Arc<Gateways>,
    directory: &Arc<Directory>,
    world: &RealWorld,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Payments> {
    let payments = Payments::new(PaymentsParts {
        books: Books::new(Arc::clone(sessions), Arc::new(world.clone()), vault.hashes.clone()),
        settlements: store.clone(),
        notifications: store.clone(),
        vault,
        acquirer: gateways,
        directory: Arc::clone(directory),
        world: Arc::new(world.clone()),
        metrics: Arc::clone(metrics),
    });
    recovery::recover(&payments).await.context("recovery of earlier sessions")?;
    Ok(payments)
}

impl Running {
    /// Ends it in order: no new calls, live calls finish (their sessions too) or are ended, then no more
    /// requests, then no more webhooks, then the store is closed.
    pub async fn shut_down(self) {
        self.calls.shut_down().await;
        self.stop.cancel();
        for task in self.tasks {
            if let Err(error) = task.await {
                warn!(%error, "a task did not end well");
            }
        }
        self.dispatcher.shut_down().await;
        self.store.close().await;
    }
}

async fn serve(
    listener: &HttpListener,
    what: &'static str,
    router: axum::Router,
    stop: &CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    info!(listen = %listener.listen, url = %listener.public_url, "{what}");
    serve_on(listener.listen, what, router, stop).await
}

async fn serve_certificates(
    listener: Option<&CertificateListener>,
    router: axum::Router,
    stop: &CancellationToken,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(listener) = listener else { return Ok(None) };
    let CertificateListener { http: HttpListener { listen, public_url }, certificates } = listener;
    info!(%listen, url = %public_url, "Payment API for clients with certificates");
    let socket = TcpListener::bind(listen);
    let socket = socket.await.with_context(|| format!("api.certificates: cannot listen on {listen}"))?;
    let certificates = Arc::clone(certificates);
    Ok(Some(tokio::spawn(http::serve_with_certificates(socket, certificates, router, stop.clone()))))
}

async fn serve_on(
    address: SocketAddr,
    what: &'static str,
    router: axum::Router,
    stop: &CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("{what}: cannot listen on {address}"))?;
    Ok(tokio::spawn(http::serve(listener, router, stop.clone())))
}

/// What gateways tell: it is taken up from the store in any case, and heard where there is a listener for it.
async fn serve_notifications(
    listen: Option<SocketAddr>,
    payments: Payments,
    stop: &CancellationToken,
) -> anyhow::Result<Option<JoinHandle<()>>> {
    let taking = payments.clone();
    tokio::spawn(async move { taking.take_up_notifications().await });
    let Some(address) = listen else { return Ok(None) };
    info!(listen = %address, "gateways' notifications");
    let router = hushpad_web::notification_router(Arc::new(payments));
    serve_on(address, "gateways' notifications", router, stop).await.map(Some)
}

async fn purge_now_and_then(sessions: Arc<dyn Sessions>, world: RealWorld, stop: CancellationToken) {
    loop {
        match sessions.purge(world.now()).await {
            Ok(0) => {}
            Ok(count) => info!(sessions = count, "results past their retention wiped"),
            Err(error) => warn!(%error, "results past their retention could not be wiped"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PURGE_PERIOD) => {}
        }
    }
}

/// For gateways whose requests are signed with a time.
fn gateway_clock(world: &RealWorld) -> Box<dyn Fn() -> Timestamp + Send + Sync> {
    let world = world.clone();
    Box::new(move || world.now())
}

/// Requests, as the operator counts them.
struct Requests {
    metrics: Arc<Metrics>,
    world: RealWorld,
}

impl Observer for Requests {
    fn request_begins(&self) -> u64 {
        self.world.elapsed_us()
    }

    fn request_done(&self, route: &str, status: u16, begun: u64) {
        let taken_us = self.world.elapsed_us().saturating_sub(begun);
        self.metrics.request_done(route, status, Duration::from_micros(taken_us).as_secs_f64());
    }

    fn pages_live(&self, count: usize) {
        self.metrics.live().pages.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
