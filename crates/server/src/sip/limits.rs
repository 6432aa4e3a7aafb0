//! What the stack itself does not bound: streams, and transactions, which it keeps for half a minute.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use rsipstack::sip::{Method, SipMessage};
use rsipstack::transaction::endpoint::{EndpointInner, TransportEventInspector};
use rsipstack::transport::{TransportEvent, TransportLayer};

use super::{Counters, SipConfig};

/// Most transactions the stack may hold, about 10 KiB each as measured: 320 MiB. 200 calls a second make 4
/// each, kept for 32 s: 25,600. Beyond, what would open one more is dropped, and its sender tries again.
const MAX_TRANSACTIONS: usize = 32_768;
/// Most streams at once; each may buffer 128 KiB. A peer needs one or two.
const MAX_STREAMS: usize = 512;

/// Who may come in, and how many. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Limits {
    config: Arc<SipConfig>,
    counters: Arc<Counters>,
    /// Weak, because the endpoint owns us.
    endpoint: Arc<OnceLock<Weak<EndpointInner>>>,
}

impl Limits {
    pub(super) fn new(config: &Arc<SipConfig>, counters: &Arc<Counters>) -> Self {
        let (config, counters) = (Arc::clone(config), Arc::clone(counters));
        Self { config, counters, endpoint: Arc::new(OnceLock::new()) }
    }

    /// Names the endpoint whose numbers count.
    pub(super) fn watch(&self, endpoint: &Arc<EndpointInner>) {
        // Named once, at the start; a second name would be a mistake without effect.
        let _ = self.endpoint.set(Arc::downgrade(endpoint));
    }

    /// Streams of strangers are closed at once. (The UDP socket filters by itself.)
    pub(super) fn admit_peers_only(&self, transports: &TransportLayer) {
        let limits = self.clone();
        transports.set_whitelist(move |ip: IpAddr| std::future::ready(limits.admits_stream(ip)));
    }

    fn admits_stream(&self, ip: IpAddr) -> bool {
        if self.config.peer_of(ip).is_none() {
            self.counters.count_unknown_source();
            return false;
        }
        let streams = self.endpoint().map_or(0, |endpoint| endpoint.transport_layer.connections_count());
        if streams >= MAX_STREAMS {
            self.counters.count_overload();
        }
        streams < MAX_STREAMS
    }

    fn endpoint(&self) -> Option<Arc<EndpointInner>> {
        self.endpoint.get().and_then(Weak::upgrade)
    }
}

#[async_trait]
impl TransportEventInspector for Limits {
    async fn handle(&self, event: TransportEvent) -> Option<TransportEvent> {
        let TransportEvent::Incoming(message, ..) = &event else { return Some(event) };
        let stats = self.endpoint().map(|endpoint| endpoint.get_stats());
        let held = stats.map_or(0, |stats| stats.running_transactions + stats.finished_transactions);
        if is_shed(message, held) {
            self.counters.count_overload();
            return None;
        }
        Some(event)
    }
}

/// What ends something is taken even when there is no room: it makes some.
fn is_shed(message: &SipMessage, held: usize) -> bool {
    let SipMessage::Request(request) = message else { return false };
    held >= MAX_TRANSACTIONS && !matches!(request.method, Method::Ack | Method::Bye | Method::Cancel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_room_only_what_ends_something_is_taken() {
        let message = |start: &str| {
            let text = format!(
                "{start}\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <sip:a@192.0.2.1>;tag=1\r\n\
                 To: <sip:b@192.0.2.2>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
            );
            SipMessage::try_from(text.as_bytes()).unwrap()
        };
        let taken = |start: &str, held| !is_shed(&message(start), held);
        assert!(taken("INVITE sip:b@192.0.2.2 SIP/2.0", MAX_TRANSACTIONS - 1));
        assert!(!taken("INVITE sip:b@192.0.2.2 SIP/2.0", MAX_TRANSACTIONS));
        assert!(!taken("OPTIONS sip:b@192.0.2.2 SIP/2.0", MAX_TRANSACTIONS));
        assert!(taken("BYE sip:b@192.0.2.2 SIP/2.0", MAX_TRANSACTIONS));
        assert!(taken("SIP/2.0 200 OK", MAX_TRANSACTIONS));
    }
}
