//! The entry of a card, as a customer and an agent live it.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::time::Duration;

use hushpad_card::{Capture, Card, KeyTaken, Refusal, Rules, Secret};
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::page::{FieldStatus, InvalidReason};
use hushpad_domain::time::Tick;
use proptest::prelude::*;

const TODAY: (i32, u8) = (2026, 11);
const FIRST_KEY: Duration = Duration::from_secs(30);
const BETWEEN_KEYS: Duration = Duration::from_secs(10);

/// A customer at the keypad: a key every 300 ms.
struct Desk {
    capture: Capture,
    now: Tick,
}

impl Desk {
    fn new() -> Self {
        Self::with(&Brand::ALL, &Field::ALL)
    }

    fn with(brands: &[Brand], fields: &[Field]) -> Self {
        let rules = Rules {
            fields: fields.to_vec(),
            brands: brands.to_vec(),
            first_key_time_out: FIRST_KEY,
            between_keys_time_out: BETWEEN_KEYS,
        };
        Self { capture: Capture::new(rules), now: Tick(1_000) }
    }

    fn start(&mut self, field: Field) -> Result<(), Refusal> {
        self.capture.start(field, self.now)
    }

    fn keys(&mut self, keys: &str) -> KeyTaken {
        keys.bytes().fold(KeyTaken::Ignored, |_, key| {
            self.pass(Duration::from_millis(300));
            self.capture.key(key, self.now, TODAY)
        })
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.capture.tick(self.now, TODAY);
    }

    fn status(&self, field: Field) -> FieldStatus {
        self.view(field).0
    }

    fn view(&self, field: Field) -> (FieldStatus, u8, Option<u8>, Option<Brand>) {
        let view = self.capture.views().into_iter().find(|view| view.field == field).unwrap();
        (view.status, view.typed, view.length, view.brand)
    }

    fn complete_visa() -> Self {
        let mut desk = Self::new();
        desk.start(Field::CardNumber).unwrap();
        desk.keys("4111111111111111#1230#123");
        assert!(desk.capture.is_complete());
        desk
    }
}

/// What a gateway would be told, to compare with what was keyed.
fn told(card: &Card) -> (String, (u8, i32), Option<String>) {
    let text = |digits: &[u8]| String::from_utf8(digits.to_vec()).unwrap();
    (card.read_number(text), card.expiry(), card.read_security_code(|code| code.map(text)))
}

#[test]
fn a_customer_keys_straight_through() {
    let mut desk = Desk::new();
    desk.start(Field::CardNumber).unwrap();
    assert_eq!(desk.keys("5555555555554444"), KeyTaken::Valid(Field::CardNumber));
    assert_eq!(desk.capture.active(), Some(Field::Expiry));
    assert_eq!(desk.keys("1230"), KeyTaken::Valid(Field::Expiry));
    assert_eq!(desk.keys("123"), KeyTaken::Valid(Field::SecurityCode));
    assert_eq!((desk.capture.active(), desk.capture.deadline()), (None, None));
    assert_eq!(desk.keys("9"), KeyTaken::Ignored);
    let card = desk.capture.take().unwrap();
    assert_eq!(told(&card), ("5555555555554444".into(), (12, 2030), Some("123".into())));
    let masked = card.masked();
    assert_eq!(
        (masked.first6(), masked.last4(), masked.brand()),
        ("555555".into(), "4444".into(), Some(Brand::Mastercard))
    );
}

#[test]
fn a_hash_after_every_field_does_no_harm() {
    let mut desk = Desk::new();
    desk.start(Field::CardNumber).unwrap();
    desk.keys("378282246310005#1230#");
    assert_eq!(desk.view(Field::SecurityCode).2, Some(4));
    desk.keys("1234#");
    let card = desk.capture.take().unwrap();
    assert_eq!(told(&card), ("378282246310005".into(), (12, 2030), Some("1234".into())));
}

#[test]
fn a_number_with_several_lengths_is_complete_after_a_pause() {
    let mut desk = Desk::new();
    desk.start(Field::CardNumber).unwrap();
    assert_eq!(desk.keys("4111111111111111"), KeyTaken::Typed(Field::CardNumber));
    assert_eq!(desk.view(Field::CardNumber), (FieldStatus::Typing, 16, None, Some(Brand::Visa)));
    let due = desk.capture.deadline().unwrap();
    desk.capture.tick(Tick(due.0 - 1), TODAY);
    assert_eq!(desk.status(Field::CardNumber), FieldStatus::Typing);
    desk.capture.tick(due, TODAY);
    assert_eq!(desk.view(Field::CardNumber), (FieldStatus::Valid, 16, Some(16), Some(Brand::Visa)));
    assert_eq!(desk.capture.active(), Some(Field::Expiry));
}

