//! What the connectors' tests share: one attempt, one published test card, and looks at what was built.

use std::collections::BTreeMap;
use std::time::Duration;

use hushpad_card::{Capture, Card, Rules};
use hushpad_domain::attempt::{Attempt, AttemptState, Purpose, Verdict};
use hushpad_domain::challenge::Browser;
use hushpad_domain::field::Field;
use hushpad_domain::ids::{AttemptId, AttemptNo, GatewayName, OperationId};
use hushpad_domain::masked_card::{Brand, MaskedCard};
use hushpad_domain::money::{Currency, Money};
use hushpad_domain::payment_data::PaymentData;
use hushpad_domain::time::{Tick, Timestamp};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::connector::{BuildError, Connector, Parsed, ParsedFollowUp, ParsedQuery, Step};
use crate::order::{FollowUp, FollowUpKind, Order, Source};
use crate::wire::{Reply, WireRequest};

/// 2026-08-21T00:00:00Z.
const NOW_MICROS: i64 = 1_787_270_400_000_000;

pub(crate) fn now() -> Timestamp {
    Timestamp::from_micros(NOW_MICROS)
}

pub(crate) fn attempt(amount: &str, currency: &str) -> Attempt {
    Attempt {
        id: AttemptId(Uuid::from_u128(7)),
        no: AttemptNo(1),
        amount: Money::parse(amount, Currency::from_code(currency).unwrap()).unwrap(),
        purpose: Purpose::Sale,
        gateway: GatewayName("main".to_owned()),
        intended_on: now(),
        updated_on: now(),
        state: AttemptState::Intent,
        operations: Vec::new(),
    }
}

pub(crate) fn payment_data(amount: &str, currency: &str) -> PaymentData {
    let data = [
        ("Amount", amount),
        ("Currency", currency),
        ("MerchantReferenceCode", "order-9"),
        ("FirstName", "Ann"),
        ("Surname", "O'Neil & Co"),
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
        capture.key(key, Tick(0), (2026, 11));
    }
    capture.take().unwrap()
}

/// A browser on a page, and where the bank sends it back to.
pub(crate) fn browser() -> Browser {
    Browser::returning_to("https://pay.example/pay/abc/back".to_owned()).saying(
        Some("Mozilla/5.0"),
        Some("text/html"),
        Some("en-GB,en;q=0.5"),
    )
}

pub(crate) fn masked() -> MaskedCard {
    MaskedCard::new(Some(Brand::Visa), 411_111, 1111)
}

pub(crate) fn build(
    connector: &dyn Connector,
    step: &Step,
    amount: &str,
    currency: &str,
) -> Result<WireRequest, BuildError> {
    let (attempt, payment_data) = (attempt(amount, currency), payment_data(amount, currency));
    let order = Order::by_phone(&attempt, &payment_data);
    connector.build(step, &order, &Source::Keyed(&card()), now())
}

pub(crate) fn build_with_other_amount(connector: &dyn Connector) -> Result<WireRequest, BuildError> {
    let (attempt, payment_data) = (attempt("12.40", "GBP"), payment_data("12.41", "GBP"));
    let order = Order::by_phone(&attempt, &payment_data);
    connector.build(&Step::default(), &order, &Source::Keyed(&card()), now())
}

pub(crate) fn parse(connector: &dyn Connector, step: &Step, status: u16, body: &[u8]) -> Parsed {
    let (attempt, payment_data) = (attempt("12.40", "GBP"), payment_data("12.40", "GBP"));
    let order = Order::by_phone(&attempt, &payment_data);
    connector.parse(step, &order, Some(&masked()), &reply(status, body))
}

pub(crate) fn parse_query(connector: &dyn Connector, step: &Step, status: u16, body: &[u8]) -> ParsedQuery {
    connector.parse_query(step, &attempt("12.40", "GBP"), &reply(status, body))
}

pub(crate) fn reply(status: u16, body: &[u8]) -> Reply {
    Reply { status, body: Zeroizing::new(body.to_vec()) }
}

pub(crate) fn follow_up<'a>(attempt: &'a Attempt, reference: &'a str, kind: FollowUpKind) -> FollowUp<'a> {
    FollowUp {
        attempt,
        answer_reference: reference,
        capture_reference: None,
        id: OperationId(Uuid::from_u128(8)),
        kind,
        amount: attempt.amount,
    }
}

/// What a reply to a follow-up says, in few words.
pub(crate) fn told(parsed: &ParsedFollowUp) -> String {
    match parsed {
        ParsedFollowUp::Done { reference, .. } => format!("done {reference}"),
        ParsedFollowUp::Accepted { reference, .. } => format!("accepted {reference}"),
        ParsedFollowUp::Refused { reason, .. } => format!("refused {reason}"),
        ParsedFollowUp::NotProcessed => "not processed".to_owned(),
        ParsedFollowUp::Next(step) => {
            format!("next {} {}", step.no, step.ids.join(" ")).trim_end().to_owned()
        }
        ParsedFollowUp::Indeterminate(_) => "unknown".to_owned(),
    }
}

pub(crate) fn verdict(parsed: &Parsed) -> Option<Verdict> {
    match parsed {
        Parsed::Answer(answer) => Some(answer.verdict.clone()),
        Parsed::Next(_) | Parsed::Challenge(_) | Parsed::Refused | Parsed::Indeterminate(_) => None,
    }
}

/// Method, target and headers, one a line.
pub(crate) fn header_lines(wire: &WireRequest) -> String {
    let mut lines = vec![format!("{} {}", wire.method, wire.endpoint.target)];
    for (name, value) in &wire.headers {
        lines.push(format!("{name}: {}", value.to_str().unwrap()));
    }
    lines.join("\n")
}

/// Takes the digits out of a body, having checked them, so that no snapshot holds them.
pub(crate) fn take_card(card: &mut serde_json::Value, number: &str, code: &str) {
    let members = card.as_object_mut().unwrap();
    assert_eq!(members.remove(number).unwrap(), "4111111111111111");
    assert_eq!(members.remove(code).unwrap(), "123");
}

/// A form as its decoded pairs.
pub(crate) fn form(wire: &WireRequest) -> BTreeMap<String, String> {
    serde_urlencoded::from_bytes(wire.body.as_ref()).unwrap()
}
