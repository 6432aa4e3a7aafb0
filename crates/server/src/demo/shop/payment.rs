//! The shop's till: opens payment sessions, follows the latest one, and keeps the log of what was said to the API.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::demo::DemoParts;
use crate::demo::api::{ApiError, Exchange, OpenedSession, Order, PaymentApi, SessionStatus};

/// Exchanges remembered for pages that are opened later.
const MAX_EXCHANGES: usize = 40;
/// How often the shop asks how the payment stands.
const POLL_EVERY: Duration = Duration::from_secs(1);
/// Questions without an answer in a row before the shop stops asking.
const MAX_FAILURES: u32 = 30;

/// The till.
pub(super) struct Till {
    api: PaymentApi,
    book: Arc<Mutex<Book>>,
}

/// What the till remembers.
#[derive(Default)]
pub(super) struct Book {
    exchanges: VecDeque<Exchange>,
    exchanges_ever: u64,
    orders_ever: u64,
    payment: Option<Payment>,
    /// Counts the changes of `payment`.
    pub(super) version: u64,
}

/// The latest payment.
#[derive(Clone, Serialize)]
pub(super) struct Payment {
    reference: String,
    amount: String,
    currency: &'static str,
    #[serde(flatten)]
    status: SessionStatus,
}

impl Till {
    pub(super) fn new(parts: &DemoParts) -> Self {
        let book = Arc::new(Mutex::new(Book::default()));
        let noting = book.clone();
        let api = PaymentApi::new(parts, Arc::new(move |exchange| lock(&noting).note(exchange)));
        Self { api, book }
    }

    /// Opens a payment session, and follows it until it is over or another one is opened.
    pub(super) async fn open(&self, amount: String) -> Result<OpenedSession, ApiError> {
        let number = {
            let mut book = lock(&self.book);
            book.orders_ever += 1;
            book.orders_ever
        };
        let order = Order { amount, currency: "GBP".into(), reference: format!("ORDER-{}", 1000 + number) };
        let token = self.api.token().await?;
        let opened = self.api.open_session(&token, &order).await?;
        lock(&self.book).change(Payment {
            reference: order.reference.clone(),
            amount: order.amount,
            currency: "GBP",
            status: SessionStatus {
                session_state: "Created".into(),
                outcome: None,
                payment_result_data: std::collections::BTreeMap::new(),
            },
        });
        tokio::spawn(follow(
            self.api.clone(),
            self.book.clone(),
            token,
            opened.session_guid.clone(),
            order.reference,
        ));
        Ok(opened)
    }

    /// Reads the book.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&lock(&self.book))
    }
}

impl Book {
    /// Exchanges after the first `seen` ever, and how many there have been.
    pub(super) fn exchanges_after(&self, seen: u64) -> (Vec<Exchange>, u64) {
        let new = usize::try_from(self.exchanges_ever - seen).unwrap_or(usize::MAX);
        let skipped = self.exchanges.len().saturating_sub(new);
        (self.exchanges.iter().skip(skipped).cloned().collect(), self.exchanges_ever)
    }

    pub(super) fn payment(&self) -> Option<&Payment> {
        self.payment.as_ref()
    }

    /// Whether a payment is open.
    pub(super) fn is_paying(&self) -> bool {
        self.payment.as_ref().is_some_and(|payment| !payment.status.is_terminal())
    }

    /// Adds an exchange; one that says just what the latest one said is not repeated.
    fn note(&mut self, exchange: Exchange) {
        let same = |last: &Exchange| {
            last.request == exchange.request
                && last.status == exchange.status
                && last.reply_body == exchange.reply_body
        };
        if self.exchanges.back().is_some_and(same) {
            return;
        }
        if self.exchanges.len() == MAX_EXCHANGES {
            self.exchanges.pop_front();
        }
        self.exchanges.push_back(exchange);
        self.exchanges_ever += 1;
    }

    fn change(&mut self, payment: Payment) {
        self.payment = Some(payment);
        self.version += 1;
    }
}

async fn follow(
    api: PaymentApi,
    book: Arc<Mutex<Book>>,
    token: String,
    session_guid: String,
    reference: String,
) {
    let mut failures = 0;
    while failures < MAX_FAILURES {
        tokio::time::sleep(POLL_EVERY).await;
        let answer = api.status(&token, &session_guid).await;
        let mut book = lock(&book);
        let Some(payment) = book.payment.clone().filter(|payment| payment.reference == reference) else {
            return;
        };
        match answer {
            Ok(status) => {
                failures = 0;
                let over = status.is_terminal();
                if status != payment.status {
                    book.change(Payment { status, ..payment });
                }
                if over {
                    return;
                }
            }
            Err(_) => failures += 1,
        }
    }
}

fn lock(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(reply_body: &str) -> Exchange {
        Exchange {
            request: "GET /v1/session/1".into(),
            request_body: String::new(),
            status: Some(200),
            reply_body: reply_body.into(),
        }
    }

    #[test]
    fn the_log_keeps_what_is_new_and_forgets_what_is_old() {
        let mut book = Book::default();
        book.note(exchange("Created"));
        book.note(exchange("Created"));
        book.note(exchange("Finished"));
        let (all, seen) = book.exchanges_after(0);
        assert_eq!(all.iter().map(|e| e.reply_body.as_str()).collect::<Vec<_>>(), ["Created", "Finished"]);
        assert!(book.exchanges_after(seen).0.is_empty());
        for n in 0..100 {
            book.note(exchange(&n.to_string()));
        }
        let (new, _) = book.exchanges_after(seen);
        assert_eq!(new.len(), MAX_EXCHANGES);
        assert_eq!(new.last().map(|e| e.reply_body.as_str()), Some("99"));
    }
}
