//! What the page says, in words that an agent can read aloud. Whether money was taken is never left open.

use hushpad_domain::attempt::DeclineClass;
use hushpad_domain::field::Field;
use hushpad_domain::link::LinkState;
use hushpad_domain::operation::ReverseCause;
use hushpad_domain::page::{
    EndView, FieldStatus, FieldView, InvalidReason, LinkView, Notice, PageState, Phase,
};
use hushpad_domain::time::Timestamp;

/// How the page looks at a phase: a word for the style sheet, and never the only sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Calm,
    Good,
    Warning,
    Bad,
}

impl Tone {
    /// The class name.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// Where the payment stands: headline and advice.
pub(super) struct Standing {
    pub(super) tone: Tone,
    pub(super) headline: String,
    pub(super) advice: String,
}

/// The field's name within a sentence.
pub(super) fn field_name(field: Field) -> &'static str {
    match field {
        Field::CardNumber => "card number",
        Field::Expiry => "expiry date",
        Field::SecurityCode => "security code",
    }
}

/// The field's name as a heading.
pub(super) fn field_title(field: Field) -> &'static str {
    match field {
        Field::CardNumber => "Card number",
        Field::Expiry => "Expiry date",
        Field::SecurityCode => "Security code",
    }
}

/// A moment for people: to the minute, in UTC.
pub(super) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let (day, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{day} {} UTC", time.get(..5).unwrap_or_default())
}

/// The page's first words.
pub(super) fn standing(page: &PageState) -> Standing {
    let say = |tone, headline: &str, advice: &str| Standing {
        tone,
        headline: headline.to_owned(),
        advice: advice.to_owned(),
    };
    let amount = page.amount;
    match page.phase {
        Phase::Entry { active: Some(field) } => say(
            Tone::Calm,
            &format!("The customer is keying the {}.", field_name(field)),
            "The keys # and * end and clear the field.",
        ),
        Phase::Entry { active: None } => {
            say(Tone::Calm, &next_step(page), "The customer types on the phone. Keep talking.")
        }
        Phase::ByLink { typing } => by_link(page.link.as_ref(), typing),
        Phase::ReadyToPay => {
            say(Tone::Calm, "All card details are complete.", &format!("Press Pay to charge {amount}."))
        }
        Phase::Paying => {
            say(Tone::Calm, "The bank is being asked. Please wait.", "This takes a few seconds.")
        }
        Phase::Unknown => say(
            Tone::Warning,
            "The bank has not answered. Do not retry: we are asking.",
            "The payment may or may not have been taken. This page will tell you.",
        ),
        Phase::Pending => say(
            Tone::Warning,
            "The bank has the payment and will say later. Do not retry.",
            "The payment may or may not be taken. This page will tell you.",
        ),
        Phase::AtTheBank => say(
            Tone::Calm,
            "The customer's bank is checking that it is the customer.",
            "The customer confirms the payment at the bank, and comes back to our page. Nothing is charged before.",
        ),
        Phase::GivingBack { cause } => giving_back(cause),
        Phase::Declined { class, active } if page.link.is_some() => declined_by_link(class, active),
        Phase::Declined { class, active } => declined(class, active),
        Phase::Ended(end) => ended(end, &amount.to_string()),
    }
}

/// What stands beside the phase.
pub(super) fn notice(notice: Notice) -> &'static str {
    match notice {
        Notice::NotSent => "Nothing was sent to the bank. It is safe to pay again.",
        Notice::NotCharged => {
            "The bank has no trace of the payment: nothing was charged. It is safe to pay again."
        }
        Notice::ForeignSource => "Entry was stopped: audio came from an unknown source. Redo the field.",
        Notice::TooFast => "Entry was stopped: the keys came too fast. Redo the field.",
        Notice::StoreUnavailable => {
            "New payments cannot be started just now. Nothing was sent. Try again in a moment."
        }
        Notice::AttemptsUsedUp => {
            "This payment has been tried too often. Cancel it and take another way to pay."
        }
        Notice::CallEnded => "The call has ended. The bank's answer is still awaited.",
        Notice::GivenBack(ReverseCause::SecurityCode) => {
            "The security code did not match, so the approval was given back. Nothing was charged."
        }
        Notice::GivenBack(ReverseCause::Address) => {
            "The address did not match, so the approval was given back. Nothing was charged."
        }
        Notice::GivenBack(ReverseCause::Partial) => {
            "The bank approved only part, which was given back. Nothing was charged."
        }
        Notice::GivenBack(ReverseCause::RestUnpaid | ReverseCause::Late) => {
            "An approval was given back. Nothing was charged."
        }
        Notice::PartApproved => {
            "The bank approved part of the payment, and that part stands. Ask for another card for the rest."
        }
        Notice::NoLiveCall => {
            "There is no live call of yours, or more than one. Nothing was changed: the link is still good."
        }
        Notice::CallTaken => {
            "Another payment is open on your call. Nothing was changed: the link is still good."
        }
        Notice::LinkNotSent => {
            "The link could not be sent to the customer. Copy it, and give it to the customer in another way."
        }
        Notice::LinksUsedUp => "This payment has had too many links. Cancel it and start a new one.",
        Notice::PoorLine => "The line is poor: keys may get lost. Ask the customer to type slowly.",
        Notice::SlowKeys => "The keys come very fast, or twice. Ask the customer to type slowly.",
    }
}