#[test]
fn a_longer_number_is_not_cut_short() {
    let mut desk = Desk::new();
    desk.start(Field::CardNumber).unwrap();
    // 19 digits, the first 16 of which are a valid number too.
    assert_eq!(desk.keys("4111111111111111003"), KeyTaken::Valid(Field::CardNumber));
    assert_eq!(desk.view(Field::CardNumber).1, 19);
}

#[test]
fn a_star_clears_the_open_field() {
    let mut desk = Desk::new();
    desk.start(Field::CardNumber).unwrap();
    assert_eq!(desk.keys("4999*"), KeyTaken::Cleared(Field::CardNumber));
    assert_eq!(desk.view(Field::CardNumber).1, 0);
    desk.keys("4111111111111111#");
    assert_eq!(desk.status(Field::CardNumber), FieldStatus::Valid);
    assert_eq!(desk.keys("A"), KeyTaken::Ignored);
}

#[test]
fn nothing_is_taken_while_no_field_is_open() {
    let mut desk = Desk::new();
    assert_eq!(desk.keys("4111111111111111#"), KeyTaken::Ignored);
    assert!(desk.capture.views().iter().all(|view| view.status == FieldStatus::Waiting && view.typed == 0));
}

#[test]
fn wrong_fields_are_told_with_their_reason() {
    let cases: [(&str, Field, InvalidReason); 6] = [
        ("4111111111111112#", Field::CardNumber, InvalidReason::CheckDigit),
        ("411111#", Field::CardNumber, InvalidReason::Length),
        ("6011111111111117#", Field::CardNumber, InvalidReason::BrandNotTaken),
        ("4111111111111111#1330", Field::Expiry, InvalidReason::Month),
        ("4111111111111111#1026", Field::Expiry, InvalidReason::Expired),
        ("4111111111111111#123012#", Field::SecurityCode, InvalidReason::Length),
    ];
    for (keys, field, reason) in cases {
        let mut desk = Desk::with(&[Brand::Visa, Brand::Amex], &Field::ALL);
        desk.start(Field::CardNumber).unwrap();
        assert_eq!(desk.keys(keys), KeyTaken::Invalid(field, reason), "{reason:?}");
        assert_eq!(desk.status(field), FieldStatus::Invalid(reason));
        assert_eq!(desk.capture.active(), None);
        assert!(desk.capture.take().is_none());
        assert_eq!(desk.start(field), Ok(()));
        assert_eq!(desk.view(field).1, 0);
    }
}

#[test]
fn a_field_without_keys_times_out() {
    let mut desk = Desk::new();
    desk.start(Field::CardNumber).unwrap();
    desk.pass(FIRST_KEY);
    assert_eq!(desk.status(Field::CardNumber), FieldStatus::TimedOut);
    desk.start(Field::CardNumber).unwrap();
    desk.keys("41111");
    desk.pass(BETWEEN_KEYS);
    assert_eq!(desk.view(Field::CardNumber).0, FieldStatus::TimedOut);
    assert_eq!(desk.keys("4"), KeyTaken::Ignored);
}

#[test]
fn the_security_code_waits_for_a_valid_number() {
    let mut desk = Desk::new();
    assert_eq!(desk.start(Field::SecurityCode), Err(Refusal::NumberFirst));
    desk.start(Field::CardNumber).unwrap();
    desk.keys("411");
    assert_eq!(desk.capture.redo(Field::SecurityCode, desk.now), Err(Refusal::NumberFirst));
    // A refusal changes nothing.
    assert_eq!(desk.view(Field::CardNumber).1, 3);
}

#[test]
fn starting_another_field_wipes_the_open_one_and_starting_it_again_does_not() {
    let mut desk = Desk::new();
    desk.start(Field::CardNumber).unwrap();
    desk.keys("4111");
    desk.start(Field::CardNumber).unwrap();
    assert_eq!(desk.view(Field::CardNumber).1, 4);
    desk.start(Field::Expiry).unwrap();
    assert_eq!(desk.view(Field::CardNumber).0, FieldStatus::Waiting);
    assert_eq!(desk.view(Field::CardNumber).1, 0);
    desk.keys("1230");
    assert_eq!(desk.start(Field::Expiry), Err(Refusal::AlreadyValid));
}

