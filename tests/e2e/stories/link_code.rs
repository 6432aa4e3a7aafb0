//! A call that came by a trunk is nobody's. The agent reads a code on a page in the shop's application and keys it on
//! the phone; the page turns and tells the application, which then gets the session.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::desk::{AGENT, Desk};
use crate::phones::{Customer, Keying};
use crate::process::{Program, SCREEN};
use crate::until;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/pages");
const ARTIFACTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../artifacts");

#[test]
fn a_code_is_read_on_the_page_keyed_on_the_phone_and_the_shop_hears_of_it() {
    let mut desk = Desk::start_on_a_trunk();
    let parts = desk.phone_parts("customer");
    let mut customer = Customer::calls(parts, Keying::Events, "1234", desk.at.sip);
    desk.wire.waits_for_speech(&[("the agent", desk.agent.rtp()), ("the customer", customer.rtp())]);
    let wanted = json!({ "agentId": AGENT, "paymentData": { "Amount": "12.40", "Currency": "GBP" } });
    assert_eq!(desk.post_session(&wanted).expect(409).json()["code"], "no_live_call");

    let page = desk.post("/v1/calls/link-code", &json!({ "agentId": AGENT }).to_string()).expect(200).json();
    std::fs::create_dir_all(ARTIFACTS).unwrap();
    let task = json!({
        "shop": desk.at.shop.port(),
        "chromium": "/usr/bin/chromium",
        "page": page,
        "shots": ARTIFACTS,
    });
    let mut node = Command::new("node");
    node.arg(Path::new(PAGES).join("link_page.mjs")).arg(task.to_string());
    let mut screen = Program::start(SCREEN, &mut node, &desk.workplace().join("screen.log"));
    let code = until("the page shows a code that the agent has asked for", || {
        assert!(screen.is_running(), "the browser's script ended: {}", screen.log());
        screen.log().lines().find_map(|line| line.strip_prefix("code ").map(str::to_owned))
    });
    assert_ne!(Value::from(code.as_str()), page["code"], "the button got no new code");
    desk.agent.sends_events(&code);
    assert!(screen.ends().success(), "{}", screen.log());

    let said = screen.log();
    let faults: Vec<_> = said.lines().filter(|line| line.starts_with("fault")).collect();
    assert_eq!(faults, Vec::<&str>::new());
    let told: Vec<Value> = said
        .lines()
        .filter_map(|line| line.strip_prefix("told "))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (last, before) = told.split_last().unwrap();
    assert!(before.len() > 1 && before.iter().all(|told| told["state"] == "waiting"), "{told:?}");
    assert_eq!(
        (&last["source"], &last["page"], &last["state"]),
        (&json!("hushpad"), &json!("link"), &json!("linked"))
    );

    let session = desk.open_session();
    assert_eq!(session.reply["callGuid"], last["callGuid"]);
    desk.cancels(&session);
    customer.hangs_up();
    desk.agent.waits_for_the_end();
}
