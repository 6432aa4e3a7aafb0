//! The snippets of docs/webhooks.md, run as they stand on what we sign.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]

use std::io::Write;
use std::process::{Command, Stdio};

use hushpad::webhooks::signature::{self, SigningSecret};
use hushpad::world::RealWorld;
use hushpad_domain::ports::World;
use serde_json::{Value, json};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[test]
fn the_python_snippet_verifies_what_we_sign() {
    let main = r#"
import json, sys
cases = json.load(sys.stdin)
print(json.dumps([verify(c["secret"], c["headers"], c["body"].encode()) for c in cases]))
"#;
    assert_eq!(verdicts("python3", "python", main), expected());
}

#[test]
fn the_node_snippet_verifies_what_we_sign() {
    let main = r#"
const cases = JSON.parse(process.argv[2]);
console.log(JSON.stringify(cases.map((c) => verify(c.secret, c.headers, Buffer.from(c.body)))));
"#;
    assert_eq!(verdicts("node", "js", main), expected());
}

/// What came, and whether it must verify.
fn cases() -> Vec<(Value, bool)> {
    let now = RealWorld::new().now().as_seconds();
    let body = r#"{"sessionGuid":"…","outcome":"approved"}"#;
    let case = |secrets: &[&str], at: i64, sent: &str, good: bool| {
        let secrets: Vec<_> = secrets.iter().map(|text| SigningSecret::parse(text).unwrap()).collect();
        let seconds = at.to_string();
        let signature = signature::sign(&secrets, "msg_1", &seconds, body.as_bytes());
        let headers = json!({
            signature::ID: "msg_1", signature::TIMESTAMP: seconds, signature::SIGNATURE: signature,
        });
        (json!({ "secret": SECRET, "headers": headers, "body": sent }), good)
    };
    vec![
        case(&[SECRET], now, body, true),
        case(&[OTHER, SECRET], now, body, true),
        case(&[OTHER], now, body, false),
        case(&[SECRET], now, "{}", false),
        case(&[SECRET], now - 400, body, false),
        case(&[SECRET], now + 400, body, false),
    ]
}

fn expected() -> Value {
    cases().into_iter().map(|(_, good)| good).collect()
}

/// What the snippet of this language says of each case.
fn verdicts(program: &str, language: &str, main: &str) -> Value {
    let page = include_str!("../../../docs/webhooks.md");
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    let (snippet, _) = rest.split_once("\n```").unwrap();
    let cases = Value::from_iter(cases().into_iter().map(|(case, _)| case)).to_string();
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), format!("{snippet}\n{main}")).unwrap();
    let mut child = Command::new(program)
        .arg(script.path())
        .arg(&cases)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(cases.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert!(done.status.success(), "{program} failed");
    serde_json::from_slice(&done.stdout).unwrap()
}
