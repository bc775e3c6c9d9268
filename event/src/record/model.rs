//! Records against their model: the [`Value`] that `serde_json` makes of the same text, changed by
//! VRL's own functions.

use super::tree::NODES_LAZY_MAX;
use super::{Look, Mark, Record, Taken};
use crate::block::{Block, Frame, Layout, Peer};
use crate::codec::json::{encode_json, encode_value};
use crate::id::{SourceIndex, StreamId};
use crate::time::EventTime;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::sync::Arc;
use vrl::compiler::Target;
use vrl::path::{OwnedSegment, OwnedTargetPath, PathPrefix, parse_target_path};
use vrl::value::Value;

/// Makes a block of one frame, `text`, with other bytes before and behind it.
pub(crate) fn block_of(text: &[u8]) -> (Block, Frame) {
    let bytes = [b"\"before\x80", text, b"\"behind"].concat();
    let block = Block {
        source: SourceIndex(3),
        stream: StreamId(5),
        position: 7,
        end: 8,
        received_at: EventTime::from_nanoseconds(11),
        bytes: Bytes::from(bytes),
        layout: Layout::Heads,
        peers: Arc::from([]),
    };
    (block, Frame { range: 8..8 + text.len(), peer: 0, received_delta_us: 0 })
}

/// Makes a record of a JSON document.
pub(crate) fn record_of(text: &[u8]) -> Record {
    let mut record = Record::new();
    fill(&mut record, text);
    record
}

/// Makes a record that was used before one of a JSON document.
fn fill(record: &mut Record, text: &[u8]) {
    let (block, frame) = block_of(text);
    record.begin(&block, &frame);
    record.decode_json(frame.range).unwrap();
}

fn encoded(record: &Record) -> String {
    let mut out = Vec::new();
    encode_json(record, &mut out);
    String::from_utf8(out).unwrap()
}

/// What is left of a value after a way through JSON.
fn through_json(value: &Value) -> Value {
    serde_json::from_slice(&serde_json::to_vec(value).unwrap()).unwrap()
}

const NAMES: [&str; 8] = ["a", "b", "c", "d e", "é", "q\"\n", "a long name", "a long nose"];

fn spacing() -> impl Strategy<Value = &'static str> {
    prop_oneof![6 => Just(""), 2 => Just(" "), 1 => Just("\t  ")]
}

fn name_text() -> impl Strategy<Value = String> {
    const TEXTS: &[&str] = &[
        "a long name",
        "a long nose",
        "a",
        "b",
        "c",
        "d e",
        "é",
        r#"q\"\n"#,
        r"\u0061",
        r"\u00e9",
        "b\\u0020",
    ];
    proptest::sample::select(TEXTS).prop_map(|name| format!("\"{name}\""))
}

