//! `kill -9` at each step of a payment, at three gateways: whatever was under way, each reference is charged at most
//! once, what is reported agrees with the gateway's ledger, and a session ends once.
//!
//! The steps are found by what the other side knows (the gateway's fault plan and ledger, the session's status, the
//! program's own count of answers), never by a pause.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::cards::{TestCard, VISA};
use crate::desk::{AGENT, Desk, Session, payment};
use crate::page::Page;
use crate::receiver::Manner;
use crate::stories::test_keypad::presses_card;
use crate::until;

/// The gateways say of it that the security code does not match: what they approve is given back.
const WRONG_CODE: TestCard = TestCard { number: "4000000000000101", expiry: "1230", security_code: "737" };

/// What of one gateway's words the steps need.
struct Gateway {
    /// As the simulator calls it.
    format: &'static str,
    sale: u32,
    authorise: u32,
    /// In the path of the request that takes money, and of those that follow it.
    charge: &'static str,
    reverse: &'static str,
    refund: &'static str,
    capture: &'static str,
    /// Whether "not found" is believed within a test's patience; else the operator is asked.
    settles: bool,
}

const GENERIC: Gateway = Gateway {
    format: "generic",
    sale: 10,
    authorise: 20,
    charge: "/charges",
    reverse: "/charges",
    refund: "/charges",
    capture: "/charges",
    settles: true,
};
const CYBERSOURCE: Gateway = Gateway {
    format: "cybersource",
    sale: 11,
    authorise: 21,
    charge: "/payments",
    reverse: "/voids",
    refund: "/refunds",
    capture: "/captures",
    settles: false,
};
const STRIPE: Gateway = Gateway {
    format: "stripe",
    sale: 12,
    authorise: 22,
    charge: "/confirm",
    reverse: "/refunds",
    refund: "/refunds",
    capture: "/capture",
    settles: true,
};

#[test]
fn killed_at_each_step_of_a_payment_at_the_generic_gateway() {
    is_killed_at_each_step(&GENERIC);
}

#[test]
fn killed_at_each_step_of_a_payment_at_cybersource() {
    is_killed_at_each_step(&CYBERSOURCE);
}

#[test]
fn killed_at_each_step_of_a_payment_at_stripe() {
    is_killed_at_each_step(&STRIPE);
}

fn is_killed_at_each_step(gateway: &Gateway) {
    let mut desk = Desk::start();
    desk.expects_card(VISA);
    before_the_intent(&mut desk, gateway);
    before_a_connection(&mut desk, gateway);
    before_the_gateway_commits(&mut desk, gateway);
    before_the_reply(&mut desk, gateway);
    before_the_outcome_is_committed(&mut desk, gateway);
    before_the_webhook_is_known_to_have_come(&mut desk, gateway);
    desk.expects_card(WRONG_CODE);
    during_a_reversal(&mut desk, gateway);
    during_a_refund(&mut desk, gateway);
    during_a_capture(&mut desk, gateway);
    for charge in desk.ledger() {
        assert!(charge["charged"].as_u64() <= Some(1), "charged twice: {charge}");
        assert!(charge["requests"].as_u64() <= Some(1), "asked for twice: {charge}");
    }
}

fn before_the_intent(desk: &mut Desk, gateway: &Gateway) {
    let (session, _page) = keys(desk, gateway.sale, VISA, "10.01");
    restarts(desk);
    let status = desk.status(&session);
    assert_eq!((&status["sessionState"], &status["attempts"]), (&json!("Error"), &json!([])), "{status}");
    assert_eq!(charge_of(desk, "10.01"), None);
}

fn before_a_connection(desk: &mut Desk, gateway: &Gateway) {
    let (session, page) = keys(desk, gateway.sale, VISA, "10.02");
    desk.stop_gateway();
    page.pay();
    attempt_is(desk, &session, "processing");
    desk.kill_9();
    desk.start_gateway();
    desk.restart();
    is_not_charged(desk, gateway, &session, "10.02");
}

fn before_the_gateway_commits(desk: &mut Desk, gateway: &Gateway) {
    let (session, page) = keys(desk, gateway.sale, VISA, "10.03");
    desk.gateway_fails(&json!({"fault": "never_processed", "gateway": gateway.format, "path": gateway.charge, "method": "POST"}));
    page.pay();
    desk.fault_has_struck();
    restarts(desk);
    is_not_charged(desk, gateway, &session, "10.03");
}

