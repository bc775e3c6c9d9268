//! Records that are made, not taken in: results of keyed transforms.

use super::tree::{Key, Kind, ROOT};
use super::{Origin, Record};
use crate::codec::json::encode_string;
use crate::id::SourceIndex;
use crate::row::Place;
use crate::time::EventTime;
use bytes::Bytes;
use vrl::path::OwnedValuePath;
use vrl::value::Value;

/// Room for the texts of one record that is built.
const TEXTS_BYTES: usize = 128;

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
    /// Of a long name without escapes: as JSON has it behind another member.
    written: Option<Box<str>>,
}

impl From<&str> for MemberName {
    fn from(text: &str) -> Self {
        let mut quoted = Vec::new();
        encode_string(text.as_bytes(), &mut quoted);
        let plain = text.len() > 8 && quoted.len() == text.len() + 2;
        let written = plain.then(|| format!(",\"{text}\":").into());
        MemberName { key: Key::of(text.as_bytes()), text: text.into(), written }
    }
}

/// Builds a record that was made and not taken in, member by member and in their order, without a
/// map on the way. Each name comes once in its object.
pub struct Building<'r> {
    record: &'r mut Record,
    /// The object that is built now.
    object: u32,
    /// The texts, which the record will lie over.
    texts: Vec<u8>,
}

impl Building<'_> {
    /// Adds a member that holds a value.
    pub fn value(&mut self, name: &MemberName, value: Value) {
        let child = self.member(name);
        self.record.hold(child, value);
    }

    /// Adds a member that holds a text.
    pub fn text(&mut self, name: &MemberName, text: &[u8]) {
        let child = self.member(name);
        let node = self.record.tree.node_mut(child);
        node.kind = Kind::Text;
        node.start = self.texts.len() as u32;
        self.texts.extend_from_slice(text);
        node.end = self.texts.len() as u32;
    }

    /// Adds a member that is an object, which `build` fills.
    pub fn object(&mut self, name: &MemberName, build: impl FnOnce(&mut Self)) {
        let child = self.member(name);
        self.record.tree.become_empty_object(child);
        let around = std::mem::replace(&mut self.object, child);
        build(self);
        self.object = around;
    }

    /// Sets what is at a path of the whole record, as [`Record::insert`] does.
    pub fn insert(&mut self, path: &OwnedValuePath, value: Value) {
        self.record.insert(path, value);
    }

    fn member(&mut self, name: &MemberName) -> u32 {
        let MemberName { key, text, written } = name;
        let tree = &mut self.record.tree;
        let name = match written {
            Some(written) => tree.intern_written(*key, written),
            None => tree.intern(*key, text.as_bytes()),
        };
        self.record.append_named(self.object, *key, name)
    }
}

impl Record {
    /// Makes it a record that lies over no block and holds what `build` gives it.
    pub fn begin_built(&mut self, origin: Origin, build: impl FnOnce(&mut Building<'_>)) {
        self.bytes = Bytes::new();
        self.peers = None;
        self.clear();
        self.origin = origin;
        let texts = Vec::with_capacity(TEXTS_BYTES);
        let mut building = Building { record: self, object: ROOT, texts };
        build(&mut building);
        self.bytes = Bytes::from(building.texts);
    }

    /// Lets go of the block that the record lies over, so that its memory can be freed while
    /// nothing comes.
    pub fn release(&mut self) {
        self.clear();
        self.bytes = Bytes::new();
        self.peers = None;
        self.origin.raw = 0..0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::json::encode_json;
    use vrl::path::parse_value_path;
    use vrl::value;

    const NAMES: [&str; 5] =
        ["a", "eight_by", "longer_than_eight", "\"in quotes\"", "wörter_mit_umlauten"];

    #[test]
    fn what_is_built_reads_and_is_written_as_a_value_is() {
        let names = NAMES.map(MemberName::from);
        let mut record = Record::new();
        let origin = record.origin().clone();
        record.begin_built(origin, |into| {
            names.iter().for_each(|name| into.text(name, b"x"));
            into.object(&"within_it".into(), |into| {
                names.iter().for_each(|name| into.value(name, value!(1)));
            });
        });
        let within = NAMES.map(|name| format!("{}:1", serde_json::to_string(name).unwrap()));
        let around = NAMES.map(|name| format!("{}:\"x\"", serde_json::to_string(name).unwrap()));
        let expected = format!("{{{},\"within_it\":{{{}}}}}", around.join(","), within.join(","));
        let mut out = Vec::new();
        encode_json(&record, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        let path = parse_value_path("within_it.longer_than_eight").unwrap();
        assert_eq!(record.get(&path), Some(&value!(1)));
    }
}
