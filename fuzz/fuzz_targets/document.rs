//! No document makes the reader panic, and every diagnostic can be shown.
#![no_main]

use azud_plan::diagnostic::Checker;
use azud_plan::document::{Document, Sources};
use azud_plan::render;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut sources = Sources::default();
    let file = sources.add("fuzz.toml", text);
    let mut checker = Checker::default();
    let document = Document::parse(file, text, &mut checker);
    assert!(document.is_some() || checker.failed(), "what is refused is explained");
    render::human(&checker.diagnostics, &sources, false);
    render::json(&checker.diagnostics, &sources);
});
