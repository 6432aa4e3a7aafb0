//! Everything that a connector can do, done once: the same whoever answers.

use std::collections::BTreeSet;
use std::time::Duration;

use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::attempt::{
    Attempt, AttemptState, DeclineClass, GatewayAnswer, Purpose, StoredCard, Verdict,
};
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AttemptId, AttemptNo, GatewayName, OperationId};
use hushpad_domain::masked_card::Brand;
use hushpad_domain::money::{Currency, Money};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::time::{Tick, Timestamp};
use hushpad_gateways::sandbox::{Charge, Ledger};
use hushpad_gateways::{
    Asked, Caps, Channel, Credential, FollowUp, FollowUpKind, FollowUpSubmission, GatewayConfig, GatewayKind,
    Gateways, Order, Reversal, Source, Submission,
};
use uuid::Uuid;

/// 2026-08-21T00:00:00Z.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(1_787_270_400_000_000)
}

/// A shop with one gateway.
pub(crate) struct Shop {
    gateways: Gateways,
    ledger: Option<Ledger>,
    seen: BTreeSet<String>,
    next: u128,
    asks: bool,
}

/// An attempt and its answer.
struct Paid {
    attempt: Attempt,
    answer: GatewayAnswer,
}

impl Shop {
    pub(crate) fn new(kind: GatewayKind, ledger: Option<Ledger>) -> Self {
        let config = GatewayConfig::new(main(), kind);
        let gateways = Gateways::with_clock(vec![config], Box::new(now)).unwrap();
        Self { gateways, ledger, seen: BTreeSet::new(), next: 0x1000, asks: true }
    }

    /// A shop that does not ask what became of a payment.
    pub(crate) fn that_does_not_ask(self) -> Self {
        Self { asks: false, ..self }
    }

    fn caps(&self) -> &Caps {
        self.gateways.caps(&main()).unwrap()
    }

    /// All that the connector says that it can.
    pub(crate) async fn does_everything(&mut self) {
        self.sells_and_gives_back().await;
        self.captures_what_was_authorised().await;
        self.voids_what_was_authorised().await;
        self.reverses_without_an_answer().await;
        self.charges_a_kept_card().await;
        self.hears_a_decline().await;
    }

    pub(crate) async fn sells_and_gives_back(&mut self) {
        let paid = self.approved(Purpose::Sale, None).await;
        let charge = self.newest();
        assert_eq!(charge.map(|charge| (charge.charged, charge.captured)), self.told(1, "12.40"));
        if self.asks && self.caps().query_by_ref {
            let Asked::Found(found) = self.gateways.ask(&main(), &paid.attempt).await else {
                panic!("not found")
            };
            assert_eq!(found.verdict, Verdict::Approved);
        }
        self.follow(&paid, FollowUpKind::Refund, "4.00", None).await;
        self.follow(&paid, FollowUpKind::Refund, "8.40", None).await;
        assert_eq!(self.newest().map(|charge| charge.stands), self.told(0, "0.00").map(|told| told.1));
    }

    async fn captures_what_was_authorised(&mut self) {
        if !self.can(Purpose::Authorise, FollowUpKind::Capture) {
            return;
        }
        let paid = self.approved(Purpose::Authorise, None).await;
        let capture = self.follow(&paid, FollowUpKind::Capture, "10.00", None).await;
        assert_eq!(self.newest().map(|charge| charge.captured), self.told(0, "10.00").map(|told| told.1));
        self.follow(&paid, FollowUpKind::Refund, "10.00", Some(&capture)).await;
        assert_eq!(self.newest().map(|charge| charge.refunded), self.told(0, "10.00").map(|told| told.1));
    }

    async fn voids_what_was_authorised(&mut self) {
        for kind in [FollowUpKind::Void, FollowUpKind::Reverse] {
            if self.can(Purpose::Authorise, kind) {
                let paid = self.approved(Purpose::Authorise, None).await;
                self.follow(&paid, kind, "12.40", None).await;
                assert_eq!(
                    self.newest().map(|charge| charge.stands),
                    self.told(0, "0.00").map(|told| told.1)
                );
            }
        }
        if self.can(Purpose::Sale, FollowUpKind::Reverse) {
            let paid = self.approved(Purpose::Sale, None).await;
            self.follow(&paid, FollowUpKind::Reverse, "12.40", None).await;
            assert_eq!(self.newest().map(|charge| charge.stands), self.told(0, "0.00").map(|told| told.1));
        }
    }

    async fn reverses_without_an_answer(&mut self) {
        if !self.caps().reverse_by_ref {
            return;
        }
        let purpose = if self.caps().purposes.contains(&Purpose::Authorise) {
            Purpose::Authorise
        } else {
            Purpose::Sale
        };
        let paid = self.approved(purpose, None).await;
        let reversal = self.gateways.reverse_unknown(&main(), &paid.attempt).await;
        assert!(matches!(reversal, Reversal::Reversed | Reversal::Accepted), "{reversal:?}");
        assert_eq!(self.newest().map(|charge| charge.stands), self.told(0, "0.00").map(|told| told.1));
    }

