//! One request being answered: the books are held for so long, so every answer is one step.

use std::collections::BTreeMap;

use hushpad_domain::money::{Currency, Money};
use hushpad_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::adyen::notices::Event;
use super::faults::Fault;
use super::format::Format;
use super::http::Ask;
use super::issuer::{self, CardAsked, CardFacts, Check, Reason, Standing};
use super::ledger::books::{Books, Entry};
use super::ledger::payment::Payment;
use super::magic::{self, Judgement, Ruling};

/// A request being answered.
pub(super) struct Turn<'a> {
    pub(super) books: &'a mut Books,
    pub(super) ask: &'a Ask,
    pub(super) now: Timestamp,
    /// What goes wrong with the answer, by a rule or by the amount.
    pub(super) fault: Option<Fault>,
}

/// Nothing was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// On purpose, in this way.
    Fault(Fault),
    /// The ledger cannot be written, or is full.
    Unwritable,
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::Unwritable
    }
}

/// A payment that is asked for.
pub(super) struct NewPayment<'a> {
    pub(super) format: Format,
    pub(super) reference: &'a str,
    pub(super) id: String,
    pub(super) amount: Money,
    pub(super) card: CardFacts,
    pub(super) taking: Taking,
    /// Whether the gateway can approve a part. Where it cannot, the funds are insufficient.
    pub(super) takes_parts: bool,
    pub(super) kept: BTreeMap<String, String>,
    /// Where the bank's page sends the payer back to, where there is a payer who can be sent there.
    pub(super) return_url: Option<String>,
}

/// Whether authorised money is taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Taking {
    /// It is a sale, and is taken unless it must be reviewed first.
    Now,
    /// It is a sale, and is taken whatever a review may say later.
    Always,
    /// It waits for a capture.
    Later,
    /// It is a sale, unless one of the checks that count says "no match".
    NowIfMatching {
        /// Whether the code's check counts.
        code: bool,
        /// Whether the address's check counts.
        address: bool,
    },
}

impl Taking {
    fn is_now(self, judgement: &Judgement) -> bool {
        match self {
            Self::Now => judgement.ruling != Ruling::Review,
            Self::Always => true,
            Self::Later => false,
            Self::NowIfMatching { code, address } => {
                let fails = |counts: bool, check: Check| counts && check == Check::Mismatch;
                let matches = !fails(code, judgement.code) && !fails(address, judgement.address);
                matches && judgement.ruling != Ruling::Review
            }
        }
    }
}

