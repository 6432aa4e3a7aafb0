//! What the sandbox has decided: the oracle for "charged at most once".

pub(super) mod books;
pub(super) mod payment;
pub(super) mod summary;

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hushpad_domain::time::Timestamp;
use tokio::sync::{Notify, watch};

pub use self::payment::{Kind, Movement};
pub use self::summary::{Charge, Decision, Step};
use super::faults::{Chaos, Rule};
use super::notifier::Sent;
use crate::endpoint::Endpoint;
use books::{Books, Entry};

/// Every decision of a sandbox, and what shall go wrong next. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    books: Mutex<Books>,
    doors: Mutex<Doors>,
    post: Mutex<Post>,
    /// Wakes the listener, so that it can close for a while.
    doors_changed: Notify,
    /// Counts changes of the books, for pages that follow them.
    changes: watch::Sender<u64>,
    clock: Clock,
}

/// The wall clock: cards expire by it, signatures and duplicates are judged by it.
type Clock = Box<dyn Fn() -> Timestamp + Send + Sync>;

/// What happens to connections before anything is read from them.
#[derive(Default)]
struct Doors {
    resets: u32,
    closed_for: Option<Duration>,
}

/// Where notifications go, and those that went.
#[derive(Default)]
struct Post {
    target: Option<Endpoint>,
    sent: VecDeque<Sent>,
}

/// The last notifications are kept for a look.
const SENT_MAX: usize = 1000;

impl Ledger {
    /// A ledger that ends with the process. `today` gives the year and the month (1 to 12) by which cards
    /// expire; its clock stands still at the start of that month.
    pub fn in_memory(today: impl Fn() -> (i32, u8) + Send + Sync + 'static) -> Self {
        Self::in_memory_at(move || start_of(today()))
    }

    /// A ledger that ends with the process, with a clock.
    pub fn in_memory_at(clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self::of(Books::default(), Box::new(clock))
    }

    /// A ledger in a file, one JSON line per change, which is read back first.
    ///
    /// # Errors
    /// The file cannot be read or written, or is no ledger.
    pub fn open(path: &Path, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> io::Result<Self> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut books = Books::default();
        let mut whole = true;
        for line in BufReader::new(&file).split(b'\n') {
            let line = line?;
            // A line that was cut by a crash was never answered; the same reference may come again.
            let Ok(entry) = serde_json::from_slice::<Entry>(&line) else {
                whole = false;
                continue;
            };
            whole = true;
            books.count(entry);
        }
        if !whole {
            file.write_all(b"\n")?;
        }
        books.file = Some(file);
        Ok(Self::of(books, Box::new(clock)))
    }

    fn of(books: Books, clock: Clock) -> Self {
        let shared = Shared {
            books: Mutex::new(books),
            doors: Mutex::default(),
            post: Mutex::default(),
            doors_changed: Notify::new(),
            changes: watch::Sender::new(0),
            clock,
        };
        Self { shared: Arc::new(shared) }
    }

    /// What became of every reference.
    #[must_use]
    pub fn charges(&self) -> Vec<Charge> {
        self.with(|books| summary::all(books))
    }

    /// What became of a reference.
    #[must_use]
    pub fn find(&self, reference: &str) -> Option<Charge> {
        self.with(|books| summary::of(books, reference))
    }

    /// Resets the next `connections` before anything is read from them.
    pub fn reset_next(&self, connections: u32) {
        self.with_doors(|doors| doors.resets = connections);
    }

    /// Stops listening for a while: connections are refused.
    pub fn refuse_for(&self, length: Duration) {
        self.with_doors(|doors| doors.closed_for = Some(length));
        self.shared.doors_changed.notify_one();
    }

    /// Makes requests fail by a rule; `false` where there are too many rules.
    pub fn add_fault(&self, rule: Rule) -> bool {
        self.with(|books| books.plan.add(rule))
    }

    /// Makes requests fail by chance, or no longer.
    pub fn set_chaos(&self, chaos: Option<Chaos>) {
        self.with(|books| books.plan.set_chaos(chaos));
    }

    /// From now on nothing goes wrong but by magic amounts.
    pub fn clear_faults(&self) {
        self.with(|books| books.plan.clear());
        self.with_doors(|doors| *doors = Doors::default());
    }

    /// Sends Adyen's notifications to this URL, or nowhere; `false` where it is no URL.
    pub fn notify(&self, url: Option<&str>) -> bool {
        let Ok(target) = url.map(|url| Endpoint::parse(url, true)).transpose() else { return false };
        self.with_post(|post| post.target = target);
        true
    }