#[test]
fn redo_wipes_one_field_and_the_number_takes_the_code_along() {
    let mut desk = Desk::complete_visa();
    desk.capture.redo(Field::Expiry, desk.now).unwrap();
    assert_eq!(desk.status(Field::CardNumber), FieldStatus::Valid);
    assert_eq!(desk.status(Field::SecurityCode), FieldStatus::Valid);
    desk.keys("0131");
    assert!(desk.capture.is_complete());
    desk.capture.redo(Field::CardNumber, desk.now).unwrap();
    assert_eq!(desk.status(Field::Expiry), FieldStatus::Valid);
    assert_eq!(desk.status(Field::SecurityCode), FieldStatus::Waiting);
    // The valid expiry is passed over: the code is next.
    desk.keys("378282246310005");
    assert_eq!(desk.capture.active(), Some(Field::SecurityCode));
    desk.keys("9876");
    assert_eq!(
        told(&desk.capture.take().unwrap()),
        ("378282246310005".into(), (1, 2031), Some("9876".into()))
    );
}

#[test]
fn an_alarm_wipes_the_open_field_only() {
    let mut desk = Desk::new();
    desk.start(Field::CardNumber).unwrap();
    desk.keys("4111111111111111#12");
    desk.capture.stop();
    assert_eq!(desk.status(Field::CardNumber), FieldStatus::Valid);
    assert_eq!(desk.view(Field::Expiry).0, FieldStatus::Waiting);
    assert_eq!((desk.view(Field::Expiry).1, desk.capture.active()), (0, None));
}

#[test]
fn while_the_card_is_at_the_gateway_the_page_shows_it_and_nothing_can_be_keyed() {
    let mut desk = Desk::complete_visa();
    let shown = desk.capture.views();
    let card = desk.capture.take().unwrap();
    assert_eq!(desk.capture.views(), shown);
    assert!(desk.capture.take().is_none());
    assert_eq!(desk.start(Field::Expiry), Err(Refusal::CardTaken));
    assert_eq!(desk.capture.redo(Field::CardNumber, desk.now), Err(Refusal::CardTaken));
    assert_eq!(desk.keys("1"), KeyTaken::Ignored);
    drop(card);
}

#[test]
fn after_a_decline_the_blamed_field_and_always_the_code_are_keyed_again() {
    let mut desk = Desk::complete_visa();
    let card = desk.capture.take().unwrap();
    desk.capture.give_back(card, &[Field::Expiry]);
    assert_eq!(desk.status(Field::CardNumber), FieldStatus::Valid);
    assert_eq!(desk.status(Field::Expiry), FieldStatus::Invalid(InvalidReason::Declined));
    assert_eq!(desk.status(Field::SecurityCode), FieldStatus::Waiting);
    assert!(!desk.capture.is_complete());
    desk.start(Field::Expiry).unwrap();
    desk.keys("0632456");
    assert_eq!(
        told(&desk.capture.take().unwrap()),
        ("4111111111111111".into(), (6, 2032), Some("456".into()))
    );
}

#[test]
fn when_nothing_was_sent_only_the_code_is_keyed_again() {
    let mut desk = Desk::complete_visa();
    let card = desk.capture.take().unwrap();
    desk.capture.give_back(card, &[]);
    desk.start(Field::SecurityCode).unwrap();
    desk.keys("777");
    assert_eq!(told(&desk.capture.take().unwrap()).2, Some("777".into()));
}

#[test]
fn a_blamed_number_takes_nothing_else_along_but_the_code() {
    let mut desk = Desk::complete_visa();
    let card = desk.capture.take().unwrap();
    desk.capture.give_back(card, &[Field::CardNumber, Field::SecurityCode]);
    assert_eq!(desk.status(Field::CardNumber), FieldStatus::Invalid(InvalidReason::Declined));
    assert_eq!(desk.status(Field::Expiry), FieldStatus::Valid);
    assert_eq!(desk.status(Field::SecurityCode), FieldStatus::Invalid(InvalidReason::Declined));
    assert_eq!(desk.start(Field::SecurityCode), Err(Refusal::NumberFirst));
}

#[test]
fn a_wiped_entry_takes_no_card_back() {
    let mut desk = Desk::complete_visa();
    let card = desk.capture.take().unwrap();
    desk.capture.wipe();
    desk.capture.give_back(card, &[]);
    assert!(desk.capture.views().iter().all(|view| view.status == FieldStatus::Waiting));
}

#[test]
fn a_card_without_a_security_code_is_keyed_with_a_hash() {
    let mut desk = Desk::new();
    desk.start(Field::CardNumber).unwrap();
    desk.keys("6759649826438453#1230");
    // The first one belongs to the expiry, which had ended by itself.
    assert_eq!(desk.keys("#"), KeyTaken::Ignored);
    assert_eq!(desk.keys("#"), KeyTaken::Valid(Field::SecurityCode));
    assert_eq!(told(&desk.capture.take().unwrap()).2, None);
}

