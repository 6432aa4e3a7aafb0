//! The database is lost during a call, and comes back (G7): the call does not notice, what is being typed goes on, only
//! new payments wait.

use serde_json::json;

use crate::cards::VISA;
use crate::database::Database;
use crate::desk::{AGENT, Desk, TEST_CONFIGURATION, payment};
use crate::page::customer_types;
use crate::phones::Keying;
use crate::until;

#[test]
fn a_call_and_its_entry_outlive_the_database() {
    let mut database = Database::start();
    let mut desk = Desk::start_on(&database);
    desk.expects_card(VISA);
    let mut call = desk.customer_calls(Keying::Events);
    let session = desk.open_session();
    let page = desk.open_page(&session);
    page.start("card_number");
    let (first, second) = VISA.number.split_at(8);
    call.customer.keys(first);
    page.shows_typed("card_number", 8);

    database.is_lost();
    desk.both_hear_speech(&call);
    call.customer.keys(second);
    page.shows_field("card_number", "valid");
    customer_types(&desk, &mut call, &page, "expiry", VISA.expiry);
    customer_types(&desk, &mut call, &page, "security_code", VISA.security_code);
    let another = json!({
        "agentId": AGENT, "accountConfigurationId": TEST_CONFIGURATION, "skipCallTransfer": true,
        "paymentData": payment("1.00"),
    });
    let refused = desk.post_session(&another);
    assert_eq!(refused.status, 503, "{refused:?}");
    desk.both_hear_speech(&call);
    assert!(desk.ledger().is_empty());

    database.returns();
    until("payments are taken again", || (desk.post_session(&another).status == 200).then_some(()));
    page.pay();
    page.shows_phase("ended");
    desk.both_hear_speech(&call);
    call.customer.hangs_up();
    desk.agent_heard_no_key();
    assert_eq!(desk.status(&session)["outcome"], "approved");
    assert_eq!(desk.ledger().len(), 1);
}
