//! Every connector through the same stories, over real sockets, at the simulator of its gateway. The simulator's
//! ledger says what money moved.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::attempt::{Attempt, AttemptState, Check, DeclineClass, GatewayAnswer, Purpose, Verdict};
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AttemptId, AttemptNo, GatewayName, OperationId};
use hushpad_domain::masked_card::Brand;
use hushpad_domain::money::Money;
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::time::{Tick, Timestamp};
use hushpad_gateways::sandbox::{self, Ledger};
use hushpad_gateways::{
    Asked, Credential, CyberSourceAuth, FollowUp, FollowUpKind, FollowUpSubmission, GatewayConfig,
    GatewayKind, Gateways, Order, Patience, Reversal, Source, Submission,
};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use uuid::Uuid;

const NAMES: [&str; 7] =
    ["generic", "cybersource", "cybersource-signature", "stripe", "adyen", "worldpay", "mpgs"];

/// Those that can send a payer to the bank.
const CHALLENGERS: [&str; 3] = ["generic", "stripe", "adyen"];

const VISA: &str = "4111111111111111#1230123";

/// A simulator, and every gateway configured for it.
struct Town {
    ledger: Ledger,
    gateways: Gateways,
    server: AbortHandle,
}

impl Town {
    async fn open() -> Self {
        Self::with(Patience { connect: Duration::from_secs(5), whole: Duration::from_secs(20) }).await
    }

