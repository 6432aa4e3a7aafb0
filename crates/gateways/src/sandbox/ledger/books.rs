//! All that the simulator remembers: payments, tokens, replays. One writer at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};

use hushpad_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::payment::Payment;
use crate::sandbox::adyen::notices::Notice;
use crate::sandbox::faults::FaultPlan;
use crate::sandbox::format::Format;
use crate::sandbox::http::Reply;
use crate::sandbox::issuer::CardFacts;
use crate::sandbox::stripe::objects::{Intent, Setup};

/// Enough for the longest load test; past it new payments, tokens and replays get status 503.
const ENTRIES_MAX: usize = 1_000_000;

/// Notifications are picked up at once; this many wait where none are sent.
const NOTICES_MAX: usize = 10_000;

/// Everything that is remembered.
#[derive(Default)]
pub(in crate::sandbox) struct Books {
    payments: BTreeMap<String, Payment>,
    by_reference: BTreeMap<String, Vec<String>>,
    by_movement: BTreeMap<String, String>,
    by_transaction_id: BTreeMap<String, String>,
    requests: BTreeMap<String, u32>,
    blocked: BTreeSet<String>,
    replays: BTreeMap<String, Replay>,
    tokens: BTreeMap<String, Token>,
    intents: BTreeMap<String, Intent>,
    setups: BTreeMap<String, Setup>,
    serial: u64,
    pub(in crate::sandbox) plan: FaultPlan,
    notices: Vec<Notice>,
    /// Whether keyed cards may also come from a web page; by default only from the telephone.
    pub(in crate::sandbox) takes_ecommerce: bool,
    pub(super) file: Option<File>,
}

/// A first answer, given again to the same key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Replay {
    /// What the first request was, without card data.
    pub(in crate::sandbox) print: String,
    pub(in crate::sandbox) reply: Reply,
    /// When it was first answered: keys are forgotten after a while.
    pub(in crate::sandbox) on: Timestamp,
    /// Until then the first request is being worked on.
    pub(in crate::sandbox) busy_until: Timestamp,
}

/// A card that was kept for later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Token {
    pub(in crate::sandbox) format: Format,
    pub(in crate::sandbox) card: CardFacts,
    /// Whose card it is, where the gateway has that.
    #[serde(default)]
    pub(in crate::sandbox) owner: String,
    /// Whether it was made by keying, and so counts as keyed when it is used at first.
    #[serde(default)]
    pub(in crate::sandbox) is_keyed: bool,
}

/// One line of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Entry {
    /// How often a reference was asked to be charged.
    Request(String, u32),
    /// A payment as it is now.
    Payment(Box<Payment>),
    /// A reference that can no longer be charged.
    Blocked(String),
    /// The answer to a key.
    Replay(String, Replay),
    /// A token with its id.
    Token(String, Token),
    /// A PaymentIntent of Stripe.
    Intent(Box<Intent>),
    /// A SetupIntent of Stripe.
    Setup(Box<Setup>),
    /// So many ids were made up.
    Serial(u64),
}

