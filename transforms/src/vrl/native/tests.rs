//! Native programs against the walk of VRL: random programs of what is lowered, on random records.

use crate::vrl::functions::PURE;
use crate::vrl::lower::{Effects, OTHERS, lower};
use crate::vrl::source::Source;
use crate::vrl::testing::{condition, remap, source_of};
use crate::vrl::{Compiler, Program};
use azud_event::block::{Block, Frame, Layout};
use azud_event::codec::json::encode_json;
use azud_event::id::{SourceIndex, StreamId};
use azud_event::record::Record;
use azud_event::time::EventTime;
use azud_plan::diagnostic::Checker;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use vrl::owned_value_path;
use vrl::path::OwnedTargetPath;
use vrl::value::Value;

/// A record as it comes from the wire: a JSON document, and a line that may be no UTF-8.
fn record_of(document: &str, line: &[u8]) -> Record {
    let bytes = [document.as_bytes(), line].concat();
    let block = Block {
        source: SourceIndex(0),
        stream: StreamId(0),
        position: 0,
        end: bytes.len() as u64,
        received_at: EventTime::EPOCH,
        bytes: bytes.into(),
        layout: Layout::Lines,
        peers: [].into(),
    };
    let end = document.len() + line.len();
    let mut record = Record::new();
    record.begin(&block, &Frame { range: 0..end, peer: 0, received_delta_us: 0 });
    record.decode_json(0..document.len()).unwrap();
    record.push_text("line", document.len()..end);
    record.push_timestamp("at", EventTime::from_nanoseconds(1_772_359_200_000_000_000));
    record.push_static("word", "static");
    record
}

/// Gives the event as it is written, and the metadata.
///
/// That as a value: VRL has two forms of a string, which are equal, and of which it makes now the
/// one and now the other.
fn written(record: &Record) -> (String, Option<Value>) {
    let mut out = Vec::new();
    encode_json(record, &mut out);
    let metadata = record.get_target(&OwnedTargetPath::metadata_root()).cloned();
    (String::from_utf8(out).unwrap(), metadata)
}

/// Compiles a program quietly; `None` when VRL refuses it.
fn compiled(text: &str) -> Option<Program> {
    let source: Source<'_> = source_of(text);
    Compiler::new("test").remap(&source, &mut Checker::default())
}

/// Runs a program both ways on the same record and compares all that can be told afterwards.
fn compare(program: &Program, text: &str, record: &dyn Fn() -> Record) -> Result<(), String> {
    let mut walker = program.runner();
    walker.walk();
    let mut native = program.runner();
    if !native.is_native() {
        return Err(format!("not lowered: {text}"));
    }
    // Twice, for what a run leaves behind must not be seen by the next.
    for _ in 0..2 {
        let (mut walked, mut ran) = (record(), record());
        let before = written(&ran);
        let mark = ran.mark();
        let (expected, outcome) = (walker.run(&mut walked), native.run(&mut ran));
        if outcome != expected {
            return Err(format!("{outcome:?} and not {expected:?}: {text}"));
        }
        let (expected, found) = (written(&walked), written(&ran));
        if found != expected || ran.to_value() != walked.to_value() {
            return Err(format!("{found:?} and not {expected:?}: {text}"));
        }
        ran.undo_to(mark);
        if written(&ran) != before {
            return Err(format!("{:?} was {before:?}: {text}", written(&ran)));
        }
    }
    Ok(())
}

fn literal() -> impl Strategy<Value = String> {
    select(vec![
        "\"\"",
        "\"a\"",
        "\"A b\"",
        "\"é\"",
        "s'raw'",
        "\"12\"",
        "\"sshd\"",
        "0",
        "1",
        "12",
        "-3",
        "1.0",
        "2.5",
        "true",
        "false",
        "null",
        "t'2026-03-01T10:00:00Z'",
        "\"x{{ v }}y\"",
        "[]",
        "{}",
    ])
    .prop_map(str::to_owned)
}