fn before_the_reply(desk: &mut Desk, gateway: &Gateway) {
    let (session, page) = keys(desk, gateway.sale, VISA, "10.04");
    desk.gateway_fails(&json!({"fault": "never_answered", "gateway": gateway.format, "path": gateway.charge, "method": "POST"}));
    page.pay();
    until("the gateway has charged", || charge_of(desk, "10.04"));
    restarts(desk);
    is_paid_once(desk, &session, "10.04");
}

fn before_the_outcome_is_committed(desk: &mut Desk, gateway: &Gateway) {
    let (session, page) = keys(desk, gateway.sale, VISA, "10.05");
    // Late enough that the store is stopped before the answer comes.
    desk.gateway_fails(&json!({"fault": "slow", "delay_ms": 3000, "gateway": gateway.format, "path": gateway.charge, "method": "POST"}));
    let answers = "hushpad_attempts_total{result=\"Answered\"}";
    let before = desk.counted(answers);
    page.pay();
    until("the gateway has charged", || charge_of(desk, "10.05"));
    let stopped = StoppedStore::of(desk);
    until("the answer has come", || (desk.counted(answers) > before).then_some(()));
    attempt_is(desk, &session, "processing");
    desk.kill_9();
    drop(stopped);
    desk.restart();
    is_paid_once(desk, &session, "10.05");
}

fn before_the_webhook_is_known_to_have_come(desk: &mut Desk, gateway: &Gateway) {
    let (session, page) = keys(desk, gateway.sale, VISA, "10.06");
    desk.receiver.now(Manner::SaysNothing);
    page.pay();
    let first = until("the webhook comes", || desk.receiver.came(&session.guid).first().cloned());
    desk.kill_9();
    desk.receiver.now(Manner::Takes);
    desk.restart();
    let again = until("the webhook comes again", || desk.receiver.came(&session.guid).get(1).cloned());
    assert_eq!(again.header("webhook-id"), first.header("webhook-id"));
    is_paid_once(desk, &session, "10.06");
}

fn during_a_reversal(desk: &mut Desk, gateway: &Gateway) {
    let (session, page) = keys(desk, gateway.sale, WRONG_CODE, "10.07");
    // Where all requests go to one path, the payment itself is left alone.
    let after = u32::from(gateway.reverse == gateway.charge);
    desk.gateway_fails(&json!({"fault": "never_answered", "gateway": gateway.format, "path": gateway.reverse, "method": "POST", "after": after}));
    page.pay();
    desk.fault_has_struck();
    attempt_is(desk, &session, "reversing");
    restarts(desk);
    let status = ends(desk, &session);
    assert_eq!(status["outcome"], "declined", "{status}");
    assert_eq!(status["attempts"][0]["state"], "reversed", "{status}");
    let charge = charge_of(desk, "10.07").unwrap();
    assert_eq!(charge["stands"], "0.00", "{charge}");
}

fn during_a_refund(desk: &mut Desk, gateway: &Gateway) {
    let session = pays(desk, gateway.sale, "10.08");
    operation_is_cut(desk, gateway, &session, "refund", gateway.refund);
    let charge = charge_of(desk, "10.08").unwrap();
    assert_eq!((&charge["refunded"], &charge["stands"]), (&json!("4.00"), &json!("6.08")), "{charge}");
}

fn during_a_capture(desk: &mut Desk, gateway: &Gateway) {
    let session = pays(desk, gateway.authorise, "10.09");
    operation_is_cut(desk, gateway, &session, "capture", gateway.capture);
    let charge = charge_of(desk, "10.09").unwrap();
    assert_eq!(charge["captured"], "4.00", "{charge}");
}

/// The gateway does it and never says so; the program is killed meanwhile, and finds out.
fn operation_is_cut(desk: &mut Desk, gateway: &Gateway, session: &Session, what: &str, path: &str) {
    desk.gateway_fails(
        &json!({"fault": "never_answered", "gateway": gateway.format, "path": path, "method": "POST"}),
    );
    let asked = desk.asks_for(session, what, &json!({"amount": "4.00"}));
    desk.fault_has_struck();
    restarts(desk);
    // Its connection broke with the program.
    asked.join().unwrap();
    let done = until("the operation is done", || {
        let status = desk.status(session);
        (status["attempts"][0]["operations"][0]["state"] == "done").then_some(status)
    });
    assert_eq!(done["attempts"][0]["operations"].as_array().map(Vec::len), Some(1), "{done}");
    assert_eq!(done["outcome"], "approved", "{done}");
}

