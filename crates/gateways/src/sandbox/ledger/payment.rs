//! One payment at one gateway, and every movement of its money.

use std::collections::BTreeMap;

use hushpad_domain::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sandbox::format::Format;
use crate::sandbox::issuer::{CardFacts, Check};
use crate::sandbox::magic::{Quirk, Ruling, quirk};
use crate::sandbox::turn::Taking;

/// More movements than this are refused: nobody captures one payment in more parts.
const MOVEMENTS_MAX: usize = 100;

/// A payment. All amounts are in minor units of ISO 4217.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Payment {
    pub(in crate::sandbox) format: Format,
    /// The merchant's reference.
    pub(in crate::sandbox) reference: String,
    /// The gateway's own id.
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) amount_minor: i64,
    pub(in crate::sandbox) currency: String,
    pub(in crate::sandbox) ruling: Ruling,
    pub(in crate::sandbox) code: Check,
    pub(in crate::sandbox) address: Check,
    pub(in crate::sandbox) card: CardFacts,
    pub(in crate::sandbox) movements: Vec<Movement>,
    /// Whether what was not taken was let go without a void.
    #[serde(default)]
    pub(in crate::sandbox) released: bool,
    /// How often somebody asked what became of it.
    pub(in crate::sandbox) questions: u32,
    pub(in crate::sandbox) on: Timestamp,
    /// What the gateway gives back later: the merchant's other texts.
    #[serde(default)]
    pub(in crate::sandbox) kept: BTreeMap<String, String>,
    /// The payer's visit to the bank, where one was asked for.
    #[serde(default)]
    pub(in crate::sandbox) visit: Option<Visit>,
}

/// A movement of money, or of a claim to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Movement {
    /// The gateway's id of it.
    pub id: String,
    /// What moved.
    pub kind: Kind,
    /// How much, in minor units.
    pub amount_minor: i64,
    /// When.
    pub on: Timestamp,
    /// Whether a later void took it back.
    #[serde(default)]
    pub undone: bool,
}

/// What a movement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The issuer said no.
    Decline,
    /// Money was reserved.
    Authorise,
    /// The payer was sent to the bank.
    Challenge,
    /// Reserved money was taken.
    Capture,
    /// Taken money was given back.
    Refund,
    /// What stood was undone, as if it had not been.
    Void,
}

/// A payer at the bank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Visit {
    pub(in crate::sandbox) return_url: String,
    /// What is done once the payer has confirmed.
    pub(in crate::sandbox) taking: Taking,
    pub(in crate::sandbox) said: Said,
}

/// What the payer said at the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::sandbox) enum Said {
    /// Nothing yet.
    Nothing,
    /// That it is the cardholder.
    Confirmed,
    /// That it is not, or does not want to pay.
    Refused,
}

/// Why what follows a payment is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum Refusal {
    /// It was never approved.
    NotApproved,
    /// It was undone already.
    AlreadyVoided,
    /// More than there is.
    TooMuch,
    /// There is nothing left to do this with.
    NothingLeft,
    /// As the payment's amount asked for.
    ByMagic,
}

impl Payment {
    /// Writes down what was decided at first: an authorisation and, for a sale, its capture.
    pub(in crate::sandbox) fn open(&mut self, is_sale: bool, on: Timestamp) {
        let (granted, id) = (self.granted(), self.id.clone());
        match self.ruling {
            Ruling::Declined(_) | Ruling::WantsAuthentication => {
                self.push(id, Kind::Decline, self.amount_minor, on)
            }
            Ruling::Approved | Ruling::Partial | Ruling::Review | Ruling::Pending => {
                self.push(id.clone(), Kind::Authorise, granted, on);
                if is_sale {
                    self.push(id, Kind::Capture, granted, on);
                }
            }
        }
    }

    /// Nothing is decided before the payer has been at the bank.
    pub(in crate::sandbox) fn send_to_the_bank(&mut self, return_url: String, taking: Taking, on: Timestamp) {
        self.visit = Some(Visit { return_url, taking, said: Said::Nothing });
        self.push(self.id.clone(), Kind::Challenge, self.amount_minor, on);
    }

    /// What the payer said at the bank; `None` where nobody was sent there.
    pub(in crate::sandbox) fn said(&self) -> Option<Said> {
        self.visit.as_ref().map(|visit| visit.said)
    }

    /// Whether it waits for a payer who is at the bank, or who has confirmed there and was not gone on with.
    pub(in crate::sandbox) fn waits_for_payer(&self) -> bool {
        let refused = self.said().is_none_or(|said| said == Said::Refused);
        self.ruling == Ruling::WantsAuthentication && !refused
    }

    /// The payer said no at the bank.
    pub(in crate::sandbox) fn refused_at_the_bank(&mut self, on: Timestamp) {
        self.push(self.id.clone(), Kind::Decline, self.amount_minor, on);
    }

