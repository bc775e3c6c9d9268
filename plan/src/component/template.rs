//! [`Template`]: text with fields of a record and the event time in it.
//!
//! ```text
//! /archive/{{ host.name }}/%Y-%m-%d.log
//! ```
//!
//! What stands between `{{` and `}}` is the path of a field; `%…` is `strftime` over the event
//! time, in UTC. A `%` as such is written `%%`, as in Vector.
//!
//! A record's content is chosen by whoever sends it. So where a template names a file, a rendered
//! field is confined: it becomes exactly one segment of a path, whatever it holds, and the folder
//! that the author wrote cannot be left.

use super::option::parse_field;
use crate::diagnostic::{Checker, Diagnostic, codes};
use crate::document::Text;
use azud_event::dead_letter::{Fault, Reason};
use azud_event::record::Record;
use chrono::format::{Item, StrftimeItems};
use std::fmt::Write;
use vrl::path::OwnedValuePath;
use vrl::value::Value;

/// How long a rendered field may be under [`Confine::Path`], in bytes: the limit of file systems.
const SEGMENT_BYTES_MAX: usize = 255;

/// What a rendered field may do to what stands around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confine {
    /// Anything: the result is text for people.
    Free,
    /// Nothing: it is one segment of a path. `/` and control characters become `_`, so do `.` and
    /// `..`; what is empty or longer than 255 bytes is a fault.
    Path,
}

/// What a field that is missing or null becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing.
    Empty,
    /// A fault: the record cannot be placed.
    Fault,
}

/// A checked template. Fields are rendered as Vector does: texts as they are, all else as JSON.
#[derive(Clone, Debug)]
pub struct Template {
    parts: Vec<Part>,
    confine: Confine,
    missing: Missing,
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Field(OwnedValuePath, String),
    Time(Vec<Item<'static>>),
}

impl Template {
    /// Reads a template; what is wrong is reported at its place. Fields are not confined and must
    /// be there.
    pub fn parse(text: &Text, checker: &mut Checker) -> Option<Template> {
        let mut parts = Vec::new();
        let mut ok = true;
        let mut at = 0;
        while let Some(open) = text.text[at..].find("{{").map(|found| at + found) {
            ok &= time(text, at..open, &mut parts, checker);
            let Some(close) = text.text[open..].find("}}").map(|found| open + found) else {
                report(text, open..text.text.len(), "`{{` without `}}`", checker);
                return None;
            };
            let name = text.text[open + 2..close].trim();
            match parse_field(name) {
                Some(path) => {
                    parts.push(Part::Field(path, name.trim_start_matches('.').to_owned()))
                }
                None => {
                    let title = format!("`{name}` is not the path of a field");
                    report(text, open..close + 2, &title, checker);
                    ok = false;
                }
            }
            at = close + 2;
        }
        ok &= time(text, at..text.text.len(), &mut parts, checker);
        ok.then_some(Template { parts, confine: Confine::Free, missing: Missing::Fault })
    }

    /// Sets how fields are confined.
    #[must_use]
    pub fn confined(self, confine: Confine) -> Self {
        Template { confine, ..self }
    }

    /// Sets what a missing field becomes.
    #[must_use]
    pub fn missing(self, missing: Missing) -> Self {
        Template { missing, ..self }
    }

    /// Gives the text when it is the same for every record.
    pub fn fixed(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Gives the text before the first field or sign of time: the folder that results cannot leave.
    pub fn prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(text)) => text,
            _ => "",
        }
    }

    /// Lists the fields that it reads.
    pub fn fields(&self) -> impl Iterator<Item = &OwnedValuePath> {
        self.parts.iter().filter_map(|part| match part {
            Part::Field(path, _) => Some(path),
            Part::Literal(_) | Part::Time(_) => None,
        })
    }

    /// Appends the text for `record` to `out`. On a fault `out` may hold a part of it.
    ///
    /// # Errors
    /// `EncodeFailed` when a field is missing under [`Missing::Fault`], or no segment of a path
    /// under [`Confine::Path`].
    pub fn render(&self, record: &Record, out: &mut String) -> Result<(), Fault> {
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Time(items) => {
                    let time = record.event_time().to_chrono();
                    // Writing to a string cannot fail, and the signs were tried when the template
                    // was read.
                    let _ = write!(out, "{}", time.format_with_items(items.iter()));
                }
                Part::Field(path, name) => self.field(record, path, name, out)?,
            }
        }
        Ok(())
    }

    fn field(
        &self,
        record: &Record,
        path: &OwnedValuePath,
        name: &str,
        out: &mut String,
    ) -> Result<(), Fault> {
        // A null and a text that says "null" look the same as bytes; only then a value is worth
        // making.
        let is_null = |bytes: &[u8]| bytes == b"null" && record.get(path) == Some(&Value::Null);
        let bytes = record.get_bytes(path).filter(|bytes| !is_null(bytes));
        let bytes = bytes.as_deref().map(|bytes| without_quotes(bytes, record, path));
        match (bytes, self.confine, self.missing) {
            (Some(bytes), Confine::Free, _) => out.push_str(&String::from_utf8_lossy(bytes)),
            (Some(bytes), Confine::Path, _) => {
                push_segment(&String::from_utf8_lossy(bytes), name, out)?;
            }
            (None, Confine::Free, Missing::Empty) => {}
            (None, Confine::Path, Missing::Empty) => push_segment("", name, out)?,
            (None, _, Missing::Fault) => {
                return fault(format!("the template's field `{name}` is missing"));
            }
        }
        Ok(())
    }
}