    /// Takes keyed cards from web pages too. By default only telephone and mail orders may be keyed.
    pub fn take_ecommerce(&self) {
        self.with(|books| books.takes_ecommerce = true);
    }

    pub(super) fn faults(&self) -> Vec<Rule> {
        self.with(|books| books.plan.rules().to_vec())
    }

    pub(super) fn target(&self) -> Option<Endpoint> {
        self.with_post(|post| post.target.clone())
    }

    pub(super) fn keep_sent(&self, sent: Sent) {
        self.with_post(|post| {
            if post.sent.len() >= SENT_MAX {
                post.sent.pop_front();
            }
            post.sent.push_back(sent);
        });
    }

    pub(super) fn sent(&self) -> Vec<Sent> {
        self.with_post(|post| post.sent.iter().cloned().collect())
    }

    pub(super) fn takes_reset(&self) -> bool {
        self.with_doors(|doors| {
            let due = doors.resets > 0;
            doors.resets = doors.resets.saturating_sub(1);
            due
        })
    }

    /// Waits until the listener shall close, and says for how long.
    pub(super) async fn closes(&self) -> Duration {
        loop {
            if let Some(length) = self.with_doors(|doors| doors.closed_for.take()) {
                return length;
            }
            self.shared.doors_changed.notified().await;
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.shared.clock)()
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Says that the books may have changed.
    pub(super) fn changed(&self) {
        self.shared.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn with<R>(&self, work: impl FnOnce(&mut Books) -> R) -> R {
        work(&mut self.shared.books.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_post<R>(&self, work: impl FnOnce(&mut Post) -> R) -> R {
        work(&mut self.shared.post.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn with_doors<R>(&self, work: impl FnOnce(&mut Doors) -> R) -> R {
        work(&mut self.shared.doors.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The first moment of a month in UTC: days from civil (Howard Hinnant, "chrono-compatible low-level date
/// algorithms").
pub(super) fn start_of((year, month): (i32, u8)) -> Timestamp {
    let (year, month) = (i64::from(year), i64::from(month));
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Timestamp::from_micros(days.saturating_mul(86_400_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::format::Format;
    use crate::sandbox::issuer::{CardAsked, Check, look};
    use crate::sandbox::magic::Ruling;
    use payment::Payment;

    #[test]
    fn a_month_starts_when_the_calendar_says() {
        for today in [(1970, 1), (1999, 12), (2000, 2), (2000, 3), (2026, 11), (2100, 3)] {
            assert_eq!(start_of(today).year_month(), today);
            assert_eq!(start_of(today).as_micros() % 86_400_000_000, 0);
            let before = Timestamp::from_micros(start_of(today).as_micros() - 1);
            assert_ne!(before.year_month(), today);
        }
        assert_eq!(start_of((2026, 11)).to_string(), "2026-11-01T00:00:00.000000Z");
    }

    fn charge(ledger: &Ledger, reference: &str) -> u32 {
        let card =
            CardAsked { number: "4111111111111111", month: "12", year: "30", code: None, has_address: false };
        let mut payment = Payment {
            format: Format::Generic,
            reference: reference.to_owned(),
            id: format!("ch_{reference}"),
            amount_minor: 1240,
            currency: "GBP".to_owned(),
            ruling: Ruling::Approved,
            code: Check::NotChecked,
            address: Check::NotChecked,
            card: look(&card, (2026, 11)),
            movements: Vec::new(),
            released: false,
            questions: 0,
            on: ledger.now(),
            kept: std::collections::BTreeMap::new(),
            visit: None,
        };
        ledger.with(|books| {
            books.count_request(reference).unwrap();
            if books.payment(&payment.id).is_none() {
                payment.open(true, Timestamp::from_micros(0));
                books.put(Entry::Payment(Box::new(payment))).unwrap();
            }
            books.requests_of(reference)
        })
    }

    #[test]
    fn a_file_outlives_the_process_and_a_torn_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.jsonl");
        let open = || Ledger::open(&path, || start_of((2026, 11))).unwrap();
        charge(&open(), "a");
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"payment\":{\"format\":\"gen").unwrap();
        let ledger = open();
        assert_eq!(charge(&ledger, "a"), 2);
        charge(&ledger, "c");
        let told: Vec<_> =
            open().charges().into_iter().map(|c| (c.transaction_id, c.requests, c.charged)).collect();
        assert_eq!(told, [("a".to_owned(), 2, 1), ("c".to_owned(), 1, 1)]);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("4111111111111111"));
    }
}
