//! What a submission tells, over real sockets, for every way in which a gateway can fail.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::attempt::{
    Attempt, AttemptState, DeclineClass, GatewayAnswer, NotSent, Purpose, Unknown, Verdict,
};
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AttemptId, AttemptNo, GatewayName};
use hushpad_domain::masked_card::Brand;
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::time::{Tick, Timestamp};
use hushpad_gateways::sandbox::{self, Ledger};
use hushpad_gateways::{
    Asked, GatewayConfig, GatewayKind, Gateways, NotKnown, Order, Patience, Source, Submission,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

const VISA: &str = "4111111111111111#1230123";

/// A sandbox on a port of its own, and a client for it.
struct Shop {
    ledger: Ledger,
    gateways: Gateways,
    server: JoinHandle<()>,
}

impl Shop {
    async fn open() -> Self {
        Self::with(Duration::from_secs(20)).await
    }

    /// For gateways that never answer: nothing is measured, so the time only has to pass.
    async fn in_a_hurry() -> Self {
        Self::with(Duration::from_millis(400)).await
    }

    async fn with(patience: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ledger = Ledger::in_memory(|| (2026, 11));
        let server = tokio::spawn(sandbox::serve(listener, ledger.clone(), std::future::pending::<()>()));
        Self { ledger, gateways: gateways(&format!("http://{address}"), patience), server }
    }

    async fn pay(&self, keys: &str, amount: &str) -> (Attempt, Submission) {
        pay(&self.gateways, keys, amount).await
    }

    /// Every charge: how often it was asked for, and how often money was taken.
    fn charged(&self) -> Vec<(u32, u32)> {
        self.ledger.charges().iter().map(|charge| (charge.requests, charge.charged)).collect()
    }

    async fn ask(&self, attempt: &Attempt) -> Asked {
        self.gateways.ask(&main(), attempt).await
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.server.abort();
        for charge in self.ledger.charges() {
            assert!(charge.charged <= 1 && charge.requests == 1, "sent again: {charge:?}");
        }
    }
}

fn main() -> GatewayName {
    GatewayName("main".to_owned())
}

fn gateways(base: &str, whole: Duration) -> Gateways {
    let kind = GatewayKind::Generic {
        url: format!("{base}/charges"),
        operations_url: None,
        query_url: Some(format!("{base}/charges")),
        user: sandbox::USER.to_owned(),
        password: sandbox::PASSWORD.to_owned(),
    };
    let patience = Patience { connect: whole, whole };
    Gateways::new(vec![GatewayConfig { patience, ..GatewayConfig::new(main(), kind) }]).unwrap()
}

async fn pay(gateways: &Gateways, keys: &str, amount: &str) -> (Attempt, Submission) {
    let data = [("Amount", amount), ("Currency", "GBP"), ("billTo_postalCode", "SW1A 1AA"), ("Note", "x")];
    let data: BTreeMap<_, _> = data.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let payment_data = PaymentData::new(data).unwrap();
    let attempt = Attempt {
        id: AttemptId(Uuid::from_u128(0x1234)),
        no: AttemptNo(1),
        amount: payment_data.amount(),
        purpose: Purpose::Sale,
        gateway: main(),
        intended_on: Timestamp::from_micros(0),
        updated_on: Timestamp::from_micros(0),
        state: AttemptState::Intent,
        operations: Vec::new(),
    };
    let order = Order::by_phone(&attempt, &payment_data);
    let submission = gateways.submit(&main(), &order, &Source::Keyed(&card(keys))).await;
    (attempt, submission)
}

fn card(keys: &str) -> Card {
    let rules = Rules {
        fields: Field::ALL.to_vec(),
        brands: Brand::ALL.to_vec(),
        first_key_time_out: Duration::from_secs(30),
        between_keys_time_out: Duration::from_secs(30),
    };
    let mut capture = Capture::new(rules);
    capture.start(Field::CardNumber, Tick(0)).unwrap();
    for key in keys.bytes() {
        capture.key(key, Tick(0), (2026, 11));
    }
    capture.take().unwrap()
}

fn answer(submission: Submission) -> GatewayAnswer {
    match submission {
        Submission::Answered(answer) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

#[tokio::test]
async fn a_payment_is_approved_and_charged_once() {
    let shop = Shop::open().await;
    let (attempt, submission) = shop.pay(VISA, "12.40").await;
    let answer = answer(submission);
    assert_eq!(answer.verdict, Verdict::Approved);
    assert_eq!(answer.result.get("charge_id"), Some(&answer.gateway_reference));
    assert!(answer.gateway_reference.starts_with("ch_"));
    let card = answer.card.clone().unwrap();
    assert_eq!(
        (card.first6(), card.last4(), card.brand()),
        ("411111".into(), "1111".into(), Some(Brand::Visa))
    );
    let charges = shop.ledger.charges();
    assert_eq!(charges.len(), 1);
    assert_eq!(charges[0].transaction_id, attempt.id.to_string());
    assert_eq!((charges[0].amount.as_str(), charges[0].currency_code.as_str()), ("12.40", "GBP"));
    assert_eq!(shop.ask(&attempt).await, Asked::Found(answer));
}

#[tokio::test]
async fn declines_say_what_can_be_done() {
    let cases = [
        ("4000000000000002#1230123", "1.00", "card_declined", DeclineClass::OtherCard),
        ("4000000000009995#1230123", "1.00", "insufficient_funds", DeclineClass::TryLater),
        ("4000000000000119#1230123", "1.00", "processing_error", DeclineClass::TryLater),
        ("4000000000000069#1230123", "1.00", "expired_card", DeclineClass::Rekey(Field::Expiry)),
        ("4000000000000127#1230123", "1.00", "incorrect_cvc", DeclineClass::Rekey(Field::SecurityCode)),
        ("4000000000009987#1230123", "1.00", "lost_card", DeclineClass::Never),
        ("4000000000009979#1230123", "1.00", "stolen_card", DeclineClass::Never),
        (VISA, "66.05", "incorrect_number", DeclineClass::Rekey(Field::CardNumber)),
        (VISA, "166.03", "expired_card", DeclineClass::Rekey(Field::Expiry)),
    ];
    for (keys, amount, code, class) in cases {
        let shop = Shop::open().await;
        let (attempt, submission) = shop.pay(keys, amount).await;
        let answer = answer(submission);
        assert_eq!(answer.verdict, Verdict::Declined { class }, "{code}");
        assert_eq!(answer.result.get("error_code").map(String::as_str), Some(code));
        assert_eq!(shop.charged(), [(1, 0)]);
        assert_eq!(shop.ask(&attempt).await, Asked::Found(answer));
    }
}

#[tokio::test]
async fn what_is_charged_without_a_readable_answer_is_unknown_and_found_by_asking() {
    let cases = [
        ("67.03", Unknown::ConnectionLost),
        ("67.05", Unknown::GatewayError),
        ("67.06", Unknown::Unreadable),
        ("67.07", Unknown::ConnectionLost),
        ("67.08", Unknown::Unreadable),
        ("67.10", Unknown::Unreadable),
        ("67.12", Unknown::Unreadable),
    ];
    for (amount, reason) in cases {
        let shop = Shop::open().await;
        let (attempt, submission) = shop.pay(VISA, amount).await;
        assert_eq!(submission, Submission::Unknown(reason), "{amount}");
        assert_eq!(shop.charged(), [(1, 1)], "{amount}");
        let Asked::Found(answer) = shop.ask(&attempt).await else { panic!("not found: {amount}") };
        assert_eq!(answer.verdict, Verdict::Approved);
        assert_eq!(answer.card.map(|card| card.last4()), Some("1111".to_owned()));
    }
}

#[tokio::test]
async fn a_late_answer_is_unknown_and_found_by_asking() {
    for amount in ["67.01", "67.02"] {
        let shop = Shop::in_a_hurry().await;
        let (attempt, submission) = shop.pay(VISA, amount).await;
        assert_eq!(submission, Submission::Unknown(Unknown::TimedOut), "{amount}");
        assert_eq!(shop.charged(), [(1, 1)]);
        assert!(matches!(shop.ask(&attempt).await, Asked::Found(_)));
    }
}

#[tokio::test]
async fn what_the_gateway_never_took_is_not_found_by_asking() {
    for (amount, reason) in [("67.04", Unknown::ConnectionLost), ("67.11", Unknown::TimedOut)] {
        let shop = Shop::in_a_hurry().await;
        let (attempt, submission) = shop.pay(VISA, amount).await;
        assert_eq!(submission, Submission::Unknown(reason), "{amount}");
        assert_eq!(shop.charged(), []);
        assert_eq!(shop.ask(&attempt).await, Asked::NotFound);
    }
}

#[tokio::test]
async fn a_throttled_request_was_not_processed() {
    let shop = Shop::open().await;
    let (_, submission) = shop.pay(VISA, "67.09").await;
    assert_eq!(submission, Submission::NotSent(NotSent::Refused));
    assert_eq!(shop.charged(), []);
}

#[tokio::test]
async fn a_wrong_password_is_refused_before_processing() {
    let shop = Shop::open().await;
    let kind = |base: String| GatewayKind::Generic {
        url: base,
        operations_url: None,
        query_url: None,
        user: "x".into(),
        password: "y".into(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/charges", listener.local_addr().unwrap());
    let server = tokio::spawn(sandbox::serve(listener, shop.ledger.clone(), std::future::pending::<()>()));
    let stranger = Gateways::new(vec![GatewayConfig::new(main(), kind(url))]).unwrap();
    let (attempt, submission) = pay(&stranger, VISA, "1.00").await;
    assert_eq!(submission, Submission::NotSent(NotSent::Refused));
    assert_eq!(stranger.ask(&main(), &attempt).await, Asked::NotKnown(NotKnown::NoQuery));
    server.abort();
}

#[tokio::test]
async fn a_reset_before_the_request_is_read_is_never_called_a_decline_nor_charged() {
    let shop = Shop::open().await;
    shop.ledger.reset_next(1);
    let (attempt, submission) = shop.pay(VISA, "1.00").await;
    match submission {
        // We had written by then: nobody can know what the far end read.
        Submission::Unknown(Unknown::ConnectionLost) => {
            assert_eq!(shop.charged(), []);
            assert_eq!(shop.ask(&attempt).await, Asked::NotFound);
        }
        // The reset came before any byte was written, and the next connection was a good one.
        Submission::Answered(answer) => {
            assert_eq!(answer.verdict, Verdict::Approved);
            assert_eq!(shop.charged(), [(1, 1)]);
        }
        other => panic!("neither: {other:?}"),
    }
}

#[tokio::test]
async fn nobody_listening_is_not_sent() {
    let address = free_port().await;
    let gateways = gateways(&format!("http://{address}"), Duration::from_millis(300));
    let (attempt, submission) = pay(&gateways, VISA, "1.00").await;
    assert_eq!(submission, Submission::NotSent(NotSent::Unreachable));
    assert_eq!(gateways.ask(&main(), &attempt).await, Asked::NotKnown(NotKnown::Unreachable));
}

#[tokio::test]
async fn after_several_failures_nobody_waits_for_the_next() {
    let address = free_port().await;
    let gateways = gateways(&format!("http://{address}"), Duration::from_millis(50));
    for _ in 0..3 {
        assert_eq!(pay(&gateways, VISA, "1.00").await.1, Submission::NotSent(NotSent::Unreachable));
    }
    assert_eq!(pay(&gateways, VISA, "1.00").await.1, Submission::NotSent(NotSent::BreakerOpen));
}

#[tokio::test]
async fn a_gateway_that_comes_up_in_time_is_reached() {
    let address = free_port().await;
    let gateways = gateways(&format!("http://{address}"), Duration::from_secs(20));
    let ledger = Ledger::in_memory(|| (2026, 11));
    let submitting = pay(&gateways, VISA, "1.00");
    let starting = async {
        // The first connection has been refused by now: both run in this task, the payment first.
        tokio::task::yield_now().await;
        let listener = TcpListener::bind(address).await.unwrap();
        let server = sandbox::serve(listener, ledger.clone(), std::future::pending::<()>());
        tokio::spawn(server).abort_handle()
    };
    let ((_, submission), server) = tokio::join!(submitting, starting);
    assert_eq!(answer(submission).verdict, Verdict::Approved);
    assert_eq!(ledger.charges()[0].requests, 1);
    server.abort();
}

#[tokio::test]
async fn a_failed_handshake_shows_no_byte_of_the_request() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/charges", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 this is no TLS\r\n\r\n").await.unwrap();
        let mut seen = Vec::new();
        let _ = stream.read_to_end(&mut seen).await;
        seen
    });
    let kind = GatewayKind::Generic {
        url,
        operations_url: None,
        query_url: None,
        user: "u".into(),
        password: "p".into(),
    };
    let patience = Patience { connect: Duration::from_secs(5), whole: Duration::from_millis(150) };
    let gateways =
        Gateways::new(vec![GatewayConfig { patience, ..GatewayConfig::new(main(), kind) }]).unwrap();
    let (_, submission) = pay(&gateways, VISA, "1.00").await;
    assert_eq!(submission, Submission::NotSent(NotSent::Unreachable));
    let seen = server.await.unwrap();
    assert!(!contains(&seen, b"charges") && !contains(&seen, b"4111"));
}

#[tokio::test]
async fn the_request_is_the_published_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/pay?shop=1", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { overhear(listener).await });
    let kind = GatewayKind::Generic {
        url,
        operations_url: None,
        query_url: None,
        user: "u".into(),
        password: "p".into(),
    };
    let gateways = Gateways::new(vec![GatewayConfig::new(main(), kind)]).unwrap();
    let (_, submission) = pay(&gateways, VISA, "12.40").await;
    assert_eq!(answer(submission).gateway_reference, "ch_9");
    let heard = server.await.unwrap().replace('\r', "");
    let (head, body) = heard.split_once("\n\n").unwrap();
    let head = head.lines().filter(|line| !line.starts_with("host:")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(head, @r"
    POST /pay?shop=1 HTTP/1.1
    authorization: Basic dTpw
    content-type: application/json
    accept: application/json
    idempotency-key: 80dc187c-6c02-5916-a13a-4e1af51e0dfe
    content-length: 248
    ");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let body = serde_json::to_string_pretty(&body).unwrap();
    insta::assert_snapshot!(body, @r#"
    {
      "amount": "12.40",
      "cardnumber": "4111111111111111",
      "currency_code": "GBP",
      "cvv": "123",
      "expiry_month": "12",
      "expiry_year": "30",
      "method": "charge",
      "parameters": {
        "Note": "x"
      },
      "postal_code": "SW1A 1AA",
      "transaction_id": "00000000-0000-0000-0000-000000001234"
    }
    "#);
}

#[tokio::test]
async fn a_number_that_is_echoed_goes_no_further() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let body = r#"{"error_code":"x-4111111111111111","error_message":"card 4111 1111 1111 1111, code 123 wrong"}"#;
        reply_with(listener, body).await;
    });
    let kind = GatewayKind::Generic {
        url,
        operations_url: None,
        query_url: None,
        user: "u".into(),
        password: "p".into(),
    };
    let gateways = Gateways::new(vec![GatewayConfig::new(main(), kind)]).unwrap();
    let (_, submission) = pay(&gateways, VISA, "12.40").await;
    let told = format!("{submission:?}");
    assert!(matches!(submission, Submission::Answered(_)));
    assert!(
        !told.contains("4111 1111") && !told.contains("4111111111111111") && !told.contains("123 "),
        "{told}"
    );
    server.await.unwrap();
}

async fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Reads one request whole, approves it, and tells what it was.
async fn overhear(listener: TcpListener) -> String {
    reply_with(listener, r#"{"charge_id":"ch_9"}"#).await
}

async fn reply_with(listener: TcpListener, body: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let heard = read_request(&mut stream).await;
    let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(reply.as_bytes()).await.unwrap();
    heard
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        heard.extend_from_slice(&buffer[..count]);
        if count == 0 || heard.ends_with(b"}}") {
            return String::from_utf8(heard).unwrap();
        }
    }
}
