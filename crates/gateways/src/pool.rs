//! Connections that are kept for the next request, by where they lead.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::line::Line;

/// Payments that run at once over kept connections; more open their own. Few gateways allow many.
pub(crate) const KEPT_PER_ENDPOINT_MAX: usize = 16;

/// Far more than gateways can be configured.
const ENDPOINTS_MAX: usize = 256;

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    tls: bool,
    host: String,
    port: u16,
}

impl Key {
    pub(crate) fn of(endpoint: &Endpoint) -> Self {
        Self { tls: endpoint.tls, host: endpoint.host.clone(), port: endpoint.port }
    }
}

/// The kept connections. The lock is held for a look, never over a wait.
#[derive(Default)]
pub(crate) struct Pool {
    kept: Mutex<HashMap<Key, Vec<Kept>>>,
}

struct Kept {
    line: Line,
    since: Instant,
}

impl Kept {
    fn is_fit(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < self.line.rest_max() && self.line.is_open()
    }
}

impl Pool {
    /// The one that was used last, so that the others may rest out. Those that are closed are thrown away.
    pub(crate) fn take(&self, key: &Key, now: Instant) -> Option<Line> {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get_mut(key)?;
        kept.retain(|kept| kept.is_fit(now));
        kept.pop().map(|kept| kept.line)
    }

    pub(crate) fn give(&self, key: Key, mut line: Line, now: Instant) {
        line.keep();
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ENDPOINTS_MAX && !all.contains_key(&key) {
            return;
        }
        let kept = all.entry(key).or_default();
        kept.retain(|kept| now.saturating_duration_since(kept.since) < kept.line.rest_max());
        if kept.len() < KEPT_PER_ENDPOINT_MAX {
            kept.push(Kept { line, since: now });
        }
    }
}
