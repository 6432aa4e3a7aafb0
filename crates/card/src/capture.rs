//! The entry of one card by a customer, key by key.

use std::time::Duration;

use hushpad_domain::field::Field;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::page::{FieldStatus, FieldView, InvalidReason};
use hushpad_domain::time::Tick;
use thiserror::Error;

use crate::brand;
use crate::card::Card;
use crate::check::{self, YearMonth};
use crate::secret::Secret;

/// A number that could be complete waits this long for one more key, where the brand has longer numbers too
/// (Visa: 16, 18, 19). Longer than the gap between two keys of a person who reads on, short enough not to be
/// felt as a wait. A shorter `between_keys_time_out` wins.
const COMPLETE_NUMBER_PAUSE: Duration = Duration::from_millis(2_500);

/// What is captured, and with what patience.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The fields in the order they are keyed. Card number and expiry must be among them: without both there
    /// is no card, and [`Capture::take`] gives none.
    pub fields: Vec<Field>,
    /// The brands that are taken.
    pub brands: Vec<Brand>,
    /// How long a field waits for its first key.
    pub first_key_time_out: Duration,
    /// How long it waits between keys.
    pub between_keys_time_out: Duration,
}

/// The entry of one card.
///
/// At most one field is open at a time and takes the keys. `today` is always the year and month in the most
/// lenient time zone (UTC−12), where the old month lasts longest.
pub struct Capture {
    rules: Rules,
    entries: Vec<Entry>,
}

