//! Whether a keyed field is right, as far as we can know without the gateway.

use hushpad_domain::masked_card::Brand;
use hushpad_domain::page::InvalidReason;
use hushpad_domain::text::luhn_valid;
use zeroize::Zeroizing;

use crate::brand;
use crate::secret::Secret;

/// A year and a month (1 to 12).
pub(crate) type YearMonth = (i32, u8);

/// Card numbers of no known brand: what ISO/IEC 7812-1 allows in practice.
const UNKNOWN_BRAND_LENGTHS: &[u8] = &[12, 13, 14, 15, 16, 17, 18, 19];

/// No card is issued for longer; a later year is a mistaken key (or a card of the last century).
const EXPIRY_YEARS_MAX: i32 = 20;

/// How many digits MMYY has.
pub(crate) const EXPIRY_LENGTH: u8 = 4;

/// The lengths that a number with these digits can have.
pub(crate) fn number_lengths(digits: &[u8]) -> &'static [u8] {
    brand::detect(digits).map_or(UNKNOWN_BRAND_LENGTHS, |brand| brand::rules(brand).lengths)
}

/// Whether the number (ASCII) could be complete: a length of its brand, and the check digit where it counts.
pub(crate) fn number_is_plausible(digits: &[u8]) -> bool {
    check_digits(digits).is_ok()
}

/// Checks a number (ASCII): length, check digit, and whether its brand is taken.
pub(crate) fn check_number(digits: &[u8], taken: &[Brand]) -> Result<(), InvalidReason> {
    check_digits(digits)?;
    match brand::detect(digits) {
        Some(brand) if taken.contains(&brand) => Ok(()),
        _ => Err(InvalidReason::BrandNotTaken),
    }
}

fn check_digits(digits: &[u8]) -> Result<(), InvalidReason> {
    if !number_lengths(digits).iter().any(|length| usize::from(*length) == digits.len()) {
        return Err(InvalidReason::Length);
    }
    let luhn_always = brand::detect(digits).is_none_or(|brand| brand::rules(brand).luhn_always);
    if luhn_always && !passes_luhn(digits) {
        return Err(InvalidReason::CheckDigit);
    }
    Ok(())
}

fn passes_luhn(digits: &[u8]) -> bool {
    let mut values = Zeroizing::new([0_u8; Secret::CAPACITY as usize]);
    let Some(values) = values.get_mut(..digits.len()) else { return false };
    for (value, digit) in values.iter_mut().zip(digits) {
        *value = digit.wrapping_sub(b'0');
    }
    luhn_valid(values)
}

/// Checks an expiry (ASCII, MMYY): valid through the last day of its month. `today` is the month in the most
/// lenient time zone, where the old month lasts longest.
pub(crate) fn check_expiry(digits: &[u8], today: YearMonth) -> Result<(), InvalidReason> {
    let Some((year, month)) = read_expiry(digits) else { return Err(InvalidReason::Length) };
    if !(1..=12).contains(&month) {
        return Err(InvalidReason::Month);
    }
    let latest = (today.0.saturating_add(EXPIRY_YEARS_MAX), 12);
    // A year beyond the latest can only be meant in the last century, so it is past too.
    if (year, month) < today || (year, month) > latest { Err(InvalidReason::Expired) } else { Ok(()) }
}

/// Year and month of MMYY (ASCII). Two digits of a year are of this century: to be thought over in 2080.
pub(crate) fn read_expiry(digits: &[u8]) -> Option<YearMonth> {
    let value = |digit: u8| digit.is_ascii_digit().then(|| digit - b'0');
    let [m1, m2, y1, y2] = *digits else { return None };
    let (month, year) = (value(m1)? * 10 + value(m2)?, value(y1)? * 10 + value(y2)?);
    Some((2000 + i32::from(year), month))
}

/// The lengths that a security code can have. Empty means that this card has none.
pub(crate) fn check_security_code(digits: &[u8], brand: Option<Brand>) -> Result<(), InvalidReason> {
    let none_is_right =
        digits.is_empty() && brand.is_some_and(|brand| !brand::rules(brand).security_code_always);
    if none_is_right || digits.len() == usize::from(security_code_length(brand)) {
        Ok(())
    } else {
        Err(InvalidReason::Length)
    }
}

/// How many digits the security code of a card of this brand has.
pub(crate) fn security_code_length(brand: Option<Brand>) -> u8 {
    brand.map_or(3, |brand| brand::rules(brand).security_code_length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_test_cards_are_right() {
        for number in [
            "4111111111111111",
            "4242424242424242",
            "4000000000000002",
            "5555555555554444",
            "2223003122003222",
            "378282246310005",
            "371449635398431",
            "6011111111111117",
            "3056930009020004",
            "36227206271667",
            "30569309025904",
            "3566002020360505",
            "6200000000000005",
            "6759649826438453",
        ] {
            assert_eq!(check_number(number.as_bytes(), &Brand::ALL), Ok(()), "{number}");
        }
    }

    #[test]
    fn a_wrong_number_is_wrong_for_the_reason_told() {
        let check = |number: &str, brands: &[Brand]| check_number(number.as_bytes(), brands);
        assert_eq!(check("4111111111111112", &Brand::ALL), Err(InvalidReason::CheckDigit));
        assert_eq!(check("411111111111111", &Brand::ALL), Err(InvalidReason::Length));
        // Thirteen-digit Visa cards are long gone.
        assert_eq!(check("4222222222222", &Brand::ALL), Err(InvalidReason::Length));
        assert_eq!(check("3782822463100005", &Brand::ALL), Err(InvalidReason::Length));
        assert_eq!(check("378282246310005", &[Brand::Visa]), Err(InvalidReason::BrandNotTaken));
        // No brand: Luhn-valid, of a range we do not know.
        assert_eq!(check("9111111111111111", &Brand::ALL), Err(InvalidReason::CheckDigit));
        assert_eq!(check("9000000000000001", &Brand::ALL), Err(InvalidReason::BrandNotTaken));
        assert_eq!(check("", &Brand::ALL), Err(InvalidReason::Length));
    }

    #[test]
    fn union_pay_needs_no_check_digit() {
        assert_eq!(check_number(b"6200000000000006", &Brand::ALL), Ok(()));
    }

    #[test]
    fn an_expiry_is_valid_through_its_month() {
        let check = |expiry: &str| check_expiry(expiry.as_bytes(), (2026, 11));
        assert_eq!(check("1126"), Ok(()));
        assert_eq!(check("1246"), Ok(()));
        assert_eq!(check("1026"), Err(InvalidReason::Expired));
        assert_eq!(check("1225"), Err(InvalidReason::Expired));
        assert_eq!(check("0147"), Err(InvalidReason::Expired));
        assert_eq!(check("1299"), Err(InvalidReason::Expired));
        assert_eq!(check("1330"), Err(InvalidReason::Month));
        assert_eq!(check("0030"), Err(InvalidReason::Month));
        assert_eq!(check("113"), Err(InvalidReason::Length));
        assert_eq!(check(""), Err(InvalidReason::Length));
    }

    #[test]
    fn a_security_code_has_the_length_of_its_brand() {
        assert_eq!(check_security_code(b"123", Some(Brand::Visa)), Ok(()));
        assert_eq!(check_security_code(b"1234", Some(Brand::Amex)), Ok(()));
        assert_eq!(check_security_code(b"123", Some(Brand::Amex)), Err(InvalidReason::Length));
        assert_eq!(check_security_code(b"", Some(Brand::Visa)), Err(InvalidReason::Length));
        assert_eq!(check_security_code(b"", Some(Brand::Maestro)), Ok(()));
    }
}
