//! Listeners, transactions and the table of dialogs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use hushpad_telephony::call::Wish;
use rsipstack::dialog::DialogId;
use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::sip::{Auth, Host, HostWithPort, Method, Param, Scheme, Uri};
use rsipstack::transaction::endpoint::EndpointOption;
use rsipstack::transaction::{Endpoint, EndpointBuilder};
use rsipstack::transport::tcp_listener::TcpListenerConnection;
use rsipstack::transport::tls::{ReloadableCertResolver, TlsConfig, TlsListenerConnection};
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{SipConnection, TransportLayer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dispatch::Dispatcher;
use super::identity::Identity;
use super::incoming::IncomingCall;
use super::limits::Limits;
use super::reliable::Pracks;
use super::replaces::Pairs;
use super::socket::PeersOnly;
use super::{Counters, Listener, Named, SipConfig, Tls, Transport, USER_AGENT};

/// Calls that wait to be taken up. The taker only hands them to tasks, so a few are plenty.
const WAITING_CALLS: usize = 64;
/// Receive buffer of a UDP listener: a burst of 1,000 INVITEs while the process is off the CPU.
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// A TCP peer that says nothing for this long is let go; keep-alives come every 30 to 120 s (RFC 5626).
const STREAM_IDLE: Duration = Duration::from_secs(600);

/// The running SIP stack, until [`Stack::stop`].
pub struct Stack {
    pub(super) config: Arc<SipConfig>,
    pub(super) counters: Arc<Counters>,
    pub(super) dialogs: Arc<DialogLayer>,
    pub(super) identity: Identity,
    pub(super) pracks: Pracks,
    pub(super) pairs: Pairs,
    endpoint: Endpoint,
    transports: Vec<Transport>,
    addresses: Vec<SocketAddr>,
    draining: AtomicBool,
    stop: CancellationToken,
}

impl Stack {
    /// Opens the listeners; calls come out of the receiver.
    ///
    /// # Errors
    /// A listener cannot be opened, or there is none.
    pub async fn start(config: SipConfig) -> anyhow::Result<(Arc<Self>, mpsc::Receiver<IncomingCall>)> {
        let config = Arc::new(config);
        let counters = Arc::new(Counters::default());
        let stop = CancellationToken::new();
        let transports = TransportLayer::new(stop.clone());
        transports.set_stream_idle_timeout(STREAM_IDLE);
        let limits = Limits::new(&config, &counters);
        limits.admit_peers_only(&transports);
        let identity = Identity::new(&config, &counters)?;
        if let Some(tls) = &config.tls {
            transports.set_tls_config(tls_config(tls)?);
        }
        let mut addresses = Vec::new();
        for listener in &config.listeners {
            let opened = open(listener, &config, &counters, &stop).await;
            let (connection, address) =
                opened.with_context(|| format!("cannot listen for SIP on {}", listener.bind))?;
            transports.add_transport(connection);
            addresses.push(address);
        }
        anyhow::ensure!(!addresses.is_empty(), "no SIP listener is configured");
        let endpoint = EndpointBuilder::new()
            .with_user_agent(USER_AGENT)
            .with_allows(vec![Method::Invite, Method::Ack, Method::Bye, Method::Cancel])
            .with_transport_layer(transports)
            .with_cancel_token(stop.clone())
            .with_transport_inspector(Box::new(limits.clone()))
            .with_inspector(Box::new(identity.clone()))
            .with_option(EndpointOption {
                callid_suffix: Some("call".to_owned()),
                ..EndpointOption::default()
            })
            .build();
        limits.watch(&endpoint.inner);
        let requests = endpoint.incoming_transactions()?;
        let inner = endpoint.inner.clone();
        tokio::spawn(async move {
            if let Err(error) = inner.serve().await {
                tracing::error!(%error, "the SIP stack stopped");
            }
        });
        let dialogs = Arc::new(DialogLayer::new(endpoint.inner.clone()));
        let transports = config.listeners.iter().map(|listener| listener.transport).collect();
        let stack = Arc::new(Self {
            config,
            counters,
            dialogs,
            identity,
            pracks: Pracks::default(),
            pairs: Pairs::default(),
            endpoint,
            transports,
            addresses,
            draining: AtomicBool::new(false),
            stop,
        });
        let (calls, incoming) = mpsc::channel(WAITING_CALLS);
        tokio::spawn(Dispatcher::new(Arc::clone(&stack), calls).run(requests));
        Ok((stack, incoming))
    }

    /// Where we listen, as others reach us, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether the phone at this SIP address sits behind a NAT, as its peer says. A name is not looked up.
    #[must_use]
    pub fn is_behind_nat(&self, uri: &str) -> bool {
        self.peer_at(uri).is_some_and(|peer| peer.nat)
    }

    /// What is wanted of SRTP toward this SIP address, as its peer says.
    #[must_use]
    pub fn srtp_toward(&self, uri: &str) -> Wish {
        self.peer_at(uri).map(|peer| peer.srtp).unwrap_or_default()
    }

    pub(super) fn peer_at(&self, uri: &str) -> Option<&super::Peer> {
        let host = Uri::try_from(uri).ok().map(|uri| uri.host_with_port.host);
        let Some(Host::IpAddr(ip)) = host else { return None };
        self.config.peer_of(ip)
    }

    /// The dialog of ours that a `Replaces` names.
    #[must_use]
    pub fn named(&self, replaces: &str) -> Option<Named> {
        self.pairs.named(replaces)
    }

    /// What was dropped.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Dialogs the stack knows: two per call and one with its recorder, none when no call is up. A metric, and a leak test.
    #[must_use]
    pub fn dialogs(&self) -> usize {
        self.dialogs.len()
    }

    /// Transactions in hand, finished ones that still answer retransmissions included.
    #[must_use]
    pub fn transactions(&self) -> usize {
        let stats = self.endpoint.inner.get_stats();
        stats.running_transactions + stats.finished_transactions
    }

    /// From now on OPTIONS are answered with 503, so that whoever asks sends its calls elsewhere.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Closes the listeners. Nothing is said on the dialogs that are left.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends with [`Stack::stop`].
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Our Contact for a dialog that came over this connection, or for one of ours, which the stack adapts to
    /// the transport it goes over.
    pub(super) fn contact(&self, over: Option<&SipConnection>) -> Uri {
        use rsipstack::sip::Transport as Wire;
        let (wanted, named) = match over.map(|connection| connection.transport()) {
            Some(Wire::Tls) => (Transport::Tls, Some(Wire::Tls)),
            Some(Wire::Tcp) => (Transport::Tcp, Some(Wire::Tcp)),
            _ => (Transport::Udp, None),
        };
        let found = self.transports.iter().position(|transport| *transport == wanted);
        let params = found.and(named).map(Param::Transport).into_iter().collect();
        Uri {
            scheme: Some(Scheme::Sip),
            auth: Some(Auth { user: "hushpad".to_owned(), password: None }),
            host_with_port: HostWithPort::from(self.addresses[found.unwrap_or(0)]),
            params,
            ..Uri::default()
        }
    }

    pub(super) fn forget(&self, dialog: &DialogId) {
        self.identity.end(&dialog.call_id);
        self.pairs.part(dialog);
        self.pracks.end(&dialog.to_string());
        self.dialogs.remove_dialog(dialog);
    }
}

async fn open(
    listener: &Listener,
    config: &Arc<SipConfig>,
    counters: &Arc<Counters>,
    stop: &CancellationToken,
) -> anyhow::Result<(SipConnection, SocketAddr)> {
    anyhow::ensure!(
        config.advertised.is_some() || !listener.bind.ip().is_unspecified(),
        "others cannot reach us at {}: name the advertised address",
        listener.bind.ip()
    );
    let reached_at =
        |bound: SocketAddr| SocketAddr::new(config.advertised.unwrap_or(bound.ip()), bound.port());
    match listener.transport {
        Transport::Udp => {
            let socket = udp_socket(listener.bind)?;
            let address = reached_at(socket.local_addr()?);
            let (config, counters) = (Arc::clone(config), Arc::clone(counters));
            let socket = Arc::new(PeersOnly { socket, config, counters });
            let connection =
                UdpConnection::from_socket(socket, Some(address), Some(stop.child_token())).await?;
            Ok((SipConnection::Udp(connection), address))
        }
        Transport::Tcp => {
            // The stack opens its listener later and only logs a failure: find out now.
            drop(std::net::TcpListener::bind(listener.bind)?);
            let address = reached_at(listener.bind);
            let connection = TcpListenerConnection::new(listener.bind, Some(address)).await?;
            Ok((SipConnection::TcpListener(connection), address))
        }
        Transport::Tls => {
            let tls = config.tls.as_ref().context("TLS needs a certificate and its key")?;
            drop(std::net::TcpListener::bind(listener.bind)?);
            let address = reached_at(listener.bind);
            let connection =
                TlsListenerConnection::new(listener.bind, Some(address), tls_config(tls)?).await?;
            Ok((SipConnection::TlsListener(connection), address))
        }
    }
}

/// The stack reads certificates when a listener starts and only logs what is wrong: find out now.
fn tls_config(tls: &Tls) -> anyhow::Result<TlsConfig> {
    let provider = rustls::crypto::ring::default_provider();
    ReloadableCertResolver::new(&tls.certificate, &tls.key, Arc::new(provider.clone()))
        .map_err(|error| anyhow::anyhow!("the SIP certificate or its key cannot be used: {error}"))?;
    // The stack takes the provider of the process; if there is one already, it is as good.
    let _ = provider.install_default();
    let authorities = (!tls.authorities.is_empty()).then(|| tls.authorities.clone());
    Ok(TlsConfig {
        cert: Some(tls.certificate.clone()),
        key: Some(tls.key.clone()),
        ca_certs: authorities,
        ..TlsConfig::default()
    })
}

fn udp_socket(bind: SocketAddr) -> std::io::Result<tokio::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The kernel may give less; that is no reason not to start.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
    socket.bind(&bind.into())?;
    tokio::net::UdpSocket::from_std(socket.into())
}
