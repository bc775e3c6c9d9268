//! Who may use whom: rooms and heavy dependencies, read from `cargo metadata`.

use super::assert_none;
use super::tree::root;
use serde_json::Value;
use std::process::Command;

/// The arrows between rooms, as drawn in `ARCHITECTURE.md`. A new one needs a decision record.
const ARROWS: &[(&str, &[&str])] = &[
    ("azud", &["*"]),
    ("azud-client", &["azud-event", "azud-plan"]),
    ("azud-engine", &["azud-event", "azud-plan"]),
    ("azud-event", &[]),
    ("azud-plan", &["azud-event"]),
    ("azud-secrets", &["azud-client", "azud-event", "azud-plan"]),
    ("azud-sinks", &["azud-client", "azud-event", "azud-plan", "azud-store"]),
    ("azud-sources", &["azud-client", "azud-event", "azud-plan"]),
    ("azud-store", &["azud-event", "azud-plan"]),
    ("azud-tests", &["*"]),
    ("azud-transforms", &["azud-event", "azud-plan"]),
];

/// The one home of each heavy dependency. Tests may use what they like.
const HOMES: &[(&str, &[&str])] = &[
    ("anyhow", &["azud"]),
    ("aws-lc-rs", &["azud-client"]),
    ("axum", &["azud"]),
    ("clap", &["azud"]),
    ("mimalloc", &["azud"]),
    ("reqwest", &["azud-client", "azud-sinks"]),
    ("rustls", &["azud-client", "azud-sources"]),
    ("sqlx", &["azud-store"]),
    ("timely", &["azud-engine"]),
    (
        "tokio",
        &[
            "azud",
            "azud-client",
            "azud-engine",
            "azud-secrets",
            "azud-sinks",
            "azud-sources",
            "azud-store",
        ],
    ),
    ("toml", &["azud-plan"]),
];

/// One line of some `Cargo.toml`.
struct Dependency {
    user: String,
    used: String,
    for_tests: bool,
}

fn dependencies() -> Vec<Dependency> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        for dependency in package["dependencies"].as_array().unwrap() {
            found.push(Dependency {
                user: package["name"].as_str().unwrap().to_owned(),
                used: dependency["name"].as_str().unwrap().to_owned(),
                for_tests: dependency["kind"] == "dev",
            });
        }
    }
    assert!(!found.is_empty(), "cargo metadata names no dependency");
    found
}

#[test]
fn arrows_point_one_way() {
    let mut found = Vec::new();
    for Dependency { user, used, .. } in dependencies() {
        if !used.starts_with("azud") {
            continue;
        }
        match ARROWS.iter().find(|(room, _)| *room == user) {
            Some((_, may)) if may.contains(&"*") || may.contains(&used.as_str()) => {}
            Some(_) => found.push(format!("{user} may not use {used}")),
            None => found.push(format!("{user} is a room without arrows: add it to ARROWS")),
        }
    }
    assert_none("arrows between rooms point one way", found);
}

#[test]
fn a_heavy_dependency_has_one_home() {
    let mut found = Vec::new();
    for Dependency { user, used, for_tests } in dependencies() {
        let homes = HOMES.iter().find(|(heavy, _)| *heavy == used);
        if homes.is_some_and(|(_, homes)| !for_tests && !homes.contains(&user.as_str())) {
            found.push(format!("{user} may not depend on {used}"));
        }
    }
    assert_none("a heavy dependency has one home", found);
}