fn scalar_text() -> impl Strategy<Value = String> {
    let plain = [
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-0.0",
        "1e3",
        "1E-400",
        "0.1",
        "-12.5e+10",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551616",
        "123456789012345678901234567890",
        "2.2250738585072011e-308",
        r#""""#,
        r#""a \" \\ \/ \b \f \n \r \t é""#,
        r#""\u00e9 \ud83d\ude00 \u0000 x""#,
        "\"\u{7f} 漢字 😀 and some more plain text\"",
    ];
    prop_oneof![
        proptest::sample::select(plain.map(str::to_owned).to_vec()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("JSON has no other numbers", |number| number.is_finite())
            .prop_map(|number| serde_json::to_string(&number).unwrap()),
        "[ -~é\u{0}-\u{20}]{0,20}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ]
}

fn object_text(value: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let member = (spacing(), name_text(), spacing(), spacing(), value, spacing())
        .prop_map(|(a, name, b, c, value, d)| format!("{a}{name}{b}:{c}{value}{d}"))
        .boxed();
    let narrow = (spacing(), vec(member.clone(), 0..6)).prop_map(|(space, members)| {
        let members = members.join(",");
        format!("{{{space}{members}}}")
    });
    // Wider than nodes are made for.
    let wide = vec(member, 1..3).prop_map(|members| {
        let others: Vec<_> = (0..128).map(|n| format!("\"w{n}\":{n}")).collect();
        format!("{{{},{},{}}}", others[..64].join(","), members.join(","), others[64..].join(","))
    });
    prop_oneof![15 => narrow, 1 => wide].boxed()
}

fn value_text() -> BoxedStrategy<String> {
    scalar_text()
        .prop_recursive(4, 24, 4, |inner| {
            let array =
                (spacing(), vec((inner.clone(), spacing()), 0..4)).prop_map(|(a, values)| {
                    let values: Vec<_> =
                        values.into_iter().map(|(v, b)| format!("{b}{v}{b}")).collect();
                    format!("[{a}{}]", values.join(","))
                });
            prop_oneof![2 => object_text(inner.boxed()), 1 => array]
        })
        .boxed()
}

/// JSON documents, mostly objects, with spacing around them.
pub(crate) fn document() -> BoxedStrategy<String> {
    let root = prop_oneof![9 => object_text(value_text()), 1 => value_text()];
    (spacing(), root, spacing()).prop_map(|(a, root, b)| format!("{a}{root}{b}")).boxed()
}

/// Paths of the event and its metadata, of the names in documents.
pub(crate) fn path() -> impl Strategy<Value = OwnedTargetPath> {
    let segment = prop_oneof![
        5 => proptest::sample::select(&NAMES[..]).prop_map(OwnedSegment::field),
        1 => (-3isize..4).prop_map(OwnedSegment::Index),
    ];
    let prefix = prop_oneof![9 => Just(PathPrefix::Event), 1 => Just(PathPrefix::Metadata)];
    (prefix, vec(segment, 0..5))
        .prop_map(|(prefix, segments)| OwnedTargetPath { prefix, path: segments.into() })
}

fn value() -> BoxedStrategy<Value> {
    let time = any::<i64>().prop_map(|time| EventTime::from_nanoseconds(time).to_chrono().into());
    let json = value_text().prop_map(|text| serde_json::from_str(&text).unwrap());
    prop_oneof![4 => json, 1 => time].boxed()
}

#[derive(Clone, Debug)]
enum Step {
    Get(OwnedTargetPath),
    GetMut(OwnedTargetPath, Value),
    Insert(OwnedTargetPath, Value),
    Remove(OwnedTargetPath, bool),
    Look(OwnedTargetPath),
    /// What is at the first path goes to the second; `None` copies it.
    Move(OwnedTargetPath, OwnedTargetPath, Option<bool>),
    Encode,
    Mark,
    Undo(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => path().prop_map(Step::Get),
        1 => (path(), value()).prop_map(|(path, value)| Step::GetMut(path, value)),
        4 => (path(), value()).prop_map(|(path, value)| Step::Insert(path, value)),
        4 => (path(), any::<bool>()).prop_map(|(path, compact)| Step::Remove(path, compact)),
        2 => path().prop_map(Step::Look),
        4 => (path(), path(), any::<Option<bool>>())
            .prop_map(|(from, to, compact)| Step::Move(from, to, compact)),
        1 => Just(Step::Encode),
        2 => Just(Step::Mark),
        1 => any::<usize>().prop_map(Step::Undo),
    ];
    vec(step, 0..20)
}

/// The event and its metadata.
type Model = [Value; 2];

fn part<'a>(model: &'a mut Model, path: &OwnedTargetPath) -> &'a mut Value {
    &mut model[usize::from(path.prefix == PathPrefix::Metadata)]
}

/// Gives what a look tells, as a value.
fn looked(record: &Record, path: &OwnedTargetPath) -> Option<Value> {
    match record.look(path) {
        Look::Nothing => None,
        Look::Text(text) => {
            let value = record.text_value(text);
            assert_eq!(value.as_bytes().map(|bytes| &bytes[..]), Some(record.text(text)));
            Some(value)
        }
        Look::Scalar(value) => Some(value),
        Look::Value(value) => Some(value.clone()),
    }
}

