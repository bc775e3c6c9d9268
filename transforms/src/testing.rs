//! Runs components in tests: their tables, records through them, and every example of their
//! manuals.

use crate::vrl::testing::{RECEIVED_AT, record_of};
use azud_event::dead_letter::Fault;
use azud_event::id::Partitioner;
use azud_event::parts::Parts;
use azud_event::record::Record;
use azud_event::row::Row;
use azud_event::time::EventTime;
use azud_plan::component::{
    EpochClock, KeyedState, Next, Options, Port, Progress, RowContext, RowMaker, Running, Told,
    TransformFactory, TransformSpec, check_options,
};
use azud_plan::diagnostic::{Checker, Diagnostic, Severity};
use azud_plan::document::Document;
use std::sync::Arc;
use vrl::owned_value_path;
use vrl::value::Value;

/// What became of a record.
#[derive(Default)]
pub(crate) struct Seen {
    /// Port, record, and its index in the block.
    pub emitted: Vec<(usize, Value, u64)>,
    /// Of each emitted record, whether it was said to be the last.
    pub lasts: Vec<bool>,
    pub errors: Vec<Fault>,
    pub discarded: usize,
    pub fault: Option<Fault>,
    /// Ports that nobody reads.
    pub unread: Vec<usize>,
}

impl Next for Seen {
    fn emit(&mut self, port: usize, record: &mut Record, last: bool) {
        self.emitted.push((port, record.to_value(), record.origin().index));
        self.lasts.push(last);
    }

    fn connected(&self, port: usize) -> bool {
        !self.unread.contains(&port)
    }

    fn discard(&mut self) {
        self.discarded += 1;
    }

    fn error(&mut self, fault: &Fault) {
        self.errors.push(fault.clone());
    }
}

impl Seen {
    /// Runs a stateless transform on a record, which journals only if the transform asks for it.
    pub(crate) fn run(&mut self, spec: &dyn TransformSpec, value: Value) {
        let Running::Stateless(mut transform) = spec.build() else { panic!("it is keyed") };
        let mut record = Record::new();
        let journals = spec.rolls_back() || spec.outputs(&Port::logs()).len() > 1;
        record.set_journaling(journals);
        record.begin_value(value, record_of(Value::Null).origin().clone());
        self.fault = transform.apply(&mut record, self).err();
    }
}

/// Runs a stateless transform on a record; every port has a reader.
pub(crate) fn run(spec: &dyn TransformSpec, value: Value) -> Seen {
    let mut seen = Seen::default();
    seen.run(spec, value);
    seen
}

/// Checks a table as the plan does.
pub(crate) fn check(
    factory: &TransformFactory,
    toml: &str,
    inputs: &[Port],
) -> (Option<Box<dyn TransformSpec>>, Vec<Diagnostic>) {
    let mut checker = Checker::default();
    let document = Document::parse(0, toml, &mut checker).unwrap();
    check_options(&document.root, factory.options, &["inputs", "type"], factory.name, &mut checker);
    let options = Options { inputs, ..Options::new("example", &document.root, factory.options) };
    let spec = (factory.check)(&options, &mut checker);
    (spec, checker.diagnostics)
}

/// Checks a table that has no fault.
pub(crate) fn checked(factory: &TransformFactory, toml: &str) -> Box<dyn TransformSpec> {
    let (spec, found) = check(factory, toml, &[Port::logs()]);
    assert_eq!(found, [], "{toml}");
    spec.unwrap()
}

/// Makes a record of a JSON document, which happened when its `timestamp` says.
pub(crate) fn record_from_json(json: &str, index: u64) -> Record {
    let value: Value = serde_json::from_str(json).unwrap();
    let mut record = record_of(value);
    let time = record.get(&owned_value_path!("timestamp")).map(Value::to_string_lossy);
    let time = time.and_then(|time| time.parse().ok()).map(EventTime::from_chrono);
    let origin = record.origin_mut();
    origin.index = index << 32;
    origin.event_time = time;
    record
}

