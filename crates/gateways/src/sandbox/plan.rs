//! What the sandbox decides, by card and by amount.

use hushpad_card::brand;
use hushpad_domain::money::Money;
use hushpad_domain::text::luhn_valid;
use serde::Deserialize;
use zeroize::Zeroizing;

/// A charge as it is asked for. Borrows from the request's body, which is wiped.
#[derive(Deserialize)]
pub(super) struct ChargeRequest<'a> {
    pub(super) transaction_id: &'a str,
    pub(super) method: &'a str,
    pub(super) cardnumber: &'a str,
    pub(super) cvv: Option<&'a str>,
    pub(super) expiry_month: &'a str,
    pub(super) expiry_year: &'a str,
    pub(super) amount: &'a str,
    pub(super) currency_code: &'a str,
}

/// What happens to the answer of a charge that is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// It is given at once.
    Plain,
    /// It comes late.
    Slow,
    /// It never comes.
    Hang,
    /// The connection is reset.
    Reset,
    /// Status 500 comes instead.
    Error,
    /// Bytes that are no HTTP come instead.
    Garbage,
    /// Half of it comes.
    Half,
    /// A far too long one comes.
    Huge,
    /// It names another amount.
    OtherAmount,
    /// A web page comes instead.
    WebPage,
}

/// What the sandbox does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Charged, then answered in this manner.
    Charge(Manner),
    /// Declined with this error code.
    Decline(&'static str),
    /// Nothing is decided or charged; the connection is reset.
    ResetUndecided,
    /// Nothing is decided or charged, and no answer comes.
    HangUndecided,
    /// Refused before processing: status 429.
    Throttle,
}

/// The plan for a request. `today` is a year and a month.
pub(super) fn plan(request: &ChargeRequest<'_>, amount: Money, today: (i32, u8)) -> Plan {
    if let Some(code) = mistake(request, today) {
        return Plan::Decline(code);
    }
    match by_card(request) {
        Some(code) => Plan::Decline(code),
        None => by_amount(amount),
    }
}

/// Two cards know what is right for them, so that a field can be keyed again and then pass.
fn by_card(request: &ChargeRequest<'_>) -> Option<&'static str> {
    let right_expiry = request.expiry_month == "12" && request.expiry_year.ends_with("31");
    Some(match request.cardnumber {
        "4000000000000069" if right_expiry => return None,
        "4000000000000127" if request.cvv == Some("321") => return None,
        "4000000000000002" => "card_declined",
        "4000000000009995" => "insufficient_funds",
        "4000000000006975" => "card_velocity_exceeded",
        "4000000000000069" => "expired_card",
        "4000000000000127" => "incorrect_cvc",
        "4000000000000119" => "processing_error",
        "4000000000009987" => "lost_card",
        "4000000000009979" => "stolen_card",
        _ => return None,
    })
}

fn by_amount(amount: Money) -> Plan {
    match amount.minor() % 10_000 {
        6601 => Plan::Decline("card_declined"),
        6602 => Plan::Decline("insufficient_funds"),
        6603 => Plan::Decline("expired_card"),
        6604 => Plan::Decline("incorrect_cvc"),
        6605 => Plan::Decline("incorrect_number"),
        6606 => Plan::Decline("stolen_card"),
        6701 => Plan::Charge(Manner::Slow),
        6702 => Plan::Charge(Manner::Hang),
        6703 => Plan::Charge(Manner::Reset),
        6704 => Plan::ResetUndecided,
        6705 => Plan::Charge(Manner::Error),
        6706 => Plan::Charge(Manner::Garbage),
        6707 => Plan::Charge(Manner::Half),
        6708 => Plan::Charge(Manner::Huge),
        6709 => Plan::Throttle,
        6710 => Plan::Charge(Manner::OtherAmount),
        6711 => Plan::HangUndecided,
        6712 => Plan::Charge(Manner::WebPage),
        _ => Plan::Charge(Manner::Plain),
    }
}

/// What a bank would find wrong with the card itself.
fn mistake(request: &ChargeRequest<'_>, today: (i32, u8)) -> Option<&'static str> {
    let number = request.cardnumber.as_bytes();
    let brand = brand::detect(number).map(brand::rules);
    let lengths = brand.map_or(&[12, 13, 14, 15, 16, 17, 18, 19][..], |rules| rules.lengths);
    let digits_only = number.iter().all(u8::is_ascii_digit);
    if !digits_only || !lengths.iter().any(|length| usize::from(*length) == number.len()) {
        return Some("invalid_number");
    }
    let values = Zeroizing::new(number.iter().map(|digit| digit - b'0').collect::<Vec<u8>>());
    if brand.is_none_or(|rules| rules.luhn_always) && !luhn_valid(&values) {
        return Some("incorrect_number");
    }
    match (two_digits(request.expiry_month), two_digits(request.expiry_year)) {
        (Some(1..=12), None) => return Some("invalid_expiry_year"),
        (Some(month @ 1..=12), Some(year)) if (2000 + i32::from(year), month) < today => {
            return Some("expired_card");
        }
        (Some(1..=12), Some(_)) => {}
        _ => return Some("invalid_expiry_month"),
    }
    let code_length = usize::from(brand.map_or(3, |rules| rules.security_code_length));
    let code_is_wrong =
        |code: &str| code.len() != code_length || !code.bytes().all(|digit| digit.is_ascii_digit());
    request.cvv.is_some_and(code_is_wrong).then_some("invalid_cvc")
}

fn two_digits(text: &str) -> Option<u8> {
    (text.len() == 2 && text.bytes().all(|digit| digit.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use hushpad_domain::money::Currency;

    use super::*;

    fn planned(number: &str, expiry: &str, cvv: &str, amount: &str) -> Plan {
        let request = ChargeRequest {
            transaction_id: "t",
            method: "charge",
            cardnumber: number,
            cvv: Some(cvv),
            expiry_month: &expiry[..2],
            expiry_year: &expiry[2..],
            amount,
            currency_code: "GBP",
        };
        let amount = Money::parse(amount, Currency::from_code("GBP").unwrap()).unwrap();
        plan(&request, amount, (2026, 11))
    }

    #[test]
    fn the_card_itself_is_checked_first() {
        let planned = |number, expiry, cvv| planned(number, expiry, cvv, "12.40");
        assert_eq!(planned("4111111111111111", "1126", "123"), Plan::Charge(Manner::Plain));
        assert_eq!(planned("378282246310005", "1226", "1234"), Plan::Charge(Manner::Plain));
        assert_eq!(planned("4111111111111112", "1230", "123"), Plan::Decline("incorrect_number"));
        assert_eq!(planned("41111111", "1230", "123"), Plan::Decline("invalid_number"));
        assert_eq!(planned("4111111111111111", "1026", "123"), Plan::Decline("expired_card"));
        assert_eq!(planned("4111111111111111", "1330", "123"), Plan::Decline("invalid_expiry_month"));
        assert_eq!(planned("4111111111111111", "12xx", "123"), Plan::Decline("invalid_expiry_year"));
        assert_eq!(planned("378282246310005", "1230", "123"), Plan::Decline("invalid_cvc"));
    }

    #[test]
    fn magic_amounts_work_at_any_height() {
        assert_eq!(planned("4111111111111111", "1230", "123", "66.01"), Plan::Decline("card_declined"));
        assert_eq!(planned("4111111111111111", "1230", "123", "1266.06"), Plan::Decline("stolen_card"));
        assert_eq!(planned("4111111111111111", "1230", "123", "167.03"), Plan::Charge(Manner::Reset));
    }
}
