//! Compiling programs: what an author wrote becomes a [`Program`], or diagnostics at their places.
//!
//! Two kinds of program are compiled. A *remap* changes the record, and what its last expression
//! gives is of no interest; so a `null` is put behind it, or a program that ends in `. = x` would
//! copy the whole event as its result. A *condition* changes nothing (VRL is told that everything
//! is read only), and its last expression is the answer.

use super::functions::{self, AskedForMoment};
use super::lower::{Effects, lower};
use super::moment::{self, Salt};
use super::native::Native;
use super::run::Runner;
use super::source::Source;
use crate::revised::Revisions;
use azud_event::id::Id;
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::component::{Kind as PortKind, Port};
use azud_plan::diagnostic::{Checker, Diagnostic, Span, codes};
use azud_plan::document::{Node, Text};
use std::sync::Arc;
use vrl::compiler::runtime::{Runtime, RuntimeResult};
use vrl::compiler::state::ExternalEnv;
use vrl::compiler::{
    CompilationResult, CompileConfig, TargetValue, TimeZone, compile_with_external,
};
use vrl::diagnostic::{DiagnosticList, Formatter};
use vrl::path::{OwnedTargetPath, OwnedValuePath, PathPrefix};
use vrl::value::kind::Collection;
use vrl::value::{Kind, ObjectMap, Secrets, Value};

/// A compiled program. Clones share it; [`Program::runner`] makes one that a worker can run.
#[derive(Clone, Debug)]
pub struct Program(Arc<Compiled>);

#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) program: vrl::compiler::Program,
    /// The same, where all of it could be lowered.
    pub(super) native: Option<Native>,
    pub(super) zone: TimeZone,
    pub(super) salt: Salt,
}

impl Program {
    /// Makes what runs it, for one worker.
    pub fn runner(&self) -> Runner {
        Runner::new(&self.0)
    }

    /// Tells whether an error may end it. The bound on its run is not meant.
    pub fn may_fail(&self) -> bool {
        self.0.program.info().fallible
    }

    /// Tells whether it may `abort`.
    pub fn may_abort(&self) -> bool {
        self.0.program.info().abortable
    }

    /// Lists the fields of the event that it reads or writes; `None` when they are not known.
    pub fn paths(&self) -> Option<Vec<OwnedValuePath>> {
        let paths = self.0.native.as_ref()?.paths.iter();
        let of_event = paths.filter(|path| path.prefix == PathPrefix::Event);
        Some(of_event.map(|path| path.path.clone()).collect())
    }

    /// Gives the type of the event after it.
    pub fn kind(&self) -> Kind {
        self.0.program.final_type_info().state.external.target_kind().clone()
    }

    /// Tells whether the root of the event may be something else after it than an object.
    pub fn may_replace_root(&self) -> bool {
        !self.kind().is_object()
    }
}

/// Compiles the programs of one component.
///
/// `id` is the component's; it tells random values of two components apart. `zone` is UTC unless
/// its author named one.
pub struct Compiler<'a> {
    /// The component's id.
    pub id: &'a str,
    /// In which zone times without one are read.
    pub zone: TimeZone,
    /// The fields by which records are known again: programs may read but not write them.
    pub identity: &'static [&'static str],
    /// The type of the records, where it is known.
    pub event: Option<Kind>,
}

/// By what alerts are known again.
const OF_ALERTS: &[&str] = &["id", "revision", "state"];
/// By what results of windows are.
const OF_RESULTS: &[&str] = &["change", "id", "revision"];

/// Gives by what the records of these ports are known again.
pub fn identity(inputs: &[Port]) -> &'static [&'static str] {
    if inputs.iter().any(|port| port.kind == PortKind::Alert) {
        return OF_ALERTS;
    }
    if Revisions::of(inputs).follow() { OF_RESULTS } else { &[] }
}

impl<'a> Compiler<'a> {
    /// Makes a compiler in UTC.
    pub fn new(id: &'a str) -> Self {
        Compiler { id, zone: utc(), identity: &[], event: None }
    }

