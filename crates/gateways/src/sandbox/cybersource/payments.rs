//! `POST /pts/v2/payments`: sale or authorisation, with a keyed card or a token.

use std::collections::BTreeMap;

use hushpad_domain::money::{Currency, Money, MoneyError};
use hushpad_domain::time::Timestamp;
use serde_json::{Value, json};

use super::{decline, invalid, outcome, seconds, tokens};
use crate::sandbox::format::Format;
use crate::sandbox::http::{Reply, at, text_at};
use crate::sandbox::ids;
use crate::sandbox::issuer::{CardAsked, CardFacts, Check, Reason, Standing};
use crate::sandbox::ledger::payment::Payment;
use crate::sandbox::ledger::summary::decimal;
use crate::sandbox::turn::{NewPayment, Stop, Taking, Turn};

/// Within this time a reference that comes again is a duplicate.
const DUPLICATE_S: i64 = 15 * 60;
/// Within this time a `transactionId` must not come again.
const UNIQUE_S: i64 = 60 * 24 * 60 * 60;
/// `clientReferenceInformation.code` has at most 50 characters, `transactionId` 30.
const CODE_CHARS_MAX: usize = 50;
const TRANSACTION_ID_CHARS_MAX: usize = 30;

pub(super) fn pay(turn: &mut Turn<'_>) -> Result<Reply, Stop> {
    let now = turn.now;
    let Some(body) = turn.ask.json() else { return Ok(invalid(now, "INVALID_DATA", None)) };
    let order = match Order::read(turn, &body) {
        Ok(order) => order,
        Err((reason, field)) => return Ok(invalid(now, reason, Some(field))),
    };
    if is_duplicate(turn, &order) {
        return Ok(invalid(now, "DUPLICATE_REQUEST", None));
    }
    let Some(amount) = order.amount else { return verify(turn, &order) };
    let id = ids::request_number(turn.books.next_serial()?);
    let mut kept = BTreeMap::from([(format!("code {id}"), order.code.clone())]);
    kept.extend(order.transaction_id.clone().map(|id| ("transactionId".to_owned(), id)));
    let mut payment = turn.pay(NewPayment {
        format: Format::CyberSource,
        reference: &order.code,
        id,
        amount,
        card: order.card.clone(),
        taking: order.taking,
        takes_parts: true,
        kept,
        return_url: None,
    })?;
    if let Some(failed) = order.failed(&payment) {
        payment.kept.insert("failed".to_owned(), failed.to_owned());
        turn.save(payment.clone())?;
    }
    let mut reply = told(turn, &payment);
    if order.creates_tokens && payment.is_approved() {
        reply["tokenInformation"] = tokens::create(turn, &payment.card)?;
    }
    Ok(Reply::json(201, &reply))
}

struct Order {
    code: String,
    transaction_id: Option<String>,
    /// `None`: nothing, to verify a card and keep it.
    amount: Option<Money>,
    card: CardFacts,
    taking: Taking,
    creates_tokens: bool,
    minds_code: bool,
    minds_address: bool,
}

/// A reason, and the field that is to blame.
type Blame = (&'static str, &'static str);

impl Order {
    fn read(turn: &Turn<'_>, body: &Value) -> Result<Self, Blame> {
        const MISSING: &str = "MISSING_FIELD";
        const INVALID: &str = "INVALID_DATA";
        const CODE: &str = "clientReferenceInformation.code";
        const TRANSACTION: &str = "clientReferenceInformation.transactionId";
        let code = text_at(body, &["clientReferenceInformation", "code"]).ok_or((MISSING, CODE))?;
        if code.is_empty() || code.chars().count() > CODE_CHARS_MAX {
            return Err((INVALID, CODE));
        }
        let transaction_id = text_at(body, &["clientReferenceInformation", "transactionId"]);
        if transaction_id.as_ref().is_some_and(|id| id.chars().count() > TRANSACTION_ID_CHARS_MAX) {
            return Err((INVALID, TRANSACTION));
        }
        let processing = &body["processingInformation"];
        let creates_tokens = processing["actionList"]
            .as_array()
            .is_some_and(|actions| actions.iter().any(|action| action == "TOKEN_CREATE"));
        let (card, is_keyed) = card_of(turn, body)?;
        let indicator = processing["commerceIndicator"].as_str().unwrap_or_default();
        let is_page = indicator == "internet" && turn.books.takes_ecommerce;
        if is_keyed && !is_page && !indicator.eq_ignore_ascii_case("moto") {
            return Err((INVALID, "processingInformation.commerceIndicator"));
        }
        let ignores = |name: &str| {
            let flag = at(processing, &["authorizationOptions", name]);
            flag.is_some_and(|flag| *flag == true || *flag == "true")
        };
        let (minds_code, minds_address) = (!ignores("ignoreCvResult"), !ignores("ignoreAvsResult"));
        let taking = match processing["capture"] == true {
            true => Taking::NowIfMatching { code: minds_code, address: minds_address },
            false => Taking::Later,
        };
        Ok(Self {
            code: code.into_owned(),
            transaction_id: transaction_id.map(Into::into),
            amount: amount_of(body, creates_tokens)?,
            card,
            taking,
            creates_tokens,
            minds_code,
            minds_address,
        })
    }

