//! `filter` lets records through for which a condition holds.

use crate::revised::{self, Revisions};
use crate::vrl::needle::needle;
use crate::vrl::{Compiler, Program, Runner, growing};
use azud_event::dead_letter::Fault;
use azud_event::record::Record;
use azud_plan::component::{
    Default, Demand, Example, Needle, Next, OptionKind, OptionSpec, Options, Port, Running,
    Transform, TransformFactory, TransformSpec,
};
use azud_plan::diagnostic::Checker;
use vrl::path::OwnedValuePath;

/// The registry's entry.
pub const FILTER: TransformFactory = TransformFactory {
    name: "filter",
    summary: "Let records through for which a condition holds.",
    description: "\
Runs a condition in VRL on every record, and sends on those for which it gives `true`, unchanged.
The others are counted as discarded. A condition that fails on a record counts as `false`, and the
error is counted.

Over results of windows a condition that a later revision no longer meets takes the result back: it
goes on with `change: \"withdrawn\"`.",
    options: OPTIONS,
    check,
    examples: EXAMPLES,
};

const OPTIONS: &[OptionSpec] = &[OptionSpec {
    name: "condition",
    kind: OptionKind::Condition,
    default: Default::Required,
    summary: "What must hold.",
}];

const EXAMPLES: &[Example] = &[
    Example {
        title: "Only failed logins go on",
        toml: r#"
type = "filter"
inputs = ["in"]
condition = '.event.outcome == "failure"'
"#,
        input: r#"{"event": {"outcome": "failure"}, "n": 1}
{"event": {"outcome": "success"}}
{}"#,
        output: r#"{"event": {"outcome": "failure"}, "n": 1}"#,
    },
    Example {
        title: "The condition as a table, as in Vector",
        toml: r#"
type = "filter"
inputs = ["in"]
condition.type = "vrl"
condition.source = 'starts_with(string!(.message), "Failed")'
"#,
        input: "{\"message\": \"Failed password\"}\n{\"message\": 7}",
        output: r#"{"message": "Failed password"}"#,
    },
];

fn check(options: &Options<'_>, checker: &mut Checker) -> Option<Box<dyn TransformSpec>> {
    let text = options.condition("condition")?;
    let event = revised::kind_of(options.inputs);
    let compiler = Compiler { event, ..Compiler::new(options.id) };
    let condition = compiler.condition(text, "condition", checker)?;
    let revisions = Revisions::of(options.inputs);
    let grows = growing::demand(&text.text, &revised::grows(options.inputs));
    Some(Box::new(Filter { condition, needle: needle(&text.text), revisions, grows }))
}

/// A checked `filter`.
struct Filter {
    condition: Program,
    needle: Option<Needle>,
    revisions: Revisions,
    /// Over results of windows, what the condition waits for, if it can only become truer.
    grows: Option<Demand>,
}

impl TransformSpec for Filter {
    fn outputs(&self, input: &Port) -> Vec<Port> {
        vec![Port { name: None, optional: false, ..input.clone() }]
    }

    fn build(&self) -> Running {
        let Filter { condition, revisions, .. } = self;
        let runner = condition.runner();
        Running::Stateless(Box::new(Filtering { runner, revisions: *revisions }))
    }

    fn needle(&self) -> Option<&Needle> {
        self.needle.as_ref()
    }

    fn reads(&self) -> Option<Vec<OwnedValuePath>> {
        // Of results it may change one, to take it back.
        (!self.revisions.follow()).then(|| self.condition.paths()).flatten()
    }

    fn wants(&self, behind: Option<&Demand>) -> Option<Demand> {
        Some(Demand::All(vec![self.grows.clone()?, behind?.clone()]))
    }

    fn wants_parts(&self, behind: bool) -> bool {
        behind
    }
}

/// A running `filter`.
struct Filtering {
    runner: Runner,
    revisions: Revisions,
}

impl Transform for Filtering {
    fn apply(&mut self, record: &mut Record, next: &mut dyn Next) -> Result<(), Fault> {
        let holds = self.runner.holds(record).unwrap_or_else(|fault| {
            next.error(&fault);
            false
        });
        let Filtering { revisions, .. } = self;
        if holds || revisions.is_withdrawn(record) || revisions.take_back(record) {
            next.emit(0, record, true);
        } else {
            next.discard();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, checked, run};
    use azud_plan::component::Kind;
    use azud_plan::diagnostic::{Severity, codes};
    use vrl::value;

    #[test]
    fn an_error_is_counted_and_lets_go() {
        let seen = run(&*checked(&FILTER, "condition = 'to_int!(.a) > 1'"), value!({ "a": "x" }));
        assert_eq!((seen.emitted.len(), seen.discarded, seen.errors.len()), (0, 1, 1));
        assert!(seen.fault.is_none());
    }

    #[test]
    fn the_kind_is_kept() {
        let alerts = Port { kind: Kind::Alert, name: Some("x".to_owned()), ..Port::logs() };
        let outputs = checked(&FILTER, "condition = '.a == 1'").outputs(&alerts);
        assert_eq!(outputs, [Port { name: None, ..alerts }]);
    }

    #[test]
    fn conditions_are_checked() {
        for (source, code, severity) in [
            (".a", codes::VRL_INVALID, Severity::Error),
            (".a = true", codes::VRL_INVALID, Severity::Error),
            ("to_int(.a) == 1", codes::VRL_FALLIBLE, Severity::Error),
            ("1 + 1 == 2", codes::VRL_CONSTANT, Severity::Warning),
            ("1 +", codes::VRL_INVALID, Severity::Error),
            ("get_env_var!(\"A\") == \"b\"", codes::VRL_INVALID, Severity::Error),
        ] {
            let (spec, found) = check(&FILTER, &format!("condition = '{source}'"), &[]);
            assert_eq!((found[0].code, found[0].severity), (code, severity), "{source}");
            assert_eq!(spec.is_some(), severity == Severity::Warning, "{source}");
        }
        let (_, found) = check(&FILTER, "condition = 'to_unix_timestamp(now()) > 0'", &[]);
        assert_eq!(found, []);
    }
}
