//! Bytes that mean harm, over raw sockets, to the real listener and the real router: each gets a clear refusal or a
//! closed connection, nobody else notices, and no second request is ever read out of a first.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]

mod minimal;

use std::net::SocketAddr;
use std::time::Duration;

use hushpad::clients;
use hushpad::config::Config;
use hushpad::log::Redactor;
use hushpad::serve::{self, Running};
use hushpad_domain::ids::AccountId;
use hushpad_store::Ownership;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Far longer than any answer takes, for machines that are busy.
const PATIENCE: Duration = Duration::from_secs(30);
const END: &str = "\r\n\r\n";
/// What a stranger would like to have read as a request of its own. Its answer would hold this text.
const HIDDEN: &str = "GET /.well-known/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n";
const HIDDEN_ANSWER: &str = "\"keys\"";

struct Server {
    api: SocketAddr,
    page: SocketAddr,
    token: String,
    running: Running,
    _folder: TempDir,
    _places: minimal::Places,
}

/// An answer as it came.
struct Answer {
    text: String,
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let places = minimal::Places::find();
        let [api, page, admin, _] = places.addresses;
        let text = minimal::config(folder.path(), [api, page, admin]);
        let config = Config::parse(&text).map_err(|mistakes| mistakes.to_string()).unwrap();
        let store = hushpad_store::open(&config.store_url, Ownership::Guest).await.unwrap();
        let account = AccountId("shop".to_owned());
        let client = clients::create(&store, &config.master_key, account, None, String::new()).await.unwrap();
        store.close().await;
        let running = serve::start(config, Redactor::default()).await.unwrap();
        let form = format!(
            "grant_type=client_credentials&scope=globalpci&client_id={}&client_secret={}",
            client.id, client.secret
        );
        let mut server = Self { api, page, token: String::new(), running, _folder: folder, _places: places };
        let answer =
            server.say(&request("POST /oauth/token", "application/x-www-form-urlencoded", &form)).await;
        server.token = answer.json()["access_token"].as_str().unwrap().to_owned();
        server
    }

    /// Sends the bytes, and reads until the server closes.
    async fn say(&self, bytes: impl AsRef<[u8]>) -> Answer {
        say(self.api, bytes.as_ref()).await
    }

    /// Posts a session with this body.
    async fn post(&self, content_type: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST /v1/session HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-type: {content_type}\r\ncontent-length: {}{END}",
            self.token,
            body.len()
        );
        self.say([head.as_bytes(), body].concat()).await
    }

    /// Somebody else is served.
    async fn serves_others(&self) {
        let answer =
            self.say(format!("GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close{END}")).await;
        assert_eq!(answer.status(), 200);
    }
}

async fn say(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut from, mut to) = stream.split();
    let mut answer = Vec::new();
    let talk = async {
        // The server may close in the middle of what is said.
        let _ = to.write_all(bytes).await;
        let _ = from.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("the server closes");
    Answer { text: String::from_utf8_lossy(&answer).into_owned() }
}

fn request(line: &str, content_type: &str, body: &str) -> String {
    format!(
        "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\ncontent-length: {}{END}{body}",
        body.len()
    )
}

