//! A call that has no agent yet listens to its agent's side for a link code.

use std::sync::Arc;

use hushpad_telephony::call::Dtmf;
use hushpad_telephony::key::{Carrier, KeyReport};
use hushpad_telephony::key_queue::{KeyQueue, Lane};

use super::codes::CodeKeys;
use crate::media::now_ms;

/// What is heard of the agent's keys while the call has no agent.
pub(super) struct Link {
    pub(super) keys: Arc<KeyQueue>,
    typed: CodeKeys,
}

impl Link {
    pub(super) fn new() -> Self {
        Self { keys: Arc::new(KeyQueue::new()), typed: CodeKeys::default() }
    }

    /// A key by INFO.
    pub(super) fn info(&self, content_type: &str, body: &[u8]) {
        if let Some(Ok(Dtmf { key: Some(key), .. })) = Dtmf::read(content_type, body) {
            self.keys.push(Lane::Signalling, KeyReport { key, carrier: Carrier::Info, at_ms: now_ms() });
        }
    }

    /// The next code that is whole.
    pub(super) fn code(&mut self) -> Option<String> {
        // A queue that overflowed lost keys of a code: it is keyed again.
        while self.keys.take_alarm().is_some() || self.keys.take_hint().is_some() {}
        while let Some(report) = self.keys.pop() {
            if let Some(code) = self.typed.key(report.key.ascii(), report.at_ms) {
                return Some(code);
            }
        }
        None
    }

    /// A code was wrong. Whether to go on listening.
    pub(super) fn was_wrong(&mut self) -> bool {
        self.typed.was_wrong()
    }
}

/// Waits until there may be keys.
pub(super) async fn heard(link: Option<&Link>) {
    match link {
        Some(link) => link.keys.ready().await,
        None => std::future::pending().await,
    }
}
