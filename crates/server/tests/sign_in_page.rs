//! The sign-in page in a real browser, with scripts off, and what comes of it: from the password to a session that needs
//! no `agentId`.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]

mod minimal;

use std::net::SocketAddr;
use std::process::Command;

use hushpad::config::Config;
use hushpad::log::Redactor;
use hushpad::serve;
use hushpad::world::RealWorld;
use hushpad_domain::client::ApiClient;
use hushpad_domain::credentials::AgentLogin;
use hushpad_domain::ids::{AccountId, AgentId, ClientId};
use hushpad_domain::ports::{Clients, Credentials, World};
use hushpad_store::Ownership;
use hushpad_web::{TokenKeys, hash_password};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const AGENT: &str = "agent1";
const PASSWORD: &str = "correct horse battery staple";
/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_signs_in_with_scripts_off_and_opens_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let places = minimal::Places::find();
    let [api, page, admin, application] = places.addresses;
    let config = Config::parse(&minimal::config(folder.path(), [api, page, admin]));
    let config = config.map_err(|mistakes| mistakes.to_string()).unwrap();
    let back = format!("http://{application}/back?tab=1");
    set_up(&config, &back).await;
    let running = serve::start(config, Redactor::default()).await.unwrap();

    let query = [
        ("response_type", "code"),
        ("client_id", "crm"),
        ("redirect_uri", &back),
        ("state", "a state"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let url = format!("http://{page}/sign-in?{}", serde_urlencoded::to_string(query).unwrap());
    let sent = tokio::task::spawn_blocking(move || in_a_browser(&url, application)).await.unwrap();
    let value = |name: &str| sent.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!((value("tab"), value("state")), (Some("1"), Some("a state")));
    assert_eq!(value("iss"), Some(format!("http://{api}").as_str()));

    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "crm"),
        ("redirect_uri", &back),
        ("code", value("code").unwrap()),
        ("code_verifier", VERIFIER),
    ];
    let form = serde_urlencoded::to_string(form).unwrap();
    let token = post(api, "/oauth/token", "application/x-www-form-urlencoded", "", &form).await;
    let token = token["access_token"].as_str().unwrap();
    let body = json!({"skipCallTransfer": true, "paymentData": {"Amount": "12.40", "Currency": "GBP"}});
    let opened = post(api, "/v1/session", "application/json", token, &body.to_string()).await;
    assert!(opened["sessionGuid"].is_string(), "{opened}");
    running.shut_down().await;
}

/// The application, and the agent's password.
async fn set_up(config: &Config, back: &str) {
    let store = hushpad_store::open(&config.store_url, Ownership::Guest).await.unwrap();
    let now = RealWorld::new().now();
    let account = AccountId("shop".to_owned());
    let client = ApiClient {
        id: ClientId("crm".to_owned()),
        account: account.clone(),
        agent: None,
        secret_hash: [0; 32],
        old_secret_hash: None,
        public_key: None,
        certificate: None,
        redirect_uris: vec![back.to_owned()],
        label: String::new(),
        created_on: now,
        revoked_on: None,
    };
    store.add(client).await.unwrap();
    let keys = TokenKeys::from_master(&config.master_key);
    let password_hash = hash_password(&keys, PASSWORD, [7; 32]).unwrap();
    let agent = AgentId(AGENT.to_owned());
    let login = AgentLogin { account, agent, password_hash, since: now, revoked_on: None };
    store.put_login(login).await.unwrap();
    store.close().await;
}

/// What the application was sent.
fn in_a_browser(url: &str, application: SocketAddr) -> Vec<(String, String)> {
    let task = json!({
        "chromium": "/usr/bin/chromium", "url": url, "back": application.port(),
        "agent": AGENT, "password": PASSWORD,
    });
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/pages");
    let output =
        Command::new("node").current_dir(pages).args(["sign_in.mjs", &task.to_string()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("fault"), "{said}\n{wrong}");
    let back = said.lines().find_map(|line| line.strip_prefix("back ")).unwrap_or_else(|| panic!("{said}"));
    serde_urlencoded::from_str(back).unwrap()
}

async fn post(to: SocketAddr, path: &str, content_type: &str, token: &str, body: &str) -> Value {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // A token endpoint takes no two ways of proving oneself.
    let request = request.replace("authorization: Bearer \r\n", "");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap()
}
