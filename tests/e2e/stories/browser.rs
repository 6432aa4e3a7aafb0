//! The agent's screen in a real browser, framed by a shop of another origin. Screenshots are kept in `artifacts/`.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::cards::VISA;
use crate::desk::Desk;
use crate::phones::Keying;
use crate::process::{Program, SCREEN};
use crate::stories::keying::assert_charge;
use crate::until;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/pages");
const ARTIFACTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../artifacts");

#[test]
fn the_agent_takes_a_payment_in_a_framed_page() {
    let mut desk = Desk::start();
    let mut call = desk.customer_calls(Keying::Events);
    let session = desk.open_session();
    desk.expects_card(VISA);
    std::fs::create_dir_all(ARTIFACTS).unwrap();
    let task = json!({
        "shop": desk.at.shop.port(),
        "chromium": "/usr/bin/chromium",
        "session": session.reply,
        "place": desk.workplace(),
        "shots": ARTIFACTS,
    });
    let script = Path::new(PAGES).join("agent_page.mjs");
    let mut node = Command::new("node");
    node.arg(script).arg(task.to_string());
    let mut screen = Program::start(SCREEN, &mut node, &desk.workplace().join("screen.log"));

    let fields =
        [("card number", VISA.number), ("expiry date", VISA.expiry), ("security code", VISA.security_code)];
    for (field, keys) in fields {
        let wanted = format!("keys {field}\n");
        until(&format!("the agent asks for {field}"), || {
            assert!(screen.is_running(), "the browser's script ended: {}", screen.log());
            screen.log().contains(&wanted).then_some(())
        });
        call.customer.keys(keys);
    }
    assert!(screen.ends().success(), "{}", screen.log());
    let said = screen.log();
    let faults: Vec<_> = said.lines().filter(|line| line.starts_with("fault")).collect();
    assert_eq!(faults, Vec::<&str>::new());
    let headline = said.lines().find_map(|line| line.strip_prefix("headline ")).unwrap();
    assert!(headline.contains("approved") && headline.contains("12.40"), "{headline}");
    assert_told(&said, &session.reply["sessionGuid"]);

    call.customer.hangs_up();
    desk.agent_heard_no_key();
    assert_eq!(desk.status(&session)["outcome"], "approved");
    let ledger = desk.ledger();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_charge(&ledger[0], "12.40", 1);
}

/// The shop's page heard each state once, the outcome with the last, and nothing else: no key, no digit, no amount.
fn assert_told(said: &str, session: &Value) {
    let told: Vec<Value> = said
        .lines()
        .filter_map(|line| line.strip_prefix("told "))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let message =
        |state: &str| json!({"source": "hushpad", "page": "session", "sessionGuid": session, "state": state});
    let mut ended = message("ended");
    ended["outcome"] = json!("approved");
    assert_eq!(told, [message("entry"), message("ready_to_pay"), message("paying"), ended]);
}
