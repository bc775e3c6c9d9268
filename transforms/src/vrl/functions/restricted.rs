//! Functions of VRL that are pure but for some arguments.

use super::ours::describe_as_original;
use vrl::compiler::function::{Error, closure};
use vrl::prelude::{
    ArgumentList, Compiled, Context, Example, Expression, Function, FunctionCompileContext,
    FunctionExpression, Parameter, Resolved, TypeDef, TypeState, Value,
};

/// Which values of which argument of a function are refused.
#[derive(Debug)]
pub struct Restriction {
    /// The function's name.
    pub name: &'static str,
    /// The arguments looked at, each with what is refused of it.
    pub refused: &'static [(&'static str, Refuse)],
}

/// Says why a value is refused, if it is.
pub type Refuse = fn(&Value) -> Option<&'static str>;

/// `format_timestamp` knows the machine's zone under a name.
pub const FORMAT_TIMESTAMP: Restriction =
    Restriction { name: "format_timestamp", refused: &[("timezone", local_zone)] };

/// `parse_timestamp` knows the machine's zone under a name.
pub const PARSE_TIMESTAMP: Restriction =
    Restriction { name: "parse_timestamp", refused: &[("timezone", local_zone)] };

/// `parse_cef` puts custom fields into the result in an order that differs from run to run, so of
/// two with the same label either may win.
pub const PARSE_CEF: Restriction = Restriction {
    name: "parse_cef",
    refused: &[("translate_custom_fields", |value| {
        (value == &Value::Boolean(true))
            .then_some("of two custom fields with one label either may win; rename them by hand")
    })],
};

/// `parse_etld` may read a list of suffixes from a file.
pub const PARSE_ETLD: Restriction = Restriction {
    name: "parse_etld",
    refused: &[("psl", |_| Some("it reads a file that is no part of the plan"))],
};

/// `parse_groks` may read a file, and guesses years and offsets from the machine's clock.
pub const PARSE_GROKS: Restriction = Restriction {
    name: "parse_groks",
    refused: &[
        ("alias_sources", |value| {
            let empty = value.as_array().is_some_and(<[Value]>::is_empty);
            (!empty).then_some("it reads a file that is no part of the plan")
        }),
        ("aliases", date_matcher),
        ("patterns", date_matcher),
    ],
};

fn local_zone(value: &Value) -> Option<&'static str> {
    let name = value.to_str_lossy()?;
    ["", "local"]
        .contains(&&*name)
        .then_some("the zone of the machine may change; name the zone: \"Europe/Madrid\"")
}

fn date_matcher(value: &Value) -> Option<&'static str> {
    let dated = match value {
        Value::Array(items) => items.iter().any(|item| date_matcher(item).is_some()),
        Value::Object(members) => members.values().any(|item| date_matcher(item).is_some()),
        other => other.to_str_lossy().is_some_and(|text| text.contains("date(")),
    };
    dated.then_some("`date(…)` asks the machine's clock; take the text and use `parse_timestamp`")
}

/// A function of VRL that looks at some arguments before it runs.
#[derive(Debug)]
pub struct Restricted {
    original: Box<dyn Function>,
    restriction: &'static Restriction,
}

impl Restricted {
    pub fn new(original: Box<dyn Function>, restriction: &'static Restriction) -> Self {
        Restricted { original, restriction }
    }
}

impl Function for Restricted {
    describe_as_original!();

    fn compile(
        &self,
        state: &TypeState,
        context: &mut FunctionCompileContext,
        arguments: ArgumentList,
    ) -> Compiled {
        let mut later = Vec::new();
        for (keyword, refuse) in self.restriction.refused {
            let Some(argument) = arguments.optional(keyword) else { continue };
            let Some(value) = argument.resolve_constant(state) else {
                later.push((argument, *refuse));
                continue;
            };
            if let Some(error) = refuse(&value) {
                return Err(Error::InvalidArgument { keyword, value, error }.into());
            }
        }
        let original = self.original.compile(state, context, arguments)?;
        if later.is_empty() { Ok(original) } else { Ok(Guarded { original, later }.as_expr()) }
    }
}

/// A call whose arguments are known only when it runs.
#[derive(Clone, Debug)]
struct Guarded {
    original: Box<dyn Expression>,
    later: Vec<(Box<dyn Expression>, Refuse)>,
}

impl FunctionExpression for Guarded {
    fn resolve(&self, context: &mut Context) -> Resolved {
        for (argument, refuse) in &self.later {
            if let Some(error) = refuse(&argument.resolve(context)?) {
                return Err(error.into());
            }
        }
        self.original.resolve(context)
    }

    fn type_def(&self, state: &TypeState) -> TypeDef {
        // The guard may refuse what the original would not.
        self.original.type_def(state).fallible()
    }
}

#[cfg(test)]
mod tests {
    use crate::vrl::testing::{compile_error, evaluate};
    use vrl::value;

    #[test]
    fn the_zone_of_the_machine_is_refused() {
        let error = compile_error(r#"format_timestamp!(now(), "%F", timezone: "local")"#);
        assert!(error.contains("may change"), "{error}");
        let error = evaluate(
            r#"parse_timestamp!("2026-03-01", "%F", timezone: string!(.zone))"#,
            value!({ "zone": "local" }),
        );
        assert!(error.unwrap_err().contains("may change"));
    }

    #[test]
    fn a_named_zone_stays() {
        let source = r#"parse_timestamp!("01/07/2026 12:00", "%d/%m/%Y %H:%M", "Europe/Madrid")"#;
        let time = evaluate(source, value!({})).unwrap();
        assert_eq!(time.to_string(), "t'2026-07-01T10:00:00Z'");
    }

    #[test]
    fn files_and_clocks_behind_arguments_are_refused() {
        for source in [
            r#"parse_etld!("a.b", psl: "/etc/passwd")"#,
            r#"parse_groks!("x", patterns: ["%{date(\"HH:mm\"):time}"])"#,
            r#"parse_groks!("x", patterns: ["%{A}"], alias_sources: ["/etc/passwd"])"#,
            r#"parse_cef!("x", translate_custom_fields: true)"#,
        ] {
            let error = compile_error(source);
            assert!(error.contains("invalid argument"), "{source}: {error}");
        }
    }
}