fn field() -> impl Strategy<Value = String> {
    select(vec![
        ".a",
        ".b",
        ".a.b",
        ".a.b.c",
        ".c.d",
        ".c",
        ".line",
        ".at",
        ".word",
        ".n",
        ".list",
        ".list[0]",
        ".list[-1]",
        ".new",
        ".new.x",
        ".\"a b\"",
        "%m",
        "%m.x",
        ".",
    ])
    .prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = String> {
    select(vec![
        r"r'^(?P<first>\w+) (?P<second>\S+)?'",
        r"r'(?P<number>-?\d+)|(?P<other>[a-zé]+)'",
        r"r'(?i)failed .*? for (?P<user>\S+)( port (?P<port>\d+))?'",
        r"r'\w'",
    ])
    .prop_map(str::to_owned)
}

/// Expressions, by what they give.
#[derive(Clone, Copy)]
enum Gives {
    Any,
    Text,
    Number,
    Truth,
}

fn leaf() -> BoxedStrategy<String> {
    let locals = ["v", "w", "m", "m.first", "m.second", "m.number", "err", "v.x", "m.no.x"];
    prop_oneof![
        2 => literal(),
        4 => field(),
        1 => select(locals.to_vec()).prop_map(str::to_owned),
    ]
    .boxed()
}

fn call(names: &[&'static str], inner: BoxedStrategy<String>) -> BoxedStrategy<String> {
    (select(names.to_vec()), inner).prop_map(|(name, inner)| format!("{name}({inner})")).boxed()
}

fn pair(
    operators: &[&'static str],
    one: BoxedStrategy<String>,
    other: BoxedStrategy<String>,
) -> BoxedStrategy<String> {
    (one, select(operators.to_vec()), other)
        .prop_map(|(one, operator, other)| format!("({one} {operator} {other})"))
        .boxed()
}

fn expression(gives: Gives, depth: u32) -> BoxedStrategy<String> {
    match (gives, depth) {
        (Gives::Any, 0) => leaf(),
        (Gives::Text, 0) => call(&["to_string!"], leaf()),
        (Gives::Number, 0) => call(&["to_int!"], leaf()),
        (Gives::Truth, 0) => call(&["is_string"], leaf()),
        (Gives::Any, _) => any_expression(depth - 1),
        (Gives::Text, _) => text_expression(depth - 1),
        (Gives::Number, _) => number_expression(depth - 1),
        (Gives::Truth, _) => truth_expression(depth - 1),
    }
}

fn any_expression(depth: u32) -> BoxedStrategy<String> {
    let next = |gives| expression(gives, depth);
    let any = || next(Gives::Any);
    let may_fail = ["to_int", "string", "downcase", "to_float", "object"];
    let arithmetic = pair(&["+", "-", "*", "/", "<"], any(), any());
    prop_oneof![
        4 => leaf(),
        1 => next(Gives::Text),
        1 => next(Gives::Number),
        1 => next(Gives::Truth),
        2 => (field(), select(vec!["", ", true"]))
            .prop_map(|(field, compact)| format!("del({field}{compact})")),
        1 => pair(&["??"], call(&may_fail, any()), any()),
        1 => pair(&["??"], arithmetic, any()),
        1 => pair(&["||"], any(), any()),
        1 => (any(), any()).prop_map(|(a, b)| format!("[{a}, {b}]")),
        1 => (any(), any()).prop_map(|(a, b)| format!("{{ \"y\": {a}, \"x\": {b} }}")),
        1 => (next(Gives::Truth), any(), any())
            .prop_map(|(a, b, c)| format!("(if {a} {{ {b} }} else {{ {c} }})")),
        1 => (next(Gives::Truth), any())
            .prop_map(|(a, b)| format!("(if {a} {{ v = 1; {b} }})")),
        1 => (field(), any()).prop_map(|(a, b)| format!("({a} = {b})")),
        1 => (any(), pattern()).prop_map(|(a, b)| format!("parse_regex!({a}, {b}).first")),
        1 => (any(), pattern()).prop_map(|(a, b)| format!("parse_regex!({a}, {b})")),
        1 => next(Gives::Text).prop_map(|a| format!("{{ \"x\": {a} }}.x")),
    ]
    .boxed()
}

fn text_expression(depth: u32) -> BoxedStrategy<String> {
    let next = |gives| expression(gives, depth);
    prop_oneof![
        2 => call(&["string!", "to_string!", "to_string"], next(Gives::Any)),
        2 => call(&["downcase!", "upcase!", "strip_whitespace!"], next(Gives::Any)),
        1 => call(&["downcase", "upcase"], next(Gives::Text)),
        1 => pair(&["+"], next(Gives::Text), next(Gives::Text)),
    ]
    .boxed()
}

fn number_expression(depth: u32) -> BoxedStrategy<String> {
    let next = |gives| expression(gives, depth);
    prop_oneof![
        3 => call(&["to_int!", "to_int", "int!", "length!"], next(Gives::Any)),
        1 => pair(&["+", "-", "*"], next(Gives::Number), next(Gives::Number)),
    ]
    .boxed()
}

fn truth_expression(depth: u32) -> BoxedStrategy<String> {
    let next = |gives| expression(gives, depth);
    let parts = ["\"a\"", "\"\"", "\"é\"", "\"sshd\"", "s'\u{fffd}'"];
    prop_oneof![
        2 => call(&["is_null", "is_string", "is_nullish"], next(Gives::Any)),
        1 => call(&["exists"], field().boxed()),
        1 => call(&["!"], next(Gives::Truth)),
        4 => pair(&["==", "!="], next(Gives::Any), next(Gives::Any)),
        1 => pair(&["<", "<=", ">", ">="], next(Gives::Number), next(Gives::Number)),
        1 => pair(&["<", ">="], next(Gives::Text), next(Gives::Text)),
        2 => pair(&["&&", "||"], next(Gives::Truth), next(Gives::Truth)),
        2 => (
            select(vec!["contains", "starts_with", "ends_with"]),
            next(Gives::Any),
            select(parts.to_vec()),
        )
            .prop_map(|(name, a, b)| format!("{name}!({a}, {b})")),
        1 => (vec(literal(), 0..4), next(Gives::Any))
            .prop_map(|(list, a)| format!("includes([{}], {a})", list.join(", "))),
    ]
    .boxed()
}

fn statement() -> BoxedStrategy<String> {
    let value = || expression(Gives::Any, 3);
    let plain = prop_oneof![
        6 => (field(), value()).prop_map(|(field, value)| format!("{field} = {value}")),
        2 => (select(vec!["v", "w", "v.x", "m.first", "err"]), value())
            .prop_map(|(name, value)| format!("{name} = {value}")),
        2 => (field(), field()).prop_map(|(to, from)| format!("{to} = del({from})")),
        2 => (value(), pattern()).prop_map(|(a, b)| format!("m, err = parse_regex({a}, {b})")),
        1 => (value(), pattern()).prop_map(|(a, b)| format!(".a, .b = parse_regex({a}, {b})")),
        1 => (value(), pattern()).prop_map(|(a, b)| format!("m = parse_regex!({a}, {b})")),
        1 => (select(vec!["to_int", "string", "downcase", "to_string"]), value())
            .prop_map(|(name, a)| format!("v, .err = {name}({a})")),
        1 => (value(), value()).prop_map(|(a, b)| format!("_, w = contains({a}, \"a\"); {b}")),
        1 => field().prop_map(|field| format!("del({field}, true)")),
        1 => expression(Gives::Text, 1).prop_map(|a| format!("if exists(.stop) {{ abort {a} }}")),
        1 => expression(Gives::Truth, 2).prop_map(|a| format!("if {a} {{ abort }}")),
    ]
    .boxed();
    let branch = (expression(Gives::Truth, 2), plain.clone(), plain.clone());
    prop_oneof![
        5 => plain,
        2 => branch.prop_map(|(a, b, c)| format!("if {a} {{ {b} }} else {{ {c} }}")),
    ]
    .boxed()
}

/// Gives the variables that expressions name.
const START: &str =
    "v = .n; w = .list; m, err = parse_regex(.line, r'(?P<first>a+)(?P<second>b)?')";

/// Puts together what of the statements VRL accepts behind one another.
fn program(statements: &[String]) -> Option<(String, Program)> {
    let mut text = START.to_owned();
    let mut program = compiled(&text)?;
    for statement in statements {
        let longer = format!("{text}\n{statement}");
        if let Some(compiled) = compiled(&longer) {
            (text, program) = (longer, compiled);
        }
    }
    Some((text, program))
}

fn document() -> impl Strategy<Value = String> {
    let value = || {
        select(vec![
            "1",
            "-12",
            "2.0",
            "2.5",
            "123456789012345678901",
            "true",
            "null",
            r#""""#,
            r#""a""#,
            r#""12""#,
            r#""Failed key for é port 22""#,
            r#""ab b""#,
            r#""A\n\u00e9""#,
            r#""sshd""#,
            r#"{"b":{"c":"x"},"x":1}"#,
            r#"{"b":"text"}"#,
            r#"["a",{"x":2},3]"#,
            "[]",
            "{}",
        ])
    };
    let names = select(vec!["a", "b", "c", "n", "list", "new", "a b", "stop"]);
    vec((names, value()), 0..7).prop_map(|members| {
        let members: Vec<_> =
            members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        format!("{{{}}}", members.join(", "))
    })
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        select(vec![
            &b"aab sshd"[..],
            b"Failed password for root port 22",
            b"a\xffb",
            b"\xe6\xbc",
            b"",
            b"-77",
            b"A",
            "ÉCOLE a b".as_bytes(),
        ])
        .prop_map(<[u8]>::to_vec),
        vec(select(b"ab \xc3\xa9\xff1".to_vec()), 0..8),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_native_program_does_what_the_walk_does(
        statements in vec(statement(), 1..6),
        records in vec((document(), line()), 1..6),
    ) {
        let (text, program) = program(&statements).unwrap();
        for (document, line) in records {
            let record = || record_of(&document, &line);
            let compared = compare(&program, &text, &record);
            prop_assert!(compared.is_ok(), "{}\n{document} {line:?}", compared.unwrap_err());
        }
    }

    #[test]
    fn a_native_condition_says_what_the_walk_says(
        text in expression(Gives::Truth, 4),
        records in vec((document(), line()), 1..6),
    ) {
        let text = format!("{START}; {text}");
        prop_assume!(!text.contains("'''"));
        let source = format!("a = '''{text}'''");
        let mut checker = Checker::default();
        let document = azud_plan::document::Document::parse(0, &source, &mut checker).unwrap();
        let node = document.root.node("a").and_then(azud_plan::document::Node::as_text).unwrap();
        let Some(program) = Compiler::new("test").condition(node, "c", &mut checker) else {
            return Ok(());
        };
        let (mut walker, mut native) = (program.runner(), program.runner());
        walker.walk();
        prop_assert!(native.is_native(), "not lowered: {text}");
        for (document, line) in records {
            let record = record_of(&document, &line);
            let before = written(&record);
            let expected = walker.holds(&record);
            prop_assert_eq!(native.holds(&record), expected, "{}\n{} {:?}", text, document, line);
            prop_assert_eq!(written(&record), before);
        }
    }
}

#[test]
fn many_random_statements_compile() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..60 {
        let text = statement().new_tree(&mut runner).unwrap().current();
        accepted += usize::from(
            program(std::slice::from_ref(&text)).is_some_and(|(all, _)| all.ends_with(&text)),
        );
    }
    assert!(accepted >= 15, "VRL accepts only {accepted} of 60");
}

#[test]
fn what_loops_or_is_not_known_is_left_to_the_walk() {
    for text in [
        "for_each(array!(.a)) -> |_i, v| { .b = v }",
        ". |= { \"a\": 1 }",
        ".a = now()",
        ".a = parse_key_value!(.a, \",\")",
        ".a = parse_regex!(.a, r'a', numeric_groups: true)",
        ".a = contains(\"a\", .b) ?? false",
        "return 1",
    ] {
        assert!(lower(text, Effects::Change).is_none(), "{text}");
    }
    assert!(lower(".a = 1; true", Effects::None).is_none());
    assert!(lower("del(.a) == 1", Effects::None).is_none());
    let many = ".a = 1\n".repeat(super::super::lower::EXPRESSIONS_LOWERED_MAX / 2);
    assert!(lower(&many, Effects::Change).is_some());
    assert!(lower(&format!("{many}.a = 1"), Effects::Change).is_none());
}

#[test]
fn what_is_left_to_vrl_depends_on_its_argument_alone() {
    for name in OTHERS {
        assert!(PURE.contains(name), "{name}");
        assert!(lower(&format!("{name}(.a)"), Effects::Change).is_some(), "{name}");
    }
    assert!(OTHERS.is_sorted());
}

#[test]
fn errors_say_where_they_are_as_the_walk_says() {
    for text in [
        ".x = to_int!(.line)",
        ".x = upcase!(string!(.n))",
        ".y = parse_regex!(.line, r'zzz')",
        ".x, .err = parse_regex(.n, r'z')",
        ".x = (to_int!(.line) + 1) * 2",
        "if .n == 1 { abort \"é\" }",
        ".x = starts_with!(.list, \"a\")",
    ] {
        let program = remap(text);
        let record = || record_of(r#"{"n": 1, "list": [1]}"#, b"word");
        compare(&program, text, &record).unwrap();
    }
    let mut runner = condition("to_int!(.line) == 1").runner();
    assert!(runner.is_native());
    let fault = runner.holds(&record_of("{}", b"word")).unwrap_err();
    assert!(fault.message.starts_with("function call error for \"to_int\" at (0:14): "), "{fault}");
}

#[test]
fn a_field_that_moves_is_written_as_it_stood() {
    let program = remap(".host.name = del(.line)");
    let mut record = record_of(r#"{"a":1}"#, b"caf\xc3\xa9 \"x\"");
    program.runner().run(&mut record);
    record.remove(&owned_value_path!("at"), false);
    record.remove(&owned_value_path!("word"), false);
    let mut out = Vec::new();
    encode_json(&record, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":1,"host":{"name":"café \"x\""}}"#);
}
