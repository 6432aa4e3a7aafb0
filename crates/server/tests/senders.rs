//! Payment links by e-mail, to an SMTP server that others wrote (aiosmtpd, from PyPI): what it heard is what counts.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hushpad::senders::mail::{MailConfig, Security};
use hushpad::senders::template::Template;
use hushpad::senders::{Senders, SendersConfig};
use hushpad::webhooks::guard::Reach;
use hushpad::world::RealWorld;
use hushpad_domain::ids::AccountId;
use hushpad_domain::message::{Contact, EmailAddress, Message, SendRefused};
use hushpad_domain::money::{Currency, Money};
use hushpad_domain::ports::{LinkSender, World};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;

const LINK: &str = "https://pay.example/pay/abc_DEF-123";
const USER: &str = "shop";
const PASSWORD: &str = "correct horse";

/// A relay with TLS, by `STARTTLS` or from the first byte, that wants a login. Ends with the test.
struct Relay {
    child: Child,
    heard: BufReader<ChildStdout>,
    port: u16,
    authority: Vec<u8>,
    _files: tempfile::TempDir,
}

impl Relay {
    fn start(mode: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
        let authority = pem("CERTIFICATE", cert.der());
        std::fs::write(&certificate, &authority).unwrap();
        std::fs::write(&key, pem("PRIVATE KEY", &signing_key.serialize_der())).unwrap();
        let mut child = Command::new(python())
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/senders/relay.py"))
            .args([mode, USER, PASSWORD])
            .args([&certificate, &key])
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut heard = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        heard.read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap();
        Self { child, heard, port, authority, _files: files }
    }

    fn tls(&self) -> TlsParameters {
        let authority = Certificate::from_pem(&self.authority).unwrap();
        TlsParameters::builder("localhost".to_owned()).add_root_certificate(authority).build_rustls().unwrap()
    }

    fn senders(&self, security: Security, password: &str, reach: Reach) -> Senders {
        let mail = MailConfig {
            host: "localhost".to_owned(),
            port: self.port,
            security,
            credentials: Some(Credentials::new(USER.to_owned(), password.to_owned())),
            from: "Shop <pay@shop.example>".parse().unwrap(),
            subject: Template::subject("{payee}: {amount} to pay").unwrap(),
            text: Template::message("{payee} asks you to pay {amount} for {reference}:\n{link}\n").unwrap(),
            reach,
        };
        let account = AccountId("acme".to_owned());
        let world: Arc<dyn World> = Arc::new(RealWorld::new());
        Senders::new(vec![SendersConfig { account, sms: None, mail: Some(mail) }], &world)
    }

    /// The next mail, as the relay and Python's parser of mails understood it.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.heard.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Every mail that came after those that were looked at.
    fn rest(mut self) -> Vec<Value> {
        self.child.stdin.take().unwrap().write_all(b"end\n").unwrap();
        let lines = std::iter::from_fn(|| {
            let mut line = String::new();
            (self.heard.read_line(&mut line).unwrap() > 0).then_some(line)
        });
        lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// RFC 7468.
fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}

fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let python = root.join("target/conformance/venv/bin/python");
    assert!(python.exists(), "run ./test once: {} is missing", python.display());
    python
}

fn message(payee: &str) -> Message {
    Message {
        account: AccountId("acme".to_owned()),
        payee: payee.to_owned(),
        amount: Money::parse("12.40", Currency::from_code("GBP").unwrap()).unwrap(),
        link: LINK.to_owned(),
        reference: Some("order 7".to_owned()),
    }
}

fn to(address: &str) -> Contact {
    Contact::Email(EmailAddress::parse(address).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_goes_out_by_mail_over_either_kind_of_tls() {
    for mode in ["tls", "starttls"] {
        let mut relay = Relay::start(mode);
        let tls = relay.tls();
        let security = if mode == "tls" { Security::Tls(tls) } else { Security::StartTls(tls) };
        let senders = relay.senders(security, PASSWORD, Reach::Private);
        assert_eq!(senders.send(to("ann@example.com"), message("Ada's Flowers")).await, Ok(()), "{mode}");
        let mail = relay.next();
        assert_eq!(
            (&mail["from"], &mail["to"]),
            (&"pay@shop.example".into(), &serde_json::json!(["ann@example.com"]))
        );
        assert_eq!(mail["headers"]["From"], "Shop <pay@shop.example>");
        assert_eq!(mail["headers"]["Subject"], "Ada's Flowers: 12.40 GBP to pay");
        let text = mail["text"].as_str().unwrap().trim_end();
        assert_eq!(text, format!("Ada's Flowers asks you to pay 12.40 GBP for order 7:\n{LINK}"));
        assert_eq!(mail["tls"], true);
        let id = mail["headers"]["Message-ID"].as_str().unwrap();
        assert!(id.ends_with("@shop.example>"), "{id}");
        assert_eq!(relay.rest(), Vec::<Value>::new(), "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_can_add_a_header_or_another_reader() {
    let mut relay = Relay::start("tls");
    let senders = relay.senders(Security::Tls(relay.tls()), PASSWORD, Reach::Private);
    for payee in [
        "Shop\r\nBcc: eve@example.com",
        "Shop\nSubject: other\n\nbody",
        "\u{1f338} Blüten & Söhne",
        ".\r\nQUIT\r\n.",
        &"very long name ".repeat(100),
    ] {
        assert_eq!(senders.send(to("ann@example.com"), message(payee)).await, Ok(()), "{payee}");
        let mail = relay.next();
        assert_eq!(mail["to"], serde_json::json!(["ann@example.com"]), "{payee}");
        let names: Vec<&str> = mail["headers"].as_object().unwrap().keys().map(String::as_str).collect();
        for name in &names {
            let known = [
                "From",
                "To",
                "Subject",
                "Date",
                "Message-ID",
                "Content-Type",
                "Content-Transfer-Encoding",
                "MIME-Version",
            ];
            assert!(known.contains(name), "{payee}: {names:?}");
        }
        let text = mail["text"].as_str().unwrap();
        assert!(text.contains(LINK) && text.contains("12.40 GBP for order 7"), "{text}");
    }
    assert_eq!(relay.rest(), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_relay_refuses_is_not_sent_again() {
    let relay = Relay::start("tls");
    let cases = [
        (
            relay.senders(Security::Tls(relay.tls()), "wrong", Reach::Private),
            "ann@example.com",
            SendRefused::NotAllowed,
        ),
        (
            relay.senders(Security::Tls(relay.tls()), PASSWORD, Reach::Private),
            "nobody@example.com",
            SendRefused::Contact,
        ),
        (
            relay.senders(Security::Tls(relay.tls()), PASSWORD, Reach::Public),
            "ann@example.com",
            SendRefused::NotAllowed,
        ),
    ];
    for (senders, address, refused) in cases {
        assert_eq!(senders.send(to(address), message("Shop")).await, Err(refused), "{address}");
    }
    assert_eq!(relay.rest(), Vec::<Value>::new());
}

/// A relay without TLS must not hear the password.
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_offers_no_tls_gets_nothing() {
    let relay = Relay::start("plain");
    let senders = relay.senders(Security::StartTls(relay.tls()), PASSWORD, Reach::Private);
    let refused = senders.send(to("ann@example.com"), message("Shop")).await;
    assert_eq!(refused, Err(SendRefused::NotAllowed));
    assert_eq!(relay.rest(), Vec::<Value>::new());
}
