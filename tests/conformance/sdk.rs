//! CyberSource's Python SDK: it drives the simulator, and it signs what our connector signs.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use hushpad_domain::attempt::{Attempt, AttemptState, Purpose};
use hushpad_domain::ids::{AttemptId, AttemptNo, GatewayName};
use hushpad_domain::time::Timestamp;
use hushpad_gateways::cybersource::{CyberSource, Settings};
use hushpad_gateways::sandbox::{self, Ledger};
use hushpad_gateways::{Connector, CyberSourceAuth, Endpoint, Order, Source, Step, WireRequest};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::shop::{card, now, payment_data};
use crate::simulator::Simulator;
use crate::tools::{python, script};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cybersources_own_sdk_gets_along_with_the_simulator() {
    // The SDK signs with the real time.
    let simulator = Simulator::with(Ledger::in_memory_at(real_time)).await;
    let url = format!("http://{}", simulator.address);
    for authentication in ["jwt", "http_signature"] {
        let run =
            Command::new(python()).arg(script("cybersource_sdk.py")).args([&url, authentication]).output();
        let run = tokio::task::block_in_place(|| run.unwrap());
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let said: Value = serde_json::from_slice(run.stdout.trim_ascii()).unwrap();
        let charge = |name: &str| simulator.ledger.find(said[name].as_str().unwrap()).unwrap();
        assert_eq!((charge("sale").captured, charge("sale").refunded), ("12.40".into(), "4.00".into()));
        assert_eq!(charge("authorisation").stands, "0.00");
    }
    assert!(simulator.ledger.charges().iter().all(|charge| charge.charged <= 1));
}

#[expect(clippy::disallowed_methods, reason = "a program outside signs with the wall clock")]
fn real_time() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
}

/// What our connector would send for one sale.
fn request(auth: CyberSourceAuth) -> WireRequest {
    let connector = CyberSource::new(Settings {
        base: Endpoint::parse("https://apitest.cybersource.com", false).unwrap(),
        merchant_id: sandbox::CYBERSOURCE_MERCHANT,
        key_id: sandbox::CYBERSOURCE_KEY_ID,
        secret: sandbox::CYBERSOURCE_SECRET,
        auth,
        settle_time: Duration::from_secs(60),
    })
    .unwrap();
    let payment_data = payment_data("12.40");
    let attempt = Attempt {
        id: AttemptId(Uuid::from_u128(7)),
        no: AttemptNo(1),
        amount: payment_data.amount(),
        purpose: Purpose::Sale,
        gateway: GatewayName("main".to_owned()),
        intended_on: now(),
        updated_on: now(),
        state: AttemptState::Intent,
        operations: Vec::new(),
    };
    let order = Order::by_phone(&attempt, &payment_data);
    connector.build(&Step::default(), &order, &Source::Keyed(&card()), now()).unwrap()
}

fn header(request: &WireRequest, name: &str) -> String {
    let found = request.headers.iter().find(|(known, _)| known == name);
    found.unwrap().1.to_str().unwrap().to_owned()
}

#[test]
fn cybersources_own_sdk_signs_as_we_do() {
    let (jwt, signed) = (request(CyberSourceAuth::Jwt), request(CyberSourceAuth::HttpSignature));
    let token = header(&jwt, "authorization").strip_prefix("Bearer ").unwrap().to_owned();
    let body = std::str::from_utf8(jwt.body.as_ref()).unwrap();
    assert_eq!(jwt.body.as_ref(), signed.body.as_ref());
    let asked = json!({
        "host": jwt.endpoint.authority, "path": jwt.endpoint.target, "body": body,
        "seconds": now().as_seconds(), "token": token,
    });
    let mut command = Command::new(python());
    command.arg(script("cybersource_vectors.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut run = command.spawn().unwrap();
    run.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let run = run.wait_with_output().unwrap();
    assert!(run.status.success());
    let theirs: Value = serde_json::from_slice(run.stdout.trim_ascii()).unwrap();
    assert_eq!(theirs["signature"], header(&signed, "signature").as_str());
    assert_eq!(theirs["date"], header(&signed, "date").as_str());
    assert_eq!(theirs["head"], json!({ "alg": "HS256", "kid": "sandbox-key", "typ": "JWT" }));
    let (mut ours, mut sdks) = (theirs["theirs"].clone(), theirs["claims"].clone());
    // A token's id is whatever its maker likes.
    for claims in [&mut ours, &mut sdks] {
        assert!(claims.as_object_mut().unwrap().remove("jti").is_some());
    }
    assert_eq!(ours, sdks);
}
