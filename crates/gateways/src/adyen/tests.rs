use hushpad_domain::attempt::{Check, Checks, DeclineClass, Verdict};
use hushpad_domain::field::Field;
use proptest::prelude::*;

use super::*;
use crate::contract::Sheet;
use crate::fixtures::{self, header_lines, verdict};
use hushpad_domain::notification::{Told, UndoingEnd};

/// The key of Adyen's published example (docs.adyen.com, "Verify HMAC signatures").
const HMAC_KEY: &str = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056";

fn adyen() -> Adyen {
    let base = Endpoint::parse("https://checkout-test.adyen.com/v72", false).unwrap();
    Adyen::new(Settings {
        base,
        merchant_account: "ShopPOS",
        api_key: "key-1",
        hmac_key: Some(HMAC_KEY),
        settle_time: Duration::from_secs(60),
    })
    .unwrap()
}

#[test]
fn the_request_is_a_moto_payment_in_minor_units() {
    let wire = fixtures::build(&adyen(), &Step::default(), "12.40", "GBP").unwrap();
    insta::assert_snapshot!(header_lines(&wire), @r#"
    POST /v72/payments
    x-api-key: key-1
    content-type: application/json
    accept: application/json
    idempotency-key: 17797f33-b81d-5ffa-948c-62d831d7d91d
    "#);
    let mut body: serde_json::Value = serde_json::from_slice(wire.body.as_ref()).unwrap();
    fixtures::take_card(&mut body["paymentMethod"], "number", "cvc");
    insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap(), @r#"
    {
      "amount": {
        "currency": "GBP",
        "value": 1240
      },
      "billingAddress": {
        "city": "London",
        "country": "GB",
        "houseNumberOrName": "1",
        "postalCode": "SW1A 1AA",
        "street": "High Street"
      },
      "merchantAccount": "ShopPOS",
      "merchantOrderReference": "order-9",
      "paymentMethod": {
        "expiryMonth": "12",
        "expiryYear": "2030",
        "type": "scheme"
      },
      "reference": "00000000-0000-0000-0000-000000000007",
      "returnUrl": "https://moto.invalid/",
      "shopperEmail": "ann@example.com",
      "shopperInteraction": "Moto"
    }
    "#);
}

#[test]
fn amounts_are_in_adyens_units_or_not_sent_at_all() {
    let value = |amount, currency| {
        let wire = fixtures::build(&adyen(), &Step::default(), amount, currency)?;
        let body: serde_json::Value = serde_json::from_slice(wire.body.as_ref()).unwrap();
        Ok(body["amount"]["value"].as_i64().unwrap())
    };
    assert_eq!(value("1500", "CLP"), Ok(150_000));
    assert_eq!(value("1500", "ISK"), Ok(150_000));
    assert_eq!(value("1500.00", "IDR"), Ok(1500));
    assert_eq!(value("1500.50", "IDR"), Err(BuildError::Currency));
    assert_eq!(value("1500", "JPY"), Ok(1500));
    assert_eq!(value("1.234", "KWD"), Ok(1234));
    assert_eq!(value("12.40", "MGA"), Err(BuildError::Currency));
}

#[test]
fn an_amount_that_is_not_the_sessions_is_not_sent() {
    assert_eq!(fixtures::build_with_other_amount(&adyen()).err(), Some(BuildError::AmountDiffers));
}

fn parsed(status: u16, body: &[u8]) -> Parsed {
    fixtures::parse(&adyen(), &Step::default(), status, body)
}

#[test]
fn a_result_code_decides() {
    use DeclineClass::{Authenticate, Never, OtherCard, Rekey, TryLater};
    let declined = |class| Some(Verdict::Declined { class });
    let cases = [
        (r#""Authorised""#, Some(Verdict::Approved)),
        (
            r#""Authorised","merchantReference":"00000000-0000-0000-0000-000000000007","amount":{"currency":"GBP","value":1240}"#,
            Some(Verdict::Approved),
        ),
        (r#""Refused""#, declined(OtherCard)),
        (r#""Refused","refusalReasonCode":"2""#, declined(OtherCard)),
        (r#""Refused","refusalReasonCode":"5""#, declined(Never)),
        (r#""Refused","refusalReasonCode":"6""#, declined(Rekey(Field::Expiry))),
        (r#""Refused","refusalReasonCode":"8""#, declined(Rekey(Field::CardNumber))),
        (r#""Refused","refusalReasonCode":"12""#, declined(TryLater)),
        (r#""Refused","refusalReasonCode":"24""#, declined(Rekey(Field::SecurityCode))),
        (r#""Refused","refusalReasonCode":"38""#, declined(Authenticate)),
        (r#""Error","refusalReasonCode":"4""#, declined(TryLater)),
        (r#""Cancelled""#, declined(OtherCard)),
        (r#""ChallengeShopper""#, declined(Authenticate)),
        (r#""RedirectShopper""#, declined(Authenticate)),
        (r#""Pending""#, Some(Verdict::Pending)),
        (r#""Received""#, Some(Verdict::Pending)),
        (r#""PartiallyAuthorised""#, None),
        (r#""Brandnew""#, None),
        (r#""Authorised","amount":{"currency":"GBP","value":1241}"#, None),
        (r#""Authorised","amount":{"currency":"USD","value":1240}"#, None),
        (r#""Refused","merchantReference":"another""#, None),
    ];
    for (code, expected) in cases {
        let body = format!(r#"{{"pspReference":"NC6HT9CRT65ZGN82","resultCode":{code}}}"#);
        assert_eq!(verdict(&parsed(200, body.as_bytes())), expected, "{code}");
    }
}

#[test]
fn a_refused_request_was_not_processed() {
    let error = |status, code: &str, kind: &str| {
        let body =
            format!(r#"{{"status":{status},"errorCode":"{code}","message":"x","errorType":"{kind}"}}"#);
        parsed(status, body.as_bytes())
    };
    assert_eq!(error(401, "000", "security"), Parsed::Refused);
    assert_eq!(error(403, "901", "security"), Parsed::Refused);
    assert_eq!(error(422, "130", "validation"), Parsed::Refused);
    assert_eq!(parsed(429, b""), Parsed::Refused);
    let rekey = |field| Some(Verdict::Declined { class: DeclineClass::Rekey(field) });
    assert_eq!(verdict(&error(422, "101", "validation")), rekey(Field::CardNumber));
    assert_eq!(verdict(&error(422, "103", "validation")), rekey(Field::SecurityCode));
    assert_eq!(verdict(&error(422, "129", "validation")), rekey(Field::Expiry));
    for parsed in [
        error(422, "704", "validation"),
        error(422, "101", "internal"),
        error(500, "101", "validation"),
        parsed(422, b"{}"),
        parsed(404, b"{}"),
        parsed(200, b"{}"),
        parsed(200, br#"{"resultCode":"Refused"}"#),
        parsed(500, br#"{"resultCode":"Authorised","pspReference":"X"}"#),
        parsed(402, br#"{"resultCode":"Refused","pspReference":"X"}"#),
    ] {
        assert!(matches!(parsed, Parsed::Indeterminate(_)), "{parsed:?}");
    }
}

#[test]
fn the_result_is_in_adyens_names() {
    let body = br#"{"pspReference":"NC6HT9CRT65ZGN82","resultCode":"Refused","refusalReason":"CVC 123 Declined","refusalReasonCode":"24","additionalData":{"cvcResult":"2"}}"#;
    let Parsed::Answer(answer) = parsed(200, body) else { panic!("no answer") };
    insta::assert_debug_snapshot!(answer.result, @r#"
    {
        "merchantReference": "00000000-0000-0000-0000-000000000007",
        "pspReference": "NC6HT9CRT65ZGN82",
        "refusalReason": "CVC *** Declined",
        "refusalReasonCode": "24",
        "resultCode": "Refused",
    }
    "#);
}

proptest! {
    #[test]
    fn garbage_is_read_without_a_panic_and_is_no_decision(
        status in 100_u16..1000,
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        prop_assert_eq!(verdict(&parsed(status, &body)), None);
    }

    #[test]
    fn any_words_in_its_own_shape_are_read_without_a_panic(
        status in prop::sample::select(vec![200_u16, 400, 401, 422, 500]),
        result in "[A-Za-z]{0,12}", reference in ".{0,40}", code in "[0-9]{0,4}",
    ) {
        let body = serde_json::json!({
            "resultCode": result, "pspReference": reference, "refusalReasonCode": code, "errorCode": code,
        });
        prop_assert_eq!(verdict(&parsed(status, body.to_string().as_bytes())), None);
    }
}

/// Adyen's published example, whose signature others computed.
const PUBLISHED: &str = r#"{"live":"false","notificationItems":[{"NotificationRequestItem":{
    "pspReference":"7914073381342284","originalReference":"","merchantAccountCode":"TestMerchant",
    "merchantReference":"TestPayment-1407325143704","amount":{"value":1130,"currency":"EUR"},
    "eventCode":"AUTHORISATION","success":"true",
    "additionalData":{"hmacSignature":"coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="}}}]}"#;

fn shop(account: &str) -> Adyen {
    let base = Endpoint::parse("https://checkout-test.adyen.com/v72", false).unwrap();
    Adyen::new(Settings {
        base,
        merchant_account: account,
        api_key: "key-1",
        hmac_key: Some(HMAC_KEY),
        settle_time: Duration::from_secs(60),
    })
    .unwrap()
}

#[test]
fn the_published_signature_is_believed_and_no_change_to_what_it_signs() {
    let read = |body: &str| shop("TestMerchant").notification(body.as_bytes());
    let told = read(PUBLISHED).unwrap();
    // Another system's reference: nothing for us to do, but ours to acknowledge.
    assert_eq!(told[0].what, Told::Other { event: "AUTHORISATION".to_owned() });
    assert_eq!(told[0].dedupe_key, "7914073381342284 AUTHORISATION true");
    for (part, other) in [
        ("7914073381342284", "7914073381342285"),
        ("1407325143704", "1407325143705"),
        ("1130", "1131"),
        ("\"EUR\"", "\"USD\""),
        ("AUTHORISATION", "REFUND"),
        ("\"success\":\"true\"", "\"success\":\"false\""),
        ("coqC", "coqD"),
        ("hmacSignature", "signature"),
    ] {
        assert_eq!(read(&PUBLISHED.replace(part, other)), Err(NotificationError::NotSigned), "{part}");
    }
    assert_eq!(shop("Other").notification(PUBLISHED.as_bytes()), Err(NotificationError::NotSigned));
    for body in ["", "{}", "[]", r#"{"notificationItems":[{}]}"#] {
        assert_eq!(read(body), Err(NotificationError::Malformed), "{body}");
    }
    let base = Endpoint::parse("https://checkout-test.adyen.com/v72", false).unwrap();
    let deaf = Adyen::new(Settings {
        base,
        merchant_account: "TestMerchant",
        api_key: "k",
        hmac_key: None,
        settle_time: Duration::ZERO,
    });
    assert_eq!(deaf.unwrap().notification(PUBLISHED.as_bytes()), Err(NotificationError::NotExpected));
}

/// A notification about our attempt or operation, signed as Adyen signs.
fn told(event: &str, success: bool, more: &str) -> Told {
    let reference = "00000000-0000-0000-0000-000000000007";
    let key: Vec<u8> = (0..HMAC_KEY.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&HMAC_KEY[at..at + 2], 16).unwrap())
        .collect();
    let text = format!("PSP1:PSP0:ShopPOS:{reference}:1240:GBP:{event}:{success}");
    let signature = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key), text.as_bytes());
    let signature = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, signature);
    let body = format!(
        r#"{{"notificationItems":[{{"NotificationRequestItem":{{"pspReference":"PSP1","originalReference":"PSP0","merchantAccountCode":"ShopPOS","merchantReference":"{reference}","amount":{{"value":1240,"currency":"GBP"}},"eventCode":"{event}","success":"{success}","reason":"code 123","additionalData":{{"hmacSignature":"{signature}"{more}}}}}}}]}}"#
    );
    let mut all = adyen().notification(body.as_bytes()).unwrap();
    let one = all.remove(0);
    assert_eq!((one.reference, one.gateway_reference.as_str()), (Uuid::from_u128(7), "PSP1"));
    assert_eq!(one.original_reference.as_deref(), Some("PSP0"));
    assert_eq!(one.amount.unwrap().to_string(), "12.40 GBP");
    one.what
}

#[test]
fn a_notification_says_what_became_of_an_attempt_or_a_follow_up() {
    let follow_up = |done| Told::FollowUp { done, reason: "code ***".to_owned() };
    let result = |code: &str| {
        [("pspReference", "PSP1"), ("resultCode", code)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    let attempt = |declined: Option<DeclineClass>, checks| Told::Attempt {
        result: result(if declined.is_some() { "Refused" } else { "Authorised" }).into(),
        declined,
        checks,
        stored: None,
    };
    assert_eq!(told("AUTHORISATION", true, ""), attempt(None, Checks::default()));
    let mismatch = Checks { security_code: Check::NoMatch, ..Checks::default() };
    assert_eq!(told("AUTHORISATION", true, r#","cvcResult":"2 N""#), attempt(None, mismatch));
    let refused = told("AUTHORISATION", false, r#","refusalReasonCode":"6""#);
    let class = DeclineClass::Rekey(Field::Expiry);
    assert_eq!(refused, attempt(Some(class), Checks::default()));
    let kept = told(
        "AUTHORISATION",
        true,
        r#","recurring.recurringDetailReference":"R1","recurring.shopperReference":"S1","networkTxReference":"N1""#,
    );
    let Told::Attempt { stored: Some(stored), .. } = kept else { panic!("nothing is kept: {kept:?}") };
    assert_eq!((stored.token.as_str(), stored.network_transaction_id.as_deref()), ("S1:R1", Some("N1")));
    for event in ["CAPTURE", "REFUND", "CANCELLATION", "CANCEL_OR_REFUND"] {
        assert_eq!(told(event, true, ""), follow_up(true), "{event}");
        assert_eq!(told(event, false, ""), follow_up(false), "{event}");
    }
    for (done, end) in [(true, UndoingEnd::Done), (false, UndoingEnd::Failed)] {
        let undone = Told::Reversal { end, reason: "code ***".to_owned() };
        assert_eq!(told("TECHNICAL_CANCEL", done, ""), undone);
    }
    assert_eq!(told("CAPTURE_FAILED", true, ""), Told::FailedLater { event: "CAPTURE_FAILED".to_owned() });
    assert_eq!(told("REPORT_AVAILABLE", true, ""), Told::Other { event: "REPORT_AVAILABLE".to_owned() });
}

proptest! {
    #[test]
    fn nothing_unsigned_is_believed(body in prop::collection::vec(any::<u8>(), 0..300), signature in ".{0,60}") {
        prop_assert!(adyen().notification(&body).is_err());
        let changed = PUBLISHED.replace("coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0=", &signature.replace(['"', '\\'], ""));
        prop_assert!(shop("TestMerchant").notification(changed.as_bytes()).is_err());
    }
}

pub(crate) fn sheet() -> Sheet {
    let said = |code: &str, more: &str| {
        let reference = "00000000-0000-0000-0000-000000000007";
        (
            200,
            format!(
                r#"{{"pspReference":"NC6HT9CRT65ZGN82","merchantReference":"{reference}","resultCode":"{code}"{more}}}"#
            ),
        )
    };
    Sheet {
        name: "adyen",
        connector: Box::new(adyen()),
        pay: Step::default(),
        approved: said("Authorised", r#","amount":{"currency":"GBP","value":1240}"#),
        partial: Some(said("PartiallyAuthorised", r#","amount":{"currency":"GBP","value":620}"#)),
        declined: said("Refused", r#","refusalReasonCode":"2""#),
        challenge: said("ChallengeShopper", ""),
        time_outs: vec![
            (500, r#"{"status":500,"errorCode":"000","errorType":"internal"}"#.to_owned()),
            (422, r#"{"status":422,"errorCode":"704","errorType":"validation"}"#.to_owned()),
        ],
        not_ours: vec![
            said("Authorised", r#","amount":{"currency":"GBP","value":1241}"#),
            said("Authorised", r#","amount":{"currency":"USD","value":1240}"#),
            said("PartiallyAuthorised", r#","amount":{"currency":"GBP","value":1240}"#),
            said("PartiallyAuthorised", ""),
            (
                200,
                r#"{"pspReference":"X","merchantReference":"another","resultCode":"Authorised"}"#.to_owned(),
            ),
        ],
        moto: "\"shopperInteraction\":\"Moto\"",
        untaken: Some("MGA"),
        token: "shopper1:STORED1",
    }
}

#[test]
fn what_follows_is_taken_and_its_end_is_told_later() {
    use FollowUpKind::{Capture, Refund, Reverse, Void};
    let wire = |purpose, kind| {
        let attempt = Attempt { purpose, ..fixtures::attempt("12.40", "GBP") };
        let asked = fixtures::follow_up(&attempt, "NC6HT9CRT65ZGN82", kind);
        let wire = adyen().follow_up(&Step::default(), &asked, fixtures::now()).unwrap();
        let has_amount = std::str::from_utf8(wire.body.as_ref()).unwrap().contains("amount");
        (wire.endpoint.target.rsplit('/').next().unwrap().to_owned(), has_amount)
    };
    for (purpose, kind, what, has_amount) in [
        (Purpose::Authorise, Capture, "captures", true),
        (Purpose::Sale, Refund, "refunds", true),
        (Purpose::Authorise, Void, "cancels", false),
        (Purpose::Sale, Void, "reversals", false),
        (Purpose::Sale, Reverse, "reversals", false),
        (Purpose::Authorise, Reverse, "reversals", false),
    ] {
        assert_eq!(wire(purpose, kind), (what.to_owned(), has_amount), "{purpose:?} {kind:?}");
    }
    let read = |status, body: &str| {
        let attempt = fixtures::attempt("12.40", "GBP");
        let asked = fixtures::follow_up(&attempt, "NC6HT9CRT65ZGN82", Refund);
        fixtures::told(&adyen().parse_follow_up(
            &Step::default(),
            &asked,
            &fixtures::reply(status, body.as_bytes()),
        ))
    };
    let id = "00000000-0000-0000-0000-000000000008";
    let taken = format!(r#"{{"pspReference":"R1","status":"received","reference":"{id}"}}"#);
    assert_eq!(read(201, &taken), "accepted R1");
    assert_eq!(read(201, &taken.replace(id, "another")), "unknown");
    assert_eq!(read(201, &taken.replace("received", "brandnew")), "unknown");
    assert_eq!(read(200, &taken), "unknown");
    assert_eq!(read(422, r#"{"errorCode":"167","errorType":"validation"}"#), "refused 167");
    assert_eq!(read(422, r#"{"errorCode":"704","errorType":"validation"}"#), "unknown");
    assert_eq!(read(401, "{}"), "not processed");
    assert_eq!(read(500, &taken), "unknown");
}

#[test]
fn an_attempt_without_an_answer_is_cancelled_by_our_reference_and_told_of_later() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let wire = adyen().reverse_unknown(&Step::default(), &attempt, fixtures::now()).unwrap();
    assert_eq!(wire.endpoint.target, "/v72/cancels");
    let body: serde_json::Value = serde_json::from_slice(wire.body.as_ref()).unwrap();
    assert_eq!(body["paymentReference"], attempt.id.to_string());
    let read = |status, body: &str| {
        adyen().parse_reverse_unknown(&Step::default(), &attempt, &fixtures::reply(status, body.as_bytes()))
    };
    assert_eq!(read(201, r#"{"pspReference":"C1","status":"received"}"#), ParsedReversal::Accepted);
    for (status, body) in [(201, "{}"), (422, "{}"), (500, ""), (200, r#"{"status":"received"}"#)] {
        assert!(matches!(read(status, body), ParsedReversal::Indeterminate(_)), "{status} {body}");
    }
}

#[test]
fn checks_and_kept_cards_are_read_where_the_account_returns_them() {
    use hushpad_domain::attempt::{Check, Checks};
    let body = r#"{"pspReference":"P1","resultCode":"Authorised","additionalData":{"avsResult":"1 Address matches, but the postal code doesn't match","cvcResult":"2 Doesn't match","recurring.recurringDetailReference":"R1","networkTxReference":"N1"}}"#;
    let Parsed::Answer(answer) = parsed(200, body.as_bytes()) else { panic!("no answer") };
    let checks = Checks { address: Check::Match, postcode: Check::NoMatch, security_code: Check::NoMatch };
    assert_eq!(answer.checks, checks);
    let stored = answer.stored.unwrap();
    assert_eq!(stored.token, "00000000-0000-0000-0000-000000000007:R1");
    assert_eq!(stored.network_transaction_id.as_deref(), Some("N1"));
}
