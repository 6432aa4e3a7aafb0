//! The recipes of `docs/telephony.md`, taken from there word by word: other people's telephone systems and phones on
//! either side, and for each way of keying the session gets its keys and the agent's phone nothing.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use crate::desk::{AGENT, Desk, HUSHPAD, Session};
use crate::phones::{Baresip, Customer, Keying, Linphone, PhoneParts};
use crate::process::{KAMAILIO, Program};

/// The addresses that the recipes use.
const HUSHPAD_THERE: &str = "192.0.2.10";
const SYSTEM_THERE: &str = "192.0.2.20:5060";
const KEYS: &str = "41117";

#[test]
fn kamailio_sends_calls_through_hushpad() {
    let kamailio = free_address();
    let agents = [("office".to_owned(), format!("sip:7000@{kamailio}"))];
    let mut desk = Desk::start_with(&agents);
    let _kamailio = start_kamailio(&desk, kamailio);
    // The agent's phone, by the recipe of baresip.
    let account = block("baresip", &[("1234@192.0.2.20:5060", &format!("7000@{kamailio}"))]);
    let agent = Baresip::start_as(desk.phone_parts("7000"), &account);
    agent.waits_for_its_registration();
    for (name, keying) in
        [("customer-1", Keying::Events), ("customer-2", Keying::Info), ("customer-3", Keying::TonesALaw)]
    {
        let parts = PhoneParts { codecs: "PCMU/8000/1", ..desk.phone_parts(name) };
        let mut customer = Customer::calls(parts, keying, "7000", kamailio);
        desk.wire.waits_for_speech(&[("the agent", agent.rtp()), ("the customer", customer.rtp())]);
        let session = desk.open_session_for("office");
        types(&mut desk, &session, || customer.keys(KEYS));
        customer.hangs_up();
        agent.waits_for_the_end();
    }
    desk.got_no_key(&agent);
}

#[test]
fn linphone_keys_by_events() {
    linphone_keys(&[]);
}

#[test]
fn linphone_keys_by_info() {
    linphone_keys(&[("use_rfc2833=1", "use_rfc2833=0"), ("use_info=0", "use_info=1")]);
}

fn linphone_keys(changes: &[(&str, &str)]) {
    // It names the machine's outer address and sends from the inner one.
    let mut desk = Desk::start_behind_nat();
    let parts = desk.phone_parts("customer");
    let (sip, rtp) = (format!("sip_port={}", parts.sip), format!("audio_rtp_port={}", parts.rtp.start));
    let ports = [("sip_port=5070", sip.as_str()), ("audio_rtp_port=7078", rtp.as_str())];
    let mut customer = Linphone::start(parts, &block("linphone", &[&ports, changes].concat()));
    customer.dial(&format!("sip:1234@{}", desk.at.sip));
    desk.wire.waits_for_speech(&[("the agent", desk.agent.rtp()), ("the customer", customer.rtp())]);
    let session = desk.open_session_for(AGENT);
    types(&mut desk, &session, || customer.keys(KEYS));
    customer.hangs_up();
    desk.agent_heard_no_key();
}

#[test]
fn sipp_tries_a_path() {
    let desk = Desk::start();
    let line =
        block("SIPp", &[(&format!("{HUSHPAD_THERE}:5060"), &desk.at.sip.to_string()), ("-m 10", "-m 1")]);
    let line = line.trim().replace("192.0.2.30", "127.0.0.1");
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().unwrap());
    command.args(words).arg("-nostdin").current_dir(desk.workplace());
    let mut sipp = Program::start("SIPp", &mut command, &desk.workplace().join("sipp.log"));
    assert!(sipp.ends().success(), "{}", sipp.log());
}

/// The config of the recipes is one that the product takes.
#[test]
fn the_recipes_config_is_taken() {
    let workplace = tempfile::tempdir().unwrap();
    // The example has an agent of that name.
    let block = block("Recipes", &[("\"agent1234\"", "\"another\""), ("\"1234\"", "\"4321\"")]);
    let (peers, agents) = block.split_once("\n\n").unwrap();
    // Secrets are not in the environment here, and each missing one would be told too.
    let example = fs::read_to_string(root("hushpad.example.toml")).unwrap();
    assert!(example.contains("[[sip.peers]]") && example.contains("[[accounts.agents]]"));
    let example = example.replacen("[[sip.peers]]", &format!("{peers}\n[[sip.peers]]"), 1);
    let example = example.replacen("[[accounts.agents]]", &format!("{agents}\n[[accounts.agents]]"), 1);
    let file = workplace.path().join("hushpad.toml");
    fs::write(&file, example).unwrap();
    let said = Command::new(HUSHPAD).args(["check-config", "--config"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    // Whatever else the example lacks here, such as its secrets: nothing of what the recipes say is at fault.
    assert!(!said.contains("peers") && !said.contains("agents") && !said.contains("unknown"), "{said}");
}

/// The customer keys, and the session counts.
fn types(desk: &mut Desk, session: &Session, keys: impl FnOnce()) {
    let page = desk.open_page(session);
    page.start("card_number");
    keys();
    page.shows_typed("card_number", KEYS.len() as u64);
    page.cancel();
    desk.waits_for_outcome(session, "cancelled");
}

fn start_kamailio(desk: &Desk, at: SocketAddr) -> Program {
    let here = desk.workplace().join("kamailio");
    fs::create_dir_all(&here).unwrap();
    let condition = format!("$si == \"{HUSHPAD_THERE}\" && $sp == 5060");
    let ours = format!("$si == \"127.0.0.1\" && $sp == {}", desk.at.sip.port());
    let configuration = block(
        "Kamailio",
        &[
            (SYSTEM_THERE, &at.to_string()),
            (&format!("{HUSHPAD_THERE}:5060"), &desk.at.sip.to_string()),
            (&condition, &ours),
        ],
    );
    fs::write(here.join("kamailio.cfg"), configuration).unwrap();
    let mut command = Command::new("kamailio");
    command.args(["-DD", "-E", "-n", "1", "-m", "32", "-M", "4", "-f"]).arg(here.join("kamailio.cfg"));
    command.arg("-Y").arg(&here).arg("-w").arg(&here).arg("-P").arg(here.join("pid"));
    let kamailio = Program::start(KAMAILIO, &mut command, &here.join("log"));
    crate::until("kamailio is there", || UdpSocket::bind(at).is_err().then_some(()));
    kamailio
}

/// The first block under a heading of the document, with what is to be filled in.
fn block(heading: &str, changes: &[(&str, &str)]) -> String {
    let document = fs::read_to_string(root("docs/telephony.md")).unwrap();
    let mut lines = document.lines();
    let is_heading = |line: &str| line.trim_start_matches('#').trim() == heading && line.starts_with('#');
    assert!(lines.any(is_heading), "no heading {heading:?}");
    let mut lines = lines.skip_while(|line| !line.starts_with("```")).skip(1);
    let text: String =
        lines.by_ref().take_while(|l| !l.starts_with("```")).map(|l| format!("{l}\n")).collect();
    changes.iter().fold(text, |text, (there, here)| {
        assert!(text.contains(there), "no {there:?} in the recipe of {heading}");
        text.replace(there, here)
    })
}

fn root(file: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

fn free_address() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
