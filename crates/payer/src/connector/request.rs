//! How a transaction is read: its name and amount first, as they tell whether it came before; then the rest.

use std::collections::BTreeMap;

use hushpad_card::{Card, FormRefusal, read_form};
use hushpad_domain::account::PaymentFlow;
use hushpad_domain::field::Field;
use hushpad_domain::field_map::OtherNames;
use hushpad_domain::money::{Currency, Money, MoneyError};
use hushpad_domain::page::InvalidReason;
use hushpad_domain::payment_data::{PaymentData, PaymentDataError};
use hushpad_domain::text::holds_card_number;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::desk::Method;
use super::json::{Object, WrongShape};

/// A guid has 36, a Twilio SID 34.
const ID_CHARS_MAX: usize = 128;
/// What `postal_code` and `description` are called in `paymentData`, where connectors look for them.
const POSTCODE: &str = "Postcode";
const DESCRIPTION: &str = "Description";
const REFERENCE: &str = "MerchantReferenceCode";
/// Other names that postcodes are given under.
const POSTCODES: [&str; 3] = ["PostalCode", "postal_code", "billTo_postalCode"];

/// What names a transaction and what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) id: String,
    pub(super) method: Method,
    /// Of a tokenization, which moves no money, it may be made up: [`Wanted::amount_is_given`].
    pub(super) amount: Money,
    pub(super) amount_is_given: bool,
}

/// What is wrong with a request, to be told all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) about: About,
    pub(super) text: String,
}

/// What kind of mistake; the names that gateways share where it is about the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    CardInText,
    InvalidRequest,
    Number,
    BrandNotTaken,
    Expiry,
    SecurityCode,
}

/// The card cannot be held now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoMemory;

/// Reads name, method and amount.
pub(super) fn wanted(object: &Object<'_>) -> Result<Wanted, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let id = take(&mut mistakes, transaction_id(object));
    let method = take(&mut mistakes, method(object));
    let amount = amount(object, method, &mut mistakes);
    match (id, method, amount) {
        (Some(id), Some(method), Some((amount, amount_is_given))) if mistakes.is_empty() => {
            Ok(Wanted { id, method, amount, amount_is_given })
        }
        _ => Err(mistakes),
    }
}

/// An id that may name a transaction. Of random guids and hexadecimal ids, the commonest ones, one in some hundreds
/// reads as a card number: they are none.
pub(super) fn check_id(id: &str) -> Result<(), Mistake> {
    if holds_card_number(id) && !is_machine_id(id) {
        return Err(card_in_text("transaction_id"));
    }
    if id.len() > ID_CHARS_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid("transaction_id must be 1 to 128 visible ASCII characters"));
    }
    Ok(())
}

/// Everything that the flow pays with, but for the card.
pub(super) fn payment_data(
    object: &Object<'_>,
    wanted: Option<&Wanted>,
    flow: &PaymentFlow,
    mistakes: &mut Vec<Mistake>,
) -> Option<PaymentData> {
    let mut values = parameters(object, mistakes);
    for (ours, theirs, others) in
        [("postal_code", POSTCODE, POSTCODES.as_slice()), ("description", DESCRIPTION, &[])]
    {
        let given = object.text(ours).map_err(|WrongShape| invalid(&format!("{ours} must be a string")));
        let there = std::iter::once(&theirs).chain(others).any(|name| has(&values, name));
        if let (Some(text), false) = (take(mistakes, given).flatten(), there) {
            values.insert(theirs.to_owned(), text);
        }
    }
    let Some(wanted) = wanted else {
        // The rest is looked at all the same: every mistake is told at once.
        let texts = values.iter().filter(|(_, text)| holds_card_number(text));
        mistakes.extend(texts.map(|(name, _)| card_in_text(&place_of(name))));
        mistakes.extend(flow.data.check(&values).iter().map(of_payment_data));
        return None;
    };
    values.insert("Amount".to_owned(), wanted.amount.decimal());
    values.insert("Currency".to_owned(), wanted.amount.currency().code().to_owned());
    let known = flow.data.others == OtherNames::PassedThrough
        || flow.data.rules.iter().any(|rule| rule.name.eq_ignore_ascii_case(REFERENCE));
    if known && !has(&values, REFERENCE) && !holds_card_number(&wanted.id) {
        values.insert(REFERENCE.to_owned(), wanted.id.clone());
    }
    let of_the_flow = flow.data.check(&values);
    let data = PaymentData::new(values);
    let wrong = data.as_ref().err().into_iter().flatten().chain(&of_the_flow);
    let mut told: Vec<Mistake> = wrong.map(of_payment_data).collect();
    told.dedup();
    mistakes.append(&mut told);
    data.ok()
}

