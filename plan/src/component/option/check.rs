//! Holds a written table against its specification, and finds every fault at once.

use super::value;
use super::{Default, OptionKind, OptionSpec, Variant, parse_field, variant_of};
use crate::component::Confidential;
use crate::diagnostic::{Checker, Code, Diagnostic, codes, nearest};
use crate::document::{Entry, Node, Table, Text, Value};
use std::net::SocketAddr;
use std::ops::Range;

/// How long a name in a map may be, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// How many options are listed when one is unknown and none is near.
const LISTED_MAX: usize = 12;

/// Vector's form of a condition.
const CONDITION: &[OptionSpec] = &[
    OptionSpec {
        name: "source",
        kind: OptionKind::Program,
        default: Default::Required,
        summary: "The program.",
    },
    OptionSpec {
        name: "type",
        kind: OptionKind::OneOf(&[("vrl", "a VRL program")]),
        default: Default::Required,
        summary: "The language.",
    },
];

/// Checks a table: unknown options, missing ones, and values that an option may not have, in nested
/// tables too.
///
/// `framework` lists keys that somebody else checks (`type`, `inputs`); `owner` says in words whose
/// options these are, as in "unknown option `x` of *a `syslog` source*".
pub fn check_options(
    table: &Table,
    specs: &[OptionSpec],
    framework: &[&str],
    owner: &str,
    checker: &mut Checker,
) {
    check_with(table, &specs.iter().collect::<Vec<_>>(), framework, owner, checker);
}

/// Checks a table against options from several lists.
pub(crate) fn check_with(
    table: &Table,
    specs: &[&OptionSpec],
    framework: &[&str],
    owner: &str,
    checker: &mut Checker,
) {
    for entry in &table.entries {
        match specs.iter().find(|spec| spec.name == entry.key) {
            Some(spec) => check_value(&entry.node, &spec.kind, &entry.key, checker),
            None if framework.contains(&entry.key.as_str()) => {}
            None => checker.report(unknown(entry, specs, framework, owner)),
        }
    }
    for spec in specs {
        if spec.default == Default::Required && table.node(spec.name).is_none() {
            let title = format!("{owner} needs the option `{}`", spec.name);
            let found =
                Diagnostic::error(codes::MISSING_OPTION, table.span, title, "not written here");
            checker.report(found.help(format!(
                "`{}`: {}",
                spec.name,
                first_sentence(spec.summary)
            )));
        }
    }
}

fn unknown(entry: &Entry, specs: &[&OptionSpec], framework: &[&str], owner: &str) -> Diagnostic {
    let title = format!("unknown option `{}` of {owner}", entry.key);
    let names = || specs.iter().map(|spec| spec.name).chain(framework.iter().copied());
    if let Some(name) = nearest(&entry.key, names()) {
        let label = format!("did you mean `{name}`?");
        return Diagnostic::error(codes::UNKNOWN_OPTION, entry.key_span, title, label);
    }
    let found = Diagnostic::error(codes::UNKNOWN_OPTION, entry.key_span, title, "");
    if specs.is_empty() || specs.len() > LISTED_MAX {
        return found;
    }
    let names: Vec<String> = specs.iter().map(|spec| format!("`{}`", spec.name)).collect();
    found.help(format!("its options are {}", names.join(", ")))
}

/// Checks one value; `name` is the option's, for messages.
pub(crate) fn check_value(node: &Node, kind: &OptionKind, name: &str, checker: &mut Checker) {
    if let OptionKind::Either(one, other) = kind {
        return check_either(node, one, other, name, checker);
    }
    if !has_shape(node, kind) {
        let title = format!("`{name}` is {}, not {}", shape(kind), node.type_name());
        checker.report(Diagnostic::error(codes::WRONG_TYPE, node.span, title, ""));
        return;
    }
    if let Some(found) = node.as_text().and_then(|text| misplaced_secret(text, kind, name)) {
        checker.report(found);
        return;
    }
    match (kind, &node.value) {
        (OptionKind::Condition, Value::Table(table)) => {
            check_options(table, CONDITION, &[], &format!("`{name}`"), checker);
        }
        (OptionKind::Table(specs), Value::Table(table)) => {
            check_options(table, specs, &[], &format!("`{name}`"), checker);
        }
        (OptionKind::Tagged { tag, variants }, Value::Table(table)) => {
            check_tagged(table, tag, variants, name, checker);
        }
        (OptionKind::List(item), Value::Array(items)) => {
            for (number, node) in items.iter().enumerate() {
                check_value(node, item, &format!("{name}[{number}]"), checker);
            }
        }
        (OptionKind::Map(item), Value::Table(table)) => {
            for entry in &table.entries {
                check_name(entry, name, checker);
                check_value(&entry.node, item, &format!("{name}.{}", entry.key), checker);
            }
        }
        _ => {
            if let Some(Flaw { code, title, label }) = flaw(node, kind, name) {
                checker.report(Diagnostic::error(code, node.span, title, label));
            }
        }
    }
}