    /// Compiles a program that changes records. Reports what is wrong and gives `None` then.
    pub fn remap(&self, source: &Source<'_>, checker: &mut Checker) -> Option<Program> {
        let written = self.compile(source.text(), self.remap_config());
        let written = accept(written, source, checker)?;
        // The added line stands behind the author's text, so no place shifts; and it is not there
        // while VRL looks for results that nobody uses. A text that only compiles without it (none
        // is known) runs as it is.
        let ended = self.compile(&format!("{}\nnull", source.text()), self.remap_config());
        let program = ended.map_or(written.program, |ended| ended.program);
        let native = lower(source.text(), Effects::Change).map(Native::without_result);
        Some(self.program(program, native, "remap"))
    }

    /// Compiles a condition. `name` tells random values of several conditions of one component
    /// apart. Reports what is wrong and gives `None` then.
    pub fn condition(&self, text: &Text, name: &str, checker: &mut Checker) -> Option<Program> {
        let source = Source::Written(text);
        let mut config = CompileConfig::default();
        config.set_read_only();
        let compiled = accept(self.compile(&text.text, config), &source, checker)?;
        let result = compiled.program.final_type_info().result;
        if !result.is_boolean() {
            let title = "a condition must give a boolean";
            let found = format!("this gives {}", result.kind());
            checker.report(
                Diagnostic::error(codes::VRL_INVALID, text.span, title, found)
                    .help("compare it: `.field == \"value\"`; or state its type: `bool!(.field)`"),
            );
            return None;
        }
        let asked = compiled.config.get_custom::<AskedForMoment>().is_some_and(|asked| asked.0);
        let native = lower(&text.text, Effects::None);
        let program = self.program(compiled.program, native, name);
        if !asked {
            warn_if_constant(&program, text.span, checker);
        }
        Some(program)
    }

    fn compile(
        &self,
        text: &str,
        mut config: CompileConfig,
    ) -> Result<CompilationResult, DiagnosticList> {
        config.set_custom(AskedForMoment::default());
        let any = || Kind::object(Collection::any());
        let event = self.event.clone().unwrap_or_else(any);
        let external = ExternalEnv::new_with_kind(event, any());
        compile_with_external(text, functions::all(), &external, config)
    }

    fn remap_config(&self) -> CompileConfig {
        let mut config = CompileConfig::default();
        for name in self.identity {
            let path = OwnedTargetPath::event(OwnedValuePath::single_field(name));
            config.set_read_only_path(path, true);
        }
        config
    }

    fn program(
        &self,
        program: vrl::compiler::Program,
        native: Option<Native>,
        name: &str,
    ) -> Program {
        let salt = *Id::of(&[b"program", self.id.as_bytes(), name.as_bytes()]).as_bytes();
        Program(Arc::new(Compiled { program, native, zone: self.zone, salt }))
    }
}

/// Gives UTC as VRL says it.
pub fn utc() -> TimeZone {
    TimeZone::Named(chrono_tz::UTC)
}

/// Runs a program once on a value, in UTC.
pub(super) fn resolve(program: &vrl::compiler::Program, value: Value) -> RuntimeResult {
    let metadata = Value::Object(ObjectMap::new());
    let mut target = TargetValue { value, metadata, secrets: Secrets::new() };
    Runtime::default().resolve(&mut target, program, &utc())
}

/// Gives the program of a condition: VRL as text, or in Vector's table `{ type = "vrl", source =
/// "…" }`. What is in neither form has been reported when the options were checked.
pub fn condition_text(node: &Node) -> Option<&Text> {
    match node.as_table() {
        Some(table) => table.node("source").and_then(Node::as_text),
        None => node.as_text(),
    }
}

/// Reports what a compilation found.
fn accept(
    compiled: Result<CompilationResult, DiagnosticList>,
    source: &Source<'_>,
    checker: &mut Checker,
) -> Option<CompilationResult> {
    match compiled {
        Ok(compiled) => {
            source.report(&compiled.warnings, checker);
            Some(compiled)
        }
        Err(faults) => {
            source.report(&faults, checker);
            None
        }
    }
}

