//! The sandbox, by its doors.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use hushpad_gateways::sandbox::{self, Ledger};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// `sandbox:sandbox` in base64, as any client would send it.
const CREDENTIALS: &str = "Basic c2FuZGJveDpzYW5kYm94";

struct Sandbox {
    address: std::net::SocketAddr,
    server: AbortHandle,
}

impl Sandbox {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Ledger::in_memory(|| (2026, 11));
        let server =
            tokio::spawn(sandbox::serve(listener, ledger, std::future::pending::<()>())).abort_handle();
        Self { address, server }
    }

    async fn send(&self, line: &str, credentials: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: {credentials}\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    async fn charge(&self, id: &str, card: &str, amount: &str) -> (u16, Value) {
        let body = json!({
            "transaction_id": id, "method": "charge", "cardnumber": card, "cvv": "123", "expiry_month": "12",
            "expiry_year": "30", "amount": amount, "currency_code": "GBP", "parameters": {},
        });
        self.send("POST /charges", CREDENTIALS, &body.to_string()).await
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[tokio::test]
async fn the_same_reference_gets_the_first_answer_again() {
    let sandbox = Sandbox::open().await;
    let first = sandbox.charge("a", "4111111111111111", "12.40").await;
    assert_eq!(first.0, 200);
    // Another card and amount, even one that would be declined: the reference decides.
    assert_eq!(sandbox.charge("a", "4000000000000002", "99.00").await, first);
    assert_ne!(sandbox.charge("b", "4111111111111111", "12.40").await.1["charge_id"], first.1["charge_id"]);
    let declined = sandbox.charge("c", "4000000000000002", "1.00").await;
    assert_eq!((declined.0, declined.1["error_code"].as_str()), (402, Some("card_declined")));
    assert_eq!(sandbox.charge("c", "4111111111111111", "1.00").await, declined);
    let (status, ledger) = sandbox.send("GET /ledger", CREDENTIALS, "").await;
    assert_eq!(status, 200);
    let told = ledger["charges"].as_array().unwrap().iter();
    let told: Vec<_> = told
        .map(|charge| format!("{} {} {}", charge["transaction_id"], charge["requests"], charge["charged"]))
        .collect();
    assert_eq!(told, ["\"a\" 2 1", "\"b\" 1 1", "\"c\" 2 0"]);
    assert!(!ledger.to_string().contains("4111111111111111"));
}

#[tokio::test]
async fn a_charge_is_found_by_its_reference() {
    let sandbox = Sandbox::open().await;
    let (_, charged) = sandbox.charge("a", "4111111111111111", "12.40").await;
    assert_eq!(sandbox.send("GET /charges?transaction_id=a", CREDENTIALS, "").await, (200, charged));
    let (status, none) = sandbox.send("GET /charges?transaction_id=b", CREDENTIALS, "").await;
    assert_eq!((status, none), (404, json!({"transaction_id": "b", "error_code": "not_found"})));
}

#[tokio::test]
async fn nobody_gets_in_without_the_password_and_nonsense_is_refused() {
    let sandbox = Sandbox::open().await;
    for line in ["POST /charges", "GET /charges?transaction_id=a", "GET /ledger"] {
        assert_eq!(sandbox.send(line, "Basic eDp5", "").await.0, 401, "{line}");
    }
    for body in ["", "{}", "[]", "{\"transaction_id\":1}"] {
        assert_eq!(sandbox.send("POST /charges", CREDENTIALS, body).await.0, 400, "{body}");
    }
    assert_eq!(sandbox.charge("a", "4111111111111111", "12.405").await.0, 400);
    assert_eq!(sandbox.charge("", "4111111111111111", "12.40").await.0, 400);
    assert_eq!(sandbox.send("DELETE /charges", CREDENTIALS, "").await.0, 405);
    assert_eq!(sandbox.send("GET /", CREDENTIALS, "").await.0, 404);
}