/// Checks a table whose `tag` says which options it has beside it.
fn check_tagged(
    table: &Table,
    tag: &str,
    variants: &'static [Variant],
    name: &str,
    checker: &mut Checker,
) {
    if let Some(variant) = variant_of(table, tag, variants) {
        let owner = format!("`{name}` of {tag} `{}`", variant.name);
        return check_options(table, variant.options, &[tag], &owner, checker);
    }
    let known = variants.iter().map(|variant| variant.name);
    let list: Vec<String> = known.clone().map(|word| format!("`{word}`")).collect();
    let help = format!("`{tag}` is one of {}", list.join(", "));
    let Some(node) = table.node(tag) else {
        let title = format!("`{name}` needs the option `{tag}`");
        let found = Diagnostic::error(codes::MISSING_OPTION, table.span, title, "not written here");
        return checker.report(found.help(help));
    };
    let Some(text) = node.as_text() else {
        let title = format!("`{tag}` is a word, not {}", node.type_name());
        return checker.report(Diagnostic::error(codes::WRONG_TYPE, node.span, title, ""));
    };
    let near = nearest(&text.text, known).map(|word| format!("did you mean \"{word}\"?"));
    let title = format!("`{tag}` of `{name}` cannot be {:?}", text.text);
    let label = near.unwrap_or_default();
    checker.report(Diagnostic::error(codes::UNKNOWN_WORD, node.span, title, label).help(help));
}

/// Finds a secret that is named where it would be shown, or whose name cannot be read.
fn misplaced_secret(text: &Text, kind: &OptionKind, name: &str) -> Option<Diagnostic> {
    let refuse = |range: Range<usize>, title: String, help: &str| {
        Some(Diagnostic::error(codes::SECRET, text.place(range), title, "").help(help))
    };
    match (kind, Confidential::parse(&text.text)) {
        (OptionKind::Any, _) => None,
        (_, Err(range)) => {
            let title = "this names no secret".to_owned();
            refuse(range, title, "write `SECRET[backend.key]`; backends stand in `[secret]`")
        }
        (OptionKind::Confidential, Ok(_)) => None,
        (_, Ok(confidential)) => {
            confidential.names().next()?;
            let start = text.text.find("SECRET[")?;
            let length = text.text[start..].find(']')?;
            let title = format!("`{name}` is shown, and may hold no secret");
            let help = "the reference says of which options a value is confidential";
            refuse(start..start + length + 1, title, help)
        }
    }
}

/// Takes the form that the value has; of two possible ones that in which it has no fault.
fn check_either(
    node: &Node,
    one: &OptionKind,
    other: &OptionKind,
    name: &str,
    checker: &mut Checker,
) {
    match (has_shape(node, one), has_shape(node, other)) {
        (true, false) => check_value(node, one, name, checker),
        (false, true) => check_value(node, other, name, checker),
        (true, true) => {
            let (mut first, mut second) = (Checker::default(), Checker::default());
            check_value(node, one, name, &mut first);
            check_value(node, other, name, &mut second);
            if !second.diagnostics.is_empty() {
                checker.diagnostics.append(&mut first.diagnostics);
            }
        }
        (false, false) => {
            let forms = format!("{} or {}", shape(one), shape(other));
            let title = format!("`{name}` is {forms}, not {}", node.type_name());
            checker.report(Diagnostic::error(codes::WRONG_TYPE, node.span, title, ""));
        }
    }
}

fn check_name(entry: &Entry, name: &str, checker: &mut Checker) {
    if entry.key.is_empty() || entry.key.len() > NAME_BYTES_MAX {
        let title =
            format!("a name in `{name}` has 1 to {NAME_BYTES_MAX} bytes, not {}", entry.key.len());
        checker.report(Diagnostic::error(codes::OUT_OF_BOUNDS, entry.key_span, title, ""));
    }
}

/// Whether a value has a type of TOML that the option may have.
pub(crate) fn has_shape(node: &Node, kind: &OptionKind) -> bool {
    match kind {
        OptionKind::Any => true,
        OptionKind::Boolean => matches!(node.value, Value::Boolean(_)),
        OptionKind::Integer { .. } => matches!(node.value, Value::Integer(_)),
        OptionKind::Bytes { .. } => matches!(node.value, Value::Integer(_) | Value::Text(_)),
        OptionKind::Seconds => matches!(node.value, Value::Integer(_) | Value::Float(_)),
        OptionKind::Condition => matches!(node.value, Value::Text(_) | Value::Table(_)),
        OptionKind::List(_) => matches!(node.value, Value::Array(_)),
        OptionKind::Map(_) | OptionKind::Table(_) | OptionKind::Tagged { .. } => {
            matches!(node.value, Value::Table(_))
        }
        OptionKind::Either(one, other) => has_shape(node, one) || has_shape(node, other),
        OptionKind::Text
        | OptionKind::Program
        | OptionKind::Template
        | OptionKind::Confidential
        | OptionKind::Duration
        | OptionKind::SocketAddress
        | OptionKind::Path
        | OptionKind::Field
        | OptionKind::TimeZone
        | OptionKind::OneOf(_) => matches!(node.value, Value::Text(_)),
    }
}