/// Takes the quotes off what is no text but is written as one in JSON, such as a time.
fn without_quotes<'a>(bytes: &'a [u8], record: &Record, path: &OwnedValuePath) -> &'a [u8] {
    match bytes {
        [b'"', within @ .., b'"'] => match record.get(path) {
            Some(Value::Timestamp(_) | Value::Regex(_)) => within,
            _ => bytes,
        },
        _ => bytes,
    }
}

/// Appends `value` so that it is one segment of a path, or part of one.
fn push_segment(value: &str, name: &str, out: &mut String) -> Result<(), Fault> {
    if value.is_empty() {
        return fault(format!(
            "the template's field `{name}` is empty, which is no name of a file"
        ));
    }
    if value.len() > SEGMENT_BYTES_MAX {
        return fault(format!(
            "the template's field `{name}` is {} bytes, above the limit of \
             {SEGMENT_BYTES_MAX} bytes",
            value.len()
        ));
    }
    if value.bytes().all(|byte| byte == b'.') {
        // Dots alone could lead upwards, together with dots that stand beside the field.
        out.extend(value.chars().map(|_| '_'));
        return Ok(());
    }
    let safe = |character: char| match character {
        '/' | '\\' => '_',
        character if character.is_control() => '_',
        character => character,
    };
    out.extend(value.chars().map(safe));
    Ok(())
}

fn fault<T>(message: String) -> Result<T, Fault> {
    Err(Fault::new(Reason::EncodeFailed, message))
}

/// Reads a stretch without fields: literal text and signs of time.
fn time(
    text: &Text,
    range: std::ops::Range<usize>,
    parts: &mut Vec<Part>,
    checker: &mut Checker,
) -> bool {
    let stretch = &text.text[range.clone()];
    if stretch.is_empty() {
        return true;
    }
    let items: Vec<Item<'static>> = StrftimeItems::new(stretch).map(Item::to_owned).collect();
    if items.iter().any(|item| matches!(item, Item::Error)) {
        let title = "a sign after `%` that `strftime` does not have";
        report(text, range, title, checker);
        return false;
    }
    let mut literal = String::new();
    let is_literal = items.iter().all(|item| match item {
        Item::Literal(text) | Item::Space(text) => {
            literal.push_str(text);
            true
        }
        Item::OwnedLiteral(text) | Item::OwnedSpace(text) => {
            literal.push_str(text);
            true
        }
        _ => false,
    });
    if is_literal {
        parts.push(Part::Literal(literal));
        return true;
    }
    // The text before the first sign is a part of its own, so that the folder of a path is known.
    let sign = stretch.find('%').unwrap_or(0);
    if sign > 0 {
        parts.push(Part::Literal(stretch[..sign].to_owned()));
    }
    let items = StrftimeItems::new(&stretch[sign..]).map(Item::to_owned).collect();
    parts.push(Part::Time(items));
    true
}

