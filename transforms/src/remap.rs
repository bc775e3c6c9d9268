//! `remap` shapes records with a VRL program.
//!
//! Stateless. What a program that ended early has changed is undone: the record goes on as it came,
//! is rerouted, or is set aside, as its author says. The options are Vector's; where Vector drops
//! an event, a dead letter keeps it.

use crate::revised::{self, Revisions};
use crate::vrl::compile::identity;
use crate::vrl::source::Source;
use crate::vrl::{Compiler, Outcome, Program, Runner};
use azud_event::dead_letter::{Fault, Reason};
use azud_event::record::Record;
use azud_plan::component::{
    Default, Example, Next, OptionKind, OptionSpec, Options, Port, Running, Transform,
    TransformFactory, TransformSpec,
};
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use std::sync::Arc;
use vrl::compiler::TimeZone;
use vrl::owned_value_path;
use vrl::path::OwnedValuePath;
use vrl::value::{ObjectMap, Value};

/// The registry's entry.
pub const REMAP: TransformFactory = TransformFactory {
    name: "remap",
    summary: "Shape records with a VRL program.",
    description: DESCRIPTION,
    options: OPTIONS,
    check,
    examples: EXAMPLES,
};

const DESCRIPTION: &str = "\
Runs a program in [VRL](https://vector.dev/docs/reference/vrl/) on every record. What the program
assigns to `.` and its fields is the record that goes on. An array as `.` becomes a record for each
of its elements; a value that is no object becomes the `message` of one.

The same record always gives the same result: `now()` is the time at which the record was received,
years that a format leaves out are guessed from it, random values are a function of the record's
position, and functions that ask the network, the environment or files are refused. Times without a
zone are read in `timezone`.

An error that the program does not handle leaves the record as it was (`drop_on_error = false`), or
sets it aside as a dead letter with VRL's message. `abort` lets the record go. With
`reroute_dropped` both go to the output `<id>.dropped` as they came, with the reason under
`.metadata.dropped`; where nobody reads that, both are set aside as dead letters.

Over results of windows a program may not write `id`, `revision` and `change`, and cannot make
several of one. A later revision on which it calls `abort` takes the result back.";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "drop_on_abort",
        kind: OptionKind::Boolean,
        default: Default::Value("true"),
        summary: "Whether a record on which the program calls `abort` is let go. Otherwise it \
                  goes on as it came.",
    },
    OptionSpec {
        name: "drop_on_error",
        kind: OptionKind::Boolean,
        default: Default::Value("false"),
        summary: "Whether a record on which the program fails is set aside as a dead letter. \
                  Otherwise it goes on as it came, and the error is counted.",
    },
    OptionSpec {
        name: "file",
        kind: OptionKind::Path,
        default: Default::None,
        summary: "A file that holds the program, relative to the folder of the document. Either \
                  this or `source`.",
    },
    OptionSpec {
        name: "reroute_dropped",
        kind: OptionKind::Boolean,
        default: Default::Value("false"),
        summary: "Whether records that would be dropped go to the output `dropped` instead.",
    },
    OptionSpec {
        name: "source",
        kind: OptionKind::Program,
        default: Default::None,
        summary: "The program. Either this or `file`.",
    },
    OptionSpec {
        name: "timezone",
        kind: OptionKind::TimeZone,
        default: Default::Value("\"UTC\""),
        summary: "In which zone the program reads times that name none.",
    },
];

const EXAMPLES: &[Example] = &[
    Example {
        title: "Fields are read from a line",
        toml: r#"
type = "remap"
inputs = ["in"]
source = '''
.user.name = parse_regex!(.message, r'for (?P<user>\S+)').user
.event.outcome = if starts_with(string!(.message), "Failed") { "failure" } else { "success" }
'''
"#,
        input: r#"{"message": "Failed password for root"}"#,
        output: concat!(
            r#"{"message": "Failed password for root", "user": {"name": "root"}, "#,
            r#""event": {"outcome": "failure"}}"#,
        ),
    },
    Example {
        title: "An array becomes many records",
        toml: r#"
type = "remap"
inputs = ["in"]
source = '''
. = array!(.records)
'''
"#,
        input: r#"{"records": [{"n": 1}, "two"]}"#,
        output: "{\"n\": 1}\n{\"message\": \"two\"}",
    },
    Example {
        title: "What fails is rerouted",
        toml: r#"
type = "remap"
inputs = ["in"]
drop_on_error = true
reroute_dropped = true
source = '''
.seen = true
if .level == "debug" { abort }
.code = to_int!(.code)
'''
"#,
        input: "{\"code\": \"200\"}\n{\"level\": \"debug\"}",
        output: concat!(
            "{\"code\": 200, \"seen\": true}\n",
            r#"{"level": "debug", "metadata": {"dropped": {"component_id": "example", "#,
            r#""component_kind": "transform", "component_type": "remap", "#,
            r#""message": "aborted", "reason": "abort"}}}"#,
        ),
    },
];

