//! Rules for components: the lists are sorted, everybody is documented, and the pages are fresh.

use super::assert_none;
use super::tree::{files, root};
use azud_plan::component::Example;
use azud_plan::reference;
use azud_plan::registry::Registry;
use azud_plan::render;
use azud_plan::resolve;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

const REGISTRY: Registry = Registry {
    sources: azud_sources::SOURCES,
    transforms: azud_transforms::TRANSFORMS,
    sinks: azud_sinks::SINKS,
};

/// What all factories say about their component.
struct Entry {
    kind: &'static str,
    name: &'static str,
    summary: &'static str,
    description: &'static str,
    examples: &'static [Example],
}

/// Lists the components, as registered.
fn entries() -> Vec<Entry> {
    macro_rules! entries {
        ($kind:literal, $list:expr) => {
            $list.iter().map(|factory| Entry {
                kind: $kind,
                name: factory.name,
                summary: factory.summary,
                description: factory.description,
                examples: factory.examples,
            })
        };
    }
    let sources = entries!("source", REGISTRY.sources);
    let transforms = entries!("transform", REGISTRY.transforms);
    sources.chain(transforms).chain(entries!("sink", REGISTRY.sinks)).collect()
}

#[test]
fn the_lists_are_sorted() {
    let mut found = Vec::new();
    for pair in entries().windows(2) {
        let [before, behind] = pair else { continue };
        if before.kind == behind.kind && before.name >= behind.name {
            found
                .push(format!("{} `{}` stands behind `{}`", before.kind, behind.name, before.name));
        }
    }
    assert_none("a list of components is sorted by name", found);
}

#[test]
fn every_component_is_documented_and_shown() {
    let mut found = Vec::new();
    for Entry { kind, name, summary, description, examples } in entries() {
        if summary.is_empty() || !summary.ends_with('.') || summary.contains('\n') {
            found.push(format!("{kind} `{name}`: its summary is one sentence"));
        }
        if description.trim().is_empty() {
            found.push(format!("{kind} `{name}`: has no description"));
        }
        if examples.is_empty() {
            found.push(format!("{kind} `{name}`: has no example"));
        }
    }
    assert_none("every component has a summary, a description and an example", found);
}

/// The reference is made from the registry. `UPDATE_GOLDEN=1` writes it anew.
#[test]
fn the_reference_is_fresh() {
    let folder = root().join("docs/reference");
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    for (name, text) in reference::pages(&REGISTRY) {
        let path = folder.join(&name);
        if update {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        if fs::read_to_string(&path).is_ok_and(|written| written == text) {
            known.insert(format!("docs/reference/{name}"));
        } else {
            found.push(format!("docs/reference/{name}:1: is not what the registry says"));
        }
    }
    for file in files().iter().filter(|file| file.name.starts_with("docs/reference/")) {
        if !known.contains(&file.name) && !found.iter().any(|line| line.starts_with(&file.name)) {
            if update {
                fs::remove_file(root().join(&file.name)).unwrap();
            } else {
                found.push(format!("{}:1: belongs to nothing in the registry", file.name));
            }
        }
    }
    assert_none("the reference is made by `UPDATE_GOLDEN=1 cargo test -p azud-tests tidy`", found);
}

/// What ships must pass the check that its users' documents have to pass, without a warning.
#[test]
fn every_shipped_document_is_sound() {
    let mut found = Vec::new();
    let mut count = 0;
    for file in files() {
        let document = file.name.starts_with("pipelines/") && file.extension() == Some("toml");
        if !document || file.name.ends_with(".case.toml") {
            continue;
        }
        count += 1;
        let loaded = resolve::load(&[PathBuf::from(root()).join(&file.name)], &REGISTRY, &|_| None);
        if loaded.plan.is_none() || !loaded.diagnostics.is_empty() {
            found.push(render::human(&loaded.diagnostics, &loaded.sources, false));
        }
    }
    assert!(count > 0, "no document ships");
    assert_none("every document under pipelines/ loads without fault and warning", found);
}