/// Says in words what an option may be.
pub(crate) fn shape(kind: &OptionKind) -> String {
    let words = match kind {
        OptionKind::Text => "a text",
        OptionKind::Program => "a VRL program",
        OptionKind::Condition => "a VRL condition",
        OptionKind::Template => "a template",
        OptionKind::Confidential => "a text",
        OptionKind::Boolean => "a boolean",
        OptionKind::Integer { .. } => "a whole number",
        OptionKind::Bytes { .. } => "a size in bytes",
        OptionKind::Duration => "a span of time like \"10s\"",
        OptionKind::Seconds => "a number of seconds",
        OptionKind::SocketAddress => "an address with a port",
        OptionKind::Path => "a path",
        OptionKind::Field => "a field",
        OptionKind::TimeZone => "a time zone",
        OptionKind::OneOf(_) => "a word",
        OptionKind::Map(_) | OptionKind::Table(_) | OptionKind::Tagged { .. } => "a table",
        OptionKind::Any => "any value",
        OptionKind::List(_) => "a list",
        OptionKind::Either(one, other) => return format!("{} or {}", shape(one), shape(other)),
    };
    words.to_owned()
}

struct Flaw {
    code: Code,
    title: String,
    label: String,
}

fn malformed(name: &str, what: &str, label: &str) -> Option<Flaw> {
    let title = format!("`{name}` is not {what}");
    Some(Flaw { code: codes::MALFORMED_VALUE, title, label: label.to_owned() })
}

fn out_of_bounds(name: &str, value: &str, bounds: &str) -> Option<Flaw> {
    let title = format!("`{name}` is {value}, {bounds}");
    Some(Flaw { code: codes::OUT_OF_BOUNDS, title, label: String::new() })
}

/// Finds what is wrong with a simple value of the right type.
fn flaw(node: &Node, kind: &OptionKind, name: &str) -> Option<Flaw> {
    let text = node.as_text().map_or("", |text| &text.text);
    match (kind, &node.value) {
        (OptionKind::Integer { min, max }, Value::Integer(number)) if number < min => {
            out_of_bounds(
                name,
                &number.to_string(),
                &format!("below the least of {min} (at most {max})"),
            )
        }
        (OptionKind::Integer { max, .. }, Value::Integer(number)) if number > max => {
            out_of_bounds(name, &number.to_string(), &format!("above the limit of {max}"))
        }
        (OptionKind::Bytes { min, max }, _) => flaw_of_bytes(node, *min, *max, name),
        (OptionKind::Duration, _) if value::duration(node).is_none() => {
            malformed(name, "a span of time", "a number with its unit: ms, s, m, h or d")
        }
        (OptionKind::Seconds, _) if value::seconds(node).is_none() => {
            out_of_bounds(name, "out of range", "it is from 0 to a hundred years, in seconds")
        }
        (OptionKind::SocketAddress, _) if text.parse::<SocketAddr>().is_err() => {
            malformed(name, "an address with a port", "like 127.0.0.1:5514 or [::1]:5514")
        }
        (OptionKind::Path, _) if text.is_empty() || text.contains('\0') => {
            malformed(name, "a path", "a path is not empty and has no NUL")
        }
        (OptionKind::Field, _) if parse_field(text).is_none() => {
            malformed(name, "the path of a field", "like user.name or tags[0]")
        }
        (OptionKind::TimeZone, _) if !value::is_time_zone(text) => {
            malformed(name, "a time zone", "like Europe/Madrid, UTC or +05:30")
        }
        (OptionKind::OneOf(words), _) if words.iter().all(|(word, _)| *word != text) => {
            Some(unknown_word(text, words, name))
        }
        _ => None,
    }
}

fn flaw_of_bytes(node: &Node, min: u64, max: u64, name: &str) -> Option<Flaw> {
    let Some(bytes) = value::bytes(node) else {
        return malformed(name, "a size", "bytes as a whole number, or like \"16KiB\", \"10MB\"");
    };
    let show = value::show_bytes;
    if bytes < min {
        out_of_bounds(name, &show(bytes), &format!("below the least of {}", show(min)))
    } else if bytes > max {
        out_of_bounds(name, &show(bytes), &format!("above the limit of {}", show(max)))
    } else {
        None
    }
}

fn unknown_word(text: &str, words: &[(&str, &str)], name: &str) -> Flaw {
    let known = || words.iter().map(|(word, _)| *word);
    let label = match nearest(text, known()) {
        Some(word) => format!("did you mean \"{word}\"?"),
        None => {
            let list: Vec<String> = known().map(|word| format!("\"{word}\"")).collect();
            format!("it is {}", list.join(", "))
        }
    };
    let title = format!("`{name}` cannot be {text:?}");
    Flaw { code: codes::UNKNOWN_WORD, title, label }
}

/// Gives the first sentence of a summary, without its full stop.
fn first_sentence(summary: &str) -> &str {
    summary.split(". ").next().unwrap_or(summary).trim_end_matches('.')
}
