//! The rules of the house, as tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who may list whom. A room that is not here does not exist.
const ROOMS: &[(&str, &[&str])] = &[
    ("hushpad-domain", &[]),
    ("hushpad-card", &["hushpad-domain"]),
    ("hushpad-telephony", &[]),
    ("hushpad-gateways", &["hushpad-card", "hushpad-domain"]),
    ("hushpad-store", &["hushpad-domain"]),
    ("hushpad-web", &["hushpad-domain"]),
    ("hushpad-payer", &["hushpad-card", "hushpad-domain"]),
    (
        "hushpad",
        &[
            "hushpad-card",
            "hushpad-domain",
            "hushpad-gateways",
            "hushpad-payer",
            "hushpad-store",
            "hushpad-telephony",
            "hushpad-web",
        ],
    ),
];

/// What the pure rooms must not reach for: sockets, runtimes, clocks, databases.
const NOT_IN_PURE_ROOMS: &[&str] = &["tokio", "axum", "sqlx", "hyper", "reqwest", "socket2", "rand", "ring"];

#[test]
fn each_room_knows_only_the_rooms_it_may() {
    let may: BTreeMap<_, _> = ROOMS.iter().map(|(room, others)| (*room, *others)).collect();
    for (room, dependencies) in rooms() {
        let allowed = may.get(room.as_str()).unwrap_or_else(|| panic!("{room} is not in the room table"));
        for other in dependencies.iter().filter(|name| name.starts_with("hushpad-")) {
            assert!(allowed.contains(&other.as_str()), "{room} must not know {other}");
        }
    }
}

#[test]
fn the_pure_rooms_reach_for_nothing() {
    for (room, dependencies) in rooms() {
        if ["hushpad-domain", "hushpad-card", "hushpad-telephony"].contains(&room.as_str()) {
            for forbidden in NOT_IN_PURE_ROOMS {
                assert!(!dependencies.contains(*forbidden), "{room} is pure and must not use {forbidden}");
            }
        }
    }
}

#[test]
fn every_room_is_on_the_map() {
    let map = read("docs/ARCHITECTURE.md");
    for (room, _) in rooms() {
        let folder = room.strip_prefix("hushpad-").unwrap_or("server");
        assert!(
            map.contains(&format!("crates/{folder}")),
            "docs/ARCHITECTURE.md does not name crates/{folder}"
        );
    }
}

#[test]
fn the_limits_on_the_map_are_those_of_the_code() {
    let map = read("docs/ARCHITECTURE.md");
    let kib = hushpad_gateways::BODY_BYTES_MAX / 1024;
    for row in [
        format!(
            "| keys of one session not yet read | {} per lane |",
            hushpad_telephony::key_queue::LANE_REPORTS
        ),
        format!("| attempts of one session | {} |", hushpad_domain::session::ATTEMPTS_MAX),
        format!("| gateway reply | {kib} KiB |"),
    ] {
        assert!(map.contains(&row), "docs/ARCHITECTURE.md does not say: {row}");
    }
    for walk in ["## A key is pressed", "## `POST /v1/session`"] {
        assert!(map.contains(walk), "docs/ARCHITECTURE.md does not walk: {walk}");
    }
}

#[test]
fn every_guarantee_names_tests_that_are_there() {
    let page = read("docs/GUARANTEES.md");
    let by_name = page.split("\n## By name\n").nth(1).expect("the section is there");
    let mut guarantees = by_name.split("\n### ");
    assert!(guarantees.next().is_some_and(|before| !before.contains("\n- ")));
    let mut seen = Vec::new();
    for part in guarantees {
        let (guarantee, lines) = part.split_once('\n').expect("a guarantee has lines");
        seen.push(guarantee);
        let lines: Vec<&str> = lines.lines().filter(|line| !line.is_empty()).collect();
        assert!(!lines.is_empty(), "{guarantee} is held by nothing");
        for line in lines {
            let mut names = line.split('`').skip(1).step_by(2);
            let file = names.next().unwrap_or_else(|| panic!("{guarantee}: no file in {line}"));
            let source = read(file);
            let names: Vec<&str> = names.collect();
            assert!(!names.is_empty(), "{guarantee}: no test in {line}");
            for name in names {
                assert!(names_test(&source, name), "{guarantee}: {file} has no test {name}");
            }
        }
    }
    let all: Vec<String> = (1..=9).map(|number| format!("G{number}")).collect();
    assert_eq!(seen, all);
}

/// Whether a test of this name is in the source: a function, or an entry in a list that a macro makes tests of.
fn names_test(source: &str, name: &str) -> bool {
    source.lines().any(|line| {
        let line = line.trim();
        let function = line.split_once("fn ").is_some_and(|(_, rest)| {
            rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(['(', '<']))
        });
        let listed = line.strip_prefix(name).is_some_and(|rest| rest == "," || rest.starts_with(": "));
        function || listed
    })
}

#[test]
fn every_gateway_has_a_page_with_all_that_is_needed() {
    for gateway in ["generic", "cybersource", "stripe", "adyen", "worldpay", "mpgs"] {
        let page = read(&format!("docs/gateways/{gateway}.md"));
        let config = format!("kind = \"{gateway}\"");
        for part in ["**Ask the gateway for**", &config, "| ours | theirs |", "**Unknowns**", "**Held by**"] {
            assert!(page.contains(part), "docs/gateways/{gateway}.md does not have {part}");
        }
        for file in page.split('`').filter(|word| word.ends_with(".rs")) {
            let is_there = root().join(file).exists() || root().join("crates").join(file).exists();
            assert!(is_there, "docs/gateways/{gateway}.md names {file}, which is not there");
        }
    }
}

#[test]
fn no_file_of_code_is_longer_than_a_thing_should_be() {
    const LINES_MAX: usize = 600;
    for file in rust_files(&root().join("crates")) {
        let lines = std::fs::read_to_string(&file).expect("a source file is text").lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines: it is two things by now", file.display());
    }
}

#[test]
fn every_dependency_says_why_it_is_here() {
    let manifest = read("Cargo.toml");
    let dependencies = manifest.split("[workspace.dependencies]").nth(1).expect("the section is there");
    let dependencies = dependencies.split("\n[").next().unwrap_or_default();
    for line in dependencies.lines().filter(|line| line.contains('=') && !line.contains("path =")) {
        assert!(line.contains(" # "), "no reason beside: {line}");
    }
}

#[test]
fn the_lock_file_stays_small() {
    let packages = read("Cargo.lock").matches("\n[[package]]").count();
    assert!(packages < 400, "{packages} locked packages");
}

/// Each room with the names of what it depends on when it runs.
fn rooms() -> Vec<(String, BTreeSet<String>)> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--locked", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages are a list");
    let in_crates = |package: &&serde_json::Value| {
        package["manifest_path"].as_str().is_some_and(|path| path.contains("/crates/"))
    };
    packages
        .iter()
        .filter(in_crates)
        .map(|package| {
            let runs = |dependency: &&serde_json::Value| dependency["kind"].is_null();
            let dependencies = package["dependencies"].as_array().expect("dependencies are a list");
            let names = dependencies.iter().filter(runs).filter_map(|d| d["name"].as_str());
            (package["name"].as_str().unwrap_or_default().to_owned(), names.map(str::to_owned).collect())
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