/// The port of [`Next`] that shaped records take.
const MAIN: usize = 0;
/// The port that dropped records take.
const DROPPED: usize = 1;

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn TransformSpec>> {
    let zone = time_zone(options, checker);
    let source = program_source(options, checker)?;
    let (identity, event) = (identity(options.inputs), revised::kind_of(options.inputs));
    let compiler = Compiler { id: options.id, zone: zone?, identity, event };
    let program = compiler.remap(&source, checker)?;
    let remap = Remap {
        id: options.id.into(),
        program,
        drop_on_error: options.boolean("drop_on_error")?,
        drop_on_abort: options.boolean("drop_on_abort")?,
        reroute: options.boolean("reroute_dropped")?,
        revisions: Revisions::of(options.inputs),
    };
    Some(Box::new(remap))
}

/// Finds the program, in the document or its file.
fn program_source<'a>(options: &Options<'a>, checker: &mut Checker) -> Option<Source<'a>> {
    let span = options.span("file");
    match (options.text("source"), options.text("file")) {
        (Some(source), None) => Some(Source::Written(source)),
        (None, Some(file)) => {
            let path = options.folder.join(&file.text);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                let title = format!("the program {} cannot be read", path.display());
                checker.report(Diagnostic::error(
                    codes::NOT_READABLE,
                    span,
                    title,
                    error.to_string(),
                ));
            });
            Some(Source::File { path, text: text.ok()?, span })
        }
        (Some(source), Some(_)) => {
            let title = "`source` and `file` contradict each other";
            let found = Diagnostic::error(codes::CONTRADICTION, span, title, "a program is here");
            checker.report(found.label(source.span, "and one is here").help("keep one of them"));
            None
        }
        (None, None) => {
            if !options.has("source") && !options.has("file") {
                let title = "this `remap` has no program";
                let found = Diagnostic::error(codes::MISSING_OPTION, options.place, title, "");
                checker.report(found.help("write it as `source`, or name its file as `file`"));
            }
            None
        }
    }
}

/// Reads the zone. VRL knows the zones of the IANA; of offsets only whole hours have a name there.
fn time_zone(options: &Options<'_>, checker: &mut Checker) -> Option<TimeZone> {
    let name = options.string("timezone")?;
    if let Ok(zone) = name.parse() {
        return Some(TimeZone::Named(zone));
    }
    let offset: chrono::FixedOffset = name.parse().ok()?;
    let seconds = offset.local_minus_utc();
    // In these names the sign is that of the sea: west of Greenwich is plus.
    let zone = (seconds % 3600 == 0).then(|| format!("Etc/GMT{:+}", -seconds / 3600).parse());
    let Some(Ok(zone)) = zone else {
        let title = format!("programs cannot read times at the offset {name}");
        let found = Diagnostic::error(codes::MALFORMED_VALUE, options.span("timezone"), title, "");
        checker.report(found.help("name a zone that has it: \"Asia/Kolkata\" is +05:30"));
        return None;
    };
    Some(TimeZone::Named(zone))
}

/// A checked `remap`.
struct Remap {
    id: Arc<str>,
    program: Program,
    drop_on_error: bool,
    drop_on_abort: bool,
    reroute: bool,
    revisions: Revisions,
}

