//! Many payments at once through a gateway that fails in every way and restarts in between: what is reported
//! always agrees with the gateway's own ledger (G1, G2, G3).
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::attempt::{Attempt, AttemptState, GatewayAnswer, Purpose, Verdict};
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AttemptId, AttemptNo, GatewayName};
use hushpad_domain::masked_card::Brand;
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::time::{Tick, Timestamp};
use hushpad_gateways::sandbox::{self, Decision, Ledger};
use hushpad_gateways::{Asked, GatewayConfig, GatewayKind, Gateways, Order, Patience, Source, Submission};
use proptest::prelude::*;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use uuid::Uuid;

const CARDS: [&str; 4] = ["4111111111111111", "5555555555554444", "4000000000000002", "4000000000009979"];

/// The plain amount, and every way to decline and to fail (see the sandbox's table).
fn amounts() -> Vec<i64> {
    [1240, 1240, 1240].into_iter().chain(6601..=6606).chain(6701..=6712).collect()
}

/// One payment of a schedule.
#[derive(Clone, Debug)]
struct Payment {
    amount_minor: i64,
    card: &'static str,
    /// The gateway resets the next connection, whosever it is.
    reset: bool,
    /// The gateway restarts when this payment has been started.
    restart: bool,
}

fn payments() -> impl Strategy<Value = Vec<Payment>> {
    let payment = (
        prop::sample::select(amounts()),
        prop::sample::select(CARDS.to_vec()),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(amount_minor, card, reset, restart)| Payment { amount_minor, card, reset, restart });
    prop::collection::vec(payment, 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn what_is_reported_agrees_with_the_ledger(payments in payments()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(payments));
    }
}

async fn run(payments: Vec<Payment>) {
    let ledger = Ledger::in_memory(|| (2026, 11));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = serve(listener, &ledger);
    let gateways = Arc::new(gateways(&format!("http://{address}/charges")));
    let mut running = JoinSet::new();
    for (index, payment) in payments.iter().enumerate() {
        if payment.reset {
            ledger.reset_next(1);
        }
        running.spawn(pay(gateways.clone(), index, payment.clone()));
        if payment.restart {
            // Lets what is under way go a few steps, so that the restart hits it in the middle.
            for _ in 0..index {
                tokio::task::yield_now().await;
            }
            server.abort();
            while !server.is_finished() {
                tokio::task::yield_now().await;
            }
            server = serve(TcpListener::bind(address).await.unwrap(), &ledger);
        }
    }
    let reported = running.join_all().await;
    for (attempt, submission) in &reported {
        // A request can still be on its way to the ledger: what is there now must be found by asking.
        let written = ledger.find(&attempt.id.to_string()).is_some();
        match submission {
            Submission::Answered(answer) => agree(&ledger, attempt, answer),
            Submission::NotSent(_) => assert!(!written, "sent after all: {attempt:?}"),
            Submission::Challenged(_) => panic!("nobody is sent to the bank by telephone: {attempt:?}"),
            Submission::Unknown(_) => match gateways.ask(&name(), attempt).await {
                Asked::Found(answer) => agree(&ledger, attempt, &answer),
                Asked::NotFound => assert!(!written, "not found: {attempt:?}"),
                Asked::NotKnown(_) => {}
            },
        }
    }
    server.abort();
    for charge in ledger.charges() {
        assert!(charge.requests == 1 && charge.charged <= 1, "sent again: {charge:?}");
    }
}

fn agree(ledger: &Ledger, attempt: &Attempt, answer: &GatewayAnswer) {
    let charge = ledger.find(&attempt.id.to_string()).unwrap();
    assert_eq!(charge.amount, attempt.amount.decimal());
    match (&charge.decision, &answer.verdict) {
        (Decision::ChargeId(id), Verdict::Approved) => assert_eq!(*id, answer.gateway_reference),
        (Decision::ErrorCode(code), Verdict::Declined { .. }) => {
            assert_eq!(Some(code), answer.result.get("error_code"));
        }
        (decision, verdict) => panic!("the ledger says {decision:?}, reported was {verdict:?}"),
    }
}

fn serve(listener: TcpListener, ledger: &Ledger) -> AbortHandle {
    tokio::spawn(sandbox::serve(listener, ledger.clone(), std::future::pending::<()>())).abort_handle()
}

fn name() -> GatewayName {
    GatewayName("main".to_owned())
}

fn gateways(url: &str) -> Gateways {
    let kind = GatewayKind::Generic {
        url: url.to_owned(),
        operations_url: None,
        query_url: Some(url.to_owned()),
        user: sandbox::USER.to_owned(),
        password: sandbox::PASSWORD.to_owned(),
    };
    // Short, because some of these never answer; nothing is measured.
    let patience = Patience { connect: Duration::from_millis(500), whole: Duration::from_millis(500) };
    Gateways::new(vec![GatewayConfig { patience, ..GatewayConfig::new(name(), kind) }]).unwrap()
}

async fn pay(gateways: Arc<Gateways>, index: usize, payment: Payment) -> (Attempt, Submission) {
    let amount = format!("{}.{:02}", payment.amount_minor / 100, payment.amount_minor % 100);
    let data = [("Amount", amount), ("Currency", "GBP".to_owned())];
    let data: BTreeMap<_, _> = data.map(|(name, value)| (name.to_owned(), value)).into();
    let payment_data = PaymentData::new(data).unwrap();
    let attempt = Attempt {
        id: AttemptId(Uuid::from_u128(u128::try_from(index).unwrap() + 1)),
        no: AttemptNo(1),
        amount: payment_data.amount(),
        purpose: Purpose::Sale,
        gateway: name(),
        intended_on: Timestamp::from_micros(0),
        updated_on: Timestamp::from_micros(0),
        state: AttemptState::Intent,
        operations: Vec::new(),
    };
    let order = Order::by_phone(&attempt, &payment_data);
    let submission = gateways.submit(&name(), &order, &Source::Keyed(&card(payment.card))).await;
    (attempt, submission)
}

fn card(number: &str) -> Card {
    let rules = Rules {
        fields: Field::ALL.to_vec(),
        brands: Brand::ALL.to_vec(),
        first_key_time_out: Duration::from_secs(30),
        between_keys_time_out: Duration::from_secs(30),
    };
    let mut capture = Capture::new(rules);
    capture.start(Field::CardNumber, Tick(0)).unwrap();
    for key in number.bytes().chain(*b"#1230123") {
        capture.key(key, Tick(0), (2026, 11));
    }
    capture.take().unwrap()
}
