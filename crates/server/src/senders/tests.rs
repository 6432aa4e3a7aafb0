//! Text messages to a scripted provider, templates with hostile values.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use hushpad_domain::ids::AccountId;
use hushpad_domain::message::{Contact, EmailAddress, Message, PhoneNumber, SendRefused};
use hushpad_domain::money::{Currency, Money};
use hushpad_domain::ports::{LinkSender, World};
use hushpad_gateways::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::sms::{SmsBody, SmsConfig, TakenIf};
use super::template::{Escape, Template};
use super::{Senders, SendersConfig, TRIES_MAX};
use crate::webhooks::client;
use crate::webhooks::guard::Reach;
use crate::world::RealWorld;

const LINK: &str = "https://pay.example/pay/abc_DEF-123";

fn message(payee: &str) -> Message {
    Message {
        account: AccountId("acme".to_owned()),
        payee: payee.to_owned(),
        amount: Money::parse("12.40", Currency::from_code("GBP").unwrap()).unwrap(),
        link: LINK.to_owned(),
        reference: Some("order 7".to_owned()),
    }
}

fn phone() -> Contact {
    Contact::Phone(PhoneNumber::parse("+44 7700 900123").unwrap())
}

/// What a provider answers to each request in turn; nothing is a connection that just closes.
type Script = &'static [Option<(u16, &'static str)>];

/// A provider that was asked; each request whole.
struct Provider {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Provider {
    async fn answering(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/send?v=1", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let heard = seen.clone();
        tokio::spawn(async move {
            for answer in script {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                heard.lock().unwrap().push(request);
                let Some((status, body)) = answer else { continue };
                let length = body.len();
                let reply = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                stream.write_all(reply.as_bytes()).await.unwrap();
            }
        });
        Self { url, seen }
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn bodies(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.split_once("\r\n\r\n").unwrap().1.to_owned()).collect()
    }

    fn senders(&self, body: SmsBody, taken_if: Option<TakenIf>, reach: Reach) -> Senders {
        let authorization =
            (HeaderName::from_static("authorization"), HeaderValue::from_static("Basic dTpw"));
        let sms = SmsConfig {
            url: Endpoint::parse(&self.url, true).unwrap(),
            headers: vec![authorization],
            body,
            text: Template::message("{payee}: pay {amount} ({reference})\n{link}").unwrap(),
            taken_if,
            reach,
            tls: client::tls(None).unwrap(),
        };
        let world: Arc<dyn World> = Arc::new(RealWorld::new());
        let config = SendersConfig { account: AccountId("acme".to_owned()), sms: Some(sms), mail: None };
        Senders { pause_first: Duration::ZERO, ..Senders::new(vec![config], &world) }
    }
}

async fn read(stream: &mut tokio::net::TcpStream) -> String {
    let mut seen = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&seen).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        if stream.read_buf(&mut seen).await.unwrap() == 0 {
            return String::from_utf8_lossy(&seen).into_owned();
        }
    }
}

/// As Twilio takes messages.
fn form() -> SmsBody {
    let fields = [("From", "+15005550006"), ("To", "{to}"), ("Body", "{text}")];
    SmsBody::Form(fields.map(|(name, value)| (name.to_owned(), Template::request(value))).to_vec())
}

/// As Vonage's Messages API takes them.
fn json() -> SmsBody {
    let text = r#"{"message_type":"text","channel":"sms","from":"Shop","to":"{to_digits}","text":"{text}"}"#;
    SmsBody::Json(Template::request(text))
}

