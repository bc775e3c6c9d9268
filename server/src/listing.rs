//! `azud list`, `explain`, `schema` and the reference pages: everything that comes out of the
//! registry.

use crate::cli::{Explain, List};
use crate::outcome::Outcome;
use crate::wiring::REGISTRY;
use azud_plan::diagnostic::CODES;
use azud_plan::resolve::INSTANCE_OPTIONS;
use azud_plan::{reference, schema};
use serde_json::json;
use std::path::Path;

/// The three kinds of components with (name, summary) of each.
fn kinds() -> [(&'static str, Vec<(&'static str, &'static str)>); 3] {
    [
        ("source", REGISTRY.sources.iter().map(|found| (found.name, found.summary)).collect()),
        (
            "transform",
            REGISTRY.transforms.iter().map(|found| (found.name, found.summary)).collect(),
        ),
        ("sink", REGISTRY.sinks.iter().map(|found| (found.name, found.summary)).collect()),
    ]
}

/// Lists the components.
pub fn list(arguments: &List) -> Outcome {
    if arguments.json {
        let rows = kinds().into_iter().flat_map(|(kind, found)| {
            let row =
                move |(name, summary)| json!({ "kind": kind, "type": name, "summary": summary });
            found.into_iter().map(row)
        });
        println!("{}", serde_json::Value::Array(rows.collect()));
        return Outcome::Well;
    }
    for (kind, found) in kinds() {
        println!("{kind}s");
        for (name, summary) in found {
            println!("  {name:<14} {summary}");
        }
    }
    Outcome::Well
}

/// Explains a component or a diagnostic.
pub fn explain(arguments: &Explain) -> Outcome {
    let (kind, name) = match arguments.subject.as_slice() {
        [kind, name] => (Some(kind.as_str()), name.as_str()),
        [name] => (None, name.as_str()),
        _ => return Outcome::Faults,
    };
    if let Some(found) = CODES.iter().find(|code| code.code.eq_ignore_ascii_case(name)) {
        println!("{}", reference::diagnostic_page(found));
        return Outcome::Well;
    }
    let pages = reference::component_pages(&REGISTRY, kind, name);
    if pages.is_empty() {
        eprintln!("error: there is no component or diagnostic `{name}`");
        let known = kinds().into_iter().flat_map(|(_, found)| found).map(|(name, _)| name);
        if let Some(near) = azud_plan::diagnostic::nearest(name, known) {
            eprintln!("help: did you mean `{near}`?");
        }
        return Outcome::Faults;
    }
    println!("{}", pages.join("\n\n"));
    Outcome::Well
}

/// Writes the schema to standard output.
pub fn schema() -> Outcome {
    println!("{:#}", schema::schema(&REGISTRY, INSTANCE_OPTIONS));
    Outcome::Well
}

/// Writes the reference pages into a folder.
pub fn write_reference(folder: &Path) -> Outcome {
    for (name, text) in reference::pages(&REGISTRY) {
        let path = folder.join(name);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = written.and_then(|()| std::fs::write(&path, text)) {
            eprintln!("error: {}: {error}", path.display());
            return Outcome::Environment;
        }
    }
    Outcome::Well
}
