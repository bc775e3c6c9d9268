//! Running programs on records, within bounds.

use super::compile::Compiled;
use super::moment::{self, Salt};
use super::native::{Ground, Memory, Native};
use azud_event::dead_letter::{Fault, Reason};
use azud_event::record::Record;
use std::cell::Cell;
use std::ops::ControlFlow;
use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::{ExpressionError, SecretTarget, Target, TimeZone};
use vrl::path::OwnedTargetPath;
use vrl::value::{ObjectMap, Value};

/// How many expressions one run may evaluate. A program of ten statements needs some fifty; a loop
/// over a record of a thousand elements some ten thousand; this many take about 50 ms, after which
/// the other records of the worker have waited long enough. A count and not a time, so that a
/// replay ends where the first run ended.
pub const EXPRESSIONS_MAX: u32 = 1_000_000;

/// A program that one worker runs.
#[derive(Debug)]
pub struct Runner {
    program: vrl::compiler::Program,
    zone: TimeZone,
    salt: Salt,
    runtime: Runtime,
    /// The same program lowered, and its memory; it is run instead, if there is one.
    native: Option<(Native, Memory)>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// To the end, with the value of its last expression.
    Done(Value),
    /// By `abort`, with its message.
    Aborted(String),
    /// By an error, with its message.
    Failed(String),
    /// By the bound [`EXPRESSIONS_MAX`].
    TimedOut,
}

impl Outcome {
    /// Gives the end that an error which nobody handled brings about.
    fn of_error(error: ExpressionError) -> Self {
        match error {
            ExpressionError::Abort { message, .. } => {
                Outcome::Aborted(message.unwrap_or_else(|| "aborted".to_owned()))
            }
            other => Outcome::Failed(other.to_string()),
        }
    }

    /// Gives the fault of a run that did not come to its end.
    pub fn fault(self) -> Option<Fault> {
        match self {
            Outcome::Done(_) => None,
            Outcome::Aborted(message) => Some(Fault::new(Reason::ProgramAborted, message)),
            Outcome::Failed(message) => Some(Fault::new(Reason::ProgramFailed, message)),
            Outcome::TimedOut => Some(Fault::new(
                Reason::ProgramTimeout,
                format!("the program evaluated the most of {EXPRESSIONS_MAX} expressions"),
            )),
        }
    }
}

impl Runner {
    pub(super) fn new(compiled: &Compiled) -> Self {
        // A clone for each worker, not a shared program: regular expressions keep scratch memory,
        // which workers would wait for.
        Runner {
            program: compiled.program.clone(),
            zone: compiled.zone,
            salt: compiled.salt,
            runtime: Runtime::default(),
            native: compiled.native.as_ref().map(|native| (native.clone(), native.memory())),
        }
    }

    /// Makes it leave the native program aside.
    #[cfg(test)]
    pub(super) fn walk(&mut self) {
        self.native = None;
    }

    /// Tells whether it runs a native program.
    #[cfg(test)]
    pub(super) fn is_native(&self) -> bool {
        self.native.is_some()
    }

    /// Runs the program on a record. What it changed before it ended early is for the caller to
    /// undo.
    pub fn run(&mut self, record: &mut Record) -> Outcome {
        if let Some((native, memory)) = &mut self.native {
            return match native.run(Ground::Write(record), memory, &self.zone) {
                Ok(value) => Outcome::Done(value),
                Err(failure) => Outcome::of_error(*failure),
            };
        }
        moment::begin(record.origin(), &self.salt);
        self.resolve(&mut record.as_program_target())
    }

    /// Runs a condition on a record.
    ///
    /// # Errors
    /// A [`Fault`] when it ended early.
    pub fn holds(&mut self, record: &Record) -> Result<bool, Fault> {
        let outcome = match &mut self.native {
            Some((native, memory)) => match native.run(Ground::Read(record), memory, &self.zone) {
                Ok(Value::Boolean(truth)) => return Ok(truth),
                Ok(value) => Outcome::Done(value),
                Err(failure) => Outcome::of_error(*failure),
            },
            None => {
                moment::begin(record.origin(), &self.salt);
                self.resolve(&mut ReadTarget::new(record))
            }
        };
        match outcome {
            Outcome::Done(value) => Ok(value == Value::Boolean(true)),
            other => Err(other.fault().unwrap_or_else(|| {
                Fault::new(Reason::ProgramFailed, "the condition gave no boolean")
            })),
        }
    }

