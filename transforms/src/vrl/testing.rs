//! Short ways to compile and run a program in tests.

use super::Compiler;
use super::compile::utc;
use super::source::Source;
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::diagnostic::{Checker, Span};
use std::path::PathBuf;
use vrl::owned_value_path;
use vrl::value::Value;

/// When records of tests were received: 2026-03-01T10:00:00Z.
pub(crate) const RECEIVED_AT: EventTime =
    EventTime::from_nanoseconds(1_772_359_200_000_000_000);

/// A program that stands in no document.
pub(crate) fn source_of(text: &str) -> Source<'static> {
    let span = Span { file: 0, start: 0, end: 0 };
    Source::File { path: PathBuf::from("test.vrl"), text: text.to_owned(), span }
}

/// Gives what compiling a program reports, all in one text.
pub(crate) fn compile_error(text: &str) -> String {
    let mut checker = Checker::default();
    let program = Compiler::new("test", &[]).remap(&source_of(text), &mut checker);
    assert!(program.is_none(), "it compiles: {text}");
    format!("{:?}", checker.diagnostics)
}

/// Runs a program on `value` and gives what its last expression gave, or why it ended early.
pub(crate) fn evaluate(text: &str, value: Value) -> Result<Value, String> {
    evaluate_at(text, value, RECEIVED_AT)
}

/// The same for a record that was received at another time.
pub(crate) fn evaluate_at(text: &str, value: Value, at: EventTime) -> Result<Value, String> {
    let text = format!(".result = {{ {text} }}");
    let mut checker = Checker::default();
    let compiler = Compiler { id: "test", zone: utc(), inputs: &[] };
    let program = compiler.remap(&source_of(&text), &mut checker);
    let program = program.unwrap_or_else(|| panic!("{text}: {:?}", checker.diagnostics));
    let mut record = Record::new();
    let mut origin = record.origin().clone();
    origin.received_at = at;
    record.begin_value(value, origin);
    match program.runner().run(&mut record).fault() {
        Some(fault) => Err(fault.message),
        None => Ok(record.get(&owned_value_path!("result")).cloned().unwrap_or(Value::Null)),
    }
}
