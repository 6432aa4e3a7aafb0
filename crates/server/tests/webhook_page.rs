//! The snippets of docs/webhooks.md, run as they stand on what we sign; and the receiver for a desk.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]

use std::io::{BufRead, Read, Write};
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

/// `hushpad webhook listen`, until it has had one.
struct Listening {
    child: std::process::Child,
    said: std::io::BufReader<std::process::ChildStdout>,
    address: String,
    _secret: tempfile::NamedTempFile,
}

impl Listening {
    fn start() -> Self {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), SECRET).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_hushpad"))
            .args(["webhook", "listen", "--listen", "127.0.0.1:0", "--count", "1", "--secret-file"])
            .arg(secret.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().trim_end_matches('/');
        Self { child, said, address: address.to_owned(), _secret: secret }
    }

    /// Sends it this, signed by that secret; gives the reply's status line, whether it ended well, and what it said.
    fn gets(mut self, secret: &str, body: &str) -> (String, bool, String) {
        let seconds = RealWorld::new().now().as_seconds().to_string();
        let secret = SigningSecret::parse(secret).unwrap();
        let signed = signature::sign(&[secret], "msg_1", &seconds, body.as_bytes());
        let length = body.len();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\nwebhook-id: msg_1\r\n\
             webhook-timestamp: {seconds}\r\nwebhook-signature: {signed}\r\n\r\n{body}"
        );
        let mut stream = std::net::TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut status = String::new();
        std::io::BufReader::new(stream).read_line(&mut status).unwrap();
        let mut said = String::new();
        self.said.read_to_string(&mut said).unwrap();
        (status.trim().to_owned(), self.child.wait().unwrap().success(), said)
    }
}

#[test]
fn the_desk_receiver_says_whether_what_came_verifies() {
    let (status, well, said) = Listening::start().gets(SECRET, r#"{"outcome":"approved"}"#);
    assert_eq!((status.as_str(), well), ("HTTP/1.1 200 OK", true), "{said}");
    assert!(said.contains("webhook-id msg_1") && said.contains("verified"), "{said}");
    assert!(said.contains("\"outcome\": \"approved\"") && said.ends_with("1 verified, 0 not\n"), "{said}");
    let (status, well, said) = Listening::start().gets(OTHER, "{}");
    assert_eq!((status.as_str(), well), ("HTTP/1.1 401 Unauthorized", false), "{said}");
    assert!(said.contains("NOT VERIFIED: no signature is by this secret"), "{said}");
}