impl Books {
    /// Writes an entry down, then counts it.
    ///
    /// # Errors
    /// The file cannot be written, or there are too many entries.
    pub(in crate::sandbox) fn put(&mut self, entry: Entry) -> io::Result<()> {
        if self.is_full(&entry) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&entry)?;
            line.push(b'\n');
            // Short and seldom: a sandbox may hold its thread for it.
            file.write_all(&line)?;
            if matches!(entry, Entry::Payment(_)) {
                file.sync_data()?;
            }
        }
        self.count(entry);
        Ok(())
    }

    /// Counts an entry that is written down.
    pub(super) fn count(&mut self, entry: Entry) {
        match entry {
            Entry::Request(reference, requests) => {
                self.requests.insert(reference, requests);
            }
            Entry::Payment(payment) => self.count_payment(*payment),
            Entry::Blocked(reference) => {
                self.blocked.insert(reference);
            }
            Entry::Replay(key, replay) => {
                self.replays.insert(key, replay);
            }
            Entry::Token(id, token) => {
                self.tokens.insert(id, token);
            }
            Entry::Intent(intent) => {
                self.intents.insert(intent.id.clone(), *intent);
            }
            Entry::Setup(setup) => {
                self.setups.insert(setup.id.clone(), *setup);
            }
            Entry::Serial(serial) => self.serial = serial,
        }
    }

    fn count_payment(&mut self, payment: Payment) {
        let ids = self.by_reference.entry(payment.reference.clone()).or_default();
        if !ids.contains(&payment.id) {
            ids.push(payment.id.clone());
        }
        for movement in &payment.movements {
            self.by_movement.insert(movement.id.clone(), payment.id.clone());
        }
        if let Some(transaction_id) = payment.kept.get("transactionId") {
            self.by_transaction_id.insert(transaction_id.clone(), payment.id.clone());
        }
        self.payments.insert(payment.id.clone(), payment);
    }

    fn is_full(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Request(reference, _) => {
                self.requests.len() >= ENTRIES_MAX && !self.requests.contains_key(reference)
            }
            Entry::Payment(payment) => {
                self.payments.len() >= ENTRIES_MAX && !self.payments.contains_key(&payment.id)
            }
            Entry::Blocked(_) => self.blocked.len() >= ENTRIES_MAX,
            Entry::Replay(key, _) => self.replays.len() >= ENTRIES_MAX && !self.replays.contains_key(key),
            Entry::Token(..) => self.tokens.len() >= ENTRIES_MAX,
            Entry::Intent(intent) => {
                self.intents.len() >= ENTRIES_MAX && !self.intents.contains_key(&intent.id)
            }
            Entry::Setup(setup) => self.setups.len() >= ENTRIES_MAX && !self.setups.contains_key(&setup.id),
            Entry::Serial(_) => false,
        }
    }

    /// The next number for an id: never given twice, also after a restart.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(in crate::sandbox) fn next_serial(&mut self) -> io::Result<u64> {
        let serial = self.serial + 1;
        self.put(Entry::Serial(serial))?;
        Ok(serial)
    }

    /// Counts a request to charge this reference.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(in crate::sandbox) fn count_request(&mut self, reference: &str) -> io::Result<()> {
        let requests = self.requests_of(reference).saturating_add(1);
        self.put(Entry::Request(reference.to_owned(), requests))
    }

    pub(in crate::sandbox) fn requests_of(&self, reference: &str) -> u32 {
        self.requests.get(reference).copied().unwrap_or(0)
    }

    pub(in crate::sandbox) fn payments(&self) -> impl Iterator<Item = &Payment> {
        self.payments.values()
    }

    /// By its own id.
    pub(in crate::sandbox) fn payment(&self, id: &str) -> Option<&Payment> {
        self.payments.get(id)
    }

    /// By its own id or the id of one of its movements.
    pub(in crate::sandbox) fn payment_of(&self, id: &str) -> Option<&Payment> {
        self.payment(id).or_else(|| self.payments.get(self.by_movement.get(id)?))
    }

    /// By the `transactionId` that CyberSource lets a merchant choose.
    pub(in crate::sandbox) fn by_transaction_id(&self, transaction_id: &str) -> Option<&Payment> {
        self.payments.get(self.by_transaction_id.get(transaction_id)?)
    }

    /// Every payment of a reference at one gateway, the oldest first.
    pub(in crate::sandbox) fn of_reference(&self, format: Format, reference: &str) -> Vec<&Payment> {
        self.all_of(reference).into_iter().filter(|payment| payment.format == format).collect()
    }

    /// Every payment of a reference, whatever the gateway.
    pub(in crate::sandbox) fn all_of(&self, reference: &str) -> Vec<&Payment> {
        let ids = self.by_reference.get(reference).map(Vec::as_slice).unwrap_or_default();
        ids.iter().filter_map(|id| self.payments.get(id)).collect()
    }

    pub(in crate::sandbox) fn references(&self) -> impl Iterator<Item = (&str, Vec<&Payment>)> {
        self.by_reference.iter().map(|(reference, ids)| {
            (reference.as_str(), ids.iter().filter_map(|id| self.payments.get(id)).collect())
        })
    }

    pub(in crate::sandbox) fn is_blocked(&self, reference: &str) -> bool {
        self.blocked.contains(reference)
    }

    /// Keeps notifications until they are picked up; where nobody does, the newest are dropped.
    pub(in crate::sandbox) fn note(&mut self, notices: Vec<Notice>) {
        let room = NOTICES_MAX.saturating_sub(self.notices.len());
        self.notices.extend(notices.into_iter().take(room));
    }

    pub(in crate::sandbox) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(in crate::sandbox) fn replay(&self, key: &str) -> Option<&Replay> {
        self.replays.get(key)
    }

    pub(in crate::sandbox) fn token(&self, format: Format, id: &str) -> Option<&Token> {
        self.tokens.get(id).filter(|token| token.format == format)
    }

    pub(in crate::sandbox) fn intent(&self, id: &str) -> Option<&Intent> {
        self.intents.get(id)
    }

    pub(in crate::sandbox) fn intents(&self) -> impl Iterator<Item = &Intent> {
        self.intents.values()
    }

    pub(in crate::sandbox) fn setup(&self, id: &str) -> Option<&Setup> {
        self.setups.get(id)
    }
}
