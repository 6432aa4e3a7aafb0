//! Cards to type. Published test numbers, and one made from a published test range for the memory search.

/// What a customer types.
#[derive(Clone, Copy)]
pub(crate) struct TestCard {
    pub(crate) number: &'static str,
    /// MMYY.
    pub(crate) expiry: &'static str,
    pub(crate) security_code: &'static str,
}

pub(crate) const VISA: TestCard =
    TestCard { number: "4111111111111111", expiry: "1230", security_code: "737" };
pub(crate) const MASTERCARD: TestCard =
    TestCard { number: "5555555555554444", expiry: "1031", security_code: "265" };
/// Four digits of security code.
pub(crate) const AMEX: TestCard =
    TestCard { number: "378282246310005", expiry: "1131", security_code: "7373" };
/// The sandbox gateway blames its security code, unless it is 321.
pub(crate) const WRONG_CODE: TestCard =
    TestCard { number: "4000000000000127", expiry: "1232", security_code: "914" };
/// The sandbox gateway blames its expiry, unless it is 12/31.
pub(crate) const WRONG_EXPIRY: TestCard =
    TestCard { number: "4000000000000069", expiry: "1130", security_code: "482" };
/// Its issuer wants to see the cardholder at the bank first, where that can be.
pub(crate) const CHALLENGED: TestCard =
    TestCard { number: "4000000000003220", expiry: "1234", security_code: "691" };
/// Numbers, expiry and code that occur nowhere else on this machine: 400000 and a right check digit.
pub(crate) const UNIQUE: TestCard =
    TestCard { number: "4000007391846521", expiry: "1133", security_code: "586" };

#[test]
fn the_made_up_number_has_the_right_check_digit() {
    for card in [VISA, MASTERCARD, AMEX, WRONG_CODE, WRONG_EXPIRY, CHALLENGED, UNIQUE] {
        let digits = card.number.bytes().rev().map(|b| u32::from(b - b'0'));
        let sum: u32 =
            digits.enumerate().map(|(i, d)| if i % 2 == 0 { d } else { d * 2 / 10 + d * 2 % 10 }).sum();
        assert_eq!(sum % 10, 0, "card ending {}", &card.number[card.number.len() - 4..]);
    }
}