/// What was told, as it is seen from outside.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Said {
    pub event_time: EventTime,
    pub value: Value,
    pub parts: Option<Arc<Parts>>,
}

impl From<Told<'_>> for Said {
    fn from(told: Told<'_>) -> Self {
        let Told { event_time, body, parts, .. } = told;
        Said { event_time, value: body.to_value(), parts }
    }
}

/// Makes the rows of some records, one JSON document a line.
pub(crate) fn rows_of(maker: &mut dyn RowMaker, input: &str) -> Vec<Row> {
    let partitioner = Partitioner::new([7; 16]);
    let context = RowContext { partitioner, late_before: EventTime::from_nanoseconds(i64::MIN) };
    let mut rows = Vec::new();
    for (index, line) in (0..).zip(input.lines()) {
        maker.take(&record_from_json(line, index), &context).unwrap();
    }
    maker.drain(&mut rows);
    rows
}

/// Applies rows as one epoch, as the engine does, by group and in canonical order; then ends the
/// input, so that everything is told.
fn apply(mut rows: Vec<Row>, make: &dyn Fn() -> Box<dyn KeyedState>) -> Vec<Value> {
    rows.sort_by_key(|row| (row.group, row.place));
    let mut emitted = Vec::new();
    let missing = Arc::new([]);
    let late_before = EventTime::from_nanoseconds(i64::MIN);
    let first = EpochClock { now: RECEIVED_AT, watermark: RECEIVED_AT, late_before, missing };
    let end = EpochClock { watermark: EventTime::from_nanoseconds(i64::MAX), ..first.clone() };
    for rows in rows.chunk_by(|a, b| a.group == b.group) {
        let mut state = make();
        let mut tell = |told: Told<'_>| emitted.push(told.body.to_value());
        for (rows, clock) in [(rows, &first), (&[], &end)] {
            let mut rows = rows;
            while state.on_epoch(rows, clock, &mut tell) == Progress::More {
                rows = &[];
            }
        }
    }
    emitted
}

/// Gives what a transform makes of some records, one JSON document a line.
pub(crate) fn run_example(spec: &dyn TransformSpec, input: &str) -> Vec<Value> {
    match spec.build() {
        Running::Keyed { mut rows, state } => apply(rows_of(&mut *rows, input), &state),
        Running::Stateless(mut transform) => {
            let mut seen = Seen::default();
            for (index, line) in (0..).zip(input.lines()) {
                let mut record = record_from_json(line, index);
                transform.apply(&mut record, &mut seen).unwrap();
            }
            seen.emitted.into_iter().map(|(_, value, _)| value).collect()
        }
    }
}

#[test]
fn every_example_gives_what_it_shows() {
    for factory in crate::TRANSFORMS {
        assert!(!factory.examples.is_empty(), "{} shows nothing", factory.name);
        for example in factory.examples {
            let (spec, found) = check(factory, example.toml, &[Port::logs()]);
            let faults: Vec<_> =
                found.iter().filter(|found| found.severity == Severity::Error).collect();
            assert!(faults.is_empty(), "{}: {}: {faults:?}", factory.name, example.title);
            let given: Vec<serde_json::Value> = run_example(&*spec.unwrap(), example.input)
                .into_iter()
                .map(|value| serde_json::to_value(value).unwrap())
                .collect();
            let shown: Vec<serde_json::Value> =
                example.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let printed: Vec<_> = given.iter().map(ToString::to_string).collect();
            assert_eq!(given, shown, "{}: {}: {printed:#?}", factory.name, example.title);
        }
    }
}

#[test]
fn the_registry_is_sorted_and_describes() {
    assert!(crate::TRANSFORMS.is_sorted_by_key(|factory| factory.name));
    for factory in crate::TRANSFORMS {
        assert!(factory.options.is_sorted_by_key(|option| option.name), "{}", factory.name);
        assert!(factory.summary.ends_with('.') && factory.description.len() > 100);
        for option in factory.options {
            assert!(option.summary.ends_with('.'), "{}.{}", factory.name, option.name);
        }
    }
}