fn report(text: &Text, range: std::ops::Range<usize>, title: &str, checker: &mut Checker) {
    let found = Diagnostic::error(codes::TEMPLATE, text.place(range), title, "");
    checker.report(
        found.help(
            "fields are written {{ user.name }}, the event time %Y-%m-%d, and `%` as such %%",
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, Node};
    use azud_event::id::StreamId;
    use azud_event::record::Origin;
    use azud_event::row::Place;
    use azud_event::time::EventTime;
    use proptest::prelude::*;
    use vrl::owned_value_path;

    fn parse(template: &str) -> Result<Template, Vec<Diagnostic>> {
        let mut checker = Checker::default();
        let document = Document::parse(0, &format!("a = '{template}'"), &mut checker).unwrap();
        let text = document.root.node("a").and_then(Node::as_text).unwrap();
        Template::parse(text, &mut checker).ok_or(checker.diagnostics)
    }

    fn record(json: &str) -> Record {
        let place = Place {
            event_time: EventTime::from_nanoseconds(1_772_359_200_000_000_000),
            source: 0,
            stream: StreamId(0),
            position: 0,
            index: 0,
        };
        let mut record = Record::new();
        let value: Value = serde_json::from_str(json).unwrap();
        record.begin_value(value, Origin::made(place, EventTime::EPOCH));
        record
    }

    fn render(template: &Template, json: &str) -> Result<String, Fault> {
        let mut out = String::new();
        template.render(&record(json), &mut out).map(|()| out)
    }

    #[test]
    fn fields_and_time_are_rendered() {
        let template = parse("/a/{{ host.name }}-{{n}}/%Y-%m-%d %H%%.log").unwrap();
        let rendered = render(&template, r#"{"host":{"name":"web1"},"n":7}"#);
        assert_eq!(rendered.unwrap(), "/a/web1-7/2026-03-01 10%.log");
        assert_eq!(template.fields().count(), 2);
        assert_eq!((template.prefix(), template.fixed()), ("/a/", None));
        assert_eq!(render(&parse("{{ a }}").unwrap(), r#"{"a":"null"}"#).unwrap(), "null");
        assert_eq!(parse("100%% sure").unwrap().fixed(), Some("100% sure"));
        assert_eq!(parse("/var/log/%Y.log").unwrap().prefix(), "/var/log/");
        assert_eq!(parse("").unwrap().fixed(), Some(""));
    }

    #[test]
    fn a_time_has_no_quotes_and_a_text_keeps_its_own() {
        let mut record = record(r#"{"a":"\"x\""}"#);
        let time = record.event_time().to_chrono();
        record.insert(&owned_value_path!("b", "c"), Value::Timestamp(time));
        let mut out = String::new();
        parse("{{ a }} at {{ b.c }}").unwrap().render(&record, &mut out).unwrap();
        assert_eq!(out, "\"x\" at 2026-03-01T10:00:00Z");
    }

    #[test]
    fn a_missing_field_is_as_asked() {
        let template = parse("<{{ a }}>").unwrap();
        for json in ["{}", r#"{"a":null}"#] {
            assert_eq!(render(&template, json).unwrap_err().reason, Reason::EncodeFailed);
            let lenient = template.clone().missing(Missing::Empty);
            assert_eq!(render(&lenient, json).unwrap(), "<>");
        }
    }

    #[test]
    fn faults_are_shown_at_their_place() {
        for (template, place) in [("x {{ a", 7..11), ("x {{ a b }}", 7..16), ("{{ a }} %!", 12..15)]
        {
            let faults = parse(template).unwrap_err();
            assert_eq!(faults.len(), 1, "{template}");
            assert_eq!(faults[0].labels[0].0.range(), place, "{template}");
        }
    }

    #[test]
    fn a_confined_field_is_one_segment() {
        let template = parse("/logs/{{ a }}/x").unwrap().confined(Confine::Path);
        let rendered =
            |value: &str| render(&template, &serde_json::json!({ "a": value }).to_string());
        assert_eq!(rendered("../../etc").unwrap(), "/logs/.._.._etc/x");
        assert_eq!(rendered("..").unwrap(), "/logs/__/x");
        assert_eq!(rendered("a\0b\n").unwrap(), "/logs/a_b_/x");
        assert!(rendered("").is_err());
        assert!(rendered(&"a".repeat(256)).is_err());
    }

    proptest! {
        /// Whatever a field holds, the path has as many segments as its author wrote, and none
        /// leads upwards.
        #[test]
        fn no_value_leaves_the_folder(value in "\\PC{0,20}|[./\\\\]{0,5}") {
            let template = parse("/logs/{{ a }}/x").unwrap().confined(Confine::Path);
            if let Ok(path) = render(&template, &serde_json::json!({ "a": value }).to_string()) {
                let segments: Vec<&str> = path.split('/').collect();
                prop_assert_eq!(segments.len(), 4);
                prop_assert!(!["", ".", ".."].contains(&segments[2]));
            }
        }
    }
}
