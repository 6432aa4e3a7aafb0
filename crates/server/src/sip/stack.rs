//! Listeners, transactions and the table of dialogs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rsipstack::dialog::DialogId;
use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::sip::{Auth, HostWithPort, Method, Scheme, Uri};
use rsipstack::transaction::endpoint::EndpointOption;
use rsipstack::transaction::{Endpoint, EndpointBuilder};
use rsipstack::transport::tcp_listener::TcpListenerConnection;
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{SipConnection, TransportLayer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::dispatch::Dispatcher;
use super::incoming::IncomingCall;
use super::socket::PeersOnly;
use super::{Counters, Listener, SipConfig, Transport, USER_AGENT};

/// Calls that wait to be taken up. The taker only hands them to tasks, so a few are plenty.
const WAITING_CALLS: usize = 64;
/// Receive buffer of a UDP listener: a burst of 1,000 INVITEs while the process is off the CPU.
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// A TCP peer that says nothing for this long is let go; keep-alives come every 30 to 120 s (RFC 5626).
const STREAM_IDLE: Duration = Duration::from_secs(600);

/// The running SIP stack. Dropping the last clone of it stops the listeners.
pub struct Stack {
    pub(super) config: Arc<SipConfig>,
    pub(super) counters: Arc<Counters>,
    pub(super) dialogs: Arc<DialogLayer>,
    endpoint: Endpoint,
    contact: Uri,
    addresses: Vec<SocketAddr>,
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
        admit_peers_only(&transports, &config, &counters);
        let mut addresses = Vec::new();
        for listener in &config.listeners {
            let opened = open(listener, &config, &counters, &stop).await;
            let (connection, address) =
                opened.with_context(|| format!("cannot listen for SIP on {}", listener.bind))?;
            transports.add_transport(connection);
            addresses.push(address);
        }
        let first = *addresses.first().context("no SIP listener is configured")?;
        let endpoint = EndpointBuilder::new()
            .with_user_agent(USER_AGENT)
            .with_allows(vec![Method::Invite, Method::Ack, Method::Bye, Method::Cancel])
            .with_transport_layer(transports)
            .with_cancel_token(stop.clone())
            .with_option(EndpointOption {
                callid_suffix: Some("call".to_owned()),
                ..EndpointOption::default()
            })
            .build();
        let requests = endpoint.incoming_transactions()?;
        let inner = endpoint.inner.clone();
        tokio::spawn(async move {
            if let Err(error) = inner.serve().await {
                tracing::error!(%error, "the SIP stack stopped");
            }
        });
        let dialogs = Arc::new(DialogLayer::new(endpoint.inner.clone()));
        let contact = contact(first);
        let stack = Arc::new(Self { config, counters, dialogs, endpoint, contact, addresses, stop });
        let (calls, incoming) = mpsc::channel(WAITING_CALLS);
        tokio::spawn(Dispatcher::new(Arc::clone(&stack), calls).run(requests));
        Ok((stack, incoming))
    }

    /// Where we listen, as others reach us, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What was dropped.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Dialogs the stack knows: two per call, none when no call is up. A metric, and a leak test.
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

    /// Closes the listeners. Nothing is said on the dialogs that are left.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends with [`Stack::stop`].
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// The Contact of our dialogs over datagrams; the stack adapts it for streams.
    pub(super) fn contact(&self) -> Uri {
        self.contact.clone()
    }

    pub(super) fn forget(&self, dialog: &DialogId) {
        self.dialogs.remove_dialog(dialog);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The UDP socket filters by itself; this is for streams.
fn admit_peers_only(transports: &TransportLayer, config: &Arc<SipConfig>, counters: &Arc<Counters>) {
    let (config, counters) = (Arc::clone(config), Arc::clone(counters));
    transports.set_whitelist(move |ip: IpAddr| {
        let known = config.peer_of(ip).is_some();
        if !known {
            counters.count_unknown_source();
        }
        std::future::ready(known)
    });
}

async fn open(
    listener: &Listener,
    config: &Arc<SipConfig>,
    counters: &Arc<Counters>,
    stop: &CancellationToken,
) -> anyhow::Result<(SipConnection, SocketAddr)> {
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
    }
}

fn udp_socket(bind: SocketAddr) -> std::io::Result<tokio::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    // The kernel may give less; that is no reason not to start.
    let _ = socket.set_recv_buffer_size(UDP_BUFFER_BYTES);
    socket.bind(&bind.into())?;
    tokio::net::UdpSocket::from_std(socket.into())
}

fn contact(address: SocketAddr) -> Uri {
    Uri {
        scheme: Some(Scheme::Sip),
        auth: Some(Auth { user: "hushpad".to_owned(), password: None }),
        host_with_port: HostWithPort::from(address),
        ..Uri::default()
    }
}