    /// How much the issuer grants.
    pub(in crate::sandbox) fn granted(&self) -> i64 {
        match self.ruling {
            Ruling::Approved | Ruling::Review | Ruling::Pending => self.amount_minor,
            // Of the smallest amount nothing can be left out.
            Ruling::Partial => (self.amount_minor / 2).max(1),
            Ruling::WantsAuthentication | Ruling::Declined(_) => 0,
        }
    }

    pub(in crate::sandbox) fn is_approved(&self) -> bool {
        self.granted() > 0
    }

    /// Whether the merchant may know the decision: a pending one is told after some questions.
    pub(in crate::sandbox) fn is_told(&self) -> bool {
        self.ruling != Ruling::Pending || self.questions >= super::super::magic::PENDING_QUESTIONS
    }

    pub(in crate::sandbox) fn quirk(&self) -> Option<Quirk> {
        quirk(self.amount_minor)
    }

    /// Counts a question; `false` while it shall be answered with "not found".
    pub(in crate::sandbox) fn asked(&mut self) -> bool {
        self.questions = self.questions.saturating_add(1);
        match self.quirk() {
            Some(Quirk::NotFoundAtFirst(questions)) => self.questions > questions,
            _ => true,
        }
    }

    pub(in crate::sandbox) fn authorised(&self) -> i64 {
        self.sum(Kind::Authorise)
    }

    pub(in crate::sandbox) fn captured(&self) -> i64 {
        self.sum(Kind::Capture)
    }

    pub(in crate::sandbox) fn refunded(&self) -> i64 {
        self.sum(Kind::Refund)
    }

    /// How much was undone before it was settled.
    pub(in crate::sandbox) fn voided(&self) -> i64 {
        self.sum(Kind::Void)
    }

    /// Reserved, and neither taken nor let go.
    pub(in crate::sandbox) fn reserved(&self) -> i64 {
        if self.is_voided() || self.released { 0 } else { (self.authorised() - self.captured()).max(0) }
    }

    /// Taken, and not given back.
    pub(in crate::sandbox) fn taken(&self) -> i64 {
        (self.captured() - self.refunded()).max(0)
    }

    pub(in crate::sandbox) fn is_voided(&self) -> bool {
        self.movements.iter().any(|movement| movement.kind == Kind::Void)
    }

    /// Takes reserved money: all of it where no amount is given.
    pub(in crate::sandbox) fn capture(
        &mut self,
        amount: Option<i64>,
        id: String,
        on: Timestamp,
    ) -> Result<i64, Refusal> {
        self.allow(Quirk::CaptureRefused)?;
        self.follow(Kind::Capture, amount, self.reserved(), id, on)
    }

    /// Gives taken money back: all of it where no amount is given.
    pub(in crate::sandbox) fn refund(
        &mut self,
        amount: Option<i64>,
        id: String,
        on: Timestamp,
    ) -> Result<i64, Refusal> {
        self.allow(Quirk::RefundRefused)?;
        self.follow(Kind::Refund, amount, self.taken(), id, on)
    }

    /// Lets reserved money go, before any of it was taken.
    pub(in crate::sandbox) fn cancel(&mut self, id: String, on: Timestamp) -> Result<i64, Refusal> {
        self.allow(Quirk::VoidRefused)?;
        if self.captured() > 0 {
            return Err(Refusal::NothingLeft);
        }
        self.follow(Kind::Void, None, self.reserved(), id, on)
    }

    /// Undoes all that stands, taken or reserved, before it is settled.
    pub(in crate::sandbox) fn void(&mut self, id: String, on: Timestamp) -> Result<i64, Refusal> {
        self.allow(Quirk::VoidRefused)?;
        let stands = self.reserved() + self.taken();
        let amount = self.follow(Kind::Void, None, stands, id, on)?;
        for movement in &mut self.movements {
            movement.undone |= matches!(movement.kind, Kind::Capture | Kind::Refund);
        }
        Ok(amount)
    }

    /// Undoes one movement: a capture or a refund that is not settled.
    pub(in crate::sandbox) fn void_one(&mut self, id: &str) -> Result<i64, Refusal> {
        self.allow(Quirk::VoidRefused)?;
        let found = self
            .movements
            .iter_mut()
            .rev()
            .find(|movement| movement.id == id && matches!(movement.kind, Kind::Capture | Kind::Refund));
        match found {
            None => Err(Refusal::NothingLeft),
            Some(movement) if movement.undone => Err(Refusal::AlreadyVoided),
            Some(movement) => {
                movement.undone = true;
                Ok(movement.amount_minor)
            }
        }
    }

    /// Undoes whatever is due: lets reserved money go, or gives taken money back.
    pub(in crate::sandbox) fn reverse(&mut self, id: String, on: Timestamp) -> Result<(Kind, i64), Refusal> {
        self.allow(Quirk::VoidRefused)?;
        if self.captured() > 0 {
            return self.follow(Kind::Refund, None, self.taken(), id, on).map(|sum| (Kind::Refund, sum));
        }
        self.follow(Kind::Void, None, self.reserved(), id, on).map(|sum| (Kind::Void, sum))
    }