/// The card, into locked memory.
pub(super) fn card(
    object: &Object<'_>,
    flow: &PaymentFlow,
    today: (i32, u8),
    mistakes: &mut Vec<Mistake>,
) -> Result<Option<Card>, NoMemory> {
    if object.has("token_id") && !object.has("cardnumber") {
        mistakes.push(invalid("token_id is not taken here: a stored card is charged by POST /v1/charge"));
        return Ok(None);
    }
    // What is no plain text is no digit either.
    let plain = |name| object.plain(name).unwrap_or(Some(b"?")).unwrap_or_default();
    let expiry = expiry(plain("expiry_month"), plain("expiry_year"));
    let value = |field| match field {
        Field::CardNumber => plain("cardnumber"),
        Field::Expiry => expiry.as_slice(),
        Field::SecurityCode => plain("cvv"),
    };
    match read_form(&flow.fields, &flow.brands, today, value) {
        Ok(card) => Ok(Some(card)),
        Err(FormRefusal::Mistakes(wrong)) => {
            mistakes.extend(wrong.into_iter().map(|(field, reason)| of_card(object, field, reason)));
            Ok(None)
        }
        Err(FormRefusal::NoMemory) => Err(NoMemory),
    }
}

fn take<T>(mistakes: &mut Vec<Mistake>, result: Result<T, Mistake>) -> Option<T> {
    result.map_err(|mistake| mistakes.push(mistake)).ok()
}

fn transaction_id(object: &Object<'_>) -> Result<String, Mistake> {
    let id =
        object.text("transaction_id").map_err(|WrongShape| invalid("transaction_id must be a string"))?;
    let id = id.ok_or_else(|| invalid("transaction_id is missing"))?;
    check_id(&id).map(|()| id)
}

/// `credit-card` is SignalWire's: it charges where there is an amount.
fn method(object: &Object<'_>) -> Result<Method, Mistake> {
    match object.plain("method") {
        Ok(Some(b"charge")) => Ok(Method::Charge),
        Ok(Some(b"tokenize")) => Ok(Method::Tokenize),
        Ok(Some(b"credit-card")) if has_amount(object) => Ok(Method::Charge),
        Ok(Some(b"credit-card")) => Ok(Method::Tokenize),
        Ok(_) | Err(WrongShape) => Err(invalid("method must be charge or tokenize")),
    }
}

fn has_amount(object: &Object<'_>) -> bool {
    let not_zero = |text: &[u8]| text.iter().any(|byte| !matches!(byte, b'0' | b'.'));
    amount_text(object).is_ok_and(|text| text.is_some_and(not_zero))
}

/// `chargeAmount` is SignalWire's.
fn amount_text<'a>(object: &Object<'a>) -> Result<Option<&'a [u8]>, WrongShape> {
    let name = if object.has("amount") { "amount" } else { "chargeAmount" };
    object.plain(name)
}

/// The amount, and whether it was given: a tokenization needs none.
fn amount(object: &Object<'_>, method: Option<Method>, mistakes: &mut Vec<Mistake>) -> Option<(Money, bool)> {
    let text = |bytes: Result<Option<&[u8]>, WrongShape>, name: &str| match bytes {
        Ok(Some(bytes)) => String::from_utf8(bytes.to_vec()).map_err(|_| wrong(name, &MoneyError::Malformed)),
        Ok(None) => Err(invalid(&format!("{name} is missing"))),
        Err(WrongShape) => Err(wrong(name, &MoneyError::Malformed)),
    };
    let code = take(mistakes, text(object.plain("currency_code"), "currency_code"));
    let currency = code.and_then(|code| {
        let currency = Currency::from_code(&code.to_ascii_uppercase());
        take(mistakes, currency.map_err(|error| wrong("currency_code", &error)))
    });
    if method == Some(Method::Tokenize) && !has_amount(object) {
        // The smallest there is. It goes nowhere: gateways are asked to keep the card, and what one that wants an
        // amount with that hears is never more.
        return Money::from_minor(1, currency?).ok().map(|amount| (amount, false));
    }
    let text = take(mistakes, text(amount_text(object), "amount"))?;
    let amount = Money::parse(&text, currency?).map_err(|error| wrong("amount", &error));
    take(mistakes, amount).map(|amount| (amount, true))
}

