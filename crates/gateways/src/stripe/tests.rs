use proptest::prelude::*;

use hushpad_domain::attempt::{DeclineClass, Unknown, Verdict};
use hushpad_domain::field::Field;

use super::*;
use crate::contract::Sheet;
use crate::fixtures::{self, form, header_lines, verdict};
use crate::order::Credential;

const REF: &str = "00000000-0000-0000-0000-000000000007";

fn stripe() -> Stripe {
    let base = Endpoint::parse("https://api.stripe.com", false).unwrap();
    Stripe::new(base, "sk_test_1", Duration::from_secs(60)).unwrap()
}

fn step(no: u8, ids: &[&str]) -> Step {
    Step { no, ids: ids.iter().map(|id| (*id).to_owned()).collect() }
}

fn intent(id: &str, status: &str, more: &str) -> String {
    format!(
        r#"{{"id":"{id}","object":"payment_intent","amount":1240,"currency":"gbp","metadata":{{"ref":"{REF}"}},"status":"{status}"{more}}}"#
    )
}

fn card_error(code: &str, decline_code: &str, intent: &str) -> String {
    format!(
        r#"{{"error":{{"type":"card_error","code":"{code}","decline_code":"{decline_code}","message":"no 4111","payment_intent":{intent}}}}}"#
    )
}

fn parsed(step: &Step, status: u16, body: &str) -> Parsed {
    fixtures::parse(&stripe(), step, status, body.as_bytes())
}

fn asked(step: &Step, status: u16, body: &str) -> ParsedQuery {
    fixtures::parse_query(&stripe(), step, status, body.as_bytes())
}

