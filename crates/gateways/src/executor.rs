//! Sockets and deadlines: requests, the connections they go over, and the knowledge whether anything was written.
//!
//! Connections are kept (`pool.rs`), because a handshake costs more than all the rest. Every byte is counted above
//! TLS. A kept connection that is found closed before any byte of the request was written is replaced by a new one;
//! one that closes under us after a byte was written is lost, and nobody knows whether the request was read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hushpad_domain::attempt::Unknown;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::endpoint::Endpoint;
use crate::line::{Line, Spoken};
use crate::pool::{KEPT_PER_ENDPOINT_MAX, Key, Pool};
use crate::wire::{Reply, WireRequest};

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
    pool: Pool,
}

impl Executor {
    /// An executor that trusts Mozilla's roots.
    pub(crate) fn new() -> Result<Self, tokio_rustls::rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self::trusting(roots)
    }

    /// One configuration for all connections, so that TLS sessions are resumed (rustls keeps them in memory).
    pub(crate) fn trusting(roots: RootCertStore) -> Result<Self, tokio_rustls::rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), pool: Pool::default() })
    }

    /// Sends the request and reads the reply, all before `until`; connecting takes at most `connect`.
    pub(crate) async fn exchange(&self, request: WireRequest, connect: Duration, until: Instant) -> Exchange {
        let key = Key::of(&request.endpoint);
        let endpoint = request.endpoint.clone();
        let Some(mut request) = into_http(request) else { return Exchange::NotWritten };
        // Each try that fails uses up one kept connection; then there are none.
        for _ in 0..=KEPT_PER_ENDPOINT_MAX {
            let line = match self.pool.take(&key, Instant::now()) {
                Some(line) => line,
                None => match timeout_at(until, Line::open(&self.tls, &endpoint, connect)).await {
                    Ok(Some(line)) => line,
                    Ok(None) | Err(_) => return Exchange::NotWritten,
                },
            };
            let (written, is_kept) = (line.written(), line.has_spoken());
            match timeout_at(until, line.speak(request)).await {
                Ok(Spoken::Reply(reply, line)) => {
                    self.pool.give(key, line, Instant::now());
                    return Exchange::Reply(reply);
                }
                Ok(Spoken::Unsent(unsent)) if is_kept && !written.any() => request = unsent,
                Ok(Spoken::Unsent(_)) | Err(_) if !written.any() => return Exchange::NotWritten,
                Ok(Spoken::Broken(_)) if !written.any() => return Exchange::NotWritten,
                Ok(Spoken::Broken(reason)) => return Exchange::Lost(reason),
                Ok(Spoken::Unsent(_)) => return Exchange::Lost(Unknown::ConnectionLost),
                Err(_) => return Exchange::Lost(Unknown::TimedOut),
            }
        }
        Exchange::NotWritten
    }

    /// Opens a connection for the next request, unless one is there. Whether it works shows when it is needed.
    pub(crate) async fn warm(&self, endpoint: &Endpoint, connect: Duration) {
        let key = Key::of(endpoint);
        if let Some(line) = self.pool.take(&key, Instant::now()) {
            self.pool.give(key, line, Instant::now());
            return;
        }
        if let Some(line) = Line::open(&self.tls, endpoint, connect).await {
            self.pool.give(key, line, Instant::now());
        }
    }
}

/// `None` when a header is no header.
fn into_http(request: WireRequest) -> Option<http::Request<Full<Bytes>>> {
    let WireRequest { endpoint, method, headers, body } = request;
    let mut built = http::Request::builder()
        .method(method)
        .uri(endpoint.target)
        .header(http::header::HOST, endpoint.authority);
    for (name, value) in headers {
        built = built.header(name, value);
    }
    // The body stays where it is and is wiped when the last reader drops it.
    built.body(Full::new(Bytes::from_owner(body))).ok()
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

    /// What a gateway does with one connection, and how many requests it reads from it.
    #[derive(Clone, Copy)]
    enum Act {
        Replies(usize),
        /// Replies to all but the last one.
        ClosesUnanswered(usize),
        /// Says that it keeps connections for a second.
        IsShort,
    }

    /// A gateway without TLS: every connection follows its act. Tells how many requests each one brought.
    async fn play(script: &'static [Act]) -> (Endpoint, tokio::task::JoinHandle<Vec<usize>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/charges", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut seen = Vec::new();
            for act in script {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (requests, more) = match act {
                    Act::Replies(requests) | Act::ClosesUnanswered(requests) => (*requests, ""),
                    Act::IsShort => (1, "keep-alive: timeout=1\r\n"),
                };
                let mut count = 0;
                while count < requests {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
                    if head.is_empty() {
                        break;
                    }
                    count += 1;
                    if count < requests || !matches!(act, Act::ClosesUnanswered(_)) {
                        let reply = format!("HTTP/1.1 200 OK\r\n{more}content-length: 2\r\n\r\nhi");
                        stream.write_all(reply.as_bytes()).await.unwrap();
                    }
                }
                seen.push(count);
            }
            seen
        });
        (Endpoint::parse(&url, false).unwrap(), server)
    }

    fn get(endpoint: &Endpoint) -> WireRequest {
        let (endpoint, body) = (endpoint.clone(), WireBody::empty());
        WireRequest { endpoint, method: Method::GET, headers: Vec::new(), body }
    }

    async fn said(executor: &Executor, endpoint: &Endpoint) -> Exchange {
        executor.exchange(get(endpoint), PATIENCE, Instant::now() + PATIENCE).await
    }

    fn executor() -> Executor {
        Executor::trusting(RootCertStore::empty()).unwrap()
    }

    #[tokio::test]
    async fn requests_go_over_one_connection_as_long_as_it_is_open() {
        let (endpoint, server) = play(&[Act::Replies(3), Act::Replies(1)]).await;
        let executor = executor();
        for _ in 0..4 {
            assert!(matches!(said(&executor, &endpoint).await, Exchange::Reply(_)));
        }
        assert_eq!(server.await.unwrap(), [3, 1]);
    }

    #[tokio::test]
    async fn a_kept_connection_that_closes_under_us_is_lost_and_nothing_is_sent_again() {
        let (endpoint, server) = play(&[Act::ClosesUnanswered(2), Act::Replies(1)]).await;
        let executor = executor();
        assert!(matches!(said(&executor, &endpoint).await, Exchange::Reply(_)));
        assert!(matches!(said(&executor, &endpoint).await, Exchange::Lost(Unknown::ConnectionLost)));
        assert!(matches!(said(&executor, &endpoint).await, Exchange::Reply(_)));
        assert_eq!(server.await.unwrap(), [2, 1]);
    }

    #[tokio::test]
    async fn a_warm_connection_is_the_one_that_is_used_and_nothing_was_sent_over_it() {
        let (endpoint, server) = play(&[Act::Replies(1)]).await;
        let executor = executor();
        executor.warm(&endpoint, PATIENCE).await;
        executor.warm(&endpoint, PATIENCE).await;
        assert!(matches!(said(&executor, &endpoint).await, Exchange::Reply(_)));
        assert_eq!(server.await.unwrap(), [1]);
    }

    #[tokio::test]
    async fn a_gateway_that_keeps_nothing_gets_a_new_connection_each_time() {
        let (endpoint, server) = play(&[Act::IsShort, Act::IsShort]).await;
        let executor = executor();
        for _ in 0..2 {
            assert!(matches!(said(&executor, &endpoint).await, Exchange::Reply(_)));
        }
        assert_eq!(server.await.unwrap(), [1, 1]);
    }
}
