use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hushpad_domain::attempt::{AttemptState, DeclineClass, GatewayAnswer, Unknown, Verdict};
use hushpad_domain::field::Field;
use proptest::prelude::*;
use ring::digest;

use super::*;
use crate::contract::Sheet;
use crate::fixtures::{self, header_lines, verdict};

/// What the search says, and what is asked after it.
mod questions;

/// What CyberSource says of what it does not have.
const NOWHERE: &str = r#"{"status":"NOT_FOUND","message":"x"}"#;
const CODE: &str = "00000000000000000000000007";
/// Nobody's key: "a shared secret for tests only!!!" in base64.
const SECRET: &str = "YSBzaGFyZWQgc2VjcmV0IGZvciB0ZXN0cyBvbmx5ISEh";

fn cybersource() -> CyberSource {
    let base = Endpoint::parse("https://apitest.cybersource.com", false).unwrap();
    with_auth(base, Auth::Jwt)
}

fn with_auth(base: Endpoint, auth: Auth) -> CyberSource {
    let settle_time = Duration::from_secs(60);
    CyberSource::new(Settings {
        base,
        merchant_id: "shop_1",
        key_id: "key-1",
        secret: SECRET,
        auth,
        settle_time,
    })
    .unwrap()
}

fn parsed(status: u16, body: &str) -> Parsed {
    fixtures::parse(&cybersource(), &Step::default(), status, body.as_bytes())
}

fn asked(status: u16, body: &str) -> ParsedQuery {
    fixtures::parse_query(&cybersource(), &Step::default(), status, body.as_bytes())
}

fn body_of(wire: &WireRequest) -> serde_json::Value {
    serde_json::from_slice(wire.body.as_ref()).unwrap()
}