impl TransformSpec for Remap {
    fn outputs(&self, input: &Port) -> Vec<Port> {
        let main = Port { name: None, optional: false, ..input.clone() };
        let main = revised::shaped(main, |came| {
            let made = self.program.kind();
            if self.ends_early() { made.union(came.clone()) } else { made }
        });
        let dropped = Port { name: Some("dropped".to_owned()), optional: true, ..input.clone() };
        if self.reroute { vec![main, dropped] } else { vec![main] }
    }

    fn build(&self) -> Running {
        Running::Stateless(Box::new(Remapping {
            id: Arc::clone(&self.id),
            runner: self.program.runner(),
            drop_on_error: self.drop_on_error,
            drop_on_abort: self.drop_on_abort,
            reroute: self.reroute,
            revisions: self.revisions,
            rolls_back: self.rolls_back(),
            may_replace_root: self.program.may_replace_root(),
        }))
    }

    fn rolls_back(&self) -> bool {
        let keeps_failed = self.reroute || !self.drop_on_error;
        let keeps_aborted = self.reroute || !self.drop_on_abort;
        self.program.may_replace_root()
            || self.ends_early() && self.revisions.follow()
            || self.program.may_fail() && keeps_failed
            || self.program.may_abort() && keeps_aborted
    }
}

impl Remap {
    /// Whether its program may end before it is through.
    fn ends_early(&self) -> bool {
        self.program.may_fail() || self.program.may_abort()
    }
}

/// A running `remap`.
struct Remapping {
    id: Arc<str>,
    runner: Runner,
    drop_on_error: bool,
    drop_on_abort: bool,
    reroute: bool,
    revisions: Revisions,
    rolls_back: bool,
    may_replace_root: bool,
}

impl Transform for Remapping {
    fn apply(&mut self, record: &mut Record, next: &mut dyn Next) -> Result<(), Fault> {
        if !self.rolls_back {
            return self.apply_for_good(record, next);
        }
        let mark = record.mark();
        let Some(fault) = self.runner.run(record).fault() else {
            self.emit(record, next);
            return Ok(());
        };
        record.undo_to(mark);
        let aborted = fault.reason == Reason::ProgramAborted;
        let drop = if aborted { self.drop_on_abort } else { self.drop_on_error };
        if self.revisions.is_withdrawn(record) {
            // Taken back is what was told, whatever a program makes of it now.
            next.emit(MAIN, record, true);
            return Ok(());
        }
        if drop && !(self.reroute && next.connected(DROPPED)) {
            if aborted && self.revisions.take_back(record) {
                next.emit(MAIN, record, true);
                return Ok(());
            }
            // What is to be rerouted its author wanted to have, and nobody reads where it would go.
            return if self.reroute { Err(fault) } else { end(fault, next) };
        }
        if !aborted {
            next.error(&fault);
        }
        if !drop {
            next.emit(MAIN, record, true);
            return Ok(());
        }
        record.insert(&owned_value_path!("metadata", "dropped"), self.dropped(&fault));
        next.emit(DROPPED, record, true);
        Ok(())
    }
}

/// Ends a record that goes nowhere: `abort` was its author's word, all else is a dead letter.
fn end(fault: Fault, next: &mut dyn Next) -> Result<(), Fault> {
    if fault.reason != Reason::ProgramAborted {
        return Err(fault);
    }
    next.discard();
    Ok(())
}

impl Remapping {
    /// Runs a program whose changes need not be undone: it cannot end early, or nothing is kept of
    /// a record on which it does. Only the bound on its run is left, and a half changed record that
    /// met it is set aside.
    fn apply_for_good(&mut self, record: &mut Record, next: &mut dyn Next) -> Result<(), Fault> {
        match self.runner.run(record) {
            Outcome::Done(_) => {
                next.emit(MAIN, record, true);
                Ok(())
            }
            early => early.fault().map_or(Ok(()), |fault| end(fault, next)),
        }
    }

    /// Sends on what the program made: one record, or of an array as many as it has elements.
    fn emit(&self, record: &mut Record, next: &mut dyn Next) {
        let elements = if self.may_replace_root { record.take_root_array() } else { None };
        let Some(elements) = elements else {
            if !record.root_is_object() {
                let value = record.to_value();
                record.insert(&OwnedValuePath::root(), as_event(value));
            }
            return next.emit(MAIN, record, true);
        };
        let count = elements.len();
        let index = record.origin().index;
        for (number, element) in elements.into_iter().enumerate() {
            record.insert(&OwnedValuePath::root(), as_event(element));
            record.origin_mut().index = index_of(index, number);
            next.emit(MAIN, record, number + 1 == count);
        }
        // The origin is not undone with the fields, and those who read the record after us are to
        // find their own.
        record.origin_mut().index = index;
        if count == 0 {
            next.discard();
        }
    }

