//! The page's words. Plain, and never in doubt whether money was taken.

use askama::Template;
use hushpad_card::brand;
use hushpad_domain::attempt::DeclineClass;
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::Brand;
use hushpad_domain::page::InvalidReason;
use serde_json::json;

use crate::assets::Assets;
use crate::links::{Bill, Challenge, Form, Outcome, Sight};

/// A page that is not about a bill: a wrong link, a fault.
pub(crate) struct Notice {
    pub(crate) title: &'static str,
    pub(crate) advice: &'static str,
}

#[derive(Template)]
#[template(path = "form.html")]
struct FormPage<'a> {
    assets: &'a Assets,
    path: &'a str,
    bill: BillView,
    round: u32,
    headline: Option<&'static str>,
    advice: &'static str,
    rows: Vec<Row>,
    brands: String,
    brand_ranges: String,
}

#[derive(Template)]
#[template(path = "state.html")]
struct StatePage<'a> {
    assets: &'a Assets,
    path: &'a str,
    bill: BillView,
    tone: &'static str,
    title: &'static str,
    advice: String,
    /// It may still change.
    waits: bool,
    challenge: Option<&'a Challenge>,
}

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticePage<'a> {
    assets: &'a Assets,
    title: &'a str,
    advice: &'a str,
}

struct BillView {
    payee: String,
    amount: String,
    reference: Option<String>,
}

impl BillView {
    fn of(bill: &Bill) -> Self {
        Self { payee: bill.payee.clone(), amount: bill.amount.to_string(), reference: bill.reference.clone() }
    }
}

/// One field of the form.
struct Row {
    name: &'static str,
    title: &'static str,
    hint: &'static str,
    autocomplete: &'static str,
    length_max: u8,
    mistake: Option<&'static str>,
}

/// The page of a sight. `mistakes` are those of the card that was just sent.
pub(crate) fn page(
    assets: &Assets,
    path: &str,
    sight: &Sight,
    mistakes: &[(Field, InvalidReason)],
) -> String {
    let rendered = match sight {
        Sight::Form(form) => form_page(assets, path, form, mistakes).render(),
        Sight::Processing(bill) => state_page(
            (assets, path, bill),
            "calm",
            "Your payment is being checked",
            "Please wait, and do not pay again. This page will tell you what became of it.".to_owned(),
            true,
            None,
        )
        .render(),
        Sight::Challenge(bill, challenge) => state_page(
            (assets, path, bill),
            "calm",
            "Your bank wants to check that it is you",
            "Go on to your bank. You come back here afterwards.".to_owned(),
            false,
            Some(challenge),
        )
        .render(),
        Sight::Over(bill, outcome) => {
            let (tone, title, advice) = over(outcome);
            state_page((assets, path, bill), tone, title, advice, false, None).render()
        }
    };
    rendered.unwrap_or_default()
}

/// The form without a bill.
pub(crate) fn specimen(assets: &Assets) -> String {
    let (fields, brands) = (Field::ALL, Brand::ALL);
    let bill = BillView {
        payee: "nobody: this is a specimen".to_owned(),
        amount: "nothing".to_owned(),
        reference: None,
    };
    let page = FormPage {
        assets,
        path: "/specimen",
        bill,
        round: 0,
        headline: None,
        advice: "The form as this release draws it. Nothing can be paid here.",
        rows: fields.into_iter().map(row).collect(),
        brands: brands.map(Brand::title).join(", "),
        brand_ranges: brand_ranges(&brands).to_string(),
    };
    page.render().unwrap_or_default()
}

/// The page of a notice.
pub(crate) fn notice(assets: &Assets, notice: &Notice) -> String {
    NoticePage { assets, title: notice.title, advice: notice.advice }.render().unwrap_or_default()
}

fn state_page<'a>(
    (assets, path, bill): (&'a Assets, &'a str, &Bill),
    tone: &'static str,
    title: &'static str,
    advice: String,
    waits: bool,
    challenge: Option<&'a Challenge>,
) -> StatePage<'a> {
    StatePage { assets, path, bill: BillView::of(bill), tone, title, advice, waits, challenge }
}

fn over(outcome: &Outcome) -> (&'static str, &'static str, String) {
    match outcome {
        Outcome::Paid { card } => {
            let with = card.as_ref().map_or_else(String::new, |card| {
                let brand = card.brand().map_or("card", Brand::title);
                format!(" with {brand} ending in {:04}", card.last4())
            });
            ("good", "Paid. Thank you.", format!("The payment was made{with}. You can close this page."))
        }
        Outcome::Review => (
            "good",
            "Received. Thank you.",
            "The payment was made, and the merchant will look at it. You can close this page.".to_owned(),
        ),
        Outcome::Declined => (
            "bad",
            "The payment was declined",
            "Nothing was charged. Please contact the merchant to pay in another way.".to_owned(),
        ),
        Outcome::Withdrawn => (
            "bad",
            "This payment was withdrawn",
            "Nothing was charged. The merchant no longer asks for it by this link.".to_owned(),
        ),
        Outcome::Expired => (
            "bad",
            "This link has expired",
            "Nothing was charged. Please ask the merchant for a new link.".to_owned(),
        ),
    }
}

