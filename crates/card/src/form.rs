//! A card that was written into a form at once, in place of keyed digit by digit.

use hushpad_domain::field::Field;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::page::InvalidReason;
use thiserror::Error;

use crate::brand;
use crate::card::Card;
use crate::check::{self, YearMonth};
use crate::secret::Secret;

/// Why a form gives no card.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FormRefusal {
    /// What is wrong, field by field, in the order of the flow. Every mistake is told at once.
    #[error("the form has mistakes")]
    Mistakes(Vec<(Field, InvalidReason)>),
    /// No locked memory is left.
    #[error("no locked memory is left")]
    NoMemory,
}

/// The card that these values make. `value` gives what was written into a field, as ASCII; spaces and dashes
/// are taken as people write them, and an expiry as `MMYY`, `MM/YY` or `MM/YYYY`. `today` is the month in the
/// most lenient time zone.
///
/// # Errors
/// [`FormRefusal`]; nothing of what was written is kept then.
pub fn read_form<'a>(
    fields: &[Field],
    brands: &[Brand],
    today: YearMonth,
    value: impl Fn(Field) -> &'a [u8],
) -> Result<Card, FormRefusal> {
    let number = digits(value(Field::CardNumber))?;
    let expiry = digits(short_year(value(Field::Expiry)).as_ref())?;
    let brand = number.as_ref().and_then(|number| number.read(brand::detect));
    let mut mistakes = Vec::new();
    let mut check = |field, digits: &Option<Secret>, check: &dyn Fn(&[u8]) -> Result<(), InvalidReason>| {
        let checked = digits.as_ref().map_or(Err(InvalidReason::Length), |digits| digits.read(check));
        if let Err(reason) = checked {
            mistakes.push((field, reason));
        }
    };
    check(Field::CardNumber, &number, &|digits| check::check_number(digits, brands));
    check(Field::Expiry, &expiry, &|digits| check::check_expiry(digits, today));
    let mut security_code = None;
    if fields.contains(&Field::SecurityCode) {
        security_code = digits(value(Field::SecurityCode))?;
        check(Field::SecurityCode, &security_code, &|digits| check::check_security_code(digits, brand));
    }
    match (number, expiry) {
        (Some(number), Some(expiry)) if mistakes.is_empty() => Ok(Card { number, expiry, security_code }),
        _ => Err(FormRefusal::Mistakes(mistakes)),
    }
}

/// The digits of what was written. `None` where there is more than digits and what people put between them,
/// or more digits than any card has.
fn digits(written: &[u8]) -> Result<Option<Secret>, FormRefusal> {
    let mut digits = Secret::new().ok_or(FormRefusal::NoMemory)?;
    for byte in written {
        match byte {
            b'0'..=b'9' if digits.push(*byte).is_ok() => {}
            b' ' | b'-' | b'/' | b'.' => {}
            _ => return Ok(None),
        }
    }
    Ok(Some(digits))
}

/// `MM/20YY` as `MM/YY`: browsers fill in either.
fn short_year(written: &[u8]) -> zeroize::Zeroizing<Vec<u8>> {
    let mut kept = zeroize::Zeroizing::new(Vec::with_capacity(written.len()));
    kept.extend(written.iter().filter(|byte| **byte != b' '));
    if let [.., b'2', b'0', _, _] = kept[..]
        && kept.iter().filter(|byte| byte.is_ascii_digit()).count() == 6
    {
        let century = kept.len() - 4;
        kept.drain(century..century + 2);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: YearMonth = (2026, 11);

    fn read(number: &str, expiry: &str, code: &str) -> Result<String, Vec<(Field, InvalidReason)>> {
        let (number, expiry, code) = (number.to_owned(), expiry.to_owned(), code.to_owned());
        let read = read_form(&Field::ALL, &Brand::ALL, TODAY, |field| match field {
            Field::CardNumber => number.as_bytes(),
            Field::Expiry => expiry.as_bytes(),
            Field::SecurityCode => code.as_bytes(),
        });
        match read {
            Ok(card) => Ok(format!("{:?} {:?}", card.masked(), card.expiry())),
            Err(FormRefusal::Mistakes(mistakes)) => Err(mistakes),
            Err(FormRefusal::NoMemory) => panic!("no locked memory"),
        }
    }

    #[test]
    fn a_card_is_read_however_people_write_it() {
        let plain = read("4111111111111111", "1230", "123").unwrap();
        for (number, expiry) in [
            ("4111 1111 1111 1111", "12/30"),
            ("4111-1111-1111-1111", "12 / 2030"),
            (" 4111111111111111 ", "122030"),
        ] {
            assert_eq!(read(number, expiry, "123").unwrap(), plain);
        }
        assert!(plain.contains("(12, 2030)"), "{plain}");
        assert!(read("378282246310005", "12/30", "1234").is_ok(), "four digits on American Express");
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        use InvalidReason::{CheckDigit, Expired, Length};
        let mistakes = |number, expiry, code| read(number, expiry, code).unwrap_err();
        assert_eq!(
            mistakes("4111111111111112", "10/26", "12"),
            [(Field::CardNumber, CheckDigit), (Field::Expiry, Expired), (Field::SecurityCode, Length)]
        );
        assert_eq!(mistakes("", "", "").len(), 3);
        assert_eq!(mistakes("4111x1111x1111x1111", "12/30", "123"), [(Field::CardNumber, Length)]);
        assert_eq!(
            mistakes("41111111111111114111111111111111", "12/30", "123"),
            [(Field::CardNumber, Length)]
        );
    }

    #[test]
    fn what_the_flow_does_not_ask_for_is_not_taken() {
        let asked = [Field::CardNumber, Field::Expiry];
        let read = read_form(&asked, &Brand::ALL, TODAY, |field| match field {
            Field::CardNumber => b"5555555555554444",
            Field::Expiry => b"1230",
            Field::SecurityCode => b"123",
        });
        assert!(read.unwrap().read_security_code(|code| code.is_none()));
    }
}
