//! Serving HTTP: bounded connections, a header read time-out, a graceful end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hushpad_web::Source;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tower_http::timeout::RequestBodyTimeoutLayer;
use tracing::{debug, warn};

/// A client that has not sent its headers by then is not one of ours.
const HEADER_READ_TIME_OUT: Duration = Duration::from_secs(10);
/// Between two pieces of a body.
const BODY_READ_TIME_OUT: Duration = Duration::from_secs(10);
/// Connections of one listener; each costs a task and a buffer. More wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// How long open connections may finish after the end was asked for.
const DRAIN: Duration = Duration::from_secs(5);
/// The kernel refuses `accept` when file descriptors run out: wait a little, do not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop`, then lets open requests finish.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let router = router.layer(RequestBodyTimeoutLayer::new(BODY_READ_TIME_OUT));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Source(peer.ip()));
            router.clone().oneshot(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIME_OUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}
