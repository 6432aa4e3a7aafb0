//! Orders of several requests, over real sockets: what may be sent again, and when an order becomes unknown.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::time::Duration;

use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::attempt::{Attempt, AttemptState, DeclineClass, NotSent, Purpose, Unknown, Verdict};
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AttemptId, AttemptNo, GatewayName};
use hushpad_domain::masked_card::Brand;
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::time::{Tick, Timestamp};
use hushpad_gateways::{
    Asked, GatewayConfig, GatewayConfigError, GatewayKind, Gateways, NotKnown, Order, Patience, Source,
    Submission,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use uuid::Uuid;

const REF: &str = "00000000-0000-0000-0000-000000001234";
const METHOD: Act = Act::Reply(200, Body::Method);

/// What the gateway does with one request.
#[derive(Clone, Copy)]
enum Act {
    Reply(u16, Body),
    /// The request is read whole, and the connection ends.
    Close,
}

#[derive(Clone, Copy)]
enum Body {
    Intent(&'static str),
    Method,
    Declined,
    Throttled,
}

impl Body {
    fn text(self) -> String {
        match self {
            Self::Intent(status) => format!(
                r#"{{"id":"pi_1","object":"payment_intent","amount":1240,"currency":"gbp","metadata":{{"ref":"{REF}"}},"status":"{status}"}}"#
            ),
            Self::Method => r#"{"id":"pm_1","object":"payment_method"}"#.to_owned(),
            Self::Declined => {
                r#"{"error":{"type":"card_error","code":"card_declined","decline_code":"lost_card"}}"#
                    .to_owned()
            }
            Self::Throttled => r#"{"error":{"type":"invalid_request_error","code":"rate_limit"}}"#.to_owned(),
        }
    }
}

const PAID: Act = Act::Reply(200, Body::Intent("succeeded"));
const WAITS: Act = Act::Reply(200, Body::Intent("requires_action"));
const MADE: Act = Act::Reply(200, Body::Intent("requires_payment_method"));

/// A gateway that follows a script, one connection an act, and tells the first line of every request.
struct Stage {
    gateways: Gateways,
    heard: JoinHandle<Vec<String>>,
}

impl Stage {
    async fn open(script: &'static [Act]) -> Self {
        Self::with(script, Duration::from_secs(20)).await
    }

    async fn with(script: &'static [Act], whole: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            for act in script {
                let (mut stream, _) = listener.accept().await.unwrap();
                heard.push(read_request(&mut stream).await);
                if let Act::Reply(status, body) = act {
                    let body = body.text();
                    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                    stream.write_all((head + &body).as_bytes()).await.unwrap();
                }
            }
            heard
        });
        let kind = GatewayKind::Stripe { url, secret_key: "sk_test_1".to_owned() };
        let patience = Patience { connect: whole, whole };
        let config = GatewayConfig { patience, ..GatewayConfig::new(main(), kind) };
        let clock = Box::new(|| Timestamp::from_micros(1_000_000));
        Self { gateways: Gateways::with_clock(vec![config], clock).unwrap(), heard }
    }

    async fn pay(&self) -> Submission {
        let data = [("Amount", "12.40"), ("Currency", "GBP")];
        let data = data.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let payment_data = PaymentData::new(data).unwrap();
        let attempt = attempt();
        let order = Order::by_phone(&attempt, &payment_data);
        self.gateways.submit(&main(), &order, &Source::Keyed(&card())).await
    }

    /// The whole script was played: what was heard.
    async fn heard(self) -> Vec<String> {
        self.heard.await.unwrap()
    }
}

fn main() -> GatewayName {
    GatewayName("main".to_owned())
}

fn attempt() -> Attempt {
    let data = [("Amount", "12.40"), ("Currency", "GBP")];
    let data: BTreeMap<_, _> = data.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Attempt {
        id: AttemptId(Uuid::from_u128(0x1234)),
        no: AttemptNo(1),
        amount: PaymentData::new(data).unwrap().amount(),
        purpose: Purpose::Sale,
        gateway: main(),
        intended_on: Timestamp::from_micros(0),
        updated_on: Timestamp::from_micros(0),
        state: AttemptState::Intent,
        operations: Vec::new(),
    }
}

fn card() -> Card {
    let rules = Rules {
        fields: Field::ALL.to_vec(),
        brands: Brand::ALL.to_vec(),
        first_key_time_out: Duration::from_secs(30),
        between_keys_time_out: Duration::from_secs(30),
    };
    let mut capture = Capture::new(rules);
    capture.start(Field::CardNumber, Tick(0)).unwrap();
    for key in *b"4111111111111111#1230123" {
        capture.key(key, Tick(0), (2026, 11));
    }
    capture.take().unwrap()
}

const CREATE: &str = "POST /v1/payment_intents";
const ADD_CARD: &str = "POST /v1/payment_methods";
const CONFIRM: &str = "POST /v1/payment_intents/pi_1/confirm";
const CANCEL: &str = "POST /v1/payment_intents/pi_1/cancel";

