//! What the sandbox decides, by card and by amount: the table of `docs/gateway-sim.md`.

use std::time::Duration;

use hushpad_domain::money::Money;
use serde::{Deserialize, Serialize};

use super::faults::Fault;
use super::issuer::{CardFacts, Check, Reason, Standing};

/// What is decided of a payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ruling {
    Approved,
    /// Of the amount, half.
    Partial,
    /// Approved, but someone shall look at it.
    Review,
    /// Not yet known to the merchant; approved later.
    Pending,
    WantsAuthentication,
    Declined(Reason),
}

/// A decision, with all that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) ruling: Ruling,
    pub(super) code: Check,
    pub(super) address: Check,
    /// What goes wrong with the answer.
    pub(super) fault: Option<Fault>,
}

/// How late a slow answer is: within the usual patience, long enough to be seen on the agent page.
pub(super) const SLOW: Duration = Duration::from_secs(3);

/// Judges a payment by its card and its amount.
pub(super) fn judge(card: &CardFacts, amount: Money) -> Judgement {
    let (by_amount, fault) = by_amount(amount);
    let ruling = match card.standing {
        Standing::Declined(reason) => Ruling::Declined(reason),
        Standing::WantsAuthentication => Ruling::WantsAuthentication,
        Standing::Review => Ruling::Review,
        Standing::Good => by_amount,
    };
    // A declined card is answered at once: a fault is about what could have been charged.
    let fault = fault.filter(|_| card.standing == Standing::Good);
    let spoilt = |check: Check, at: i64| {
        let spoils = check != Check::NotChecked && last_digits(amount) == at;
        if spoils { Check::Mismatch } else { check }
    };
    Judgement { ruling, code: spoilt(card.code, 6806), address: spoilt(card.address, 6805), fault }
}

fn last_digits(amount: Money) -> i64 {
    amount.minor() % 10_000
}

fn by_amount(amount: Money) -> (Ruling, Option<Fault>) {
    let declined = |reason| (Ruling::Declined(reason), None);
    let fails = |fault| (Ruling::Approved, Some(fault));
    match last_digits(amount) {
        6601 => declined(Reason::CardDeclined),
        6602 => declined(Reason::InsufficientFunds),
        6603 => declined(Reason::ExpiredCard),
        6604 => declined(Reason::IncorrectCvc),
        6605 => declined(Reason::IncorrectNumber),
        6606 => declined(Reason::StolenCard),
        6607 => declined(Reason::LostCard),
        6608 => declined(Reason::CallIssuer),
        6609 => declined(Reason::DoNotHonor),
        6610 => declined(Reason::ProcessingError),
        6611 => declined(Reason::CardVelocityExceeded),
        6612 => declined(Reason::Fraudulent),
        6701 => fails(Fault::Slow { delay_ms: u32::try_from(SLOW.as_millis()).unwrap_or(u32::MAX) }),
        6702 => fails(Fault::NeverAnswered),
        6703 => fails(Fault::ResetAfterCommit),
        6704 => fails(Fault::ResetBeforeCommit),
        6705 => fails(Fault::ErrorAfterCommit),
        6706 => fails(Fault::Garbage),
        6707 => fails(Fault::Truncated),
        6708 => fails(Fault::TooLong),
        6709 => fails(Fault::Throttled),
        6710 => fails(Fault::OtherAmount),
        6711 => fails(Fault::NeverProcessed),
        6712 => fails(Fault::WebPage),
        6713 => fails(Fault::Flood),
        6714 => fails(Fault::Twice),
        6715 => fails(Fault::OtherCurrency),
        6716 => fails(Fault::Unavailable),
        6801 => (Ruling::Partial, None),
        6802 => (Ruling::Review, None),
        6803 => (Ruling::Pending, None),
        6804 => (Ruling::WantsAuthentication, None),
        _ => (Ruling::Approved, None),
    }
}

/// What is odd about what follows a payment of this amount, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quirk {
    CaptureRefused,
    RefundRefused,
    VoidRefused,
    /// So many questions are answered with "not found".
    NotFoundAtFirst(u32),
    NotificationsLate,
    NotificationsTwice,
    NoNotifications,
}

/// The quirk of an amount in minor units.
pub(super) fn quirk(amount_minor: i64) -> Option<Quirk> {
    Some(match amount_minor % 10_000 {
        6901 => Quirk::CaptureRefused,
        6902 => Quirk::RefundRefused,
        6903 => Quirk::VoidRefused,
        6904 => Quirk::NotFoundAtFirst(2),
        6905 => Quirk::NotificationsLate,
        6906 => Quirk::NotificationsTwice,
        6907 => Quirk::NoNotifications,
        _ => return None,
    })
}

/// How often a pending payment is asked for before it is decided without a notification.
pub(super) const PENDING_QUESTIONS: u32 = 3;

#[cfg(test)]
mod tests {
    use hushpad_domain::money::Currency;

    use super::*;
    use crate::sandbox::issuer::{CardAsked, look};

    fn judged(number: &str, amount: &str) -> Judgement {
        let card = CardAsked { number, month: "12", year: "30", code: Some("123"), has_address: true };
        let amount = Money::parse(amount, Currency::from_code("GBP").unwrap()).unwrap();
        judge(&look(&card, (2026, 11)), amount)
    }

    #[test]
    fn magic_amounts_work_at_any_height() {
        let ruling = |amount| judged("4111111111111111", amount).ruling;
        assert_eq!(ruling("66.01"), Ruling::Declined(Reason::CardDeclined));
        assert_eq!(ruling("1266.06"), Ruling::Declined(Reason::StolenCard));
        assert_eq!(ruling("12.40"), Ruling::Approved);
        assert_eq!(judged("4111111111111111", "167.03").fault, Some(Fault::ResetAfterCommit));
    }

    #[test]
    fn a_bad_card_comes_before_a_magic_amount() {
        let judged = judged("4000000000000002", "67.03");
        assert_eq!((judged.ruling, judged.fault), (Ruling::Declined(Reason::CardDeclined), None));
    }

    #[test]
    fn checks_are_spoilt_by_card_or_by_amount() {
        assert_eq!(judged("4111111111111111", "12.40").code, Check::Match);
        assert_eq!(judged("4111111111111111", "68.06").code, Check::Mismatch);
        assert_eq!(judged("4000000000000101", "12.40").code, Check::Mismatch);
        assert_eq!(judged("4111111111111111", "68.05").address, Check::Mismatch);
        assert_eq!(judged("4000000000000010", "12.40").address, Check::Mismatch);
    }
}
