//! The entry of a card under any keys, commands and times: what the agent sees agrees with itself, and a card comes
//! out only when every field is valid.

use std::time::Duration;

use hushpad_card::{Capture, Rules};
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::page::FieldStatus;
use hushpad_domain::time::Tick;

use super::Script;

const TODAY: (i32, u8) = (2026, 11);
/// The longest card number of ISO/IEC 7812.
const MOST_DIGITS: u8 = 19;

/// See the module.
pub fn run(data: &[u8]) {
    let mut script = Script::new(data);
    let mut capture = Capture::new(rules(&mut script));
    let (mut now, mut taken) = (Tick(0), None);
    while !script.is_over() {
        let byte = script.byte();
        let field = Field::ALL[usize::from(byte >> 4) % 3];
        match byte & 15 {
            0..=9 => drop(capture.key(b'0' + (byte & 15), now, TODAY)),
            10 => drop(capture.key(b"*#AD"[usize::from(byte >> 4) % 4], now, TODAY)),
            11 => drop(capture.start(field, now)),
            12 => drop(capture.redo(field, now)),
            13 => {
                now = now.plus(Duration::from_millis(u64::from(script.byte()) * 100));
                capture.tick(now, TODAY);
            }
            14 => {
                let complete = capture.is_complete();
                let card = capture.take();
                assert_eq!(card.is_some(), complete, "a card that is not there");
                if let Some(card) = card {
                    assert!(card.read_number(|digits| (12..=19).contains(&digits.len())));
                    taken = Some(card);
                }
            }
            _ => match (byte >> 4 & 3, taken.take()) {
                (0, card) => {
                    capture.stop();
                    taken = card;
                }
                (1, card) => {
                    capture.wipe();
                    taken = card;
                }
                (_, Some(card)) => capture.give_back(card, &[field]),
                (_, None) => {}
            },
        }
        check(&capture);
    }
}

fn check(capture: &Capture) {
    let views = capture.views();
    let typing = views.iter().filter(|view| view.status == FieldStatus::Typing);
    assert_eq!(typing.count(), usize::from(capture.active().is_some()), "two fields take the keys");
    assert_eq!(capture.deadline().is_some(), capture.active().is_some());
    for view in &views {
        assert!(view.typed <= MOST_DIGITS, "{} digits", view.typed);
        assert!(view.length.is_none_or(|length| view.typed <= length || view.status != FieldStatus::Valid));
        assert_eq!(view.status == FieldStatus::Typing, capture.active() == Some(view.field));
    }
    let all_valid = views.iter().all(|view| view.status == FieldStatus::Valid);
    assert!(!capture.is_complete() || all_valid, "complete with a field that is not valid");
}

fn rules(script: &mut Script<'_>) -> Rules {
    let how = script.byte();
    let fields = match how & 3 {
        0 => vec![Field::CardNumber, Field::Expiry],
        1 => vec![Field::SecurityCode, Field::CardNumber, Field::Expiry],
        _ => Field::ALL.to_vec(),
    };
    let brands = if how & 4 == 0 { vec![Brand::Visa, Brand::Amex] } else { vec![Brand::Mastercard] };
    Rules {
        fields,
        brands,
        first_key_time_out: Duration::from_secs(u64::from(how >> 3)),
        between_keys_time_out: Duration::from_secs(5),
    }
}
