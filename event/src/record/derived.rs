//! Records that are made, not taken in: results of keyed transforms.

use super::tree::{Key, Kind, NONE, Name, Node, ROOT, Tree};
use super::{Origin, Record};
use crate::codec::json::{
    Day, encode_event_time, encode_string, encode_usual_time, encode_value, quote,
};
use crate::id::SourceIndex;
use crate::padded::append_first;
use crate::row::Place;
use crate::time::EventTime;
use bytes::Bytes;
use std::cell::OnceCell;
use vrl::path::OwnedValuePath;
use vrl::value::Value;

impl Origin {
    /// Gives the origin of a record that was made and not taken in: its place, and the clock of the
    /// epoch in which it was made as its receive time.
    pub fn made(place: Place, now: EventTime) -> Self {
        Origin {
            source: SourceIndex(0),
            source_key: place.source,
            stream: place.stream,
            position: place.position,
            index: place.index,
            received_at: now,
            event_time: Some(place.event_time),
            raw: 0..0,
            peer: 0,
        }
    }
}

/// The name of a member, made ready to be written into record after record.
#[derive(Clone, Debug)]
pub struct MemberName {
    key: Key,
    text: Box<str>,
    /// As JSON has it behind another member: `,"name":`.
    written: Box<[u8]>,
    /// The same with anything behind, if it is short.
    padded: Option<[u8; SHORT_NAME_BYTES]>,
    /// Whether it needs no escapes there.
    plain: bool,
}

/// How many bytes of a name are copied at once, whatever its length.
const SHORT_NAME_BYTES: usize = 32;

impl From<&str> for MemberName {
    fn from(text: &str) -> Self {
        let mut written = vec![b','];
        encode_string(text.as_bytes(), &mut written);
        written.push(b':');
        let plain = written.len() == text.len() + 4;
        let key = Key::of(text.as_bytes());
        let padded = (written.len() <= SHORT_NAME_BYTES).then(|| {
            let mut padded = [0; SHORT_NAME_BYTES];
            padded[..written.len()].copy_from_slice(&written);
            padded
        });
        MemberName { key, text: text.into(), written: written.into(), padded, plain }
    }
}

/// Builds a record that was made and not taken in, member by member and in their order, without a
/// map on the way. Each name comes once in its object.
///
/// What is built is JSON text, and nodes over it as if it had been read: it is written out in one
/// piece when nobody has changed it. Only what text cannot hold (a time of the year 10000, bytes
/// that are not UTF-8, what is nested) is held as a value beside it. Where nobody looks at the
/// record, [`TextWriter`] makes the text alone.
pub struct Building<'r> {
    /// The nodes, if any are made.
    tree: Option<&'r mut Tree>,
    here: Open,
    /// The text, which the record will lie over.
    text: &'r mut Vec<u8>,
    day: &'r mut Day,
    /// What is set when all else is there.
    apart: Vec<(OwnedValuePath, Value)>,
}

/// The object that is built now.
#[derive(Clone, Copy)]
struct Open {
    node: u32,
    /// Its last member so far.
    last: u32,
    /// The bits of its names.
    names: u64,
}

impl Open {
    fn new(node: u32) -> Self {
        Open { node, last: NONE, names: 0 }
    }
}