#[test]
fn a_flow_may_do_without_the_security_code() {
    let mut desk = Desk::with(&Brand::ALL, &[Field::Expiry, Field::CardNumber, Field::Expiry]);
    desk.start(Field::Expiry).unwrap();
    desk.keys("12305555555555554444");
    assert_eq!(desk.capture.views().len(), 2);
    assert_eq!(desk.start(Field::SecurityCode), Err(Refusal::NotAsked));
    assert_eq!(told(&desk.capture.take().unwrap()).2, None);
}

/// One thing that can happen to an entry.
#[derive(Clone, Debug)]
enum Step {
    Start(Field),
    Redo(Field),
    Keys(Vec<u8>),
    Pass(u64),
    Stop,
    Take,
    GiveBack(Vec<Field>),
    Wipe,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let field = || prop::sample::select(Field::ALL.to_vec());
    let number = prop::sample::select(vec![
        "4111111111111111#",
        "5555555555554444",
        "378282246310005",
        "1230",
        "123",
        "1234",
    ]);
    prop::collection::vec(
        prop_oneof![
            3 => field().prop_map(Step::Start),
            1 => field().prop_map(Step::Redo),
            4 => number.prop_map(|keys| Step::Keys(keys.bytes().collect())),
            3 => prop::collection::vec(any::<u8>(), 0..6).prop_map(Step::Keys),
            3 => prop::collection::vec(prop::sample::select(b"0123456789*#ABCD".to_vec()), 0..25).prop_map(Step::Keys),
            2 => (0_u64..40_000).prop_map(Step::Pass),
            1 => Just(Step::Stop),
            2 => Just(Step::Take),
            2 => prop::collection::vec(field(), 0..3).prop_map(Step::GiveBack),
            1 => Just(Step::Wipe),
        ],
        0..60,
    )
}

proptest! {
    #[test]
    fn whatever_happens_the_entry_stays_sane(steps in steps(), start in 0_u64..u64::MAX) {
        let mut desk = Desk::new();
        desk.now = Tick(start);
        let mut card = None;
        for step in steps {
            match step {
                Step::Start(field) => { let _ = desk.start(field); }
                Step::Redo(field) => { let _ = desk.capture.redo(field, desk.now); }
                Step::Keys(keys) => for key in keys { desk.capture.key(key, desk.now, TODAY); },
                Step::Pass(time_ms) => desk.pass(Duration::from_millis(time_ms)),
                Step::Stop => desk.capture.stop(),
                Step::Take => {
                    let complete = desk.capture.is_complete();
                    let taken = desk.capture.take();
                    prop_assert_eq!(complete, taken.is_some());
                    card = taken.or(card);
                }
                Step::GiveBack(blamed) => if let Some(card) = card.take() { desk.capture.give_back(card, &blamed) },
                Step::Wipe => desk.capture.wipe(),
            }
            let views = desk.capture.views();
            prop_assert!(views.iter().all(|view| view.typed <= Secret::CAPACITY));
            let open: Vec<_> = views.iter().filter(|view| view.status == FieldStatus::Typing).collect();
            prop_assert!(open.len() <= 1);
            prop_assert_eq!(open.first().map(|view| view.field), desk.capture.active());
            prop_assert_eq!(open.len(), desk.capture.deadline().iter().count());
            prop_assert!(views[2].status != FieldStatus::Valid || views[0].status == FieldStatus::Valid);
        }
        desk.capture.wipe();
        prop_assert!(desk.capture.take().is_none());
        prop_assert!(desk.capture.views().iter().all(|view| (view.status, view.typed, view.brand) == (FieldStatus::Waiting, 0, None)));
    }

    /// Two cards of the same brand and lengths look the same at every moment: what the page shows depends on
    /// no digit.
    #[test]
    fn views_tell_two_cards_apart_by_nothing(pause_ms in 0_u64..3_000) {
        let cards = ["4111111111111111#1230123", "4242424242424242#0931987"];
        let [one, other] = cards.map(|keys| {
            let mut desk = Desk::new();
            desk.start(Field::CardNumber).unwrap();
            keys.bytes()
                .map(|key| {
                    desk.pass(Duration::from_millis(pause_ms.min(2_000)));
                    let taken = desk.capture.key(key, desk.now, TODAY);
                    format!("{taken:?} {:?} {:?}", desk.capture.views(), desk.capture.deadline())
                })
                .collect::<Vec<_>>()
        });
        prop_assert_eq!(one, other);
    }
}
