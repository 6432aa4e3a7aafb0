//! What Adyen says, by `resultCode` and `refusalReasonCode`
//! (docs.adyen.com/development-resources/refusal-reasons).

use std::collections::BTreeMap;

use hushpad_domain::attempt::{Attempt, DeclineClass, GatewayAnswer, Unknown, Verdict};
use hushpad_domain::field::Field;
use hushpad_domain::masked_card::MaskedCard;
use serde::Deserialize;

use super::UNITS;
use crate::amounts;
use crate::connector::Parsed;
use crate::wire::Reply;
use crate::wire_text::{safe_id, safe_message};

pub(super) fn read(attempt: &Attempt, card: Option<&MaskedCard>, reply: &Reply) -> Parsed {
    if reply.status >= 500 {
        return Parsed::Indeterminate(Unknown::GatewayError);
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(&reply.body) else {
        let refused = matches!(reply.status, 401 | 403 | 429);
        return if refused { Parsed::Refused } else { Parsed::Indeterminate(Unknown::Unreadable) };
    };
    match (reply.status, &answer.result_code) {
        (200, Some(_)) => judge(&answer, attempt, card),
        (401 | 403 | 429, None) => Parsed::Refused,
        (400 | 422, None) => refused_request(&answer, card),
        _ => Parsed::Indeterminate(Unknown::Unreadable),
    }
}

/// The answer, in its published names. No other member is kept.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    result_code: Option<String>,
    psp_reference: Option<String>,
    merchant_reference: Option<String>,
    amount: Option<Amount>,
    refusal_reason: Option<String>,
    refusal_reason_code: Option<String>,
    error_code: Option<String>,
    error_type: Option<String>,
}

#[derive(Deserialize)]
struct Amount {
    currency: String,
    value: i64,
}

fn judge(answer: &Answer, attempt: &Attempt, card: Option<&MaskedCard>) -> Parsed {
    let unreadable = Parsed::Indeterminate(Unknown::Unreadable);
    let Some(reference) = answer.psp_reference.as_deref().map(safe_id).filter(|id| !id.is_empty()) else {
        return unreadable;
    };
    if !is_ours(answer, attempt) {
        return unreadable;
    }
    let verdict = match answer.result_code.as_deref().unwrap_or_default() {
        "Authorised" => Verdict::Approved,
        "Refused" => {
            Verdict::Declined { class: class(answer.refusal_reason_code.as_deref().unwrap_or_default()) }
        }
        // Final: "there was an error when the payment was being processed".
        "Error" => Verdict::Declined { class: DeclineClass::TryLater },
        // The issuer wants authentication, which a telephone payment cannot give. It ends there.
        "Cancelled" | "ChallengeShopper" | "IdentifyShopper" | "RedirectShopper" => {
            Verdict::Declined { class: DeclineClass::OtherCard }
        }
        _ => return unreadable,
    };
    let mut result = BTreeMap::new();
    let mut keep = |name: &str, text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            result.insert(name.to_owned(), text);
        }
    };
    keep("pspReference", Some(reference.clone()));
    keep("merchantReference", Some(attempt.id.to_string()));
    keep("resultCode", answer.result_code.as_deref().map(safe_id));
    keep("refusalReason", answer.refusal_reason.as_deref().map(safe_message));
    keep("refusalReasonCode", answer.refusal_reason_code.as_deref().map(safe_id));
    Parsed::Answer(GatewayAnswer::new(verdict, reference, result, card.cloned()))
}

/// Whether what comes back of our reference and amount is what we sent (G6).
fn is_ours(answer: &Answer, attempt: &Attempt) -> bool {
    let reference = attempt.id.to_string();
    answer.merchant_reference.as_ref().is_none_or(|theirs| *theirs == reference)
        && answer.amount.as_ref().is_none_or(|theirs| {
            theirs.currency == attempt.amount.currency().code()
                && amounts::minor(attempt.amount, UNITS) == Ok(theirs.value)
        })
}

/// A request that failed Adyen's checks was not processed. Three of these are about what was keyed.
fn refused_request(answer: &Answer, card: Option<&MaskedCard>) -> Parsed {
    let code = answer.error_code.as_deref().unwrap_or_default();
    // 704: the same key is being processed.
    let checked = matches!(answer.error_type.as_deref(), Some("validation" | "security" | "configuration"));
    if !checked || code == "704" || code.is_empty() {
        return Parsed::Indeterminate(Unknown::Unreadable);
    }
    let field = match code {
        "101" => Field::CardNumber,
        "103" => Field::SecurityCode,
        "129" => Field::Expiry,
        _ => return Parsed::Refused,
    };
    Parsed::Answer(GatewayAnswer::new(
        Verdict::Declined { class: DeclineClass::Rekey(field) },
        answer.psp_reference.as_deref().map(safe_id).unwrap_or_default(),
        BTreeMap::from([("errorCode".to_owned(), code.to_owned())]),
        card.cloned(),
    ))
}

/// What can be done about a `refusalReasonCode`.
fn class(code: &str) -> DeclineClass {
    match code {
        "6" => DeclineClass::Rekey(Field::Expiry),
        "8" => DeclineClass::Rekey(Field::CardNumber),
        "24" => DeclineClass::Rekey(Field::SecurityCode),
        // Acquirer error, invalid amount, issuer unavailable, balance, withdrawal limits.
        "4" | "7" | "9" | "12" | "28" | "29" => DeclineClass::TryLater,
        // Blocked, restricted, authorisation revoked.
        "5" | "25" | "26" => DeclineClass::Never,
        _ => DeclineClass::OtherCard,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{self, verdict};

    fn parsed(status: u16, body: &[u8]) -> Parsed {
        read(&fixtures::attempt("12.40", "GBP"), Some(&fixtures::masked()), &fixtures::reply(status, body))
    }

    #[test]
    fn a_result_code_decides() {
        use DeclineClass::{Never, OtherCard, Rekey, TryLater};
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
            (r#""Refused","refusalReasonCode":"38""#, declined(OtherCard)),
            (r#""Error","refusalReasonCode":"4""#, declined(TryLater)),
            (r#""Cancelled""#, declined(OtherCard)),
            (r#""ChallengeShopper""#, declined(OtherCard)),
            (r#""RedirectShopper""#, declined(OtherCard)),
            (r#""Pending""#, None),
            (r#""Received""#, None),
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
}
