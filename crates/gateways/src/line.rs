//! One connection to a gateway, over which requests go one after the other.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hushpad_domain::attempt::Unknown;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use crate::counted_io::{CountedIo, Written};
use crate::endpoint::Endpoint;
use crate::wire::{BODY_BYTES_MAX, Reply};

/// The most that is read before the head of a reply must be complete.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long a connection may rest before it is thrown away: below what gateways and the boxes before them allow,
/// a minute mostly, so that they seldom close first.
const REST_MAX: Duration = Duration::from_secs(45);

/// A gateway that names its own limit may close a little before it.
const REST_MARGIN: Duration = Duration::from_secs(1);

/// A connection that is open, as far as is known. Closed when dropped.
pub(crate) struct Line {
    sender: http1::SendRequest<Full<Bytes>>,
    /// Drives the connection, and notices when the far end closes it.
    driver: AbortHandle,
    written: Written,
    /// Shares the socket: shows a close that nobody has read yet.
    probe: std::net::TcpStream,
    has_spoken: bool,
    rest_max: Duration,
}

/// What became of one request.
pub(crate) enum Spoken {
    /// A whole reply; the connection can be used again if it stays open.
    Reply(Reply, Line),
    /// The connection was closed before the request was begun.
    Unsent(http::Request<Full<Bytes>>),
    /// There is no whole reply.
    Broken(Unknown),
}

impl Line {
    /// `None` when there is no connection, or not in time.
    pub(crate) async fn open(tls: &TlsConnector, endpoint: &Endpoint, connect: Duration) -> Option<Self> {
        timeout(connect, Self::connect(tls, endpoint)).await.ok().flatten()
    }

    async fn connect(tls: &TlsConnector, endpoint: &Endpoint) -> Option<Self> {
        let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.ok()?;
        tcp.set_nodelay(true).ok()?;
        let socket = tcp.into_std().ok()?;
        let probe = socket.try_clone().ok()?;
        let tcp = TcpStream::from_std(socket).ok()?;
        let written = Written::default();
        let (sender, driver) = if endpoint.tls {
            let name = ServerName::try_from(endpoint.host.clone()).ok()?;
            let stream = tls.connect(name, tcp).await.ok()?;
            drive(CountedIo::new(stream, written.clone())).await?
        } else {
            drive(CountedIo::new(tcp, written.clone())).await?
        };
        Some(Self { sender, driver, written, probe, has_spoken: false, rest_max: REST_MAX })
    }

    /// Whether a byte of the request that is on its way was written.
    pub(crate) fn written(&self) -> Written {
        self.written.clone()
    }

    /// Whether it was used before, or kept for use.
    pub(crate) fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// How long it may rest.
    pub(crate) fn rest_max(&self) -> Duration {
        self.rest_max
    }

    /// Marks it as kept.
    pub(crate) fn keep(&mut self) {
        self.has_spoken = true;
        self.written.forget();
    }

    /// Whether a request can be begun, as far as is known: nothing is to be read, and the far end has not closed.
    pub(crate) fn is_open(&self) -> bool {
        let nothing_to_read =
            self.probe.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        !self.sender.is_closed() && nothing_to_read
    }

    /// One request and its reply.
    pub(crate) async fn speak(mut self, request: http::Request<Full<Bytes>>) -> Spoken {
        if self.sender.ready().await.is_err() {
            return Spoken::Unsent(request);
        }
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                if let Some(rest) = rest_of(&response) {
                    self.rest_max = rest.saturating_sub(REST_MARGIN).min(REST_MAX);
                }
                match read(response).await {
                    Ok(reply) => Spoken::Reply(reply, self),
                    Err(reason) => Spoken::Broken(reason),
                }
            }
            Err(mut failed) => match failed.take_message() {
                Some(request) => Spoken::Unsent(request),
                None => Spoken::Broken(broken(failed.error())),
            },
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn drive<T>(io: CountedIo<T>) -> Option<(http1::SendRequest<Full<Bytes>>, AbortHandle)>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        // Parts are written as they are: no second copy of the body in the client's buffer.
        .writev(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(io))
        .await
        .ok()?;
    // How it ends is told to whoever waits for a reply.
    let driver = tokio::spawn(async move {
        let _ = connection.await;
    });
    Some((sender, driver.abort_handle()))
}

/// `Keep-Alive: timeout=5` (RFC 2068, section 19.7.1.1).
fn rest_of(response: &http::Response<Incoming>) -> Option<Duration> {
    let given = response.headers().get("keep-alive")?.to_str().ok()?;
    let seconds = given.split(',').find_map(|part| part.trim().strip_prefix("timeout="))?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

async fn read(response: http::Response<Incoming>) -> Result<Reply, Unknown> {
    let status = response.status().as_u16();
    let mut incoming = response.into_body();
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_BYTES_MAX));
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        if body.capacity() - body.len() < data.len() {
            return Err(Unknown::Unreadable);
        }
        body.extend_from_slice(data);
    }
    Ok(Reply { status, body })
}

fn broken(error: &hyper::Error) -> Unknown {
    if error.is_parse() { Unknown::Unreadable } else { Unknown::ConnectionLost }
}
