//! Serving HTTP: bounded connections, a header read time-out, one strict reading of requests, a graceful end.
//! `strict` reads where requests begin and end, `certificates` is the listener that asks clients for certificates.

mod certificates;
mod strict;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use hushpad_web::{PeerCertificate, Source};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, error, warn};

pub use certificates::ClientCertificates;
use strict::{HEAD_BYTES_MAX, Strict};

/// A client that has not sent its headers by then is not one of ours.
const HEADER_READ_TIME_OUT: Duration = Duration::from_secs(10);
/// Connections of one listener; each costs a task and a buffer. More wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// What hyper keeps of a connection's bytes: a whole head and a piece of a body.
const BUFFER_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;
/// How long open connections may finish after the end was asked for.
const DRAIN: Duration = Duration::from_secs(5);
/// The kernel refuses `accept` when file descriptors run out: wait a little, do not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop`, then lets open requests finish. How long a body may take is up to
/// the router: who reads one gives it a time.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    serve_with(listener, None, router, stop).await;
}

/// The same over TLS, to clients that hold a certificate: the router finds a [`PeerCertificate`] with each request.
pub async fn serve_with_certificates(
    listener: TcpListener,
    certificates: Arc<ClientCertificates>,
    router: Router,
    stop: CancellationToken,
) {
    serve_with(listener, Some(certificates), router, stop).await;
}

async fn serve_with(
    listener: TcpListener,
    certificates: Option<Arc<ClientCertificates>>,
    router: Router,
    stop: CancellationToken,
) {
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
        let (router, watcher) = (router.clone(), graceful.watcher());
        let certificates = certificates.clone();
        tokio::spawn(async move {
            converse(stream, certificates, Source(peer.ip()), router, watcher).await;
            drop(place);
        });
    }
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
}

/// One connection, from its handshake to its end.
async fn converse(
    stream: TcpStream,
    certificates: Option<Arc<ClientCertificates>>,
    source: Source,
    router: Router,
    watcher: Watcher,
) {
    let Some(certificates) = certificates else {
        return speak(stream, source, None, router, watcher).await;
    };
    match tokio::time::timeout(HEADER_READ_TIME_OUT, certificates.accept(stream)).await {
        Ok(Ok((stream, certificate))) => speak(stream, source, Some(certificate), router, watcher).await,
        Ok(Err(error)) => debug!(%error, "a client did not show a certificate"),
        Err(_) => debug!("a client did not show a certificate in time"),
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    source: Source,
    certificate: Option<PeerCertificate>,
    router: Router,
    watcher: Watcher,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(source);
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        answer(router.clone(), request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIME_OUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(Strict::new(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        debug!(%error, "a connection ended early");
    }
}

/// A request that changes something is finished even when its client goes away in the middle: a session must not
/// be stored and then never launched.
async fn answer(router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    if request.method().is_safe() {
        return router.oneshot(request).await;
    }
    let answering = AssertUnwindSafe(router.oneshot(request)).catch_unwind();
    match Finished(Some(Box::pin(answering))).await {
        Ok(answer) => answer,
        Err(_) => {
            // Only that it panicked: the panic's own words stay out of the log.
            error!("a request was not answered: it panicked");
            Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    }
}

/// Runs where it is awaited, and goes on as a task of its own when nobody waits for it any more. A task for each
/// request would be simpler, and costs every request two changes of task.
struct Finished<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Future for Finished<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = self.0.as_mut() else { return Poll::Pending };
        let output = std::task::ready!(future.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Finished<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and every task with it.
        if let (Some(rest), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::routing::get;
    use axum::routing::post;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;

    use super::*;

    const ANSWER_BYTES: usize = 64 << 20;

    /// A server with a large answer, and one small one.
    async fn serving() -> (std::net::SocketAddr, CancellationToken) {
        let router = Router::new()
            .route("/large", get(|| async { vec![b'x'; ANSWER_BYTES] }))
            .route("/small", get(|| async { "small" }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(serve(listener, router, stop.clone()));
        (address, stop)
    }

    async fn serves_others(address: std::net::SocketAddr) {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /small HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("small"), "{answer}");
    }

    // Time is paused: it moves on when everybody waits.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_send_its_head_is_let_go() {
        let (address, _stop) = serving().await;
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /small HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
        serves_others(address).await;
        let begun = tokio::time::Instant::now();
        let dribbling = async {
            // A byte now and then does not buy more time.
            while slow.write_all(b"y").await.is_ok() && begun.elapsed() < Duration::from_secs(600) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        dribbling.await;
        assert!(begun.elapsed() <= HEADER_READ_TIME_OUT * 3, "{:?}", begun.elapsed());
        let mut rest = Vec::new();
        let _ = silent.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 2"));
        serves_others(address).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_take_its_answer_is_let_go() {
        let (address, _stop) = serving().await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        // The first bytes are there: the rest waits for the client.
        client.readable().await.unwrap();
        serves_others(address).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        let mut taken = Vec::new();
        let _ = client.read_to_end(&mut taken).await;
        assert!(taken.len() < ANSWER_BYTES, "it was served to the end");
        serves_others(address).await;
    }

    #[tokio::test]
    async fn a_change_is_finished_when_its_client_goes_away() {
        let (begun, go_on, done) =
            (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
        let steps = (Arc::clone(&begun), Arc::clone(&go_on), Arc::clone(&done));
        let handler = move || {
            let (begun, go_on, done) = steps.clone();
            async move {
                begun.notify_one();
                go_on.notified().await;
                done.notify_one();
            }
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, Router::new().route("/", post(handler)), stop.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        begun.notified().await;
        drop(client);
        // Ending the server waits for its connections: after it, the one above was seen to be closed.
        stop.cancel();
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        go_on.notify_one();
        tokio::time::timeout(Duration::from_secs(30), done.notified()).await.expect("the handler went on");
    }
}
