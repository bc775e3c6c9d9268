//! Rules for what is written for people: decisions, the changelog, links.

use super::assert_none;
use super::tokens::{Source, sources};
use super::tree::{files, root};
use std::fs;
use std::ops::RangeInclusive;

#[test]
fn decisions_are_numbered_without_gaps() {
    let mut names: Vec<String> = fs::read_dir(root().join("docs/decisions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let mut found = Vec::new();
    for (number, name) in (1..).zip(&names) {
        if !name.starts_with(&format!("{number:04}-")) || !name.ends_with(".md") {
            found.push(format!("docs/decisions/{name}: expected {number:04}-title.md"));
        }
    }
    assert!(!names.is_empty(), "there are no decision records");
    assert_none("decisions are numbered without gaps", found);
}

#[test]
fn a_decision_says_what_else_was_thought_of() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| file.name.starts_with("docs/decisions/")) {
        for heading in ["## Context", "## Decision", "## Alternatives", "## Consequences"] {
            if !file.text.lines().any(|line| line == heading) {
                found.push(format!("{}:1: lacks `{heading}`", file.name));
            }
        }
        let lines = file.text.lines().count();
        if lines > 80 {
            found.push(format!("{}:1: {lines} lines are more than a page", file.name));
        }
    }
    assert_none("a decision has context, decision, alternatives, consequences, on one page", found);
}

/// A link that leads nowhere is found here, not by a reader.
#[test]
fn links_between_documents_lead_somewhere() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| file.extension() == Some("md")) {
        let folder = root().join(&file.name);
        let folder = folder.parent().expect("a file is in a folder");
        for (number, line) in (1..).zip(file.text.lines()) {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = link.split('#').next().unwrap_or_default();
                if !path.is_empty() && !path.contains(':') && !folder.join(path).exists() {
                    found.push(format!("{}:{number}: {link}", file.name));
                }
            }
        }
    }
    assert_none("links lead somewhere", found);
}

/// A promise whose test was renamed or deleted is only words.
#[test]
fn the_tests_that_hold_the_invariants_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let sources = sources();
    let mut found = Vec::new();
    let mut named = 0;
    for (number, line) in (1..).zip(text.lines()) {
        // | invariant | `test` in `path` |
        let quoted: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        let [.., test, path] = quoted.as_slice() else { continue };
        if !line.contains(&format!("`{test}` in `{path}`")) {
            continue;
        }
        named += 1;
        let file = sources.iter().find(|source| source.file.name == *path);
        let is_test = |(name, lines): &(String, _)| name == test && holds_test(file, lines);
        if !file.is_some_and(|source| source.functions.iter().any(is_test)) {
            found.push(format!("ARCHITECTURE.md:{number}: there is no test `{test}` in {path}"));
        }
    }
    assert!(named > 0, "ARCHITECTURE.md names no test");
    assert_none("every invariant names a test that exists", found);
}

fn holds_test(file: Option<&Source>, lines: &RangeInclusive<usize>) -> bool {
    file.is_some_and(|source| source.tests_at(*lines.start()))
}