fn parameters(object: &Object<'_>, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, String> {
    const SHAPE: &str = "parameters must be an object of strings";
    let mut values = BTreeMap::new();
    let Some(given) = take(mistakes, object.object("parameters").map_err(|WrongShape| invalid(SHAPE))) else {
        return values;
    };
    for (name, text) in given.iter().flat_map(Object::texts) {
        // Such a name goes no further: nothing may tell of it.
        if holds_card_number(name) {
            mistakes.push(card_in_text("a name in parameters"));
            continue;
        }
        let Some(text) = take(mistakes, text.map_err(|WrongShape| invalid(SHAPE))) else { continue };
        if ["Amount", "Currency"].iter().any(|own| own.eq_ignore_ascii_case(name)) {
            let shown = place_of(name);
            mistakes.push(invalid(&format!("{shown} is not taken: amount and currency_code say it")));
        } else if name.eq_ignore_ascii_case("channel") && text.eq_ignore_ascii_case("ecommerce") {
            // A card from a page must not be sent on as one that was keyed on a phone.
            mistakes.push(invalid("only cards that were keyed on a phone are taken here"));
        } else {
            values.insert(name.to_owned(), text);
        }
    }
    values
}

fn has(values: &BTreeMap<String, String>, name: &str) -> bool {
    values.keys().any(|known| known.eq_ignore_ascii_case(name))
}

/// `MMYY` or `MMYYYY`, of a month that may have one digit; nothing where there is no such thing.
fn expiry(month: &[u8], year: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut written = Zeroizing::new(Vec::with_capacity(8));
    if (1..=2).contains(&month.len()) && [2, 4].contains(&year.len()) {
        if month.len() == 1 {
            written.push(b'0');
        }
        written.extend_from_slice(month);
        written.extend_from_slice(year);
    }
    written
}

/// A guid, or 32 hexadecimal digits, alone or after the two letters of a Twilio SID.
fn is_machine_id(id: &str) -> bool {
    let hex = match id.as_bytes() {
        [b'A'..=b'Z', b'A'..=b'Z', ..] if id.len() == 34 => &id[2..],
        _ => id,
    };
    [32, 36].contains(&hex.len()) && Uuid::try_parse(hex).is_ok()
}

fn invalid(text: &str) -> Mistake {
    Mistake { about: About::InvalidRequest, text: text.to_owned() }
}

fn wrong(name: &str, error: &MoneyError) -> Mistake {
    invalid(&format!("{name} {error}"))
}

fn card_in_text(place: &str) -> Mistake {
    let text = format!("{place} holds a card number: it belongs into cardnumber and nowhere else");
    Mistake { about: About::CardInText, text }
}

/// Where a name of `paymentData` came from.
fn place_of(name: &str) -> String {
    match name {
        POSTCODE => "postal_code".to_owned(),
        DESCRIPTION => "description".to_owned(),
        other => format!("parameters.{other}"),
    }
}

fn of_payment_data(error: &PaymentDataError) -> Mistake {
    match error.name() {
        Some(name) if error.is_card_data() => card_in_text(&place_of(name)),
        None if error.is_card_data() => card_in_text("a name in parameters"),
        Some(name) => {
            invalid(&error.to_string().replacen(&format!("paymentData.{name}"), &place_of(name), 1))
        }
        None => invalid(&error.to_string().replacen("paymentData", "parameters", 1)),
    }
}

fn of_card(object: &Object<'_>, field: Field, reason: InvalidReason) -> Mistake {
    let (names, about): (&[&str], _) = match field {
        Field::CardNumber if reason == InvalidReason::BrandNotTaken => {
            (&["cardnumber"], About::BrandNotTaken)
        }
        Field::CardNumber => (&["cardnumber"], About::Number),
        Field::Expiry => (&["expiry_month", "expiry_year"], About::Expiry),
        Field::SecurityCode => (&["cvv"], About::SecurityCode),
    };
    let words = match reason {
        InvalidReason::Length if names.iter().any(|name| !matches!(object.plain(name), Ok(Some(_)))) => {
            "is missing, or is no text of digits"
        }
        InvalidReason::Length => "has too few or too many digits, or something between them",
        InvalidReason::CheckDigit => "has a wrong, missing or doubled digit",
        InvalidReason::BrandNotTaken => "is of a brand that is not taken here",
        InvalidReason::Month => "is no month from 01 to 12",
        InvalidReason::Expired => "is in the past",
        InvalidReason::Declined => "was declined",
    };
    Mistake { about, text: format!("{} {words}", names.join(" with ")) }
}
