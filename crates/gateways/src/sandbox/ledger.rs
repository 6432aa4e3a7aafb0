//! What the sandbox has decided: the oracle for "charged at most once".

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hushpad_domain::money::Money;
use serde::{Deserialize, Serialize};

/// Enough for the longest load test; past it new charges get status 503.
const CHARGES_MAX: usize = 1_000_000;

/// The year and the month (1 to 12) now, by which cards expire.
type Today = Arc<dyn Fn() -> (i32, u8) + Send + Sync>;

/// Every decision of a sandbox. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    books: Arc<Mutex<Books>>,
    today: Today,
}

struct Books {
    charges: BTreeMap<String, Charge>,
    file: Option<File>,
    resets: u32,
}

/// One `transaction_id`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// The client's reference.
    pub transaction_id: String,
    /// How often a charge was asked for with this reference.
    pub requests: u32,
    /// How often money was taken: 1 when approved, else 0.
    pub charged: u32,
    /// What was decided at the first request.
    #[serde(flatten)]
    pub decision: Decision,
    /// As a decimal number, such as `12.40`.
    pub amount: String,
    /// ISO 4217.
    pub currency_code: String,
    /// The first six digits of the card.
    pub card_first6: String,
    /// The last four digits of the card.
    pub card_last4: String,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Approved, under this id.
    ChargeId(String),
    /// Declined, for this reason.
    ErrorCode(String),
}

impl Ledger {
    /// A ledger that ends with the process. `today` gives the year and month by which cards expire.
    pub fn in_memory(today: impl Fn() -> (i32, u8) + Send + Sync + 'static) -> Self {
        Self::of(BTreeMap::new(), None, today)
    }

    /// A ledger in a file, one JSON line per request, which is read back first.
    ///
    /// # Errors
    /// The file cannot be read or written, or is no ledger.
    pub fn open(path: &Path, today: impl Fn() -> (i32, u8) + Send + Sync + 'static) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut charges = BTreeMap::new();
        let mut whole = true;
        for line in BufReader::new(&file).split(b'\n') {
            let line = line?;
            // A line that was cut by a crash was never answered; the same reference may come again.
            let Ok(charge) = serde_json::from_slice::<Charge>(&line) else {
                whole = false;
                continue;
            };
            whole = true;
            charges.insert(charge.transaction_id.clone(), charge);
        }
        if !whole {
            file.write_all(b"\n")?;
        }
        Ok(Self::of(charges, Some(file), today))
    }

    fn of(
        charges: BTreeMap<String, Charge>,
        file: Option<File>,
        today: impl Fn() -> (i32, u8) + Send + Sync + 'static,
    ) -> Self {
        let books = Books { charges, file, resets: 0 };
        Self { books: Arc::new(Mutex::new(books)), today: Arc::new(today) }
    }

    /// Every decision, by reference.
    #[must_use]
    pub fn charges(&self) -> Vec<Charge> {
        self.with(|books| books.charges.values().cloned().collect())
    }

    /// The decision for a reference.
    #[must_use]
    pub fn find(&self, transaction_id: &str) -> Option<Charge> {
        self.with(|books| books.charges.get(transaction_id).cloned())
    }

    /// Resets the next `connections` before anything is read from them.
    pub fn reset_next(&self, connections: u32) {
        self.with(|books| books.resets = connections);
    }

    pub(super) fn takes_reset(&self) -> bool {
        self.with(|books| {
            let due = books.resets > 0;
            books.resets = books.resets.saturating_sub(1);
            due
        })
    }

    pub(super) fn today(&self) -> (i32, u8) {
        (self.today)()
    }

    /// Notes another request for a decided reference, and tells the decision.
    pub(super) fn repeat(&self, transaction_id: &str) -> io::Result<Option<Charge>> {
        self.with(|books| {
            let Some(charge) = books.charges.get(transaction_id) else { return Ok(None) };
            let charge = Charge { requests: charge.requests.saturating_add(1), ..charge.clone() };
            books.write(charge).map(Some)
        })
    }

    /// Writes a decision down, unless the reference is decided already: then tells that one.
    pub(super) fn decide(&self, request: NewCharge<'_>) -> io::Result<Charge> {
        if let Some(charge) = self.repeat(request.transaction_id)? {
            return Ok(charge);
        }
        let charge = Charge {
            transaction_id: request.transaction_id.to_owned(),
            requests: 1,
            charged: u32::from(matches!(request.decision, Decision::ChargeId(_))),
            decision: request.decision,
            amount: request.amount.decimal(),
            currency_code: request.amount.currency().code().to_owned(),
            card_first6: request.number.get(..6).unwrap_or_default().to_owned(),
            card_last4: last4(request.number).to_owned(),
        };
        self.with(|books| {
            if let Some(charge) = books.charges.get(&charge.transaction_id) {
                // Decided by a request that came at the same moment.
                let charge = Charge { requests: charge.requests.saturating_add(1), ..charge.clone() };
                return books.write(charge);
            }
            if books.charges.len() >= CHARGES_MAX {
                return Err(io::ErrorKind::StorageFull.into());
            }
            books.write(charge)
        })
    }

    fn with<R>(&self, work: impl FnOnce(&mut Books) -> R) -> R {
        work(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Books {
    fn write(&mut self, charge: Charge) -> io::Result<Charge> {
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&charge)?;
            line.push(b'\n');
            // Short and seldom: a sandbox may hold its thread for it.
            file.write_all(&line)?;
            file.sync_data()?;
        }
        self.charges.insert(charge.transaction_id.clone(), charge.clone());
        Ok(charge)
    }
}

/// A decision to be written down.
pub(super) struct NewCharge<'a> {
    pub(super) transaction_id: &'a str,
    pub(super) decision: Decision,
    pub(super) amount: Money,
    pub(super) number: &'a str,
}

/// Nothing for a number that is too short to hide behind its last digits.
fn last4(number: &str) -> &str {
    if number.len() < 12 { "" } else { number.get(number.len() - 4..).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use hushpad_domain::money::Currency;

    use super::*;

    fn charge(id: &str) -> NewCharge<'_> {
        NewCharge {
            transaction_id: id,
            decision: Decision::ChargeId("ch_1".to_owned()),
            amount: Money::from_minor(1240, Currency::from_code("GBP").unwrap()).unwrap(),
            number: "4111111111111111",
        }
    }

    #[test]
    fn a_file_outlives_the_process_and_a_torn_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        let today = || (2026, 11);
        Ledger::open(&path, today).unwrap().decide(charge("a")).unwrap();
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"transaction_id\":\"b")
            .unwrap();
        let ledger = Ledger::open(&path, today).unwrap();
        assert_eq!(ledger.decide(charge("a")).unwrap().requests, 2);
        ledger.decide(charge("c")).unwrap();
        let ledger = Ledger::open(&path, today).unwrap();
        let told: Vec<_> =
            ledger.charges().into_iter().map(|c| (c.transaction_id, c.requests, c.charged)).collect();
        assert_eq!(told, [("a".to_owned(), 2, 1), ("c".to_owned(), 1, 1)]);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("4111111111111111"));
    }
}