    fn dropped(&self, fault: &Fault) -> Value {
        let aborted = fault.reason == Reason::ProgramAborted;
        Value::Object(ObjectMap::from([
            ("component_id".into(), (&*self.id).into()),
            ("component_kind".into(), "transform".into()),
            ("component_type".into(), "remap".into()),
            ("message".into(), fault.message.as_str().into()),
            ("reason".into(), if aborted { "abort" } else { "error" }.into()),
        ]))
    }
}

/// Gives the index of an element of what a record became. The lower half of an index is free for
/// this; the elements of an element have what is left above the first 65,536.
fn index_of(index: u64, number: usize) -> u64 {
    let (block, made) = (index >> 32, index as u32);
    block << 32 | u64::from((made << 16).wrapping_add(number as u32))
}

/// Makes an event of any value, as Vector does.
fn as_event(value: Value) -> Value {
    match value {
        Value::Object(_) => value,
        other => Value::Object(ObjectMap::from([("message".into(), other)])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Seen, check, checked, run};
    use azud_plan::component::Kind;
    use vrl::value;

    const HALF: &str = "source = '''.half = true\n.code = to_int!(.code)'''";

    fn emitted(seen: &Seen) -> Vec<(usize, Value)> {
        seen.emitted.iter().map(|(port, value, _)| (*port, value.clone())).collect()
    }

    #[test]
    fn a_failed_record_goes_on_as_it_came_by_default() {
        let seen = run(&*checked(&REMAP, HALF), value!({ "code": "x" }));
        assert_eq!(emitted(&seen), [(MAIN, value!({ "code": "x" }))]);
        assert_eq!((seen.errors.len(), seen.discarded), (1, 0));
    }

    #[test]
    fn a_failed_record_is_a_dead_letter_with_drop_on_error() {
        let spec = checked(&REMAP, &format!("{HALF}\ndrop_on_error = true"));
        assert!(!spec.rolls_back());
        let seen = run(&*spec, value!({ "code": "x" }));
        let fault = seen.fault.unwrap();
        assert_eq!(fault.reason, Reason::ProgramFailed);
        assert!(fault.message.contains("to_int"), "{fault}");
        assert!(seen.emitted.is_empty());
    }

    #[test]
    fn abort_lets_go_or_keeps() {
        let source = "source = '''.half = true\nif .a == 1 { abort }'''";
        let seen = run(&*checked(&REMAP, source), value!({ "a": 1 }));
        assert_eq!((seen.emitted.len(), seen.discarded, seen.errors.len()), (0, 1, 0));
        let spec = checked(&REMAP, &format!("{source}\ndrop_on_abort = false"));
        let seen = run(&*spec, value!({ "a": 1 }));
        assert_eq!(emitted(&seen), [(MAIN, value!({ "a": 1 }))]);
    }

    #[test]
    fn without_a_reader_of_dropped_nothing_is_lost() {
        let spec =
            checked(&REMAP, &format!("{HALF}\ndrop_on_error = true\nreroute_dropped = true"));
        let mut seen = Seen { unread: vec![DROPPED], ..Seen::default() };
        seen.run(&*spec, value!({ "code": "x" }));
        assert_eq!(seen.fault.unwrap().reason, Reason::ProgramFailed);
        let seen = run(&*spec, value!({ "code": "x" }));
        assert_eq!(seen.emitted[0].0, DROPPED);
        assert_eq!(seen.errors.len(), 1);
        // Nor is what a program aborts on: its author asked for it to be kept.
        let source = "source = 'if .a == 1 { abort \"enough\" }'\nreroute_dropped = true";
        let mut seen = Seen { unread: vec![DROPPED], ..Seen::default() };
        seen.run(&*checked(&REMAP, source), value!({ "a": 1 }));
        let fault = seen.fault.unwrap();
        assert_eq!((fault.reason, fault.message.as_str()), (Reason::ProgramAborted, "enough"));
        assert_eq!(seen.discarded, 0);
    }

    #[test]
    fn a_loop_without_end_is_a_dead_letter_even_if_nothing_else_can_fail() {
        let source = "source = '''
            many = array(.many) ?? []
            for_each(many) -> |_i, _v| { for_each(many) -> |_j, _w| { .last = 1 } }'''";
        let spec = checked(&REMAP, source);
        assert!(!spec.rolls_back());
        let seen = run(&*spec, value!({ "many": (vec![Value::Null; 1_500]) }));
        assert_eq!(seen.fault.unwrap().reason, Reason::ProgramTimeout);
    }

    #[test]
    fn elements_have_places_of_their_own_and_empty_arrays_are_counted() {
        let spec = checked(&REMAP, "source = '. = array!(.many)'");
        assert!(spec.rolls_back());
        let seen = run(&*spec, value!({ "many": [{ "a": 1 }, 2, { "a": 3 }] }));
        let places: Vec<_> = seen.emitted.iter().map(|(_, _, index)| *index).collect();
        assert_eq!(places, [0, 1, 2]);
        assert_eq!(seen.emitted[1].1, value!({ "message": 2 }));
        assert_eq!(run(&*spec, value!({ "many": [] })).discarded, 1);
        assert_eq!(index_of(index_of(7 << 32, 3), 2), 7 << 32 | 3 << 16 | 2);
    }

    #[test]
    fn a_scalar_becomes_a_message() {
        let seen = run(&*checked(&REMAP, "source = '. = string!(.m)'"), value!({ "m": "x" }));
        assert_eq!(emitted(&seen), [(MAIN, value!({ "message": "x" }))]);
    }

    #[test]
    fn times_are_read_in_the_zone() {
        for (zone, hour) in [("Europe/Madrid", 10), ("+02:00", 10), ("UTC", 12)] {
            let source = r#"source = '. = { "t": parse_timestamp!(.t, "%F %T") }'"#;
            let spec = checked(&REMAP, &format!("{source}\ntimezone = \"{zone}\""));
            let seen = run(&*spec, value!({ "t": "2026-07-01 12:00:00" }));
            let expected = format!("t'2026-07-01T{hour}:00:00Z'");
            assert_eq!(seen.emitted[0].1.as_object().unwrap()["t"].to_string(), expected);
        }
        let (_, found) = check(&REMAP, "source = '.a = 1'\ntimezone = \"+05:30\"", &[]);
        assert_eq!(found[0].code, codes::MALFORMED_VALUE);
    }

    #[test]
    fn faults_are_shown_where_they_were_written() {
        let toml = "source = '''.a = to_int(.a)\nhttp_request(\"x\")'''";
        let (_, found) = check(&REMAP, toml, &[]);
        let shown: Vec<_> = found
            .iter()
            .map(|found| (found.code.0, &toml[found.labels[0].0.range()], found.title.as_str()))
            .collect();
        assert_eq!(shown[0], ("P022", "to_int(.a)", "unhandled fallible assignment"));
        assert_eq!(shown[1], ("P020", "http_request", "programs may not call `http_request`"));
    }

    #[test]
    fn one_program_is_wanted() {
        for (toml, code) in [
            ("", codes::MISSING_OPTION),
            ("source = '.a = 1'\nfile = 'a.vrl'", codes::CONTRADICTION),
            ("file = 'there/is/no.vrl'", codes::NOT_READABLE),
        ] {
            let (spec, found) = check(&REMAP, toml, &[]);
            assert!(spec.is_none());
            assert_eq!(found[0].code, code, "{toml}");
        }
    }

    #[test]
    fn the_identity_of_an_alert_is_not_to_be_written() {
        let alerts = [Port { kind: Kind::Alert, ..Port::logs() }];
        for source in [".id = 1", ". = {}", "del(.state)"] {
            let (spec, found) = check(&REMAP, &format!("source = '{source}'"), &alerts);
            assert!(spec.is_none(), "{source}");
            assert_eq!(found[0].code, codes::VRL_INVALID, "{source}");
        }
        assert!(check(&REMAP, "source = '.title = upcase!(.title)'", &alerts).0.is_some());
    }
}
