//! A simulator on a port of its own, with a clock that is moved by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use hushpad_domain::time::Timestamp;
use hushpad_gateways::sandbox::{self, Charge, Ledger};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// 2026-08-21T00:00:00Z.
const START_S: i64 = 1_787_270_400;

/// `sandbox:sandbox` in base64, as any client would send it.
pub(crate) const BASIC: (&str, &str) = ("authorization", "Basic c2FuZGJveDpzYW5kYm94");

pub(crate) struct Simulator {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Ledger,
    seconds: Arc<AtomicI64>,
    server: AbortHandle,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body, once the status is the expected one.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }
}

impl Simulator {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seconds = Arc::new(AtomicI64::new(START_S));
        let clock = seconds.clone();
        let ledger =
            Ledger::in_memory_at(move || Timestamp::from_micros(clock.load(Ordering::SeqCst) * 1_000_000));
        let serving = sandbox::serve(listener, ledger.clone(), std::future::pending::<()>());
        let server = tokio::spawn(serving).abort_handle();
        Self { address, ledger, seconds, server }
    }

    pub(crate) fn now_s(&self) -> i64 {
        self.seconds.load(Ordering::SeqCst)
    }

    pub(crate) fn later(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    /// `None` when the connection ends without an answer.
    pub(crate) async fn try_send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        let mut head = format!("{line} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.address);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.ok()?;
        let reply = String::from_utf8_lossy(&reply).into_owned();
        let (head, text) = reply.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_ascii_lowercase(), text: text.to_owned() })
    }

    pub(crate) async fn send(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.try_send(line, headers, body).await.unwrap()
    }

    /// What the ledger says of a reference.
    pub(crate) fn charge(&self, reference: &str) -> Charge {
        self.ledger.find(reference).unwrap()
    }

    /// Authorised, captured, refunded, voided, and what stands in the end.
    pub(crate) fn sums(&self, reference: &str) -> [String; 5] {
        let charge = self.charge(reference);
        [charge.authorised, charge.captured, charge.refunded, charge.voided, charge.stands]
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.server.abort();
        let told = serde_json::to_string(&self.ledger.charges()).unwrap();
        assert!(!told.contains("4111111111111111"), "the ledger holds a card number");
    }
}
