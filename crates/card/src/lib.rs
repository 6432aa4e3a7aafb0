//! Card data while we hold it: entry of digits, brands, checks, wiping.
//!
//! This room is the PCI line: a crate that does not list it cannot name a card number. It is pure: time
//! comes in as an argument; its only system calls lock the memory that holds digits.
//!
//! - [`Secret`] holds digits: page-locked, left out of dumps, wiped on drop, readable only in a closure.
//! - [`Capture`] is the entry of one card by a customer, key by key.
//! - [`read_form`] reads a card that was written into a form at once.
//! - [`Card`] is a complete card on its way through one attempt.
//! - [`brand`] knows the brands by their number ranges.
//!
//! None of these can be cloned, compared, printed or serialised; `tests/compile_fail.rs` proves it. What may
//! leave is a [`MaskedCard`](hushpad_domain::masked_card::MaskedCard) and a
//! [`FieldView`](hushpad_domain::page::FieldView).

pub mod brand;
mod capture;
mod card;
mod check;
mod form;
mod locked;
mod secret;

pub use capture::{Capture, KeyTaken, Refusal, Rules};
pub use card::Card;
pub use form::{FormRefusal, read_form};
pub use locked::memory_is_locked;
pub use secret::{Full, Secret};
