//! The bank behind every gateway here: what it makes of a card. It looks at the number once and keeps a mask.

use hushpad_card::brand;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::text::luhn_valid;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A card as a request has it. Borrows from the request, which is wiped.
#[derive(Clone, Copy)]
pub(super) struct CardAsked<'a> {
    pub(super) number: &'a str,
    /// 1 to 12, in digits.
    pub(super) month: &'a str,
    /// Two or four digits.
    pub(super) year: &'a str,
    pub(super) code: Option<&'a str>,
    /// Whether an address or a postcode came along.
    pub(super) has_address: bool,
}

/// A card as it is kept: no number, no code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CardFacts {
    pub(super) first6: String,
    pub(super) last4: String,
    pub(super) brand: Option<Brand>,
    pub(super) month: u8,
    pub(super) year: u16,
    pub(super) code: Check,
    pub(super) address: Check,
    pub(super) standing: Standing,
}

/// What the issuer thinks of a card, whatever is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    Good,
    WantsAuthentication,
    Review,
    Declined(Reason),
}

/// What a check of the code or the address found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Check {
    Match,
    Mismatch,
    NotChecked,
}

/// Why a payment is declined. The words are the generic gateway's and, mostly, Stripe's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reason {
    CardDeclined,
    InsufficientFunds,
    CardVelocityExceeded,
    ExpiredCard,
    IncorrectCvc,
    IncorrectNumber,
    InvalidNumber,
    InvalidExpiryMonth,
    InvalidExpiryYear,
    InvalidCvc,
    LostCard,
    StolenCard,
    CallIssuer,
    DoNotHonor,
    ProcessingError,
    Fraudulent,
}

impl Reason {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::CardDeclined => "card_declined",
            Self::InsufficientFunds => "insufficient_funds",
            Self::CardVelocityExceeded => "card_velocity_exceeded",
            Self::ExpiredCard => "expired_card",
            Self::IncorrectCvc => "incorrect_cvc",
            Self::IncorrectNumber => "incorrect_number",
            Self::InvalidNumber => "invalid_number",
            Self::InvalidExpiryMonth => "invalid_expiry_month",
            Self::InvalidExpiryYear => "invalid_expiry_year",
            Self::InvalidCvc => "invalid_cvc",
            Self::LostCard => "lost_card",
            Self::StolenCard => "stolen_card",
            Self::CallIssuer => "call_issuer",
            Self::DoNotHonor => "do_not_honor",
            Self::ProcessingError => "processing_error",
            Self::Fraudulent => "fraudulent",
        }
    }

    /// What a person would be told.
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "Your card has insufficient funds.",
            Self::ExpiredCard => "Your card has expired.",
            Self::IncorrectCvc | Self::InvalidCvc => "Your card's security code is incorrect.",
            Self::IncorrectNumber | Self::InvalidNumber => "Your card number is incorrect.",
            Self::InvalidExpiryMonth => "Your card's expiration month is invalid.",
            Self::InvalidExpiryYear => "Your card's expiration year is invalid.",
            Self::ProcessingError => {
                "An error occurred while processing your card. Try again in a little bit."
            }
            Self::CardDeclined
            | Self::CardVelocityExceeded
            | Self::LostCard
            | Self::StolenCard
            | Self::CallIssuer
            | Self::DoNotHonor
            | Self::Fraudulent => "Your card was declined.",
        }
    }

    /// Whether any gateway finds this without asking the issuer.
    pub(super) fn is_malformed(self) -> bool {
        matches!(
            self,
            Self::IncorrectNumber
                | Self::InvalidNumber
                | Self::InvalidExpiryMonth
                | Self::InvalidExpiryYear
                | Self::InvalidCvc
        )
    }
}

/// Looks at a card. `today` is a year and a month.
pub(super) fn look(card: &CardAsked<'_>, today: (i32, u8)) -> CardFacts {
    let standing = match mistake(card, today) {
        Some(reason) => Standing::Declined(reason),
        None => by_number(card),
    };
    let checked = |there: bool, mismatch: bool| match (there, mismatch) {
        (false, _) => Check::NotChecked,
        (true, true) => Check::Mismatch,
        (true, false) => Check::Match,
    };
    let wrong_code = card.number == "4000000000000101"
        || matches!(standing, Standing::Declined(Reason::IncorrectCvc | Reason::InvalidCvc));
    CardFacts {
        first6: first6(card.number).to_owned(),
        last4: last4(card.number).to_owned(),
        brand: brand::detect(card.number.as_bytes()),
        month: card.month.parse().unwrap_or(0),
        year: full_year(card.year).unwrap_or(0),
        code: checked(card.code.is_some(), wrong_code),
        address: checked(card.has_address, card.number == "4000000000000010"),
        standing,
    }
}