/// A session whose card is keyed; only Pay is left.
pub(super) fn keys(desk: &mut Desk, configuration: u32, card: TestCard, amount: &str) -> (Session, Page) {
    let session = desk.open_session_by(&json!({
        "agentId": AGENT, "paymentData": payment(amount),
        "accountConfigurationId": configuration, "skipCallTransfer": true,
    }));
    let page = desk.open_page(&session);
    presses_card(&page, card);
    page.shows_phase("ready_to_pay");
    (session, page)
}

pub(super) fn pays(desk: &mut Desk, configuration: u32, amount: &str) -> Session {
    let (session, page) = keys(desk, configuration, VISA, amount);
    page.pay();
    desk.waits_for_outcome(&session, "approved");
    session
}

fn restarts(desk: &mut Desk) {
    desk.kill_9();
    desk.restart();
}

fn attempt_is(desk: &mut Desk, session: &Session, state: &str) {
    until(&format!("the attempt is {state}"), || {
        (desk.status(session)["attempts"][0]["state"] == state).then_some(())
    });
}

fn ends(desk: &mut Desk, session: &Session) -> Value {
    until("the session has ended", || {
        let status = desk.status(session);
        (!["Created", "InProgress", "Processing"].contains(&status["sessionState"].as_str()?))
            .then_some(status)
    })
}

fn is_paid_once(desk: &mut Desk, session: &Session, amount: &str) {
    let status = desk.waits_for_outcome(session, "approved");
    assert_eq!(status["sessionState"], "Finished", "{status}");
    assert_eq!(status["attempts"].as_array().map(Vec::len), Some(1), "{status}");
    let charge = charge_of(desk, amount).unwrap();
    assert_eq!((&charge["charged"], &charge["stands"]), (&json!(1), &json!(amount)), "{charge}");
}

/// Nobody claims to know at once; then it is known, or the operator says it.
fn is_not_charged(desk: &mut Desk, gateway: &Gateway, session: &Session, amount: &str) {
    if !gateway.settles {
        let status = desk.status(session);
        assert_eq!((&status["sessionState"], &status["outcome"]), (&json!("Processing"), &json!("unknown")));
        let open = desk.hushpad(&["attempts", "list", "--unknown"]);
        let line = open.lines().find(|line| line.contains(&session.guid)).unwrap_or_else(|| panic!("{open}"));
        let id = line.split_whitespace().next().unwrap().to_owned();
        desk.hushpad(&["attempts", "settle", &id, "--not-charged", "--reference", "looked at the ledger"]);
    }
    let status = ends(desk, session);
    assert_eq!((&status["sessionState"], &status["outcome"]), (&json!("Error"), &json!("none")), "{status}");
    assert_eq!(status["attempts"][0]["state"], "notCharged", "{status}");
    let charge = charge_of(desk, amount);
    assert!(charge.as_ref().is_none_or(|charge| charge["charged"] == 0), "{charge:?}");
}

/// What the gateway's ledger has of this amount, which is used once.
pub(super) fn charge_of(desk: &Desk, amount: &str) -> Option<Value> {
    let mut found = desk.ledger().into_iter().filter(|charge| charge["amount"] == amount);
    let charge = found.next();
    assert!(found.next().is_none(), "two references of {amount}");
    charge
}

/// The store's file with its writing lock taken by somebody else, until this is dropped.
struct StoppedStore(Child);

impl StoppedStore {
    fn of(desk: &Desk) -> Self {
        const HOLD: &str = "import sqlite3, sys\n\
            store = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n\
            store.execute('BEGIN IMMEDIATE')\n\
            print('held', flush=True)\n\
            sys.stdin.read()\n";
        let database = desk.workplace().join("data").join("hushpad.db");
        let mut child = Command::new("python3")
            .args(["-c", HOLD])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said.trim(), "held");
        Self(child)
    }
}

impl Drop for StoppedStore {
    fn drop(&mut self) {
        // It ends, and lets go, when its input does.
        if let Some(mut input) = self.0.stdin.take() {
            let _ = input.flush();
        }
        let _ = self.0.wait();
    }
}
