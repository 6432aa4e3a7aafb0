//! The table of capabilities in `docs/gateways.md`, compared with what the connectors say of themselves.

use std::time::Duration;

use hushpad_domain::attempt::Purpose;

use crate::caps::{Caps, Challenges, Replay};
use crate::contract::sheets;
use crate::order::FollowUpKind;

fn row(name: &str, caps: &Caps) -> String {
    let yes = |has: bool| if has { "yes" } else { "no" };
    let hours = |window: Duration| format!("first answer, {} h", window.as_secs() / 3600);
    let replay = match caps.replay {
        Replay::None => "none".to_owned(),
        Replay::StoresFirst { window } => hours(window),
        Replay::StoresOnlySuccess { window } => format!("first success, {} h", window.as_secs() / 3600),
        Replay::ReturnsCurrent { window } => format!("present state, {} h", window.as_secs() / 3600),
        Replay::NaturalKey => "done once, for ever".to_owned(),
    };
    let purposes = caps.purposes.iter().map(|purpose| match purpose {
        Purpose::Sale => "sale",
        Purpose::Authorise => "authorise",
        Purpose::Tokenise => "tokenise",
    });
    let follow_ups = caps.follow_ups.iter().map(|kind| match kind {
        FollowUpKind::Capture => "capture",
        FollowUpKind::Void => "void",
        FollowUpKind::Refund => "refund",
        FollowUpKind::Reverse => "reverse",
    });
    let challenge = match caps.challenge {
        Challenges::None => "no",
        Challenges::ChargedOnReturn => "charged on return",
        Challenges::ChargedAtBank => "charged at the bank",
    };
    let can = purposes.chain(follow_ups).collect::<Vec<_>>().join(", ");
    format!(
        "| {name} | {can} | {replay} | {} | {} | {} min | {} | {} | {challenge} |",
        yes(caps.query_by_ref),
        yes(caps.reverse_by_ref),
        caps.settle_time.as_secs() / 60,
        yes(caps.partial),
        yes(caps.notifies),
    )
}

fn table() -> String {
    let head = "| gateway | can | replay | find | undo | settle | partial | notifies | 3-D Secure |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |";
    let rows = sheets().map(|sheet| {
        let name = if sheet.name == "generic" { "generic, with all its URLs" } else { sheet.name };
        row(name, sheet.connector.caps())
    });
    format!("{head}\n{}", rows.join("\n"))
}

#[test]
fn the_table_in_the_docs_is_what_the_connectors_say() {
    let docs = include_str!("../../../docs/gateways.md");
    let (_, after) = docs.split_once("<!-- capabilities -->\n").unwrap();
    let (written, _) = after.split_once("\n<!-- /capabilities -->").unwrap();
    assert_eq!(written, table(), "put this into docs/gateways.md:\n{}", table());
}
