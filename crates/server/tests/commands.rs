//! Commands of the built program that change nothing but the store: agents who sign in, and the schema.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail it as the test does")]

#[expect(dead_code, reason = "nothing listens here")]
mod minimal;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

struct Desk {
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("hushpad.toml");
        let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
        std::fs::write(&config, minimal::config(folder.path(), [nowhere; 3])).unwrap();
        Self { folder, config }
    }

    /// Runs a command; gives its exit code and what it said, on both ways.
    fn run(&self, arguments: &str, input: &str) -> (i32, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hushpad"))
            .args(arguments.split(' '))
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Who needs no input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }
}

#[test]
fn the_schema_is_looked_at_and_brought_up_to_date_by_itself() {
    let desk = Desk::new();
    let (code, said) = desk.run("migrate --check", "");
    assert!(code == 1 && said.contains("the schema is 0, this release needs"), "{code} {said}");
    assert!(!desk.folder.path().join("hushpad.db").exists(), "looking makes no file");
    let (code, said) = desk.run("migrate", "");
    assert!(code == 0 && said.contains("the schema was 0 and is"), "{code} {said}");
    for arguments in ["migrate --check", "migrate"] {
        let (code, said) = desk.run(arguments, "");
        assert!(code == 0 && said.contains("the schema is up to date"), "{code} {said}");
    }
}

#[test]
fn agents_are_made_listed_and_revoked_and_passwords_shown_once() {
    let desk = Desk::new();
    let (code, said) = desk.run("agent create --account shop agent1", "");
    assert_eq!(code, 0, "{said}");
    let password = said.lines().find_map(|line| line.strip_prefix("password: ")).unwrap();
    assert_eq!(password.len(), 24, "{said}");
    let (code, said) =
        desk.run("agent create --account shop --password-stdin agent1", "correct horse battery\n");
    assert!(code == 0 && !said.contains("password:") && !said.contains("correct"), "{said}");
    for (arguments, input) in [
        ("agent create --account shop --password-stdin agent1", "short\n"),
        ("agent create --account shop nobody", ""),
        ("agent create --account other agent1", ""),
        ("agent revoke --account shop nobody", ""),
    ] {
        let (code, said) = desk.run(arguments, input);
        assert!(code == 1 && !said.contains("panicked"), "{arguments}: {said}");
    }
    let (_, said) = desk.run("agent list", "");
    assert!(said.contains("agent1  account shop  password since") && !said.contains("argon2"), "{said}");
    assert_eq!(desk.run("agent revoke --account shop agent1", "").0, 0);
    assert!(desk.run("agent list", "").1.contains("revoked"));
    assert_eq!(desk.run("agent revoke --account shop agent1", "").0, 1);
}

#[test]
fn a_public_client_has_no_secret_and_safe_addresses_only() {
    let desk = Desk::new();
    let create = "client create --account shop --redirect-uri";
    let (code, said) = desk.run(&format!("{create} https://crm.example/back"), "");
    assert!(code == 0 && said.contains("client_id:") && !said.contains("client_secret"), "{said}");
    let (code, said) = desk.run(&format!("{create} http://crm.example/back"), "");
    assert!(code == 1 && said.contains("begins with https://"), "{said}");
}