impl Capture {
    /// An entry where every field waits.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let mut entries: Vec<Entry> = Vec::with_capacity(Field::ALL.len());
        for field in &rules.fields {
            if entries.iter().all(|entry| entry.field != *field) {
                entries.push(Entry { field: *field, state: State::Waiting });
            }
        }
        Self { rules, entries }
    }

    /// The agent opens a field. Another open field is wiped and waits. Opening the open field again changes
    /// nothing, so a double click loses no key.
    ///
    /// # Errors
    /// A [`Refusal`]; nothing has changed then. A valid field is not opened: that is [`Self::redo`].
    pub fn start(&mut self, field: Field, now: Tick) -> Result<(), Refusal> {
        let index = self.startable(field)?;
        match self.entries[index].state {
            State::Valid { .. } => Err(Refusal::AlreadyValid),
            State::Typing { .. } => Ok(()),
            _ => {
                let digits = Secret::new().ok_or(Refusal::NoMemory)?;
                self.stop();
                self.open(index, digits, now, false);
                Ok(())
            }
        }
    }

    /// The agent wipes exactly this field and opens it. Redoing the number wipes the security code too: it
    /// belongs to the old number.
    ///
    /// # Errors
    /// A [`Refusal`]; nothing has changed then.
    pub fn redo(&mut self, field: Field, now: Tick) -> Result<(), Refusal> {
        let index = self.startable(field)?;
        let digits = Secret::new().ok_or(Refusal::NoMemory)?;
        self.stop();
        if field == Field::CardNumber
            && let Some(code) = self.index_of(Field::SecurityCode)
        {
            self.entries[code].state = State::Waiting;
        }
        self.open(index, digits, now, false);
        Ok(())
    }

    /// Takes a key: ASCII `0`–`9`, `*` (clears the field), `#` (ends it), `A`–`D` (ignored). A field that is
    /// complete is checked at once, and the next waiting field opens by itself after a valid one, so that a
    /// customer can key straight through.
    pub fn key(&mut self, key: u8, now: Tick, today: YearMonth) -> KeyTaken {
        self.tick(now, today);
        let Some(index) = self.open_index() else { return KeyTaken::Ignored };
        match key {
            b'0'..=b'9' => self.digit(index, key, now, today),
            b'*' => self.clear(index, now),
            b'#' => self.hash(index, now, today),
            _ => KeyTaken::Ignored,
        }
    }

    /// Lets time pass: a number that could be complete is complete after a pause; a field without keys times
    /// out and is wiped.
    pub fn tick(&mut self, now: Tick, today: YearMonth) {
        let Some(index) = self.open_index() else { return };
        let entry = &mut self.entries[index];
        let State::Typing { digits, deadline, .. } = &entry.state else { return };
        if now < *deadline {
            return;
        }
        let length_fits = |digits: &[u8]| {
            check::number_lengths(digits).iter().any(|length| usize::from(*length) == digits.len())
        };
        if entry.field == Field::CardNumber && digits.read(length_fits) {
            self.end(index, now, today);
        } else {
            entry.state = State::TimedOut { typed: digits.len() };
        }
    }

    /// When [`Self::tick`] is due next.
    #[must_use]
    pub fn deadline(&self) -> Option<Tick> {
        self.entries.iter().find_map(|entry| match entry.state {
            State::Typing { deadline, .. } => Some(deadline),
            _ => None,
        })
    }

    /// The open field, if any, is wiped and waits: an alarm of the guard, or a hold of the call.
    pub fn stop(&mut self) {
        if let Some(index) = self.open_index() {
            self.entries[index].state = State::Waiting;
        }
    }

    /// The fields as the agent sees them, in their order. No digit is in them.
    #[must_use]
    pub fn views(&self) -> Vec<FieldView> {
        let brand = self.brand();
        self.entries.iter().map(|entry| entry.view(brand)).collect()
    }

    /// The field that takes the keys.
    #[must_use]
    pub fn active(&self) -> Option<Field> {
        self.open_index().map(|index| self.entries[index].field)
    }

    /// Whether every field is valid and the card is here: [`Self::take`] would give it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let valid = |field| {
            let entry = self.entries.iter().find(|entry| entry.field == field);
            entry.is_some_and(|entry| matches!(entry.state, State::Valid { .. }))
        };
        valid(Field::CardNumber)
            && valid(Field::Expiry)
            && self.entries.iter().all(|entry| matches!(entry.state, State::Valid { .. }))
    }

    /// Moves the complete card out, for one attempt. What stays is what the views need: counts and brand.
    pub fn take(&mut self) -> Option<Card> {
        if !self.is_complete() {
            return None;
        }
        let brand = self.brand();
        let number = self.move_out(Field::CardNumber, brand)?;
        let expiry = self.move_out(Field::Expiry, brand)?;
        Some(Card { number, expiry, security_code: self.move_out(Field::SecurityCode, brand) })
    }

    /// Takes the card back after a decline that allows keying again, or when nothing was sent. The security
    /// code is always wiped (PCI DSS 3.3.1) and must be keyed again; `blamed` fields are wiped and invalid;
    /// the others stay valid. After [`Self::wipe`] the card is not taken back but wiped.
    pub fn give_back(&mut self, card: Card, blamed: &[Field]) {
        let Card { number, expiry, security_code } = card;
        drop(security_code);
        self.move_in(Field::CardNumber, Some(number), blamed);
        self.move_in(Field::Expiry, Some(expiry), blamed);
        self.move_in(Field::SecurityCode, None, blamed);
    }

    /// Forgets everything; every field waits.
    pub fn wipe(&mut self) {
        for entry in &mut self.entries {
            entry.state = State::Waiting;
        }
    }

    fn index_of(&self, field: Field) -> Option<usize> {
        self.entries.iter().position(|entry| entry.field == field)
    }

    fn open_index(&self) -> Option<usize> {
        self.entries.iter().position(|entry| matches!(entry.state, State::Typing { .. }))
    }

    /// The brand of the number, as far as it is keyed.
    fn brand(&self) -> Option<Brand> {
        self.index_of(Field::CardNumber).and_then(|index| match &self.entries[index].state {
            State::Typing { digits, .. } | State::Valid { digits } => digits.read(brand::detect),
            State::Invalid { brand, .. } | State::Taken { brand, .. } => *brand,
            State::Waiting | State::TimedOut { .. } => None,
        })
    }

    /// Where the field is, if it may be opened now.
    fn startable(&self, field: Field) -> Result<usize, Refusal> {
        let index = self.index_of(field).ok_or(Refusal::NotAsked)?;
        if self.entries.iter().any(|entry| matches!(entry.state, State::Taken { .. })) {
            return Err(Refusal::CardTaken);
        }
        let number = self.index_of(Field::CardNumber).map(|number| &self.entries[number].state);
        if field == Field::SecurityCode && !matches!(number, Some(State::Valid { .. })) {
            return Err(Refusal::NumberFirst);
        }
        Ok(index)
    }

    fn open(&mut self, index: usize, digits: Secret, now: Tick, late_hash: bool) {
        let deadline = now.plus(self.rules.first_key_time_out);
        self.entries[index].state = State::Typing { digits, deadline, late_hash };
    }

    fn digit(&mut self, index: usize, key: u8, now: Tick, today: YearMonth) -> KeyTaken {
        let brand = self.brand();
        let between_keys = self.rules.between_keys_time_out;
        let Entry { field, state } = &mut self.entries[index];
        let field = *field;
        let State::Typing { digits, deadline, late_hash } = state else { return KeyTaken::Ignored };
        *late_hash = false;
        // There is room: a field ends when it has as many digits as it can have, at most 19.
        if digits.push(key).is_err() {
            return self.end(index, now, today);
        }
        let may_be_complete = field == Field::CardNumber && digits.read(check::number_is_plausible);
        let patience = if may_be_complete { between_keys.min(COMPLETE_NUMBER_PAUSE) } else { between_keys };
        *deadline = now.plus(patience);
        if digits.len() >= longest(field, digits, brand) {
            self.end(index, now, today)
        } else {
            KeyTaken::Typed(field)
        }
    }

    fn clear(&mut self, index: usize, now: Tick) -> KeyTaken {
        let field = self.entries[index].field;
        // The old digits go first, so that their memory is there for the new ones.
        self.entries[index].state = State::Waiting;
        if let Some(digits) = Secret::new() {
            self.open(index, digits, now, false);
        }
        KeyTaken::Cleared(field)
    }

    fn hash(&mut self, index: usize, now: Tick, today: YearMonth) -> KeyTaken {
        let brand = self.brand();
        let Entry { field, state } = &mut self.entries[index];
        let State::Typing { digits, late_hash, .. } = state else { return KeyTaken::Ignored };
        if digits.is_empty() {
            // Meant for the field before, which had ended by itself; or a slip. But a card without a
            // security code is keyed so.
            let late = std::mem::take(late_hash);
            let ends = *field == Field::SecurityCode && check::check_security_code(&[], brand).is_ok();
            if late || !ends {
                return KeyTaken::Ignored;
            }
        }
        self.end(index, now, today)
    }

    /// Ends the open field: checks it and goes on.
    fn end(&mut self, index: usize, now: Tick, today: YearMonth) -> KeyTaken {
        let brand = self.brand();
        let Entry { field, state } = &mut self.entries[index];
        let field = *field;
        let State::Typing { digits, .. } = std::mem::replace(state, State::Waiting) else {
            return KeyTaken::Ignored;
        };
        let checked = digits.read(|digits| match field {
            Field::CardNumber => check::check_number(digits, &self.rules.brands),
            Field::Expiry => check::check_expiry(digits, today),
            Field::SecurityCode => check::check_security_code(digits, brand),
        });
        match checked {
            Ok(()) => {
                *state = State::Valid { digits };
                self.open_next(index, now);
                KeyTaken::Valid(field)
            }
            Err(reason) => {
                *state = State::Invalid { reason, typed: digits.len(), brand };
                KeyTaken::Invalid(field, reason)
            }
        }
    }

    /// Opens the first waiting field after this one, if it may be opened.
    fn open_next(&mut self, index: usize, now: Tick) {
        let waiting = |entry: &Entry| matches!(entry.state, State::Waiting);
        let Some(next) = self.entries.iter().skip(index + 1).position(waiting) else { return };
        let next = index + 1 + next;
        if self.startable(self.entries[next].field).is_ok()
            && let Some(digits) = Secret::new()
        {
            self.open(next, digits, now, true);
        }
    }

    fn move_out(&mut self, field: Field, brand: Option<Brand>) -> Option<Secret> {
        let index = self.index_of(field)?;
        let state = &mut self.entries[index].state;
        match std::mem::replace(state, State::Waiting) {
            State::Valid { digits } => {
                *state = State::Taken { typed: digits.len(), brand };
                Some(digits)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    fn move_in(&mut self, field: Field, digits: Option<Secret>, blamed: &[Field]) {
        let Some(index) = self.index_of(field) else { return };
        let state = &mut self.entries[index].state;
        let State::Taken { typed, brand } = *state else { return };
        *state = match digits {
            _ if blamed.contains(&field) => State::Invalid { reason: InvalidReason::Declined, typed, brand },
            Some(digits) => State::Valid { digits },
            None => State::Waiting,
        };
    }
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyTaken {
    /// No field is open, or the key has no meaning here.
    Ignored,
    /// A digit of this field.
    Typed(Field),
    /// The field was cleared and starts anew.
    Cleared(Field),
    /// The field is complete and valid.
    Valid(Field),
    /// The field is complete and wrong.
    Invalid(Field, InvalidReason),
}

/// Why a field is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The flow does not ask for this field.
    #[error("the payment flow does not ask for this field")]
    NotAsked,
    /// A security code needs a valid number: its length depends on the brand.
    #[error("the card number must be valid first")]
    NumberFirst,
    /// It is valid: redo it to change it.
    #[error("the field is valid already")]
    AlreadyValid,
    /// The card was taken for an attempt.
    #[error("the card is with the gateway")]
    CardTaken,
    /// There is no locked memory left.
    #[error("there is no locked memory left for card data")]
    NoMemory,
}

struct Entry {
    field: Field,
    state: State,
}

enum State {
    Waiting,
    /// Open. `late_hash`: it opened by itself, so a `#` that comes first belongs to the field before.
    Typing {
        digits: Secret,
        deadline: Tick,
        late_hash: bool,
    },
    Valid {
        digits: Secret,
    },
    /// Valid, and its digits are with an attempt.
    Taken {
        typed: u8,
        brand: Option<Brand>,
    },
    Invalid {
        reason: InvalidReason,
        typed: u8,
        brand: Option<Brand>,
    },
    TimedOut {
        typed: u8,
    },
}

impl Entry {
    fn view(&self, brand: Option<Brand>) -> FieldView {
        let (status, typed) = match &self.state {
            State::Waiting => (FieldStatus::Waiting, 0),
            State::Typing { digits, .. } => (FieldStatus::Typing, digits.len()),
            State::Valid { digits } => (FieldStatus::Valid, digits.len()),
            State::Taken { typed, .. } => (FieldStatus::Valid, *typed),
            State::Invalid { reason, typed, .. } => (FieldStatus::Invalid(*reason), *typed),
            State::TimedOut { typed } => (FieldStatus::TimedOut, *typed),
        };
        let brand_on_number = brand.filter(|_| self.field == Field::CardNumber);
        let length = match (self.field, status) {
            (Field::CardNumber, FieldStatus::Valid) => Some(typed),
            (Field::CardNumber, _) => brand.and_then(|brand| match brand::rules(brand).lengths {
                [length] => Some(*length),
                _ => None,
            }),
            (Field::Expiry, _) => Some(check::EXPIRY_LENGTH),
            (Field::SecurityCode, _) => brand.map(|brand| check::security_code_length(Some(brand))),
        };
        FieldView { field: self.field, status, typed, length, brand: brand_on_number }
    }
}

/// The most digits the field can have, given what is keyed.
fn longest(field: Field, digits: &Secret, brand: Option<Brand>) -> u8 {
    match field {
        Field::CardNumber => {
            digits.read(check::number_lengths).last().copied().unwrap_or(Secret::CAPACITY).max(1)
        }
        Field::Expiry => check::EXPIRY_LENGTH,
        Field::SecurityCode => check::security_code_length(brand),
    }
}
