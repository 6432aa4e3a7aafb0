//! The listener that asks clients for a certificate (RFC 8705).
//!
//! TLS itself takes any certificate, and makes sure that the client holds its key. What the certificate is worth is
//! asked later, client by client: the very one that was registered, or one with the registered name from an
//! authority of ours.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use hushpad_web::PeerCertificate;
use ring::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring as provider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Our own certificate, and the authorities whose names count.
pub struct ClientCertificates {
    acceptor: TlsAcceptor,
    /// `None`: only certificates that were registered themselves count.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
}

impl ClientCertificates {
    /// From PEM files: our certificate with its chain, its key, and the authorities of clients.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn load(certificate: &Path, key: &Path, authorities: Option<&Path>) -> Result<Self, String> {
        let chain = read_certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()))?;
        let provider = Arc::new(provider::default_provider());
        let verifier = Arc::new(Anybody(Arc::clone(&provider)));
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| error.to_string())?;
        let authorities = authorities.map(|path| verifier_of(path, provider)).transpose()?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), authorities })
    }

    /// Shakes hands, and says what the client has shown.
    pub(super) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, PeerCertificate)> {
        let stream = self.acceptor.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let [leaf, between @ ..] = shown else {
            return Err(io::Error::other("no certificate was shown"));
        };
        let certificate = self.worth(leaf, between);
        Ok((stream, certificate))
    }

    fn worth(&self, leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>]) -> PeerCertificate {
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(digest::digest(&digest::SHA256, leaf).as_ref());
        let trusted = self.authorities.as_ref().is_some_and(|authorities| {
            authorities.verify_client_cert(leaf, between, UnixTime::now()).is_ok()
        });
        let leaf = leaf.clone().into_owned();
        let is_named = move |name: &str| trusted && has_name(&leaf, name);
        PeerCertificate { thumbprint, is_named: Arc::new(is_named) }
    }
}

/// Whether the certificate is for this dNSName.
fn has_name(leaf: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name) else { return false };
    webpki::EndEntityCert::try_from(leaf)
        .is_ok_and(|leaf| leaf.verify_is_valid_for_subject_name(&name).is_ok())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(BufReader::new(file)).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(wrong(&"holds no certificate")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(&error)),
    }
}

fn verifier_of(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut roots = RootCertStore::empty();
    for authority in read_certificates(path)? {
        roots.add(authority).map_err(|error| wrong(&error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| wrong(&error))
}

/// Takes every certificate whose key the client holds.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::Router;
    use axum::extract::Request;
    use axum::routing::get;
    use rcgen::{CertificateParams, CertifiedIssuer, CertifiedKey, KeyPair};
    use rustls::ClientConfig;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::http::serve_with_certificates;

    type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

    /// Says what it was shown: the thumbprint, and whether it is `api.shop.example` of an authority of ours.
    async fn tell(request: Request) -> String {
        let shown = request.extensions().get::<PeerCertificate>().unwrap();
        let digits: String = shown.thumbprint.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digits} {}", (shown.is_named)("api.shop.example"))
    }

    fn self_signed(name: &str) -> (CertifiedKey<KeyPair>, Shown) {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let shown = (vec![made.cert.der().clone()], key);
        (made, shown)
    }

    fn signed_by(authority: &CertifiedIssuer<'_, KeyPair>, name: &str) -> Shown {
        let key = KeyPair::generate().unwrap();
        let signed =
            CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, authority).unwrap();
        (vec![signed.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    struct Served {
        port: u16,
        roots: RootCertStore,
        _folder: tempfile::TempDir,
        _stop: CancellationToken,
    }

    async fn serving(authority: &CertifiedIssuer<'_, KeyPair>) -> Served {
        let folder = tempfile::tempdir().unwrap();
        let (own, _) = self_signed("localhost");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("own.pem"), pem("CERTIFICATE", own.cert.der())).unwrap();
        std::fs::write(path("own.key"), pem("PRIVATE KEY", &own.signing_key.serialize_der())).unwrap();
        std::fs::write(path("ca.pem"), pem("CERTIFICATE", authority.der())).unwrap();
        let (own_pem, key, ca) = (path("own.pem"), path("own.key"), path("ca.pem"));
        let certificates = ClientCertificates::load(&own_pem, &key, Some(&ca)).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (port, stop) = (listener.local_addr().unwrap().port(), CancellationToken::new());
        let router = Router::new().route("/", get(tell));
        tokio::spawn(serve_with_certificates(listener, Arc::new(certificates), router, stop.clone()));
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        Served { port, roots, _folder: folder, _stop: stop }
    }

    /// What the server says to a client that shows this; `None` when it says nothing.
    async fn ask(served: &Served, shown: Option<Shown>) -> Option<String> {
        let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(served.roots.clone());
        let config = match shown {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, served.port)).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    fn thumbprint(shown: &Shown) -> String {
        digest::digest(&digest::SHA256, &shown.0[0])
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    #[tokio::test]
    async fn what_a_client_shows_is_told_with_what_it_is_worth() {
        let (ours, foreign) = (authority(), authority());
        let served = serving(&ours).await;
        for (shown, named) in [
            (signed_by(&ours, "api.shop.example"), true),
            (signed_by(&ours, "other.example"), false),
            (signed_by(&foreign, "api.shop.example"), false),
            (self_signed("api.shop.example").1, false),
        ] {
            let expected = format!("{} {named}", thumbprint(&shown));
            assert_eq!(ask(&served, Some(shown)).await, Some(expected));
        }
    }

    #[tokio::test]
    async fn without_a_certificate_nobody_is_heard() {
        let ours = authority();
        let served = serving(&ours).await;
        assert_eq!(ask(&served, None).await, None);
        // Plain HTTP is no handshake.
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, served.port)).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP"));
    }
}
