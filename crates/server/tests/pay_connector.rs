//! The pay connector, from the published JSON over a socket to the simulator's ledger: at several gateways, with what may
//! go wrong, and with another Hushpad in the place of others' telephony.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(clippy::disallowed_methods, reason = "real sockets run by the real clock")]

#[path = "pay_connector/town.rs"]
mod town;

use hushpad_domain::attempt::{AttemptState, DeclineClass, Purpose};
use hushpad_domain::ports::Sessions;
use hushpad_domain::session::Outcome;
use hushpad_gateways::sandbox::{Fault, Format, Rule};
use serde_json::{Value, json};

use town::{Town, chained, charge, tokenize, until};

#[tokio::test]
async fn a_charge_is_made_once_at_each_gateway_however_often_it_is_sent() {
    let town = Town::open().await;
    for (user, reference) in
        [("generic", "PK-1"), ("cybersource", "PK-2"), ("stripe", "PK-3"), ("mpgs", "PK-4")]
    {
        let amount = format!("12.4{}", &reference[3..]);
        let body = charge(reference, &amount);
        let (status, first) = town.posts(user, &body).await;
        assert_eq!((status, &first["error_code"]), (200, &Value::Null), "{user}: {first}");
        assert_eq!((&first["amount"], &first["currency_code"]), (&json!(amount), &json!("GBP")), "{first}");
        assert_eq!(first["parameters"]["outcome"], "approved", "{first}");
        assert_eq!(first["card_last4"], "1111", "{first}");
        let charged = town.charge_of(&amount);
        assert_eq!((charged.charged, charged.stands.as_str()), (1, amount.as_str()), "{user}");
        // Again, whole; and with a card that would be wrong by now: nobody looks at it.
        let mut late = body.clone();
        late["expiry_year"] = json!("20");
        for again in [&body, &late] {
            assert_eq!(town.posts(user, again).await, (200, first.clone()), "{user}");
        }
        assert_eq!(town.gets(user, reference).await, (200, first.clone()), "{user}");
        assert_eq!(town.charge_of(&amount).requests, 1, "{user}");
        let session = town.session_of(&first).await;
        assert_eq!(session.attempts.len(), 1);
        assert_eq!(session.payment_data.get("MerchantReferenceCode"), Some(reference));
        assert_eq!(session.payment_data.get("Postcode"), Some("SW1A 1AA"));
        assert_eq!(session.payment_data.get("CustomerId"), Some("C-7"));
        assert!(!first["charge_id"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn of_many_at_one_moment_one_is_charged_and_all_are_told() {
    let town = Town::open().await;
    town.ledger.add_fault(Rule {
        fault: Fault::Slow { delay_ms: 500 },
        gateway: None,
        path: None,
        method: None,
        after: 0,
        times: 1,
    });
    let body = charge("PK-many", "1.01");
    let asked = (0..8).map(|_| town.posts("generic", &body));
    let told = futures_util::future::join_all(asked).await;
    let charge_id = &told[0].1["charge_id"];
    assert!(charge_id.is_string(), "{told:?}");
    assert!(
        told.iter().all(|(status, answer)| *status == 200 && answer["charge_id"] == *charge_id),
        "{told:?}"
    );
    assert_eq!(town.charge_of("1.01").requests, 1);
}

#[tokio::test]
async fn a_card_is_kept_without_an_amount_and_no_money_moves() {
    let town = Town::open().await;
    for user in ["generic", "cybersource", "stripe"] {
        let reference = format!("TOK-{user}");
        let (status, answer) = town.posts(user, &tokenize(&reference)).await;
        assert_eq!((status, &answer["error_code"]), (200, &Value::Null), "{user}: {answer}");
        let token = answer["token_id"].as_str().unwrap_or_else(|| panic!("{user}: {answer}"));
        assert!(!token.is_empty() && answer.get("charge_id").is_none(), "{answer}");
        assert_eq!(town.posts(user, &tokenize(&reference)).await.1["token_id"], token);
        assert_eq!(town.session_of(&answer).await.attempts[0].purpose, Purpose::Tokenise);
        // The same id, but for money now.
        assert_eq!(town.posts(user, &charge(&reference, "5.00")).await.0, 409, "{user}");
    }
    assert!(
        town.ledger.charges().iter().all(|charge| charge.stands == "0.00"),
        "{:?}",
        town.ledger.charges()
    );
}

#[tokio::test]
async fn a_decline_stays_one_and_says_what_to_do() {
    let town = Town::open().await;
    for (card, code) in [
        ("4000000000000002", "card_declined"),
        ("4000000000000127", "incorrect_cvc"),
        ("4000000000009987", "restricted_card"),
    ] {
        for user in ["generic", "stripe"] {
            let mut body = charge(&format!("{user}-{code}"), "9.00");
            body["cardnumber"] = json!(card);
            let (status, answer) = town.posts(user, &body).await;
            assert_eq!((status, answer["error_code"].as_str()), (200, Some(code)), "{user}: {answer}");
            assert_eq!(answer["parameters"]["outcome"], "declined");
            assert!(answer.get("charge_id").is_none() && answer["error_message"].is_string(), "{answer}");
            // A good card does not make it another transaction.
            let good = charge(&format!("{user}-{code}"), "9.00");
            assert_eq!(town.posts(user, &good).await, (200, answer));
        }
    }
    assert!(town.ledger.charges().iter().all(|charge| charge.charged == 0));
}

#[tokio::test]
async fn an_unknown_is_told_as_one_and_known_later_by_the_same_id() {
    let town = Town::open().await;
    for (user, amount) in [("generic", "20.01"), ("cybersource", "20.02"), ("stripe", "20.03")] {
        let gateway = match user {
            "generic" => Format::Generic,
            "cybersource" => Format::CyberSource,
            _ => Format::Stripe,
        };
        let path = (gateway == Format::Stripe).then(|| "/confirm".to_owned());
        let rule = |fault, method: &str, times| Rule {
            fault,
            gateway: Some(gateway),
            path: path.clone().filter(|_| method == "POST"),
            method: Some(method.to_owned()),
            after: 0,
            times,
        };
        // Charged, and never said so; then the first question gets no answer either.
        town.ledger.add_fault(rule(Fault::ResetAfterCommit, "POST", 1));
        if gateway == Format::Generic {
            town.ledger.add_fault(rule(Fault::Unavailable, "GET", 3));
        }
        let body = charge(&format!("U-{user}"), amount);
        let (status, first) = town.posts(user, &body).await;
        if gateway == Format::Generic {
            assert_eq!((status, first["error_code"].as_str()), (202, Some("unknown")), "{first}");
            assert_eq!(first["parameters"]["outcome"], "unknown");
            assert!(first["error_message"].as_str().unwrap().contains("Do not pay again"), "{first}");
            assert_eq!(town.gets(user, "U-generic").await, (202, first));
        }
        let known = until("it is known", || async {
            let (status, answer) = town.posts(user, &body).await;
            (status == 200).then_some(answer)
        })
        .await;
        assert!(known["charge_id"].is_string(), "{user}: {known}");
        let charged = town.charge_of(amount);
        assert_eq!((charged.charged, charged.requests), (1, 1), "{user}");
    }
}

#[tokio::test]
async fn what_must_not_stand_is_given_back_before_it_is_told() {
    let town = Town::open().await;
    // The security code does not match; a part is no whole; nor is it where payments are split, as nobody is there
    // who could give another card.
    for (user, amount, card, code) in [
        ("generic", "30.01", "4000000000000101", "incorrect_cvc"),
        ("generic", "68.01", "4111111111111111", "card_declined"),
        ("split", "168.01", "4111111111111111", "card_declined"),
    ] {
        let mut body = charge(&format!("B-{amount}"), amount);
        body["cardnumber"] = json!(card);
        let (status, answer) = town.posts(user, &body).await;
        assert_eq!((status, answer["error_code"].as_str()), (200, Some(code)), "{answer}");
        until("it is given back", || async { (town.charge_of(amount).stands == "0.00").then_some(()) }).await;
        assert_eq!(town.charge_of(amount).charged, 1);
    }
    let (status, answer) = town.posts("generic", &charge("B-review", "68.02")).await;
    assert_eq!((status, &answer["review"]), (200, &json!(true)), "{answer}");
    assert!(answer["charge_id"].is_string() && answer["error_code"].is_null(), "{answer}");
}

#[tokio::test]
async fn surely_not_sent_it_goes_to_the_next_gateway_or_is_told_as_not_charged() {
    let town = Town::open().await;
    let (status, answer) = town.posts("fail-over", &charge("F-1", "40.01")).await;
    assert_eq!((status, &answer["error_code"]), (200, &Value::Null), "{answer}");
    assert_eq!(answer["parameters"]["gateway"], "generic");
    assert_eq!(town.charge_of("40.01").charged, 1);
    let (status, answer) = town.posts("dead", &charge("F-2", "40.02")).await;
    assert_eq!((status, answer["error_code"].as_str()), (200, Some("try_again_later")), "{answer}");
    let session = town.session_of(&answer).await;
    assert!(session.has_ended() && matches!(session.attempts[0].state, AttemptState::NotSent { .. }));
    // It stays so, whether or not the gateway is back.
    assert_eq!(town.posts("dead", &charge("F-2", "40.02")).await, (200, answer));
    // Its connector knows no such currency.
    let mut pesos = charge("F-3", "4000");
    pesos["currency_code"] = json!("CLP");
    let (_, answer) = town.posts("worldpay", &pesos).await;
    assert_eq!(answer["error_code"], "not_supported", "{answer}");
}

#[tokio::test]
async fn another_amount_or_currency_is_another_transaction_and_is_refused() {
    let town = Town::open().await;
    let first = town.posts("generic", &charge("PK-same", "7.00")).await;
    let mut dollars = charge("PK-same", "7.00");
    dollars["currency_code"] = json!("USD");
    for other in [charge("PK-same", "8.00"), dollars, tokenize("PK-same")] {
        let (status, answer) = town.posts("generic", &other).await;
        let refused = other["method"] == "charge" || status == 409;
        assert!(refused && answer["error_code"] == "transaction_id_reused", "{status} {answer}");
    }
    assert_eq!(town.posts("generic", &charge("PK-same", "7.00")).await, first);
    assert_eq!(town.ledger.charges().len(), 1);
}

#[tokio::test]
async fn accounts_and_configurations_are_apart() {
    let town = Town::open().await;
    let body = charge("PK-shared", "3.00");
    let (_, mine) = town.posts("generic", &body).await;
    for stranger in ["other", "stripe"] {
        assert_eq!(town.gets(stranger, "PK-shared").await.0, 404, "{stranger}");
        let (status, theirs) = town.posts(stranger, &body).await;
        assert_eq!(status, 200, "{theirs}");
        assert_ne!(theirs["parameters"]["session_guid"], mine["parameters"]["session_guid"]);
    }
    // What is another account's is not there, by its guid neither.
    let session = town.session_of(&mine).await;
    assert_eq!(town.store.session(&town::other(), session.guid).await.unwrap(), None);
}

#[tokio::test]
async fn a_session_that_a_crash_left_before_its_intent_is_told_as_not_charged() {
    let town = Town::open().await;
    let (_, told) = town.posts("dead", &charge("PK-lost", "6.00")).await;
    // What a crash leaves: the session of this transaction is stored, and nothing was begun.
    let guid = town.session_of(&told).await.guid;
    let again = Town::open().await;
    again.stores_only("dead", guid, "6.00").await;
    let (status, answer) = again.posts("dead", &charge("PK-lost", "6.00")).await;
    assert_eq!((status, answer["error_code"].as_str()), (200, Some("try_again_later")), "{answer}");
    let session = again.session_of(&answer).await;
    assert!(session.has_ended() && session.attempts.is_empty());
}

#[tokio::test]
async fn what_was_paid_is_known_when_its_result_is_wiped() {
    let town = Town::open().await;
    let paid = town.posts("generic", &charge("R-1", "70.01")).await.1;
    town.posts("generic", &tokenize("R-2")).await;
    let session = town.session_of(&paid).await;
    let later = session.updated_on.plus(std::time::Duration::from_secs(3600));
    assert!(town.store.purge(later).await.unwrap() > 0);
    let (status, told) = town.posts("generic", &charge("R-1", "70.01")).await;
    assert_eq!((status, &told["charge_id"]), (200, &paid["charge_id"]), "{told}");
    assert!(told.get("card_last4").is_none(), "{told}");
    assert_eq!(town.charge_of("70.01").requests, 1);
    let (status, told) = town.posts("generic", &tokenize("R-2")).await;
    assert_eq!((status, told["error_code"].as_str()), (410, Some("result_expired")), "{told}");
}

#[tokio::test]
async fn one_hushpad_pays_over_another() {
    let inner = Town::open().await;
    let outer = Town::before(&inner).await;
    for (gateway, amount) in [("generic", "50.01"), ("cybersource", "50.02"), ("stripe", "50.03")] {
        let session = outer.pays(chained(gateway), "4111111111111111", amount).await;
        assert_eq!(session.outcome(), Outcome::Approved, "{gateway}: {session:?}");
        let (status, told) = inner.gets(gateway, &session.attempts[0].id.to_string()).await;
        assert_eq!(
            (status, told["charge_id"].as_str()),
            (200, Some(session.attempts[0].answer().unwrap().gateway_reference.as_str()))
        );
        assert_eq!(inner.charge_of(amount).charged, 1);
        let declined = outer.pays(chained(gateway), "4000000000000002", "51.00").await;
        assert_eq!(declined.last_decline(), Some(DeclineClass::OtherCard), "{gateway}");
    }
    // The inner one does not hear from its gateway in time; both know in the end, and it is charged once.
    let rule = |fault, method: &str, times| Rule {
        fault,
        gateway: Some(Format::Generic),
        path: None,
        method: Some(method.to_owned()),
        after: 0,
        times,
    };
    inner.ledger.add_fault(rule(Fault::ResetAfterCommit, "POST", 1));
    inner.ledger.add_fault(rule(Fault::Unavailable, "GET", 3));
    let session = outer.pays(chained("generic"), "4111111111111111", "52.00").await;
    assert_eq!(session.outcome(), Outcome::Approved, "{session:?}");
    assert!(
        matches!(session.attempts[0].state, AttemptState::Answered { resolved: true, .. }),
        "it was unknown first"
    );
    let charged = inner.charge_of("52.00");
    assert_eq!((charged.charged, charged.requests), (1, 1));
}

#[tokio::test]
async fn wrong_passwords_are_slowed_down_for_that_user_only() {
    let town = Town::open().await;
    let body = charge("PK-login", "1.00").to_string();
    for _ in 0..20 {
        let (status, answer) = town.asks("POST /charges", "generic", "wrong", &body).await;
        assert_eq!((status, answer["error_code"].as_str()), (401, Some("unauthorized")), "{answer}");
    }
    let (status, answer) = town.asks("POST /charges", "generic", town::PASSWORD, &body).await;
    assert_eq!((status, answer["error_code"].as_str()), (429, Some("too_many_failed_logins")), "{answer}");
    assert_eq!(town.posts("stripe", &charge("PK-login", "1.00")).await.0, 200);
    assert_eq!(town.ledger.charges().len(), 1);
}
