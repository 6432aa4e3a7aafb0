//! Sockets and deadlines: one request, one connection, and the knowledge whether anything was written.
//!
//! A connection is never used twice. A kept one can be closed by the far end in the moment we write, and then
//! nobody knows whether the request was read; the price is one handshake per payment.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hushpad_domain::attempt::Unknown;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};
use zeroize::Zeroizing;

use crate::counted_io::{CountedIo, Written};
use crate::wire::{BODY_BYTES_MAX, Reply, WireRequest};

/// The most that is read before the head of a reply must be complete.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What became of one request.
pub(crate) enum Exchange {
    /// A whole reply.
    Reply(Reply),
    /// Surely no byte of the request was written.
    NotWritten,
    /// A byte may have been written, and there is no whole reply.
    Lost(Unknown),
}

pub(crate) struct Executor {
    tls: TlsConnector,
}

impl Executor {
    /// An executor that trusts Mozilla's roots.
    pub(crate) fn new() -> Result<Self, tokio_rustls::rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self::trusting(roots)
    }

    pub(crate) fn trusting(roots: RootCertStore) -> Result<Self, tokio_rustls::rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Sends the request and reads the reply, all before `until`; connecting takes at most `connect`.
    pub(crate) async fn exchange(&self, request: WireRequest, connect: Duration, until: Instant) -> Exchange {
        let written = Written::default();
        let result = timeout_at(until, self.run(request, connect, written.clone())).await;
        match (result, written.any()) {
            (_, false) => Exchange::NotWritten,
            (Ok(Ok(reply)), true) => Exchange::Reply(reply),
            (Ok(Err(broken)), true) => Exchange::Lost(broken),
            (Err(_), true) => Exchange::Lost(Unknown::TimedOut),
        }
    }

    /// The error counts only when a byte was written.
    async fn run(&self, request: WireRequest, connect: Duration, written: Written) -> Result<Reply, Unknown> {
        let endpoint = &request.endpoint;
        let lost = |_| Unknown::ConnectionLost;
        let connecting = async {
            let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await.map_err(lost)?;
            tcp.set_nodelay(true).map_err(lost)?;
            if !endpoint.tls {
                return Ok(Stream::Plain(tcp));
            }
            let name = ServerName::try_from(endpoint.host.clone()).map_err(|_| Unknown::ConnectionLost)?;
            Ok(Stream::Tls(Box::new(self.tls.connect(name, tcp).await.map_err(lost)?)))
        };
        match timeout(connect, connecting).await.map_err(|_| Unknown::TimedOut)?? {
            Stream::Plain(tcp) => speak(CountedIo::new(tcp, written), request).await,
            Stream::Tls(tls) => speak(CountedIo::new(*tls, written), request).await,
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

async fn speak<T>(io: CountedIo<T>, request: WireRequest) -> Result<Reply, Unknown>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::Builder::new()
        // Parts are written as they are: no second copy of the body in the client's buffer.
        .writev(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| broken(&error))?;
    let request = into_http(request)?;
    let mut exchange = pin!(async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        read(response).await
    });
    tokio::select! {
        biased;
        reply = &mut exchange => return reply,
        // The connection is done; what it has read is still in the exchange's hands.
        _ = connection => {}
    }
    exchange.await
}

fn into_http(request: WireRequest) -> Result<http::Request<Full<Bytes>>, Unknown> {
    let WireRequest { endpoint, method, headers, body } = request;
    let mut built = http::Request::builder()
        .method(method)
        .uri(endpoint.target)
        .header(http::header::HOST, endpoint.authority)
        .header(http::header::CONNECTION, "close");
    for (name, value) in headers {
        built = built.header(name, value);
    }
    // The body stays where it is and is wiped when the last reader drops it.
    built.body(Full::new(Bytes::from_owner(body))).map_err(|_| Unknown::ConnectionLost)
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

#[cfg(test)]
mod tests {
    use http::Method;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;
    use crate::endpoint::Endpoint;
    use crate::wire::WireBody;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// What a TLS gateway does with its one connection.
    enum Gateway {
        Answers,
        ClosesAfterTheHandshake,
        ClosesAfterTheRequest,
    }

    /// A TLS server for `localhost`, which tells what it has read.
    async fn listen(gateway: Gateway) -> (u16, CertificateDer<'static>, tokio::task::JoinHandle<Vec<u8>>) {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else {
                return Vec::new();
            };
            let mut seen = Vec::new();
            if !matches!(gateway, Gateway::ClosesAfterTheHandshake) {
                while !seen.ends_with(b"\r\n\r\n") && tls.read_buf(&mut seen).await.unwrap() > 0 {}
            }
            if matches!(gateway, Gateway::Answers) {
                tls.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
                tls.shutdown().await.unwrap();
            }
            seen
        });
        (port, cert.der().clone(), server)
    }

    async fn ask(port: u16, host: &str, trusted: Option<CertificateDer<'static>>) -> Exchange {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted);
        let request = WireRequest {
            endpoint: Endpoint::parse(&format!("https://{host}:{port}/charges"), false).unwrap(),
            method: Method::GET,
            headers: Vec::new(),
            body: WireBody::empty(),
        };
        Executor::trusting(roots).unwrap().exchange(request, PATIENCE, Instant::now() + PATIENCE).await
    }

    #[tokio::test]
    async fn a_request_goes_over_tls() {
        let (port, certificate, server) = listen(Gateway::Answers).await;
        let Exchange::Reply(reply) = ask(port, "localhost", Some(certificate)).await else {
            panic!("no reply")
        };
        assert_eq!((reply.status, reply.body.as_slice()), (200, &b"hi"[..]));
        assert!(server.await.unwrap().starts_with(b"GET /charges HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn a_certificate_that_is_not_trusted_or_not_the_hosts_gets_no_request() {
        let (port, _, server) = listen(Gateway::Answers).await;
        assert!(matches!(ask(port, "localhost", None).await, Exchange::NotWritten));
        assert!(server.await.unwrap().is_empty());
        let (port, certificate, server) = listen(Gateway::Answers).await;
        assert!(matches!(ask(port, "127.0.0.1", Some(certificate)).await, Exchange::NotWritten));
        assert!(server.await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_connection_that_ends_after_the_request_is_lost() {
        let (port, certificate, server) = listen(Gateway::ClosesAfterTheRequest).await;
        let exchange = ask(port, "localhost", Some(certificate)).await;
        assert!(matches!(exchange, Exchange::Lost(Unknown::ConnectionLost)));
        assert!(!server.await.unwrap().is_empty());
    }

    /// Whoever is faster, client or close: the answer is never a reply, and "not written" is only said when
    /// the server has seen nothing.
    #[tokio::test]
    async fn a_connection_that_ends_after_the_handshake_gives_no_reply() {
        let (port, certificate, server) = listen(Gateway::ClosesAfterTheHandshake).await;
        let exchange = ask(port, "localhost", Some(certificate)).await;
        assert!(!matches!(exchange, Exchange::Reply(_)));
        assert!(server.await.unwrap().is_empty());
    }
}