    async fn with(patience: Patience) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let ledger = Ledger::in_memory_at(now);
        let server = tokio::spawn(sandbox::serve(listener, ledger.clone(), std::future::pending::<()>()));
        let configs = NAMES.map(|name| GatewayConfig {
            patience,
            ..GatewayConfig::new(GatewayName(name.to_owned()), kind(name, &base))
        });
        let gateways = Gateways::with_clock(configs.to_vec(), Box::new(now)).unwrap();
        Self { ledger, gateways, server: server.abort_handle() }
    }

    async fn pay(&self, name: &str, purpose: Purpose, keys: &str, amount: &str) -> (Attempt, Submission) {
        let attempt = attempt(name, purpose, amount);
        let data = data(amount);
        let order = Order::by_phone(&attempt, &data);
        let card = card(keys);
        let submission = self.gateways.submit(&attempt.gateway, &order, &Source::Keyed(&card)).await;
        (attempt, submission)
    }

    async fn approved(&self, name: &str, purpose: Purpose, amount: &str) -> (Attempt, GatewayAnswer) {
        let (attempt, submission) = self.pay(name, purpose, VISA, amount).await;
        let answer = answered(name, submission);
        assert_eq!(answer.verdict, Verdict::Approved, "{name} {purpose:?}");
        (attempt, answer)
    }

    async fn follow(&self, follow_up: &FollowUp<'_>) -> FollowUpSubmission {
        self.gateways.follow_up(&follow_up.attempt.gateway, follow_up).await
    }

    /// What was taken of an attempt and not given back, and what is held besides.
    fn money(&self, attempt: &Attempt) -> (i64, i64) {
        let minor = |text: &str| text.replace('.', "").parse::<i64>().unwrap();
        let charges = self.ledger.charges();
        let ours = charges.iter().filter(|charge| is_ours(&charge.transaction_id, attempt));
        ours.fold((0, 0), |(taken, held), charge| {
            let now_taken = minor(&charge.captured) - minor(&charge.refunded);
            (taken + now_taken, held + minor(&charge.stands) - now_taken)
        })
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// 2026-08-21T00:00:00Z, for us and for the simulator.
fn now() -> Timestamp {
    Timestamp::from_micros(1_787_270_400_000_000)
}

/// Another id every time.
fn id() -> Uuid {
    static LAST: AtomicU64 = AtomicU64::new(0x1000);
    Uuid::from_u128(u128::from(LAST.fetch_add(1, Ordering::Relaxed)))
}

/// CyberSource has a shorter name for it.
fn is_ours(reference: &str, attempt: &Attempt) -> bool {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let id = attempt.id.0.as_u128();
    let short: String =
        (0..26_u32).rev().map(|place| char::from(LETTERS[((id >> (place * 5)) & 31) as usize])).collect();
    reference == attempt.id.to_string() || reference == short
}

fn kind(name: &str, base: &str) -> GatewayKind {
    let text = str::to_owned;
    match name {
        "generic" => GatewayKind::Generic {
            url: format!("{base}/charges"),
            operations_url: Some(format!("{base}/charges")),
            query_url: Some(format!("{base}/charges")),
            user: text(sandbox::USER),
            password: text(sandbox::PASSWORD),
        },
        "cybersource" | "cybersource-signature" => GatewayKind::CyberSource {
            url: text(base),
            merchant_id: text(sandbox::CYBERSOURCE_MERCHANT),
            key_id: text(sandbox::CYBERSOURCE_KEY_ID),
            secret: text(sandbox::CYBERSOURCE_SECRET),
            auth: if name == "cybersource" { CyberSourceAuth::Jwt } else { CyberSourceAuth::HttpSignature },
        },
        "stripe" => GatewayKind::Stripe { url: text(base), secret_key: text(sandbox::STRIPE_KEY) },
        "adyen" => GatewayKind::Adyen {
            url: format!("{base}/v72"),
            merchant_account: text(sandbox::ADYEN_MERCHANT),
            api_key: text(sandbox::ADYEN_API_KEY),
            hmac_key: Some(text(sandbox::ADYEN_HMAC_KEY)),
        },
        "worldpay" => GatewayKind::Worldpay {
            url: text(base),
            entity: text(sandbox::WORLDPAY_ENTITY),
            narrative: text("Shop"),
            user: text(sandbox::USER),
            password: text(sandbox::PASSWORD),
        },
        _ => GatewayKind::Mpgs {
            url: text(base),
            merchant_id: text(sandbox::MPGS_MERCHANT),
            password: text(sandbox::PASSWORD),
        },
    }
}

fn data(amount: &str) -> PaymentData {
    data_in("GBP", amount)
}

fn data_in(currency: &str, amount: &str) -> PaymentData {
    let data = [
        ("Amount", amount),
        ("Currency", currency),
        ("FirstName", "Ann"),
        ("Surname", "Other"),
        ("Street1", "1 High Street"),
        ("City", "London"),
        ("Postcode", "SW1A 1AA"),
        ("Country", "GB"),
        ("Email", "ann@example.com"),
    ];
    PaymentData::new(data.map(|(name, value)| (name.to_owned(), value.to_owned())).into()).unwrap()
}

fn attempt(name: &str, purpose: Purpose, amount: &str) -> Attempt {
    attempt_of(name, purpose, data(amount).amount())
}

fn attempt_of(name: &str, purpose: Purpose, amount: Money) -> Attempt {
    Attempt {
        id: AttemptId(id()),
        no: AttemptNo(1),
        amount,
        purpose,
        gateway: GatewayName(name.to_owned()),
        intended_on: now(),
        updated_on: now(),
        state: AttemptState::Intent,
        operations: Vec::new(),
    }
}

fn follow_up<'a>(attempt: &'a Attempt, reference: &'a str, kind: FollowUpKind, amount: &str) -> FollowUp<'a> {
    FollowUp {
        attempt,
        answer_reference: reference,
        capture_reference: None,
        id: OperationId(id()),
        kind,
        amount: data(amount).amount(),
    }
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

fn answered(name: &str, submission: Submission) -> GatewayAnswer {
    match submission {
        Submission::Answered(answer) => answer,
        other => panic!("{name}: no answer: {other:?}"),
    }
}

/// The reference of what was done, or was taken and will be.
fn done(name: &str, submission: FollowUpSubmission) -> String {
    match submission {
        FollowUpSubmission::Done { reference, .. } | FollowUpSubmission::Accepted { reference, .. } => {
            reference
        }
        other => panic!("{name}: not done: {other:?}"),
    }
}

#[path = "all_gateways/challenges.rs"]
mod challenges;
#[path = "all_gateways/matrix.rs"]
mod matrix;

#[tokio::test]
async fn a_sale_takes_the_money_once_and_is_found_by_our_reference() {
    let town = Town::open().await;
    for name in NAMES {
        let (attempt, answer) = town.approved(name, Purpose::Sale, "12.40").await;
        assert_eq!(town.money(&attempt), (1240, 0), "{name}");
        let asked = town.gateways.ask(&attempt.gateway, &attempt).await;
        match asked {
            Asked::Found(found) => assert_eq!(found.verdict, answer.verdict, "{name}"),
            other => assert_eq!(name, "adyen", "{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_authorisation_is_captured_in_part_and_refunded_in_part() {
    let town = Town::open().await;
    for name in NAMES {
        let (attempt, answer) = town.approved(name, Purpose::Authorise, "12.40").await;
        assert_eq!(town.money(&attempt), (0, 1240), "{name}");
        let reference = answer.gateway_reference;
        let capture =
            done(name, town.follow(&follow_up(&attempt, &reference, FollowUpKind::Capture, "10.00")).await);
        assert_eq!(town.money(&attempt).0, 1000, "{name}");
        let refund = FollowUp {
            capture_reference: Some(&capture),
            ..follow_up(&attempt, &reference, FollowUpKind::Refund, "4.00")
        };
        done(name, town.follow(&refund).await);
        assert_eq!(town.money(&attempt).0, 600, "{name}");
    }
}

#[tokio::test]
async fn a_void_lets_go_and_a_reverse_gives_all_back() {
    let town = Town::open().await;
    for name in NAMES {
        for (purpose, kind) in [
            (Purpose::Authorise, FollowUpKind::Void),
            (Purpose::Authorise, FollowUpKind::Reverse),
            (Purpose::Sale, FollowUpKind::Reverse),
        ] {
            let (attempt, answer) = town.approved(name, purpose, "12.40").await;
            let undo = follow_up(&attempt, &answer.gateway_reference, kind, "12.40");
            done(name, town.follow(&undo).await);
            assert_eq!(town.money(&attempt), (0, 0), "{name} {purpose:?} {kind:?}");
        }
    }
}

#[tokio::test]
async fn a_follow_up_that_may_be_given_again_is_done_once() {
    let town = Town::open().await;
    for name in NAMES {
        let caps = town.gateways.caps(&GatewayName(name.to_owned())).unwrap();
        if !caps.replay.is_safe(Duration::from_secs(60)) {
            continue;
        }
        let (attempt, answer) = town.approved(name, Purpose::Sale, "12.40").await;
        let refund = follow_up(&attempt, &answer.gateway_reference, FollowUpKind::Refund, "4.00");
        done(name, town.follow(&refund).await);
        done(name, town.follow(&refund).await);
        assert_eq!(town.money(&attempt).0, 840, "{name}");
    }
}

#[tokio::test]
async fn declines_challenges_and_checks_are_told() {
    let town = Town::open().await;
    for name in NAMES {
        let verdict = |submission| answered(name, submission).verdict;
        let declined = |class| Verdict::Declined { class };
        let (lost, submission) = town.pay(name, Purpose::Sale, "4000000000009987#1230123", "1.00").await;
        assert!(matches!(verdict(submission), Verdict::Declined { .. }), "{name}");
        assert_eq!(town.money(&lost), (0, 0), "{name}");
        let (_, submission) = town.pay(name, Purpose::Sale, "4000000000000069#1230123", "1.00").await;
        assert_eq!(verdict(submission), declined(DeclineClass::Rekey(Field::Expiry)), "{name}");
        let (asked, submission) = town.pay(name, Purpose::Sale, "4000000000003220#1230123", "1.00").await;
        assert_eq!(verdict(submission), declined(DeclineClass::Authenticate), "{name}");
        assert_eq!(town.money(&asked), (0, 0), "{name}");
        let (_, submission) = town.pay(name, Purpose::Sale, "4000000000000101#1230123", "1.00").await;
        let answer = answered(name, submission);
        assert_eq!(answer.checks.security_code, Check::NoMatch, "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn a_partial_approval_is_one_and_can_be_given_back() {
    let town = Town::open().await;
    for name in NAMES {
        let caps = town.gateways.caps(&GatewayName(name.to_owned())).unwrap();
        if !caps.partial {
            continue;
        }
        let (attempt, submission) = town.pay(name, Purpose::Sale, VISA, "68.01").await;
        let answer = answered(name, submission);
        let Verdict::Partial { approved } = answer.verdict else { panic!("{name}: {answer:?}") };
        assert!(approved.minor() < 6801 && approved.minor() > 3000, "{name}: {approved}");
        let amount = approved.decimal();
        let undo = follow_up(&attempt, &answer.gateway_reference, FollowUpKind::Reverse, &amount);
        done(name, town.follow(&undo).await);
        assert_eq!(town.money(&attempt), (0, 0), "{name}");
    }
}

#[tokio::test]
async fn a_partial_approval_whose_answer_was_lost_is_found_as_one() {
    let town = Town::open().await;
    for name in NAMES {
        let caps = town.gateways.caps(&GatewayName(name.to_owned())).unwrap();
        if !(caps.partial && caps.query_by_ref) {
            continue;
        }
        for purpose in [Purpose::Sale, Purpose::Authorise] {
            let (attempt, submission) = town.pay(name, purpose, VISA, "68.01").await;
            let answer = answered(name, submission);
            let asked = town.gateways.ask(&attempt.gateway, &attempt).await;
            let Asked::Found(found) = asked else { panic!("{name} {purpose:?}: {asked:?}") };
            assert_eq!(
                (&found.verdict, &found.gateway_reference),
                (&answer.verdict, &answer.gateway_reference),
                "{name} {purpose:?}"
            );
            assert!(matches!(found.verdict, Verdict::Partial { .. }), "{name} {purpose:?}: {found:?}");
        }
    }
}

#[tokio::test]
async fn what_has_no_answer_is_unknown_and_is_undone_by_our_reference() {
    let town = Town::open().await;
    for name in NAMES {
        let (attempt, submission) = town.pay(name, Purpose::Sale, VISA, "67.03").await;
        assert!(matches!(submission, Submission::Unknown(_)), "{name}: {submission:?}");
        assert_eq!(town.money(&attempt).0, 6703, "{name}");
        let reversal = town.gateways.reverse_unknown(&attempt.gateway, &attempt).await;
        match reversal {
            Reversal::Reversed => assert_eq!(town.money(&attempt), (0, 0), "{name}"),
            // Adyen says by notification what became of it.
            other => assert_eq!((name, other), ("adyen", Reversal::Accepted)),
        }
        let never = self::attempt(name, Purpose::Sale, "12.40");
        let reversal = town.gateways.reverse_unknown(&never.gateway, &never).await;
        assert!(matches!(reversal, Reversal::NothingThere | Reversal::Accepted), "{name}: {reversal:?}");
    }
}

#[tokio::test]
async fn a_card_is_kept_and_charged_again_by_its_token() {
    let town = Town::open().await;
    for name in NAMES {
        let kept = attempt(name, Purpose::Tokenise, "12.40");
        let payment_data = data("12.40");
        let card = card(VISA);
        let order = Order { credential: Credential::FirstOfStored, ..Order::by_phone(&kept, &payment_data) };
        let submission = town.gateways.submit(&kept.gateway, &order, &Source::Keyed(&card)).await;
        let answer = answered(name, submission);
        assert_eq!(town.money(&kept), (0, 0), "{name}");
        let stored = answer.stored.unwrap_or_else(|| panic!("{name}: nothing is kept"));
        for credential in [Credential::StoredByCustomer, Credential::StoredByMerchant] {
            let again = attempt(name, Purpose::Sale, "12.40");
            let order = Order { credential, ..Order::by_phone(&again, &payment_data) };
            let submission = town.gateways.submit(&again.gateway, &order, &Source::Stored(&stored)).await;
            assert_eq!(answered(name, submission).verdict, Verdict::Approved, "{name} {credential:?}");
            assert_eq!(town.money(&again).0, 1240, "{name} {credential:?}");
        }
    }
}
