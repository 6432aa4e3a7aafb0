use hushpad_domain::attempt::{Attempt, Check, Checks, DeclineClass, Verdict};
use hushpad_domain::field::Field;
use hushpad_domain::ids::OperationId;

use super::*;
use crate::contract::Sheet;
use crate::fixtures::{self, verdict};

const REF: &str = "00000000-0000-0000-0000-000000000007";

fn worldpay() -> Worldpay {
    Worldpay::new(Settings {
        base: Endpoint::parse("https://try.access.worldpay.com", false).unwrap(),
        entity: "default",
        narrative: "Shop",
        user: "u",
        password: "p",
        settle_time: Duration::from_secs(60),
    })
    .unwrap()
}

fn pay() -> Step {
    Step { no: PAY, ids: Vec::new() }
}

fn parsed(status: u16, body: &str) -> Parsed {
    fixtures::parse(&worldpay(), &pay(), status, body.as_bytes())
}

pub(crate) fn sheet() -> Sheet {
    let approved =
        format!(r#"{{"outcome":"sentForSettlement","paymentId":"pay1","transactionReference":"{REF}"}}"#);
    let refused =
        |code: &str| format!(r#"{{"outcome":"refused","refusalCode":"{code}","refusalDescription":"no"}}"#);
    Sheet {
        name: "worldpay",
        connector: Box::new(worldpay()),
        pay: pay(),
        approved: (201, approved.clone()),
        partial: None,
        declined: (201, refused("5")),
        challenge: (201, refused("65")),
        time_outs: vec![
            (500, r#"{"errorName":"internalErrorOccurred"}"#.to_owned()),
            (408, String::new()),
            (400, r#"{"errorName":"brandNew"}"#.to_owned()),
        ],
        not_ours: vec![
            (201, approved.replace(REF, "another")),
            (201, r#"{"outcome":"brandNew"}"#.to_owned()),
            (404, approved),
        ],
        moto: "\"channel\":\"moto\"",
        untaken: Some("CLP"),
        token: "https://try.access.worldpay.com/tokens/abc",
    }
}

#[test]
fn the_request_is_a_moto_sale_in_minor_units() {
    let wire = fixtures::build(&worldpay(), &pay(), "12.40", "GBP").unwrap();
    insta::assert_snapshot!(fixtures::header_lines(&wire), @r#"
    POST /cardPayments/customerInitiatedTransactions
    authorization: Basic dTpw
    content-type: application/vnd.worldpay.payments-v7+json
    accept: application/vnd.worldpay.payments-v7+json
    "#);
    let mut body: serde_json::Value = serde_json::from_slice(wire.body.as_ref()).unwrap();
    fixtures::take_card(&mut body["instruction"]["paymentInstrument"], "cardNumber", "cvc");
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap(), @r#"
    {
      "channel": "moto",
      "instruction": {
        "narrative": {
          "line1": "Shop"
        },
        "paymentInstrument": {
          "billingAddress": {
            "address1": "1 High Street",
            "city": "London",
            "countryCode": "GB",
            "postalCode": "SW1A 1AA"
          },
          "cardHolderName": "Ann O'Neil & Co",
          "expiryDate": {
            "month": 12,
            "year": 2030
          },
          "type": "card/plain"
        },
        "requestAutoSettlement": {
          "enabled": true
        },
        "value": {
          "amount": 1240,
          "currency": "GBP"
        }
      },
      "merchant": {
        "entity": "default"
      },
      "transactionReference": "00000000-0000-0000-0000-000000000007"
    }
    "#);
}

#[test]
fn a_refusal_says_what_can_be_done() {
    use DeclineClass::{Authenticate, Never, OtherCard, Rekey, TryLater};
    for (code, class) in [
        ("5", OtherCard),
        ("14", Rekey(Field::CardNumber)),
        ("54", Rekey(Field::Expiry)),
        ("82", Rekey(Field::SecurityCode)),
        ("51", TryLater),
        ("41", Never),
        ("43", Never),
        ("65", Authenticate),
        ("999", OtherCard),
    ] {
        let body = format!(r#"{{"outcome":"refused","refusalCode":"{code}"}}"#);
        assert_eq!(verdict(&parsed(201, &body)), Some(Verdict::Declined { class }), "{code}");
    }
    let invalid = |path: &str| {
        format!(r#"{{"errorName":"bodyDoesNotMatchSchema","validationErrors":[{{"jsonPath":"{path}"}}]}}"#)
    };
    let number = parsed(400, &invalid("$.instruction.paymentInstrument.cardNumber"));
    assert_eq!(verdict(&number), Some(Verdict::Declined { class: Rekey(Field::CardNumber) }));
    assert_eq!(parsed(400, &invalid("$.merchant.entity")), Parsed::Refused);
    assert_eq!(parsed(429, "{}"), Parsed::Refused);
    let pending = parsed(202, r#"{"_links":{}}"#);
    assert_eq!(verdict(&pending), Some(Verdict::Pending));
}

#[test]
fn risk_factors_are_what_is_wrong() {
    let body = r#"{"outcome":"authorized","riskFactors":[{"type":"cvc","risk":"notMatched"},{"type":"avs","detail":"address","risk":"not_matched"},{"type":"avs","detail":"postcode","risk":"notChecked"}]}"#;
    let Parsed::Answer(answer) = parsed(201, body) else { panic!("no answer") };
    let checks =
        Checks { address: Check::NoMatch, postcode: Check::NotChecked, security_code: Check::NoMatch };
    assert_eq!(answer.checks, checks);
}

fn state(event: &str, links: &[(&str, &str)]) -> String {
    let links: std::collections::BTreeMap<_, _> = links
        .iter()
        .map(|(name, href)| (format!("cardPayments:{name}"), serde_json::json!({ "href": href })))
        .collect();
    serde_json::json!({ "lastEvent": event, "_links": links }).to_string()
}

#[test]
fn what_follows_goes_by_the_links_that_are_there() {
    use FollowUpKind::{Capture, Refund, Reverse, Void};
    let read = |kind, amount: &str, body: &str| {
        let attempt = fixtures::attempt("12.40", "GBP");
        let mut asked = fixtures::follow_up(&attempt, "pay1", kind);
        asked.amount = fixtures::attempt(amount, "GBP").amount;
        fixtures::told(&worldpay().parse_follow_up(
            &Step::default(),
            &asked,
            &fixtures::reply(200, body.as_bytes()),
        ))
    };
    let host = "https://try.access.worldpay.com/payments";
    let links = [
        ("settle", format!("{host}/settlements/full/L1")),
        ("partialSettle", format!("{host}/settlements/partials/L2")),
        ("cancel", format!("{host}/authorizations/cancellations/L3")),
        ("refund", "/payments/settlements/refunds/full/L4".to_owned()),
        ("partialRefund", format!("{host}/settlements/refunds/partials/L5")),
    ];
    let links: Vec<(&str, &str)> = links.iter().map(|(name, href)| (*name, href.as_str())).collect();
    let body = state("Authorized", &links);
    assert_eq!(read(Capture, "12.40", &body), "next 1 /payments/settlements/full/L1");
    assert_eq!(read(Capture, "6.20", &body), "next 2 /payments/settlements/partials/L2");
    assert_eq!(read(Void, "12.40", &body), "next 1 /payments/authorizations/cancellations/L3");
    assert_eq!(read(Refund, "12.40", &body), "next 1 /payments/settlements/refunds/full/L4");
    assert_eq!(read(Refund, "6.20", &body), "next 2 /payments/settlements/refunds/partials/L5");
    assert_eq!(read(Reverse, "12.40", &body), "next 1 /payments/authorizations/cancellations/L3");
    // The events lag, or the link leads elsewhere.
    assert_eq!(read(Capture, "12.40", &state("Authorized", &[])), "not processed");
    for href in
        ["https://evil.example/x", "/tokens/x", "/payments/../tokens/x", "/payments/a b", "/payments/a\r\nb"]
    {
        assert_eq!(
            read(Capture, "12.40", &state("Authorized", &[("settle", href)])),
            "not processed",
            "{href}"
        );
    }
    let attempt = fixtures::attempt("12.40", "GBP");
    let mut asked = fixtures::follow_up(&attempt, "pay1", Refund);
    asked.amount = fixtures::attempt("6.20", "GBP").amount;
    let part = Step { no: 2, ids: vec!["/payments/settlements/refunds/partials/L5".to_owned()] };
    let wire = worldpay().follow_up(&part, &asked, fixtures::now()).unwrap();
    assert_eq!(wire.endpoint.target, "/payments/settlements/refunds/partials/L5");
    insta::assert_snapshot!(std::str::from_utf8(wire.body.as_ref()).unwrap(), @r#"{"reference":"00000000-0000-0000-0000-000000000008","value":{"amount":620,"currency":"GBP"}}"#);
    let act = |status, body: &str| {
        fixtures::told(&worldpay().parse_follow_up(&part, &asked, &fixtures::reply(status, body.as_bytes())))
    };
    assert_eq!(act(202, "{}"), "done 00000000-0000-0000-0000-000000000008");
    assert_eq!(act(409, r#"{"errorName":"operationNotAllowed"}"#), "refused operationNotAllowed");
    assert_eq!(act(409, ""), "unknown");
    assert_eq!(act(500, "{}"), "unknown");
}

#[test]
fn the_last_event_proves_a_capture_only_where_no_other_one_can_have_left_it() {
    use hushpad_domain::operation::{Operation, OperationKind, OperationNo, OperationState};
    let done = OperationState::Done { gateway_reference: "c1".to_owned() };
    let refused = OperationState::Refused { reason: "no".to_owned() };
    let read = |kind, earlier: Option<(OperationKind, &OperationState)>, event: &str| {
        let mut attempt = fixtures::attempt("12.40", "GBP");
        attempt.operations.extend(earlier.map(|(kind, state)| Operation {
            id: OperationId(Uuid::from_u128(99)),
            no: OperationNo(1),
            kind,
            amount: attempt.amount,
            state: state.clone(),
            intended_on: fixtures::now(),
            updated_on: fixtures::now(),
        }));
        let asked = fixtures::follow_up(&attempt, "pay1", kind);
        let said = fixtures::reply(200, state(event, &[]).as_bytes());
        fixtures::told(&worldpay().parse_query_follow_up(&Step::default(), &asked, &said))
    };
    let (taken, given_back) = (OperationKind::Capture, OperationKind::Refund);
    let is_done = "done 00000000-0000-0000-0000-000000000008";
    assert_eq!(read(FollowUpKind::Capture, None, "Sent for Settlement"), is_done);
    assert_eq!(read(FollowUpKind::Capture, Some((taken, &refused)), "Sent for Settlement"), is_done);
    for event in ["Sent for Settlement", "Sent for Refund"] {
        assert_eq!(read(FollowUpKind::Capture, Some((taken, &done)), event), "unknown", "{event}");
    }
    assert_eq!(read(FollowUpKind::Reverse, None, "Sent for Refund"), is_done);
    assert_eq!(read(FollowUpKind::Reverse, Some((given_back, &done)), "Sent for Refund"), "unknown");
    assert_eq!(read(FollowUpKind::Void, None, "Sent for Cancellation"), is_done);
    assert_eq!(read(FollowUpKind::Capture, None, "Authorized"), "not processed");
}

#[test]
fn the_question_tells_what_became_of_it() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let wire = worldpay().query(&Step::default(), &attempt, fixtures::now()).unwrap();
    assert_eq!(wire.endpoint.target, format!("/payments/events?transactionRef={REF}&entity=default"));
    let asked = |status, body: &str| {
        worldpay().parse_query(&Step::default(), &attempt, &fixtures::reply(status, body.as_bytes()))
    };
    let found = |body: &str| match asked(200, body) {
        ParsedQuery::Found(answer) => Some(answer.verdict),
        _ => None,
    };
    assert_eq!(found(&state("Authorized", &[])), Some(Verdict::Approved));
    assert_eq!(found(&state("Sent for Settlement", &[])), Some(Verdict::Approved));
    assert!(matches!(found(&state("Refused", &[])), Some(Verdict::Declined { .. })));
    for event in ["Sent for Authorization", "Cancelled", "Sent for Refund", "Brand New"] {
        assert_eq!(found(&state(event, &[])), None, "{event}");
    }
    assert_eq!(asked(404, r#"{"errorName":"entityIsNotFound"}"#), ParsedQuery::NotFound);
    assert!(matches!(asked(404, ""), ParsedQuery::Indeterminate(_)));
    assert_eq!(worldpay().caps().settle_time, SETTLE_MIN);
}

#[test]
fn an_attempt_without_an_answer_is_undone_by_our_reference() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let read = |step: &Step, status, body: &str| {
        worldpay().parse_reverse_unknown(step, &attempt, &fixtures::reply(status, body.as_bytes()))
    };
    let first = Step::default();
    let ParsedReversal::Next(act) = read(&first, 200, &state("Authorized", &[("cancel", "/payments/c/L1")]))
    else {
        panic!("no step")
    };
    assert_eq!(
        worldpay().reverse_unknown(&act, &attempt, fixtures::now()).unwrap().endpoint.target,
        "/payments/c/L1"
    );
    assert_eq!(read(&act, 202, "{}"), ParsedReversal::Reversed);
    assert_eq!(read(&first, 404, r#"{"errorName":"entityIsNotFound"}"#), ParsedReversal::NothingThere);
    assert_eq!(read(&first, 200, &state("Refused", &[])), ParsedReversal::NothingThere);
    assert_eq!(read(&first, 200, &state("Cancelled", &[])), ParsedReversal::Reversed);
    assert!(matches!(read(&first, 200, &state("Authorized", &[])), ParsedReversal::Indeterminate(_)));
}

#[test]
fn a_card_that_is_kept_is_a_token_first() {
    let attempt = Attempt { purpose: Purpose::Tokenise, ..fixtures::attempt("12.40", "GBP") };
    let data = fixtures::payment_data("12.40", "GBP");
    let card = fixtures::card();
    let order = Order { credential: Credential::FirstOfStored, ..Order::by_phone(&attempt, &data) };
    let first = worldpay().first_step(&order, &Source::Keyed(&card));
    assert!(!worldpay().may_charge(&first));
    let wire = worldpay().build(&first, &order, &Source::Keyed(&card), fixtures::now()).unwrap();
    assert_eq!(wire.endpoint.target, "/tokens");
    let made = r#"{"tokenPaymentInstrument":{"type":"card/tokenized","href":"https://try.access.worldpay.com/tokens/abc"}}"#;
    let said = fixtures::reply(201, made.as_bytes());
    let Parsed::Answer(answer) = worldpay().parse(&first, &order, None, &said) else { panic!("no answer") };
    assert_eq!(answer.stored.unwrap().token, "https://try.access.worldpay.com/tokens/abc");
    let sale = fixtures::attempt("12.40", "GBP");
    let order = Order { attempt: &sale, ..order };
    let Parsed::Next(pay) = worldpay().parse(&first, &order, None, &said) else { panic!("no step") };
    let wire = worldpay().build(&pay, &order, &Source::Keyed(&card), fixtures::now()).unwrap();
    let text = std::str::from_utf8(wire.body.as_ref()).unwrap();
    assert!(
        text.contains("\"storedCardUsage\":\"first\"")
            && text.contains("/tokens/abc")
            && !text.contains("4111")
    );
}
