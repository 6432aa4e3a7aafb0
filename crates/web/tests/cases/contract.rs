//! The contract as a document that is executed: `docs/api/contract.md` names a test for each line, and the published
//! requests and replies are files.

use std::path::Path;

use http::Method;
use hushpad_domain::attempt::Verdict;
use serde_json::Value;

use crate::fakes::Desk;

/// Lines that say "not built".
const NOT_BUILT: [&str; 0] = [];

#[test]
fn each_line_of_the_contract_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let contract = std::fs::read_to_string(root.join("docs/api/contract.md")).unwrap();
    let mut sources = String::new();
    for folder in [
        "crates/web/tests/cases",
        "crates/web/src",
        "tests/e2e/stories",
        "crates/store/tests",
        "crates/server/tests",
    ] {
        read_rust(&root.join(folder), &mut sources);
    }
    let (mut count, mut not_built) = (0, Vec::new());
    for line in contract.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| no")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, _, test] = cells[..] else {
            assert!(line.starts_with("| ---"), "{line}");
            continue;
        };
        if number == "---" {
            continue;
        }
        count += 1;
        assert_eq!(number, count.to_string(), "lines are numbered without gaps");
        if test == "not built" {
            not_built.push(number);
        } else {
            let name = test.trim_matches('`');
            // One that runs on every engine has its engine in angle brackets.
            let is_there = |after: char| sources.contains(&format!("fn {name}{after}"));
            assert!(is_there('(') || is_there('<'), "line {number}: there is no test {name}");
        }
    }
    assert!(count > 40);
    assert_eq!(not_built, NOT_BUILT);
}

fn read_rust(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_rust(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[tokio::test]
async fn the_published_request_gets_the_published_reply() {
    let (desk, opened) = open().await;
    let reply = opened.as_object().unwrap();
    let provider = reply["providerSessionGuid"].as_str().unwrap();
    fits(&published("created", &[("<providerSessionGuid>", provider)]), &opened);
    // What comes beside it is named in the contract as ours.
    let ours = ["paymentFormUrl", "callGuid"];
    assert!(
        reply
            .keys()
            .all(|name| ours.contains(&name.as_str()) || published("created", &[])[name] != Value::Null)
    );
    drop(desk);
}

#[tokio::test]
async fn the_published_status_comes() {
    let (desk, opened) = open().await;
    let guid = opened["sessionGuid"].as_str().unwrap();
    desk.attempt(guid, Verdict::Approved).await;
    let status = desk.status(guid).await.json();
    fits(&published("status", &[]), &status);
    let names: Vec<&String> = status["paymentResultData"].as_object().unwrap().keys().collect();
    let expected = published("status", &[]);
    let mut expected: Vec<&String> = expected["paymentResultData"].as_object().unwrap().keys().collect();
    expected.sort();
    assert_eq!(names, expected);
}

async fn open() -> (Desk, Value) {
    let desk = Desk::start();
    desk.calls.call_of("acme", "1234");
    let token = desk.token_of("backend").await;
    let body = published("create", &[]).to_string();
    let answer = desk.call_api(Method::POST, "/globalpci/v1/session", &token, Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    (desk, answer.json())
}

fn published(name: &str, fill: &[(&str, &str)]) -> Value {
    let path = format!("{}/tests/published/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(path).unwrap();
    for (mark, value) in fill {
        text = text.replace(mark, value);
    }
    serde_json::from_str(&text).unwrap()
}

/// Whether an answer holds everything that was published, in the published form.
fn fits(published: &Value, answer: &Value) {
    match published {
        Value::Object(members) => {
            for (name, expected) in members {
                fits(expected, &answer[name]);
            }
        }
        Value::String(mark) => {
            let text = answer.as_str().unwrap_or_else(|| panic!("{answer} in place of {mark}"));
            match mark.as_str() {
                "<guid>" => assert!(uuid::Uuid::try_parse(text).is_ok(), "{text}"),
                "<text>" => assert!(!text.is_empty()),
                "<moment>" => {
                    assert!(text.len() == 27 && &text[10..11] == "T" && text.ends_with('Z'), "{text}");
                    assert_eq!(text.split_once('.').unwrap().1.len(), 7, "six decimals: {text}");
                }
                exact => assert_eq!(text, exact),
            }
        }
        other => assert_eq!(other, answer),
    }
}