    fn resolve(&mut self, target: &mut dyn Target) -> Outcome {
        // At the beginning and not at the end: a run that unwound has left its variables behind.
        self.runtime.clear();
        let mut left = EXPRESSIONS_MAX;
        let mut bound = || {
            left = left.saturating_sub(1);
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let ended =
            self.runtime.resolve_with_control(target, &self.program, &self.zone, &mut bound);
        match ended {
            Ok(value) => Outcome::Done(value),
            Err(Terminate::Interrupted) => Outcome::TimedOut,
            Err(Terminate::Abort(error) | Terminate::Error(error)) => Outcome::of_error(error),
        }
    }
}

/// A record that a condition looks at. As of [`Record::as_program_target`], the first question for
/// the root, which the runtime only asks to see that there is one, is answered without making it.
#[derive(Debug)]
struct ReadTarget<'a> {
    record: &'a Record,
    begun: Cell<bool>,
}

impl<'a> ReadTarget<'a> {
    fn new(record: &'a Record) -> Self {
        ReadTarget { record, begun: Cell::new(false) }
    }
}

static EMPTY: Value = Value::Object(ObjectMap::new());
const READ_ONLY: &str = "conditions change nothing";

impl Target for ReadTarget<'_> {
    fn target_insert(&mut self, _: &OwnedTargetPath, _: Value) -> Result<(), String> {
        Err(READ_ONLY.to_owned())
    }

    fn target_get(&self, path: &OwnedTargetPath) -> Result<Option<&Value>, String> {
        if !self.begun.replace(true) && *path == OwnedTargetPath::event_root() {
            return Ok(Some(&EMPTY));
        }
        Ok(self.record.get_target(path))
    }

    fn target_get_mut(&mut self, _: &OwnedTargetPath) -> Result<Option<&mut Value>, String> {
        Err(READ_ONLY.to_owned())
    }

    fn target_remove(&mut self, _: &OwnedTargetPath, _: bool) -> Result<Option<Value>, String> {
        Err(READ_ONLY.to_owned())
    }
}

impl SecretTarget for ReadTarget<'_> {
    fn get_secret(&self, _key: &str) -> Option<&str> {
        None
    }

    fn insert_secret(&mut self, _key: &str, _value: &str) {}

    fn remove_secret(&mut self, _key: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrl::testing::{condition, decoded, evaluate, record_of, remap};
    use vrl::value;

    #[test]
    fn a_loop_ends_at_the_bound_and_the_next_run_is_whole() {
        let source = "
            for_each(array!(.many)) -> |_index, _value| {
                for_each(array!(.many)) -> |_inner, value| { .last = value }
            }
            .done = true";
        let mut runner = remap(source).runner();
        let many = Value::Array(vec![Value::Null; 1_500]);
        assert_eq!(runner.run(&mut record_of(value!({ "many": many }))), Outcome::TimedOut);
        let mut record = record_of(value!({ "many": [1, 2] }));
        assert_eq!(runner.run(&mut record), Outcome::Done(Value::Null));
        assert_eq!(record.to_value(), value!({ "many": [1, 2], "last": 2, "done": true }));
    }

    #[test]
    fn ends_are_told_apart() {
        let ends = |source: &str| remap(source).runner().run(&mut record_of(value!({ "a": "x" })));
        assert_eq!(ends("abort"), Outcome::Aborted("aborted".to_owned()));
        assert_eq!(ends("abort \"enough\""), Outcome::Aborted("enough".to_owned()));
        assert!(matches!(ends(".a = to_int!(.a)"), Outcome::Failed(why) if why.contains("to_int")));
        assert_eq!(ends(". = parse_json!(\"[1]\")"), Outcome::Done(Value::Null));
        assert!(evaluate("assert!(false, \"no\")", value!({})).is_err());
    }

    #[test]
    fn parse_json_takes_what_a_decoder_takes() {
        use azud_event::limits::JSON_DEPTH_MAX;
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            for (depth, taken) in [(JSON_DEPTH_MAX, true), (JSON_DEPTH_MAX + 1, false)] {
                let text = [&open.repeat(depth), "1", &close.repeat(depth)].concat();
                let mut record = record_of(value!({ "message": (text.clone()) }));
                let outcome = remap(".it = parse_json!(.message)").runner().run(&mut record);
                assert_eq!(outcome == Outcome::Done(Value::Null), taken, "{open} {depth}");
                assert_eq!(decoded(&text).is_ok(), taken, "{open} {depth}");
            }
        }
    }

    #[test]
    fn conditions_see_fields_metadata_and_the_whole() {
        let mut record = record_of(value!({ "a": { "b": 1 } }));
        record.insert_target(&OwnedTargetPath::metadata_root(), value!({ "m": true }));
        for (source, expected) in [
            (".a.b == 1", true),
            (".a == {}", false),
            (". == { \"a\": { \"b\": 1 } }", true),
            ("%m == true", true),
            ("length(.) == 1", true),
        ] {
            assert_eq!(condition(source).runner().holds(&record), Ok(expected), "{source}");
        }
        let fault = condition("to_int!(.a) == 1").runner().holds(&record).unwrap_err();
        assert_eq!(fault.reason, Reason::ProgramFailed);
    }
}
