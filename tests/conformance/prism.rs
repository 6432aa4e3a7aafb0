//! Prism (`@stoplight/prism-cli`) between our connectors and the simulator, with the vendors' OpenAPI files: a
//! request or a reply that breaks them is answered with an error, and the payment fails.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use tempfile::NamedTempFile;

use crate::simulator::{Simulator, adyen, stripe};
use crate::tools::{Running, free_port, root};

/// Unpacks a specification of `../shared/data`.
fn specification(name: &str) -> NamedTempFile {
    let packed = root().join("../shared/data").join(format!("{name}.json.gz"));
    let unpacked = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    let status =
        Command::new("gzip").arg("-dc").arg(packed).stdout(unpacked.reopen().unwrap()).status().unwrap();
    assert!(status.success());
    unpacked
}

fn prism(name: &str, upstream: &str) -> (Running, SocketAddr) {
    let (address, specification) = (free_port(), specification(name));
    let program = root().join("tests/conformance/node_modules/.bin/prism");
    assert!(program.exists(), "run ./test once: {} is missing", program.display());
    let mut command = Command::new(program);
    command.args(["proxy", "--errors", "-h", "127.0.0.1", "-p", &address.port().to_string()]);
    command.arg(specification.path()).arg(upstream);
    // It has read the file once it listens.
    (Running::listening_on(command, address), address)
}

/// Whether Prism finds fault with a request that lacks everything: otherwise its silence would prove nothing.
fn assert_it_looks(address: SocketAddr, line: &str, headers: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request =
        format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: 2\r\n\r\n{{}}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("UNPROCESSABLE_ENTITY"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adyens_own_specification_finds_no_fault() {
    let simulator = Simulator::open().await;
    let (_prism, address) = prism("adyen-checkout-v72", &format!("http://{}/v72", simulator.address));
    assert_it_looks(address, "POST /payments", "content-type: application/json\r\nx-api-key: k\r\n");
    simulator.takes(adyen(format!("http://{address}"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stripes_own_specification_finds_no_fault() {
    let simulator = Simulator::open().await;
    let (_prism, address) = prism("stripe-moto-mock", &format!("http://{}", simulator.address));
    let headers = "content-type: application/x-www-form-urlencoded\r\nauthorization: Bearer k\r\n";
    assert_it_looks(address, "POST /v1/payment_intents", headers);
    simulator.takes(stripe(address)).await;
}
