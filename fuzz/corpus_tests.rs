//! Every fuzz target over its corpus and over the torture messages of RFC 4475, as ordinary tests: the targets stay
//! in order with the code, and a fault that was found once is found again.
#![expect(clippy::unwrap_used, reason = "a test fails where something is missing")]
#![expect(clippy::cast_possible_truncation, reason = "samples are made from sines")]

#[path = "src/targets/mod.rs"]
pub mod targets;

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn sip() {
    over_corpus("sip", targets::sip::run);
    let torture = root().join("../shared/data/sip-torture");
    assert!(over(&torture, targets::sip::run) >= 49, "the torture messages are in {}", torture.display());
}

#[test]
fn sdp() {
    over_corpus("sdp", targets::sdp::run);
}

#[test]
fn call() {
    over_corpus("call", targets::call::run);
}

#[test]
fn rtp() {
    over_corpus("rtp", targets::rtp::run);
}

#[test]
fn rtcp() {
    over_corpus("rtcp", targets::rtcp::run);
}

#[test]
fn events() {
    over_corpus("events", targets::events::run);
}

#[test]
fn guard() {
    over_corpus("guard", targets::guard::run);
}

#[test]
fn capture() {
    over_corpus("capture", targets::capture::run);
}

fn over_corpus(target: &str, run: fn(&[u8])) {
    run(&[]);
    assert!(over(&root().join("fuzz/corpus").join(target), run) > 0, "there is no corpus of {target}");
}

/// Runs every file of a directory.
fn over(directory: &Path, run: fn(&[u8])) -> usize {
    let mut files: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        let bytes = fs::read(file).unwrap();
        let outcome = std::panic::catch_unwind(|| run(&bytes));
        assert!(outcome.is_ok(), "{} fails", file.display());
    }
    files.len()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
