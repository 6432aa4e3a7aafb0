//! One receiver's connections: resolved, guarded, over TLS, used again while they live.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hushpad_domain::webhook::TryAnswer;
use hushpad_gateways::Endpoint;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::guard::Reach;

/// A whole try: name, connection, TLS, request, reply. A receiver should take the delivery and work later.
pub const TRY_TIME_OUT: Duration = Duration::from_secs(10);
/// Of it, for the connection.
const CONNECT_TIME_OUT: Duration = Duration::from_secs(5);
/// Of a reply only the status counts; this much is read so that the connection can be used again.
pub const REPLY_BYTES_MAX: usize = 64 * 1024;
/// How long the rest of a reply is waited for once its status is known.
const REPLY_REST_TIME_OUT: Duration = Duration::from_secs(1);
/// Of that, for each of its addresses: one that swallows packets leaves time for the next.
const ADDRESS_TIME_OUT: Duration = Duration::from_secs(2);
/// The most that is read before the head of a reply must be complete.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Addresses of one name that are tried: two of each family.
const ADDRESSES_MAX: usize = 4;
/// Shorter than the keep-alive of common servers, so that a kept connection is seldom a dead one.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// A client for one URL.
pub struct Client {
    endpoint: Endpoint,
    reach: Reach,
    tls: TlsConnector,
    /// At most as many as there are tries at one time.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    sender: SendRequest<Full<Bytes>>,
    since: Instant,
}

/// What came back.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body; empty when it was larger than [`REPLY_BYTES_MAX`] or did not come.
    pub body: Bytes,
}

/// Why there is no reply, and whether another connection may do better.
enum Failed {
    /// Before a reply began, on a connection that was kept: it may have died of age.
    Stale,
    Answer(TryAnswer),
}

impl Client {
    /// A client that opens no connection yet.
    #[must_use]
    pub fn new(endpoint: Endpoint, reach: Reach, tls: TlsConnector) -> Self {
        Self { endpoint, reach, tls, idle: Mutex::new(Vec::new()) }
    }

    /// Where it posts to, without path and query, which may hold a secret.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.endpoint.authority
    }

    /// Posts and reads the reply, within [`TRY_TIME_OUT`]. Redirects are not followed.
    ///
    /// # Errors
    /// Why there is no reply.
    pub async fn post(&self, headers: &[(HeaderName, HeaderValue)], body: Bytes) -> Result<Reply, TryAnswer> {
        timeout(TRY_TIME_OUT, self.post_patiently(headers, body)).await.unwrap_or(Err(TryAnswer::TimedOut))
    }

    async fn post_patiently(
        &self,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Reply, TryAnswer> {
        if let Some(kept) = self.take_idle() {
            match self.speak(kept, true, headers, body.clone()).await {
                Err(Failed::Stale) => {}
                Err(Failed::Answer(answer)) => return Err(answer),
                Ok(reply) => return Ok(reply),
            }
        }
        let fresh = timeout(CONNECT_TIME_OUT, self.connect()).await.unwrap_or(Err(TryAnswer::TimedOut))?;
        self.speak(fresh, false, headers, body).await.map_err(|failed| match failed {
            Failed::Stale => TryAnswer::Broken,
            Failed::Answer(answer) => answer,
        })
    }

    async fn speak(
        &self,
        mut sender: SendRequest<Full<Bytes>>,
        kept: bool,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Reply, Failed> {
        let request = self.request(headers, body).map_err(Failed::Answer)?;
        // To send twice is allowed: the receiver knows a repetition by its id.
        let broken = |_| if kept { Failed::Stale } else { Failed::Answer(TryAnswer::Broken) };
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let body = read_rest(response.into_body()).await;
        if body.is_some() {
            self.keep(sender);
        }
        Ok(Reply { status, body: body.unwrap_or_default() })
    }

    fn request(
        &self,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, TryAnswer> {
        let mut request = Request::post(self.endpoint.target.as_str())
            .header(header::HOST, self.endpoint.authority.as_str())
            .header(header::USER_AGENT, concat!("hushpad/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).map_err(|_| TryAnswer::Broken)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, TryAnswer> {
        let unreachable = |_| TryAnswer::Unreachable;
        let Endpoint { host, port, tls, .. } = &self.endpoint;
        let found: Vec<SocketAddr> =
            lookup_host((host.as_str(), *port)).await.map_err(unreachable)?.take(ADDRESSES_MAX).collect();
        let mut refusal = TryAnswer::AddressRefused;
        for address in found.into_iter().filter(|address| self.reach.allows(address.ip())) {
            // The address that was looked at, not the name again.
            let Ok(Ok(tcp)) = timeout(ADDRESS_TIME_OUT, TcpStream::connect(address)).await else {
                refusal = TryAnswer::Unreachable;
                continue;
            };
            tcp.set_nodelay(true).map_err(|_| TryAnswer::Unreachable)?;
            if !*tls {
                return handshake(tcp).await;
            }
            let name = ServerName::try_from(host.clone()).map_err(|_| TryAnswer::Unreachable)?;
            return handshake(self.tls.connect(name, tcp).await.map_err(unreachable)?).await;
        }
        Err(refusal)
    }

    fn take_idle(&self) -> Option<SendRequest<Full<Bytes>>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|kept| kept.since.elapsed() < IDLE_MAX && kept.sender.is_ready());
        idle.pop().map(|kept| kept.sender)
    }

    fn keep(&self, sender: SendRequest<Full<Bytes>>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Idle { sender, since: Instant::now() });
    }
}

async fn handshake<T>(stream: T) -> Result<SendRequest<Full<Bytes>>, TryAnswer>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| TryAnswer::Broken)?;
    // Ends with its sender.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

/// The rest of a reply; `None` when it is too large or too slow, and the connection is not to be used again.
async fn read_rest(body: Incoming) -> Option<Bytes> {
    let whole = Limited::new(body, REPLY_BYTES_MAX).collect();
    let read = timeout(REPLY_REST_TIME_OUT, whole).await.ok()?;
    read.ok().map(|whole| whole.to_bytes())
}

/// How receivers' certificates are checked: by Mozilla's roots and those of `authorities` (PEM).
///
/// # Errors
/// What is wrong with the PEM text.
pub fn tls(authorities: Option<&[u8]>) -> Result<TlsConnector, String> {
    use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
    let mut roots = RootCertStore::empty();
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for certificate in CertificateDer::pem_slice_iter(authorities.unwrap_or_default()) {
        let certificate = certificate.map_err(|error| format!("is not PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("holds a certificate that is not taken: {error}"))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
