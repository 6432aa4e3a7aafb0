//! The newcomer's first command.

use std::process::Command;

use crate::desk::HUSHPAD;
use crate::process::Program;

#[test]
fn the_demo_plays_once_and_succeeds() {
    let workplace = tempfile::tempdir().unwrap();
    let mut command = Command::new(HUSHPAD);
    command.args(["demo", "--once"]).current_dir(&workplace);
    let mut demo = Program::start("hushpad demo", &mut command, &workplace.path().join("demo.log"));
    let status = demo.ends();
    assert!(status.success(), "{status}: {}", demo.log());
}
