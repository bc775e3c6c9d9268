//! Short ways to compile and run a program in tests.

use super::source::Source;
use super::{Compiler, Program};
use azud_event::block::{Block, Frame, Layout};
use azud_event::dead_letter::Fault;
use azud_event::id::{SourceIndex, StreamId};
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::diagnostic::{Checker, Span};
use azud_plan::document::{Document, Node};
use std::path::PathBuf;
use vrl::owned_value_path;
use vrl::value::Value;

/// When records of tests were received: 2026-03-01T10:00:00Z.
pub(crate) const RECEIVED_AT: EventTime = EventTime::from_nanoseconds(1_772_359_200_000_000_000);

/// A program that stands in no document.
pub(crate) fn source_of(text: &str) -> Source<'static> {
    let span = Span { file: 0, start: 0, end: 0 };
    Source::File { path: PathBuf::from("test.vrl"), text: text.to_owned(), span }
}

/// Gives what compiling a program reports, all in one text.
pub(crate) fn compile_error(text: &str) -> String {
    let mut checker = Checker::default();
    let program = Compiler::new("test").remap(&source_of(text), &mut checker);
    assert!(program.is_none(), "it compiles: {text}");
    format!("{:?}", checker.diagnostics)
}

/// Compiles a program that changes records.
pub(crate) fn remap(text: &str) -> Program {
    let mut checker = Checker::default();
    let program = Compiler::new("test").remap(&source_of(text), &mut checker);
    program.unwrap_or_else(|| panic!("{text}: {:?}", checker.diagnostics))
}

/// Compiles a condition.
pub(crate) fn condition(text: &str) -> Program {
    let mut checker = Checker::default();
    let document = Document::parse(0, &format!("a = '''{text}'''"), &mut checker).unwrap();
    let text = document.root.node("a").and_then(Node::as_text).unwrap();
    let program = Compiler::new("test").condition(text, "condition", &mut checker);
    program.unwrap_or_else(|| panic!("{:?}", checker.diagnostics))
}

/// Makes a record that was received at [`RECEIVED_AT`].
pub(crate) fn record_of(value: Value) -> Record {
    record_at(value, RECEIVED_AT)
}

fn record_at(value: Value, received_at: EventTime) -> Record {
    let mut record = Record::new();
    let mut origin = record.origin().clone();
    origin.received_at = received_at;
    record.begin_value(value, origin);
    record
}

/// Reads a record from its JSON, as a decoder does.
pub(crate) fn decoded(text: &str) -> Result<Record, Fault> {
    let block = Block {
        source: SourceIndex(0),
        stream: StreamId(0),
        position: 0,
        end: text.len() as u64,
        received_at: RECEIVED_AT,
        bytes: text.to_owned().into(),
        layout: Layout::Lines,
        peers: [].into(),
    };
    let mut record = Record::new();
    record.begin(&block, &Frame { range: 0..text.len(), peer: 0, received_delta_us: 0 });
    record.decode_json(0..text.len())?;
    Ok(record)
}

/// Runs a program on `value` and gives what its last expression gave, or why it ended early.
pub(crate) fn evaluate(text: &str, value: Value) -> Result<Value, String> {
    evaluate_at(text, value, RECEIVED_AT)
}

/// The same for a record that was received at another time.
pub(crate) fn evaluate_at(text: &str, value: Value, at: EventTime) -> Result<Value, String> {
    let mut record = record_at(value, at);
    match remap(&format!(".result = {{ {text} }}")).runner().run(&mut record).fault() {
        Some(fault) => Err(fault.message),
        None => Ok(record.get(&owned_value_path!("result")).cloned().unwrap_or(Value::Null)),
    }
}
