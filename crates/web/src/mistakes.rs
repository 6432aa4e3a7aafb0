//! The mistakes in a request's body: all of them at once, each with its place (RFC 6901). No value is ever told.

use std::borrow::Cow;
use std::fmt;

use hushpad_domain::payment_data::PaymentDataError;
use serde::Serialize;

/// Mistakes told at most: a body of 64 KiB can hold thousands, and nobody reads more.
const MISTAKES_MAX: usize = 100;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Mistake {
    pointer: String,
    detail: Cow<'static, str>,
    #[serde(skip)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The JSON has another shape than it should.
    Shape,
    /// A value of `paymentData` makes no payment.
    Data,
    /// Card data was sent.
    Card,
}

/// All mistakes of one body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistake {
    /// A mistake in the shape at this place: member names from the top.
    pub(crate) fn shape(place: &[&str], detail: impl Into<Cow<'static, str>>) -> Self {
        Self { pointer: pointer(place), detail: detail.into(), kind: Kind::Shape }
    }

    /// Card data at this place.
    pub(crate) fn card(place: &[&str], detail: &'static str) -> Self {
        let detail = format!("{detail}: card data must never be sent here").into();
        Self { pointer: pointer(place), detail, kind: Kind::Card }
    }

    fn data(error: &PaymentDataError) -> Self {
        let place: Vec<&str> = std::iter::once("paymentData").chain(error.name()).collect();
        let kind = if error.is_card_data() { Kind::Card } else { Kind::Data };
        Self { pointer: pointer(&place), detail: error.to_string().into(), kind }
    }
}

impl Mistakes {
    /// The mistakes that `domain` found in `paymentData`.
    pub(crate) fn of(errors: &[PaymentDataError]) -> Self {
        let mut mistakes = Self::default();
        mistakes.extend(errors);
        mistakes
    }

    /// Adds one.
    pub(crate) fn add(&mut self, mistake: Mistake) {
        if self.0.len() < MISTAKES_MAX {
            self.0.push(mistake);
        }
    }

    /// Adds those in `paymentData`.
    pub(crate) fn extend(&mut self, errors: &[PaymentDataError]) {
        errors.iter().for_each(|error| self.add(Mistake::data(error)));
    }

    /// The value, or one mistake more.
    pub(crate) fn take<T>(&mut self, result: Result<T, Mistake>) -> Option<T> {
        result.map_err(|mistake| self.add(mistake)).ok()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problem's `code` and `title`. Card data counts most, then what could not even be read.
    pub(crate) fn code(&self) -> (&'static str, &'static str) {
        let any = |kind| self.0.iter().any(|mistake| mistake.kind == kind);
        if any(Kind::Card) {
            ("card_data", "Card data refused")
        } else if any(Kind::Shape) {
            ("malformed_request", "Malformed request")
        } else {
            ("invalid_payment_data", "Invalid paymentData")
        }
    }

    /// The problem's `errors`.
    pub(crate) fn list(&self) -> &[Mistake] {
        &self.0
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "; " })?;
            f.write_str(&mistake.detail)?;
        }
        Ok(())
    }
}

/// RFC 6901, section 3.
fn pointer(place: &[&str]) -> String {
    place
        .iter()
        .fold(String::new(), |pointer, name| pointer + "/" + &name.replace('~', "~0").replace('/', "~1"))
}
