use hushpad_domain::attempt::{DeclineClass, Verdict};
use proptest::prelude::*;

use super::*;
use crate::contract::Sheet;
use crate::fixtures::{self, verdict};

fn connector() -> Generic {
    let endpoint = Endpoint::parse("https://pay.example/charges", false).unwrap();
    Generic::new(endpoint.clone(), Some(endpoint.clone()), Some(endpoint), "u", "p", Duration::from_secs(60))
        .unwrap()
}

fn parsed(status: u16, body: &[u8]) -> Parsed {
    fixtures::parse(&connector(), &Step::default(), status, body)
}

fn queried(status: u16, body: &str) -> ParsedQuery {
    fixtures::parse_query(&connector(), &Step::default(), status, body.as_bytes())
}

const OURS: &str = "00000000-0000-0000-0000-000000000007";

#[test]
fn an_answer_is_read_by_its_words_not_by_its_status() {
    let other_card = Verdict::Declined { class: DeclineClass::OtherCard };
    let cases = [
        (200, r#"{"charge_id":"ch_1"}"#, Some(Verdict::Approved)),
        (201, r#"{"charge_id":77,"error_code":null,"error_message":null}"#, Some(Verdict::Approved)),
        (200, r#"{"charge_id":"ch_1","error_code":"","parameters":{"a":[1]}}"#, Some(Verdict::Approved)),
        (200, r#"{"charge_id":"ch_1","amount":"12.4","currency_code":"gbp"}"#, Some(Verdict::Approved)),
        (200, r#"{"error_code":"new_reason"}"#, Some(other_card.clone())),
        (402, r#"{"error_code":51,"error_message":"no"}"#, Some(other_card.clone())),
        (422, r#"{"error_code":"card_declined"}"#, Some(other_card)),
    ];
    for (status, body, expected) in cases {
        assert_eq!(verdict(&parsed(status, body.as_bytes())), expected, "{status} {body}");
    }
}

#[test]
fn a_surprise_is_never_a_decline() {
    let cases = [
        (200, ""),
        (200, "{}"),
        (200, "null"),
        (200, r#"{"charge_id":"","error_code":""}"#),
        (200, r#"{"charge_id":"ch_1","error_code":"card_declined"}"#),
        (200, r#"{"charge_id":"ch_1","charge_id":"ch_2"}"#),
        (200, r#"{"charge_id":"ch_1","amount":"12.41"}"#),
        (200, r#"{"charge_id":"ch_1","currency_code":"USD"}"#),
        (200, r#"{"charge_id":"ch_1","transaction_id":"another"}"#),
        (200, r#"{"error_code":"timeout"}"#),
        (402, r#"{"charge_id":"ch_1"}"#),
        (402, "declined"),
        (200, r#"{"charge_id":"ch_1","amount":"0"}"#),
        (400, r#"{"error_code":"malformed"}"#),
        (401, r#"{"charge_id":"ch_1"}"#),
        (302, r#"{"error_code":"card_declined"}"#),
        (404, r#"{"error_code":"card_declined"}"#),
        (500, r#"{"error_code":"card_declined"}"#),
        (503, r#"{"charge_id":"ch_1"}"#),
    ];
    for (status, body) in cases {
        let parsed = parsed(status, body.as_bytes());
        assert!(matches!(parsed, Parsed::Indeterminate(_)), "{status} {body}: {parsed:?}");
    }
}

#[test]
fn only_a_clear_word_about_our_reference_counts_when_asking() {
    let found = queried(200, &format!(r#"{{"transaction_id":"{OURS}","charge_id":"ch_1"}}"#));
    assert!(matches!(found, ParsedQuery::Found(_)));
    let none = format!(r#"{{"transaction_id":"{OURS}","error_code":"not_found"}}"#);
    assert_eq!(queried(404, &none), ParsedQuery::NotFound);
    for (status, body) in [
        (404, "".to_owned()),
        (404, "not found".to_owned()),
        (404, r#"{"error_code":"not_found"}"#.to_owned()),
        (404, r#"{"transaction_id":"another","error_code":"not_found"}"#.to_owned()),
        (404, format!(r#"{{"transaction_id":"{OURS}","charge_id":"ch_1"}}"#)),
        (200, none),
        (200, r#"{"charge_id":"ch_1"}"#.to_owned()),
        (200, r#"{"transaction_id":"another","charge_id":"ch_1"}"#.to_owned()),
        (500, format!(r#"{{"transaction_id":"{OURS}","error_code":"not_found"}}"#)),
        (401, format!(r#"{{"transaction_id":"{OURS}","charge_id":"ch_1"}}"#)),
    ] {
        let said = queried(status, &body);
        assert!(matches!(said, ParsedQuery::Indeterminate(_)), "{status} {body}: {said:?}");
    }
}

proptest! {
    #[test]
    fn any_reply_is_read_without_a_panic(status in 100_u16..1000, body in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert_eq!(verdict(&parsed(status, &body)), None);
    }

    #[test]
    fn approval_needs_a_charge_id_and_nothing_against_it(
        status in prop::sample::select(vec![200_u16, 201, 400, 401, 402, 404, 422, 429, 500, 503]),
        charge in prop::option::of("[a-z]{0,3}"),
        code in prop::option::of(prop::sample::select(vec!["", "card_declined", "timeout", "odd"])),
        amount in prop::option::of(prop::sample::select(vec!["12.40", "12.41", "x"])),
    ) {
        let body = serde_json::json!({"charge_id": charge, "error_code": code, "amount": amount});
        let given = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let code = code.map(str::to_owned);
        match verdict(&parsed(status, body.to_string().as_bytes())) {
            Some(Verdict::Approved) => {
                prop_assert!(status < 300 && given(&charge) && !given(&code));
                prop_assert!(amount.is_none_or(|amount| amount == "12.40"));
            }
            Some(Verdict::Declined { .. }) => prop_assert!(given(&code) && !given(&charge) && status < 500),
            Some(Verdict::Review | Verdict::Partial { .. } | Verdict::Pending) => prop_assert!(false),
            None => {}
        }
    }
}

pub(crate) fn sheet() -> Sheet {
    let said = |status, body: &str| (status, format!(r#"{{"transaction_id":"{OURS}",{body}}}"#));
    Sheet {
        name: "generic",
        connector: Box::new(connector()),
        pay: Step::default(),
        approved: said(200, r#""charge_id":"ch_1","amount":"12.40","currency_code":"GBP""#),
        partial: Some(said(
            200,
            r#""charge_id":"ch_1","amount":"6.20","currency_code":"GBP","partial":true"#,
        )),
        declined: said(402, r#""error_code":"card_declined""#),
        challenge: said(402, r#""error_code":"authentication_required""#),
        time_outs: vec![said(200, r#""error_code":"processor_timeout""#), (500, String::new())],
        not_ours: vec![
            said(200, r#""charge_id":"ch_1","amount":"6.20""#),
            said(200, r#""charge_id":"ch_1","amount":"12.41""#),
            said(200, r#""charge_id":"ch_1","currency_code":"USD""#),
            (200, r#"{"transaction_id":"another","charge_id":"ch_1"}"#.to_owned()),
        ],
        // The pay connectors of telephone systems know nothing else.
        moto: "cardnumber",
        untaken: None,
        token: "tok_1",
    }
}

#[test]
fn what_follows_names_its_own_id_and_the_first_one() {
    let mut lines = Vec::new();
    for kind in FollowUpKind::ALL {
        let attempt = fixtures::attempt("12.40", "GBP");
        let wire = connector().follow_up(
            &Step::default(),
            &fixtures::follow_up(&attempt, "ch_1", kind),
            fixtures::now(),
        );
        lines.push(std::str::from_utf8(wire.unwrap().body.as_ref()).unwrap().to_owned());
    }
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"amount":"12.40","charge_id":"ch_1","currency_code":"GBP","method":"capture","original_transaction_id":"00000000-0000-0000-0000-000000000007","transaction_id":"00000000-0000-0000-0000-000000000008"}
    {"charge_id":"ch_1","method":"void","original_transaction_id":"00000000-0000-0000-0000-000000000007","transaction_id":"00000000-0000-0000-0000-000000000008"}
    {"amount":"12.40","charge_id":"ch_1","currency_code":"GBP","method":"refund","original_transaction_id":"00000000-0000-0000-0000-000000000007","transaction_id":"00000000-0000-0000-0000-000000000008"}
    {"method":"reverse","original_transaction_id":"00000000-0000-0000-0000-000000000007","transaction_id":"00000000-0000-0000-0000-000000000008"}
    "#);
}

#[test]
fn what_follows_is_done_refused_or_unknown() {
    let id = "00000000-0000-0000-0000-000000000008";
    let parsed = |status, body: &str| {
        let attempt = fixtures::attempt("12.40", "GBP");
        let asked = fixtures::follow_up(&attempt, "ch_1", FollowUpKind::Refund);
        fixtures::told(&connector().parse_follow_up(
            &Step::default(),
            &asked,
            &fixtures::reply(status, body.as_bytes()),
        ))
    };
    assert_eq!(parsed(200, &format!(r#"{{"transaction_id":"{id}","charge_id":"ch_2"}}"#)), "done ch_2");
    assert_eq!(parsed(402, r#"{"error_code":"amount_too_large"}"#), "refused amount_too_large");
    assert_eq!(parsed(429, ""), "not processed");
    assert_eq!(parsed(200, r#"{"transaction_id":"another","charge_id":"ch_2"}"#), "unknown");
    assert_eq!(parsed(200, r#"{"charge_id":"ch_2"}"#), "unknown");
    assert_eq!(parsed(402, r#"{"error_code":"timeout"}"#), "unknown");
    assert_eq!(parsed(500, &format!(r#"{{"transaction_id":"{id}","charge_id":"ch_2"}}"#)), "unknown");
    assert_eq!(parsed(200, ""), "unknown");
}

#[test]
fn an_attempt_without_an_answer_is_undone_by_its_reference() {
    let attempt = fixtures::attempt("12.40", "GBP");
    let wire = connector().reverse_unknown(&Step::default(), &attempt, fixtures::now()).unwrap();
    let body: serde_json::Value = serde_json::from_slice(wire.body.as_ref()).unwrap();
    assert_eq!(
        (body["method"].as_str(), body["original_transaction_id"].as_str()),
        (Some("reverse"), Some(OURS))
    );
    let id = body["transaction_id"].as_str().unwrap();
    let read = |status, body: &str| {
        connector().parse_reverse_unknown(
            &Step::default(),
            &attempt,
            &fixtures::reply(status, body.as_bytes()),
        )
    };
    assert_eq!(
        read(200, &format!(r#"{{"transaction_id":"{id}","charge_id":"ch_2"}}"#)),
        ParsedReversal::Reversed
    );
    assert_eq!(
        read(404, &format!(r#"{{"transaction_id":"{id}","error_code":"not_found"}}"#)),
        ParsedReversal::NothingThere
    );
    for (status, body) in [(404, "{}"), (404, ""), (200, "{}"), (500, ""), (402, r#"{"error_code":"x"}"#)] {
        assert!(matches!(read(status, body), ParsedReversal::Indeterminate(_)), "{status} {body}");
    }
}
