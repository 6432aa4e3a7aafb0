//! Serving HTTP: bounded connections, a header read time-out, a graceful end.

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
use hushpad_web::Source;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::{debug, error, warn};

/// A client that has not sent its headers by then is not one of ours.
const HEADER_READ_TIME_OUT: Duration = Duration::from_secs(10);
/// Connections of one listener; each costs a task and a buffer. More wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4_096;
/// How long open connections may finish after the end was asked for.
const DRAIN: Duration = Duration::from_secs(5);
/// The kernel refuses `accept` when file descriptors run out: wait a little, do not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `stop`, then lets open requests finish. How long a body may take is up to
/// the router: who reads one gives it a time.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
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
            answer(router.clone(), request)
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

    use axum::routing::post;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpStream;
    use tokio::sync::Notify;

    use super::*;

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