/// How a field stands.
pub(super) fn field_status(view: &FieldView) -> &'static str {
    match view.status {
        FieldStatus::Waiting => "Not started",
        FieldStatus::Typing if view.typed == 0 => "Waiting for the first key",
        FieldStatus::Typing => "Being typed",
        FieldStatus::Valid => "Complete",
        FieldStatus::Invalid(InvalidReason::CheckDigit) => {
            "Not a card number: a digit is missing, doubled or wrong"
        }
        FieldStatus::Invalid(InvalidReason::Length) => "Too few or too many digits",
        FieldStatus::Invalid(InvalidReason::BrandNotTaken) => "This kind of card is not taken here",
        FieldStatus::Invalid(InvalidReason::Month) => "The month must be 01 to 12",
        FieldStatus::Invalid(InvalidReason::Expired) => "The card has expired",
        FieldStatus::Invalid(InvalidReason::Declined) => "The bank did not accept this",
        FieldStatus::TimedOut => "No key came in time",
        FieldStatus::Typed => "Typed",
    }
}

fn next_step(page: &PageState) -> String {
    let next = page.fields.iter().find(|view| view.status != FieldStatus::Valid);
    next.map_or_else(
        || "The customer can key the card details.".to_owned(),
        |view| match view.status {
            FieldStatus::Waiting => format!("Next, ask for the {}.", field_name(view.field)),
            FieldStatus::Typing | FieldStatus::Typed | FieldStatus::Valid => {
                format!("The customer is keying the {}.", field_name(view.field))
            }
            FieldStatus::Invalid(_) | FieldStatus::TimedOut => {
                format!("Ask for the {} once more.", field_name(view.field))
            }
        },
    )
}

fn by_link(link: Option<&LinkView>, typing: Option<Field>) -> Standing {
    let (tone, headline, advice) = match (link.map(|link| link.state), typing) {
        (Some(LinkState::Revoked), _) => (
            Tone::Warning,
            "The payment link was revoked. Nothing was charged.".to_owned(),
            "Make a new link, take the payment by keypad, or cancel.",
        ),
        (_, Some(field)) => (
            Tone::Calm,
            format!("The customer is typing the {}.", field_name(field)),
            "The card is typed on the customer's own screen.",
        ),
        (Some(LinkState::Opened), None) => (
            Tone::Calm,
            "The customer has opened the payment link.".to_owned(),
            "The card is typed on the customer's own screen.",
        ),
        (Some(LinkState::Issued) | None, None) => (
            Tone::Calm,
            "The payment link is ready. The customer has not opened it yet.".to_owned(),
            "Whoever has the link can pay: give it to the customer only.",
        ),
    };
    Standing { tone, headline, advice: advice.to_owned() }
}

/// By a link the customer reads the decline too, and tries again there.
fn declined_by_link(class: DeclineClass, typing: Option<Field>) -> Standing {
    let advice = match typing {
        Some(field) => format!("The customer is typing the {} again.", field_name(field)),
        None => "The customer sees that, and can try again by the same link.".to_owned(),
    };
    Standing { advice, ..declined(class, None) }
}

fn giving_back(cause: ReverseCause) -> Standing {
    let headline = match cause {
        ReverseCause::SecurityCode => {
            "The bank approved, but the security code did not match. We are giving it back."
        }
        ReverseCause::Address => "The bank approved, but the address did not match. We are giving it back.",
        ReverseCause::Partial => "The bank approved only part; we are giving it back.",
        ReverseCause::Late | ReverseCause::RestUnpaid => "An approval must not stand; we are giving it back.",
    };
    Standing {
        tone: Tone::Warning,
        headline: headline.to_owned(),
        advice: "Please wait: do not retry before it is given back. This page will tell you.".to_owned(),
    }
}

