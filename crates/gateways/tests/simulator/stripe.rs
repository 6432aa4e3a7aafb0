//! Stripe: intents, keys that replay errors too, and cards that want authentication.

use serde_json::Value;

use crate::doors::{Answer, Simulator};

const KEY: (&str, &str) = ("authorization", "Bearer sk_test_sandbox");
const CARD: &str =
    "type=card&card[number]=4111111111111111&card[exp_month]=12&card[exp_year]=2030&card[cvc]=123";
const MOTO: &str = "payment_method_options[card][moto]=true";

async fn post(simulator: &Simulator, path: &str, key: &str, form: &str) -> Answer {
    let form = form.replace('[', "%5B").replace(']', "%5D");
    let headers = [KEY, ("idempotency-key", key), ("content-type", "application/x-www-form-urlencoded")];
    let headers = if key.is_empty() { vec![headers[0], headers[2]] } else { headers.to_vec() };
    simulator.send(&format!("POST {path}"), &headers, &form).await
}

async fn get(simulator: &Simulator, path: &str) -> Value {
    simulator.send(&format!("GET {path}"), &[KEY], "").await.expect(200)
}

fn id(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

/// An intent with a payment method, not confirmed yet.
async fn prepared(simulator: &Simulator, reference: &str, amount: i64, more: &str) -> (String, String) {
    let form = format!("amount={amount}&currency=gbp&metadata[ref]={reference}{more}");
    let intent = post(simulator, "/v1/payment_intents", "", &form).await.expect(200);
    assert_eq!(intent["status"], "requires_payment_method");
    let method = post(simulator, "/v1/payment_methods", "", CARD).await.expect(200);
    (id(&intent).to_owned(), format!("payment_method={}&{MOTO}", id(&method)))
}

#[tokio::test]
async fn a_sale_takes_three_steps_and_its_refund_two() {
    let simulator = Simulator::open().await;
    assert_eq!(simulator.send("GET /v1/payment_intents/pi_1", &[], "").await.status, 401);
    let (intent, method) = prepared(&simulator, "a", 1240, "").await;
    let paid =
        post(&simulator, &format!("/v1/payment_intents/{intent}/confirm"), "", &method).await.expect(200);
    assert_eq!((&paid["status"], &paid["amount_received"]), (&"succeeded".into(), &1240.into()));
    let again =
        post(&simulator, &format!("/v1/payment_intents/{intent}/confirm"), "", &method).await.expect(400);
    assert_eq!(again["error"]["code"], "payment_intent_unexpected_state");
    for (amount, status) in [(400, 200), (841, 400), (840, 200), (1, 400)] {
        let form = format!("payment_intent={intent}&amount={amount}");
        assert_eq!(post(&simulator, "/v1/refunds", "", &form).await.status, status, "{amount}");
    }
    assert_eq!(simulator.sums("a"), ["12.40", "12.40", "12.40", "0.00", "0.00"]);
    let query = "metadata%5B%27ref%27%5D%3A%27a%27";
    let found = get(&simulator, &format!("/v1/payment_intents/search?query={query}")).await;
    assert_eq!(found["data"][0]["id"], intent.as_str());
}

#[tokio::test]
async fn a_part_is_captured_and_the_rest_let_go() {
    let simulator = Simulator::open().await;
    let (intent, method) = prepared(&simulator, "a", 1240, "&capture_method=manual").await;
    let held =
        post(&simulator, &format!("/v1/payment_intents/{intent}/confirm"), "", &method).await.expect(200);
    assert_eq!((&held["status"], &held["amount_capturable"]), (&"requires_capture".into(), &1240.into()));
    let capture = format!("/v1/payment_intents/{intent}/capture");
    assert_eq!(post(&simulator, &capture, "", "amount_to_capture=1241").await.status, 400);
    let taken = post(&simulator, &capture, "", "amount_to_capture=1000").await.expect(200);
    assert_eq!((&taken["status"], &taken["amount_received"]), (&"succeeded".into(), &1000.into()));
    assert_eq!(simulator.charge("a").stands, "10.00");
    let (other, method) = prepared(&simulator, "b", 1240, "&capture_method=manual").await;
    post(&simulator, &format!("/v1/payment_intents/{other}/confirm"), "", &method).await.expect(200);
    let cancelled =
        post(&simulator, &format!("/v1/payment_intents/{other}/cancel"), "", "").await.expect(200);
    assert_eq!(cancelled["status"], "canceled");
    assert_eq!(simulator.sums("b"), ["12.40", "0.00", "0.00", "12.40", "0.00"]);
}

#[tokio::test]
async fn a_key_replays_whatever_was_answered_and_minds_its_parameters() {
    let simulator = Simulator::open().await;
    let (intent, method) = prepared(&simulator, "a", 6705, "").await;
    let confirm = format!("/v1/payment_intents/{intent}/confirm");
    let broken = post(&simulator, &confirm, "k1", &method).await;
    assert_eq!(broken.status, 500);
    let again = post(&simulator, &confirm, "k1", &method).await;
    assert_eq!((again.status, again.head.contains("idempotent-replayed: true")), (500, true));
    let other = post(&simulator, &confirm, "k1", MOTO).await.expect(400);
    assert_eq!(other["error"]["type"], "idempotency_error");
    assert_eq!(get(&simulator, &format!("/v1/payment_intents/{intent}")).await["status"], "succeeded");
    assert_eq!((simulator.charge("a").requests, simulator.charge("a").charged), (1, 1));
    simulator.later(24 * 60 * 60);
    assert_eq!(post(&simulator, &confirm, "k1", &method).await.status, 400, "the key is forgotten");
}

#[tokio::test]
async fn a_keyed_card_is_moto_and_declines_carry_the_intent() {
    let simulator = Simulator::open().await;
    let (intent, method) = prepared(&simulator, "a", 6602, "").await;
    let confirm = format!("/v1/payment_intents/{intent}/confirm");
    let bare = method.split('&').next().unwrap();
    assert_eq!(post(&simulator, &confirm, "", bare).await.status, 400);
    let declined = post(&simulator, &confirm, "", &method).await.expect(402);
    assert_eq!(declined["error"]["decline_code"], "insufficient_funds");
    assert_eq!(declined["error"]["payment_intent"]["status"], "requires_payment_method");
    assert_eq!(simulator.charge("a").charged, 0);
    let wrong = CARD.replace("4111111111111111", "4111111111111112");
    let wrong = post(&simulator, "/v1/payment_methods", "", &wrong).await.expect(402);
    assert_eq!(wrong["error"]["code"], "incorrect_number");
}

#[tokio::test]
async fn authentication_is_wanted_by_card_or_by_decline() {
    let simulator = Simulator::open().await;
    let (intent, _) = prepared(&simulator, "a", 1240, "").await;
    let card = CARD.replace("4111111111111111", "4000000000003220");
    let method = post(&simulator, "/v1/payment_methods", "", &card).await.expect(200);
    let form = format!("payment_method={}&{MOTO}", id(&method));
    let waits =
        post(&simulator, &format!("/v1/payment_intents/{intent}/confirm"), "", &form).await.expect(200);
    assert_eq!(waits["status"], "requires_action");
    let ended = post(&simulator, &format!("/v1/payment_intents/{intent}/cancel"), "", "").await.expect(200);
    assert_eq!(ended["status"], "canceled");
    let (intent, method) = prepared(&simulator, "b", 6804, "").await;
    let no =
        post(&simulator, &format!("/v1/payment_intents/{intent}/confirm"), "", &method).await.expect(402);
    assert_eq!(no["error"]["decline_code"], "authentication_required");
}

#[tokio::test]
async fn a_card_that_is_set_up_is_charged_later_by_its_customer() {
    let simulator = Simulator::open().await;
    let customer = post(&simulator, "/v1/customers", "", "description=x").await.expect(200);
    let method = post(&simulator, "/v1/payment_methods", "", CARD).await.expect(200);
    let setup = format!("payment_method={}&customer={}&confirm=true&{MOTO}", id(&method), id(&customer));
    let setup = post(&simulator, "/v1/setup_intents", "", &setup).await.expect(200);
    assert_eq!(setup["status"], "succeeded");
    let pay = |customer: &str| {
        format!(
            "amount=1240&currency=gbp&confirm=true&off_session=true&payment_method={}&metadata[ref]=a{customer}",
            id(&method)
        )
    };
    assert_eq!(post(&simulator, "/v1/payment_intents", "", &pay("")).await.status, 400);
    let named = pay(&format!("&customer={}", id(&customer)));
    assert_eq!(post(&simulator, "/v1/payment_intents", "", &named).await.expect(200)["status"], "succeeded");
}

#[tokio::test]
async fn amounts_are_in_stripes_own_units() {
    let simulator = Simulator::open().await;
    let make = |amount, currency| format!("amount={amount}&currency={currency}&metadata[ref]=a");
    assert_eq!(post(&simulator, "/v1/payment_intents", "", &make(150_050, "isk")).await.status, 400);
    let made = post(&simulator, "/v1/payment_intents", "", &make(150_000, "isk")).await.expect(200);
    assert_eq!(made["amount"], 150_000);
}