/// Takes the same step with both and compares what it gives.
fn take(
    step: Step,
    record: &mut Record,
    model: &mut Model,
    marks: &mut Vec<(Mark, Model)>,
) -> Result<(), TestCaseError> {
    match step {
        Step::Get(path) => {
            let expected = part(model, &path).get(&path.path);
            prop_assert_eq!(record.get_target(&path), expected);
            if path.prefix == PathPrefix::Event {
                let text = expected.map(|value| match value {
                    Value::Bytes(_) | Value::String(_) => value.coerce_to_bytes(),
                    other => serde_json::to_vec(&other).unwrap().into(),
                });
                let bytes = record.get_bytes(&path.path);
                prop_assert_eq!(bytes.is_some(), text.is_some());
                if expected.is_some_and(Value::is_bytes) {
                    prop_assert_eq!(bytes.as_deref(), text.as_deref());
                }
            }
        }
        Step::GetMut(path, value) => {
            let expected = part(model, &path).get_mut(&path.path);
            let place = record.target_get_mut(&path).unwrap();
            prop_assert_eq!(&place, &expected);
            if let (Some(place), Some(expected)) = (place, expected) {
                *place = value.clone();
                *expected = value;
            }
        }
        Step::Insert(path, value) => {
            part(model, &path).insert(&path.path, value.clone());
            record.insert_target(&path, value);
        }
        Step::Remove(path, compact) => {
            let expected = part(model, &path).remove(&path.path, compact);
            prop_assert_eq!(record.remove_target(&path, compact), expected);
        }
        Step::Look(path) => {
            let expected = part(model, &path).get(&path.path).cloned();
            prop_assert_eq!(record.has_target(&path), expected.is_some());
            prop_assert_eq!(looked(record, &path), expected);
        }
        Step::Move(from, to, compact) => move_both(&from, &to, compact, record, model)?,
        Step::Encode => {
            let text = encoded(record);
            prop_assert!(!text.contains(['\n', '\r']));
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(value, through_json(&model[0]), "{}", text);
        }
        Step::Mark => marks.push((record.mark(), model.clone())),
        Step::Undo(which) if !marks.is_empty() => {
            marks.truncate(which % marks.len() + 1);
            let (mark, before) = marks.last().unwrap();
            // The values of the roots are there, and must not outlive the undoing.
            record.get_target(&OwnedTargetPath::event_root());
            record.get_target(&OwnedTargetPath::metadata_root());
            record.undo_to(*mark);
            model.clone_from(before);
            compare(record, model)?;
        }
        Step::Undo(_) => {}
    }
    Ok(())
}

/// Moves what is at `from` to `to` in both, or copies it, as native programs do.
fn move_both(
    from: &OwnedTargetPath,
    to: &OwnedTargetPath,
    compact: Option<bool>,
    record: &mut Record,
    model: &mut Model,
) -> Result<(), TestCaseError> {
    let expected = match compact {
        Some(compact) => part(model, from).remove(&from.path, compact),
        None => part(model, from).get(&from.path).cloned(),
    };
    let taken = match (compact, record.look(from)) {
        (Some(compact), _) => record.take(from, compact),
        (None, Look::Nothing) => None,
        (None, Look::Text(text)) => Some(Taken::Text(text)),
        (None, Look::Scalar(value)) => Some(Taken::Value(value)),
        (None, Look::Value(value)) => Some(Taken::Value(value.clone())),
    };
    prop_assert_eq!(taken.is_some(), expected.is_some());
    match taken {
        Some(Taken::Text(text)) => record.insert_text(to, text),
        Some(Taken::Value(value)) => record.insert_target(to, value),
        None => {}
    }
    if let Some(expected) = expected {
        part(model, to).insert(&to.path, expected);
    }
    Ok(())
}