    fn allow(&self, refused_by: Quirk) -> Result<(), Refusal> {
        match (self.is_approved(), self.is_voided(), self.quirk() == Some(refused_by)) {
            (false, ..) => Err(Refusal::NotApproved),
            (true, true, _) => Err(Refusal::AlreadyVoided),
            (true, false, true) => Err(Refusal::ByMagic),
            (true, false, false) => Ok(()),
        }
    }

    fn follow(
        &mut self,
        kind: Kind,
        amount: Option<i64>,
        most: i64,
        id: String,
        on: Timestamp,
    ) -> Result<i64, Refusal> {
        let amount = amount.unwrap_or(most);
        if most == 0 || self.movements.len() >= MOVEMENTS_MAX {
            return Err(Refusal::NothingLeft);
        }
        if amount > most || amount <= 0 {
            return Err(Refusal::TooMuch);
        }
        self.push(id, kind, amount, on);
        Ok(amount)
    }

    fn push(&mut self, id: String, kind: Kind, amount_minor: i64, on: Timestamp) {
        self.movements.push(Movement { id, kind, amount_minor, on, undone: false });
    }

    fn sum(&self, kind: Kind) -> i64 {
        let standing = self.movements.iter().filter(|movement| movement.kind == kind && !movement.undone);
        standing.map(|movement| movement.amount_minor).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::issuer::{CardAsked, look};

    fn payment(amount_minor: i64, is_sale: bool) -> Payment {
        let card = CardAsked {
            number: "4111111111111111",
            month: "12",
            year: "30",
            code: Some("123"),
            has_address: false,
        };
        let mut payment = Payment {
            format: Format::Generic,
            reference: "r".to_owned(),
            id: "p".to_owned(),
            amount_minor,
            currency: "GBP".to_owned(),
            ruling: Ruling::Approved,
            code: Check::Match,
            address: Check::NotChecked,
            card: look(&card, (2026, 11)),
            movements: Vec::new(),
            released: false,
            questions: 0,
            on: now(),
            kept: BTreeMap::new(),
            visit: None,
        };
        payment.open(is_sale, now());
        payment
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(0)
    }

    #[test]
    fn no_more_is_taken_than_was_reserved_and_no_more_given_back_than_was_taken() {
        let mut payment = payment(1240, false);
        assert_eq!(payment.refund(None, "x".into(), now()), Err(Refusal::NothingLeft));
        assert_eq!(payment.capture(Some(1241), "x".into(), now()), Err(Refusal::TooMuch));
        assert_eq!(payment.capture(Some(1000), "c".into(), now()), Ok(1000));
        assert_eq!((payment.reserved(), payment.taken()), (240, 1000));
        assert_eq!(payment.refund(Some(400), "r".into(), now()), Ok(400));
        assert_eq!(payment.refund(Some(601), "r".into(), now()), Err(Refusal::TooMuch));
        assert_eq!(payment.refund(None, "r".into(), now()), Ok(600));
        assert_eq!(payment.taken(), 0);
    }

    #[test]
    fn a_void_undoes_all_that_stands_once() {
        let mut payment = payment(1240, true);
        assert_eq!(payment.cancel("v".into(), now()), Err(Refusal::NothingLeft));
        assert_eq!(payment.void("v".into(), now()), Ok(1240));
        assert_eq!((payment.reserved(), payment.taken(), payment.voided()), (0, 0, 1240));
        assert_eq!(payment.void("v".into(), now()), Err(Refusal::AlreadyVoided));
        assert_eq!(payment.refund(None, "r".into(), now()), Err(Refusal::AlreadyVoided));
    }

    #[test]
    fn a_voided_capture_is_reserved_again_and_a_voided_refund_is_taken_again() {
        let mut payment = payment(1240, false);
        payment.capture(None, "c".into(), now()).unwrap();
        payment.refund(None, "r".into(), now()).unwrap();
        assert_eq!(payment.void_one("r"), Ok(1240));
        assert_eq!(payment.taken(), 1240);
        assert_eq!(payment.void_one("c"), Ok(1240));
        assert_eq!((payment.reserved(), payment.taken()), (1240, 0));
        assert_eq!(payment.void_one("c"), Err(Refusal::AlreadyVoided));
    }

    #[test]
    fn a_reversal_does_what_is_due_and_a_quirk_refuses_it() {
        assert_eq!(payment(1240, false).reverse("x".into(), now()), Ok((Kind::Void, 1240)));
        assert_eq!(payment(1240, true).reverse("x".into(), now()), Ok((Kind::Refund, 1240)));
        assert_eq!(payment(6903, true).reverse("x".into(), now()), Err(Refusal::ByMagic));
    }
}