/// Warns of a condition that reads nothing, so that it says the same of all records.
fn warn_if_constant(program: &Program, span: Span, checker: &mut Checker) {
    let compiled = &program.0.program;
    if !compiled.info().target_queries.is_empty() {
        return;
    }
    let answer = match resolve(compiled, Value::Object(ObjectMap::new())) {
        Ok(Value::Boolean(true)) => "always true",
        Ok(_) => "always false",
        Err(_) => "always an error, which counts as false",
    };
    let title = "this condition does not depend on the record";
    checker.report(Diagnostic::warning(codes::VRL_CONSTANT, span, title, answer));
}

/// A compiled condition of a test, as in Vector's `[[tests]]`: it holds when it gives `true`.
#[derive(Debug)]
pub struct Assertion(Program);

impl Assertion {
    /// Compiles a condition of a test.
    ///
    /// # Errors
    /// VRL's own report, when it does not compile or gives no boolean.
    pub fn compile(text: &str) -> Result<Self, String> {
        let mut config = CompileConfig::default();
        config.set_read_only();
        config.disable_unused_expression_check();
        let compiler = Compiler::new("tests");
        let compiled = compiler
            .compile(text, config)
            .map_err(|faults| Formatter::new(text, faults).to_string())?;
        let result = compiled.program.final_type_info().result;
        if !result.is_boolean() {
            return Err(format!("a condition must give a boolean, this gives {}", result.kind()));
        }
        Ok(Assertion(compiler.program(compiled.program, None, "assertion")))
    }

    /// Holds it against a record that was received at `received_at`.
    ///
    /// # Errors
    /// Why it does not hold: what `assert!` and `assert_eq!` say, or that it gave `false`.
    pub fn check(&self, value: &Value, received_at: EventTime) -> Result<(), String> {
        let mut origin = Record::new().origin().clone();
        origin.received_at = received_at;
        moment::begin(&origin, &self.0.0.salt);
        match resolve(&self.0.0.program, value.clone()) {
            Ok(Value::Boolean(true)) => Ok(()),
            Ok(_) => Err("the condition gave false".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrl::testing::{RECEIVED_AT, compile_error, remap};
    use vrl::value;

    #[test]
    fn assertions_say_why_they_do_not_hold() {
        let check = |text: &str| {
            let assertion = Assertion::compile(text).unwrap();
            assertion.check(&value!({ "message": "a", "n": 1 }), RECEIVED_AT)
        };
        assert_eq!(check(r#"assert_eq!(.message, "a"); assert!(.n == 1, "no")"#), Ok(()));
        assert_eq!(check(".n == 1"), Ok(()));
        assert_eq!(check(".n == 2"), Err("the condition gave false".to_owned()));
        assert!(check(r#"assert!(.n == 2, "one is not two")"#).unwrap_err().contains("one is not"));
        assert!(check(r#"assert_eq!(.message, "b")"#).unwrap_err().contains("\"a\" == \"b\""));
        assert!(check("now() == t'2026-03-01T10:00:00Z'").is_ok());
        for wrong in [".n", ".n = 1", ".n ==", "nothing(.n)"] {
            assert!(Assertion::compile(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn faults_in_a_file_are_told_by_line_and_column() {
        let error = compile_error(".a = 1\n  .b = to_int(.a, .c)");
        assert!(error.contains("test.vrl:2:"), "{error}");
    }

    #[test]
    fn a_program_may_end_in_a_comment_or_an_end() {
        for source in [".a = 1 # done", "if .a == 1 { abort }", ". = {}", "return .", "abort"] {
            remap(source);
        }
    }

    #[test]
    fn what_a_program_may_do_is_known() {
        let may = |source: &str| {
            let program = remap(source);
            (program.may_fail(), program.may_abort(), program.may_replace_root())
        };
        assert_eq!(may(".a = 1"), (false, false, false));
        assert_eq!(may(".a = to_int!(.a)"), (true, false, false));
        assert_eq!(may("if .a == 1 { abort }"), (false, true, false));
        assert_eq!(may(". = parse_json(string(.a) ?? \"\") ?? {}"), (false, false, true));
    }
}