    /// Approved by the issuer, but declined by CyberSource: the authorisation is held all the same.
    fn failed(&self, payment: &Payment) -> Option<&'static str> {
        let fails = |minds: bool, check: Check| minds && check == Check::Mismatch && payment.is_approved();
        match (fails(self.minds_code, payment.code), fails(self.minds_address, payment.address)) {
            (true, _) => Some("CV_FAILED"),
            (false, true) => Some("AVS_FAILED"),
            (false, false) => None,
        }
    }
}

fn amount_of(body: &Value, may_be_nothing: bool) -> Result<Option<Money>, Blame> {
    let details = &body["orderInformation"]["amountDetails"];
    let currency = text_at(details, &["currency"]).and_then(|code| Currency::from_code(&code).ok());
    let currency = currency.ok_or(("INVALID_DATA", "orderInformation.amountDetails.currency"))?;
    const TOTAL: &str = "orderInformation.amountDetails.totalAmount";
    let total = text_at(details, &["totalAmount"]).ok_or(("MISSING_FIELD", TOTAL))?;
    match Money::parse(&total, currency) {
        Ok(amount) => Ok(Some(amount)),
        Err(MoneyError::NotPositive) if may_be_nothing => Ok(None),
        Err(_) => Err(("INVALID_DATA", TOTAL)),
    }
}

/// The card, and whether it was keyed.
fn card_of(turn: &Turn<'_>, body: &Value) -> Result<(CardFacts, bool), Blame> {
    let payment = &body["paymentInformation"];
    for kind in ["paymentInstrument", "instrumentIdentifier", "customer"] {
        if let Some(id) = text_at(payment, &[kind, "id"]) {
            let token = turn.books.token(Format::CyberSource, &id);
            return Ok((
                token.ok_or(("INVALID_DATA", "paymentInformation.customer.id"))?.card.clone(),
                false,
            ));
        }
    }
    const NUMBER: &str = "paymentInformation.card.number";
    let text = |name: &str| text_at(&payment["card"], &[name]).unwrap_or_default();
    let (number, month, year) = (text("number"), text("expirationMonth"), text("expirationYear"));
    if number.is_empty() {
        return Err(("MISSING_FIELD", NUMBER));
    }
    let code = text_at(&payment["card"], &["securityCode"]);
    let has_address = body["orderInformation"]["billTo"].get("postalCode").is_some();
    let card = CardAsked { number: &number, month: &month, year: &year, code: code.as_deref(), has_address };
    let facts = turn.look(&card);
    match facts.standing {
        Standing::Declined(Reason::InvalidNumber) => Err(("INVALID_DATA", NUMBER)),
        Standing::Declined(Reason::InvalidExpiryMonth) => {
            Err(("INVALID_DATA", "paymentInformation.card.expirationMonth"))
        }
        Standing::Declined(Reason::InvalidExpiryYear) => {
            Err(("INVALID_DATA", "paymentInformation.card.expirationYear"))
        }
        _ => Ok((facts, true)),
    }
}