/// Compares everything that can be told of a record.
fn compare(record: &Record, model: &Model) -> Result<(), TestCaseError> {
    let text = encoded(record);
    prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), through_json(&model[0]));
    prop_assert_eq!(record.to_value(), model[0].clone());
    prop_assert_eq!(record.root_is_object(), model[0].is_object());
    for name in NAMES {
        let has = model[0].as_object().is_some_and(|members| members.contains_key(name));
        prop_assert_eq!(record.has(name), has);
    }
    let metadata = OwnedTargetPath::metadata_root();
    prop_assert_eq!(record.get_target(&metadata), Some(&model[1]));
    Ok(())
}

#[test]
fn a_document_of_very_many_fields_is_read_and_changed_the_same() {
    let inner: Vec<_> = (0..100).map(|n| format!("\"i{n}\":{{\"x\":{n}}}")).collect();
    let outer: Vec<_> = (0..120).map(|n| format!("\"o{n}\":{{{}}}", inner.join(","))).collect();
    let text = format!("{{{}}}", outer.join(","));
    let mut record = record_of(text.as_bytes());
    assert!(record.tree.nodes.len() < 2 * NODES_LAZY_MAX, "{} nodes", record.tree.nodes.len());
    let mut model = [serde_json::from_str(&text).unwrap(), Value::Object(Default::default())];
    compare(&record, &model).unwrap();
    let mark = record.mark();
    let before = model.clone();
    for path in ["o0.i0.x", "o119.i99.x", "o119.i99.y.z", "o119.new.z", "new.new", "o5[1].x"] {
        let path = parse_target_path(path).unwrap();
        model[0].insert(&path.path, 7);
        record.insert_target(&path, Value::from(7));
        compare(&record, &model).unwrap();
    }
    record.undo_to(mark);
    compare(&record, &before).unwrap();
}

