//! VRL's own function, for the arguments that the native one does not know.
//!
//! A call of it is compiled as a program by itself, `name!(.a, .b)`, and run on an event that holds
//! the arguments. So what comes of it is what VRL says, errors included; only the place that an
//! error names is that of the small program, and is taken off.

use super::Failure;
use crate::vrl::functions;
use vrl::compiler::runtime::Runtime;
use vrl::compiler::state::ExternalEnv;
use vrl::compiler::{
    CompileConfig, ExpressionError, Program, TargetValue, TimeZone, compile_with_external,
};
use vrl::value::kind::Collection;
use vrl::value::{Kind, ObjectMap, Secrets, Value};

/// The names of the arguments in the small program.
const NAMES: [&str; 2] = ["a", "b"];

/// A function of VRL, called with values.
#[derive(Clone, Debug)]
pub(in crate::vrl) struct Slow {
    program: Program,
    prefix: String,
}

impl Slow {
    /// Compiles the call of a function with one or two arguments of any kind. `None` when there is
    /// no such function, or it cannot be called so.
    pub(in crate::vrl) fn new(name: &str, arguments: usize) -> Option<Self> {
        let arguments: Vec<_> =
            NAMES.get(..arguments)?.iter().map(|name| format!(".{name}")).collect();
        // What cannot fail must not be called with `!`, and what can must.
        ["!", ""].iter().find_map(|mark| {
            let text = format!("{name}{mark}({})", arguments.join(", "));
            let any = || Kind::object(Collection::any());
            let external = ExternalEnv::new_with_kind(any(), any());
            let config = CompileConfig::default();
            let compiled =
                compile_with_external(&text, functions::all(), &external, config).ok()?;
            let prefix = format!("function call error for \"{name}\" at (0:{}): ", text.len());
            Some(Slow { program: compiled.program, prefix })
        })
    }

    /// Calls the function.
    ///
    /// # Errors
    /// Its error, in its own words.
    pub(super) fn call(
        &self,
        runtime: &mut Runtime,
        zone: &TimeZone,
        arguments: impl IntoIterator<Item = Value>,
    ) -> Result<Value, Failure> {
        let names = NAMES.iter().map(|name| (*name).into());
        let value = Value::Object(names.zip(arguments).collect::<ObjectMap>());
        let metadata = Value::Object(ObjectMap::new());
        let mut event = TargetValue { value, metadata, secrets: Secrets::new() };
        runtime.clear();
        runtime.resolve(&mut event, &self.program, zone).map_err(|ended| {
            let message = ended.to_string();
            let message = message.strip_prefix(&self.prefix).unwrap_or(&message);
            Box::new(ExpressionError::from(message))
        })
    }
}
