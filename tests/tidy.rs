//! The style guide, where a machine can hold it.
//!
//! Every test walks the whole tree and lists *all* places that break its rule, `file:line` first,
//! so that one run is enough to mend them. Rust is read as tokens, not as text: a rule about
//! `unwrap()` does not stumble over a comment or a string that speaks of it.

mod arrows;
mod documents;
mod registry;
mod rust;
mod tokens;
mod tree;

/// Fails with the whole list when it is not empty.
#[track_caller]
fn assert_none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}\n{}\n{} places", found.join("\n"), found.len());
}
