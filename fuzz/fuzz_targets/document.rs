//! No document makes the reader or the resolver panic, and every diagnostic can be shown.
#![no_main]

#[path = "../../plan/tests/registry/mod.rs"]
mod registry;

use azud_plan::diagnostic::{Checker, Severity};
use azud_plan::document::{Document, Sources};
use azud_plan::render;
use azud_plan::resolve::load_texts;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut sources = Sources::default();
    let file = sources.add("fuzz.toml", text);
    let mut checker = Checker::default();
    let document = Document::parse(file, text, &mut checker);
    assert!(document.is_some() || checker.failed(), "what is refused is explained");
    // A second document gives the first something to be connected to, and to collide with.
    let known = "[sources.lines]\ntype = \"lines\"\naddress = \"127.0.0.1:1\"\n";
    let variable = |name: &str| (name == "SITE").then(|| "north".to_owned());
    let loaded = load_texts(&[("fuzz", text), ("known", known)], &registry::REGISTRY, &variable);
    let failed = loaded.diagnostics.iter().any(|found| found.severity == Severity::Error);
    assert_eq!(loaded.plan.is_none(), failed, "what is refused is explained");
    render::human(&loaded.diagnostics, &loaded.sources, false);
    render::json(&loaded.diagnostics, &loaded.sources);
});