impl Building<'_> {
    /// Adds a member that holds a value.
    pub fn value(&mut self, name: &MemberName, value: Value) {
        if let Value::Bytes(bytes) = &value {
            return self.text(name, bytes);
        }
        let child = self.member(name);
        let start = self.text.len();
        if let Value::Timestamp(time) = &value
            && encode_usual_time(time, self.text)
        {
            return self.lies_at(child, Kind::Time, start + 1, self.text.len() - 1);
        }
        encode_value(&value, self.text);
        let kind = match &value {
            Value::Integer(_) => Kind::Integer,
            Value::Float(number) if number.is_finite() => Kind::Float,
            Value::Boolean(true) => Kind::True,
            Value::Boolean(false) => Kind::False,
            Value::Null => Kind::Null,
            Value::Array(values) if values.is_empty() => Kind::Array,
            _ => return self.hold(child, value),
        };
        self.lies_at(child, kind, start, self.text.len());
    }

    /// Adds a member that holds a time.
    pub fn time(&mut self, name: &MemberName, time: EventTime) {
        let child = self.member(name);
        let start = self.text.len();
        encode_event_time(time, self.day, self.text);
        self.lies_at(child, Kind::Time, start + 1, self.text.len() - 1);
    }

    /// Adds a member that holds a text.
    pub fn text(&mut self, name: &MemberName, text: &[u8]) {
        let child = self.member(name);
        let start = self.text.len() + 1;
        let plain = quote(text, self.text);
        let end = self.text.len() - 1;
        if plain || self.text[start..end] == *text {
            self.lies_at(child, Kind::String, start, end);
        } else if std::str::from_utf8(text).is_ok() {
            self.lies_at(child, Kind::Escaped, start, end);
        } else {
            self.hold(child, Value::Bytes(Bytes::copy_from_slice(text)));
        }
    }

    /// Adds a member that is an object, which `build` fills.
    pub fn object(&mut self, name: &MemberName, build: impl FnOnce(&mut Self)) {
        let child = self.member(name);
        let around = std::mem::replace(&mut self.here, Open::new(child));
        self.fill(build);
        self.here = around;
    }

    /// Sets what is at a path of the whole record, as [`Record::insert`] does, behind all members.
    pub fn insert(&mut self, path: &OwnedValuePath, value: Value) {
        self.apart.push((path.clone(), value));
    }

    /// Writes the object that is built now.
    fn fill(&mut self, build: impl FnOnce(&mut Self)) {
        let start = self.text.len();
        self.text.push(b'{');
        build(self);
        self.text.push(b'}');
        let Open { node, names, .. } = self.here;
        self.lies_at(node, Kind::Object, start, self.text.len());
        if let Some(tree) = &mut self.tree {
            let node = tree.node_mut(node);
            (node.names, node.dirty) = (names, false);
        }
    }

    fn lies_at(&mut self, index: u32, kind: Kind, start: usize, end: usize) {
        if let Some(tree) = &mut self.tree {
            let node = tree.node_mut(index);
            (node.kind, node.start, node.end) = (kind, start as u32, end as u32);
        }
    }

    /// Holds a value beside the text.
    fn hold(&mut self, index: u32, value: Value) {
        if let Some(tree) = &mut self.tree {
            tree.add_cells();
            tree.cells[index as usize] = OnceCell::from(value);
            tree.node_mut(index).kind = Kind::Owned;
        }
    }

    fn member(&mut self, name: &MemberName) -> u32 {
        let MemberName { key, text, written, padded, plain } = name;
        if self.text.last() == Some(&b'{') {
            self.text.extend_from_slice(&written[1..]);
        } else if let Some(padded) = padded {
            append_first(padded, written.len(), self.text);
        } else {
            self.text.extend_from_slice(written);
        }
        // Before the quote and the colon.
        let end = self.text.len() - 2;
        let Some(tree) = &mut self.tree else { return NONE };
        let name = match plain {
            true => Name::of_key(*key, (end - text.len()) as u32, end as u32),
            false => tree.intern(*key, text.as_bytes()),
        };
        // Nothing is marked before the record is there, so a node has nothing to save.
        let child = tree.nodes.len() as u32;
        tree.nodes.push(Node::new(name, self.here.node));
        tree.link(self.here.node, self.here.last, child);
        self.here.last = child;
        self.here.names |= key.bit();
        child
    }
}

/// Writes what is built as JSON text, where nobody looks at it as a record.
#[derive(Debug, Default)]
pub struct TextWriter {
    day: Day,
}