fn form_page<'a>(
    assets: &'a Assets,
    path: &'a str,
    form: &Form,
    mistakes: &[(Field, InvalidReason)],
) -> FormPage<'a> {
    let (headline, advice) = above(form, mistakes);
    let mistake = |field| {
        let found = mistakes.iter().find(|(named, _)| *named == field).map(|(_, reason)| reason);
        found.map(|reason| mistake(field, *reason)).or_else(|| blamed(form.declined, field))
    };
    let rows = form.fields.iter().map(|field| Row { mistake: mistake(*field), ..row(*field) }).collect();
    let brands: Vec<_> = form.brands.iter().map(|brand| brand.title()).collect();
    FormPage {
        assets,
        path,
        bill: BillView::of(&form.bill),
        round: form.round,
        headline,
        advice,
        rows,
        brands: brands.join(", "),
        brand_ranges: brand_ranges(&form.brands).to_string(),
    }
}

/// What the script knows of brands: the same table as the one that decides.
fn brand_ranges(taken: &[Brand]) -> serde_json::Value {
    let ranges = brand::ranges().map(|(from, to, brand)| {
        let rules = brand::rules(brand);
        json!([from, to, brand.title(), taken.contains(&brand), rules.lengths, rules.security_code_length])
    });
    ranges.collect()
}

fn above(form: &Form, mistakes: &[(Field, InvalidReason)]) -> (Option<&'static str>, &'static str) {
    let usual = "Your card details go straight to the payment service. They are not stored.";
    if !mistakes.is_empty() {
        let advice = "Nothing was charged. For safety no copy is kept: please type the card again.";
        return (Some("Please check what is marked below"), advice);
    }
    if form.not_sent {
        return (Some("The payment service could not be reached"), "Nothing was charged. Please try again.");
    }
    match form.declined {
        None => (None, usual),
        Some(DeclineClass::Rekey(_)) => (
            Some("The bank declined the payment"),
            "Nothing was charged. Please type the card again, and check what is marked below.",
        ),
        Some(DeclineClass::TryLater) => (
            Some("The bank declined the payment for now"),
            "Nothing was charged. Try again later, or use another card.",
        ),
        Some(DeclineClass::OtherCard | DeclineClass::Never | DeclineClass::Authenticate) => {
            (Some("The bank declined this card"), "Nothing was charged. Please use another card.")
        }
    }
}

fn blamed(declined: Option<DeclineClass>, field: Field) -> Option<&'static str> {
    match declined {
        Some(DeclineClass::Rekey(blamed)) if blamed == field => Some(match field {
            Field::CardNumber => "The bank does not know this card number.",
            Field::Expiry => "The bank does not accept this expiry date.",
            Field::SecurityCode => "The bank does not accept this security code.",
        }),
        _ => None,
    }
}

fn mistake(field: Field, reason: InvalidReason) -> &'static str {
    match (field, reason) {
        (Field::CardNumber, InvalidReason::BrandNotTaken) => "This kind of card is not taken here.",
        (Field::CardNumber, InvalidReason::Length) => "Enter the whole number on the front of the card.",
        (Field::CardNumber, _) => "The number is not right: a digit is missing, doubled or mistaken.",
        (Field::Expiry, InvalidReason::Expired) => "The card has expired.",
        (Field::Expiry, _) => "Enter month and year as on the card, such as 08/30.",
        (Field::SecurityCode, _) => "Enter the security code: 3 digits, or 4 on American Express.",
    }
}

fn row(field: Field) -> Row {
    match field {
        Field::CardNumber => Row {
            name: field.name(),
            title: "Card number",
            hint: "The long number on the card",
            autocomplete: "cc-number",
            length_max: 32,
            mistake: None,
        },
        Field::Expiry => Row {
            name: field.name(),
            title: "Expiry date",
            hint: "Month and year, such as 08/30",
            autocomplete: "cc-exp",
            length_max: 9,
            mistake: None,
        },
        Field::SecurityCode => Row {
            name: field.name(),
            title: "Security code",
            hint: "3 digits on the back, 4 on the front of American Express",
            autocomplete: "cc-csc",
            length_max: 4,
            mistake: None,
        },
    }
}
