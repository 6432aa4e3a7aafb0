use hushpad_domain::attempt::{Attempt, Check, Checks, DeclineClass, Verdict};
use hushpad_domain::field::Field;

use super::*;
use crate::contract::Sheet;
use crate::fixtures::{self, verdict};

const REF: &str = "00000000-0000-0000-0000-000000000007";
const OPERATION: &str = "00000000-0000-0000-0000-000000000008";

fn mpgs() -> Mpgs {
    let base = Endpoint::parse("https://eu-gateway.mastercard.com", false).unwrap();
    Mpgs::new(&base, "SHOP1", "p", Duration::from_secs(60)).unwrap()
}

fn pay() -> Step {
    Step { no: PAY, ids: Vec::new() }
}

fn answer(result: &str, code: &str, more: &str) -> String {
    format!(
        r#"{{"result":"{result}","order":{{"id":"{REF}","amount":12.4,"currency":"GBP","totalAuthorizedAmount":6.2}},"transaction":{{"id":"1","authorizationCode":"A1"}},"response":{{"gatewayCode":"{code}"{more}}}}}"#
    )
}

fn parsed(status: u16, body: &str) -> Parsed {
    fixtures::parse(&mpgs(), &pay(), status, body.as_bytes())
}

pub(crate) fn sheet() -> Sheet {
    let approved = answer("SUCCESS", "APPROVED", "");
    Sheet {
        name: "mpgs",
        connector: Box::new(mpgs()),
        pay: pay(),
        approved: (201, approved.clone()),
        partial: Some((201, answer("SUCCESS", "PARTIALLY_APPROVED", ""))),
        declined: (201, answer("FAILURE", "DECLINED", "")),
        challenge: (201, answer("FAILURE", "AUTHENTICATION_FAILED", "")),
        time_outs: vec![
            (201, answer("FAILURE", "TIMED_OUT", "")),
            (200, answer("UNKNOWN", "UNKNOWN", "")),
            (500, r#"{"result":"ERROR","error":{"cause":"SERVER_FAILED"}}"#.to_owned()),
            (400, r#"{"result":"ERROR","error":{"cause":"SERVER_FAILED"}}"#.to_owned()),
        ],
        not_ours: vec![
            (201, approved.replace("12.4", "12.41")),
            (201, approved.replace("GBP", "USD")),
            (201, approved.replace(REF, "another")),
            (201, approved.replace(r#""id":"1""#, r#""id":"2""#)),
            (201, answer("SUCCESS", "PARTIALLY_APPROVED", "").replace("6.2", "12.4")),
        ],
        moto: "\"source\":\"TELEPHONE_ORDER\"",
        untaken: Some("IDR"),
        token: "TOKEN1",
    }
}

#[test]
fn the_request_is_a_moto_sale_under_our_names() {
    let wire = fixtures::build(&mpgs(), &pay(), "12.40", "GBP").unwrap();
    insta::assert_snapshot!(fixtures::header_lines(&wire), @r#"
    PUT /api/rest/version/100/merchant/SHOP1/order/00000000-0000-0000-0000-000000000007/transaction/1
    authorization: Basic bWVyY2hhbnQuU0hPUDE6cA==
    content-type: application/json
    accept: application/json
    "#);
    let mut body: serde_json::Value = serde_json::from_slice(wire.body.as_ref()).unwrap();
    fixtures::take_card(&mut body["sourceOfFunds"]["provided"]["card"], "number", "securityCode");
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap(), @r#"
    {
      "apiOperation": "PAY",
      "billing": {
        "address": {
          "city": "London",
          "postcodeZip": "SW1A 1AA",
          "street": "1 High Street"
        }
      },
      "order": {
        "amount": "12.40",
        "currency": "GBP",
        "reference": "order-9"
      },
      "sourceOfFunds": {
        "provided": {
          "card": {
            "expiry": {
              "month": "12",
              "year": "30"
            }
          }
        },
        "type": "CARD"
      },
      "transaction": {
        "source": "TELEPHONE_ORDER"
      }
    }
    "#);
}

#[test]
fn a_gateway_code_decides_and_not_the_http_status() {
    use DeclineClass::{Never, OtherCard, Rekey, TryLater};
    for (code, class) in [
        ("DECLINED", OtherCard),
        ("EXPIRED_CARD", Rekey(Field::Expiry)),
        ("DECLINED_CSC", Rekey(Field::SecurityCode)),
        ("INSUFFICIENT_FUNDS", TryLater),
        ("DECLINED_DO_NOT_CONTACT", Never),
        ("BRANDNEW", OtherCard),
    ] {
        let said = parsed(200, &answer("FAILURE", code, ""));
        assert_eq!(verdict(&said), Some(Verdict::Declined { class }), "{code}");
    }
    assert_eq!(verdict(&parsed(200, &answer("PENDING", "PENDING", ""))), Some(Verdict::Pending));
    let review = answer("SUCCESS", "APPROVED", "").replacen(
        '{',
        r#"{"risk":{"response":{"gatewayCode":"REVIEW_REQUIRED"}},"#,
        1,
    );
    assert_eq!(verdict(&parsed(200, &review)), Some(Verdict::Review));
    let error = |field: &str| {
        format!(r#"{{"result":"ERROR","error":{{"cause":"INVALID_REQUEST","field":"{field}"}}}}"#)
    };
    let keyed = parsed(400, &error("sourceOfFunds.provided.card.expiry.month"));
    assert_eq!(verdict(&keyed), Some(Verdict::Declined { class: Rekey(Field::Expiry) }));
    assert_eq!(parsed(400, &error("order.currency")), Parsed::Refused);
    assert_eq!(parsed(429, r#"{"result":"ERROR","error":{"cause":"SERVER_BUSY"}}"#), Parsed::Refused);
}

#[test]
fn the_result_is_in_its_own_names_and_the_checks_are_read() {
    let more = r#","acquirerCode":"00","cardSecurityCode":{"gatewayCode":"NO_MATCH"},"cardholderVerification":{"avs":{"gatewayCode":"ZIP_MATCH"}}"#;
    let Parsed::Answer(told) = parsed(201, &answer("SUCCESS", "APPROVED", more)) else { panic!("no answer") };
    let checks = Checks { address: Check::NoMatch, postcode: Check::Match, security_code: Check::NoMatch };
    assert_eq!(told.checks, checks);
    insta::assert_debug_snapshot!(told.result, @r#"
    {
        "order.id": "00000000-0000-0000-0000-000000000007",
        "response.acquirerCode": "00",
        "response.gatewayCode": "APPROVED",
        "result": "SUCCESS",
        "transaction.authorizationCode": "A1",
    }
    "#);
}

#[test]
fn the_question_is_for_our_own_names() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let wire = mpgs().query(&Step::default(), &attempt, fixtures::now()).unwrap();
    let path = format!("/api/rest/version/100/merchant/SHOP1/order/{REF}/transaction/1");
    assert_eq!((wire.method.as_str(), wire.endpoint.target), ("GET", path));
    let asked =
        |status, body: &str| fixtures::parse_query(&mpgs(), &Step::default(), status, body.as_bytes());
    assert!(matches!(asked(200, &answer("SUCCESS", "APPROVED", "")), ParsedQuery::Found(_)));
    let missing =
        r#"{"result":"ERROR","error":{"cause":"INVALID_REQUEST","explanation":"Unable to find order"}}"#;
    assert_eq!(asked(400, missing), ParsedQuery::NotFound);
    for (status, body) in [
        (400, missing.replace("Unable to find order", "Invalid credentials.")),
        (200, missing.to_owned()),
        (500, missing.to_owned()),
        (200, answer("PENDING", "PENDING", "")),
        (200, answer("FAILURE", "TIMED_OUT", "")),
        (404, String::new()),
    ] {
        let said = asked(status, &body);
        assert!(matches!(said, ParsedQuery::Indeterminate(_)), "{status} {body}: {said:?}");
    }
}

fn transaction(name: &str, result: &str, code: &str) -> String {
    answer(result, code, "").replace(r#""id":"1""#, &format!(r#""id":"{name}""#))
}

#[test]
fn what_follows_is_a_transaction_of_the_same_order() {
    use FollowUpKind::{Capture, Refund, Reverse, Void};
    let attempt = fixtures::attempt("12.40", "GBP");
    let body = |kind, no| {
        let asked = fixtures::follow_up(&attempt, REF, kind);
        let wire = mpgs().follow_up(&Step { no, ids: Vec::new() }, &asked, fixtures::now()).unwrap();
        assert!(no > 0 || wire.endpoint.target.ends_with(&format!("/order/{REF}/transaction/{OPERATION}")));
        std::str::from_utf8(wire.body.as_ref()).unwrap().to_owned()
    };
    assert_eq!(
        body(Capture, 0),
        r#"{"apiOperation":"CAPTURE","transaction":{"amount":"12.40","currency":"GBP"}}"#
    );
    assert_eq!(
        body(Refund, 0),
        r#"{"apiOperation":"REFUND","transaction":{"amount":"12.40","currency":"GBP"}}"#
    );
    assert_eq!(body(Void, 0), r#"{"apiOperation":"VOID","transaction":{"targetTransactionId":"1"}}"#);
    assert_eq!(body(Reverse, 0), body(Void, 0));
    assert_eq!(body(Reverse, 1), body(Refund, 0));
    let read = |kind, status, body: &str| {
        let asked = fixtures::follow_up(&attempt, REF, kind);
        fixtures::told(&mpgs().parse_follow_up(
            &Step::default(),
            &asked,
            &fixtures::reply(status, body.as_bytes()),
        ))
    };
    assert_eq!(
        read(Capture, 201, &transaction(OPERATION, "SUCCESS", "APPROVED")),
        format!("done {OPERATION}")
    );
    assert_eq!(read(Capture, 201, &transaction("1", "SUCCESS", "APPROVED")), "unknown");
    assert_eq!(read(Refund, 201, &transaction(OPERATION, "FAILURE", "DECLINED")), "refused DECLINED");
    let refused = r#"{"result":"ERROR","error":{"cause":"INVALID_REQUEST","explanation":"too late"}}"#;
    assert_eq!(read(Void, 400, refused), "refused INVALID_REQUEST");
    assert_eq!(read(Reverse, 400, refused), "next 1");
    assert_eq!(read(Refund, 201, &transaction(OPERATION, "FAILURE", "TIMED_OUT")), "unknown");
    assert_eq!(read(Refund, 500, ""), "unknown");
    assert_eq!(read(Refund, 401, ""), "not processed");
    let asked = |kind, no, status, body: &str| {
        let operation = fixtures::follow_up(&attempt, REF, kind);
        let step = Step { no, ids: Vec::new() };
        fixtures::told(&mpgs().parse_query_follow_up(
            &step,
            &operation,
            &fixtures::reply(status, body.as_bytes()),
        ))
    };
    let missing =
        r#"{"result":"ERROR","error":{"cause":"INVALID_REQUEST","explanation":"Unable to find order"}}"#;
    assert_eq!(asked(Refund, 0, 400, missing), "not processed");
    assert_eq!(asked(Reverse, 0, 400, missing), "next 1");
    assert_eq!(asked(Reverse, 1, 400, missing), "not processed");
    assert_eq!(
        asked(Refund, 0, 200, &transaction(OPERATION, "SUCCESS", "APPROVED")),
        format!("done {OPERATION}")
    );
}

#[test]
fn an_attempt_without_an_answer_is_voided_by_our_names() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let first = Step::default();
    let wire = mpgs().reverse_unknown(&first, &attempt, fixtures::now()).unwrap();
    let name = wire.endpoint.target.rsplit('/').next().unwrap().to_owned();
    let read = |step: &Step, status, body: &str| {
        mpgs().parse_reverse_unknown(step, &attempt, &fixtures::reply(status, body.as_bytes()))
    };
    assert_eq!(read(&first, 201, &transaction(&name, "SUCCESS", "APPROVED")), ParsedReversal::Reversed);
    let missing =
        r#"{"result":"ERROR","error":{"cause":"INVALID_REQUEST","explanation":"Unable to find order"}}"#;
    assert_eq!(read(&first, 400, missing), ParsedReversal::NothingThere);
    let refused = r#"{"result":"ERROR","error":{"cause":"INVALID_REQUEST","explanation":"too late"}}"#;
    let give_back = Step { no: 1, ids: Vec::new() };
    assert_eq!(read(&first, 400, refused), ParsedReversal::Next(give_back.clone()));
    assert!(matches!(read(&give_back, 400, refused), ParsedReversal::Indeterminate(_)));
    assert!(matches!(read(&first, 500, ""), ParsedReversal::Indeterminate(_)));
}

#[test]
fn a_card_that_is_kept_is_a_token_first() {
    let attempt = Attempt { purpose: Purpose::Tokenise, ..fixtures::attempt("12.40", "GBP") };
    let data = fixtures::payment_data("12.40", "GBP");
    let card = fixtures::card();
    let order = Order { credential: Credential::FirstOfStored, ..Order::by_phone(&attempt, &data) };
    let first = mpgs().first_step(&order, &Source::Keyed(&card));
    assert!(!mpgs().may_charge(&first));
    let said = fixtures::reply(201, br#"{"result":"SUCCESS","token":"TOKEN1"}"#);
    let Parsed::Answer(answer) = mpgs().parse(&first, &order, None, &said) else { panic!("no answer") };
    assert_eq!(answer.stored.unwrap().token, "TOKEN1");
    let sale = fixtures::attempt("12.40", "GBP");
    let order = Order { attempt: &sale, ..order };
    let Parsed::Next(pay) = mpgs().parse(&first, &order, None, &said) else { panic!("no step") };
    let wire = mpgs().build(&pay, &order, &Source::Keyed(&card), fixtures::now()).unwrap();
    let text = std::str::from_utf8(wire.body.as_ref()).unwrap();
    assert!(
        text.contains("\"storedOnFile\":\"TO_BE_STORED\"")
            && text.contains("TOKEN1")
            && !text.contains("4111")
    );
}