fn declined(class: DeclineClass, active: Option<Field>) -> Standing {
    let headline = match class {
        DeclineClass::Rekey(field) => {
            format!("The bank declined: the {} was not accepted. Nothing was charged.", field_name(field))
        }
        DeclineClass::OtherCard => "The bank declined this card. Nothing was charged.".to_owned(),
        DeclineClass::TryLater => "The bank declined for now. Nothing was charged.".to_owned(),
        DeclineClass::Never => "The bank does not accept this card. Nothing was charged.".to_owned(),
        DeclineClass::Authenticate => {
            "The bank wants the customer to confirm the payment themselves. Nothing was charged.".to_owned()
        }
    };
    let advice = match (active, class) {
        (Some(field), _) => format!("The customer is keying the {}.", field_name(field)),
        (None, DeclineClass::Rekey(Field::SecurityCode)) => "Ask for the security code again.".to_owned(),
        (None, DeclineClass::Rekey(field)) => {
            format!("Ask for the {} and the security code again.", field_name(field))
        }
        (None, DeclineClass::OtherCard) => "Ask for another card, or cancel.".to_owned(),
        (None, DeclineClass::TryLater) => "Use another card, or cancel and try this one later.".to_owned(),
        (None, DeclineClass::Never) => "Do not try it again. Ask for another card, or cancel.".to_owned(),
        (None, DeclineClass::Authenticate) => {
            "That cannot be done by phone. Ask for another card, or send a payment link.".to_owned()
        }
    };
    Standing { tone: Tone::Bad, headline, advice }
}

fn ended(end: EndView, amount: &str) -> Standing {
    let (tone, headline, advice) = match end {
        EndView::Approved => {
            (Tone::Good, format!("The payment of {amount} was approved."), "You can close this page.")
        }
        EndView::Review => (
            Tone::Good,
            format!("The payment of {amount} was taken. The merchant will review it."),
            "Do not take it again. You can close this page.",
        ),
        EndView::Declined => (
            Tone::Bad,
            format!("The payment of {amount} was declined. Nothing was charged."),
            "Start a new payment to try again.",
        ),
        EndView::Cancelled => (
            Tone::Calm,
            "The payment was cancelled. Nothing was charged.".to_owned(),
            "You can close this page.",
        ),
        EndView::CallEnded => (
            Tone::Warning,
            "The call ended first. Nothing was charged.".to_owned(),
            "Call back and start a new payment.",
        ),
        EndView::TimedOut => (
            Tone::Warning,
            "The time for this payment is over. Nothing was charged.".to_owned(),
            "Start a new payment to try again.",
        ),
        EndView::Failed => (
            Tone::Bad,
            "Something failed on our side. Nothing was charged.".to_owned(),
            "Start a new payment to try again.",
        ),
    };
    Standing { tone, headline, advice: advice.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_where_the_customer_is_and_whether_anything_was_charged() {
        let told = |state, typing| {
            let link =
                LinkView { url: None, state, expires_on: hushpad_domain::time::Timestamp::from_micros(0) };
            by_link(Some(&link), typing).headline
        };
        insta::assert_snapshot!(told(LinkState::Issued, None), @"The payment link is ready. The customer has not opened it yet.");
        insta::assert_snapshot!(told(LinkState::Opened, None), @"The customer has opened the payment link.");
        insta::assert_snapshot!(told(LinkState::Opened, Some(Field::Expiry)), @"The customer is typing the expiry date.");
        insta::assert_snapshot!(told(LinkState::Revoked, Some(Field::Expiry)), @"The payment link was revoked. Nothing was charged.");
        let declined = declined_by_link(DeclineClass::OtherCard, None);
        assert!(declined.headline.ends_with("Nothing was charged."));
        assert!(declined.advice.contains("by the same link"));
    }

    const ENDS_WITHOUT_A_CHARGE: [EndView; 5] =
        [EndView::Declined, EndView::Cancelled, EndView::CallEnded, EndView::TimedOut, EndView::Failed];

    #[test]
    fn every_end_says_whether_money_was_taken() {
        for end in ENDS_WITHOUT_A_CHARGE {
            assert!(ended(end, "12.40 GBP").headline.ends_with("Nothing was charged."), "{end:?}");
        }
        let told = |end| ended(end, "12.40 GBP").headline;
        insta::assert_snapshot!(told(EndView::Approved), @"The payment of 12.40 GBP was approved.");
        insta::assert_snapshot!(told(EndView::Review), @"The payment of 12.40 GBP was taken. The merchant will review it.");
    }

    #[test]
    fn every_decline_says_that_nothing_was_charged_and_what_to_do() {
        let told = |class| {
            let standing = declined(class, None);
            assert!(standing.headline.ends_with("Nothing was charged."));
            standing.advice
        };
        let expiry = DeclineClass::Rekey(Field::Expiry);
        insta::assert_snapshot!(told(expiry), @"Ask for the expiry date and the security code again.");
        let code = DeclineClass::Rekey(Field::SecurityCode);
        insta::assert_snapshot!(told(code), @"Ask for the security code again.");
        insta::assert_snapshot!(told(DeclineClass::OtherCard), @"Ask for another card, or cancel.");
        insta::assert_snapshot!(told(DeclineClass::TryLater), @"Use another card, or cancel and try this one later.");
        insta::assert_snapshot!(told(DeclineClass::Never), @"Do not try it again. Ask for another card, or cancel.");
    }
}