#[test]
fn a_program_that_loops_makes_no_nodes_without_end() {
    let mut record = record_of(b"{}");
    let mut model = [Value::Object(Default::default()), Value::Object(Default::default())];
    let (whole, below) = (parse_target_path("a").unwrap(), parse_target_path("a.b.c").unwrap());
    for turn in 0..10_000 {
        let object: Value = serde_json::from_str(r#"{"b":{"d":1},"e":2}"#).unwrap();
        for (path, value) in [(&whole, object), (&below, Value::from(turn))] {
            model[0].insert(&path.path, value.clone());
            record.insert_target(path, value);
        }
    }
    compare(&record, &model).unwrap();
    assert!(record.tree.nodes.len() < 2 * NODES_LAZY_MAX, "{} nodes", record.tree.nodes.len());
}

#[test]
fn a_record_tells_where_it_comes_from_whatever_is_done_to_it() {
    let (mut block, mut frame) = block_of(b"<13>text \xff");
    block.peers = Arc::from([Peer::named("203.0.113.9")]);
    frame.received_delta_us = 2;
    let mut record = record_of(b"{\"left\":\"over\"}");
    record.begin(&block, &frame);
    record.push_text("message", frame.range.start + 4..frame.range.end);
    record.push_integer("priority", 13);
    record.push_timestamp("at", EventTime::EPOCH);
    record.push_value("message".into(), Value::from("replaced"));
    let at = parse_target_path("at").unwrap();
    record.remove_target(&at, false).unwrap();
    assert_eq!(encoded(&record), r#"{"message":"replaced","priority":13}"#);
    assert_eq!(record.raw(), b"<13>text \xff");
    assert_eq!(record.peer(), Some(&Peer::named("203.0.113.9")));
    assert_eq!(record.event_time(), EventTime::from_nanoseconds(2_011));
    record.origin_mut().event_time = Some(EventTime::EPOCH);
    assert_eq!(record.event_time(), EventTime::EPOCH);
    let origin = record.origin().clone();
    record.begin_value(Value::from(1), origin.clone());
    assert_eq!((record.raw(), record.peer(), record.origin()), (&b""[..], None, &origin));
    assert!(!record.root_is_object());
}

#[test]
fn a_root_that_became_an_array_is_taken_and_can_be_put_back() {
    let mut record = record_of(b"{\"a\":1}");
    let root = OwnedTargetPath::event_root();
    assert_eq!(record.take_root_array(), None);
    let before = record.mark();
    record.insert_target(&root, Value::Array(vec![Value::from(1), Value::from(2)]));
    let array = record.mark();
    assert_eq!(record.take_root_array(), Some(vec![Value::from(1), Value::from(2)]));
    record.insert_target(&root, Value::from("one of them"));
    record.undo_to(array);
    assert_eq!(encoded(&record), "[1,2]");
    record.undo_to(before);
    assert_eq!(encoded(&record), "{\"a\":1}");
}

#[test]
fn only_the_first_question_of_a_program_is_not_answered_truly() {
    let mut record = record_of(b"{\"a\":1}");
    let root = OwnedTargetPath::event_root();
    let target = record.as_program_target();
    assert_eq!(target.target_get(&root), Ok(Some(&Value::Object(Default::default()))));
    let whole: Value = serde_json::from_str("{\"a\":1}").unwrap();
    assert_eq!(target.target_get(&root), Ok(Some(&whole)));
    let a = parse_target_path("a").unwrap();
    assert_eq!(record.as_program_target().target_get(&a), Ok(Some(&Value::from(1))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_record_reads_and_changes_as_a_value_does(text in document(), steps in steps()) {
        let mut record = record_of(text.as_bytes());
        let mut model = [serde_json::from_str(&text).unwrap(), Value::Object(Default::default())];
        compare(&record, &model)?;
        let mut marks = Vec::new();
        for step in steps {
            take(step, &mut record, &mut model, &mut marks)?;
        }
        compare(&record, &model)?;
        while let Some((mark, before)) = marks.pop() {
            record.undo_to(mark);
            compare(&record, &before)?;
        }
    }

    #[test]
    fn a_record_that_is_used_again_knows_nothing_of_the_one_before(
        uses in vec((document(), steps()), 2..5),
    ) {
        let mut record = Record::new();
        for (text, steps) in uses {
            fill(&mut record, text.as_bytes());
            let mut model =
                [serde_json::from_str(&text).unwrap(), Value::Object(Default::default())];
            let mut marks = Vec::new();
            for step in steps {
                take(step, &mut record, &mut model, &mut marks)?;
            }
            compare(&record, &model)?;
        }
    }

    #[test]
    fn changes_without_a_journal_are_the_same(text in document(), steps in steps()) {
        let mut record = record_of(text.as_bytes());
        record.set_journaling(false);
        let mut model = [serde_json::from_str(&text).unwrap(), Value::Object(Default::default())];
        for step in steps {
            if !matches!(step, Step::Mark | Step::Undo(_)) {
                take(step, &mut record, &mut model, &mut Vec::new())?;
            }
        }
        compare(&record, &model)?;
    }

    #[test]
    fn what_is_only_read_is_written_as_it_came(text in document(), paths in vec(path(), 0..9)) {
        let record = record_of(text.as_bytes());
        let raw = text.trim_matches([' ', '\t']);
        prop_assert_eq!(encoded(&record), raw);
        for path in paths {
            record.get_target(&path);
            prop_assert_eq!(encoded(&record), raw);
        }
    }

    #[test]
    fn what_is_undone_is_written_as_it_came(text in document(), steps in steps()) {
        let mut record = record_of(text.as_bytes());
        let before = encoded(&record);
        let mark = record.mark();
        let mut model = [serde_json::from_str(&text).unwrap(), Value::Object(Default::default())];
        for step in steps {
            take(step, &mut record, &mut model, &mut Vec::new())?;
        }
        record.undo_to(mark);
        prop_assert_eq!(encoded(&record), before);
    }

    #[test]
    fn values_are_written_as_serde_json_writes_them(value in value()) {
        let mut out = Vec::new();
        encode_value(&value, &mut out);
        let text = String::from_utf8(out).unwrap();
        prop_assert_eq!(text, serde_json::to_string(&value).unwrap());
    }
}
