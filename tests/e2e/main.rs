//! The whole product as real processes: the built `hushpad`, a gateway with a ledger, telephones that others wrote
//! (baresip, SIPp), a browser, and ears that others wrote (multimon-ng).
//!
//! A test is a story told with verbs: the [`desk::Desk`] starts everything, somebody calls, keys, pays. What went over the
//! wire is recorded beside it ([`wire::Wire`]), so that no product code says what the agent could hear. When a desk
//! is cleared away it looks for card digits wherever the product wrote or answered, and for payments left open.
//!
//! Needs root (the wire is read by a packet socket) and Debian's baresip, sip-tester, multimon-ng, sox,
//! espeak-ng, gdb and chromium; `./test` installs them.
#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]
#![expect(clippy::disallowed_methods, reason = "real processes run by the real clock")]
#![expect(clippy::print_stdout, reason = "a failing story shows what its programs said last")]

mod browser;
mod cards;
mod crowd;
mod database;
mod desk;
mod ear;
mod http;
mod page;
mod phones;
mod process;
mod receiver;
mod sound;
mod stories;
mod verdict;
mod wire;

use std::time::{Duration, Instant};

/// How long anything is waited for. Only a broken product or a machine that stands still takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Looks again and again until there is something. What is waited for comes first in the failure.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
