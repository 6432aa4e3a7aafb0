//! A SIP message, as a datagram and as what comes over a stream, read by everything that reads one.

use std::net::SocketAddr;
use std::sync::LazyLock;

use hushpad::sip::probe::Probe;

static PROBE: LazyLock<Probe> = LazyLock::new(|| Probe::new().expect("there is randomness"));

/// See the module.
pub fn run(data: &[u8]) {
    let from = SocketAddr::from(([192, 0, 2, 1], 5060));
    PROBE.datagram(data, from);
    PROBE.stream(data, from);
}
