//! `hushpad webhooks listen`: a receiver for a developer's desk. It prints what arrives and whether it verifies.

use std::convert::Infallible;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hushpad_domain::ports::World;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::signature::{self, SigningSecret, Unverified};
use crate::cli::ListenArgs;
use crate::world::RealWorld;

/// A status is a few KB; what is larger is not from us.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// What has arrived and is not yet printed.
const ARRIVED_MAX: usize = 64;
const READ_TIME_OUT: Duration = Duration::from_secs(10);

/// What came, and what we think of it.
struct Arrived {
    id: String,
    sent_on: String,
    body: Bytes,
    verdict: Result<(), Unverified>,
}

/// Listens until `stop`, or until as many have come as were asked for.
///
/// # Errors
/// The address or the secret cannot be used; or something came that does not verify.
pub async fn run(
    arguments: &ListenArgs,
    stop: impl Future + Send,
    out: &mut (dyn Write + Send),
) -> anyhow::Result<()> {
    let secret = Arc::new(read_secret(&arguments.secret_file)?);
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    writeln!(out, "listening on http://{}/", listener.local_addr()?)?;
    out.flush()?;
    let (sender, mut arrived) = mpsc::channel(ARRIVED_MAX);
    let accepting = tokio::spawn(accept(listener, secret, sender));
    let (mut good, mut bad) = (0_u64, 0_u64);
    tokio::pin!(stop);
    while arguments.count.is_none_or(|count| good + bad < count) {
        let next = tokio::select! {
            _ = &mut stop => break,
            next = arrived.recv() => next,
        };
        let Some(next) = next else { break };
        match next.verdict {
            Ok(()) => good += 1,
            Err(_) => bad += 1,
        }
        print(&next, out)?;
    }
    accepting.abort();
    writeln!(out, "{good} verified, {bad} not")?;
    if bad > 0 {
        bail!("{bad} of {} did not verify", good + bad);
    }
    Ok(())
}

fn read_secret(path: &Path) -> anyhow::Result<SigningSecret> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let text = Zeroizing::new(text);
    SigningSecret::parse(text.trim()).map_err(|problem| anyhow::anyhow!("{}: {problem}", path.display()))
}

fn print(arrived: &Arrived, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
    let Arrived { id, sent_on, body, verdict } = arrived;
    let verdict = match verdict {
        Ok(()) => "verified".to_owned(),
        Err(why) => format!("NOT VERIFIED: {why}"),
    };
    writeln!(out, "\nwebhook-id {id}  webhook-timestamp {sent_on}  {verdict}")?;
    let pretty = serde_json::from_slice::<serde_json::Value>(body)
        .and_then(|json| serde_json::to_string_pretty(&json))
        .unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned());
    writeln!(out, "{pretty}")?;
    out.flush()?;
    Ok(())
}

async fn accept(listener: TcpListener, secret: Arc<SigningSecret>, arrived: mpsc::Sender<Arrived>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&secret), arrived.clone()));
    }
}

async fn serve(stream: TcpStream, secret: Arc<SigningSecret>, arrived: mpsc::Sender<Arrived>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (secret, arrived) = (Arc::clone(&secret), arrived.clone());
        async move { Ok::<_, Infallible>(receive(request, &secret, &arrived).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIME_OUT)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is the sender's to open again.
    let _ = connection.await;
}

async fn receive(
    request: Request<Incoming>,
    secret: &SigningSecret,
    arrived: &mpsc::Sender<Arrived>,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = tokio::time::timeout(READ_TIME_OUT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let Ok(Ok(body)) = body else { return answer(StatusCode::BAD_REQUEST) };
    let body = body.to_bytes();
    let verdict = signature::verify(secret, &head.headers, &body, RealWorld::new().now());
    let text = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("missing").to_owned()
    };
    let (id, sent_on) = (text(signature::ID), text(signature::TIMESTAMP));
    // A printer that is gone has seen enough.
    let _ = arrived.send(Arrived { id, sent_on, body, verdict }).await;
    answer(if verdict.is_ok() { StatusCode::OK } else { StatusCode::UNAUTHORIZED })
}

fn answer(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
