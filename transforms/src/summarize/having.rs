//! `having`: a condition that is held against results, not against records.
//!
//! Results have known types, so the condition is compiled against them, and `.failures >= 20` needs
//! no handling of errors. It must not be able to fail: there is no record that could be set aside.

use crate::vrl::functions::{self, AskedForMoment};
use crate::vrl::run::EXPRESSIONS_MAX;
use crate::vrl::source::Source;
use azud_plan::diagnostic::{Checker, Diagnostic, codes};
use azud_plan::document::Text;
use std::ops::ControlFlow;
use std::sync::Arc;
use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::state::ExternalEnv;
use vrl::compiler::{CompileConfig, Program, TargetValue, TimeZone, compile_with_external};
use vrl::value::kind::Collection;
use vrl::value::{Kind, ObjectMap, Secrets, Value};

/// A condition on results.
#[derive(Clone, Debug)]
pub struct Having(Arc<Program>);

impl Having {
    /// Compiles the condition against results of this type. Reports what is wrong and gives `None`
    /// then.
    pub fn compile(text: &Text, result: Kind, checker: &mut Checker) -> Option<Self> {
        let source = Source::Written(text);
        let mut config = CompileConfig::default();
        config.set_read_only();
        config.set_custom(AskedForMoment::default());
        let metadata = Kind::object(Collection::empty());
        let external = ExternalEnv::new_with_kind(result, metadata);
        let compiled = match compile_with_external(&text.text, functions::all(), &external, config)
        {
            Ok(compiled) => compiled,
            Err(faults) => {
                source.report(&faults, checker);
                return None;
            }
        };
        source.report(&compiled.warnings, checker);
        let fault = |title: &str, label: String, code, help: &str| {
            Diagnostic::error(code, text.span, title, label).help(help)
        };
        let answer = compiled.program.final_type_info().result;
        let asked = compiled.config.get_custom::<AskedForMoment>().is_some_and(|asked| asked.0);
        let found = if !answer.is_boolean() {
            let label = format!("this gives {}", answer.kind());
            let help = "compare it: `.failures >= 20`";
            fault("a condition must give a boolean", label, codes::VRL_INVALID, help)
        } else if compiled.program.info().fallible || compiled.program.info().abortable {
            let help = "handle it: `(to_int(.field) ?? 0) > 5`";
            fault("`having` must not fail", "this may".to_owned(), codes::VRL_FALLIBLE, help)
        } else if asked {
            let help = "the window has its own times: `.window.start`, `.window.end`";
            let title = "`having` can ask neither for the time nor for chance";
            fault(title, "a result has no moment of its own".to_owned(), codes::VRL_INVALID, help)
        } else {
            return Some(Having(Arc::new(compiled.program)));
        };
        checker.report(found);
        None
    }

    /// Makes what runs it, for one key group.
    pub fn judge(&self) -> Judge {
        Judge { program: self.0.as_ref().clone(), runtime: Runtime::default() }
    }
}

/// A condition on results that one key group runs.
pub struct Judge {
    program: Program,
    runtime: Runtime,
}

impl Judge {
    /// Whether the condition holds of a result.
    pub fn holds(&mut self, result: &mut Value) -> bool {
        let value = std::mem::replace(result, Value::Null);
        let metadata = Value::Object(ObjectMap::new());
        let mut target = TargetValue { value, metadata, secrets: Secrets::new() };
        self.runtime.clear();
        let mut left = EXPRESSIONS_MAX;
        let mut bound = || {
            left = left.saturating_sub(1);
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let zone = TimeZone::Named(chrono_tz::UTC);
        let ended =
            self.runtime.resolve_with_control(&mut target, &self.program, &zone, &mut bound);
        *result = target.value;
        match ended {
            Ok(answer) => answer == Value::Boolean(true),
            // What cannot be judged is told rather than kept back.
            Err(Terminate::Interrupted | Terminate::Abort(_) | Terminate::Error(_)) => true,
        }
    }
}