#[test]
fn the_intent_is_made_without_the_card() {
    let wire = fixtures::build(&stripe(), &Step::default(), "12.40", "GBP").unwrap();
    insta::assert_snapshot!(header_lines(&wire), @r#"
    POST /v1/payment_intents
    authorization: Bearer sk_test_1
    stripe-version: 2024-06-20
    content-type: application/x-www-form-urlencoded
    idempotency-key: 9db5dede-05f7-5dcd-bca7-ce5c77a9c709
    "#);
    insta::assert_debug_snapshot!(form(&wire), @r#"
    {
        "amount": "1240",
        "currency": "gbp",
        "metadata[ref]": "00000000-0000-0000-0000-000000000007",
        "payment_method_types[]": "card",
    }
    "#);
}

#[test]
fn the_card_goes_into_a_payment_method() {
    let wire = fixtures::build(&stripe(), &step(METHOD, &["pi_1"]), "12.40", "GBP").unwrap();
    assert_eq!(wire.endpoint.target, "/v1/payment_methods");
    let mut form = form(&wire);
    assert_eq!(form.remove("card[number]").as_deref(), Some("4111111111111111"));
    assert_eq!(form.remove("card[cvc]").as_deref(), Some("123"));
    insta::assert_debug_snapshot!(form, @r#"
    {
        "billing_details[address][city]": "London",
        "billing_details[address][country]": "GB",
        "billing_details[address][line1]": "1 High Street",
        "billing_details[address][postal_code]": "SW1A 1AA",
        "billing_details[email]": "ann@example.com",
        "billing_details[name]": "Ann O'Neil & Co",
        "card[exp_month]": "12",
        "card[exp_year]": "2030",
        "metadata[MerchantReferenceCode]": "order-9",
        "type": "card",
    }
    "#);
}

#[test]
fn the_confirmation_is_moto_and_the_first_step_that_charges() {
    let confirm = step(CONFIRM, &["pi_1", "pm_1"]);
    let wire = fixtures::build(&stripe(), &confirm, "12.40", "GBP").unwrap();
    insta::assert_snapshot!(header_lines(&wire), @r#"
    POST /v1/payment_intents/pi_1/confirm
    authorization: Bearer sk_test_1
    stripe-version: 2024-06-20
    content-type: application/x-www-form-urlencoded
    idempotency-key: 87e74edf-6be3-50b3-8f81-7c2884326b28
    "#);
    insta::assert_debug_snapshot!(form(&wire), @r#"
    {
        "expand[]": "latest_charge",
        "payment_method": "pm_1",
        "payment_method_options[card][moto]": "true",
    }
    "#);
    let charging = [CREATE, METHOD, CONFIRM, CANCEL].map(|no| stripe().may_charge(&step(no, &[])));
    assert_eq!(charging, [false, false, true, true]);
}

#[test]
fn amounts_are_in_stripes_units_or_not_sent_at_all() {
    let amount = |amount, currency| {
        fixtures::build(&stripe(), &Step::default(), amount, currency)
            .map(|wire| form(&wire)["amount"].clone())
    };
    for (text, currency, minor) in [
        ("1500", "JPY", "1500"),
        ("1500", "CLP", "1500"),
        ("1500", "ISK", "150000"),
        ("1500", "UGX", "150000"),
        ("1500.00", "HUF", "150000"),
        ("1500.00", "IDR", "150000"),
        ("1500.00", "MGA", "1500"),
        ("1.230", "KWD", "1230"),
    ] {
        assert_eq!(amount(text, currency).as_deref(), Ok(minor), "{currency}");
    }
    for (text, currency) in [("1500.50", "MGA"), ("1.234", "KWD"), ("1.00", "IRR")] {
        assert_eq!(amount(text, currency), Err(BuildError::Currency), "{currency}");
    }
    assert_eq!(fixtures::build_with_other_amount(&stripe()).err(), Some(BuildError::AmountDiffers));
}

#[test]
fn an_order_goes_from_step_to_step() {
    let made = parsed(&Step::default(), 200, &intent("pi_1", "requires_payment_method", ""));
    assert_eq!(made, Parsed::Next(step(METHOD, &["pi_1"])));
    let method = parsed(&step(METHOD, &["pi_1"]), 200, r#"{"id":"pm_1","object":"payment_method"}"#);
    assert_eq!(method, Parsed::Next(step(CONFIRM, &["pi_1", "pm_1"])));
    let confirm = step(CONFIRM, &["pi_1", "pm_1"]);
    let done = parsed(
        &confirm,
        200,
        &intent("pi_1", "succeeded", r#","amount_received":1240,"latest_charge":"ch_1""#),
    );
    let Parsed::Answer(answer) = done else { panic!("no answer") };
    assert_eq!((answer.verdict, answer.gateway_reference.as_str()), (Verdict::Approved, "pi_1"));
    insta::assert_debug_snapshot!(answer.result, @r#"
    {
        "latest_charge": "ch_1",
        "payment_intent": "pi_1",
        "status": "succeeded",
    }
    "#);
}

#[test]
fn a_wish_for_authentication_is_cancelled_and_declined() {
    let confirm = step(CONFIRM, &["pi_1", "pm_1"]);
    let waits = parsed(&confirm, 200, &intent("pi_1", "requires_action", ""));
    assert_eq!(waits, Parsed::Next(step(CANCEL, &["pi_1"])));
    let wire = fixtures::build(&stripe(), &step(CANCEL, &["pi_1"]), "12.40", "GBP").unwrap();
    assert_eq!(wire.endpoint.target, "/v1/payment_intents/pi_1/cancel");
    let cancelled = parsed(&step(CANCEL, &["pi_1"]), 200, &intent("pi_1", "canceled", ""));
    assert_eq!(verdict(&cancelled), Some(Verdict::Declined { class: DeclineClass::Authenticate }));
    let still = parsed(&step(CANCEL, &["pi_1"]), 200, &intent("pi_1", "requires_action", ""));
    assert_eq!(still, Parsed::Indeterminate(Unknown::Unreadable));
}

#[test]
fn a_decline_says_what_can_be_done() {
    use DeclineClass::{Authenticate, Never, OtherCard, Rekey, TryLater};
    let confirm = step(CONFIRM, &["pi_1", "pm_1"]);
    for (code, decline_code, class) in [
        ("card_declined", "generic_decline", OtherCard),
        ("card_declined", "insufficient_funds", TryLater),
        ("card_declined", "lost_card", Never),
        ("card_declined", "do_not_try_again", Never),
        ("card_declined", "brandnew", OtherCard),
        ("expired_card", "", Rekey(Field::Expiry)),
        ("incorrect_cvc", "incorrect_cvc", Rekey(Field::SecurityCode)),
        ("authentication_required", "authentication_required", Authenticate),
    ] {
        let body = card_error(code, decline_code, &intent("pi_1", "requires_payment_method", ""));
        assert_eq!(verdict(&parsed(&confirm, 402, &body)), Some(Verdict::Declined { class }), "{code}");
    }
    let body = r#"{"error":{"type":"card_error","code":"incorrect_number"}}"#;
    let class = Rekey(Field::CardNumber);
    let early = parsed(&step(METHOD, &["pi_1"]), 402, body);
    assert_eq!(verdict(&early), Some(Verdict::Declined { class }));
}

#[test]
fn a_surprise_at_the_confirmation_is_unknown() {
    let confirm = step(CONFIRM, &["pi_1", "pm_1"]);
    let succeeded = |more: &str| intent("pi_1", "succeeded", more);
    for (status, body) in [
        (200, intent("pi_1", "requires_capture", "")),
        (200, intent("pi_2", "succeeded", "")),
        (200, succeeded("").replace("1240", "1241")),
        (200, succeeded("").replace("gbp", "usd")),
        (200, succeeded("").replace(REF, "another")),
        (200, succeeded(r#","amount_received":1000"#)),
        (200, "{}".to_owned()),
        (202, succeeded("")),
        (402, card_error("card_declined", "", &intent("pi_2", "requires_payment_method", ""))),
        (402, card_error("card_declined", "", &intent("pi_1", "succeeded", ""))),
        (402, r#"{"error":{"type":"api_error","code":"card_declined"}}"#.to_owned()),
        (402, succeeded("")),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","code":"payment_intent_unexpected_state"}}"#
                .to_owned(),
        ),
        (409, r#"{"error":{"type":"idempotency_error"}}"#.to_owned()),
        (429, r#"{"error":{"type":"invalid_request_error","code":"lock_timeout"}}"#.to_owned()),
        (500, card_error("card_declined", "", &intent("pi_1", "requires_payment_method", ""))),
        (503, succeeded("")),
    ] {
        let parsed = parsed(&confirm, status, &body);
        assert!(matches!(parsed, Parsed::Indeterminate(_)), "{status} {body}: {parsed:?}");
    }
    let throttled = r#"{"error":{"type":"invalid_request_error","code":"rate_limit"}}"#;
    assert_eq!(parsed(&confirm, 429, throttled), Parsed::Refused);
    assert_eq!(parsed(&confirm, 401, r#"{"error":{"type":"invalid_request_error"}}"#), Parsed::Refused);
}

#[test]
fn the_question_is_the_first_step_again_then_the_intent_itself() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let first = fixtures::build(&stripe(), &Step::default(), "12.40", "GBP").unwrap();
    let again = stripe().query(&Step::default(), &attempt, fixtures::now()).unwrap();
    assert_eq!(header_lines(&first), header_lines(&again));
    assert_eq!(first.body.as_ref(), again.body.as_ref());
    let look = step(question::LOOK, &["pi_1"]);
    let stored = intent("pi_1", "requires_payment_method", "");
    assert_eq!(asked(&Step::default(), 200, &stored), ParsedQuery::Next(look.clone()));
    let wire = stripe().query(&look, &attempt, fixtures::now()).unwrap();
    assert_eq!(
        (wire.method.as_str(), wire.endpoint.target.as_str()),
        ("GET", "/v1/payment_intents/pi_1?expand[]=latest_charge")
    );
    let ParsedQuery::Found(answer) = asked(&look, 200, &intent("pi_1", "succeeded", "")) else {
        panic!("not found")
    };
    assert_eq!(answer.verdict, Verdict::Approved);
    let declined = r#","last_payment_error":{"type":"card_error","code":"card_declined"}"#;
    let declined = asked(&look, 200, &intent("pi_1", "requires_payment_method", declined));
    assert!(matches!(declined, ParsedQuery::Found(answer) if answer.verdict != Verdict::Approved));
}

#[test]
fn an_intent_that_was_never_confirmed_is_cancelled_before_it_counts_as_not_charged() {
    let look = step(question::LOOK, &["pi_1"]);
    let ParsedQuery::Next(cancel) = asked(&look, 200, &intent("pi_1", "requires_payment_method", "")) else {
        panic!("no next step")
    };
    let wire = stripe().query(&cancel, &fixtures::attempt("12.40", "GBP"), fixtures::now()).unwrap();
    assert_eq!(wire.endpoint.target, "/v1/payment_intents/pi_1/cancel");
    assert_eq!(asked(&cancel, 200, &intent("pi_1", "canceled", "")), ParsedQuery::NotFound);
    assert_eq!(asked(&look, 200, &intent("pi_1", "canceled", "")), ParsedQuery::NotFound);
    for (status, body) in
        [(200, intent("pi_1", "succeeded", "")), (400, "{}".to_owned()), (409, String::new())]
    {
        assert!(matches!(asked(&cancel, status, &body), ParsedQuery::Indeterminate(_)), "{body}");
    }
    let ParsedQuery::Next(cancel) = asked(&look, 200, &intent("pi_1", "requires_action", "")) else {
        panic!("no next step")
    };
    assert!(matches!(asked(&cancel, 200, &intent("pi_1", "canceled", "")), ParsedQuery::Found(_)));
}

#[test]
fn when_stripe_may_have_dropped_the_key_it_is_searched() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let late = fixtures::now().plus(REPLAY_MAX).plus(Duration::from_secs(1));
    let wire = stripe().query(&Step::default(), &attempt, late).unwrap();
    insta::assert_snapshot!(header_lines(&wire), @r#"
    GET /v1/payment_intents/search?query=metadata%5B%27ref%27%5D%3A%2700000000-0000-0000-0000-000000000007%27
    authorization: Bearer sk_test_1
    stripe-version: 2024-06-20
    "#);
    let found =
        |intents: &str| format!(r#"{{"object":"search_result","has_more":false,"data":[{intents}]}}"#);
    assert_eq!(asked(&Step::default(), 200, &found("")), ParsedQuery::NotFound);
    let one = intent("pi_1", "succeeded", "");
    assert_eq!(
        asked(&Step::default(), 200, &found(&one)),
        ParsedQuery::Next(step(question::LOOK, &["pi_1"]))
    );
    let two = found(&format!("{one},{one}"));
    assert!(matches!(asked(&Step::default(), 200, &two), ParsedQuery::Indeterminate(_)));
}

proptest! {
    #[test]
    fn garbage_is_read_without_a_panic_and_is_no_decision(
        no in 0_u8..5,
        status in 100_u16..1000,
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let step = step(no, &["pi_1", "pm_1"]);
        let parsed = fixtures::parse(&stripe(), &step, status, &body);
        prop_assert!(!matches!(parsed, Parsed::Answer(_) | Parsed::Next(_)));
        let asked = fixtures::parse_query(&stripe(), &step, status, &body);
        prop_assert!(matches!(asked, ParsedQuery::Indeterminate(_)));
    }

    #[test]
    fn only_its_own_intent_decides(
        no in 0_u8..5, status in 100_u16..600, id in "pi_[12]", state in "[a-z_]{0,20}",
    ) {
        let asked = asked(&step(no, &["pi_1"]), status, &intent(&id, &state, ""));
        prop_assert!(!matches!(asked, ParsedQuery::Found(_) | ParsedQuery::NotFound));
    }
}

pub(crate) fn sheet() -> Sheet {
    let approved = intent("pi_1", "succeeded", r#","amount_received":1240,"latest_charge":"ch_1""#);
    Sheet {
        name: "stripe",
        connector: Box::new(stripe()),
        pay: step(CONFIRM, &["pi_1", "pm_1"]),
        approved: (200, approved.clone()),
        partial: None,
        declined: (
            402,
            card_error("card_declined", "generic_decline", &intent("pi_1", "requires_payment_method", "")),
        ),
        challenge: (
            402,
            card_error("authentication_required", "", &intent("pi_1", "requires_payment_method", "")),
        ),
        time_outs: vec![
            (500, r#"{"error":{"type":"api_error"}}"#.to_owned()),
            (409, r#"{"error":{"type":"idempotency_error"}}"#.to_owned()),
        ],
        not_ours: vec![
            (200, approved.replace("1240", "1241")),
            (200, approved.replace("gbp", "usd")),
            (200, approved.replace(REF, "another")),
            (200, intent("pi_2", "succeeded", "")),
        ],
        moto: "payment_method_options%5Bcard%5D%5Bmoto%5D=true",
        untaken: Some("IRR"),
        token: "cus_1:pm_1",
    }
}

#[test]
fn a_card_that_is_kept_gets_a_customer_and_says_so() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let data = fixtures::payment_data("12.40", "GBP");
    let order = Order { credential: Credential::FirstOfStored, ..Order::by_phone(&attempt, &data) };
    let card = fixtures::card();
    let parse = |step: &Step, body: &str| {
        stripe().parse(step, &order, Some(&fixtures::masked()), &fixtures::reply(200, body.as_bytes()))
    };
    let made = intent("pi_1", "requires_payment_method", "");
    assert_eq!(parse(&Step::default(), &made), Parsed::Next(step(CUSTOMER, &["pi_1"])));
    let customer = parse(&step(CUSTOMER, &["pi_1"]), r#"{"id":"cus_1","object":"customer"}"#);
    assert_eq!(customer, Parsed::Next(step(UPDATE, &["pi_1", "cus_1"])));
    let wire =
        stripe().build(&step(UPDATE, &["pi_1", "cus_1"]), &order, &Source::Keyed(&card), fixtures::now());
    let wire = wire.unwrap();
    assert_eq!(wire.endpoint.target, "/v1/payment_intents/pi_1");
    assert_eq!(
        (form(&wire)["customer"].as_str(), form(&wire)["setup_future_usage"].as_str()),
        ("cus_1", "off_session")
    );
    assert_eq!(
        parse(&step(UPDATE, &["pi_1", "cus_1"]), &made),
        Parsed::Next(step(METHOD, &["pi_1", "cus_1"]))
    );
    let method = parse(&step(METHOD, &["pi_1", "cus_1"]), r#"{"id":"pm_1","object":"payment_method"}"#);
    assert_eq!(method, Parsed::Next(step(CONFIRM, &["pi_1", "pm_1", "cus_1"])));
    let charge = r#","latest_charge":{"id":"ch_1","payment_method_details":{"card":{"network_transaction_id":"N1","checks":{"address_line1_check":"fail","address_postal_code_check":"pass","cvc_check":"unavailable"}}}}"#;
    let done = parse(&step(CONFIRM, &["pi_1", "pm_1", "cus_1"]), &intent("pi_1", "succeeded", charge));
    let Parsed::Answer(answer) = done else { panic!("no answer: {done:?}") };
    let stored = answer.stored.unwrap();
    assert_eq!((stored.token.as_str(), stored.network_transaction_id.as_deref()), ("cus_1:pm_1", Some("N1")));
    use hushpad_domain::attempt::{Check, Checks};
    let checks = Checks { address: Check::NoMatch, postcode: Check::Match, security_code: Check::NotChecked };
    assert_eq!(answer.checks, checks);
    assert_eq!(answer.result["latest_charge"], "ch_1");
}

#[test]
fn an_authorisation_is_captured_later() {
    let attempt = Attempt { purpose: Purpose::Authorise, ..fixtures::attempt("12.40", "GBP") };
    let data = fixtures::payment_data("12.40", "GBP");
    let order = Order::by_phone(&attempt, &data);
    let wire = stripe().create(&attempt).unwrap();
    assert_eq!(form(&wire)["capture_method"], "manual");
    let confirm = step(CONFIRM, &["pi_1", "pm_1"]);
    let read = |status: &str, more: &str| {
        let body = intent("pi_1", status, more);
        verdict(&stripe().parse(&confirm, &order, None, &fixtures::reply(200, body.as_bytes())))
    };
    assert_eq!(read("requires_capture", r#","amount_capturable":1240"#), Some(Verdict::Approved));
    assert_eq!(read("requires_capture", r#","amount_capturable":1000"#), None);
    assert_eq!(read("succeeded", ""), None);
    assert_eq!(read("requires_capture", r#","review":"prv_1""#), Some(Verdict::Review));
    assert_eq!(read("processing", ""), Some(Verdict::Pending));
}

#[test]
fn a_follow_up_is_done_refused_or_unknown() {
    use FollowUpKind::{Capture, Refund, Reverse, Void};
    let read = |kind, no, status, body: &str| {
        let attempt = Attempt { purpose: Purpose::Authorise, ..fixtures::attempt("12.40", "GBP") };
        let asked = fixtures::follow_up(&attempt, "pi_1", kind);
        fixtures::told(&stripe().parse_follow_up(
            &step(no, &[]),
            &asked,
            &fixtures::reply(status, body.as_bytes()),
        ))
    };
    let refund = |status: &str| {
        format!(r#"{{"id":"re_1","object":"refund","status":"{status}","payment_intent":"pi_1"}}"#)
    };
    let error = |code: &str| format!(r#"{{"error":{{"type":"invalid_request_error","code":"{code}"}}}}"#);
    assert_eq!(read(Capture, 0, 200, &intent("pi_1", "succeeded", "")), "done pi_1");
    assert_eq!(read(Capture, 0, 200, &intent("pi_2", "succeeded", "")), "unknown");
    assert_eq!(read(Void, 0, 200, &intent("pi_1", "canceled", "")), "done pi_1");
    assert_eq!(read(Refund, 0, 200, &refund("succeeded")), "done re_1");
    assert_eq!(read(Refund, 0, 200, &refund("pending")), "accepted re_1");
    assert_eq!(read(Refund, 0, 200, &refund("failed")), "refused failed");
    assert_eq!(read(Refund, 0, 200, &refund("succeeded").replace("pi_1", "pi_2")), "unknown");
    assert_eq!(read(Refund, 0, 400, &error("charge_already_refunded")), "refused charge_already_refunded");
    assert_eq!(read(Reverse, 2, 400, &error("charge_already_refunded")), "done pi_1");
    assert_eq!(read(Reverse, 0, 200, &intent("pi_1", "requires_capture", "")), "next 1");
    assert_eq!(read(Reverse, 0, 200, &intent("pi_1", "succeeded", "")), "next 2");
    assert_eq!(read(Reverse, 0, 200, &intent("pi_1", "canceled", "")), "done pi_1");
    assert_eq!(read(Capture, 0, 429, &error("rate_limit")), "not processed");
    assert_eq!(
        read(Capture, 0, 400, &error("payment_intent_unexpected_state")),
        "refused payment_intent_unexpected_state"
    );
    assert_eq!(read(Capture, 0, 500, &intent("pi_1", "succeeded", "")), "unknown");
    assert_eq!(read(Capture, 0, 409, &error("x")), "unknown");
}

#[test]
fn an_attempt_without_an_answer_is_cancelled_or_refunded() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let read = |step: &Step, body: &str| {
        stripe().parse_reverse_unknown(step, &attempt, &fixtures::reply(200, body.as_bytes()))
    };
    let look = step(question::LOOK, &["pi_1"]);
    assert_eq!(
        read(&Step::default(), &intent("pi_1", "requires_payment_method", "")),
        ParsedReversal::Next(look.clone())
    );
    let ParsedReversal::Next(give_back) = read(&look, &intent("pi_1", "succeeded", "")) else {
        panic!("no step")
    };
    let wire = stripe().reverse_unknown(&give_back, &attempt, fixtures::now()).unwrap();
    assert_eq!(
        (wire.endpoint.target.as_str(), form(&wire)["payment_intent"].as_str()),
        ("/v1/refunds", "pi_1")
    );
    assert!(!form(&wire).contains_key("amount"));
    let refunded = r#"{"id":"re_1","object":"refund","status":"succeeded","payment_intent":"pi_1"}"#;
    assert_eq!(read(&give_back, refunded), ParsedReversal::Reversed);
    let ParsedReversal::Next(cancel) = read(&look, &intent("pi_1", "requires_capture", "")) else {
        panic!("no step")
    };
    assert_eq!(read(&cancel, &intent("pi_1", "canceled", "")), ParsedReversal::Reversed);
    assert_eq!(read(&look, &intent("pi_1", "canceled", "")), ParsedReversal::NothingThere);
    assert!(matches!(read(&look, &intent("pi_1", "processing", "")), ParsedReversal::Indeterminate(_)));
}

#[test]
fn a_card_is_kept_without_a_payment() {
    let attempt = Attempt { purpose: Purpose::Tokenise, ..fixtures::attempt("12.40", "GBP") };
    let data = fixtures::payment_data("12.40", "GBP");
    let order = Order::by_phone(&attempt, &data);
    let card = fixtures::card();
    let (mut at, mut paths) = (Step::default(), Vec::new());
    let replies = [
        r#"{"id":"cus_1","object":"customer"}"#,
        r#"{"id":"pm_1","object":"payment_method"}"#,
        r#"{"id":"seti_1","object":"setup_intent","status":"requires_payment_method"}"#,
        r#"{"id":"seti_1","object":"setup_intent","status":"succeeded"}"#,
    ];
    for body in replies {
        assert!(!stripe().may_charge(&at));
        paths.push(
            stripe().build(&at, &order, &Source::Keyed(&card), fixtures::now()).unwrap().endpoint.target,
        );
        match stripe().parse(&at, &order, Some(&fixtures::masked()), &fixtures::reply(200, body.as_bytes())) {
            Parsed::Next(next) => at = next,
            Parsed::Answer(answer) => assert_eq!(answer.stored.unwrap().token, "cus_1:pm_1"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        paths,
        ["/v1/customers", "/v1/payment_methods", "/v1/setup_intents", "/v1/setup_intents/seti_1/confirm"]
    );
}