impl TextWriter {
    /// Appends the text of the record that `build` builds, as it would be written out.
    ///
    /// Gives `false`, and appends nothing, when something was set by a path that no text has been
    /// made for: that needs a record.
    pub fn append(&mut self, out: &mut Vec<u8>, build: impl FnOnce(&mut Building<'_>)) -> bool {
        let (start, here) = (out.len(), Open::new(NONE));
        let day = &mut self.day;
        let mut building = Building { tree: None, here, text: out, day, apart: Vec::new() };
        building.fill(build);
        let is_whole = building.apart.is_empty();
        if !is_whole {
            out.truncate(start);
        }
        is_whole
    }
}

impl Record {
    /// Makes it a record that lies over no block and holds what `build` gives it.
    pub fn begin_built(&mut self, origin: Origin, build: impl FnOnce(&mut Building<'_>)) {
        self.bytes = Bytes::new();
        self.peers = None;
        self.clear();
        self.origin = origin;
        let Record { tree, built, day, .. } = self;
        built.clear();
        let (tree, here, apart) = (Some(tree), Open::new(ROOT), Vec::new());
        let mut building = Building { tree, here, text: built, day, apart };
        building.fill(build);
        let apart = building.apart;
        self.tree.add_cells();
        self.bytes = Bytes::copy_from_slice(&self.built);
        for (path, value) in apart {
            self.insert(&path, value);
        }
    }

    /// Lets go of the block that the record lies over, so that its memory can be freed while
    /// nothing comes.
    pub fn release(&mut self) {
        self.clear();
        self.bytes = Bytes::new();
        self.built = Vec::new();
        self.peers = None;
        self.origin.raw = 0..0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json::encode_json;
    use chrono::{DateTime, Utc};
    use vrl::path::parse_value_path;
    use vrl::value;
    use vrl::value::{KeyString, ObjectMap};

    const NAMES: [&str; 5] =
        ["a", "eight_by", "longer_than_eight", "\"in quotes\"", "wörter_mit_umlauten"];

    /// What members may hold, some of it nothing that text can hold.
    fn values() -> Vec<Value> {
        let time = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        vec![
            value!("x"),
            value!(""),
            value!("with \"quotes\" and\nlines"),
            value!("größer als acht Bytes"),
            Value::Bytes(Bytes::from_static(b"no UTF-8: \xff\xfe")),
            // Three bytes that are replaced by three others.
            Value::Bytes(Bytes::from_static(b"\xf0\x9f\x92")),
            value!(0),
            value!(-12),
            Value::Integer(i64::MIN),
            Value::from_f64_or_zero(1.5),
            Value::from_f64_or_zero(1e300),
            Value::from_f64_or_zero(-0.0),
            Value::from_f64_or_zero(f64::INFINITY),
            value!(true),
            value!(false),
            value!(null),
            Value::Timestamp(time("2026-03-01T10:00:00Z")),
            Value::Timestamp(time("2026-03-01T10:00:00.123456789Z")),
            Value::Timestamp(time("1582-10-15T00:00:00.5Z")),
            Value::Timestamp(time("2016-12-31T23:59:60Z")),
            Value::Timestamp(DateTime::<Utc>::MAX_UTC),
            value!([]),
            value!(["{", 1, { "a": null }]),
            value!({ "b": [1], "a": { "c": 2 } }),
        ]
    }

    fn written(record: &Record) -> String {
        let mut out = Vec::new();
        encode_json(record, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn built(build: impl FnOnce(&mut Building<'_>)) -> Record {
        let mut record = Record::new();
        let origin = record.origin().clone();
        record.begin_built(origin, build);
        record
    }

    #[test]
    fn what_is_built_reads_and_is_written_as_a_value_is() {
        let names = NAMES.map(MemberName::from);
        for value in values() {
            let build = |into: &mut Building<'_>| {
                names.iter().for_each(|name| into.value(name, value.clone()));
                into.object(&"empty".into(), |_| {});
                into.object(&"within_it".into(), |into| {
                    names.iter().for_each(|name| into.value(name, value.clone()));
                    into.text(&"last".into(), b"{");
                });
            };
            let mut record = built(build);
            let members = || NAMES.map(|name| (KeyString::from(name), value.clone()));
            let last = |name: &str, value: Value| [(KeyString::from(name), value)];
            let within: ObjectMap =
                members().into_iter().chain(last("last", value!("{"))).collect();
            let more =
                last("empty", value!({})).into_iter().chain(last("within_it", within.into()));
            let expected = Value::Object(members().into_iter().chain(more).collect());
            assert_eq!(record.to_value(), expected);
            // Nor does it show in the text whether a record was made of it.
            let mut alone = b"before".to_vec();
            assert!(TextWriter::default().append(&mut alone, build));
            assert_eq!(String::from_utf8(alone).unwrap(), format!("before{}", written(&record)));
            // Both parse to the same; members come in the order in which they were built.
            let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            let mut text = Vec::new();
            encode_value(&expected, &mut text);
            let text = String::from_utf8(text).unwrap();
            assert_eq!(parse(&written(&record)), parse(&text));
            assert!(written(&record).starts_with("{\"a\":"), "{}", written(&record));
            let path = parse_value_path("within_it.longer_than_eight").unwrap();
            assert_eq!(record.get(&path), Some(&value));
            // Nor does a change of one show in the others.
            let whole = written(&record);
            let mark = record.mark();
            record.insert(&parse_value_path("within_it.new").unwrap(), value!(1));
            let changed = written(&record);
            assert_eq!(changed.replace(",\"new\":1", ""), whole);
            record.undo_to(mark);
            assert_eq!((record.to_value(), written(&record)), (expected, whole));
        }
    }

    #[test]
    fn times_of_events_are_read_and_written_as_values_are() {
        let of = |nanoseconds| EventTime::from_nanoseconds(nanoseconds);
        let times = [0, 1, -1, 1_709_210_096_789_000_000, -86_400_000_000_000];
        for time in [EventTime::MIN, EventTime::MAX].into_iter().chain(times.map(of)) {
            let value = Value::Timestamp(time.to_chrono());
            let name = MemberName::from("at");
            let (one, other) =
                (built(|into| into.time(&name, time)), built(|into| into.value(&name, value)));
            assert_eq!((one.to_value(), written(&one)), (other.to_value(), written(&other)));
        }
    }

    #[test]
    fn what_is_set_by_its_path_comes_behind_all_else() {
        let tag = parse_value_path("tags[1]").unwrap();
        let build = |into: &mut Building<'_>| {
            into.insert(&tag, value!("late"));
            into.value(&"count".into(), value!(2));
        };
        assert_eq!(written(&built(build)), "{\"count\":2,\"tags\":[null,\"late\"]}");
        let mut alone = b"before".to_vec();
        assert!(!TextWriter::default().append(&mut alone, build));
        assert_eq!(alone, b"before");
    }
}