#[tokio::test]
async fn a_payment_goes_through_its_steps_once() {
    let stage = Stage::open(&[MADE, METHOD, Act::Reply(200, Body::Intent("succeeded"))]).await;
    let Submission::Answered(answer) = stage.pay().await else { panic!("no answer") };
    assert_eq!((answer.verdict, answer.gateway_reference.as_str()), (Verdict::Approved, "pi_1"));
    assert_eq!(stage.heard().await, [CREATE, ADD_CARD, CONFIRM]);
}

#[tokio::test]
async fn what_is_lost_before_the_confirmation_is_sent_again() {
    let stage = Stage::open(&[Act::Close, MADE, Act::Close, METHOD, PAID]).await;
    assert!(matches!(stage.pay().await, Submission::Answered(answer) if answer.verdict == Verdict::Approved));
    assert_eq!(stage.heard().await, [CREATE, CREATE, ADD_CARD, ADD_CARD, CONFIRM]);
}

#[tokio::test]
async fn a_refusal_before_the_confirmation_charged_nothing() {
    let stage = Stage::open(&[MADE, Act::Reply(429, Body::Throttled)]).await;
    assert_eq!(stage.pay().await, Submission::NotSent(NotSent::Refused));
    assert_eq!(stage.heard().await, [CREATE, ADD_CARD]);
    let stage = Stage::open(&[Act::Reply(500, Body::Throttled)]).await;
    assert_eq!(stage.pay().await, Submission::NotSent(NotSent::Unreachable));
}

#[tokio::test]
async fn a_confirmation_that_is_lost_is_unknown_and_never_sent_again() {
    let stage = Stage::open(&[MADE, METHOD, Act::Close]).await;
    assert_eq!(stage.pay().await, Submission::Unknown(Unknown::ConnectionLost));
    assert_eq!(stage.heard().await, [CREATE, ADD_CARD, CONFIRM]);
    let stage = Stage::open(&[MADE, METHOD, Act::Reply(500, Body::Declined)]).await;
    assert_eq!(stage.pay().await, Submission::Unknown(Unknown::GatewayError));
}

#[tokio::test]
async fn a_decline_at_the_confirmation_is_one() {
    let stage = Stage::open(&[MADE, METHOD, Act::Reply(402, Body::Declined)]).await;
    let Submission::Answered(answer) = stage.pay().await else { panic!("no answer") };
    assert_eq!(answer.verdict, Verdict::Declined { class: DeclineClass::Never });
}

#[tokio::test]
async fn after_the_confirmation_a_failure_is_unknown_even_where_nothing_more_was_written() {
    let stage = Stage::open(&[MADE, METHOD, WAITS, Act::Reply(200, Body::Intent("canceled"))]).await;
    assert!(matches!(stage.pay().await, Submission::Answered(answer) if answer.verdict != Verdict::Approved));
    assert_eq!(stage.heard().await, [CREATE, ADD_CARD, CONFIRM, CANCEL]);
    let stage = Stage::open(&[MADE, METHOD, WAITS, Act::Reply(429, Body::Throttled)]).await;
    assert!(matches!(stage.pay().await, Submission::Unknown(_)));
    // The gateway is gone when it should be told to cancel: nothing is measured, the time has to pass.
    let stage = Stage::with(&[MADE, METHOD, WAITS], Duration::from_secs(3)).await;
    assert!(matches!(stage.pay().await, Submission::Unknown(_)));
}

#[tokio::test]
async fn a_question_has_steps_too() {
    let stage = Stage::open(&[MADE, PAID]).await;
    let asked = stage.gateways.ask(&main(), &attempt()).await;
    assert!(matches!(asked, Asked::Found(answer) if answer.verdict == Verdict::Approved));
    assert_eq!(stage.heard().await, [CREATE, "GET /v1/payment_intents/pi_1?expand[]=latest_charge"]);

    let stage = Stage::open(&[MADE, MADE, Act::Reply(200, Body::Intent("canceled"))]).await;
    assert_eq!(stage.gateways.ask(&main(), &attempt()).await, Asked::NotFound);
    assert_eq!(stage.heard().await, [CREATE, "GET /v1/payment_intents/pi_1?expand[]=latest_charge", CANCEL]);

    let stage = Stage::open(&[MADE, Act::Close]).await;
    let asked = stage.gateways.ask(&main(), &attempt()).await;
    assert_eq!(asked, Asked::NotKnown(NotKnown::NoAnswer(Unknown::ConnectionLost)));
}

#[test]
fn what_needs_the_clock_is_not_taken_without_one() {
    let kind = GatewayKind::Stripe { url: "https://api.stripe.com".into(), secret_key: "sk_1".into() };
    let told = Gateways::new(vec![GatewayConfig::new(main(), kind)]).err();
    assert_eq!(told, Some(GatewayConfigError::NoClock { gateway: main() }));
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.unwrap();
        heard.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&heard).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
            }
        }
        assert_ne!(count, 0, "half a request");
    }
}