#[tokio::test]
async fn a_form_holds_number_and_text_whatever_the_name_is() {
    for payee in ["Ada's Flowers", "Tom & Jerry=Co+%20", "line\r\nBcc: eve", "{link}{to}", "\u{1f338} Blüte"]
    {
        let provider = Provider::answering(&[Some((201, "{}"))]).await;
        let senders = provider.senders(form(), None, Reach::Private);
        assert_eq!(senders.send(phone(), message(payee)).await, Ok(()), "{payee}");
        let request = provider.requests().remove(0);
        assert!(request.starts_with("POST /send?v=1 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("authorization: Basic dTpw\r\n"), "{request}");
        let fields: BTreeMap<String, String> = serde_urlencoded::from_str(&provider.bodies()[0]).unwrap();
        let plain = payee.replace(['\r', '\n'], " ");
        assert_eq!(fields["To"], "+447700900123");
        assert_eq!(fields["Body"], format!("{plain}: pay 12.40 GBP (order 7)\n{LINK}"));
        assert_eq!(fields.len(), 3, "{fields:?}");
    }
}

#[tokio::test]
async fn json_stays_json_whatever_the_name_is() {
    for payee in ["\"},\"to\":\"+1666\",{\"", "back\\slash\\", "line\u{2028}\u{0}\r\nend", "{text}{to}", "Ω"]
    {
        let provider = Provider::answering(&[Some((202, ""))]).await;
        let senders = provider.senders(json(), None, Reach::Private);
        assert_eq!(senders.send(phone(), message(payee)).await, Ok(()), "{payee}");
        let body: serde_json::Value = serde_json::from_str(&provider.bodies()[0]).unwrap();
        assert_eq!(body["to"], "447700900123");
        assert_eq!(body.as_object().unwrap().len(), 5, "{body}");
        let text = body["text"].as_str().unwrap();
        assert!(text.ends_with(&format!(": pay 12.40 GBP (order 7)\n{LINK}")), "{text}");
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_asked_a_few_times_and_no_more() {
    // It answers the third one.
    let provider = Provider::answering(&[None, Some((503, "")), Some((200, ""))]).await;
    let senders = provider.senders(form(), None, Reach::Private);
    assert_eq!(senders.send(phone(), message("Shop")).await, Ok(()));
    let bodies = provider.bodies();
    assert!(bodies.len() == TRIES_MAX as usize && bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");

    let provider = Provider::answering(&[None, Some((429, "")), Some((500, "")), Some((200, ""))]).await;
    let senders = provider.senders(form(), None, Reach::Private);
    assert_eq!(senders.send(phone(), message("Shop")).await, Err(SendRefused::Unreachable));
    assert_eq!(provider.requests().len(), TRIES_MAX as usize);
}

#[tokio::test]
async fn a_refusal_is_final_and_says_who_must_act() {
    let cases: [(Script, SendRefused); 4] = [
        (&[Some((400, "{\"code\":21211}")), Some((200, ""))], SendRefused::Contact),
        (&[Some((401, "")), Some((200, ""))], SendRefused::NotAllowed),
        (&[Some((402, "")), Some((200, ""))], SendRefused::NotAllowed),
        (&[Some((302, "")), Some((200, ""))], SendRefused::NotAllowed),
    ];
    for (script, refused) in cases {
        let provider = Provider::answering(script).await;
        let senders = provider.senders(form(), None, Reach::Private);
        assert_eq!(senders.send(phone(), message("Shop")).await, Err(refused));
        assert_eq!(provider.requests().len(), 1);
    }
}

/// Vonage's SMS API answers 200 whatever became of a message.
#[tokio::test]
async fn a_good_status_alone_is_not_enough_where_the_body_says_it() {
    for (said, result) in [
        (r#"{"messages":[{"status":"0"}]}"#, Ok(())),
        (r#"{"messages":[{"status":"4","error-text":"Bad Credentials"}]}"#, Err(SendRefused::NotAllowed)),
        ("<html>", Err(SendRefused::NotAllowed)),
    ] {
        let script: Script = Box::leak(vec![Some((200, said))].into_boxed_slice());
        let provider = Provider::answering(script).await;
        let taken_if = TakenIf { pointer: "/messages/0/status".to_owned(), equals: "0".to_owned() };
        let senders = provider.senders(form(), Some(taken_if), Reach::Private);
        assert_eq!(senders.send(phone(), message("Shop")).await, result, "{said}");
    }
}

#[tokio::test]
async fn a_private_address_is_called_only_where_that_is_allowed() {
    let provider = Provider::answering(&[Some((200, ""))]).await;
    let senders = provider.senders(form(), None, Reach::Public);
    assert_eq!(senders.send(phone(), message("Shop")).await, Err(SendRefused::NotAllowed));
    assert!(provider.requests().is_empty());
}

#[tokio::test]
async fn an_account_without_a_sender_sends_nothing() {
    let provider = Provider::answering(&[Some((200, ""))]).await;
    let senders = provider.senders(form(), None, Reach::Private);
    let mail = Contact::Email(EmailAddress::parse("ann@example.com").unwrap());
    assert_eq!(senders.send(mail, message("Shop")).await, Err(SendRefused::NoSender));
    let other = Message { account: AccountId("other".to_owned()), ..message("Shop") };
    assert_eq!(senders.send(phone(), other).await, Err(SendRefused::NoSender));
    assert!(provider.requests().is_empty());
}

#[test]
fn a_template_says_what_is_wrong_with_it() {
    for text in ["no link", "{link} {amout}", "{link", "{link} {", "{link} {to}"] {
        assert!(Template::message(text).is_err(), "{text}");
    }
    assert!(Template::message(&format!("{{link}}{}", "x".repeat(1_000))).is_err());
    assert!(Template::subject("{payee}: {link}").is_err() && Template::subject("{nobody}").is_err());
    let subject = Template::subject("{payee}: {amount}").unwrap();
    assert_eq!(
        subject.told(&message("Shop\r\nBcc: eve@example.com")),
        "Shop  Bcc: eve@example.com: 12.40 GBP"
    );
}

#[test]
fn a_long_name_leaves_room_for_the_link() {
    let text = Template::message("{payee} {link}").unwrap().told(&message(&"ü".repeat(5_000)));
    assert!(text.ends_with(LINK) && text.chars().count() < 200, "{text}");
    let json = Template::request("{\"t\":\"{text}\"}").fill(Escape::Json, |_| "a\"b");
    assert_eq!(json, r#"{"t":"a\"b"}"#);
}