impl Answer {
    /// 0 when there was none.
    fn status(&self) -> u16 {
        self.text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest[..3].parse().ok()).unwrap_or(0)
    }

    /// How many answers came.
    fn count(&self) -> usize {
        self.text.matches("HTTP/1.1 ").count()
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.text.split_once(END).unwrap().1).unwrap_or_else(|_| panic!("{}", self.text))
    }

    /// `status code`; "closed" when the connection ended without an answer.
    fn problem(&self) -> String {
        if self.text.is_empty() {
            return "closed".to_owned();
        }
        format!("{} {}", self.status(), self.json()["code"].as_str().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_second_request_is_read_out_of_a_first() {
    let server = Server::start().await;
    let token = &server.token;
    let post = format!(
        "POST /v1/session HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json"
    );
    let hidden = HIDDEN.len();
    let mut tried = 0;
    for (head, body) in [
        // Two lengths, or a length and chunks: whoever is asked says something else.
        ("content-length: 0\r\ntransfer-encoding: chunked".to_owned(), format!("0{END}{HIDDEN}")),
        ("transfer-encoding: chunked\r\ncontent-length: 0".to_owned(), format!("0{END}{HIDDEN}")),
        (format!("content-length: {hidden}\r\ntransfer-encoding: chunked"), format!("0{END}{HIDDEN}")),
        (format!("content-length: 0\r\ncontent-length: {hidden}"), HIDDEN.to_owned()),
        (format!("content-length: {hidden}\r\ncontent-length: 0"), HIDDEN.to_owned()),
        ("content-length: 0, 0".to_owned(), HIDDEN.to_owned()),
        ("content-length: +0".to_owned(), HIDDEN.to_owned()),
        ("content-length: -1".to_owned(), HIDDEN.to_owned()),
        // Encodings that some take for chunked and some do not.
        ("transfer-encoding: xchunked".to_owned(), format!("0{END}{HIDDEN}")),
        ("transfer-encoding: gzip, chunked".to_owned(), format!("0{END}{HIDDEN}")),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity".to_owned(), format!("0{END}{HIDDEN}")),
        ("transfer-encoding : chunked".to_owned(), format!("0{END}{HIDDEN}")),
        // Lines that end, or go on, for some only.
        ("x: 1\r\n transfer-encoding: chunked".to_owned(), format!("0{END}{HIDDEN}")),
        ("x: 1\ntransfer-encoding: chunked".to_owned(), format!("0{END}{HIDDEN}")),
        ("x: 1\rtransfer-encoding: chunked".to_owned(), format!("0{END}{HIDDEN}")),
        ("x: 1\n\n".to_owned(), HIDDEN.to_owned()),
        // Chunks whose ends are a matter of taste.
        ("transfer-encoding: chunked".to_owned(), format!("2\n{{}}\n0\n\n{HIDDEN}")),
        ("transfer-encoding: chunked".to_owned(), format!("2;x\ny\r\n{{}}\r\n0{END}{HIDDEN}")),
        ("transfer-encoding: chunked".to_owned(), format!("2\r\n{{}}XX0{END}{HIDDEN}")),
        ("transfer-encoding: chunked".to_owned(), format!("0x2\r\n{{}}\r\n0{END}{HIDDEN}")),
        ("transfer-encoding: chunked".to_owned(), format!("FFFFFFFFFFFFFFFF2\r\n{{}}\r\n0{END}{HIDDEN}")),
        (
            "transfer-encoding: chunked".to_owned(),
            format!("2;{}\r\n{{}}\r\n0{END}{HIDDEN}", "x".repeat(9_000)),
        ),
    ] {
        let answer = server.say(format!("{post}\r\n{head}{END}{body}")).await;
        let place = format!("{head:?} {:?}", &answer.text);
        assert!(answer.count() <= 1 && !answer.text.contains(HIDDEN_ANSWER), "{place}");
        assert!([0, 400].contains(&answer.status()), "{place}");
        tried += 1;
    }
    assert_eq!(tried, 22);
    server.serves_others().await;
    server.running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_holds_no_request_and_pipelined_requests_are_answered_in_order() {
    let server = Server::start().await;
    // A whole request as a body, by length and by chunks with extensions and trailers: read as a body.
    let token = &server.token;
    for body in [
        format!("content-length: {}{END}{HIDDEN}", HIDDEN.len()),
        format!("transfer-encoding: chunked{END}{:x};a=b\r\n{HIDDEN}\r\n0\r\nx: y{END}", HIDDEN.len()),
    ] {
        let head = format!(
            "POST /v1/session HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json"
        );
        let answer = server
            .say(format!("{head}\r\n{body}GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close{END}"))
            .await;
        assert_eq!(answer.count(), 2, "{}", answer.text);
        assert!(
            answer.text.contains("malformed_request") && answer.text.contains("no_such_path"),
            "{}",
            answer.text
        );
        assert!(!answer.text.contains(HIDDEN_ANSWER), "{}", answer.text);
    }
    let many: String = (0..50)
        .map(|number| format!("GET /nothing/{number} HTTP/1.1\r\nhost: x\r\nx-request-id: r{number}{END}"))
        .collect();
    let last = format!("GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close{END}");
    let answer = server.say(many + &last).await;
    let ids = answer.text.lines().filter_map(|line| line.strip_prefix("x-request-id: "));
    let ids: Vec<&str> = ids.take(50).collect();
    let expected: Vec<String> = (0..50).map(|number| format!("r{number}")).collect();
    assert_eq!(ids, expected);
    server.running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_out_of_all_measure_are_refused() {
    let server = Server::start().await;
    let many = |count: usize| (0..count).map(|number| format!("x-{number}: y\r\n")).collect::<String>();
    for head in [
        format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", many(101)),
        format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", many(10_000)),
        format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}{END}", "y".repeat(40_000)),
        format!("GET /{} HTTP/1.1\r\nhost: x{END}", "y".repeat(70_000)),
        format!("GET / HTTP/1.1\r\nhost: x\r\nx: \0{END}"),
        format!("GET / HTTP/9.9\r\nhost: x{END}"),
        "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
        "\r\n".repeat(50_000),
        "\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03".to_owned(),
    ] {
        for address in [server.api, server.page] {
            let answer = say(address, head.as_bytes()).await;
            let place = format!("{:?} {}", &head[..head.len().min(60)], answer.text);
            assert!([0, 400, 414, 431].contains(&answer.status()) && answer.count() <= 1, "{place}");
        }
    }
    server.serves_others().await;
    server.running.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_not_what_they_should_be_are_told_so() {
    let server = Server::start().await;
    let good = json!({"agentId": "agent1", "skipCallTransfer": true, "paymentData": {"Amount": "12.40", "Currency": "GBP"}});
    let good = good.to_string();
    let (json, utf_16) = ("application/json", |text: &str| -> Vec<u8> {
        let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    });
    let latin_1 = good.replace("GBP", "GBP\",\"Surname\":\"M\u{fc}ller").into_bytes();
    let latin_1: Vec<u8> = {
        let text = String::from_utf8(latin_1).unwrap();
        text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
    };
    let deep =
        format!("{{\"agentId\":\"agent1\",\"paymentData\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let cases: [(&str, &str, Vec<u8>, &[&str]); 10] = [
        ("UTF-16", json, utf_16(&good), &["400 malformed_request"]),
        ("Latin-1", json, latin_1, &["400 malformed_request"]),
        ("a byte order mark", json, [b"\xEF\xBB\xBF", good.as_bytes()].concat(), &["400 malformed_request"]),
        ("deep", json, deep.into_bytes(), &["400 malformed_request"]),
        ("nothing", json, Vec::new(), &["400 malformed_request"]),
        ("two values", json, format!("{good}{good}").into_bytes(), &["400 malformed_request"]),
        ("half", json, good.as_bytes()[..good.len() / 2].to_vec(), &["400 malformed_request"]),
        ("another type", "text/plain", good.clone().into_bytes(), &["415 not_json"]),
        (
            "the same name twice",
            json,
            good.replace("\"agentId\"", "\"AgentID\":\"other\",\"agentId\"").into_bytes(),
            &["400 malformed_request", "400 invalid_body"],
        ),
        (
            "oversize",
            json,
            [good.as_bytes(), &vec![b' '; 70_000]].concat(),
            &["413 body_too_large", "closed"],
        ),
    ];
    for (what, content_type, body, expected) in cases {
        let answer = server.post(content_type, &body).await;
        assert!(expected.contains(&answer.problem().as_str()), "{what}: {}", answer.text);
        assert_eq!(answer.count(), 1, "{what}");
    }
    // Longer than it says, it is not read at all: the rest begins no request.
    let liar = format!(
        "POST /v1/session HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: 999999999{END}{HIDDEN}",
        server.token
    );
    let answer = server.say(liar).await;
    assert!(answer.count() <= 1 && !answer.text.contains(HIDDEN_ANSWER), "{}", answer.text);
    assert_eq!(server.post(json, good.as_bytes()).await.status(), 200);
    server.serves_others().await;
    server.running.shut_down().await;
}
