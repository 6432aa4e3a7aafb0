//! A card that was keyed once is charged again by its token: by the account that got it and by nobody else.

use serde_json::{Value, json};

use crate::cards::VISA;
use crate::desk::{Desk, Session, payment};
use crate::stories::kill_steps::{charge_of, keys};
use crate::until;

/// The configuration that keeps the card at the generic gateway, and the one that charges it there.
const KEEPS: u32 = 30;
const CHARGES: u32 = 10;

/// A customer keys a card, which the gateway keeps: its token.
fn keyed_and_kept(desk: &mut Desk) -> String {
    desk.expects_card(VISA);
    let (session, page) = keys(desk, KEEPS, VISA, "12.40");
    page.pay();
    let status = desk.waits_for_outcome(&session, "approved");
    status["attempts"][0]["storedCard"]["token"].as_str().unwrap_or_else(|| panic!("{status}")).to_owned()
}

fn charge(token: &str, configuration: u32, amount: &str) -> Value {
    json!({
        "initiator": "merchant", "accountConfigurationId": configuration,
        "storedCard": { "token": token }, "paymentData": payment(amount),
    })
}

fn session_of(told: &Value) -> Session {
    Session { guid: told["sessionGuid"].as_str().unwrap().to_owned(), reply: told.clone() }
}

#[test]
fn a_card_that_was_keyed_is_charged_by_its_token_again_and_again() {
    let mut desk = Desk::start();
    let token = keyed_and_kept(&mut desk);

    let approved = desk.charges("invoice-1", &charge(&token, CHARGES, "20.01")).expect(200).json();
    assert_eq!(approved["outcome"], "approved", "{approved}");
    assert_eq!(charge_of(&desk, "20.01").unwrap()["stands"], "20.01");
    // The same request again is the same payment.
    let again = desk.charges("invoice-1", &charge(&token, CHARGES, "20.01")).expect(200).json();
    assert_eq!(again["sessionGuid"], approved["sessionGuid"]);
    assert_eq!(charge_of(&desk, "20.01").unwrap()["charged"], 1);

    // Insufficient funds.
    let declined = desk.charges("invoice-2", &charge(&token, CHARGES, "66.02")).expect(200).json();
    assert_eq!(declined["outcome"], "declined", "{declined}");
    assert_eq!(charge_of(&desk, "66.02").unwrap()["stands"], "0.00");

    // Charged, and then the connection is reset: unknown, and then what the gateway says.
    let unknown = desk.charges("invoice-3", &charge(&token, CHARGES, "67.03")).expect(202).json();
    assert_eq!((&unknown["outcome"], &unknown["sessionState"]), (&json!("unknown"), &json!("Processing")));
    let status = desk.waits_for_outcome(&session_of(&unknown), "approved");
    assert_eq!(status["attempts"].as_array().map(Vec::len), Some(1), "{status}");
    let charged = charge_of(&desk, "67.03").unwrap();
    assert_eq!((&charged["charged"], &charged["stands"]), (&json!(1), &json!("67.03")), "{charged}");
}

#[test]
fn another_account_with_the_same_merchant_cannot_charge_it_over_restarts_too() {
    let mut desk = Desk::start();
    let token = keyed_and_kept(&mut desk);
    let market = desk.market();
    let refused = desk.market_charges(&market, "theirs-1", &charge(&token, 0, "21.01")).expect(404).json();
    assert_eq!(refused["code"], "no_such_stored_card", "{refused}");
    // No other answer than for a token that nobody has.
    let nobodys =
        desk.market_charges(&market, "theirs-2", &charge("tok-of-nobody", 0, "21.01")).expect(404).json();
    assert_eq!((&nobodys["code"], &nobodys["detail"]), (&refused["code"], &refused["detail"]));

    desk.kill_9();
    desk.restart();
    desk.market_charges(&market, "theirs-3", &charge(&token, 0, "21.01")).expect(404);
    assert_eq!(charge_of(&desk, "21.01"), None);
    let own = desk.charges("ours-1", &charge(&token, CHARGES, "21.02")).expect(200).json();
    assert_eq!(own["outcome"], "approved", "{own}");
    until("it is charged", || charge_of(&desk, "21.02"));
}