impl Turn<'_> {
    /// What the issuer makes of a card.
    pub(super) fn look(&self, card: &CardAsked<'_>) -> CardFacts {
        issuer::look(card, self.now.year_month())
    }

    /// Decides a payment and writes it down.
    pub(super) fn pay(&mut self, new: NewPayment<'_>) -> Result<Payment, Stop> {
        let mut judgement = self.judge(&new.card, new.amount)?;
        if judgement.ruling == Ruling::Partial && !new.takes_parts {
            judgement.ruling = Ruling::Declined(Reason::InsufficientFunds);
        }
        self.books.count_request(new.reference)?;
        let mut payment = Payment {
            format: new.format,
            reference: new.reference.to_owned(),
            id: new.id,
            amount_minor: new.amount.minor(),
            currency: new.amount.currency().code().to_owned(),
            ruling: judgement.ruling,
            code: judgement.code,
            address: judgement.address,
            card: new.card,
            movements: Vec::new(),
            released: false,
            questions: 0,
            on: self.now,
            kept: new.kept,
            visit: None,
        };
        match new.return_url.filter(|_| payment.card.standing == Standing::WantsAuthentication) {
            Some(return_url) => payment.send_to_the_bank(return_url, new.taking, self.now),
            None => payment.open(new.taking.is_now(&judgement), self.now),
        }
        self.save(payment.clone())?;
        Ok(payment)
    }

    /// Decides a payment whose payer has confirmed at the bank, and writes it down: by its amount, as with a card that
    /// its issuer does not want to see.
    pub(super) fn confirmed(&mut self, payment: &mut Payment, taking: Taking) -> Result<(), Stop> {
        let Some(amount) = Currency::from_code(&payment.currency)
            .and_then(|c| Money::from_minor(payment.amount_minor, c))
            .ok()
        else {
            return Err(Stop::Unwritable);
        };
        let known = CardFacts { standing: Standing::Good, ..payment.card.clone() };
        let mut judgement = self.judge(&known, amount)?;
        if judgement.ruling == Ruling::Partial && payment.format == Format::Stripe {
            judgement.ruling = Ruling::Declined(Reason::InsufficientFunds);
        }
        payment.ruling = judgement.ruling;
        (payment.code, payment.address) = (judgement.code, judgement.address);
        payment.open(taking.is_now(&judgement), self.now);
        self.save(payment.clone())
    }

    /// Where this simulator is reached, as the client calls it.
    pub(super) fn home(&self) -> String {
        format!("http://{}", self.ask.header("host"))
    }

    /// Decides, or stops where nothing shall be processed.
    fn judge(&mut self, card: &CardFacts, amount: Money) -> Result<Judgement, Stop> {
        let judgement = magic::judge(card, amount);
        self.fault = self.fault.or(judgement.fault);
        match self.fault {
            Some(fault) if fault.is_before_commit() => Err(Stop::Fault(fault)),
            _ => Ok(judgement),
        }
    }

    /// Says that something happened, which Adyen notifies.
    pub(super) fn note(&mut self, event: Event) {
        self.books.note(event.notices());
    }

    pub(super) fn save(&mut self, payment: Payment) -> Result<(), Stop> {
        Ok(self.books.put(Entry::Payment(Box::new(payment)))?)
    }

    /// A seed for an id that is never given twice.
    pub(super) fn seed(&mut self) -> Result<String, Stop> {
        Ok(format!("hushpad sandbox {}", self.books.next_serial()?))
    }

    /// Amount in minor units and currency of a payment as they are told: an answer can be made to lie.
    pub(super) fn told(&self, payment: &Payment) -> (i64, String) {
        let other = if payment.currency == "USD" { "EUR" } else { "USD" };
        match self.fault {
            Some(Fault::OtherAmount) => (1, payment.currency.clone()),
            Some(Fault::OtherCurrency) => (payment.amount_minor, other.to_owned()),
            _ => (payment.amount_minor, payment.currency.clone()),
        }
    }
}

/// How a gateway writes the currencies that it does not write as ISO 4217 does.
pub(super) struct Decimals {
    /// A currency, the gateway's decimals, and what amounts in the gateway's unit must be a multiple of.
    pub(super) own: &'static [(&'static str, u8, i64)],
}

impl Decimals {
    /// The money of an amount in the gateway's smallest unit.
    pub(super) fn money(&self, minor: i64, code: &str) -> Option<Money> {
        let currency = Currency::from_code(code).ok()?;
        let (theirs, multiple) = self.unit(currency);
        if minor % multiple != 0 {
            return None;
        }
        let scale = 10_i64.checked_pow(u32::from(theirs.abs_diff(currency.exponent())))?;
        let ours = if theirs > currency.exponent() {
            (minor % scale == 0).then_some(minor / scale)?
        } else {
            minor.checked_mul(scale)?
        };
        Money::from_minor(ours, currency).ok()
    }

    /// An amount in the gateway's smallest unit.
    pub(super) fn minor(&self, minor: i64, code: &str) -> i64 {
        let Ok(currency) = Currency::from_code(code) else { return minor };
        let (theirs, _) = self.unit(currency);
        let scale = 10_i64.pow(u32::from(theirs.abs_diff(currency.exponent())));
        if theirs > currency.exponent() { minor.saturating_mul(scale) } else { minor / scale }
    }

    fn unit(&self, currency: Currency) -> (u8, i64) {
        let own = self.own.iter().find(|(code, ..)| *code == currency.code());
        own.map_or((currency.exponent(), 1), |(_, decimals, multiple)| (*decimals, *multiple))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateways_own_decimals_are_read_and_written() {
        let decimals = Decimals { own: &[("ISK", 2, 100), ("IDR", 0, 1), ("KWD", 3, 10)] };
        let read = |minor, code| decimals.money(minor, code).map(Money::decimal);
        assert_eq!(read(1240, "GBP").as_deref(), Some("12.40"));
        assert_eq!(read(150_000, "ISK").as_deref(), Some("1500"));
        assert_eq!(read(150_050, "ISK"), None);
        assert_eq!(read(1500, "IDR").as_deref(), Some("1500.00"));
        assert_eq!(read(1234, "KWD"), None);
        assert_eq!(decimals.minor(1500, "ISK"), 150_000);
        assert_eq!(decimals.minor(150_000, "IDR"), 1500);
    }
}