/// The published test numbers (docs.stripe.com/testing). Two know what is right for them, so that a field can be
/// keyed again and then pass.
fn by_number(card: &CardAsked<'_>) -> Standing {
    let right_expiry = card.month.parse() == Ok(12) && card.year.ends_with("31");
    let reason = match card.number {
        "4000000000000069" if right_expiry => return Standing::Good,
        "4000000000000127" if card.code == Some("321") => return Standing::Good,
        "4000000000003220" => return Standing::WantsAuthentication,
        "4000000000009235" => return Standing::Review,
        "4000000000000002" => Reason::CardDeclined,
        "4000000000009995" => Reason::InsufficientFunds,
        "4000000000006975" => Reason::CardVelocityExceeded,
        "4000000000000069" => Reason::ExpiredCard,
        "4000000000000127" => Reason::IncorrectCvc,
        "4000000000000119" => Reason::ProcessingError,
        "4000000000009987" => Reason::LostCard,
        "4000000000009979" => Reason::StolenCard,
        _ => return Standing::Good,
    };
    Standing::Declined(reason)
}

/// What a bank would find wrong with the card itself.
fn mistake(card: &CardAsked<'_>, today: (i32, u8)) -> Option<Reason> {
    let number = card.number.as_bytes();
    let brand = brand::detect(number).map(brand::rules);
    let lengths = brand.map_or(&[12, 13, 14, 15, 16, 17, 18, 19][..], |rules| rules.lengths);
    let digits_only = number.iter().all(u8::is_ascii_digit);
    if !digits_only || !lengths.iter().any(|length| usize::from(*length) == number.len()) {
        return Some(Reason::InvalidNumber);
    }
    let values = Zeroizing::new(number.iter().map(|digit| digit - b'0').collect::<Vec<u8>>());
    if brand.is_none_or(|rules| rules.luhn_always) && !luhn_valid(&values) {
        return Some(Reason::IncorrectNumber);
    }
    match (month(card.month), full_year(card.year)) {
        (Some(1..=12), None) => return Some(Reason::InvalidExpiryYear),
        (Some(month @ 1..=12), Some(year)) if (i32::from(year), month) < today => {
            return Some(Reason::ExpiredCard);
        }
        (Some(1..=12), Some(_)) => {}
        _ => return Some(Reason::InvalidExpiryMonth),
    }
    let code_length = usize::from(brand.map_or(3, |rules| rules.security_code_length));
    let code_is_wrong =
        |code: &str| code.len() != code_length || !code.bytes().all(|digit| digit.is_ascii_digit());
    card.code.is_some_and(code_is_wrong).then_some(Reason::InvalidCvc)
}

fn month(text: &str) -> Option<u8> {
    let is_digits = (1..=2).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
    is_digits.then(|| text.parse().ok())?
}

fn full_year(text: &str) -> Option<u16> {
    let year: u16 = text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())??;
    match text.len() {
        2 => Some(2000 + year),
        4 => Some(year),
        _ => None,
    }
}

fn first6(number: &str) -> &str {
    number.get(..6).unwrap_or_default()
}

/// Nothing for a number that is too short to hide behind its last digits.
fn last4(number: &str) -> &str {
    if number.len() < 12 { "" } else { number.get(number.len() - 4..).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(number: &str, expiry: &str, code: &str) -> Standing {
        let (month, year) = expiry.split_at(2);
        let card = CardAsked { number, month, year, code: Some(code), has_address: false };
        look(&card, (2026, 11)).standing
    }

    #[test]
    fn the_card_itself_is_checked_first() {
        use Standing::{Declined, Good};
        assert_eq!(standing("4111111111111111", "1126", "123"), Good);
        assert_eq!(standing("378282246310005", "122026", "1234"), Good);
        assert_eq!(standing("4111111111111112", "1230", "123"), Declined(Reason::IncorrectNumber));
        assert_eq!(standing("41111111", "1230", "123"), Declined(Reason::InvalidNumber));
        assert_eq!(standing("4111111111111111", "1026", "123"), Declined(Reason::ExpiredCard));
        assert_eq!(standing("4111111111111111", "1330", "123"), Declined(Reason::InvalidExpiryMonth));
        assert_eq!(standing("4111111111111111", "12xx", "123"), Declined(Reason::InvalidExpiryYear));
        assert_eq!(standing("378282246310005", "1230", "123"), Declined(Reason::InvalidCvc));
        assert_eq!(standing("4000000000000127", "1230", "321"), Good);
    }

    #[test]
    fn what_is_kept_holds_no_number() {
        let card = CardAsked {
            number: "4111111111111111",
            month: "12",
            year: "30",
            code: Some("123"),
            has_address: true,
        };
        let kept = serde_json::to_string(&look(&card, (2026, 11))).unwrap();
        assert!(!kept.contains("4111111111111111") && !kept.contains("123"), "{kept}");
        assert!(kept.contains("411111") && kept.contains("1111"));
    }
}
