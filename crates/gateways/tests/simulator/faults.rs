//! What goes wrong on purpose, and the doors of the simulator itself.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::doors::{BASIC, Simulator};

fn charge(id: &str, amount: &str) -> String {
    json!({
        "transaction_id": id, "method": "charge", "cardnumber": "4111111111111111", "cvv": "123",
        "expiry_month": "12", "expiry_year": "30", "amount": amount, "currency_code": "GBP",
    })
    .to_string()
}

async fn plan(simulator: &Simulator, what: &str, body: Value) {
    let answer = simulator.send(&format!("POST /admin/{what}"), &[BASIC], &body.to_string()).await;
    answer.expect(200);
}

#[tokio::test]
async fn a_rule_makes_the_chosen_requests_fail_before_or_after() {
    let simulator = Simulator::open().await;
    for (fault, status, charged) in [
        ("throttled", Some(429), false),
        ("unavailable", Some(503), false),
        ("reset_before_commit", None, false),
        ("reset_after_commit", None, true),
        ("error_after_commit", Some(500), true),
        ("garbage", None, true),
        ("web_page", Some(200), true),
    ] {
        plan(&simulator, "faults", json!({ "fault": fault, "gateway": "generic", "method": "POST" })).await;
        let answer = simulator.try_send("POST /charges", &[BASIC], &charge(fault, "12.40")).await;
        assert_eq!(answer.map(|answer| answer.status), status, "{fault}");
        assert_eq!(simulator.ledger.find(fault).is_some(), charged, "{fault}");
    }
    let rules = simulator.send("GET /admin/faults", &[BASIC], "").await.expect(200);
    assert_eq!(rules["rules"], json!([]));
}

#[tokio::test]
async fn answers_are_cut_doubled_blown_up_or_lie() {
    let simulator = Simulator::open().await;
    let amounts = ["67.07", "67.08", "67.13", "67.14"];
    let mut lengths = Vec::new();
    for amount in amounts {
        let mut stream = TcpStream::connect(simulator.address).await.unwrap();
        let body = charge(amount, amount);
        let head =
            format!("POST /charges HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}: {}\r\n", BASIC.0, BASIC.1);
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        // A cut answer ends by a reset or not: what came counts.
        let mut length = 0;
        let mut part = vec![0; 1 << 20];
        while let Ok(read @ 1..) = stream.read(&mut part).await {
            length += read;
        }
        lengths.push(length);
    }
    assert!(lengths[0] < 400 && lengths[3] > 800, "{lengths:?}");
    assert!((256 * 1024..300_000).contains(&lengths[1]) && lengths[2] > 100_000_000, "{lengths:?}");
    assert_eq!(simulator.ledger.charges().iter().map(|charge| charge.charged).sum::<u32>(), 4);
    let lie = simulator.send("POST /charges", &[BASIC], &charge("lie", "67.15")).await.expect(200);
    assert_eq!(
        (&lie["currency_code"], simulator.charge("lie").currency_code.as_str()),
        (&json!("USD"), "GBP")
    );
}

#[tokio::test]
async fn nobody_listens_for_a_while() {
    let simulator = Simulator::open().await;
    simulator.ledger.refuse_for(Duration::from_secs(3600));
    let refused = async {
        while TcpStream::connect(simulator.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), refused).await.unwrap();
}

#[tokio::test]
async fn chance_with_a_seed_can_be_repeated() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let simulator = Simulator::open().await;
        let chaos =
            json!({ "seed": 7, "percent": 40, "faults": [{ "fault": "throttled" }, { "fault": "garbage" }] });
        plan(&simulator, "chaos", chaos).await;
        let mut run = Vec::new();
        for no in 0..20 {
            let answer =
                simulator.try_send("POST /charges", &[BASIC], &charge(&no.to_string(), "1.00")).await;
            run.push(answer.map(|answer| answer.status));
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(
        runs[0].contains(&Some(200)) && runs[0].contains(&Some(429)) && runs[0].contains(&None),
        "{runs:?}"
    );
}

#[tokio::test]
async fn the_ledger_is_a_page_too_that_nothing_foreign_can_touch() {
    let simulator = Simulator::open().await;
    simulator.send("POST /charges", &[BASIC], &charge("<b>1</b>", "12.40")).await.expect(200);
    let page = simulator.send("GET /ledger", &[BASIC, ("accept", "text/html")], "").await;
    assert!(page.text.contains("&lt;b&gt;1&lt;/b&gt;") && page.text.contains("411111&hellip;1111"));
    let policy = "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'";
    assert!(page.head.contains(policy), "{}", page.head);
    for asset in ["page.css", "page.js"] {
        assert_eq!(simulator.send(&format!("GET /ledger/{asset}"), &[BASIC], "").await.status, 200);
    }
    let nobody = simulator.send("GET /ledger", &[], "").await;
    assert!(nobody.status == 401 && nobody.head.contains("www-authenticate: basic"));
    let one = simulator.send("GET /ledger/%3Cb%3E", &[BASIC], "").await;
    assert_eq!(one.status, 404);
}

#[tokio::test]
async fn the_page_hears_of_a_change() {
    let simulator = Simulator::open().await;
    let mut stream = TcpStream::connect(simulator.address).await.unwrap();
    let head = format!("GET /ledger/events HTTP/1.1\r\nhost: x\r\n{}: {}\r\n\r\n", BASIC.0, BASIC.1);
    stream.write_all(head.as_bytes()).await.unwrap();
    simulator.send("POST /charges", &[BASIC], &charge("order-9", "12.40")).await.expect(200);
    let mut text = String::new();
    let heard = async {
        let mut part = [0; 4096];
        while !text.contains("order-9") {
            let length = stream.read(&mut part).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&part[..length]));
        }
    };
    tokio::time::timeout(Duration::from_secs(5), heard).await.unwrap();
    assert!(text.contains("text/event-stream") && text.contains("data: "));
}
