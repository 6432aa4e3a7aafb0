//! No card digit stays in the process: its memory is searched while the customer types, when the search must find the
//! card, and after the session, when it must not.

use crate::cards::UNIQUE;
use crate::desk::Desk;
use crate::page::customer_types_card;
use crate::phones::Keying;

#[test]
fn the_memory_holds_no_card_digit_after_the_session() {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(Keying::Events);
    let session = desk.open_session();
    let page = desk.open_page(&session);
    customer_types_card(&mut desk, &mut call, &page, UNIQUE);

    let during = desk.memory_image();
    let found = during.forms_of(&UNIQUE);
    assert!(found.iter().any(|form| form.starts_with("number")), "the search finds nothing: {found:?}");

    page.pay();
    page.shows_phase("ended");
    let after = desk.memory_image();
    println!(
        "searched {} MiB during, {} MiB after; during, it held the {found:?}",
        during.mib(),
        after.mib()
    );
    assert_eq!(after.forms_of(&UNIQUE), Vec::<String>::new());

    call.customer.hangs_up();
    desk.agent_heard_no_key();
    assert_eq!(desk.status(&session)["outcome"], "approved");
}