#[test]
fn the_request_is_a_signed_moto_sale() {
    let wire = fixtures::build(&cybersource(), &Step::default(), "12.40", "GBP").unwrap();
    let lines = header_lines(&wire);
    let unsigned: Vec<_> = lines.lines().filter(|line| !line.starts_with("authorization: Bearer ")).collect();
    assert_eq!(unsigned.len() + 1, lines.lines().count());
    insta::assert_snapshot!(unsigned.join("\n"), @r#"
    POST /pts/v2/payments
    v-c-merchant-id: shop_1
    content-type: application/json
    accept: application/hal+json;charset=utf-8
    "#);
    let mut body = body_of(&wire);
    fixtures::take_card(&mut body["paymentInformation"]["card"], "number", "securityCode");
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap(), @r#"
    {
      "clientReferenceInformation": {
        "code": "00000000000000000000000007",
        "transactionId": "00000000000000000000000007"
      },
      "merchantDefinedInformation": [
        {
          "key": "1",
          "value": "order-9"
        }
      ],
      "orderInformation": {
        "amountDetails": {
          "currency": "GBP",
          "totalAmount": "12.40"
        },
        "billTo": {
          "address1": "1 High Street",
          "country": "GB",
          "email": "ann@example.com",
          "firstName": "Ann",
          "lastName": "O'Neil & Co",
          "locality": "London",
          "postalCode": "SW1A 1AA"
        }
      },
      "paymentInformation": {
        "card": {
          "expirationMonth": "12",
          "expirationYear": "2030",
          "type": "001"
        }
      },
      "processingInformation": {
        "authorizationOptions": {
          "ignoreAvsResult": true,
          "ignoreCvResult": true
        },
        "capture": true,
        "commerceIndicator": "moto"
      }
    }
    "#);
}

#[test]
fn the_tokens_claims_are_about_this_request() {
    let wire = fixtures::build(&cybersource(), &Step::default(), "12.40", "GBP").unwrap();
    let token = wire.headers[0].1.to_str().unwrap().strip_prefix("Bearer ").unwrap();
    let parts: Vec<_> = token.split('.').collect();
    let read = |part: &str| -> serde_json::Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert_eq!(read(parts[0]), serde_json::json!({"kid": "key-1", "alg": "HS256", "typ": "JWT"}));
    let mut claims = read(parts[1]);
    let digest = STANDARD.encode(digest::digest(&digest::SHA256, wire.body.as_ref()));
    assert_eq!(claims.as_object_mut().unwrap().remove("digest").unwrap(), digest.as_str());
    insta::assert_snapshot!(serde_json::to_string_pretty(&claims).unwrap(), @r#"
    {
      "digestAlgorithm": "SHA-256",
      "exp": 1787270520,
      "iat": 1787270400,
      "iss": "shop_1",
      "jti": "dc32a671-f994-5e42-9653-6f5ebf6f22e7",
      "request-host": "apitest.cybersource.com",
      "request-method": "POST",
      "request-resource-path": "/pts/v2/payments",
      "v-c-jwt-version": "2",
      "v-c-merchant-id": "shop_1"
    }
    "#);
    assert!(wire.headers[0].1.is_sensitive());
}

/// The expected token was made with Python's `hmac`, `hashlib` and `base64` from the same claims, in the way of
/// `authenticationsdk/jwt/Token.py` of CyberSource's SDK 0.0.80.
#[test]
fn the_signature_is_the_one_that_others_compute() {
    let signer = Signer::new(Auth::Jwt, "shop_1", "key-1", SECRET).unwrap();
    let endpoint = Endpoint::parse("https://apitest.cybersource.com/pts/v2/payments", false).unwrap();
    let attempt = fixtures::attempt("12.40", "GBP");
    let headers = signer.sign(&endpoint, Some(b"{\"a\":1}"), attempt.id.0, fixtures::now()).unwrap();
    let made = &headers[0].1;
    assert_eq!(
        made.to_str().unwrap(),
        "Bearer eyJraWQiOiJrZXktMSIsImFsZyI6IkhTMjU2IiwidHlwIjoiSldUIn0.eyJkaWdlc3QiOiJBVnE5ZjF6RmVpM1pTM1dROEVyWUNFSnprRjdqUHNYT3ZxNWlKMnFYK0dJPSIsImRpZ2VzdEFsZ29yaXRobSI6IlNIQS0yNTYiLCJpYXQiOjE3ODcyNzA0MDAsImV4cCI6MTc4NzI3MDUyMCwicmVxdWVzdC1tZXRob2QiOiJQT1NUIiwicmVxdWVzdC1ob3N0IjoiYXBpdGVzdC5jeWJlcnNvdXJjZS5jb20iLCJyZXF1ZXN0LXJlc291cmNlLXBhdGgiOiIvcHRzL3YyL3BheW1lbnRzIiwiaXNzIjoic2hvcF8xIiwianRpIjoiZGMzMmE2NzEtZjk5NC01ZTQyLTk2NTMtNmY1ZWJmNmYyMmU3Iiwidi1jLWp3dC12ZXJzaW9uIjoiMiIsInYtYy1tZXJjaGFudC1pZCI6InNob3BfMSJ9.7VwVD9zzdLy8fY0dWW2965Dbbs_i1e7RrTSbzPhJELM"
    );
}

/// The expected signature was made with Python from the lines that `authenticationsdk/http` of the same SDK signs.
#[test]
fn the_http_signature_is_the_one_that_others_compute() {
    let signer = Signer::new(Auth::HttpSignature, "shop_1", "key-1", SECRET).unwrap();
    let endpoint = Endpoint::parse("https://apitest.cybersource.com/pts/v2/payments", false).unwrap();
    let headers = signer.sign(&endpoint, Some(b"{\"a\":1}"), Uuid::from_u128(7), fixtures::now()).unwrap();
    let lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    date: Fri, 21 Aug 2026 00:00:00 GMT
    digest: SHA-256=AVq9f1zFei3ZS3WQ8ErYCEJzkF7jPsXOvq5iJ2qX+GI=
    signature: keyid="key-1", algorithm="HmacSHA256", headers="host date request-target digest v-c-merchant-id", signature="YSaNOEyhvbdogPXuNkCUSvSyv8rqE18L/8/m4HrZNiA="
    "#);
    assert!(headers[2].1.is_sensitive());
    let base = Endpoint::parse("https://apitest.cybersource.com", false).unwrap();
    let wire =
        fixtures::build(&with_auth(base, Auth::HttpSignature), &Step::default(), "12.40", "GBP").unwrap();
    assert!(!header_lines(&wire).contains("authorization"));
}

#[test]
fn a_secret_that_is_not_base64_is_refused() {
    assert!(Signer::new(Auth::Jwt, "shop_1", "key-1", "not base64!").is_none());
    assert!(Signer::new(Auth::Jwt, "shop_1", "key-1", "").is_none());
}

#[test]
fn references_are_short_and_differ() {
    let of = |id| reference(Uuid::from_u128(id));
    assert_eq!(of(7), CODE);
    assert_eq!(of(u128::MAX), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    assert_ne!(of(1 << 127), of(0));
}

#[test]
fn amounts_are_decimal_and_other_currencies_are_not_sent() {
    let amount = |amount, currency| {
        let wire = fixtures::build(&cybersource(), &Step::default(), amount, currency)?;
        Ok(body_of(&wire)["orderInformation"]["amountDetails"]["totalAmount"].as_str().unwrap().to_owned())
    };
    assert_eq!(amount("12.4", "GBP"), Ok("12.40".to_owned()));
    assert_eq!(amount("12", "JPY"), Ok("12".to_owned()));
    assert_eq!(amount("1.234", "KWD"), Ok("1.234".to_owned()));
    for currency in ["CLP", "HUF", "IDR", "ISK", "MGA", "UGX"] {
        assert_eq!(amount("12", currency), Err(BuildError::Currency), "{currency}");
    }
    assert_eq!(fixtures::build_with_other_amount(&cybersource()).err(), Some(BuildError::AmountDiffers));
}

const AMOUNT: &str = r#""orderInformation":{"amountDetails":{"authorizedAmount":"12.40","currency":"GBP"}}"#;

fn answer(status: &str, more: &str) -> String {
    format!(
        r#"{{"id":"6461731521426399003473","status":"{status}","clientReferenceInformation":{{"code":"{CODE}"}},{more}}}"#
    )
}

fn declined(reason: &str) -> String {
    answer("DECLINED", &format!(r#""errorInformation":{{"reason":"{reason}","message":"x"}}"#))
}

fn told(parsed: Parsed) -> GatewayAnswer {
    match parsed {
        Parsed::Answer(answer) => answer,
        other => panic!("no answer: {other:?}"),
    }
}

#[test]
fn the_result_is_in_the_published_names() {
    let answer = told(parsed(201, &answer("AUTHORIZED", AMOUNT)));
    assert_eq!(answer.verdict, Verdict::Approved);
    assert_eq!(answer.gateway_reference, "6461731521426399003473");
    insta::assert_debug_snapshot!(answer.result, @r#"
    {
        "Amount": "1240",
        "Currency": "GBP",
        "MerchantReferenceCode": "order-9",
        "createSubscription": "false",
        "decision": "ACCEPT",
        "reasonCode": "100",
        "requestID": "6461731521426399003473",
        "requestToken": "23cf858cafb85f02a415ba3ec2d91c28",
        "transactionType": "Capture",
    }
    "#);
}

#[test]
fn a_status_decides_and_not_the_http_status() {
    use DeclineClass::{Never, OtherCard, Rekey, TryLater};
    let cases = [
        (answer("AUTHORIZED_PENDING_REVIEW", AMOUNT), Verdict::Review, "REVIEW", "480"),
        (answer("AUTHORIZED_RISK_DECLINED", AMOUNT), Verdict::Review, "REVIEW", "481"),
        (declined("EXPIRED_CARD"), Verdict::Declined { class: Rekey(Field::Expiry) }, "REJECT", "202"),
        (declined("PROCESSOR_DECLINED"), Verdict::Declined { class: OtherCard }, "REJECT", "203"),
        (declined("INSUFFICIENT_FUND"), Verdict::Declined { class: TryLater }, "REJECT", "204"),
        (declined("STOLEN_LOST_CARD"), Verdict::Declined { class: Never }, "REJECT", "205"),
        (declined("CVN_NOT_MATCH"), Verdict::Declined { class: Rekey(Field::SecurityCode) }, "REJECT", "209"),
        (declined("EXCEEDS_CREDIT_LIMIT"), Verdict::Declined { class: TryLater }, "REJECT", "210"),
        (declined("INVALID_CVN"), Verdict::Declined { class: Rekey(Field::SecurityCode) }, "REJECT", "211"),
        (declined("CV_FAILED"), Verdict::Declined { class: Rekey(Field::SecurityCode) }, "REJECT", "230"),
        (declined("INVALID_ACCOUNT"), Verdict::Declined { class: Rekey(Field::CardNumber) }, "REJECT", "231"),
        (declined("GENERAL_DECLINE"), Verdict::Declined { class: OtherCard }, "REJECT", "233"),
        (declined("BRANDNEW"), Verdict::Declined { class: OtherCard }, "REJECT", "203"),
    ];
    for (body, verdict, decision, code) in cases {
        let answer = told(parsed(201, &body));
        assert_eq!(answer.verdict, verdict, "{body}");
        assert_eq!(
            (answer.result["decision"].as_str(), answer.result["reasonCode"].as_str()),
            (decision, code)
        );
    }
}

#[test]
fn an_invalid_request_blames_what_was_keyed_where_it_can() {
    let invalid = |field: &str| {
        format!(
            r#"{{"submitTimeUtc":"2026-08-21T00:00:00Z","status":"INVALID_REQUEST","reason":"INVALID_DATA","message":"x","details":[{{"field":"{field}","reason":"INVALID_DATA"}}]}}"#
        )
    };
    for (field, class) in [
        ("paymentInformation.card.number", DeclineClass::Rekey(Field::CardNumber)),
        ("paymentInformation.card.expirationYear", DeclineClass::Rekey(Field::Expiry)),
        ("paymentInformation.card.securityCode", DeclineClass::Rekey(Field::SecurityCode)),
        ("orderInformation.billTo.country", DeclineClass::TryLater),
    ] {
        let answer = told(parsed(400, &invalid(field)));
        assert_eq!(answer.verdict, Verdict::Declined { class }, "{field}");
        assert_eq!(answer.result["reasonCode"], "102");
    }
    assert_eq!(parsed(401, r#"{"response":{"rmsg":"Authentication Failed"}}"#), Parsed::Refused);
    assert_eq!(parsed(429, ""), Parsed::Refused);
}

#[test]
fn a_surprise_is_unknown() {
    let request = |reason: &str| format!(r#"{{"status":"INVALID_REQUEST","reason":"{reason}"}}"#);
    for (status, body) in [
        (502, r#"{"status":"SERVER_ERROR","reason":"SYSTEM_ERROR"}"#.to_owned()),
        (500, declined("EXPIRED_CARD")),
        (201, declined("PROCESSOR_TIMEOUT")),
        (201, declined("SERVER_TIMEOUT")),
        (201, declined("SERVICE_TIMEOUT")),
        (400, request("DUPLICATE_REQUEST")),
        (201, answer("PARTIAL_AUTHORIZED", AMOUNT)),
        (201, answer("BRANDNEW", AMOUNT)),
        (201, answer("AUTHORIZED", &AMOUNT.replace("12.40", "12.41"))),
        (201, answer("AUTHORIZED", &AMOUNT.replace("GBP", "USD"))),
        (201, answer("AUTHORIZED", r#""x":1"#)),
        (201, declined("EXPIRED_CARD").replace(CODE, "another")),
        (201, r#"{"status":"DECLINED"}"#.to_owned()),
        (202, answer("AUTHORIZED", AMOUNT)),
        (401, answer("AUTHORIZED", AMOUNT)),
        (404, "{}".to_owned()),
        (201, "{}".to_owned()),
        (201, String::new()),
    ] {
        let parsed = parsed(status, &body);
        assert!(matches!(parsed, Parsed::Indeterminate(_)), "{status} {body}: {parsed:?}");
    }
}

proptest! {
    #[test]
    fn garbage_is_read_without_a_panic_and_is_no_decision(
        status in 100_u16..1000,
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let parsed = fixtures::parse(&cybersource(), &Step::default(), status, &body);
        prop_assert_eq!(verdict(&parsed), None);
        let asked = fixtures::parse_query(&cybersource(), &Step::default(), status, &body);
        prop_assert!(matches!(asked, ParsedQuery::Indeterminate(_)));
    }

    #[test]
    fn an_approval_names_our_amount(
        status in prop::sample::select(vec![200_u16, 201, 400, 401, 500, 502]),
        word in prop::sample::select(vec!["AUTHORIZED", "DECLINED", "INVALID_REQUEST", "SERVER_ERROR", "X"]),
        amount in prop::sample::select(vec!["12.40", "12.41", "", "x"]),
    ) {
        let body = answer(word, &AMOUNT.replace("12.40", amount));
        match verdict(&parsed(status, &body)) {
            Some(Verdict::Approved) => prop_assert!(status == 201 && word == "AUTHORIZED" && amount == "12.40"),
            Some(Verdict::Declined { .. }) => prop_assert!(matches!(word, "DECLINED" | "INVALID_REQUEST")),
            Some(Verdict::Review | Verdict::Partial { .. } | Verdict::Pending) => prop_assert!(false),
            None => {}
        }
    }
}

pub(crate) fn sheet() -> Sheet {
    let amount = |amount: &str, currency: &str| {
        format!(
            r#""orderInformation":{{"amountDetails":{{"authorizedAmount":"{amount}","currency":"{currency}"}}}}"#
        )
    };
    Sheet {
        name: "cybersource",
        connector: Box::new(cybersource()),
        pay: Step::default(),
        approved: (201, answer("AUTHORIZED", AMOUNT)),
        partial: Some((201, answer("PARTIAL_AUTHORIZED", &amount("6.20", "GBP")))),
        declined: (201, declined("PROCESSOR_DECLINED")),
        challenge: (201, declined("CONSUMER_AUTHENTICATION_REQUIRED")),
        time_outs: vec![
            (201, declined("SERVER_TIMEOUT")),
            (201, declined("PROCESSOR_TIMEOUT")),
            (502, r#"{"status":"SERVER_ERROR","reason":"SYSTEM_ERROR"}"#.to_owned()),
        ],
        not_ours: vec![
            (201, answer("AUTHORIZED", &amount("12.41", "GBP"))),
            (201, answer("AUTHORIZED", &amount("12.40", "USD"))),
            (201, answer("AUTHORIZED", AMOUNT).replace(CODE, "another")),
            (201, answer("PARTIAL_AUTHORIZED", &amount("12.40", "GBP"))),
        ],
        moto: "\"commerceIndicator\":\"moto\"",
        untaken: Some("HUF"),
        token: "CUST1",
    }
}

/// The published example's fields, neither more nor less, for every purpose and verdict.
#[test]
fn the_result_has_the_published_fields_exactly() {
    const PUBLISHED: [&str; 9] = [
        "Amount",
        "Currency",
        "MerchantReferenceCode",
        "createSubscription",
        "decision",
        "reasonCode",
        "requestID",
        "requestToken",
        "transactionType",
    ];
    for body in
        [answer("AUTHORIZED", AMOUNT), answer("AUTHORIZED_PENDING_REVIEW", AMOUNT), declined("EXPIRED_CARD")]
    {
        let told = told(parsed(201, &body));
        assert_eq!(told.result.keys().map(String::as_str).collect::<Vec<_>>(), PUBLISHED);
    }
    let purposes =
        [(Purpose::Sale, "Capture"), (Purpose::Authorise, "Authorize"), (Purpose::Tokenise, "Authorize")];
    for (purpose, kind) in purposes {
        let attempt = Attempt { purpose, ..fixtures::attempt("12.40", "GBP") };
        let data = fixtures::payment_data("12.40", "GBP");
        let order = Order::by_phone(&attempt, &data);
        let token = r#","tokenInformation":{"customer":{"id":"CUST1"}},"processorInformation":{"networkTransactionId":"N1","avs":{"code":"Y"},"cardVerification":{"resultCode":"N"}}"#;
        let said = fixtures::reply(201, answer("AUTHORIZED", &format!("{AMOUNT}{token}")).as_bytes());
        let told = told(cybersource().parse(&Step::default(), &order, None, &said));
        assert_eq!(
            (told.result["transactionType"].as_str(), told.result["createSubscription"].as_str()),
            (kind, "true")
        );
        let stored = told.stored.unwrap();
        assert_eq!((stored.token.as_str(), stored.network_transaction_id.as_deref()), ("CUST1", Some("N1")));
        assert_eq!(told.checks.postcode, hushpad_domain::attempt::Check::Match);
        assert_eq!(told.checks.security_code, hushpad_domain::attempt::Check::NoMatch);
    }
}

/// Method and path of what follows, by purpose and by whether a capture took the money.
#[test]
fn what_follows_goes_to_what_took_the_money() {
    let path = |purpose, kind, capture_reference, no| {
        let attempt = Attempt { purpose, ..fixtures::attempt("12.40", "GBP") };
        let asked = FollowUp { capture_reference, ..fixtures::follow_up(&attempt, "6461", kind) };
        let wire = cybersource().follow_up(&Step { no, ids: Vec::new() }, &asked, fixtures::now()).unwrap();
        wire.endpoint.target
    };
    use FollowUpKind::{Capture, Refund, Reverse, Void};
    for (purpose, kind, capture, no, expected) in [
        (Purpose::Authorise, Capture, None, 0, "/pts/v2/payments/6461/captures"),
        (Purpose::Sale, Refund, None, 0, "/pts/v2/payments/6461/refunds"),
        (Purpose::Authorise, Refund, Some("77"), 0, "/pts/v2/captures/77/refunds"),
        (Purpose::Sale, Void, None, 0, "/pts/v2/payments/6461/voids"),
        (Purpose::Authorise, Void, None, 0, "/pts/v2/payments/6461/reversals"),
        (Purpose::Authorise, Void, Some("77"), 0, "/pts/v2/captures/77/voids"),
        (Purpose::Sale, Reverse, None, 0, "/pts/v2/payments/6461/voids"),
        (Purpose::Sale, Reverse, None, 1, "/pts/v2/payments/6461/reversals"),
        (Purpose::Sale, Reverse, None, 2, "/pts/v2/payments/6461/refunds"),
        (Purpose::Authorise, Reverse, None, 0, "/pts/v2/payments/6461/reversals"),
    ] {
        assert_eq!(path(purpose, kind, capture, no), expected, "{purpose:?} {kind:?} {capture:?} {no}");
    }
}

#[test]
fn a_reversal_names_what_was_authorised() {
    let approved = fixtures::attempt("6.20", "GBP").amount;
    for (verdict, expected) in [(Verdict::Approved, "12.40"), (Verdict::Partial { approved }, "6.20")] {
        let answer = GatewayAnswer::new(verdict, "6461".to_owned(), Default::default(), None);
        let attempt = Attempt {
            purpose: Purpose::Authorise,
            state: AttemptState::Answered { answer, resolved: false },
            ..fixtures::attempt("12.40", "GBP")
        };
        let asked = fixtures::follow_up(&attempt, "6461", FollowUpKind::Reverse);
        let wire = cybersource().follow_up(&Step::default(), &asked, fixtures::now()).unwrap();
        let details = &body_of(&wire)["reversalInformation"]["amountDetails"];
        assert_eq!(*details, serde_json::json!({ "totalAmount": expected, "currency": "GBP" }));
    }
}

#[test]
fn a_follow_up_is_done_refused_or_unknown() {
    use FollowUpKind::{Capture, Refund, Reverse, Void};
    let read = |purpose, kind, step: Step, status, body: &str| {
        let attempt = Attempt { purpose, ..fixtures::attempt("12.40", "GBP") };
        let asked = fixtures::follow_up(&attempt, "6461", kind);
        fixtures::told(&cybersource().parse_follow_up(
            &step,
            &asked,
            &fixtures::reply(status, body.as_bytes()),
        ))
    };
    let first = Step::default;
    let said = |status: &str| format!(r#"{{"id":"77","status":"{status}"}}"#);
    let refused = |reason: &str| format!(r#"{{"status":"INVALID_REQUEST","reason":"{reason}"}}"#);
    assert_eq!(read(Purpose::Authorise, Capture, first(), 201, &said("PENDING")), "done 77");
    assert_eq!(read(Purpose::Sale, Refund, first(), 201, &said("PENDING")), "done 77");
    assert_eq!(read(Purpose::Authorise, Reverse, first(), 201, &said("REVERSED")), "done 77");
    // A void of a sale lets go of the authorisation too; whether that works does not matter any more.
    assert_eq!(read(Purpose::Sale, Void, first(), 201, &said("VOIDED")), "next 1 77");
    let release = || Step { no: 1, ids: vec!["77".to_owned()] };
    assert_eq!(read(Purpose::Sale, Void, release(), 201, &said("REVERSED")), "done 77");
    assert_eq!(read(Purpose::Sale, Void, release(), 400, &refused("MISSING_AUTH")), "done 77");
    // Too late to void: a void is refused, a reverse gives the money back.
    assert_eq!(read(Purpose::Sale, Void, first(), 400, &refused("NOT_VOIDABLE")), "refused NOT_VOIDABLE");
    assert_eq!(read(Purpose::Sale, Reverse, first(), 400, &refused("NOT_VOIDABLE")), "next 2");
    assert_eq!(
        read(Purpose::Authorise, Capture, first(), 400, &refused("EXCEEDS_AUTH_AMOUNT")),
        "refused EXCEEDS_AUTH_AMOUNT"
    );
    assert_eq!(read(Purpose::Sale, Refund, first(), 401, "{}"), "not processed");
    for (status, body) in [
        (201, said("BRANDNEW")),
        (201, r#"{"status":"PENDING"}"#.to_owned()),
        (400, refused("DUPLICATE_REQUEST")),
        (500, said("PENDING")),
        (502, String::new()),
        (200, said("PENDING")),
    ] {
        assert_eq!(read(Purpose::Sale, Refund, first(), status, &body), "unknown", "{status} {body}");
    }
}

#[test]
fn an_attempt_without_an_answer_is_voided_then_reversed_by_our_reference() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let release = |ids: &[&str]| Step { no: 1, ids: ids.iter().map(|id| (*id).to_owned()).collect() };
    let wire = |step: &Step| cybersource().reverse_unknown(step, &attempt, fixtures::now()).unwrap();
    assert_eq!(wire(&Step::default()).endpoint.target, "/pts/v2/voids/");
    let body = body_of(&wire(&release(&[])));
    assert_eq!(wire(&release(&[])).endpoint.target, "/pts/v2/reversals/");
    assert_eq!(body["clientReferenceInformation"]["transactionId"], CODE);
    let read = |step: &Step, status, body: &str| {
        cybersource().parse_reverse_unknown(step, &attempt, &fixtures::reply(status, body.as_bytes()))
    };
    let first = Step::default();
    assert_eq!(
        read(&first, 201, r#"{"id":"1","status":"VOIDED"}"#),
        ParsedReversal::Next(release(&["voided"]))
    );
    assert_eq!(read(&first, 404, NOWHERE), ParsedReversal::Next(release(&[])));
    assert_eq!(read(&release(&[]), 201, r#"{"id":"1","status":"REVERSED"}"#), ParsedReversal::Reversed);
    assert_eq!(read(&release(&[]), 404, NOWHERE), ParsedReversal::NothingThere);
    assert_eq!(read(&release(&["voided"]), 404, NOWHERE), ParsedReversal::Reversed);
    for (status, body) in
        [(201, "{}"), (500, ""), (400, r#"{"status":"INVALID_REQUEST","reason":"INVALID_DATA"}"#)]
    {
        let said = read(&release(&[]), status, body);
        assert!(matches!(said, ParsedReversal::Indeterminate(_)), "{status} {body}: {said:?}");
    }
}