    async fn charges_a_kept_card(&mut self) {
        if !self.caps().purposes.contains(&Purpose::Tokenise) {
            return;
        }
        let kept = self.approved(Purpose::Tokenise, None).await.answer.stored.unwrap();
        let paid = self.approved(Purpose::Sale, Some(kept)).await;
        assert_eq!(paid.answer.verdict, Verdict::Approved);
        assert_eq!(self.newest().map(|charge| charge.captured), self.told(0, "12.40").map(|told| told.1));
    }

    async fn hears_a_decline(&mut self) {
        // For want of funds: see the table of magic amounts.
        let paid = self.paid(Purpose::Sale, None, "66.02").await;
        let class = DeclineClass::TryLater;
        assert_eq!(paid.answer.verdict, Verdict::Declined { class });
        assert_eq!(self.newest().map(|charge| charge.charged), self.ledger.as_ref().map(|_| 0));
    }

    fn can(&self, purpose: Purpose, kind: FollowUpKind) -> bool {
        self.caps().purposes.contains(&purpose) && self.caps().follow_ups.contains(&kind)
    }

    /// What the ledger must say, where there is one.
    fn told(&self, charged: u32, sum: &str) -> Option<(u32, String)> {
        self.ledger.as_ref().map(|_| (charged, sum.to_owned()))
    }

    /// The ledger's line about the attempt that came last.
    fn newest(&mut self) -> Option<Charge> {
        let charges = self.ledger.as_ref()?.charges();
        let fresh = charges.iter().find(|charge| !self.seen.contains(&charge.transaction_id));
        let newest =
            fresh.or_else(|| charges.iter().max_by_key(|charge| charge.history[0].id.clone())).cloned();
        newest.inspect(|charge| assert!(charge.charged <= 1, "charged twice"))
    }

    async fn approved(&mut self, purpose: Purpose, stored: Option<StoredCard>) -> Paid {
        let paid = self.paid(purpose, stored, "12.40").await;
        assert_eq!(paid.answer.verdict, Verdict::Approved, "{purpose:?}");
        paid
    }

    async fn paid(&mut self, purpose: Purpose, stored: Option<StoredCard>, amount: &str) -> Paid {
        let charges = self.ledger.as_ref().map(Ledger::charges).unwrap_or_default();
        self.seen.extend(charges.into_iter().map(|charge| charge.transaction_id));
        self.next += 1;
        let payment_data = payment_data(amount);
        let attempt = Attempt {
            id: AttemptId(Uuid::from_u128(self.next)),
            no: AttemptNo(1),
            amount: payment_data.amount(),
            purpose,
            gateway: main(),
            intended_on: now(),
            updated_on: now(),
            state: AttemptState::Intent,
            operations: Vec::new(),
        };
        let credential = match (purpose, &stored) {
            (Purpose::Tokenise, _) => Credential::FirstOfStored,
            (_, Some(_)) => Credential::StoredByCustomer,
            (_, None) => Credential::Once,
        };
        let order =
            Order { attempt: &attempt, payment_data: &payment_data, channel: Channel::Moto, credential };
        let keyed = card();
        let source = stored.as_ref().map_or(Source::Keyed(&keyed), Source::Stored);
        let answer = match self.gateways.submit(&main(), &order, &source).await {
            Submission::Answered(answer) => answer,
            other => panic!("{purpose:?}: {other:?}"),
        };
        Paid { attempt, answer }
    }

    async fn follow(
        &mut self,
        paid: &Paid,
        kind: FollowUpKind,
        amount: &str,
        capture: Option<&str>,
    ) -> String {
        self.next += 1;
        let follow_up = FollowUp {
            attempt: &paid.attempt,
            answer_reference: &paid.answer.gateway_reference,
            capture_reference: capture,
            id: OperationId(Uuid::from_u128(self.next)),
            kind,
            amount: Money::parse(amount, Currency::from_code("GBP").unwrap()).unwrap(),
        };
        match self.gateways.follow_up(&main(), &follow_up).await {
            FollowUpSubmission::Done { reference, .. } | FollowUpSubmission::Accepted { reference, .. } => {
                reference
            }
            other => panic!("{kind:?} {amount}: {other:?}"),
        }
    }
}

fn main() -> GatewayName {
    GatewayName("main".to_owned())
}

pub(crate) fn payment_data(amount: &str) -> PaymentData {
    let data = [
        ("Amount", amount),
        ("Currency", "GBP"),
        ("MerchantReferenceCode", "order-9"),
        ("FirstName", "Ann"),
        ("Surname", "O'Neil"),
        ("Street1", "1 High Street"),
        ("City", "London"),
        ("Postcode", "SW1A 1AA"),
        ("Country", "GB"),
        ("Email", "ann@example.com"),
    ];
    PaymentData::new(data.map(|(name, value)| (name.to_owned(), value.to_owned())).into()).unwrap()
}

pub(crate) fn card() -> Card {
    let rules = Rules {
        fields: Field::ALL.to_vec(),
        brands: Brand::ALL.to_vec(),
        first_key_time_out: Duration::from_secs(30),
        between_keys_time_out: Duration::from_secs(30),
    };
    let mut capture = Capture::new(rules);
    capture.start(Field::CardNumber, Tick(0)).unwrap();
    for key in *b"4111111111111111#1230123" {
        capture.key(key, Tick(0), (2026, 8));
    }
    capture.take().unwrap()
}