fn is_duplicate(turn: &Turn<'_>, order: &Order) -> bool {
    let within =
        |payment: &Payment, seconds: i64| (turn.now.as_seconds() - payment.on.as_seconds()).abs() < seconds;
    let same_code = turn.books.of_reference(Format::CyberSource, &order.code);
    if same_code.iter().any(|payment| within(payment, DUPLICATE_S)) {
        return true;
    }
    order
        .transaction_id
        .as_ref()
        .is_some_and(|id| turn.books.by_transaction_id(id).is_some_and(|payment| within(payment, UNIQUE_S)))
}

/// A card that is looked at and kept, without money.
fn verify(turn: &mut Turn<'_>, order: &Order) -> Result<Reply, Stop> {
    let id = ids::request_number(turn.books.next_serial()?);
    let mut reply = json!({
        "id": id, "submitTimeUtc": seconds(turn.now), "status": "AUTHORIZED",
        "clientReferenceInformation": { "code": order.code },
    });
    if let Standing::Declined(reason) = order.card.standing {
        reply["status"] = json!("DECLINED");
        reply["errorInformation"] = error_information(decline(reason).0);
    } else {
        reply["tokenInformation"] = tokens::create(turn, &order.card)?;
    }
    Ok(Reply::json(201, &reply))
}

pub(super) fn error_information(reason: &str) -> Value {
    json!({ "reason": reason, "message": "Decline - see the reason." })
}

/// A payment as it is answered.
fn told(turn: &Turn<'_>, payment: &Payment) -> Value {
    let outcome = outcome(payment);
    let (minor, currency) = turn.told(payment);
    let id = &payment.id;
    let mut reply = json!({
        "_links": links(id, payment.captured() > 0),
        "id": id,
        "submitTimeUtc": seconds(payment.on),
        "status": outcome.status,
        "reconciliationId": ids::capitals(id, 16),
        "clientReferenceInformation": reference(payment, turn.now),
        "orderInformation": { "amountDetails": { "totalAmount": decimal(minor, &currency), "currency": currency } },
        "paymentInformation": { "card": { "type": card_type(payment) } },
    });
    if let Some(reason) = outcome.reason {
        reply["errorInformation"] = error_information(reason);
    }
    if payment.is_approved() {
        let authorised = if payment.granted() < minor { payment.granted() } else { minor };
        reply["orderInformation"]["amountDetails"]["authorizedAmount"] =
            json!(decimal(authorised, &currency));
        reply["processorInformation"] = processor_information(payment);
    }
    reply
}

fn reference(payment: &Payment, _: Timestamp) -> Value {
    let mut reference = json!({ "code": payment.reference });
    if let Some(id) = payment.kept.get("transactionId") {
        reference["transactionId"] = json!(id);
    }
    reference
}

fn links(id: &str, is_sale: bool) -> Value {
    let link = |what: &str| json!({ "method": "POST", "href": format!("/pts/v2/payments/{id}/{what}") });
    let own = json!({ "method": "GET", "href": format!("/pts/v2/payments/{id}") });
    match is_sale {
        true => json!({ "self": own, "void": link("voids"), "refund": link("refunds") }),
        false => json!({ "self": own, "authReversal": link("reversals"), "capture": link("captures") }),
    }
}

fn processor_information(payment: &Payment) -> Value {
    let address = match payment.address {
        Check::Match => "Y",
        Check::Mismatch => "N",
        Check::NotChecked => "2",
    };
    let code = match payment.code {
        Check::Match => "M",
        Check::Mismatch => "N",
        Check::NotChecked => "P",
    };
    json!({
        "approvalCode": ids::capitals(&payment.id, 6),
        "networkTransactionId": ids::capitals(&format!("network {}", payment.id), 15),
        "responseCode": "100",
        "avs": { "code": address, "codeRaw": address },
        "cardVerification": { "resultCode": code, "resultCodeRaw": code },
    })
}

/// CyberSource's card types.
pub(super) fn card_type(payment: &Payment) -> &'static str {
    use hushpad_domain::masked_card::Brand;
    match payment.card.brand {
        Some(Brand::Visa) | None => "001",
        Some(Brand::Mastercard) => "002",
        Some(Brand::Amex) => "003",
        Some(Brand::Discover) => "004",
        Some(Brand::Diners) => "005",
        Some(Brand::Jcb) => "007",
        Some(Brand::Maestro) => "042",
        Some(Brand::UnionPay) => "062",
    }
}
